"""The network that lesson 10 builds, in the open and again in its solution, is the library's `facenest()`."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, assert_same_gradients, definitions  # noqa: E402

from course_lib import facenest, facenest_reference, layers  # noqa: E402
from course_lib.facenest import FaceNeStReference, ReferenceGLCSAttention, high_pass  # noqa: E402

NAME = "10_facenest.ipynb"
if not (NOTEBOOKS / NAME).exists():
    pytest.skip("needs lesson 10", allow_module_level=True)
LESSON = definitions(NAME)


def shaken(module: nn.Module) -> nn.Module:
    """Random numbers everywhere, of a size that keeps the outputs near 1."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
            elif value.is_floating_point():
                value.copy_(
                    0.5 + torch.rand_like(value) if "running_var" in name else torch.randn_like(value)
                )
    return module


def assert_twins(mine: nn.Module, twin: nn.Module, x: torch.Tensor) -> None:
    """With the same numbers, the same outputs, gradients and running statistics, in training and in use."""
    mine, twin, x = mine.double(), twin.double(), x.double()
    ours, theirs = mine.state_dict(), twin.state_dict()
    assert set(ours) == set(theirs)
    assert all(ours[name].shape == theirs[name].shape for name in theirs)
    mine.load_state_dict(shaken(twin).state_dict())
    for mode in (True, False):
        assert_same_gradients(mine.train(mode), twin.train(mode), x)


@settings(max_examples=6, deadline=None)
@given(width=st.integers(1, 6), height=st.integers(32, 50), side=st.integers(32, 50), seed=st.integers(0, 99))
def test_the_network_is_the_librarys(width, height, side, seed):
    torch.manual_seed(seed)
    mine = LESSON.FaceNeSt(width)
    torch.manual_seed(seed)
    twin = facenest(width=width)
    ours, theirs = mine.state_dict(), twin.state_dict()
    assert list(ours) == list(theirs)
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), f"{name} does not begin as the library's"
    assert_twins(mine, twin, torch.randn(3, 3, height, side) + 2 * torch.randn(3, 3, 1, 1))


def test_the_solution_from_an_empty_cell_is_the_librarys():
    torch.manual_seed(0)
    assert_twins(LESSON.my_facenest_solution(), facenest(), torch.randn(2, 3, 40, 33))


def test_the_solution_uses_nothing_of_the_library():
    parts = {type(part).__module__.split(".")[0] for part in LESSON.my_facenest_solution().modules()}
    assert "course_lib" not in parts


@pytest.mark.parametrize("before, after, stride", [(4, 4, 1), (4, 8, 2), (3, 5, 1)])
def test_the_block_with_attention(before, after, stride):
    def attention(make):
        torch.manual_seed(1)
        return make(after)

    mine = LESSON.ResidualBlock(before, after, stride, attention(layers.GLCSAttention))
    twin = layers.ResidualBlock(before, after, stride, True, attention(layers.GLCSAttention))
    assert list(mine.state_dict()) == list(twin.state_dict())
    assert_twins(mine, twin, torch.randn(3, before, 9, 7))


def test_the_high_pass():
    x = torch.randn(2, 3, 33, 40, dtype=torch.float64)
    torch.testing.assert_close(LESSON.high_pass(x), high_pass(x))


def test_three_matrices_are_the_published_attention():
    torch.manual_seed(0)
    layer, x = ReferenceGLCSAttention(6), torch.randn(2, 6, 5, 4)
    LESSON.with_three_matrices.__globals__["published"] = layer  # the lesson's own name for it
    weight = layer.local.weight
    torch.testing.assert_close(LESSON.with_three_matrices(x, weight, weight, weight), layer(x))


def test_folding_the_published_head():
    torch.manual_seed(0)
    first, last = nn.Conv2d(20, 8, 1).double(), nn.Linear(8, 2).double()
    w, b = LESSON.my_fold_linear_solution(first.weight[:, :, 0, 0], first.bias, last.weight, last.bias)
    x = torch.randn(3, 20, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(x.flatten(1) @ w.T + b, last(first(x).flatten(1)))


def test_the_published_stem_of_the_probe_is_that_of_the_reference():
    with torch.device("meta"):
        reference = facenest_reference()
    assert isinstance(reference, FaceNeStReference)
    assert [type(layer).__name__ for layer in reference.stem] == [
        "Conv2d",
        "BatchNorm2d",
        "ReLU",
        "MaxPool2d",
    ]
    assert "nn.Conv2d(3, 64, 7, stride=2, padding=3)" in (NOTEBOOKS / NAME).read_text(encoding="utf-8")
