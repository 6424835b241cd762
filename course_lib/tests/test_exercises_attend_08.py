"""Mutation tests of the checkers of lesson 08: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from course_lib import exercises_attend as exercises

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

sum_right = exercises.dilated_sum_reference
attend_right = exercises.nonlocal_attention_reference
mix_right = exercises.mix_streams_reference


def sum_by_loops(x, kernels):
    height, width = x.shape
    out = [[0.0] * width for _ in range(height)]
    for dilation, kernel in enumerate(kernels, start=1):
        for r in range(height):
            for c in range(width):
                for i in range(3):
                    for j in range(3):
                        row, column = r + (i - 1) * dilation, c + (j - 1) * dilation
                        if 0 <= row < height and 0 <= column < width:
                            out[r][c] += float(kernel[i, j] * x[row, column])
    return out


def sum_as_one_kernel(x, kernels):
    """Another right answer: one 7×7 kernel with the three laid into it."""
    big = torch.zeros(7, 7)
    for dilation, kernel in enumerate(kernels, start=1):
        big[3 - dilation : 4 + dilation : dilation, 3 - dilation : 4 + dilation : dilation] += kernel
    return functional.conv2d(x[None, None], big[None, None], padding=3)[0, 0]


def conv(x, kernel, dilation):
    return functional.conv2d(x[None, None], kernel[None, None], padding=dilation, dilation=dilation)[0, 0]


def test_dilated_sum(capsys):
    wrong = [
        lambda x, kernels: torch.zeros_like(x),
        lambda x, kernels: x,
        lambda x, kernels: 2 * sum_right(x, kernels),
        lambda x, kernels: sum_right(x, kernels) / 3,
        lambda x, kernels: sum_right(x, kernels).T,
        lambda x, kernels: sum_right(x, kernels[::-1]),
        lambda x, kernels: sum_right(x, [kernel.T for kernel in kernels]),
        lambda x, kernels: sum_right(x, [kernel.flip(0, 1) for kernel in kernels]),
        lambda x, kernels: sum(conv(x, kernel, 1) for kernel in kernels),
        lambda x, kernels: conv(x, kernels[0], 1),
        lambda x, kernels: conv(conv(conv(x, kernels[0], 1), kernels[1], 2), kernels[2], 3),
        lambda x, kernels: sum_right(x, kernels)[None],
        lambda x, kernels: torch.sigmoid(sum_right(x, kernels)),
        lambda x, kernels: sum(
            functional.conv2d(x[None, None], k[None, None], dilation=1)[0, 0] for k in kernels
        ),
    ]
    assert_checker(capsys, "dilated_sum", [sum_right, sum_by_loops, sum_as_one_kernel], wrong)
    assert "all three at dilation 1" in said(capsys, "dilated_sum", wrong[8])
    assert "turned round" in said(capsys, "dilated_sum", wrong[7])


def attend_by_loops(queries, keys, values):
    out = []
    for q, k, v in zip(queries, keys, values, strict=True):
        rows = []
        for place in q:
            e = torch.stack([torch.exp((place * cell).sum() / len(place) ** 0.5) for cell in k])
            rows.append(((e / e.sum())[:, None] * v).sum(0))
        out.append(torch.stack(rows))
    return torch.stack(out)


def attend_by_torch(queries, keys, values):
    return functional.scaled_dot_product_attention(queries, keys, values)


def attend_like(scale=True, dim=-1, weigh=True, soft=True, power=0.5):
    def mine(queries, keys, values):
        scores = queries @ keys.transpose(1, 2) / (queries.shape[-1] ** power if scale else 1)
        weights = torch.softmax(scores, dim) if soft else scores
        return weights @ values if weigh else weights

    return mine


def attend_cut(part):
    def mine(*case):
        return attend_right(*[x.detach() if i == part else x for i, x in enumerate(case)])

    return mine


def test_nonlocal_attention(capsys):
    wrong = [
        lambda q, k, v: torch.zeros(q.shape[0], q.shape[1], v.shape[2]),
        lambda q, k, v: 2 * attend_right(q, k, v),
        lambda q, k, v: attend_right(q, k, v).transpose(1, 2),
        lambda q, k, v: attend_right(q, k, v)[0],
        lambda q, k, v: v.mean(1, keepdim=True).expand(-1, q.shape[1], -1),
        lambda q, k, v: attend_right(-q, k, v),
        lambda q, k, v: torch.sigmoid(attend_right(q, k, v)),
        attend_like(scale=False),
        attend_like(power=1),
        attend_like(dim=1),
        attend_like(dim=0),
        attend_like(soft=False),
        attend_like(weigh=False),
        attend_cut(0),
        attend_cut(1),
        attend_cut(2),
        lambda *case: attend_right(*case).detach(),
        lambda *case: attend_right(*case).detach().numpy(),
    ]
    assert_checker(capsys, "nonlocal_attention", [attend_right, attend_by_loops, attend_by_torch], wrong)


@pytest.mark.parametrize(
    "mine, words",
    [
        (attend_like(scale=False), "the division by √d is missing"),
        (attend_like(power=1), "divided by d instead of √d"),
        (attend_like(dim=1), "over the queries, not over the keys"),
        (attend_like(soft=False), "the softmax is missing"),
        (attend_like(weigh=False), "and (1, 4, 1) was expected"),
        (attend_cut(1), "the gradient at keys is not"),
        (lambda *case: attend_right(*case).detach(), "no gradient goes back"),
    ],
)
def test_the_usual_slips_of_attention_are_named(capsys, mine, words):
    assert words in said(capsys, "nonlocal_attention", mine)


def mix_by_loops(x, logits, lc, ls, gc, gs):
    e = [torch.exp(logit) for logit in logits]
    out = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            local, wide = 2 * lc[b, c] * 2 * ls[b, 0], 2 * gc[b, c] * 2 * gs[b, 0]
            out[b, c] = x[b, c] * (e[0] + e[1] * local + e[2] * wide) / sum(e)
    return out


def mix_like(double=2.0, soft=True, identity=True, factor=True, plus=False, swap=False, twice=False):
    def mine(x, logits, lc, ls, gc, gs):
        w = torch.softmax(logits, 0) if soft else logits
        w = w[[0, 2, 1]] if swap else w
        lc, gc = lc[:, :, None, None], gc[:, :, None, None]
        bracket = (w[0] if identity else 0) + w[1] * double**2 * lc * ls + w[2] * double**2 * gc * gs
        out = x * bracket if factor else bracket
        return out * x if twice else out + x if plus else out

    return mine


def test_mix_streams(capsys):
    wrong = [
        lambda x, *rest: torch.zeros_like(x),
        lambda x, *rest: x,
        lambda x, *rest: 2 * mix_right(x, *rest),
        lambda x, *rest: mix_right(x, *rest).transpose(2, 3),
        lambda x, *rest: mix_right(x, *rest)[0],
        lambda x, logits, lc, ls, gc, gs: mix_right(x, logits, gc, ls, lc, gs),
        lambda x, logits, lc, ls, gc, gs: mix_right(x, logits, lc, gs, gc, ls),
        lambda x, *rest: mix_right(x, *rest).detach(),
        lambda x, logits, *maps: mix_right(x, logits.detach(), *maps),
        mix_like(double=1.0),
        mix_like(double=2**0.5),
        mix_like(soft=False),
        mix_like(identity=False),
        mix_like(factor=False),
        mix_like(plus=True),
        mix_like(swap=True),
        mix_like(twice=True),
        lambda x, logits, lc, ls, gc, gs: (
            x * (logits.softmax(0)[0] + 4 * (logits.softmax(0)[1] * lc * ls + logits.softmax(0)[2] * gc * gs))
        ),  # B×C against B×C×H×W: an error, or no word at all where the sides happen to agree
    ]
    assert_checker(capsys, "mix_streams", [mix_right, mix_by_loops, mix_like()], wrong)


@pytest.mark.parametrize(
    "mine, words",
    [
        (mix_like(double=1.0), "the maps are not doubled"),
        (mix_like(double=2**0.5), "each stream is doubled once"),
        (mix_like(identity=False), "the identity stream, w[0], is missing"),
        (mix_like(factor=False), "x is still to be multiplied by it"),
        (mix_like(twice=True), "x is in it twice"),
        (mix_like(plus=True), "x is added once more"),
        (lambda x, logits, *maps: mix_right(x, logits.detach(), *maps), "the gradient at the stream logits"),
    ],
)
def test_the_usual_slips_of_the_mixture_are_named(capsys, mine, words):
    assert words in said(capsys, "mix_streams", mine)
