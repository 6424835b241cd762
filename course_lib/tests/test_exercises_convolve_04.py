"""Mutation tests of the checkers of lesson 04: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from course_lib import exercises_convolve as exercises
from course_lib.facenest import high_pass as library_high_pass

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

loss_right = exercises.bce_from_logits_reference
count_right = exercises.count_parameters_reference
step_right = exercises.logistic_step_reference


def loss_by_loop(z, y):
    losses = []
    for logit, truth in zip(z.tolist(), y.tolist(), strict=True):
        margin = logit if truth == 1 else -logit
        losses.append(np.logaddexp(0.0, -margin))
    return sum(losses) / len(losses)


def loss_naive(z, y):
    p = torch.sigmoid(z)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def loss_clipped(z, y):
    p = torch.sigmoid(z).clamp(1e-7, 1 - 1e-7)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def test_bce_from_logits(capsys):
    right = [loss_right, functional.binary_cross_entropy_with_logits, loss_by_loop]
    wrong = [
        lambda z, y: 0.0,
        lambda z, y: 2 * loss_right(z, y),
        lambda z, y: loss_right(z, 1 - y),
        lambda z, y: loss_right(z, y) * len(z),
        lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none"),
        lambda z, y: loss_right(torch.sigmoid(z), y),
        lambda z, y: loss_right(z, y) / np.log(2),
        loss_naive,
        loss_clipped,
    ]
    assert_checker(capsys, "bce_from_logits", right, wrong)


def test_the_naive_loss_is_told_the_case_that_breaks_it(capsys):
    said_of_it = said(capsys, "bce_from_logits", loss_naive)
    assert "nan" in said_of_it and "1000" in said_of_it


@pytest.mark.parametrize("z, y", [([0.3, -2.0], [1, 0]), ([900.0, -900.0], [0, 1])])
def test_the_reference_is_torchs(z, y):
    z, y = torch.tensor(z), torch.tensor(y).float()
    assert torch.isclose(loss_right(z, y), functional.binary_cross_entropy_with_logits(z, y))


def count_with_torch(side, channels):
    cells = 2 * channels * (side // 4) ** 2
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3),
        nn.Conv2d(channels, 2 * channels, 3),
        nn.Linear(cells, 32),
        nn.Linear(32, 1),
    )
    return sum(weight.numel() for weight in network.parameters())


def test_count_parameters(capsys):
    wrong = [
        lambda side, channels: 0,
        lambda side, channels: 2 * count_right(side, channels),
        lambda side, channels: 34225,
        lambda side, channels: count_right(channels, side),
        lambda side, channels: count_right(side, channels) - 3 * channels - 33,  # biases forgotten
        lambda side, channels: count_right(2 * side, channels),  # one pooling forgotten
        lambda side, channels: count_right(side, channels) - 33,
        lambda side, channels: count_right(4 * -(-side // 4), channels),  # sizes rounded up
    ]
    assert_checker(capsys, "count_parameters", [count_right, count_with_torch], wrong)


def step_with_autograd(w, b, x, y, rate):
    w, b = w.clone().requires_grad_(), b.clone().requires_grad_()
    functional.binary_cross_entropy_with_logits(x @ w + b, y).backward()
    return (w - rate * w.grad).detach(), (b - rate * b.grad).detach()


def step_of_the_sum(w, b, x, y, rate):
    error = torch.sigmoid(x @ w + b) - y
    return w - rate * error @ x, b - rate * error.sum()


def test_logistic_step(capsys):
    wrong = [
        lambda w, b, x, y, rate: (torch.zeros_like(w), torch.zeros(())),
        lambda w, b, x, y, rate: (w, b),
        lambda w, b, x, y, rate: step_right(w, b, x, y, 2 * rate),
        lambda w, b, x, y, rate: step_right(w, b, x, y, -rate),
        lambda w, b, x, y, rate: step_right(w, b, x, 1 - y, rate),
        lambda w, b, x, y, rate: step_right(w, b, x, y, 1.0),
        lambda w, b, x, y, rate: step_right(w, b, x, y, rate)[0],
        lambda w, b, x, y, rate: (step_right(w, b, x, y, rate)[0], b),
        lambda w, b, x, y, rate: step_right(w, b, x, y, rate)[::-1],
        lambda w, b, x, y, rate: step_right(w, b, x, y, rate)[0][:, None],
        step_of_the_sum,
    ]
    assert_checker(capsys, "logistic_step", [step_right, step_with_autograd], wrong)


def six_lines_by_hand(model, optimizer, x, y):
    """Another order, and the loss of exercise 1: clear first, keep the loss as a tensor."""
    for parameter in model.parameters():
        parameter.grad = None
    loss = loss_right(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def six_lines_variant(forget=False, loss=functional.binary_cross_entropy_with_logits, answer=True):
    def step(model, optimizer, x, y):
        value = loss(model(x), y)
        if not forget:
            optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item() if answer else None

    return step


def cleared_too_late(model, optimizer, x, y):
    loss = functional.binary_cross_entropy_with_logits(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def stepped_too_early(model, optimizer, x, y):
    loss = functional.binary_cross_entropy_with_logits(model(x), y)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    return loss.item()


def never_stepped(model, optimizer, x, y):
    loss = functional.binary_cross_entropy_with_logits(model(x), y)
    loss.backward()
    return loss.item()


def summed(logits, y):
    return functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")


def sigmoid_twice(logits, y):
    return functional.binary_cross_entropy_with_logits(torch.sigmoid(logits), y)


def test_six_lines(capsys):
    wrong = [
        cleared_too_late,
        stepped_too_early,
        never_stepped,
        six_lines_variant(forget=True),
        six_lines_variant(loss=summed),
        six_lines_variant(loss=sigmoid_twice),
        six_lines_variant(loss=lambda z, y: loss_right(z, 1 - y)),
        six_lines_variant(answer=False),
        lambda model, optimizer, x, y: [exercises.six_lines_reference(model, optimizer, x, y)] * 2,
        lambda model, optimizer, x, y: optimizer.step(),
        lambda model, optimizer, x, y: [exercises.six_lines_reference(model, optimizer, x, y)
                                        for _ in range(2)][1],
    ]  # fmt: skip
    assert_checker(capsys, "six_lines", [exercises.six_lines_reference, six_lines_by_hand], wrong)
    assert "step before were still there" in said(capsys, "six_lines", wrong[3])
    assert "no weight moved" in said(capsys, "six_lines", cleared_too_late)


def high_pass_by_slices(x):
    padded = functional.pad(x, (1, 1, 1, 1))
    there = functional.pad(torch.ones_like(x), (1, 1, 1, 1))
    height, width = x.shape[2:]
    places = [(r, c) for r in range(3) for c in range(3)]
    total = sum(padded[:, :, r : r + height, c : c + width] for r, c in places)
    return x - total / sum(there[:, :, r : r + height, c : c + width] for r, c in places)


def high_pass_padded_with_zeros(x):
    return x - functional.avg_pool2d(x, 3, stride=1, padding=1)


def test_high_pass(capsys):
    right = exercises.high_pass_reference
    wrong = [
        torch.zeros_like,
        lambda x: 4 * right(x),
        lambda x: x - right(x),
        lambda x: -right(x),
        lambda x: right(x)[..., 1:-1, 1:-1],
        lambda x: right(x.mean(1, keepdim=True)).expand_as(x),
        lambda x: x - x.mean((2, 3), keepdim=True),
        lambda x: (9 * x - 8 * right(x)) / 8,
        high_pass_padded_with_zeros,
        lambda x: right(x[0, 0][None, None]),
    ]
    assert_checker(capsys, "high_pass", [right, library_high_pass, high_pass_by_slices], wrong)
    assert "not at the border" in said(capsys, "high_pass", high_pass_padded_with_zeros)
    assert "border" not in said(capsys, "high_pass", torch.zeros_like)
