"""Judging a detector: scores on a data set, the numbers that sum them up, intervals, comparisons.

y holds labels (1 = fake), p holds scores P(fake), one each per image. Every metric checks both and says in
one sentence what is wrong with them. The metrics themselves are scikit-learn's; what it lacks (DeLong's
comparison) stands here. How far a score can be taken as a probability is the subject of `calibration`, and
`report` puts everything together.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoints import Preprocessing
from .errors import DataError, ModelInputError

Metric = Callable[[np.ndarray, np.ndarray], float]

PIXELS_AT_ONCE = 64 * 128 * 128
"""How many pixels go through the network in one batch at most: large images go in smaller batches."""


# ---------------------------------------------------------------------------------------------------- scores
def predict_scores(
    model: nn.Module,
    dataset: Any,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 64,
    *,
    temperature: float = 1.0,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """P(fake) of every image of a dataset (anything with ``len`` and ``uint8(i)``), float64, in order.

    The default `Preprocessing` shows the network each whole image. The model is used in evaluation mode and
    left as it was found; `device` moves it there first (None: where it is).
    """
    require_data_set(dataset, labels=False)
    images = (dataset.uint8(i) for i in range(len(dataset)))
    return to_probability(
        predict_logits(model, images, preprocessing, batch_size, device=device), temperature
    )


def require_data_set(dataset: Any, labels: bool = True) -> None:
    """Raise `DataError` unless this is a data set: ``len``, ``uint8(i)`` and, if wanted, ``labels``."""
    for name in ("__len__", "uint8", *(["labels"] if labels else [])):
        if not hasattr(dataset, name):
            raise DataError(f"needed is a data set, such as load(...).test, not a {type(dataset).__name__}")


def to_probability(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """``1 / (1 + exp(-logit / temperature))``, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64) / temperature))


def predict_logits(
    model: nn.Module,
    images: Iterable[torch.Tensor],
    preprocessing: Preprocessing | None = None,
    batch_size: int = 64,
    *,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """The logit of *fake* of every image, float64: the mean over the windows that the preprocessing cuts.

    images: uint8 tensors 3 x H x W of any sizes, also a generator of them; windows of one shape share a
    batch, and only a few batches are in memory at any time.
    """
    preprocessing = preprocessing or Preprocessing()
    device = torch.device(device) if device is not None else device_of(model)
    was_training = model.training
    model.to(device).eval()
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    try:
        with torch.inference_mode():
            for owners, views in batches_of_one_shape(images, preprocessing, batch_size):
                x = preprocessing.normalise(views.to(device)).contiguous(memory_format=torch.channels_last)
                logits = fake_logits(model(x), len(x))
                for owner, logit in zip(owners, logits.double().tolist(), strict=True):
                    sums[owner] = sums.get(owner, 0.0) + logit
                    counts[owner] = counts.get(owner, 0) + 1
    finally:
        model.train(was_training)
    return np.array([sums[i] / counts[i] for i in range(len(sums))], dtype=np.float64)


def batches_of_one_shape(
    images: Iterable[torch.Tensor], preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield (index of the image each view belongs to, views B x 3 x h x w), views of one shape together."""
    waiting: dict[tuple[int, int], tuple[list[int], list[torch.Tensor]]] = {}
    for index, image in enumerate(images):
        if not isinstance(image, torch.Tensor) or image.dtype != torch.uint8 or image.ndim != 3:
            raise ModelInputError(
                f"Image {index} is {named(image)}; what can be judged is a uint8 tensor 3 x height x width "
                "(0 to 255), in which nothing can be NaN."
            )
        for view in preprocessing.views(image):
            shape = (view.shape[-2], view.shape[-1])
            owners, views = waiting.setdefault(shape, ([], []))
            owners.append(index)
            views.append(view)
            if len(views) >= max(1, min(batch_size, PIXELS_AT_ONCE // (shape[0] * shape[1]))):
                yield owners, torch.stack(views)
                del waiting[shape]
        # With many different sizes, no shape may ever fill a batch: do not let them pile up.
        if sum(v.numel() for _, views in waiting.values() for v in views) > 4 * 3 * PIXELS_AT_ONCE:
            for owners, views in waiting.values():
                yield owners, torch.stack(views)
            waiting.clear()
    for owners, views in waiting.values():
        yield owners, torch.stack(views)


def named(value: Any) -> str:
    """What something is, in few words: "a float32 tensor [3, 8, 8] with NaN in it", "a list"."""
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    holes = " with NaN in it" if value.is_floating_point() and bool(torch.isnan(value).any()) else ""
    return f"a {str(value.dtype).removeprefix('torch.')} tensor {list(value.shape)}{holes}"


def fake_logits(output: Any, batch: int) -> torch.Tensor:
    """What a network answered, as a tensor (B,): takes (B,) or (B, 1), and refuses anything else."""
    if isinstance(output, torch.Tensor) and output.shape in ((batch,), (batch, 1)):
        return output.reshape(batch)
    found = (
        f"a tensor {list(output.shape)}" if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    )
    raise ModelInputError(
        f"The network answered {batch} images with {found}; it must give one logit of fake per image, shape "
        f"({batch},)."
    )


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


# --------------------------------------------------------------------------------------------------- metrics
def as_numbers(values: Any, what: str) -> np.ndarray:
    """Labels or scores as float64; a `DataError` that shows the first one that is text."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":  # text that looks like a number is text all the same
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError):
        first = values[0] if isinstance(values, list | tuple | np.ndarray) and len(values) else values
        raise DataError(
            f"Labels and scores must be numbers, one of each per image, and the first {what} is "
            f"{str(first)[:20]!r}; labels are mapped by name: real is 0, fake is 1."
        ) from None


def check_scores(y: Any, p: Any, *, both_classes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores as arrays, or a `DataError` that says in one sentence what is wrong with them."""
    y, p = as_numbers(y, "label"), as_numbers(p, "score")
    if y.ndim != 1 or p.ndim != 1:
        raise DataError(
            f"Labels and scores must be flat lists, and have the shapes {y.shape} and {p.shape}; take one "
            "score per image."
        )
    if len(y) != len(p):
        raise DataError(
            f"There are {len(y)} labels but {len(p)} scores; each image needs one of both, in the same order."
        )
    if len(y) == 0:
        raise DataError(
            "There is nothing to judge: no labels and no scores; check how the images were chosen."
        )
    if not np.isin(y, (0, 1)).all():
        odd = y[~np.isin(y, (0, 1))][0]
        raise DataError(f"Labels must be 0 (real) or 1 (fake), and one of them is {odd:g}; map them by name.")
    if np.isnan(p).any():
        first = int(np.isnan(p).argmax())
        raise DataError(
            f"{int(np.isnan(p).sum())} of {len(p)} scores are NaN, the first at index {first}; leave those "
            "images out "
            "or mend the model."
        )
    if (p < 0).any() or (p > 1).any():
        raise DataError(
            f"Scores must be probabilities of fake, from 0 to 1, and range from {p.min():.3g} to "
            f"{p.max():.3g}; "
            "pass logits through a sigmoid first."
        )
    if both_classes and (y == y[0]).all():
        raise DataError(
            f"All {len(y)} images are {('real', 'fake')[int(y[0])]}, and this number compares the two "
            "classes; "
            "judge on real and fake images together."
        )
    return y.astype(np.int64), p


def roc_auc(y: Any, p: Any) -> float:
    """Area under the ROC curve: the chance that a random fake scores above a random real (ties count half).

    0.5 is guessing; below 0.5 the detector is *inverted*: it has learned something, and it points the wrong
    way.
    """
    from sklearn.metrics import roc_auc_score

    y, p = check_scores(y, p)
    return float(roc_auc_score(y, p))


def accuracy(y: Any, p: Any, threshold: float = 0.5) -> float:
    """Share of images judged rightly when P(fake) at or above the threshold means fake."""
    from sklearn.metrics import accuracy_score

    y, p = check_scores(y, p, both_classes=False)
    return float(accuracy_score(y, p >= check_threshold(threshold)))


def roc_points(y: Any, p: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The corners of the ROC curve: (fpr, tpr, thresholds), float64, from (0, 0) up to (1, 1).

    fpr: share of the reals with p >= threshold, called fake; tpr: that share of the fakes. One corner for
    each score that occurs, and one before them all, at the threshold infinity.
    """
    from sklearn.metrics import roc_curve

    y, p = check_scores(y, p)
    return roc_curve(y, p, drop_intermediate=False)


def average_precision(y: Any, p: Any) -> float:
    """Walk down the ranking; at each fake note the precision so far; the mean of these (without ties).

    Unlike the AUC it depends on how many of the images are fake: a coin gets that share.
    """
    from sklearn.metrics import average_precision_score

    y, p = check_scores(y, p)
    return float(average_precision_score(y, p))


def equal_error_rate(y: Any, p: Any) -> float:
    """The error rate where as large a share of reals is accused as of fakes is missed.

    It is read off the ROC curve's straight lines where they cross fpr = 1 - tpr; 0 is perfect, 0.5 guessing.
    """
    fpr, tpr, _ = roc_points(y, p)
    return crossing(fpr, 1 - tpr)


def crossing(fpr: np.ndarray, missed: np.ndarray) -> float:
    """Where fpr, which rises, meets the share of fakes missed, which falls."""
    return float(np.interp(0, fpr - missed, fpr))


def check_share(value: Any, what: str) -> float:
    """A number from 0 to 1, or a `DataError`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, str) or not 0 <= number <= 1:
        raise DataError(f"{what} is a share, from 0 to 1, and not {str(value)[:20]!r}.")
    return number


def tpr_at_fpr(y: Any, p: Any, fpr: float = 0.01) -> float:
    """Share of fakes found when the threshold is set so that at most this share of reals is accused.

    The threshold is read off the very images that are judged. It is the field's number, and it flatters a
    little: to use a detector, take `threshold_at_fpr` on validation images.
    """
    fpr = check_share(fpr, "The false positive rate")
    false_alarms, found, _ = roc_points(y, p)
    return float(found[false_alarms <= fpr + 1e-12].max())


def threshold_at_fpr(y: Any, p: Any, fpr: float = 0.01) -> float:
    """The lowest threshold that accuses at most this share of the reals, to be chosen on *validation* scores.

    It lies midway between the highest score that has to stay below it and the next higher one of any image;
    just above that score (for a score of 1 above 1, so that nothing is called fake) if there is none.
    """
    fpr = check_share(fpr, "The false positive rate")
    y, p = check_scores(y, p)
    reals = np.sort(p[y == 0])[::-1]
    allowed = int(fpr * len(reals) + 1e-9)
    if allowed == len(reals):
        return 0.0
    spared = reals[allowed]
    above = p[p > spared]
    return float((spared + above.min()) / 2 if len(above) else np.nextafter(spared, 2.0))


def confusion(y: Any, p: Any, threshold: float = 0.5) -> np.ndarray:
    """Counts, int64 2 x 2: the row is the truth, the column what was said; 0 is real, 1 fake.

    ``[[reals left alone, reals accused], [fakes missed, fakes found]]``.
    """
    from sklearn.metrics import confusion_matrix

    y, p = check_scores(y, p, both_classes=False)
    return confusion_matrix(y, p >= check_threshold(threshold), labels=[0, 1])


def check_threshold(threshold: Any) -> float:
    """A finite number, or a `DataError`."""
    if isinstance(threshold, bool | str) or not np.isscalar(threshold) or not np.isfinite(threshold):
        raise DataError(f"A threshold is a number, such as 0.5, and not {str(threshold)[:20]!r}.")
    return float(threshold)


def precision_at_prevalence(tpr: float, fpr: float, prevalence: float) -> float:
    """Of the pictures called fake, the share that is fake, where `prevalence` of all pictures are fakes.

    Bayes' rule in natural frequencies: alarms that are right / all alarms. NaN if there are no alarms at all.
    """
    tpr, fpr = check_share(tpr, "The true positive rate"), check_share(fpr, "The false positive rate")
    prevalence = check_share(prevalence, "The prevalence")
    right, wrong = tpr * prevalence, fpr * (1 - prevalence)
    return right / (right + wrong) if right + wrong > 0 else math.nan


def choose_threshold(y: Any, p: Any) -> float:
    """The threshold with the best balanced accuracy (Youden's J), to be chosen on *validation* scores only.

    It is placed midway between two neighbouring scores; of equally good places, the middle of the widest gap
    is taken, so that a perfect detector gets the threshold with the most room on both sides.
    """
    y, p = check_scores(y, p)
    values = np.unique(p)
    if len(values) == 1:
        return 0.5
    middles = (values[:-1] + values[1:]) / 2
    fakes, reals = np.sort(p[y == 1]), np.sort(p[y == 0])
    found = 1 - np.searchsorted(fakes, middles) / len(fakes)
    spared = np.searchsorted(reals, middles) / len(reals)
    best = np.isclose(found + spared, (found + spared).max())
    return float(middles[np.where(best, np.diff(values), -1.0).argmax()])


def bootstrap_interval(
    metric: Metric, y: Any, p: Any, n: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """A percentile bootstrap interval of ``metric(y, p)``: (low, high).

    Real and fake images are drawn with replacement, each within its class, n times, so that every sample has
    both classes in the same numbers. It says how much the number would move with other test images *of the
    same kind*; it knows nothing about images of another kind. Efron & Tibshirani, "An Introduction to the
    Bootstrap", 1993.
    """
    y, p = check_scores(y, p)
    if n < 1 or not 0 < level < 1:
        raise DataError(
            f"bootstrap_interval needs n of 1 or more and a level between 0 and 1, not {n} and {level}."
        )
    values = [metric(y[draw], p[draw]) for draw in draws(y, n, seed)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def draws(y: np.ndarray, n: int, seed: int) -> Iterator[np.ndarray]:
    """n bootstrap samples as indices into y: reals and fakes drawn with replacement within their class."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == label) for label in (0, 1)]
    for _ in range(n):
        yield np.concatenate([group[rng.integers(len(group), size=len(group))] for group in groups])


def wilson_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share of which k of n were seen: (low, high), both within 0 and 1.

    For counts of right answers, where every answer is right with the same unknown chance: the interval holds
    all chances that k of n would not surprise. It needs no luck with round shares, as k = 0 and k = n show.
    Wilson 1927, doi 10.1080/01621459.1927.10502953; computed by SciPy.
    """
    from scipy.stats import binomtest

    whole = []
    for value in (k, n):
        try:
            if isinstance(value, bool) or float(value) != int(value):
                raise ValueError
            whole.append(int(value))
        except (TypeError, ValueError, OverflowError):
            raise DataError(
                "wilson_interval counts answers, in whole numbers: k right ones of n, not "
                f"{str(value)[:20]!r}."
            ) from None
    k, n = whole
    if n < 1 or not 0 <= k <= n:
        raise DataError(
            f"There cannot be {k} right answers of {n}; wilson_interval needs 0 <= k <= n and n >= 1."
        )
    check_level(level)
    interval = binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


# ----------------------------------------------------------------------------------------------- comparisons
@dataclass(frozen=True)
class Discordant:
    """What `mcnemar` found: on how many images both detectors were right, only one of them, neither; and the
    chance of a split of ``only_a + only_b`` at least as uneven if the two were equally good."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float


def mcnemar(right_a: Any, right_b: Any) -> Discordant:
    """Are two detectors, judged on the same images, right equally often? The exact test of McNemar (1947).

    right_a, right_b: one bool an image (was this detector right?), in the same order. Images on which both
    are right or both wrong say nothing; among the others it is a coin if they are equally good (two-sided
    binomial test by SciPy; 1 if there are none). doi 10.1007/BF02295996.
    """
    from scipy.stats import binomtest

    a, b = (check_right(right, name) for right, name in ((right_a, "first"), (right_b, "second")))
    if len(a) != len(b):
        raise DataError(
            f"The first detector was judged on {len(a)} images, the second on {len(b)}; a paired comparison "
            "needs the same images, in the same order."
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p_value = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return Discordant(int((a & b).sum()), only_a, only_b, int((~a & ~b).sum()), float(p_value))


def check_right(right: Any, which: str) -> np.ndarray:
    """One bool an image, or a `DataError`."""
    array = np.asarray(right)
    if (
        array.ndim != 1
        or len(array) == 0
        or array.dtype.kind not in "biuf"
        or not np.isin(array, (0, 1)).all()
    ):
        raise DataError(
            f"The {which} detector's answers must be a flat list with True (right) or False (wrong) for each "
            "image; compare (p >= threshold) with the labels."
        )
    return array.astype(bool)


def win_shares(y: Any, p: Any) -> tuple[np.ndarray, np.ndarray]:
    """For each fake the share of the reals below it, for each real the share of the fakes above it.

    Ties count half, and the mean of either is the AUC. In n log n steps by midranks, after Sun and Xu, "Fast
    implementation of DeLong's algorithm", 2014, doi 10.1109/LSP.2014.2337313.
    """
    from scipy.stats import rankdata

    y, p = check_scores(y, p)
    fakes, reals = p[y == 1], p[y == 0]
    everyone = rankdata(p)
    above = (everyone[y == 1] - rankdata(fakes)) / len(reals)
    below = 1 - (everyone[y == 0] - rankdata(reals)) / len(fakes)
    return above, below


@dataclass(frozen=True)
class AucDifference:
    """What `delong` found: ``difference = auc_a - auc_b``, its standard error, its interval (low, high), and
    the chance of a difference at least as large if both AUCs were equal."""

    auc_a: float
    auc_b: float
    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float


def delong(y: Any, p_a: Any, p_b: Any, level: float = 0.95) -> AucDifference:
    """Compare the AUCs of two detectors on the same images: DeLong, DeLong and Clarke-Pearson 1988.

    Each image has a share of pairs won (`win_shares`) under either detector; the spread of the *differences*
    gives the standard error. A normal approximation, for some dozens of images of each class upwards. Where
    all differences are equal there is no spread to judge by: the standard error is 0, and the p-value 1 if
    the difference is 0, else NaN. doi 10.2307/2531595.
    """
    from scipy.stats import norm

    (fakes_a, reals_a), (fakes_b, reals_b) = win_shares(y, p_a), win_shares(y, p_b)
    check_level(level)
    auc_a, auc_b = float(fakes_a.mean()), float(fakes_b.mean())
    error = spread(fakes_a - fakes_b, reals_a - reals_b)
    difference, reach = auc_a - auc_b, norm.ppf((1 + level) / 2) * error
    if error > 0:
        p_value = float(2 * norm.sf(abs(difference) / error))
    else:
        p_value = 1.0 if math.isclose(auc_a, auc_b) else math.nan
    return AucDifference(auc_a, auc_b, difference, error, difference - reach, difference + reach, p_value)


def delong_interval(y: Any, p: Any, level: float = 0.95) -> tuple[float, float]:
    """DeLong's interval of one AUC, cut at 0 and 1. It has no width where no pair, or every one, is wrong."""
    from scipy.stats import norm

    check_level(level)
    above, below = win_shares(y, p)
    reach = norm.ppf((1 + level) / 2) * spread(above, below)
    return float(max(0.0, above.mean() - reach)), float(min(1.0, above.mean() + reach))


def spread(of_fakes: np.ndarray, of_reals: np.ndarray) -> float:
    """The standard error of a mean share of pairs won, from its values for each fake and each real."""
    if min(len(of_fakes), len(of_reals)) < 2:
        raise DataError(
            f"There are {len(of_fakes)} fakes and {len(of_reals)} reals; to see how far the AUC may move it "
            "needs at least two of each, and some dozens to mean much."
        )
    variance = of_fakes.var(ddof=1) / len(of_fakes) + of_reals.var(ddof=1) / len(of_reals)
    return 0.0 if variance < 1e-24 else math.sqrt(variance)


def check_level(level: Any) -> None:
    """Between 0 and 1, or a `DataError`."""
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise DataError(f"The level of an interval lies between 0 and 1, as 0.95 does, and is {level!r}.")


def paired_bootstrap(
    metric: Metric, y: Any, p_a: Any, p_b: Any, n: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """(difference, low, high) of ``metric(y, p_a) - metric(y, p_b)``: both judged on the same drawn images.

    For any metric, and for a few images too. The draws are those of `bootstrap_interval`.
    """
    y, p_a = check_scores(y, p_a)
    _, p_b = check_scores(y, p_b)
    check_level(level)
    if n < 1:
        raise DataError(f"paired_bootstrap needs n of 1 or more, not {n}.")
    values = [metric(y[draw], p_a[draw]) - metric(y[draw], p_b[draw]) for draw in draws(y, n, seed)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(metric(y, p_a) - metric(y, p_b)), float(low), float(high)


# -------------------------------------------------------------------------------------------------- in short
def evaluate(
    model_or_detector: Any,
    dataset: Any,
    preprocessing: Preprocessing | None = None,
    *,
    threshold: float | None = None,
    batch_size: int = 64,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge a network or a `Detector` on a dataset (``len``, ``uint8(i)``, ``labels``).

    A detector brings its own preprocessing, temperature and threshold, and `preprocessing` must then be left
    out. Returns n, n_real, n_fake, auc, auc_interval, accuracy, accuracy_interval, threshold,
    tpr_at_1pct_fpr, inverted (the whole interval of the AUC lies below 0.5).
    """
    if hasattr(model_or_detector, "preprocessing"):
        if preprocessing is not None:
            raise ModelInputError("A detector brings its own preprocessing; leave preprocessing out.")
        detector = model_or_detector
        p = predict_scores(
            detector.model, dataset, detector.preprocessing, batch_size, temperature=detector.temperature
        )
        threshold = detector.threshold if threshold is None else threshold
    else:
        p = predict_scores(model_or_detector, dataset, preprocessing, batch_size)
    return summary(
        dataset.labels, p, 0.5 if threshold is None else threshold, n_bootstrap=n_bootstrap, seed=seed
    )


def summary(
    y: Any, p: Any, threshold: float = 0.5, *, n_bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The numbers of `evaluate` for labels and scores that are already there."""
    y, p = check_scores(y, p)
    auc_interval = bootstrap_interval(fast_auc, y, p, n_bootstrap, seed)

    def right(y: np.ndarray, p: np.ndarray) -> float:
        return float(((p >= threshold) == y).mean())

    return {
        "n": len(y),
        "n_real": int((y == 0).sum()),
        "n_fake": int((y == 1).sum()),
        "auc": roc_auc(y, p),
        "auc_interval": auc_interval,
        "accuracy": accuracy(y, p, threshold),
        "accuracy_interval": bootstrap_interval(right, y, p, n_bootstrap, seed),
        "threshold": float(threshold),
        "tpr_at_1pct_fpr": tpr_at_fpr(y, p, 0.01),
        "inverted": auc_interval[1] < 0.5,  # an interval that holds 0.5 may be a coin's
    }


def fast_auc(y: np.ndarray, p: np.ndarray) -> float:
    """`roc_auc` without its checks, by counting pairs: for the thousand calls of a bootstrap."""
    reals, fakes = np.sort(p[y == 0]), p[y == 1]
    below = np.searchsorted(reals, fakes, "left") + np.searchsorted(reals, fakes, "right")
    return float(below.mean() / (2 * len(reals)))
