"""The interactive pieces of lesson 12, without a browser."""

import matplotlib

matplotlib.use("Agg")

import html  # noqa: E402
import re  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from course_lib import BaseRateExplorer, ThresholdExplorer, plots, precision_at_prevalence  # noqa: E402
from course_lib.widgets_judge import base_rate_words, few_digits  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402


def text(widget) -> str:
    return html.unescape(re.sub("<[^>]+>", "", widget.value))


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    assert not plots.plt.get_fignums()


def test_the_published_base_rates():
    piece = BaseRateExplorer()
    assert "Of 10,000 pictures 100 are fakes and 9,900 are real" in text(piece.words)
    assert "Of its 148 alarms 98 are right: a precision of 66.4 %" in text(piece.words)
    piece.fields["fpr"].value = "5"
    assert "a precision of 16.5 %" in text(piece.words)
    assert piece.sliders["fpr"].value == 5
    piece.fields["fpr"].value = "4.4"  # between two stops: the slider goes near, the number stays
    assert (
        piece.sliders["fpr"].value == 5 and piece.values["fpr"] == 4.4 and piece.fields["fpr"].value == "4.4"
    )


def test_sliding_and_typing_agree():
    piece = BaseRateExplorer()
    piece.sliders["prevalence"].value = 20
    assert piece.fields["prevalence"].value == "20" and piece.frequencies["pictures"] == 1000
    assert piece.frequencies["precision"] == pytest.approx(precision_at_prevalence(0.98, 0.005, 0.2))
    piece.fields["prevalence"].value = "0,05"
    assert piece.values["prevalence"] == 0.05 and piece.frequencies["pictures"] == 1_000_000
    piece.sliders["tpr"].value = 0
    assert "calls 0 of the fakes fake" in text(piece.words) and piece.frequencies["precision"] == 0
    assert 'alt="Left the pictures' in piece.picture.value


@pytest.mark.parametrize("typed", ["many", "", "-1", "101", "nan", "inf", "1e999"])
@pytest.mark.parametrize("name", ["prevalence", "tpr", "fpr"])
def test_what_is_typed_wrongly_gets_a_sentence(name, typed):
    piece = BaseRateExplorer()
    before = dict(piece.values)
    piece.fields[name].value = typed
    if typed == "" and piece.fields[name].value != "":
        return
    assert "It is still" in text(piece.message) and piece.values == before
    piece.fields[name].value = "10"
    assert text(piece.message) == "" and piece.values[name] == 10


@pytest.mark.parametrize("odd", ["many", None, [], float("nan"), 2, -1])
def test_odd_beginnings_get_a_sentence(odd):
    for name in ("tpr", "fpr", "prevalence"):
        piece = BaseRateExplorer(**{name: odd})
        assert "It begins at" in text(piece.message)
        assert piece.values[name] == BaseRateExplorer.RANGES[name][2]


def test_words_without_alarms_and_with_few():
    assert base_rate_words(0, 0, 0.01).endswith("It raises no alarm at all.")
    assert "9,801 alarms" not in base_rate_words(0.5, 0.0001, 0.5)
    assert [few_digits(v) for v in (9405, 9.84, 0.0512, 50, 49.5, 3.0)] == [
        "9,405",
        "9.8",
        "0.051",
        "50",
        "50",
        "3",
    ]


def test_threshold_walks_down_the_ranking():
    piece = ThresholdExplorer()
    assert piece.counts.tolist() == [[4, 1], [1, 4]]
    assert "4 of 5 fakes found (TPR 0.80), 1 of 5 reals accused (FPR 0.20)" in text(piece.words)
    piece.field.value = "0.85"
    assert piece.counts.tolist() == [[5, 0], [3, 2]] and piece.slider.value == 0.85
    piece.slider.value = 1.0
    assert "Of the alarms, there are none" in text(piece.words) and piece.field.value == "1"
    assert "AUC 0.84" in piece.picture.value


@pytest.mark.parametrize("typed", ["half", "", "2", "-0.1", "nan"])
def test_a_threshold_typed_wrongly(typed):
    piece = ThresholdExplorer()
    piece.field.value = typed
    assert "It is still 0.5" in text(piece.message) and piece.threshold == 0.5
    piece.slider.value = 0.3
    assert text(piece.message) == ""


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([0, 1], [0.2], "2 labels but 1 scores"),
        ([1, 1], [0.2, 0.3], "All 2 images are fake"),
        (["real", "fake"], [0.2, 0.3], "the first label is 'real'"),
        ([0, 1], [0.2, np.nan], "NaN"),
        ("text", None, "must be numbers"),
        (np.arange(100) % 2, np.linspace(0, 1, 100), "at most 60"),
    ],
)
def test_scores_that_cannot_be_shown(y, p, words, capsys):
    piece = ThresholdExplorer(y, p)
    assert words in text(piece.children[0])
    piece.show()
    assert "Traceback" not in capsys.readouterr().out


def test_an_odd_threshold_to_begin_with():
    assert "It begins at 0.5" in text(ThresholdExplorer(threshold="half").message)


@pytest.mark.parametrize("make", [BaseRateExplorer, ThresholdExplorer])
def test_a_picture_stands_in_its_place(make, monkeypatch):
    shown = {}
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.update(data))
    make().show()
    assert set(shown) == {WIDGET_VIEW, "image/png", "text/plain"} and len(shown["text/plain"]) > 60


def test_no_letter_command_of_the_page_gets_in():
    for piece in (BaseRateExplorer(), ThresholdExplorer()):
        assert any("data-lm-suppress-shortcuts" in getattr(child, "value", "") for child in piece.children)
