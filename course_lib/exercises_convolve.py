"""The exercises of Part 2, "Convolve" (lessons 03 to 05): what each answer must do to be correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from .checks import NotYet, agrees, exercise, run

# ---- lesson 03: convolution by hand ----

PAPER_IMAGE = torch.tensor(  # the five by five pixels that lesson 03 works out on paper
    [[0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 4, 9, 9], [0, 4, 9, 9, 9]],
    dtype=torch.float32,
)
PAPER_KERNEL = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float32)


def conv2d_reference(
    image: torch.Tensor, kernel: torch.Tensor, stride: int = 1, padding: int = 0
) -> torch.Tensor:
    """One channel in, one out: H×W and h×w -> the map. The kernel is not flipped, the padding is zeros."""
    result = functional.conv2d(image[None, None], kernel[None, None], stride=stride, padding=padding)
    return result[0, 0]


@exercise
def conv2d(mine: Any) -> None:
    """Lesson 03: ``mine(image, kernel, stride, padding)`` slides a kernel over an H×W image."""
    random = torch.Generator().manual_seed(3)
    cases: list[tuple] = [(PAPER_IMAGE, PAPER_KERNEL, 1, 0)]
    for image, kernel, stride, padding in [
        ((5, 5), (3, 3), 1, 1),
        ((6, 7), (3, 3), 2, 0),
        ((7, 6), (3, 3), 2, 1),
        ((5, 8), (2, 3), 1, 0),
        ((8, 7), (3, 1), 3, 2),
        ((3, 3), (3, 3), 1, 0),
    ]:
        numbers = (torch.randint(-9, 10, size, generator=random).float() for size in (image, kernel))
        cases.append((*numbers, stride, padding))
    try:
        agrees(mine, conv2d_reference, cases)
    except NotYet as wrong:
        if slides_flipped(mine, cases[0]):
            raise NotYet(
                f"{wrong}: that is the result with the kernel turned by 180°, the mathematicians' "
                "convolution; torch does not turn it"
            ) from None
        raise


def slides_flipped(mine: Any, case: tuple) -> bool:
    """Whether the answer is right but for the kernel, which it turns by 180°; it has run without an error."""
    image, kernel, stride, padding = case
    answer = run(mine, *case)
    flipped = conv2d_reference(image, kernel.flip(0, 1), stride, padding)
    return isinstance(answer, torch.Tensor) and answer.shape == flipped.shape and torch.equal(answer, flipped)


def output_size_reference(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """How many places a kernel has along one side: counted one by one, not by the formula."""
    last = size + 2 * padding - (dilation * (kernel - 1) + 1)  # where the kernel may begin at the furthest
    return len(range(0, last + 1, stride))


@exercise
def output_size(mine: Any) -> None:
    """Lesson 03: ``mine(size, kernel, stride, padding, dilation)`` is the side of the output, a number."""
    cases = [
        (5, 3, 1, 0, 1),
        (5, 3, 1, 1, 1),
        (7, 3, 2, 0, 1),
        (8, 3, 2, 0, 1),
        (128, 4, 2, 1, 1),
        (9, 3, 1, 0, 2),
        (10, 5, 3, 2, 2),
        (3, 3, 1, 0, 1),
        (224, 7, 2, 3, 1),
    ]
    agrees(mine, output_size_reference, cases)


def receptive_field_reference(layers: Sequence[tuple[int, int, int]]) -> int:
    """From last to first: n neighbours need (n − 1)·stride + dilation·(kernel − 1) + 1 pixels before."""
    field = 1
    for kernel, stride, dilation in reversed(layers):
        field = (field - 1) * stride + dilation * (kernel - 1) + 1
    return field


@exercise
def receptive_field(mine: Any) -> None:
    """Lesson 03: ``mine(layers)``: a list of (kernel, stride, dilation) -> side of the field in pixels."""
    stacks: list[list[tuple[int, int, int]]] = [
        [(3, 1, 1)],
        [(3, 1, 1), (3, 1, 1)],
        [(3, 2, 1), (3, 1, 1)],
        [(3, 1, 1), (3, 2, 1)],
        [(3, 1, 2), (5, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2)],
        [(1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 1)],
        [],
    ]
    agrees(mine, receptive_field_reference, [(stack,) for stack in stacks])


def max_pool_reference(image: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """The largest number of each size×size window, H×W -> the smaller map."""
    return functional.max_pool2d(image[None], size, stride)[0]


@exercise
def max_pool(mine: Any) -> None:
    """Lesson 03: ``mine(image, size, stride)`` keeps the largest number of each window of an H×W image."""
    random = torch.Generator().manual_seed(4)
    cases: list[tuple] = [(PAPER_IMAGE[:4, :4] + torch.arange(4), 2, 2)]
    settings = [((6, 8), 2, 2), ((5, 7), 2, 2), ((7, 6), 3, 2), ((4, 5), 3, 1), ((7, 7), 2, 3)]
    for shape, size, stride in settings:
        numbers = torch.randperm(shape[0] * shape[1], generator=random).float().reshape(shape)
        cases.append((numbers - 100, size, stride))  # all below zero: a maximum that starts at 0 is noticed
    agrees(mine, max_pool_reference, cases)


# ---- lesson 04: a first CNN ----

# ---- lesson 05: training that works ----
