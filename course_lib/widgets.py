"""The uploader: a small page inside a notebook that judges pictures with a trained detector.

Lesson 16 builds it in the open, part by part; this module holds the finished one. Its parts are plain
functions that turn values into text (`verdict_text`, `probability_bar`, `picture_card`, `error_card`) and one
class, `Uploader`, which puts them on the page. Everything a visitor supplies (file names, and the messages
that quote them) is escaped before it becomes HTML; every list on the page has a bound; and an upload's bytes
are taken out of the browser widget as soon as they were read, so that saving the notebook does not save them.

Works with ipywidgets 7 (which Colab has) and 8, which hand over uploads in different shapes: `read_uploads`.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ipywidgets as ipw
from PIL import Image

from . import colab
from .checkpoints import MIN_SIDE
from .errors import CourseError
from .images import decode_image, printable

MAX_BYTES = 64_000_000  # the largest file that is looked at
MAX_CARDS = 24  # cards with a thumbnail on the page; older results stay in the history table
MAX_HISTORY = 1_000  # rows that `Uploader.history` remembers
MAX_HISTORY_ROWS = 100  # rows of it that the page draws
MAX_KEPT_BYTES = 128_000_000  # encoded pictures kept in memory so that another model can judge them
THUMBNAIL_SIDE = 112  # pixels
SMALL_SIDE = 64  # a picture with a side below this has little evidence left
# Naming formats (rather than image/*) makes phones convert their own HEIC pictures to JPEG on the way.
ACCEPT = ".jpg,.jpeg,.png,.webp,.gif,.bmp,.tif,.tiff"
PREFERRED = ("faces", "studio")  # the order in which checkpoints are offered: photographs first

# Blue and vermillion of Okabe and Ito's palette: told apart by colour-blind readers, and never the only cue.
REAL_COLOUR, FAKE_COLOUR = "#0072B2", "#D55E00"
REAL_SYMBOL, FAKE_SYMBOL, ERROR_SYMBOL = "●", "◆", "✕"

STYLE = """<style>
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
.course-uploader button:focus-visible, .course-uploader select:focus-visible,
.course-uploader summary:focus-visible { outline: 3px solid REAL; outline-offset: 1px; }
</style>""".replace("FAKE", FAKE_COLOUR).replace("REAL", REAL_COLOUR).replace("SIDE", str(THUMBNAIL_SIDE))


# ------------------------------------------------------------------------------------------------------------
# From the browser to bytes


@dataclass(frozen=True)
class Upload:
    """One file as the browser sent it: untrusted `name` and `content`; or the `problem` met in reading it."""

    name: str
    content: bytes = b""
    problem: str = ""


def read_uploads(value: Any) -> list[Upload]:
    """Turn ``FileUpload.value`` into a list of `Upload`, whichever ipywidgets made it.

    ipywidgets 8 gives a tuple of dicts ``{"name", "type", "size", "content": memoryview, "last_modified"}``;
    ipywidgets 7 gives one dict ``{name: {"metadata": {"name", …}, "content": bytes}}``. The ``{name: bytes}``
    of Colab's ``files.upload()`` is understood as well. An empty value gives an empty list.

    Raises TypeError for anything else.
    """
    if isinstance(value, Mapping):
        contents = [entry["content"] if isinstance(entry, Mapping) else entry for entry in value.values()]
        return [Upload(str(name), bytes(content)) for name, content in zip(value, contents, strict=True)]
    if isinstance(value, (tuple, list)):
        return [Upload(str(entry["name"]), bytes(entry["content"])) for entry in value]
    kind = type(value).__name__
    raise TypeError(f"an upload value is a tuple (ipywidgets 8) or a dict (ipywidgets 7), not a {kind}")


def take_uploads(widget: ipw.FileUpload) -> list[Upload]:
    """Read the files that wait in a FileUpload widget and empty the widget.

    Emptying matters: the value is part of the widget's state, and a notebook saved with its widget state
    would carry the pictures of whoever used it. It also lets the same file be chosen twice.
    """
    if widget.has_trait("data"):  # ipywidgets 7: `value` loses one of two files of one name, its lists do not
        names = [str(entry.get("name", "")) for entry in widget.metadata]
        uploads = [Upload(name, bytes(content)) for name, content in zip(names, widget.data, strict=False)]
        if uploads:
            with widget.hold_sync():
                widget.metadata, widget.data, widget._counter = [], [], 0
        return uploads
    uploads = read_uploads(widget.value)
    if uploads:
        widget.value = ()
    return uploads


def pretend_upload(widget: ipw.FileUpload, files: Mapping[str, bytes]) -> None:
    """Do to a FileUpload widget what the browser does when a visitor chose `files`: for lessons and tests."""
    if widget.has_trait("data"):  # ipywidgets 7
        with widget.hold_trait_notifications():
            widget.metadata = [{"name": name} for name in files]
            widget.data = list(files.values())
            widget._counter += 1
        return
    now = datetime.now(timezone.utc)
    widget.value = tuple(
        {"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": now}
        for name, content in files.items()
    )


def read_file(file: Any) -> Upload:
    """A file on this computer as an `Upload`, at most 64 MB of it. An `Upload` is returned unchanged."""
    if isinstance(file, Upload):
        return file
    path = Path(file)
    try:
        with path.open("rb") as stream:
            return Upload(path.name, stream.read(MAX_BYTES + 1))  # the one byte too many is refused later
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return Upload(path.name, problem=f"the file cannot be opened ({reason}); check its path.")


def shown_name(name: str, longest: int = 80) -> str:
    """A file name fit for display: its last part only, no control characters, at most `longest` characters.

    Marks that turn the direction of writing are dropped: with one of them "gpj.exe" reads "exe.jpg". The
    result is still plain text: escape it before it becomes HTML.
    """
    name = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    turns = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cs") and c not in turns).strip()
    if len(name) > longest:
        half = (longest - 1) // 2
        name = name[:half] + "…" + name[-half:]
    return name or "unnamed file"


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, with " (2)", " (3)", … after those that were there before."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


# ------------------------------------------------------------------------------------------------------------
# From a probability to words and HTML


def percent(probability: float) -> str:
    """A probability in [0, 1] as ``"98.8 %"``; never "100.0 %" nor "0.0 %", for no detector is that sure."""
    if probability >= 0.9995:
        return "> 99.9 %"
    if probability < 0.0005:
        return "< 0.1 %"
    return f"{100 * probability:.1f} %"


def verdict_text(p_fake: float, threshold: float = 0.5) -> str:
    """The verdict and the probability *of that verdict*: ``"FAKE 98.8 %"`` or ``"REAL 97.1 %"``.

    A picture is called fake when P(fake) ≥ `threshold`; the number is P(fake) for FAKE, 1 − P(fake) for REAL.
    Raises ValueError unless both lie in [0, 1].
    """
    for label, number in (("P(fake)", p_fake), ("the threshold", threshold)):
        if not 0 <= number <= 1:  # refuses NaN too
            raise ValueError(f"{label} must lie between 0 and 1, not {number}")
    return f"FAKE {percent(p_fake)}" if p_fake >= threshold else f"REAL {percent(1 - p_fake)}"


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


def thumbnail(image: Image.Image, alt: str, side: int = THUMBNAIL_SIDE) -> str:
    """HTML ``<img>`` with a small JPEG copy of an RGB picture, and the text `alt` for who cannot see it.

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


@dataclass(frozen=True)
class Result:
    """What the page says about one file: `p_fake`, or None and in `error` one sentence that says why not."""

    name: str
    model: str
    p_fake: float | None = None
    threshold: float = 0.5
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    note: str = ""
    error: str = ""

    @property
    def label(self) -> str:
        """``"fake"``, ``"real"`` or ``"error"``."""
        if self.p_fake is None:
            return "error"
        return "fake" if self.p_fake >= self.threshold else "real"

    @property
    def verdict(self) -> str:
        """``"FAKE 98.8 %"``, ``"REAL 97.1 %"`` or ``"not judged"``."""
        return "not judged" if self.p_fake is None else verdict_text(self.p_fake, self.threshold)


def picture_card(result: Result, image: Image.Image | None) -> str:
    """HTML of a judged picture: thumbnail (none if `image` is None), name, verdict, bar, small print."""
    name, verdict = html.escape(result.name), html.escape(result.verdict)
    symbol = FAKE_SYMBOL if result.label == "fake" else REAL_SYMBOL
    blank = f'<div class="cu-blank" aria-hidden="true">{symbol}</div>'
    picture = blank if image is None else thumbnail(image, f"Small copy of the picture {result.name}")
    size = f"{result.width} × {result.height} pixels"
    facts = f"P(fake) {percent(result.p_fake)} · model {result.model} · {size} · {result.seconds:.2f} s"
    note = f'<div class="cu-small cu-note">Note: {html.escape(result.note)}</div>' if result.note else ""
    return (
        f'<div class="cu-card cu-{result.label}" role="group" aria-label="{name}: {verdict}">'
        f'<div class="cu-picture">{picture}</div>'
        f'<div class="cu-body"><div class="cu-name"><bdi>{name}</bdi></div>'
        f'<div class="cu-verdict"><span aria-hidden="true">{symbol}</span> '
        f'<span class="cu-verdict-text">{verdict}</span></div>'
        f"{probability_bar(result.p_fake, result.threshold)}"
        f'<div class="cu-small">{html.escape(facts)}</div>{note}</div></div>'
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


def history_table(results: Sequence[Result], shown: int = MAX_HISTORY_ROWS) -> str:
    """HTML of the results so far, the newest first, under a heading that counts them and folds them away."""
    if not results:
        return ""
    rows = []
    for number in range(len(results), max(0, len(results) - shown), -1):
        r = results[number - 1]
        p_fake = "–" if r.p_fake is None else percent(r.p_fake)
        cells = [str(number), r.name, r.verdict, p_fake, r.model]
        rows.append("<tr>" + "".join(f"<td><bdi>{html.escape(cell)}</bdi></td>" for cell in cells) + "</tr>")
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("No.", "File", "Verdict", "P(fake)", "Model"))
    rest = f"<div>The newest {shown} of {len(results)}.</div>" if len(results) > shown else ""
    return (
        f"<details open><summary>History ({len(results)})</summary><table class='cu-history'>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{rest}</details>"
    )


# ------------------------------------------------------------------------------------------------------------
# Judging one file


def judge(
    upload: Upload, detector: Callable[[list[Image.Image]], Any], model: str
) -> tuple[Result, Image.Image | None]:
    """Decode one upload and ask `detector` about it. Never raises: what goes wrong becomes a sentence.

    Returns the result and the decoded RGB picture (None if it could not be decoded).
    """
    started = time.perf_counter()
    name = shown_name(upload.name, 100)
    if upload.problem:
        return Result(name, model, error=upload.problem), None
    image = None
    try:
        image = decode_image(upload.content, max_bytes=MAX_BYTES, min_side=MIN_SIDE, name=name)
        p_fake = float(detector([image])[0])
        if not 0 <= p_fake <= 1:  # refuses NaN too
            raise ValueError(f"its answer was {p_fake}, which is no probability")
    except CourseError as error:  # one sentence already; the card has the name above it
        return Result(name, model, error=str(error).removeprefix(f"{printable(name)}: ")), image
    except Exception as error:  # a page has no place for a traceback, and a bad file must not stop the others
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return Result(name, model, error=f"the model {model} failed ({reason}); try another model."), image
    threshold = float(getattr(detector, "threshold", 0.5))
    notes = []
    if min(image.size) < SMALL_SIDE:
        notes.append(f"a side shorter than {SMALL_SIDE} pixels leaves little evidence.")
    if (p_fake >= threshold) != (p_fake >= 0.5):
        notes.append(f"the number is below 50 % because this model's threshold is {100 * threshold:.0f} %.")
    seconds = time.perf_counter() - started
    return Result(name, model, p_fake, threshold, *image.size, seconds, " ".join(notes)), image


# ------------------------------------------------------------------------------------------------------------
# Checkpoints


def find_checkpoints() -> list[str]:
    """Names of the checkpoints in the course's data folder, those for photographs first."""
    from .embedded import data_folder

    names = [path.parent.name for path in (Path(data_folder()) / "checkpoints").glob("*/config.json")]
    order = {name: rank for rank, name in enumerate(PREFERRED)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def load_detectors(checkpoints: Iterable[Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Load what the chooser offers: ``({name: detector}, [a sentence for each that did not load])``.

    An entry is a checkpoint's name, a folder, or a ready detector (anything callable on a list of pictures).
    """
    detectors: dict[str, Any] = {}
    problems: list[str] = []
    try:
        entries = list(find_checkpoints() if checkpoints is None else checkpoints)
    except (CourseError, OSError) as error:
        return {}, [str(error)]
    for entry in entries:
        if callable(entry):
            detectors[str(getattr(entry, "name", None) or type(entry).__name__)] = entry
            continue
        from .predict import Detector

        name = Path(entry).name
        try:
            detectors[name] = Detector.load(entry)
        except Exception as error:  # a damaged checkpoint must not take the page with it; its reason is shown
            problems.append(f"The model {name} is not offered: {error}")
    if not entries:
        problems.append("There is no checkpoint in the course's data folder; train one in lesson 11.")
    return detectors, problems


def card_section(card: str, heading: str) -> str:
    """The first paragraph or list under a heading of a model card, on one line, without Markdown's marks."""
    _, _, rest = card.partition(f"## {heading}\n")
    block = rest.strip().split("\n\n")[0]
    lines = [line.strip() for line in block.splitlines()]
    if not lines or lines[0].startswith(("#", "|", "```")):
        return ""
    items = [("; " if line.startswith("- ") else " ") + line.removeprefix("- ") for line in lines]
    text = "".join(items).lstrip("; ")
    return text.replace("**", "").replace("`", "").replace("*", "")


def score_text(metrics: Mapping[str, Any]) -> str:
    """What the metrics of a checkpoint say; the score on collections held out of training comes first."""
    unseen = [x for x in metrics.get("auc_both_sources_unseen") or [] if isinstance(x, (int, float))]
    if unseen:
        mean, lowest = sum(unseen) / len(unseen), min(unseen)
        return (
            f"AUC {mean:.2f} on average on collections that were held out of training (lowest {lowest:.2f} "
            f"of {len(unseen)} trials; 0.5 is guessing, 1 is faultless)."
        )
    test = metrics.get("test")
    inside = test.get("auc") if isinstance(test, Mapping) else metrics.get("auc_inside")
    if isinstance(inside, (int, float)):
        return f"AUC {inside:.2f} on new pictures from the sources it was trained on; on others, unknown."
    return "No score comes with it, so do not rely on it."


def model_note(name: str, detector: Any) -> str:
    """HTML of a few lines about a checkpoint: what it has seen, how it scored, what it is not for.

    Taken from the headings "What it saw" and "What it must not be used for" of card.md and from the metrics.
    """
    card = str(getattr(detector, "card", None) or "")
    config = getattr(detector, "config", None) or {}
    seen = card_section(card, "What it saw") or "unknown: no card says what it was trained on."
    not_for = card_section(card, "What it must not be used for") or "decisions about anything or anybody."
    score = score_text(config.get("metrics") or {})
    facts = [("It has seen", seen), ("Its score", score), ("Not for", not_for)]
    short = [(head, textwrap.shorten(text, 420, placeholder=" …")) for head, text in facts]
    lines = "".join(f"<div><i>{head}:</i> {html.escape(text)}</div>" for head, text in short)
    return f'<div class="cu-model-note"><b>About the model {html.escape(name)}</b>{lines}</div>'


# ------------------------------------------------------------------------------------------------------------
# The page


class Uploader(ipw.VBox):
    """A page for judging pictures: choose a model, choose files, read the verdicts.

    checkpoints: names of checkpoints, folders, or ready detectors; None offers every checkpoint of the course
        that loads. A damaged one is left out, and the page says why.
    thumbnails: False draws no small copies: for a place that saves what the page shows, as Colab does.

    `history` is a list of `Result`, oldest first. ``add(files)`` judges files without a browser. The pictures
    on the page stay in the memory of this kernel (at most 128 MB of files, until Clear is pressed), so that
    choosing another model judges them again.
    """

    def __init__(self, checkpoints: Iterable[Any] | None = None, *, thumbnails: bool = True):
        self.detectors, self.problems = load_detectors(checkpoints)
        self.thumbnails = thumbnails
        self.history: list[Result] = []
        self._shown: list[tuple[ipw.HTML, Upload | None]] = []  # cards, newest first, each with its file

        self.files = ipw.FileUpload(accept=ACCEPT, multiple=True, description="Choose pictures")
        self.files.layout.width = "190px"
        self.files.tooltip = "Choose one or more pictures from this device"
        self.chooser = ipw.Dropdown(options=list(self.detectors), description="Model:")
        self.chooser.layout.width = "250px"
        self.clear_button = ipw.Button(description="Clear", tooltip="Forget all pictures and results")
        self.colab_button = ipw.Button(description="Upload through Colab")
        self.colab_button.tooltip = "For large files that the first button does not take"
        self.head, self.note, self.status, self.table = ipw.HTML(), ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.cards = ipw.VBox([])
        buttons = [self.files, self.chooser, self.clear_button]
        hint = "If nothing happens, the files are too large for the connection: choose fewer at once."
        if colab.in_colab():
            buttons.append(self.colab_button)
            hint = (
                "In Colab, files of 1 MB and more are reported to get lost on the way through the first "
                "button: take the second one, or call this page's upload() in a cell of its own."
            )
        controls = ipw.HBox(buttons, layout=ipw.Layout(flex_flow="row wrap", align_items="center"))
        super().__init__([self.head, controls, self.note, self.status, self.cards, self.table])

        # Names to find the parts by, in a test or in a style sheet.
        self.add_class("course-uploader")
        for part in ("files", "chooser", "clear_button", "colab_button", "note", "status", "cards", "table"):
            getattr(self, part).add_class(f"cu-{part.removesuffix('_button')}")

        self.head.value = (
            f'{STYLE}<div class="cu-title" role="heading" aria-level="2">Real or fake?</div>'
            '<div class="cu-lead">Choose one or more pictures of faces: JPEG, PNG, WebP, GIF, BMP or TIFF, '
            "up to 64 MB each. They go to the computer on which this notebook runs, and to no other. "
            f"{hint}</div>"
        )
        self.files.observe(self._on_files, names="value")
        self.chooser.observe(self._on_model, names="value")
        self.clear_button.on_click(lambda _: self.clear())
        self.colab_button.on_click(lambda _: self._on_colab())
        self.files.disabled = not self.detectors
        self._describe_model()
        self._say(" ".join(self.problems) or "No picture yet.", alert=bool(self.problems))

    def __repr__(self) -> str:
        # Jupyter stores this text beside the displayed page; the usual one would quote the cards' HTML.
        return f"Uploader(models={list(self.detectors)}, results={len(self.history)})"

    # What a visitor, or a cell, does

    def add(self, files: Any) -> list[Result]:
        """Judge files and show them: a path, a list of paths or of `Upload`, or a dict ``{name: bytes}``."""
        if isinstance(files, Mapping):
            return self._judge_new(read_uploads(files))
        return self._judge_new([read_file(f) for f in ([files] if isinstance(files, (str, Path)) else files)])

    def upload(self) -> list[Result]:
        """Ask for files with Colab's own dialogue, which takes large ones too, and judge them.

        Raises DownloadError outside Colab.
        """
        return self.add(colab.choose_files())

    def clear(self) -> None:
        """Forget every picture and every result."""
        self.history = []
        self._show([])
        self.table.value = ""
        self._say("Cleared. No picture yet.")

    def _on_files(self, _change: Any) -> None:
        uploads = take_uploads(self.files)
        if uploads:  # emptying the widget is a change as well, and brings nothing
            self._judge_new(uploads)

    def _on_model(self, _change: Any) -> None:
        self._describe_model()
        self._judge_again()

    def _on_colab(self) -> None:
        self._say("Colab's dialogue opens. If none appears, call this page's upload() in a cell of its own.")
        try:
            if not self.upload():
                self._say("No file was chosen.")
        except Exception as error:  # the dialogue is Colab's own; whatever it does, the page goes on
            reason = f"{type(error).__name__}: {error}"
            self._say(f"Colab's upload did not work ({reason}); try the first button.", alert=True)

    # What the page does

    def _judge_new(self, uploads: Sequence[Upload]) -> list[Result]:
        """Judge files, put their cards on top of the page, and return the results."""
        names = distinct([shown_name(upload.name) for upload in uploads])
        uploads = [replace(upload, name=name) for upload, name in zip(uploads, names, strict=True)]
        results, cards = [], []
        for result, image, upload in self._judged(uploads):
            results.append(result)
            if len(cards) < MAX_CARDS:
                cards.append((ipw.HTML(self._card(result, image)), upload if image is not None else None))
        if results:
            self._show(cards + self._shown)
            self._report(results)
        return results

    def _judge_again(self) -> None:
        """Judge the pictures on the page with the model that was just chosen, each in its own card."""
        cards = [(card, upload) for card, upload in self._shown if upload is not None]
        results = []
        for (card, _), (result, image, _) in zip(cards, self._judged([u for _, u in cards]), strict=False):
            results.append(result)
            card.value = self._card(result, image)
        if results:
            self._report(results)

    def _judged(self, uploads: Sequence[Upload]):
        """Yield ``(result, picture or None, upload)`` one by one: only one picture is in memory at a time."""
        model = self.chooser.value
        if model not in self.detectors:
            self._say("There is no model to judge with. " + " ".join(self.problems), alert=True)
            return
        for number, upload in enumerate(uploads, 1):
            if len(uploads) > 1:
                self._say(f"Judging file {number} of {len(uploads)} …")
            yield *judge(upload, self.detectors[model], model), upload

    def _card(self, result: Result, image: Image.Image | None) -> str:
        if result.p_fake is None:
            return error_card(result)
        return picture_card(result, image if self.thumbnails else None)

    def _show(self, cards: list[tuple[ipw.HTML, Upload | None]]) -> None:
        """Put `cards` on the page; close those beyond the bound, and forget files beyond theirs."""
        kept, total = [], 0
        for card, upload in cards[:MAX_CARDS]:
            total += len(upload.content) if upload else 0
            kept.append((card, upload if total <= MAX_KEPT_BYTES else None))
        self.cards.children = [card for card, _ in kept]
        staying = {id(card) for card, _ in kept}
        for card, _ in self._shown:
            if id(card) not in staying:
                card.close()
        self._shown = kept

    def _report(self, results: list[Result]) -> None:
        """Add results to the history and say in one line what came out."""
        self.history = (self.history + results)[-MAX_HISTORY:]
        self.table.value = history_table(self.history)
        counts = {label: sum(r.label == label for r in results) for label in ("fake", "real", "error")}
        text = f"{counts['fake']} called fake, {counts['real']} called real"
        if counts["error"]:
            text += f", {counts['error']} not judged"
        if len(results) > MAX_CARDS:
            text += f". Cards for the first {MAX_CARDS}; all are in the history"
        files = "1 file" if len(results) == 1 else f"{len(results)} files"
        self._say(f"{files} judged by the model {self.chooser.value}: {text}.")

    def _describe_model(self) -> None:
        name = self.chooser.value
        self.note.value = model_note(name, self.detectors[name]) if name in self.detectors else ""

    def _say(self, text: str, alert: bool = False) -> None:
        # A live region: screen readers speak it when it changes.
        role = "alert" if alert else "status"
        self.status.value = f'<div class="cu-status-text" role="{role}">{html.escape(text)}</div>'
