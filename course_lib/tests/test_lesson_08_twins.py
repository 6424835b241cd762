"""The layers that lesson 08 builds are the library's: names, start, outputs, gradients."""

import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, assert_same_gradients, definitions  # noqa: E402

from course_lib import layers  # noqa: E402
from course_lib.exercises_attend import (  # noqa: E402
    dilated_sum_reference,
    mix_streams_reference,
    nonlocal_attention_reference,
)

NAME = "08_spatial_attention.ipynb"
if not (NOTEBOOKS / NAME).exists():
    pytest.skip("needs lesson 08", allow_module_level=True)
LESSON = definitions(NAME)
CHOICES = [on for n in range(5) for on in combinations(layers.BRANCHES, n)]


def assert_twins(make_mine, make_twin, x: torch.Tensor, seed: int) -> None:
    """Same keys, same first numbers from the same seed; and with any numbers, same outputs and gradients."""
    torch.manual_seed(seed)
    mine = make_mine().double()
    torch.manual_seed(seed)
    twin = make_twin().double()
    ours, theirs = mine.state_dict(), twin.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), f"{name} does not begin as the library's"
    torch.testing.assert_close(mine(x), twin(x))
    with torch.no_grad():
        for p, q in zip(mine.parameters(), twin.parameters(), strict=True):
            p.copy_(torch.randn_like(p))
            q.copy_(p)
    assert_same_gradients(mine, twin, x)


shapes = {
    "batch": st.integers(1, 3),
    "height": st.integers(1, 9),
    "width": st.integers(1, 9),
    "seed": st.integers(0, 999),
}


@settings(max_examples=30, deadline=None)
@given(channels=st.integers(1, 5), **shapes)
def test_local_spatial_attention(channels, batch, height, width, seed):
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    assert_twins(
        lambda: LESSON.LocalSpatialAttention(channels),
        lambda: layers.LocalSpatialAttention(channels),
        x,
        seed,
    )


@settings(max_examples=30, deadline=None)
@given(channels=st.integers(1, 5), grid=st.integers(1, 4), **shapes)
def test_global_spatial_attention(channels, grid, batch, height, width, seed):
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    mine, twin = LESSON.GlobalSpatialAttention, layers.GlobalSpatialAttention
    assert_twins(lambda: mine(channels, grid), lambda: twin(channels, grid), x, seed)
    places, cells = torch.randn(2, 5, channels), torch.randn(2, 3, channels)
    layer = mine(channels, grid)
    library = twin(channels, grid)
    library.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer.matrix(places, cells), library.matrix(places, cells))


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 5),
    on=st.sampled_from(CHOICES),
    reduced=st.integers(1, 3),
    grid=st.integers(1, 3),
    **shapes,
)
def test_glcs_attention(channels, on, reduced, grid, batch, height, width, seed):
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    mine, twin = LESSON.GLCSAttention, layers.GLCSAttention
    assert_twins(
        lambda: mine(channels, on, reduced, grid), lambda: twin(channels, on, reduced, grid), x, seed
    )


@pytest.mark.parametrize("on", CHOICES, ids="+".join)
def test_the_maps_are_the_librarys(on):
    mine, twin = LESSON.GLCSAttention(6, on), layers.GLCSAttention(6, on)
    for parameter in mine.parameters():
        nn.init.normal_(parameter)
    twin.load_state_dict(mine.state_dict())
    x = torch.randn(2, 6, 7, 5)
    (out, maps), (expected, library) = mine(x, return_maps=True), twin(x, return_maps=True)
    torch.testing.assert_close(out, expected)
    assert set(maps) == set(library) == set(on)
    for name in maps:
        torch.testing.assert_close(maps[name], library[name])
    if on:
        weights = torch.softmax(mine.stream_logits, 0)
        for gate in (LESSON.gate_by_loop, LESSON.gate_by_matmul):
            torch.testing.assert_close(gate(mine.streams, maps, weights, x), twin.gate(library, x))


def test_the_solutions_are_the_checkers_references():
    x, kernels = torch.randn(5, 6), [torch.randn(3, 3) for _ in range(3)]
    torch.testing.assert_close(LESSON.my_dilated_sum_solution(x, kernels), dilated_sum_reference(x, kernels))
    case = torch.randn(2, 5, 4), torch.randn(2, 3, 4), torch.randn(2, 3, 1)
    torch.testing.assert_close(
        LESSON.my_nonlocal_attention_solution(*case), nonlocal_attention_reference(*case)
    )
    for i in range(2):  # the lesson's three lines without a batch
        torch.testing.assert_close(
            LESSON.attend(*(part[i] for part in case)), nonlocal_attention_reference(*case)[i]
        )
    maps = [torch.rand(2, 3), torch.rand(2, 1, 4, 5), torch.rand(2, 3), torch.rand(2, 1, 4, 5)]
    case = (torch.randn(2, 3, 4, 5), torch.randn(3), *maps)
    torch.testing.assert_close(LESSON.my_mix_streams_solution(*case), mix_streams_reference(*case))
