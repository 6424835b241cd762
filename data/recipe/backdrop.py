"""Backgrounds out of focus, painted by code: walls, paper, bokeh, foliage, rooms, skies, bricks, streets."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def paint_backdrop(spec: dict, side: int, light_side: int) -> np.ndarray:
    """The background of `Person.backdrop`: linear float32 (side, side, 3), a pure function of its arguments.

    About 1 is as bright as white paper under the key light.
    """
    rng = np.random.default_rng(spec["noise_seed"])
    a, b, c = (np.array(spec[key]) for key in ("colour", "second", "third"))
    y, x = np.mgrid[0:side, 0:side] / side
    blur = spec["blur"] * side
    kind = spec["kind"]
    if kind == "wall":
        picture = np.ones((side, side, 1)) * a
        picture = picture * (1 + 0.05 * _noise(rng, side, 9)[..., None])
    elif kind == "studio paper":
        glow = np.exp(
            -((x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2) / rng.uniform(0.08, 0.4)
        )
        picture = a * 0.5 + (a * 0.9 + 0.15) * glow[..., None]
    elif kind == "bokeh":
        picture = _lerp(a * 0.15, b * 0.2, smooth_ramp(y + 0.2 * _noise(rng, side, 3)))
        for _ in range(int(rng.integers(15, 60))):
            radius = rng.uniform(0.015, 0.06)
            distance = np.hypot(x - rng.random(), y - rng.random())
            disc = np.clip((radius - distance) * side / 1.5, 0, 1) * (
                0.75 + 0.25 * np.clip(distance / radius, 0, 1)
            )
            tint = (a, b, c, np.array([1.0, 0.75, 0.4]), np.ones(3))[int(rng.integers(5))]
            picture = picture + disc[..., None] * (tint + 0.1) * rng.uniform(0.2, 1.2)
        blur *= 0.3
    elif kind == "foliage":
        leaves = sum(_noise(rng, side, n) / k for k, n in enumerate((5, 11, 23, 41), 1))
        green = np.array([0.10, 0.17, 0.04]) * rng.uniform(0.6, 1.4, 3)
        picture = (
            green * np.exp(0.7 * leaves)[..., None]
            + np.array([0.8, 0.9, 0.75]) * np.clip(leaves - 1.3, 0, 1)[..., None] * 0.9
        )
        blur *= 0.8
    elif kind == "sky":
        top, low = np.array([0.18, 0.36, 0.75]), np.array([0.65, 0.75, 0.85])
        picture = _lerp(top, low, y)
        cloud = np.clip(_noise(rng, side, 4) + 0.5 * _noise(rng, side, 9) - 0.2, 0, 1.5)[..., None]
        picture = picture + (0.9 - picture) * np.clip(cloud, 0, 1) * 0.8
        hill = y > rng.uniform(0.62, 0.95) + 0.05 * _noise(rng, side, 3)[:1]
        picture = np.where(hill[..., None], np.array([0.12, 0.16, 0.07]) * rng.uniform(0.5, 1.6), picture)
        blur *= 0.7
    elif kind == "brick":
        rows = rng.uniform(10, 22)
        row = np.floor(y * rows)
        column = np.floor(x * rows * 0.4 + 0.5 * (row % 2))
        shade = np.random.default_rng(rng.integers(2**31)).uniform(0.7, 1.3, 4096)[
            ((row * 57 + column * 7) % 4096).astype(int)
        ]
        mortar = ((y * rows) % 1 < 0.14) | ((x * rows * 0.4 + 0.5 * (row % 2)) % 1 < 0.06)
        base = np.array([0.30, 0.12, 0.07]) if rng.random() < 0.6 else a
        picture = np.where(mortar[..., None], 0.35 * np.ones(3), base * shade[..., None])
        blur *= 0.35
    else:
        picture = _boxes(rng, kind, x, y, (a, b, c))
    # Light falls off along the wall, away from the key light, and a little towards the floor.
    slope = rng.uniform(0.0, 0.7) * light_side
    picture = picture * np.exp(slope * (x - 0.5) - rng.uniform(0, 0.5) * (y - 0.5))[..., None]
    picture = ndimage.gaussian_filter(picture, (blur, blur, 0), mode="nearest")
    return np.clip(picture * spec["level"], 0.002, 4).astype(np.float32)


def _boxes(rng: np.random.Generator, kind: str, x: np.ndarray, y: np.ndarray, colours) -> np.ndarray:
    """Rooms (furniture, pictures, a window) and streets (façades, lit windows) as overlapping rectangles."""
    a, b, c = colours
    floor = rng.uniform(0.65, 1.1)
    wall = a * 0.8 + 0.1 if kind == "room" else np.array([0.5, 0.6, 0.75])
    picture = np.where((y > floor)[..., None], b * 0.5 + 0.03, np.broadcast_to(wall, (*x.shape, 3)))
    for _ in range(int(rng.integers(4, 14))):
        if kind == "room":
            w, h = rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.5)
            x0, y0 = rng.uniform(-0.1, 1), rng.uniform(-0.1, 0.9)
        else:
            w, h = rng.uniform(0.1, 0.4), rng.uniform(0.3, 1.1)
            x0, y0 = rng.uniform(-0.2, 1), 1.0 - h
        tint = (a, b, c, np.full(3, 0.3), np.array([0.25, 0.15, 0.08]))[int(rng.integers(5))] * rng.uniform(
            0.4, 1.4
        )
        inside = (x > x0) & (x < x0 + w) & (y > y0) & (y < y0 + h)
        if kind == "street":
            n = rng.uniform(12, 30)
            lit = ((x * n) % 1 < 0.55) & ((y * n * 0.8) % 1 < 0.5) & inside
            picture = np.where(inside[..., None], tint, picture)
            picture = np.where(
                lit[..., None], tint * 0.4 + rng.uniform(0, 0.4) * np.array([1, 0.85, 0.6]), picture
            )
        else:
            picture = np.where(inside[..., None], tint, picture)
    if rng.random() < 0.35:
        x0, w = rng.uniform(-0.1, 0.9), rng.uniform(0.15, 0.45)
        inside = (x > x0) & (x < x0 + w) & (y < rng.uniform(0.4, 0.8))
        picture = np.where(inside[..., None], np.array([1.2, 1.3, 1.4]) * rng.uniform(0.5, 1.4), picture)
    return picture


def _noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise (side, side), about N(0, 1)."""
    grid = rng.standard_normal((cells + 3, cells + 3))
    at = np.linspace(0.5, cells + 1.5, side)
    out = ndimage.map_coordinates(grid, np.meshgrid(at, at, indexing="ij"), order=3)
    return out / max(out.std(), 1e-6)


def _lerp(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[..., None]


def smooth_ramp(x: np.ndarray) -> np.ndarray:
    """The smooth step on [0, 1]."""
    t = np.clip(x, 0, 1)
    return t * t * (3 - 2 * t)
