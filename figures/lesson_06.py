"""Draw figures/lesson_06.svg: a plain chain, a chain with an identity path, and the residual block."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

BOXES = (1.55, 3.35, 5.15)  # left edges of f1, f2, f3


def plain_chain(axis: plt.Axes, y: float) -> None:
    axis.text(
        0.3, y + 1.0, "plain: each box replaces what comes in", fontsize=13, weight="bold", color=ORANGE
    )
    axis.text(0.55, y, "x", fontsize=15, ha="center", va="center")
    axis.text(7.35, y, "y", fontsize=15, ha="center", va="center")
    starts = [0.75, *(left + 0.95 for left in BOXES)]
    ends = [*BOXES, 7.15]
    for start, end in zip(starts, ends, strict=True):
        arrow(axis, (start, y), (end, y))
    for i, left in enumerate(BOXES, start=1):
        box(axis, left + 0.03, y - 0.35, 0.85, 0.7, ORANGE)
        axis.text(left + 0.45, y, f"f{'₁₂₃'[i - 1]}", fontsize=15, ha="center", va="center")
    for place, number in zip((1.15, 2.93, 4.73, 6.6), ("0.125", "0.25", "0.5", "1"), strict=True):
        axis.text(place, y - 0.62, number, fontsize=12.5, ha="center", va="center", color=ORANGE)
    arrow(axis, (7.1, y - 0.92), (0.75, y - 0.92), color=ORANGE, linestyle="--")
    axis.text(3.95, y - 1.15, "gradient, times 0.5 in each box", fontsize=11.5, ha="center", va="center")


def residual_chain(axis: plt.Axes, y: float) -> None:
    axis.text(0.3, y + 0.85, "residual: each box adds to it", fontsize=13, weight="bold", color=GREEN)
    axis.text(0.55, y, "x", fontsize=15, ha="center", va="center")
    axis.text(7.35, y, "y", fontsize=15, ha="center", va="center")
    arrow(axis, (0.75, y), (7.15, y), color=GREEN, lw=4)
    axis.text(3.95, y + 0.4, "identity path: gradient 1, all the way", fontsize=12, ha="center", color=GREEN)
    for i, left in enumerate(BOXES, start=1):
        plus = left + 1.2
        box(axis, left + 0.03, y - 1.3, 0.85, 0.6, GREY)
        axis.text(left + 0.45, y - 1.0, f"f{'₁₂₃'[i - 1]}", fontsize=15, ha="center", va="center")
        axis.plot([left - 0.2, left - 0.2], [y, y - 1.0], color="#333333", lw=1.4)
        arrow(axis, (left - 0.2, y - 1.0), (left + 0.02, y - 1.0))
        axis.plot([left + 0.91, plus], [y - 1.0, y - 1.0], color="#333333", lw=1.4)
        arrow(axis, (plus, y - 1.0), (plus, y - 0.13))
        plus_sign(axis, plus, y)


def plus_sign(axis: plt.Axes, x: float, y: float) -> None:
    axis.add_patch(plt.Circle((x, y), 0.17, facecolor="white", edgecolor=GREEN, lw=2, zorder=3))
    axis.plot([x - 0.09, x + 0.09], [y, y], color=GREEN, lw=2, zorder=4)
    axis.plot([x, x], [y - 0.09, y + 0.09], color=GREEN, lw=2, zorder=4)


def block(axis: plt.Axes, x: float) -> None:
    axis.text(x - 0.35, 5.62, "the block", fontsize=13, weight="bold", color=BLUE)
    parts = ["conv 3×3", "batch norm", "ReLU", "conv 3×3", "batch norm, γ = 0"]
    colours = [BLUE, GREY, GREY, BLUE, GREY]
    for i, (words, colour) in enumerate(zip(parts, colours, strict=True)):
        y = 0.95 + 0.7 * i
        box(axis, x, y, 1.9, 0.4, colour)
        axis.text(x + 0.95, y + 0.2, words, fontsize=11.5, ha="center", va="center")
        arrow(axis, (x + 0.95, y - 0.27), (x + 0.95, y - 0.02))
    axis.text(x + 0.95, 0.38, "x", fontsize=15, ha="center", va="center")
    top = 0.95 + 0.7 * 4 + 0.4
    plus_sign(axis, x + 0.95, top + 0.45)
    arrow(axis, (x + 0.95, top + 0.03), (x + 0.95, top + 0.29))
    arrow(axis, (x + 0.95, top + 0.61), (x + 0.95, top + 0.87))
    axis.text(x + 0.95, top + 1.03, "ReLU", fontsize=11.5, ha="center", va="center")
    side = x + 2.5
    axis.plot([x + 1.1, side, side], [0.38, 0.38, top + 0.45], color=GREEN, lw=3)
    arrow(axis, (side, top + 0.45), (x + 1.12, top + 0.45), color=GREEN, lw=3)
    axis.text(
        side + 0.15, 2.65, "shortcut:\nx as it is,\nor, where the\nshape changes:\nmean of 2×2,\n"
        "1×1 conv,\nbatch norm", fontsize=11.5, va="center", linespacing=1.35, color=GREEN,
    )  # fmt: skip


def draw() -> plt.Figure:
    figure, axis = sheet(12.6, 5.9)
    plain_chain(axis, 4.55)
    residual_chain(axis, 1.75)
    axis.plot([7.75, 7.75], [0.2, 5.7], color="#BBBBBB", lw=1)
    block(axis, 8.45)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
