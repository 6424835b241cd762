"""Perturbations, severity curves and their drawings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from course_lib import (
    Detector,
    Perturbed,
    Preprocessing,
    paired_bootstrap,
    perturb,
    plots,
    roc_auc,
    severity_curve,
)
from course_lib.errors import CourseError, DataError, ModelInputError
from course_lib.robustness import KINDS, curve_of


def picture(side: int = 48, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8)


class Toy:
    """Fakes carry upright stripes of period 2; reals do not."""

    def __init__(self, n: int = 40, side: int = 40) -> None:
        self.labels = np.arange(n) % 2
        self.side = side

    def __len__(self) -> int:
        return len(self.labels)

    def uint8(self, i: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(100 + i)
        image = 128 + 12 * torch.randn(3, self.side, self.side, generator=generator)
        image += 20 * self.labels[i] * (torch.arange(self.side) % 2 - 0.5)
        return image.clamp(0, 255).to(torch.uint8)


class Stripes(nn.Module):
    """The energy of upright stripes of period 2, as a logit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = x[..., 1:-1] * 2 - x[..., :-2] - x[..., 2:]
        return 40 * (step.mean(dim=(1, 2)).square().mean(dim=1) - 0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_function_of_its_arguments(kind):
    image = picture()
    for severity in KINDS[kind].severities:
        before = image.clone()
        changed = perturb(image, kind, severity, seed=3)
        assert changed.dtype == torch.uint8 and changed.ndim == 3 and changed.shape[0] == 3
        assert torch.equal(changed, perturb(image, kind, severity, seed=3)), "twice the same"
        assert torch.equal(image, before), "the picture itself stays"
        assert not torch.equal(changed, image)
        if kind != "resize":
            assert changed.shape == image.shape
    low, high = KINDS[kind].low, KINDS[kind].high
    assert all(low <= s <= high for s in KINDS[kind].severities)


def test_severities_that_do_nothing():
    image = picture()
    for kind, nothing in (("blur", 0), ("noise", 0), ("resize", 1), ("zoom", 1), ("shift", 0), ("rotate", 0)):
        assert torch.equal(perturb(image, kind, nothing), image), kind


def test_seed_decides_noise_and_nothing_else():
    image = picture()
    assert not torch.equal(perturb(image, "noise", 5, 0), perturb(image, "noise", 5, 1))
    assert torch.equal(perturb(image, "jpeg", 50, 0), perturb(image, "jpeg", 50, 1))
    grain = perturb(torch.full((3, 128, 128), 128, dtype=torch.uint8), "noise", 10).float() - 128
    assert abs(grain.std().item() - 10) < 0.2 and abs(grain.mean().item()) < 0.2


def test_shifts_on_paper():
    row = torch.tensor([10, 20, 10, 20, 10, 20, 10, 20], dtype=torch.uint8).expand(3, 8, 8)
    assert perturb(row, "shift", 1)[0, 0].tolist() == [10, 10, 20, 10, 20, 10, 20, 10]
    assert perturb(row, "shift", 0.5)[0, 0].tolist() == [10, 15, 15, 15, 15, 15, 15, 15]
    assert perturb(row, "shift", 1.5)[0, 0].tolist() == [10, 10, 15, 15, 15, 15, 15, 15]


def test_sizes():
    assert perturb(picture(100), "resize", 0.5).shape == (3, 50, 50)
    assert perturb(picture(40), "resize", 0.25).shape == (3, 32, 32), "no smaller than can be judged"
    tall = torch.zeros(3, 60, 40, dtype=torch.uint8)
    assert perturb(tall, "rotate", 90).shape == (3, 40, 60)
    assert perturb(tall, "rotate", 45).shape == (3, 60, 40)
    flat = torch.full((3, 64, 64), 77, dtype=torch.uint8)
    for kind in ("blur", "resize", "zoom", "shift", "rotate"):
        for severity in KINDS[kind].severities:
            changed = perturb(flat, kind, severity).float()
            assert (changed - 77).abs().max() <= 1, "an even picture stays even, corners too"


@pytest.mark.parametrize(
    "image, kind, severity",
    [
        (picture().float() / 255, "jpeg", 50),
        (picture()[None], "jpeg", 50),
        (picture()[:1], "jpeg", 50),
        (torch.full((3, 32, 32), math.nan), "blur", 1),
        ("text", "blur", 1),
        (None, "blur", 1),
        ([1, 2], "blur", 1),
        (picture()[:, :4], "blur", 1),
        (picture(), "sharpen", 1),
        (picture(), None, 1),
        (picture(), ["jpeg"], 1),
        (picture(), "jpeg", 0),
        (picture(), "jpeg", 50.5),
        (picture(), "jpeg", True),
        (picture(), "noise", math.nan),
        (picture(), "noise", "5"),
        (picture(), "noise", None),
        (picture(), "resize", 2),
        (picture(), "zoom", 0.5),
    ],
)
def test_bad_input_is_said_in_one_sentence(image, kind, severity):
    with pytest.raises((DataError, ModelInputError)) as error:
        perturb(image, kind, severity)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_perturbed_data_set():
    toy = Toy()
    both = Perturbed(toy, "noise", 20, seed=1)
    assert len(both) == len(toy) and (both.labels == toy.labels).all()
    assert torch.equal(both.uint8(3), both.uint8(3))
    grains = [both.uint8(i).float() - toy.uint8(i).float() for i in (0, 2)]
    assert not torch.equal(*grains), "each picture has its own grain"
    reals = Perturbed(toy, "jpeg", 30, only=0)
    assert torch.equal(reals.uint8(1), toy.uint8(1)) and not torch.equal(reals.uint8(0), toy.uint8(0))
    for bad in ("real", 2, 1.5):
        with pytest.raises(DataError, match="only is None"):
            Perturbed(toy, "jpeg", 30, only=bad)


def test_severity_curve_by_hand():
    middle = Preprocessing(crop=32, crops=1)  # without the edge, which a shift repeats
    toy, detector = Toy(side=48), Detector(Stripes(), middle, threshold=0.4, device="cpu")
    curve = severity_curve(detector, toy, "shift", [0.5, 1], n_bootstrap=100)
    assert curve.steps == ["as it is", "0.5", "1"] and curve.unit == "pixels"
    assert curve.scores.shape == (3, len(toy))
    assert np.allclose(curve.auc, [roc_auc(toy.labels, row) for row in curve.scores])
    assert curve.auc[0] == 1 and curve.auc[2] == 1, "a whole pixel moves the stripes and keeps them"
    assert curve.auc[1] < 0.9, "half a pixel mixes neighbours"
    expected = paired_bootstrap(roc_auc, toy.labels, curve.scores[0], curve.scores[1], n=100)
    assert np.allclose((curve.loss[1], curve.loss_low[1], curve.loss_high[1]), expected)
    assert curve.loss[0] == curve.loss_low[0] == curve.loss_high[0] == 0
    called = curve.scores >= 0.4
    y = toy.labels
    assert np.allclose(curve.accuracy, (called == y).mean(axis=1))
    assert np.allclose(curve.reals_accused, called[:, y == 0].mean(axis=1))
    assert np.allclose(curve.fakes_missed, 1 - called[:, y == 1].mean(axis=1))
    again = severity_curve(detector, toy, "shift", [0.5, 1], n_bootstrap=100)
    assert np.array_equal(curve.scores, again.scores) and np.array_equal(curve.auc_low, again.auc_low)


def test_severity_curve_refuses():
    toy, detector = Toy(), Detector(Stripes(), device="cpu")
    one_class = Toy()
    one_class.labels = np.zeros(40, dtype=int)
    for call, words in [
        (lambda: severity_curve(Stripes(), toy, "jpeg"), "needs a Detector"),
        (lambda: severity_curve(detector, toy, "melt"), "no perturbation 'melt'"),
        (lambda: severity_curve(detector, toy, "jpeg", []), "severities is empty"),
        (lambda: severity_curve(detector, toy, "jpeg", "50"), "a list of numbers"),
        (lambda: severity_curve(detector, toy, "jpeg", 50), "a list of numbers"),
        (lambda: severity_curve(detector, toy, "jpeg", [50, math.nan]), "severity of 'jpeg'"),
        (lambda: severity_curve(detector, one_class, "jpeg", [50]), "are real"),
        (lambda: curve_of("jpeg", [50], [0, 1], [[0.1, 0.9]]), "one more row"),
        (lambda: curve_of("jpeg", [50], [0, 1], [[0.1, math.nan], [0.2, 0.3]]), "NaN"),
        (lambda: curve_of("jpeg", [50], [0, 1, 1], [[0.1, 0.9], [0.2, 0.3]]), "scores"),
    ]:
        with pytest.raises(CourseError, match=words):
            call()


def test_ten_images_and_doubles():
    toy = Toy(10)
    curve = severity_curve(Detector(Stripes(), device="cpu"), toy, "noise", [60], n_bootstrap=50)
    assert (curve.auc_low <= curve.auc).all() and (curve.auc <= curve.auc_high).all()
    scores = [[0.5] * 10, [0.5] * 10]
    level = curve_of("noise", [5], toy.labels, scores, n_bootstrap=20)
    assert level.auc.tolist() == [0.5, 0.5] and level.loss_high.tolist() == [0, 0]


def some_curve(kind: str, worse: float) -> object:
    y = np.arange(40) % 2
    rows = [0.5 + (y - 0.5) * 0.8, np.where(y == 1, 0.5 - worse, 0.5), np.full(40, 0.5)]
    return curve_of(kind, KINDS[kind].severities[:2], y, rows, n_bootstrap=20)


def test_plot_severity_returns_what_it_drew():
    curves = [some_curve("jpeg", 0.1), some_curve("blur", -0.1)]
    drawn = plots.plot_severity(curves)
    assert list(drawn) == ["jpeg", "blur"]
    assert drawn["jpeg"]["AUC"].tolist() == [1, 0, 0.5] and drawn["blur"]["AUC"].tolist() == [1, 1, 0.5]
    assert np.array_equal(drawn["jpeg"]["accuracy"], curves[0].accuracy)
    two = plots.plot_severity({"a": curves, "b": curves[::-1]})
    assert set(two["blur"]) == {"a", "b"} and np.array_equal(two["blur"]["b"], curves[1].auc)
    for nothing in ([], {}, {"a": []}):
        with pytest.raises(DataError, match="at least one severity curve"):
            plots.plot_severity(nothing)


def test_plot_matrix_returns_what_it_drew():
    values = np.array([[0.99, 0.4], [0.55, np.nan]])
    drawn = plots.plot_matrix(values, ["a", "b"], ["a", "b"], values - 0.1, values + 0.05, seen=np.eye(2))
    assert np.array_equal(drawn, values, equal_nan=True)
    with pytest.raises(DataError, match="for each square"):
        plots.plot_matrix(values, ["a"], ["a", "b"])
