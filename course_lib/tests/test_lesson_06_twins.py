"""The block that lesson 06 builds is the library's: same names, same start, same outputs, same gradients."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, assert_same_gradients, definitions  # noqa: E402

from course_lib import layers  # noqa: E402

NAME = "06_residual_blocks.ipynb"
if not (NOTEBOOKS / NAME).exists():
    pytest.skip("needs lesson 06", allow_module_level=True)
LESSON = definitions(NAME)


def shaken(module: nn.Module) -> nn.Module:
    """Random numbers everywhere: a fresh block's γ = 0 hides its branch."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.ndim == 1:  # a batch norm's: a running variance cannot be negative
                value.copy_(0.5 + torch.rand_like(value))
            elif value.is_floating_point():
                value.copy_(torch.randn_like(value))
    return module


def assert_twins(mine: nn.Module, twin: nn.Module, x: torch.Tensor) -> None:
    """Same keys and shapes; with the same numbers, same outputs and gradients in training and in use."""
    ours, theirs = mine.state_dict(), twin.state_dict()
    assert list(ours) == list(theirs)
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
    twin.load_state_dict(shaken(mine).state_dict())
    for mode in (True, False):
        mine.train(mode), twin.train(mode)
        assert_same_gradients(mine, twin, x)


@settings(max_examples=40, deadline=None)
@given(
    before=st.integers(1, 6),
    after=st.integers(1, 6),
    stride=st.integers(1, 3),
    residual=st.booleans(),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    batch=st.integers(2, 3),
    seed=st.integers(0, 999),
)
def test_the_residual_block(before, after, stride, residual, height, width, batch, seed):
    torch.manual_seed(seed)
    mine = LESSON.ResidualBlock(before, after, stride, residual)
    torch.manual_seed(seed)
    twin = layers.ResidualBlock(before, after, stride, residual)
    for (name, p), q in zip(mine.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(p, q), f"{name} does not begin as the library's"
    assert_twins(mine, twin, torch.randn(batch, before, height, width))


@settings(max_examples=30, deadline=None)
@given(before=st.integers(1, 5), after=st.integers(1, 5), stride=st.integers(1, 3), side=st.integers(2, 9))
def test_the_shortcut_and_its_solution(before, after, stride, side):
    x = torch.randn(2, before, side, side + 1)
    for make in (LESSON.make_shortcut, LESSON.my_shortcut_solution):
        assert_twins(make(before, after, stride), layers.make_shortcut(before, after, stride), x)


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_the_plain_block_is_the_block_without_a_shortcut(channels):
    twin = layers.ResidualBlock(channels, channels, residual=False)
    assert_twins(LESSON.PlainBlock(channels), twin, torch.randn(3, channels, 6, 5))


def test_a_tower_is_a_stem_blocks_and_a_head():
    tower = LESSON.Tower(LESSON.PlainBlock, 3)
    assert len(tower.blocks) == 3 and tower(torch.randn(2, 3, 32, 32)).shape == (2,)


def test_the_live_towers_are_those_of_the_stored_table():
    """Lesson and recipe build the same network from the same seed, so live runs and table can be compared."""
    recipe = pytest.importorskip("scipy") and Path(__file__).resolve().parents[2] / "data"
    if not (recipe / "recipe").is_dir():
        pytest.skip("the recipe is only in a checkout")
    sys.path.insert(0, str(recipe))
    from recipe import ablate_depth

    for kind, make in (("plain", LESSON.PlainBlock), ("residual", LESSON.residual)):
        torch.manual_seed(3)
        mine = LESSON.Tower(make, 2)
        torch.manual_seed(3)
        theirs = ablate_depth.network(kind, 2)
        images = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
        x = LESSON.normalise(ablate_depth.cut(images, "middle"))
        torch.testing.assert_close(mine(x), theirs(ablate_depth.prepared(images[..., 48:80, 48:80]))[:, 0])
