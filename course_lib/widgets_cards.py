"""The HTML of the uploader's page: cards, bars, heat maps, the history and its links. No widgets here.

Lesson 16 builds simple forms of these in the open. Everything a visitor supplies (file names, and the
messages that quote them) is escaped before it becomes HTML; colour is never the only cue; every picture and
every bar says in words what it shows.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .verdicts import Result, error_rates_text, percent, results_csv, results_json

THUMBNAIL_SIDE = 112  # pixels
MAP_SIDE = 240  # pixels of a heat map on the page
MAX_HISTORY_ROWS = 100  # rows of the history that the page draws

# Blue and vermillion of Okabe and Ito's palette: told apart by colour-blind readers, and never the only cue.
REAL_COLOUR, FAKE_COLOUR = "#0072B2", "#D55E00"
REAL_SYMBOL, FAKE_SYMBOL, ERROR_SYMBOL = "●", "◆", "✕"

STYLE = (
    """<style>
.course-uploader { max-width: 760px; padding: 4px 8px 8px; overflow: visible; }
.course-uploader .widget-html-content { color: var(--jp-ui-font-color1, inherit); line-height: 1.4; }
.course-uploader .cu-title { font-size: 1.35em; font-weight: 600; line-height: 1.3; }
.course-uploader .cu-lead, .course-uploader .cu-small { opacity: .85; font-size: .92em; }
.course-uploader .cu-card { display: flex; gap: 14px; padding: 10px 12px; border-radius: 6px;
  border: 1px solid rgba(128,128,128,.45); border-left: 6px solid rgba(128,128,128,.9); }
.course-uploader .cu-card.cu-fake { border-left-color: FAKE; border-left-style: double; }
.course-uploader .cu-card.cu-real { border-left-color: REAL; }
.course-uploader .cu-card.cu-error { border-left-style: dashed; }
.course-uploader .cu-picture { flex: none; width: SIDEpx; text-align: center; }
.course-uploader .cu-picture img { border-radius: 4px; margin: 0; max-width: 100%; height: auto; }
.course-uploader .cu-blank { font-size: 28px; line-height: 64px; border-radius: 4px;
  background: rgba(128,128,128,.18); }
.course-uploader .cu-body { flex: 1; min-width: 0; }
.course-uploader .cu-name { font-weight: 600; overflow-wrap: anywhere; }
.course-uploader .cu-verdict { font-size: 1.45em; font-weight: 700; line-height: 1.35; }
.course-uploader .cu-bar { position: relative; height: 14px; margin: 4px 0 0; border-radius: 3px;
  background: rgba(128,128,128,.28); }
.course-uploader .cu-fill { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 3px; }
.course-uploader .cu-fill.cu-striped {
  background-image: repeating-linear-gradient(45deg, rgba(255,255,255,.45) 0 4px, transparent 4px 9px); }
.course-uploader .cu-mark { position: absolute; top: -4px; bottom: -4px; width: 0;
  border-left: 3px solid var(--jp-ui-font-color0, #111); }
.course-uploader .cu-scale { position: relative; height: 1.4em; font-size: .85em; }
.course-uploader .cu-scale span { position: absolute; white-space: nowrap; }
.course-uploader .cu-history { border-collapse: collapse; font-size: .92em; margin: 4px 0; }
.course-uploader .cu-history th, .course-uploader .cu-history td { text-align: left; vertical-align: top;
  padding: 2px 14px 2px 0; border-bottom: 1px solid rgba(128,128,128,.3); overflow-wrap: anywhere; }
.course-uploader summary { cursor: pointer; }
.course-uploader .cu-drop { padding: 8px 10px; margin: 2px 0; border-radius: 6px; font-size: .92em;
  border: 2px dashed rgba(128,128,128,.7); }
.course-uploader.cu-over { outline: 4px dashed REAL; outline-offset: -4px; }
.course-uploader .cu-face { display: flex; gap: 12px; padding: 8px 0;
  border-bottom: 1px solid rgba(128,128,128,.3); }
.course-uploader .cu-map figure { display: inline-block; margin: 4px 12px 4px 0; vertical-align: top; }
.course-uploader .cu-map figcaption { font-size: .85em; }
.course-uploader .cu-map img { max-width: 100%; height: auto; margin: 0; border-radius: 4px; }
.course-uploader .cu-export a { margin-right: 16px; }
.course-uploader progress { width: 100%; max-width: 420px; height: 14px; }
.course-uploader button:focus-visible, .course-uploader select:focus-visible,
.course-uploader .cu-drop:focus, .course-uploader a:focus-visible,
.course-uploader summary:focus-visible { outline: 3px solid REAL; outline-offset: 1px; }
</style>""".replace("FAKE", FAKE_COLOUR)
    .replace("REAL", REAL_COLOUR)
    .replace("SIDE", str(THUMBNAIL_SIDE))
)


def probability_bar(p_fake: float, threshold: float = 0.5) -> str:
    """HTML of a bar from 0 to 1 filled up to P(fake); a line, a triangle and a number mark the threshold."""
    fake = p_fake >= threshold
    colour = FAKE_COLOUR if fake else REAL_COLOUR
    stripes = " cu-striped" if fake else ""  # so the bar reads without colour too
    side = "at or above" if fake else "below"
    words = f"P(fake) {percent(p_fake)}, {side} the threshold of {100 * threshold:.0f} %"
    at = min(max(100 * threshold, 24), 76)  # keeps the middle label clear of the labels at both ends
    return (
        f'<div class="cu-bar" role="img" aria-label="{html.escape(words)}">'
        f'<div class="cu-fill{stripes}" style="width:{100 * p_fake:.1f}%;background-color:{colour}"></div>'
        f'<div class="cu-mark" style="left:calc({100 * threshold:.1f}% - 1px)"></div></div>'
        f'<div class="cu-scale" aria-hidden="true"><span style="left:0">real 0 %</span>'
        f'<span style="left:{at:.1f}%;transform:translateX(-50%)">▲ threshold {100 * threshold:.0f} %</span>'
        f'<span style="right:0">100 % fake</span></div>'
    )


def jpeg_image(image: Image.Image, alt: str, side: int = THUMBNAIL_SIDE) -> str:
    """HTML ``<img>`` with a JPEG copy of an RGB picture, no side above `side`, and the text `alt`.

    The copy is made from decoded pixels: nothing else of the file, such as where it was taken, comes along.
    """
    scale = min(1.0, side / max(image.size))
    size = tuple(max(1, round(length * scale)) for length in image.size)
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    size_text = f'width="{size[0]}" height="{size[1]}"'
    return f'<img alt="{html.escape(alt)}" {size_text} src="data:image/jpeg;base64,{data}">'


def thumbnail(image: Image.Image, alt: str, boxes: Sequence[tuple[int, int, int, int]] = ()) -> str:
    """`jpeg_image` of a small copy; squares are drawn around `boxes` (pixels of `image`), black and white."""
    if boxes:
        scale = min(1.0, THUMBNAIL_SIDE / max(image.size))
        size = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        draw = ImageDraw.Draw(image)
        for box in boxes:
            edges = [round(edge * scale) for edge in box]
            draw.rectangle([edges[0], edges[1], max(edges[2] - 1, edges[0]), max(edges[3] - 1, edges[1])],
                           outline="black", width=3)  # fmt: skip
            inner = [edges[0] + 1, edges[1] + 1, edges[2] - 2, edges[3] - 2]
            if inner[2] > inner[0] and inner[3] > inner[1]:
                draw.rectangle(inner, outline="white")
    return jpeg_image(image, alt)


def picture_card(
    results: Sequence[Result], image: Image.Image | None, config: Mapping[str, Any] | None = None
) -> str:
    """HTML of a judged picture: thumbnails (none if `image` is None), name, verdicts, bars, small print.

    results: the whole picture's first, then one for each face that was judged by itself; then those are what
    the card shows, and the whole picture's verdict becomes a line below them. config: the checkpoint's, for
    its error rates.
    """
    whole, faces = results[0], results[1:]
    shown = faces or [whole]
    name = html.escape(whole.name)
    verdicts = html.escape(", ".join(f"{r.part} {r.verdict}".strip() for r in shown))
    label = "fake" if any(r.label == "fake" for r in shown) else "real"
    symbol = FAKE_SYMBOL if label == "fake" else REAL_SYMBOL
    picture = f'<div class="cu-blank" aria-hidden="true">{symbol}</div>'
    if image is not None:
        marked = f" with {len(faces)} square{'s' * (len(faces) > 1)} around faces" if faces else ""
        alt = f"Small copy of the picture {whole.name}{marked}"
        picture = thumbnail(image, alt, [r.box for r in faces if r.box])
    body = "".join(face_block(face, image) for face in faces) if faces else verdict_block(whole)
    facts = [f"model {whole.model}", f"{whole.width} × {whole.height} pixels"]
    if whole.quality is not None:
        facts.append(f"JPEG quality about {whole.quality}")
    facts.append(f"{whole.seconds:.2f} s")
    if faces:
        body += (
            f'<div class="cu-small cu-whole">The whole picture: {html.escape(whole.verdict)}, '
            f"P(fake) {whole.p_fake:.4f}. That is what the command line and the service answer, which do not "
            "look for faces.</div>"
        )
    note = f'<div class="cu-small cu-note">Note: {html.escape(whole.note)}</div>' if whole.note else ""
    rates = ""
    if config:
        rates = (
            f'<div class="cu-small cu-rates">{html.escape(error_rates_text(config, whole.threshold))}</div>'
        )
    return (
        f'<div class="cu-card cu-{label}" role="group" aria-label="{name}: {verdicts}">'
        f'<div class="cu-picture">{picture}</div>'
        f'<div class="cu-body"><div class="cu-name"><bdi>{name}</bdi></div>{body}'
        f'<div class="cu-small">{html.escape(" · ".join(facts))}</div>{note}{rates}</div></div>'
    )


def verdict_block(result: Result) -> str:
    """HTML of one verdict: symbol, words, bar, the probability to four digits."""
    symbol = FAKE_SYMBOL if result.label == "fake" else REAL_SYMBOL
    return (
        f'<div class="cu-verdict"><span aria-hidden="true">{symbol}</span> '
        f'<span class="cu-verdict-text">{html.escape(result.verdict)}</span></div>'
        f"{probability_bar(result.p_fake, result.threshold)}"
        f'<div class="cu-small">P(fake) <span class="cu-p">{result.p_fake:.4f}</span>, '
        f"threshold {result.threshold:.4f}</div>"
    )


def face_block(result: Result, image: Image.Image | None) -> str:
    """HTML of one face: the square that was judged, its number, its verdict."""
    part = html.escape(result.part)
    crop = ""
    if image is not None and result.box:
        alt = f"The square around {result.part} of {result.name}"
        crop = f'<div class="cu-picture">{jpeg_image(image.crop(result.box), alt, 96)}</div>'
    note = f'<div class="cu-small cu-note">Note: {html.escape(result.note)}</div>' if result.note else ""
    size = f"{result.width} × {result.height} pixels"
    return (
        f'<div class="cu-face" role="group" aria-label="{part}: {html.escape(result.verdict)}">{crop}'
        f'<div class="cu-body"><div class="cu-small">{part}, {size}</div>'
        f"{verdict_block(result)}{note}</div></div>"
    )


def error_card(result: Result) -> str:
    """HTML of a file that could not be judged: its name and one sentence."""
    name, why = html.escape(result.name), html.escape(result.error.rstrip("."))
    return (
        f'<div class="cu-card cu-error" role="group" aria-label="{name}: not judged">'
        f'<div class="cu-picture"><div class="cu-blank" aria-hidden="true">{ERROR_SYMBOL}</div></div>'
        f'<div class="cu-body"><div class="cu-name"><bdi>{name}</bdi></div>'
        f'<div class="cu-error-text">Not judged: {why}.</div></div></div>'
    )


# ------------------------------------------------------------------------------------------------------------
# Heat maps

MAP_WARNING = (
    "A heat map is no evidence: it has a brightest place wherever there is a picture, it often misses, and "
    "it comes without an error rate. Lesson 14 measures how often."
)


def map_pair(picture: Image.Image, values: np.ndarray, what: str) -> str:
    """HTML of a picture beside its heat map, and in words where the map is strongest.

    values: float H × W in proportion to the picture, positive for fake. what: what the picture is, for the
    texts. Both are drawn at `MAP_SIDE` pixels; the picture is grey below the map.
    """
    import matplotlib

    scale = min(1.0, MAP_SIDE / max(picture.size))
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    small = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    fine = np.asarray(
        Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BOX), dtype=float
    )
    reach = max(float(np.abs(values).max()), 1e-12)
    tint = matplotlib.colormaps["PuOr_r"]((fine / reach + 1) / 2)[..., :3]
    grey = np.asarray(small.convert("L"), dtype=float)[..., None] / 255
    mapped = Image.fromarray(np.round(255 * (0.4 * grey + 0.6 * tint)).astype(np.uint8))
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    if values.max() > 0:
        across, down = (
            100 * (place + 0.5) / side for place, side in ((column, values.shape[1]), (row, values.shape[0]))
        )
        where = f"strongest for fake {across:.0f} % from the left and {down:.0f} % from the top"
    else:
        where = "no place speaks for fake"
    figures = [
        (jpeg_image(small, f"{what}, as it is", MAP_SIDE), "the picture"),
        (jpeg_image(mapped, f"{what} in grey under its heat map: {where}", MAP_SIDE),
         "its heat map: orange for fake, purple for real"),
    ]  # fmt: skip
    pair = "".join(f"<figure>{image}<figcaption>{words}</figcaption></figure>" for image, words in figures)
    return f'<div class="cu-pair">{pair}<div class="cu-small">{html.escape(what)}: {where}.</div></div>'


# ------------------------------------------------------------------------------------------------------------
# The history and its files


def history_table(results: Sequence[Result], shown: int = MAX_HISTORY_ROWS) -> str:
    """HTML of the results so far, the newest first, under a heading that counts them and folds them away."""
    if not results:
        return ""
    rows = []
    for number in range(len(results), max(0, len(results) - shown), -1):
        r = results[number - 1]
        p_fake = "–" if r.p_fake is None else f"{r.p_fake:.4f}"
        cells = [str(number), r.name, r.part or "whole", r.verdict, p_fake, r.model]
        rows.append("<tr>" + "".join(f"<td><bdi>{html.escape(cell)}</bdi></td>" for cell in cells) + "</tr>")
    names = ("No.", "File", "Part", "Verdict", "P(fake)", "Model")
    heads = "".join(f'<th scope="col">{head}</th>' for head in names)
    rest = f"<div>The newest {shown} of {len(results)}.</div>" if len(results) > shown else ""
    return (
        f"<details open><summary>History ({len(results)})</summary><table class='cu-history'>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{rest}</details>"
    )


def export_links(results: Sequence[Result]) -> str:
    """HTML of two links that save the results as CSV and as JSON; the files are in the links themselves.

    The CSV begins with the mark that tells Excel it is UTF-8.
    """
    if not results:
        return ""
    files = [
        ("verdicts.csv", "text/csv", "Save as CSV", results_csv(results).encode("utf-8-sig")),
        ("verdicts.json", "application/json", "Save as JSON", results_json(results).encode()),
    ]
    links = []
    for name, kind, words, content in files:
        data = base64.b64encode(content).decode("ascii")
        links.append(f'<a download="{name}" href="data:{kind};base64,{data}">{words}</a>')
    return f'<div class="cu-links">{"".join(links)}({len(results)} rows)</div>'


def progress_bar(done: int, total: int) -> str:
    """HTML of the browser's own progress bar, with words."""
    words = f"{done} of {total} files judged"
    return f'<progress max="{total}" value="{done}" aria-label="{words}">{words}</progress>'
