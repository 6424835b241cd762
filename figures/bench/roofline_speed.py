"""How near our default network comes to what this processor can do, and what sides and batches cost.

    python figures/bench/roofline_speed.py --threads 2

Two limits are measured in the same rounds, with the same threads: how many operations a second a plain
float32 matrix product reaches, and how many bytes a second a plain copy moves (read plus written). The
network's operations and bytes are counted (`counting.py`). Bytes above the copy's rate would be no mistake: a
map that fits into the processor's caches never travels to memory (Williams, Waterman and Patterson 2009, doi
10.1145/1498765.1498785).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from counting import count

from course_lib import facenest
from course_lib.training import make_optimizer

KINDS = ("prediction", "training step")
SIDES, BATCHES = (32, 64, 128, 256), (1, 8, 32)
UNDER_ROOF = (64, 128)  # sides that are held against the two limits
BASE = (64, 32)  # side and batch whose cost for each pixel the others are held against


def arithmetic(kind: str, side: int) -> str:
    return f"{kind} at {side} px, batches of {BASE[1]}: operations, against a plain float32 matrix product"


def traffic(kind: str, side: int) -> str:
    return f"{kind} at {side} px, batches of {BASE[1]}: bytes read and written, against a plain copy"


def cost(kind: str, side: int, batch: int) -> str:
    at = f"{BASE[0]} px, batches of {BASE[1]}"
    return (
        f"{kind} at {side} px, batches of {batch}: time of an image, against its pixels at the cost of {at}"
    )


def prediction(side: int, batch: int) -> Callable[[], object]:
    model = facenest().eval().to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    return torch.inference_mode()(lambda: model(x))


def training_step(side: int, batch: int) -> Callable[[], object]:
    model = facenest().train().to(memory_format=torch.channels_last)
    optimiser = make_optimizer(model, 1e-3, 0.05, torch.device("cpu"))
    x = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    y = (torch.arange(batch) % 2).float()

    def work() -> None:
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(x), y).backward()
        optimiser.step()

    return work


def once(work: Callable[[], object], least: float) -> float:
    """Seconds of one call, the mean of as many as take `least` seconds together."""
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < least or not calls:
        work()
        calls += 1
    return passed / calls


def measure(
    runs: int, sides: tuple[int, ...] = SIDES, batches: tuple[int, ...] = BATCHES, matrix: int = 2048,
    copied: int = 2**28, least: float = 0.15,
) -> dict[object, float]:  # fmt: skip
    """Median seconds of each thing: "product", "copy", and (kind, side, batch); all of them in each round."""
    a, b, product = (torch.randn(matrix, matrix) for _ in range(3))
    source, target = torch.zeros(copied // 4), torch.empty(copied // 4)
    things: dict[object, Callable[[], object]] = {
        "product": lambda: torch.mm(a, b, out=product),
        "copy": lambda: target.copy_(source),
    }
    for side in sides:
        for batch in batches:
            things["prediction", side, batch] = prediction(side, batch)
            if batch > 1:  # batch norm cannot learn from one picture
                things["training step", side, batch] = training_step(side, batch)
    for work in things.values():
        work()
    rounds = [{name: once(work, least) for name, work in things.items()} for _ in range(runs)]
    return {name: statistics.median(times[name] for times in rounds) for name in things}


def rows(row, runs: int, matrix: int = 2048, copied: int = 2**28, **settings) -> list[dict]:
    """For bench.json; `row` makes a row. First what is under the roof, then what sides and batches cost."""
    found, made = measure(runs, matrix=matrix, copied=copied, **settings), []
    peak = 2 * matrix**3 / found["product"] / 1e9
    flow = 2 * copied / found["copy"] / 1e9
    for kind in KINDS:
        for side in UNDER_ROOF:
            if (kind, side, BASE[1]) in found:
                operations, moved = count(side, kind == "training step", BASE[1])
                rate = BASE[1] / found[kind, side, BASE[1]] / 1e9
                made.append(row(arithmetic(kind, side), rate * operations, peak, "GFLOP/s", True, runs))
                made.append(row(traffic(kind, side), rate * moved, flow, "GB/s", True, runs))
    for kind in KINDS:
        base = 1000 * found[(kind, *BASE)] / BASE[1]
        for _, side, batch in (name for name in found if name[0] == kind):
            mine, share = 1000 * found[kind, side, batch] / batch, base * (side / BASE[0]) ** 2
            made.append(row(cost(kind, side, batch), mine, share, "ms", False, runs))
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--rounds", type=int, default=5)
    options = options.parse_args()
    torch.set_num_threads(options.threads)

    def told(name, ours, peer, unit, *_):
        return {"name": name, "words": f"{ours:9.3f} {unit}, against {peer:9.3f}"}

    for found in rows(told, options.rounds):
        print(f"{found['words']}   {found['name']}")


if __name__ == "__main__":
    main()
