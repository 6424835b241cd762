"""One network, four ways to run it: eager PyTorch, compiled, ONNX Runtime, OpenVINO. Prints a table.

    python figures/bench/export_speed.py --checkpoint studio --threads 1

Windows of pictures of `studio`, one at a time and in batches of 32, through the network alone. Before
anything is timed, each way has to give the logits that eager gives, to four digits. They take turns, several
rounds; the median of the rounds is printed, with the lowest and the highest. `make bench` has its rows.

Compiling comes first, in a process of its own that is ended after 180 seconds; what it made is taken from
its folder. What cannot be run here (no C++ compiler, a package of the extra `bench` that is missing) is left
out, with a sentence.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch

from course_lib import Detector, data
from course_lib.errors import CourseError
from course_lib.export import INPUT, export_onnx, load_onnx

BATCHES = (1, 32)
PATIENCE = 180  # seconds for compiling, both batch sizes together
SETTINGS = ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS")
EAGER, COMPILED, ONNX, OPENVINO = "eager", "torch.compile", "ONNX Runtime", "OpenVINO"
Network = Callable[[torch.Tensor], torch.Tensor]


def windows(detector: Detector, batch: int, side: int) -> torch.Tensor:
    """Windows of test pictures, batch x 3 x side x side, as the detector shows them to its network."""
    faces = data.load("studio").test
    cut = torch.stack([faces.uint8(i)[:, :side, :side] for i in range(batch)])
    return detector.preprocessing.normalise(cut).contiguous(memory_format=torch.channels_last)


def compiled(
    checkpoint: str, model: torch.nn.Module, threads: int, side: int, folder: str, backend: str
) -> Network:
    """The network through `torch.compile`. Raises CourseError where compiling fails or takes too long."""
    if backend == "inductor":
        # One process compiles: a pool of them would outlive the one that is ended here.
        os.environ |= dict(zip(SETTINGS, (folder, "1"), strict=True))
        command = [sys.executable, __file__, "--compile-only", "--checkpoint", checkpoint]
        command += ["--threads", str(threads), "--side", str(side)]
        start = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            _, said = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise CourseError(f"compiling was ended after {PATIENCE} s") from None
        if child.returncode:
            raise CourseError(f"compiling failed ({(said.strip().splitlines() or ['no message'])[-1][:200]})")
        print(f"torch.compile: {time.perf_counter() - start:.0f} s of compiling", file=sys.stderr)
    return torch.compile(model, dynamic=False, backend=backend)


def openvino(path: Path, threads: int) -> Network:
    """The exported network in OpenVINO, in float32. Raises CourseError where it is not installed."""
    try:
        import openvino
    except ImportError:
        raise CourseError("it is not installed: pip install 'facenest-course[bench]'") from None
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
    }  # fmt: skip
    network = core.compile_model(core.read_model(str(path)), "CPU", settings)
    return lambda x: torch.from_numpy(network({INPUT: x.contiguous().numpy()})[0])


def assert_parity(engine: str, network: Network, eager: Network, x: torch.Tensor) -> None:
    """Raise RuntimeError unless the logits agree to four digits."""
    with torch.inference_mode():
        mine, theirs = network(x), eager(x)
    apart = ((mine - theirs).abs() / theirs.abs().clamp(min=1)).max().item()
    if mine.shape != theirs.shape or not apart < 5e-5:
        raise RuntimeError(
            f"{engine} gives other logits than eager PyTorch ({apart:.1e} apart): nothing was timed"
        )


def rate(network: Network, x: torch.Tensor, seconds: float) -> float:
    """Windows a second."""
    with torch.inference_mode():
        network(x)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            network(x)
            done += len(x)
    return done / (time.perf_counter() - start)


@contextmanager
def engines(detector: Detector, checkpoint: str, threads: int, side: int, backend: str):
    """Yields {name: network} of all ways that work here, eager first; tells why the others do not."""
    before = {name: os.environ.pop(name) for name in SETTINGS if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(detector, Path(folder) / "net.onnx")
        ways = {
            COMPILED: lambda: compiled(checkpoint, detector.model, threads, side, folder, backend),
            ONNX: lambda: load_onnx(file, threads=threads).model,
            OPENVINO: lambda: openvino(file, threads),
        }
        found = {EAGER: detector.model}
        for name, make in ways.items():
            try:
                found[name] = make()
            except CourseError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
        try:
            yield found
        finally:
            for name in SETTINGS:
                os.environ.pop(name, None)
            os.environ |= before


def measure(
    checkpoint: str, threads: int, side: int, runs: int, seconds: float, backend: str = "inductor"
) -> dict[int, dict[str, list[float]]]:
    """Batch size -> name -> windows a second in each round."""
    detector = Detector.load(checkpoint, device="cpu")
    found: dict[int, dict[str, list[float]]] = {}
    with engines(detector, checkpoint, threads, side, backend) as networks:
        for batch in BATCHES:
            x = windows(detector, batch, side)
            for name, network in networks.items():
                assert_parity(name, network, detector.model, x)
            found[batch] = {name: [] for name in networks}
            for _ in range(runs):
                for name, network in networks.items():
                    found[batch][name].append(rate(network, x, seconds))
    return found


def rows(
    row, runs: int, seconds: float = 1.5, side: int = 128, checkpoint: str = "studio",
    backend: str = "inductor",
) -> list[dict]:  # fmt: skip
    """For bench.json; `row` makes a row. Eager PyTorch is the peer of all others.

    One thread each: all four wait busily for their next work, so those of one would slow down the others.
    """
    made, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = measure(checkpoint, 1, side, runs, seconds, backend)
    finally:
        torch.set_num_threads(threads)
    for batch, rates in found.items():
        eager = statistics.median(rates.pop(EAGER))
        for name, mine in rates.items():
            batches = "one picture at a time" if batch == 1 else f"batches of {batch}"
            words = f"inference, one thread, {side} px, {batches}: {name} against eager PyTorch"
            made.append(row(words, statistics.median(mine), eager, "windows/s", True, runs))
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--checkpoint", default="studio")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--side", type=int, default=128, help="of a window; default 128, as in studio")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=2)
    options.add_argument("--compile-only", action="store_true", help=argparse.SUPPRESS)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    if options.compile_only:
        detector = Detector.load(options.checkpoint, device="cpu")
        network = torch.compile(detector.model, dynamic=False)
        for batch in BATCHES:
            x = windows(detector, batch, options.side)
            with torch.inference_mode():
                network(x)
        return
    found = measure(options.checkpoint, options.threads, options.side, options.rounds, options.seconds)
    print(f"{options.checkpoint}, windows of {options.side} x {options.side}, {options.threads} threads, CPU")
    print("windows a second: median of the rounds (lowest to highest)")
    for batch, rates in found.items():
        for name, mine in rates.items():
            cell = f"{statistics.median(mine):8.1f} ({min(mine):.1f} to {max(mine):.1f})"
            print(f"batches of {batch:2d}  {name:13s} {cell}")


if __name__ == "__main__":
    main()
