"""From the bytes of a 12-megapixel photograph to a verdict, against Pillow's full decoding of it alone.

    python figures/bench/upload_speed.py --checkpoint faces --threads 1

The two take turns, several rounds; the median of the rounds is printed, with the lowest and the highest. The
verdict is the uploader's own `judge`: decoding, the network, the notes; with --find also the search for faces
and the verdict on each. The photograph is made here: an embedded portrait enlarged to 4000 x 3000 pixels,
with grain, saved as JPEG 90. The goal is a factor of 2 at most.
"""

import argparse
import io
import statistics
import sys
import time

import numpy as np
import torch
from PIL import Image

from course_lib import Detector, faces, load, widgets

GOAL = 2.0


def photograph(seed: int = 0) -> bytes:
    """A JPEG of 4000 x 3000 pixels with one face and grain as a camera's."""
    portrait = Image.fromarray(load("studio").test.uint8(0).permute(1, 2, 0).numpy())
    ground = Image.new("RGB", (4000, 3000), (120, 120, 130))
    ground.paste(portrait.resize((2400, 2400), Image.Resampling.BICUBIC), (800, 300))
    grain = np.random.default_rng(seed).normal(0, 6, (3000, 4000, 1)).round().astype(np.int16)
    pixels = np.clip(np.asarray(ground).astype(np.int16) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def measure(detector: Detector, find, runs: int) -> list[tuple[float, float]]:
    """(seconds of a verdict, seconds of Pillow's decoding) of each round, after one round to warm up."""
    content = photograph()
    upload = widgets.Upload("photograph.jpg", content)

    def ours() -> None:
        judged = widgets.judge(upload, detector, detector.name, find)
        assert judged.results[0].p_fake is not None, judged.results[0].error

    def pillow() -> None:
        Image.open(io.BytesIO(content)).load()

    def seconds(work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return [(seconds(ours), seconds(pillow)) for _ in range(runs + 1)][1:]


def rows(row, runs: int, checkpoint: str = "faces") -> list[dict]:
    """For bench.json; `row` makes a row. The goal belongs to the verdict on the picture as a whole; the one
    with the search for faces stands beside it, where the extra `faces` is installed."""
    detector, made = Detector.load(checkpoint, device="cpu"), []
    ways = {"a verdict": None}
    if faces.finder_is_there():
        ways["a verdict on it and on the faces found in it"] = faces.find_faces
    else:
        print(f"The upload with a search for faces is left out: {faces.INSTALL}", file=sys.stderr)
    for way, find in ways.items():
        rounds = measure(detector, find, runs)
        verdict, decoding = (statistics.median(times) for times in zip(*rounds, strict=True))
        words = f"12-megapixel photograph to {way} ({checkpoint}), against Pillow's full decoding alone"
        goal = 1 / GOAL if find is None else None
        made.append(row(words, verdict, decoding, "s", False, runs, goal))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="faces")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--find", action="store_true", help="look for faces too (needs the extra faces)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    detector = Detector.load(options.checkpoint, device="cpu")
    rounds = measure(detector, faces.find_faces if options.find else None, options.rounds)
    print(f"{detector.id}, {options.threads} threads, CPU, {options.rounds} rounds")
    for words, times in zip(("to a verdict", "Pillow alone"), zip(*rounds, strict=True), strict=True):
        low, middle, high = min(times), statistics.median(times), max(times)
        print(f"{words:13}: {1000 * middle:7.0f} ms ({1000 * low:.0f} to {1000 * high:.0f})")
    ratio = statistics.median(a for a, _ in rounds) / statistics.median(b for _, b in rounds)
    print(f"factor       : {ratio:7.2f} (goal: at most {GOAL:g})")


if __name__ == "__main__":
    main()
