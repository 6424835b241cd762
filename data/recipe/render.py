"""Render many people, resumably.

    python data/recipe/render.py --assets DIR --out FOLDER --count 100 --seed 1

writes FOLDER/00000.npz ... (key `rgb`: linear float16, side x side x 3, light skin under the key light about
0.4) and FOLDER/people.jsonl, one person a line. A second call renders only what is missing.
Every file appears whole or not at all: it is written under another name and then renamed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

if __package__ in (None, ""):  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    __package__ = "recipe"

from recipe.people import Person, draw_person  # noqa: E402  (after the path is set)

_wardrobe = None


def picture_path(out_dir: str | Path, index: int) -> Path:
    """Where the render of person `index` lies."""
    return Path(out_dir) / f"{index:05d}.npz"


def load_render(path: str | Path) -> np.ndarray:
    """Read a render back: linear float32 (side, side, 3)."""
    with np.load(path) as stored:
        return stored["rgb"].astype(np.float32)


def is_finished(path: Path, side: int) -> bool:
    """True if the file is there, whole, and of the wanted size."""
    if not path.is_file():
        return False
    try:
        return load_render(path).shape == (side, side, 3)
    except (OSError, ValueError, KeyError, EOFError):
        return False


def _start_worker(assets_dir: str) -> None:
    os.environ["OIDN_NUM_THREADS"] = "1"
    global _wardrobe
    from recipe.assets import Library
    from recipe.scene import Wardrobe

    _wardrobe = Wardrobe(Library(assets_dir))


def _render_one(job: tuple[str, int, int, int, int]) -> tuple[int, float]:
    out_dir, index, seed, side, spp = job
    from recipe.scene import render_person

    start = time.perf_counter()
    picture = render_person(_wardrobe, draw_person(seed, index), side, spp)
    path = picture_path(out_dir, index)
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez_compressed(file, rgb=picture.astype(np.float16))
    os.replace(part, path)
    return index, time.perf_counter() - start


def render_people(
    assets_dir: str | Path,
    out_dir: str | Path,
    first: int,
    count: int,
    seed: int,
    side: int = 144,
    spp: int = 12,
    workers: int | None = None,
    progress: bool = True,
) -> list[Path]:
    """Render the people first ... first + count - 1 of the population `seed`; skips what is there already.

    Args:
        assets_dir: MakeHuman's CC0 assets.
        out_dir: gets the renders and `people.jsonl` (made if missing).
        side: pixels; the data set crops 128 of them.
        spp: samples a pixel.
        workers: processes (None: one for each core).

    Returns the paths in order. The result does not depend on `workers` or on interruptions.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    indices = range(first, first + count)
    people = {index: draw_person(seed, index) for index in indices}
    listing = out / "people.jsonl"
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8").splitlines():
            known = Person.from_json(line)
            if known.seed != seed:
                raise ValueError(
                    f"{listing}: holds people of seed {known.seed}, not {seed}; give each seed its own folder"
                )
            people.setdefault(known.index, known)
    part = out / f"people.jsonl.{os.getpid()}.part"
    part.write_text("".join(people[index].to_json() + "\n" for index in sorted(people)), encoding="utf-8")
    os.replace(part, listing)

    jobs = [
        (str(out), index, seed, side, spp)
        for index in indices
        if not is_finished(picture_path(out, index), side)
    ]
    start = time.perf_counter()
    if jobs:
        workers = min(workers or os.cpu_count() or 1, len(jobs))
        context = multiprocessing.get_context("spawn")  # the renderer's threads do not survive a fork
        with context.Pool(workers, _start_worker, (str(assets_dir),)) as pool:
            for done, _ in enumerate(pool.imap_unordered(_render_one, jobs), 1):
                if progress and (done % 20 == 0 or done == len(jobs)):
                    each = (time.perf_counter() - start) / done
                    print(
                        f"{done}/{len(jobs)} portraits, {each:.2f} s each, "
                        f"{each * (len(jobs) - done) / 60:.0f} min to go",
                        flush=True,
                    )
    return [picture_path(out, index) for index in indices]


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(description="Render people who do not exist.")
    parser.add_argument("--assets", required=True, help="folder with MakeHuman's CC0 assets")
    parser.add_argument("--out", required=True, help="folder for the renders")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--side", type=int, default=144)
    parser.add_argument("--spp", type=int, default=12, help="samples a pixel")
    parser.add_argument("--workers", type=int, default=None, help="processes; default one for each core")
    a = parser.parse_args(arguments)
    from recipe.assets import AssetError, Library
    from recipe.scene import RenderError

    try:
        Library(a.assets)
        render_people(a.assets, a.out, a.first, a.count, a.seed, a.side, a.spp, a.workers)
    except (AssetError, RenderError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
