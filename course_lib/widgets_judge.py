"""The interactive pieces of lessons 12 and 13."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from .data import load
from .errors import CourseError
from .evaluation import check_scores, confusion, predict_logits, roc_auc, to_probability
from .plots import FAKE, STYLE, base_rate_figure, natural_frequencies, ranking_figure
from .predict import Detector
from .robustness import KINDS, perturb
from .widgets_kit import (
    figure_png,
    keep_keys,
    light_png,
    notes,
    picture_png,
    picture_widget,
    read_number,
    read_whole,
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


RARE = tuple(float(f"{mantissa}e{power}") for power in (-2, -1, 0, 1) for mantissa in (1, 1.5, 2, 3, 5, 7))[
    :-1
]  # 0.01 … 50 per cent


class BaseRateExplorer(ipw.VBox):
    """How much is an alarm worth? Slide the share of fakes among all pictures and watch the precision.

    tpr, fpr: shares of the fakes found and of the reals accused, 0 to 1; prevalence: the share of fakes,
    0.0001 to 0.5. Each has a slider, whose stops are round numbers, and a
    field for any other, in per cent. `frequencies` holds the counts on show. What is
    no number in range gets a sentence.
    """

    RANGES = {  # in per cent: low, high, where it begins if what was asked for cannot be had
        "prevalence": (0.01, 50.0, 1.0),
        "tpr": (0.0, 100.0, 98.0),
        "fpr": (0.01, 50.0, 0.5),
    }
    STOPS = {
        "prevalence": RARE,
        "tpr": (*range(0, 90, 5), *range(90, 99), 99, 99.5, 99.9, 100),
        "fpr": RARE,
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
        # Stops, and no continuous slider: that one rounds what was typed and sends it back.
        self.sliders = {
            name: ipw.SelectionSlider(options=[(f"{stop:g}", stop) for stop in stops])
            for name, stops in self.STOPS.items()
        }
        self.fields = {}
        for name, slider in self.sliders.items():
            slider.description, slider.style.description_width = self.NAMES[name], LABEL["description_width"]
            slider.readout, slider.layout = False, WIDE
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
            self._set(name, float(self.sliders[name].value))

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
                stops = np.asarray(self.STOPS[name], dtype=float)
                nearest = int(np.abs(stops - value).argmin())
                if self.sliders[name].index != nearest:
                    self.sliders[name].index = nearest
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

AS_IT_IS = "as it is"


def p_text(p: float) -> str:
    """P(fake) with enough digits to see how near to 0 or 1 it is."""
    return "below 0.001" if p < 0.001 else "above 0.999" if p > 0.999 else f"{p:.3f}"


def p_bar(p: float, before: float, threshold: float) -> str:
    """HTML: P(fake) as a bar, a line where it was before, and a mark at the threshold."""
    words = f"P(fake) {p_text(p)}; of the picture as it is {p_text(before)}; threshold {threshold:.2f}"
    line = "position:absolute;top:-4px;bottom:-4px;border-left:3px"
    return (
        f'<div role="img" aria-label="{words}" style="position:relative;height:18px;width:340px;'
        'max-width:100%;background:rgba(128,128,128,.28)">'
        f'<div style="height:18px;width:{100 * p:.1f}%;background:{FAKE}"></div>'
        f'<div style="{line} solid currentColor;left:{99 * before:.1f}%"></div>'
        f'<div style="{line} dotted currentColor;left:{99 * threshold:.1f}%"></div></div>'
        '<div style="display:flex;justify-content:space-between;width:340px;max-width:100%">'
        "<span>0: real</span><span>1: fake</span></div>"
        '<div style="opacity:.85">Line: the picture as it is. Dotted: the threshold.</div>'
    )


class RobustnessExplorer(ipw.VBox):
    """Choose a face, what happens to it, and how badly: see the picture and its P(fake) move.

    detector: a checkpoint's name, or a `Detector`. dataset: ``len``, ``uint8(i)``, ``labels``; `studio`'s
    test part if left out. label, number, kind, severity: what it begins with, "real" or "fake", a place
    among these, one of `robustness.KINDS`, one of its severities. What cannot be used gets a sentence.
    `state` holds what is on show.
    """

    def __init__(
        self,
        detector: Any = "studio",
        dataset: Any = None,
        label: Any = "fake",
        number: Any = 0,
        kind: Any = "resize",
        severity: Any = None,
    ) -> None:
        self.detector = None
        try:
            found = Detector.load(detector, device="cpu") if isinstance(detector, str) else detector
            if not hasattr(found, "preprocessing"):
                raise ValueError("The detector is to be a Detector or a checkpoint's name, such as 'studio'.")
            self.dataset = load("studio").test if dataset is None else dataset
            if not all(hasattr(self.dataset, part) for part in ("labels", "uint8", "__len__")):
                raise ValueError("The data set is to have labels and uint8(i), as load('studio').test has.")
            check_scores(self.dataset.labels, np.zeros(len(self.dataset)))
        except (ValueError, TypeError, AttributeError, CourseError) as error:
            words = html.escape(f"Nothing to explore: {error}")
            super().__init__([ipw.HTML(f'<div role="status">{words}</div>')])
            return
        self.detector = found
        labels = np.asarray(self.dataset.labels)
        self.places = {"real": np.flatnonzero(labels == 0), "fake": np.flatnonzero(labels == 1)}
        wrong = []
        if label not in ("real", "fake"):
            wrong.append(f"The label is {str(label)[:20]!r}; choose 'real' or 'fake'. It begins with a fake.")
            label = "fake"
        if not isinstance(kind, str) or kind not in KINDS:
            known = ", ".join(KINDS)
            wrong.append(f"The kind is {str(kind)[:20]!r}; there are {known}. It begins with resize.")
            kind = "resize"
        try:
            number = int(read_whole(number, "the number", 0, len(self.places[label]) - 1))
        except ValueError as error:
            wrong.append(f"{str(error)[0].upper()}{str(error)[1:]} It begins at 0.")
            number = 0
        if severity is not None and severity not in KINDS[kind].severities:
            known = ", ".join(f"{s:g}" for s in KINDS[kind].severities)
            wrong.append(f"The severity is {str(severity)[:20]!r}; for {kind} there are {known}.")
            severity = None
        self._build(label, number, kind, severity)
        self._redraw()
        self.message.value = notes(*wrong)

    def _build(self, label: str, number: int, kind: str, severity: float | None) -> None:
        style, wide = {"description_width": "80px"}, ipw.Layout(width="400px", max_width="100%")
        self.label = ipw.Dropdown(
            options=[("a real face", "real"), ("a fake", "fake")], value=label, description="picture",
            style=style, layout=wide,
        )  # fmt: skip
        self.number = ipw.IntSlider(
            value=number, min=0, max=len(self.places[label]) - 1, description="number",
            continuous_update=False, style=style, layout=wide,
        )  # fmt: skip
        self.kind = ipw.Dropdown(
            options=[(f"{name}: {what.words}", name) for name, what in KINDS.items()], value=kind,
            description="what", style=style, layout=wide,
        )  # fmt: skip
        self.severity = ipw.SelectionSlider(
            options=self._steps(kind), value=severity or AS_IT_IS, description="how badly",
            continuous_update=False, style=style, layout=wide,
        )  # fmt: skip
        self.message, self.bar, self.words = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.before, self.after = picture_widget(b"", ""), picture_widget(b"", "")
        gap = ipw.Layout(flex_flow="row wrap", grid_gap="16px")
        super().__init__(
            [
                ipw.VBox([self.label, self.number, self.kind, self.severity, self.message]),
                ipw.HBox([self.before, self.after, ipw.VBox([self.bar, self.words])], layout=gap),
                keep_keys("course-robustness"),
            ]
        )
        self.add_class("course-robustness")
        self.label.observe(lambda _: self._chose_label(), names="value")
        self.kind.observe(lambda _: self._chose_kind(), names="value")
        self.number.observe(lambda _: self._redraw(), names="value")
        self.severity.observe(lambda _: self._redraw(), names="value")

    @staticmethod
    def _steps(kind: str) -> list[tuple[str, float | str]]:
        return [(AS_IT_IS, AS_IT_IS), *((f"{s:g} ({KINDS[kind].unit})", s) for s in KINDS[kind].severities)]

    def _chose_label(self) -> None:
        self.number.max = len(self.places[self.label.value]) - 1
        self._redraw()

    def _chose_kind(self) -> None:
        self.severity.options = self._steps(self.kind.value)  # which goes back to "as it is"
        self._redraw()

    @property
    def image(self) -> torch.Tensor:
        """The chosen picture as it is, uint8 3×H×W."""
        return self.dataset.uint8(int(self.places[self.label.value][self.number.value]))

    def judged(self, image: torch.Tensor) -> float:
        """P(fake) of one picture."""
        d = self.detector
        return float(to_probability(predict_logits(d.model, [image], d.preprocessing), d.temperature)[0])

    @property
    def state(self) -> dict[str, Any]:
        """What is on show: the picture, its P(fake), and P(fake) of the picture as it is."""
        return self._state

    def show(self) -> None:
        """Display it, with a static figure in its place where widgets do not render."""
        if self.detector is None:
            show_with_picture(self, None, "Nothing to explore.")
            return
        told = (
            "An explorer of what happens to pictures; the figure shows a real face and a fake, each as it is "
            "and changed in five ways, with P(fake) below."
        )
        show_with_picture(self, light_png(self._sheet(), 200), told)

    def _sheet(self) -> Figure:
        """A real face and a fake as they are and after five perturbations, P(fake) below each. Not shown."""
        changes = [("jpeg", 10), ("blur", 1.5), ("noise", 20), ("resize", 0.5), ("rotate", 45)]
        with plt.rc_context(STYLE):
            figure, axes = plt.subplots(2, 6, figsize=(10.2, 4.3), layout="constrained")
            for row, name in zip(axes, ("real", "fake"), strict=True):
                image = self.dataset.uint8(int(self.places[name][0]))
                pictures = [image, *(perturb(image, kind, severity) for kind, severity in changes)]
                for axis, picture, change in zip(row, pictures, [None, *changes], strict=True):
                    axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
                    said = f"{name}, {AS_IT_IS if change is None else f'{change[0]} {change[1]:g}'}"
                    axis.set_title(said, fontsize=10, loc="center", pad=3)
                    axis.set_xlabel(f"P(fake) {p_text(self.judged(picture))}", fontsize=10)
                    axis.set(xticks=[], yticks=[])
                    axis.spines[:].set_visible(False)
        return figure

    def _redraw(self) -> None:
        self.message.value = ""
        image, kind = self.image, self.kind.value
        severity = None if self.severity.value == AS_IT_IS else self.severity.value
        changed = image if severity is None else perturb(image, kind, severity)
        p_before, p = self.judged(image), self.judged(changed)
        self._state = {"image": changed, "p_fake": p, "p_before": p_before}
        name = f"{'Real face' if self.label.value == 'real' else 'Fake'} number {self.number.value}"
        how = AS_IT_IS if severity is None else f"{KINDS[kind].words}, {severity:g} {KINDS[kind].unit}"
        set_picture(self.before, picture_png(image.permute(1, 2, 0).numpy()), f"{name}, as it is.", 200)
        size = f"{changed.shape[2]} by {changed.shape[1]} pixels"
        png, side = picture_png(changed.permute(1, 2, 0).numpy()), 200 * changed.shape[2] // image.shape[2]
        set_picture(self.after, png, f"{name}, {how}; {size}.", side)
        threshold = self.detector.threshold
        self.bar.value = p_bar(p, p_before, threshold)
        verdict = "fake" if p >= threshold else "real"
        right = "right" if verdict == self.label.value else "wrong"
        was = "" if severity is None else f", as it is {p_text(p_before)}"
        self.words.value = (
            f'<div role="status" style="line-height:1.6">{html.escape(f"{name}, {how} ({size}).")}<br>'
            f"P(fake) <b>{p_text(p)}</b>{was}. It says <b>{verdict}</b>, and that is {right}.</div>"
        )
