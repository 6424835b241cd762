"""The pictures of lesson 14 give back what they drew."""

import matplotlib

matplotlib.use("Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from course_lib import plots  # noqa: E402


def test_signed_maps(capsys):
    face, mask = torch.full((3, 40, 50), 90, dtype=torch.uint8), torch.zeros(40, 50, dtype=torch.bool)
    mask[5:20, 5:20] = True
    values = torch.zeros(40, 50)
    values[3, 3], values[30, 30] = 2.0, -3.0
    reaches = plots.show_signed_maps([face] * 3, [None, values, 0 * values], list("abc"), [None, mask, mask])
    assert np.isnan(reaches[0]) and reaches[1] == 3 and reaches[2] == 0
    for bad in ([face], [face] * 2):
        with pytest.raises(ValueError):
            plots.show_signed_maps(bad, [None] * 3, list("abc"))
    with pytest.raises(ValueError):
        plots.show_signed_maps([], [], [])


def test_shares_and_cascade():
    rows = [("one", 0.5, 0.4, 0.6), ("two", 0.1, 0.0, 0.2)]
    assert np.array_equal(plots.plot_shares(rows, {"chance": 0.05}), [[0.5, 0.4, 0.6], [0.1, 0.0, 0.2]])
    curves = plots.plot_cascade(["a", "b"], {"x": [1, 0.5], "y": [1, -0.2]}, "step", "value")
    assert curves["y"].tolist() == [1, -0.2]
