"""The interactive pieces of lessons 12 and 13."""

from __future__ import annotations

import html
import math
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np

from .errors import CourseError
from .evaluation import check_scores, confusion, roc_auc
from .plots import base_rate_figure, natural_frequencies, ranking_figure
from .widgets_kit import (
    figure_png,
    keep_keys,
    light_png,
    notes,
    picture_widget,
    read_number,
    set_picture,
    show_with_picture,
)

# ---- lesson 12: judge it ----

WIDE = ipw.Layout(width="430px", max_width="100%")
LABEL = {"description_width": "190px"}


def few_digits(value: float) -> str:
    """A count that may be a fraction: "9,405", "9.8", "0.05"."""
    if value >= 20 or abs(value - round(value)) < 1e-9:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 1 else f"{value:.1f}"


def percent_text(share: float) -> str:
    """A share in per cent with three digits that count: "0.01", "66.4", "98"."""
    return f"{100 * share:.3g}"


def base_rate_words(tpr: float, fpr: float, prevalence: float) -> str:
    """The widget's sentences, in natural frequencies."""
    n = natural_frequencies(tpr, fpr, prevalence)
    count = {key: few_digits(value) for key, value in n.items() if key != "precision"}
    words = (
        f"Of {count['pictures']} pictures {count['fakes']} are fakes and {count['reals']} are real. The "
        f"detector calls {count['found']} of the fakes fake, and {count['accused']} of the real ones. "
    )
    if not n["alarms"] > 0:
        return words + "It raises no alarm at all."
    wrong = 100 * (1 - n["precision"])
    return (
        words + f"Of its {count['alarms']} alarms {count['found']} are right: "
        f"a precision of {percent_text(n['precision'])} %. Of 100 people accused, {wrong:.0f} are innocent."
    )


class BaseRateExplorer(ipw.VBox):
    """How much is an alarm worth? Slide the share of fakes among all pictures and watch the precision.

    tpr, fpr: shares of the fakes found and of the reals accused, 0 to 1; prevalence: the share of fakes,
    0.0001 to 0.5. Each has a slider and a field, in per cent. `frequencies` holds the counts on show. What is
    no number in range gets a sentence.
    """

    RANGES = {  # in per cent: low, high, where it begins if what was asked for cannot be had
        "prevalence": (0.01, 50.0, 1.0),
        "tpr": (0.0, 100.0, 98.0),
        "fpr": (0.01, 50.0, 0.5),
    }
    NAMES = {
        "prevalence": "% of pictures that are fakes",
        "tpr": "TPR: % of fakes found",
        "fpr": "FPR: % of reals accused",
    }

    def __init__(self, tpr: Any = 0.98, fpr: Any = 0.005, prevalence: Any = 0.01) -> None:
        given, wrong = {"prevalence": prevalence, "tpr": tpr, "fpr": fpr}, []
        self.values: dict[str, float] = {}
        for name, value in given.items():
            try:
                self.values[name] = self._read(name, 100 * read_number(value, name, 0, 1))
            except ValueError as error:
                self.values[name] = self.RANGES[name][2]
                wrong.append(f"{error} It begins at {self.values[name]:g} % instead.")
        self.sliders = {
            "prevalence": ipw.FloatLogSlider(min=-2, max=math.log10(50), step=0.01),
            "tpr": ipw.FloatSlider(min=0, max=100, step=0.5),
            "fpr": ipw.FloatLogSlider(min=-2, max=math.log10(50), step=0.01),
        }
        self.fields = {}
        for name, slider in self.sliders.items():
            slider.description, slider.style.description_width = self.NAMES[name], LABEL["description_width"]
            slider.readout, slider.layout = False, WIDE
            slider.value = self.values[name]
            self.fields[name] = ipw.Text(continuous_update=False, layout=ipw.Layout(width="90px"))
            self.fields[name].tooltip = f"{self.NAMES[name]}, as a number"
            self.fields[name].add_class(f"course-{name}")
        self.message, self.words = ipw.HTML(), ipw.HTML()
        self.picture = picture_widget(b"", "")
        wrap = ipw.Layout(flex_flow="row wrap")
        rows = [ipw.HBox([self.sliders[name], self.fields[name]], layout=wrap) for name in self.sliders]
        super().__init__([*rows, self.message, self.words, self.picture, keep_keys("course-rates")])
        self.add_class("course-rates")
        self._quiet = False
        for name in self.sliders:
            self.sliders[name].observe(lambda _, name=name: self._slid(name), names="value")
            self.fields[name].observe(lambda _, name=name: self._typed(name), names="value")
        self._redraw()
        self.message.value = notes(*wrong)

    def _read(self, name: str, percent: Any) -> float:
        low, high, _ = self.RANGES[name]
        return float(f"{read_number(percent, self.NAMES[name].split(':')[0], low, high):.4g}")

    def _typed(self, name: str) -> None:
        if self._quiet:
            return
        try:
            value = self._read(name, self.fields[name].value)
        except ValueError as error:
            words = str(error)
            self.message.value = notes(f"{words} It is still {self.values[name]:g}.")
            return
        self._set(name, value)

    def _slid(self, name: str) -> None:
        if not self._quiet:
            self._set(name, float(f"{self.sliders[name].value:.3g}"))

    def _set(self, name: str, percent: float) -> None:
        self.values[name] = percent
        self.message.value = ""
        self._redraw()

    @property
    def rates(self) -> tuple[float, float, float]:
        """TPR, FPR and prevalence as shares."""
        return tuple(self.values[name] / 100 for name in ("tpr", "fpr", "prevalence"))

    @property
    def frequencies(self) -> dict[str, float]:
        """The counts on show; see `plots.natural_frequencies`."""
        return natural_frequencies(*self.rates)

    def show(self) -> None:
        """Display it, with a static figure where widgets do not render."""
        png = light_png(base_rate_figure(*self.rates))
        show_with_picture(self, png, base_rate_words(*self.rates))

    def _redraw(self) -> None:
        self._quiet = True  # moving a slider to a typed number is no new input
        try:
            for name, value in self.values.items():
                self.fields[name].value = f"{value:g}"
                self.sliders[name].value = value
        finally:
            self._quiet = False
        words = base_rate_words(*self.rates)
        self.words.value = (
            f'<div role="status" style="line-height:1.6;max-width:62em">{html.escape(words)}</div>'
        )
        alt = "Left the pictures as squares, in the middle 100 alarms, right precision against prevalence. "
        set_picture(self.picture, figure_png(base_rate_figure(*self.rates)), alt + words, None)


TEN_LABELS = (1, 1, 0, 1, 1, 0, 1, 0, 0, 0)
TEN_SCORES = (0.95, 0.90, 0.80, 0.70, 0.65, 0.45, 0.40, 0.30, 0.20, 0.10)
MOST = 60


class ThresholdExplorer(ipw.VBox):
    """Slide a threshold over a few scores: who is called fake, the confusion matrix, the place on the ROC.

    y, p: labels (1 = fake) and scores, at most 60; without them the ten of the lesson. `counts` is the
    confusion matrix on show. What cannot be used gets a sentence.
    """

    def __init__(self, y: Any = None, p: Any = None, threshold: Any = 0.5) -> None:
        self.y = None
        try:
            y, p = check_scores(TEN_LABELS if y is None else y, TEN_SCORES if p is None else p)
            if len(y) > MOST:
                raise ValueError(f"There are {len(y)} scores; give at most {MOST}, to be seen one by one.")
        except (ValueError, CourseError) as error:
            super().__init__([ipw.HTML(f'<div role="status">{html.escape(str(error))}</div>')])
            return
        self.y, self.p = y, p
        wrong = []
        try:
            begin = read_number(threshold, "the threshold", 0, 1)
        except ValueError as error:
            begin = 0.5
            wrong.append(f"{str(error)[0].upper()}{str(error)[1:]} It begins at 0.5 instead.")
        self.slider = ipw.FloatSlider(
            value=begin, min=0, max=1, step=0.01, description="threshold", readout=False, layout=WIDE
        )
        self.field = ipw.Text(f"{begin:g}", continuous_update=False, layout=ipw.Layout(width="90px"))
        self.field.tooltip = "the threshold, as a number"
        self.field.add_class("course-threshold-field")
        self.message, self.words = ipw.HTML(), ipw.HTML()
        self.picture = picture_widget(b"", "")
        row = ipw.HBox([self.slider, self.field], layout=ipw.Layout(flex_flow="row wrap"))
        super().__init__([row, self.message, self.picture, self.words, keep_keys("course-threshold")])
        self.add_class("course-threshold")
        self.slider.observe(lambda _: self._slid(), names="value")
        self.field.observe(lambda _: self._typed(), names="value")
        self._redraw()
        self.message.value = notes(*wrong)

    @property
    def threshold(self) -> float:
        return round(self.slider.value, 4)

    @property
    def counts(self) -> np.ndarray:
        """[[reals left alone, reals accused], [fakes missed, fakes found]] at this threshold."""
        return confusion(self.y, self.p, self.threshold)

    def _typed(self) -> None:
        try:
            value = read_number(self.field.value, "the threshold", 0, 1)
        except ValueError as error:
            words = str(error)
            self.message.value = notes(f"{words[0].upper()}{words[1:]} It is still {self.threshold:g}.")
            return
        self.message.value = ""
        self.slider.value = value
        self.field.value = f"{self.threshold:g}"

    def _slid(self) -> None:
        self.message.value = ""
        self.field.value = f"{self.threshold:g}"
        self._redraw()

    def _told(self) -> str:
        (spared, accused), (missed, found) = self.counts.tolist()
        reals, fakes = spared + accused, missed + found
        told = (
            f"From {self.threshold:g} on: {found} of {fakes} fakes found (TPR {found / fakes:.2f}), "
            f"{accused} of {reals} reals accused (FPR {accused / reals:.2f})."
        )
        alarms = found + accused
        share = f"{found} of {alarms} right ({found / alarms:.2f})" if alarms else "there are none"
        right = (found + spared) / len(self.y)
        return f"{told} Of the alarms, {share}. Accuracy {right:.2f}."

    def show(self) -> None:
        """Display it, with a static figure where widgets do not render."""
        if self.y is None:
            show_with_picture(self, None, "Nothing to explore.")
            return
        show_with_picture(self, light_png(ranking_figure(self.y, self.p, self.threshold)), self._told())

    def _redraw(self) -> None:
        told = self._told()
        self.words.value = f'<div role="status" style="line-height:1.6">{html.escape(told)}</div>'
        figure = ranking_figure(self.y, self.p, self.threshold)
        alt = (
            f"Scores on a line with the threshold; the ROC curve (AUC {roc_auc(self.y, self.p):.2f}). {told}"
        )
        set_picture(self.picture, figure_png(figure), alt, None)
        plt.close(figure)


# ---- lesson 13: break it ----
