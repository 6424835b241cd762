"""What happens to a detector when its pictures have been through the world: saved again, blurred, shrunk.

`perturb` does one such thing to one picture, `Perturbed` to every picture of a data set, real and fake alike
(or to one class only, which is the trap of lesson 13), and `severity_curve` judges a detector at growing
severities *on the same pictures*, so that each loss has an interval of its own.

Judging under graded, everyday corruptions: Hendrycks & Dietterich, "Benchmarking neural network robustness to
common corruptions and perturbations", ICLR 2019, arXiv 1903.12261.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision.transforms.v2 import functional as TF

from .errors import DataError, ModelInputError
from .evaluation import (
    bootstrap_interval,
    check_scores,
    fast_auc,
    named,
    paired_bootstrap,
    predict_scores,
    require_data_set,
)
from .transforms import gaussian_blur, jpeg, to_uint8

SMALLEST = 32
"""Pixels a side that `perturb` leaves at least: no detector of the course judges less."""


# ---------------------------------------------------------------------------------------- one thing at a time
def resaved(image: torch.Tensor, quality: float, seed: int) -> torch.Tensor:
    return jpeg(image, int(quality))


def blurred(image: torch.Tensor, sigma: float, seed: int) -> torch.Tensor:
    if sigma == 0:
        return image
    return to_uint8(gaussian_blur(image[None].float() / 255, torch.tensor([float(sigma)])))[0]


def grainy(image: torch.Tensor, level: float, seed: int) -> torch.Tensor:
    grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image.float() + level * grain).round().clamp(0, 255).to(torch.uint8)


def rescaled(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    bicubic = TF.InterpolationMode.BICUBIC
    return TF.resize(image, [height, width], interpolation=bicubic, antialias=True)


def smaller(image: torch.Tensor, factor: float, seed: int) -> torch.Tensor:
    height, width = (max(min(SMALLEST, n), round(n * factor)) for n in image.shape[1:])
    return rescaled(image, height, width)


def enlarged(image: torch.Tensor, factor: float, seed: int) -> torch.Tensor:
    height, width = image.shape[1:]
    h, w = round(height / factor), round(width / factor)
    top, left = (height - h) // 2, (width - w) // 2
    return rescaled(image[:, top : top + h, left : left + w], height, width)


def shifted(image: torch.Tensor, distance: float, seed: int) -> torch.Tensor:
    whole = math.floor(distance)
    part = distance - whole
    columns = torch.arange(image.shape[2])
    here = image[:, :, (columns - whole).clamp(min=0)]
    if part == 0:
        return here
    before = image[:, :, (columns - whole - 1).clamp(min=0)]  # where nothing comes from, the edge repeats
    return ((1 - part) * here.float() + part * before.float()).round().to(torch.uint8)


def turned(image: torch.Tensor, degrees: float, seed: int) -> torch.Tensor:
    if degrees % 90 == 0:
        return torch.rot90(image, int(degrees // 90), dims=(1, 2)).contiguous()
    height, width = image.shape[1:]
    margin = math.ceil(0.5 * (math.hypot(height, width) - min(height, width))) + 1
    margin = min(margin, min(height, width) - 1)  # a reflection reaches one picture far
    wide = TF.pad(image, [margin], padding_mode="reflect")  # else the corners would turn black
    wide = TF.rotate(wide, degrees, interpolation=TF.InterpolationMode.BILINEAR)
    return wide[:, margin : margin + height, margin : margin + width]


@dataclass(frozen=True)
class Kind:
    """One thing that happens to pictures. severities: from mild to strong; they lie between low and high."""

    words: str
    unit: str
    severities: tuple[float, ...]
    low: float
    high: float
    do: Callable[[torch.Tensor, float, int], torch.Tensor]


KINDS: dict[str, Kind] = {
    "jpeg": Kind("saved once more as JPEG", "quality", (90, 70, 50, 30, 20, 10), 1, 100, resaved),
    "blur": Kind("blurred", "sigma in pixels", (0.4, 0.6, 0.8, 1.0, 1.2, 1.5), 0, 1.5, blurred),
    "noise": Kind("with added noise", "grey levels", (2, 5, 10, 20, 30), 0, 64, grainy),
    "resize": Kind("made smaller", "times as wide", (0.95, 0.9, 0.8, 0.7, 0.6, 0.5), 0.25, 1, smaller),
    "zoom": Kind("enlarged, the middle kept", "times as wide", (1.05, 1.1, 1.25, 1.5, 2.0), 1, 4, enlarged),
    "shift": Kind("moved to the right", "pixels", (0.25, 0.5, 1, 1.5, 2), 0, 16, shifted),
    "rotate": Kind("turned to the left", "degrees", (1, 2, 5, 15, 45, 90), 0, 180, turned),
}
"""What `perturb` can do, by name."""


def perturb(image: torch.Tensor, kind: str, severity: float, seed: int = 0) -> torch.Tensor:
    """One picture after one of `KINDS`: uint8 3 x H x W in and out; the same picture for the same arguments.

    kind, severity: "jpeg" at a quality of 1 to 100 (less is worse); "blur" with a sigma of 0 to 1.5 pixels;
    "noise" of a standard deviation of 0 to 64 grey levels; "resize" to 0.25 to 1 of its width and height (the
    only kind whose output is smaller, but for "rotate" of a picture that is no square); "zoom" by a factor of
    1 to 4, keeping the middle; "shift" to the right by 0 to 16 pixels, parts of a pixel by mixing neighbours;
    "rotate" to the left by 0 to 180 degrees, the corners filled by reflection. `seed` decides the noise.
    Raises `DataError` for an unknown kind or a severity out of range, `ModelInputError` for no picture.
    """
    what = check_kind(kind)
    number = check_severity(kind, severity)
    right = isinstance(image, torch.Tensor) and image.dtype == torch.uint8 and image.ndim == 3
    if not right or image.shape[0] != 3 or min(image.shape[1:]) < 8:
        raise ModelInputError(
            "A picture here is a uint8 tensor 3 x height x width of 8 pixels a side or more, not "
            f"{named(image)}."
        )
    return what.do(image, number, seed)


def check_kind(kind: Any) -> Kind:
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"There is no perturbation {str(kind)[:20]!r}; there are {', '.join(KINDS)}.")
    return KINDS[kind]


def check_severity(kind: str, severity: Any) -> float:
    what = check_kind(kind)
    number = math.nan
    if isinstance(severity, int | float | np.number) and not isinstance(severity, bool):
        number = float(severity)
    if not what.low <= number <= what.high or (kind == "jpeg" and number != int(number)):
        whole = "a whole number " if kind == "jpeg" else ""
        raise DataError(
            f"The severity of {kind!r} ({what.unit}) is {whole}from {what.low:g} to {what.high:g}, not "
            f"{str(severity)[:20]!r}."
        )
    return number


class Perturbed:
    """A data set (``len``, ``uint8(i)``, ``labels``) whose every picture went through `perturb`.

    only: None for both classes alike, as it should be; 0 or 1 for one class, which makes the perturbation a
    giveaway. Picture ``i`` gets noise of its own, decided by `seed` and ``i``.
    """

    def __init__(
        self, dataset: Any, kind: str, severity: float, seed: int = 0, only: int | None = None
    ) -> None:
        self.dataset, self.kind, self.seed, self.only = dataset, kind, seed, only
        self.severity = check_severity(kind, severity)
        require_data_set(dataset)
        self.labels = np.asarray(dataset.labels)
        if only not in (None, 0, 1):
            raise DataError(f"only is None (both classes), 0 (reals) or 1 (fakes), not {str(only)[:20]!r}.")

    def __len__(self) -> int:
        return len(self.dataset)

    def uint8(self, i: int) -> torch.Tensor:
        image = self.dataset.uint8(i)
        if self.only is not None and self.labels[i] != self.only:
            return image
        return perturb(image, self.kind, self.severity, self.seed * 1_000_003 + int(i))


# ------------------------------------------------------------------------------------------------- the curve
@dataclass(frozen=True)
class SeverityCurve:
    """What `severity_curve` found. Row 0 is the pictures as they are, row k the k-th severity.

    severities: one fewer than rows. scores: rows x pictures, P(fake); labels: one a picture. auc, auc_low,
    auc_high: with a 95 % bootstrap interval; loss, loss_low, loss_high: AUC as they are minus AUC here, its
    interval paired over the same pictures. accuracy, reals_accused, fakes_missed: at `threshold`.
    """

    kind: str
    severities: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    threshold: float
    auc: np.ndarray
    auc_low: np.ndarray
    auc_high: np.ndarray
    loss: np.ndarray
    loss_low: np.ndarray
    loss_high: np.ndarray
    accuracy: np.ndarray
    reals_accused: np.ndarray
    fakes_missed: np.ndarray

    @property
    def unit(self) -> str:
        """What the severities count."""
        return KINDS[self.kind].unit

    @property
    def steps(self) -> list[str]:
        """A name for each row: "as it is", then the severities."""
        return ["as it is", *(f"{s:g}" for s in self.severities)]


def severity_curve(
    detector: Any,
    dataset: Any,
    kind: str,
    severities: Sequence[float] | None = None,
    *,
    n_bootstrap: int = 500,
    seed: int = 0,
) -> SeverityCurve:
    """Judge a `Detector` on the same pictures as they are and at growing severities of one perturbation.

    dataset: ``len``, ``uint8(i)``, ``labels``, both classes; both are perturbed alike. severities: those of
    `KINDS` if left out. The detector's own threshold is used throughout: nobody chooses a new one for every
    picture that comes from the web.
    """
    if not hasattr(detector, "preprocessing"):
        raise ModelInputError(
            "severity_curve needs a Detector, which knows how pictures are prepared and from which P(fake) "
            "on it says fake; Detector(network, preprocessing, threshold=...) makes one."
        )
    what = check_kind(kind)
    if isinstance(severities, str | bytes) or not isinstance(severities, Sequence | np.ndarray | None):
        raise DataError(f"severities is a list of numbers, such as {list(what.severities)}.")
    steps = [check_severity(kind, s) for s in (what.severities if severities is None else severities)]
    if not steps:
        raise DataError("severities is empty; give at least one number, or leave it out.")
    views = [dataset, *(Perturbed(dataset, kind, step, seed) for step in steps)]
    scores = np.stack([
        predict_scores(detector.model, view, detector.preprocessing, temperature=detector.temperature)
        for view in views
    ])  # fmt: skip
    return curve_of(kind, steps, dataset.labels, scores, detector.threshold, n_bootstrap, seed)


def curve_of(
    kind: str,
    severities: Sequence[float],
    labels: Any,
    scores: Any,
    threshold: float = 0.5,
    n_bootstrap: int = 500,
    seed: int = 0,
) -> SeverityCurve:
    """The numbers of `severity_curve` for scores (rows x pictures) that are already there."""
    rows = [check_scores(labels, row) for row in np.asarray(scores, dtype=np.float64)]
    if len(rows) != len(severities) + 1:
        raise DataError(
            f"There are {len(rows)} rows of scores for {len(severities)} severities; it takes one more row, "
            "the first, for the pictures as they are."
        )
    y = rows[0][0]
    p = np.stack([row[1] for row in rows])
    auc = np.array([fast_auc(y, row) for row in p])
    low, high = np.array([bootstrap_interval(fast_auc, y, row, n_bootstrap, seed) for row in p]).T
    losses = np.array([paired_bootstrap(fast_auc, y, p[0], row, n_bootstrap, seed) for row in p])
    called = p >= threshold
    return SeverityCurve(
        kind,
        np.array(severities, dtype=float),
        y,
        p,
        float(threshold),
        auc,
        low,
        high,
        *losses.T,
        (called == y).mean(axis=1),
        called[:, y == 0].mean(axis=1),
        1 - called[:, y == 1].mean(axis=1),
    )
