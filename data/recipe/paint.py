"""Paint skins, beards, make-up and garments: albedo maps over the body's texture space.

Every body texel knows the place on the unmorphed body it belongs to (`BodyMap.place`), so "the lips",
"where a beard grows" or "below the collar" are plain conditions on x, y, z in decimetres: the eyes lie at
y = 7.28, the mouth at 6.58, the chin at 6.16, the crown at 8.5; the face looks along +z.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage

from .assets import Library, linear_from_srgb
from .people import MONK_SRGB, Person

SIDE = 768
LOWEST = 4.8  # decimetres: nothing of the body below is ever in the frame


def smooth(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """The smooth step from 0 at `low` to 1 at `high` (either order)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class BodyMap:
    """Which texels of the body's texture are used, and the place on the resting body of each.

    Attributes:
        rows, columns: int (K,), the used texels of a SIDE x SIDE map (with a rim of 3 against seams).
        place: float32 (K, 3), decimetres on the unmorphed base mesh.
    """

    def __init__(self, library: Library) -> None:
        mesh = library.base
        keep = mesh.in_group("body") & (mesh.vertices[mesh.faces][:, :, 1].min(1) > LOWEST - 0.3)
        uv = mesh.uv[mesh.face_uv[keep]].astype(np.float64)
        uv[..., 1] = 1 - uv[..., 1]
        place = np.full((SIDE, SIDE, 3), np.nan, np.float32)
        for corners, points in zip(uv * SIDE - 0.5, mesh.vertices[mesh.faces[keep]], strict=True):
            rows, columns, weights = _raster(corners, SIDE)
            place[rows, columns] = weights @ points
        empty = np.isnan(place[..., 0])
        distance, nearest = ndimage.distance_transform_edt(empty, return_indices=True)
        self.rows, self.columns = np.nonzero(distance <= 3)
        self.place = place[tuple(nearest[:, self.rows, self.columns])]
        self._mesh = mesh
        self._library = library
        vertex_uv = np.full((len(mesh.vertices), 2), np.nan)
        body = mesh.in_group("body")
        vertex_uv[mesh.faces[body].ravel()] = mesh.uv[mesh.face_uv[body].ravel()]
        vertex_uv[:, 1] = 1 - vertex_uv[:, 1]
        self._vertex_uv = vertex_uv
        self.brow = functools.cache(self._brow)

    def _brow(self, number: int) -> np.ndarray:
        """Opacity float32 (K,) of eyebrow texture `number` laid onto the skin.

        Painting brows into the skin rather than floating a card over it keeps the card's shadow off the face.
        """
        name = f"eyebrows/eyebrow{number:03d}/eyebrow{number:03d}"
        proxy, _, surface = self._library.proxy(f"{name}.mhclo")
        texture = self._library.texture(f"{name}.png", 512)[..., 3]
        skin_uv = np.einsum("nk,nkd->nd", proxy.weight, self._vertex_uv[proxy.index])[surface.source]
        out = np.zeros((SIDE, SIDE), np.float32)
        for face in surface.faces:
            rows, columns, weights = _raster(skin_uv[face] * SIDE - 0.5, SIDE)
            u, v = (weights @ surface.uv[face]).T * 512 - 0.5
            out[rows, columns] = ndimage.map_coordinates(texture, [v, u], order=1, mode="nearest")
        return out[self.rows, self.columns]

    def noise(self, seed: int, frequency: float) -> np.ndarray:
        """Smooth noise float32 (K,), about N(0, 1), `frequency` cells a decimetre."""
        grid = np.random.default_rng(seed).standard_normal((24, 24, 24)).astype(np.float32)
        at = (self.place * frequency % 24).T
        return ndimage.map_coordinates(grid, at, order=1, mode="grid-wrap") * 1.6

    def sheet(self, values: np.ndarray, fill, side: int = SIDE) -> np.ndarray:
        """Spread values (K,) or (K, 3) over a texture (side, side[, 3]); unused texels get `fill`."""
        out = np.empty((SIDE, SIDE, *values.shape[1:]), np.float32)
        out[:] = fill
        out[self.rows, self.columns] = values
        step = SIDE // side
        return np.ascontiguousarray(out[step // 2 :: step, step // 2 :: step]) if step > 1 else out


def _raster(corners: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texels inside a triangle (3, 2 as x, y): rows, columns, barycentric weights float32 (n, 3)."""
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), side - 1)
    if np.any(high < low):
        return np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3), np.float32)
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-9:
        return np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3), np.float32)
    wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    weights = np.stack([1 - wb - wc, wb, wc], -1)
    inside = (weights > -0.02).all(-1)
    return y[inside], x[inside], weights[inside].astype(np.float32)


# --------------------------------------------------------------------------------------- regions of the face
# Each takes places (N, 3) and gives a weight in [0, 1] for each.


def ear_region(p: np.ndarray) -> np.ndarray:
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    return (
        smooth(x, 0.775, 0.80)
        * smooth(y, 6.8, 6.85)
        * smooth(y, 7.75, 7.7)
        * smooth(z, 0.2, 0.26)
        * smooth(z, 0.85, 0.8)
    )


def scalp_region(p: np.ndarray, lower: float = 0.0, soft: float = 0.09) -> np.ndarray:
    """Where hair grows on the head; `lower` > 0 moves the hair line down."""
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    line = np.interp(
        z, [-1.0, 0.0, 0.40, 0.62, 0.80, 0.98, 1.2, 1.45], [6.55, 6.6, 6.9, 6.95, 7.1, 7.62, 7.85, 7.93]
    )
    line = line + 0.05 * np.cos(x * 9) * smooth(z, 0.9, 1.2)
    return smooth(y - line + lower, -soft, soft) * (1 - ear_region(p))


def beard_region(p: np.ndarray, style: str, reach: float) -> np.ndarray:
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    cheek = (
        np.interp(z, [0.3, 0.6, 0.75, 0.95, 1.2, 1.35, 1.6], [7.0, 7.05, 6.95, 6.62, 6.56, 6.6, 6.6]) + reach
    )
    jaw = smooth(cheek - y, -0.05, 0.08) * smooth(y, 5.98, 6.12) * smooth(z, 0.55, 0.7)
    sideburn = (
        smooth(z, 0.6, 0.66)
        * smooth(z, 0.85, 0.8)
        * smooth(y, 6.5, 6.7)
        * smooth(y, 7.2, 7.1)
        * smooth(x, 0.6, 0.66)
    )
    jaw = np.maximum(jaw, sideburn) * (1 - ear_region(p))
    lip = 6.795 - 0.16 * (x / 0.3) ** 2
    moustache = smooth(y, 6.655 - 0.1 * (x / 0.3) ** 2, 6.685 - 0.1 * (x / 0.3) ** 2) * smooth(
        y, lip + 0.02, lip - 0.03
    )
    moustache = moustache * smooth(x, 0.36, 0.27) * smooth(z, 1.25, 1.35)
    mouth = ((x / 0.25) ** 2 + ((y - 6.575) / 0.09) ** 2 < 1) & (z > 1.2)
    if style == "moustache":
        out = moustache
    elif style == "goatee":
        out = np.maximum(moustache, jaw * smooth(x, 0.36, 0.26) * smooth(z, 1.1, 1.25))
    else:
        out = np.maximum(moustache, jaw)
    return out * ~mouth


def lip_region(p: np.ndarray) -> np.ndarray:
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    return smooth((x / 0.27) ** 2 + ((y - 6.575) / 0.115) ** 2, 1.15, 0.75) * smooth(z, 1.3, 1.38)


def _blob(
    p: np.ndarray, centre: tuple[float, float, float], radius: tuple[float, float, float]
) -> np.ndarray:
    """A Gaussian bump, mirrored left and right."""
    q = (np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], 1) - centre) / np.asarray(radius)
    return np.exp(-0.5 * (q**2).sum(1))


# ------------------------------------------------------------------------------------------------------ skin


def monk_albedo(monk: float, undertone: float) -> np.ndarray:
    """Linear albedo (3,) of a position on the Monk scale; undertone -1 is rosy, +1 olive.

    The swatches are lighter and darker than the reflectance of skin at the two ends, hence the squeeze.
    """
    swatches = np.array([[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in MONK_SRGB])
    linear = np.stack([np.interp(monk, np.arange(1, 11), linear_from_srgb(swatches)[:, k]) for k in range(3)])
    linear = linear * np.interp(monk, [1, 4, 6, 8, 10], [0.66, 0.72, 0.95, 1.15, 1.6])
    # ... and less coloured: blood and melanin make the light tones redder than the swatches.
    at = [1, 3.5, 5, 7, 10]
    warm = np.array(
        [
            1.06,
            np.interp(monk, at, [0.80, 0.84, 0.92, 0.93, 0.86]),
            np.interp(monk, at, [0.70, 0.77, 0.98, 0.88, 0.76]),
        ]
    ) * np.array([1 - 0.03 * undertone, 1 + 0.035 * undertone, 1 - 0.05 * undertone])
    return linear * warm


def skin_texture(library: Library, person: Person) -> str:
    """Path of the photographed skin that suits the person best (its tone is changed afterwards)."""
    skins, choice = library.skins, person.skin["texture"]
    if person.monk > 6.4:
        names = ["old_african_male"] if person.age > 62 else ["young_african_male", "middleage_african_male"]
    elif person.female:
        names = (
            ["middleage_asian_female"]
            if person.age > 48
            else ["young_asian_female", "young_caucasian_female2", "middleage_asian_female"]
        )
    elif person.age > 42:
        names = ["middleage_asian_male", "middleage_caucasian_male"]
    else:
        names = ["young_asian_male", "young_caucasian_male", "young_caucasian_male2"]
    return skins[names[int(choice * len(names)) % len(names)]]


def paint_skin(library: Library, body: BodyMap, person: Person) -> np.ndarray:
    """The person's skin albedo, linear float32 (SIDE, SIDE, 3) in [0.004, 0.9]."""
    p, skin, seed = body.place, person.skin, person.skin["noise_seed"]
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    colour = library.texture(skin_texture(library, person), SIDE)[body.rows, body.columns, :3]
    cheek = (z > 1.05) & (y > 6.75) & (y < 7.05) & (x > 0.3) & (x < 0.65)
    ratio = np.clip(colour / np.median(colour[cheek], 0), 0.03, 1.6)
    tone = monk_albedo(person.monk, skin["undertone"]).astype(np.float32)
    colour = tone * ratio ** np.float32(0.85 * skin["contrast"])

    rng = np.random.default_rng(seed)
    # Uneven pigment, blood in cheeks, nose and ears, freckles, moles, lines of age.
    colour *= (1 + skin["blotches"] * (body.noise(seed, 2.1) * 0.6 + body.noise(seed + 1, 6.3) * 0.4))[
        :, None
    ]
    colour *= 1 + 0.035 * rng.standard_normal((len(p), 1), np.float32)  # pores
    blood = np.maximum(
        _blob(p, (0.5, 6.92, 1.2), (0.22, 0.2, 0.3)), _blob(p, (0, 6.88, 1.68), (0.16, 0.12, 0.15))
    )
    blood = np.maximum(blood, 0.7 * ear_region(p)) * (skin["redness"] * 0.35 + person.make_up["blush"] * 0.4)
    colour *= 1 - blood[:, None] * np.array([0.02, 0.35, 0.32])
    hollow = skin["under_eye"] * _blob(p, (0.30, 7.13, 1.4), (0.15, 0.05, 0.2))
    colour *= 1 - hollow[:, None] * np.array([0.45, 0.5, 0.4])
    if skin["freckles"]:
        spots = smooth(body.noise(seed + 2, 17.0), 0.9, 1.7) * _blob(p, (0.25, 6.98, 1.5), (0.4, 0.25, 0.4))
        colour *= 1 - (skin["freckles"] * 0.55 * spots)[:, None] * np.array([0.5, 0.8, 0.95])
    front = np.flatnonzero((z > 0.7) & (y > 6.2) & (y < 7.9))
    for at in rng.choice(front, skin["moles"]):
        spot = np.exp(-0.5 * ((p - p[at]) ** 2).sum(1) / rng.uniform(0.010, 0.022) ** 2)
        colour *= 1 - 0.55 * spot[:, None]
    if skin["lines"] > 0.02:
        wobble = 0.04 * body.noise(seed + 3, 1.6) + 0.05 * np.cos(x * 4)
        fold = smooth(np.cos((y + wobble) * 2 * np.pi / 0.125), 0.72, 1.0)
        fold = (
            fold * smooth(y, 7.5, 7.62) * smooth(y, 7.98, 7.85) * smooth(x, 0.62, 0.4) * smooth(z, 1.0, 1.2)
        )
        feet = smooth(np.cos(np.arctan2(y - 7.28, x - 0.38) * 26), 0.4, 1.0) * _blob(
            p, (0.58, 7.27, 1.15), (0.07, 0.09, 0.2)
        )
        colour *= 1 - (skin["lines"] * (0.13 * fold + 0.16 * feet))[:, None]

    make_up = person.make_up
    lips = tone * np.array([0.80, 0.42, 0.44] if person.monk < 6 else [0.85, 0.6, 0.62])
    colour = _mix(colour, lips, (0.25 + 0.3 * skin["redness"]) * lip_region(p))
    if make_up["lip_strength"]:
        colour = _mix(
            colour,
            np.array(make_up["lips"]) * (0.4 + 0.6 * tone[0] / 0.5),
            make_up["lip_strength"] * lip_region(p),
        )
    if make_up["shadow_strength"]:
        lid = _blob(p, (0.32, 7.385, 1.4), (0.15, 0.05, 0.25))
        colour = _mix(colour, np.array(make_up["shadow"]) * (0.3 + tone[0]), make_up["shadow_strength"] * lid)
    rim = np.sqrt(((x - 0.315) / 0.165) ** 2 + ((y - 7.285) / 0.085) ** 2)
    colour = _mix(
        colour,
        np.full(3, 0.012),
        (0.10 + 0.45 * make_up["liner"]) * np.exp(-0.5 * ((rim - 0.95) / 0.13) ** 2) * (z > 1.2),
    )

    # Brows, scalp, beard.
    brows = person.brows
    colour = _mix(
        colour, np.array(brows["tint"]), np.clip(brows["strength"] * 1.6 * body.brow(brows["texture"]), 0, 1)
    )
    hair = person.hair
    grain = rng.standard_normal(len(p), np.float32) * 0.7 + 0.5 * body.noise(seed + 4, 23.0)
    if hair["style"] != "bald":
        cover = 0.82 if hair["style"] == "buzz" else 0.75
        cut = np.clip(cover * (1 + 0.16 * grain), 0, 1)
        line = (0.02 + 0.05 * body.noise(seed + 6, 3.0)) if hair["style"] == "buzz" else -0.05
        colour = _mix(colour, np.array(hair["tint"]), cut * scalp_region(p, line))
    elif person.age > 40 and not person.female:
        ring = scalp_region(p) * smooth(y, 7.9, 7.5) * 0.55
        colour = _mix(colour, np.array(hair["tint"]), ring * np.clip(1 + 0.3 * grain, 0, 1))
    beard = person.face_hair
    if beard["style"] != "none":
        cover = {"stubble": 0.42, "short beard": 0.85}.get(beard["style"], 0.97) * beard["density"] ** 0.5
        patch = beard_region(p, beard["style"], beard["reach"]) * np.clip(
            cover * (1 + 0.22 * grain + 0.12 * body.noise(seed + 5, 4.0)), 0, 1
        )
        colour = _mix(
            colour, np.array(beard["tint"]) * (1 + 0.25 * np.clip(grain, -1.5, 1.5))[:, None], patch
        )
    return body.sheet(np.clip(colour, 0.004, 0.9).astype(np.float32), tone)


def _mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return a + (b - a) * weight[:, None]


# -------------------------------------------------------------------------------------------------- garments


def pattern(p: np.ndarray, kind: str, first, second, period: float, grain: np.ndarray) -> np.ndarray:
    """Cloth colours (N, 3) at places (N, 3)."""
    first, second = np.array(first), np.array(second)
    x, y, z = p.T
    if kind == "stripes":
        share = smooth(np.cos(y * 2 * np.pi / period), 0.1, 0.4)
    elif kind == "vertical":
        share = smooth(np.cos((x + 0.3 * z) * 2 * np.pi / period), 0.5, 0.8)
    elif kind == "checks":
        share = 0.5 * (
            smooth(np.cos(y * 2 * np.pi / period), -0.1, 0.1)
            + smooth(np.cos(x * 2 * np.pi / period), -0.1, 0.1)
        )
    elif kind == "ribbed":
        share = 0.5 + 0.5 * np.cos(np.arctan2(x, z - 0.4) * 60)
        second = first * 0.45
    elif kind == "speckle":
        share = smooth(grain, 0.4, 1.2) * 0.6
    else:
        share = np.zeros(len(p))
    return first + (second - first) * share[:, None]


def garment_cover(p: np.ndarray, kind: str, collar: float) -> np.ndarray:
    """Opacity (N,) of a code-made garment: everything below its neckline."""
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    line = 5.86 - 0.36 * (z - 0.1) + 0.5 * collar
    front = smooth(z, 0.3, 0.6)
    if kind == "turtleneck":
        line = 5.98 - 0.12 * z + 0.7 * collar
    elif kind == "v-neck":
        line = line - front * np.clip(0.55 - 1.1 * x, 0, 1)
    elif kind == "scoop":
        line = line - front * 0.55 * np.sqrt(np.clip(1 - (x / 0.75) ** 2, 0, 1)) - 0.05
    return smooth(line - y, 0.0, 0.03)


def hat_cover(p: np.ndarray, kind: str, height: float) -> np.ndarray:
    """Opacity (N,) of a hat over the head."""
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    if kind == "beanie":
        return smooth(y - (7.12 + 0.46 * np.clip(z, -0.6, 1.5) + height), 0.0, 0.04)
    oval = (x / 0.70) ** 2 + ((y - 6.95 - 0.3 * height) / 0.93) ** 2
    return np.maximum(smooth(oval, 0.97, 1.05), smooth(z, 0.62, 0.55)) * smooth(y, 4.7, 4.75)
