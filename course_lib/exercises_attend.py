"""The exercises of Part 3, "Attend" (lessons 06 to 10): what each answer must do to be correct."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .checks import NotAttempted, NotYet, blank, describe, equal, exercise, run
from .layers import make_shortcut

# ---- lesson 06: residual blocks ----


def gradient_through_chain_reference(slopes: Sequence[float], shortcut: bool) -> list[float]:
    """The slope of the output in every place of a chain, input first; the last is the output itself, 1."""
    gradients = [1.0]
    for slope in reversed(slopes):
        gradients.append(gradients[-1] * (slope + (1 if shortcut else 0)))
    return gradients[::-1]


@exercise
def gradient_through_chain(mine: Any) -> None:
    """Lesson 06: ``mine(slopes, shortcut)``: the slopes of n steps -> the gradient at n + 1 places."""
    chains = [[0.5, 0.5, 0.5], [2.0, 0.5, -1.0], [0.25], [0.0, 3.0], [-1.0, 0.5, 4.0], [0.1] * 10, []]
    cases = [(slopes, shortcut) for slopes in chains for shortcut in (False, True)]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (slopes, shortcut), answer in zip(cases, answers, strict=True):
        what = f"for slopes {slopes} and shortcut = {shortcut} it"
        equal(answer, gradient_through_chain_reference(slopes, shortcut), what, 1e-5, 1e-12)


def residual_block_reference(
    x: torch.Tensor,
    conv1: nn.Module,
    bn1: nn.Module,
    conv2: nn.Module,
    bn2: nn.Module,
    shortcut: nn.Module | None,
) -> torch.Tensor:
    """conv-BN-ReLU-conv-BN, plus the shortcut's answer to x if there is a shortcut; then ReLU."""
    out = bn2(conv2(functional.relu(bn1(conv1(x)))))
    return functional.relu(out if shortcut is None else out + shortcut(x))


@exercise
def residual_block(mine: Any) -> None:
    """Lesson 06: ``mine(x, conv1, bn1, conv2, bn2, shortcut)``: B×C×H×W -> what the block gives."""
    cases = []
    # channels in and out, stride, side, with a shortcut, in training mode
    for before, after, stride, side, shortcut, training in [
        (2, 2, 1, 4, True, True),
        (2, 2, 1, 4, False, True),
        (3, 5, 2, 6, True, True),
        (4, 4, 1, 5, True, False),
        (2, 3, 2, 7, True, False),
        (1, 2, 1, 3, False, False),
    ]:
        parts = [
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            make_shortcut(before, after, stride) if shortcut else None,
        ]
        for part in filter(None, parts):
            for value in part.state_dict().values():
                if value.ndim == 1:  # a batch norm's; none of them at its usual start
                    value.copy_(0.5 + torch.rand_like(value))
            part.train(training)
        cases.append((torch.randn(2, before, side, side), *parts))
    answers = [run_block(mine, case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        expected = run(residual_block_reference, *case)
        mode = "training" if case[1].training else "eval"
        kind = "shortcut = None" if case[5] is None else "a shortcut"
        what = f"for x of shape {tuple(case[0].shape)}, {kind} and {mode} mode it"
        try:
            equal(answer, expected, what, 1e-4)
        except NotYet as wrong:
            raise NotYet(f"{wrong}{slip(answer, case)}") from None
    for case in cases:
        judge_gradients(mine, case)


def judge_gradients(mine: Any, case: tuple) -> None:
    """One backward pass: right numbers are not enough if a part of the block hears nothing from the loss."""
    kind = "shortcut = None" if case[5] is None else "a shortcut"
    where = f"for x of shape {tuple(case[0].shape)} and {kind} its numbers are right, but"
    weights = torch.rand_like(residual_block_reference(*copy.deepcopy(case)))
    ours, wanted = (gradients(block, case, weights, where) for block in (mine, residual_block_reference))
    for name, expected in wanted.items():
        if not torch.allclose(ours[name], expected, rtol=1e-3, atol=1e-3):
            raise NotYet(
                f"{where} the gradient at {name} is not: something on the way cuts it, such as .detach() "
                "or torch.no_grad()"
            )


def gradients(block: Any, case: tuple, weights: torch.Tensor, where: str) -> dict[str, torch.Tensor]:
    """The gradient of a weighted sum of the block's output at x and at every learned tensor."""
    leaf, *parts = copy.deepcopy(case)
    leaf.requires_grad_()
    out = block(leaf.clone(), *parts)
    if not isinstance(out, torch.Tensor) or not out.requires_grad:
        raise NotYet(
            f"{where} no gradient goes back through it, so nothing could learn: .detach(), torch.no_grad() "
            "or NumPy cuts it"
        )
    places = {"x": leaf}
    for called, part in zip(("conv1", "bn1", "conv2", "bn2", "shortcut"), parts, strict=True):
        if part is not None:
            places |= {f"{called}.{name}": p for name, p in part.named_parameters()}
    try:
        found = torch.autograd.grad((out * weights).sum(), list(places.values()), allow_unused=True)
    except RuntimeError as error:
        if "inplace" not in str(error):
            raise
        raise NotYet(
            f"{where} the backward pass stops, for a tensor that it needs was changed in place: write "
            "out = out + …, not +="
        ) from None
    return {
        name: torch.zeros_like(place) if gradient is None else gradient
        for (name, place), gradient in zip(places.items(), found, strict=True)
    }


def run_block(mine: Any, case: tuple) -> Any:
    """Run one case; who calls a shortcut that is None is told so."""
    try:
        return run(mine, *case)
    except TypeError as error:
        if case[5] is None and "NoneType" in str(error):
            raise NotYet(
                f"with shortcut = None your code stopped with TypeError: {error}; then nothing is to be added"
            ) from None
        raise


def slip(answer: Any, case: tuple) -> str:
    """What went wrong, if it is one of the slips that everybody makes once; else nothing."""
    x, *parts, shortcut = copy.deepcopy(case)
    if not isinstance(answer, torch.Tensor) or shortcut is None:
        return ""
    conv1, bn1, conv2, bn2 = parts
    branch = bn2(conv2(functional.relu(bn1(conv1(x)))))
    direct = shortcut(x)
    for guess, words in [
        (branch + direct, "the last ReLU, after the addition, is missing"),
        (functional.relu(branch) + direct, "the last ReLU comes after the addition, not before it"),
        (functional.relu(branch), "the shortcut was not added"),
        (
            functional.relu(functional.relu(branch) + direct),
            "there is a ReLU before the addition as well; only the one after it belongs there",
        ),
        (functional.relu(bn2(conv2(bn1(conv1(x)))) + direct), "the ReLU after bn1 is missing"),
    ]:
        if answer.shape == guess.shape and torch.allclose(answer, guess, atol=1e-5):
            return f": {words}"
    return ""


def shortcut_reference(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Nothing at all, or average pooling (where the side shrinks), 1×1 convolution, batch norm."""
    return make_shortcut(in_channels, out_channels, stride)


@exercise
def shortcut(mine: Any) -> None:
    """Lesson 06: ``mine(in_channels, out_channels, stride)`` -> the module on the path round the block."""
    settings = [(4, 4, 1), (4, 6, 1), (4, 8, 2), (3, 3, 2), (8, 2, 1), (2, 4, 3)]
    answers = [run(mine, *setting) for setting in settings]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for setting, answer in zip(settings, answers, strict=True):
        where = "for {} channels in, {} out and stride {}".format(*setting)
        if not isinstance(answer, nn.Module):
            raise NotYet(f"{where} it gives {describe(answer)}, and not a module such as nn.Identity()")
        judge_shortcut(answer, shortcut_reference(*setting), setting, where)


def judge_shortcut(mine: nn.Module, theirs: nn.Module, setting: tuple[int, int, int], where: str) -> None:
    """Give both the same numbers to learn, in order, and compare what they answer."""
    ours, wanted = list(mine.parameters()), list(theirs.parameters())
    shapes, expected = ([tuple(p.shape) for p in numbers] for numbers in (ours, wanted))
    if shapes != expected:
        have, want = (", ".join(map(str, sizes)) or "none" for sizes in (shapes, expected))
        raise NotYet(f"{where} its learned tensors have shapes {have}, and {want} was expected")
    with torch.no_grad():
        for a, b in zip(ours, wanted, strict=True):
            b.copy_(0.5 + torch.rand_like(b))
            a.copy_(b)
    for height, width in [(6, 6), (7, 5)]:
        x = torch.rand(2, setting[0], height, width)
        for mode in (True, False):
            mine.train(mode), theirs.train(mode)
            named = f"{where}, an input of {height}×{width} and {'training' if mode else 'eval'} mode it"
            equal(mine(x.clone()), theirs(x), named, 1e-4)
