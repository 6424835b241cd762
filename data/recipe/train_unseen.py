"""Two generators that no detector of the course is trained on: a VAE, and a flow that re-draws from noise.

A detector that has learnt one family of generators often fails on another. To show it offline, `studio` has
fakes by two further families. They learn from the forger's own people, like the forger, and re-draw the
people of test/fake, so that the three families can be compared on equal content. Run by `data/make_studio.py
--stage unseen`, or alone::

    python data/recipe/train_unseen.py vae --photos photos.npy --run RUN_FOLDER --out vae.safetensors

* `vae`: a variational auto-encoder (Kingma & Welling 2014, arXiv 1312.6114) whose latent keeps its place in
  the picture, a quarter of its height and width, with a KL term; transposed convolutions paint the picture.
  Alone it would be blurred; a critic sharpens it (Larsen et al. 2016, arXiv 1512.09300). Losses and
  training are the forger's (`train_forger`), the network and the KL term are its own.
* `flow`: a small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) that has learnt the velocity from
  photographs to noise (flow matching: Lipman et al. 2023, arXiv 2210.02747; rectified flow: Liu et al. 2023,
  arXiv 2209.03003). A photograph is mixed with noise and led back along that velocity: SDEdit (Meng et al.
  2022, arXiv 2108.01073). No critic, no transposed convolution.

Both can be stopped at any time, and go on to the same weights.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]  # recipe/ and course_lib/, without installing

from course_lib.generator import Grain, Residual, forge  # noqa: E402
from recipe import train_forger  # noqa: E402
from recipe.train_forger import Training, draw_batch, match_file_size, train  # noqa: E402

# --- the VAE


@dataclass(frozen=True)
class VaePlan(train_forger.Plan):
    steps: int = 300
    adversarial_from: int = 150
    batch: int = 8
    crop: int = 64
    content: float = 20.0
    code: int = 16
    kl: float = 0.003
    ema: float = 0.99


def patch_patterns(count: int) -> torch.Tensor:
    """The `count` smoothest orthonormal patterns of 4×4 pixels in three colours: count×3×4×4.

    Products of cosines (the DCT-II), in grey and in two colour differences, grey first among equally smooth
    ones; colour counts as twice as fine, as in JPEG.
    """
    n = torch.arange(4.0)
    cosines = torch.cos(torch.pi * (n[None] + 0.5) * n[:, None] / 4) / 2**0.5
    cosines[0] /= 2**0.5
    colours = torch.tensor([[1.0, 1, 1], [1, -1, 0], [-1, -1, 2]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    order = sorted(
        (u + v + 2 * (c > 0) * (u + v > 0), c, u, v) for c in range(3) for u in range(4) for v in range(4)
    )
    patterns = [
        torch.einsum("c,y,x->cyx", colours[c], cosines[u], cosines[v]) for _, c, u, v in order[:count]
    ]
    return torch.stack(patterns)


class FaceVae(nn.Module):
    """A VAE whose latent is a small picture: B×3×H×W -> B×code×H/4×W/4 -> B×3×H×W, values in [-1, 1].

    Every call draws a latent from the encoder's normal distribution, and noise for `Grain`: seed torch, or
    call `course_lib.generator.forge`, to get the same picture twice. H and W are multiples of 4.

    Beside the deep path both halves have a linear one, which begins as a transform into smooth patterns of
    4×4 pixels and back: colours are right from the first step, and minutes of training are enough.
    """

    SCALE = 4.0  # of the linear path's patterns, so that a latent's noise is small against them

    def __init__(self, width: int = 16, code: int = 16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 2 * width, 4, stride=2, padding=1),  # H -> H/2
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),  # H/2 -> H/4
            Residual(4 * width),
            nn.ReLU(),
            nn.Conv2d(4 * width, 2 * code, 1),  # mean and log-variance of the latent
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(code, 4 * width, 3, padding=1),
            Residual(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),  # H/4 -> H/2
            Residual(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),  # H/2 -> H
            Grain(width),
            nn.ReLU(),
            nn.Conv2d(width, 3, 3, padding=1),
        )
        self.analyse = nn.Conv2d(3, code, 4, stride=4, bias=False)  # H -> H/4
        self.paint = nn.ConvTranspose2d(code, 3, 4, stride=4, bias=False)  # H/4 -> H
        with torch.no_grad():
            self.analyse.weight.copy_(self.SCALE * patch_patterns(code))
            self.paint.weight.copy_(patch_patterns(code) / self.SCALE)
            self.encoder[-1].bias[code:] = -2.0
            self.decoder[-1].weight.zero_()

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance of the latent."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return self.analyse(x) + mean, log_variance.clamp(-12, 6)

    def decode(self, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """A picture from a latent drawn with that mean and variance."""
        noise = torch.randn(mean.shape, dtype=mean.dtype).to(mean.device)  # on the CPU: the same everywhere
        latent = mean + (0.5 * log_variance).exp() * noise
        return self.paint(latent) + self.decoder(latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(*self.encode(x))


class VaeTraining(Training):
    """The forger's training, of another network, with the KL divergence added to the loss."""

    name = "vae"

    def network(self) -> nn.Module:
        return FaceVae(self.plan.width, self.plan.code)

    def paint(self, real: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mean, log_variance = self.forger.encode(real)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return self.forger.decode(mean, log_variance), {"kl": kl}


# --- the flow

LEVEL, MOVES = 0.08, 4  # a photograph is mixed with so much noise, and led back in so many steps


@dataclass(frozen=True)
class FlowPlan:
    """Weights of a mixture: at level t a picture is (1 - t)·photograph + t·noise."""

    steps: int = 1000
    batch: int = 8
    crop: int = 64
    lr: float = 2e-3
    level: float = 0.2  # the highest level it is trained for
    width: int = 40
    ema: float = 0.995
    seed: int = 0


class TimedResidual(nn.Module):
    """`Residual`, with a shift of every channel that depends on the level of noise. x: B×C×H×W, time: B×D."""

    def __init__(self, channels: int, time: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.shift = nn.Linear(time, channels)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        inner = self.first(torch.relu(x)) + self.shift(time)[:, :, None, None]
        return x + self.second(torch.relu(inner))


class FaceFlow(nn.Module):
    """A U-Net that finds the noise in a mixture (1 - t)·photograph + t·noise.

    x: float32 B×3×H×W, H and W multiples of 4; t: B, 0 to 1. Returns the noise, B×3×H×W. It works on 2×2
    pixels at a time (`PixelUnshuffle`), at half and at a quarter of the picture's size. `velocity` is what
    the flow follows: d(mixture)/dt = noise - photograph.
    """

    def __init__(self, width: int = 40, time: int = 32):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(2, time), nn.ReLU(), nn.Linear(time, time))
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, width, 3, padding=1))
        self.fine = TimedResidual(width, time)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.coarse = nn.ModuleList(TimedResidual(2 * width, time) for _ in range(2))
        self.up = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.last = TimedResidual(width, time)
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))
        self.register_buffer("gain", torch.ones(1))  # of the noise that `velocity` takes away

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time = self.time(torch.stack([10 * t, torch.log(t + 0.01)], dim=1))
        fine = self.fine(self.enter(x), time)
        coarse = self.down(fine)
        for block in self.coarse:
            coarse = block(coarse, time)
        return self.leave(self.last(fine + self.up(coarse), time))

    def velocity(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (self.gain * self(x, t) - x) / (1 - t)[:, None, None, None]


class FlowTraining(Training):
    """Learns to find the noise in mixtures (mean squared error); the loop and the files are the forger's."""

    name = "flow"
    _PARTS = ("model", "average", "optimiser")

    def __init__(self, plan: FlowPlan):
        torch.manual_seed(plan.seed)
        self.plan, self.step = plan, 0
        self.model = FaceFlow(plan.width).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model)
        self.optimiser = torch.optim.Adam(self.model.parameters(), plan.lr, betas=(0.9, 0.99))

    def advance(self, photos: np.ndarray) -> dict[str, float]:
        plan = self.plan
        torch.manual_seed(plan.seed * 1_000_003 + self.step)
        rate = min(1, (self.step + 1) / 50, max(0.02, 2 * (1 - self.step / plan.steps)))
        self.optimiser.param_groups[0]["lr"] = plan.lr * rate
        real = draw_batch(photos, plan, self.step)
        t = plan.level * torch.rand(len(real))
        noise = torch.randn(real.shape).to(memory_format=torch.channels_last)
        mixture = torch.lerp(real, noise, t[:, None, None, None])
        loss = (self.model(mixture, t) - noise).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.update_average(self.model)
        self.step += 1
        return {"noise": loss.item()}

    def finish(self, photos: np.ndarray) -> nn.Module:
        """The running average, with the gain at which its fakes fill as many bytes as the photographs."""

        def redrawn(gain: float, batch: torch.Tensor) -> torch.Tensor:
            self.average.gain.fill_(gain)
            return redraw(self.average, batch)

        gain = match_file_size(photos, redrawn, 1.3, 0.8, pictures=32)  # a high gain leaves little noise
        print(f"{self.name}: noise scaled by {gain:.3f}", flush=True)
        return self.average


@torch.no_grad()
def redraw(model: FaceFlow, pictures: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Mix a batch of pictures with noise up to `LEVEL`, and follow the flow back in `MOVES` Euler steps.

    pictures: uint8, B×3×H×W, H and W multiples of 4. Returns uint8 of the same shape. The same batch, seed
    and weights give the same fakes.
    """
    with torch.random.fork_rng(devices=[]):  # leave the caller's random state as it was
        torch.manual_seed(seed)
        noise = torch.randn(pictures.shape)
    x = torch.lerp(pictures.float() / 127.5 - 1, noise, LEVEL)
    for move in range(MOVES):
        t = torch.full((len(x),), LEVEL * (1 - move / MOVES))
        x = x - LEVEL / MOVES * model.velocity(x, t)
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


# --- both

FAMILIES = {"vae": (VaeTraining, VaePlan), "flow": (FlowTraining, FlowPlan)}


def load_generator(family: str, path: Path) -> Callable[[np.ndarray, int], np.ndarray]:
    """The trained generator as a function of (uint8 H×W×3, seed) -> uint8 H×W×3."""
    weights = {name: value.float() for name, value in load_file(path).items()}
    if family == "vae":
        width, code = len(weights["encoder.0.bias"]) // 2, len(weights["encoder.5.bias"]) // 2
        model, paint = FaceVae(width, code), forge
    else:
        model, paint = FaceFlow(len(weights["fine.first.bias"])), redraw
    model.load_state_dict(weights)
    model.eval()

    def generator(picture: np.ndarray, seed: int) -> np.ndarray:
        batch = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        return paint(model, batch, seed)[0].permute(1, 2, 0).numpy()

    return generator


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a generator that no detector of the course has seen.")
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--photos", type=Path, required=True, help="a .npy file, uint8, N×H×W×3")
    parser.add_argument("--run", type=Path, required=True, help="a folder for the resumable state")
    parser.add_argument("--out", type=Path, required=True, help="where to write the weights")
    parser.add_argument("--minutes", type=float, help="stop after so long (run again to go on)")
    parser.add_argument("--steps", type=int, help="steps of the training (default: the plan's)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make, plan = FAMILIES[arguments.family]
    plan = plan(steps=arguments.steps) if arguments.steps else plan()
    photos = np.load(arguments.photos, mmap_mode="r")
    done = train(photos, arguments.run, arguments.out, plan, arguments.minutes, make=make)
    print(f"{make.name}: finished" if done else f"{make.name}: stopped by the clock; run again to go on")


if __name__ == "__main__":
    main()
