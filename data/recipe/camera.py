"""A small simulated camera: linear light in, an ordinary 8-bit picture out.

The order of the steps is the order in which a real camera meets the light::

    scene -> lens (blur, colour fringe, vignette) -> exposure -> colour filter -> sensor noise
          -> demosaic -> white balance -> chroma smoothing -> sharpening -> tone curve -> 8 bits

Every number that differs from picture to picture is drawn from the generator that the caller passes in,
so the same render and the same seed give the same picture, byte for byte. Nothing here knows whether a
picture will end up in the class *real* or in the class *fake*: both classes are photographed alike.

`expose` keeps the size of the render (144 pixels in the recipe). `frame_crop` then cuts the final 128-pixel
square at a random place and perhaps mirrors it. The two are apart because the fakes go through the generator
between them: a generator's behaviour at the border of its picture must not become a give-away.
"""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 128
JPEG = {"format": "JPEG", "quality": 90, "subsampling": "4:2:0", "optimize": True, "progressive": False}

# What each of the three sorts of sensor pixel sees, relative to green: silicon is less sensitive to red and
# blue, so the camera later multiplies those two up again, and their noise with them.
SENSITIVITY = np.array([0.52, 1.0, 0.64], dtype=np.float32)

# Malvar, He & Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images"
# (ICASSP 2004), figure 2. Each kernel is divided by 8 and estimates a colour the pixel did not measure.
_CROSS = np.array(
    [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]], np.float32
)
_ROW = np.array(
    [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]],
    np.float32,
)
_DIAGONAL = np.array(
    [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]],
    np.float32,
)
GREEN_AT_COLOUR = _CROSS / 8
COLOUR_IN_ROW = _ROW / 8
COLOUR_IN_COLUMN = _ROW.T / 8
COLOUR_AT_OTHER = _DIAGONAL / 8


def lens(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a little, shift red against blue a little, darken the corners. HxWx3 float32 in and out."""
    height, width, _ = light.shape
    # In pixels. A sharper lens would out-resolve the colour filter, and edges would come out dotted: that is
    # what the low-pass filter before a real sensor is for.
    blur = rng.uniform(0.55, 0.85)
    fringe = rng.normal(0, 0.0012)  # relative magnification of red against green; blue goes the other way
    fall_off = rng.uniform(0.05, 0.35)  # how much of the light is lost in the extreme corner

    out = np.empty_like(light)
    for channel, zoom in enumerate((1 + fringe, 1.0, 1 - fringe)):
        plane = ndimage.gaussian_filter(light[..., channel], blur, mode="nearest")
        if zoom != 1.0:
            centre = (np.array(plane.shape) - 1) / 2
            plane = ndimage.affine_transform(
                plane, np.full(2, 1 / zoom), offset=centre * (1 - 1 / zoom), order=3, mode="nearest"
            )
        out[..., channel] = plane

    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.maximum(out, 0) * (1 - fall_off * (x * x + y * y) / 2)[..., None].astype(np.float32)


def exposure_gain(light: np.ndarray, rng: np.random.Generator) -> float:
    """The factor that a light meter, weighting the centre and not always right, would choose."""
    height, width, _ = light.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    weight = np.exp(-(x * x + y * y) / 0.6)
    grey = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    floor = 0.002 * grey.mean()  # keeps the logarithm finite in a black background
    middle = np.exp((weight * np.log(grey + floor)).sum() / weight.sum())
    highlight = np.percentile(grey, 97)
    # Aim at mid-grey, but give up some of it when that would burn out the picture.
    gain = min(0.17 / middle, 1.6 / highlight)
    return float(gain * 2.0 ** rng.normal(0, 0.25))


def mosaic(light: np.ndarray) -> np.ndarray:
    """Keep one colour a pixel, in the pattern RG/GB (Bayer, US patent 3,971,065). HxWx3 -> HxW."""
    raw = light[..., 1].copy()
    raw[0::2, 0::2] = light[0::2, 0::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def demosaic(raw: np.ndarray) -> np.ndarray:
    """Fill in the two colours each pixel did not measure (Malvar, He & Cutler 2004). HxW -> HxWx3 float32."""

    def estimate(kernel: np.ndarray) -> np.ndarray:
        return ndimage.correlate(raw, kernel, mode="mirror")  # "mirror" keeps the pattern's parity at borders

    green, in_row, in_column, other = map(
        estimate, (GREEN_AT_COLOUR, COLOUR_IN_ROW, COLOUR_IN_COLUMN, COLOUR_AT_OTHER)
    )
    red_site, blue_site = (slice(0, None, 2),) * 2, (slice(1, None, 2),) * 2
    green_by_red = (slice(0, None, 2), slice(1, None, 2))  # a green pixel whose row neighbours are red
    green_by_blue = (slice(1, None, 2), slice(0, None, 2))

    out = np.stack([raw] * 3, axis=-1).astype(np.float32)
    for site in (red_site, blue_site):
        out[(*site, 1)] = green[site]
    out[(*blue_site, 0)], out[(*red_site, 2)] = other[blue_site], other[red_site]
    out[(*green_by_red, 0)], out[(*green_by_red, 2)] = in_row[green_by_red], in_column[green_by_red]
    out[(*green_by_blue, 0)], out[(*green_by_blue, 2)] = in_column[green_by_blue], in_row[green_by_blue]
    return out


def sensor(raw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Count electrons: shot noise, read noise, 12 bits, saturation. HxW of relative light -> 0 to 1."""
    full_well = 2.0 ** rng.uniform(10.6, 13.0)  # electrons at white: few at a high ISO, many at a low one
    read_noise = rng.uniform(1.5, 5.0)  # electrons
    electrons = rng.poisson(np.clip(raw, 0, 4) * full_well) + rng.normal(0, read_noise, raw.shape)
    return (np.round(np.clip(electrons / full_well, -0.02, 1) * 4095) / 4095).astype(np.float32)


def tone_curve(linear: np.ndarray, contrast: float) -> np.ndarray:
    """sRGB's transfer curve (IEC 61966-2-1), then a gentle S around the middle. Clips to [0, 1]."""
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    smooth = encoded * encoded * (3 - 2 * encoded)
    return (1 - contrast) * encoded + contrast * smooth


def white_balance(rng: np.random.Generator) -> np.ndarray:
    """Three factors that make grey things grey: the sensor's own, known exactly, times a small error.

    On average the error is a touch of magenta, for makers of cameras know that people like a rosy skin.
    """
    error = rng.normal((0.025, -0.03, 0.015), (0.035, 0.01, 0.035))
    return (np.exp(error) / SENSITIVITY).astype(np.float32)


def expose(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photograph a render without cropping it.

    linear: HxWx3 float, linear light of any scale, H and W even (the colour filter repeats every two pixels).
    rng: the only source of chance.
    Returns HxWx3 uint8. Raises ValueError for another shape, or for light that is not finite or is black.
    """
    linear = np.asarray(linear, dtype=np.float32)
    if linear.ndim != 3 or linear.shape[2] != 3 or linear.shape[0] % 2 or linear.shape[1] % 2:
        raise ValueError(f"a render must have the shape (even, even, 3), and this one has {linear.shape}")
    if not np.isfinite(linear).all() or linear.max() <= 0:
        raise ValueError("a render must be finite and not black: render this person again")

    light = lens(np.maximum(linear, 0), rng)
    light = light * exposure_gain(light, rng)
    measured = demosaic(sensor(mosaic(light * SENSITIVITY), rng))

    # Where green saturates but red and blue do not, the product would turn pink: clip all three alike.
    picture = np.minimum(measured * white_balance(rng), 1.0)

    # Every camera smooths colour more than brightness, for the eye forgives that.
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    colour = picture - grey[..., None]
    colour = ndimage.gaussian_filter(colour, (rng.uniform(0.6, 1.1),) * 2 + (0,), mode="nearest")
    grey = grey + rng.uniform(0.1, 0.5) * (grey - ndimage.gaussian_filter(grey, 1.0, mode="nearest"))
    picture = tone_curve(grey[..., None] + colour, contrast=rng.uniform(0.0, 0.35))
    return np.round(picture * 255).astype(np.uint8)


def frame_crop(picture: np.ndarray, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Cut a side×side square at a random place and mirror it half of the time. uint8 HxWx3 in and out."""
    height, width, _ = picture.shape
    if min(height, width) < side:
        raise ValueError(f"a picture of {width}×{height} is too small for a crop of {side}×{side}")
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = picture[top : top + side, left : left + side]
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def photograph(linear: np.ndarray, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """`expose`, then `frame_crop`: HxWx3 linear light in, side×side×3 uint8 out."""
    return frame_crop(expose(linear, rng), rng, side)


def jpeg_bytes(picture: np.ndarray) -> bytes:
    """The one JPEG step of the data set: the same tables for every picture, and no metadata at all."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, **JPEG)
    return buffer.getvalue()


def save_jpeg(picture: np.ndarray, path: str | Path) -> int:
    """Write `jpeg_bytes(picture)` to path, under a temporary name first; returns the number of bytes."""
    path = Path(path)
    data = jpeg_bytes(picture)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)
    return len(data)
