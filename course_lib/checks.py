"""The checkers behind the exercises: ``from course_lib import check``, then ``check.NAME(my_answer)``.

A checker prints one of three verdicts and returns nothing:

* ``not attempted``: the stub is still there (``...`` or ``None``, a function that returns either of them or
  raises NotImplementedError);
* ``not yet, because …``: the first wrong case, with its shapes and values;
* ``correct``.

It never raises into a learner's face, and it never says *correct* unless every case was run and agreed.
This module is the kit; the exercises themselves stand in `exercises_see`, `exercises_convolve`,
`exercises_attend`, `exercises_train` and `exercises_use`, one module for each part of the course. To add an
exercise, write a judge there: a function of the learner's answer that raises `NotYet` if it is wrong.

    @exercise
    def double(mine):
        agrees(mine, lambda x: 2 * x, [(1,), (np.array([1.0, -3.0]),)])
"""

from __future__ import annotations

import copy
import difflib
import functools
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from importlib import import_module
from typing import Any

import numpy as np
import torch

PARTS = (
    "exercises_see",
    "exercises_convolve",
    "exercises_attend",
    "exercises_train",
    "exercises_judge",
    "exercises_explain",
    "exercises_use",
)
EXERCISES: dict[str, Callable[[Any], None]] = {}  # every checker by its name; the tests go through them


class NotAttempted(Exception):
    """The stub is still there."""


class NotYet(Exception):
    """What is wrong with an answer, worded to follow "not yet, because"."""


def blank(value: Any) -> bool:
    """True for what an untouched stub gives: ``...`` or ``None``."""
    return value is None or value is ...


def exercise(judge: Callable[[Any], None]) -> Callable[[Any], None]:
    """Turn a judge into a checker: ``check.NAME(answer)`` prints one verdict.

    It names a lesson's own ``NAME_solution``: nobody is to take that verdict for one on the answer above.
    """

    @functools.wraps(judge)
    def checker(mine: Any = ...) -> None:
        whose = "the solution: " if str(getattr(mine, "__name__", "")).endswith("_solution") else ""
        print(whose + verdict(judge, mine))

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
    mine, theirs = (as_array(value, what) for value in (answer, expected))
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
        array = np.asarray(value)
        if array.dtype.kind not in "biufcO":  # text that looks like a number is text all the same
            raise TypeError
        if array.dtype.kind == "c":
            if not np.allclose(array.imag, 0):  # 0 but for rounding after a Fourier transform and back
                raise TypeError
            array = array.real
        return array.astype(np.float64)
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


# ---- the exercises, found by name: check.random_crop is that of exercises_train ----


def all_exercises() -> dict[str, Callable[[Any], None]]:
    """Every checker of the course by its name."""
    for part in PARTS:
        import_module(f".{part}", __package__)
    return EXERCISES


def __getattr__(name: str) -> Callable[[Any], None]:
    if name.startswith("__"):
        raise AttributeError(name)
    if name in all_exercises():
        return EXERCISES[name]
    near = difflib.get_close_matches(name, EXERCISES, cutoff=0.4)
    hint = f" Did you mean check.{near[0]}?" if near else ""
    raise AttributeError(f"there is no exercise named {name!r}.{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *all_exercises()})
