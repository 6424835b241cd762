"""What a set as large as `rvsf` (140,000 pictures of 256×256) asks of a machine.

    python figures/bench/large_set.py

The simulation is honest about names, index and memory, and takes next to no disk: the 140,000 files are
links to 400 JPEGs (made from those of `studio`), in the layout and with the CSV files of `rvsf`; the pixel
file has its true 27.5 GB but is sparse, so all its pixels are 0. Reading it maps and copies as many pages as
a real one would. What is not simulated is the disk: what does not fit into memory would be read from it anew.

Three things are measured, each in a process of its own: `load` from the cache (seconds); the decoding speed
of `build_pixels` on 2,000 real pictures; and the memory of training: peak of all resident memory (VmRSS) and
of the part of it that the system cannot take back (RssAnon), after two passes over crops of all 100,000
training pictures, and after `fit` of FaceNeSt on 2,000 of them (--full: on all, an hour on two cores).
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

SIDE, DISTINCT = 256, 400
SPLITS = {"train": 50_000, "valid": 10_000, "test": 10_000}  # of each class

LOAD = """
import json, sys, time
from course_lib import load
for _ in range(6):
    sets = None
    start, used = time.perf_counter(), time.process_time()
    sets = load("rvsf", root={root!r}, cache={folder!r})
    print(json.dumps({{"load, seconds": round(time.perf_counter() - start, 4),
                      "load, CPU seconds": round(time.process_time() - used, 2)}}))
"""
EPOCH = """
import json, re, threading, time
from pathlib import Path
import torch
from course_lib import Augment, facenest, fit, load
from course_lib.training import epoch_order
from course_lib.transforms import training_batch
torch.set_num_threads(1)
peaks = {{}}
def watch():
    while True:
        status = Path("/proc/self/status").read_text()
        for name, kb in re.findall(r"(VmRSS|RssAnon|RssFile):\\s+(\\d+) kB", status):
            peaks[name] = max(peaks.get(name, 0), int(kb) / 1e6)
        time.sleep(0.02)
def say(what, **more):
    time.sleep(0.1)
    print(json.dumps({{what + ", peak GB": peaks, **more}}), flush=True)
threading.Thread(target=watch, daemon=True).start()
say("imports alone")
sets = load("rvsf", root={root!r}, cache={folder!r})
say("after load")
start, generator = time.perf_counter(), torch.Generator()
for turn in range(2):
    start, used = time.perf_counter(), time.process_time()
    for indices in epoch_order(len(sets.train), 64, 0, turn):
        training_batch(sets.train, indices, 64, Augment.named(None), generator)
    n = len(sets.train)
    say(f"after pass {{turn + 1}} over all crops", a_second=round(n / (time.perf_counter() - start)),
        a_CPU_second=round(n / (time.process_time() - used)))
torch.manual_seed(0)
train = sets.train if {full} else sets.train.subset(range(0, n, max(1, n // 2_000)))
valid = sets.valid.subset(range(0, len(sets.valid), max(1, len(sets.valid) // 200)))
fit(facenest(), train, valid, run_dir={run!r}, epochs=1, batch_size=64,
    crop=64, progress=False, device="cpu")
say(f"after fit on {{len(train):,}} pictures")
"""


def make_set(root: Path, splits: dict[str, int] = SPLITS) -> list[str]:
    """The layout of rvsf out of links; returns all paths, split by split."""
    from PIL import Image

    from course_lib import load

    paths, number = [], 0
    (root / "distinct").mkdir(parents=True)
    faces = load("studio").train
    for i in range(DISTINCT):
        picture = Image.fromarray(faces.uint8(i).permute(1, 2, 0).numpy()).resize((SIDE, SIDE))
        picture.save(root / "distinct" / f"{i}.jpg", quality=90)
    for split, count in splits.items():
        rows = []
        for label in ("real", "fake"):
            folder = root / "real_vs_fake" / "real-vs-fake" / split / label
            folder.mkdir(parents=True)
            for _ in range(count):
                name = f"{number:06d}"
                os.link(root / "distinct" / f"{number % DISTINCT}.jpg", folder / f"{name}.jpg")
                paths.append(str(folder / f"{name}.jpg"))
                rows.append([len(rows), f"/kaggle/{name}.jpg", name, int(label == "real"), label,
                             f"{split}/{label}/{name}.jpg"])  # fmt: skip
                number += 1
        with open(root / f"{split}.csv", "w", newline="") as file:
            head = ["", "original_path", "id", "label", "label_str", "path"]
            csv.writer(file).writerows([head, *rows])
    return paths


def make_pixels(folder: Path, paths: list[str]) -> None:
    """A pixel file of zeros for these pictures."""
    from course_lib import pixels

    folder.mkdir()
    one = 3 * SIDE * SIDE
    crc = zlib.crc32(bytes(one))
    states, _ = pixels._states(paths)
    places = {path: pixels.Place(*states[path], i * one, SIDE, SIDE, crc) for i, path in enumerate(paths)}
    with open(folder / "pixels-0.u8", "w+b", buffering=0) as file:
        file.truncate(len(paths) * one)
        pixels._write_index(file, folder, "pixels-0.u8", places)


def run(code: str, work: Path, full: bool = False) -> list[dict]:
    """Run it in a process of its own; what it prints is shown, and returned line by line."""
    values = {
        "root": str(work / "set"),
        "folder": str(work / "pixels"),
        "run": str(work / "run"),
        "full": full,
    }
    environment = {**os.environ, "COURSE_CACHE_DIR": str(work / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code.format(**values)], env=environment, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="", file=sys.stderr, flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def rows(row, runs: int, splits: dict[str, int] = SPLITS) -> list[dict]:
    """For bench.json: the peer is the bound that was set, 2 s and 1 GB. `row` makes a row."""
    number, bounds = 2 * sum(splits.values()), (2.0, 1.0)
    of = f"a set of {number:,} pictures"
    with tempfile.TemporaryDirectory(prefix="large-set-") as place:
        work = Path(place)
        make_pixels(work / "pixels", make_set(work / "set", splits))
        times = [found["load, seconds"] for found in run(LOAD, work)][1:]  # the first one fills the cache
        told = run(EPOCH, work)
    passed, trained = (
        next(peaks for key, peaks in line.items() if key.endswith("peak GB")) for line in told[-2:]
    )
    return [
        row(f"{of}: load from the cache against 2 s", statistics.median(times), bounds[0], "s", False,
            len(times), goal=1),
        row(f"{of}: two passes over crops of all, peak of all resident memory, against 1 GB",
            passed["VmRSS"], bounds[1], "GB", False, 1, goal=1),
        row(f"{of}: and training, peak of the memory that cannot be taken back, against 1 GB",
            trained["RssAnon"], bounds[1], "GB", False, 1),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, help="a folder to make the set in and keep it; default: temporary"
    )
    parser.add_argument("--only", choices=("load", "epoch", "build"), help="measure one thing only")
    parser.add_argument("--full", action="store_true", help="fit on all 100,000 pictures")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="large-set-"))
    try:
        if not (work / "pixels").exists():
            make_pixels(work / "pixels", make_set(work / "set"))
        if options.only in (None, "load"):
            run(LOAD, work)
        if options.only in (None, "build"):
            from course_lib.pixels import build_pixels

            some = sorted(str(path) for path in (work / "set").glob("real_vs_fake/*/train/real/*.jpg"))[
                :2_000
            ]
            shutil.rmtree(work / "built", ignore_errors=True)
            start = time.perf_counter()
            build_pixels(work / "built", some)
            print(json.dumps({"built, images a second": round(len(some) / (time.perf_counter() - start))}))
        if options.only in (None, "epoch"):
            shutil.rmtree(work / "run", ignore_errors=True)
            run(EPOCH, work, options.full)
    finally:
        if options.work is None:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
