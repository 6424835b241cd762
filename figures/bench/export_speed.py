"""PyTorch and ONNX Runtime side by side: one network, the same windows and threads; prints a table.

    python figures/bench/export_speed.py --checkpoint studio --threads 1

Windows of one picture's size, in batches of 1 and 32, through the network alone. The two take turns, several
rounds; the median of the rounds is printed, with the lowest and the highest.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from course_lib import Detector
from course_lib.export import export_onnx, load_onnx


def rate(network, x: torch.Tensor, seconds: float) -> float:
    """Windows a second."""
    with torch.inference_mode():
        network(x)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            network(x)
            done += len(x)
    return done / (time.perf_counter() - start)


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
    with tempfile.TemporaryDirectory() as folder:
        exported = load_onnx(export_onnx(detector, Path(folder) / "net.onnx"), threads=options.threads)
    print(f"{detector.id}, windows of {options.side} x {options.side}, {options.threads} threads, CPU")
    print("batch  PyTorch, windows a second   ONNX Runtime, windows a second")
    for batch in (1, 32):
        x = torch.randn(batch, 3, options.side, options.side)
        fast = x.contiguous(memory_format=torch.channels_last)  # as the detector gives them
        rounds = [
            (rate(detector.model, fast, options.seconds), rate(exported.model, x, options.seconds))
            for _ in range(options.rounds)
        ]
        cells = [f"{np.median(r):8.1f} ({min(r):.1f} to {max(r):.1f})" for r in zip(*rounds, strict=True)]
        print(f"{batch:5d}  {cells[0]:27s} {cells[1]}")


if __name__ == "__main__":
    main()
