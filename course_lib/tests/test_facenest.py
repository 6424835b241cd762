"""The two networks: counts and shapes to the letter, any input, any format, and clear refusals."""

from __future__ import annotations

import copy
import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from course_lib.errors import ModelInputError
from course_lib.facenest import (
    FaceNeSt,
    FaceNeStConfig,
    ReferenceGLCSAttention,
    ReferenceMultiScaleAttention,
    count_macs,
    count_parameters,
    facenest,
    facenest_reference,
    high_pass,
)

ABLATIONS = {
    "default": {},
    "attention off": {"branches": ()},
    "attention off, said otherwise": {"attend": ()},
    "attention everywhere": {"attend": (0, 1, 2, 3)},
    "channel only": {"branches": ("lc", "gc")},
    "spatial only": {"branches": ("ls", "gs")},
    "local only": {"branches": ("lc", "ls")},
    "global only": {"branches": ("gc", "gs")},
    "static": {"fusion": "static"},
    "softmax": {"fusion": "softmax"},
    "last scale": {"fusion": "none"},
    "stem 2": {"stem_stride": 2},
    "stem 4": {"stem_stride": 4},
    "plain": {"residual": False},
    "whole picture": {"high_pass": False},
    "deeper": {"depths": (1, 2, 2, 1)},
}
SMALL = {"width": 4, "fusion_width": 8}


def small(seed: int = 0, **overrides) -> FaceNeSt:
    """A tiny FaceNeSt whose weights are all random, also those that start at zero; ready to predict."""
    torch.manual_seed(seed)
    model = facenest(**{**SMALL, **overrides})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


# ------------------------------------------------------------------------------------------- the reference


@pytest.fixture(scope="module")
def reference():
    with torch.device("meta"):
        return facenest_reference()


def test_reference_has_exactly_the_published_number_of_parameters(reference):
    assert count_parameters(reference) == 125_602_822


def test_reference_parameters_part_by_part(reference):
    assert count_parameters(reference.stem) == 9_600
    assert count_parameters(reference.block1) == 17_152
    assert count_parameters(reference.block2) == 1_181_184
    assert count_parameters(reference.block3) == 4_721_664
    assert count_parameters(reference.fusion) == 118_721_408 + 4
    assert count_parameters(reference.head) == 951_810


@pytest.mark.parametrize("channels", [1, 8, 64, 256])
def test_reference_attention_has_86_c_squared_plus_6_c_parameters(channels):
    with torch.device("meta"):
        assert count_parameters(ReferenceGLCSAttention(channels)) == 86 * channels**2 + 6 * channels


def test_reference_shapes(reference):
    x = torch.empty(2, 3, 224, 224, device="meta")
    f0, f1, f2, f3 = reference.features(x)
    assert f0.shape == (2, 64, 56, 56)
    assert f1.shape == (2, 256, 56, 56)
    assert f2.shape == (2, 512, 28, 28)
    assert f3.shape == (2, 1024, 14, 14)
    assert reference.fusion([f0, f1, f2, f3]).shape == (2, 1856, 1, 1)
    assert reference(x).shape == (2, 2)


def test_reference_costs_fifty_five_and_a_half_billion_macs(reference):
    assert round(count_macs(reference, 224) / 1e9, 1) == 55.5


def test_reference_attention_by_hand():
    """One channel, one pixel: the 3x3, 5x5 and 7x7 kernels touch it with their middle number only."""
    layer = ReferenceGLCSAttention(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.local.weight.fill_(2.0)
        layer.global1.weight.fill_(1.0)
        layer.global2.weight.fill_(3.0)
        layer.spatial3.weight[0, 0, 1, 1] = 0.5
        layer.spatial5.weight[0, 0, 2, 2] = 0.25
        layer.spatial7.weight[0, 0, 3, 3] = 0.25
    for x in (1.0, 2.0):  # twice the input, worked out on paper
        z = 2 * x
        before = (2 * x, x * 3 * x, 0.5 * z + 0.25 * z + 0.25 * z, z * 2 * z)
        lc, gc, ls, gs = (1 / (1 + math.exp(-a)) for a in before)
        expected = (0.5 * x * lc + 0.5 * x * gc) * (0.5 * x * ls + 0.5 * x * gs)
        assert layer(torch.full((1, 1, 1, 1), x)).item() == pytest.approx(expected, rel=1e-5)


def test_reference_attention_is_quadratic_and_ours_is_not():
    from course_lib.layers import GLCSAttention

    x = torch.rand(2, 4, 6, 6)
    layer = ReferenceGLCSAttention(4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()  # every gate is 1/2, whatever x is
    assert torch.allclose(layer(x), x**2 / 4)
    assert torch.allclose(layer(2 * x), 4 * layer(x))
    ours = GLCSAttention(4)
    assert torch.allclose(ours(2 * x), 2 * ours(x))


def test_reference_fusion_weights_start_at_a_quarter_and_multiply():
    fusion = ReferenceMultiScaleAttention((1, 2))
    assert fusion.weights.tolist() == [0.5, 0.5]
    assert ReferenceMultiScaleAttention((1, 1, 1, 1)).weights.tolist() == [0.25] * 4
    features = [torch.rand(2, 1, 4, 4), torch.rand(2, 2, 3, 3)]
    before = fusion(features)
    with torch.no_grad():
        fusion.weights[1] = 2.0
    after = fusion(features)
    assert torch.allclose(after[:, :1], before[:, :1])
    assert torch.allclose(after[:, 1:], 4 * before[:, 1:])


def test_reference_refuses_wrong_images(reference):
    with pytest.raises(ModelInputError, match="got 1 channels"):
        reference(torch.empty(1, 1, 64, 64, device="meta"))
    with pytest.raises(ModelInputError, match="at least 32 x 32"):
        reference(torch.empty(1, 3, 31, 64, device="meta"))


# ------------------------------------------------------------------------------------------------- ours


@pytest.mark.parametrize("overrides", ABLATIONS.values(), ids=ABLATIONS)
def test_every_ablation_is_one_call_and_trains(overrides):
    torch.manual_seed(0)
    model = facenest(**{**SMALL, **overrides})
    logit, details = model(torch.randn(2, 3, 40, 36), return_details=True)
    assert logit.shape == (2,) and details["scale_weights"].shape == (2, 4)
    logit.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    again = facenest(**json.loads(json.dumps(model.config.to_dict())))
    assert again.config == model.config
    again.load_state_dict(model.state_dict())


def test_high_pass_by_hand():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 9.0
    out = high_pass(x)[0, 0]
    assert out[0, 0] == 9 - 9 / 4  # a corner has four pixels around it, itself among them
    assert out[0, 1] == -9 / 6 and out[1, 1] == -1 and out[3, 3] == 0
    assert torch.allclose(high_pass(torch.full((1, 3, 5, 6), 0.7)), torch.zeros(1, 3, 5, 6), atol=1e-6)


def test_high_pass_is_not_rounded_by_autocast():
    x = torch.randn(2, 3, 33, 40)
    mean = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = high_pass(x)
    assert out.dtype == torch.float32
    assert torch.allclose(out, x - mean, atol=1e-6)


def test_high_pass_ignores_brightness_and_the_whole_picture_does_not():
    x = torch.randn(2, 3, 40, 40)
    model = small()
    assert torch.allclose(model(x), model(x + 0.5), atol=1e-4)
    model = small(high_pass=False)
    assert not torch.allclose(model(x), model(x + 0.5), atol=1e-4)


def test_default_size():
    model = facenest()
    assert 250_000 <= count_parameters(model) <= 500_000
    assert 40e6 < count_macs(model, 64) < 60e6
    assert count_macs(model, 128) == pytest.approx(4 * count_macs(model, 64), rel=0.02)


def test_macs_of_a_known_convolution():
    assert count_macs(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), 10) == 3 * 8 * 9 * 100


def test_details():
    model = small(attend=(2, 3), branches=("lc", "gc", "ls", "gs"))
    x = torch.randn(2, 3, 64, 48)
    logit, details = model(x, return_details=True)
    assert torch.equal(logit, model(x))
    assert torch.allclose(details["scale_weights"].sum(dim=1), torch.ones(2))
    sides = [(2, 64, 48), (2, 32, 24), (2, 16, 12), (2, 8, 6)]
    assert [tuple(m.shape) for m in details["maps"]] == sides
    assert [tuple(f[:, 0].shape) for f in details["features"]] == sides
    assert details["local_maps"][:2] == details["global_maps"][:2] == [None, None]
    assert all((m == 0.5).all() for m in details["maps"][:2])
    for mean, local, wide in list(
        zip(details["maps"], details["local_maps"], details["global_maps"], strict=True)
    )[2:]:
        assert torch.allclose(mean, (local + wide) / 2)
        assert 0 <= mean.min() < mean.max() <= 1


def test_without_a_block_the_first_scale_is_the_map_of_the_stem():
    model, x = small(), torch.randn(2, 3, 64, 48)
    seen = []
    hook = model.stem.register_forward_hook(lambda *args: seen.append(args[2].clone()))
    _, details = model(x, return_details=True)
    hook.remove()
    assert list(model.stages[0].parameters()) == [] and torch.equal(details["features"][0], seen[0])
    assert len(facenest(**SMALL, depths=(1, 1, 1, 1)).stages[0]) == 1


def test_only_an_asked_for_dropout_is_built():
    kinds = [[type(layer).__name__ for layer in facenest(**SMALL, dropout=p).head] for p in (0, 0.1)]
    assert kinds == [["BatchNorm1d", "ReLU", "Linear"], ["BatchNorm1d", "ReLU", "Dropout", "Linear"]]


def test_the_maps_are_those_of_the_last_block_of_each_scale():
    model = small(depths=(1, 1, 2, 1), attend=(2,))
    seen = []
    hook = model.stages[2][1].attention.register_forward_hook(lambda *args: seen.append(args[2][1]))
    _, details = model(torch.randn(2, 3, 40, 40), return_details=True)
    hook.remove()
    assert torch.equal(details["local_maps"][2], seen[0]["ls"][:, 0])


def test_attention_sits_where_it_was_asked_for():
    where = [[block.attention is not None for block in stage] for stage in facenest(**SMALL).stages]
    assert where == [[], [False], [False], [True]]
    model = facenest(**SMALL, attend=(0,), depths=(2, 1, 1, 1))
    where = [[block.attention is not None for block in stage] for stage in model.stages]
    assert where == [[True, True], [False], [False], [False]]
    assert all(block.bn2.weight.eq(1).all() for stage in model.stages for block in stage)


def test_maps_of_a_fresh_network_have_no_opinion():
    _, details = facenest(**SMALL).eval()(torch.randn(1, 3, 32, 32), return_details=True)
    assert all((m == 0.5).all() for m in details["maps"])


def test_maps_without_spatial_attention_are_flat():
    _, details = small(branches=("lc",))(torch.randn(1, 3, 64, 48), return_details=True)
    assert details["local_maps"] == details["global_maps"] == [None] * 4
    assert [tuple(m.shape) for m in details["maps"]] == [(1, 64, 48), (1, 32, 24), (1, 16, 12), (1, 8, 6)]
    assert all((m == 0.5).all() for m in details["maps"])


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(32, 97),
    width=st.integers(32, 97),
    overrides=st.sampled_from(list(ABLATIONS.values())),
)
def test_any_side_from_32(batch, height, width, overrides):
    model = small(**overrides)
    x = torch.randn(batch, 3, height, width)
    with torch.no_grad():
        logit = model(x)
        one_by_one = torch.cat([model(image[None]) for image in x])
    assert logit.shape == (batch,) and torch.isfinite(logit).all()
    assert torch.allclose(logit, one_by_one, atol=1e-4)


@pytest.mark.parametrize("overrides", ABLATIONS.values(), ids=ABLATIONS)
def test_channels_last_gives_the_same_answer(overrides):
    model = small(**overrides)
    x = torch.randn(2, 3, 45, 64)
    expected = model(x)
    last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(expected, last, atol=1e-4)


def test_the_features_stay_channels_last():
    """A layer that falls back to the other format would copy every map, forwards and backwards."""
    model = small().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    _, details = model(x, return_details=True)
    assert all(f.is_contiguous(memory_format=torch.channels_last) for f in details["features"])


def test_bfloat16_autocast_is_finite_and_close():
    model = small()
    x = torch.randn(4, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(x)
        low.float().sum().backward()
    assert torch.isfinite(low).all()
    assert torch.allclose(low.float(), model(x), atol=0.1)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_gradient_through_the_whole_network():
    model = small().double()
    x = torch.randn(1, 3, 32, 32, dtype=torch.double)
    name = "stages.3.0.attention.reduce.bias"
    bias = model.get_parameter(name).detach().clone().requires_grad_()

    def logit(bias):
        return torch.func.functional_call(model, {name: bias}, (x,))

    assert torch.autograd.gradcheck(logit, (bias,), atol=1e-5)


def test_same_seed_same_weights_and_state_dict_round_trip():
    torch.manual_seed(5)
    first = facenest(**SMALL)
    torch.manual_seed(5)
    second = facenest(**SMALL)
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    trained = small(seed=9)
    buffer = io.BytesIO()
    torch.save(trained.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    x = torch.randn(2, 3, 40, 40)
    assert torch.equal(trained(x), second.eval()(x))


def test_it_learns_a_pattern_in_a_few_steps():
    """A checkerboard in noise: what a careless up-sampler leaves, and what a stem stride would hide."""
    torch.manual_seed(0)
    model = facenest(**SMALL)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 0.6 - 0.3
    for _ in range(30):
        y = torch.arange(16) % 2
        x = torch.randn(16, 3, 32, 32) * 0.3 + y[:, None, None, None] * board
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(x), y.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.3


# ---------------------------------------------------------------------------- devices, export, ONNX


def test_everything_lands_on_cuda():
    """On pretended tensors, so no GPU is needed: nothing hidden stays behind on the CPU."""
    with FakeTensorMode():
        with torch.device("cuda"):
            model = facenest(**SMALL)
        x = torch.empty(2, 3, 64, 64, device="cuda")
        logit, details = model(x, return_details=True)
        tensors = [*model.parameters(), *model.buffers(), logit, details["scale_weights"]]
        for name in ("maps", "local_maps", "global_maps", "features"):
            tensors += [t for t in details[name] if t is not None]
        assert {t.device.type for t in tensors} == {"cuda"}


@pytest.mark.parametrize("overrides", [{}, {"branches": (), "fusion": "none"}], ids=["default", "bare"])
def test_it_compiles_in_one_piece(overrides):
    """`fullgraph` refuses whatever the compiler would have to leave to Python; forwards and backwards."""
    model = small(**overrides)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 40, 33)
    assert torch.allclose(compiled(x), model(x), atol=1e-5)
    compiled(x).sum().backward()
    torch._dynamo.reset()


@pytest.mark.parametrize("overrides", [{}, {"branches": (), "fusion": "none"}], ids=["default", "bare"])
def test_export_for_any_batch_and_side(overrides):
    model = small(**overrides)
    batch, height, width = torch.export.Dim("batch"), torch.export.Dim.AUTO, torch.export.Dim.AUTO
    program = torch.export.export(
        model, (torch.randn(2, 3, 64, 72),), dynamic_shapes=({0: batch, 2: height, 3: width},)
    )
    for shape in ((1, 3, 64, 64), (5, 3, 100, 75)):
        x = torch.randn(shape)
        assert torch.allclose(program.module()(x), model(x), atol=1e-4)


def test_onnx_gives_the_same_answer_at_any_size(tmp_path):
    import onnxruntime as runtime

    model = small()
    path = str(tmp_path / "facenest.onnx")
    free = ({0: "batch", 2: "height", 3: "width"},)
    image = torch.randn(2, 3, 64, 72)
    torch.onnx.export(model, (image,), path, dynamo=True, dynamic_shapes=free, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 64, 64), (3, 3, 99, 130)):
        x = torch.randn(shape)
        (logit,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert torch.allclose(torch.from_numpy(logit), model(x), atol=1e-4)


# ------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.rand(3, 64, 64), "four dimensions"),
        (torch.rand(2, 1, 64, 64), "got 1 channels"),
        (torch.rand(2, 64, 64, 3), "got 64 channels"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "torch.uint8"),
        (torch.rand(2, 3, 31, 64), "31 x 64 pixels; it needs at least 32 x 32"),
        (torch.rand(2, 3, 64, 8), "64 x 8 pixels"),
    ],
    ids=["rank", "grey", "channels last axis", "dtype", "low", "narrow"],
)
def test_wrong_images_are_named(x, says):
    with pytest.raises(ModelInputError, match=says) as caught:
        small()(x)
    assert "\n" not in str(caught.value)


def test_one_image_in_training_is_refused():
    with pytest.raises(ModelInputError, match="model.eval()"):
        facenest(**SMALL).train()(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"widht": 8}, "no setting 'widht'; it knows width"),
        ({"width": 0}, "width=0"),
        ({"width": "16"}, "width='16'"),
        ({"depths": (1, 1)}, "four whole numbers"),
        ({"depths": (0, 0, 1, 1)}, "the first 0 or more, the others 1 or more"),
        ({"depths": (-1, 1, 1, 1)}, "the first 0 or more"),
        ({"depths": 2}, "depths=2"),
        ({"stem_stride": 3}, "choose 1, 2 or 4"),
        ({"high_pass": "no"}, "give True or False"),
        ({"branches": ("lc", "zz")}, "no branch 'zz'"),
        ({"branches": "lc"}, "give a list or tuple"),
        ({"attend": (4,)}, "name scales by their numbers"),
        ({"attend": (True,)}, "name scales by their numbers"),
        ({"attend": 2}, "give a list or tuple"),
        ({"fusion": "sum"}, "fusion='sum'"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_wrong_settings_are_named(setting, says):
    with pytest.raises(ModelInputError, match=says) as caught:
        facenest(**setting)
    assert "\n" not in str(caught.value)


def test_config_is_frozen_and_copied_with_the_model():
    model = facenest(**SMALL)
    with pytest.raises(AttributeError):
        model.config.width = 8
    assert copy.deepcopy(model).config == model.config == FaceNeStConfig(**SMALL)


@pytest.mark.parametrize("fusion", ["dynamic", "softmax", "static", "none"])
def test_every_fusion_can_be_counted_and_read_without_gradients(fusion):
    torch.manual_seed(0)
    model = facenest(width=4, fusion=fusion).eval()
    assert count_macs(model, 64) > 3_000_000
    with torch.no_grad():
        _, details = model(torch.zeros(2, 3, 64, 64), return_details=True)
    assert details["scale_weights"].shape == (2, 4) and not details["scale_weights"].requires_grad
    if fusion in ("softmax", "static"):  # learned numbers: with gradients they get one
        logit = model(torch.rand(2, 3, 64, 64))
        learned = model.fusion.logits if fusion == "softmax" else model.fusion.weights
        assert torch.autograd.grad(logit.sum(), learned)[0].abs().max() > 0


@pytest.mark.parametrize("nothing", [None, [1], np.zeros((2, 3, 64, 64), np.float32)])
def test_what_is_no_tensor_is_told(nothing):
    with pytest.raises(ModelInputError, match=f"FaceNeSt got a {type(nothing).__name__}; give it a tensor"):
        facenest(width=4)(nothing)
