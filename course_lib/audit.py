"""The shortcut audit: what can be told from a set *without* looking for fakes.

A detector takes the cheapest way to the right answers. If the fakes are framed, sized or saved differently
from the real pictures, that difference is the cheapest way, and a high score says nothing about fakes. So,
before any
network: give a linear model one crude feature at a time, train it on the training images, and score it on the
test images. A feature that carries no evidence of forgery (a 16×16 grey thumbnail, the outermost ring of
pixels, the size of the file) should do no better than a coin. On the set "Hard Fake vs Real Faces" the
thumbnail alone scores above .99.

Sources of the idea: Torralba & Efros, "Unbiased look at dataset bias" (CVPR 2011); Grommelt et al., "Fake or
JPEG? Revealing common biases in generated image detection datasets" (2024, arXiv 2403.17608).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, JpegImagePlugin

from .errors import DataError
from .evaluation import bootstrap_interval, fast_auc, roc_auc
from .images import printable
from .splits import BITS, NEAR, difference_hash

SHORTCUT_BOUND = (0.40, 0.60)  # an AUC of .40 is as much knowledge as one of .60, pointing the wrong way
SHUFFLED_BOUND = (0.45, 0.55)
SHUFFLES = 20
FEW = 100  # fewer test images than this, and no verdict can be narrow
FEW_OF_A_CLASS = 10
WIDE = 0.70  # an interval that reaches this far from .5 does not rule a strong shortcut out
REGULARISATION = 0.1  # C of every logistic regression: .001 to 1 gave the same verdicts on the sets we tried


# ---- features: one image -> one short vector ----
# Each takes a uint8 tensor 3×H×W, or the path of its file, and returns float64 numbers, the same count for
# all.


def thumbnail(image: torch.Tensor, side: int = 16) -> np.ndarray:
    """The whole picture as 16×16 grey values: framing, pose and light, and not one trace of a generator."""
    return F.adaptive_avg_pool2d(image.float().mean(dim=0)[None], side)[0].double().numpy().ravel()


def border(image: torch.Tensor, width: int = 4, values: int = 16) -> np.ndarray:
    """The outermost 4 pixels: each side's mean over its depth, as 16 values of each colour (192 in all)."""
    x = image.float()
    strips = [x[:, :width].mean(1), x[:, -width:].mean(1), x[:, :, :width].mean(2), x[:, :, -width:].mean(2)]
    return torch.cat([F.adaptive_avg_pool1d(strip, values).flatten() for strip in strips]).double().numpy()


def colour(image: torch.Tensor) -> np.ndarray:
    """Mean and standard deviation of red, green and blue."""
    x = image.double().flatten(1)
    return torch.cat([x.mean(1), x.std(1)]).numpy()


def spectrum(image: torch.Tensor, side: int) -> np.ndarray:
    """Log-power against spatial frequency, averaged over all directions, of the centred square of ``side``
    pixels.

    Azimuthal averages as in Durall et al. 2020 (arXiv 1911.00686); a Hann window keeps the picture's edges
    out. Returns ``side // 2`` values: frequency 1 … side/2 cycles across the square.
    """
    _, height, width = image.shape
    top, left = (height - side) // 2, (width - side) // 2
    grey = image[:, top : top + side, left : left + side].double().mean(dim=0).numpy()
    window = np.hanning(side + 2)[1:-1]
    power = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(window, window))) ** 2
    frequency = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(*np.meshgrid(frequency, frequency))).astype(int).ravel()
    mean = np.bincount(ring, np.log(power + 1e-3).ravel()) / np.bincount(ring)
    return mean[1 : side // 2 + 1]


def file_size(path: Path) -> np.ndarray:
    """The logarithm of the number of bytes."""
    return np.array([np.log(max(1, path.stat().st_size))])


def jpeg_table(path: Path) -> np.ndarray:
    """Both quantisation tables (2×64 numbers) and the chroma subsampling; zeros and -1 if it is no JPEG."""
    tables, subsampling = np.zeros((2, 64)), -1
    with Image.open(path) as image:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            for row, table in zip(tables, image.quantization.values(), strict=False):
                row[:] = table
            subsampling = JpegImagePlugin.get_sampling(image)
    return np.append(tables.ravel(), subsampling)


# ---- the audit ----


@dataclass(frozen=True, repr=False)
class AuditReport:
    """What `audit` found. Printing it, or putting it last in a notebook cell, shows table and verdict.

    table: DataFrame, one row a shortcut: name, auc, low, high (95 % interval), bound (text), within (True,
        False, or None where there is no bound or no number), note.
    verdict: the table in sentences, the worst first.
    clean: True when no bound is broken and no test image has a near-duplicate in training.
    copies: how many test images have a near-duplicate among the training images looked at.
    """

    table: Any
    verdict: str
    clean: bool
    copies: int = 0

    def shown(self) -> Any:
        """The table for reading: AUC and interval rounded to three digits, words instead of None."""
        shown = self.table[["name", "auc", "low", "high", "bound"]].copy()
        for column in ("auc", "low", "high"):
            shown[column] = [f"{value:.3f}" if np.isfinite(value) else "–" for value in shown[column]]
        shown["within"] = [{True: "yes", False: "NO", None: "–"}[value] for value in self.table["within"]]
        shown["note"] = self.table["note"]
        return shown.rename(columns={"name": "shortcut", "auc": "test AUC", "low": "from", "high": "to"})

    def __repr__(self) -> str:
        return f"{self.shown().to_string(index=False)}\n\n{self.verdict}"

    def _repr_html_(self) -> str:
        return self.shown().to_html(index=False) + f"<p>{self.verdict}</p>"


def audit(sets: Any, test: Any = None, *, seed: int = 0, limit: int = 4000) -> AuditReport:
    """Score each shortcut: trained on the training images, judged on the test images, with a 95 % interval.

    sets: what `load` returns; or the path of a folder (then files that cannot be used are left out, and the
        verdict says how many); or a training `FaceDataset`, with the test set as second argument.
    limit: at most so many images of each are looked at, drawn at random; `seed` fixes the draw, the shuffles
    and the bootstrap. Raises `DataError` when one of the classes is missing.
    """
    if isinstance(sets, (str, os.PathLike)) and test is None:
        from .data import load

        sets = load(sets, on_error="skip")
    skipped = list(getattr(sets, "skipped", ()))
    train, test = _two_parts(sets, test)
    train, test = (_at_most(data, limit, seed) for data in (train, test))
    for data, part in ((train, "training"), (test, "test")):
        real, fake = np.sum(np.asarray(data.labels) == 0), np.sum(np.asarray(data.labels) == 1)
        if min(real, fake) < 2:
            raise DataError(
                f"The audit compares real with fake, and the {part} set of {_name(data)} holds {real} real "
                f"and {fake} fake images: give a set with at least two of each."
            )
    y_train, y_test = np.asarray(train.labels), np.asarray(test.labels)
    side = min(min(size) for size in (*_sizes(train), *_sizes(test)))
    x_train, x_test = (_features(data, min(side, 256)) for data in (train, test))
    rows = []
    for name in x_train:
        bound = None if name == "spectrum" else SHORTCUT_BOUND
        if x_train[name] is None or x_test[name] is None:
            rows.append(_row(name, None, bound, note="not every image is a file on disk"))
            continue
        constant = (np.ptp(x_train[name], axis=0) == 0).all()
        scores = np.full(len(y_test), 0.5) if constant else _fit(x_train[name], y_train)(x_test[name])
        interval = bootstrap_interval(fast_auc, y_test, scores, seed=seed)
        note = "the same for every image" if constant else ""
        rows.append(_row(name, roc_auc(y_test, scores), bound, interval, note))
    rows.append(_shuffled(x_train["16×16 thumbnail"], y_train, x_test["16×16 thumbnail"], y_test, seed))
    copies = near_copies(train, test)
    verdict = _verdict(rows, _name(test), len(y_train), y_test, copies, skipped)
    return _report(rows, verdict, copies)


def near_copies(train: Any, test: Any, near: int = NEAR) -> int:
    """How many test images have a near-duplicate (`splits.difference_hash`) among the training images."""
    first, second = (_signs(data) for data in (train, test))
    found = 0
    for start in range(0, len(second), 512):  # in slices, so that the matrix stays small
        found += int((second[start : start + 512] @ first.T >= BITS - 2 * near).any(axis=1).sum())
    return found


def _signs(data: Any) -> np.ndarray:
    """Every image's difference hash as a row of 256 numbers -1 or 1: two rows' product counts agreements."""
    pictures = (Image.fromarray(image.permute(1, 2, 0).numpy()) for image in _images(data))
    packed = b"".join(bytes.fromhex(difference_hash(picture)) for picture in pictures)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8)).reshape(-1, BITS)
    return bits.astype(np.float32) * 2 - 1


def _two_parts(sets: Any, test: Any) -> tuple[Any, Any]:
    """The training and the test set, or a `DataError` that says what was given instead."""
    if test is None:
        test, sets = getattr(sets, "test", None), getattr(sets, "train", sets)
    for data, part in ((sets, "training"), (test, "test")):
        if not (hasattr(data, "labels") and hasattr(data, "uint8")):
            given = "nothing" if data is None else f"{printable(repr(data))} ({type(data).__name__})"
            raise DataError(
                f"The audit was given {given} as its {part} set: give what load(...) returns, a folder's "
                "path, or a training set and a test set."
            )
    return sets, test


def _report(rows: list[dict], verdict: str, copies: int) -> AuditReport:
    import pandas as pd

    table = pd.DataFrame(rows)
    table["within"] = table["within"].astype(object)
    clean = copies == 0 and not any(row["within"] is False for row in rows)
    return AuditReport(table, verdict, clean, copies)


def _verdict(
    rows: list[dict], name: str, n_train: int, y_test: np.ndarray, copies: int, skipped: list[str]
) -> str:
    """The table in words: the worst news first. A number whose interval holds .5 accuses nobody."""
    *shortcuts, shuffled = rows
    bounded = [row for row in shortcuts if row["within"] is not None]
    outside = sorted((row for row in bounded if not row["within"]), key=lambda row: -abs(row["auc"] - 0.5))
    luck = _reach_of_a_coin(y_test)
    chance = [row for row in outside if row["low"] <= 0.5 <= row["high"] or abs(row["auc"] - 0.5) < luck]
    broken = [row for row in outside if row not in chance]
    unsure = [row for row in bounded if row["within"] and max(row["high"], 1 - row["low"]) > WIDE]
    sentences = []
    for row in broken[:1]:
        score = f"{row['auc']:.3f}".lstrip("0")
        if row["auc"] < 0.5:
            sentences.append(f"The {row['name']} alone scores {score}.")
        elif row["auc"] >= 0.9:
            sentences.append(
                f"The {row['name']} alone scores {score}: scores on this set say nothing about fakes."
            )
        else:
            sentences.append(
                f"The {row['name']} alone scores {score}: part of any score here is this shortcut."
            )
    if len(broken) > 1:
        others = ", ".join(f"{row['name']} ({row['auc']:.2f})" for row in broken[1:])
        sentences.append(f"Also out of bounds: {others}.")
    if broken:
        sentences.append("Crop, resize and save both classes alike, then audit again.")
    elif fine := [row["name"] for row in bounded if row["within"] and row not in unsure]:
        sentences.append(f"Clean on these: {', '.join(fine)}.")
    if chance:
        holding = [row for row in chance if row["low"] <= 0.5 <= row["high"]]
        reasons = []
        if coins := [f"{row['name']} ({row['auc']:.2f})" for row in chance if row not in holding]:
            reasons.append(f"{', '.join(coins)}, for on {len(y_test)} test images a coin may get as far")
        if held := [
            f"{row['name']} ({row['auc']:.2f}, interval {row['low']:.2f} to {row['high']:.2f})"
            for row in holding
        ]:
            reasons.append(f"{', '.join(held)}, for an interval that holds .5 accuses nobody")
        sentences.append(
            "Out of bounds, but this may be chance, and only more test images can tell: "
            f"{'; '.join(reasons)}."
        )
    if unsure:
        names = ", ".join(f"{row['name']} ({row['low']:.2f} to {row['high']:.2f})" for row in unsure)
        sentences.append(f"Not proven innocent, because the intervals are this wide: {names}.")
    if copies:
        sentences.append(
            f"{copies} of {len(y_test)} test images {'has' if copies == 1 else 'have'} a near-duplicate in "
            "the training set: split by group, so that copies stay on one side."
        )
    if skipped:
        sentences.append(
            f"{len(skipped)} unusable file{'s were' if len(skipped) > 1 else ' was'} left out, the first: "
            f"{skipped[0]}."
        )
    for row in bounded:
        if row["high"] < 0.5 and row not in chance:
            sentences.append(
                f"The {row['name']} is an inversion (AUC {row['auc']:.2f}, below .5): what it learned on the "
                f"training images points the wrong way on the test images."
            )
    if shuffled["within"] is False:
        sentences.append(
            f"Shuffled labels score {shuffled['auc']:.2f} instead of about .5: the test set is too small or "
            f"too lopsided for these numbers."
        )
    few_of_a_class = f"ewer than {FEW_OF_A_CLASS} test images of a class, so no interval can be trusted."
    lopsided = min(np.bincount(y_test)) < FEW_OF_A_CLASS
    if min(n_train, len(y_test)) < FEW:
        what = f"f{few_of_a_class}" if lopsided else "the intervals are wide, so read them and not the AUC."
        sentences.append(f"Few images ({n_train} to train, {len(y_test)} to test): {what}")
    elif lopsided:
        sentences.append(f"F{few_of_a_class}")
    text = " ".join(sentences)
    return f"{name}: {text[0].lower()}{text[1:]}"


def _reach_of_a_coin(y: np.ndarray) -> float:
    """How far from .5 the AUC of meaningless scores gets in 95 of 100 cases (normal approximation).

    The variance of the Mann-Whitney statistic, (m + n + 1) / (12 m n) for m real and n fake images. Needed
    beside the bootstrap, whose interval of a perfect score has no width, be there four images or four
    thousand.
    """
    real, fake = int(np.sum(y == 0)), int(np.sum(y == 1))
    return 1.96 * float(np.sqrt((real + fake + 1) / (12 * real * fake)))


def _row(
    name: str, auc: float | None, bound: tuple | None, interval=(np.nan, np.nan), note: str = ""
) -> dict:
    within = None if auc is None or bound is None else bool(bound[0] <= auc <= bound[1])
    words = "none" if bound is None else f"{bound[0]:.2f} to {bound[1]:.2f}"
    low, high = interval
    auc = np.nan if auc is None else float(auc)
    return {
        "name": name,
        "auc": auc,
        "low": low,
        "high": high,
        "bound": words,
        "within": within,
        "note": note,
    }


def _shuffled(
    x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, seed: int
) -> dict:
    """The audit of the audit: meaningless labels must score about .5, on average over `SHUFFLES` shuffles."""
    random = np.random.default_rng(seed)
    aucs = [fast_auc(y_test, _fit(x_train, random.permutation(y_train))(x_test)) for _ in range(SHUFFLES)]
    means = random.choice(aucs, (1000, SHUFFLES)).mean(axis=1)
    note = f"mean of {SHUFFLES} shuffles, on the thumbnail"
    return _row("shuffled labels", np.mean(aucs), SHUFFLED_BOUND, np.quantile(means, [0.025, 0.975]), note)


def _fit(x: np.ndarray, y: np.ndarray) -> Any:
    """A standardised logistic regression, as a function from features to P(fake)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000)).fit(x, y)
    return lambda other: model.predict_proba(other)[:, 1]


def _features(data: Any, side: int) -> dict[str, np.ndarray | None]:
    """Every feature of every image, as arrays N×values; None where images have no files."""
    images: dict[str, list] = {
        n: [] for n in ("16×16 thumbnail", "border ring", "mean colour", "width and height")
    }
    images["spectrum"] = []
    for image in _images(data):
        images["16×16 thumbnail"].append(thumbnail(image))
        images["border ring"].append(border(image))
        images["mean colour"].append(colour(image))
        images["width and height"].append(np.log(image.shape[1:]))
        images["spectrum"].append(spectrum(image, side))
    features: dict[str, np.ndarray | None] = {name: np.stack(rows) for name, rows in images.items()}
    paths = [Path(path) for path in getattr(data, "paths", [])]
    on_disk = len(paths) == len(data.labels) and all(path.is_file() for path in paths)
    features["file size"] = np.stack([file_size(path) for path in paths]) if on_disk else None
    features["JPEG table"] = np.stack([jpeg_table(path) for path in paths]) if on_disk else None
    order = (
        "16×16 thumbnail",
        "border ring",
        "file size",
        "mean colour",
        "JPEG table",
        "width and height",
        "spectrum",
    )
    return {name: features[name] for name in order}


def _images(data: Any) -> Iterator[torch.Tensor]:
    return (data.uint8(i) for i in range(len(data.labels)))


def _sizes(data: Any) -> set[tuple[int, int]]:
    return {tuple(image.shape[1:]) for image in _images(data)}


def _at_most(data: Any, limit: int, seed: int) -> Any:
    if len(data.labels) <= limit:
        return data
    chosen = np.random.default_rng(seed).choice(len(data.labels), limit, replace=False)
    return data.subset(np.sort(chosen))


def _name(data: Any) -> str:
    return getattr(data, "name", None) or "this set"
