"""Train the forger: `course_lib.generator.FaceAutoencoder` learns to repaint the photographs of some people.

Run by `data/make_studio.py --stage train`, or alone::

    python data/recipe/train_forger.py --photos photos.npy --run RUN_FOLDER --out forger.safetensors

What the loss asks for, and why:

* *content*: the slightly blurred fake equals the slightly blurred photograph (L1). Blurred, because the
  noise of the photograph cannot pass the bottleneck, and an L1 loss on it would teach the forger to paint
  none.
* *texture*: in two bands of fine detail the fake has, patch by patch, the energy that the photograph has.
  That is what keeps smoothness, and so the size of the file, from giving the class away (compare the Gram
  statistics of Gatys et al. 2015, arXiv 1505.07376).
* *spectrum*: the azimuthal average of its power spectrum is that of the photograph, which up-sampling
  networks get wrong when nobody asks them (Durall et al. 2020, arXiv 1911.00686, whose remedy this is).
* *bits*: it would fill about as many bits of JPEG, counted on quantised DCT coefficients, picture by picture.
* *patches*: a discriminator that sees small patches tells photographs from fakes, and the forger is trained
  to fool it (hinge loss: Lim & Ye 2017, arXiv 1705.02894; spectral normalisation: Miyato et al. 2018, arXiv
  1802.05957; patches: Isola et al. 2017, arXiv 1611.07004), and to match its inner features (Larsen et al.
  2016, arXiv 1512.09300).

Training is a function of the photographs and the seed. It can be stopped at any time: the state is saved
every `save_every` steps, and the random draws of a step depend on the step's number alone, so a resumed run
ends with the weights of an uninterrupted one (same machine, same number of threads).
"""

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]  # recipe/ and course_lib/, without installing

from course_lib.generator import FaceAutoencoder, Grain, forge  # noqa: E402
from recipe.camera import jpeg_bytes  # noqa: E402


@dataclass(frozen=True)
class Plan:
    """All that decides the result, besides the photographs."""

    steps: int = 1200
    adversarial_from: int = 250  # until then no critic: one who judges a blank canvas teaches nothing
    batch: int = 16
    crop: int = 96
    lr: float = 1e-3
    lr_critic: float = 4e-4
    content: float = 10.0
    texture: float = 1.0
    spectrum: float = 2.0
    bits: float = 2.0
    patches: float = 0.3
    features: float = 2.0
    width: int = 16
    code: int = 6
    ema: float = 0.998  # the forger that ships is a running average of the one that trains
    seed: int = 0


class PatchCritic(nn.Module):
    """Scores patches of a picture: high for photographs, low for fakes.

    B×3×H×W -> B×1×H/8×W/8, and its features.

    The first layer keeps the full resolution, so that noise can be judged pixel by pixel.
    """

    def __init__(self, width: int = 24):
        super().__init__()
        shapes = [
            (3, width, 3, 1),
            (width, 2 * width, 4, 2),
            (2 * width, 4 * width, 4, 2),
            (4 * width, 4 * width, 4, 2),
        ]
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(i, o, k, s, padding=1)) for i, o, k, s in shapes)
        self.score = spectral_norm(nn.Conv2d(4 * width, 1, 3, padding=1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


def blur(x: torch.Tensor, times: int = 1) -> torch.Tensor:
    """The binomial filter 1-4-6-4-1 in both directions, `times` times, edges mirrored."""
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
    channels = x.shape[1]
    for _ in range(times):
        x = F.pad(x, (2, 2, 2, 2), mode="reflect")
        x = F.conv2d(x, line.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
        x = F.conv2d(x, line.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    return x


# Rows: brightness, blue against brightness, red against brightness (JPEG's own colours, ITU-T T.871).
_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])


def texture_energy(x: torch.Tensor) -> list[torch.Tensor]:
    """Logarithm of the contrast in 8×8 patches, in two bands, in JPEG's colours. B×3×H×W -> two B×3×h×w."""
    x = torch.einsum("oc,bchw->bohw", _YCC.to(x), x)
    once = blur(x)
    bands = (x - once, once - blur(once, 2))
    return [0.5 * torch.log(F.avg_pool2d(band.square(), 8, 4) + 1e-5) for band in bands]


def content_loss(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """L1 after a slight blur, and after a strong one: brightness and colour must be right to a hair."""
    fine, coarse = blur(fake - real), F.avg_pool2d(fake - real, 8)
    return fine.abs().mean() + coarse.abs().mean()


def texture_loss(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    pairs = zip(texture_energy(fake), texture_energy(real), strict=True)
    return sum((a - b).abs().mean() for a, b in pairs)


def ring_spectrum(x: torch.Tensor) -> torch.Tensor:
    """Logarithm of the power of brightness in rings of equal spatial frequency. B×3×S×S -> B×(S/2)."""
    side = x.shape[-1]
    grey = torch.einsum("c,bchw->bhw", _YCC[0].to(x), x)
    window = torch.hann_window(side, dtype=x.dtype, device=x.device)
    power = torch.fft.fft2((grey - grey.mean((1, 2), keepdim=True)) * window * window[:, None]).abs().square()
    frequency = torch.fft.fftfreq(side, 1 / side)
    ring = torch.hypot(frequency, frequency[:, None]).round().long().clamp(max=side // 2).flatten()
    sums = x.new_zeros(len(x), side // 2 + 1).index_add(1, ring, power.flatten(1))
    return torch.log(sums / torch.bincount(ring) + 1e-3)[:, 1:]


def _dct_blocks(plane: torch.Tensor) -> torch.Tensor:
    """The 8×8 DCT-II of JPEG of every block of a plane. B×S×S -> B×64×blocks."""
    n = torch.arange(8.0)
    basis = torch.cos(torch.pi * (n[None] + 0.5) * n[:, None] / 8) / 2
    basis[0] /= 2**0.5
    kernels = torch.einsum("uy,vx->uvyx", basis, basis).reshape(64, 1, 8, 8).to(plane)
    return F.conv2d(plane[:, None], kernels, stride=8).flatten(2)


def jpeg_bits(x: torch.Tensor) -> torch.Tensor:
    """About how many bits of JPEG (quality 90, 4:2:0) a picture fills, up to a factor. B×3×H×W -> B.

    A coefficient c quantised by q costs some log2(1 + |c|/q) bits; the square keeps it smooth around nothing.
    The steps q are a plain fit to the example tables of the standard (ITU-T T.81, annex K) at that quality.
    """
    ycc = torch.einsum("oc,bchw->bohw", _YCC.to(x), x * 127.5)
    u = torch.arange(8.0)
    rank = (u[None] + u[:, None]).flatten()[:, None].to(x)  # how fine a coefficient's pattern is, 0 to 14
    luma = torch.log1p((_dct_blocks(ycc[:, 0]) / (2 + 1.4 * rank)).square()).sum((1, 2))
    small = F.avg_pool2d(ycc[:, 1:], 2)
    chroma = [
        torch.log1p((_dct_blocks(small[:, i]) / (3.5 + 2.5 * rank)).square()).sum((1, 2)) for i in (0, 1)
    ]
    return luma + sum(chroma)


def draw_batch(photos: np.ndarray, plan: Plan, step: int) -> torch.Tensor:
    """The batch of a step: random photographs, random crops, half of them mirrored. float32 in [-1, 1]."""
    rng = np.random.default_rng([plan.seed, 1, step])
    n, height, width, _ = photos.shape
    crops = []
    for index in rng.integers(n, size=plan.batch):
        top, left = rng.integers(height - plan.crop + 1), rng.integers(width - plan.crop + 1)
        crop = photos[index, top : top + plan.crop, left : left + plan.crop]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Training:
    """The state of a run: two networks, two optimisers, the running average, the step."""

    name = "forger"

    def __init__(self, plan: Plan):
        torch.manual_seed(plan.seed)
        self.plan, self.step = plan, 0
        self.forger = self.network().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.forger)
        self.critic = PatchCritic().to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.forger.parameters(), plan.lr, betas=(0.8, 0.99))
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), plan.lr_critic, betas=(0.5, 0.99))

    _PARTS = ("forger", "average", "critic", "optimiser", "critic_optimiser")

    def network(self) -> nn.Module:
        """The untrained generator."""
        return FaceAutoencoder(self.plan.width, self.plan.code)

    def paint(self, real: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The fakes of a batch, and what else the loss asks for (the plan holds a weight of each name)."""
        return self.forger(real), {}

    def finish(self, photos: np.ndarray) -> nn.Module:
        """What ships in the end: the running average, its noise calibrated."""
        factor = calibrate_grain(self.average, photos)
        print(f"{self.name}: grain scaled by {factor:.3f}", flush=True)
        return self.average

    def save(self, path: Path) -> None:
        state = {part: getattr(self, part).state_dict() for part in self._PARTS}
        temporary = path.with_name(path.name + ".part")
        torch.save({**state, "step": self.step, "plan": asdict(self.plan)}, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise SystemExit(
                f"{path} belongs to a run with another plan: choose another run folder, or delete it."
            )
        for part in self._PARTS:
            getattr(self, part).load_state_dict(state[part])
        self.step = state["step"]

    def update_average(self, model: nn.Module) -> None:
        decay = min(self.plan.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), model.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def advance(self, photos: np.ndarray) -> dict[str, float]:
        """One step of both networks. Returns the parts of the loss."""
        plan = self.plan
        torch.manual_seed(plan.seed * 1_000_003 + self.step)  # the grain of this step
        # Warm up briefly, then hold, then go down to nothing over the last third.
        rate = min(1, (self.step + 1) / 50, max(0.02, 3 * (1 - self.step / plan.steps)))
        adversarial = self.step >= plan.adversarial_from
        rate *= 0.5 if adversarial else 1
        self.optimiser.param_groups[0]["lr"] = plan.lr * rate
        self.critic_optimiser.param_groups[0]["lr"] = plan.lr_critic * min(1, 2 * rate)

        real = draw_batch(photos, plan, self.step)
        fake, further = self.paint(real)
        parts = {"content": content_loss(fake, real), "texture": texture_loss(fake, real)}
        parts["spectrum"] = (ring_spectrum(fake) - ring_spectrum(real)).abs().mean()
        parts["bits"] = (jpeg_bits(fake).log() - jpeg_bits(real).log()).abs().mean()
        parts |= further
        loss = sum(getattr(plan, name) * value for name, value in parts.items())

        if adversarial:
            score_real, wanted = self.critic(real)
            self.critic.requires_grad_(
                False
            )  # the forger's gradient passes through the critic and leaves it alone
            score, features = self.critic(fake)
            self.critic.requires_grad_(True)
            parts["patches"] = -score.mean()
            # Averages over 2×2 neighbours: the forger cannot know where each grain of the noise lay.
            parts["features"] = sum(
                F.l1_loss(F.avg_pool2d(a, 2), F.avg_pool2d(b.detach(), 2))
                for a, b in zip(features[1:], wanted[1:], strict=True)
            )
            loss = loss + plan.patches * parts["patches"] + plan.features * parts["features"]

            score_fake, _ = self.critic(fake.detach())
            parts["critic"] = F.relu(1 - score_real).mean() + F.relu(1 + score_fake).mean()
            self.critic_optimiser.zero_grad()
            parts["critic"].backward()

        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.forger.parameters(), 1.0)
        self.optimiser.step()
        if adversarial:
            self.critic_optimiser.step()  # only now: the forger's loss needed the old weights

        self.update_average(self.forger)
        self.step += 1
        return {name: value.item() for name, value in parts.items()}


def match_file_size(
    photos: np.ndarray,
    fakes_at: Callable[[float, torch.Tensor], torch.Tensor],
    low: float,
    high: float,
    pictures: int = 96,
) -> float:
    """The factor at which fakes fill as many bytes of JPEG as the photographs they repaint.

    fakes_at: a function of (factor, uint8 batch B×3×H×W) -> the fakes of that batch, uint8. At the factor
    `low` they are smaller, at `high` larger (`low` may be the larger number). Found by ten bisections, on the
    forger's own people, never on the data set.
    """
    chosen = np.ascontiguousarray(
        photos[np.linspace(0, len(photos) - 1, min(pictures, len(photos))).astype(int)]
    )
    batches = torch.from_numpy(chosen).permute(0, 3, 1, 2).split(16)
    wanted = np.mean([np.log(len(jpeg_bytes(picture))) for picture in chosen])
    for _ in range(10):
        factor = (low * high) ** 0.5
        fakes = torch.cat([fakes_at(factor, batch) for batch in batches]).permute(0, 2, 3, 1).numpy()
        size = np.mean([np.log(len(jpeg_bytes(fake))) for fake in fakes])
        low, high = (factor, high) if size < wanted else (low, factor)
    return factor


def calibrate_grain(forger: nn.Module, photos: np.ndarray, pictures: int = 96) -> float:
    """Scale the last layer of grain so that fakes fill as many bytes of JPEG as the photographs they repaint.

    A trained forger's noise is a few per cent too weak or too strong; one number puts that right. Changes
    `forger`; returns the factor.
    """
    strength = [module for module in forger.modules() if isinstance(module, Grain)][-1].strength
    original = copy.deepcopy(strength.state_dict())

    def scaled(factor: float, batch: torch.Tensor) -> torch.Tensor:
        strength.load_state_dict({name: value * factor for name, value in original.items()})
        return forge(forger, batch)

    return match_file_size(photos, scaled, 0.3, 3.0, pictures)


def write_weights(model: nn.Module, path: Path) -> None:
    """The weights in half precision, written under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, temporary)
    os.replace(temporary, path)


def train(
    photos: np.ndarray,
    run: Path,
    out: Path,
    plan: Plan,
    minutes: float | None = None,
    save_every: int = 100,
    make: type[Training] = Training,
) -> bool:
    """Train, or go on training; returns True when all steps are done and `out` is final.

    photos: uint8, N×H×W×3, photographs of the forger's own people. run: a folder for the resumable state.
    minutes: stop after so long; whatever has been reached is saved to `run` and written to `out` as well.
    make: what trains; `train_unseen` has others.
    """
    run.mkdir(parents=True, exist_ok=True)
    state = run / "state.pt"
    training = make(plan)
    if state.exists():
        training.load(state)
        print(f"{make.name}: going on at step {training.step} of {plan.steps}", flush=True)
    begun, first = time.monotonic(), training.step
    while training.step < plan.steps:
        parts = training.advance(photos)
        late = minutes is not None and time.monotonic() - begun > 60 * minutes
        if training.step % save_every == 0 or training.step == plan.steps or late:
            training.save(state)
            pace = (time.monotonic() - begun) / (training.step - first)
            told = "  ".join(f"{name} {value:.4f}" for name, value in parts.items())
            print(f"{make.name}: step {training.step}/{plan.steps}  {pace:.2f} s a step  {told}", flush=True)
        if late:
            break
    write_weights(training.finish(photos), out)
    return training.step >= plan.steps


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the forger on photographs.")
    parser.add_argument("--photos", type=Path, required=True, help="a .npy file, uint8, N×H×W×3")
    parser.add_argument("--run", type=Path, required=True, help="a folder for the resumable state")
    parser.add_argument("--out", type=Path, required=True, help="where to write forger.safetensors")
    parser.add_argument("--minutes", type=float, help="stop after so long (run again to go on)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plan = Plan(**{name: getattr(arguments, name) for name in asdict(Plan())})
    done = train(
        np.load(arguments.photos, mmap_mode="r"), arguments.run, arguments.out, plan, arguments.minutes
    )
    print("forger: finished" if done else "forger: stopped by the clock; run again to go on")


if __name__ == "__main__":
    main()
