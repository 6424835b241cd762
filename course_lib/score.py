"""Scoring a folder of any number of pictures: in bounded memory, and without losing or repeating a row.

The pictures are walked in one fixed order. Every so many rows a *part* is written beside its place and then
renamed into it, so a part is there whole or not at all. Whoever comes back after a kill reads where the last
part ends and goes on behind it. When all is done, the parts become one file.

``scores.parquet`` has a row for each picture: ``path`` (below the folder, with ``/``), ``p_fake``, ``label``,
and ``error``: one sentence where the picture could not be read, and then p_fake and label are empty.
``scores.unreadable.csv`` lists those alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CourseError, DataError, ImageError
from .images import printable

if TYPE_CHECKING:
    import torch

    from .predict import Detector

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
COLUMNS = ("path", "p_fake", "label", "error")
PART_ROWS, BATCH, WORKERS = 1_000, 32, min(8, os.cpu_count() or 1)


# ------------------------------------------------------------------------------------------ one batch of rows
def score_batch(
    detector: Detector,
    paths: Sequence[str | Path],
    names: Sequence[str] | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> dict[str, list]:
    """Judge the files `paths`: a dict of equally long lists, see `COLUMNS`; what is unreadable is told there.

    This is the whole of the work. One machine calls it in a loop (`score_folder`); an engine for many
    machines is given it as the function to map.
    """
    names = [str(path) for path in paths] if names is None else list(names)

    def read(path: str | Path) -> torch.Tensor | ImageError:
        try:
            return detector.windows(path)
        except ImageError as error:
            return error

    read_ones = list((pool.map if pool else map)(read, paths))  # Pillow decodes in threads side by side
    good = [windows for windows in read_ones if not isinstance(windows, ImageError)]
    p_fake = iter(detector.judge(good, BATCH).tolist())
    rows: dict[str, list] = {column: [] for column in COLUMNS}
    for name, windows in zip(names, read_ones, strict=True):
        failed = isinstance(windows, ImageError)
        p = None if failed else next(p_fake)
        error = str(windows) if failed else None
        for column, value in zip(
            COLUMNS, (name, p, p if p is None else detector.label(p), error), strict=True
        ):
            rows[column].append(value)
    return rows


class ScoreBatch:
    """`score_batch` for an engine that maps over many machines: each worker loads its own detector, once.

    It takes and gives columns: ``{"path": [...]}`` to the four of `COLUMNS`. With Ray Data::

        rows = ray.data.from_items([{"path": path} for path in paths])
        crew = ray.data.ActorPoolStrategy(size=4)
        rows.map_batches(ScoreBatch, batch_size=64, compute=crew).write_parquet("scores")
    """

    def __init__(self, checkpoint: str | Path = "studio", device: str | None = None) -> None:
        from .predict import Detector

        self.detector = Detector.load(checkpoint, device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list]:
        return score_batch(self.detector, [str(path) for path in batch["path"]])


# ------------------------------------------------------------------------------------------------ which files
def text_of(name: str) -> str:
    r"""A file name fit for a table: bytes that are no text become ``\udc..``, as Python shows them."""
    return name.encode("utf-8", "backslashreplace").decode()


def walk_pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    """(path below the folder, with /; the file) of every picture by its ending, always in one order.

    Hidden files and folders are passed over, and links to folders are not followed. Only the names of the
    folders that lead to the present file are in memory.
    """

    def enter(place: Path, before: str) -> Iterator[tuple[str, Path]]:
        try:
            with os.scandir(place) as found:
                entries = sorted((text_of(e.name), e.name, e.is_dir(follow_symlinks=False)) for e in found)
        except OSError as error:
            raise DataError(
                f"{place}: this folder cannot be read ({error.strerror}); check its rights"
            ) from None
        for text, name, is_folder in entries:
            if is_folder and not name.startswith("."):
                yield from enter(place / name, f"{before}{text}/")
            elif not is_folder and not name.startswith(".") and name.lower().endswith(ENDINGS):
                yield before + text, place / name

    yield from enter(folder, "")


# ------------------------------------------------------------------------------------------------------ parts
def parquet() -> Any:
    """pyarrow with its parquet module, or a sentence that says how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise CourseError(
            "Tables are written as Parquet by pyarrow, which is not installed: "
            "pip install 'facenest-course[serve]', or pip install pyarrow"
        ) from None
    return pyarrow


def write_table(rows: dict[str, list], path: Path, about: dict[str, Any]) -> None:
    """Write rows as Parquet under another name, then rename: `path` is there whole or not at all."""
    pa = parquet()
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "wb") as file:
        pa.parquet.write_table(pa.table(rows, schema=schema(about)), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def schema(about: dict[str, Any]) -> Any:
    """The columns' types; `about` (which model, which folder) goes with every part and with the result."""
    pa = parquet()
    kinds = (pa.string(), pa.float64(), pa.string(), pa.string())
    return pa.schema(list(zip(COLUMNS, kinds, strict=True)), {"course_lib": json.dumps(about)})


def finished_parts(folder: Path) -> list[Path]:
    """The parts that were renamed into place, in order; one that was being written does not count."""
    return sorted(folder.glob("part-*.parquet"))


@dataclass
class Scored:
    """What became of a folder: rows in all, how many were there already, how many could not be read."""

    out: Path
    rows: int
    resumed: int
    unreadable: int
    unreadable_list: Path | None


def score_folder(
    folder: str | Path,
    out: str | Path,
    detector: Detector,
    *,
    part_rows: int = PART_ROWS,
    workers: int = WORKERS,
    progress: Callable[[int], None] = lambda rows: None,
) -> Scored:
    """Score every picture below `folder` into the Parquet file `out`; after an interruption, go on.

    progress: called with the number of rows that are safe, after every part, and at first with those found.
    Raises `DataError` for a folder without pictures, an `out` that is there already, parts of another model
    or another folder, or when pictures came or went in that part of the folder which was already scored.
    """
    pa = parquet()
    given, folder, out = str(folder), Path(folder), Path(out)
    if not given or not folder.is_dir():
        raise DataError(f"{printable(given) or 'an empty path'}: there is no such folder; check the path")
    if out.suffix != ".parquet":
        raise DataError(f"{printable(out)}: the result is a Parquet file; let its name end in .parquet")
    parts = out.with_name(out.name + ".parts")
    about = {"model": detector.id, "threshold": detector.threshold, "folder": str(folder.resolve())}
    if out.exists():
        if not parts.exists():
            raise DataError(f"{printable(out)}: it is there already; delete it or choose another name")
        done = check_parts([out], about)  # a kill came right after the last rename: all is done
        unreadable = done - pa.parquet.read_table(out, columns=["error"])["error"].null_count
        shutil.rmtree(parts, ignore_errors=True)
        return Scored(out, done, done, unreadable, unreadable_path(out) if unreadable else None)
    with failed_writing_told(out):
        parts.mkdir(parents=True, exist_ok=True)
    with failed_writing_told(out), only_one(parts):
        found = finished_parts(parts)
        done = safe = check_parts(found, about)
        progress(safe)
        rest = skip_done(walk_pictures(folder), found)
        with ThreadPoolExecutor(workers) as pool:
            while chunk := list(islice(rest, part_rows)):
                rows: dict[str, list] = {column: [] for column in COLUMNS}
                for start in range(0, len(chunk), BATCH):
                    names, paths = zip(*chunk[start : start + BATCH], strict=True)
                    for column, values in score_batch(detector, paths, names, pool).items():
                        rows[column] += values
                found.append(parts / f"part-{len(found):06d}.parquet")
                write_table(rows, found[-1], about)
                done += len(chunk)
                progress(done)
        if not done:
            shutil.rmtree(parts, ignore_errors=True)
            raise DataError(f"{printable(folder)}: no file in it ends like a picture ({', '.join(ENDINGS)})")
        unreadable = join_parts(found, out, about, pa)
    shutil.rmtree(parts, ignore_errors=True)
    return Scored(out, done, safe, unreadable, unreadable_path(out) if unreadable else None)


@contextmanager
def failed_writing_told(out: Path) -> Iterator[None]:
    """A full disk, a folder that may not be written: one sentence."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(
            f"{printable(out)}: cannot be written ({why}); free some space, and the same command goes on, "
            "or choose another place"
        ) from error


@contextmanager
def only_one(parts: Path) -> Iterator[None]:
    """Hold the parts' lock; the system lets it go even of a process that is killed."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(parts / "lock").acquire(timeout=0.2):
            yield
    except Timeout:
        raise DataError(f"{printable(parts)}: another process is scoring into it; wait for it") from None


def check_parts(found: list[Path], about: dict[str, Any]) -> int:
    """The number of rows that are safe in the parts; every part must be whole and of this very task."""
    pa = parquet()
    rows = 0
    for part in found:
        try:
            with pa.parquet.ParquetFile(part) as file:
                theirs = json.loads((file.schema_arrow.metadata or {}).get(b"course_lib", b"null"))
                rows += file.metadata.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{printable(part)}: this part is damaged ({str(error).splitlines()[0]}); delete it and all "
                "later parts, and the same command goes on from there"
            ) from None
        if theirs != about:
            raise DataError(
                f"{printable(part.parent)}: its parts were scored from another folder or by another model "
                f"({theirs}, now {about}); delete it to begin anew, or choose another name for the result"
            )
    return rows


def skip_done(pictures: Iterator[tuple[str, Path]], found: list[Path]) -> Iterator[tuple[str, Path]]:
    """The pictures behind those in the parts, which must still be the same: none lost, none twice."""
    pa = parquet()
    for part in found:
        for expected in pa.parquet.read_table(part, columns=["path"])["path"].to_pylist():
            path, _ = next(pictures, ("nothing", None))
            if path != expected:
                raise DataError(
                    f"{printable(part.parent)}: {printable(expected)} was scored, and {printable(path)} is "
                    "in its place now; put the folder back as it was, or delete the parts to begin anew"
                )
    return pictures


def unreadable_path(out: Path) -> Path:
    """Beside scores.parquet: scores.unreadable.csv."""
    return out.with_name(f"{out.stem}.unreadable.csv")


def join_parts(found: list[Path], out: Path, about: dict[str, Any], pa: Any) -> int:
    """Make one file of the parts, one part in memory at a time; returns the number of unreadable pictures."""
    import csv

    fresh, listed = out.with_name(f".{out.name}.new"), out.with_name(f".{out.stem}.unreadable.new")
    unreadable = 0
    with (
        pa.parquet.ParquetWriter(fresh, schema(about)) as writer,
        open(listed, "w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["path", "error"])
        for part in found:
            rows = pa.parquet.read_table(part)
            writer.write_table(rows.cast(schema(about)))
            bad = rows.filter(pa.compute.is_valid(rows["error"])).select(["path", "error"]).to_pylist()
            table.writerows(row.values() for row in bad)
            unreadable += len(bad)
    if unreadable:
        os.replace(listed, unreadable_path(out))
    else:
        listed.unlink()
    os.replace(fresh, out)  # last: where `out` is, everything is done
    return unreadable
