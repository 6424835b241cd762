"""What `studio` has beside its three splits: fakes by generators nobody trained on, and spliced pictures.

* ``load_unseen("vae")``: fakes by another family of generators, with real pictures of the same people. Train
  on one family, test on others: that is where detectors fail.
* ``load_spliced()``: real pictures in which one region was re-drawn, each with a mask that says where: the
  ground truth for maps that claim to show what a detector looks at.

How they were made is in ``data/README.md``. All of it is for judging; nothing of it is for training.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from .data import FaceDataset, to_float
from .embedded import data_folder
from .errors import DataError
from .filecheck import look_into_files
from .images import decode_image, printable
from .layouts import CLASS_NAMES, Item, Listing, read_rows

__all__ = ["SplicedFaces", "load_spliced", "load_unseen", "unseen_generators"]

_RESTORE = "restore data/studio with git, or make it again with data/make_studio.py"


def unseen_generators() -> list[str]:
    """The generator families of ``studio`` that no detector of the course was trained on, sorted by name."""
    _, rows = _table("unseen")
    return sorted({row["generator"] for row in rows} - {""})


def load_unseen(
    generator: str,
    *,
    transform: Callable[[torch.Tensor], object] | None = None,
    cache_bytes: int = 1_000_000_000,
) -> FaceDataset:
    """Fakes by `generator` (one of `unseen_generators`) and real pictures of the same people, as many of
    each.

    The real pictures come first, then the fakes, in the order of the same people: image ``i`` and image
    ``len(data) // 2 + i`` show one person in one photograph, before and after the generator. That person is
    also the one on the ``i``-th fake of ``load("studio").test``, so the forger and all unseen generators can
    be compared on equal content. Arguments and errors otherwise as in `load`: `DataError` for an unknown
    generator, and for files that are missing, extra or damaged, with all of them in its `.problems`.
    """
    folder, rows = _table("unseen")
    names = sorted({row["generator"] for row in rows} - {""})
    if generator not in names:
        near = difflib.get_close_matches(str(generator).lower(), names, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {' and '.join(names) or 'none yet'}"
        raise DataError(f"there is no unseen generator called {printable(str(generator))!r}; {hint}")
    chosen = sorted(
        (row for row in rows if row["generator"] in ("", generator)),
        key=lambda row: (row["label_str"] != "real", row["path"]),
    )
    items = [
        Item(str(folder / row["path"]), row["path"], CLASS_NAMES.index(row["label_str"]), None)
        for row in chosen
    ]
    place = folder / "unseen"
    _stop_at_faults(
        f"studio's unseen {generator}", place / generator, items, [place / "real", place / generator]
    )
    return FaceDataset(
        [item.path for item in items],
        [item.label for item in items],
        name=f"studio unseen {generator}",
        split="test",
        transform=transform,
        cache_bytes=cache_bytes,
    )


class SplicedFaces:
    """Real pictures in which the forger re-drew one region: what `load_spliced` returns.

    For ``i`` from 0 to ``len(faces) - 1`` (negative from the end):

    * ``uint8(i)``: the spliced picture, uint8 tensor 3×H×W; ``original(i)``: the untouched one, the same
      shape;
    * ``mask(i)``: bool tensor H×W, True where more than half of a pixel was re-drawn;
    * ``region(i)``: which region, one of `regions`; ``person(i)``: the person's number in ``people.csv``.

    ``as_dataset()`` gives the originals (0) and the spliced pictures (1) as a `FaceDataset`.
    """

    def __init__(self, rows: list[dict[str, str]], folder: Path):
        self._rows = rows
        self.paths = [str(folder / row["path"]) for row in rows]
        self.mask_paths = [str(folder / row["mask"]) for row in rows]
        self.original_paths = [str(folder / row["original"]) for row in rows]
        self.regions = tuple(sorted({row["region"] for row in rows}))
        self._images: dict[str, torch.Tensor] = {}  # 200 pictures and their originals: 20 MB at most

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The spliced picture as float32 3×H×W in [0, 1], and its mask."""
        return to_float(self.uint8(i)), self.mask(i)

    def uint8(self, i: int) -> torch.Tensor:
        return self._image(self.paths[self._index(i)])

    def original(self, i: int) -> torch.Tensor:
        return self._image(self.original_paths[self._index(i)])

    def mask(self, i: int) -> torch.Tensor:
        return self._image(self.mask_paths[self._index(i)])[0] > 127

    def region(self, i: int) -> str:
        return self._rows[self._index(i)]["region"]

    def person(self, i: int) -> int:
        return int(self._rows[self._index(i)]["person"])

    def as_dataset(self, transform: Callable[[torch.Tensor], object] | None = None) -> FaceDataset:
        """Originals (label 0), then spliced pictures (label 1): image ``len(self) + i`` is ``uint8(i)``."""
        n = len(self)
        return FaceDataset(
            self.original_paths + self.paths,
            [0] * n + [1] * n,
            name="studio spliced",
            split="test",
            transform=transform,
        )

    def _image(self, path: str) -> torch.Tensor:
        if path not in self._images:
            picture = (
                np.asarray(decode_image(path)).transpose(2, 0, 1).copy()
            )  # torch wants memory of its own
            self._images[path] = torch.from_numpy(picture)
        return self._images[path]

    def _index(self, i: int) -> int:
        n = len(self)
        try:
            i = operator.index(i)
        except TypeError:
            raise TypeError(f"choose a picture by a whole number, not a {type(i).__name__}") from None
        if not -n <= i < n:
            raise IndexError(f"there are {n} spliced pictures, from 0 to {n - 1}; there is no {i}")
        return i % n

    def __repr__(self) -> str:
        return f"SplicedFaces({len(self)} pictures: {', '.join(self.regions)})"


def load_spliced() -> SplicedFaces:
    """Real pictures of `studio` in which one region was re-drawn by the forger, each with its mask.

    The people are those of the test split's real pictures, which are also the originals. Raises `DataError`
    when files are missing, extra or damaged, with all of them in its `.problems`.
    """
    folder, rows = _table("spliced")
    columns = ("path", "mask", "original")
    items = [Item(str(folder / row[c]), row[c], int(c == "path"), None) for row in rows for c in columns]
    _stop_at_faults("studio's spliced", folder / "spliced", items, [folder / "spliced"])
    faces = SplicedFaces(rows, folder)
    odd = []
    for i, row in enumerate(rows):
        shape = faces.uint8(i).shape
        if not row["person"].isdecimal() or not row["region"]:
            odd.append(f"{row['path']}: its row in spliced.csv names no person or no region")
        elif faces.original(i).shape != shape or faces.mask(i).shape != shape[1:]:
            odd.append(f"{row['path']}: mask, original and picture differ in size")
        elif not faces.mask(i).any():
            odd.append(f"{row['mask']}: an empty mask")
    if odd:
        raise _fault("studio's spliced", odd)
    return faces


# --- reading ------------------------------------------------------------------------------------------------

_COLUMNS = {
    "unseen": ("path", "label_str", "generator", "id", "person"),
    "spliced": ("path", "mask", "original", "region", "person"),
}
_PATHS = ("path", "mask", "original")


def _table(part: str) -> tuple[Path, list[dict[str, str]]]:
    """The folder of `studio`, and the rows of unseen/unseen.csv or spliced/spliced.csv, each looked over."""
    folder = data_folder() / "studio"
    table = folder / part / f"{part}.csv"
    if not table.is_file():
        raise DataError(f"{table} is not there; {_RESTORE}")
    rows = list(read_rows(table, _COLUMNS[part]))
    if not rows:
        raise DataError(f"{table} lists no pictures; {_RESTORE}")
    for line, row in enumerate(rows, start=2):
        for column in set(_PATHS) & row.keys():
            parts = row[column].split("/")
            if len(parts) < 2 or {"", ".", ".."} & set(parts) or "\\" in row[column]:
                shown = printable(row[column]) or "nothing"
                raise DataError(f"{table} line {line}: {shown} is no path below {folder}; {_RESTORE}")
        if row.get("label_str", "real") not in CLASS_NAMES:
            shown = printable(row["label_str"])
            raise DataError(f"{table} line {line}: {shown!r} is neither real nor fake; {_RESTORE}")
    return folder, rows


def _stop_at_faults(what: str, base: Path, items: list[Item], folders: list[Path]) -> None:
    """`DataError` if a listed file is missing or damaged, or a picture lies there that no row lists."""
    _, problems = look_into_files(Listing(base, items), full=True, trust=True)
    listed = {Path(item.path) for item in items}
    for folder in folders:
        found = [*folder.glob("*.jpg"), *folder.glob("*.png")]
        problems += [f"{printable(p.name)}: an extra file, not listed" for p in sorted(set(found) - listed)]
    if problems:
        raise _fault(what, problems)


def _fault(what: str, problems: list[str]) -> DataError:
    more = f", the first of {len(problems):,} faults" if len(problems) > 1 else ""
    return DataError(f"{what} pictures: {problems[0]}{more}; {_RESTORE}", problems)
