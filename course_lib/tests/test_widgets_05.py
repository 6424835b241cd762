"""The learning-rate finder, without a browser."""

import math

import numpy as np
import pytest

from course_lib import LearningRateFinder
from course_lib.widgets_convolve import rate_verdict

RATES = np.geomspace(1e-5, 10, 30)
LOSSES = np.where(RATES < 1e-3, math.log(2), np.where(RATES < 0.5, 0.4, 3.0))
TRIED = {1e-4: [0.7, 0.69, 0.69], 1e-2: [0.7, 0.5, 0.4], 1.0: [0.7, 2.0, 0.9]}


def short(rate):
    return [0.7, 0.6, 0.55] if rate < 0.1 else [0.7, 5.0, 2.0]


@pytest.fixture
def finder():
    return LearningRateFinder(RATES, LOSSES, dict(TRIED), train=short)


def page(widget) -> str:
    texts = [getattr(widget, "value", "") if isinstance(getattr(widget, "value", ""), str) else ""]
    return " ".join(texts + [page(child) for child in getattr(widget, "children", ())])


def test_starts_in_the_middle_and_says_so(finder):
    assert finder.chosen == 1e-2
    assert "0.01" in finder.verdict and "learns fast" in finder.verdict
    assert finder.verdict in page(finder)


def test_the_slider_changes_picture_words_and_verdict(finder):
    before = finder.view.value
    finder.slider.value = 1.0
    assert finder.chosen == 1.0 and "too large" in finder.verdict
    assert finder.view.value != before and "too large" in finder.view.value  # the alt text says it, too
    finder.slider.value = 1e-4
    assert "too small" in finder.verdict


@pytest.mark.parametrize("typed", ["0.05", " 0,05 ", "5e-2"])
def test_a_rate_of_ones_own_is_trained_once_and_joins_the_slider(finder, typed):
    finder.field.value = typed
    finder.button.click()
    assert finder.chosen == pytest.approx(0.05)
    assert [rate for _, rate in finder.slider.options] == sorted([*TRIED, 0.05])
    calls = []
    finder.train = calls.append
    finder.button.click()
    assert not calls and finder.remark.value == ""


@pytest.mark.parametrize("typed", ["fast", "", "nan", "inf", "-0.1", "0", "1e9", "<b>1</b>"])
def test_what_is_no_rate_gets_a_sentence(finder, typed):
    finder.field.value = typed
    finder.button.click()
    assert "The learning rate" in finder.remark.value and "<b>" not in finder.remark.value
    assert finder.chosen == 1e-2 and len(finder.slider.options) == 3


@pytest.mark.parametrize("train", [lambda rate: 1 / 0, lambda rate: None, lambda rate: "text", lambda: 1])
def test_a_training_that_fails_is_told_in_a_sentence(train):
    finder = LearningRateFinder(RATES, LOSSES, dict(TRIED), train=train)
    finder.button.click()
    assert "The training stopped with" in finder.remark.value
    assert not finder.button.disabled and finder.chosen == 1e-2


def test_losses_that_explode_are_drawn_all_the_same():
    finder = LearningRateFinder(RATES, LOSSES, {1.0: [0.7, math.inf, math.nan]})
    assert "too large" in finder.verdict and "999" in finder.verdict


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (None, None, None),
        ("text", LOSSES, TRIED),
        (RATES, LOSSES[:-1], TRIED),
        (-RATES, LOSSES, TRIED),
        (RATES, LOSSES, {}),
        (RATES, LOSSES, [1, 2]),
        (RATES, LOSSES, {"fast": [1, 2]}),
        (RATES, LOSSES, {0.1: "text"}),
        (RATES, LOSSES, {0.1: [1]}),
        (3, 4, 5),
    ],
)
def test_bad_arguments_get_a_sentence_on_the_page(arguments, capsys):
    finder = LearningRateFinder(*arguments)
    assert not finder.ready and len(page(finder)) > 30
    finder.show()


def test_without_a_training_function_there_is_no_field(finder):
    silent = LearningRateFinder(RATES, LOSSES, TRIED)
    assert silent.children[2].layout.display == "none" and finder.children[2].layout.display == "flex"


def test_the_static_figure_stands_in_the_same_output(finder, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    finder.show()
    assert set(shown[0]) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}


@pytest.mark.parametrize(
    "losses, word",
    [([0.7, 0.69], "too small"), ([0.7, 0.6], "it learns."), ([0.7, 0.3], "fast"), ([9, 0.3], "too large")],
)
def test_verdicts(losses, word):
    assert word in rate_verdict(0.01, losses)
