"""Judging a detector: scores on a data set, and the numbers that sum them up, with intervals.

y holds labels (1 = fake), p holds scores P(fake), one each per image. Every metric checks both and says in
one sentence what is wrong with them. The metrics themselves are scikit-learn's.
"""

from collections.abc import Callable, Iterable, Iterator
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
    images = (dataset.uint8(i) for i in range(len(dataset)))
    return to_probability(
        predict_logits(model, images, preprocessing, batch_size, device=device), temperature
    )


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
def check_scores(y: Any, p: Any, *, both_classes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores as arrays, or a `DataError` that says in one sentence what is wrong with them."""
    try:
        y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            "Labels and scores must be numbers, one of each per image; check what was passed."
        ) from None
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
    return float(accuracy_score(y, p >= threshold))


def tpr_at_fpr(y: Any, p: Any, fpr: float = 0.01) -> float:
    """Share of fakes found when the threshold is set so that at most this share of reals is accused."""
    from sklearn.metrics import roc_curve

    y, p = check_scores(y, p)
    false_alarms, found, _ = roc_curve(y, p, drop_intermediate=False)
    return float(found[false_alarms <= fpr].max())


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
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == label) for label in (0, 1)]
    values = np.empty(n)
    for i in range(n):
        draw = np.concatenate([group[rng.integers(len(group), size=len(group))] for group in groups])
        values[i] = metric(y[draw], p[draw])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise DataError(f"The level of an interval lies between 0 and 1, as 0.95 does, and is {level!r}.")
    interval = binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


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
    tpr_at_1pct_fpr, inverted.
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
    auc = roc_auc(y, p)

    def right(y: np.ndarray, p: np.ndarray) -> float:
        return float(((p >= threshold) == y).mean())

    return {
        "n": len(y),
        "n_real": int((y == 0).sum()),
        "n_fake": int((y == 1).sum()),
        "auc": auc,
        "auc_interval": bootstrap_interval(fast_auc, y, p, n_bootstrap, seed),
        "accuracy": accuracy(y, p, threshold),
        "accuracy_interval": bootstrap_interval(right, y, p, n_bootstrap, seed),
        "threshold": float(threshold),
        "tpr_at_1pct_fpr": tpr_at_fpr(y, p, 0.01),
        "inverted": auc < 0.5,
    }


def fast_auc(y: np.ndarray, p: np.ndarray) -> float:
    """`roc_auc` without its checks, by counting pairs: for the thousand calls of a bootstrap."""
    reals, fakes = np.sort(p[y == 0]), p[y == 1]
    below = np.searchsorted(reals, fakes, "left") + np.searchsorted(reals, fakes, "right")
    return float(below.mean() / (2 * len(reals)))
