"""``report(detector, data)``: one call that judges a detector, as a table, a figure and JSON.

Threshold and temperature are chosen on validation images, everything is judged on test images, every number
comes with an interval, and what the numbers cannot say is said beside them. Lesson 12 builds each of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .calibration import expected_calibration_error, fit_temperature, reliability
from .checkpoints import Preprocessing, plain, reason, write_file
from .data import load
from .errors import CourseError, DataError, ModelInputError
from .evaluation import (
    average_precision,
    check_scores,
    choose_threshold,
    confusion,
    crossing,
    delong,
    draws,
    fast_auc,
    mcnemar,
    paired_bootstrap,
    precision_at_prevalence,
    predict_logits,
    to_probability,
    wilson_interval,
)
from .predict import Detector

FEW = 100
"""Fewer images of a class than this, and the report says that they are few."""
SHOWN = "{:.3f}"


@dataclass(frozen=True, repr=False)
class Report:
    """What `report` found. Printing it, or putting it last in a notebook cell, shows table and remarks.

    table: DataFrame, one row a number: measure, value, low, high (95 % interval), interval (which kind).
    numbers: everything, made of plain Python: names, counts, threshold, temperature and where both come from,
        "metrics" (key -> value, low, high), "confusion", "reliability", "baseline" (or None), "notes".
    notes: what the numbers cannot say, in sentences.
    y, p: labels and calibrated P(fake) of the test images; raw: P(fake) before the temperature.
    """

    table: Any
    numbers: dict[str, Any]
    notes: list[str]
    y: np.ndarray
    p: np.ndarray
    raw: np.ndarray
    baseline: np.ndarray | None = None

    def __repr__(self) -> str:
        return "\n".join([self.heading(), self.shown().to_string(index=False), *self.notes])

    def _repr_html_(self) -> str:
        import html

        listed = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        head = html.escape(self.heading())
        return f"<p>{head}</p>{self.shown().to_html(index=False)}<ul>{listed}</ul>"

    def heading(self) -> str:
        """Who was judged on what."""
        n = self.numbers
        return (
            f"{n['detector']} on {n['data']}: {n['n_real']:,} real, {n['n_fake']:,} fake images; fake from "
            f"P(fake) {n['threshold']:.3f} on ({n['threshold_from']}), temperature "
            f"{n['temperature']:.2f} ({n['temperature_from']})"
        )

    def shown(self) -> Any:
        """The table for reading: three digits, a dash where there is no number."""
        shown = self.table[["measure", "value", "low", "high", "interval"]].copy()
        for column in ("value", "low", "high"):
            shown[column] = [SHOWN.format(v) if np.isfinite(v) else "–" for v in shown[column]]
        return shown.rename(columns={"low": "from", "high": "to"})

    def figure(self) -> Any:
        """ROC curve, scores, reliability and confusion matrix in one matplotlib figure (not shown)."""
        from matplotlib import pyplot as plt

        from . import plots

        name, numbers = self.numbers["detector"], self.numbers
        curves = {name: (self.y, self.p)}
        if self.baseline is not None:
            curves[numbers["baseline"]["name"]] = (self.y, self.baseline)
        with plt.rc_context(plots.STYLE):
            figure, axes = plt.subplots(2, 2, figsize=(10, 7.2))
            plots.draw_roc(axes[0, 0], curves, {name: numbers["threshold"]})
            axes[0, 0].set_title("Who ranks above whom")
            plots.draw_scores(axes[0, 1], self.y, self.p, numbers["threshold"])
            axes[0, 1].set_title("What was said")
            table = reliability(self.y, self.p, numbers["bins"])
            plots.draw_reliability(axes[1, 0], table)
            axes[1, 0].set(title="Is it true? Dots on the line are", xlabel="P(fake) said")
            for _, row in table.iterrows():
                place = (row["said"], row["high"])
                axes[1, 0].annotate(f"{row['n']:.0f}", place, (0, 3), textcoords="offset points",
                                    ha="center", fontsize=8)  # fmt: skip
            plots.draw_confusion(axes[1, 1], confusion(self.y, self.p, numbers["threshold"]))
            figure.tight_layout(pad=0.8)
        plt.close(figure)  # a notebook shows what is returned, and not once more what is open
        return figure

    def to_json(self) -> str:
        """All of `numbers` as JSON; a number that does not exist is null."""
        return json.dumps(plain(self.numbers), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, folder: str | Path) -> Path:
        """Write report.json, table.csv, scores.csv and report.png into a folder; returns it.

        Each file is written under another name first and then renamed: an interruption leaves the old ones.
        """
        import pandas as pd

        folder = Path(folder).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CourseError(f"{folder}: the report cannot be put there ({reason(error)}).") from error
        picture = io.BytesIO()
        self.figure().savefig(picture, format="png", dpi=110, facecolor="white")
        scores = pd.DataFrame({"y": self.y, "p_fake": self.p, "p_fake_before_temperature": self.raw})
        for name, content in {
            "table.csv": self.table.to_csv(index=False).encode(),
            "scores.csv": scores.to_csv(index=False).encode(),
            "report.png": picture.getvalue(),
            "report.json": self.to_json().encode(),
        }.items():
            write_file(folder / name, content)
        return folder


def report(
    detector: Any,
    data: Any,
    *,
    baseline: Any = None,
    bins: int = 10,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
) -> Report:
    """Judge a detector on a data set: ranking, decisions and probabilities, with 95 % intervals.

    detector: a `Detector`, the name or folder of a checkpoint, a network (uint8 windows normalised in, one
        logit an image out), or a function from a data set to the P(fake) of each of its images.
    data: what `load` returns, or a name that `load` knows: threshold and temperature are chosen on ``valid``
        and everything is judged on ``test``. Or one `FaceDataset` (anything with ``len``, ``uint8(i)`` and
        ``labels``): then the detector's own threshold and temperature are taken.
    baseline: another detector, in any of these forms, to compare with on the same images.
    bins: of the calibration error. n_bootstrap: draws for an interval.

    Raises `DataError` or `ModelInputError` with one sentence about bad data: one class only, a wrong number
    of scores, NaN.
    """
    if n_bootstrap < 1:
        raise DataError(f"n_bootstrap is a number of draws, 1 or more, not {n_bootstrap}.")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed is a whole number, 0 or more, not {seed!r}.")
    judge = Judge(detector, batch_size, device)
    rival = None if baseline is None else Judge(baseline, batch_size, device)
    sets = load(data) if isinstance(data, str | Path) else data
    several = hasattr(sets, "valid") and hasattr(sets, "test")
    test, notes = sets.test if several else sets, []
    y, logits, copies = judge.judged(test, "test")
    threshold, temperature = judge.threshold, judge.temperature
    threshold_from = temperature_from = "the detector's own"
    if several:
        y_valid, z_valid, _ = judge.judged(sets.valid, "validation")
        try:
            temperature, temperature_from = fit_temperature(y_valid, z_valid), "fitted on validation"
        except DataError as error:
            notes.append(f"The temperature stays {temperature:.3g}: {error}")
        threshold = choose_threshold(y_valid, to_probability(z_valid, temperature))
        threshold_from = "chosen on validation"
    raw = to_probability(logits, judge.temperature)
    p = to_probability(logits, temperature)
    metrics = measures(y, p, raw, threshold, bins, n_bootstrap, seed)
    numbers = {
        "format": 1,
        "detector": judge.name,
        "data": name_of(test, sets),
        "n": len(y),
        "n_real": int((y == 0).sum()),
        "n_fake": int((y == 1).sum()),
        "threshold": threshold,
        "threshold_from": threshold_from,
        "temperature": temperature,
        "temperature_from": temperature_from,
        "bins": bins,
        "metrics": {m["key"]: {k: m[k] for k in ("value", "low", "high", "interval")} for m in metrics},
        "confusion": confusion(y, p, threshold).tolist(),
        "reliability": reliability(y, p, bins).to_dict("records"),
        "copies": copies,
        "baseline": None,
    }
    against = None
    if rival is not None:
        judge.must_differ(rival)
        numbers["baseline"], against = compared(
            rival, test, sets.valid if several else None, y, p, threshold, n_bootstrap, seed
        )
        notes.append(told_comparison(numbers["baseline"], judge.name))
    notes += remarks(numbers)
    numbers["notes"] = notes
    return Report(as_table(metrics), numbers, notes, y, p, raw, against)


class Judge:
    """Anything that scores images, in one form: `logits` of a data set, a name, threshold, temperature."""

    def __init__(self, detector: Any, batch_size: int, device: Any) -> None:
        self.batch_size, self.threshold, self.temperature = batch_size, 0.5, 1.0
        self.function, self.preprocessing, self.device = None, Preprocessing(), device
        if isinstance(detector, str | Path):
            detector = Detector.load(detector, device)
        if isinstance(detector, Detector):
            self.model, self.preprocessing, self.name = detector.model, detector.preprocessing, detector.name
            self.threshold, self.temperature = detector.threshold, detector.temperature
        elif isinstance(detector, nn.Module):
            self.model, self.name = detector, type(detector).__name__
        elif callable(detector):
            self.function, self.name = detector, getattr(detector, "__name__", type(detector).__name__)
        else:
            raise ModelInputError(
                f"A value of type {type(detector).__name__} cannot be judged; give a Detector, the name of a "
                "checkpoint, a network, or a function from a data set to scores."
            )

    def judged(self, dataset: Any, what: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Labels, logits, and how many images are exact copies of an earlier one; checked."""
        if not all(hasattr(dataset, name) for name in ("__len__", "uint8", "labels")):
            raise DataError(
                f"A value of type {type(dataset).__name__} cannot be judged on; give what load(...) returns, "
                "a part of it, or the name of a data set."
            )
        seen: set[bytes] = set()

        def images() -> Iterator[torch.Tensor]:
            for i in range(len(dataset)):
                image = dataset.uint8(i)
                if isinstance(image, torch.Tensor):
                    seen.add(hashlib.sha1(image.contiguous().numpy().tobytes()).digest())
                yield image

        try:
            if self.function is None:
                z = predict_logits(
                    self.model, images(), self.preprocessing, self.batch_size, device=self.device
                )
                check_scores(dataset.labels, to_probability(z))
            else:
                for _ in images():
                    pass
                _, p = check_scores(dataset.labels, self.function(dataset))
                p = np.clip(p, 1e-15, 1 - 1e-15)
                z = np.log(p) - np.log1p(-p)
        except DataError as error:
            raise DataError(f"On the {what} images: {error}", error.problems) from None
        return np.asarray(dataset.labels).astype(np.int64), z, len(dataset) - len(seen)

    def must_differ(self, other: Judge) -> None:
        """A baseline with the detector's name gets another one, so that the two can be told apart."""
        if other.name == self.name:
            other.name += " (baseline)"


def name_of(test: Any, sets: Any) -> str:
    """The name of a data set, if it has one."""
    return str(getattr(sets, "name", None) or getattr(test, "name", None) or type(test).__name__)


# ---- the numbers ----


def measures(
    y: np.ndarray, p: np.ndarray, raw: np.ndarray, threshold: float, bins: int, n: int, seed: int
) -> list[dict[str, Any]]:
    """All rows of the table: key, measure (words), value, low, high, interval (which kind)."""

    def ranking(y: np.ndarray, p: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Everything that is bootstrapped, in one go."""
        from sklearn.metrics import roc_curve

        fpr, tpr, _ = roc_curve(y, p, drop_intermediate=False)
        told = [fast_auc(y, p), average_precision(y, p), crossing(fpr, 1 - tpr)]
        told += [tpr[fpr <= limit + 1e-12].max() for limit in (0.01, 0.001)]
        told += [((p >= threshold) == y).mean()]
        told += [((each - y) ** 2).mean() for each in (p, raw)]
        told += [cross_entropy(y, each) for each in (p, raw)]
        told += [expected_calibration_error(y, each, bins) for each in (p, raw)]
        return np.array(told)

    names = [
        ("auc", "ROC-AUC"),
        ("average_precision", "average precision"),
        ("equal_error_rate", "equal error rate"),
        ("tpr_at_1pct_fpr", "TPR at 1 % FPR"),
        ("tpr_at_01pct_fpr", "TPR at 0.1 % FPR"),
        ("accuracy", "accuracy at the threshold"),
        ("brier", "Brier score"),
        ("brier_before", "Brier score before the temperature"),
        ("log_loss", "log loss"),
        ("log_loss_before", "log loss before the temperature"),
        ("ece", f"calibration error ({bins} bins)"),
        ("ece_before", f"calibration error ({bins} bins) before the temperature"),
    ]
    values = ranking(y, p, raw)
    drawn = np.array([ranking(y[i], p[i], raw[i]) for i in draws(y, n, seed)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    rows = [
        {"key": key, "measure": words, "value": float(v), "low": float(a), "high": float(b),
         "interval": "bootstrap"}
        for (key, words), v, a, b in zip(names, values, low, high, strict=True)
    ]  # fmt: skip
    (spared, accused), (missed, found) = confusion(y, p, threshold).tolist()
    for key, words, k, total in (
        ("tpr", "TPR at the threshold (recall)", found, found + missed),
        ("fpr", "FPR at the threshold", accused, accused + spared),
        ("precision", "precision on these images", found, found + accused),
    ):
        low, high = wilson_interval(k, total) if total else (math.nan, math.nan)
        rows.append({"key": key, "measure": words, "value": k / total if total else math.nan, "low": low,
                     "high": high, "interval": "Wilson"})  # fmt: skip
    tpr, fpr = rows[-3], rows[-2]
    rows.append(
        {"key": "precision_at_1pct", "measure": "precision if 1 % of pictures are fakes",
         "value": precision_at_prevalence(tpr["value"], fpr["value"], 0.01),
         "low": precision_at_prevalence(tpr["low"], fpr["high"], 0.01),
         "high": precision_at_prevalence(tpr["high"], fpr["low"], 0.01),
         "interval": "from those of TPR and FPR"}
    )  # fmt: skip
    return rows


def cross_entropy(y: np.ndarray, p: np.ndarray) -> float:
    """`calibration.log_loss` without its checks, for the bootstrap."""
    tiny = np.finfo(np.float64).eps
    return float(-np.log(np.clip(np.where(y == 1, p, 1 - p), tiny, 1)).mean())


def as_table(rows: list[dict[str, Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows)


def compared(
    rival: Judge,
    test: Any,
    valid: Any,
    y: np.ndarray,
    p: np.ndarray,
    threshold: float,
    n: int,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """The baseline on the same images: three paired comparisons; and its scores."""
    _, logits, _ = rival.judged(test, "test")
    theirs = to_probability(logits, rival.temperature)
    cut = rival.threshold
    if valid is not None:
        y_valid, z_valid, _ = rival.judged(valid, "validation")
        cut = choose_threshold(y_valid, to_probability(z_valid, rival.temperature))
    counts = mcnemar((p >= threshold) == y, (theirs >= cut) == y)
    try:
        aucs = delong(y, p, theirs)
        told = {"auc": aucs.auc_b, "auc_difference": aucs.difference, "auc_low": aucs.low,
                "auc_high": aucs.high, "delong_p": aucs.p_value}  # fmt: skip
    except DataError:  # a single image of a class: the difference stands without an interval
        auc = fast_auc(y, theirs)
        told = {"auc": auc, "auc_difference": fast_auc(y, p) - auc, "auc_low": math.nan,
                "auc_high": math.nan, "delong_p": math.nan}  # fmt: skip
    difference, low, high = paired_bootstrap(fast_auc, y, p, theirs, n, seed)
    told |= {"name": rival.name, "threshold": cut, "bootstrap_low": low, "bootstrap_high": high}
    told |= {"only_detector_right": counts.only_a, "only_baseline_right": counts.only_b,
             "mcnemar_p": counts.p_value}  # fmt: skip
    return told, theirs


def told_comparison(b: dict[str, Any], name: str) -> str:
    """The comparison in a sentence."""
    if not math.isfinite(b["auc_low"]):
        verdict = "too few images for an interval"
    elif b["auc_low"] > 0:
        verdict = f"{name} ranks better on images of this kind"
    elif b["auc_high"] < 0:
        verdict = f"{b['name']} ranks better on images of this kind"
    else:
        verdict = "these images cannot tell which ranks better"
    return (
        f"Against {b['name']} (AUC {b['auc']:.3f}): AUC difference {b['auc_difference']:+.3f} "
        f"({b['auc_low']:+.3f} to {b['auc_high']:+.3f}, DeLong): {verdict}. Decisions: only {name} right on "
        f"{b['only_detector_right']} images, only {b['name']} on {b['only_baseline_right']}; McNemar p = "
        f"{b['mcnemar_p']:.2g}."
    )


def remarks(numbers: dict[str, Any]) -> list[str]:
    """What the numbers cannot say, in sentences."""
    reals, fakes, ranking = numbers["n_real"], numbers["n_fake"], numbers["metrics"]["auc"]
    auc = ranking["value"]
    notes = []
    few = min(reals, fakes)
    if ranking["high"] < 0.5:
        notes.append(
            f"The AUC is {auc:.3f}, its whole interval below 0.5: the detector is inverted here. It has "
            "learned something, and it points the wrong way; look for swapped labels before you read on."
        )
    if few < FEW:
        notes.append(
            f"Only {reals} real and {fakes} fake images: every interval is wide, and the bootstrap's are too "
            "narrow even so."
        )
    if auc == 1:
        notes.append(
            "Every fake ranks above every real, so the bootstrap has nothing to draw from and its intervals "
            f"have no width. That is not certainty: of {few} images, up to {min(100, 300 / few):.2g} % could "
            "still go wrong unseen (rule of three)."
        )
    if reals < 3000:
        notes.append(
            f"{reals} reals cannot show an FPR of 0.1 %. That row allows {int(0.001 * reals)} false alarms; "
            f"and none of {reals} would still be compatible with an FPR of {min(100, 300 / reals):.2g} % "
            "(rule of three)."
        )
    if numbers["copies"]:
        notes.append(
            f"{numbers['copies']} of {numbers['n']} images are exact copies of others; the intervals take "
            "them for independent, and are too narrow."
        )
    notes.append(
        "The intervals say how far the numbers would move with other images of the same kind; they know "
        "nothing about another camera or another generator."
    )
    return notes
