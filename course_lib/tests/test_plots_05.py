"""The pictures of lessons 04 and 05 give back what they drew."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib import plots


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    assert not plt.get_fignums()  # every figure was closed


def test_curves_come_back_by_name():
    drawn = plots.plot_curves({"a": [1, 2, 3], "b": [3.0, 2.0]}, "title", guess=0.69, logarithmic=True)
    assert list(drawn) == ["a", "b"]
    assert drawn["a"].tolist() == [1, 2, 3]


def test_running_mean_counts_what_is_there():
    assert plots.running_mean([2, 4, 6, 8], 2).tolist() == [2, 3, 5, 7]
    assert plots.running_mean([5.0], 10).tolist() == [5]


def test_four_pictures():
    drawn = plots.plot_four_pictures(
        [("A", [1, 0.5], [1, 0.6]), ("B", [0.7], [np.nan]), ("C", [9, 9], [9, 9])]
    )
    assert [title for title, *_ in drawn] == ["A", "B", "C"]
    assert drawn[0][2].tolist() == [1, 0.6]


def test_seeds_come_back_as_rows():
    values = plots.plot_seeds([("one", [0.9, 0.8, 0.7]), ("two", [0.5, 0.6, 0.7])])
    assert values.shape == (2, 3) and values[1, 0] == 0.5


def test_rate_figure_marks_the_chosen_rate():
    figure = plots.rate_figure([1e-3, 1e-2, 1e-1], [0.7, 0.5, 2.0], {0.01: [0.7, 0.4]}, 0.01)
    left, right = figure.axes
    assert any(line.get_xdata()[0] == 0.01 for line in left.lines)
    assert right.get_legend().get_texts()[0].get_text() == "rate 0.01"
    plt.close(figure)
