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
    if not isinstance(x, Tensor):
        raise ModelInputError(
            f"{layer} got a {type(x).__name__}; give it a tensor, batch x channels x h x w."
        )
    if x.ndim != 4:
        raise ModelInputError(
            f"{layer} got a tensor of shape {tuple(x.shape)}; give it four dimensions, batch x channels x "
            f"height x width (one image needs `image.unsqueeze(0)`)."
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


def mean_over_places(x: Tensor) -> Tensor:
    """B x C x H x W -> B x C: `x.mean(dim=(2, 3))`, written so that its gradient is laid out as `x` is.

    In training the channels are last in memory. The gradient of the plain mean comes with the channels first,
    and all backward steps before it then run on mixed layouts, which is slower.
    """
    return x.permute(0, 2, 3, 1).mean(dim=(1, 2))


class ResidualBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, added to a shortcut: B x in x H x W -> B x out x ceil(H/stride) x ceil(W/stride).

    The idea is He et al. 2016 (arXiv 1512.03385). Where the shape changes, the shortcut averages neighbours
    before its 1x1 convolution, so that no pixel is skipped (ResNet-D, He et al. 2019, arXiv 1812.01187). The
    last batch norm starts at zero, so a fresh block passes its shortcut on unchanged (Goyal et al. 2017,
    arXiv 1706.02677). `residual=False` leaves the shortcut out: the plain network of lesson 06.

    `attention`, a `GLCSAttention(out_channels)`, weighs what the two convolutions found, before the shortcut
    is added (the place that Hu et al. 2018, arXiv 1709.01507, gave it). `return_maps=True` returns
    (output, its maps by name); without attention there are none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        residual: bool = True,
        attention: GLCSAttention | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.attention = attention
        self.shortcut: nn.Module | None = None
        if residual:
            nn.init.zeros_(self.bn2.weight)
            self.shortcut = make_shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        require_feature_map(x, self.in_channels, "ResidualBlock")
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        maps: dict[str, Tensor] = {}
        if self.attention is not None:
            out, maps = self.attention(out, return_maps=True)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        out = F.relu(out, inplace=True)
        return (out, maps) if return_maps else out


def make_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The path round a block: nothing at all if the shape stays, else average pooling, 1x1 conv, BN."""
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
    1910.03151), in place of the two linear layers of squeeze-and-excitation (Hu et al. 2018, arXiv
    1709.01507).
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

    Channel i asks every channel j: the C x C matrix softmax_j(q_i k_j) says how much i listens to j, and what
    it hears is a mean of the pooled vector. This is the channel half of arXiv 2107.08000, applied to the
    pooled vector instead of the feature map, so that its cost does not depend on the size of the image.
    """

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self.query_key = nn.Conv1d(1, 2, kernel_size, padding=kernel_size // 2)
        self.scale = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def matrix(self, pooled: Tensor) -> Tensor:
        """B x C -> B x C x C: row i says how channel i divides its attention; every row sums to 1."""
        query, key = self.query_key(pooled.unsqueeze(1)).unbind(dim=1)
        return torch.softmax(query[:, :, None] * key[:, None, :], dim=-1)

    def forward(self, pooled: Tensor) -> Tensor:
        heard = (self.matrix(pooled) * pooled[:, None, :]).sum(dim=-1)  # each row's weighted mean
        return torch.sigmoid(self.scale * heard + self.bias)


class LocalSpatialAttention(nn.Module):
    """Feature map B x d x h x w -> place weights B x 1 x h x w in [0, 1], each from its neighbourhood.

    Three 3x3 convolutions side by side, at dilations 1, 2, 3, see fields of 3, 5 and 7 at the price of 3x3
    (the spatial half of arXiv 2107.08000; CBAM, Woo et al. 2018, arXiv 1807.06521, uses one 7x7 for this).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fields = nn.ModuleList(nn.Conv2d(channels, 1, 3, padding=d, dilation=d) for d in (1, 2, 3))
        for conv in self.fields:
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(sum(conv(x) for conv in self.fields))


class GlobalSpatialAttention(nn.Module):
    """Feature map B x d x h x w -> place weights B x 1 x h x w in [0, 1], each from the whole image.

    Non-local attention (Wang et al. 2018, arXiv 1711.07971): every place asks every other. What it hears is
    one number, because one weight is wanted. The places that answer are first pooled to a `grid` x `grid`
    summary: h*w questions meet grid^2 answers, which is linear in the pixels instead of quadratic.
    """

    def __init__(self, channels: int, grid: int = 4) -> None:
        super().__init__()
        self.grid = grid
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def matrix(self, places: Tensor, cells: Tensor) -> Tensor:
        """B x hw x d, B x cells x d -> B x hw x cells: how a place divides its attention; rows sum to 1."""
        query, key = self.query(places), self.key(cells)
        return torch.softmax(query @ key.transpose(1, 2) / query.shape[-1] ** 0.5, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2)  # B x hw x d
        cells = grid_means(x, self.grid).flatten(2).transpose(1, 2)  # B x grid^2 x d
        heard = self.matrix(places, cells) @ self.value(cells)  # B x hw x 1
        return torch.sigmoid(heard).transpose(1, 2).unflatten(2, x.shape[2:])


def grid_means(x: Tensor, grid: int) -> Tensor:
    """B x d x h x w -> B x d x grid x grid: the mean of each cell, equal to `F.adaptive_avg_pool2d(x, grid)`.

    Written as two matrix products, rows @ x @ columns, because adaptive pooling cannot be exported to ONNX
    for sides that are not known yet.
    """

    def averaging(side: int) -> Tensor:
        """grid x side: row i takes the mean of cell i's pixels; neighbouring cells may share one."""
        cell = torch.arange(grid, device=x.device)[:, None]
        first, end = cell * side // grid, ((cell + 1) * side + grid - 1) // grid
        pixel = torch.arange(side, device=x.device)
        inside = (pixel >= first) & (pixel < end)
        return inside.to(x.dtype) / (end - first).to(x.dtype)

    return averaging(x.shape[2]) @ x @ averaging(x.shape[3]).T


class GLCSAttention(nn.Module):
    """Global-local channel-spatial attention: B x C x H x W -> the same shape, the same numbers re-weighted.

        out = x * ( w0  +  w1 * (2 lc)(2 ls)  +  w2 * (2 gc)(2 gs) ),        w = softmax(stream logits)

    Three streams (identity, local, global; arXiv 2107.08000) are mixed by learned weights that sum to 1. Each
    map lies in [0, 1] and starts at 0.5, so the bracket starts at exactly 1 and stays between 0 and 4: one
    factor of x, and a clear path for its gradient. `branches` switches the four maps on and off; a map that
    is off counts as 0.5, and a stream with neither map is left out.

    The two place maps look at `reduced` channels instead of all; `grid` is explained at
    `GlobalSpatialAttention`.
    """

    # Each stream is one channel map times one place map.
    STREAMS = (("lc", "ls"), ("gc", "gs"))

    def __init__(
        self, channels: int, branches: Sequence[str] = BRANCHES, reduced: int = 8, grid: int = 4
    ) -> None:
        super().__init__()
        unknown = [name for name in branches if name not in BRANCHES]
        if unknown:
            raise ModelInputError(
                f"GLCSAttention has no branch {unknown[0]!r}; choose among {', '.join(BRANCHES)}."
            )
        self.channels = channels
        self.lc = LocalChannelAttention() if "lc" in branches else None
        self.gc = GlobalChannelAttention() if "gc" in branches else None
        self.reduce = nn.Conv2d(channels, reduced, 1) if {"ls", "gs"} & set(branches) else None
        self.ls = LocalSpatialAttention(reduced) if "ls" in branches else None
        self.gs = GlobalSpatialAttention(reduced, grid) if "gs" in branches else None
        self.streams = [pair for pair in self.STREAMS if set(pair) & set(branches)]
        self.stream_logits = nn.Parameter(torch.zeros(1 + len(self.streams))) if self.streams else None

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """B x C x H x W -> the maps that are on, by name: lc, gc are B x C; ls, gs are B x 1 x H x W."""
        maps = {}
        if self.lc is not None or self.gc is not None:
            pooled = mean_over_places(x)
            if self.lc is not None:
                maps["lc"] = self.lc(pooled)
            if self.gc is not None:
                maps["gc"] = self.gc(pooled)
        if self.reduce is not None:
            reduced = F.relu(self.reduce(x))
            if self.ls is not None:
                maps["ls"] = self.ls(reduced)
            if self.gs is not None:
                maps["gs"] = self.gs(reduced)
        return maps

    def gate(self, maps: dict[str, Tensor], x: Tensor) -> Tensor:
        """The bracket of the formula, B x C x H x W.

        Each stream is (its places) times (its channels), so the sum over streams is one matrix product, H*W x
        streams times streams x C. It comes out with the channels last in memory, as `x` has them in training.
        """
        batch, channels, height, width = x.shape
        places, by_channel = [x.new_ones(batch, 1, height, width)], [x.new_ones(batch, channels)]
        for channel, place in self.streams:
            places.append(2 * maps[place] if place in maps else places[0])
            by_channel.append(2 * maps[channel] if channel in maps else by_channel[0])
        weights = torch.softmax(self.stream_logits, dim=0)
        left = torch.cat(places, dim=1).flatten(2).transpose(1, 2)  # B x HW x streams
        right = torch.stack(by_channel, dim=1) * weights[:, None]  # B x streams x C
        return (left @ right).transpose(1, 2).unflatten(2, (height, width))

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        require_feature_map(x, self.channels, "GLCSAttention")
        maps = self.maps(x)
        out = x * self.gate(maps, x) if self.streams else x
        return (out, maps) if return_maps else out


class AdaptivelyWeightedMultiScaleAttention(nn.Module):
    """Feature maps in, one vector out: list of B x C_i x H_i x W_i -> (B x width, weights B x scales).

    Three steps:

    1. vectors: the mean of each scale over all its places, and a linear layer to a common `width`;
    2. weights: one number for each scale; `mode` says where they come from;
    3. fusion: the vectors, weighted and added.

    - "dynamic": softmax(MLP(all vectors)): the weights depend on the image (as in SKNet, Li et al. 2019,
      arXiv 1903.06586, and ASFF, Liu et al. 2019, arXiv 1911.09516)
    - "softmax": one learned softmax, the same for all images
    - "static": free numbers, starting at 1/scales, as in the published layout; they need not sum to 1
    - "none": the last scale alone, as in an ordinary network; weights (0, ..., 0, 1)
    """

    def __init__(self, channels: Sequence[int], width: int = 32, mode: str = "dynamic") -> None:
        super().__init__()
        if mode not in FUSION_MODES:
            raise ModelInputError(
                f"There is no fusion mode {mode!r}; choose among {', '.join(FUSION_MODES)}."
            )
        self.channels = tuple(channels)
        self.mode = mode
        scales = len(self.channels)
        used = self.channels if mode != "none" else self.channels[-1:]
        self.project = nn.ModuleList(nn.Linear(c, width) for c in used)
        if mode == "dynamic":
            self.score = nn.Sequential(nn.Linear(scales * width, width), nn.ReLU(), nn.Linear(width, scales))
            # The last layer starts at zero: every scale begins with the weight 1/scales.
            nn.init.zeros_(self.score[-1].weight)
            nn.init.zeros_(self.score[-1].bias)
        elif mode == "softmax":
            self.logits = nn.Parameter(torch.zeros(scales))
        elif mode == "static":
            self.weights = nn.Parameter(torch.full((scales,), 1 / scales))

    def scale_weights(self, vectors: Tensor) -> Tensor:
        """B x scales x width -> B x scales. Not for the mode "none", which has one scale and no choice."""
        if self.mode == "dynamic":
            return torch.softmax(self.score(vectors.flatten(1)), dim=-1)
        weights = self.weights if self.mode == "static" else torch.softmax(self.logits, dim=0)
        # A copy: a view of a parameter requires a gradient even under no_grad; `count_macs` stops there.
        return weights.repeat(vectors.shape[0], 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        self.check_input(features)
        if self.mode == "none":
            last = self.project[0](mean_over_places(features[-1]))
            weights = F.pad(last.new_ones(last.shape[0], 1), (len(features) - 1, 0))  # 0, ..., 0, 1
            return last, weights
        vectors = [project(mean_over_places(x)) for project, x in zip(self.project, features, strict=True)]
        stacked = torch.stack(vectors, dim=1)  # B x scales x width
        weights = self.scale_weights(stacked)
        return (weights.unsqueeze(-1) * stacked).sum(dim=1), weights

    def check_input(self, features: Sequence[Tensor]) -> None:
        """Raise `ModelInputError` unless there is one feature map a scale, each with its channels."""
        name = "AdaptivelyWeightedMultiScaleAttention"
        if len(features) != len(self.channels):
            raise ModelInputError(
                f"{name} got {len(features)} feature maps and was built for {len(self.channels)}; pass one "
                f"map a scale, the finest first."
            )
        for x, channels in zip(features, self.channels, strict=True):
            require_feature_map(x, channels, name)
