"""Faces in a picture: where they are, and the squares around them that a detector of fakes should judge.

The finding itself is dlib's: histograms of gradients under a sliding window, a linear judge on top (Dalal and
Triggs 2005; dlib's `get_frontal_face_detector`). Its weights are part of the package, so it works offline.
dlib is the optional extra `faces`; without it nothing is looked for, and whoever asks is told so. It finds
faces seen from the front, from about 80 pixels up in what it is shown; it misses profiles, covered faces and
very small ones. A miss is no statement about the picture.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

MAX_FACES = 6  # the largest ones are judged
SEARCH_SIDE = 960  # faces are looked for in a copy whose longer side is at most this
LEAST_SIDE = 800  # and at least this: small pictures are enlarged, for the finder needs 80 pixels of face
MARGIN = 1.5  # side of the judged square, in sides of the box that was found
FILLED = 0.6  # a square of this share of the shorter side is no crop worth making: the picture is the face
BORDER = 0.2  # the copy is widened by this share on each side, so that faces cut by the edge are found

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom are the first ones outside."""

INSTALL = 'pip install "facenest-course[faces]"'


def finder_is_there() -> bool:
    """Whether dlib is installed; it is not loaded for the answer."""
    return importlib.util.find_spec("dlib") is not None


@cache
def _finder() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def find_faces(picture: Image.Image) -> list[Box]:
    """Boxes of the faces in an upright RGB picture, the largest first; [] if none was found.

    Raises ImportError without dlib: ask `finder_is_there` first.
    """
    longer = max(picture.size)
    scale = min(max(longer, LEAST_SIDE), SEARCH_SIDE) / longer
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    small = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0) if scale != 1 else picture
    border = round(BORDER * min(size))
    pixels = np.pad(np.asarray(small.convert("L")), border, mode="edge")
    found = []
    for r in _finder()(pixels, 0):
        corners = (r.left(), r.top(), r.right() + 1, r.bottom() + 1)
        left, top, right, bottom = (round((corner - border) / scale) for corner in corners)
        box = (max(0, left), max(0, top), min(picture.width, right), min(picture.height, bottom))
        if box[2] > box[0] and box[3] > box[1]:
            found.append(box)
    return sorted(found, key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))


def square_around(box: Box, size: tuple[int, int], margin: float = MARGIN) -> Box:
    """The square of `margin` times the box's longer side around its middle, moved into the picture.

    size: width and height of the picture. Where the square is larger than the picture's shorter side it
    becomes as large as that.
    """
    left, top, right, bottom = box
    side = min(round(margin * max(right - left, bottom - top)), *size)
    x = min(max(0, round((left + right - side) / 2)), size[0] - side)
    y = min(max(0, round((top + bottom - side) / 2)), size[1] - side)
    return x, y, x + side, y + side


def squares_to_judge(boxes: list[Box], size: tuple[int, int], least: int = 32) -> list[Box]:
    """Which squares of a picture are to be judged by themselves: one a face, the largest first.

    [] if the picture is a portrait already: one face, whose square fills it nearly. Squares with sides below
    `least` pixels are left out, and all beyond the `MAX_FACES` largest.
    """
    squares = [square_around(box, size) for box in boxes]
    if len(squares) == 1 and squares[0][2] - squares[0][0] >= FILLED * min(size):
        return []
    return [square for square in squares if square[2] - square[0] >= least][:MAX_FACES]
