"""Every class that lesson 04 builds is the same function as its torch twin: same parameters, same outputs."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, definitions  # noqa: E402

from course_lib.facenest import high_pass  # noqa: E402

NAME = "04_a_first_cnn.ipynb"
if not (NOTEBOOKS / NAME).exists():
    pytest.skip("needs lesson 04", allow_module_level=True)


@pytest.fixture(scope="module")
def lesson():
    return definitions(NAME)


def assert_twins(mine, twin, x):
    assert list(mine.state_dict()) == list(twin.state_dict())
    assert [v.shape for v in mine.state_dict().values()] == [v.shape for v in twin.state_dict().values()]
    mine.load_state_dict(twin.state_dict())
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(mine(ours), twin(theirs))
    mine(ours).square().sum().backward()
    twin(theirs).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    for p, q in zip(mine.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (2, 3, 7, 9), (3, 2, 2, 5)])
def test_parts_without_weights(lesson, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert_twins(lesson.MyReLU(), nn.ReLU(), x)
    assert_twins(lesson.MyMaxPool2d(2), nn.MaxPool2d(2), x)
    assert_twins(lesson.MyFlatten(), nn.Flatten(), x)


def test_linear(lesson):
    torch.manual_seed(0)
    assert_twins(lesson.MyLinear(7, 5), nn.Linear(7, 5), torch.randn(4, 7))


def test_linear_begins_like_torchs(lesson):
    """Within the same limits, and filling them."""
    torch.manual_seed(0)
    mine, twin = lesson.MyLinear(100, 500), nn.Linear(100, 500)
    for p, q in zip(mine.parameters(), twin.parameters(), strict=True):
        assert p.abs().max() <= 0.1
        assert abs(p.std() - q.std()) < 0.01


class Pick(nn.Module):
    def forward(self, x):
        return x[:, 0]


@pytest.mark.parametrize("side, channels", [(32, 8), (30, 3), (64, 4)])
def test_first_cnn_is_a_sequence_of_torchs_parts(lesson, side, channels):
    torch.manual_seed(0)
    mine = lesson.FirstCNN(side, channels)
    inputs = 2 * channels * (side // 4) ** 2
    parts = {
        "conv1": nn.Conv2d(3, channels, 3, padding=1),
        "conv2": nn.Conv2d(channels, 2 * channels, 3, padding=1),
        "fc1": nn.Linear(inputs, 32),
        "fc2": nn.Linear(32, 1),
    }
    named = nn.ModuleDict(parts)
    assert list(mine.state_dict()) == list(named.state_dict())
    named.load_state_dict(mine.state_dict())
    twin = nn.Sequential(
        parts["conv1"], nn.ReLU(), nn.MaxPool2d(2), parts["conv2"], nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), parts["fc1"], nn.ReLU(), parts["fc2"], Pick(),
    )  # fmt: skip
    x = torch.randn(3, 3, side, side)
    torch.testing.assert_close(mine(x), twin(x))
    assert mine(x).shape == (3,)
    assert sum(p.numel() for p in mine.parameters()) == lesson.my_count_parameters_solution(side, channels)


def test_high_pass(lesson):
    x = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(lesson.HighPass()(x), 4 * high_pass(x))
    assert not list(lesson.HighPass().parameters())


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (2, 3, 9, 8), (1, 4, 5, 32)])
def test_the_solution_of_the_high_pass_is_the_librarys(lesson, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)) + 3
    torch.testing.assert_close(lesson.my_high_pass_solution(x), high_pass(x))
    torch.testing.assert_close(lesson.HighPass(gain=1)(x), high_pass(x))


def test_loss_is_torchs(lesson):
    z, y = 30 * torch.randn(100), (torch.rand(100) < 0.5).float()
    torch.testing.assert_close(
        lesson.my_bce_from_logits_solution(z, y), F.binary_cross_entropy_with_logits(z, y)
    )


def test_random_crops_are_windows_and_reach_every_place(lesson):
    torch.manual_seed(0)
    image = torch.arange(36, dtype=torch.uint8).view(1, 6, 6).expand(3, 6, 6)
    corners = {int(crop[0, 0, 0]) for crop in lesson.random_crops(image[None].expand(300, 3, 6, 6), side=4)}
    assert corners == {6 * r + c for r in range(3) for c in range(3)}
    crop = lesson.random_crops(image[None], side=4)[0]
    r, c = divmod(int(crop[0, 0, 0]), 6)
    assert torch.equal(crop, image[:, r : r + 4, c : c + 4])


def test_an_images_score_is_the_mean_logit_of_its_sixteen_tiles(lesson):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)

    class TopLeft(nn.Module):  # a "network" whose logit names its tile
        def forward(self, x):
            return x[:, 0, 0, 0]

    values = (images[:, 0, ::32, ::32].float() / 255 - 0.5) / 0.25
    expected = torch.sigmoid(values.flatten(1).mean(1))
    torch.testing.assert_close(torch.tensor(lesson.judge(TopLeft(), images)), expected)
