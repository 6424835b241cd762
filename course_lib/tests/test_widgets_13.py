"""The explorer of lesson 13, without a browser."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib import Detector, Preprocessing, RobustnessExplorer, load, load_checkpoint, perturb
from course_lib.robustness import KINDS
from course_lib.widgets_judge import AS_IT_IS, p_bar, p_text


@pytest.fixture(scope="module")
def detector():
    return Detector(
        load_checkpoint("studio").model, Preprocessing(crop=48, crops=1), threshold=0.6, device="cpu"
    )


@pytest.fixture(scope="module")
def few():
    test = load("studio").test
    return test.subset(np.concatenate([np.flatnonzero(test.labels == y)[:3] for y in (0, 1)]))


def test_it_shows_what_it_says(detector, few):
    explorer = RobustnessExplorer(detector, few, "real", 2, "noise", 20)
    image = few.uint8(2)
    assert torch.equal(explorer.state["image"], perturb(image, "noise", 20))
    p = explorer.judged(perturb(image, "noise", 20))
    assert explorer.state["p_fake"] == p and explorer.state["p_before"] == explorer.judged(image)
    assert p_text(p) in explorer.words.value and 'alt="Real face number 2' in explorer.after.value
    verdict = "fake" if p >= 0.6 else "real"
    assert f"It says <b>{verdict}</b>" in explorer.words.value
    assert ("wrong" in explorer.words.value) == (verdict == "fake")


def test_every_kind_and_step(detector, few):
    explorer = RobustnessExplorer(detector, few)
    for kind, what in KINDS.items():
        explorer.kind.value = kind
        assert explorer.severity.value == AS_IT_IS, "another kind begins with the picture as it is"
        assert torch.equal(explorer.state["image"], explorer.image)
        for index, severity in enumerate(what.severities, 1):
            explorer.severity.index = index
            assert explorer.severity.value == severity
            assert torch.equal(explorer.state["image"], perturb(explorer.image, kind, severity))


def test_label_and_number(detector, few):
    explorer = RobustnessExplorer(detector, few, number=2)
    assert torch.equal(explorer.image, few.uint8(5))
    explorer.label.value = "real"
    assert torch.equal(explorer.image, few.uint8(2)) and explorer.number.max == 2


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"label": "maybe"}, "choose 'real' or 'fake'"),
        ({"label": None}, "choose 'real' or 'fake'"),
        ({"number": "x"}, "not a number"),
        ({"number": float("nan")}, "must be between"),
        ({"number": 99}, "between 0 and 2"),
        ({"number": None}, "not a number"),
        ({"kind": "melt"}, "there are jpeg"),
        ({"kind": ["jpeg"]}, "there are jpeg"),
        ({"kind": "blur", "severity": 17}, "for blur there are 0.4"),
        ({"severity": "strong"}, "for resize there are"),
        ({"severity": [1]}, "for resize there are"),
    ],
)
def test_odd_beginnings_get_a_sentence(detector, few, asked, words):
    explorer = RobustnessExplorer(detector, few, **asked)
    assert words in explorer.message.value.replace("&#x27;", "'")
    assert np.isfinite(explorer.state["p_fake"])


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"detector": "nobody"}, "There is no checkpoint"),
        ({"detector": None}, "Detector or a checkpoint"),
        ({"detector": 3.5}, "Detector or a checkpoint"),
        ({"dataset": [1, 2]}, "labels and uint8(i)"),
        ({"dataset": "studio"}, "labels and uint8(i)"),
    ],
)
def test_nothing_to_explore(detector, few, asked, words, capsys):
    explorer = RobustnessExplorer(**({"detector": detector, "dataset": few} | asked))
    assert words in explorer.children[0].value.replace("&#x27;", "'")
    explorer.show()  # a white strip, no traceback
    one_class = RobustnessExplorer(detector, few.subset(range(3)))
    assert "are real" in one_class.children[0].value


def test_bar():
    html = p_bar(0.25, 0.99, 0.5)
    assert 'aria-label="P(fake) 0.250; of the picture as it is 0.990; threshold 0.50"' in html
    assert "width:25.0%" in html
    assert [p_text(p) for p in (0.0001, 0.5, 0.9999)] == ["below 0.001", "0.500", "above 0.999"]


def test_static_figure(detector, few, capsys):
    figure = RobustnessExplorer(detector, few)._sheet()
    assert len(figure.axes) == 12
    assert figure.axes[0].get_title() == "real, as it is"
    assert figure.axes[9].get_title() == "fake, noise 20"
    assert all("P(fake)" in axis.get_xlabel() for axis in figure.axes)
    plt.close(figure)
