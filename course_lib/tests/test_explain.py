"""The maps of lesson 14: right by hand, equal to captum's, and the network left as it was."""

import copy
import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from toys import ToyNet, toy

from course_lib import (
    Detector,
    Preprocessing,
    attention_map,
    deletion_curve,
    energy_inside,
    explain,
    facenest,
    grad_cam,
    integrated_gradients,
    normalise,
    occlusion,
    pointing_game,
    rank_correlation,
    shuffled,
    window_map,
)
from course_lib.errors import CourseError, DataError, ModelInputError

METHODS = {
    "grad_cam": lambda model, x: grad_cam(model, x),
    "grad_cam 2": lambda model, x: grad_cam(model, x, 2, relu=False),
    "occlusion": lambda model, x: occlusion(model, x, 20, 12),
    "integrated_gradients": lambda model, x: integrated_gradients(model, x, steps=5),
    "attention_map": lambda model, x: attention_map(model, x),
    "window_map": lambda model, x: window_map(model, x, 32, 16),
}


class Linear(nn.Module):
    """The logit is a weighted sum of the normalised pixels, plus 1."""

    def __init__(self, height=40, width=36):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, height, width, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return (self.weight * x).sum(dim=(1, 2, 3)) + 1


def picture(height=48, width=40, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


@pytest.fixture(scope="module")
def network():
    """A small FaceNeSt that is not at its silent beginning: attention that differs, logits that move."""
    torch.manual_seed(0)
    model = facenest(width=4, depths=(1, 1, 1, 1), attend=(2, 3), branches=("lc", "gc", "ls", "gs"))
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim > 1 and not values.any():
                nn.init.normal_(values, 0, 0.5)
        model.head[-1].weight.mul_(1000)
        model.train()(normalise(torch.stack([picture(seed=seed) for seed in range(9)])))  # batch norm's means
    model.eval()
    for name in METHODS:  # no map is flat: otherwise the tests below would compare nothing with nothing
        assert METHODS[name](model, picture()).std() > 5e-3, name
    return model


# ------------------------------------------------------------------------------------------------ by hand
def test_on_a_linear_network_the_methods_agree():
    """Gradient x input, integrated gradients and one-pixel occlusion are w * (x - x0) then."""
    model, x = Linear(), picture(40, 36)
    inputs = normalise(x[None])[0]
    expected = (model.weight.detach() * inputs).sum(0)
    for steps in (1, 7):
        torch.testing.assert_close(
            integrated_gradients(model, x, steps=steps), expected, atol=1e-4, rtol=1e-4
        )
    grey = explain.fill_picture(x, "mean")
    from_mean = (model.weight.detach() * (inputs - normalise(grey[None])[0])).sum(0)
    torch.testing.assert_close(occlusion(model, x, 1, 1), from_mean, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        integrated_gradients(model, x, "mean", steps=3), from_mean, atol=1e-4, rtol=1e-4
    )


def test_grad_cam_of_two_places():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.pick = nn.Conv2d(3, 2, 32, stride=32, bias=False)
            self.weight = torch.tensor([0.5, -1.0])
            with torch.no_grad():
                self.pick.weight.zero_()
                self.pick.weight[0, 0] = 1 / 1024
                self.pick.weight[1, 1] = 1 / 1024

        def forward(self, x):
            return (self.pick(x).mean((2, 3)) * self.weight).sum(1)

    x = torch.zeros(3, 32, 64, dtype=torch.uint8)
    for channel, place, value in [(0, 0, 255), (0, 1, 127), (1, 0, 159), (1, 1, 223)]:
        x[channel, :, 32 * place : 32 * place + 32] = value
    model = Two()
    a = model.pick(normalise(x[None]))[0, :, 0].detach()
    found = grad_cam(model, x, model.pick, relu=False)
    torch.testing.assert_close(found[0, [0, -1]], 0.25 * a[0] - 0.5 * a[1])
    torch.testing.assert_close((0.25 * a[0] - 0.5 * a[1]).sum(), model(normalise(x[None]))[0].detach())
    assert (grad_cam(model, x, model.pick) >= 0).all()


def test_occlusion_of_a_window_counts_the_windows_that_cover_a_pixel():
    model, x = Linear(), picture(40, 36)
    found = occlusion(model, x, 16, 8, torch.zeros_like(x))
    total, count = torch.zeros(40, 36), torch.zeros(40, 36)
    before = model(normalise(x[None])).item()
    for top in range(0, 25, 8):
        for left in range(0, 25, 8):
            covered = x.clone()
            covered[:, top : top + 16, left : left + 16] = 0
            total[top : top + 16, left : left + 16] += before - model(normalise(covered[None])).item()
            count[top : top + 16, left : left + 16] += 1
    assert (count > 0).all()
    torch.testing.assert_close(found, total / count, atol=1e-3, rtol=1e-3)


def test_what_stands_where_pixels_are_taken_away():
    x = picture(40, 50)
    x[0], x[1, :, 25:], x[1, :, :25] = 200, 90, 30
    mean = explain.fill_picture(x, "mean")
    assert mean.shape == x.shape and mean.dtype == torch.uint8
    assert (mean[0] == 200).all() and (mean[1] == 60).all()
    assert (mean[2].float() - x[2].float().mean()).abs().max() <= 0.5
    blur = explain.fill_picture(x, "blur")
    assert (blur[0] == 200).all() and blur[1, 20, 0] < 35 < 85 < blur[1, 20, 49]
    assert ((blur[1].int().diff(dim=1) >= 0) & (blur[1].int().diff(dim=1) < 5)).all()  # no edge is left
    assert (blur[2].float() - x[2].float().mean()).abs().max() < 40
    other = picture(40, 50, seed=9)
    assert torch.equal(explain.fill_picture(x, other), other)


def test_window_map_asks_about_each_window_alone(network):
    x = picture(48, 40)
    found = window_map(network, x, 32, 8)
    with torch.no_grad():
        corner = network(normalise(x[None, :, :32, :32])).item()
    assert found[0, 0].item() == pytest.approx(corner, abs=1e-5)
    with torch.no_grad():
        last = network(normalise(x[None, :, -32:, -32:])).item()
    assert found[-1, -1].item() == pytest.approx(last, abs=1e-5)


def test_windows_cover_every_pixel():
    for side in (32, 33, 40, 47, 64, 100):
        for window, stride in [(32, 8), (16, 16), (20, 13), (7, 7), (50, 10)]:
            for whole in (False, True):
                if whole and window > side:
                    continue
                seen = torch.zeros(side, side + 5)
                for rows, columns in explain.window_boxes(seen.shape, window, stride, whole):
                    assert not whole or (rows.stop <= side and columns.stop <= side + 5)
                    seen[rows, columns] += 1
                assert (seen > 0).all()


def test_integrated_gradients_are_complete(network):
    x = picture(64, 64)
    with torch.no_grad():
        rise = (network(normalise(x[None])) - network(torch.zeros(1, 3, 64, 64))).item()
    gaps = [abs(integrated_gradients(network, x, steps=n).sum().item() - rise) for n in (4, 64)]
    assert gaps[1] < 0.02 * max(abs(rise), 1)
    assert gaps[1] <= gaps[0] + 1e-3
    same = integrated_gradients(network, x, x, steps=4)  # no way at all
    assert not same.any()


def test_the_attention_map_is_what_the_network_says(network):
    x = picture(64, 64)
    with torch.no_grad():
        details = network(normalise(x[None]), return_details=True)[1]
    for scale in (3, 4):
        for kind, name in (("both", "maps"), ("local", "local_maps"), ("global", "global_maps")):
            if details[name][scale - 1] is None:
                continue
            small = attention_map(network, x, scale, kind)[:: 2 ** (scale - 1), :: 2 ** (scale - 1)]
            torch.testing.assert_close(small, details[name][scale - 1][0])


# ------------------------------------------------------------------------------------------- against captum
needs_captum = pytest.mark.skipif(not importlib.util.find_spec("captum"), reason="captum is not installed")


class Tap(nn.Module):
    """FaceNeSt's fusion behind a layer that captum can watch: the features of the coarsest scale."""

    def __init__(self, fusion):
        super().__init__()
        self.fusion, self.tap = fusion, nn.Identity()

    def forward(self, features):
        return self.fusion([*features[:-1], self.tap(features[-1])])


@needs_captum
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_captum(network, seed):
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion

    x = picture(64, 48, seed)
    inputs = normalise(x[None])
    theirs = IntegratedGradients(network).attribute(inputs, n_steps=12, method="riemann_middle")[0].sum(0)
    torch.testing.assert_close(integrated_gradients(network, x, steps=12), theirs, atol=1e-5, rtol=1e-4)
    for window, stride in [(16, 8), (20, 12), (17, 17)]:
        cover = normalise(explain.fill_picture(x, "mean")[None])
        theirs = Occlusion(network).attribute(
            inputs, (3, window, window), strides=(3, stride, stride), baselines=cover
        )[0, 0]
        torch.testing.assert_close(occlusion(network, x, window, stride), theirs, atol=1e-5, rtol=1e-4)
    tapped = copy.deepcopy(network)
    tapped.fusion = Tap(tapped.fusion)
    theirs = LayerGradCam(tapped, tapped.fusion.tap).attribute(inputs, relu_attributions=True).detach()
    theirs = nn.functional.interpolate(theirs, size=(64, 48), mode="bilinear")[0, 0]
    torch.testing.assert_close(grad_cam(network, x), theirs, atol=1e-6, rtol=1e-4)


@needs_captum
def test_grad_cam_of_another_network_is_captums():
    from captum.attr import LayerGradCam

    model, x = toy().eval(), picture(40, 44)
    for layer in (model.features[0], model.features[1], model.features):
        theirs = LayerGradCam(model, layer).attribute(normalise(x[None])).detach()
        theirs = nn.functional.interpolate(theirs, size=(40, 44), mode="bilinear")[0, 0]
        torch.testing.assert_close(grad_cam(model, x, layer, relu=False), theirs, atol=1e-6, rtol=1e-4)


def test_a_scale_without_a_block_is_the_stems_map():
    model, x = facenest(width=4).eval(), picture(40, 48)
    logit, details = model(normalise(x[None]), return_details=True)
    assert not len(model.stages[0]) and model.stages[1]
    features = details["features"][0]
    slope = torch.autograd.grad(logit.sum(), features)[0].mean(dim=(2, 3), keepdim=True)
    found = grad_cam(model, x, 1, relu=False)
    torch.testing.assert_close(found, (slope * features).sum(dim=1)[0].detach(), atol=1e-9, rtol=1e-4)
    assert found.std() > 0


def test_a_layer_followed_by_one_that_writes_in_place_is_seen_before_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(4, 1))
    plain = copy.deepcopy(model)
    plain[1] = nn.ReLU()
    x = picture(40, 40)
    torch.testing.assert_close(grad_cam(model, x, model[0], False), grad_cam(plain, x, plain[0], False))
    assert (model[0](normalise(x[None])) < 0).any()


# ------------------------------------------------------------------------------------------------- manners
@pytest.mark.parametrize("name", METHODS)
def test_the_network_is_left_as_it_was(network, name):
    model = copy.deepcopy(network).train()
    model.stages[1].eval()  # a mixture of modes
    model.stem[0].weight.requires_grad_(False)
    model.head[-1].bias.grad = torch.ones(1)
    modes = [m.training for m in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    found = METHODS[name](model, picture())
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(weights.values(), model.state_dict().values(), strict=True))
    assert not model.stem[0].weight.requires_grad and model.stem[1].weight.requires_grad
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    last = f"head.{len(model.head) - 1}.bias"
    assert list(grads) == [last] and grads[last].item() == 1
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), generator)
    assert found.shape == (48, 40) and found.dtype == torch.float32 and found.device.type == "cpu"
    assert not found.requires_grad and torch.isfinite(found).all()
    assert torch.equal(found, METHODS[name](model, picture()))  # the same every time


@pytest.mark.parametrize("name", METHODS)
def test_works_inside_no_grad_and_with_frozen_weights(network, name):
    frozen = copy.deepcopy(network).requires_grad_(False)
    expected = METHODS[name](network, picture())
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            torch.testing.assert_close(METHODS[name](frozen, picture()), expected)


def test_the_network_is_left_as_it_was_after_an_error(network):
    model = copy.deepcopy(network).train()
    unused = nn.Conv2d(3, 3, 1)
    model.extra = unused
    for bad in (lambda: grad_cam(model, picture(), unused), lambda: attention_map(model, picture(), 1)):
        with pytest.raises(ModelInputError):
            bad()
        assert model.training and not unused._forward_hooks


# ------------------------------------------------------------------------------------------------ detectors
def test_a_detector_brings_its_preprocessing(network):
    x = picture(80, 100)
    whole = Detector(copy.deepcopy(network), Preprocessing(), device="cpu")
    plain = {name: make(network, x) for name, make in METHODS.items()}
    for name, make in METHODS.items():
        torch.testing.assert_close(make(whole, x), plain[name], atol=1e-5, rtol=1e-3)


def test_maps_of_windows_lie_where_the_windows_were(network):
    x = picture(96, 80)
    corner = Detector(copy.deepcopy(network), Preprocessing(crop=40, crops=1), device="cpu")
    found = integrated_gradients(corner, x, steps=4)
    inside = torch.zeros(96, 80, dtype=torch.bool)
    inside[28:68, 20:60] = True  # the centre
    assert not found[~inside].any() and found[inside].any()
    torch.testing.assert_close(
        found[28:68, 20:60],
        integrated_gradients(network, x[:, 28:68, 20:60].contiguous(), steps=4),
        atol=1e-5,
        rtol=1e-3,
    )
    small = Detector(copy.deepcopy(network), Preprocessing(side=40), device="cpu")
    found = grad_cam(small, x, relu=False)
    assert found.shape == (96, 80) and not found[:8].any() and not found[-8:].any() and found[8:-8].any()
    for make in METHODS.values():
        assert make(small, x).shape == (96, 80)


# ------------------------------------------------------------------------------------------------- judging
def test_pointing_game():
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1:3, 2:4] = True
    hit, miss, tie, flat = (torch.zeros(4, 6) for _ in range(4))
    hit[1, 2], miss[0, 0] = 1, 1
    tie[1, 2] = tie[0, 0] = tie[0, 1] = tie[3, 5] = 3
    found = pointing_game([hit, miss, tie, flat, -hit], [mask] * 5)
    assert found.tolist() == [1, 0, 0.25, 4 / 24, 3 / 23]


def test_energy_inside():
    mask = torch.zeros(2, 2, dtype=torch.bool)
    mask[0, 0] = True
    maps = [[[1.0, 0], [0, 0]], [[1.0, 1], [2, -5]], [[-1.0, -1], [-1, -1]]]
    assert energy_inside(maps, [mask] * 3).tolist() == [1, 0.25, 0.25]


def test_rank_correlation():
    a = torch.arange(12.0).reshape(3, 4)
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, torch.ones(3, 4)) == 0
    from scipy.stats import spearmanr

    b = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (3, 4)).astype(float))
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic)


def test_deletion_and_insertion():
    class Sum(nn.Module):
        def forward(self, x):
            return x.mean(dim=(1, 2, 3))

    x = torch.zeros(3, 32, 32, dtype=torch.uint8)
    x[:, :8] = 255
    good = x[0].float()
    black = torch.zeros_like(x)
    curve = deletion_curve(Sum(), x, good, 4, black)
    assert curve.dtype == np.float64 and np.allclose(curve, [-1, -2, -2, -2, -2])
    assert np.allclose(deletion_curve(Sum(), x, -good, 4, black), [-1, -1, -1, -1, -2])
    assert np.allclose(deletion_curve(Sum(), x, good, 4, black, insert=True), [-2, -1, -1, -1, -1])
    flat = deletion_curve(Sum(), x, torch.ones(32, 32), 4, black)  # ties: in a random order, not by rows
    assert np.allclose(flat, [-1, -1.25, -1.5, -1.75, -2], atol=0.06)
    assert np.array_equal(flat, deletion_curve(Sum(), x, torch.ones(32, 32), 4, black))


def test_shuffled(network):
    before = copy.deepcopy(network.state_dict())
    other = shuffled(network, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), network.state_dict().values(), strict=True))
    for name, values in other.named_parameters():
        old = before[name]
        assert torch.equal(values.flatten().sort().values, old.flatten().sort().values), name
    assert not torch.equal(other.stem[0].weight, network.stem[0].weight)
    assert torch.equal(shuffled(network, 3).stem[0].weight, other.stem[0].weight)
    head = shuffled(network, parts=["head"])
    assert torch.equal(head.stem[0].weight, network.stem[0].weight)
    assert not torch.equal(head.head[-1].weight, network.head[-1].weight)
    detector = Detector(copy.deepcopy(network), Preprocessing(crop=40), device="cpu")
    twin = shuffled(detector, 1)
    assert twin.preprocessing == detector.preprocessing and twin.model is not detector.model
    assert torch.equal(detector.model.stem[0].weight, network.stem[0].weight)


def test_mean_interval():
    values = np.array([0.0] * 30 + [1.0] * 70)
    mean, low, high = explain.mean_interval(values)
    assert mean == 0.7 and 0.58 < low < 0.64 and 0.76 < high < 0.82
    assert explain.mean_interval(values) == (mean, low, high)
    assert explain.mean_interval([3.0]) == (3.0, 3.0, 3.0)


# ---------------------------------------------------------------------------------------------- bad input
BAD_PICTURES = [
    None,
    "face.jpg",
    [1, 2],
    np.zeros((3, 40, 40), np.uint8),
    torch.zeros(3, 40, 40),
    torch.full((3, 40, 40), float("nan")),
    torch.zeros(1, 3, 40, 40, dtype=torch.uint8),
    torch.zeros(40, 40, 3, dtype=torch.uint8),
    torch.zeros(3, 20, 40, dtype=torch.uint8),
]


def assert_sentence(error: CourseError) -> None:
    words = str(error)
    assert words.endswith(".") and "\n" not in words and 10 < len(words) < 260, words


@pytest.mark.parametrize("bad", BAD_PICTURES, ids=lambda bad: type(bad).__name__)
def test_a_bad_picture_gets_a_sentence(network, bad):
    for make in [*METHODS.values(), lambda model, x: deletion_curve(model, x, torch.ones(40, 40))]:
        with pytest.raises(ModelInputError) as caught:
            make(network, bad)
        assert_sentence(caught.value)


def test_bad_settings_get_a_sentence(network):
    x = picture()
    bad = [
        lambda: grad_cam(None, x),
        lambda: grad_cam("studio", x),
        lambda: grad_cam(toy(), x),
        lambda: grad_cam(toy(), x, 4),
        lambda: grad_cam(toy(), x, ToyNet().features),
        lambda: grad_cam(network, x, 0),
        lambda: grad_cam(network, x, 5),
        lambda: grad_cam(network, x, True),
        lambda: grad_cam(network, x, "stem"),
        lambda: grad_cam(network, x, network.head),
        lambda: attention_map(toy(), x),
        lambda: attention_map(network, x, 9),
        lambda: attention_map(network, x, 1, "local"),
        lambda: attention_map(network, x, 4, "loud"),
        lambda: attention_map(facenest(width=4, branches=()), x),
        lambda: occlusion(network, x, 0),
        lambda: occlusion(network, x, 8, 9),
        lambda: occlusion(network, x, 8.0),
        lambda: occlusion(network, x, fill="white"),
        lambda: occlusion(network, x, fill=None),
        lambda: occlusion(network, x, fill=picture(40, 40)),
        lambda: occlusion(nn.Flatten(), x),
        lambda: window_map(network, x, 31),
        lambda: window_map(network, x, 41),
        lambda: window_map(network, x, 32, 33),
        lambda: integrated_gradients(network, x, steps=0),
        lambda: integrated_gradients(network, x, steps=float("nan")),
        lambda: integrated_gradients(network, x, "grey"),
        lambda: deletion_curve(network, x, torch.ones(48, 40), steps="many"),
        lambda: shuffled(network, -1),
        lambda: shuffled(network, parts="head"),
        lambda: shuffled(network, parts=["neck"]),
        lambda: shuffled(7),
    ]
    for call in bad:
        with pytest.raises(ModelInputError) as caught:
            call()
        assert_sentence(caught.value)


def test_bad_maps_and_masks_get_a_sentence(network):
    good, mask = torch.rand(4, 4), torch.eye(4).bool()
    bad = [
        ([good], [mask, mask]),
        ([], []),
        (None, None),
        (3, [mask]),
        (["text"], [mask]),
        ([good * float("nan")], [mask]),
        ([good[None]], [mask]),
        ([good], [mask.float()]),
        ([good], [mask[:2]]),
        ([good], [torch.zeros(4, 4, dtype=torch.bool)]),
        ([good], ["text"]),
        ([good], [None]),
    ]
    for judge in (pointing_game, energy_inside):
        for maps, masks in bad:
            with pytest.raises(DataError) as caught:
                judge(maps, masks)
            assert_sentence(caught.value)
    for values in ([], [float("nan")], "text", [[1.0]], None):
        with pytest.raises(DataError):
            explain.mean_interval(values)
    with pytest.raises(DataError):
        rank_correlation(good, good[:2])
    with pytest.raises(DataError):
        deletion_curve(network, picture(), good)


class Aside(nn.Module):
    """Two layers that are used and decide nothing: one whose map is thrown away, one that gives no map."""

    def __init__(self):
        super().__init__()
        self.main, self.aside, self.names = nn.Conv2d(3, 1, 3), nn.Conv2d(3, 2, 3), Names()

    def forward(self, x):
        self.aside(x)
        self.names(x)
        return self.main(x).mean(dim=(1, 2, 3))


class Names(nn.Module):
    def forward(self, x):
        return {"no": "map"}


def test_grad_cam_of_layers_that_decide_nothing():
    model, x = Aside().eval(), torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)
    assert grad_cam(model, x, model.main).shape == (40, 40)
    with pytest.raises(ModelInputError, match="logit does not depend on this layer"):
        grad_cam(model, x, model.aside)
    with pytest.raises(ModelInputError, match="gives a feature map B x C x H x W; this is none"):
        grad_cam(model, x, model.names)
