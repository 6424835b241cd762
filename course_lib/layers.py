"""The layers of FaceNeSt, each small enough to be read aloud.

Shapes are written `B x C x H x W` (images, channels, height, width). Every layer takes float tensors in any
memory format, works on any side, and keeps the shape of its input unless it says otherwise.

The attention layers come in the four kinds of the global-local attention module (Song, Han and Avrithis,
"All the attention you need", WACV 2022, arXiv 2107.08000):

|         | which channel?            | which place?              |
|---------|---------------------------|---------------------------|
| local   | `LocalChannelAttention`   | `LocalSpatialAttention`   |
| global  | `GlobalChannelAttention`  | `GlobalSpatialAttention`  |

Each of the four answers with weights between 0 and 1 and starts at exactly 0.5 everywhere, "no opinion".
`GLCSAttention` mixes them so that no opinion means no change: a fresh layer is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ModelInputError

BRANCHES = ("lc", "gc", "ls", "gs")
FUSION_MODES = ("dynamic", "softmax", "static", "none")


def require_feature_map(x: Tensor, channels: int, layer: str) -> None:
    """Raise `ModelInputError` unless `x` is a float feature map B x `channels` x H x W."""
    if x.ndim != 4:
        raise ModelInputError(
            f"{layer} got a tensor of shape {tuple(x.shape)}; give it four dimensions, batch x channels x height x "
            f"width (one image needs `image.unsqueeze(0)`)."
        )
    if x.shape[1] != channels:
        raise ModelInputError(
            f"{layer} got {x.shape[1]} channels (shape {tuple(x.shape)}) and was built for {channels}; "
            f"build it with the channel count of its input, and put channels before height and width."
        )
    if not x.is_floating_point():
        raise ModelInputError(
            f"{layer} got {x.dtype} numbers; turn them into floats first, for images with "
            f"`(x.float() / 255 - 0.5) / 0.25`."
        )


class ResidualBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, added to a shortcut: B x in x H x W -> B x out x ceil(H/stride) x ceil(W/stride).

    The idea is He et al. 2016 (arXiv 1512.03385). Where the shape changes, the shortcut averages neighbours before
    its 1x1 convolution, so that no pixel is skipped (ResNet-D, He et al. 2019, arXiv 1812.01187). The last batch
    norm starts at zero, so a fresh block passes its shortcut on unchanged (Goyal et al. 2017, arXiv 1706.02677).
    `residual=False` leaves the shortcut out: the plain network of lesson 06.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if residual:
            nn.init.zeros_(self.bn2.weight)
            self.shortcut = make_shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        require_feature_map(x, self.in_channels, "ResidualBlock")
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return F.relu(out)


def make_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The path round a block: nothing at all if the shape stays, else average pooling, 1x1 convolution, BN."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    layers: list[nn.Module] = []
    if stride > 1:
        # ceil_mode: an odd side is halved upwards, as the 3x3 convolution with padding 1 does.
        layers.append(nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False))
    layers += [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers)


class LocalChannelAttention(nn.Module):
    """Pooled vector B x C -> channel weights B x C in [0, 1], each from its neighbours in the channel list.

    Efficient channel attention: one short 1-D convolution along the channels (ECA, Wang et al. 2020, arXiv
    1910.03151), in place of the two linear layers of squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507).
    """

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(pooled.unsqueeze(1)).squeeze(1))


class GlobalChannelAttention(nn.Module):
    """Pooled vector B x C -> channel weights B x C in [0, 1], each from all the channels.

    Channel i asks every channel j: the C x C matrix softmax_j(q_i k_j) says how much i listens to j, and what it
    hears is a mean of the pooled vector (the channel half of arXiv 2107.08000, applied to the pooled vector only,
    so that its cost does not depend on the size of the image).
    """

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self.query = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2)
        self.key = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2)
        self.scale = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def matrix(self, pooled: Tensor) -> Tensor:
        """B x C -> B x C x C: row i says how channel i divides its attention; every row sums to 1."""
        vector = pooled.unsqueeze(1)
        query, key = self.query(vector), self.key(vector)
        return torch.softmax(query.transpose(1, 2) @ key, dim=-1)

    def forward(self, pooled: Tensor) -> Tensor:
        heard = (self.matrix(pooled) @ pooled.unsqueeze(-1)).squeeze(-1)
        return torch.sigmoid(self.scale * heard + self.bias)


class LocalSpatialAttention(nn.Module):
    """Feature map B x d x h x w -> place weights B x 1 x h x w in [0, 1], each from its neighbourhood.

    Three 3x3 convolutions side by side at dilations 1, 2, 3 see fields of 3, 5 and 7 pixels at the price of 3x3
    (the spatial half of arXiv 2107.08000; CBAM, Woo et al. 2018, arXiv 1807.06521, uses one 7x7 for this).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=d, dilation=d, groups=channels) for d in (1, 2, 3)
        )
        self.to_map = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.to_map.weight)
        nn.init.zeros_(self.to_map.bias)

    def forward(self, x: Tensor) -> Tensor:
        seen = sum(branch(x) for branch in self.branches)
        return torch.sigmoid(self.to_map(F.relu(seen)))


class GlobalSpatialAttention(nn.Module):
    """Feature map B x d x h x w -> place weights B x 1 x h x w in [0, 1], each from the whole image.

    Non-local attention (Wang et al. 2018, arXiv 1711.07971): every place asks every other. Keys and values are
    pooled to a `grid` x `grid` summary, so that h*w questions meet grid^2 answers: linear in pixels, not quadratic.
    """

    def __init__(self, channels: int, grid: int = 4) -> None:
        super().__init__()
        self.grid = grid
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.to_map = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.to_map.weight)
        nn.init.zeros_(self.to_map.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        summary = F.adaptive_avg_pool2d(x, self.grid)
        query = self.query(x).flatten(2).transpose(1, 2)  # B x hw x d
        key = self.key(summary).flatten(2)  # B x d x grid^2
        value = self.value(summary).flatten(2).transpose(1, 2)  # B x grid^2 x d
        attention = torch.softmax(query @ key / channels**0.5, dim=-1)  # B x hw x grid^2
        heard = (attention @ value).transpose(1, 2).reshape(batch, channels, height, width)
        return torch.sigmoid(self.to_map(F.relu(x + heard)))


class GLCSAttention(nn.Module):
    """Global-local channel-spatial attention: B x C x H x W -> the same shape, the same numbers re-weighted.

        out = x * ( w0  +  w1 * (2 lc)(2 ls)  +  w2 * (2 gc)(2 gs) ),     w = softmax(stream logits)

    Three streams (identity, local, global), mixed by learned weights that sum to 1. Each map lies in [0, 1] and starts
    at 0.5, so the bracket starts at exactly 1 and never exceeds 4: one factor of x, a clear path for the gradient.
    `branches` switches the four maps on and off; a map that is off counts as 0.5, a stream with none is left out.

    To be cheap, the maps are made from a small picture of x: averaged over `pool` x `pool` pixels and reduced to
    `reduced` channels; the finished maps are enlarged again.
    """

    def __init__(
        self,
        channels: int,
        branches: Sequence[str] = BRANCHES,
        reduced: int = 8,
        grid: int = 4,
        pool: int = 1,
    ) -> None:
        super().__init__()
        unknown = [name for name in branches if name not in BRANCHES]
        if unknown:
            raise ModelInputError(f"GLCSAttention has no branch {unknown[0]!r}; choose among {', '.join(BRANCHES)}.")
        self.channels = channels
        self.branches = tuple(name for name in BRANCHES if name in branches)
        self.pool = pool
        self.lc = LocalChannelAttention() if "lc" in branches else None
        self.gc = GlobalChannelAttention() if "gc" in branches else None
        self.reduce = nn.Conv2d(channels, reduced, 1) if {"ls", "gs"} & set(branches) else None
        self.ls = LocalSpatialAttention(reduced) if "ls" in branches else None
        self.gs = GlobalSpatialAttention(reduced, grid) if "gs" in branches else None
        self.has_local = self.lc is not None or self.ls is not None
        self.has_global = self.gc is not None or self.gs is not None
        self.stream_logits = nn.Parameter(torch.zeros(1 + self.has_local + self.has_global))

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """The maps that are on, by name: lc, gc are B x C; ls, gs are B x 1 x ceil(H/pool) x ceil(W/pool)."""
        small = x
        if self.pool > 1:
            small = F.avg_pool2d(x, self.pool, ceil_mode=True, count_include_pad=False)
        maps = {}
        pooled = small.mean(dim=(2, 3))
        if self.lc is not None:
            maps["lc"] = self.lc(pooled)
        if self.gc is not None:
            maps["gc"] = self.gc(pooled)
        if self.reduce is not None:
            reduced = self.reduce(small)
            if self.ls is not None:
                maps["ls"] = self.ls(reduced)
            if self.gs is not None:
                maps["gs"] = self.gs(reduced)
        return maps

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        require_feature_map(x, self.channels, "GLCSAttention")
        maps = self.maps(x)
        weights = torch.softmax(self.stream_logits, dim=0)
        streams = []
        if self.has_local:
            streams.append((maps.get("lc"), maps.get("ls")))
        if self.has_global:
            streams.append((maps.get("gc"), maps.get("gs")))
        gate = weights[0]
        for weight, (channel, place) in zip(weights[1:], streams, strict=True):
            stream = weight
            if channel is not None:
                stream = stream * 2 * channel[:, :, None, None]
            if place is not None:
                stream = stream * 2 * place
            gate = gate + stream
        if gate.ndim == 4 and gate.shape[2:] != x.shape[2:] and self.reduce is not None:
            gate = F.interpolate(gate, size=x.shape[2:], mode="bilinear")
        out = x * gate
        return (out, maps) if return_maps else out


class AdaptivelyWeightedMultiScaleAttention(nn.Module):
    """Four scales in, one vector out: list of B x C_i x H_i x W_i -> (B x width, weights B x scales).

    Each scale is pooled over all its places (mean and maximum), projected to one width, and weighted:

    - "dynamic": weights = softmax(MLP(all scales)): they depend on the image (as in SKNet, Li et al. 2019, arXiv
      1903.06586, and ASFF, Liu et al. 2019, arXiv 1911.09516)
    - "softmax": one learned softmax for all images
    - "static": four free numbers, starting at 1/4, as in `facenest_reference`
    - "none": the last scale alone, as in an ordinary network; weights (0, 0, 0, 1)

    Weights sum to 1 except in "static". The name follows the reference; what is "attended to" is a scale.
    """

    def __init__(self, channels: Sequence[int], width: int = 64, mode: str = "dynamic") -> None:
        super().__init__()
        if mode not in FUSION_MODES:
            raise ModelInputError(f"There is no fusion mode {mode!r}; choose among {', '.join(FUSION_MODES)}.")
        self.channels = tuple(channels)
        self.mode = mode
        scales = len(self.channels)
        used = self.channels if mode != "none" else self.channels[-1:]
        self.project = nn.ModuleList(nn.Linear(2 * c, width) for c in used)
        if mode == "dynamic":
            self.score = nn.Sequential(
                nn.Linear(scales * width, width // 2), nn.ReLU(), nn.Linear(width // 2, scales)
            )
            # The last layer starts at zero: every scale begins with the weight 1/scales.
            nn.init.zeros_(self.score[-1].weight)
            nn.init.zeros_(self.score[-1].bias)
        elif mode == "softmax":
            self.logits = nn.Parameter(torch.zeros(scales))
        elif mode == "static":
            self.weights = nn.Parameter(torch.full((scales,), 1 / scales))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        if len(features) != len(self.channels):
            raise ModelInputError(
                f"AdaptivelyWeightedMultiScaleAttention got {len(features)} feature maps and was built for "
                f"{len(self.channels)}; pass one map a scale, the finest first."
            )
        for x, channels in zip(features, self.channels, strict=True):
            require_feature_map(x, channels, "AdaptivelyWeightedMultiScaleAttention")
        if self.mode == "none":
            features = features[-1:]
        vectors = [
            project(mean_and_max(x)) for project, x in zip(self.project, features, strict=True)
        ]  # each B x width
        stacked = torch.stack(vectors, dim=1)  # B x scales x width
        weights = self.scale_weights(stacked)
        if self.mode == "none":
            return vectors[0], weights
        return (weights.unsqueeze(-1) * stacked).sum(dim=1), weights

    def scale_weights(self, stacked: Tensor) -> Tensor:
        """B x scales x width -> B x scales."""
        batch = stacked.shape[0]
        if self.mode == "dynamic":
            return torch.softmax(self.score(stacked.flatten(1)), dim=-1)
        if self.mode == "softmax":
            return torch.softmax(self.logits, dim=0).expand(batch, -1)
        if self.mode == "static":
            return self.weights.expand(batch, -1)
        last_only = stacked.new_zeros(batch, len(self.channels))
        last_only[:, -1] = 1
        return last_only


def mean_and_max(x: Tensor) -> Tensor:
    """B x C x H x W -> B x 2C: the mean and the maximum of each channel over all places."""
    # adaptive_max_pool2d, because on a CPU its gradient is nine times as fast as that of `x.amax`.
    return torch.cat([x.mean(dim=(2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1)], dim=1)
