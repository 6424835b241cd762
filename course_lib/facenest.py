"""FaceNeSt, twice: `facenest()` is the detector of this course, `facenest_reference()` the published layout.

Both look at a face at four scales, refine them with `GLCSAttention`, and fuse the four with learned weights.
Ours answers with one logit, of *fake*; the reference keeps the two logits it was published with.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .errors import ModelInputError
from .layers import (
    BRANCHES,
    FUSION_MODES,
    AdaptivelyWeightedMultiScaleAttention,
    GLCSAttention,
    ResidualBlock,
    require_feature_map,
)

MIN_SIDE = 32


# --------------------------------------------------------------------------------------------------- ours


@dataclass(frozen=True)
class FaceNeStConfig:
    """Everything that `facenest()` needs to know; saved beside the weights, so each variant loads its own.

    width: channels of the first scale; the others have 2, 4 and 8 times as many.
    depths: residual blocks at each of the four scales. The first may be 0: then the stem's map is the first
        scale. A block there costs more than any other, because it runs at every pixel (lesson 10).
    high_pass: True shows the network only what is left after each pixel's neighbourhood is subtracted, see
        `high_pass`; False shows it the picture.
    stem_stride: 1 keeps every pixel; 2 or 4 throws fine evidence away and is 4 or 16 times cheaper.
    residual: False builds plain blocks without shortcuts.
    attend: scales whose blocks hold a `GLCSAttention`, 0 the finest, 3 the coarsest; () switches it off. A
        scale without a block has none.
    branches: attention maps that are on, any of "lc", "gc", "ls", "gs"; () switches it off, too. The two
        global ones are off by default: they cost time, and no measurement of lesson 10 shows a gain.
    reduced, grid: channels and key grid of the spatial attention, see `GLCSAttention`.
    fusion: "dynamic", "softmax", "static" or "none", see `AdaptivelyWeightedMultiScaleAttention`.
    fusion_width: length of the vector that stands for each scale.
    dropout: share of that vector dropped before the last linear layer, in training; 0 leaves the layer out.
    """

    width: int = 16
    depths: tuple[int, int, int, int] = (0, 1, 1, 1)
    high_pass: bool = True
    stem_stride: int = 1
    residual: bool = True
    attend: tuple[int, ...] = (3,)
    branches: tuple[str, ...] = ("lc", "ls")
    reduced: int = 8
    grid: int = 4
    fusion: str = "dynamic"
    fusion_width: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        # JSON turns tuples into lists; turn them back, so that a saved config equals the one that made it.
        for name in ("depths", "attend", "branches"):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)):
                raise ModelInputError(
                    f"facenest({name}={value!r}): give a list or tuple, such as {DEFAULTS[name]!r}."
                )
            object.__setattr__(self, name, tuple(value))
        # Only the first scale can do without a block: the others need one to halve the side.
        if len(self.depths) != 4 or not all(map(_is_count, self.depths, (0, 1, 1, 1))):
            raise ModelInputError(
                f"facenest(depths={self.depths!r}): give four whole numbers, the first 0 or more, the others "
                f"1 or more."
            )
        for name in ("width", "reduced", "grid", "fusion_width"):
            value = getattr(self, name)
            if not _is_count(value):
                raise ModelInputError(f"facenest({name}={value!r}): give a whole number, 1 or more.")
        for name in ("high_pass", "residual"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ModelInputError(f"facenest({name}={value!r}): give True or False.")
        if self.stem_stride not in (1, 2, 4):
            raise ModelInputError(f"facenest(stem_stride={self.stem_stride!r}): choose 1, 2 or 4.")
        if any(isinstance(i, bool) or i not in (0, 1, 2, 3) for i in self.attend):
            raise ModelInputError(
                f"facenest(attend={self.attend!r}): name scales by their numbers, 0 (finest) to 3 (coarsest)."
            )
        unknown = [name for name in self.branches if name not in BRANCHES]
        if unknown:
            raise ModelInputError(
                f"facenest(branches=...) has no branch {unknown[0]!r}; choose among {', '.join(BRANCHES)}."
            )
        if self.fusion not in FUSION_MODES:
            raise ModelInputError(
                f"facenest(fusion={self.fusion!r}): choose among {', '.join(FUSION_MODES)}."
            )
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ModelInputError(
                f"facenest(dropout={self.dropout!r}): give a number from 0 up to, not including, 1."
            )

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON; `facenest(**config.to_dict())` builds the same network."""
        values = asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def high_pass(x: Tensor) -> Tensor:
    """B x C x H x W -> the same shape: every pixel minus the mean of the 3 x 3 pixels around it.

    Faces, light and colour are coarse and vanish; grain, edges and the traces of up-sampling stay. Content is
    both the loudest thing in a picture and the one that must not decide, so looking at what is left makes
    learning faster and shortcuts rarer. Forensics has long begun this way (Fridrich & Kodovsky 2012, "Rich
    models for steganalysis", doi 10.1109/TIFS.2012.2190402; Bayar & Stamm 2016, doi 10.1145/2909827.2930786).
    """
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        # Half precision would round away just the small differences that are wanted: step out of it.
        with torch.autocast(device, enabled=False):
            return high_pass(x)
    # One 3x3 convolution for each channel. `avg_pool2d` gives the same numbers, and on a CPU, with only three
    # channels, takes six times as long; so would this convolution if the channels were not last in memory.
    x = x.contiguous(memory_format=torch.channels_last)
    ones = x.new_ones(x.shape[1], 1, 3, 3)
    total = F.conv2d(x, ones, padding=1, groups=x.shape[1])
    count = F.conv2d(x.new_ones(1, 1, *x.shape[2:]), ones[:1], padding=1)  # 9, at an edge 6, in a corner 4
    return x - total / count


DEFAULTS = {field.name: field.default for field in fields(FaceNeStConfig)}


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class FaceNeSt(nn.Module):
    """Images B x 3 x H x W -> logits of *fake*, shape (B,); `torch.sigmoid` of them is P(fake).

    Images are floats, normalised by `(x / 255 - 0.5) / 0.25` to about -2..2, of any height and width from 32
    up: the network is convolutional throughout, so it trains on crops and judges whole images.

    A stem, whose map is the first of four scales, three stages of residual blocks (the other scales) with
    attention in the coarsest, a fusion over the four, a head.

    With `return_details=True` it returns `(logit, details)`. At scale i a cell is `stem_stride` * 2^i
    pixels wide; h and w are the image's sides divided by that, rounded up.

    - details["scale_weights"]: B x 4, how much each scale counted, finest first
    - details["maps"]: four tensors B x h x w in [0, 1], what spatial attention asked for at each scale: the
      mean of the local and the global map of its last block. 0.5 is "no opinion", and is what a scale
      without spatial attention shows
    - details["local_maps"], details["global_maps"]: the two apart, each four tensors or None
    - details["features"]: the four feature maps of the trunk, B x C_i x h x w
    """

    def __init__(self, config: FaceNeStConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceNeStConfig()
        widths = [config.width * 2**i for i in range(4)]
        # A stride of 4 gets a 5x5 kernel: with 3x3, one pixel column in four would never be looked at.
        kernel = max(3, config.stem_stride + 1)
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], kernel, stride=config.stem_stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList()
        channels = widths[0]
        for i, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            blocks = []
            for j in range(depth):
                # The first block of each stage but the first halves the side.
                stride = 2 if i > 0 and j == 0 else 1
                attention = None
                if i in config.attend and config.branches:
                    attention = GLCSAttention(width, config.branches, config.reduced, config.grid)
                block = ResidualBlock(channels, width, stride, config.residual, attention)
                # Not from 0, as a block begins: with four blocks and few updates it learns more (lesson 10).
                nn.init.ones_(block.bn2.weight)
                blocks.append(block)
                channels = width
            self.stages.append(nn.Sequential(*blocks))
        self.fusion = AdaptivelyWeightedMultiScaleAttention(widths, config.fusion_width, config.fusion)
        dropout = [nn.Dropout(config.dropout)] if config.dropout else []
        self.head = nn.Sequential(
            nn.BatchNorm1d(config.fusion_width),
            nn.ReLU(inplace=True),
            *dropout,
            nn.Linear(config.fusion_width, 1),
        )

    def forward(self, x: Tensor, return_details: bool = False) -> Tensor | tuple[Tensor, dict[str, Any]]:
        self.check_input(x)
        if self.config.high_pass:
            x = high_pass(x)
        x = self.stem(x)
        features, maps = [], []
        for stage in self.stages:
            found: dict[str, Tensor] = {}  # a stage without blocks hands on what it is given
            for block in stage:
                x, found = block(x, return_maps=True)
            features.append(x)
            maps.append(found)
        fused, scale_weights = self.fusion(features)
        logit = self.head(fused).squeeze(-1)
        if not return_details:
            return logit
        return logit, {"scale_weights": scale_weights, "features": features, **place_maps(features, maps)}

    def check_input(self, x: Tensor) -> None:
        """Raise `ModelInputError` unless `x` is a float batch B x 3 x H x W with sides of at least 32."""
        require_feature_map(x, 3, "FaceNeSt")
        height, width = x.shape[2:]
        if height < MIN_SIDE or width < MIN_SIDE:
            raise ModelInputError(
                f"FaceNeSt got images of {height} x {width} pixels; it needs at least "
                f"{MIN_SIDE} x {MIN_SIDE}: pass a larger crop."
            )
        if self.training and x.shape[0] == 1:
            raise ModelInputError(
                "FaceNeSt got one image in training mode, and batch norm cannot average over one: call "
                "model.eval() to predict, or train on batches of at least two."
            )


def place_maps(features: list[Tensor], maps: list[dict[str, Tensor]]) -> dict[str, list[Tensor | None]]:
    """The place maps of each scale's attention, B x h x w each (see `FaceNeSt`)."""
    local = [found["ls"].squeeze(1) if "ls" in found else None for found in maps]
    wide = [found["gs"].squeeze(1) if "gs" in found else None for found in maps]
    mean = []
    for x, *pair in zip(features, local, wide, strict=True):
        on = [m for m in pair if m is not None]
        mean.append(sum(on) / len(on) if on else torch.full_like(x[:, 0], 0.5))
    return {"maps": mean, "local_maps": local, "global_maps": wide}


def facenest(**overrides: Any) -> FaceNeSt:
    """Build FaceNeSt; every ablation is one call, for example `facenest(branches=(), fusion="static")`.

    The keywords are the fields of `FaceNeStConfig`. Weights are random, and the same after the same
    `torch.manual_seed`. Raises `ModelInputError` for a keyword or a value that does not exist.
    """
    unknown = sorted(set(overrides) - set(DEFAULTS))
    if unknown:
        raise ModelInputError(f"facenest() has no setting {unknown[0]!r}; it knows {', '.join(DEFAULTS)}.")
    return FaceNeSt(FaceNeStConfig(**overrides))


# --------------------------------------------------------------------------------------- the published layout


class ReferenceGLCSAttention(nn.Module):
    """The published attention, B x C x H x W -> the same shape, with 86 C^2 + 6 C parameters. For study, not
    for use.

        lc = s(L g)      gc = s(G1 g * G2 g)      z = L x      ls = s(K3 z + K5 z + K7 z)      gs = s(z * L z)
        out = (x lc / 2 + x gc / 2) * (x ls / 2 + x gs / 2),      g = mean of x over places, s = sigmoid

    Its faults are the subject of lesson 10. The first: `out` holds x twice, so doubling x quadruples it. The
    second: `gs` multiplies each place with itself and mixes no two places. The third: one matrix L serves
    three purposes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(channels, channels, 1)
        self.global1 = nn.Conv2d(channels, channels, 1)
        self.global2 = nn.Conv2d(channels, channels, 1)
        self.spatial3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.spatial5 = nn.Conv2d(channels, channels, 5, padding=2)
        self.spatial7 = nn.Conv2d(channels, channels, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        g = x.mean(dim=(2, 3), keepdim=True)  # B x C x 1 x 1
        local_channel = torch.sigmoid(self.local(g))
        global_channel = torch.sigmoid(self.global1(g) * self.global2(g))
        z = self.local(x)  # computed once; the published code computes it twice
        local_spatial = torch.sigmoid(self.spatial3(z) + self.spatial5(z) + self.spatial7(z))
        global_spatial = torch.sigmoid(z * self.local(z))
        by_channel = 0.5 * x * local_channel + 0.5 * x * global_channel
        by_place = 0.5 * x * local_spatial + 0.5 * x * global_spatial
        return by_channel * by_place


class ReferenceMultiScaleAttention(nn.Module):
    """Maps B x C_i x H_i x W_i -> B x sum(C_i) x 1 x 1: attention, global maximum, times a free weight."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.attention = nn.ModuleList(ReferenceGLCSAttention(c) for c in channels)
        self.weights = nn.Parameter(torch.full((len(channels),), 1 / len(channels)))

    def forward(self, features: list[Tensor]) -> Tensor:
        pooled = [
            weight * F.adaptive_max_pool2d(attention(x), 1)
            for weight, attention, x in zip(self.weights, self.attention, features, strict=True)
        ]
        return torch.cat(pooled, dim=1)


class FaceNeStReference(nn.Module):
    """The published layout: images B x 3 x 224 x 224 -> two logits, B x 2, with 125,602,822 parameters.

    The published training numbered its folders by the alphabet, so column 0 is *fake* and column 1 *real*:
    not our convention, which is why this network is for lesson 10 and not for `Detector`. P(fake) of it would
    be `softmax(logits, dim=1)[:, 0]`. `features(x)` gives the four maps f0..f3. Other sides work too, from 32
    up.
    """

    CHANNELS = (64, 256, 512, 1024)

    def __init__(self) -> None:
        super().__init__()
        c0, c1, c2, c3 = self.CHANNELS
        self.stem = nn.Sequential(
            nn.Conv2d(3, c0, 7, stride=2, padding=3),
            nn.BatchNorm2d(c0),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.block1 = nn.Sequential(nn.Conv2d(c0, c1, 1), nn.BatchNorm2d(c1), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(c1, c2, 3, stride=2, padding=1), nn.BatchNorm2d(c2), nn.ReLU())
        self.block3 = nn.Sequential(nn.Conv2d(c2, c3, 3, stride=2, padding=1), nn.BatchNorm2d(c3), nn.ReLU())
        self.fusion = ReferenceMultiScaleAttention(self.CHANNELS)
        # The average pool of a 1 x 1 map does nothing; it is kept because it was published.
        self.head = nn.Sequential(
            nn.Conv2d(sum(self.CHANNELS), c2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c2, 2)
        )

    def features(self, x: Tensor) -> list[Tensor]:
        """B x 3 x H x W -> f0 (stride 4), f1 (4), f2 (8), f3 (16)."""
        require_feature_map(x, 3, "FaceNeStReference")
        if min(x.shape[2:]) < MIN_SIDE:
            raise ModelInputError(
                f"FaceNeStReference got images of {x.shape[2]} x {x.shape[3]} pixels; it needs at least "
                f"{MIN_SIDE} x {MIN_SIDE}, and was published for 224 x 224."
            )
        f0 = self.stem(x)
        f1 = self.block1(f0)
        f2 = self.block2(f1)
        f3 = self.block3(f2)
        return [f0, f1, f2, f3]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fusion(self.features(x)))


def facenest_reference() -> FaceNeStReference:
    """Build the published layout: half a gigabyte of weights, random. See `FaceNeStReference`.

    To look at shapes and counts without the memory: `with torch.device("meta"): model =
    facenest_reference()`.
    """
    return FaceNeStReference()


# --------------------------------------------------------------------------------------------------- counting


def count_parameters(module: nn.Module) -> int:
    """How many learned numbers a module holds; the running statistics of batch norm are not learned."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(model: nn.Module, side: int) -> int:
    """Multiply-accumulates for one image 3 x side x side, in convolutions and matrix products.

    Pooling, activations and element-wise products are not counted, as is usual. Runs on shapes only
    (PyTorch's meta device): takes milliseconds and no memory, whatever the size of the model.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2  # a multiply-accumulate is two operations
