"""The forger: the neural generator behind the fakes of `studio`, short enough to be typed in a lesson.

It squeezes a picture through a bottleneck and paints it again. What comes out is the same person, but every
pixel of it was put there by a network: low frequencies are copied, fine texture and sensor noise are
invented. `data/recipe/train_forger.py` trains it; `data/make_studio.py` uses it to make the class *fake*.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn


class Grain(nn.Module):
    """Adds noise, as strong at each pixel and channel as the network asks for.

    A bottleneck cannot carry noise through, and a network asked for the average of all possible noises paints
    none: without this layer the fakes would be smoother than the real pictures, and even their file size
    would tell. The idea is StyleGAN's (Karras et al. 2019, arXiv 1812.04948, section 2), which learns one
    strength a channel; here the strength depends on the picture, because sensor noise depends on light.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.strength = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(x.shape, dtype=x.dtype).to(x.device)  # drawn on the CPU: the same on every device
        return x + self.strength(x) * noise


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))): a residual block without normalisation, which would flatten contrast."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.first(torch.relu(x))))


class FaceAutoencoder(nn.Module):
    """An encoder–decoder with a bottleneck and learned up-sampling.

    Input and output: float32, B×3×H×W, values in [-1, 1] (the output may overshoot a little), H and W
    multiples of 2. Between them lies a code of B×code×H/2×W/2: with `code` 6 it has half as many numbers as
    the picture, too few for its noise. The output contains fresh noise at every call: seed torch, or call
    `forge`, to get the same picture twice.

    Sources of the idea: auto-encoders (Hinton & Salakhutdinov, Science 2006) sharpened by a discriminator
    that judges patches (Larsen et al. 2016, arXiv 1512.09300; Isola et al. 2017, arXiv 1611.07004; Esser et
    al. 2021, arXiv 2012.09841). The transposed convolution leaves the periodic trace described by Odena et
    al. ("Deconvolution and checkerboard artifacts", Distill 2016) and Durall et al. 2020 (arXiv
    1911.00686).
    """

    def __init__(self, width: int = 16, code: int = 6):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 2 * width, 4, stride=2, padding=1),  # H -> H/2
            Residual(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, code, 1),  # the bottleneck
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(code, 2 * width, 3, padding=1),
            Residual(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),  # H/2 -> H
            Grain(width),
            nn.ReLU(),
            nn.Conv2d(width, 3, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


@torch.no_grad()
def forge(model: FaceAutoencoder, pictures: np.ndarray | torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Send a batch of pictures through the forger.

    pictures: uint8, B×3×H×W (torch or NumPy), H and W multiples of 2. Returns uint8 of the same shape, on
    the CPU. The same batch, seed and weights give the same fakes. Raises ModelInputError for anything else.
    """
    from .errors import ModelInputError

    x = torch.as_tensor(pictures)
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 2 or x.shape[3] % 2:
        raise ModelInputError(
            f"forge needs a uint8 batch of shape (B, 3, H, W) with H and W multiples of 2, and was given "
            f"{x.dtype} of shape {tuple(x.shape)}: permute or crop the batch first."
        )
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):  # leave the caller's random state as it was
        torch.manual_seed(seed)
        y = model.eval()(x.to(device).float() / 127.5 - 1)
    return ((y + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def load_forger(path: str | Path | None = None) -> FaceAutoencoder:
    """The trained forger, in evaluation mode, on the CPU.

    path: a `.safetensors` file; by default the one that ships in `data/checkpoints/forger`.
    Raises CheckpointError when the file is missing, damaged, or holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .errors import CheckpointError

    if path is None:
        from .embedded import checkpoint_folder

        path = checkpoint_folder("forger") / "forger.safetensors"
    path = Path(path)
    try:
        weights = load_file(path)
        width, code = weights["encoder.0.weight"].shape[0] // 2, weights["encoder.3.bias"].shape[0]
        model = FaceAutoencoder(width, code)
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: there is no such file; train a forger with data/make_studio.py, or restore data/."
        ) from None
    except (SafetensorError, KeyError, IndexError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: not the weights of a FaceAutoencoder ({reason}); restore the file from the repository."
        ) from error
    return model.eval()
