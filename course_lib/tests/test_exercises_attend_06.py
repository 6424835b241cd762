"""Mutation tests of the checkers of lesson 06: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from course_lib import exercises_attend as exercises

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

chain_right = exercises.gradient_through_chain_reference
block_right = exercises.residual_block_reference
shortcut_right = exercises.shortcut_reference


def chain_with_numpy(slopes, shortcut):
    steps = np.asarray(slopes, dtype=float) + bool(shortcut)
    return np.append(np.cumprod(steps[::-1])[::-1], 1.0)


def chain_by_autograd(slopes, shortcut):
    places = [torch.tensor(1.0, requires_grad=True)]
    for slope in slopes:
        x = places[-1]
        places.append(slope * x + (x if shortcut else 0))
        places[-1].retain_grad()
    places[-1].backward()
    return torch.tensor([1.0 if place.grad is None else float(place.grad) for place in places])


def test_gradient_through_chain(capsys):
    wrong = [
        lambda slopes, shortcut: [0.0] * (len(slopes) + 1),
        lambda slopes, shortcut: [1.0] * (len(slopes) + 1),
        lambda slopes, shortcut: chain_right(slopes, shortcut)[::-1],
        lambda slopes, shortcut: chain_right(slopes[::-1], shortcut),
        lambda slopes, shortcut: chain_right(slopes, False),
        lambda slopes, shortcut: chain_right(slopes, True),
        lambda slopes, shortcut: chain_right(slopes, not shortcut),
        lambda slopes, shortcut: [2 * g for g in chain_right(slopes, shortcut)],
        lambda slopes, shortcut: chain_right(slopes, shortcut)[:-1],
        lambda slopes, shortcut: chain_right(slopes, shortcut)[0],
        lambda slopes, shortcut: [g + shortcut for g in chain_right(slopes, False)],  # one path added, once
        lambda slopes, shortcut: np.append(np.cumprod(np.array(slopes) + shortcut), 1.0),
    ]
    assert_checker(
        capsys, "gradient_through_chain", [chain_right, chain_with_numpy, chain_by_autograd], wrong
    )
    said_ = said(capsys, "gradient_through_chain", wrong[4])
    assert "slopes [0.5, 0.5, 0.5] and shortcut = True" in said_ and "3.375 was expected" in said_


def block_with_modules(x, conv1, bn1, conv2, bn2, shortcut):
    out = nn.Sequential(conv1, bn1, nn.ReLU(), conv2, bn2)(x)
    if shortcut:
        out += shortcut(x)
    return out.clamp(min=0)


def block_like(last=True, early=False, inner=True, add=True, norm=True, second=True):
    """The block with one thing wrong at a time."""

    def mine(x, conv1, bn1, conv2, bn2, shortcut):
        out = bn1(conv1(x)) if norm else conv1(x)
        out = functional.relu(out) if inner else out
        out = bn2(conv2(out)) if second else out
        out = functional.relu(out) if early else out
        if shortcut is not None and add:
            out = out + shortcut(x)
        return functional.relu(out) if last else out

    return mine


def block_adds_the_branch(x, conv1, bn1, conv2, bn2, shortcut):
    """Adds what the first convolution gave, not x."""
    first = functional.relu(bn1(conv1(x)))
    out = bn2(conv2(first))
    return functional.relu(out + first if shortcut is not None else out)


def block_cut_off(*case):
    return block_right(*case).detach()


def block_with_a_cut_branch(x, conv1, bn1, conv2, bn2, shortcut):
    out = bn2(conv2(functional.relu(bn1(conv1(x))))).detach()
    return functional.relu(out if shortcut is None else out + shortcut(x))


def block_with_a_cut_shortcut(x, conv1, bn1, conv2, bn2, shortcut):
    out = bn2(conv2(functional.relu(bn1(conv1(x)))))
    return functional.relu(out if shortcut is None else out + shortcut(x).detach())


def block_without_a_graph(*case):
    with torch.no_grad():
        return block_right(*case)


def block_that_changes_x(x, conv1, bn1, conv2, bn2, shortcut):
    """nn.Identity() gives x itself, so that += writes into what conv1 needs on the way back."""
    branch = bn2(conv2(functional.relu(bn1(conv1(x)))))
    if shortcut is None:
        return functional.relu(branch)
    out = shortcut(x)
    out += branch
    return functional.relu(out)


def block_by_numpy(*case):
    return block_right(*case).detach().numpy()


def test_residual_block(capsys):
    wrong = [
        lambda x, *parts: torch.zeros_like(block_right(x, *parts)),
        lambda x, *parts: 2 * block_right(x, *parts),
        lambda x, *parts: block_right(x, *parts).transpose(2, 3),
        lambda x, *parts: block_right(x, *parts)[0],
        lambda x, *parts: x,
        lambda x, conv1, bn1, conv2, bn2, shortcut: block_right(x, conv1, bn2, conv2, bn1, shortcut),
        block_like(last=False),
        block_like(early=True, last=False),
        block_like(early=True),
        block_like(inner=False),
        block_like(add=False),
        block_like(norm=False),
        block_like(second=False),
        block_adds_the_branch,
        block_cut_off,
        block_with_a_cut_branch,
        block_with_a_cut_shortcut,
        block_without_a_graph,
        block_by_numpy,
        block_that_changes_x,
    ]
    assert_checker(capsys, "residual_block", [block_right, block_with_modules, block_like()], wrong)


def test_the_usual_slips_of_the_block_are_named(capsys):
    for mine, words in [
        (block_like(last=False), "the last ReLU, after the addition, is missing"),
        (block_like(early=True, last=False), "the last ReLU comes after the addition, not before it"),
        (block_like(add=False), "the shortcut was not added"),
        (block_like(early=True), "there is a ReLU before the addition as well"),
        (block_like(inner=False), "the ReLU after bn1 is missing"),
    ]:
        assert words in said(capsys, "residual_block", mine)


def test_an_answer_that_cuts_the_gradient_is_told_so(capsys):
    for mine in (block_cut_off, block_without_a_graph, block_by_numpy):
        assert "no gradient goes back through it" in said(capsys, "residual_block", mine)
    for mine in (block_with_a_cut_branch, block_with_a_cut_shortcut):
        answer = said(capsys, "residual_block", mine)
        assert "gradient" in answer and ".detach()" in answer
    assert "changed in place" in said(capsys, "residual_block", block_that_changes_x)


def block_that_always_adds(x, conv1, bn1, conv2, bn2, shortcut):
    return torch.relu(bn2(conv2(torch.relu(bn1(conv1(x))))) + shortcut(x))


def test_who_calls_a_shortcut_that_is_none_is_told_so(capsys):
    answer = said(capsys, "residual_block", block_that_always_adds)
    assert answer.startswith("not yet, because with shortcut = None your code stopped with TypeError")


class OwnShortcut(nn.Module):
    """Another right answer: the mean over what is there, taken by hand."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.stride = stride
        self.conv, self.norm = nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)

    def forward(self, x):
        rows = x.split(self.stride, 2)
        cells = [[cell.mean((2, 3)) for cell in row.split(self.stride, 3)] for row in rows]
        return self.norm(self.conv(torch.stack([torch.stack(row, 2) for row in cells], 2)))


def own(before, after, stride):
    return nn.Sequential() if (before, stride) == (after, 1) else OwnShortcut(before, after, stride)


def pooled(pool, norm=True, bias=False, always=False, flipped=False):
    """A shortcut with another way to shrink, or without its batch norm, …"""

    def mine(before, after, stride):
        if before == after and stride == 1 and not always:
            return nn.Identity()
        parts = [pool(stride)] if stride > 1 else []
        parts.append(nn.Conv2d(*((after, before) if flipped else (before, after)), 1, bias=bias))
        return nn.Sequential(*parts, *([nn.BatchNorm2d(after)] if norm else []))

    return mine


def average(stride):
    return nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)


def strided(before, after, stride):
    """He et al.'s shortcut of 2016: a 1×1 convolution that skips three of four pixels."""
    if before == after and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))


def test_shortcut(capsys):
    wrong = [
        lambda before, after, stride: nn.Identity(),
        lambda before, after, stride: before == after and stride == 1,
        lambda before, after, stride: "identity",
        strided,
        pooled(nn.AvgPool2d),  # loses the last row of an odd side
        pooled(lambda stride: nn.MaxPool2d(stride, ceil_mode=True)),
        pooled(average, norm=False),
        pooled(average, bias=True),
        pooled(average, always=True),
        pooled(average, flipped=True),
        lambda before, after, stride: shortcut_right(before, after, 1),
        lambda before, after, stride: shortcut_right(before, after, 2),
        lambda before, after, stride: nn.Sequential(shortcut_right(before, after, stride), nn.ReLU()).append(
            nn.Threshold(1.0, 1.0)
        ),
    ]
    without_the_word = pooled(lambda stride: nn.AvgPool2d(stride, ceil_mode=True))  # no padding: the same
    assert_checker(capsys, "shortcut", [shortcut_right, own, pooled(average), without_the_word], wrong)


def test_a_shortcut_that_skips_pixels_is_told_the_case(capsys):
    assert "for 4 channels in, 8 out and stride 2, an input of 6×6" in said(capsys, "shortcut", strided)
    assert "input of 7×5" in said(capsys, "shortcut", pooled(nn.AvgPool2d))


def test_another_fault_than_a_change_in_place_keeps_its_words(capsys):
    """Only of a change in place does the checker know more than the backward pass says itself."""

    class Deaf(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, slope):
            raise RuntimeError("no way back")

    line = said(capsys, "residual_block", lambda *case: Deaf.apply(block_right(*case)))
    assert line == "not yet, because your code stopped with RuntimeError: no way back"
