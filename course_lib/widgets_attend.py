"""The interactive pieces of lessons 06 to 08; 09 is in `widgets_fusion`, 10 in `widgets_network`."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch.nn import functional

from .checkpoints import load_checkpoint
from .errors import CourseError
from .layers import GlobalChannelAttention, LocalChannelAttention, grid_means
from .plots import FAKE, GREEN, STYLE, ink_on
from .transforms import normalise
from .widgets_convolve import grey_picture
from .widgets_kit import (
    figure_png,
    keep_keys,
    light_png,
    notes,
    picture_png,
    picture_widget,
    read_faces,
    read_number,
    read_whole,
    sentence,
    set_picture,
    show_with_picture,
)

# ---- lesson 06: residual blocks ----

FLOOR, CEILING = 1e-8, 1e8  # where the drawing of a chain of gradients ends


def chain(slope: float, steps: int, shortcut: bool) -> np.ndarray:
    """The gradient at each of steps + 1 places, input first; every step has the same slope."""
    factor = slope + (1.0 if shortcut else 0.0)
    return factor ** np.arange(steps, -1, -1, dtype=float)


def short(value: float) -> str:
    """A number in at most a handful of characters: "0.00098", "57.7", "1.2e+05", "−1"."""
    text = f"{value:.2g}" if abs(value) < 10 else f"{value:,.0f}" if abs(value) < 1e5 else f"{value:.1e}"
    return ("0" if value == 0 else text).replace("-", "\u2212")


def one_plus(slope: float) -> str:
    """ "1 + 0.5", "1 − 0.5": how the slope of a step with a shortcut is written."""
    return f"1 {'+' if slope >= 0 else chr(0x2212)} {short(abs(slope))}"


def chain_figure(slope: float, steps: int) -> Figure:
    """Two rows of bars over the places of the chain: plain above, with shortcuts below. Not shown."""
    both = [np.abs(chain(slope, steps, shortcut)) for shortcut in (False, True)]
    powers = [np.log10(np.clip(values, FLOOR, CEILING)) for values in both]
    alive = [power[values > 0] for power, values in zip(powers, both, strict=True)]
    reach = max(1.0, 1.15 * np.abs(np.concatenate(alive)).max())
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 1, figsize=(7.6, 4.6), sharex=True, sharey=True)
        for axis, shortcut, values, power in zip(axes, (False, True), both, powers, strict=True):
            colour, hatch = (GREEN, "") if shortcut else (FAKE, "///")
            places, dead = np.arange(steps + 1), values == 0
            axis.bar(places[~dead], power[~dead], 0.7, color=colour, hatch=hatch, edgecolor="white")
            axis.plot(places[~dead], power[~dead], "o", color=colour, markersize=6)
            axis.plot(places[dead], np.full(dead.sum(), -0.93 * reach), "x", color="black", markersize=8)
            axis.axhline(0, color="black", linewidth=0.8)
            factor = f"{one_plus(slope)} = {short(1 + slope)}" if shortcut else short(slope)
            name = "with shortcuts" if shortcut else "plain"
            arrives = short(chain(slope, steps, shortcut)[0])
            axis.set_title(f"{name}: slope {factor} in each step; at the input {arrives}")
            axis.set_ylim(-reach, reach)
            axis.yaxis.set_major_locator(plt.MaxNLocator(5, integer=True))
            axis.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
            axis.set_ylabel("gradient")
        axes[1].set(xlabel="place in the chain: 0 is the input, the last one the output   (×: exactly 0)")
        axes[1].xaxis.set_major_locator(plt.MaxNLocator(12, integer=True))
        figure.tight_layout(pad=0.4)
    return figure


class GradientChain(ipw.VBox):
    """A slider and a field each for the slope of a step and the number of steps; the gradients, as bars.

    A plain chain multiplies slopes; a chain with shortcuts multiplies 1 + slope. `gradients` has both.
    What is typed and is no number in range gets a sentence, and the chain stays as it is.
    """

    RANGES = {"slope": (-2.0, 2.0, 0.5), "steps": (1, 24, 10)}

    def __init__(self, slope: Any = 0.5, steps: Any = 10) -> None:
        values, wrong = {}, []
        for name, given in (("slope", slope), ("steps", steps)):
            try:
                values[name] = self._read(name, given)
            except ValueError as error:
                values[name] = self.RANGES[name][2]
                wrong.append(f"{error} It begins at {values[name]:g} instead.")
        wide = ipw.Layout(width="360px", max_width="100%")
        self.slope = ipw.FloatSlider(
            value=values["slope"],
            min=-2,
            max=2,
            step=0.05,
            description="slope",
            readout=False,
            layout=wide,
        )
        self.steps = ipw.IntSlider(
            value=int(values["steps"]), min=1, max=24, description="steps", readout=False, layout=wide
        )
        self.sliders = {"slope": self.slope, "steps": self.steps}
        self.fields = {  # not the slider's own field: that one drops a word without a sound
            name: ipw.Text(f"{values[name]:g}", continuous_update=False, layout=ipw.Layout(width="80px"))
            for name in self.sliders
        }
        self.message, self.words = ipw.HTML(), ipw.HTML()
        self.picture = picture_widget(b"", "")
        wrap = ipw.Layout(flex_flow="row wrap")
        rows = [ipw.HBox([self.sliders[name], self.fields[name]], layout=wrap) for name in self.sliders]
        super().__init__([self.message, *rows, self.words, self.picture, keep_keys("course-chain")])
        self.add_class("course-chain")
        for name, slider in self.sliders.items():
            slider.observe(self._slid, names="value")
            self.fields[name].observe(lambda _, name=name: self._typed(name), names="value")
            self.fields[name].tooltip = f"{name}, as a number"
        self._redraw()
        self._say(*wrong)

    def _read(self, name: str, given: Any) -> float:
        """The value for a slider; ValueError with a sentence if it is none."""
        value = read_number(given, name, *self.RANGES[name][:2])
        if name == "steps" and value != int(value):
            raise ValueError(f"steps is {value:g}, which is not a whole number.")
        return round(value, 2)

    def _say(self, *lines: str) -> None:
        self.message.value = notes(*lines)

    def _typed(self, name: str) -> None:
        slider = self.sliders[name]
        try:
            value = self._read(name, self.fields[name].value)
        except ValueError as error:
            self._say(f"{error} The chain still has {name} {slider.value:g}.")
            return
        self._say()
        slider.value = value if name == "slope" else int(value)
        self.fields[name].value = f"{value:g}"

    def _slid(self, _: Any = None) -> None:
        for name, slider in self.sliders.items():
            self.fields[name].value = f"{round(slider.value, 2):g}"
        self._say()
        self._redraw()

    @property
    def gradients(self) -> dict[str, Sequence[float]]:
        """The gradient at each place, input first, of both chains."""
        return {
            name: chain(round(self.slope.value, 2), self.steps.value, name == "with shortcuts").tolist()
            for name in ("plain", "with shortcuts")
        }

    def show(self) -> None:
        """Display it, with a static figure where widgets do not render."""
        words = "Sliders for the slope and the number of steps; bars for the gradient at each place."
        show_with_picture(self, figure_png(chain_figure(round(self.slope.value, 2), self.steps.value)), words)

    def _redraw(self, _: Any = None) -> None:
        slope, steps = round(self.slope.value, 2), self.steps.value
        plain, shortcut = (short(chain(slope, steps, kind)[0]) for kind in (False, True))
        self.words.value = (
            f'<div style="line-height:1.6">plain: ({short(slope)})<sup>{steps}</sup> = <b>{plain}</b> '
            f"&nbsp; with shortcuts: ({one_plus(slope)})<sup>{steps}</sup> = <b>{shortcut}</b></div>"
        )
        alt = (
            f"{steps} steps of slope {short(slope)}. Gradient at the input: plain {plain}, "
            f"with shortcuts {shortcut}. Bars on a logarithmic scale, input to output."
        )
        png = figure_png(chain_figure(slope, steps))
        set_picture(self.picture, png, alt, None)


# ---- lesson 07: channel attention ----

CHANNELS: dict[str, np.ndarray] = {  # four channels with names, made by hand; each is followed by a ReLU
    "brightness": np.full((3, 3), 1 / 9),
    "left to right": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8,
    "top to bottom": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 8,
    "fine detail": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]) - 1 / 9,
}
ORDERS = {  # in which order the channels stand in the list
    "brightness first": ["brightness", "left to right", "top to bottom", "fine detail"],
    "fine detail second": ["brightness", "fine detail", "left to right", "top to bottom"],
}
STATES = ("as it is", "with grain", "darker", "blurred")
GATES: dict[str, dict[str, float]] = {  # what the learner moves, and where it begins
    "SE": {
        "in 1": 0, "in 2": 0, "in 3": 0, "in 4": 1, "bias in": -1,
        "out 1": 0, "out 2": 0, "out 3": 0, "out 4": -4,
    },
    "local": {"left": 1, "middle": 1, "right": -1, "bias": 0},
    "global": {"query": 2, "key": 1, "scale": 2, "bias": -2},
}  # fmt: skip
REACH = 6.0  # the weights go from -6 to 6


def channel_maps(grey: np.ndarray) -> np.ndarray:
    """A grey picture H×W, 0 to 255 -> the four channels by hand after ReLU, 4×(H−2)×(W−2)."""
    kernels = np.stack([*CHANNELS.values()])[:, None]
    x = torch.as_tensor(grey / 255, dtype=torch.float32)[None, None]
    return functional.conv2d(x, torch.as_tensor(kernels, dtype=torch.float32))[0].relu().numpy()


def changed_picture(grey: np.ndarray, state: str) -> np.ndarray:
    """The picture with one thing done to it, 0 to 255; the grain is the same each time."""
    if state == "with grain":
        grain = np.random.default_rng(0).normal(0, 7, grey.shape)
        return np.clip(grey + grain, 0, 255).astype(np.float32)
    if state == "darker":
        return grey * np.float32(0.4)
    if state == "blurred":
        x = torch.as_tensor(np.ascontiguousarray(grey))[None, None]
        return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)[0, 0].numpy()
    return grey


def gate_of(kind: str, values: dict[str, float], pooled: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Four pooled numbers -> four weights between 0 and 1; for "global" the 4×4 matrix too."""
    g = torch.as_tensor(pooled, dtype=torch.float32)[None]
    with torch.no_grad():
        if kind == "SE":
            inner = torch.tensor([values[f"in {i}"] for i in range(1, 5)])
            outer = torch.tensor([values[f"out {i}"] for i in range(1, 5)])
            hidden = functional.relu(g @ inner + values["bias in"])
            return torch.sigmoid(hidden * outer).numpy(), None
        if kind == "local":
            layer = LocalChannelAttention()
            kernel = [values["left"], values["middle"], values["right"]]
            layer.conv.weight.copy_(torch.tensor(kernel).view(1, 1, 3))
            layer.conv.bias.fill_(values["bias"])
            return layer(g)[0].numpy(), None
        layer = GlobalChannelAttention(kernel_size=1)
        layer.query_key.weight.copy_(torch.tensor([values["query"], values["key"]]).view(2, 1, 1))
        layer.query_key.bias.zero_()
        layer.scale.fill_(values["scale"])
        layer.bias.fill_(values["bias"])
        return layer(g)[0].numpy(), layer.matrix(g)[0].numpy()


def gate_figure(
    names: Sequence[str],
    maps: np.ndarray,
    pooled: np.ndarray,
    gates: dict[str, np.ndarray],
    matrix: np.ndarray | None = None,
    tile: float = 1.75,
) -> Figure:
    """A row with the channels and what each pools to, and a row for each gate with the re-weighted channels.

    Each channel has its own brightness scale, the same down its column, with room to become brighter.
    """
    rows = 1 + len(gates)
    columns = len(names) + (0 if matrix is None else 1)
    widths = [1] * len(names) + ([] if matrix is None else [1.35])
    tops = [1.7 * np.quantile(m, 0.99) + 1e-9 for m in maps]
    with plt.rc_context(STYLE):
        size = (tile * sum(widths) + 0.5, (tile + 0.3) * rows + 0.25)
        figure, axes = plt.subplots(
            rows, columns, figsize=size, squeeze=False, width_ratios=widths, layout="constrained"
        )
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for c, (name, channel, number) in enumerate(zip(names, maps, pooled, strict=True)):
            axes[0, c].imshow(channel, cmap="gray", vmin=0, vmax=tops[c])
            axes[0, c].set_title(f"{name}\npooled {number:.2f}", fontsize=10, loc="center", pad=3)
            for r, weights in enumerate(gates.values(), start=1):
                axes[r, c].imshow(channel * 2 * weights[c], cmap="gray", vmin=0, vmax=tops[c])
                title = f"weight {weights[c]:.2f}: × {2 * weights[c]:.2f}"
                axes[r, c].set_title(title, fontsize=10, loc="center", pad=3)
        for r, word in enumerate(("channels", *gates)):
            axes[r, 0].set_ylabel(word, fontsize=11)
        if matrix is not None:
            axes[1, -1].axis("off")
            draw_matrix(axes[0, -1], matrix, names)
    return figure


def draw_matrix(axis: Any, matrix: np.ndarray, names: Sequence[str]) -> None:
    """A small matrix with its numbers: row i is how channel i divides its attention."""
    picture = axis.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        ink = ink_on(picture.to_rgba(value)[:3])
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    places = range(len(names))
    axis.set_xticks(places, [str(j + 1) for j in places], fontsize=9)
    axis.set_yticks(places, [str(j + 1) for j in places], fontsize=9)
    axis.set_title("who listens (row)\nto whom (column)", fontsize=10, loc="center", pad=3)


class ChannelAttentionExplorer(ipw.VBox):
    """Four channels of a face, a gate of three kinds, its weights on sliders; the channels before and after.

    face: a uint8 tensor 3×H×W (or an array, or a PIL image); others: pictures alike, whose mean makes the
    pooled numbers comparable ("1 is as much as usual"); without them it is the face's own.
    `pooled`, `gate` and `matrix` (None but for the global kind) hold the numbers on show.
    """

    def __init__(self, face: Any = None, others: Any = None) -> None:
        self.pooled = self.gate = self.matrix = None
        self._filling = False
        try:
            self.grey = grey_picture(face)
            crowd = [self.grey] if others is None else [grey_picture(picture) for picture in others]
            if not crowd:
                raise ValueError(
                    "There are no other pictures to compare with; give at least one, or none at all."
                )
        except (ValueError, TypeError) as error:
            words = (
                str(error) if isinstance(error, ValueError) else "The others are to be a list of pictures."
            )
            self.grey = None
            super().__init__([ipw.HTML(sentence(words))])
            return
        self.usual = np.mean([channel_maps(grey).mean((1, 2)) for grey in crowd], axis=0) + 1e-9
        wide = ipw.Layout(width="250px", max_width="100%")
        self.kind = ipw.Dropdown(options=[*GATES], value="SE", description="gate", layout=wide)
        self.state = ipw.Dropdown(options=STATES, description="the face", layout=wide)
        self.order = ipw.Dropdown(options=[*ORDERS], description="the list", layout=wide)
        self.sliders: dict[tuple[str, str], ipw.FloatSlider] = {}
        self.fields: dict[tuple[str, str], ipw.Text] = {}
        for kind, numbers in GATES.items():
            for name, value in numbers.items():
                self._add_control(kind, name, float(value))
        wrap = ipw.Layout(flex_flow="row wrap")
        self.weights, self.message, self.table = ipw.HBox(layout=wrap), ipw.HTML(), ipw.HTML()
        self.reset = ipw.Button(description="start over", layout=ipw.Layout(width="auto"))
        self.reset.on_click(lambda _: self.start_over())
        self.picture = picture_widget(b"", "")
        choices = ipw.HBox([self.kind, self.state, self.order, self.reset], layout=wrap)
        super().__init__(
            [choices, self.weights, self.message, self.table, self.picture, keep_keys("course-gate")]
        )
        self.add_class("course-gate")
        for choice in (self.kind, self.state, self.order):
            choice.observe(self._chosen, names="value")
        self._chosen()

    def _add_control(self, kind: str, name: str, value: float) -> None:
        slider = ipw.FloatSlider(
            value=value, min=-REACH, max=REACH, step=0.1, description=name, readout=False,
            continuous_update=False, layout=ipw.Layout(width="215px"),
        )  # fmt: skip
        field = ipw.Text(f"{value:g}", continuous_update=False, layout=ipw.Layout(width="58px"))
        field.tooltip = f"{name}, as a number"
        slider.observe(lambda _: self._slid(), names="value")
        field.observe(lambda _: self._typed(kind, name), names="value")
        self.sliders[kind, name], self.fields[kind, name] = slider, field

    @property
    def values(self) -> dict[str, float]:
        """The weights of the gate on show."""
        return {name: round(self.sliders[self.kind.value, name].value, 2) for name in GATES[self.kind.value]}

    def start_over(self) -> None:
        """Every weight of every gate back to where it began."""
        self._filling = True
        for (kind, name), slider in self.sliders.items():
            slider.value = GATES[kind][name]
            self.fields[kind, name].value = f"{GATES[kind][name]:g}"
        self._filling = False
        self._slid()

    def show(self) -> None:
        """Display it, with a static figure of the three gates where widgets do not render."""
        if self.grey is None:
            show_with_picture(self, None, "Nothing to explore.")
        else:
            words = "An explorer of channel gates; the picture shows three of them at work on four channels."
            show_with_picture(self, gate_sheet(self.grey, self.usual), words)

    def _chosen(self, _: Any = None) -> None:
        kind = self.kind.value
        pairs = [ipw.HBox([self.sliders[kind, name], self.fields[kind, name]]) for name in GATES[kind]]
        self.weights.children = pairs
        self.message.value = ""
        self._redraw()

    def _typed(self, kind: str, name: str) -> None:
        if self._filling:
            return
        slider, field = self.sliders[kind, name], self.fields[kind, name]
        try:
            value = round(read_number(field.value, name, -REACH, REACH), 2)
        except ValueError as error:
            self.message.value = sentence(f"{error} The gate still has {name} = {short(slider.value)}.")
            return
        self.message.value = ""
        slider.value = value
        field.value = f"{slider.value:g}"

    def _slid(self) -> None:
        if self._filling:
            return
        self._filling = True
        for place, slider in self.sliders.items():
            self.fields[place].value = f"{round(slider.value, 2):g}"
        self._filling = False
        self.message.value = ""
        self._redraw()

    def _redraw(self) -> None:
        kind, names = self.kind.value, ORDERS[self.order.value]
        places = [[*CHANNELS].index(name) for name in names]
        maps = channel_maps(changed_picture(self.grey, self.state.value))[places]
        self.pooled = maps.mean((1, 2)) / self.usual[places]
        self.gate, self.matrix = gate_of(kind, self.values, self.pooled)
        written = gate_arithmetic(kind, self.values, self.pooled, self.gate, self.matrix)
        self.table.value = (
            f"{gate_table(names, self.pooled, self.gate)}"
            f"<div>{html.escape(written)} (Numbers are rounded.)</div>"
        )
        told = ", ".join(
            f"{name}: pooled {number:.2f}, factor {2 * weight:.2f}"
            for name, number, weight in zip(names, self.pooled, self.gate, strict=True)
        )
        alt = f"Four channels of the face, {self.state.value}, before and after the gate {kind}. {told}."
        if self.matrix is not None:
            rows = "; ".join(" ".join(f"{value:.2f}" for value in row) for row in self.matrix)
            alt += f" The matrix, row by row: {rows}."
        png = figure_png(gate_figure(names, maps, self.pooled, {kind: self.gate}, self.matrix))
        set_picture(self.picture, png, alt, None)


def gate_table(names: Sequence[str], pooled: np.ndarray, gate: np.ndarray) -> str:
    """Channels, pooled numbers, weights and factors, as a small HTML table."""
    lines = [
        ("channel", [f"{i}. {name}" for i, name in enumerate(names, start=1)]),
        ("pooled", [two(value) for value in pooled]),
        ("weight", [two(value) for value in gate]),
        ("factor, 2 × weight", [two(2 * value) for value in gate]),
    ]
    cell = '<td style="padding-right:18px">'
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;padding-right:12px">{head}</th>'
        + "".join(f"{cell}{html.escape(text)}</td>" for text in texts)
        + "</tr>"
        for head, texts in lines
    )
    return f'<table style="line-height:1.5">{rows}</table>'


def two(value: float) -> str:
    """Two digits after the point, and a real minus."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "\u2212")


def signed_sum(terms: Sequence[tuple[float, float]], rest: float = 0.0) -> str:
    """ "1·0.77 + 2·1.09 − 1·1.00": factors times numbers, and what is added in the end."""
    text = ""
    for factor, number in terms:
        sign = " \u2212 " if factor < 0 else " + "
        text += f"{sign}{short(abs(factor))}·{two(number)}"
    if rest:
        text += f" {'+' if rest > 0 else chr(0x2212)} {short(abs(rest))}"
    return text.removeprefix(" + ").strip()


def gate_arithmetic(
    kind: str, values: dict[str, float], g: np.ndarray, gate: np.ndarray, matrix: np.ndarray | None
) -> str:
    """How one channel came to its weight, written out as on paper."""
    if kind == "SE":
        terms = [(values[f"in {i + 1}"], g[i]) for i in range(4) if values[f"in {i + 1}"]]
        hidden = max(0.0, sum(factor * number for factor, number in terms) + values["bias in"])
        inside = signed_sum(terms, values["bias in"]) or "0"
        return (
            f"In the middle: ReLU({inside}) = {two(hidden)}. Channel 4: {short(values['out 4'])} · "
            f"{two(hidden)} = {two(values['out 4'] * hidden)}, and σ of it is {two(gate[3])}."
        )
    if kind == "local":
        factors = [values[name] for name in ("left", "middle", "right")]
        score = sum(f * x for f, x in zip(factors, g[:3], strict=True)) + values["bias"]
        inside = signed_sum(list(zip(factors, g[:3], strict=True)), values["bias"])
        return f"Channel 2: {inside} = {two(score)}, and σ of it is {two(gate[1])}."
    heard = float(matrix[3] @ g)
    inside = " + ".join(f"{two(part)}·{two(number)}" for part, number in zip(matrix[3], g, strict=True))
    score = values["scale"] * heard + values["bias"]
    then = signed_sum([(values["scale"], heard)], values["bias"])
    return f"Channel 4 hears {inside} = {two(heard)}. Then {then} = {two(score)}; σ of it is {two(gate[3])}."


def gate_sheet(grey: np.ndarray, usual: np.ndarray) -> bytes:
    """The static figure: the four channels, and what each of the three gates makes of them."""
    maps = channel_maps(grey)
    pooled = maps.mean((1, 2)) / usual
    maps = maps[:, 15:-15, 15:-15] if min(maps.shape[1:]) > 60 else maps  # the middle: fewer bytes
    gates = {kind: gate_of(kind, {n: float(v) for n, v in GATES[kind].items()}, pooled)[0] for kind in GATES}
    return light_png(gate_figure([*CHANNELS], maps, pooled, gates, tile=1.5))


# ---- lesson 08: spatial attention ----

STREAM_NAMES = ("identity", "local", "global")
STEEP = 6.0  # the largest stream logit that a slider reaches, either way


def attention_of(model: torch.nn.Module, face: torch.Tensor) -> dict[int, dict[str, Any]]:
    """What the attention layers of a FaceNeSt do with one face, uint8 3×H×W, by scale (1 is the finest).

    Only scales that have both place maps. "layer" and "x": the layer and what comes into it, 1×C×h×w; "maps":
    as `GLCSAttention.maps` gives them; "local", "global": place weights, h×w; "matrix": hw×grid², its rows
    sum to 1.
    """
    stages = enumerate(model.stages, start=1)
    layers = {scale: stage[-1].attention for scale, stage in stages if len(stage)}  # the first may be empty
    layers = {scale: layer for scale, layer in layers.items() if layer and layer.ls and layer.gs}
    inputs: dict[int, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _, given, __, scale=scale: inputs.update({scale: given[0]}))
        for scale, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            model(normalise(face[None]))
    finally:
        for hook in hooks:
            hook.remove()
    seen = {}
    for scale, layer in layers.items():
        x = inputs[scale]
        with torch.no_grad():
            maps = layer.maps(x)
            reduced = torch.relu(layer.reduce(x))
            cells = grid_means(reduced, layer.gs.grid).flatten(2).transpose(1, 2)
            matrix = layer.gs.matrix(reduced.flatten(2).transpose(1, 2), cells)[0]
        seen[scale] = {"layer": layer, "x": x, "maps": maps, "matrix": matrix,
                       "local": maps["ls"][0, 0], "global": maps["gs"][0, 0]}  # fmt: skip
    return seen


def mixed(
    model: torch.nn.Module, face: torch.Tensor, view: dict[str, Any], logits: Sequence[float]
) -> tuple[torch.Tensor, float]:
    """The bracket, h×w (the mean over channels), and P(fake), with other stream logits in one layer."""
    layer = view["layer"]
    trained = layer.stream_logits.detach().clone()
    with torch.no_grad():
        layer.stream_logits.copy_(torch.as_tensor(logits, dtype=trained.dtype))
        try:
            bracket = layer.gate(view["maps"], view["x"])[0].mean(dim=0)
            logit = model(normalise(face[None]))
        finally:
            layer.stream_logits.copy_(trained)
    return bracket, float(torch.sigmoid(logit))


def attention_figure(
    face: np.ndarray, place: tuple[int, int], view: dict[str, Any], bracket: torch.Tensor
) -> Figure:
    """Four panels for one place of one scale: whom it listens to; local and global weights; the bracket."""
    row, column = place
    height, width = view["local"].shape
    shares = 100 * view["matrix"][row * width + column]
    grid = round(len(shares) ** 0.5)
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    panels = [
        ("local weight", view["local"], 0.0, 1.0),
        ("global weight", view["global"], 0.0, 1.0),
        ("bracket", bracket, 0.0, 2.0),
    ]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(9.8, 2.9))
        axes[0].imshow(face.mean(axis=2), cmap="gray", vmin=-80, vmax=255, extent=edges)
        tint = np.zeros((grid, grid, 4))
        tint[..., :3] = plt.matplotlib.colors.to_rgb(FAKE)
        tint[..., 3] = np.clip(shares.reshape(grid, grid) / 40, 0.02, 0.75)
        axes[0].imshow(tint, extent=edges, interpolation="nearest")
        for cell, share in enumerate(shares.tolist()):
            spot = ((cell % grid + 0.5) * width / grid - 0.5, (cell // grid + 0.5) * height / grid - 0.5)
            axes[0].text(*spot, f"{share:.0f}", ha="center", va="center", fontsize=11, weight="bold",
                         bbox={"facecolor": "white", "alpha": 0.75, "pad": 1, "lw": 0})  # fmt: skip
        axes[0].set_title("listens to, in %", fontsize=11)
        for axis, (name, values, low, high) in zip(axes[1:], panels, strict=True):
            shown = axis.imshow(values, cmap="PuOr_r", vmin=low, vmax=high, interpolation="nearest")
            axis.set_title(f"{name} here: {values[row, column]:.3f}", fontsize=11)
            axis.set_xlabel(f"{values.min():.3f} to {values.max():.3f}", fontsize=10)
            bar = figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.03)
            bar.ax.tick_params(labelsize=8)
        for axis in axes:
            frame = plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="white", lw=4)
            axis.add_patch(frame)
            axis.add_patch(plt.Rectangle(frame.get_xy(), 1, 1, fill=False, edgecolor="black", lw=1.6))
            axis.set(xticks=[], yticks=[])
        figure.tight_layout(pad=0.4)
    return figure


def framed_face(
    face: np.ndarray, place: tuple[int, int], shape: tuple[int, int], zoom: int = 2
) -> np.ndarray:
    """The face, enlarged, with the chosen place framed in white and black."""
    height, width = (side * zoom for side in face.shape[:2])
    picture = Image.fromarray(face).resize((width, height), Image.Resampling.NEAREST)
    (row, column), (rows, columns) = place, shape
    box = (column * width // columns, row * height // rows,
           (column + 1) * width // columns - 1, (row + 1) * height // rows - 1)  # fmt: skip
    draw = ImageDraw.Draw(picture)
    for grow, colour in ((2, "black"), (1, "white"), (0, "black")):
        draw.rectangle((box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow), outline=colour)
    return np.asarray(picture)


class AttentionExplorer(ipw.VBox):
    """Click a place of a face: whom does it listen to in a trained layer? Its weights; mix the streams.

    faces: uint8 tensors 3×H×W with sides of at least 32, all of one size (a tensor N×3×H×W, or a list);
    names: one for each. scale: 1 (finest) to 4, among those that have attention; place: (row, column) of a
    cell of that scale, from 0. What cannot be used gets a sentence.
    """

    def __init__(
        self, faces: Any = None, names: Any = None, checkpoint: str = "studio_attention",
        scale: Any = 4, place: Any = (7, 6),
    ) -> None:  # fmt: skip
        self.model = None
        try:
            self.faces, self.names = read_faces(faces, names)
            model = load_checkpoint(checkpoint).model.eval()
            self._cache = {0: attention_of(model, self.faces[0])}
            if not self._cache[0]:
                raise ValueError(
                    f"The checkpoint {str(checkpoint)!r} has no layer with local and global spatial "
                    "attention, and this piece shows both; try 'studio_attention'."
                )
        except (ValueError, TypeError, AttributeError, CourseError) as error:
            super().__init__([ipw.HTML(f'<div role="status">{html.escape(str(error))}</div>')])
            return
        self.model, self.scales, self._moving = model, list(self._cache[0]), False
        wrong = []
        try:
            scale = int(read_whole(scale, "scale", 1, 4))
            if scale not in self.scales:
                raise ValueError(f"Scale {scale} has no attention here; there are {self.scales}.")
        except ValueError as error:
            scale = self.scales[-1]
            wrong.append(f"{error} It begins at scale {scale} instead.")
        self.shape = tuple(self._cache[0][scale]["local"].shape)
        try:
            row, column = self._read(place)
        except ValueError as error:
            row, column = (side // 2 for side in self.shape)
            wrong.append(f"{error} It begins at {row}, {column} instead.")
        self._build(scale, row, column)
        self._redraw()
        self._say(*wrong)

    def _build(self, scale: int, row: int, column: int) -> None:
        style, wide = {"description_width": "90px"}, ipw.Layout(width="340px", max_width="100%")
        self.face = ipw.Dropdown(
            options=[(name, i) for i, name in enumerate(self.names)],
            description="face",
            style=style,
            layout=wide,
        )
        self.scale = ipw.Dropdown(
            options=[
                (f"{s}{' (finest)' if s == 1 else ' (coarsest)' if s == 4 else ''}", s) for s in self.scales
            ],
            value=scale, description="scale", style=style, layout=wide,
        )  # fmt: skip
        sliders = [
            ipw.IntSlider(
                value=value,
                min=0,
                max=side - 1,
                description=name,
                readout=False,
                continuous_update=False,
                style=style,
                layout=wide,
            )
            for name, value, side in zip(("row", "column"), (row, column), self.shape, strict=True)
        ]
        self.row, self.column = sliders
        self.place = ipw.Text(
            f"{row}, {column}", description="row, column", continuous_update=False, style=style,
            layout=ipw.Layout(width="190px"),
        )  # fmt: skip
        self.place.add_class("course-place")
        self.logits = {
            name: ipw.FloatSlider(
                value=value, min=-STEEP, max=STEEP, step=0.1, description=name, readout=False, style=style,
                continuous_update=False, layout=wide,
            )
            for name, value in zip(STREAM_NAMES, self.trained, strict=True)
        }  # fmt: skip
        self._rounded = [slider.value for slider in self.logits.values()]
        self.reset = ipw.Button(description="mix as trained")
        self.reset.on_click(lambda _: self.as_trained())
        self.message, self.words, self.mix_words = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.portrait, self.picture = ipw.HTML(), picture_widget(b"", "")
        wrap = ipw.Layout(flex_flow="row wrap", grid_gap="16px")
        choose = ipw.VBox([self.face, self.scale, *sliders, self.place, self.message, self.words],
                          layout=ipw.Layout(max_width="560px"))  # fmt: skip
        mix = ipw.VBox([ipw.HTML("<b>Stream logits</b>"), *self.logits.values(), self.reset])
        super().__init__(
            [
                ipw.HBox([self.portrait, choose], layout=wrap),
                self.picture,
                ipw.HBox([mix, self.mix_words], layout=wrap),
                keep_keys("course-places"),
            ]
        )
        self.add_class("course-places")
        self.face.observe(self._redraw, names="value")
        self.scale.observe(self._rescale, names="value")
        for slider in sliders:
            slider.observe(self._slid, names="value")
        self.place.observe(self._typed, names="value")
        for slider in self.logits.values():
            slider.observe(self._redraw, names="value")

    def _read(self, given: Any) -> tuple[int, int]:
        """(row, column) from text such as "7, 6" or a pair; ValueError with a sentence if it is none."""
        parts = given.replace(";", ",").split(",") if isinstance(given, str) else given
        if not isinstance(parts, (list, tuple)) or len(parts) != 2:
            raise ValueError(f"The place is {str(given)[:20]!r}; give a row and a column, such as 7, 6.")
        names = ("row", "column")
        return tuple(
            int(read_whole(part, name, 0, side - 1))
            for part, name, side in zip(parts, names, self.shape, strict=True)
        )

    def _say(self, *lines: str) -> None:
        self.message.value = notes(*lines)

    def _typed(self, _: Any = None) -> None:
        try:
            row, column = self._read(self.place.value)
        except ValueError as error:
            self._say(f"{error} The place is still {self.row.value}, {self.column.value}.")
            return
        self._say()
        self._move(row, column)

    def _slid(self, _: Any = None) -> None:
        if not self._moving:
            self._move(self.row.value, self.column.value)

    def _move(self, row: int, column: int) -> None:
        """To another place, with one redrawing."""
        self._moving = True
        try:
            self.row.value, self.column.value = row, column
            self.place.value = f"{row}, {column}"
        finally:
            self._moving = False
        self._say()
        self._redraw()

    def _rescale(self, _: Any = None) -> None:
        """To another scale: the same spot of the face, that scale's own mixing weights."""
        rows, columns = self.shape
        row, column = self.row.value, self.column.value
        self.shape = tuple(self.view["local"].shape)
        row, column = row * self.shape[0] // rows, column * self.shape[1] // columns
        self._moving = True
        try:
            self.row.max, self.column.max = (side - 1 for side in self.shape)
            self._set_logits()
        finally:
            self._moving = False
        self._move(row, column)

    def as_trained(self) -> None:
        """Put the mixing weights back to what training found."""
        self._moving = True
        try:
            self._set_logits()
        finally:
            self._moving = False
        self._redraw()

    def _set_logits(self) -> None:
        for slider, value in zip(self.logits.values(), self.trained, strict=True):
            slider.value = value
        self._rounded = [slider.value for slider in self.logits.values()]

    @property
    def view(self) -> dict[str, Any]:
        """What the chosen scale's layer does with the chosen face (see `attention_of`)."""
        i = self.face.value
        if i not in self._cache:
            self._cache[i] = attention_of(self.model, self.faces[i])
        return self._cache[i][self.scale.value]

    @property
    def trained(self) -> list[float]:
        """The stream logits of the chosen scale's layer, as training left them."""
        return self.view["layer"].stream_logits.detach().tolist()

    @property
    def weights(self) -> list[float]:
        """The mixing weights of identity, local and global stream: the softmax of the logits."""
        given = [slider.value for slider in self.logits.values()]
        # a slider may round: until one is moved, the trained numbers themselves count
        logits = self.trained if given == self._rounded else given
        return torch.softmax(torch.tensor(logits), dim=0).tolist()

    def state(self) -> dict[str, Any]:
        """What the page shows: shares over the grid in percent, weights at the place, bracket, P(fake)."""
        row, column, view = self.row.value, self.column.value, self.view
        face = self.faces[self.face.value]
        bracket, p = mixed(self.model, face, view, np.log(np.maximum(self.weights, 1e-12)))
        return {
            "shares": (100 * view["matrix"][row * self.shape[1] + column]).tolist(),
            "local": float(view["local"][row, column]),
            "global": float(view["global"][row, column]),
            "bracket": float(bracket[row, column]),
            "p_fake": p,
            "p_trained": mixed(self.model, face, view, self.trained)[1],
            "map": bracket,
        }

    def _picture(self, state: dict[str, Any]) -> bytes:
        face = self.faces[self.face.value].permute(1, 2, 0).numpy()
        place = self.row.value, self.column.value
        return figure_png(attention_figure(face, place, self.view, state["map"]))

    def show(self) -> None:
        """Display it, with a static figure of the chosen place where widgets do not render."""
        if self.model is None:
            show_with_picture(self, None, "Nothing to explore.")
        else:
            words = "An explorer of the attention layer; the picture shows one place of one face."
            show_with_picture(self, self._picture(self.state()), words)

    def _redraw(self, _: Any = None) -> None:
        if self._moving:
            return
        state, row, column = self.state(), self.row.value, self.column.value
        shares, name = state["shares"], self.names[self.face.value]
        grid, best = round(len(shares) ** 0.5), int(np.argmax(shares))
        face = framed_face(self.faces[self.face.value].permute(1, 2, 0).numpy(), (row, column), self.shape)
        self.portrait.value = clickable(
            face, f"The face {name!r}; row {row}, column {column} is framed.", self.shape
        )
        even = 100 / len(shares)
        where = f"row {best // grid}, column {best % grid} of the {grid}×{grid} cells"
        likes = (
            "It listens to all cells almost alike"
            if max(shares) - min(shares) < 1
            else f"It listens most to {where}"
        )
        self.words.value = (
            f'<div style="line-height:1.5">Click the face, or move the sliders (counted from 0). '
            f"Scale {self.scale.value}, place {row}, {column}: {likes} ({max(shares):.1f} %; if it did not "
            f"choose, {even:.1f} %).</div>"
        )
        w = self.weights
        changed = (
            " (as trained)" if np.allclose(w, torch.softmax(torch.tensor(self.trained), 0).tolist()) else ""
        )
        self.mix_words.value = (
            f'<div style="line-height:1.6">mixing weights{changed}: identity <b>{w[0]:.2f}</b>, '
            f"local <b>{w[1]:.2f}</b>, global <b>{w[2]:.2f}</b><br>"
            f"bracket here: <b>{state['bracket']:.3f}</b> (mean over channels)<br>"
            f"P(fake): <b>{state['p_fake']:.4f}</b>; as trained {state['p_trained']:.4f}</div>"
        )
        png = self._picture(state)
        percent = ", ".join(f"{share:.0f}" for share in shares)
        alt = (
            f"Scale {self.scale.value}, row {row}, column {column}. Listens to the {grid} by {grid} cells "
            f"with {percent} percent. Local weight {state['local']:.3f}, "
            f"global weight {state['global']:.3f}, bracket {state['bracket']:.3f}. "
            "Beside it the maps of all places."
        )
        set_picture(self.picture, png, alt, None)


def clickable(face: np.ndarray, words: str, shape: tuple[int, int]) -> str:
    """The face as HTML; a click writes "row, column" into the field beside it, as typing would."""
    data = base64.b64encode(picture_png(face, max(face.shape))).decode()
    rows, columns = shape
    script = (
        "var g=this.closest('.course-places'),t=g&amp;&amp;g.querySelector('.course-place input');"
        "if(t){var b=this.getBoundingClientRect(),"
        f"r=Math.min({rows - 1},Math.max(0,Math.floor((event.clientY-b.top)/b.height*{rows}))),"
        f"c=Math.min({columns - 1},Math.max(0,Math.floor((event.clientX-b.left)/b.width*{columns})));"
        "t.value=r+', '+c;t.dispatchEvent(new Event('input',{bubbles:true}));"
        "t.dispatchEvent(new Event('change',{bubbles:true}))}"
    )
    return (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(words, quote=True)}" onclick="{script}" '
        f'style="width:{face.shape[1]}px;max-width:100%;cursor:crosshair;image-rendering:pixelated">'
    )
