"""The exercises of Part 4, "Train and judge" (lessons 11 to 15): what each answer must do to be correct."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from .checks import NotAttempted, NotYet, agrees, blank, describe, equal, exercise, run

# ---- lesson 11: train FaceNeSt ----


@exercise
def random_crop(mine: Any) -> None:
    """Lesson 11: ``mine(image, size)`` cuts a random square window out of a 3×height×width uint8 tensor."""
    image = torch.arange(3 * 6 * 7, dtype=torch.uint8).reshape(
        3, 6, 7
    )  # values occur once: a pixel names its place
    size, seen = 4, set()
    for draw in range(400):
        crop = run(mine, image, size)
        if blank(crop):
            if draw:
                raise NotYet(f"draw {draw + 1} gave {crop!r} instead of a crop")
            raise NotAttempted
        if not isinstance(crop, torch.Tensor):
            raise NotYet(f"it gives {describe(crop)}, and a torch tensor was expected")
        if tuple(crop.shape) != (3, size, size):
            raise NotYet(
                f"a crop of size 4 from (3, 6, 7) has shape {tuple(crop.shape)}, and (3, 4, 4) was expected"
            )
        if crop.dtype != torch.uint8:
            raise NotYet(
                f"the crop is {crop.dtype}, and the image was torch.uint8: a crop only copies pixels"
            )
        top, left = divmod(int(crop[0, 0, 0]), 7)
        if top > 2 or left > 3 or not torch.equal(crop, image[:, top : top + size, left : left + size]):
            row = crop[0, 0].tolist()
            raise NotYet(
                f"the crop that begins {row} is no window of the image: pixels were changed or moved"
            )
        seen.add((top, left))
    if len(seen) == 1:
        raise NotYet(f"400 draws all gave the window at row {top}, column {left}: it is not random")
    if missing := sorted({(r, c) for r in range(3) for c in range(4)} - seen):
        r, c = missing[0]
        raise NotYet(
            f"a 4×4 window has 12 places in 6×7 pixels, and 400 draws never gave row {r}, column {c}"
        )
    whole = run(mine, image[:, :, :6], 6)  # the crop may be as large as the image
    equal(whole, image[:, :, :6], "a crop of size 6 from 6×6 pixels")


def one_cycle_reference(step: int, total: int, peak: float, warm: float = 0.3) -> float:
    """One cycle with cosine ramps (Smith and Topin 2018, as in PyTorch): peak/25 → peak → peak/250,000."""
    last_warm = warm * total - 1
    if step <= last_warm:
        low, high, part = peak / 25, peak, step / last_warm
    else:
        low, high, part = peak, peak / 25 / 1e4, (step - last_warm) / (total - 1 - last_warm)
    return high + (low - high) * (1 + math.cos(math.pi * part)) / 2


@exercise
def one_cycle(mine: Any) -> None:
    """Lesson 11: ``mine(step, total, peak)`` is the learning rate of step 0 … total − 1."""
    cases = [(step, 100, 0.003) for step in (0, 29, 10, 30, 60, 99)] + [(3, 40, 1.0), (39, 40, 1.0)]
    agrees(mine, one_cycle_reference, cases, tolerance=1e-4, floor=0.0)  # a rate of 0 is not 1e-8


class TinyDetector(torch.nn.Module):
    """The smallest network with a FaceNeSt's interface: normalised B×3×H×W in, B logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.linear = torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x).relu().mean(dim=(2, 3))).squeeze(1)


def training_step_reference(model, optimizer, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Normalise, logits, loss, gradients from zero, their norm clipped at 1, one step; returns the loss."""
    logits = model((images.float() / 255 - 0.5) / 0.25)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@exercise
def training_step(mine: Any) -> None:
    """Lesson 11: ``mine(model, optimizer, images, labels)`` makes one step and returns the loss, a number."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    torch.manual_seed(11)
    learner = TinyDetector()
    with torch.no_grad():
        learner.linear.weight.mul_(40)  # gradients large enough that clipping matters
    theirs = copy.deepcopy(learner)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.5) for m in (learner, theirs)]
    for step in (1, 2, 3):
        images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
        labels = torch.tensor([0, 1, 1, 0, 1, 1])
        before = copy.deepcopy(learner.state_dict())
        answer = mine(learner, optimizers[0], images.clone(), labels.clone())
        right = training_step_reference(theirs, optimizers[1], images, labels)
        if blank(answer):
            if step == 1 and all(torch.equal(v, before[k]) for k, v in learner.state_dict().items()):
                raise NotAttempted
            raise NotYet("the step returned nothing: return the loss as a number (loss.item())")
        where = f"in step {step} (images {tuple(images.shape)}, labels {labels.tolist()})"
        equal(answer, right, f"{where} the loss", 1e-4)
        for name, value in theirs.state_dict().items():
            if torch.equal(learner.state_dict()[name], before[name]):
                raise NotYet(f"{where} the loss is right, but {name} did not move: backward and step?")
            equal(learner.state_dict()[name], value, f"after the update {where}, {name}", 1e-4)


def joint_moments_reference(means: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """Mean and variance (2 x C) of a batch from those of its equal parts (parts x C each)."""
    whole = means.mean(0)
    return torch.stack([whole, (variances + means**2).mean(0) - whole**2])


@exercise
def joint_moments(mine: Any) -> None:
    """Lesson 11: ``mine(means, variances)``, parts×C each → mean and variance of the whole batch, C each."""

    def both(means: torch.Tensor, variances: torch.Tensor) -> Any:
        answer = run(mine, means, variances)
        if blank(answer):
            return answer
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise NotYet(f"it gives {describe(answer)}, and two tensors were expected: mean, variance")
        if any(blank(part) for part in answer):
            raise NotYet("it gives two answers, and one of them is still empty")
        return answer

    draws = torch.randn(2, 3, 50, 4) * torch.tensor([1.0, 2.0, 5.0, 0.1]) + torch.randn(2, 3, 1, 4)
    cases = [(torch.tensor([[2.0], [6.0]]), torch.tensor([[1.0], [1.0]]))]
    cases += [(x.mean(1), x.var(1, correction=0)) for x in draws]
    answers = [both(*case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for number, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        told = "for means [[2], [6]] and variances [[1], [1]]" if not number else f"for {len(case[0])} parts"
        if blank(answer):
            raise NotYet(f"{told} it gives {answer!r}")
        for name, part, expected in zip(
            ("mean", "variance"), answer, joint_moments_reference(*case), strict=True
        ):
            equal(part, expected, f"{told} the {name}", 1e-3)
