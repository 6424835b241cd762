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
