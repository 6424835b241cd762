"""Maps that claim to say where a verdict comes from, and the tests such a map must pass (lesson 14).

A map is a float32 tensor H x W on the CPU, one number for each pixel of the picture. **Positive speaks for
fake**, negative for real, in the unit of the logit; `attention_map` is the exception, its weights lie in
0..1. Every function takes a network or a `Detector` and one uint8 picture 3 x H x W, gives the same map every
time, and leaves the network as it found it: modes, gradients, weights. With a `Detector` the picture goes in
as its preprocessing says; where windows overlap their maps are averaged, and pixels that the network does not
look at get 0.

A map is a claim. Whether it is one about the network, and about the place of the forgery, is measured by the
second half of this module: `shuffled`, `rank_correlation`, `pointing_game`, `energy_inside`,
`deletion_curve`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from .checkpoints import LARGEST_WHOLE, Preprocessing
from .errors import DataError, ModelInputError
from .evaluation import PIXELS_AT_ONCE, device_of, fake_logits, predict_logits
from .facenest import FaceNeSt
from .transforms import centre_square, grid_crops, resize_down

FILLS = ("mean", "blur")
KINDS = ("both", "local", "global")


# ------------------------------------------------------------------------------------------------- the basis
def parts_of(model: Any) -> tuple[nn.Module, Preprocessing]:
    """The network and its preprocessing, of a network (whole pictures) or of a `Detector` (its own)."""
    if isinstance(model, nn.Module):
        return model, Preprocessing()
    network, preprocessing = getattr(model, "model", None), getattr(model, "preprocessing", None)
    if not isinstance(network, nn.Module) or not isinstance(preprocessing, Preprocessing):
        raise ModelInputError(f"A network or a Detector is needed to explain, not a {type(model).__name__}.")
    return network, preprocessing


def check_picture(image: Any, name: str = "The picture") -> Tensor:
    """Raise `ModelInputError` unless `image` is one uint8 picture 3 x H x W with sides of 32 or more."""
    if not isinstance(image, Tensor):
        found = f"a {type(image).__name__}"
    elif image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        found = f"{str(image.dtype).removeprefix('torch.')} of shape {tuple(image.shape)}"
    elif min(image.shape[1:]) < 32:
        found = f"only {image.shape[1]} x {image.shape[2]} pixels"
    else:
        return image.detach().cpu()
    raise ModelInputError(
        f"{name} must be one uint8 tensor 3 x H x W with sides of at least 32, and is {found}."
    )


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Raise `ModelInputError` unless `value` is a whole number from `least` up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ModelInputError(f"{name}={str(value)[:20]} must be a whole number from {least} up.")
    return value


@contextmanager
def untouched(network: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode, with gradients allowed; afterwards each module's mode is as it was.

    Gradients are asked for at pictures and features only (`torch.autograd.grad`), so that `.grad` of no
    weight changes, and frozen weights stay frozen.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.enable_grad():
            yield network
    finally:
        for module, mode in modes:
            module.training = mode


@torch.inference_mode(False)
def map_by_views(
    model: Any, image: Any, make: Callable[[nn.Module, Tensor, Preprocessing], Tensor], *others: Tensor
) -> Tensor:
    """One map of a whole picture from the maps of the views that the preprocessing cuts out of it.

    make: (network, view uint8 1 x 3 x h x w, preprocessing, the same view of each of `others`) -> h x w.
    """
    network, preprocessing = parts_of(model)
    image = check_picture(image)
    square = image if preprocessing.side is None else centre_square(image)
    small = square if preprocessing.side is None else resize_down(square, preprocessing.side)
    height, width = small.shape[1:]
    # Where each window lies: cut the same windows out of a picture of which every pixel knows its number.
    places = torch.arange(height * width).reshape(1, height, width)
    if preprocessing.crop:
        windows = grid_crops(places, preprocessing.crop, preprocessing.crops)
    else:
        h, w = min(height, LARGEST_WHOLE), min(width, LARGEST_WHOLE)
        top, left = (height - h) // 2, (width - w) // 2
        windows = [places[:, top : top + h, left : left + w]]
    views = [preprocessing.views(each) for each in (image, *others)]
    total, count = torch.zeros(height * width), torch.zeros(height * width)
    with untouched(network):
        for window, *same in zip(windows, *views, strict=True):
            made = make(network, same[0][None], preprocessing, *(other[None] for other in same[1:]))
            total.index_add_(0, window.flatten(), made.detach().float().cpu().flatten())
            count.index_add_(0, window.flatten(), torch.ones(window.numel()))
    mean = (total / count.clamp(min=1)).reshape(1, 1, height, width)
    found = enlarge(mean, square.shape[1:])[0, 0]
    result = torch.zeros(image.shape[1:])
    top, left = ((whole - part) // 2 for whole, part in zip(image.shape[1:], square.shape[1:], strict=True))
    result[top : top + square.shape[1], left : left + square.shape[2]] = found
    return result


def enlarge(maps: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    """Maps B x 1 x h x w to B x 1 x H x W."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(
        maps, size=tuple(size), mode=mode, align_corners=False if mode == "bilinear" else None
    )


def logits_of(network: nn.Module, pictures: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The logits of uint8 pictures B x 3 x h x w, in batches that fit into memory, without gradients."""
    at_once = max(1, PIXELS_AT_ONCE // (pictures.shape[2] * pictures.shape[3]))
    found = []
    with torch.no_grad():
        for part in pictures.split(at_once):
            x = preprocessing.normalise(part.to(device_of(network)))
            found.append(fake_logits(network(x), len(x)).float().cpu())
    return torch.cat(found)


def fill_picture(image: Tensor, fill: Any) -> Tensor:
    """What stands where pixels are taken away, uint8 3 x H x W.

    fill: "mean" (the mean colour of the picture), "blur" (the picture blurred with sigma 8), or a picture of
    the same size, such as the untouched original.
    """
    if isinstance(fill, str) and fill == "mean":
        return image.float().mean(dim=(1, 2), keepdim=True).round().to(torch.uint8).expand(image.shape)
    if isinstance(fill, str) and fill == "blur":
        return gaussian_blur(image, [49, 49], [8.0, 8.0])
    if not isinstance(fill, Tensor):
        raise ModelInputError(
            f"fill={str(fill)[:20]!r} must be one of {FILLS}, or a uint8 picture of the same size."
        )
    fill = check_picture(fill, "The fill")
    if fill.shape != image.shape:
        raise ModelInputError(
            f"The fill is {tuple(fill.shape)} and the picture {tuple(image.shape)}; give both one size."
        )
    return fill


# ---------------------------------------------------------------------------------------------- five methods
def grad_cam(model: Any, image: Tensor, layer: int | nn.Module | None = None, relu: bool = True) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): sum over channels of mean gradient x feature map.

    layer: a scale of FaceNeSt, 1 (finest) to 4 (coarsest, the default), or any module of the network whose
    output is a feature map. relu: cut off what speaks for real, as the paper does; False keeps the sign.
    Unit: logit per place of that layer, first order; enlarged to H x W with straight lines between places.
    """
    target = layer_of(parts_of(model)[0], layer)

    def make(network: nn.Module, view: Tensor, preprocessing: Preprocessing) -> Tensor:
        x = preprocessing.normalise(view.to(device_of(network))).requires_grad_()
        seen: list[Any] = []

        def keep(module: nn.Module, given: Any, output: Any) -> Any:
            first, *rest = output if isinstance(output, tuple) else (output,)  # a block gives its maps too
            seen.append(first)
            if not isinstance(first, Tensor):
                return None
            first = first.clone()  # what follows may write in place
            return (first, *rest) if isinstance(output, tuple) else first

        hook = target.register_forward_hook(keep)
        try:
            logit = fake_logits(network(x), 1)
        finally:
            hook.remove()
        if not seen or not isinstance(seen[-1], Tensor) or seen[-1].ndim != 4:
            raise ModelInputError(
                "Grad-CAM needs a layer that is used and gives a feature map B x C x H x W; this is none."
            )
        features = seen[-1]
        (slope,) = torch.autograd.grad(logit.sum(), features, allow_unused=True)
        if slope is None:
            raise ModelInputError("The logit does not depend on this layer, so it has no Grad-CAM.")
        cam = (slope.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1, keepdim=True)
        return enlarge(cam.relu() if relu else cam, view.shape[2:])[0, 0]

    return map_by_views(model, image, make)


def layer_of(network: nn.Module, layer: Any) -> nn.Module:
    """The module that `grad_cam` looks at."""
    if isinstance(layer, nn.Module):
        if not any(layer is module for module in network.modules()):
            raise ModelInputError(f"The layer {type(layer).__name__} is no part of this network.")
        return layer
    if not isinstance(network, FaceNeSt):
        raise ModelInputError(
            f"For a {type(network).__name__}, say which layer: a module of it that gives a feature map."
        )
    stage = network.stages[scale_index(network, 4 if layer is None else layer)]
    return stage[-1] if len(stage) else network.stem  # without a block, scale 1 is the stem's map


def scale_index(network: FaceNeSt, scale: Any) -> int:
    """Scale 1..4 as an index from 0."""
    if isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale <= len(network.stages):
        raise ModelInputError(
            f"scale {str(scale)[:20]!r}: FaceNeSt has the scales 1 (finest) to 4 (coarsest)."
        )
    return scale - 1


def occlusion(model: Any, image: Tensor, window: int = 16, stride: int = 8, fill: Any = "mean") -> Tensor:
    """Occlusion (Zeiler & Fergus 2014, arXiv 1311.2901): cover a window, see how far the logit falls.

    window, stride: in pixels of what the network sees. fill: see `fill_picture`. Each pixel gets the mean
    fall over the windows that cover it, so positive means: with this covered, it looked less fake. Unit:
    logit per window. Windows are cut off at the right and lower edge.
    """
    window, stride = check_count(window, "window"), check_count(stride, "stride")
    if stride > window:
        raise ModelInputError(f"stride={stride} is larger than window={window}; pixels would be left out.")
    filled = fill_picture(check_picture(image), fill)

    def make(network: nn.Module, view: Tensor, preprocessing: Preprocessing, cover: Tensor) -> Tensor:
        boxes = window_boxes(view.shape[2:], window, stride)
        before = logits_of(network, view, preprocessing)
        covered = view.repeat(len(boxes), 1, 1, 1)
        for picture, (rows, columns) in zip(covered, boxes, strict=True):
            picture[:, rows, columns] = cover[0, :, rows, columns]
        return mean_of_windows(boxes, before - logits_of(network, covered, preprocessing), view.shape[2:])

    return map_by_views(model, image, make, filled)


def window_map(model: Any, image: Tensor, window: int = 32, stride: int = 8) -> Tensor:
    """What the network says of each window *alone*: the mean logit of the windows that cover a pixel.

    No explanation of the whole picture's verdict, but many verdicts on small pictures. Positive: fake. window
    at least 32, the smallest picture FaceNeSt takes; windows at the edges are moved inwards.
    """
    window, stride = check_count(window, "window", 32), check_count(stride, "stride")
    if stride > window:
        raise ModelInputError(f"stride={stride} is larger than window={window}; pixels would be left out.")

    def make(network: nn.Module, view: Tensor, preprocessing: Preprocessing) -> Tensor:
        if min(view.shape[2:]) < window:
            raise ModelInputError(f"window={window} is larger than the picture, {tuple(view.shape[2:])}.")
        boxes = window_boxes(view.shape[2:], window, stride, whole=True)
        cut = torch.cat([view[:, :, rows, columns] for rows, columns in boxes])
        return mean_of_windows(boxes, logits_of(network, cut, preprocessing), view.shape[2:])

    return map_by_views(model, image, make)


def window_boxes(
    size: Sequence[int], window: int, stride: int, whole: bool = False
) -> list[tuple[slice, slice]]:
    """Windows that cover a picture: (rows, columns). The last ones are cut off, or with `whole` moved in."""

    def starts(side: int) -> list[int]:
        places = list(range(0, max(side - window, 0) + stride, stride))
        return sorted({min(place, max(side - window, 0)) for place in places}) if whole else places

    return [
        (slice(top, top + window), slice(left, left + window))
        for top in starts(size[0])
        for left in starts(size[1])
    ]


def mean_of_windows(boxes: list[tuple[slice, slice]], values: Tensor, size: Sequence[int]) -> Tensor:
    """Each pixel gets the mean value of the windows that cover it."""
    total, count = torch.zeros(*size), torch.zeros(*size)
    for box, value in zip(boxes, values.tolist(), strict=True):
        total[box] += value
        count[box] += 1
    return total / count.clamp(min=1)


def integrated_gradients(
    model: Any, image: Tensor, baseline: Any = None, steps: int = 64, batch_size: int = 16
) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365): the slope at every step of the
    straight way from a baseline to the picture, averaged, times the way; summed over the three channels.

    baseline: None is mid-grey; else "mean", "blur" or a picture (see `fill_picture`). steps: points on the
    way, the middles of equal pieces. Unit: logit per pixel. *Complete*: for a network that sees the whole
    picture at once, the map's sum tends to logit(picture) - logit(baseline) as steps grow.
    """
    steps, batch_size = check_count(steps, "steps"), check_count(batch_size, "batch_size")
    image = check_picture(image)
    # Mid-grey is 0 after normalising, for every checkpoint that divides around the middle as ours do.
    others = [] if baseline is None else [fill_picture(image, baseline)]

    def make(network: nn.Module, view: Tensor, preprocessing: Preprocessing, *start: Tensor) -> Tensor:
        device = device_of(network)
        x = preprocessing.normalise(view.to(device))
        x0 = preprocessing.normalise(start[0].to(device)) if start else torch.zeros_like(x)
        slopes = torch.zeros_like(x)
        shares = (torch.arange(steps, device=device) + 0.5) / steps
        for part in shares.split(batch_size):
            on_the_way = (x0 + part[:, None, None, None] * (x - x0)).requires_grad_()
            logits = fake_logits(network(on_the_way), len(part))
            slopes += torch.autograd.grad(logits.sum(), on_the_way)[0].sum(dim=0, keepdim=True)
        return ((x - x0) * slopes / steps).sum(dim=1)[0]

    return map_by_views(model, image, make, *others)


def attention_map(model: Any, image: Tensor, scale: int = 4, kind: str = "both") -> Tensor:
    """What the spatial attention of FaceNeSt asked for: weights in 0..1, 0.5 is "no opinion". No sign: a
    large weight says "count this place", not "fake".

    scale: 1 (finest) to 4. kind: "local", "global", or "both", the mean of those there are. Each cell of that
    scale is drawn as a square. Raises `ModelInputError` where there is no such attention.
    """
    network = parts_of(model)[0]
    if not isinstance(network, FaceNeSt):
        raise ModelInputError(f"Only a FaceNeSt has attention maps; this is a {type(network).__name__}.")
    index = scale_index(network, scale)
    if kind not in KINDS:
        raise ModelInputError(f"kind={str(kind)[:20]!r} must be one of {KINDS}.")

    def make(network: nn.Module, view: Tensor, preprocessing: Preprocessing) -> Tensor:
        with torch.no_grad():
            x = preprocessing.normalise(view.to(device_of(network)))
            details = network(x, return_details=True)[1]
        if kind == "both" and details["local_maps"][index] is None and details["global_maps"][index] is None:
            found = None
        else:
            found = details["maps" if kind == "both" else f"{kind}_maps"][index]
        if found is None:
            word = "" if kind == "both" else f"{kind} "
            raise ModelInputError(f"This FaceNeSt has no {word}spatial attention at scale {scale}.")
        return enlarge(found[:, None].float(), view.shape[2:], mode="nearest")[0, 0]

    return map_by_views(model, image, make)


# ------------------------------------------------------------- is it a map of what the network learned?
def shuffled(model: Any, seed: int = 0, parts: Sequence[str] | None = None) -> Any:
    """A copy of a network or `Detector` in which nothing learned is left: in each tensor of weights, the same
    numbers in another order.

    parts: names of modules, such as ["head", "fusion"]; only these are shuffled. None: all. The model given
    stays as it is. Adebayo et al. 2018 (arXiv 1810.03292) draw new weights as before a training instead.
    """
    network = copy.deepcopy(parts_of(model)[0])
    if isinstance(parts, str):
        raise ModelInputError(f"parts={parts[:20]!r}: give a list of names, such as [{parts[:20]!r}].")
    chosen = [network] if parts is None else [part_named(network, name) for name in parts]
    generator = torch.Generator().manual_seed(check_count(seed, "seed", 0))
    with torch.no_grad():
        for module in chosen:
            for values in module.parameters():
                order = torch.randperm(values.numel(), generator=generator).to(values.device)
                values.copy_(values.flatten()[order].reshape(values.shape))
    if not isinstance(model, nn.Module):
        twin = copy.copy(model)
        twin.model = network
        return twin
    return network


def part_named(network: nn.Module, name: Any) -> nn.Module:
    """A module of the network by its dotted name, or one sentence."""
    try:
        return network.get_submodule(name)
    except (AttributeError, TypeError):
        raise ModelInputError(f"The network has no part named {str(name)[:30]!r}.") from None


def rank_correlation(one: Any, other: Any) -> float:
    """Spearman's rank correlation of two maps of one size, -1..1: do they put the places in one order?

    0 if one of them is flat, for it then orders nothing.
    """
    from scipy.stats import rankdata

    maps = [check_map(one, "The first map"), check_map(other, "The second map")]
    if maps[0].shape != maps[1].shape:
        raise DataError(
            f"The maps are {tuple(maps[0].shape)} and {tuple(maps[1].shape)}; compare maps of one size."
        )
    ranks = [rankdata(each.numpy().ravel()) for each in maps]
    if any(np.ptp(each) == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


# ------------------------------------------------------------------------------ does it point at the forgery?
def check_map(given: Any, name: str = "The map") -> Tensor:
    """A map as a float64 tensor H x W, or a `DataError` that says in one sentence what is wrong."""
    try:
        found = torch.as_tensor(given).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"{name} must be numbers H x W, and is a {type(given).__name__}.") from None
    if found.ndim != 2 or not found.numel():
        raise DataError(f"{name} must be H x W, one number for each pixel, and is {tuple(found.shape)}.")
    if not torch.isfinite(found).all():
        raise DataError(f"{name} holds NaN or infinite numbers; leave that picture out or mend the model.")
    return found


def check_pair(given: Any, mask: Any) -> tuple[Tensor, Tensor]:
    """A map and its mask: of one size, the mask true somewhere; `DataError` otherwise."""
    found = check_map(given)
    try:
        inside = torch.as_tensor(mask).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"The mask must be True and False, H x W, and is a {type(mask).__name__}.") from None
    if inside.dtype != torch.bool or inside.shape != found.shape:
        kind = str(inside.dtype).removeprefix("torch.")
        raise DataError(
            f"The mask must be bool, as large as the map, {tuple(found.shape)}; it is {kind} "
            f"{tuple(inside.shape)}."
        )
    if not inside.any():
        raise DataError("The mask is empty: there is no place to point at.")
    return found, inside


def check_lists(maps: Any, masks: Any) -> list[tuple[Tensor, Tensor]]:
    """As many maps as masks, at least one, each checked; `DataError` names the first bad one."""
    try:
        maps, masks = list(maps), list(masks)
    except TypeError:
        raise DataError("Give a list of maps and a list of masks, one of each for every picture.") from None
    if len(maps) != len(masks) or not maps:
        raise DataError(f"There are {len(maps)} maps and {len(masks)} masks; each picture needs one of both.")
    pairs = []
    for i, (each, mask) in enumerate(zip(maps, masks, strict=True)):
        try:
            pairs.append(check_pair(each, mask))
        except DataError as error:
            raise DataError(f"Picture {i}: {error}") from None
    return pairs


def pointing_game(maps: Sequence[Any], masks: Sequence[Any]) -> np.ndarray:
    """1 for each map whose largest value lies inside its mask, else 0; float64, one a picture.

    Where several places share the largest value, one of them is taken at random, on average: the share of
    them that lies inside. A flat map thus gets what guessing gets. Zhang et al. 2016, arXiv 1608.00507.
    """
    hits = []
    for found, inside in check_lists(maps, masks):
        largest = found == found.max()
        hits.append(int((largest & inside).sum()) / int(largest.sum()))
    return np.array(hits)


def energy_inside(maps: Sequence[Any], masks: Sequence[Any]) -> np.ndarray:
    """Which share of each map's positive values lies inside its mask, 0..1, one a picture.

    A map without a positive value gets the mask's share of the picture, as a flat one does. Wang et al. 2020,
    "Score-CAM", arXiv 1910.01279.
    """
    shares = []
    for found, inside in check_lists(maps, masks):
        positive = found.clamp(min=0)
        whole = positive.sum()
        shares.append(float(positive[inside].sum() / whole) if whole > 0 else float(inside.double().mean()))
    return np.array(shares)


def mean_interval(
    values: Any, n: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """The mean of one number a picture, with a percentile bootstrap interval: (mean, low, high).

    For a difference between two methods on the same pictures, give the differences.
    """
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("mean_interval needs one number for each picture.") from None
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DataError("mean_interval needs a flat list of finite numbers, one a picture, at least one.")
    draws = np.random.default_rng(seed).integers(len(values), size=(n, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)


def deletion_curve(
    model: Any,
    image: Tensor,
    found: Any,
    steps: int = 16,
    fill: Any = "mean",
    insert: bool = False,
) -> np.ndarray:
    """The logit while pixels are replaced, the map's largest first: float64, steps + 1 values.

    Entry k has the share k / steps replaced by `fill` (see `fill_picture`). insert: the other way round, the
    filled picture gets its own pixels back, the largest first. Equal values go in a random order, always the
    same. Petsiuk et al. 2018, "RISE", arXiv 1806.07421 (with probabilities; a logit does not saturate).
    """
    network, preprocessing = parts_of(model)
    image, steps = check_picture(image), check_count(steps, "steps")
    values = check_map(found)
    if values.shape != image.shape[1:]:
        raise DataError(
            f"The map is {tuple(values.shape)} and the picture {tuple(image.shape[1:])}; give both one size."
        )
    start, end = image, fill_picture(image, fill)
    if insert:
        start, end = end, start
    anyhow = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(0))
    order = anyhow[torch.argsort(values.flatten()[anyhow], descending=True, stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    rank = rank.reshape(values.shape)
    pictures = (torch.where(rank < round(k * len(order) / steps), end, start) for k in range(steps + 1))
    with untouched(network):
        return predict_logits(network, pictures, preprocessing)
