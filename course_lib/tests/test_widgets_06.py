"""The chain of gradients of lesson 06, and the lesson's figure; without a browser."""

import matplotlib

matplotlib.use("Agg")

import math  # noqa: E402
import re  # noqa: E402

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from course_lib import GradientChain, plots  # noqa: E402
from course_lib.widgets_attend import chain, chain_figure, one_plus, short  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402


@pytest.mark.parametrize("slope, steps", [(0.5, 10), (0.0, 3), (-1.0, 4), (2.0, 24), (0.05, 1)])
def test_the_chain_is_a_product_of_its_steps(slope, steps):
    for shortcut in (False, True):
        values = chain(slope, steps, shortcut)
        assert len(values) == steps + 1 and values[-1] == 1
        for before, after in zip(values, values[1:], strict=False):
            assert math.isclose(before, after * (slope + shortcut), rel_tol=1e-9)


def test_sliders_redraw_picture_words_and_alt_text():
    piece = GradientChain()
    assert "(0.5)<sup>10</sup> = <b>0.00098</b>" in piece.words.value
    assert "(1 + 0.5)<sup>10</sup> = <b>58</b>" in piece.words.value
    before = piece.picture.value
    piece.slope.value = -1.0
    piece.steps.value = 4
    assert piece.picture.value != before
    assert (
        'alt="4 steps of slope −1. Gradient at the input: plain 1, with shortcuts 0.' in piece.picture.value
    )
    assert piece.gradients == {"plain": [1, -1, 1, -1, 1], "with shortcuts": [0, 0, 0, 0, 1]}


@pytest.mark.parametrize("bad", ["text", None, float("nan"), [1], 99, -99, {}])
def test_bad_starts_get_a_sentence(bad):
    piece = GradientChain(slope=bad, steps=bad)
    note = re.sub("<[^>]+>", "", piece.children[0].value)
    assert note.count("It begins at") == 2
    assert (piece.slope.value, piece.steps.value) == (0.5, 10)


def test_half_a_step_gets_a_sentence():
    assert "steps is 2.5, which is not a whole number." in GradientChain(steps=2.5).children[0].value


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("slope", "half", "slope is 'half', which is not a number."),
        ("slope", "", "slope is '', which is not a number."),
        ("slope", "3", "slope is 3; it must be between -2 and 2."),
        ("slope", "<b>x</b>", "slope is '&lt;b&gt;x&lt;/b&gt;', which is not a number."),
        ("steps", "ten", "steps is 'ten', which is not a number."),
        ("steps", "nan", "steps is nan; it must be between 1 and 24."),
        ("steps", "2.5", "steps is 2.5, which is not a whole number."),
    ],
)
def test_a_word_typed_into_a_field_gets_a_sentence(name, text, words):
    piece = GradientChain(slope=-0.5, steps=4)
    before = piece.picture.value
    piece.fields[name].value = text
    assert words in piece.message.value.replace("&#x27;", "'")
    assert f"The chain still has {name} {-0.5 if name == 'slope' else 4}." in piece.message.value
    assert piece.picture.value == before and (piece.slope.value, piece.steps.value) == (-0.5, 4)
    piece.slope.value = 0.25  # whoever moves a slider is done with the sentence, and the field follows
    assert piece.message.value == "" and piece.fields["slope"].value == "0.25"
    assert piece.fields["steps"].value == "4"


def test_a_number_typed_into_a_field_moves_its_slider():
    piece = GradientChain()
    piece.fields["slope"].value = "\u22120,5"
    piece.fields["steps"].value = " 3 "
    assert (piece.slope.value, piece.steps.value, piece.message.value) == (-0.5, 3, "")
    assert [field.value for field in piece.fields.values()] == ["-0.5", "3"]
    assert piece.gradients["plain"] == [-0.125, 0.25, -0.5, 1]


def test_no_slider_has_a_field_that_drops_words_and_keys_stay_inside():
    piece = GradientChain()
    assert not piece.slope.readout and not piece.steps.readout
    assert "course-chain" in piece._dom_classes and ".course-chain" in piece.children[-1].value


def test_a_static_figure_stands_in_its_place(monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    GradientChain().show()
    assert set(shown[0]) == {WIDGET_VIEW, "image/png", "text/plain"}


@pytest.mark.parametrize("slope", [0.0, -1.0, 2.0, -2.0, 0.5])
def test_every_place_of_both_chains_is_drawn(slope):
    """Once as a dot where the gradient is, or as a cross where it is exactly 0."""
    figure = chain_figure(slope, 6)
    plt.close(figure)
    for axis, shortcut in zip(figure.axes, (False, True), strict=True):
        dots, crosses = (line.get_xydata() for line in axis.lines[:2])
        assert sorted([*dots[:, 0], *crosses[:, 0]]) == list(range(7))
        values = np.abs(chain(slope, 6, shortcut))
        assert np.allclose(10 ** dots[:, 1], values[values > 0])
        assert len(crosses) == (values == 0).sum()


def test_numbers_are_written_short():
    assert [short(v) for v in (0, 1.5**10, 0.5**10, -1, 2.0**24)] == ["0", "58", "0.00098", "−1", "1.7e+07"]
    assert one_plus(0.5) == "1 + 0.5" and one_plus(-0.5) == "1 − 0.5"


def test_plot_by_depth_returns_what_it_drew():
    curves = {"a": [[0.9, 0.92], [0.5, 0.6]], "b": [[0.9, 0.9], [0.95, 0.97]]}
    drawn = plots.plot_by_depth(curves, [2, 24])
    assert set(drawn) == {"a", "b"} and np.array_equal(drawn["a"], curves["a"])
