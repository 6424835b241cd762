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
from html.parser import HTMLParser
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


# ---- lesson 16: the uploader ----


@exercise
def read_uploads(mine: Any) -> None:
    """Lesson 16: ``mine(value)`` turns both forms of ``FileUpload.value`` into a list of (name, bytes)."""
    files = [("face.jpg", b"\xff\xd8 one"), ("two words.png", b"\x89PNG two"), ("face.jpg", b"")]

    def tuple_form(pairs):  # ipywidgets 8
        return tuple({"name": n, "type": "", "size": len(c), "content": memoryview(c)} for n, c in pairs)

    def dict_form(pairs):  # ipywidgets 7
        return {n: {"metadata": {"name": n, "size": len(c)}, "content": c} for n, c in pairs}

    cases = [
        ("the tuple of ipywidgets 8 with two files", tuple_form(files[:2]), files[:2]),
        ("the dict of ipywidgets 7 with two files", dict_form(files[:2]), files[:2]),
        ("the tuple with two files of one name", tuple_form(files), files),
        ("the empty tuple", (), []),
        ("the empty dict", {}, []),
    ]
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    answers = [mine(value) for _, value, _ in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (what, _, expected), answer in zip(cases, answers, strict=True):
        if not isinstance(answer, list | tuple):
            raise NotYet(f"{what} gives {describe(answer)}, and a list of pairs was expected")
        if len(answer) != len(expected):
            raise NotYet(f"{what} gives {len(answer)} pairs, and {len(expected)} were expected")
        for pair, (name, content) in zip(answer, expected, strict=True):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise NotYet(f"{what} gives {describe(pair)} where a pair (name, bytes) was expected")
            if pair[0] != name:
                raise NotYet(f"{what} gives the name {pair[0]!r}, and {name!r} was expected")
            if not isinstance(pair[1], bytes):
                kind = type(pair[1]).__name__
                raise NotYet(f"{what} gives the content as {kind}: copy it into bytes with bytes(…)")
            if pair[1] != content:
                raise NotYet(f"{what} gives {pair[1]!r} for {name!r}, and {content!r} was expected")


def verdict_text_reference(p_fake: float, threshold: float) -> str:
    """FAKE and P(fake) from the threshold up, REAL and 1 − P(fake) below it, in per cent, one decimal."""
    word, p = ("FAKE", p_fake) if p_fake >= threshold else ("REAL", 1 - p_fake)
    return f"{word} {100 * p:.1f} %"


@exercise
def verdict_text(mine: Any) -> None:
    """Lesson 16: ``mine(p_fake, threshold)`` is "FAKE 98.8 %" or "REAL 97.1 %"."""
    cases = [(0.988, 0.5), (0.029, 0.5), (0.5, 0.5), (0.6, 0.7), (0.31, 0.3), (0.8804, 0.9)]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (p_fake, threshold), answer in zip(cases, answers, strict=True):
        expected = verdict_text_reference(p_fake, threshold)
        what = f"P(fake) = {p_fake} with the threshold {threshold}"
        if not isinstance(answer, str):
            raise NotYet(f"{what} gives {describe(answer)}, and the text {expected!r} was expected")
        answer = answer.replace("\u00a0", " ").replace("\u202f", " ")  # no-break spaces are welcome
        if answer != expected:
            raise NotYet(f"{what} gives {answer!r}, and {expected!r} was expected")


@exercise
def name_html(mine: Any) -> None:
    """Lesson 16: ``mine(name)`` is ``<b>name</b>`` in which no name, however hostile, becomes markup."""
    names = [
        "face.jpg",
        '<img src=x onerror="alert(1)">.jpg',
        "</b><script>boom</script>.png",
        "Tom & Ann's 5 > 4.jpg",
        "already &lt;escaped&gt; &amp; odd.jpg",
    ]
    answers = [run(mine, name) for name in names]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for name, answer in zip(names, answers, strict=True):
        if not isinstance(answer, str):
            raise NotYet(f"the name {name!r} gives {describe(answer)}, and a piece of HTML was expected")
        tags, text = as_browser(answer)
        if tags != ["b", "/b"]:
            raise NotYet(f"for the name {name!r} a browser sees the tags {tags}, and not just b and /b")
        if text != name:
            raise NotYet(f"for the name {name!r} a browser shows {text!r}: the name was changed")


def as_browser(markup: str) -> tuple[list[str], str]:
    """The tags in a piece of HTML, in order, and the text that a reader would see."""
    tags: list[str] = []
    text: list[str] = []
    parser = HTMLParser(convert_charrefs=True)
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.handle_endtag = lambda tag: tags.append(f"/{tag}")
    parser.handle_data = text.append
    parser.feed(markup)
    parser.close()
    return tags, "".join(text)
