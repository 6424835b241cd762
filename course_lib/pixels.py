"""Decoded pictures, kept for the next epoch: in memory (`PixelCache`) or in a file on disk (`PixelFile`).

Decoding a JPEG costs more than anything else that happens to a picture before training. In memory, decoded
pictures are at hand at once, but 100,000 of 256×256 take 19.7 GB. On disk they cost no memory: the file is
*memory-mapped*, so the operating system brings in the pages that are asked for, keeps them as long as it has
memory to spare, and may drop them at any time, since they are on disk.

The folder of a `PixelFile` holds

``pixels-….u8``  the pictures one after the other, each uint8 3xHxW, of any sizes; it is only ever added to
``index``        where each picture lies, its size, a checksum, and the size and date of its source file
``lock``         held by the process that is adding pictures

The index is written under another name and renamed, and only after the pixels it speaks of have reached the
disk. So whatever happens while pictures are added, a kill or a power cut, the index that is found afterwards
is whole, and all that it names is there; the next call goes on from it. Pictures that are new, or whose file
has changed, are added in the same way.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import shutil
import sys
import time
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch.utils.data import get_worker_info

from .embedded import cache_folder
from .errors import DataError, ImageError
from .images import decode_array, image_size, printable
from .layouts import collector

INDEX, LOCK = "index", "lock"
SAVE_EVERY = 10.0  # seconds between two savings of the index: at most so much work is lost by a kill
THREADS = min(8, os.cpu_count() or 1)  # the decoders let go of the interpreter while they work
REMAP_AFTER = 100_000_000  # bytes read until the file is mapped anew, which gives its pages back


def decode_pixels(path: str) -> torch.Tensor:
    """The picture in this file as uint8 3xHxW, its memory in the order HxWx3. Raises `ImageError`."""
    return torch.from_numpy(decode_array(path)).permute(2, 0, 1)


def in_threads(work: Callable[[str], object], jobs: Sequence[str], share: int = 4) -> Iterator[object]:
    """`work` of each job, in order. Only a few results wait at any time, however many jobs there are.

    share: how many jobs each thread does in one go. The calling thread takes a share, too: to wait and be
    woken again for every picture took longer than to decode it.
    """
    if get_worker_info() or THREADS == 1 or len(jobs) < 2:  # DataLoader workers are side by side already
        yield from map(work, jobs)
        return
    pool = _pool(os.getpid())
    for start in range(0, len(jobs), THREADS * share):
        mine, *others = (jobs[at : at + share] for at in range(start, start + THREADS * share, share))
        others = [pool.submit(lambda some: [work(job) for job in some], some) for some in others if some]
        yield from [work(job) for job in mine]
        for other in others:
            yield from other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads kept for the next batch. A forked process has none of its parent's, so it gets its own."""
    return ThreadPoolExecutor(THREADS - 1, thread_name_prefix="decode")


class PixelCache:
    """Decoded images by path, in memory, up to `limit` bytes; then no more are kept.

    Nothing is thrown out for newcomers: an epoch visits every image once, so whatever is thrown out would be
    wanted again. Pickled (for DataLoader workers) the cache is empty, and the workers share its limit.
    """

    def __init__(self, limit: int):
        self.limit, self.used, self.images = limit, 0, {}

    def __getstate__(self) -> dict:
        return {"limit": self.limit, "used": 0, "images": {}}

    def several(self, paths: Sequence[str]) -> list[torch.Tensor]:
        """The pictures as uint8 3xHxW, new ones decoded side by side. Do not change them in place."""
        found = {path: self.images[path] for path in paths if path in self.images}
        new = [path for path in dict.fromkeys(paths) if path not in found]
        worker = get_worker_info()
        share = len(new) // THREADS + 1  # one round: all of them are given back anyway
        for path, image in zip(new, in_threads(decode_pixels, new, share), strict=True):
            found[path] = image
            if self.used + image.nbytes <= self.limit // (worker.num_workers if worker else 1):
                self.used += image.nbytes
                self.images[path] = image
        return [found[path] for path in paths]


class Place(NamedTuple):
    """Where a picture lies in the pixel file, and which state of its source file it was decoded from."""

    size: int  # of the source file, bytes
    changed: int  # time of its last change, nanoseconds
    offset: int
    height: int
    width: int
    crc: int  # CRC-32 of the pixels

    @property
    def bytes(self) -> int:
        return 3 * self.height * self.width

    @property
    def end(self) -> int:
        return self.offset + self.bytes


class PixelFile:
    """Decoded images by path, in a folder on disk, read through a memory map. `build_pixels` makes it.

    Each picture is held against its checksum when it is first read. A damaged one is decoded from its source
    again and put right in the file, with a warning. Pictures that are not in the file are decoded each time.
    Pickled (for DataLoader workers) it is the folder's name; all processes share the operating system's copy.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder).expanduser().absolute()
        self.name, self.places, self.fault = _read_index(self.folder)
        self._unchecked = set(self.places)
        self._map, self._read_since_mapped, self._warned = None, 0, False

    def __reduce__(self) -> tuple:
        return PixelFile, (self.folder,)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def bytes(self) -> int:
        """Of all pictures together."""
        return sum(place.bytes for place in self.places.values())

    def several(self, paths: Sequence[str]) -> list[torch.Tensor]:
        """The pictures as uint8 3xHxW: views into the map. Do not change them in place."""
        return [self._image(path) for path in paths]

    def _image(self, path: str) -> torch.Tensor:
        place = self.places.get(path)
        if place is None:
            return decode_pixels(path)
        pixels = self._read(place)
        if pixels is None or (path in self._unchecked and zlib.crc32(pixels) != place.crc):
            return self._mend(path, place)
        self._unchecked.discard(path)
        return torch.from_numpy(pixels).view(3, place.height, place.width)

    def check(self, progress: bool = True) -> list[str]:
        """Read every picture and mend the damaged ones; returns the paths of those."""
        from tqdm.auto import tqdm

        self._map, self._unchecked, mended = None, set(self.places), []
        for path in tqdm(self.places, desc="checking pixels", leave=False, disable=not progress):
            self._image(path)
            if path in self._unchecked:
                mended.append(path)
        return mended

    def _read(self, place: Place) -> np.ndarray | None:
        """A picture's bytes; None if the file ends before them.

        Pages once read count as the process's memory for as long as the map lives, so it is renewed from time
        to time. Of a view only those pages are read that somebody looks at: for a crop, part of the picture.
        """
        if self._map is None or self._read_since_mapped > REMAP_AFTER or place.end > len(self._map):
            try:
                self._map = _map_file(self.folder / self.name)
            except (OSError, ValueError):  # it is gone, or empty
                return None
            self._read_since_mapped = 0
        pages = self._map
        if place.end > min(len(pages), pages.size()):  # size() is the file's own, should it have been cut off
            return None
        self._read_since_mapped += place.bytes
        pixels = np.frombuffer(pages, np.uint8, place.bytes, place.offset)
        return pixels if pixels.flags.writeable else pixels.copy()  # torch has no tensors that are read-only

    def _mend(self, path: str, place: Place) -> torch.Tensor:
        """Decode a damaged picture again; into the file too, if its source is still as it was."""
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.folder}: some cached pixels are damaged, first those of "
                f"{printable(Path(path).name)}; they are decoded again from the pictures themselves",
                stacklevel=3,
            )
        image = decode_pixels(path).contiguous()
        if zlib.crc32(image.numpy()) == place.crc:
            with contextlib.suppress(OSError), open(self.folder / self.name, "r+b") as file:
                file.seek(place.offset)
                file.write(image.numpy())
        return image


def _map_file(path: Path) -> mmap.mmap:
    """The file as memory. What is written there stays in this process, and never reaches the file.

    The system would set memory aside for the case that all of it is written, and refuse if it has less;
    MAP_NORESERVE says that this will not happen. Where there is none of that, the map is read-only.
    """
    with open(path, "rb") as file:
        if sys.platform == "linux":
            flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python 3.10 lacks the name
            with contextlib.suppress(OSError):
                return mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


# --- building -----------------------------------------------------------------------------------------------


def default_folder(name: str, base: Path) -> Path:
    """Where the pixels of the data set `name` in the folder `base` are kept, if nobody says otherwise."""
    place = hashlib.sha256(str(base.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return cache_folder() / "pixels" / f"{name}-{place}"


def decoded_bytes(paths: Sequence[str], sample: int = 50) -> int:
    """About how much room these pictures take when decoded: from the headers of some, evenly spaced."""
    sizes = []
    for path in paths[:: max(1, len(paths) // sample)]:
        with contextlib.suppress(ImageError):  # whoever decodes it will say what is wrong with it
            width, height = image_size(path)
            sizes.append(3 * width * height)
    return round(len(paths) * float(np.mean(sizes))) if sizes else 0


def build_pixels(
    folder: str | os.PathLike, paths: Sequence[str], states: dict[str, tuple[int, int]] | None = None
) -> tuple[PixelFile, dict[str, str]]:
    """A `PixelFile` in `folder` with these pictures, and path -> reason for those that cannot be read.

    What is in it already is kept; pictures that are new or whose file has changed are decoded and added, with
    a progress bar. Interrupt it at any time: the next call goes on. A second process waits for the first.
    Raises `DataError` if the disk has too little room (before it begins), is full or may not be written.

    states: path -> (bytes, time of the last change in nanoseconds), if the caller has just looked.
    """
    folder = Path(folder).expanduser().absolute()
    states, problems = (states, {}) if states is not None else _states(paths)
    cache = PixelFile(folder)
    if not _missing(cache, states):
        return cache, problems
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder), collector(on=True):  # it may take an hour
            _add(folder, states, problems)
    except (OSError, NotImplementedError) as error:  # the second: a file system that cannot lock files
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{folder}: decoded pictures cannot be kept here ({reason}); free some space or choose another "
            "folder; what was finished before is not lost"
        ) from None
    return PixelFile(folder), problems


def _states(paths: Iterable[str]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """path -> (bytes, time of the last change in nanoseconds), and path -> reason for what is not there."""
    states, problems = {}, {}
    for path in paths:
        try:
            status = os.stat(path)
            states[path] = (status.st_size, status.st_mtime_ns)
        except OSError as error:
            problems[path] = f"cannot be read ({error.strerror})"
    return states, problems


def _missing(cache: PixelFile, states: dict[str, tuple[int, int]]) -> list[str]:
    """The paths that are not in the cache, or whose file has changed since."""
    places, none = cache.places, Place(-1, -1, 0, 0, 0, 0)
    found = ((path, state, places.get(path, none)) for path, state in states.items())
    return [path for path, state, place in found if (place.size, place.changed) != state]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it is let go even by a process that is killed."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"{folder}: another process is adding pictures; waiting until it is done", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _add(folder: Path, states: dict[str, tuple[int, int]], problems: dict[str, str]) -> None:
    """Decode the pictures that are missing and add them to the folder, whose lock we hold."""
    from tqdm.auto import tqdm

    cache = PixelFile(folder)  # read again: while we waited for the lock, others may have added some
    if cache.fault:
        warnings.warn(f"{folder}: {cache.fault}; what is missing is decoded again", stacklevel=4)
    todo = _missing(cache, states)
    stale = set(todo)
    name, places = cache.name, {path: place for path, place in cache.places.items() if path not in stale}
    end = max((place.end for place in cache.places.values()), default=0)
    if not name or 2 * sum(place.bytes for place in places.values()) < end:  # mostly waste: begin anew
        name, places, end, todo = f"pixels-{uuid.uuid4().hex[:8]}.u8", {}, 0, list(states)
    for old in folder.glob("pixels-*.u8"):
        if old.name != name:
            with contextlib.suppress(PermissionError):  # Windows, while another process reads it
                old.unlink()
    _demand_room(folder, todo)

    (folder / name).touch()
    with (
        open(folder / name, "r+b", buffering=0) as file,
        tqdm(total=len(todo), desc="decoding pictures", leave=False, disable=len(todo) < 1_000) as bar,
    ):
        file.truncate(end)  # what a killed process had added, but not yet entered into the index
        file.seek(end)
        save = lambda: _write_index(file, folder, name, places)  # noqa: E731
        save()
        due = time.monotonic() + SAVE_EVERY
        try:
            for path, found in zip(todo, in_threads(_decode, todo), strict=True):
                bar.update()
                if isinstance(found, str):
                    problems[path] = found
                    continue
                pixels, crc = found
                _write_all(file, pixels)
                places[path] = Place(*states[path], end, *pixels.shape[1:], crc)
                end += pixels.nbytes
                if time.monotonic() >= due:
                    save()
                    due = time.monotonic() + SAVE_EVERY
        finally:  # also when interrupted
            file.truncate(end)
            save()


def _demand_room(folder: Path, paths: list[str]) -> None:
    need, free = decoded_bytes(paths, 400), shutil.disk_usage(folder).free
    if need > free:
        raise DataError(
            f"{folder}: {len(paths):,} decoded pictures need about {_size(need)} and {_size(free)} are free; "
            "free some space or choose a folder on another disk"
        )


def _size(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.2f} MB"


def _decode(path: str) -> tuple[np.ndarray, int] | str:
    """The pixels, uint8 3xHxW, and their checksum; or why there are none."""
    try:
        pixels = decode_pixels(path).contiguous().numpy()
    except ImageError as error:
        return str(error).removeprefix(f"{printable(Path(path).name)}: ")
    return pixels, zlib.crc32(pixels)


def _write_all(file: io.FileIO, pixels: np.ndarray) -> None:
    """An unbuffered file may take only a part at a time."""
    rest = memoryview(pixels.reshape(-1))
    while rest:
        rest = rest[file.write(rest) :]


# --- the index ----------------------------------------------------------------------------------------------


def _write_index(file: io.FileIO, folder: Path, name: str, places: dict[str, Place]) -> None:
    """Replace the index as a whole, once all pixels are on the disk. Its first line is its own checksum."""
    os.fsync(file.fileno())
    body = json.dumps({"format": 1, "pixels": name, "pictures": places})
    temporary = folder / f"{INDEX}.part"
    with open(temporary, "w", encoding="ascii", newline="\n") as part:
        part.write(f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}")
        part.flush()
        os.fsync(part.fileno())
    os.replace(temporary, folder / INDEX)


def _read_index(folder: Path) -> tuple[str | None, dict[str, Place], str]:
    """The pixel file's name, where each picture lies in it, and what was found to be wrong."""
    try:
        digest, _, body = (folder / INDEX).read_text("ascii").partition("\n")
        if hashlib.sha256(body.encode()).hexdigest() != digest:
            return None, {}, "the index of the decoded pictures is damaged"
        with collector(on=False):
            found = json.loads(body)
            name, places = found["pixels"], {p: Place._make(row) for p, row in found["pictures"].items()}
        size = (folder / name).stat().st_size if (folder / name).exists() else 0
    except FileNotFoundError:
        return None, {}, ""
    except (OSError, ValueError, KeyError, TypeError):
        return None, {}, "the index of the decoded pictures cannot be read"
    # Place.end, written out: as a property it takes a tenth of a second for 140,000 pictures.
    lost = [path for path, p in places.items() if p.offset + 3 * p.height * p.width > size]
    for path in lost:
        del places[path]
    return name, places, f"{len(lost):,} decoded pictures were cut off" if lost else ""
