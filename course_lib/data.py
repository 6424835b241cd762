"""Data sets of real and fake faces behind one call: ``sets = load("studio")``.

`load` reads the folders and the CSV files, holds one against the other, looks into every file, and refuses to
go on over faults (or leaves the faulty files out, if told to). What it returns is three map-style data sets,
``sets.train``, ``sets.valid`` and ``sets.test``, each giving ``(image, y)`` with **y = 1 for fake**.
"""

from __future__ import annotations

import difflib
import operator
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from .catalogue import CATALOGUE, Entry, describe, fetch
from .embedded import SUMS, data_folder, verify_embedded
from .errors import DataError
from .filecheck import Fact, look_into_files, twins
from .images import printable
from .layouts import CLASS_NAMES, SPLITS, Item, Listing, collector, read_listing
from .pixels import PixelCache, PixelFile, build_pixels, decoded_bytes, default_folder
from .splits import near_duplicate_groups, split_groups

__all__ = ["CATALOGUE", "CLASS_NAMES", "DataReport", "FaceDataset", "FaceSets", "describe", "load", "verify"]

SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}
# Sets up to this size are decoded completely when they are first loaded (a second or two for 1,000 images,
# and remembered afterwards). Of larger ones `load` looks only at both ends of each file, since 140,000 images
# take minutes to decode; `verify` decodes everything.
DECODE_AT_LOAD = 20_000


# --- one split --------------------------------------------------------------------------------------------


def to_float(image: torch.Tensor) -> torch.Tensor:
    """uint8 (0..255) of any shape -> float32 in [0, 1]: the default transform."""
    return image.to(torch.float32) / 255


class FaceDataset(Dataset):
    """A map-style data set of face images: ``dataset[i]`` is ``(transform(image), y)``.

    image: uint8 tensor 3xHxW (0..255) as it goes into `transform`; the default gives float32 3xHxW in [0, 1].
    y: int, 1 = fake. All labels at once: `labels`, an int64 array. `paths`: absolute paths, as strings.
    `pixels`: where decoded images are kept, a `PixelCache` in memory or a `PixelFile` on disk.
    Images are not resized. A file that became unreadable meanwhile raises `ImageError`.
    """

    class_names = CLASS_NAMES

    def __init__(
        self,
        paths: Iterable[str | os.PathLike],
        labels: Iterable[int],
        *,
        name: str = "images",
        split: str = "all",
        transform: Callable[[torch.Tensor], object] | None = None,
        cache_bytes: int = 1_000_000_000,
        cache: PixelCache | PixelFile | None = None,
    ):
        self.paths = [path if _is_full(path) else os.path.abspath(path) for path in paths]
        labels = np.array(list(labels))
        self.name, self.split, self.transform = name, split, transform
        self.pixels = cache or PixelCache(cache_bytes)
        if len(self.paths) != len(labels) or not np.isin(labels, (0, 1)).all():
            raise DataError(f"{name}: every path needs one label, 0 (real) or 1 (fake)")
        self.labels = labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[object, int]:
        i = self._index(i)
        image = self.uint8(i)
        return (self.transform or to_float)(image), int(self.labels[i])

    def uint8(self, i: int) -> torch.Tensor:
        """Image `i` as uint8 3xHxW, decoded once and then kept. Do not change it in place."""
        return self.uint8s([i])[0]

    def uint8s(self, indices: Iterable[int]) -> list[torch.Tensor]:
        """Several images as `uint8` gives them; those that are new are decoded side by side."""
        return self.pixels.several([self.paths[self._index(i)] for i in indices])

    def cached(self, folder: str | os.PathLike) -> FaceDataset:
        """The same data set, its pictures decoded once into a file in `folder` and read from there.

        Training gives the very same numbers, and needs no memory for the pictures; see `course_lib.pixels`.
        Raises `DataError` if the disk has no room, or with `.problems` if any picture cannot be read.
        """
        pixels, unreadable = build_pixels(folder, self.paths)
        if unreadable:
            problems = [f"{printable(path, 200)}: {reason}" for path, reason in unreadable.items()]
            raise DataError(_problem_words(self.name, Path(folder), problems), problems)
        return self._with(range(len(self)), pixels)

    def subset(self, indices: Iterable[int]) -> FaceDataset:
        """The images at `indices` (whole numbers, a slice, or one bool for each image) as a data set."""
        if isinstance(indices, slice):
            indices = range(len(self))[indices]
        indices = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices))
        if indices.dtype == bool:
            if indices.shape != (len(self),):
                raise IndexError(f"a mask for {len(self)} images has {len(self)} entries, not {indices.size}")
            indices = np.flatnonzero(indices)
        return self._with([self._index(i) for i in indices], self.pixels)

    def _with(self, chosen: Sequence[int], cache: PixelCache | PixelFile) -> FaceDataset:
        return FaceDataset(
            [self.paths[i] for i in chosen],
            [self.labels[i] for i in chosen],
            name=self.name,
            split=self.split,
            transform=self.transform,
            cache=cache,
        )

    def _index(self, i: int) -> int:
        try:
            n, i = len(self), operator.index(i)
        except TypeError:
            kind = type(i).__name__
            raise TypeError(
                f"choose an image by a whole number, not a {kind}; several by .subset(...)"
            ) from None
        if not -n <= i < n:
            raise IndexError(f"{self.name} {self.split} has {n} images, from 0 to {n - 1}; there is no {i}")
        return i % n

    def __repr__(self) -> str:
        return f"FaceDataset({self.name} {self.split}: {_count_words(self.labels)})"


def _is_full(path: str | os.PathLike) -> bool:
    """Whether a file's path is full and plain already: asked 140,000 times, abspath takes half a second."""
    return isinstance(path, str) and path.startswith("/") and "/." not in path and "//" not in path


def _count_words(labels: np.ndarray) -> str:
    fakes = int(np.sum(np.asarray(labels) == 1))
    return f"{len(labels):,} images, {len(labels) - fakes:,} real and {fakes:,} fake"


# --- load ---------------------------------------------------------------------------------------------------


@dataclass
class FaceSets:
    """What `load` returns. `card`: a summary to print. `skipped`: what on_error="skip" left out, and why."""

    name: str
    train: FaceDataset
    valid: FaceDataset
    test: FaceDataset
    root: Path
    card: str
    skipped: list[str] = field(default_factory=list)
    class_names: tuple[str, str] = CLASS_NAMES

    def __repr__(self) -> str:
        return self.card


def load(
    name_or_folder: str | os.PathLike,
    root: str | os.PathLike | None = None,
    *,
    split_seed: int = 0,
    on_error: str = "stop",
    transform: Callable[[torch.Tensor], object] | None = None,
    cache_bytes: int = 1_000_000_000,
    cache: str | os.PathLike | None = None,
) -> FaceSets:
    """Load a data set by name (see `describe`) or from a folder of your own.

    name_or_folder: "studio" (ships with the course), "rvsf", "hardrvsf", "rvf10k", "deepfake-and-real"; or a
        folder that holds real/ and fake/, or train/, valid/ and test/ with those two inside.
    root: the folder a named set was unpacked into, or one around it; None downloads it with kagglehub.
    split_seed: which split to draw where the set has none. Near-duplicates stay on one side; the same files
        and the same seed always give the same split.
    on_error: "stop" raises `DataError` if any file is missing, extra, mislabelled, listed twice, damaged or
        on two sides of a split, with all of them in its `.problems`; "skip" leaves them out (`.skipped`).
    transform: what `dataset[i]` does to the uint8 3xHxW image; default float32 in [0, 1].
    cache_bytes: how much decoded image data the three splits may keep in memory together.
    cache: for sets that do not fit into memory, a folder (or "disk", for one in the course's cache folder).
        All pictures are decoded into one file there, once, and from then on read through a memory map:
        `rvsf` takes 27.5 GB of disk and next to no memory. See `course_lib.pixels`.
    """
    if on_error not in ("stop", "skip"):
        raise ValueError(f"on_error is 'stop' or 'skip', not {on_error!r}")
    with collector(on=False):  # until `_load` has let go of all that it needed only on the way
        return _load(name_or_folder, root, split_seed, on_error == "stop", transform, cache_bytes, cache)


def _load(
    name_or_folder: str | os.PathLike,
    root: str | os.PathLike | None,
    split_seed: int,
    stop: bool,
    transform: Callable[[torch.Tensor], object] | None,
    cache_bytes: int,
    cache: str | os.PathLike | None,
) -> FaceSets:
    """What `load` does; `stop` at faults, or leave them out."""
    name, entry, listing = _read(name_or_folder, root)
    carve = listing.splits != list(SPLITS)
    full = carve or len(listing.items) <= DECODE_AT_LOAD
    facts, damaged = look_into_files(listing, full=full, trust=True)
    problems = listing.problems + damaged
    items = [item for item in listing.items if item.key in facts]
    doubles = twins(items, facts)
    problems += list(doubles.values())
    # size and date of each file, as seen a moment ago
    states = {item.path: facts[item.key][:2] for item in items}
    if cache is None:
        pixels = PixelCache(cache_bytes)
    else:
        folder = default_folder(name, listing.base) if cache == "disk" else cache
        pixels, unreadable = build_pixels(folder, list(states), states)
        problems += [f"{printable(i.key, 200)}: {unreadable[i.path]}" for i in items if i.path in unreadable]
        items = [item for item in items if item.path not in unreadable]
    if problems and stop:
        raise DataError(_problem_words(name, listing.base, problems), problems)
    items = [item for item in items if item.key not in doubles]

    indices, how = _divide(name, items, facts, split_seed)
    sets = {
        split: FaceDataset(
            [items[i].path for i in chosen],
            [items[i].label for i in chosen],
            name=name,
            split=split,
            transform=transform,
            cache=pixels,
        )
        for split, chosen in indices.items()
    }
    notes = [how, *listing.notes, *_count_notes(entry, items)]
    if cache is not None:
        notes.append(f"pictures decoded on disk: {pixels.bytes / 1e9:.2f} GB")
    elif (need := decoded_bytes([item.path for item in items])) > cache_bytes:
        notes.append(
            f"decoded: {need / 1e9:.1f} GB, of which {cache_bytes / 1e9:.1f} GB are kept in memory; "
            'load(..., cache="disk") decodes once, onto the disk'
        )
    if problems:
        notes.append(f"{len(problems):,} faults left out, listed in .skipped")
    lines = [f"{name}: {entry.title}" if entry else f"{name}: a folder of images"]
    lines += [f"  {split:5s}  {_count_words(data.labels)}" for split, data in sets.items()]
    lines += ["  labels: real = 0, fake = 1, by name", *(f"  {note}" for note in notes)]
    if entry:
        lines += [f"  {entry.words}", f"  licence: {entry.licence}"]
    return FaceSets(name, **sets, root=listing.base, card="\n".join(lines), skipped=problems)


def _read(
    name_or_folder: str | os.PathLike, root: str | os.PathLike | None
) -> tuple[str, Entry | None, Listing]:
    """Which data set is meant, and what lies in its folder."""
    if not isinstance(name_or_folder, (str, os.PathLike)):
        raise DataError(f"give a data set's name or a folder, not a {type(name_or_folder).__name__}")
    if not isinstance(root, (str, os.PathLike, type(None))):
        raise DataError(f"root= is a folder's path, not a {type(root).__name__}")
    text = os.fspath(name_or_folder)
    entry = CATALOGUE.get(text)
    if entry is None:
        folder = Path(text).expanduser()
        if not folder.exists() and not isinstance(name_or_folder, Path) and not set("/\\") & set(text):
            near = difflib.get_close_matches(text.lower(), CATALOGUE, 2, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATALOGUE)}"
            raise DataError(f"there is no data set and no folder called {printable(text)!r}; {hint}")
        if root is not None:
            raise DataError("root= goes with a data set's name; give a folder of your own without it")
        return printable(folder.resolve().name), None, read_listing(folder)
    if root is not None:
        folder = Path(root).expanduser()
    elif entry.handle:
        folder = fetch(entry)
    else:
        folder = data_folder() / entry.name
        if not folder.is_dir():
            raise DataError(f"the embedded set is not in {folder}; get it with git or data/make_studio.py")
    return entry.name, entry, read_listing(folder, entry.layout, above=2 if entry.layout == "splits" else 0)


def _divide(
    name: str, items: list[Item], facts: dict[str, Fact], seed: int
) -> tuple[dict[str, list[int]], str]:
    """Indices of the items in each split: as given, with splits drawn for what is missing; and a remark."""
    given: dict[str | None, list[int]] = {}
    for i, item in enumerate(items):
        given.setdefault(item.split, []).append(i)
    if set(given) == set(SPLITS):
        result, how = {s: given[s] for s in SPLITS}, "split: as published"
    else:
        result = {s: given.get(s, []) for s in SPLITS}
        if len(given) <= 1:
            source, shares, how = next(iter(given), None), SHARES, f"split: drawn, seed {seed}"
        elif "train" not in given:
            raise DataError(f"{name} has the splits valid and test but no train; give the whole data set")
        elif "test" not in given:
            source, shares = "valid", {"valid": 0.5, "test": 0.5}
            how = f"split: test is half of valid, seed {seed}"
        else:
            source, shares = "train", {"train": 0.85, "valid": 0.15}
            how = f"split: valid is 15 % of train, seed {seed}"
        pool = given.get(source, [])
        groups = near_duplicate_groups([facts[items[i].key].dhash for i in pool])
        keys, labels = [items[i].key for i in pool], np.array([items[i].label for i in pool])
        for split, chosen in split_groups(keys, labels, groups, shares, seed).items():
            result[split] = [pool[j] for j in chosen]
        copies = len(pool) - len(set(groups.tolist()))
        how += f", near-duplicates kept together ({copies} found)"
    for split, chosen in result.items():
        for label, word in enumerate(CLASS_NAMES):
            if not any(items[i].label == label for i in chosen):
                raise DataError(
                    f"{name}: too few usable {word} images, none is left for {split}; "
                    "each class needs at least three that differ"
                )
    return result, how


def _problem_words(name: str, base: Path, problems: list[str], shown: int = 10) -> str:
    lines = [f"{name} in {base} has {len(problems):,} fault{'s' if len(problems) > 1 else ''}:"]
    lines += [f"  {problem}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  … and {len(problems) - shown:,} more, in the error's .problems")
    lines.append('Repair the data set, or leave these files out with load(..., on_error="skip").')
    return "\n".join(lines)


def _count_notes(entry: Entry | None, items: list[Item]) -> list[str]:
    """One remark for each count that differs from what was published."""
    have = Counter(CLASS_NAMES[item.label] for item in items) + Counter(item.split for item in items)
    expected = entry.counts if entry else {}
    return [f"{k}: {have[k]:,} images, published {n:,}" for k, n in expected.items() if have[k] != n]


# --- verify -------------------------------------------------------------------------------------------------


@dataclass
class DataReport:
    """What `verify` found: images by split and class, one "path: reason" for each fault, and remarks."""

    name: str
    counts: dict[str, dict[str, int]]
    problems: list[str]
    notes: list[str]

    @property
    def ok(self) -> bool:
        return not self.problems

    def text(self, shown: int = 20) -> str:
        """A table of counts, the first faults, and a verdict, for the terminal."""
        lines = [f"{self.name}", f"  {'split':8s}{'real':>10s}{'fake':>10s}"]
        lines += [f"  {s:8s}{c['real']:>10,}{c['fake']:>10,}" for s, c in self.counts.items()]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  FAULT {problem}" for problem in self.problems[:shown]]
        if len(self.problems) > shown:
            lines.append(f"  … and {len(self.problems) - shown:,} more")
        faults = len(self.problems)
        lines.append("  all is well" if self.ok else f"  {faults:,} fault{'s' if faults > 1 else ''}")
        return "\n".join(lines)


def verify(name_or_folder: str | os.PathLike, root: str | os.PathLike | None = None) -> DataReport:
    """Check a data set thoroughly: folders against CSV files, published counts, every image decoded anew, no
    file in two classes or two splits; the embedded data also against its checksums. Arguments as for `load`.
    """
    name, entry, listing = _read(name_or_folder, root)
    facts, damaged = look_into_files(listing, full=True, trust=False)
    items = [item for item in listing.items if item.key in facts]
    problems = [*listing.problems, *damaged, *twins(items, facts).values(), *_count_notes(entry, items)]
    notes = list(listing.notes)
    if entry and not entry.handle and root is None:
        if (data_folder() / SUMS).is_file():
            problems += [p for p in verify_embedded() if p.startswith(f"{name}/")]
        else:
            notes.append(f"no {SUMS} there, so the files' checksums were not compared")
    have = Counter((item.split, item.label) for item in items)
    counts = {
        split or "all": {word: have[split, label] for label, word in enumerate(CLASS_NAMES)}
        for split in (listing.splits or [None])
    }
    return DataReport(name, counts, problems, notes)
