"""The exercises of Part 1, "See" (lessons 00 to 02): what each answer must do to be correct."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .checks import NotAttempted, NotYet, agrees, as_array, blank, describe, equal, exercise, run
from .evaluation import wilson_interval as wilson

# ---- lesson 00: start here ----


@exercise
def share_right(mine: Any) -> None:
    """Lesson 00: ``mine(right, n)`` is the share of right answers in per cent."""
    agrees(mine, lambda right, n: 100 * right / n, [(13, 20), (0, 20), (20, 20), (1, 3)])


@exercise
def count_right(mine: Any) -> None:
    """Lesson 00: ``mine(answers, truth)`` counts agreeing letters; case and spaces in `answers` are free."""

    def reference(answers: str, truth: str) -> int:
        letters = answers.upper().replace(" ", "")
        return sum(a == t for a, t in zip(letters, truth, strict=True))

    cases = [("RFRR", "RFFR"), ("FFFF", "RRRR"), ("rffr", "RFFR"), ("RF FR R", "RFFRF"), ("R", "R")]
    agrees(mine, reference, [*cases, ("rfrfr frfrf", "RRRRRFFFFF")])


@exercise
def wilson_interval(mine: Any) -> None:
    """Lesson 00: ``mine(k, n)`` is Wilson's 95 % interval for k of n, as a pair (low, high), z = 1.96."""
    agrees(mine, wilson, [(13, 20), (0, 20), (20, 20), (48, 100), (590, 1000), (1, 1)], tolerance=1e-4)


def smallest_convincing_reference(n: int) -> int:
    """The smallest k of n whose Wilson interval lies wholly above 0.5."""
    return next(k for k in range(n + 1) if wilson(k, n)[0] > 0.5)


@exercise
def smallest_convincing(mine: Any) -> None:
    """Lesson 00: ``mine(n)`` is the smallest count of right answers that excludes guessing."""
    agrees(mine, smallest_convincing_reference, [(20,), (10,), (40,), (100,), (7,), (1000,)])


# ---- lesson 01: images are tensors ----


def want_tensor(answer: Any, dtypes: tuple[torch.dtype, ...], what: str) -> None:
    """`NotYet` unless the answer is a torch tensor of one of these dtypes."""
    if not isinstance(answer, torch.Tensor):
        raise NotYet(f"{what} gives {describe(answer)}, and a torch tensor was expected")
    if answer.dtype not in dtypes:
        raise NotYet(f"{what} gives numbers of type {answer.dtype}, and {dtypes[0]} was expected")


@exercise
def to_chw(mine: Any) -> None:
    """Lesson 01: ``mine(array)`` turns uint8 H×W×3 into a float32 tensor 3×H×W from 0 to 1."""
    shapes = [(2, 3, 3), (5, 4, 3), (3, 3, 3)]
    rng = np.random.default_rng(1)
    cases = [rng.permutation(256).astype(np.uint8)[: np.prod(shape)].reshape(shape) for shape in shapes]
    cases.append(np.full((1, 2, 3), 255, np.uint8))
    answers = [run(mine, case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        what = f"for a uint8 array of shape {case.shape} it"
        want_tensor(answer, (torch.float32,), what)
        expected = np.stack([case[:, :, channel] / 255 for channel in range(3)])
        equal(answer, expected, what)


@exercise
def denormalise(mine: Any) -> None:
    """Lesson 01: ``mine(x)`` takes (v/255 − 0.5)/0.25 back to v, whole numbers 0 … 255 in a uint8 tensor."""
    every = torch.arange(256)
    exact = (every / 255 - 0.5) / 0.25
    cases = {
        "all 256 values": (exact, every),
        "the values 0 … 255, each a little too small": (exact - 0.002, every),
        "the values 0 … 255, each a little too large": (exact + 0.002, every),
        "values beyond −2 … 2": (
            torch.tensor([[-3.0, -2.1], [2.1, 7.0]]),
            torch.tensor([[0, 0], [255, 255]]),
        ),
        "an image 3×2×2": (exact[100:112].reshape(3, 2, 2), every[100:112].reshape(3, 2, 2)),
    }
    answers = {name: run(mine, x) for name, (x, _) in cases.items()}
    if all(blank(answer) for answer in answers.values()):
        raise NotAttempted
    for name, answer in answers.items():
        want_tensor(answer, (torch.uint8,), f"for {name} it")
        equal(answer, cases[name][1], f"for {name} it")


def dct_matrix() -> np.ndarray:
    """The 8×8 matrix of the orthonormal cosine transform (DCT-II): row u holds the pattern of frequency u."""
    n, u = np.arange(8), np.arange(8)[:, None]
    return np.sqrt(np.where(u == 0, 1, 2) / 8) * np.cos(np.pi * (2 * n + 1) * u / 16)


def quantise_block_reference(block: np.ndarray, table: np.ndarray) -> np.ndarray:
    """One 8×8 block through JPEG's lossy step and back."""
    matrix = dct_matrix()
    steps = np.round(matrix @ (block.astype(float) - 128) @ matrix.T / table)
    back = matrix.T @ (steps * table) @ matrix + 128
    return np.clip(np.round(back), 0, 255).astype(np.uint8)


def block_cases() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, block, table): smooth, noisy, flat and extreme blocks with fine, coarse and lopsided tables."""
    rng = np.random.default_rng(8)
    r, c = np.mgrid[:8, :8]
    ramp = (60 + 9 * r + 4 * c).astype(np.uint8)
    noise = rng.integers(0, 256, (8, 8)).astype(np.uint8)
    edge = np.where(c + r // 2 < 5, 3, 250).astype(np.uint8)
    coarse = 11.0 + 7 * r + 3 * c
    return [
        ("a ramp, table of ones", ramp, np.ones((8, 8))),
        ("noise, a coarse table", noise, coarse),
        ("a ramp, a coarse table", ramp, coarse),
        ("a hard edge, a coarse table", edge, 3 * coarse),
        ("a flat block of 201", np.full((8, 8), 201, np.uint8), coarse),
    ]


@exercise
def quantise_block(mine: Any) -> None:
    """Lesson 01: ``mine(block, table)`` takes a uint8 8×8 block through JPEG's lossy step and back."""
    cases = block_cases()
    answers = [run(mine, block, table) for _, block, table in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (name, block, table), answer in zip(cases, answers, strict=True):
        what = f"for {name} it"
        equal(answer, quantise_block_reference(block, table), what)
        if getattr(answer, "dtype", None) not in (np.dtype(np.uint8), torch.uint8):
            kind = getattr(answer, "dtype", type(answer).__name__)
            raise NotYet(f"{what} gives the right values as {kind}, and uint8 was expected")


@exercise
def label_from_name(mine: Any) -> None:
    """Lesson 01: ``mine(name)`` is 0 for real and 1 for fake, by the folder's or the file's name."""
    truth = {
        "train/real/31355.jpg": 0,
        "train/fake/FZV5C5L0AI.jpg": 1,
        "real_1": 0,
        "fake_98": 1,
        "real_vs_fake/real-vs-fake/test/real/00951.jpg": 0,
        "real_vs_fake/real-vs-fake/test/fake/00F8LKY6JC.jpg": 1,
        "fake/fake_7.jpg": 1,
        "Test/Real/real_4.JPG": 0,
        "photos/real/not_fake.jpg": 0,
    }
    answers = {name: run(mine, name) for name in truth}
    if all(blank(answer) for answer in answers.values()):
        raise NotAttempted
    for name, answer in answers.items():
        equal(answer, truth[name], f"for {name!r} it")
    for name in ("train/cats/12.jpg", "portrait_3"):
        try:
            answer = run(mine, name)
        except ValueError:
            continue
        raise NotYet(f"for {name!r}, neither real nor fake, it gives {answer!r}; it must raise a ValueError")


# ---- lesson 02: look before you learn ----


def agrees_on_tables(mine: Any, reference: Any, cases: list[tuple]) -> None:
    """As `agrees`; a wrong case is named with its numbers where they fit on the line, else with its shape."""
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (table, *rest), answer in zip(cases, answers, strict=True):
        shown = str(table.tolist()) if table.size <= 16 else describe(table)
        words = ", ".join([shown, *map(str, rest)])
        equal(answer, reference(table, *rest), f"for ({words}) it")


def difference_hash_reference(grey: np.ndarray) -> np.ndarray:
    """H×(W+1) grey values -> H×W bits: is the right neighbour brighter?"""
    grey = np.asarray(grey, dtype=int)
    return (grey[:, 1:] > grey[:, :-1]).astype(int)


@exercise
def difference_hash(mine: Any) -> None:
    """Lesson 02: ``mine(grey)`` turns uint8 grey values H×(W+1) into H×W bits, 1 = brighter to the right."""
    cases = [
        np.array([[10, 20, 20, 5]], dtype=np.uint8),
        np.array([[200, 100, 150], [0, 255, 0], [7, 7, 8], [90, 80, 70]], dtype=np.uint8),
        np.random.default_rng(2).integers(0, 256, (16, 17), dtype=np.uint8),
    ]
    agrees_on_tables(mine, difference_hash_reference, [(case,) for case in cases])


def thumbnail_reference(image: np.ndarray, side: int) -> np.ndarray:
    """The means of the side×side blocks of an image H×W whose sides are multiples of `side`."""
    height, width = image.shape
    blocks = np.asarray(image, dtype=float).reshape(side, height // side, side, width // side)
    return blocks.mean(axis=(1, 3))


@exercise
def thumbnail(mine: Any) -> None:
    """Lesson 02: ``mine(image, side)`` averages the blocks of a grey image H×W into side×side numbers."""
    random = np.random.default_rng(3)
    cases = [
        (
            np.array(
                [[0.0, 8.0, 1.0, 1.0], [4.0, 4.0, 1.0, 5.0], [2.0, 2.0, 9.0, 9.0], [2.0, 6.0, 9.0, 9.0]]
            ),
            2,
        ),
        (random.integers(0, 256, (6, 4)).astype(float), 2),
        (random.integers(0, 256, (6, 9)).astype(float), 3),
        (random.integers(0, 256, (64, 64)).astype(float), 16),
    ]
    agrees_on_tables(mine, thumbnail_reference, cases)


@exercise
def split_by_group(mine: Any) -> None:
    """Lesson 02: ``mine(groups, share)`` gives one bool per image, True = test; no group on both sides."""
    cases = [
        (np.array([0, 1, 0, 2, 1, 3, 4, 5, 5, 5, 6, 7]), 0.25),
        (np.array([7, 7, 3, 3, 9, 9, 7, 1, 2, 4, 5, 6, 8, 3, 10, 11, 12, 13, 14, 15]), 0.3),
        (np.random.default_rng(4).integers(0, 60, 200), 0.2),
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (groups, share), answer in zip(cases, answers, strict=True):
        where = f"for {len(groups)} images in {len(np.unique(groups))} groups and a share of {share}, it"
        if blank(answer):
            raise NotYet(f"{where} gives {answer!r} instead of one bool per image")
        chosen = as_array(answer, where)
        if chosen.shape != groups.shape:
            raise NotYet(f"{where} has shape {chosen.shape}, and {groups.shape} was expected")
        if not np.isin(chosen, (0, 1)).all():
            odd = float(chosen[~np.isin(chosen, (0, 1))][0])
            raise NotYet(f"{where} gives {odd:g}, and only True or False (1 or 0) was expected")
        chosen = chosen.astype(bool)
        for group in np.unique(groups):
            inside = chosen[groups == group]
            if inside.any() and not inside.all():
                raise NotYet(
                    f"{where} puts {inside.sum()} of the {len(inside)} images of group {group} into test and "
                    "leaves the rest in train: a group is dealt out whole"
                )
        wanted, largest = share * len(groups), int(np.unique(groups, return_counts=True)[1].max())
        if chosen.all() or not chosen.any() or abs(chosen.sum() - wanted) > largest:
            raise NotYet(
                f"{where} puts {chosen.sum()} images into test, and about {wanted:g} were expected (whole "
                f"groups may miss that by {largest}, the size of the largest)"
            )


def judge_interval_reference(low: float, high: float) -> str:
    """The whole interval inside .40 … .60: clean; the whole interval outside: shortcut; else unclear."""
    if 0.40 <= low and high <= 0.60:
        return "clean"
    return "shortcut" if low > 0.60 or high < 0.40 else "unclear"


@exercise
def judge_interval(mine: Any) -> None:
    """Lesson 02: ``mine(low, high)`` says "shortcut", "clean" or "unclear" of an AUC's interval."""
    cases = [(0.46, 0.55), (0.93, 0.98), (0.41, 0.83), (0.05, 0.12), (0.31, 0.58), (0.31, 0.72), (0.55, 0.59)]
    cases += [(0.40, 0.60), (0.61, 0.64), (0.30, 0.39), (0.59, 0.97), (0.62, 1.0)]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (low, high), answer in zip(cases, answers, strict=True):
        expected = judge_interval_reference(low, high)
        if not isinstance(answer, str) or answer != expected:
            raise NotYet(
                f"for an interval from {low:.2f} to {high:.2f} it gives {describe(answer)}, and "
                f"'{expected}' was expected"
            )
