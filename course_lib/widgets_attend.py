"""The interactive pieces of lessons 06 to 10."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .plots import FAKE, GREEN, STYLE
from .widgets_kit import (
    figure_png,
    keep_keys,
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
