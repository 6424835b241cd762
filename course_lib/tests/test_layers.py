"""The layers: what they compute, on any shape, and what they say to a wrong one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.errors import ModelInputError
from course_lib.layers import (
    BRANCHES,
    FUSION_MODES,
    AdaptivelyWeightedMultiScaleAttention,
    GLCSAttention,
    GlobalChannelAttention,
    GlobalSpatialAttention,
    LocalChannelAttention,
    LocalSpatialAttention,
    ResidualBlock,
    grid_means,
    mean_over_places,
)

PAIRS = [("lc", "gc"), ("ls", "gs"), ("lc", "ls"), ("gc", "gs")]
ABLATIONS = [(), *((name,) for name in BRANCHES), *PAIRS, BRANCHES]


def shake(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Replace all weights by random ones: a fresh attention layer is the identity, which proves little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return module


# ------------------------------------------------------------------------------------------- residual block


def test_a_fresh_residual_block_passes_its_input_on():
    x = torch.rand(2, 6, 9, 7)
    assert torch.equal(ResidualBlock(6, 6)(x), x)


@pytest.mark.parametrize("residual", [True, False])
def test_residual_block_shapes(residual):
    block = ResidualBlock(4, 8, stride=2, residual=residual)
    assert block(torch.rand(2, 4, 9, 7)).shape == (2, 8, 5, 4)
    assert (block.shortcut is not None) == residual


def test_the_shortcut_averages_neighbours_before_it_projects():
    block = ResidualBlock(1, 2, stride=2).eval()
    with torch.no_grad():
        block.shortcut[1].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    x = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).view(1, 1, 2, 2)
    expected = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1)  # the mean, and ReLU of minus the mean
    assert torch.allclose(block(x), expected, atol=1e-4)


def test_attention_weighs_what_the_convolutions_found_and_not_the_shortcut():
    block = shake(ResidualBlock(4, 4, attention=GLCSAttention(4, reduced=3))).eval()
    x = torch.randn(2, 4, 9, 7)
    found = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    weighed, maps = block.attention(found, return_maps=True)
    out, seen = block(x, return_maps=True)
    assert torch.allclose(out, torch.relu(weighed + x), atol=1e-5)
    assert torch.equal(block(x), out)
    assert seen.keys() == maps.keys() and all(torch.equal(seen[name], maps[name]) for name in maps)
    assert not torch.allclose(weighed, found)
    assert ResidualBlock(4, 4)(x, return_maps=True)[1] == {}


# ------------------------------------------------------------------------------ the four attentions, by hand


def test_local_channel_attention_by_hand():
    layer = LocalChannelAttention()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, 2.0, -1.0]).view(1, 1, 3))
        layer.conv.bias.fill_(0.5)
    # channel 1 of (1, 0, 2, 3): 1*1 + 2*0 - 1*2 + 0.5 = -0.5
    expected = torch.sigmoid(torch.tensor([[2.5, -0.5, 1.5, 8.5]]))
    assert torch.allclose(layer(torch.tensor([[1.0, 0.0, 2.0, 3.0]])), expected)


def test_global_channel_attention_by_hand():
    layer = GlobalChannelAttention(kernel_size=1)
    with torch.no_grad():
        layer.query_key.weight.copy_(torch.ones(2, 1, 1))
        layer.query_key.bias.zero_()
        layer.scale.fill_(2.0)
        layer.bias.fill_(-1.0)
    pooled = torch.tensor([[0.0, 1.0, 2.0]])
    matrix = torch.softmax(torch.tensor([[0.0, 0, 0], [0, 1, 2], [0, 2, 4]]), dim=1)
    assert torch.allclose(layer.matrix(pooled)[0], matrix)
    assert torch.allclose(layer(pooled)[0], torch.sigmoid(2 * matrix @ pooled[0] - 1))


def test_local_spatial_attention_sees_fields_of_three_five_and_seven():
    layer = shake(LocalSpatialAttention(2))
    x = torch.zeros(1, 2, 9, 9, requires_grad=True)
    layer(x)[0, 0, 4, 4].backward()
    touched = (x.grad[0].abs().sum(0) > 0).nonzero()
    assert {tuple(p) for p in touched.tolist()} == {
        (4 + d * a, 4 + d * b) for d in (1, 2, 3) for a in (-1, 0, 1) for b in (-1, 0, 1)
    }


def test_global_spatial_attention_sees_the_whole_image():
    layer = shake(GlobalSpatialAttention(4))
    x = torch.rand(1, 4, 12, 12, requires_grad=True)
    layer(x)[0, 0, 0, 0].backward()
    assert (x.grad[0].abs().sum(0) > 0).all()


def test_global_spatial_attention_equals_a_loop():
    layer = shake(GlobalSpatialAttention(3, grid=2)).double()
    x = torch.rand(1, 3, 4, 4, dtype=torch.double)
    cells = [x[0, :, i : i + 2, j : j + 2].mean(dim=(1, 2)) for i in (0, 2) for j in (0, 2)]
    for i in range(4):
        for j in range(4):
            query = layer.query(x[0, :, i, j])
            attention = torch.softmax(torch.stack([query @ layer.key(c) for c in cells]) / 3**0.5, dim=0)
            heard = sum(a * layer.value(c) for a, c in zip(attention, cells, strict=True))
            assert torch.allclose(layer(x)[0, 0, i, j], torch.sigmoid(heard)[0])


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), grid=st.integers(1, 7))
def test_grid_means_are_those_of_adaptive_pooling(height, width, grid):
    x = torch.randn(2, 3, height, width, dtype=torch.double)
    assert torch.allclose(grid_means(x, grid), torch.nn.functional.adaptive_avg_pool2d(x, grid))


def test_the_mean_over_places_and_the_layout_of_its_gradient():
    x = torch.randn(2, 3, 5, 4).to(memory_format=torch.channels_last).requires_grad_()
    out = mean_over_places(x)
    assert torch.allclose(out, x.mean(dim=(2, 3)), atol=1e-6)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.allclose(gradient, torch.full_like(x, 1 / 20))
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_attention_rows_sum_to_one():
    channel = shake(GlobalChannelAttention())
    assert torch.allclose(channel.matrix(torch.rand(2, 8)).sum(-1), torch.ones(2, 8))
    place = shake(GlobalSpatialAttention(4))
    assert torch.allclose(place.matrix(torch.rand(2, 9, 4), torch.rand(2, 5, 4)).sum(-1), torch.ones(2, 9))


# -------------------------------------------------------------------------------------------------- GLCSA


@pytest.mark.parametrize("branches", ABLATIONS, ids=lambda b: "+".join(b) or "off")
def test_fresh_glcsa_changes_nothing(branches):
    x = torch.randn(2, 8, 10, 7)
    assert torch.allclose(GLCSAttention(8, branches)(x), x, atol=1e-6)


@pytest.mark.parametrize("branches", ABLATIONS[1:], ids="+".join)
def test_glcsa_is_the_formula_in_its_docstring(branches):
    layer = shake(GLCSAttention(8, branches)).double()
    x = torch.randn(2, 8, 10, 7, dtype=torch.double)
    out, maps = layer(x, return_maps=True)
    assert set(maps) == set(branches)
    half = torch.full((), 0.5, dtype=torch.double)

    def stream(channel, place):
        c = maps[channel][:, :, None, None] if channel in maps else half
        return (2 * c) * (2 * maps.get(place, half))

    weights = iter(torch.softmax(layer.stream_logits, dim=0))
    bracket = next(weights)
    for channel, place in (("lc", "ls"), ("gc", "gs")):
        if channel in branches or place in branches:
            bracket = bracket + next(weights) * stream(channel, place)
    assert torch.allclose(out, x * bracket)


def test_every_branch_has_parameters_of_its_own_and_none_is_left_over():
    counts = {b: sum(p.numel() for p in GLCSAttention(8, b).parameters()) for b in ABLATIONS}
    assert counts[()] == 0
    assert len({counts[(b,)] for b in BRANCHES}) == 4
    layer = shake(GLCSAttention(8))
    layer(torch.randn(2, 8, 9, 9)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_maps_stay_between_zero_and_one_and_the_gate_below_four():
    layer = shake(GLCSAttention(8), seed=3)
    x = torch.randn(4, 8, 16, 16) * 10
    out, maps = layer(x, return_maps=True)
    for m in maps.values():
        assert m.min() >= 0 and m.max() <= 1
    assert (out.abs() <= 4 * x.abs() + 1e-6).all()


# ------------------------------------------------------------------------------------------------- fusion


def four_scales(batch: int = 3) -> list[torch.Tensor]:
    return [torch.rand(batch, c, h, w) for c, h, w in ((4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3))]


@pytest.mark.parametrize("mode", FUSION_MODES)
def test_fusion_is_the_three_steps_in_its_docstring(mode):
    layer = shake(AdaptivelyWeightedMultiScaleAttention([4, 8, 16, 32], width=6, mode=mode))
    features = four_scales()
    fused, weights = layer(features)
    assert fused.shape == (3, 6) and weights.shape == (3, 4)
    used = features if mode != "none" else features[-1:]
    vectors = [
        f.mean(dim=(2, 3)) @ project.weight.T + project.bias
        for project, f in zip(layer.project, used, strict=True)
    ]
    if mode == "none":
        assert weights.tolist() == [[0, 0, 0, 1]] * 3
        assert torch.allclose(fused, vectors[0], atol=1e-5)
    else:
        expected = sum(weights[:, i : i + 1] * v for i, v in enumerate(vectors))
        assert torch.allclose(fused, expected, atol=1e-5)
    if mode in ("dynamic", "softmax"):
        assert torch.allclose(weights.sum(dim=1), torch.ones(3))
    differs_by_image = not torch.allclose(weights[0], weights[1])
    assert differs_by_image == (mode == "dynamic")


@pytest.mark.parametrize("mode", ["dynamic", "softmax", "static"])
def test_fresh_fusion_weighs_all_scales_alike(mode):
    layer = AdaptivelyWeightedMultiScaleAttention([4, 8, 16, 32], width=6, mode=mode)
    _, weights = layer(four_scales())
    assert torch.allclose(weights, torch.full((3, 4), 0.25))


# ------------------------------------------------------------------------------------- any shape, any format


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 97),
    width=st.integers(1, 97),
    branches=st.sampled_from(ABLATIONS),
)
def test_glcsa_keeps_any_shape(batch, height, width, branches):
    layer = shake(GLCSAttention(4, branches))
    x = torch.randn(batch, 4, height, width)
    out = layer(x)
    assert out.shape == x.shape and torch.isfinite(out).all()
    last = layer(x.to(memory_format=torch.channels_last))
    assert torch.allclose(out, last, atol=1e-5)


@pytest.mark.parametrize("branches", ABLATIONS[1:], ids="+".join)
def test_gradients_of_glcsa(branches):
    layer = shake(GLCSAttention(3, branches, reduced=2, grid=2)).double()
    x = torch.randn(2, 3, 4, 3, dtype=torch.double, requires_grad=True)
    # fast_mode checks the Jacobian along random directions instead of number by number.
    inputs = (x, *layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), inputs, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("mode", FUSION_MODES)
def test_gradients_of_fusion(mode):
    layer = shake(AdaptivelyWeightedMultiScaleAttention([2, 3], width=4, mode=mode)).double()
    shapes = ((2, 2, 5, 4), (2, 3, 3, 2))
    features = [torch.randn(s, dtype=torch.double, requires_grad=True) for s in shapes]
    inputs = (*features, *layer.parameters())
    assert torch.autograd.gradcheck(lambda a, b, *_: layer([a, b]), inputs, atol=1e-6, fast_mode=True)


# -------------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    "layer",
    [ResidualBlock(4, 4), GLCSAttention(4), GLCSAttention(4, ())],
    ids=["block", "glcsa", "glcsa off"],
)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.rand(4, 8, 8), "four dimensions"),
        (torch.rand(2, 8, 8, 4), "got 8 channels"),
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), "torch.uint8"),
    ],
    ids=["rank", "channels", "dtype"],
)
def test_wrong_inputs_are_named(layer, x, says):
    with pytest.raises(ModelInputError, match=says) as caught:
        layer(x)
    assert "\n" not in str(caught.value)


def test_wrong_settings_are_named():
    with pytest.raises(ModelInputError, match="no branch 'lx'"):
        GLCSAttention(4, ("lx",))
    with pytest.raises(ModelInputError, match="no fusion mode 'magic'"):
        AdaptivelyWeightedMultiScaleAttention([4, 4], mode="magic")
    with pytest.raises(ModelInputError, match="got 1 feature maps and was built for 2"):
        AdaptivelyWeightedMultiScaleAttention([4, 4])([torch.rand(1, 4, 2, 2)])
