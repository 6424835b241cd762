"""The checkers behind the exercises: ``from course_lib import check``, then ``check.NAME(my_answer)``.

A checker prints one of three verdicts and returns nothing:

* ``not attempted``: the stub is still there (``...`` or ``None``, a function that returns either of them or
  raises NotImplementedError);
* ``not yet, because …``: the first wrong case, with its shapes and values;
* ``correct``.

It never raises into a learner's face, and it never says *correct* unless every case was run and agreed.
To add an exercise, write a judge: a function of the learner's answer that raises `NotYet` if it is wrong.

    @exercise
    def double(mine):
        agrees(mine, lambda x: 2 * x, [(1,), (np.array([1.0, -3.0]),)])
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

EXERCISES: dict[str, Callable[[Any], None]] = {}  # every checker by its name; the tests go through them


class NotAttempted(Exception):
    """The stub is still there."""


class NotYet(Exception):
    """What is wrong with an answer, worded to follow "not yet, because"."""


def blank(value: Any) -> bool:
    """True for what an untouched stub gives: ``...`` or ``None``."""
    return value is None or value is ...


def exercise(judge: Callable[[Any], None]) -> Callable[[Any], None]:
    """Turn a judge into a checker: ``check.NAME(answer)`` prints one verdict."""

    @functools.wraps(judge)
    def checker(mine: Any = ...) -> None:
        print(verdict(judge, mine))

    EXERCISES[judge.__name__] = checker
    return checker


def verdict(judge: Callable[[Any], None], mine: Any) -> str:
    """The one line a checker prints. torch's and NumPy's random states are left as they were."""
    if blank(mine):
        return "not attempted"
    numpy_state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            judge(mine)
    except NotAttempted:
        return "not attempted"
    except NotYet as wrong:
        return f"not yet, because {wrong}"
    except (Exception, SystemExit) as error:  # the learner's own code stopped: say so in a sentence
        if isinstance(error, NotImplementedError) and not str(
            error
        ):  # a stub's bare raise; torch's has words
            return "not attempted"
        first_line = (str(error).strip().splitlines() or ["no message"])[0]
        return f"not yet, because your code stopped with {type(error).__name__}: {first_line}"
    finally:
        np.random.set_state(numpy_state)
    return "correct"


# ---- helpers for judges ----


def run(mine: Any, *args: Any) -> Any:
    """Call the learner's function on copies of ``args``: it cannot change the case it is judged by."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    return mine(*copy.deepcopy(args))


def agrees(
    mine: Any, reference: Callable, cases: Sequence[tuple], tolerance: float = 1e-5, floor: float = 1e-5
) -> None:
    """Judge a function against ``reference`` on every case (a tuple of arguments)."""
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        expected = reference(*copy.deepcopy(case))
        equal(answer, expected, f"for ({', '.join(describe(x) for x in case)}) it", tolerance, floor)


def equal(answer: Any, expected: Any, what: str, tolerance: float = 1e-5, floor: float = 1e-5) -> None:
    """Raise `NotYet` unless ``answer`` (number, array, tensor, list) is of the shape of ``expected``
    and differs by at most ``floor + tolerance·|expected|`` everywhere.
    """
    if blank(answer):
        raise NotYet(f"{what} gives {answer!r} instead of {describe(expected)}")
    mine, theirs = as_array(answer, what), as_array(expected, what)
    if mine.shape != theirs.shape:
        raise NotYet(f"{what} has shape {mine.shape}, and {theirs.shape} was expected")
    wrong = ~np.isclose(mine, theirs, rtol=tolerance, atol=floor)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        at = f" at index {list(place)}" if place else ""
        raise NotYet(f"{what} gives {mine[place]:.6g}{at}, and {theirs[place]:.6g} was expected")


def as_array(value: Any, what: str) -> np.ndarray:
    """Numbers of any make as a float64 array; anything else is a `NotYet`."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"{what} gives {describe(value)}, which is not made of numbers") from None


def describe(value: Any) -> str:
    """A short name for a value: its shape if it has one, else its type and what fits of it."""
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim:
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    text = repr(value)
    if len(text) > 40:
        text = text[:37] + "..."
    return text if isinstance(value, int | float) else f"{type(value).__name__} {text}"


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
