"""The uploader: a small page inside a notebook that judges pictures with a trained detector.

Lesson 16 builds it in the open, part by part; this is the finished one. From the browser to bytes
(`read_uploads`, `take_uploads`), from bytes to verdicts (`judge`), from a checkpoint to a note on what it is
worth (`model_note`), and the page itself (`Uploader`). The words stand in `verdicts`, their HTML in
`widgets_cards`, dropping and pasting in `widgets_drop`, finding faces in `faces`.

Every list on the page has a bound, files are read one by one, and an upload's bytes are taken out of the
browser widget as soon as they were read, so that saving the notebook does not save them.

Works with ipywidgets 7 (which Colab has) and 8, which hand over uploads in different shapes: `read_uploads`.
"""

from __future__ import annotations

import html
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np
from PIL import Image

from . import colab, faces
from .checkpoints import LARGEST_WHOLE, MIN_SIDE, write_file
from .errors import CourseError
from .images import decode_image, jpeg_quality, printable
from .verdicts import (
    HEAVY_JPEG,
    Result,
    calibration_text,
    error_rates_text,
    heavy_quality,
    notes_on,
    percent,
    results_csv,
    results_json,
    verdict_text,
)
from .widgets_cards import (
    MAP_WARNING,
    STYLE,
    error_card,
    export_links,
    history_table,
    map_pair,
    picture_card,
    probability_bar,
    progress_bar,
    thumbnail,
)
from .widgets_drop import drop_zone

__all__ = [
    "Result", "Upload", "Uploader", "find_checkpoints", "judge", "model_note", "percent", "picture_card",
    "pretend_upload", "probability_bar", "read_uploads", "shown_name", "take_uploads", "thumbnail",
    "verdict_text",
]  # fmt: skip

MAX_BYTES = 64_000_000  # the largest file that is looked at
MAX_CARDS = 24  # cards with a thumbnail on the page; older results stay in the history table
MAX_HISTORY = 1_000  # rows that `Uploader.history` remembers
MAX_KEPT_BYTES = 128_000_000  # encoded pictures kept in memory so that another model can judge them
MAX_MAPS = 3  # heat maps of one picture
LARGEST_MAP = 512  # a map is drawn of the middle of this size where a model judges whole pictures
# Naming formats (rather than image/*) makes phones convert their own HEIC pictures to JPEG on the way.
ACCEPT = ".jpg,.jpeg,.png,.webp,.gif,.bmp,.tif,.tiff"
PREFERRED = ("faces", "studio")  # the order in which checkpoints are offered: photographs first


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
# Judging one file

NO_FACE = (
    "no face seen from the front was found in it. The model knows nothing but faces; the whole picture was "
    "judged."
)


@dataclass
class Judged:
    """What came out of one file: the whole picture's result, then one for each face judged by itself.

    picture: as decoded, upright RGB; None if that failed.
    """

    results: list[Result]
    picture: Image.Image | None = None


def judge(
    upload: Upload,
    detector: Callable[[list[Image.Image]], Any],
    model: str,
    find: Callable[[Image.Image], list[faces.Box]] | None = None,
) -> Judged:
    """Decode one upload and ask `detector` about it. Never raises: what goes wrong becomes a sentence.

    find: finds the boxes of faces in a picture; None looks for none. Where a picture holds more than one
    face, or much more than a face, the square around each face is judged too.
    """
    started = time.perf_counter()
    name = shown_name(upload.name, 100)
    common = dict(name=name, model=model, time=datetime.now(timezone.utc).isoformat(timespec="seconds"))
    if upload.problem:
        return Judged([Result(**common, error=upload.problem)])
    picture = None
    try:
        picture = decode_image(upload.content, max_bytes=MAX_BYTES, min_side=MIN_SIDE, name=name)
        boxes = find(picture) if find else []
        squares = faces.squares_to_judge(boxes, picture.size, MIN_SIDE)
        scores = [float(p) for p in detector([picture, *(picture.crop(square) for square in squares)])]
        for p_fake in scores:
            if not 0 <= p_fake <= 1:  # refuses NaN too
                raise ValueError(f"its answer was {p_fake}, which is no probability")
    except CourseError as error:  # one sentence already; the card has the name above it
        return Judged([Result(**common, error=str(error).removeprefix(f"{printable(name)}: "))], picture)
    except Exception as error:  # a page has no place for a traceback, and a bad file must not stop the others
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        sentence = f"the model {model} failed ({reason}); try another model."
        return Judged([Result(**common, error=sentence)], picture)

    common |= {
        "threshold": float(getattr(detector, "threshold", 0.5)),
        "quality": jpeg_quality(upload.content),
    }
    results = []
    for number, (p_fake, box) in enumerate(zip(scores, [None, *squares], strict=True)):
        size = picture.size if box is None else (box[2] - box[0], box[3] - box[1])
        quality = common["quality"] if box is None else None  # one note on it is enough
        notes = notes_on(size, quality, **knowledge_of(detector))
        if box is None and find and not boxes:
            notes.append(NO_FACE)
        if box is None and squares and len(squares) < len(boxes):
            notes.append(f"{len(boxes)} faces were found; the {len(squares)} largest are judged.")
        if (p_fake >= common["threshold"]) != (p_fake >= 0.5):
            at = f"{100 * common['threshold']:.0f} %"
            notes.append(f"the number is below 50 % because this model's threshold is {at}.")
        part = "" if box is None else f"face {number} of {len(squares)}"
        results.append(
            Result(
                **common,
                p_fake=p_fake,
                width=size[0],
                height=size[1],
                note=" ".join(notes),
                part=part,
                box=box,
            )
        )
    seconds = time.perf_counter() - started
    return Judged([replace(result, seconds=seconds) for result in results], picture)


def knowledge_of(detector: Any) -> dict[str, Any]:
    """What `notes_on` needs to know of a detector; a plain function has neither."""
    preparation = getattr(detector, "preprocessing", None)
    whole = preparation is not None and preparation.side is None and not preparation.crop
    config = getattr(detector, "config", None) or {}
    return {
        "heavy": heavy_quality(config) if config else HEAVY_JPEG,
        "largest": LARGEST_WHOLE if whole else None,
    }


def heat_map(detector: Any, picture: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """(what was looked at, its Grad-CAM map, float H × W, positive for fake) of one picture.

    Where a detector judges whole pictures, the map is of their middle `LARGEST_MAP` pixels at most: the time
    and the memory of a map grow with the area. Raises ModelInputError for a detector that has no such map.
    """
    import torch

    from .explain import grad_cam, parts_of

    parts_of(detector)
    if knowledge_of(detector)["largest"]:
        width, height = (min(side, LARGEST_MAP) for side in picture.size)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return picture, grad_cam(detector, pixels, relu=False).numpy()


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
    rates = error_rates_text(config, float(getattr(detector, "threshold", 0.5)))
    rates += " " + calibration_text(float(getattr(detector, "temperature", 1.0)))
    facts = [("It has seen", seen), ("Its score", score), ("Its errors", rates), ("Not for", not_for)]
    short = [(head, textwrap.shorten(text, 420, placeholder=" …")) for head, text in facts]
    lines = "".join(f"<div><i>{head}:</i> {html.escape(text)}</div>" for head, text in short)
    return f'<div class="cu-model-note"><b>About the model {html.escape(name)}</b>{lines}</div>'


# ------------------------------------------------------------------------------------------------------------
# The page


class Card(ipw.VBox):
    """One picture on the page: its HTML, a button for its heat map, and the map when it was asked for.

    upload: its file, as long as the page keeps it; without it there is no map and no second opinion.
    """

    def __init__(self, judged: Judged, upload: Upload | None, text: str, with_map: bool, toggled: Any):
        self.results, self.upload = judged.results, upload
        self.html, self.map = ipw.HTML(text), ipw.HTML()
        self.map_button = ipw.ToggleButton(description="Heat map", disabled=upload is None)
        self.map_button.tooltip = (
            "Show or hide where this model's verdict comes from; it takes a second or two"
        )
        self.map.add_class("cu-map")
        self.map_button.add_class("cu-map-button")
        parts = (
            [self.html, self.map_button, self.map] if with_map and judged.picture is not None else [self.html]
        )
        super().__init__(parts)
        self.map_button.observe(lambda change: toggled(self, change["new"]), names="value")

    def redraw(self, judged: Judged, text: str) -> None:
        """Another verdict on the same picture; the map of the old one goes."""
        self.results, self.html.value = judged.results, text
        self.map_button.value = False

    def forget(self) -> None:
        """Let the file go: no map from now on."""
        self.upload = None
        self.map_button.disabled = True

    def close_all(self) -> None:
        """Close it and its parts, so that neither the kernel nor the browser keeps them."""
        for part in (self.html, self.map_button, self.map, self):
            part.close()


class Uploader(ipw.VBox):
    """A page for judging pictures: choose a model; choose, drop or paste files; read the verdicts.

    checkpoints: names of checkpoints, folders, or ready detectors; None offers every checkpoint of the course
        that loads. A damaged one is left out, and the page says why.
    thumbnails: whether small copies and heat maps are drawn. None draws them except in Colab, which saves
        what a page shows together with the notebook.
    find: a function from an RGB picture to the boxes of its faces; None takes `find_faces` if the extra
        `faces` is installed; False looks for none.

    `history` is a list of `Result`, oldest first. ``add(files)`` judges files without a browser,
    ``save(path)`` writes the history. The pictures on the page stay in the memory of this kernel (at most
    128 MB of files, until Clear is pressed), so that choosing another model judges them again.
    """

    def __init__(
        self,
        checkpoints: Iterable[Any] | None = None,
        *,
        thumbnails: bool | None = None,
        find: Callable[[Image.Image], list[faces.Box]] | bool | None = None,
    ):
        self.detectors, self.problems = load_detectors(checkpoints)
        self.thumbnails = not colab.in_colab() if thumbnails is None else thumbnails
        if find is None or find is True:
            find = faces.find_faces if faces.finder_is_there() else False
        self.find = find or None
        self.history: list[Result] = []

        self.files = ipw.FileUpload(accept=ACCEPT, multiple=True, description="Choose pictures")
        self.files.layout.width = "190px"
        self.files.tooltip = "Choose one or more pictures from this device"
        self.chooser = ipw.Dropdown(options=list(self.detectors), description="Model:")
        self.chooser.layout.width = "250px"
        self.clear_button = ipw.Button(description="Clear", tooltip="Forget all pictures and results")
        self.colab_button = ipw.Button(description="Upload through Colab")
        self.colab_button.tooltip = "For large files that the first button does not take"
        self.head, self.note, self.status, self.table = ipw.HTML(), ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.progress, self.export = ipw.HTML(), ipw.HTML()
        self.drop = drop_zone("course-uploader", "cu-files")
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
        super().__init__(
            [self.head, controls, self.drop, self.note, self.status, self.progress]
            + [self.cards, self.table, self.export]
        )

        # Names to find the parts by, in a test or in a style sheet.
        self.add_class("course-uploader")
        for part in ("files", "chooser", "clear_button", "colab_button", "note", "status", "cards", "table"):
            getattr(self, part).add_class(f"cu-{part.removesuffix('_button')}")
        self.export.add_class("cu-export")

        looked_for = (
            "Faces are looked for: where a picture holds several faces, or much more than a face, the square "
            "around each face is judged too."
            if self.find
            else f"Faces are not looked for (that needs the optional extra: {faces.INSTALL}): the whole "
            "picture is judged, so cut it to the face first."
        )
        self.head.value = (
            f'{STYLE}<div class="cu-title" role="heading" aria-level="2">Real or fake?</div>'
            '<div class="cu-lead">Choose one or more pictures of faces: JPEG, PNG, WebP, GIF, BMP or TIFF, '
            "up to 64 MB each. They go to the computer on which this notebook runs, and to no other. "
            f'{hint} <span class="cu-faces">{html.escape(looked_for)}</span></div>'
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
        """Judge files and show them: a path, a list of paths or of `Upload`, or a dict ``{name: bytes}``.

        Paths are opened one after the other, so that any number of them needs the memory of one. Returns the
        results in order: for each file the whole picture's, then those of its faces.
        """
        if isinstance(files, Mapping):
            files = read_uploads(files)
        return self._judge_new([files] if isinstance(files, (str, Path)) else list(files))

    def upload(self) -> list[Result]:
        """Ask for files with Colab's own dialogue, which takes large ones too, and judge them.

        Raises DownloadError outside Colab.
        """
        return self.add(colab.choose_files())

    def save(self, path: str | Path) -> Path:
        """Write the history to a file that ends in .csv or .json, all or nothing; returns its path.

        Raises CourseError for another ending, and where the file cannot be written.
        """
        path = Path(path)
        kinds = {".csv": lambda: results_csv(self.history).encode("utf-8-sig"),
                 ".json": lambda: results_json(self.history).encode()}  # fmt: skip
        if path.suffix.lower() not in kinds:
            raise CourseError(
                f"{path.name}: the history is saved as .csv or .json; choose one of these endings"
            )
        write_file(path, kinds[path.suffix.lower()]())
        return path

    def clear(self) -> None:
        """Forget every picture and every result."""
        self.history = []
        self._show([])
        self.table.value = self.export.value = ""
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

    def _on_map(self, card: Card, on: bool) -> None:
        """Draw a card's heat maps when its button is pressed, take them away when it is pressed again."""
        card.map_button.description = "Hide the heat map" if on else "Heat map"
        card.map.value = ""
        if on and card.upload is not None:
            card.map.value = '<div role="status">Drawing the heat map …</div>'
            card.map.value = self._maps(card)

    # What the page does

    def _judge_new(self, sources: list[Any]) -> list[Result]:
        """Judge uploads and paths, put their cards on top of the page, and return the results.

        The list is emptied on the way: a file's bytes are let go as soon as nothing on the page needs them.
        """
        names = distinct([shown_name(s.name if isinstance(s, Upload) else Path(s).name) for s in sources])
        results, cards, kept, files = [], [], 0, 0
        sources.reverse()

        def uploads() -> Iterator[Upload]:
            for name in names:
                yield replace(read_file(sources.pop()), name=name)

        for judged, upload in self._judged(uploads(), len(names)):
            files += 1
            results += judged.results
            if len(cards) < MAX_CARDS:
                kept += len(upload.content)
                keep = upload if judged.picture is not None and kept <= MAX_KEPT_BYTES else None
                cards.append(self._new_card(judged, keep))
        if results:
            self._show(cards + list(self.cards.children))
            self._report(results, files, len(names))
        return results

    def _judge_again(self) -> None:
        """Judge the pictures on the page with the model that was just chosen, each in its own card."""
        cards = [card for card in self.cards.children if card.upload is not None]
        results = []
        for card, (judged, _) in zip(
            cards, self._judged((c.upload for c in cards), len(cards)), strict=False
        ):
            results += judged.results
            card.redraw(judged, self._text(judged))
        if results:
            self._report(results, len(cards), len(cards))

    def _judged(self, uploads: Iterable[Upload], total: int) -> Iterator[tuple[Judged, Upload]]:
        """Yield (what came out, upload) one by one: only one picture is in memory at a time.

        Stopping the kernel (the square in the toolbar) ends it; what is judged by then stays.
        """
        model = self.chooser.value
        if model not in self.detectors:
            self._say("There is no model to judge with. " + " ".join(self.problems), alert=True)
            return
        try:
            for number, upload in enumerate(uploads, 1):
                if total > 1:
                    self.progress.value = progress_bar(number - 1, total)
                    if number == 1:  # once: a screen reader would read out every change
                        self._say(f"Judging {total} files …")
                yield judge(upload, self.detectors[model], model, self.find), upload
        except KeyboardInterrupt:
            pass  # `_report` says how many of how many were judged
        finally:
            self.progress.value = ""

    def _text(self, judged: Judged) -> str:
        """The HTML of a card."""
        whole = judged.results[0]
        if whole.p_fake is None:
            return error_card(whole)
        config = getattr(self.detectors.get(whole.model), "config", None)
        return picture_card(judged.results, judged.picture if self.thumbnails else None, config)

    def _new_card(self, judged: Judged, upload: Upload | None) -> Card:
        with_map = self.thumbnails and hasattr(self.detectors.get(judged.results[0].model), "preprocessing")
        return Card(judged, upload, self._text(judged), with_map, self._on_map)

    def _maps(self, card: Card) -> str:
        """HTML of the heat maps of what a card shows, and the sentence on what they are worth."""
        whole, *parts = card.results
        detector, pairs = self.detectors.get(whole.model), []
        try:
            picture = decode_image(card.upload.content, max_bytes=MAX_BYTES, name=whole.name)
            for part in (parts or [whole])[:MAX_MAPS]:
                seen, values = heat_map(detector, picture.crop(part.box) if part.box else picture)
                what = part.part or "the picture"
                if seen.width * seen.height < part.width * part.height:
                    what += f", its middle {seen.width} × {seen.height} pixels"
                pairs.append(map_pair(seen, values, what))
        except CourseError as error:
            return f'<div role="status">There is no heat map: {html.escape(str(error))}</div>'
        except Exception as error:  # a page has no place for a traceback
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            return f'<div role="status">The heat map failed: {html.escape(reason)}</div>'
        rest = f" Maps of the {MAX_MAPS} largest faces." if len(parts) > MAX_MAPS else ""
        return f'{"".join(pairs)}<div class="cu-small" role="note">{html.escape(MAP_WARNING + rest)}</div>'

    def _show(self, cards: list[Card]) -> None:
        """Put `cards` on the page; close those beyond the bound, and forget files beyond theirs."""
        kept, total = cards[:MAX_CARDS], 0
        for card in kept:
            total += len(card.upload.content) if card.upload else 0
            if card.upload and total > MAX_KEPT_BYTES:
                card.forget()
        before = list(self.cards.children)
        self.cards.children = kept
        for card in before:
            if card not in kept:
                card.close_all()

    def _report(self, results: list[Result], files: int, total: int) -> None:
        """Add results to the history and say in one line what came out."""
        self.history = (self.history + results)[-MAX_HISTORY:]
        self.table.value = history_table(self.history)
        self.export.value = export_links(self.history)
        parts = sum(bool(r.part) for r in results)
        # A whole picture's verdict counts only where no face of it was judged by itself.
        heads = [r for r, after in zip(results, [*results[1:], None], strict=True)
                 if r.part or after is None or not after.part]  # fmt: skip
        counts = {label: sum(r.label == label for r in heads) for label in ("fake", "real", "error")}
        text = f"{counts['fake']} called fake, {counts['real']} called real"
        if counts["error"]:
            text += f", {counts['error']} not judged"
        if files > MAX_CARDS:
            text += f". Cards for the first {MAX_CARDS}; all are in the history"
        if files < total:
            text += f". Stopped: {total - files} of {total} files were not looked at"
        words = "1 file" if files == 1 else f"{files} files"
        faces_too = (
            f" ({parts} face{'s' * (parts > 1)} by {'themselves' if parts > 1 else 'itself'})"
            if parts
            else ""
        )
        self._say(f"{words} judged by the model {self.chooser.value}{faces_too}: {text}.")

    def _describe_model(self) -> None:
        name = self.chooser.value
        self.note.value = model_note(name, self.detectors[name]) if name in self.detectors else ""

    def _say(self, text: str, alert: bool = False) -> None:
        # A live region: screen readers speak it when it changes.
        role = "alert" if alert else "status"
        self.status.value = f'<div class="cu-status-text" role="{role}">{html.escape(text)}</div>'
