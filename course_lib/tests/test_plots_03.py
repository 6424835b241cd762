"""The plots that lesson 03 brought: they return what they draw."""

import matplotlib

matplotlib.use("Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from course_lib import plots  # noqa: E402


def test_maps_come_back_as_they_were():
    maps = [torch.tensor([[1.0, -2.0]]), np.array([[3.0]]), torch.zeros(2, 2)]
    drawn = plots.show_maps(maps, ["a", "b", "c"], columns=2)
    assert [array.tolist() for array in drawn] == [[[1, -2]], [[3]], [[0, 0], [0, 0]]]
    with pytest.raises(ValueError, match="two dimensions"):
        plots.show_maps([torch.zeros(3)], ["a"])
    with pytest.raises(ValueError, match="titles"):
        plots.show_maps(maps, ["a"])


def test_a_curve_comes_back():
    assert plots.plot_curve([3, 2, 1], "t", "x", "y").tolist() == [3, 2, 1]
    assert plots.plot_curve([1e-3, 1e-5], "t", "x", "y", log=True).tolist() == [1e-3, 1e-5]


def test_the_ratio_of_spectra_is_fake_over_real_in_powers_of_two():
    real, fake = torch.full((8, 8), 2.0), torch.full((8, 8), 8.0)
    fake[0, 0] = 0.5
    ratio = plots.plot_spectra(real, fake)
    assert ratio[3, 3] == 2 and ratio[0, 0] == -2
