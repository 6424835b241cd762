"""PyTorch and ONNX Runtime side by side: one network, the same windows and threads. Prints a table.

    python figures/bench/export_speed.py --checkpoint studio --threads 1

Windows of one picture's size, in batches of 1 and 32, through the network alone. The two take turns, several
rounds; the median of the rounds is printed, with the lowest and the highest. `make bench` has its rows.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from course_lib import Detector
from course_lib.export import export_onnx, load_onnx

BATCHES = (1, 32)


def rate(network, x: torch.Tensor, seconds: float) -> float:
    """Windows a second."""
    with torch.inference_mode():
        network(x)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            network(x)
            done += len(x)
    return done / (time.perf_counter() - start)


def measure(
    detector: Detector, threads: int, side: int, runs: int, seconds: float
) -> dict[int, list[tuple[float, float]]]:
    """Batch size -> windows a second of (PyTorch, ONNX Runtime) in each round."""
    with tempfile.TemporaryDirectory() as folder:
        exported = load_onnx(export_onnx(detector, Path(folder) / "net.onnx"), threads=threads)
    found = {}
    for batch in BATCHES:
        x = torch.randn(batch, 3, side, side)
        fast = x.contiguous(memory_format=torch.channels_last)  # as the detector gives them
        found[batch] = [
            (rate(detector.model, fast, seconds), rate(exported.model, x, seconds)) for _ in range(runs)
        ]
    return found


def rows(row, runs: int, seconds: float = 2, side: int = 128, checkpoint: str = "studio") -> list[dict]:
    """For bench.json; `row` makes a row."""
    detector, threads = Detector.load(checkpoint, device="cpu"), torch.get_num_threads()
    made = []
    for batch, rounds in measure(detector, threads, side, runs, seconds).items():
        torchs, onnx = (statistics.median(rates) for rates in zip(*rounds, strict=True))
        words = f"the network alone, {side} px, batches of {batch}: ONNX Runtime against PyTorch"
        made.append(row(words, onnx, torchs, "windows/s", True, runs))
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--checkpoint", default="studio")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--side", type=int, default=128, help="of a window; default 128, as in studio")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=2)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    detector = Detector.load(options.checkpoint, device="cpu")
    found = measure(detector, options.threads, options.side, options.rounds, options.seconds)
    print(f"{detector.id}, windows of {options.side} x {options.side}, {options.threads} threads, CPU")
    print("batch  PyTorch, windows a second   ONNX Runtime, windows a second")
    for batch, rounds in found.items():
        cells = [
            f"{statistics.median(r):8.1f} ({min(r):.1f} to {max(r):.1f})" for r in zip(*rounds, strict=True)
        ]
        print(f"{batch:5d}  {cells[0]:27s} {cells[1]}")


if __name__ == "__main__":
    main()
