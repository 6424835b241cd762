"""Stand-ins that tests share: a small data set in memory, and networks that train in a second."""

import numpy as np
import torch
from torch import nn

from course_lib import facenest, save_checkpoint


class ToySet:
    """Blocky random pictures; the fakes carry a faint checkerboard. Has what `fit` and `evaluate` need of a
    data set.

    sides: the picture sizes to go through in turn. fail_at: raise this error when pictures have been asked
    for so often, to break a training run at an exact place.
    """

    def __init__(self, n=48, seed=0, sides=(40,), fail_at=None, error=None):
        rng = np.random.default_rng(seed)
        self.labels = np.arange(n) % 2
        self.paths = [f"/nowhere/{seed}/{i}.jpg" for i in range(n)]
        self.images, self.asked, self.fail_at, self.error = [], 0, fail_at, error
        for i, y in enumerate(self.labels):
            side = sides[i % len(sides)]
            blocks = rng.integers(0, 220, (3, side // 4, side // 4)).repeat(4, 1).repeat(4, 2)
            blocks = blocks + 30 * y * (np.indices((side, side)).sum(0) % 2)
            self.images.append(torch.from_numpy(blocks.clip(0, 255).astype(np.uint8)))

    def __len__(self):
        return len(self.labels)

    def uint8(self, i):
        self.asked += 1
        if self.asked == self.fail_at:
            raise self.error or RuntimeError("injected")
        return self.images[i]


class ToyNet(nn.Module):
    """Convolution, batch norm, dropout, a linear layer: everything that could make resuming inexact."""

    def __init__(self, width=8):
        super().__init__()
        self.config = {"width": width}
        self.features = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, 1))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3))).squeeze(1)


def toy(width=8, seed=0):
    """A ToyNet that is the same every time."""
    torch.manual_seed(seed)
    return ToyNet(width)


def small_checkpoint(folder, **settings):
    """A checkpoint of a narrow FaceNeSt with opinions: untrained networks say 0.5 to everything."""
    torch.manual_seed(0)
    model = facenest(width=4)
    with torch.no_grad():
        model.head[-1].weight.mul_(30)
    return save_checkpoint(folder, model, threshold=0.4, **settings)
