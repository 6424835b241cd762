"""Draw figures/roofline.svg from figures/bench/bench.json: `python figures/bench/run_bench.py --table`.

On the left the roofline: how many operations a second are possible at so many operations for each byte, and
where the network is. On the right what a picture costs, by side and batch.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, save

BENCH = Path(__file__).resolve().parent / "bench"
sys.path.insert(0, str(BENCH))

import roofline_speed as measured  # noqa: E402

LOOKS = {1: (ORANGE, "o", "-"), 8: (GREEN, "s", "--"), 32: (BLUE, "^", "-.")}  # by batch
MARKS = {"prediction": "o", "training step": "s"}


def read(rows: list[dict]) -> dict | None:
    """{"peak", "flow", "points": {(kind, side): (operations, bytes, a second, in 10^9)}, "cost": {(kind,
    side, batch): ms}}; None where the rows of the part `roofline` are not there."""
    by_name = {row["name"]: row for row in rows}
    points, cost, roofs = {}, {}, set()
    for kind in measured.KINDS:
        for side in measured.UNDER_ROOF:
            pair = [by_name.get(name(kind, side)) for name in (measured.arithmetic, measured.traffic)]
            if None not in pair:
                points[kind, side] = (pair[0]["ours"], pair[1]["ours"])
                roofs.add((pair[0]["peer"], pair[1]["peer"]))
        for side in measured.SIDES:
            for batch in measured.BATCHES:
                if row := by_name.get(measured.cost(kind, side, batch)):
                    cost[kind, side, batch] = row["ours"]
    if not points or not cost:
        return None
    ((peak, flow),) = roofs
    return {"peak": peak, "flow": flow, "points": points, "cost": cost}


def words(found: dict) -> str:
    """What the drawing shows, in numbers."""
    shares, lines = [], []
    for (kind, side), (ours, moved) in found["points"].items():
        roof = min(found["peak"], ours / moved * found["flow"])
        shares.append(f"{kind} at {side} px {ours:.0f}, that is {100 * ours / roof:.0f} %")
    for kind, batch in dict.fromkeys((kind, batch) for kind, _, batch in found["cost"]):
        times = [(side, found["cost"].get((kind, side, batch))) for side in measured.SIDES]
        told = ", ".join(f"{float(f'{ms:.2g}'):g} at {side} px" for side, ms in times if ms is not None)
        lines.append(f"{kind}, batches of {batch}: {told}")
    return (
        f"Two panels with logarithmic axes. Left, the roofline: a slope, a plain copy at "
        f"{found['flow']:.0f} GB/s, that ends in a flat roof, a float32 matrix product at "
        f"{found['peak']:.0f} GFLOP/s; and points for FaceNeSt, in GFLOP/s and as a share of the roof above: "
        f"{', '.join(shares)}. Right, lines for the milliseconds of one picture by its side. "
        f"{'; '.join(lines)}."
    )


def draw(found: dict) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4))
    peak, flow = found["peak"], found["flow"]
    intensities = [ours / moved for ours, moved in found["points"].values()]
    span = (min([peak / flow, *intensities]) / 4, max([peak / flow, *intensities]) * 3)
    left.plot([span[0], peak / flow, span[1]], [span[0] * flow, peak, peak], color=GREY, lw=2)
    left.text(
        span[1] / 1.05,
        peak * 1.25,
        f"matrix product: {peak:.0f} GFLOP/s",
        ha="right",
        va="bottom",
        color=GREY,
    )
    left.text(
        span[0] * 1.15, span[0] * flow * 0.62, f"copy: {flow:.0f} GB/s", ha="left", va="top", color=GREY
    )
    for (kind, side), (ours, moved) in found["points"].items():
        colour = BLUE if side == measured.UNDER_ROOF[0] else ORANGE
        left.plot(ours / moved, ours, MARKS[kind], color=colour, ms=8, label=f"{kind}, {side} px: {ours:.0f}")
    left.set(xscale="log", yscale="log", xlim=span, ylim=(span[0] * flow / 2, peak * 2))
    for axis, (low, high) in ((left.xaxis, left.get_xlim()), (left.yaxis, left.get_ylim())):
        axis.set_ticks(
            marks := [2**n for n in range(-10, 20) if low <= 2**n <= high], [f"{m:g}" for m in marks]
        )
    left.minorticks_off()
    left.set(xlabel="operations for each byte (counted)", ylabel="GFLOP/s (measured)")
    left.set_title("How near to what the processor can do")
    left.legend(loc="lower right", fontsize=9)
    for kind, width in (("prediction", 1.2), ("training step", 2.6)):
        for batch in measured.BATCHES:
            line = [(s, found["cost"].get((kind, s, batch))) for s in measured.SIDES]
            line = [(side, ms) for side, ms in line if ms is not None]
            if line:
                colour, mark, style = LOOKS[batch]
                label = f"{kind}, batches of {batch}"
                right.plot(*zip(*line, strict=True), mark + style, color=colour, lw=width, ms=6, label=label)
    sides = [side for side in measured.SIDES if any(side == name[1] for name in found["cost"])]
    right.set(xscale="log", yscale="log", xlabel="side in pixels", ylabel="ms for one picture")
    right.set_xticks(sides, [str(side) for side in sides])
    low, high = right.get_ylim()
    times = [ms for ms in (0.01, 0.1, 1, 10, 100, 1000) if low <= ms <= high]
    right.set_yticks(times, [f"{ms:g}" for ms in times])
    right.minorticks_off()
    right.set_title("What a picture costs")
    right.legend(loc="upper left", fontsize=9)
    figure.tight_layout()
    return figure


def write(rows: list[dict]) -> None:
    found = read(rows)
    if found is None:
        raise SystemExit(
            "bench.json has no rows for this drawing: figures/bench/run_bench.py --only roofline"
        )
    figure = draw(found)
    save(figure, __file__)
    plt.close(figure)


if __name__ == "__main__":
    write(json.loads((BENCH / "bench.json").read_text(encoding="utf-8"))["rows"])
