"""Look into every image file of a data set, and remember what was found sound."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .embedded import cache_folder
from .errors import ImageError
from .images import decode_image, printable, read_image_file
from .layouts import Item, Listing
from .splits import difference_hash


class Fact(NamedTuple):
    """What is known of a sound file. The last two are empty if it was not decoded (`full` is False)."""

    size: int  # bytes
    changed: int  # time of its last change, nanoseconds
    full: bool  # decoded completely?
    sha256: str
    dhash: str  # see splits.difference_hash


def look_into_files(listing: Listing, full: bool, trust: bool) -> tuple[dict[str, Fact], list[str]]:
    """The facts of the sound files by key, and one "path: reason" for each of the others.

    full: decode every image. Otherwise a JPEG is believed if it begins and ends as a JPEG does.
    trust: believe what an earlier call found, if a file's size and time of change are still the same. That is
        remembered in the cache folder, so that 140,000 images are not read again each time.
    """
    from tqdm.auto import tqdm

    place = str(listing.base.resolve()).encode("utf-8", "surrogatepass")
    memory = cache_folder() / "checked" / f"{hashlib.sha256(place).hexdigest()[:24]}.json"
    known = _recall(memory) if trust else {}
    facts: dict[str, Fact] = {}
    problems: list[str] = []
    todo: list[tuple[Item, int, int]] = []
    for item in listing.items:
        try:
            status = os.stat(item.path)
        except OSError as error:
            problems.append(f"{printable(item.key, 200)}: cannot be read ({error.strerror})")
            continue
        old = known.get(item.key)
        if old and (old.size, old.changed) == (status.st_size, status.st_mtime_ns) and old.full >= full:
            facts[item.key] = old
        else:
            todo.append((item, status.st_size, status.st_mtime_ns))

    def look(job: tuple[Item, int, int]) -> Fact | str:
        item, size, changed = job
        if not full and _has_both_ends(item.path):
            return Fact(size, changed, False, "", "")
        name = printable(item.key)
        try:
            data = read_image_file(item.path, name)
            image = decode_image(data, name=name)
        except ImageError as error:
            return str(error).removeprefix(f"{name}: ")
        return Fact(size, changed, True, hashlib.sha256(data).hexdigest(), difference_hash(image))

    # Pillow lets go of the interpreter while it decodes a JPEG, so threads help on several cores.
    with (
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
        tqdm(total=len(todo), desc="checking images", leave=False, disable=len(todo) < 5_000) as bar,
    ):
        # in slices, because a pool takes all its jobs in before it gives the first result out
        slices = (todo[i : i + 256] for i in range(0, len(todo), 256))
        results = (fact for jobs in slices for fact in pool.map(look, jobs)) if full else map(look, todo)
        for (item, _, _), found in zip(todo, results, strict=True):
            bar.update()
            if isinstance(found, str):
                problems.append(f"{printable(item.key, 200)}: {found}")
            else:
                facts[item.key] = found
    if todo:
        _remember(memory, facts)
    return facts, problems


def _has_both_ends(path: str) -> bool:
    """Does the file begin and end as a JPEG does? One that was cut off does not end so."""
    try:
        with open(path, "rb") as file:
            start = file.read(3)
            file.seek(-2, os.SEEK_END)
            return start == b"\xff\xd8\xff" and file.read() == b"\xff\xd9"
    except OSError:  # too short for that, or unreadable: the decoder will say what is wrong
        return False


def _recall(memory: Path) -> dict[str, Fact]:
    try:
        found = json.loads(memory.read_text("utf-8"))
        return dict(zip(found, map(Fact._make, found.values()), strict=True))
    except (OSError, ValueError, TypeError, AttributeError):  # not there, or damaged: look at all again
        return {}


def _remember(memory: Path, facts: dict[str, Fact]) -> None:
    temporary = memory.with_name(f".{memory.name}-{uuid.uuid4().hex}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(facts), "utf-8")
        os.replace(temporary, memory)
    except OSError:  # a full or read-only disk: the check stands, it will only be repeated next time
        with contextlib.suppress(OSError):
            temporary.unlink()


def twins(items: list[Item], facts: dict[str, Fact]) -> dict[str, str]:
    """key -> problem, for files of the very same bytes in two classes or two splits. Both are faulty."""
    first: dict[str, Item] = {}
    problems: dict[str, str] = {}
    for item in items:
        digest = facts[item.key].sha256
        if not digest:  # the file was not read as a whole
            continue
        twin = first.setdefault(digest, item)
        if (twin.label, twin.split) != (item.label, item.split):
            where = "the other class" if twin.label != item.label else twin.split
            problems[item.key] = f"{item.key}: the same file as {twin.key}, which lies in {where}"
            problems.setdefault(twin.key, f"{twin.key}: the same file as {item.key}")
    return problems
