"""The JPEG slider of lesson 01, and the figures of the lesson; without a browser."""

import matplotlib

matplotlib.use("Agg")

import re  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from course_lib import DataError, JpegExplorer, load, plots  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW, keep_keys  # noqa: E402


@pytest.fixture(scope="module")
def faces():
    train = load("studio").train
    return [train.uint8(i) for i in range(2)]


@pytest.fixture
def explorer(faces):
    return JpegExplorer(faces)


def test_lower_quality_means_smaller_and_worse(explorer):
    shots = [explorer.at(quality) for quality in (95, 75, 40, 10)]
    sizes, errors = [shot["bytes"] for shot in shots], [shot["error"] for shot in shots]
    assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors)
    assert errors[0] < 1.5 and errors[-1] > 5
    for shot in shots:
        assert shot["raw"] == 128 * 128 * 3
        assert shot["error"] == pytest.approx(np.abs(shot["difference"]).mean())
        picture = shot["saved"].astype(int) - shot["difference"]
        assert (picture == explorer.pictures[0]).all()


def test_the_slider_and_the_choice_redraw_everything(explorer):
    before = [view.value for view in explorer._views] + [explorer.words.value]
    explorer.quality.value = 10
    after = [view.value for view in explorer._views] + [explorer.words.value]
    assert before[0] == after[0] and all(a != b for a, b in zip(before[1:], after[1:], strict=True))
    assert (
        "quality 10" in explorer.words.value and 'alt="The picture saved as JPEG of quality 10"' in after[1]
    )
    explorer.face.value = 1
    assert explorer._views[0].value != before[0]
    size = explorer.at(10, 1)["bytes"]
    assert f"{size:,} bytes instead of 49,152" in re.sub("<[^>]+>", "", explorer.words.value)


@pytest.mark.parametrize("quality", ["high", None, float("nan"), 0, 96, [50]])
def test_a_bad_quality_gets_a_sentence(explorer, quality):
    with pytest.raises(ValueError, match=r"^The quality is .*\.$"):
        explorer.at(quality)


@pytest.mark.parametrize(
    "images", [[], None, "text", 3, [1, 2], [np.zeros((4, 4))], [torch.zeros(1, 4, 4, dtype=torch.uint8)]]
)
def test_what_is_no_picture_gets_a_sentence(images):
    with pytest.raises(DataError, match="JpegExplorer takes a list"):
        JpegExplorer(images)


def test_show_gives_the_widget_and_four_qualities(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    explorer.show()
    assert set(shown[0]) == {WIDGET_VIEW, "image/png", "text/plain"}
    assert "95, 75, 40, 10" in shown[0]["text/plain"]
    assert not matplotlib.pyplot.get_fignums()


def test_keys_stay_inside_the_piece():
    value = keep_keys("some-piece", {"r": "some-button"}).value
    assert "data-lm-suppress-shortcuts" in value and "'r'" in value and "'.some-button'" in value
    assert value.count('"') == 2  # the handler is one attribute: a quote inside would end it


def test_figures_return_what_they_draw():
    tables = plots.show_numbers([np.eye(3, dtype=np.uint8), [[-0.2, 4.0]]], ["a", "b"])
    assert tables[1].tolist() == [[-0.2, 4.0]]
    patterns = np.random.default_rng(0).normal(size=(8, 8, 8, 8))
    assert (plots.show_patterns(patterns) == patterns).all()
    curves = plots.plot_lines([1, 2], {"real": [3, 4], "fake": [1, 2]}, "x", "y", xticks=[1, 2])
    assert curves["fake"].tolist() == [1, 2]
    assert not matplotlib.pyplot.get_fignums()
