"""Stress: disks that are full or may not be written, clocks that jump, and the same numbers every time."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stress_kill import (
    Slowly,
    empty,
    make_archive,
    paint_many,
    right_pixels,
    run_of,
    serving,
    train_tiny,
    tree,
)
from stress_kit import Trials, done_in_a_child, small_disk
from toys import ToySet, small_checkpoint, toy

from course_lib import (
    CourseError,
    Detector,
    FaceDataset,
    fit,
    load_checkpoint,
    pixels,
    save_checkpoint,
    score,
)
from course_lib.embedded import fetch_embedded

# Bytes of the disk that fills up: at most about what each writer needs.
ROOM = {"cache": 250_000, "scoring": 25_000, "download": 700_000, "checkpoint": 90_000, "training": 120_000}


class Writers:
    """Everything here that writes files, each as `(write, wrong)`: do it in a folder; what is wrong there."""

    def __init__(self, folder: Path, address: str, archive: tuple[Path, str, Path]):
        self.paths = paint_many(folder / "pictures", 40)
        self.detector = Detector.load(small_checkpoint(folder / "small"), device="cpu")
        self.address, self.sha256, self.whole = address, archive[1], tree(archive[2])
        self.folder = folder
        self.score(folder / "undisturbed")
        self.table = (folder / "undisturbed" / "s.parquet").read_bytes()
        done_in_a_child(lambda: train_tiny(folder / "run"))
        self.run = run_of(folder / "run")
        self.all: dict[str, tuple[Callable[[Path], object], Callable[[Path], bool]]] = {
            "cache": (
                lambda f: pixels.build_pixels(f / "pixels", self.paths),
                lambda f: not right_pixels(f / "pixels", self.paths),
            ),
            "scoring": (self.score, lambda f: (f / "s.parquet").read_bytes() == self.table),
            "download": (self.fetch, lambda f: tree(f / "data") == self.whole),
            "checkpoint": (
                lambda f: save_checkpoint(f / "mine", self.detector.model, card="x" * 20_000),
                lambda f: bool(load_checkpoint(f / "mine")),
            ),
            "training": (lambda f: train_tiny(f / "run"), lambda f: run_of(f / "run") == self.run),
        }

    def score(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if not (folder / "s.parquet").exists():
            score.score_folder(self.folder / "pictures", folder / "s.parquet", self.detector, part_rows=8)

    def fetch(self, folder: Path) -> None:
        if not (folder / "data").exists():
            fetch_embedded(f"{self.address}/x.tar", self.sha256, folder / "data")


def sentence_of(write: Callable, place: Path) -> str:
    """The course's own sentence if `write` raises one, else ""."""
    try:
        write(place)
    except CourseError as error:
        return str(error)
    return ""


def disk_full(trials: Trials) -> None:
    """A file system that fills up at a random byte; one sentence; with more room, the same as undisturbed.

    It is a small tmpfs where one may be mounted (root on Linux), else a limit on the size of files.
    """
    archive = make_archive(trials.folder / "archive", 12)
    Slowly.body, place, told = archive[0].read_bytes(), trials.folder / "disk", set()
    with serving(Slowly) as address:
        writers = Writers(trials.folder, address, archive)
        kind = ""
        while trials.more():
            name, (write, right) = list(writers.all.items())[trials.done % len(writers.all)]
            room = trials.rng.randrange(4_096, ROOM[name])
            with small_disk(place, room) as remount:
                kind = "tmpfs" if remount else "limit on file size"

                def try_it(write: Callable = write, real: bool = bool(remount), room: int = room) -> str:
                    if not real:
                        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                        resource.setrlimit(resource.RLIMIT_FSIZE, (room // 4, resource.RLIM_INFINITY))
                    return sentence_of(write, place)

                try:
                    words = done_in_a_child(try_it)
                except RuntimeError as error:
                    trials.check(False, f"{name}, {room} bytes: {str(error).strip().splitlines()[-1]}")
                    words = "no sentence"
                told |= {name} if words else set()
                trials.check("\n" not in words, f"{name}: not one line: {words!r}")
                if remount:
                    remount("size=50m")
                try:
                    done_in_a_child(lambda write=write: write(place))
                    trials.check(right(place), f"{name}: not as undisturbed, after {room} bytes")
                except RuntimeError as error:
                    last = str(error).strip().splitlines()[-1]
                    trials.check(False, f"{name}: does not go on after {room} bytes: {last}")
                if not remount:
                    empty(place)
            trials.done += 1
    trials.notes.append(f"by {kind}; full for {', '.join(sorted(told))}")


def read_only(trials: Trials) -> None:
    """Folders that may be read and not written: one sentence, and what is there can be used.

    Root may write anywhere, whatever a folder's rights say, so for root the whole disk is made read-only.
    """
    archive = make_archive(trials.folder / "archive", 12)
    Slowly.body, place, kind = archive[0].read_bytes(), trials.folder / "disk", ""
    with serving(Slowly) as address:
        writers = Writers(trials.folder, address, archive)
        while trials.more():
            name, (write, right) = list(writers.all.items())[trials.done % len(writers.all)]
            begun = trials.done // len(writers.all) % 2 == 1  # something is there already, and is whole
            with small_disk(place, 50_000_000) as remount:
                kind = "tmpfs mounted read-only" if remount else "the folder's rights"
                if begun:
                    done_in_a_child(lambda write=write: write(place))
                if remount:
                    remount("ro")
                elif os.geteuid():
                    place.chmod(0o500)
                else:
                    trials.notes.append("NOT RUN: root, and no mount")
                    trials.done = trials.wanted
                    break

                def try_it(write: Callable = write) -> str:
                    return sentence_of(write, place)

                try:
                    words = done_in_a_child(try_it)
                    trials.check("\n" not in words, f"{name}: not one line: {words!r}")
                    trials.check(bool(words) or begun, f"{name}: no error")
                    trials.check(not begun or right(place), f"{name}: what was there is not as it was")
                except RuntimeError as error:
                    trials.check(False, f"{name}, {begun}: {str(error).strip().splitlines()[-1]}")
                if remount:
                    remount("rw")
                else:
                    place.chmod(0o700)
                    empty(place)
            trials.done += 1
    trials.notes.append(f"by {kind}")


# --- clocks -------------------------------------------------------------------------------------------------


def clock_jumps(trials: Trials) -> None:
    """The clock jumps by years, forth and back, while things are written and between two calls.

    The computer's clock belongs to everybody, so `time.time` jumps in our processes alone, and the dates of
    files are set as if they had been written then.
    """
    paths = paint_many(trials.folder / "in", 40)
    done_in_a_child(lambda: train_tiny(trials.folder / "undisturbed"))
    wanted = run_of(trials.folder / "undisturbed")
    folder = trials.folder / "out"

    def jumping(work: Callable[[], object], seed: int) -> Callable[[], object]:
        def inside() -> object:
            rng, now = np.random.default_rng(seed), time.time
            time.time = lambda: now() + rng.uniform(-3e8, 3e8)
            time.time_ns = lambda: int(time.time() * 1e9)
            return work()

        return inside

    def halved() -> None:
        folder.mkdir(exist_ok=True)
        stop = ToySet(64, fail_at=trials.rng.randrange(1, 320), error=KeyboardInterrupt())
        fit(
            toy(), stop, ToySet(20, seed=1), run_dir=folder / "run", epochs=5, batch_size=16, crop=32,
            lr=0.01, progress=False, device="cpu", ema=0.9,
        )  # fmt: skip

    while trials.more():
        empty(folder)
        done_in_a_child(jumping(lambda: pixels.build_pixels(folder / "pixels", paths[:20]), trials.done))
        for path in trials.rng.sample(paths, 10):  # seen from now, these were changed in the past or future
            when = int(time.time() + trials.rng.uniform(-3e8, 3e8))
            os.utime(path, (when, when))
        repainted = paths[trials.done % len(paths)]
        size = os.stat(repainted).st_size
        shutil.copy(paths[trials.rng.randrange(len(paths))], repainted)
        past = int(time.time() - 3e8 - trials.done)
        os.utime(repainted, (past, past))
        done_in_a_child(jumping(lambda: pixels.build_pixels(folder / "pixels", paths), trials.done))
        cache = pixels.PixelFile(folder / "pixels")
        same = all(torch.equal(cache.several([p])[0], pixels.decode_pixels(p)) for p in paths)
        trials.check(same, f"pixels of a file that was changed ({size} bytes)")
        done_in_a_child(jumping(halved, trials.done))
        done_in_a_child(jumping(lambda: train_tiny(folder / "run"), trials.done + 1))
        trials.check(run_of(folder / "run") == wanted, "another training than with a steady clock")
        trials.done += 1
    trials.notes.append("time.time and files' dates jump up to 9.5 years")


# --- the same seed ------------------------------------------------------------------------------------------


def same_again(trials: Trials) -> None:
    """One seed, one history: twice, with every kind of cache, any number of processors and loader workers."""
    (trials.folder / "in").mkdir()
    paths = [str(trials.folder / "in" / f"{i}.png") for i in range(48)]
    for i, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    ways = {
        "memory": {}, "no cache": {"cache_bytes": 0}, "disk": {"disk": True}, "resident": {"resident": True},
        "1 processor": {"processors": 1}, "8 processors": {"processors": 8, "cache_bytes": 0},
    }  # fmt: skip

    def history(seed: int, number: int, disk: bool = False, cache_bytes: int = 10**8, **rest) -> tuple:
        os.cpu_count = lambda: rest.get("processors", 2)
        data = FaceDataset(paths, [i % 2 for i in range(48)], cache_bytes=cache_bytes)
        data = data.cached(trials.folder / "pixels") if disk else data
        run = fit(
            toy(), data.subset(range(36)), data.subset(range(36, 48)), epochs=2, batch_size=8, crop=32,
            seed=seed, run_dir=trials.folder / f"run-{number}", progress=False, device="cpu",
            augment="light", resident=rest.get("resident"),
        )  # fmt: skip
        weights = b"".join(w.numpy().tobytes() for w in run.model.state_dict().values())
        return run.history[["train_loss", "valid_loss", "valid_auc"]].to_numpy().tobytes(), weights

    def loaded(workers: int) -> list[bytes]:
        data = FaceDataset(paths, [i % 2 for i in range(48)])
        loader = torch.utils.data.DataLoader(data.subset(range(0, 48, 3)), num_workers=workers)
        return [image.numpy().tobytes() for image, _ in loader]

    first: dict[int, tuple] = {}
    while trials.more():
        name, settings = list(ways.items())[trials.done % len(ways)]
        seed = trials.done // len(ways) % 3
        number = trials.done
        found = done_in_a_child(lambda s=seed, n=number, k=settings: history(s, n, **k))
        trials.check(
            found == first.setdefault(seed, found), f"seed {seed}, {name}: another history or weights"
        )
        trials.done += 1
    trials.check(
        len(first) < 2 or len({found[0] for found in first.values()}) == len(first), "seeds do nothing"
    )
    batches = [done_in_a_child(lambda w=w: loaded(w)) for w in (0, 1, 2)]
    trials.check(batches[0] == batches[1] == batches[2], "other batches with loader workers")
    trials.notes.append(f"{len(first)} seeds, ways: {', '.join(ways)}; loaders with 0, 1, 2 workers")
    trials.notes.append("lowest and current torch: the weekly workflow")


GROUPS = {
    "disk-full": (disk_full, 50),
    "read-only": (read_only, 20),
    "clock": (clock_jumps, 10),
    "same-again": (same_again, 36),
}
if sys.platform == "win32":
    GROUPS.clear()
