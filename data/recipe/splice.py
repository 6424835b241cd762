"""Re-draw one region of a photograph: the forger paints it, a soft edge blends it in, a mask says where.

The positions are not guessed from the picture: a region is a set of places on the base mesh, which the
person's morphs and pose move and the recipe's camera projects (`scene.viewpoint`). Nothing is rendered for
it. The blending happens before the one last step (crop, JPEG), so that step is the same for spliced and
untouched pictures.

Local manipulations with a mask as ground truth are how localisation is judged in image forensics; compare
Rössler et al. 2019 (FaceForensics++, arXiv 1901.08971) and Li et al. 2020 (Face X-ray, arXiv 1912.13458),
where blending boundaries are the subject.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull

from . import camera
from .assemble import _CROP, _FORGER, rng_for, write_csv
from .people import Person

_SPLICE = 4  # what a random draw is for; see assemble

# Ellipses on the resting base mesh, seen from the front: centre (x, y) and radii, decimetres. Those that are
# off the middle are meant on both sides; of two cheeks one is chosen later.
REGIONS = {
    "eyes": ((0.31, 7.28), (0.20, 0.17)),
    "nose": ((0.0, 6.96), (0.22, 0.26)),
    "mouth": ((0.0, 6.58), (0.36, 0.20)),
    "cheek": ((0.43, 6.85), (0.22, 0.28)),
    "forehead": ((0.0, 7.65), (0.44, 0.18)),
}
FRONT = 0.9  # only the front of the head, not the back of it: z above this
GROWTH = (1.0, 6.0)  # so many pixels is the outline moved outwards, drawn anew for each picture
AREA = (0.03, 0.15)  # share of the finished picture that a mask may cover
EDGE = 2.5  # pixels from the edge of the mask over which the blend goes from nothing to all, on either side


def mesh_region(rest: np.ndarray, body: np.ndarray, region: str) -> np.ndarray:
    """Indices of the vertices in a region. rest: (V, 3) resting mesh; body: those vertices that are skin."""
    (x, y), (wide, high) = REGIONS[region]
    place = rest[body]
    inside = ((np.abs(place[:, 0]) - x) / wide) ** 2 + ((place[:, 1] - y) / high) ** 2 < 1
    return body[inside & (place[:, 2] > FRONT)]


def may_be_redrawn(person: Person, region: str) -> bool:
    """False where hair or a hat hides the region: a mask named "forehead" must not show a hat."""
    if region == "forehead":
        return person.hat is None and person.hair["style"] not in ("bob02", "long01")
    return region != "eyes" or person.hair["style"] != "bob02"


def assign_regions(people: dict[int, Person], count: int, seed: int) -> dict[int, str]:
    """`count` of the people, each with one region, all regions alike in number (give or take one)."""
    order = np.random.default_rng([seed, _SPLICE]).permutation(sorted(people))
    free, names, chosen = list(order), list(REGIONS), {}
    for k in range(count):
        region = names[k % len(names)]
        person = next((p for p in free if may_be_redrawn(people[p], region)), None)
        if person is None:
            raise ValueError(
                f"splice: {k} of {count} pictures, then nobody is left whose {region} can be seen"
            )
        free.remove(person)
        chosen[int(person)] = region
    return chosen


class Landmarks:
    """Finds regions in the photographs of people, by projecting the mesh they were rendered from."""

    def __init__(self, assets: Path):
        from .assets import Library

        self.library = Library(assets)
        self.body = self.library.base.group_vertices("body")

    def __call__(self, person: Person, region: str, side: int) -> np.ndarray:
        """Where the vertices of the region fall in the uncropped picture: (N, 2), column and row."""
        from .scene import posed_vertices, project, viewpoint

        vertices = posed_vertices(self.library, person)
        view = viewpoint(vertices, person)
        rest = self.library.base.vertices
        chosen = mesh_region(rest, self.body, region)
        points = project(vertices[chosen], *view, side)
        if region == "cheek":  # the one that is turned to the camera: it is the wider
            left = rest[chosen, 0] > 0
            points = max(points[left], points[~left], key=lambda half: np.ptp(half[:, 0]))
        return points


def signed_distance(points: np.ndarray, side: int) -> np.ndarray:
    """Distance of every pixel from the points' convex hull, in pixels; negative inside. (side, side)."""
    outline = points[ConvexHull(points).vertices]
    fine = 4  # drawn four times as large, for an outline between pixels
    canvas = Image.new("1", (side * fine, side * fine))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in outline * fine], fill=1)
    inside = np.asarray(canvas)
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    return distance.reshape(side, fine, side, fine).mean((1, 3)) / fine


def soft_share(distance: np.ndarray, growth: float) -> np.ndarray:
    """The re-drawn share of each pixel, 0 to 1: one half `growth` pixels outside the outline."""
    x = np.clip((growth - distance) / (2 * EDGE) + 0.5, 0, 1)
    return x * x * (3 - 2 * x)


def blend(photo: np.ndarray, fake: np.ndarray, share: np.ndarray) -> np.ndarray:
    """share·fake + (1 - share)·photo, rounded. uint8 H×W×3 in and out; share H×W."""
    mixed = photo + share[..., None] * (fake.astype(np.float64) - photo)
    return np.round(mixed).astype(np.uint8)


def splice_one(
    photo: np.ndarray,
    forger: Callable[[np.ndarray, int], np.ndarray],
    points: np.ndarray,
    seed: int,
    person: int,
) -> tuple[np.ndarray, np.ndarray]:
    """One spliced picture and its mask, both cropped as the untouched picture of this person was.

    photo: uint8 S×S×3, uncropped. points: (N, 2), the region. Returns uint8 128×128×3 and bool 128×128.
    """
    distance = signed_distance(points, len(photo))
    growth = float(rng_for(seed, person, _SPLICE).uniform(*GROWTH))

    def cropped(picture: np.ndarray) -> np.ndarray:
        return camera.frame_crop(picture, rng_for(seed, person, _CROP))

    def area(growth: float) -> float:
        return float(cropped((distance < growth)[..., None]).mean())

    while area(growth) < AREA[0]:
        growth += 0.25
    while area(growth) > AREA[1]:
        growth -= 0.25
    share = soft_share(distance, growth)
    fake = forger(photo, int(rng_for(seed, person, _FORGER).integers(2**31)))
    return cropped(blend(photo, fake, share)), cropped((share > 0.5)[..., None])[..., 0]


def save_mask(mask: np.ndarray, path: Path) -> None:
    """A PNG of one bit a pixel: white where the picture was re-drawn."""
    part = path.with_name(path.name + ".part")
    Image.fromarray(mask).save(part, format="PNG", optimize=True)
    part.replace(path)


def make_spliced(
    regions: dict[int, str],
    names: dict[int, str],
    people: dict[int, Person],
    photo: Callable[[int], np.ndarray],
    forger: Callable[[np.ndarray, int], np.ndarray],
    landmarks: Callable[[Person, str, int], np.ndarray],
    out: Path,
    seed: int,
) -> list[float]:
    """Write `out`/spliced: a JPEG and a mask for each person, and spliced.csv. Returns the masks' shares.

    names: the id of each person's untouched picture in test/real; the spliced one gets the same.
    photo: gives the uncropped photograph of a person; out: the root of the data set (data/studio).
    """
    folder = out / "spliced"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.jpg"), *folder.glob("*.png")]:
        old.unlink()
    rows, areas = [], []
    for person in sorted(regions, key=names.__getitem__):
        name, region = names[person], regions[person]
        before = photo(person)
        points = landmarks(people[person], region, len(before))
        picture, mask = splice_one(before, forger, points, seed, person)
        original = f"real_vs_fake/real-vs-fake/test/real/{name}.jpg"
        untouched = camera.frame_crop(before, rng_for(seed, person, _CROP))
        if camera.jpeg_bytes(untouched) != (out / original).read_bytes():
            raise ValueError(f"{original} is not the photograph of person {person}: assemble again first")
        camera.save_jpeg(picture, folder / f"{name}.jpg")
        save_mask(mask, folder / f"{name}.png")
        rows.append([f"spliced/{name}.jpg", f"spliced/{name}.png", original, region, person])
        areas.append(float(mask.mean()))
    write_csv(folder / "spliced.csv", ["path", "mask", "original", "region", "person"], rows)
    return areas
