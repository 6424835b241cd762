"""The plots return what they draw, and draw it without complaint."""

import matplotlib

matplotlib.use("Agg")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from course_lib import plots  # noqa: E402


def test_every_kind_of_picture_is_the_same_picture():
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for image in (array, Image.fromarray(array), tensor, tensor.float() / 255):
        assert (plots.as_picture(image) == array).all()


def test_faces_and_differences():
    faces = [torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (10, 20, 30, 40)]
    assert len(plots.show_faces(faces, ["a", "b", "c", "d"], columns=3)) == 4
    assert (plots.show_difference(faces, [face + 3 for face in faces]) == 3).all()
    with pytest.raises(ValueError, match="4 pictures and 1 titles"):
        plots.show_faces(faces, ["one"])


def test_curves_come_back():
    history = pd.DataFrame(
        {"epoch": [1, 2], "train_loss": [0.7, 0.3], "valid_loss": [0.6, 0.4], "valid_auc": [0.6, 0.9]}
    )
    assert plots.plot_history(history)["valid_auc"].tolist() == [0.6, 0.9]
    assert plots.plot_schedule([0.1, 0.2]).tolist() == [0.1, 0.2]
    assert plots.plot_losses([0.7, 0.1]).tolist() == [0.7, 0.1]
    counts = plots.plot_scores([0, 0, 1], [0.01, 0.02, 0.99])
    assert counts["real"][0] == 2 and counts["fake"][-1] == 1
    assert plots.plot_intervals([("coin", 0.5, 0.5, 0.5), ("net", 0.9, 0.8, 0.95)])[1].tolist() == [
        0.9,
        0.8,
        0.95,
    ]
    assert not matplotlib.pyplot.get_fignums()


def test_real_and_fake_as_mirrors_and_rings():
    counts = plots.plot_real_fake([1, 2, 2, 9], [3, 4], "bytes", "sizes", bins=4)
    assert counts["real"].tolist() == [3, 0, 0, 1] and counts["fake"].tolist() == [0, 2, 0, 0]
    difference = plots.plot_rings(np.zeros((3, 5)), np.ones((2, 5)) * np.arange(5))
    assert difference.tolist() == [0, 1, 2, 3, 4]
    assert not matplotlib.pyplot.get_fignums()


def test_gains_come_back_by_panel_on_one_axis(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "finish", figures.append)
    drawn = plots.plot_gains(
        {
            "seven seeds": [("ECA", 0.01, -0.02, 0.04), ("SE", -0.03, -0.05, -0.01)],
            "one": [("LC", 0.2, 0.1, 0.3)],
        }
    )
    assert drawn["one"].tolist() == [[0.2, 0.1, 0.3]] and drawn["seven seeds"][1].tolist() == [
        -0.03,
        -0.05,
        -0.01,
    ]
    [figure] = figures
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim() and first.get_xlim()[1] > 0.3 and sum(first.get_xlim()) == 0
    # names and dots stand at the same heights, the first row on top
    names = [label.get_text() for label in first.get_yticklabels()]
    heights = dict(zip(names, first.get_yticks(), strict=True))
    (dots,) = [line for line in first.lines if line.get_marker() == "o"]
    assert list(dots.get_xdata()) == [0.01, -0.03]
    assert list(dots.get_ydata()) == [heights["ECA"], heights["SE"]]
    assert heights["ECA"] > heights["SE"]
    assert {text.get_text() for text in first.texts} == {"+0.0100", "\u22120.0300"}
    matplotlib.pyplot.close(figure)


def test_a_detector_that_never_calls_has_no_alarms_to_look_into():
    figure = plots.base_rate_figure(0.0, 0.0, 0.02)
    titles = [axis.get_title("left") for axis in figure.axes]
    assert titles[1] == "no alarms"
    assert not figure.axes[1].collections, "there are no alarms, so no squares"
    alarms = plots.base_rate_figure(0.9, 0.1, 0.02)
    assert alarms.axes[1].get_title("left") == "100 alarms" and alarms.axes[1].collections
    for made in (figure, alarms):
        matplotlib.pyplot.close(made)
