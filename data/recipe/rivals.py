"""The networks that FaceNeSt is compared with in lesson 10; for that comparison only.

Each takes normalised images B x 3 x H x W and answers with one logit of *fake*, shape (B,), as FaceNeSt does.
`high_pass=True` puts lesson 03's filter in front, so that a comparison can change the network and nothing
else. The three ResNets have FaceNeSt's trunk: a 3x3 stem of stride 1 and four blocks of w, 2w, 4w and 8w
channels, then a mean over places and one linear layer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import efficientnet, mobilenetv3

from course_lib.facenest import facenest, high_pass
from course_lib.layers import ResidualBlock, mean_over_places


class ChannelGate(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507): B x C x H x W -> the same shape."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.excite = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor | tuple[Tensor, dict]:
        out = x * torch.sigmoid(self.excite(mean_over_places(x)))[:, :, None, None]
        return (out, {}) if return_maps else out


class ChannelAndPlaceGate(ChannelGate):
    """CBAM (Woo et al. 2018, arXiv 1807.06521): a channel gate from mean and maximum, then a place gate."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__(channels, reduction)
        self.place = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1))

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor | tuple[Tensor, dict]:
        mean, largest = mean_over_places(x), F.adaptive_max_pool2d(x, 1).flatten(1)
        x = x * torch.sigmoid(self.excite(mean) + self.excite(largest))[:, :, None, None]
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        out = x * torch.sigmoid(self.place(seen))
        return (out, {}) if return_maps else out


class MeanOverPlaces(nn.Module):
    """B x C x H x W -> B x C, the way FaceNeSt does it, so that no rival is slower for a detail."""

    def forward(self, x: Tensor) -> Tensor:
        return mean_over_places(x)


class Rival(nn.Module):
    """A trunk that answers B x 1, and the high-pass in front of it if wanted."""

    def __init__(self, trunk: nn.Module, high_pass: bool) -> None:
        super().__init__()
        self.trunk, self.high_pass = trunk, high_pass

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(high_pass(x) if self.high_pass else x).squeeze(-1)


def resnet(gate: type[nn.Module] | None, width: int = 16, at_full_size: bool = True) -> nn.Module:
    """Stem, a residual block for each scale, each with a gate or none; mean, linear."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    before = width
    for i in range(0 if at_full_size else 1, 4):
        after = width * 2**i
        block = ResidualBlock(before, after, 2 if i else 1, attention=gate(after) if gate else None)
        nn.init.ones_(block.bn2.weight)  # as in FaceNeSt
        layers.append(block)
        before = after
    return nn.Sequential(*layers, MeanOverPlaces(), nn.Linear(before, 1))


def mobilenet(width: float) -> nn.Module:
    """torchvision's MobileNetV3-small with `width` times the channels, from scratch."""
    return mobilenetv3.mobilenet_v3_small(weights=None, num_classes=1, width_mult=width)


def efficient(width: float) -> nn.Module:
    """torchvision's EfficientNet-B0 with `width` times the channels, from scratch."""
    settings, last = efficientnet._efficientnet_conf("efficientnet_b0", width_mult=width, depth_mult=1.0)
    return efficientnet.EfficientNet(settings, dropout=0.2, last_channel=last, num_classes=1)


# "Slim" ones have about as many parameters as FaceNeSt; the others are as published.
TRUNKS = {
    "plain ResNet": lambda: resnet(None),
    "SE-ResNet": lambda: resnet(ChannelGate),
    "plain ResNet, no block at full size": lambda: resnet(None, at_full_size=False),
    "SE-ResNet, no block at full size": lambda: resnet(ChannelGate, at_full_size=False),
    "CBAM-ResNet": lambda: resnet(ChannelAndPlaceGate),
    "MobileNetV3-small": lambda: mobilenet(1.0),
    "MobileNetV3-small, slim": lambda: mobilenet(0.45),
    "EfficientNet-B0": lambda: efficient(1.0),
    "EfficientNet-B0, slim": lambda: efficient(0.25),
}
NETWORKS = ("FaceNeSt", *TRUNKS)


def build(name: str, high_pass: bool = True) -> nn.Module:
    """One of `NETWORKS`, with random weights."""
    return facenest(high_pass=high_pass) if name == "FaceNeSt" else Rival(TRUNKS[name](), high_pass)
