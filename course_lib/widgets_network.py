"""The map of the network in lesson 10: choose a station of FaceNeSt and see what it holds, costs and sees."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from .checkpoints import load_checkpoint
from .errors import CourseError
from .facenest import MIN_SIDE, FaceNeSt, FaceNeStConfig, count_parameters, high_pass
from .plots import FAKE, GREEN, STYLE
from .transforms import normalise
from .widgets_kit import (
    figure_png,
    keep_keys,
    light_png,
    picture_widget,
    read_faces,
    read_whole,
    sentence,
    set_picture,
    show_with_picture,
)


@dataclass
class Station:
    """One place on the way through the network, for one image.

    shape: what leaves it, without the batch. field: the side of the square of pixels that its convolutions
    see; whole: True if attention or fusion lets it hear the whole image. picture: H×W, the mean over the
    channels of what leaves it; None where there are no places left. values: what leaves it, if that is a
    handful of numbers worth reading: the scale weights, P(fake).
    """

    name: str
    words: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    field: int
    whole: bool
    picture: np.ndarray | None = None
    values: tuple[float, ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers leave it."""
        return int(np.prod(self.shape))


def receptive_fields(config: FaceNeStConfig) -> list[tuple[str, int, bool]]:
    """(name, side of the square that the convolutions see, does attention hear the whole image?), in order.

    Lesson 03's rule: a kernel of k adds (k − 1) steps; a stride makes all later steps longer.
    """
    field, step, whole = 1, 1, False
    rows = [("image", field, whole)]
    if config.high_pass:
        field += 2
        rows.append(("high-pass", field, whole))
    field += max(3, config.stem_stride + 1) - 1
    step *= config.stem_stride
    rows.append(("stem", field, whole))
    for scale, depth in enumerate(config.depths):
        for block in range(depth):
            field += 2 * step
            step *= 2 if scale > 0 and block == 0 else 1
            field += 2 * step
            if scale in config.attend:
                # lc, gc and gs hear means over all places; ls reaches 3 places each way.
                whole = whole or bool({"lc", "gc", "gs"} & set(config.branches))
                field += 6 * step if "ls" in config.branches and not whole else 0
        rows.append((f"scale {scale + 1}", field, whole))
    return [*rows, ("fusion", field, True), ("head", field, True)]


def macs_by_part(model: FaceNeSt, height: int, width: int) -> dict[str, int]:
    """Multiply-accumulates of one image by station; counted on shapes only, as `count_macs` does."""
    config = model.config
    with torch.device("meta"):
        shadow = FaceNeSt(config).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow(torch.empty(1, 3, height, width, device="meta"))
    counts = {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    parts = {"stem": "stem", "fusion": "fusion", "head": "head"} | {
        f"scale {i + 1}": f"stages.{i}" for i in range(len(config.depths))
    }
    found = {}
    for name, part in parts.items():
        inside = [n for n in counts if n.endswith(f".{part}")]
        # a ModuleList or a Sequential whose children are called one by one has no count of its own
        children = [n for n in counts if n.rpartition(".")[0].endswith(f".{part}")]
        found[name] = sum(counts[n] for n in (inside or children))
    found["high-pass"] = counts["Global"] - sum(found.values())
    return found


def stations_of(model: FaceNeSt, face: torch.Tensor) -> list[Station]:
    """Every station of the network for one image, uint8 3×H×W."""
    config, height, width = model.config, *face.shape[1:]
    macs = macs_by_part(model, height, width)
    x = normalise(face[None])
    outputs: dict[str, torch.Tensor] = {}
    hook = model.stem.register_forward_hook(lambda _, __, out: outputs.update(stem=out.detach().clone()))
    try:
        with torch.no_grad():
            logit, details = model(x, return_details=True)
    finally:
        hook.remove()
    outputs |= {"image": x, "high-pass": high_pass(x)}
    outputs |= {f"scale {i}": feature for i, feature in enumerate(details["features"], start=1)}
    parts = {"stem": model.stem, "fusion": model.fusion, "head": model.head}
    parts |= {f"scale {i}": stage for i, stage in enumerate(model.stages, start=1)}
    stations = []
    for name, field, whole in receptive_fields(config):
        station = Station(
            name, described(config, name), (), count_parameters(parts[name]) if name in parts else 0,
            macs.get(name, 0), field, whole,
        )  # fmt: skip
        if name == "fusion":
            station.shape = (config.fusion_width,)
            station.values = tuple(details["scale_weights"][0].tolist())
        elif name == "head":
            station.shape, station.values = (1,), (float(torch.sigmoid(logit)),)
        else:
            station.shape = tuple(outputs[name].shape[1:])
            station.picture = outputs[name][0].mean(dim=0).numpy()
        stations.append(station)
    return stations


def described(config: FaceNeStConfig, name: str) -> str:
    """A line on what a station does."""
    if name.startswith("scale"):
        scale = int(name[-1]) - 1
        depth = config.depths[scale]
        if not depth:
            return "the stem's map as it is, without a block"
        blocks = "1 residual block" if depth == 1 else f"{depth} residual blocks"
        if not config.residual:
            blocks = blocks.replace("residual", "plain")
        side = ", the side halved, the channels doubled" if scale else ""
        held = scale in config.attend and config.branches
        return blocks + side + (", with GLCSAttention" if held else "")
    kernel = max(3, config.stem_stride + 1)
    dropout = "dropout, " if config.dropout else ""
    return {
        "image": "the pixels, normalised to about −2…2",
        "high-pass": "each pixel minus the mean of the 3×3 pixels around it",
        "stem": f"convolution {kernel}×{kernel}, stride {config.stem_stride}, batch norm, ReLU",
        "fusion": "the mean of each scale, a linear layer each, weights, a sum",
        "head": f"batch norm, ReLU, {dropout}one linear layer: the logit of fake",
    }[name]


# ---- drawing ----


def sees(station: Station, short: bool = False) -> str:
    """What a number that leaves the station depends on."""
    field = f"{station.field}×{station.field}"
    if station.name in ("fusion", "head"):
        return "everything" if short else "the whole image"
    if station.whole:
        more = "+ everything" if short else "pixels; through attention the whole image"
        return f"{field} {more}"
    return f"{field} px" if short else ("one pixel" if station.field == 1 else f"{field} pixels")


def size_of(shape: tuple[int, ...]) -> str:
    """ "16×64×64", "32 numbers"."""
    return (
        "×".join(map(str, shape))
        if len(shape) > 1
        else ("1 number" if shape == (1,) else f"{shape[0]} numbers")
    )


def framed(axis: Any, face: np.ndarray, station: Station) -> None:
    """The face in pale grey; the square that the place in the middle sees, solid; dashed: it hears all."""
    height, width = face.shape[:2]
    axis.imshow(face.mean(axis=2), cmap="gray", vmin=-60, vmax=255)
    axis.spines[:].set_visible(False)
    frames = []
    if station.name not in ("fusion", "head"):
        low = [max(0, (side - station.field) // 2) for side in (width, height)]
        frames.append((low, [min(side, station.field) for side in (width, height)], "-"))
    if station.whole:
        frames.append(((0, 0), (width, height), (0, (4, 2))))
    for (left, top), size, dash in frames:
        for colour, thick, style in (("white", 4, "-"), (FAKE, 2, dash)):
            axis.add_patch(
                plt.Rectangle(
                    (left - 0.5, top - 0.5),
                    *size,
                    fill=False,
                    edgecolor=colour,
                    lw=thick,
                    ls=style,
                    clip_on=False,
                )
            )


def station_picture(axis: Any, station: Station) -> str:
    """What leaves the station: its mean map, or bars; returns the words for its title."""
    if station.picture is not None:
        values = station.picture
        reach = np.abs(values).max() or 1.0
        low = -reach if values.min() < 0 else 0.0
        axis.imshow(values, cmap="gray", vmin=low, vmax=reach, interpolation="nearest")
        axis.spines[:].set_visible(False)
        return f"{values.min():.2f} to {values.max():.2f}".replace("-", "−")
    bars = station.values
    if station.name == "head":
        axis.barh([0], bars, color=FAKE, height=0.5, hatch="///", edgecolor="white")
        axis.barh([0], [1], fill=False, edgecolor="black", height=0.5, linewidth=0.8)
        axis.plot(bars, [0.36], "v", color="black", markersize=6)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.6, 0.6), yticks=[], xticks=[0, 1])
        axis.spines[["left", "bottom"]].set_visible(False)
        return f"P(fake) {bars[0]:.3f}"
    axis.barh(range(len(bars)), bars, color=GREEN, height=0.6)
    for place, value in enumerate(bars):
        axis.text(max(value, 0) + 0.03, place, f"{value:.2f}".replace("-", "−"), va="center", fontsize=9)
    axis.set(xlim=(min(0, *bars), max(1.0, *bars) * 1.25), xticks=[])
    axis.set_yticks(range(len(bars)), [f"scale {i + 1}" for i in range(len(bars))], fontsize=9)
    axis.invert_yaxis()
    return "scale weights"


def station_figure(face: np.ndarray, station: Station) -> Figure:
    """Left the face and the square that one place sees, right what leaves the station."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(6.6, 3.3))
        framed(axes[0], face, station)
        axes[0].set(xticks=[], yticks=[], title=f"sees {sees(station, short=True)}")
        told = station_picture(axes[1], station)
        axes[1].set_title(
            f"mean over {station.shape[0]} channels: {told}" if station.picture is not None else told
        )
        if station.picture is not None:
            axes[1].set(xticks=[], yticks=[])
        else:
            axes[1].set_box_aspect(0.85)
        figure.tight_layout(pad=0.4)
    return figure


def map_figure(face: np.ndarray, stations: list[Station]) -> Figure:
    """All stations side by side: what one place sees, what leaves them, and the numbers in words."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            3, len(stations), figsize=(1.32 * len(stations), 3.9), height_ratios=[1, 1, 0.75]
        )
        for column, station in enumerate(stations):
            framed(axes[0, column], face, station)
            told = station_picture(axes[1, column], station)
            axes[0, column].set_title(station.name, fontsize=11, weight="bold", loc="center")
            axes[1, column].set_title(told, fontsize=8.5, loc="center", pad=3)
            lines = [
                size_of(station.shape),
                f"{station.parameters:,} par.",
                f"{million(station.macs)} MACs",
                f"sees {sees(station, short=True)}".replace(" + ", "\n+ "),
            ]
            axes[2, column].text(
                0.5, 0.95, "\n".join(lines), ha="center", va="top", fontsize=8.5, linespacing=1.5
            )
            axes[2, column].axis("off")
            for axis in axes[:2, column]:
                if axis.images:
                    axis.set(xticks=[], yticks=[])
        if stations[-2].name == "fusion":
            axes[1, -2].set_yticks([])
        figure.tight_layout(pad=0.3, w_pad=0.6)
    return figure


def million(count: int) -> str:
    """A count in few characters: "0", "11,904", "1.8 M"."""
    return f"{count:,}" if count < 100_000 else f"{count / 1e6:.1f} M"


# ---- the widget ----


class NetworkMap(ipw.VBox):
    """The stations of FaceNeSt as buttons, in order: shape, parameters, MACs, what it sees, its mean map.

    faces: uint8 tensors 3×H×W of one size, sides of at least 32 (a tensor N×3×H×W, or a list); names: one for
    each. model: a FaceNeSt; without one, the checkpoint that ships with the course. `station` is the station
    on show, `stations` all of them. What cannot be used gets a sentence.
    """

    def __init__(
        self, faces: Any = None, names: Any = None, model: Any = None, station: Any = "scale 3"
    ) -> None:
        self.model = None
        try:
            self.faces, self.names = read_faces(faces, names)
            if model is None:
                model = load_checkpoint("studio").model
            if not isinstance(model, FaceNeSt):
                raise ValueError(f"The model is {str(model)[:30]!r}; give a FaceNeSt, such as facenest().")
        except (ValueError, TypeError, AttributeError, CourseError) as error:
            super().__init__([ipw.HTML(f'<div role="status">{html.escape(str(error))}</div>')])
            return
        self.model = model
        self._build()
        wrong = ""
        if station not in self.buttons:
            wrong = f"There is no station {str(station)[:20]!r}; it begins at scale 3 instead."
            station = "scale 3"
        self.chosen = station
        self._recompute()
        self.message.value = sentence(wrong)

    def _build(self) -> None:
        style, largest = {"description_width": "90px"}, min(self.faces[0].shape[1:])
        self.face = ipw.Dropdown(
            options=[(name, i) for i, name in enumerate(self.names)], description="face", style=style,
            layout=ipw.Layout(width="300px", max_width="100%"),
        )  # fmt: skip
        self.side = ipw.Text(
            str(largest), description="middle, side", continuous_update=False, style=style,
            layout=ipw.Layout(width="180px"),
        )  # fmt: skip
        self.side.add_class("course-side")
        self.side.tooltip = f"the side of the square that is cut from the middle, 32 to {largest}"
        self._side = largest
        self.buttons = {}
        row: list[ipw.Widget] = []
        for name, _, _ in receptive_fields(self.model.config):
            button = ipw.Button(description=name, layout=ipw.Layout(width="auto", min_width="74px"))
            button.on_click(lambda _, name=name: self.choose(name))
            self.buttons[name] = button
            row += [ipw.HTML("→"), button] if row else [button]
        self.message, self.table = ipw.HTML(), ipw.HTML()
        self.picture = picture_widget(b"", "")
        wrap = ipw.Layout(flex_flow="row wrap")
        super().__init__(
            [
                ipw.HBox([self.face, self.side], layout=wrap),
                self.message,
                ipw.HBox(row, layout=ipw.Layout(flex_flow="row wrap", align_items="center")),
                ipw.HBox(
                    [self.picture, self.table],
                    layout=ipw.Layout(flex_flow="row wrap", align_items="center", grid_gap="20px"),
                ),
                keep_keys("course-map"),
            ]
        )
        self.add_class("course-map")
        self.face.observe(lambda _: self._recompute(), names="value")
        self.side.observe(lambda _: self._typed(), names="value")

    def _typed(self) -> None:
        largest = min(self.faces[0].shape[1:])
        try:
            side = read_whole(self.side.value, "the side", MIN_SIDE, largest)
        except ValueError as error:
            words = str(error)
            self.message.value = sentence(f"{words[0].upper()}{words[1:]} It is still {self._side}.")
            return
        self._side = int(side)
        self.side.value = str(self._side)
        self._recompute()

    def choose(self, name: str) -> None:
        """Show a station by its name."""
        self.chosen = name
        self._redraw()

    @property
    def station(self) -> Station:
        """The station on show."""
        return next(station for station in self.stations if station.name == self.chosen)

    def _recompute(self) -> None:
        """Another face or another side: every station anew."""
        self.message.value = ""
        if self.side.value != str(self._side):
            self.side.value = str(self._side)  # which comes back here by way of `_typed`
            return
        face = self.faces[self.face.value]
        if self._side < min(face.shape[1:]):
            top, left = ((whole - self._side) // 2 for whole in face.shape[1:])
            face = face[:, top : top + self._side, left : left + self._side]
        self.pixels = face.permute(1, 2, 0).numpy()
        training = self.model.training
        self.model.eval()
        try:
            self.stations = stations_of(self.model, face)
        finally:
            self.model.train(training)
        self._redraw()

    def show(self) -> None:
        """Display it, with a static figure of all stations where widgets do not render."""
        if self.model is None:
            show_with_picture(self, None, "Nothing to explore.")
            return
        words = "The stations of the network as buttons; the picture shows all of them side by side."
        show_with_picture(self, light_png(map_figure(self.pixels, self.stations)), words)

    def _redraw(self) -> None:
        station = self.station
        for name, button in self.buttons.items():
            on = name == self.chosen
            button.description = f"▸ {name}" if on else name
            button.button_style = "primary" if on else ""
        total = sum(other.macs for other in self.stations)
        weights = sum(other.parameters for other in self.stations)
        lines = [
            ("station", f"<b>{html.escape(station.name)}</b>"),
            ("what it does", html.escape(station.words)),
            ("what leaves it", f"{size_of(station.shape)}" + self._product(station)),
            ("parameters", f"{station.parameters:,} of {weights:,}"),
            ("MACs", f"{station.macs:,}, {100 * station.macs / total:.1f} % of all"),
            ("one place sees", sees(station)),
        ]
        style = "text-align:left;padding-right:14px;vertical-align:top;white-space:nowrap"
        rows = "".join(
            f'<tr><th scope="row" style="{style}">{head}</th><td>{text}</td></tr>' for head, text in lines
        )
        self.table.value = f'<table style="line-height:1.6;width:340px" role="status">{rows}</table>'
        told = (
            f"{station.name}: {station.words}. Leaves it: {size_of(station.shape)}. It sees {sees(station)}."
        )
        if station.values:
            told += " " + ("P(fake)" if station.name == "head" else "Scale weights") + ": "
            told += ", ".join(f"{value:.2f}" for value in station.values) + "."
        else:
            told += " Left the face with that square, right the mean map."
        png = figure_png(station_figure(self.pixels, station))
        set_picture(self.picture, png, told, None)

    @staticmethod
    def _product(station: Station) -> str:
        return f" = {station.numbers:,} numbers" if len(station.shape) > 1 else ""
