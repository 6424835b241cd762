"""The interactive pieces of lessons 06 to 10."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.nn import functional

from .layers import GlobalChannelAttention, LocalChannelAttention
from .plots import FAKE, GREEN, STYLE
from .widgets_convolve import grey_picture, light_png, sentence
from .widgets_kit import (
    figure_png,
    keep_keys,
    picture_png,
    picture_widget,
    read_number,
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
        notes = "".join(f"<p><b>Note:</b> {html.escape(line)}</p>" for line in lines)
        self.message.value = f'<div role="status">{notes}</div>' if notes else ""

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
        set_picture(self.picture, png, alt, Image.open(io.BytesIO(png)).width)  # scaled, letters would blur


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
) -> Figure:
    """A row with the channels and what each pools to, and a row for each gate with the re-weighted channels.

    Each channel has its own brightness scale, the same down its column, with room to become brighter.
    """
    rows = 1 + len(gates)
    columns = len(names) + (0 if matrix is None else 1)
    widths = [1] * len(names) + ([] if matrix is None else [1.35])
    tops = [1.7 * np.quantile(m, 0.99) + 1e-9 for m in maps]
    with plt.rc_context(STYLE):
        size = (1.75 * sum(widths) + 0.5, 2.0 * rows)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, width_ratios=widths)
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
        figure.tight_layout(pad=0.4)
    return figure


def draw_matrix(axis: Any, matrix: np.ndarray, names: Sequence[str]) -> None:
    """A small matrix with its numbers: row i is how channel i divides its attention."""
    axis.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        ink = "white" if value > 0.6 else "black"
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
            show_with_picture(self, picture_png(np.full((8, 256), 255, np.uint8)), "Nothing to explore.")
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
        self.table.value = f"{gate_table(names, self.pooled, self.gate)}<div>{html.escape(written)}</div>"
        told = ", ".join(
            f"{name}: pooled {number:.2f}, factor {2 * weight:.2f}"
            for name, number, weight in zip(names, self.pooled, self.gate, strict=True)
        )
        alt = f"Four channels of the face, {self.state.value}, before and after the gate {kind}. {told}."
        if self.matrix is not None:
            rows = "; ".join(" ".join(f"{value:.2f}" for value in row) for row in self.matrix)
            alt += f" The matrix, row by row: {rows}."
        png = figure_png(gate_figure(names, maps, self.pooled, {kind: self.gate}, self.matrix))
        set_picture(self.picture, png, alt, Image.open(io.BytesIO(png)).width)


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
    gates = {kind: gate_of(kind, {n: float(v) for n, v in GATES[kind].items()}, pooled)[0] for kind in GATES}
    return light_png(gate_figure([*CHANNELS], maps, pooled, gates))
