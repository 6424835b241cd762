"""What the stress groups share: counted trials, processes that are killed, small disks, mutations."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
KEPT = Path("build/stress")  # inputs that made a fault are kept there


class Trials:
    """One group's trials: how many are wanted, how many were done, what was wrong.

    rng: seeded by the run's seed and the group's name. folder: an empty folder of the group's own.
    """

    def __init__(self, name: str, wanted: int, seed: int, seconds: float, folder: Path):
        self.name, self.wanted, self.seed, self.folder = name, wanted, seed, folder
        self.rng, self.done, self.faults, self.notes = random.Random(f"{seed} {name}"), 0, [], []
        self.start, self.end = time.monotonic(), time.monotonic() + seconds

    def more(self) -> bool:
        """Whether another trial is wanted, and there is time for it."""
        return self.done < self.wanted and time.monotonic() < self.end

    def check(self, right: bool, words: str) -> bool:
        """Note a fault unless `right`."""
        if not right:
            self.faults.append(f"trial {self.done}: {words}")
        return right

    def refused(self, kind: type[Exception], work: Callable[[], object], what: str) -> str:
        """`work` must raise `kind`, with one line of words, which are returned."""
        try:
            work()
        except kind as error:
            words = str(error)
            self.check(bool(words) and "\n" not in words, f"{what}: not one line: {words!r}")
            return words
        except Exception as error:
            self.check(False, f"{what}: {type(error).__name__} instead of {kind.__name__}: {error}")
        else:
            self.check(False, f"{what}: no error")
        return ""

    def keep(self, content: bytes, name: str) -> Path:
        """Put an input that made a fault where it can be looked at."""
        KEPT.mkdir(parents=True, exist_ok=True)
        path = KEPT / name
        path.write_bytes(content)
        return path

    def line(self) -> str:
        """The group in one line, its faults below."""
        took = time.monotonic() - self.start
        words = [f"{self.done:,} of {self.wanted:,} trials", *self.notes, f"{len(self.faults)} faults"]
        text = f"{self.name:16s} {', '.join(words)}, {took:.0f} s"
        return "\n".join([text, *(f"    FAULT {fault}" for fault in self.faults[:20])])


# --- processes of our own -----------------------------------------------------------------------------------


def in_a_child(work: Callable[[], object], before: Callable[[], object] | None = None) -> tuple[int, int]:
    """Fork a process that does `work`; returns its number and a pipe with (result, error text) pickled."""
    here, there = os.pipe()
    child = os.fork()
    if child:
        os.close(there)
        return child, here
    status = 1
    try:
        os.close(here)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if before:
            before()
        try:
            answer = (work(), None)
            status = 0
        except BaseException:
            answer = (None, traceback.format_exc())
        with open(there, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(status)


def ended(child: int, pipe: int) -> tuple[int, object, str | None]:
    """Wait for a child: (the signal that ended it or 0, its result, its error text)."""
    with open(pipe, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    result, error = pickle.loads(said) if said else (None, None)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, result, error


def done_in_a_child(work: Callable[[], object]) -> object:
    """The result of `work`, done in a process of its own; RuntimeError with its words if it failed."""
    killer, result, error = ended(*in_a_child(work))
    if killer or error:
        raise RuntimeError(error or f"ended by signal {killer}")
    return result


def watch_files(folder: Path, at: Callable[[int], object]) -> None:
    """Call `at` with 1, 2, 3, … just before each file below `folder` is opened, renamed, deleted, made."""
    below, count = str(folder), 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in FILE_EVENTS and any(below in str(a) for a in arguments[:2]):
            count += 1
            at(count)

    sys.addaudithook(hook)


def kill_again_and_again(
    trials: Trials,
    work: Callable[[], object],
    look: Callable[[], object],
    finished: Callable[[], object],
    reset: Callable[[], object],
) -> None:
    """`work` in processes that are ended with SIGKILL; the next one goes on from what is there.

    Every other kill comes at a random moment, the others just before a random file below ``out`` is touched:
    a rename is over in no time, and hardly ever hit by chance. look: what must hold after every kill.
    finished: what must hold when the work has come to its end; then `reset` makes everything as at first.
    """
    out = trials.folder / "out"
    out.mkdir(exist_ok=True)
    start = time.monotonic()
    touched = done_in_a_child(lambda: count_events(out, work))
    seconds = time.monotonic() - start
    finished()
    reset()
    at_files, ends, states = 0, 1, set()
    while trials.more():
        at_a_file = trials.done % 2 == 1
        if at_a_file:
            at = trials.rng.randint(1, touched)
            child, pipe = in_a_child(work, lambda at=at: watch_files(out, lambda n: n == at and die()))
        else:
            child, pipe = in_a_child(work)
            time.sleep(trials.rng.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        killer, _, error = ended(child, pipe)
        if killer == signal.SIGKILL:
            trials.done += 1
            at_files += at_a_file
            states.add(state_of(out))
            look()
        else:
            if trials.check(not killer and not error, f"going on: {error or f'signal {killer}'}"):
                finished()
            ends += 1
            reset()
    killer, _, error = ended(*in_a_child(work))
    if trials.check(not killer and not error, f"going on: {error or f'signal {killer}'}"):
        finished()
    trials.notes.append(f"{at_files} of them at a file, {len(states)} different states left behind")
    trials.notes.append(f"brought to an end {ends} times")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_events(folder: Path, work: Callable[[], object]) -> int:
    """How often `work` touches a file below `folder`; the hook stays, so this is for a process of its own."""
    seen = [0]
    watch_files(folder, seen.append)
    work()
    return seen[-1]


def state_of(folder: Path) -> tuple:
    """Names (without what is random in them) and sizes of all files: what a kill left behind."""
    return tuple(sorted((p.name.split("-")[0], p.stat().st_size) for p in folder.rglob("*") if p.is_file()))


# --- small disks --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None] | None]:
    """A file system of `size` bytes at `folder`; yields a function to remount it; None: we may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if (
        sys.platform != "linux"
        or os.geteuid()
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        yield None
        return

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, capture_output=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# --- mutations ----------------------------------------------------------------------------------------------

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10_000, 65_500)


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """`data` with one or several of: bits flipped, bytes or whole numbers changed, parts cut out, doubled,
    taken from another file, put in, or all cut off from somewhere."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(content)
        # Every other change hits the beginning, where a file's header is.
        at = rng.randrange(min(size, 200) or 1) if rng.random() < 0.5 else rng.randrange(size or 1)
        length = rng.choice((1, 2, 4, 16, 100))
        kind = rng.randrange(8)
        if kind == 0 and size:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            content[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice("BHI")
            number = rng.choice(NUMBERS) & (256 ** struct.calcsize(width) - 1)
            content[at : at + struct.calcsize(width)] = struct.pack(rng.choice("<>") + width, number)
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = content[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 5:
            content[at:at] = rng.randbytes(length)
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            content[at : at + length] = other[start : start + length]
        elif rng.random() < 0.3:
            del content[at:]
    return bytes(content)


def with_right_sums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them, so that damage gets past the first check."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if at + 12 + length > len(png):
            break
        body = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out) + png[at:]
