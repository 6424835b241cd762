"""What an epoch of the full `rvsf` takes on one GPU: an estimate, and the measurement that checks it.

    python figures/bench/gpu_estimate.py                          writes gpu_estimate.md beside this script
    python figures/bench/gpu_estimate.py --check --root FOLDER    on a machine with CUDA: an epoch, measured

The estimate is lesson 11's: operations and bytes are counted (`counting.py`), the cards' rates are those of
their data sheets, and how fast a CPU core makes crops was measured (data/ablation/training.csv). The check
prints the measured epoch beside the estimate for that card; for a card that is not known here, give its rates
by `--sheet` (operations a second in 16 bits and in 32 bits, bytes a second).
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from counting import count

from course_lib import Preprocessing, facenest, fit, load, pick_device
from course_lib.training import validate

HERE = Path(__file__).resolve().parent
OUT = HERE / "gpu_estimate.md"
TRAIN, VALID, SIDE = 100_000, 20_000, 256  # of rvsf: pictures to learn from, to validate on, pixels wide
REACHED = (0.6, 0.15)  # of the data sheet, at best and at worst
A100 = "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet.pdf"
T4 = (
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/tesla-t4/"
    "t4-tensor-core-datasheet-951643.pdf"
)


@dataclass(frozen=True)
class Card:
    """A second: operations in 16 bits, operations in 32 bits, bytes; and where that is published."""

    half: float
    single: float
    bytes: float
    source: str = ""


CARDS = {
    "T4": Card(65e12, 8.1e12, 320e9, f"[NVIDIA, T4 data sheet]({T4})"),
    "A100": Card(312e12, 19.5e12, 1555e9, f"[NVIDIA, A100 data sheet]({A100}), the card with 40 GB"),
}


@dataclass(frozen=True)
class Plan:
    """A training: what is cut from each picture, and the network's width."""

    words: str
    crop: int
    width: int
    batch: int = 128


PLANS = (
    Plan("as lesson 11's command: crops of 64 px, width 32", 64, 32),
    Plan("the default network on crops of 64 px", 64, 16),
    Plan("the default network on whole pictures", SIDE, 16),
)


def limits(card: Card, plan: Plan, prepared: float) -> dict[str, float]:
    """Training images a second by each of three limits, if the data sheet were reached.

    prepared: crops of 64 px that one CPU core makes in a second; larger ones take it longer by their pixels.
    """
    operations, moved = count(plan.crop, True, width=plan.width)
    return {
        "computing": card.half / operations,
        "memory": card.bytes / (moved / 2),  # 16 bits instead of 32
        "preparation": prepared * (64 / plan.crop) ** 2,
    }


def epoch(card: Card, plan: Plan, prepared: float, reached: float) -> float:
    """Seconds of one epoch: training in 16 bits, then validation on whole pictures in 32."""
    found = limits(card, plan, prepared)
    training = min(reached * min(found["computing"], found["memory"]), found["preparation"])
    operations, moved = count(SIDE, False, width=plan.width)
    judging = reached * min(card.single / operations, card.bytes / moved)
    return TRAIN / training + VALID / judging


def prepared_per_second() -> float:
    """What `python data/recipe/time_training.py` measured: the median of its rows."""
    table = HERE.parents[1] / "data" / "ablation" / "training.csv"
    with table.open(encoding="utf-8", newline="") as file:
        return statistics.median(float(row["prepared_per_second"]) for row in csv.DictReader(file))


def clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def estimate() -> str:
    """The estimate as Markdown."""
    prepared = prepared_per_second()
    lines = [
        "# One epoch of `rvsf` on one GPU: an estimate",
        "",
        f"Nobody has run this yet. `rvsf` has {TRAIN:,} pictures to learn from and {VALID:,} to validate on,",
        f"{SIDE} pixels wide. Section 15 of lesson 11 derives what is computed here; this page is written by",
        "`python figures/bench/gpu_estimate.py`.",
        "",
        "## What one picture asks for, counted",
        "",
        "| training | multiply-accumulates, forwards and backwards | bytes, in 16 bits |",
        "|---|---|---|",
    ]
    for plan in PLANS:
        operations, moved = count(plan.crop, True, width=plan.width)
        lines.append(f"| {plan.words} | {operations / 2e6:,.0f} million | {moved / 2e6:,.0f} million |")
    lines += [
        "",
        "## What a card can do, published",
        "",
        "| card | operations a second, 16 bits | 32 bits | bytes a second | source |",
        "|---|---|---|---|---|",
    ]
    for name, card in CARDS.items():
        rates = f"{card.half / 1e12:g} · 10¹² | {card.single / 1e12:g} · 10¹² | {card.bytes / 1e9:,g} · 10⁹"
        lines.append(f"| {name} | {rates} | {card.source} |")
    best, worst = (f"{100 * reached:.0f} %" for reached in REACHED)
    lines += [
        "",
        "## So an epoch takes",
        "",
        "From left to right: images a second by each limit, as if the data sheet were reached; and the time",
        f"of an epoch with validation, if between {best} and {worst} of the data sheet are reached.",
        "",
        "| training | card | computing | memory | preparation | an epoch |",
        "|---|---|---|---|---|---|",
    ]
    for plan in PLANS:
        for name, card in CARDS.items():
            rates = " | ".join(f"{rate:,.0f}" for rate in limits(card, plan, prepared).values())
            fast, slow = (clock(epoch(card, plan, prepared, reached)) for reached in REACHED)
            times = fast if fast == slow else f"{fast} to {slow}"
            lines.append(f"| {plan.words} | {name} | {rates} | {times} |")
    lines += [
        "",
        "## What is assumed",
        "",
        f"- {best} to {worst} of the data sheet: nobody reaches all of it, since small layers",
        "  leave parts of a card idle. The range is wide, and a guess.",
        "- Training is in 16 bits, which halves the bytes; validation, on whole pictures, is in 32 bits. A",
        "  multiply-accumulate is two operations.",
        f"- One CPU core prepares {prepared:,.0f} crops of 64 px in a second, with light augmentation, as",
        "  measured on a machine of the course (`data/ablation/training.csv`), and larger ones in proportion",
        "  to their pixels. It works beside the card, so the slower of the two counts. The pictures are",
        "  decoded already.",
        "- What starting a program takes, and saving, is left out.",
        "",
        "## Check it",
        "",
        "Who has a GPU runs, after `python -m course_lib data cache rvsf`:",
        "",
        "    python figures/bench/gpu_estimate.py --check",
        "",
        "It trains two epochs, and prints the second one's time beside the estimate for that card.",
    ]
    return "\n".join(lines) + "\n"


def write(out: Path = OUT) -> Path:
    fresh = out.with_name(f".{out.name}.new")
    fresh.write_text(estimate(), encoding="utf-8")
    os.replace(fresh, out)
    return out


# ------------------------------------------------------------------------------------------------- the check
def known(device: str, sheet: list[float] | None) -> Card | None:
    """The card of this name, or one of the rates given; None if neither is known."""
    if sheet:
        return Card(*sheet)
    return next((card for name, card in CARDS.items() if name in device.replace("-", " ").split()), None)


def measure(sets, plan: Plan, device: torch.device) -> float:
    """Seconds of the second of two epochs, and of one validation after it."""
    torch.manual_seed(0)
    model = facenest(width=plan.width)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            model, sets.train, run_dir=folder, epochs=2, batch_size=plan.batch, crop=plan.crop, device=device
        )
    validate(model, sets.valid.subset(range(min(256, len(sets.valid)))), Preprocessing(), plan.batch)
    start = time.perf_counter()
    validate(model, sets.valid, Preprocessing(), plan.batch)
    return float(result.history.seconds.iloc[-1]) + time.perf_counter() - start


def check(
    sets, plan: Plan, device: torch.device, name: str, sheet: list[float] | None = None,
    tell: Callable[[str], object] = print,
) -> None:  # fmt: skip
    """Print one measured epoch beside the estimate."""
    taken, card = measure(sets, plan, device), known(name, sheet)
    tell(f"{name}, {plan.words}, {len(sets.train):,} training pictures")
    tell(f"measured:  an epoch with validation takes {clock(taken)} ({taken:.1f} s)")
    if card is None:
        tell("estimated: nothing, for this card's data sheet is not known here; give it by --sheet")
    else:
        prepared, share = prepared_per_second(), len(sets.train) / TRAIN
        fast, slow = (share * epoch(card, plan, prepared, reached) for reached in REACHED)
        tell(f"estimated: {fast:.1f} s to {slow:.1f} s, so the estimate "
             f"{'holds' if fast <= taken <= slow else 'does not hold'}")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="measure an epoch on this machine's GPU")
    parser.add_argument("--plan", type=int, choices=range(1, len(PLANS) + 1), default=1,
                        help="which training, by its line in the table (default 1)")  # fmt: skip
    parser.add_argument("--root", metavar="FOLDER", help="where rvsf was unpacked; default: download it")
    parser.add_argument("--sheet", type=float, nargs=3, metavar=("OPS16", "OPS32", "BYTES"),
                        help="the card's data sheet, each a second, such as 65e12 8.1e12 320e9")  # fmt: skip
    options = parser.parse_args(arguments)
    if not options.check:
        print(write().read_text(encoding="utf-8"), end="")
        return 0
    if not torch.cuda.is_available():
        print(
            "This check needs a GPU that PyTorch can use through CUDA, and there is none here.",
            file=sys.stderr,
        )
        return 2
    device = pick_device("cuda")
    sets = load("rvsf", options.root, cache="disk")
    check(sets, PLANS[options.plan - 1], device, torch.cuda.get_device_name(device), options.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
