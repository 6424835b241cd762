"""Crops and augmentation, all on uint8 images, all random numbers from one generator.

An image is a ``torch.uint8`` tensor 3 x H x W (RGB), a batch is B x 3 x H x W. Everything stays uint8 until
the last moment, `normalise`, because that is what a camera, a JPEG file and an upload are: whole numbers from
0 to 255.

Two rules keep the evidence alive. Training cuts *random crops* at the image's own resolution instead of
resizing the image to fit, because resizing averages away the fine traces that a generator leaves. And every
augmentation is drawn independently of the label and happens to real and fake alike, so that it cannot become
a shortcut.

JPEG re-compression as an augmentation: Wang et al., "CNN-generated images are surprisingly easy to spot",
CVPR 2020.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2 import functional as TF

MEAN, STD = 0.5, 0.25
"""Of `normalise`: 0..1 becomes -2..2. One pair of round numbers for all channels and all data sets."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the grey that JPEG uses


def normalise(images: torch.Tensor, mean: float = MEAN, std: float = STD) -> torch.Tensor:
    """Images as the network wants them: uint8 0..255 (or float 0..1) to float32, ``(x - mean) / std``."""
    if images.dtype == torch.uint8:  # less a float it is float32: one large tensor is made, and not three
        return (images - mean * 255.0).div_(std * 255.0)
    return (images.float() - mean).div_(std)


# ----------------------------------------------------------------------------------------------------- crops
def pad_to(image: torch.Tensor, side: int) -> torch.Tensor:
    """The image, reflected at its edges until both sides are at least `side`; itself if they already are."""
    height, width = image.shape[-2:]
    if height >= side and width >= side:
        return image
    down, right = max(0, side - height), max(0, side - width)
    # NumPy's reflection repeats as often as it must, torch's stops at one image width.
    padding = ((0, 0), (down // 2, down - down // 2), (right // 2, right - right // 2))
    return torch.from_numpy(np.pad(image.cpu().numpy(), padding, mode="reflect")).to(image.device)


def random_crop(
    image: torch.Tensor,
    side: int,
    generator: torch.Generator | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
) -> torch.Tensor:
    """A random ``side`` x ``side`` window of a uint8 3 x H x W image; a smaller image is padded by
    reflection.

    With ``scale=(0.6, 1.6)`` the picture is first shrunk or enlarged by a random factor in that range
    (uniform in the logarithm): a window of ``side / factor`` pixels is cut and brought to ``side`` by
    antialiased bilinear resizing.
    """
    draw = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    low, high = scale
    window = side if low == high == 1.0 else round(side / (low * (high / low) ** draw[2]))
    image = pad_to(image, window)
    height, width = image.shape[-2:]
    top, left = int(draw[0] * (height - window + 1)), int(draw[1] * (width - window + 1))
    crop = image[:, top : top + window, left : left + window]
    return crop if window == side else resize(crop, side)


def resize(image: torch.Tensor, side: int) -> torch.Tensor:
    """A uint8 3 x h x w image resized to 3 x side x side, bilinear with antialiasing."""
    return TF.resize(image, [side, side], interpolation=TF.InterpolationMode.BILINEAR, antialias=True)


def resize_down(image: torch.Tensor, side: int) -> torch.Tensor:
    """A square uint8 image scaled down to `side` (bicubic, antialiased) if it is larger, else itself."""
    if image.shape[-1] <= side:
        return image
    return TF.resize(image, [side, side], interpolation=TF.InterpolationMode.BICUBIC, antialias=True)


def centre_square(image: torch.Tensor) -> torch.Tensor:
    """The largest centred square of a 3 x H x W image."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def grid_crops(image: torch.Tensor, side: int, number: int) -> list[torch.Tensor]:
    """`number` windows of ``side`` x ``side``: the centre, then the four corners, then evenly spaced ones.

    Always the same windows for the same image size. A window is never larger than the image: if the image is
    smaller, the window shrinks to its shorter side.
    """
    height, width = image.shape[-2:]
    side = min(side, height, width)
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    edges = [(0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.5)]
    places = [(0.5, 0.5), *corners, *edges]  # of the room there is, downwards and to the right
    if number > len(places):
        steps = np.linspace(0.0, 1.0, int(np.ceil(np.sqrt(number))))
        places = [(float(y), float(x)) for y in steps for x in steps]
    crops = []
    for y, x in places[:number]:
        top, left = round(y * (height - side)), round(x * (width - side))
        crops.append(image[:, top : top + side, left : left + side])
    return crops


# ---------------------------------------------------------------------------------------------- augmentation
@dataclass(frozen=True)
class Augment:
    """What may happen to a training crop, and how often. Ranges are (low, high); 0 switches off."""

    flip: float = 0.5
    """Probability of mirroring left and right."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Rescaling before the crop; used by `random_crop`."""
    brightness: float = 0.0
    """Added to every pixel: uniform in plus or minus this, on the 0..1 scale."""
    contrast: float = 0.0
    """Contrast about the mean grey, times ``exp(uniform(-c, c))``."""
    saturation: float = 0.0
    """Distance of the colours from grey, times ``exp(uniform(-s, s))``."""
    tint: float = 0.0
    """A separate gain for red, green and blue, ``exp(uniform(-t, t))``: another white balance."""
    gamma: float = 0.0
    """Exponent ``exp(uniform(-g, g))`` on the 0..1 scale."""
    grey: float = 0.0
    """Probability of losing all colour."""
    blur: float = 0.0
    """Probability of a Gaussian blur of sigma 0.3 to 1.5 pixels."""
    noise: float = 0.0
    """Probability of Gaussian noise of standard deviation 0.005 to 0.04 (0..1 scale)."""
    jpeg: float = 0.0
    """Probability of saving as JPEG and opening again."""
    quality: tuple[int, int] = (60, 95)
    """JPEG quality, uniform."""

    def __post_init__(self) -> None:
        for name in ("flip", "grey", "blur", "noise", "jpeg"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Augment: {name}={getattr(self, name)!r} must be a probability, 0 to 1")
        for name in ("brightness", "contrast", "saturation", "tint", "gamma"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"Augment: {name}={getattr(self, name)!r} must be 0 or more")
        for name, least, most in (("scale", 0.01, 100), ("quality", 1, 100)):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"Augment: {name}={(low, high)} must be (low, high) between {least} and {most}"
                )

    @classmethod
    def named(cls, name: "str | Augment | None") -> "Augment":
        """``"light"``, ``"strong"``, ``None`` (crops only) or an `Augment` of your own."""
        if isinstance(name, cls):
            return name
        if name not in AUGMENTS:
            raise ValueError(
                f"augment={name!r} is unknown; use one of {list(AUGMENTS)} or an Augment(...) of your own"
            )
        return AUGMENTS[name]


AUGMENTS: dict[str | None, Augment] = {
    None: Augment(flip=0.0),
    "light": Augment(
        flip=0.5, brightness=0.05, contrast=0.1, saturation=0.1, tint=0.03, jpeg=0.5, quality=(60, 95)
    ),
    "strong": Augment(
        flip=0.5,
        scale=(0.6, 1.6),
        brightness=0.15,
        contrast=0.35,
        saturation=0.5,
        tint=0.1,
        gamma=0.3,
        grey=0.15,
        blur=0.25,
        noise=0.25,
        jpeg=0.7,
        quality=(35, 95),
    ),
}


def augment_batch(
    images: torch.Tensor,
    augment: Augment,
    generator: torch.Generator | None = None,
    *,
    part: slice | None = None,
    batch: int | None = None,
) -> torch.Tensor:
    """Augment a uint8 batch B x 3 x H x W, each image in its own way; returns a uint8 batch of the same
    shape, on the same device.

    The order is the order in which it happens to a photograph on its way to us: mirrored, light and colour,
    blur, sensor noise, JPEG.

    part, batch: these images are the slice `part` of a batch of so many, whose other images another process
        augments; each gets what it would get in the whole batch.

    Random numbers are drawn on the CPU wherever the images are, so that every device does the same.
    """
    device = images.device
    part, batch = part or slice(0, len(images)), batch or len(images)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(batch, *shape, generator=generator)[part].to(device)

    def chosen(probability: float) -> torch.Tensor:
        return rand() < probability

    def spread(
        amount: float, columns: int = 1
    ) -> torch.Tensor:  # B x columns x 1 x 1, uniform in [-amount, amount]
        return (rand(columns) * 2 - 1).mul_(amount)[:, :, None, None]

    if augment.flip:
        images = torch.where(chosen(augment.flip)[:, None, None, None], images.flip(-1), images)
    if any(
        (augment.brightness, augment.contrast, augment.saturation, augment.tint, augment.gamma, augment.grey)
    ):
        x = adjust_colour(
            images.float() / 255,
            brightness=spread(augment.brightness),
            contrast=spread(augment.contrast).exp(),
            saturation=torch.where(
                chosen(augment.grey)[:, None, None, None], 0.0, spread(augment.saturation).exp()
            ),
            tint=spread(augment.tint, 3).exp(),
            gamma=spread(augment.gamma).exp() if augment.gamma else None,
        )
        images = to_uint8(x)
    if augment.blur:
        some = chosen(augment.blur)
        sigma = 0.3 + 1.2 * rand()
        if some.any():
            images = images.clone()
            images[some] = to_uint8(gaussian_blur(images[some].float() / 255, sigma[some]))
    if augment.noise:
        everyone = torch.rand(batch, generator=generator) < augment.noise
        some = everyone[part].to(device)
        level = (0.005 + 0.035 * rand())[some, None, None, None]
        if everyone.any():
            images = images.clone()
            grain = torch.randn(int(everyone.sum()), *images.shape[1:], generator=generator)
            before = int(everyone[: part.start].sum())
            grain = grain[before : before + int(some.sum())].to(device)
            images[some] = to_uint8(images[some].float() / 255 + grain * level)
    if augment.jpeg:
        some = chosen(augment.jpeg)
        low, high = augment.quality
        quality = torch.randint(low, high + 1, (batch,), generator=generator)[part]
        if some.any():  # Pillow works on the CPU: those from a GPU make the journey there and back
            chosen_ones = zip(images[some].cpu(), quality[some.cpu()].tolist(), strict=True)
            images = images.clone()
            images[some] = torch.stack([jpeg(image, q) for image, q in chosen_ones]).to(device)
    return images


def adjust_colour(
    x: torch.Tensor,
    *,
    brightness: torch.Tensor,
    contrast: torch.Tensor,
    saturation: torch.Tensor,
    tint: torch.Tensor,
    gamma: torch.Tensor | None = None,
) -> torch.Tensor:
    """Change light and colour of a float batch B x 3 x H x W in 0..1, each image by its own factors (B x 1 x
    1 x 1).

    Brightness is added; contrast stretches about the image's mean grey, saturation about each pixel's grey;
    tint (B x 3 x 1 x 1) multiplies the channels; gamma is an exponent. Returns floats in 0..1.
    """
    # All of it but gamma is linear in the three channels, so one 3 x 3 matrix and one offset per image do it
    # in a single pass: about four times faster than one operation after another.
    luma = torch.tensor(_LUMA, dtype=x.dtype, device=x.device)
    tinted = x.mean((2, 3)) * tint[:, :, 0, 0]  # B x 3, the mean colour
    middle = tinted @ luma  # B, the mean grey, which saturation does not change
    saturation, contrast = saturation[:, :, :, 0], contrast[:, :, :, 0]  # B x 1 x 1
    matrix = (
        contrast
        * (saturation * torch.eye(3, dtype=x.dtype, device=x.device) + (1 - saturation) * luma)
        * tint[:, None, :, 0, 0]
    )
    offset = (1 - contrast) * middle[:, None, None] + brightness[:, :, :, 0]
    x = torch.baddbmm(offset, matrix, x.flatten(2)).view_as(x).clamp_(0, 1)
    return x if gamma is None else x.pow_(gamma)


def gaussian_blur(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Blur a float batch B x 3 x H x W, image i with standard deviation ``sigma[i]`` pixels (up to about
    1.5)."""
    batch, channels, height, width = x.shape
    offsets = torch.arange(-4, 5, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None, :]
    # All images side by side as channels of one, so that each gets its own kernel in one grouped convolution.
    x = F.pad(x.reshape(1, batch * channels, height, width), (4, 4, 4, 4), mode="replicate")
    x = F.conv2d(x, kernel, groups=batch * channels)
    x = F.conv2d(x, kernel.transpose(2, 3), groups=batch * channels)
    return x.reshape(batch, channels, height, width)


def jpeg(image: torch.Tensor, quality: int) -> torch.Tensor:
    """A uint8 3 x H x W image saved as JPEG (colour halved in resolution, 4:2:0) and opened again; uint8."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def to_uint8(x: torch.Tensor) -> torch.Tensor:
    """Floats in 0..1 (clipped) to uint8 0..255, rounded."""
    return x.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8)


def training_batch(
    dataset: Any,
    indices: np.ndarray,
    side: int,
    augment: Augment,
    generator: torch.Generator,
    part: slice | None = None,
) -> torch.Tensor:
    """Cut a random crop from each of these images (``dataset.uint8(i)``) and augment: uint8, B x 3 x side x
    side.

    part: make only this slice of the batch, exactly as it would be in the whole.
    """
    part, crops = part or slice(0, len(indices)), []
    mine = [int(i) for i in indices[part]]
    several = getattr(dataset, "uint8s", None)  # a FaceDataset decodes the images that are new side by side
    images = iter(several(mine) if several else map(dataset.uint8, mine))
    for place in range(len(indices)):
        if part.start <= place < part.stop:
            crops.append(random_crop(next(images), side, generator, augment.scale))
        else:  # another process cuts this one; its random numbers go by here, too
            torch.rand(3, generator=generator, dtype=torch.float64)
    return augment_batch(torch.stack(crops), augment, generator, part=part, batch=len(indices))
