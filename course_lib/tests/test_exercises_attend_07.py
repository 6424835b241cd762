"""Mutation tests of the checkers of lesson 07: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_lib import exercises_attend as exercises
from course_lib.layers import GlobalChannelAttention, LocalChannelAttention

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

eca_right = exercises.eca_reference
matrix_right = exercises.channel_matrix_reference
count_right = exercises.gate_parameters_reference


def eca_by_slices(pooled, kernel, bias):
    reach = len(kernel) // 2
    padded = functional.pad(pooled, (reach, reach))
    scores = sum(kernel[t] * padded[:, t : t + pooled.shape[1]] for t in range(len(kernel)))
    return 1 / (1 + torch.exp(-scores - bias))


def eca_by_loops(pooled, kernel, bias):
    reach, (batch, channels) = len(kernel) // 2, pooled.shape
    rows = []
    for b in range(batch):
        row = []
        for c in range(channels):
            near = [(t, c + t - reach) for t in range(len(kernel)) if 0 <= c + t - reach < channels]
            row.append(bias + sum(kernel[t] * pooled[b, j] for t, j in near))
        rows.append(torch.stack(row))
    return torch.sigmoid(torch.stack(rows))


def eca_by_module(pooled, kernel, bias):
    """The layer of the library, its numbers set; the kernel as it is, so that a gradient reaches it."""
    layer = LocalChannelAttention(len(kernel))
    with torch.no_grad():
        layer.conv.bias.fill_(bias)
    weights = {"conv.weight": kernel.view(1, 1, -1), "conv.bias": layer.conv.bias}
    return torch.func.functional_call(layer, weights, (pooled,))


def eca_scores(pooled, kernel, bias):
    return torch.logit(eca_right(pooled, kernel, bias))


def eca_unpadded(pooled, kernel, bias):
    return torch.sigmoid(functional.conv1d(pooled.unsqueeze(1), kernel.view(1, 1, -1)).squeeze(1) + bias)


def eca_mirrored(pooled, kernel, bias):
    reach = len(kernel) // 2
    if reach >= pooled.shape[1]:
        return eca_right(pooled, kernel, bias)
    padded = functional.pad(pooled.unsqueeze(1), (reach, reach), mode="reflect")
    return torch.sigmoid(functional.conv1d(padded, kernel.view(1, 1, -1)).squeeze(1) + bias)


def eca_unbatched(pooled, kernel, bias):
    """Right for one image only; with two, torch says why."""
    return torch.sigmoid(functional.conv1d(pooled, kernel.view(1, 1, -1), padding=len(kernel) // 2) + bias)


ECA_WRONG = [
    lambda pooled, kernel, bias: torch.zeros_like(pooled),
    lambda pooled, kernel, bias: torch.full_like(pooled, 0.5),
    lambda pooled, kernel, bias: 2 * eca_right(pooled, kernel, bias),
    lambda pooled, kernel, bias: eca_right(pooled, kernel, bias).T,
    lambda pooled, kernel, bias: eca_right(pooled, kernel, bias)[0],
    lambda pooled, kernel, bias: eca_right(pooled, kernel, bias).unsqueeze(1),
    lambda pooled, kernel, bias: eca_right(pooled, kernel.flip(0), bias),
    lambda pooled, kernel, bias: eca_right(pooled, kernel, 0.0),
    lambda pooled, kernel, bias: eca_right(pooled.T.contiguous(), kernel, bias).T,
    lambda pooled, kernel, bias: torch.softmax(eca_scores(pooled, kernel, bias), 1),
    lambda pooled, kernel, bias: pooled * eca_right(pooled, kernel, bias),
    lambda pooled, kernel, bias: eca_right(pooled, kernel, bias).detach(),
    lambda pooled, kernel, bias: eca_right(pooled, kernel, bias).detach().numpy(),
    lambda pooled, kernel, bias: eca_right(pooled, kernel.detach(), bias),
    lambda pooled, kernel, bias: eca_right(pooled, torch.tensor(kernel.tolist()), bias),
    eca_scores,
    eca_unpadded,
    eca_mirrored,
    eca_unbatched,
]


def test_eca(capsys):
    assert_checker(capsys, "eca", [eca_right, eca_by_slices, eca_by_loops, eca_by_module], ECA_WRONG)


@pytest.mark.parametrize(
    "number, words",
    [
        (5, "squeeze(1)"),
        (6, "the kernel is the wrong way round"),
        (7, "the bias was not added"),
        (8, "along the images, not the channels"),
        (11, "no gradient goes back"),
        (12, "no gradient goes back"),
        (13, "the gradient at kernel is not"),
        (15, "the sigmoid at the end is missing"),
        (16, "the zeros at both ends are missing"),
        (18, "RuntimeError: Given groups=1"),
    ],
)
def test_the_usual_slips_of_eca_are_named(capsys, number, words):
    assert words in said(capsys, "eca", ECA_WRONG[number])


def test_the_first_wrong_case_is_told(capsys):
    answer = said(capsys, "eca", ECA_WRONG[7])
    assert "for 2 images of 4 channels, a kernel of 3 and bias 0.5 it gives" in answer


def matrix_by_matmul(query, key):
    return torch.softmax(query.unsqueeze(2) @ key.unsqueeze(1), dim=-1)


def matrix_by_hand(query, key):
    scores = torch.stack([torch.outer(q, k) for q, k in zip(query, key, strict=True)])
    powers = torch.exp(scores - scores.amax(2, keepdim=True))
    return powers / powers.sum(2, keepdim=True)


def matrix_exp_alone(query, key):
    """Right on paper; e^900 is infinite in a float."""
    powers = torch.exp(query[:, :, None] * key[:, None, :])
    return powers / powers.sum(2, keepdim=True)


def scores_of(query, key):
    return query[:, :, None] * key[:, None, :]


MATRIX_WRONG = [
    lambda query, key: torch.zeros_like(matrix_right(query, key)),
    lambda query, key: torch.full_like(matrix_right(query, key), 1 / query.shape[1]),
    lambda query, key: 2 * matrix_right(query, key),
    lambda query, key: matrix_right(query, key)[0],
    scores_of,
    lambda query, key: torch.softmax(scores_of(query, key), dim=1),
    lambda query, key: torch.softmax(scores_of(query, key), dim=0),
    lambda query, key: matrix_right(key, query),
    lambda query, key: matrix_right(query, key).transpose(1, 2),
    lambda query, key: torch.softmax(scores_of(query, key) / query.shape[1] ** 0.5, dim=2),
    matrix_exp_alone,
    lambda query, key: torch.softmax(query @ key.T, dim=-1),
    lambda query, key: torch.softmax(scores_of(query, key).flatten(1), 1).view_as(scores_of(query, key)),
    lambda query, key: torch.sigmoid(scores_of(query, key)),
    lambda query, key: matrix_right(query, key).detach(),
    lambda query, key: matrix_right(query, key.detach()),
]


def test_channel_matrix(capsys):
    right = [matrix_right, matrix_by_matmul, matrix_by_hand]
    assert_checker(capsys, "channel_matrix", right, MATRIX_WRONG)


@pytest.mark.parametrize(
    "number, words",
    [
        (4, "the softmax is missing"),
        (5, "the columns sum to 1, and the rows should"),
        (7, "query and key have changed places"),
        (8, "the transpose of what was asked for"),
        (9, "divided by √C"),
        (10, "too large for a float"),
        (14, "no gradient goes back"),
        (15, "the gradient at key is not"),
    ],
)
def test_the_usual_slips_of_the_matrix_are_named(capsys, number, words):
    assert words in said(capsys, "channel_matrix", MATRIX_WRONG[number])


def count_by_building(kind, channels, size):
    if kind == "SE":
        middle = channels // size
        gate = nn.Sequential(nn.Linear(channels, middle), nn.ReLU(), nn.Linear(middle, channels))
    else:
        gate = LocalChannelAttention(size) if kind == "local" else GlobalChannelAttention(size)
    return sum(p.numel() for p in gate.parameters())


def count_with(**changed):
    """The right number for all kinds but those named; there a function of channels and size."""

    def mine(kind, channels, size):
        return changed[kind](channels, size) if kind in changed else count_right(kind, channels, size)

    return mine


COUNT_WRONG = [
    lambda kind, channels, size: 0,
    lambda kind, channels, size: 2 * count_right(kind, channels, size),
    lambda kind, channels, size: [count_right(kind, channels, size)],
    count_with(SE=lambda c, r: 2 * c * c // r),
    count_with(SE=lambda c, r: c * c // r + c // r + c),
    count_with(SE=lambda c, r: 2 * c * c // r + 2 * c),
    count_with(SE=lambda c, r: count_right("SE", c, 4)),
    count_with(local=lambda c, k: k),
    count_with(local=lambda c, k: k * c),
    count_with(local=lambda c, k: 4),
    count_with(**{"global": lambda c, k: 2 * (k + 1)}),
    count_with(**{"global": lambda c, k: k + 3}),
    count_with(**{"global": lambda c, k: c * c}),
    count_with(**{"global": lambda c, k: 10}),
]


def test_gate_parameters(capsys):
    right = [count_right, count_by_building, lambda *case: torch.tensor(count_right(*case))]
    assert_checker(capsys, "gate_parameters", right, COUNT_WRONG)


@pytest.mark.parametrize(
    "number, words",
    [
        (3, "the biases of both linear layers are missing"),
        (7, "its bias is missing"),
        (8, "the same for all channels"),
        (10, "scale and bias"),
        (11, "two channels out, query and key"),
        (12, "computed, not learned"),
    ],
)
def test_the_usual_slips_of_the_count_are_named(capsys, number, words):
    assert words in said(capsys, "gate_parameters", COUNT_WRONG[number])
