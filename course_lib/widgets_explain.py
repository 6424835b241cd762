"""The interactive piece of lesson 14: one face, one map, by the trained network or by random weights."""

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

from .checkpoints import load_checkpoint
from .errors import CourseError
from .explain import (
    attention_map,
    grad_cam,
    integrated_gradients,
    logits_of,
    occlusion,
    parts_of,
    pointing_game,
    rank_correlation,
    shuffled,
    untouched,
    window_map,
)
from .plots import STYLE
from .studio import load_spliced
from .widgets_kit import (
    figure_png,
    keep_keys,
    notes,
    read_faces,
    set_picture,
    show_with_picture,
)

METHODS = {  # what the chooser offers; settings that take a second or less
    "Grad-CAM": lambda model, face: grad_cam(model, face, relu=False),
    "occlusion": lambda model, face: occlusion(model, face, 32, 16),
    "integrated gradients": lambda model, face: integrated_gradients(model, face, steps=16),
    "attention": lambda model, face: attention_map(model, face),
    "windows alone": lambda model, face: window_map(model, face, 32, 8),
}
NETWORKS = ("trained", "random")


def signed(value: float, form: str = "+.2f") -> str:
    """A number with a real minus sign."""
    return f"{value:{form}}".replace("-", "−")


def limits_of(method: str, values: torch.Tensor) -> tuple[float, float]:
    """What the two ends of the colours mean: 0..1 for attention, else minus and plus the largest size."""
    if method == "attention":
        return 0.0, 1.0
    reach = max(float(values.abs().max()), 1e-12)
    return -reach, reach


def tinted(face: np.ndarray, values: torch.Tensor, limits: tuple[float, float], opacity: float) -> np.ndarray:
    """The face in grey under the map's colours, uint8; opacity 0 shows the face alone, 1 the map alone."""
    grey = face.mean(axis=2, keepdims=True) / 255
    share = np.clip((values.numpy() - limits[0]) / (limits[1] - limits[0]), 0, 1)
    tint = plt.get_cmap("PuOr_r")(share)[..., :3]
    return np.round(255 * ((1 - opacity) * grey + opacity * tint)).astype(np.uint8)


def outlined(axis: Any, mask: torch.Tensor | None) -> None:
    """The edge of the re-drawn region, black under white, so that it shows on any ground."""
    if mask is not None:
        for colour, width in (("black", 2.6), ("white", 1.2)):
            axis.contour(mask.numpy().astype(float), levels=[0.5], colors=colour, linewidths=width)


def pair_figure(
    face: np.ndarray, method: str, values: torch.Tensor, opacity: float, mask: torch.Tensor | None, title: str
) -> Figure:
    """The face, and beside it the face under its map, with a colour bar."""
    limits = limits_of(method, values)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(6.9, 3.3), layout="constrained")
        axes[0].imshow(face, interpolation="nearest")
        axes[0].set_title("the picture", fontsize=11, loc="center")
        axes[1].imshow(tinted(face, values, limits, opacity), interpolation="nearest")
        axes[1].set_title(title, fontsize=11, loc="center")
        bar = figure.colorbar(
            plt.cm.ScalarMappable(plt.Normalize(*limits), "PuOr_r"), ax=axes[1], fraction=0.046
        )
        bar.ax.tick_params(labelsize=9)
        for axis in axes:
            outlined(axis, mask)
            axis.set(xticks=[], yticks=[])
    return figure


def sheet_figure(face: np.ndarray, maps: dict[str, dict[str, torch.Tensor]], mask: Any) -> Figure:
    """Two rows: the trained network's maps of one face, and below them those of random weights."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(maps) + 1, figsize=(1.75 * (len(maps) + 1), 4.0))
        for row, network in enumerate(NETWORKS):
            axes[row, 0].imshow(face, interpolation="nearest")
            axes[row, 0].set_ylabel(f"{network} weights", fontsize=11)
            for axis, (method, found) in zip(axes[row, 1:], maps.items(), strict=True):
                limits = limits_of(method, found[network])
                axis.imshow(tinted(face, found[network], limits, 0.7), interpolation="nearest")
                ends = " to ".join(signed(limit, ".2g") for limit in limits)
                title = f"{method}\n{ends}" if row == 0 else ends
                axis.set_title(title, fontsize=9.5, loc="center", pad=3)
        axes[0, 0].set_title("the picture", fontsize=9.5, loc="center", pad=3)
        for axis in axes.flat:
            outlined(axis, mask)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        figure.tight_layout(pad=0.4)
    return figure


class ExplanationExplorer(ipw.VBox):
    """Choose a face and a method, lay the map over the face; at the press of a button, random weights.

    faces: uint8 tensors 3×H×W of one size, sides of at least 32; names: one for each; masks: for each a bool
    tensor H×W, drawn as an outline, or None. Without faces: the first spliced picture of each region. model:
    a FaceNeSt or a `Detector`; without one, the checkpoint that ships with the course. Random weights are the
    trained ones, each tensor shuffled. What cannot be used gets a sentence.
    """

    def __init__(
        self, faces: Any = None, names: Any = None, masks: Any = None, model: Any = None,
        method: Any = "Grad-CAM", opacity: Any = 0.6,
    ) -> None:  # fmt: skip
        self.models = None
        try:
            if faces is None:
                spliced = load_spliced()
                regions = [spliced.region(i) for i in range(len(spliced))]
                chosen = [regions.index(region) for region in spliced.regions]
                faces = [spliced.uint8(i) for i in chosen]
                masks = [spliced.mask(i) for i in chosen] if masks is None else masks
                names = [f"{regions[i]} re-drawn" for i in chosen] if names is None else names
            self.faces, self.names = read_faces(faces, names)
            self.masks = read_masks(masks, self.faces)
            trained = load_checkpoint("studio").model if model is None else model
            parts_of(trained)
            models = {"trained": trained, "random": shuffled(trained, seed=0)}
            self.methods = {}
            for name, make in METHODS.items():
                try:
                    make(trained, self.faces[0])
                except CourseError:  # a network without attention, a picture too small for a window
                    continue
                self.methods[name] = make
            if not self.methods:
                make(trained, self.faces[0])
        except (ValueError, TypeError, AttributeError, CourseError) as error:
            super().__init__([ipw.HTML(f'<div role="status">{html.escape(str(error))}</div>')])
            return
        self.models = models
        self._cache: dict[tuple[int, str, str], torch.Tensor] = {}
        wrong = []
        if method not in self.methods:
            first = next(iter(self.methods))
            wrong.append(f"There is no method {str(method)[:20]!r} here; it begins with {first} instead.")
            method = first
        if isinstance(opacity, bool) or not isinstance(opacity, int | float) or not 0 <= opacity <= 1:
            wrong.append(
                f"The opacity is {str(opacity)[:20]!r}, not between 0 and 1; it begins at 0.6 instead."
            )
            opacity = 0.6
        self._build(method, float(opacity))
        self._redraw()
        self.message.value = notes(*wrong)

    def _build(self, method: str, opacity: float) -> None:
        style, wide = {"description_width": "70px"}, ipw.Layout(width="300px", max_width="100%")
        self.face = ipw.Dropdown(
            options=[(name, i) for i, name in enumerate(self.names)], description="face", style=style,
            layout=wide,
        )  # fmt: skip
        self.method = ipw.Dropdown(
            options=list(self.methods), value=method, description="method", style=style, layout=wide
        )
        self.opacity = ipw.FloatSlider(
            value=opacity, min=0, max=1, step=0.05, description="opacity", continuous_update=False,
            readout_format=".2f", style=style, layout=wide,
        )  # fmt: skip
        self.random = ipw.ToggleButton(
            value=False, description="random weights", layout=ipw.Layout(width="190px")
        )
        self.random.add_class("course-random")
        self.outline = ipw.Checkbox(
            value=False, description="show what was re-drawn", indent=False, layout=ipw.Layout(width="240px")
        )
        self.message, self.words = ipw.HTML(), ipw.HTML()
        self.picture = ipw.HTML()
        wrap = ipw.Layout(flex_flow="row wrap", grid_gap="8px", align_items="center")
        third = [self.random] + ([self.outline] if any(m is not None for m in self.masks) else [])
        super().__init__(
            [
                ipw.HBox([self.face, self.method], layout=wrap),
                ipw.HBox([self.opacity, *third], layout=wrap),
                self.message,
                self.picture,
                self.words,
                keep_keys("course-explanation"),
            ]
        )
        self.add_class("course-explanation")
        for widget in (self.face, self.method, self.opacity, self.random, self.outline):
            widget.observe(self._redraw, names="value")

    def map_of(self, face: int, method: str, network: str) -> torch.Tensor:
        """The map H×W of face number `face`, by "trained" or "random" weights; computed once."""
        key = (face, method, network)
        if key not in self._cache:
            self._cache[key] = self.methods[method](self.models[network], self.faces[face])
        return self._cache[key]

    def logit(self, face: int, network: str) -> float:
        """The network's logit of fake for the whole picture (the mean over the windows it looks at)."""
        model, preprocessing = parts_of(self.models[network])
        with untouched(model):
            return float(logits_of(model, preprocessing.views(self.faces[face]), preprocessing).mean())

    def state(self) -> dict[str, Any]:
        """What the page says: the map, its largest value and where, whether that is inside, and so on."""
        face, method = self.face.value, self.method.value
        network = NETWORKS[int(self.random.value)]
        values, mask = self.map_of(face, method, network), self.masks[face]
        row, column = divmod(int(values.argmax()), values.shape[1])
        return {
            "network": network,
            "map": values,
            "largest": float(values.max()),
            "place": (row, column),
            "places": int((values == values.max()).sum()),
            "inside": None if mask is None else float(pointing_game([values], [mask])[0]),
            "agreement": rank_correlation(*(self.map_of(face, method, n) for n in NETWORKS)),
            "logit": self.logit(face, network),
        }

    def _redraw(self, _: Any = None) -> None:
        self.message.value = ""
        state, face, method = self.state(), self.face.value, self.method.value
        on = state["network"] == "random"
        self.random.description = "▸ random weights" if on else "random weights"
        self.random.button_style = "warning" if on else ""
        pixels = self.faces[face].permute(1, 2, 0).numpy()
        mask = self.masks[face] if self.outline.value else None
        title = f"{method}, {state['network']} weights"
        png = figure_png(pair_figure(pixels, method, state["map"], self.opacity.value, mask, title))
        row, column = state["place"]
        where = f"largest value {signed(state['largest'], '.3g')} at row {row}, column {column}"
        if state["places"] > 1:
            where += f" and {state['places'] - 1} places more"
        if state["inside"] is not None:
            share = state["inside"]
            part = {0.0: "outside", 1.0: "inside"}.get(share, f"{100 * share:.0f} % of them inside")
            where += f", {part} what was re-drawn"
        agree = f"rank correlation of the trained and the random map: {signed(state['agreement'])}"
        alt = f"Left the face {self.names[face]!r}, right the same under its map: {title}; {where}."
        set_picture(self.picture, png, alt, None)
        self.words.value = (
            f'<div style="line-height:1.6" role="status">{html.escape(title)}: {html.escape(where)}.<br>'
            f"Logit of fake for the whole picture: {signed(state['logit'])}.<br>{agree}.</div>"
        )

    def show(self) -> None:
        """Display it, with a static figure of all methods and both networks where widgets do not render."""
        if self.models is None:
            show_with_picture(self, None, "Nothing to explore.")
            return
        face = self.face.value
        maps = {m: {n: self.map_of(face, m, n) for n in NETWORKS} for m in self.methods}
        figure = sheet_figure(self.faces[face].permute(1, 2, 0).numpy(), maps, self.masks[face])
        words = "An explorer of maps; the picture shows all methods for one face, trained and random weights."
        show_with_picture(self, small_png(figure), words)


def small_png(figure: Figure) -> bytes:
    """A figure as PNG of 96 colours: a fraction of the bytes, and faces still look like faces."""
    stream = io.BytesIO()
    picture = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
    picture.quantize(96, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def read_masks(masks: Any, faces: torch.Tensor) -> list[torch.Tensor | None]:
    """A mask or None for each face; ValueError with a sentence if they do not fit."""
    if masks is None:
        return [None] * len(faces)
    usable = isinstance(masks, torch.Tensor | list | tuple) and len(masks) == len(faces)
    if not usable or not all(
        m is None or (isinstance(m, torch.Tensor) and m.dtype == torch.bool and m.shape == faces.shape[2:])
        for m in masks
    ):
        size = " × ".join(map(str, faces.shape[2:]))
        raise ValueError(f"The masks are to be bool tensors {size}, or None, one for each face.")
    return [None if m is None or not m.any() else m for m in masks]
