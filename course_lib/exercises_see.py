"""The exercises of Part 1, "See" (lessons 00 to 02): what each answer must do to be correct."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .checks import NotAttempted, NotYet, agrees, blank, describe, equal, exercise, run
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
        want_tensor(answer, (torch.float32, torch.float64), what)
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
