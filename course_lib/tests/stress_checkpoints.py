"""Stress: damaged and hostile checkpoints get one sentence; no pickle in or beside them is ever opened."""

from __future__ import annotations

import io
import json
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

import torch
from stress_kit import Trials, ended, in_a_child, mutate
from toys import small_checkpoint

from course_lib import CheckpointError, load_checkpoint
from course_lib.checkpoints import CONFIG, WEIGHTS

VALUES = (
    None, True, 0, -1, 1, 3, 2.5, 1e308, float("nan"), 10**9, 10**30, 10**400,
    "", "16", "x" * 5_000, [], [1, 2], {},
    [[]] * 50, [10**9] * 4, [1, 1, 1, 10**6], ["lc"] * 100_000, {"__class__": "x"},
)  # fmt: skip
MEMORY = 1_000_000_000  # beside the process itself


class Planted:
    """Pickled, it is a call that makes a file: whoever opens it runs it."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def pickles(marker: Path) -> list[bytes]:
    """A planted pickle in every form in which weights are handed around."""
    found = [pickle.dumps(Planted(marker), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save({"weights": Planted(marker)}, file, _use_new_zipfile_serialization=zipped)
        found.append(file.getvalue())
    return found


def other_values(rng: random.Random, config: object) -> object:
    """A copy of a JSON value in which one value, somewhere, is another one, or a key has another name."""
    if isinstance(config, dict) and config and rng.random() < 0.9:
        key = rng.choice(list(config))
        changed = dict(config)
        if rng.random() < 0.1:
            changed[rng.choice(["", "x", "device", "path"])] = changed.pop(key)
        else:
            changed[key] = other_values(rng, config[key])
        return changed
    if isinstance(config, list) and config and rng.random() < 0.5:
        at = rng.randrange(len(config))
        return [*config[:at], other_values(rng, config[at]), *config[at + 1 :]]
    return rng.choice(VALUES)


def other_header(rng: random.Random, weights: bytes) -> bytes:
    """Weights whose header, in JSON, has another value somewhere."""
    (size,) = struct.unpack("<Q", weights[:8])
    header = json.dumps(other_values(rng, json.loads(weights[8 : 8 + size]))).encode()
    return struct.pack("<Q", len(header)) + header + weights[8 + size :]


def damaged_checkpoints(trials: Trials) -> None:
    """Weights and configs damaged byte by byte, and by hostile values: loaded whole, or one clear sentence.

    Any pickle that Python opens meanwhile is a fault: it tells us of each by an audit event.
    """
    whole = small_checkpoint(trials.folder / "whole")
    weights, config = (whole / WEIGHTS).read_bytes(), (whole / CONFIG).read_bytes()
    marker, folder = trials.folder / "marker", trials.folder / "damaged"
    planted = pickles(marker)
    counts = {"loaded": 0, "refused": 0, "planted": 0}

    def make(number: int) -> str:
        """Write checkpoint `number`; returns what is wrong with it."""
        rng = random.Random(f"{trials.seed} {number}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        kind = ("weights", "header", "config", "values", "values", "planted")[number % 6]
        if kind == "weights":
            (folder / WEIGHTS).write_bytes(mutate(rng, weights, [weights, config, *planted]))
        elif kind == "header":
            (folder / WEIGHTS).write_bytes(other_header(rng, weights))
        elif kind == "config":
            (folder / CONFIG).write_bytes(mutate(rng, config, [weights, config]))
        elif kind == "values":
            (folder / CONFIG).write_text(json.dumps(other_values(rng, json.loads(config))))
        else:
            name = rng.choice([WEIGHTS, CONFIG, "card.md", "model.pt", "pytorch_model.bin", "data.pkl"])
            (folder / name).write_bytes(rng.choice(planted))
            if rng.random() < 0.3:
                (folder / WEIGHTS).unlink(missing_ok=True)
        return kind

    def work() -> tuple[dict[str, int], list[tuple[int, str]], int]:
        opened: list[str] = []
        sys.addaudithook(lambda event, _: event == "pickle.find_class" and opened.append(event))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found, wrong = dict.fromkeys(counts, 0), []
        for number in range(first, min(first + 60, trials.wanted)):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            kind, start = make(number), time.thread_time()
            here.write_text(str(number))
            opened.clear()
            found["planted"] += kind == "planted"
            try:
                load_checkpoint(folder)
                found["loaded"] += 1
            except CheckpointError as error:
                found["refused"] += 1
                if "\n" in str(error) or len(str(error)) > 1_500:
                    wrong.append((number, f"{kind}: not one line: {str(error)[:300]!r}"))
            except Exception as error:
                wrong.append((number, f"{kind}: {type(error).__name__}: {str(error)[:300]}"))
            if opened or marker.exists():
                wrong.append((number, f"{kind}: a pickle was opened"))
            if time.thread_time() - start > 5:
                wrong.append((number, f"{kind}: {time.thread_time() - start:.0f} s"))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return found, wrong, grown * (1 if sys.platform == "darwin" else 1024)

    here, most = trials.folder / "number", 0
    while trials.more():
        first = trials.done
        killer, result, error = ended(*in_a_child(work))
        if killer or error or result is None:
            number = int(here.read_text())
            result = ({}, [(number, error or f"the process was ended by signal {killer}")], 0)
            trials.done = number + 1
        else:
            trials.done = min(first + 60, trials.wanted)
        for name, count in result[0].items():
            counts[name] += count
        most = max(most, result[2])
        for number, words in result[1]:
            kind = make(number)
            kept = f"checkpoint-{trials.seed}-{number}"
            name = WEIGHTS if kind in ("weights", "header") else CONFIG
            if (folder / name).exists():
                trials.keep((folder / name).read_bytes(), f"{kept}-{name}")
            trials.check(False, f"{kept}: {words}")
    trials.check(most < MEMORY, f"{most / 1e6:,.0f} MB of memory")
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    trials.notes.append(f"{words} a pickle, {most / 1e6:,.0f} MB")


GROUPS = {"checkpoints": (damaged_checkpoints, 3_000)}
