"""The forger: shapes, determinism, size, and clear refusals."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from course_lib.errors import CheckpointError, ModelInputError
from course_lib.generator import FaceAutoencoder, Grain, forge, load_forger


@pytest.fixture
def small_forger() -> FaceAutoencoder:
    torch.manual_seed(0)
    return FaceAutoencoder(width=4, code=3).eval()


def test_default_size_ships_in_three_megabytes():
    parameters = sum(p.numel() for p in FaceAutoencoder().parameters())
    assert parameters <= 1_200_000
    assert 2 * parameters <= 3_000_000  # bytes, in half precision


@pytest.mark.parametrize("side", [(16, 16), (32, 22)])
def test_output_has_the_shape_of_the_input_and_the_code_is_smaller(small_forger, side):
    x = torch.rand(2, 3, *side) * 2 - 1
    assert small_forger(x).shape == x.shape
    code = small_forger.encoder(x)
    assert code.shape == (2, 3, side[0] // 2, side[1] // 2)
    assert code.numel() < x.numel()


def test_every_weight_gets_a_gradient(small_forger):
    small_forger(torch.rand(2, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in small_forger.parameters())


def test_grain_adds_nothing_where_its_strength_is_nothing():
    grain = Grain(2)
    torch.nn.init.zeros_(grain.strength.weight)
    torch.nn.init.zeros_(grain.strength.bias)
    x = torch.rand(1, 2, 8, 8)
    assert torch.equal(grain(x), x)
    torch.nn.init.ones_(grain.strength.bias)
    assert not torch.equal(grain(x), grain(x))  # fresh noise every time


def test_forge_is_determined_by_its_seed_and_leaves_the_random_state_alone(small_forger):
    batch = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = forge(small_forger, batch, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert first.dtype == torch.uint8 and first.shape == (3, 3, 16, 16)
    assert torch.equal(first, forge(small_forger, torch.from_numpy(batch), seed=1))
    assert not torch.equal(first, forge(small_forger, batch, seed=2))


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 3, 16, 16),
        torch.zeros(3, 16, 16, dtype=torch.uint8),
        torch.zeros(1, 1, 16, 16, dtype=torch.uint8),
        torch.zeros(1, 3, 17, 16, dtype=torch.uint8),
    ],
    ids=["float", "no batch", "grey", "side 17"],
)
def test_forge_says_what_it_wants(small_forger, wrong):
    with pytest.raises(ModelInputError, match=r"uint8 batch of shape \(B, 3, H, W\)"):
        forge(small_forger, wrong)


def test_weights_survive_half_precision_and_the_sizes_are_read_from_them(small_forger, tmp_path):
    path = tmp_path / "forger.safetensors"
    save_file({name: value.half().contiguous() for name, value in small_forger.state_dict().items()}, path)
    loaded = load_forger(path)
    assert not loaded.training
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loaded.encoder(x), small_forger.encoder(x), rtol=1e-2, atol=1e-2)


def test_bad_weights_are_refused_by_name(small_forger, tmp_path):
    with pytest.raises(CheckpointError, match="missing.safetensors: there is no such file"):
        load_forger(tmp_path / "missing.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match="garbage.safetensors: not the weights"):
        load_forger(garbage)
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    with pytest.raises(CheckpointError, match="other.safetensors: not the weights"):
        load_forger(other)
    weights = {name: value for name, value in small_forger.state_dict().items() if "decoder" not in name}
    save_file(weights, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="half.safetensors: not the weights"):
        load_forger(tmp_path / "half.safetensors")


def test_the_forger_that_ships_is_found_without_a_path():
    assert forge(load_forger(), np.full((1, 3, 64, 64), 128, np.uint8)).shape == (1, 3, 64, 64)
