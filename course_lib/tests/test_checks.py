"""Mutation tests of the checkers: right answers pass, wrong ones are told why, nothing ever raises."""

from __future__ import annotations

import ast
import copy
import html
import json
import random
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import course_lib
from course_lib import check, checks, exercises_train, exercises_use
from course_lib.checks import all_exercises

STUBS = [..., None, lambda *_: ..., lambda *_: None]
NONSENSE = [
    3,
    "text",
    [1, 2],
    float("nan"),
    lambda: 1,
    lambda *_: "text",
    lambda *_: float("nan"),
    lambda *_: 1 / 0,
    lambda *_: [[1], [1, 2]],
    lambda *_: exit(1),
    np.zeros(3),
    torch.nn.Linear(1, 1),
]


def said(capsys, name: str, mine) -> str:
    """What ``check.name(mine)`` printed: always one line."""
    capsys.readouterr()
    assert getattr(check, name)(mine) is None
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def assert_checker(capsys, name: str, right: list, wrong: list) -> None:
    """The rule for every checker: two right answers pass, four or more wrong ones do not, stubs are stubs."""
    assert len(right) >= 2 and len(wrong) >= 4
    for mine in right:
        assert said(capsys, name, mine) == "correct"
    for mine in wrong + NONSENSE:
        assert said(capsys, name, mine).startswith("not yet, because "), mine
    for mine in STUBS:
        assert said(capsys, name, mine) == "not attempted"

    def unwritten(*_):
        raise NotImplementedError

    assert said(capsys, name, unwritten) == "not attempted"


def cut(image, size, top, left):
    return image[:, top : top + size, left : left + size]


def crop_reference(image, size):
    top = torch.randint(0, image.shape[1] - size + 1, ()).item()
    left = torch.randint(0, image.shape[2] - size + 1, ()).item()
    return cut(image, size, top, left)


def crop_with_python(image, size):
    return cut(
        image, size, random.randint(0, image.shape[1] - size), random.randint(0, image.shape[2] - size)
    ).clone()


def crop_same_offset(image, size):
    offset = random.randint(0, image.shape[1] - size)
    return cut(image, size, offset, offset)


def crop_off_by_one(image, size):
    return cut(
        image,
        size,
        random.randrange(max(1, image.shape[1] - size)),
        random.randrange(max(1, image.shape[2] - size)),
    )


def test_random_crop(capsys):
    wrong = [
        lambda image, size: torch.zeros(3, size, size, dtype=torch.uint8),
        lambda image, size: crop_reference(image, size) * 2,
        lambda image, size: crop_reference(image, size).transpose(1, 2),
        lambda image, size: crop_reference(image, size).flip(2),
        lambda image, size: crop_reference(image, size).flip(0),
        lambda image, size: crop_reference(image, size).float() / 255,
        lambda image, size: cut(image, size, 0, 0),
        lambda image, size: functional.interpolate(image[None].float(), size=(size, size))[0].to(torch.uint8),
        lambda image, size: image,
        lambda image, size: torch.randint(0, 255, (3, size, size), dtype=torch.uint8),
        crop_same_offset,
        crop_off_by_one,
    ]
    assert_checker(capsys, "random_crop", [crop_reference, crop_with_python], wrong)


def cycle_with_torch(step, total, peak):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=total)
    for _ in range(step):
        optimizer.step()
        schedule.step()
    return schedule.get_last_lr()[0]


def test_one_cycle(capsys):
    right = exercises_train.one_cycle_reference
    wrong = [
        lambda step, total, peak: 0.0,
        lambda step, total, peak: 2 * right(step, total, peak),
        lambda step, total, peak: right(total - 1 - step, total, peak),
        lambda step, total, peak: right(step, total, peak) + 1e-7,
        lambda step, total, peak: right(step, total, peak, warm=0.5),
        lambda step, total, peak: peak,
        lambda step, total, peak: right(step, 100, 0.003),
        lambda step, total, peak: [right(step, total, peak)],
    ]
    assert_checker(capsys, "one_cycle", [right, cycle_with_torch, lambda *a: np.float64(right(*a))], wrong)


def make_step(
    flip=False,
    scale=1.0,
    zero=True,
    step=True,
    clip=1.0,
    order=None,
    result=lambda loss: loss.item(),
    normal=True,
):
    """A training step with one thing wrong with it."""

    def mine(model, optimizer, images, labels):
        x = (images / 255 - 0.5) / 0.25 if normal else images / 255
        logits = model(x if order is None else x[order])
        targets = 1 - labels if flip else labels
        loss = scale * functional.binary_cross_entropy_with_logits(logits, targets.float())
        if zero:
            for parameter in model.parameters():
                parameter.grad = None
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        if step:
            optimizer.step()
        return result(loss)

    return mine


def broadcast_step(model, optimizer, images, labels):
    logits = model((images / 255 - 0.5) / 0.25)[:, None]
    loss = functional.binary_cross_entropy_with_logits(
        logits.expand(-1, len(labels)), labels.float().expand(len(labels), -1)
    )
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def test_training_step(capsys):
    wrong = [
        make_step(flip=True),
        make_step(scale=2.0),
        make_step(zero=False),
        make_step(step=False),
        make_step(clip=None),
        make_step(clip=5.0),
        make_step(normal=False),
        make_step(order=torch.arange(5, -1, -1)),
        make_step(result=lambda loss: 0.0),
        make_step(result=lambda loss: None),
        make_step(result=lambda loss: loss.repeat(2)),
        broadcast_step,
    ]
    assert_checker(capsys, "training_step", [exercises_train.training_step_reference, make_step()], wrong)


def pairs_from_either(value):
    if isinstance(value, dict):
        return [(name, file["content"]) for name, file in value.items()]
    return [(file["name"], file["content"].tobytes()) for file in value]


def pairs_by_loop(value):
    pairs = []
    for name in value:
        file = value[name] if isinstance(value, dict) else name
        pairs.append([file.get("name") or file["metadata"]["name"], bytes(file["content"])])
    return tuple(pairs)


def test_read_uploads(capsys):
    wrong = [
        lambda value: [(file["name"], bytes(file["content"])) for file in value],  # only version 8
        lambda value: [(name, file["content"]) for name, file in value.items()],  # only version 7
        lambda value: [(n, memoryview(c)) for n, c in pairs_from_either(value)],
        lambda value: [(c, n) for n, c in pairs_from_either(value)],
        lambda value: dict(pairs_from_either(value)),
        lambda value: list(dict(pairs_from_either(value)).items()),  # loses one of two files of one name
        lambda value: pairs_from_either(value)[:1],
        lambda value: pairs_from_either(value)[::-1],
        lambda value: [(n, c + b" ") for n, c in pairs_from_either(value)],
        lambda value: [n for n, _ in pairs_from_either(value)],
        lambda value: [],
    ]
    assert_checker(capsys, "read_uploads", [pairs_from_either, pairs_by_loop], wrong)


def test_verdict_text(capsys):
    wrong = [
        lambda p, t: f"FAKE {100 * p:.1f} %",
        lambda p, t: f"{'FAKE' if p >= t else 'REAL'} {100 * p:.1f} %",  # "REAL 2.9 %" for a sure real
        lambda p, t: f"FAKE {100 * p:.1f} %" if p >= 0.5 else f"REAL {100 - 100 * p:.1f} %",
        lambda p, t: f"FAKE {100 * p:.1f} %" if p > t else f"REAL {100 - 100 * p:.1f} %",
        lambda p, t: f"REAL {100 * p:.1f} %" if p >= t else f"FAKE {100 - 100 * p:.1f} %",
        lambda p, t: f"FAKE {100 * p:.0f} %" if p >= t else f"REAL {100 - 100 * p:.0f} %",
        lambda p, t: f"FAKE {p:.3f}" if p >= t else f"REAL {1 - p:.3f}",
        lambda p, t: "FAKE 0.0 %",
    ]
    right = [
        exercises_use.verdict_text_reference,
        lambda p, t: (f"FAKE {p:.1%}" if p >= t else f"REAL {1 - p:.1%}").replace("%", "\u00a0%"),
    ]
    assert_checker(capsys, "verdict_text", right, wrong)


def test_name_html(capsys):
    def by_hand(name):
        return "<b>" + name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "</b>"

    wrong = [
        lambda name: f"<b>{name}</b>",
        lambda name: html.escape(f"<b>{name}</b>"),
        lambda name: f"<b>{html.escape(html.escape(name))}</b>",
        lambda name: "<b>" + name.replace("<", "&lt;") + "</b>",  # forgets &, so "&lt;" becomes "<"
        lambda name: "<b>" + name.replace("<", "").replace(">", "") + "</b>",
        lambda name: f"<b>{name!r}</b>",
        lambda name: html.escape(name),
        lambda name: f"<i>{html.escape(name)}</i>",
        lambda name: "<b></b>",
    ]
    assert_checker(capsys, "name_html", [lambda name: f"<b>{html.escape(name)}</b>", by_hand], wrong)


def test_a_case_is_safe_from_the_learner(capsys):
    """Writing into the arguments neither changes the case nor earns a pass."""
    answer = "not yet, because for (ndarray of shape (3,)) it gives 0, and 3 was expected"

    @check.exercise
    def _sum(mine):
        check.agrees(mine, np.sum, [(np.ones(3),), (np.arange(4.0),)])

    def cheat(x):
        x[:] = 0
        return 0.0

    try:
        assert said(capsys, "_sum", cheat) == answer
        assert said(capsys, "_sum", np.sum) == "correct"
    finally:
        del check.EXERCISES["_sum"]


def test_random_state_is_left_alone(capsys):
    torch.manual_seed(5)
    np.random.seed(5)
    before = copy.deepcopy((torch.get_rng_state(), np.random.get_state()[1]))
    check.random_crop(crop_reference)
    assert torch.equal(before[0], torch.get_rng_state()) and (before[1] == np.random.get_state()[1]).all()


def reference_of(name: str):
    """The right answer to an exercise, where the library has it as ``NAME_reference``."""
    module = sys.modules[all_exercises()[name].__wrapped__.__module__]
    return getattr(module, f"{name}_reference", None)


@pytest.mark.parametrize("nothing", [None, ...])
@pytest.mark.parametrize("name", [name for name in sorted(all_exercises()) if reference_of(name)])
def test_an_answer_to_the_first_case_alone_was_an_attempt(capsys, name, nothing):
    """Who has written half of it is told which case has no answer, and not that nothing was attempted."""
    right, calls = reference_of(name), []

    def half(*case):
        calls.append(1)
        return right(*case) if len(calls) == 1 else nothing

    line = said(capsys, name, half)
    assert line.startswith("not yet, because ") and "your code stopped" not in line, line


@pytest.mark.parametrize("late", [1, 7])
def test_a_crop_that_is_missing_once_is_counted(capsys, late):
    draws = iter(range(1, 1000))
    line = said(capsys, "random_crop", lambda *case: None if next(draws) > late else crop_reference(*case))
    assert line == f"not yet, because draw {late + 1} gave None instead of a crop"


@pytest.mark.parametrize("name", sorted(check.all_exercises()))
def test_every_checker_survives_nonsense(capsys, name):
    for mine in NONSENSE:
        assert said(capsys, name, mine).startswith("not yet, because "), mine
    for mine in STUBS:
        assert said(capsys, name, mine) == "not attempted"


LESSONS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_solutions_in_the_lessons_are_correct(capsys, path):
    """A folded solution `my_NAME_solution` or `NAME_solution` gets *correct* from `check.NAME`."""
    space, solutions = {}, {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        solution = "solution" in cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "google.colab" in "".join(cell["source"]):
            continue
        body = ast.parse("".join(cell["source"])).body
        wanted = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)]
        exec(compile(ast.Module(wanted, []), path.name, "exec"), space)
        if solution:
            solutions |= {n.name: space[n.name] for n in wanted if isinstance(n, ast.FunctionDef)}
    exercises = {name.removeprefix("my_").removesuffix("_solution"): f for name, f in solutions.items()}
    assert len(set(exercises) & set(check.all_exercises())) >= 2
    for name in set(exercises) & set(check.all_exercises()):
        assert said(capsys, name, exercises[name]) == "the solution: correct", name


#  the kit to the letter -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (3.5, 3.0, "it gives 3.5, and 3 was expected"),
        ([1, 2, 4], [1, 2, 3], "it gives 4 at index [2], and 3 was expected"),
        ([[0, 1], [2, 2]], [[0, 1], [3, 3]], "it gives 2 at index [1, 0], and 3 was expected"),
        (1 / 3, 1.0, "it gives 0.333333, and 1 was expected"),
        (float("nan"), 1.0, "it gives nan, and 1 was expected"),
        ([1, 2], [1, 2, 3], "it has shape (2,), and (3,) was expected"),
        (np.ones((1, 3)), np.ones(3), "it has shape (1, 3), and (3,) was expected"),
        (None, 2.0, "it gives None instead of 2.0"),
        (..., np.ones(3), "it gives Ellipsis instead of ndarray of shape (3,)"),
        ("text", 1.0, "it gives str 'text', which is not made of numbers"),
        ("3", 3.0, "it gives str '3', which is not made of numbers"),
        ([[1], [1, 2]], 1.0, "it gives list [[1], [1, 2]], which is not made of numbers"),
        ({}, 1.0, "it gives dict {}, which is not made of numbers"),
        (torch.tensor([1 + 5j, 1]), [1, 1],
         "it gives Tensor of shape (2,), which is not made of numbers"),
    ],
)  # fmt: skip
def test_what_a_wrong_number_is_told(answer, expected, words):
    with pytest.raises(check.NotYet) as wrong:
        check.equal(answer, expected, "it")
    assert str(wrong.value) == words


def test_how_near_is_near_enough():
    for answer in (1 + 1.9e-5, 1 - 1.9e-5):  # a part in 100,000 and 0.00001 besides
        check.equal(answer, 1.0, "it")
    for answer in (1 + 2.1e-5, 1 - 2.1e-5):
        with pytest.raises(check.NotYet):
            check.equal(answer, 1.0, "it")
    check.equal(1000.009, 1000.0, "it")
    check.equal(1e-5, 0.0, "it")
    check.equal(1.4, 1.0, "it", 0.3, 0.2)
    with pytest.raises(check.NotYet):
        check.equal(1.4, 1.0, "it", floor=0.3)
    with pytest.raises(check.NotYet):
        check.equal(1.4, 1.0, "it", tolerance=0.3)
    for near in ({"tolerance": 0.5}, {"floor": 0.5}):
        check.agrees(lambda x: 1.4, lambda x: 1.0, [(0,)], **near)
    check.agrees(lambda x: 1 + 1.9e-5, lambda x: 1.0, [(0,)])
    with pytest.raises(check.NotYet):
        check.agrees(lambda x: 1 + 2.1e-5, lambda x: 1.0, [(0,)])
    check.equal(torch.ones(2, requires_grad=True), [1, 1], "it")
    check.equal([Fraction(1, 2), 3], [0.5, 3], "it")
    check.equal(np.fft.ifft(np.fft.fft([1.0, 2.0, 4.0])), [1, 2, 4], "it")


def test_a_function_is_judged_on_every_case():
    cases = [(1, 2.0), (np.ones(2), torch.zeros(1, 3))]
    with pytest.raises(check.NotYet) as wrong:
        check.agrees(lambda a, b: 0 if isinstance(a, int) else 1, lambda a, b: 0, cases)
    assert str(wrong.value) == (
        "for (ndarray of shape (2,), Tensor of shape (1, 3)) it gives 1, and 0 was expected"
    )
    with pytest.raises(check.NotYet) as wrong:
        check.agrees(lambda a, b: None if isinstance(a, int) else 0, lambda a, b: 0, cases)
    assert str(wrong.value) == "for (1, 2.0) it gives None instead of 0"
    with pytest.raises(check.NotAttempted):
        check.agrees(lambda a, b: None, lambda a, b: 0, cases)
    with pytest.raises(check.NotYet) as wrong:
        check.run("text", 1)
    assert str(wrong.value) == "the answer is to be a function, and this is str 'text'"


def test_neither_the_answer_nor_the_reference_can_spoil_a_case():
    def spoils(x):
        x += 1
        return x.sum()

    case = np.zeros(3)
    check.agrees(spoils, spoils, [(case,), (case,)])
    assert case.tolist() == [0, 0, 0]
    assert check.run(spoils, case) == 3 and case.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (3, "3"),
        (0.5, "0.5"),
        (True, "True"),
        ("word", "str 'word'"),
        ([1, 2], "list [1, 2]"),
        (None, "NoneType None"),
        (np.zeros((2, 3)), "ndarray of shape (2, 3)"),
        (torch.zeros(4), "Tensor of shape (4,)"),
        (torch.tensor(2), "Tensor tensor(2)"),
        (np.float64(2), "np.float64(2.0)"),
        ("x" * 38, f"str '{'x' * 38}'"),
        ("x" * 39, f"str '{'x' * 36}..."),
        (10**39, f"{10**39}"),
        (10**40, f"1{'0' * 36}..."),
    ],
)
def test_values_are_named_in_few_words(value, name):
    assert check.describe(value) == name


def verdict_of(mine):
    def judge(answer):
        answer()

    return check.verdict(judge, mine)


def raiser(error):
    def mine():
        raise error

    return mine


@pytest.mark.parametrize(
    ("mine", "says"),
    [
        (None, "not attempted"),
        (..., "not attempted"),
        (raiser(NotImplementedError()), "not attempted"),
        (raiser(check.NotAttempted()), "not attempted"),
        (raiser(check.NotYet("it is blue")), "not yet, because it is blue"),
        (raiser(NotImplementedError("on this device")),
         "not yet, because your code stopped with NotImplementedError: on this device"),
        (raiser(ValueError("\n first \nsecond")),
         "not yet, because your code stopped with ValueError: first "),
        (raiser(ValueError()), "not yet, because your code stopped with ValueError: no message"),
        (raiser(SystemExit(3)), "not yet, because your code stopped with SystemExit: 3"),
        (lambda: None, "correct"),
    ],
)  # fmt: skip
def test_the_verdicts(mine, says):
    assert verdict_of(mine) == says


def test_an_interrupt_is_no_verdict():
    with pytest.raises(KeyboardInterrupt):
        verdict_of(raiser(KeyboardInterrupt()))


def test_every_verdict_starts_from_one_seed_with_gradients():
    drawn = []

    def draws():
        drawn.append((torch.rand(1).item(), torch.is_grad_enabled()))
        np.random.seed(99)

    with torch.no_grad():
        np.random.seed(1)
        before = np.random.get_state()[1].copy()
        verdict_of(draws)
        torch.rand(1)
        verdict_of(draws)
    torch.manual_seed(0)
    assert drawn == [(torch.rand(1).item(), True)] * 2
    assert (np.random.get_state()[1] == before).all()


def test_what_a_browser_makes_of_markup():
    assert check.as_browser("<b>a &amp; b</b><br><i>c</i>") == (["b", "/b", "br", "i", "/i"], "a & bc")
    assert check.as_browser("a < b") == ([], "a < b")


def test_exercises_are_found_by_name():
    names = dir(check)
    assert names == sorted(names) and {"random_crop", "verdict", "equal"} <= set(names)
    assert len(names) == len(set(names)) and check.random_crop is check.all_exercises()["random_crop"]
    for name, words in (
        ("random_crap", "there is no exercise named 'random_crap'. Did you mean check.random_crop?"),
        ("crop", "there is no exercise named 'crop'. Did you mean check.random_crop?"),
        ("zqx", "there is no exercise named 'zqx'."),
        ("__wrapped__", "__wrapped__"),
    ):
        with pytest.raises(AttributeError) as error:
            getattr(check, name)
        assert str(error.value) == words


def test_a_part_that_nobody_has_imported_is_looked_through_too(monkeypatch):
    monkeypatch.setattr(checks, "EXERCISES", {})
    monkeypatch.setattr(course_lib, "exercises_use", exercises_use)  # put back afterwards
    monkeypatch.delitem(sys.modules, "course_lib.exercises_use")
    assert "read_uploads" in all_exercises()
