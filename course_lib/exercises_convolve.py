"""The exercises of Part 2, "Convolve" (lessons 03 to 05): what each answer must do to be correct."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .checks import NotAttempted, NotYet, agrees, blank, describe, equal, exercise, run

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


def bce_from_logits_reference(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean of −ln(probability given to the truth): max(z, 0) − z·y + ln(1 + e^−|z|), without overflow."""
    return (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean()


@exercise
def bce_from_logits(mine: Any) -> None:
    """Lesson 04: ``mine(z, y)``: logits and labels (N,) -> their mean binary cross-entropy."""
    random = torch.Generator().manual_seed(4)
    pairs = [
        ([1.386294, 0.0, 1.386294], [1, 0, 0]),  # the three predictions of the lesson
        ([0.0], [1]),
        ([-3.0], [0]),
        ([2.0, -1.0], [0, 1]),
        ([1000.0, -1000.0], [1, 0]),
        ([1000.0], [0]),
        ([-1000.0], [1]),
        ([-1000.0, 3.0, 1000.0, 0.5], [1, 0, 0, 1]),
    ]
    cases: list[tuple] = [(torch.tensor(z), torch.tensor(y, dtype=torch.float32)) for z, y in pairs]
    y = torch.randint(0, 2, (50,), generator=random).float()
    cases.append((4 * torch.randn(50, generator=random), y))
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (z, y), answer in zip(cases, answers, strict=True):
        values = f"z = {brief(z)}, y = {brief(y)}"
        equal(answer, bce_from_logits_reference(z, y), f"for {values} it", 1e-4)


def brief(numbers: torch.Tensor) -> str:
    """A short tensor as it would be written down: "[2, −1, 0.5]"; a long one by its length."""
    if numbers.numel() > 4:
        return f"{numbers.numel()} numbers"
    return "[" + ", ".join(f"{value:.4g}" for value in numbers.tolist()) + "]"


def count_parameters_reference(side: int, channels: int) -> int:
    """Weights and biases of lesson 04's FirstCNN with other sizes."""
    convolutions = (3 * 9 + 1) * channels + (channels * 9 + 1) * 2 * channels
    return convolutions + (2 * channels * (side // 2 // 2) ** 2 + 1) * 32 + (32 + 1)


@exercise
def count_parameters(mine: Any) -> None:
    """Lesson 04: ``mine(side, channels)``: how many numbers a FirstCNN of that size learns."""
    cases = [(32, 8), (64, 8), (32, 16), (30, 8), (31, 5), (4, 1), (128, 12)]
    agrees(mine, count_parameters_reference, cases)


def logistic_step_reference(
    w: torch.Tensor, b: torch.Tensor, x: torch.Tensor, y: torch.Tensor, rate: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of gradient descent on the mean loss: the gradient is the mean of (p − y)·x."""
    error = torch.sigmoid(x @ w + b) - y
    return w - rate * (error[:, None] * x).mean(0), b - rate * error.mean()


@exercise
def logistic_step(mine: Any) -> None:
    """Lesson 04: ``mine(w, b, x, y, rate)`` -> (w, b) after one step; x is N×D, y is (N,)."""
    random = torch.Generator().manual_seed(5)
    one = (torch.tensor([0.5, -0.25]), torch.tensor(0.0), torch.tensor([[1.0, 2.0]]), torch.ones(1), 1.0)
    cases = [one, (*one[:3], torch.zeros(1), 0.5)]
    for n, d, rate in [(2, 2, 1.0), (5, 3, 0.1), (3, 3, 2.0), (7, 1, 0.5)]:
        y = (torch.arange(n) % 2).float()
        cases.append((torch.randn(d, generator=random), torch.randn((), generator=random),
                      torch.randn(n, d, generator=random), y, rate))  # fmt: skip
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        n, d = case[2].shape
        where = f"for {n} example{'s' * (n > 1)} of {d} number{'s' * (d > 1)} and rate {case[4]:g},"
        pairwise(answer, logistic_step_reference(*case), ("the new w", "the new b"), where)


def pairwise(answer: Any, expected: tuple, names: tuple, where: str, tolerance: float = 1e-4) -> None:
    """Judge an answer of several parts, part by part."""
    if blank(answer):
        raise NotYet(f"{where} it gives {answer!r} instead of {' and '.join(names)}")
    if not isinstance(answer, (tuple, list)) or len(answer) != len(expected):
        count = len(answer) if isinstance(answer, (tuple, list)) else describe(answer)
        raise NotYet(f"{where} {len(expected)} values were expected ({', '.join(names)}), not {count}")
    for mine, theirs, name in zip(answer, expected, names, strict=True):
        equal(mine, theirs, f"{where} {name}", tolerance)


def six_lines_reference(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> float:
    """Forward, loss, zero_grad, backward, step; returns the loss that the step began with."""
    loss = functional.binary_cross_entropy_with_logits(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@exercise
def six_lines(mine: Any) -> None:
    """Lesson 04: ``mine(model, optimizer, x, y)`` makes one step of training and returns its loss."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    torch.manual_seed(9)
    parts = [nn.Flatten(), nn.Linear(12, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)]
    learner = nn.Sequential(*parts)
    theirs, hoarder = copy.deepcopy(learner), copy.deepcopy(learner)  # the hoarder never clears its slopes
    optimizers = [CountingSGD(m.parameters(), lr=0.5) for m in (learner, theirs, hoarder)]
    for number in (1, 2, 3):
        x, y = torch.randn(6, 3, 2, 2), (torch.arange(6) % 2).float()
        before, steps = copy.deepcopy(learner.state_dict()), optimizers[0].steps
        answer = mine(learner, optimizers[0], x.clone(), y.clone())
        loss = six_lines_reference(theirs, optimizers[1], x, y)
        functional.binary_cross_entropy_with_logits(hoarder(x), y).backward()
        optimizers[2].step()
        moved = any(not torch.equal(value, before[key]) for key, value in learner.state_dict().items())
        made = optimizers[0].steps - steps
        tried = moved or made or any(p.grad is not None for p in learner.parameters())
        if number == 1 and not tried and blank(answer):
            raise NotAttempted
        where = f"in step {number}"
        if made != 1:
            raise NotYet(f"{where} optimizer.step() was called {made} times, and once was wanted")
        if not moved:
            raise NotYet(f"{where} no weight moved: are the slopes there when optimizer.step() is called?")
        if number > 1 and all(map(torch.allclose, learner.parameters(), hoarder.parameters())):
            raise NotYet(
                f"{where} the slopes of the step before were still there, and the new ones were added"
            )
        for name, value in theirs.state_dict().items():
            equal(learner.state_dict()[name], value, f"{where} the network's {name}", 1e-4)
        equal(answer, loss, f"{where} the loss that it returns", 1e-4)


def high_pass_reference(x: torch.Tensor) -> torch.Tensor:
    """B×C×H×W -> the same shape: every pixel minus the mean of those of the 3×3 around it that exist."""
    return x - functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


@exercise
def high_pass(mine: Any) -> None:
    """Lesson 04: ``mine(x)``: B×C×H×W -> every pixel minus the mean of the 3×3 around it."""
    paper = torch.ones(1, 1, 3, 3)
    paper[0, 0, 1, 1] = 10  # the nine pixels that lesson 04 works out on paper
    random = torch.Generator().manual_seed(10)
    sizes = [(1, 1, 4, 5), (2, 3, 6, 5), (3, 3, 32, 32), (1, 2, 8, 3)]
    cases = [(paper,)] + [(torch.randn(size, generator=random) + 2,) for size in sizes]
    try:
        agrees(mine, high_pass_reference, cases, tolerance=1e-4, floor=1e-4)
    except NotYet as wrong:
        if all(right_inside(run(mine, x), high_pass_reference(x)) for (x,) in cases):
            raise NotYet(
                f"{wrong}: all is right inside, not at the border. Divide by the number of pixels there"
            ) from None
        raise


def right_inside(answer: Any, expected: torch.Tensor) -> bool:
    """Whether two maps of one shape agree everywhere but in the outermost pixels."""
    if not isinstance(answer, torch.Tensor) or answer.shape != expected.shape:
        return False
    return torch.allclose(answer[..., 1:-1, 1:-1].double(), expected[..., 1:-1, 1:-1].double(), atol=1e-4)


# ---- lesson 05: training that works ----


def batch_norm_reference(
    x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    """B×C×H×W: every channel to mean 0 and variance 1 over the batch and all places, then γ·x + β."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return gamma.view(1, -1, 1, 1) * (x - mean) / torch.sqrt(variance + eps) + beta.view(1, -1, 1, 1)


@exercise
def batch_norm(mine: Any) -> None:
    """Lesson 05: ``mine(x, gamma, beta)``: batch normalisation in training mode, eps = 1e-5."""
    random = torch.Generator().manual_seed(6)
    cases = [(torch.tensor([2.0, 4.0, 4.0, 6.0]).view(4, 1, 1, 1), torch.ones(1), torch.zeros(1))]
    for shape in [(4, 2, 1, 1), (2, 3, 4, 5), (3, 3, 3, 3), (1, 2, 6, 6), (5, 4, 2, 2)]:
        x = 3 * torch.randn(shape, generator=random) + torch.arange(shape[1]).view(1, -1, 1, 1)
        if shape[0] == 5:
            x = x / 1000  # here eps shows
        gamma, beta = torch.randn(2, shape[1], generator=random)
        cases.append((x, gamma, beta))
    agrees(mine, batch_norm_reference, cases, tolerance=1e-4, floor=1e-4)


def adamw_step_reference(
    w: Any, g: Any, m: Any, v: Any, t: int, rate: float, decay: float
) -> tuple[Any, Any, Any]:
    """AdamW (Loshchilov and Hutter 2019) with β₁ = 0.9, β₂ = 0.999, ε = 1e-8."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
    return w - rate * decay * w - rate * step, m, v


@exercise
def adamw_step(mine: Any) -> None:
    """Lesson 05: ``mine(w, g, m, v, t, rate, decay)`` -> (w, m, v) after step t = 1, 2, …"""
    cases = []
    for gradients, rate, decay in [
        ([4.0, 4.0, -2.0], 0.1, 0.0),
        ([0.5, -3.0, 8.0, 0.25], 0.01, 0.5),
        ([1e-3, 0.0, -1e-3], 1.0, 0.1),
    ]:
        w, m, v = (torch.tensor(value, dtype=torch.float64) for value in (1.0, 0.0, 0.0))
        for t, gradient in enumerate(gradients, start=1):
            g = torch.tensor(gradient, dtype=torch.float64)
            cases.append((w, g, m, v, t, rate, decay))
            w, m, v = adamw_step_reference(w, g, m, v, t, rate, decay)
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        w, g, m, v, t, rate, decay = (float(value) for value in case)
        where = (
            f"for w = {w:.4g}, g = {g:.4g}, m = {m:.4g}, v = {v:.4g}, t = {t:g}, rate = {rate:g}, "
            f"decay = {decay:g},"
        )
        pairwise(answer, adamw_step_reference(*case), ("the new w", "the new m", "the new v"), where, 1e-6)


def accumulate_reference(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence) -> None:
    """Add up the gradients of all batches, each divided by how many there are; then make one step."""
    optimizer.zero_grad()
    for x, y in batches:
        loss = functional.binary_cross_entropy_with_logits(model(x)[:, 0], y)
        (loss / len(batches)).backward()
    optimizer.step()


@exercise
def accumulate(mine: Any) -> None:
    """Lesson 05: ``mine(model, optimizer, batches)`` makes one update from all the batches together."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    torch.manual_seed(7)
    learner = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    theirs = copy.deepcopy(learner)
    optimizers = [CountingSGD(m.parameters(), lr=0.5) for m in (learner, theirs)]
    for update, count in enumerate((8, 8, 3), start=1):
        batches = [(torch.randn(4, 3), (torch.rand(4) < 0.5).float()) for _ in range(count)]
        before, steps = copy.deepcopy(learner.state_dict()), optimizers[0].steps
        answer = mine(learner, optimizers[0], copy.deepcopy(batches))
        accumulate_reference(theirs, optimizers[1], batches)
        moved = any(not torch.equal(value, before[key]) for key, value in learner.state_dict().items())
        made = optimizers[0].steps - steps
        tried = moved or made or any(p.grad is not None for p in learner.parameters())
        if update == 1 and not tried and blank(answer):
            raise NotAttempted
        where = f"in update {update}, from {count} batches of 4,"
        if made != 1:
            raise NotYet(f"{where} optimizer.step() was called {made} times, and one update was wanted")
        for name, value in theirs.state_dict().items():
            equal(learner.state_dict()[name], value, f"{where} {name}", 1e-4)


class CountingSGD(torch.optim.SGD):
    """Plain gradient descent that counts its steps."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)


def early_stopping_reference(scores: Sequence[float], patience: int) -> tuple[int, int]:
    """(the epoch to keep, the epoch after which training ends), both counted from 1."""
    best, kept = float("-inf"), 0
    for epoch, score in enumerate(scores, start=1):
        if score > best:
            best, kept = score, epoch
        if epoch - kept >= patience:
            return kept, epoch
    return kept, len(scores)


@exercise
def early_stopping(mine: Any) -> None:
    """Lesson 05: ``mine(scores, patience)`` -> (epoch kept, last epoch run), counted from 1."""
    cases = [
        ([0.60, 0.70, 0.80, 0.79, 0.78, 0.77, 0.90], 3),
        ([0.60, 0.70, 0.80, 0.79, 0.78, 0.77, 0.90], 4),
        ([0.5, 0.6, 0.7], 2),
        ([0.9, 0.8, 0.7, 0.95], 1),
        ([0.8, 0.8, 0.8, 0.8], 2),  # the same again is no progress
        ([0.7, 0.6, 0.71, 0.7, 0.72, 0.71, 0.70, 0.99], 2),
        ([0.6, 0.8, 0.7, 0.75, 0.74, 0.9], 3),  # better than the one before is not better than the best
        ([0.3, 0.2, 0.1], 5),
        ([0.5], 1),
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (scores, patience), answer in zip(cases, answers, strict=True):
        where = f"for scores {scores} and patience {patience},"
        names = ("the epoch kept", "the last epoch run")
        pairwise(answer, early_stopping_reference(scores, patience), names, where)
