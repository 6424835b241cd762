"""The trunk of EfficientNet-Lite0: what a network that has seen a million photographs makes of our question.

`train_faces.py --network efficientnet` sets it beside FaceNeSt. Its weights come from ImageNet; a detector
needs only its first stages, for what tells a generator is texture, not the name of the object, and the last
stages hold three quarters of all weights.

EfficientNet: Tan & Le, ICML 2019, arXiv 1905.11946; the Lite variants (no squeeze-and-excitation, ReLU6):
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The inverted residual block
is from MobileNetV2, Sandler et al., CVPR 2018, arXiv 1801.04381.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from course_lib.errors import ModelInputError
from course_lib.layers import require_feature_map

STAGES = (  # expansion, channels, blocks, stride of the first block, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
MIN_SIDE = 32


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, **options) -> nn.Module:
    """Convolution without bias, batch norm, and ReLU6 unless ``activation_layer=None``."""
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    options = {"activation_layer": nn.ReLU6, "norm_layer": norm, **options}
    if stride == 1:
        return Conv2dNormActivation(in_channels, out_channels, kernel, **options)
    # The weights were learned with one zero more on the right and below than on the left and above.
    less, more = (kernel - 2) // 2, (kernel - 1) // 2
    layer = Conv2dNormActivation(in_channels, out_channels, kernel, stride, padding=0, **options)
    return nn.Sequential(nn.ZeroPad2d((less, more, less, more)), layer)


class InvertedResidual(nn.Module):
    """B x C x H x W -> B x C' x H' x W': widen each pixel, filter each channel by itself, narrow; a shortcut
    where input and output have the same shape."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            *([conv(in_channels, wide, 1)] if expansion > 1 else []),
            conv(wide, wide, kernel, stride, groups=wide),
            conv(wide, out_channels, 1, activation_layer=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        return x + out if self.shortcut else out


class EfficientNetTrunk(nn.Module):
    """Images B x 3 x H x W -> logits of *fake*, shape (B,).

    The first `stages` (1 to 7) of EfficientNet-Lite0, the mean over all places, dropout, one linear layer.

    Images are floats, normalised by `(x / 255 - 0.5) / 0.5` to -1..1, of any height and width from 32 up.
    Raises `ModelInputError` for another input.
    """

    architecture = "efficientnet_trunk"

    def __init__(self, stages: int = 5, dropout: float = 0.2) -> None:
        if isinstance(stages, bool) or stages not in range(1, len(STAGES) + 1):
            raise ModelInputError(f"EfficientNetTrunk(stages={stages!r}): give a whole number from 1 to 7.")
        super().__init__()
        self.config = {"stages": stages, "dropout": dropout}
        self.stem = conv(3, 32, 3, 2)
        blocks, channels = [], 32
        for expansion, out_channels, count, stride, kernel in STAGES[:stages]:
            for i in range(count):
                blocks.append(
                    InvertedResidual(channels, out_channels, expansion, stride if i == 0 else 1, kernel)
                )
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.BatchNorm1d(channels), nn.Dropout(dropout), nn.Linear(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        require_feature_map(x, 3, "EfficientNetTrunk")
        if min(x.shape[2:]) < MIN_SIDE:
            raise ModelInputError(
                f"EfficientNetTrunk got images of {x.shape[2]} x {x.shape[3]} pixels; it needs at least "
                f"{MIN_SIDE} x {MIN_SIDE}: pass a larger crop."
            )
        features = self.blocks(self.stem(x))
        return self.head(features.mean(dim=(2, 3))).squeeze(-1)

    def load_imagenet(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the ImageNet weights of EfficientNet-Lite0, layer by layer in their order.

        ``weights``: the state_dict of the package efficientnet_lite_pytorch. The head
        stays random. Raises `ModelInputError` if a shape does not fit.
        """
        mine = {**self.stem.state_dict(prefix="stem."), **self.blocks.state_dict(prefix="blocks.")}
        theirs = [
            value for name, value in weights.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))
        ]
        for (name, value), other in zip(mine.items(), theirs, strict=False):
            if value.shape != other.shape:
                raise ModelInputError(
                    f"{name} has shape {tuple(value.shape)} here and {tuple(other.shape)} in the ImageNet "
                    "weights; are they those of EfficientNet-Lite0?"
                )
        if len(theirs) < len(mine):
            raise ModelInputError(f"the ImageNet weights hold {len(theirs)} tensors; {len(mine)} are needed.")
        with torch.no_grad():
            self.load_state_dict(
                {name: other.clone() for name, other in zip(mine, theirs, strict=False)}, strict=False
            )
