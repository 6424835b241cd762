"""The gates that lesson 07 builds are the library's: same names, start, outputs and gradients."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import NOTEBOOKS, assert_same_gradients, definitions  # noqa: E402

from course_lib import layers  # noqa: E402

NAME = "07_channel_attention.ipynb"
if not (NOTEBOOKS / NAME).exists():
    pytest.skip("needs lesson 07", allow_module_level=True)
LESSON = definitions(NAME)
GATES = ("LocalChannelAttention", "GlobalChannelAttention")


@pytest.mark.parametrize("name", GATES)
@settings(max_examples=30, deadline=None)
@given(
    reach=st.integers(0, 3), batch=st.integers(1, 4), channels=st.integers(1, 12), seed=st.integers(0, 999)
)
def test_the_gates_are_the_librarys(name, reach, batch, channels, seed):
    torch.manual_seed(seed)
    mine = getattr(LESSON, name)(2 * reach + 1)
    torch.manual_seed(seed)
    twin = getattr(layers, name)(2 * reach + 1)
    ours, theirs = mine.state_dict(), twin.state_dict()
    assert list(ours) == list(theirs)
    for key in ours:
        assert torch.equal(ours[key], theirs[key]), f"{key} does not begin as the library's"
    x = torch.randn(batch, channels, dtype=torch.float64)
    mine, twin = mine.double(), twin.double()
    assert (mine(x) == 0.5).all(), "a fresh gate has no opinion"
    with torch.no_grad():
        for p, q in zip(mine.parameters(), twin.parameters(), strict=True):
            p.normal_()
            q.copy_(p)
    assert_same_gradients(mine, twin, x)


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 4), channels=st.integers(1, 12), seed=st.integers(0, 999))
def test_the_matrix_is_the_librarys_and_its_rows_sum_to_one(batch, channels, seed):
    torch.manual_seed(seed)
    mine, twin = LESSON.GlobalChannelAttention().double(), layers.GlobalChannelAttention().double()
    twin.load_state_dict(mine.state_dict())
    pooled = 3 * torch.randn(batch, channels, dtype=torch.float64)
    matrix = mine.matrix(pooled)
    torch.testing.assert_close(matrix, twin.matrix(pooled))
    torch.testing.assert_close(matrix.sum(-1), torch.ones(batch, channels, dtype=torch.float64))
    query, key = mine.query_key(pooled.unsqueeze(1)).unbind(1)
    torch.testing.assert_close(LESSON.my_channel_matrix_solution(query, key), matrix)


def test_the_twin_that_is_counted_computes_the_same():
    twin = LESSON.AsMatrixProducts()
    torch.nn.init.ones_(twin.scale)
    pooled = torch.randn(5, 9)
    torch.testing.assert_close(twin(pooled), LESSON.GlobalChannelAttention.forward(twin, pooled))


def test_the_solution_of_eca_is_the_local_gate():
    gate = layers.LocalChannelAttention(5)
    torch.nn.init.normal_(gate.conv.weight)
    torch.nn.init.constant_(gate.conv.bias, 0.3)
    pooled = torch.randn(3, 7)
    kernel = gate.conv.weight.detach().flatten()
    torch.testing.assert_close(LESSON.my_eca_solution(pooled, kernel, gate.conv.bias.item()), gate(pooled))


def test_twice_a_fresh_gate_is_no_change():
    maps = torch.randn(2, 6, 5, 4)
    for name in GATES:
        gate = getattr(LESSON, name)()
        assert torch.equal(LESSON.apply_gate(maps, gate(maps.mean((2, 3)))), maps)


@pytest.mark.parametrize("gate", ["none", "local", "global"])
def test_the_live_network_is_that_of_the_stored_table(gate):
    """Lesson and recipe build the same network from the same seed, so live run and table can be compared."""
    data = Path(__file__).resolve().parents[2] / "data"
    pytest.importorskip("scipy")
    if not (data / "recipe").is_dir():
        pytest.skip("the recipe is only in a checkout")
    sys.path.insert(0, str(data))
    from recipe import ablate_channels, ablate_depth

    makers = {
        "local": lambda c: LESSON.LocalChannelAttention(),
        "global": lambda c: LESSON.GlobalChannelAttention(),
    }
    torch.manual_seed(3)
    mine = LESSON.network(makers.get(gate))
    torch.manual_seed(3)
    theirs = ablate_channels.network(gate)
    with torch.no_grad():
        for model in (mine, theirs):
            torch.manual_seed(4)
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    x = LESSON.high_pass(LESSON.normalise(images))
    torch.testing.assert_close(mine(x), theirs(ablate_depth.prepared(images)))


def test_every_kind_of_the_recipe_begins_as_the_same_function():
    data = Path(__file__).resolve().parents[2] / "data"
    pytest.importorskip("scipy")
    if not (data / "recipe").is_dir():
        pytest.skip("the recipe is only in a checkout")
    sys.path.insert(0, str(data))
    from recipe import ablate_channels

    x, answers = torch.randn(2, 3, 32, 32), []
    for gate in ablate_channels.GATES:
        torch.manual_seed(0)
        answers.append(ablate_channels.network(gate)(x))
    assert all(torch.equal(answers[0], answer) for answer in answers)
