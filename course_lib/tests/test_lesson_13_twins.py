"""What lesson 13 builds is what the library and the script of its tables use."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_code import assert_same_gradients, definitions

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "data" / "recipe"), str(PROJECT / "data")]

from recipe import ablate_robust  # noqa: E402

from course_lib import Augment, perturb  # noqa: E402
from course_lib.robustness import KINDS  # noqa: E402
from course_lib.transforms import jpeg  # noqa: E402


@pytest.fixture(scope="module")
def lesson():
    return definitions("13_break_it.ipynb")


def test_network(lesson):
    mine, twin = lesson.ThreeConvolutions(), ablate_robust.ThreeConvolutions()
    twin.load_state_dict(mine.state_dict())
    assert_same_gradients(mine, twin, torch.randn(4, 3, 32, 32))


def test_training(lesson):
    images = torch.randint(0, 256, (64, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    labels = torch.arange(64) % 2
    augment = Augment(scale=(0.6, 1.6), blur=0.35, noise=0.35, jpeg=0.7, quality=(30, 95))
    assert ablate_robust.VARIANTS["all of it"] == augment, "the augmentation of the lesson"
    mine = lesson.train(images, labels, augment, seed=2, updates=4)
    twin = ablate_robust.train(images, labels, augment, seed=2, updates=4)
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name])
    p = 1 / (1 + np.exp(-ablate_robust.answer(twin, ablate_robust.middles(images))))
    assert np.allclose(lesson.scores(mine, images), p)


def test_perturbations(lesson):
    image = torch.randint(0, 256, (3, 70, 70), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    for kind, what in KINDS.items():
        mine = lesson.jpeg if kind == "jpeg" else getattr(lesson, f"my_{kind}")
        for severity in what.severities:
            far = (mine(image, severity).int() - perturb(image, kind, severity).int()).abs().max()
            assert far <= (1 if kind == "blur" else 0), (kind, severity)  # sums in another order


def test_jpeg(lesson):
    image = torch.randint(0, 256, (3, 40, 40), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    assert torch.equal(lesson.jpeg(image, 50), jpeg(image, 50))


def test_tables_of_the_script():
    y = np.arange(40) % 2
    rng = np.random.default_rng(0)
    plain = {"clean 0": rng.normal(size=40) + 2 * y, "jpeg 50": rng.normal(size=40)}
    better = {"clean 0": plain["clean 0"], "jpeg 50": plain["jpeg 50"] + 5 * y}
    kinds = {"clean": ["clean 0"], "jpeg": ["jpeg 50"], "all kinds": ["jpeg 50"]}
    found = ablate_robust.gains(y, [(plain, better)] * 2, kinds)
    assert found["clean"] == (0, 0, 0)
    value, low, high = found["all kinds"]
    assert low <= value <= high and low > 0.2

    people = np.arange(20)
    answers = {"real": rng.normal(size=20), "same": rng.normal(size=20), "far": rng.normal(size=20) + 9}
    rows = ablate_robust.matrix_row("net", "far", ["same", "far"], [answers], [people])
    assert [row["judged"] for row in rows] == ["same", "far"]
    assert float(rows[1]["auc"]) == 1 and abs(float(rows[0]["auc"]) - 0.5) < 0.35
