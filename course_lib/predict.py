"""`Detector`: pictures in, P(fake) out.

How a picture is prepared comes from the checkpoint and cannot be set here: whoever trained the network
decided it, and a detector that sees its pictures otherwise than it was judged on is another detector.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from .checkpoints import CLASS_NAMES, LARGEST_WHOLE, MIN_SIDE, Preprocessing, load_checkpoint
from .errors import CheckpointError, ImageError
from .evaluation import predict_logits, to_probability
from .images import decode_array
from .training import pick_device

Picture = str | Path | bytes | Image.Image | np.ndarray
"""A path, the bytes of an image file, a PIL image, or an array H x W x 3 of uint8."""

ERRORS = ("raise", "collect")


class Detector:
    """A trained network with everything needed to use it.

    >>> detector = Detector.load("studio")                     # doctest: +SKIP
    >>> detector(["a.jpg", "b.png"])                           # doctest: +SKIP
    array([0.98, 0.03])

    name, card: the checkpoint's name and its model card (text).
    threshold: P(fake) from which on `label` says "fake".
    class_names: ("real", "fake"). model, preprocessing, temperature, device: as loaded.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing | None = None,
        *,
        threshold: float = 0.5,
        temperature: float = 1.0,
        name: str = "unnamed",
        card: str = "",
        device: str | torch.device | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise CheckpointError(
                f"a Detector is made of a network, not of a {type(model).__name__}; "
                "Detector.load(...) takes a checkpoint's name"
            )
        self.device = pick_device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self.preprocessing = preprocessing or Preprocessing()
        self.threshold, self.temperature = threshold, temperature
        self.name, self.card, self.config = name, card, config or {}
        self.class_names = CLASS_NAMES

    @classmethod
    def load(cls, name_or_path: str | Path, device: str | torch.device | None = None) -> "Detector":
        """A detector from a checkpoint: the name of one that came with the course, or a folder.

        Raises `CheckpointError` with one sentence.
        """
        c = load_checkpoint(name_or_path)
        return cls(
            c.model,
            c.preprocessing,
            threshold=c.threshold,
            temperature=c.temperature,
            name=c.name,
            card=c.card,
            device=device,
            config=c.config,
        )

    def __repr__(self) -> str:
        return f"Detector({self.name!r}, {self.preprocessing}, threshold={self.threshold:g}, {self.device})"

    def __call__(
        self, images: Picture | Iterable[Picture], batch_size: int = 32, errors: str = "raise"
    ) -> Any:
        """P(fake) of each picture, a float64 array in the order of the input (length 1 for a single picture).

        images: one picture or any iterable of them, of any sizes from 32 x 32 pixels up; see `Picture`. They
            are read a few at a time, so the list may be long.
        errors: "raise" raises `ImageError` for the first bad picture, naming it. "collect" goes on and
            returns ``(scores, messages)``: NaN and a sentence where a picture was bad, None where it was
            good.
        """
        if errors not in ERRORS:
            raise ValueError(f"errors={errors!r} must be one of {ERRORS}")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} must be a whole number of 1 or more")
        messages: list[str | None] = []

        def good_pictures() -> Iterator[torch.Tensor]:  # decoded one by one, as the network asks for them
            for index, picture in enumerate(as_pictures(images)):
                try:
                    decoded = read_picture(picture, index, self.preprocessing)
                except ImageError as error:
                    if errors == "raise":
                        raise
                    messages.append(str(error))
                else:
                    messages.append(None)
                    yield decoded

        logits = predict_logits(self.model, good_pictures(), self.preprocessing, batch_size)
        result = np.full(len(messages), np.nan)
        result[[message is None for message in messages]] = to_probability(logits, self.temperature)
        return result if errors == "raise" else (result, messages)

    def label(self, p_fake: float) -> str:
        """ "fake" from the threshold on, else "real"."""
        return self.class_names[int(p_fake >= self.threshold)]

    def windows(self, picture: Picture, name: str = "", **limits: int) -> torch.Tensor:
        """The first half of a call, without the network: decode one picture and cut what is to be judged.

        uint8, windows x 3 x h x w. Threads may do this side by side. limits: `max_bytes` and `max_pixels` of
        `decode_array`. Raises `ImageError`.
        """
        part = partial(looked_at, self.preprocessing)
        pixels = decode_array(picture, part, min_side=MIN_SIDE, name=name or None, **limits)
        return self.preprocessing.views(as_tensor(pixels))

    def judge(self, windows: Sequence[torch.Tensor], batch_size: int = 64) -> np.ndarray:
        """The second half: P(fake) of pictures given as their `windows`, which share batches."""
        each = [window for picture in windows for window in picture]
        cut = replace(self.preprocessing, side=None, crops=1)  # a window's only window is itself
        logits = predict_logits(self.model, each, cut, batch_size)
        counts = np.array([len(picture) for picture in windows], dtype=int)
        owner = np.repeat(np.arange(len(counts)), counts)
        return to_probability(np.bincount(owner, weights=logits) / counts, self.temperature)

    @property
    def id(self) -> str:
        """Name and twelve digits of a hash over all that decides an answer: weights, preparation, threshold.

        Two detectors of one id say the same of every picture, however their folders are called.
        """
        settings = [asdict(self.preprocessing), self.threshold, self.temperature]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for key, tensor in sorted(self.model.state_dict().items()):
            digest.update(key.encode() + str(tuple(tensor.shape)).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return f"{self.name}@{digest.hexdigest()[:12]}"


def as_pictures(images: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """One picture or several, as something to loop over."""
    if isinstance(images, (str, Path, bytes, bytearray, memoryview, Image.Image)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype != object:
        return [images]
    if not isinstance(images, Iterable):
        raise ImageError(
            f"a {type(images).__name__} is no picture: give a path, the bytes of a file, a PIL image or an "
            "array H x W x 3 of uint8, or a list of these"
        )
    return images


def read_picture(picture: Picture, index: int, preprocessing: Preprocessing) -> torch.Tensor:
    """Decode picture number `index` (from 0) to uint8 3 x h x w, or raise an `ImageError` that names it.

    Only the part that the preprocessing looks at: see `looked_at`.
    """
    name = str(picture) if isinstance(picture, (str, Path)) else ""
    if not name:
        name = f"image number {index} ({type(picture).__name__})"
    part = partial(looked_at, preprocessing)
    return as_tensor(decode_array(picture, part, min_side=MIN_SIDE, name=name))


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 3 x h x w of HxWx3; the memory stays in that order, which torchvision's resizing likes best."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def looked_at(preprocessing: Preprocessing, width: int, height: int) -> tuple[int, int, int, int]:
    """The middle part of a picture, beyond which the preprocessing does not look: left, top, right, bottom.

    Its `views` are those of the whole picture, to the last bit; cut first, a photograph of 12 megapixels is
    not copied before nine tenths of it are thrown away.
    """
    if preprocessing.side is not None:
        wide = high = min(width, height)
    elif preprocessing.crop:
        wide, high = width, height
    else:
        wide, high = min(width, LARGEST_WHOLE), min(height, LARGEST_WHOLE)
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high
