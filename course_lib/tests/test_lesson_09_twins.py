"""The fusion that lesson 09 builds is the library's: same names, same start, same outputs, same gradients."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, definitions  # noqa: E402

from course_lib import facenest, layers  # noqa: E402

NAME = "09_multi_scale_fusion.ipynb"
if not (NOTEBOOKS / NAME).exists():
    pytest.skip("needs lesson 09", allow_module_level=True)
LESSON = definitions(NAME)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    width=st.integers(1, 6),
    mode=st.sampled_from(layers.FUSION_MODES),
    batch=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_the_fusion(channels, width, mode, batch, seed):
    torch.manual_seed(seed)
    mine = LESSON.AdaptivelyWeightedMultiScaleAttention(channels, width, mode).double()
    torch.manual_seed(seed)
    twin = layers.AdaptivelyWeightedMultiScaleAttention(channels, width, mode).double()
    assert list(mine.state_dict()) == list(twin.state_dict())
    for (name, p), q in zip(mine.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(p, q), f"{name} does not begin as the library's"
    with torch.no_grad():
        for p in mine.parameters():
            p.copy_(torch.randn_like(p))
    twin.load_state_dict(mine.state_dict())
    maps = [torch.randn(batch, c, 2 * i + 1, i + 2, dtype=torch.float64) for i, c in enumerate(channels)]
    found = []
    for layer in (mine, twin):
        inputs = [x.clone().requires_grad_() for x in maps]
        fused, weights = layer(inputs)
        loss = fused.square().sum() + (weights * torch.arange(1.0, len(maps) + 1)).square().sum()
        gradients = torch.autograd.grad(loss, [*inputs, *layer.parameters()], allow_unused=True)
        found.append((fused, weights, *gradients))
    for ours, theirs in zip(*found, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)


def test_the_trunk_is_that_of_facenest_without_attention():
    torch.manual_seed(5)
    mine = LESSON.Trunk(4)
    torch.manual_seed(5)
    whole = facenest(width=4, depths=(1, 1, 1, 1), attend=(), high_pass=False)
    names = {}
    for name, value in whole.state_dict().items():
        if name.startswith("stages"):
            names[name.replace("stages.", "blocks.").replace(".0.", ".", 1)] = value
        elif name.startswith("stem"):
            names[name] = value
    assert list(names) == list(mine.state_dict())
    mine.load_state_dict(names)
    x = torch.randn(3, 3, 40, 36)
    for ours, theirs in zip(mine(x), whole(x, return_details=True)[1]["features"], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_solutions_say_what_the_lesson_says():
    vectors, scores = torch.randn(3, 4, 5), torch.randn(3, 4)
    fused, weights = LESSON.my_adaptive_fusion_solution(vectors, scores)
    torch.testing.assert_close(fused, LESSON.fuse(vectors, weights))
    torch.testing.assert_close(weights.sum(1), torch.ones(3))


def test_boards_differ_only_in_their_order():
    """Fake boards alternate, real ones do not; a single square is as often black as white in both."""
    _, board, labels = LESSON.boards(400, 4, torch.Generator().manual_seed(0))
    change = (board[:, :, 4:] * board[:, :, :-4]).mean((1, 2))
    assert (change[labels == 1] == -1).all() and change[labels == 0].mean().abs() < 0.05
    for label in (0, 1):
        assert board[labels == label].mean().abs() < 0.05
