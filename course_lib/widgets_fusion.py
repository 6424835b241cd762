"""The interactive piece of lesson 09: which scale does the detector hear, for any picture?"""

from __future__ import annotations

import html
import io
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from .checkpoints import MIN_SIDE, load_checkpoint
from .data import load
from .errors import CourseError
from .images import decode_image, printable
from .plots import GREEN, GREY, STYLE
from .transforms import gaussian_blur, jpeg, normalise
from .widgets import ACCEPT, Upload, read_file, shown_name, take_uploads
from .widgets_kit import keep_keys, light_png, picture_widget, sentence, set_picture, show_with_picture

CHANGES = ("as it is", "JPEG, quality 90", "JPEG, quality 50", "JPEG, quality 20", "blurred", "half as large")
LARGEST = 512  # of a larger picture the middle is judged: shrinking it would take its traces away
MAX_PIXELS = 40_000_000
OWN = "a picture of mine"
SCALES = ("1 (finest)", "2", "3", "4 (coarsest)")


def changed(image: torch.Tensor, change: str) -> torch.Tensor:
    """A uint8 picture 3×H×W after one of `CHANGES`; uint8."""
    if change.startswith("JPEG"):
        return jpeg(image, int(change.rsplit(" ", 1)[1]))
    if change == "blurred":
        soft = gaussian_blur(image[None].float(), torch.tensor([1.0]))[0]
        return soft.round().clamp(0, 255).to(torch.uint8)
    if change == "half as large":
        size = [max(MIN_SIDE, side // 2) for side in image.shape[1:]]
        return TF.resize(image, size, interpolation=TF.InterpolationMode.BICUBIC, antialias=True)
    return image


def middle(image: torch.Tensor, side: int = LARGEST) -> torch.Tensor:
    """The middle of a picture 3×H×W, at most ``side`` pixels high and wide."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def read_upload(upload: Upload) -> torch.Tensor:
    """An upload as uint8 3×H×W; ValueError with a sentence if it is no picture that can be judged."""
    name = shown_name(upload.name)
    if upload.problem:
        raise ValueError(f"{name}: {upload.problem}")
    try:
        image = decode_image(upload.content, max_pixels=MAX_PIXELS, min_side=MIN_SIDE, name=printable(name))
    except CourseError as error:
        raise ValueError(str(error)) from None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def judge(model: torch.nn.Module, image: torch.Tensor) -> tuple[np.ndarray, float]:
    """The four weights and P(fake) of one picture 3×H×W."""
    with torch.inference_mode():
        logit, details = model(normalise(middle(image)[None]), return_details=True)
    return details["scale_weights"][0].double().numpy(), float(torch.sigmoid(logit[0].double()))


def bars(weights: np.ndarray, before: np.ndarray | None) -> str:
    """HTML: one bar for each scale with its number; a line marks where it was before the change."""
    rows = []
    for i, (name, weight) in enumerate(zip(SCALES, weights, strict=True)):
        mark, words = "", f"scale {name}: {weight:.3f}"
        if before is not None:
            mark = (
                f'<div style="position:absolute;top:-3px;bottom:-3px;left:{100 * before[i]:.1f}%;'
                'border-left:3px solid currentColor"></div>'
            )
            words += f", before the change {before[i]:.3f}"
        rows.append(
            f'<tr><td style="padding:3px 8px 3px 0">scale {name}</td><td style="width:230px">'
            f'<div role="img" aria-label="{words}" style="position:relative;height:14px;'
            f'background:rgba(128,128,128,.28)"><div style="height:14px;width:{100 * weight:.1f}%;'
            f'background:{GREEN}"></div>{mark}</div></td>'
            f'<td style="padding:3px 0 3px 8px"><b>{weight:.3f}</b></td></tr>'
        )
    note = "" if before is None else '<div style="opacity:.85">The line marks the picture as it was.</div>'
    return f'<table style="line-height:1.3">{"".join(rows)}</table>{note}'


def percent(p: float) -> str:
    """P(fake) with enough digits to see how near to 0 or 1 it is."""
    return "below 0.0001" if p < 1e-4 else "above 0.9999" if p > 1 - 1e-4 else f"{p:.4f}"


class ScaleWeightsExplorer(ipw.VBox):
    """The four weights of a detector for any picture: a test image of `studio`, or one of your own.

    checkpoint: a FaceNeSt with dynamic fusion. kind, number: the picture to begin with, "real" or "fake" and
    its place among the test images of that class. picture: a file of your own to begin with. What cannot be
    used gets a sentence.
    """

    def __init__(
        self, checkpoint: Any = "studio", kind: Any = "real", number: Any = 0, picture: Any = None
    ) -> None:
        self.model = None
        try:
            self.model = load_checkpoint(checkpoint).model.eval()
            if not hasattr(self.model, "fusion"):
                raise ValueError(f"The checkpoint {checkpoint!r} has no scales to weigh; try 'studio'.")
            self.test = load("studio").test
        except (ValueError, TypeError, AttributeError, CourseError) as error:
            self.model = None
            super().__init__([ipw.HTML(f'<div role="status">{html.escape(str(error))}</div>')])
            return
        labels = np.asarray(self.test.labels)
        self.places = {"real": np.flatnonzero(labels == 0), "fake": np.flatnonzero(labels == 1)}
        self.own: torch.Tensor | None = None
        self.own_name, wrong = "", []
        if not isinstance(kind, str) or kind not in self.places:
            wrong.append(
                f"The kind is {str(kind)[:20]!r}; choose 'real' or 'fake'. It begins with a real face."
            )
            kind = "real"
        most = len(self.places[kind]) - 1
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
            wrong.append(
                f"The number is {str(number)[:20]!r}; give a whole number from 0 to {most}. It begins at 0."
            )
            number = 0
        self._build(kind, number, most)
        if picture is not None:
            wrong += [problem for problem in [self._take(picture)] if problem]
        self._redraw()
        self._say(*wrong)

    def _build(self, kind: str, number: int, most: int) -> None:
        style, wide = {"description_width": "70px"}, ipw.Layout(width="330px", max_width="100%")
        self.kind = ipw.Dropdown(
            options=[("real test faces", "real"), ("fake test faces", "fake")], value=kind,
            description="picture", style=style, layout=wide,
        )  # fmt: skip
        self.number = ipw.IntSlider(
            value=number, min=0, max=most, description="number", continuous_update=False, style=style,
            layout=wide,
        )  # fmt: skip
        self.change = ipw.Dropdown(options=CHANGES, description="change", style=style, layout=wide)
        self.files = ipw.FileUpload(accept=ACCEPT, multiple=False, description="Choose my own picture")
        self.files.layout.width = "220px"
        self.files.tooltip = "Choose a picture from this device; it goes to this notebook's computer only"
        self.message, self.words, self.bars = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.view = picture_widget(b"", "")
        controls = ipw.VBox([self.kind, self.number, self.change, self.files, self.message])
        right = ipw.VBox([self.bars, self.words], layout=ipw.Layout(max_width="470px"))
        super().__init__(
            [
                controls,
                ipw.HBox([self.view, right], layout=ipw.Layout(flex_flow="row wrap", grid_gap="18px")),
                keep_keys("course-scales"),
            ]
        )
        self.add_class("course-scales")
        for control in (self.kind, self.number, self.change):
            control.observe(self._redraw, names="value")
        self.files.observe(self._on_files, names="value")

    def _say(self, *lines: str) -> None:
        self.message.value = "".join(f"<div>{sentence(line)}</div>" for line in lines)

    def _take(self, picture: Any) -> str:
        """Make a file, or an `Upload`, the picture of the learner; returns what was wrong with it, or ""."""
        try:
            upload = read_file(picture)
            self.own = read_upload(upload)
        except (ValueError, TypeError) as error:
            return str(error)
        self.own_name = shown_name(upload.name)
        if OWN not in [value for _, value in self.kind.options]:
            self.kind.options = (*self.kind.options, (OWN, OWN))
        self.kind.value = OWN
        return ""

    def _on_files(self, _: Any = None) -> None:
        uploads = take_uploads(self.files)
        if uploads:  # emptying the widget is a change as well, and brings nothing
            problem = self._take(uploads[-1])
            self._redraw()
            self._say(*([problem] if problem else []))

    @property
    def image(self) -> torch.Tensor:
        """The chosen picture before the change, uint8 3×H×W."""
        if self.kind.value == OWN:
            return self.own
        return self.test.uint8(int(self.places[self.kind.value][self.number.value]))

    def state(self) -> dict[str, Any]:
        """The picture that is judged, its four weights and P(fake), and the same before the change."""
        before, p_before = judge(self.model, self.image)
        image = changed(self.image, self.change.value)
        weights, p_fake = judge(self.model, image)
        return {"image": image, "weights": weights, "p_fake": p_fake, "before": before, "p_before": p_before}

    def show(self) -> None:
        """Display it, with a static figure in its place where widgets do not render."""
        if self.model is None:
            show_with_picture(self, None, "Nothing to explore.")
        else:
            words = (
                "An explorer of the four scale weights; the picture shows two faces, before and after JPEG."
            )
            show_with_picture(self, light_png(self._sheet()), words)

    def _sheet(self) -> Figure:
        """The static figure: the first real and the first fake test face, as they are and after JPEG."""
        states = []
        for kind in ("real", "fake"):
            face = self.test.uint8(int(self.places[kind][0]))
            for change in (CHANGES[0], CHANGES[3]):
                image = changed(face, change)
                states.append((f"{kind}, {change}", image, *judge(self.model, image)))
        return sheet_figure(states)

    def _redraw(self, _: Any = None) -> None:
        own = self.kind.value == OWN
        self.number.disabled = own
        self._say()
        state = self.state()
        image = middle(state["image"])
        name = f"Your picture {self.own_name}" if own else f"{self.kind.value} test face {self.number.value}"
        unchanged = self.change.value == CHANGES[0]
        alt = f"{name}, {self.change.value}, {image.shape[2]} by {image.shape[1]} pixels."
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(stream, "PNG")
        set_picture(self.view, stream.getvalue(), alt, min(256, 2 * image.shape[2]))
        self.bars.value = bars(state["weights"], None if unchanged else state["before"])
        was = "" if unchanged else f"; before the change {percent(state['p_before'])}"
        cut = max(state["image"].shape[1:]) > LARGEST
        note = f" Judged is its middle, at most {LARGEST}×{LARGEST} pixels." if cut else ""
        if own:
            note += " This detector knows one generator's trace: for other pictures its answer means little."
        self.words.value = (
            f'<div role="status" style="line-height:1.5">{html.escape(name)}, {self.change.value}: '
            f"the four weights add up to {state['weights'].sum():.3f}. "
            f"<b>P(fake) {percent(state['p_fake'])}</b>{was}.{note}</div>"
        )


def sheet_figure(states: list[tuple[str, torch.Tensor, np.ndarray, float]]) -> Figure:
    """Pictures in a row, under each the four weights as bars with their numbers. Not shown."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2, len(states), figsize=(2.1 * len(states), 3.7), layout="constrained", height_ratios=[1.25, 1]
        )
        for (title, image, weights, p_fake), (top, bottom) in zip(states, axes.T, strict=True):
            top.imshow(image.permute(1, 2, 0).numpy())
            top.set_title(title, fontsize=9, loc="center")
            top.axis("off")
            bottom.bar(range(1, 5), weights, color=GREEN, edgecolor=GREY)
            bottom.axhline(0.25, color="black", linewidth=0.8, linestyle=":")
            # Each number on white, so that the dotted line does not strike it through.
            white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            for i, weight in enumerate(weights, 1):
                bottom.annotate(f"{weight:.2f}", (i, weight), (0, 3), textcoords="offset points", ha="center",
                                fontsize=9, bbox=white)  # fmt: skip
            bottom.set(ylim=(0, 0.62), yticks=[], xticks=range(1, 5), xlabel=f"scale; P(fake) {p_fake:.2f}")
    return figure
