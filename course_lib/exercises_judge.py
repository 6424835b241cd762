"""The exercises of Part 4, "Train and judge" (lessons 12 and 13): what each answer must do to be correct."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .checks import NotAttempted, NotYet, as_array, blank, describe, equal, exercise, run
from .evaluation import fast_auc, to_probability
from .exercises_attend import alike, named_equal
from .transforms import jpeg

# ---- lesson 12: judge it ----


def some_judged(n: int, ties: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of n images, both classes among them; with ties the scores are tenths."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(np.int64)
    y[:2] = 0, 1
    p = np.clip(0.3 + 0.25 * y + 0.25 * rng.normal(size=n), 0.01, 0.99)
    return y, np.round(p, 1) if ties else p


def attempted(answers: list) -> None:
    """Raise `NotAttempted` if every answer is blank."""
    if all(blank(answer) for answer in answers):
        raise NotAttempted


def judge_cases(
    answers: Sequence,
    rights: Sequence,
    whats: Sequence[str],
    slips: Sequence[Sequence[tuple[str, Any]]],
    floor: float = 1e-5,
) -> None:
    """`named_equal` for each case; a slip is named only if each answer is the slip's number or the right one.

    One case alone proves no slip: several mistakes can give the same number by accident.
    """
    fits: dict[str, bool] = {}
    for answer, right, case in zip(answers, rights, slips, strict=True):
        for words, guess in case:
            fits[words] = fits.get(words, True) and (alike(answer, guess) or alike(answer, right))
    for answer, right, what, case in zip(answers, rights, whats, slips, strict=True):
        named_equal(answer, right, what, [slip for slip in case if fits[slip[0]]], floor=floor)


def auc_by_pairs_reference(y: np.ndarray, p: np.ndarray) -> float:
    """Of all pairs (fake, real) the share in which the fake has the higher score; a tie is half a win."""
    gaps = p[y == 1][:, None] - p[y == 0][None, :]
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


@exercise
def auc_by_pairs(mine: Any) -> None:
    """Lesson 12: ``mine(y, p)``: labels and scores -> the share of pairs won, a tie being half a win."""
    cases = [
        (np.array([1, 0]), np.array([0.9, 0.2])),
        (np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.5, 0.1])),
        (np.array([0, 1, 0]), np.array([0.5, 0.5, 0.1])),
        (np.array([1, 0, 0, 0]), np.array([0.2, 0.9, 0.5, 0.3])),
        *[some_judged(n, ties, n) for n, ties in ((10, False), (25, True), (40, True))],
    ]
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    rights, whats, slips = [], [], []
    for y, p in cases:
        gaps = p[y == 1][:, None] - p[y == 0][None, :]
        right = auc_by_pairs_reference(y, p)
        pairs = gaps.size
        slips.append([
            ("a tie counts half, and here it counts nothing", (gaps > 0).mean()),
            ("a tie counts half, and here it counts as a win", (gaps >= 0).mean()),
            ("that is the share of pairs lost: the fake should have the higher score", 1 - right),
            ("that is the number of wins; divide by the number of pairs", right * pairs),
            ("divide by the number of pairs, fakes times reals, not by all images squared",
             right * pairs / len(y) ** 2),
            ("a pair is one fake and one real; here all pairs of images were counted",
             right * pairs / (len(y) * (len(y) - 1) / 2)),
        ])  # fmt: skip
        rights.append(right)
        whats.append(f"for y {y[:6].tolist()} and p {np.round(p[:6], 2).tolist()} it")
    judge_cases(answers, rights, whats, slips)


def threshold_at_fpr_reference(reals: np.ndarray, fpr: float) -> float:
    """Midway between the highest real score that has to stay below the threshold and the next higher one."""
    ranked = np.sort(reals)[::-1]
    allowed = int(fpr * len(ranked) + 1e-9)
    if allowed == len(ranked):
        return float(ranked[-1])
    above = ranked[ranked > ranked[allowed]]
    return float((ranked[allowed] + above.min()) / 2 if len(above) else (ranked[allowed] + 1) / 2)


@exercise
def threshold_at_fpr(mine: Any) -> None:
    """Lesson 12: ``mine(reals, fpr)``: scores of real images -> a threshold that accuses at most that share,
    and no fewer than it has to."""
    rng = np.random.default_rng(12)
    tens = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    cases = [
        (tens[::-1].copy(), 0.1),
        (rng.permutation(tens), 0.25),
        (tens, 0.0),
        (np.array([0.2, 0.7, 0.7, 0.7, 0.1]), 0.4),
        (rng.random(150), 0.01),
        (rng.random(300), 0.05),
        (np.round(rng.random(200), 2), 0.1),
    ]
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    for (reals, fpr), answer in zip(cases, answers, strict=True):
        what = f"for {len(reals)} reals and fpr = {fpr:g} it"
        threshold = as_array(answer, what)
        if threshold.shape != () or not np.isfinite(threshold):
            raise NotYet(f"{what} gives {describe(answer)}, and one number was expected")
        allowed = int(fpr * len(reals) + 1e-9)
        accused = int((reals >= threshold).sum())
        best = int((reals >= threshold_at_fpr_reference(reals, fpr)).sum())
        told = f"{what} gives {float(threshold):.4g}, and {accused} of {len(reals)} reals are at or above it"
        if accused > allowed:
            tie = " (several reals share a score)" if len(np.unique(reals)) < len(reals) else ""
            raise NotYet(f"{told}; {fpr:g} of them allows {allowed}{tie}")
        if accused < best:
            raise NotYet(f"{told}; {fpr:g} allows {allowed}, so a lower threshold could find more fakes")


def ece_reference(y: np.ndarray, p: np.ndarray, bins: int) -> float:
    """Equally wide bins; the mean over the images of |mean score - share of fakes| of their bin."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    return in_bins(y, p, bins, place)


def in_bins(y: np.ndarray, p: np.ndarray, bins: int, place: np.ndarray) -> float:
    """The calibration error if image i is in bin `place[i]`; places from `bins` on are lost."""
    return float(sum(abs((p - y)[place == b].sum()) for b in range(bins)) / len(y))


@exercise
def ece(mine: Any) -> None:
    """Lesson 12: ``mine(y, p, bins)`` -> the expected calibration error with so many equally wide bins."""
    ten_y = np.array([1, 1, 0, 1, 1, 0, 1, 0, 0, 0])
    ten_p = np.array([0.95, 0.90, 0.80, 0.70, 0.65, 0.45, 0.40, 0.30, 0.20, 0.10])
    cases = [
        (ten_y, ten_p, 2),
        (ten_y, ten_p, 1),
        (np.array([1, 0, 1]), np.array([1.0, 0.0, 0.55]), 10),
        (*some_judged(60, False, 1), 5),
        (*some_judged(200, False, 2), 10),
        (np.array([0, 0, 1, 1]), np.array([0.35, 0.45, 0.9, 0.9]), 4),
        (np.array([0, 1, 1, 0, 0]), np.array([1.0, 0.95, 0.2, 0.15, 0.0]), 8),
        (np.array([0, 1, 0, 1, 1, 0]), np.array([0.25, 0.3, 0.5, 0.6, 0.75, 0.1]), 4),
    ]
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    rights, whats, slips, sparse = [], [], [], []
    for y, p, bins in cases:
        place = np.minimum((p * bins).astype(int), bins - 1)
        full = [place == b for b in range(bins) if (place == b).any()]
        gaps = [abs(p[inside].mean() - y[inside].mean()) for inside in full]
        right = ece_reference(y, p, bins)
        slips.append([
            ("fuller bins weigh more: multiply each gap by n/N before you add", float(np.mean(gaps))),
            ("the gaps are added, but not weighted by n/N", float(np.sum(gaps))),
            ("that divides by the number of bins, empty ones too", float(np.sum(gaps) / bins)),
            ("each gap is taken as an absolute value; here they cancel", float((p - y).mean())),
            ("here the gaps cancel before the absolute value is taken", abs(float((p - y).mean()))),
            ("that is the largest gap", max(gaps)),
            ("that is the mean |p - y| of single images; the bins are missing", float(np.abs(p - y).mean())),
            ("that is the Brier score", float(((p - y) ** 2).mean())),
            ("a score of 1 belongs to the last bin; here it was lost",
             in_bins(y, p, bins, place + (p == 1) * bins)),
            ("a score of 1 belongs to the last bin; here it has a bin of its own",
             in_bins(y, p, bins + 1, place + (p == 1))),
            ("an edge belongs to the bin above it; here it went to the bin below",
             in_bins(y, p, bins, np.maximum(np.ceil(p * bins).astype(int) - 1, 0))),
        ])  # fmt: skip
        rights.append(right)
        whats.append(f"for {len(y)} images and {bins} bins it")
        sparse.append(len(full) < bins)
    undefined = [isinstance(answer, float) and math.isnan(answer) for answer in answers]
    if any(undefined) and undefined == sparse:
        what = whats[undefined.index(True)]
        raise NotYet(f"{what} gives nan: an empty bin has no mean; leave empty bins out of the sum")
    judge_cases(answers, rights, whats, slips)


def precision_at_prevalence_reference(tpr: float, fpr: float, prevalence: float) -> float:
    """Right alarms / all alarms."""
    return tpr * prevalence / (tpr * prevalence + fpr * (1 - prevalence))


@exercise
def precision_at_prevalence(mine: Any) -> None:
    """Lesson 12: ``mine(tpr, fpr, prevalence)`` -> the share of the alarms that are right."""
    cases = [
        (0.98, 0.005, 0.01), (0.98, 0.05, 0.01), (0.9, 0.1, 0.5), (0.5, 0.02, 0.2), (1.0, 0.01, 0.001),
        (0.8, 0.0, 0.3), (0.7, 0.3, 1.0),
    ]  # fmt: skip
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    rights, whats, slips = [], [], []
    for tpr, fpr, prevalence in cases:
        right = precision_at_prevalence_reference(tpr, fpr, prevalence)
        slips.append([
            ("that is the precision if as many pictures are fake as real; the prevalence is missing",
             tpr / (tpr + fpr)),
            ("the false alarms come from the reals, 1 - prevalence of all pictures",
             tpr * prevalence / (tpr * prevalence + fpr)),
            ("real and fake are exchanged: the prevalence is the share of fakes",
             tpr * (1 - prevalence) / (tpr * (1 - prevalence) + fpr * prevalence)),
            ("that is the share of alarms that are wrong", 1 - right),
            ("that is the share of all pictures that raise an alarm",
             tpr * prevalence + fpr * (1 - prevalence)),
            ("that is the accuracy", tpr * prevalence + (1 - fpr) * (1 - prevalence)),
        ])  # fmt: skip
        rights.append(right)
        whats.append(f"for TPR {tpr:g}, FPR {fpr:g}, prevalence {prevalence:g} it")
    judge_cases(answers, rights, whats, slips)


def mcnemar_reference(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """The two-sided p-value of the exact test of McNemar; 1 where the two never disagree."""
    a, b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    tail = sum(math.comb(a + b, k) for k in range(min(a, b) + 1)) / 2 ** (a + b)
    return min(1.0, 2 * tail)


@exercise
def mcnemar(mine: Any) -> None:
    """Lesson 12: ``mine(right_a, right_b)``: two arrays of bools -> the exact two-sided p-value."""

    def judged(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
        counts = (both, only_a, only_b, neither)
        order = np.random.default_rng(sum(counts)).permutation(sum(counts))
        return tuple(np.repeat(kinds, counts)[order] for kinds in ([True, True, False, False],
                                                                   [True, False, True, False]))  # fmt: skip

    splits = [
        (3, 5, 1, 1),
        (10, 1, 7, 2),
        (4, 6, 0, 0),
        (20, 4, 4, 3),
        (50, 12, 3, 5),
        (5, 0, 0, 2),
        (9, 3, 4, 1),
    ]
    cases = [judged(*split) for split in splits]
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    rights, whats, slips = [], [], []
    for split, case in zip(splits, cases, strict=True):
        _, a, b, _ = split
        n, right = a + b, mcnemar_reference(*case)
        tail = sum(math.comb(n, k) for k in range(min(a, b) + 1)) / 2**n
        slips.append([
            ("that is one tail; an excess on either side counts, so take it twice", tail),
            ("a p-value is at most 1: min(1, …)", 2 * tail),
            ("that is the chance of exactly this split; add the more uneven ones",
             2 * math.comb(n, min(a, b)) / 2**n),
            ("images on which both are right or both wrong say nothing; leave them out",
             _binomial_p(a + split[0], n + split[0] + split[3])),
        ])  # fmt: skip
        if n:
            slips[-1].append(
                ("that is the approximation by chi-squared; the exact test adds binomial coefficients",
                 math.erfc(math.sqrt((a - b) ** 2 / n / 2)))
            )  # fmt: skip
        rights.append(right)
        whats.append(f"where only A is right on {a} images and only B on {b}, it")
    judge_cases(answers, rights, whats, slips, floor=1e-7)


def _binomial_p(k: int, n: int) -> float:
    """The two-sided chance of k heads of n, or fewer on either side."""
    few = min(k, n - k)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(few + 1)) / 2**n)


# ---- lesson 13: break it ----


def resave_alike_reference(images: torch.Tensor, labels: np.ndarray, quality: int) -> torch.Tensor:
    """Every picture, whatever its label, saved once more as JPEG of this quality and opened again."""
    return torch.stack([jpeg(image, quality) for image in images])


@exercise
def resave_alike(mine: Any) -> None:
    """Lesson 13: ``mine(images, labels, quality)``: uint8 N×3×H×W -> each after one JPEG more, both alike."""
    rng = np.random.default_rng(13)
    cases = []
    for n, side, quality in ((4, 32, 50), (5, 48, 80), (3, 40, 20), (2, 32, 95)):
        coarse = torch.from_numpy(rng.random((n, 3, 8, 8)).astype(np.float32))
        smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
        noise = torch.from_numpy(rng.normal(0, 8, (n, 3, side, side)).astype(np.float32))
        images = (smooth * 200 + 20 + noise).round().clamp(0, 255).to(torch.uint8)
        cases.append((images, (np.arange(n) + n) % 2, quality))
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    for (images, labels, quality), answer in zip(cases, answers, strict=True):
        what = f"for {describe(images)} and quality {quality} it"
        several = isinstance(answer, list | tuple) and len(answer)
        if several and all(isinstance(image, torch.Tensor) for image in answer):
            shapes = {tuple(image.shape) for image in answer}
            answer = torch.stack(list(answer)) if len(shapes) == 1 else answer
        if isinstance(answer, torch.Tensor) and answer.dtype != torch.uint8:
            raise NotYet(f"{what} gives a tensor of {answer.dtype}, and torch.uint8 was expected")
        pixels = as_array(answer, what)
        if pixels.shape != tuple(images.shape):
            raise NotYet(f"{what} has shape {pixels.shape}, and {tuple(images.shape)} was expected")
        right = resave_alike_reference(images, labels, quality).numpy().astype(float)
        before = images.numpy().astype(float)

        def near(a: np.ndarray, b: np.ndarray) -> bool:  # other JPEG libraries round a little otherwise
            return bool(np.abs(a - b).mean() < 0.5)

        for i, y in enumerate(labels):
            if near(pixels[i], right[i]):
                continue
            word = ("real", "fake")[y]
            if near(pixels[i], before[i]):
                raise NotYet(f"{what} leaves image {i}, a {word} one, as it was; save both classes alike")
            others = [q for q in range(5, 100, 5) if q != quality]
            found = [q for q in others if near(pixels[i], jpeg(images[i], q).numpy().astype(float))]
            if found:
                nearest = min(
                    found, key=lambda q: np.abs(pixels[i] - jpeg(images[i], q).numpy().astype(float)).mean()
                )
                raise NotYet(f"{what} saves image {i}, a {word} one, at a quality of about {nearest}")
            place = tuple(int(k) for k in np.argwhere(~(np.abs(pixels[i] - right[i]) < 0.5))[0])  # or NaN
            raise NotYet(
                f"{what} gives {pixels[i][place]:g} at index {[i, *place]}, and {right[i][place]:g} was "
                "expected; save as JPEG with PIL and open again"
            )


def worst_case_reference(y: np.ndarray, scores: dict[str, np.ndarray]) -> tuple[str, float]:
    """The condition with the lowest AUC, and that AUC."""
    aucs = {name: fast_auc(y, p) for name, p in scores.items()}
    worst = min(aucs, key=aucs.get)
    return worst, aucs[worst]


@exercise
def worst_case(mine: Any) -> None:
    """Lesson 13: ``mine(y, scores)``: labels, and scores by condition -> (name of the worst, its AUC)."""
    cases = []
    for n, seed, strengths in (
        (40, 1, {"as it is": 2.0, "jpeg 50": 1.0, "blur 1": 0.4}),
        (60, 2, {"noise 5": 0.3, "as it is": 1.5, "rotate 90": 1.0}),
        (50, 3, {"as it is": 1.5, "zoom 2": -1.2, "shift 1": 1.4, "blur 1": 0.1}),
        (30, 4, {"only one": 0.8}),
    ):
        rng = np.random.default_rng(seed)
        y = (np.arange(n) % 3 == 0).astype(np.int64)
        scores = {name: to_probability(k * (y - 0.4) + rng.normal(size=n)) for name, k in strengths.items()}
        # All scores of one condition are pushed up: its ranking stays, its accuracy at 0.5 is the lowest.
        pushed = sorted(strengths, key=lambda name: strengths[name])[-2:][0]
        scores[pushed] = to_probability(np.log(scores[pushed] / (1 - scores[pushed])) + 6)
        cases.append((y, scores))
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    for (y, scores), answer in zip(cases, answers, strict=True):
        name, auc = worst_case_reference(y, scores)
        what = f"for the conditions {', '.join(scores)} it"
        if blank(answer) or isinstance(answer, str) or not hasattr(answer, "__len__") or len(answer) != 2:
            raise NotYet(f"{what} gives {describe(answer)}, and a pair (name, AUC) was expected")
        told, aucs = answer[0], {other: fast_auc(y, p) for other, p in scores.items()}
        if not isinstance(told, str) or told not in scores:
            hint = "; the name comes first, then its AUC" if isinstance(answer[1], str) else ""
            raise NotYet(f"{what} names {describe(told)}, and one of the conditions was expected{hint}")
        value = as_array(answer[1], f"{what}, second,")
        if told != name:
            hint = ""
            if told == max(aucs, key=aucs.get):
                hint = "; that is the best one"
            elif told == min(scores, key=lambda other: float(((scores[other] >= 0.5) == y).mean())):
                hint = "; that one has the lowest accuracy at 0.5, which moves when all scores move"
            elif told == min(aucs, key=lambda other: abs(aucs[other] - 0.5)):
                hint = "; that one is nearest to guessing, and an AUC below 0.5 is worse than that"
            raise NotYet(f"{what} names {told!r} (AUC {aucs[told]:.3f}), and {name!r} has {auc:.3f}{hint}")
        mean = float(np.mean(list(aucs.values())))
        slips = [
            ("that is the mean over the conditions", mean),
            ("that is how much is lost; the AUC itself was asked for", max(aucs.values()) - auc),
            ("that is 1 minus the AUC: the fake should have the higher score", 1 - auc),
        ]  # fmt: skip
        named_equal(value, auc, f"{what}, second,", slips)


def turn_if_inverted_reference(y_valid: np.ndarray, p_valid: np.ndarray, p_test: np.ndarray) -> np.ndarray:
    """1 - p if the validation AUC is below 0.5, else p."""
    return 1 - p_test if fast_auc(y_valid, p_valid) < 0.5 else p_test


@exercise
def turn_if_inverted(mine: Any) -> None:
    """Lesson 13: ``mine(y_valid, p_valid, p_test)`` -> test scores, as 1 - p if validation is inverted."""
    cases = []
    same, differ, moved = [(1.5, 1.5), (-1.5, -1.5)], [(-1.0, 1.5), (1.0, -1.5)], [(1.5, 1.5), (-1.5, -1.0)]
    offsets = (0.0, 0.0, 0.0, 0.0, 6.0, -6.0)
    for seed, ((valid, test), offset) in enumerate(zip(same + differ + moved, offsets, strict=True)):
        rng = np.random.default_rng(seed)
        y = np.arange(40) % 2
        p_valid = to_probability(valid * (2 * y - 1) + rng.normal(size=40) + offset)
        p_test = to_probability(test * (2 * (np.arange(30) % 2) - 1) + rng.normal(size=30) + offset)
        cases.append((y, p_valid, p_test))
    answers = [run(mine, *case) for case in cases]
    attempted(answers)
    for (y, p_valid, p_test), answer in zip(cases, answers, strict=True):
        auc = fast_auc(y, p_valid)
        right = turn_if_inverted_reference(y, p_valid, p_test)
        what = f"for a validation AUC of {auc:.2f} it"
        array = as_array(answer, what) if not blank(answer) else None
        if array is not None and array.shape == p_test.shape:
            if np.allclose(array, 1 - right):
                word = "turns the scores round, and they were right" if auc > 0.5 else "leaves the scores"
                raise NotYet(f"{what} {word}; below 0.5 on validation, and only there, decides")
            if np.allclose(array, -p_test):
                raise NotYet(f"{what} gives -p, which is no probability; 1 - p turns the order round too")
        equal(answer, right, what)
