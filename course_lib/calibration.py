"""Can a score be taken as a probability? Reliability tables, calibration error, Brier score, temperature.

A detector is *calibrated* if, of all images that get P(fake) near 0.8, eight in ten are fake. That is another
question than whether fakes rank above reals (the AUC), and another answer: dividing every logit by the same
*temperature* leaves the ranking as it is and moves the probabilities.

y holds labels (1 = fake), p scores P(fake), logits the numbers before the sigmoid. Calibration holds for the
mix of images and the share of fakes that it was measured on, and for no other.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DataError
from .evaluation import as_numbers, check_scores, to_probability, wilson_interval

if TYPE_CHECKING:
    import pandas as pd

BINS = ("uniform", "quantile")


def reliability(y: Any, p: Any, bins: int = 10, strategy: str = "uniform") -> pd.DataFrame:
    """What was said against what was true, bin by bin: the table behind a reliability diagram.

    bins: how many; strategy "uniform" makes them equally wide, "quantile" equally full.
    Returns one row for each bin with an image in it: from, to (edges), n, said (mean P(fake)), fake (share of
    fakes), low, high (Wilson's 95 % interval of that share). DeGroot and Fienberg 1983; Niculescu-Mizil and
    Caruana 2005.
    """
    import pandas as pd

    y, p = check_scores(y, p, both_classes=False)
    edges = bin_edges(p, bins, strategy)
    place = bin_of(p, edges)
    rows = []
    for b in range(len(edges) - 1):
        inside = place == b
        n, fakes = int(inside.sum()), int(y[inside].sum())
        if n:
            low, high = wilson_interval(fakes, n)
            rows.append((edges[b], edges[b + 1], n, p[inside].mean(), fakes / n, low, high))
    return pd.DataFrame(rows, columns=["from", "to", "n", "said", "fake", "low", "high"])


def bin_edges(p: np.ndarray, bins: int, strategy: str) -> np.ndarray:
    """The edges of the bins, from 0 to 1."""
    if strategy not in BINS:
        raise DataError(
            f"The bins are 'uniform' (equally wide) or 'quantile' (equally full), not {strategy!r}."
        )
    try:
        bins = operator.index(bins)
    except TypeError:
        bins = 0
    if bins < 1:
        raise DataError("The number of bins is a whole number of 1 or more, such as 10.")
    if strategy == "uniform":
        return np.linspace(0, 1, bins + 1)
    inner = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])


def bin_of(p: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The number of the bin of each score; an edge belongs to the bin above it, 1 to the last bin."""
    return np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)


def expected_calibration_error(y: Any, p: Any, bins: int = 10, strategy: str = "uniform") -> float:
    """ECE: how far what was said lies from what was true, in the mean over the images, in bins.

    ``sum over bins of n/N * |mean P(fake) - share of fakes|``. For two classes, on P(fake); Guo et al. 2017
    use the confidence in the answer instead. It depends on the bins, and it is above 0 even for a perfectly
    calibrated detector, for no bin of a few images has exactly its share. Naeini, Cooper and Hauskrecht 2015.
    """
    y, p = check_scores(y, p, both_classes=False)
    place = bin_of(p, bin_edges(p, bins, strategy))
    return float(np.abs(np.bincount(place, p - y)).sum() / len(p))


def brier_score(y: Any, p: Any) -> float:
    """The mean of (p - y)²: 0 is perfect, 0.25 is always saying one half. Brier 1950. By scikit-learn."""
    from sklearn.metrics import brier_score_loss

    y, p = check_scores(y, p, both_classes=False)
    return float(brier_score_loss(y, p, pos_label=1))


def log_loss(y: Any, p: Any) -> float:
    """The mean binary cross-entropy in nats, the training loss. By scikit-learn, which keeps it finite."""
    from sklearn.metrics import log_loss as entropy

    y, p = check_scores(y, p, both_classes=False)
    return float(entropy(y, p, labels=[0, 1]))


def fit_temperature(y: Any, logits: Any) -> float:
    """The temperature T that makes ``sigmoid(logits / T)`` fit the labels best, for *validation* logits.

    The cross-entropy is convex in 1/T, so there is one best T: where its slope is zero. Guo et al., "On
    calibration of modern neural networks", 2017, arXiv 1706.04599. Raises `DataError` where there is no best
    one: no answer is wrong (then ever larger logits fit ever better), or most are (then ever smaller ones).
    """
    from scipy.optimize import brentq

    z = as_numbers(logits, "logit")
    if z.ndim == 1 and not np.isfinite(z).all():
        first = int((~np.isfinite(z)).argmax())
        raise DataError(f"Logit {first} is {z[first]}; a temperature needs finite logits.")
    y, _ = check_scores(y, to_probability(z))
    if (z * (2 * y - 1) >= 0).all():
        raise DataError(
            f"All {len(y)} validation images are on the right side of 0.5, so no temperature is best: the "
            "lower the better the fit, without end; keep the one you have (1 if none), or fit it on harder "
            "images."
        )

    def slope(sharpness: float) -> float:  # of the summed cross-entropy, in sharpness = 1 / T
        return float(np.sum(z * (to_probability(z * sharpness) - y)))

    if slope(0.0) >= 0:
        raise DataError(
            "The logits do not rise with the truth on these validation images, so no temperature makes them "
            "probabilities; look for swapped labels or an inverted detector first."
        )
    scale = 1 / np.abs(z).max()
    top = scale
    while slope(top) < 0:
        top *= 2
    return float(1 / brentq(slope, 1e-9 * scale, top, xtol=1e-12 * scale, rtol=1e-10))
