"""Draw figures/lesson_08.svg: the local fields, a place that asks 4×4 cells, and the three streams."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

CELL = 0.3


def local(axis: plt.Axes, x: float, y: float) -> None:
    """Seven by seven pixels; the taps of each dilation have a mark of their own."""
    axis.text(x, y + 3.1, "local: its neighbourhood", fontsize=13, weight="bold", color=BLUE)
    for r in range(7):
        for c in range(7):
            place = (x + c * CELL * 1.3, y + (6 - r) * CELL * 1.3)
            side = CELL * 1.3
            tap = [d for d in (1, 2, 3) if {abs(r - 3), abs(c - 3)} <= {0, d}]
            face = "#CFE3F2" if tap else "white"
            axis.add_patch(plt.Rectangle(place, side, side, facecolor=face, edgecolor="#AAAAAA", lw=0.8))
            words = "1 2 3" if len(tap) == 3 else str(tap[0]) if tap else ""
            size = 8 if len(tap) == 3 else 12
            axis.text(
                place[0] + side / 2, place[1] + side / 2, words, ha="center", va="center", fontsize=size
            )
    axis.text(x, y - 0.33, "three 3×3, taps 1, 2 and 3 apart:\n25 of 49 pixels", fontsize=11.5, va="top")


def wide(axis: plt.Axes, x: float, y: float) -> None:
    """A fine map on the left, its 4×4 cells on the right; one place asks all cells."""
    axis.text(x, y + 3.1, "global: everywhere", fontsize=13, weight="bold", color=ORANGE)
    small, cells = 0.17, (x + 2.2, y + 0.55)
    for r in range(16):
        for c in range(16):
            chosen = (r, c) == (9, 4)
            corner, face = (x + c * small, y + (15 - r) * small), ORANGE if chosen else "white"
            axis.add_patch(plt.Rectangle(corner, small, small, lw=0.4, edgecolor="#AAAAAA", facecolor=face))
    side = 0.42
    strength = {(0, 3): 0.9, (2, 1): 0.5, (1, 0): 0.25}
    for r in range(4):
        for c in range(4):
            alpha = strength.get((r, c), 0.05)
            corner = (cells[0] + c * side + 0.65, cells[1] + (3 - r) * side)
            axis.add_patch(plt.Rectangle(corner, side, side, facecolor="white", edgecolor=GREY, lw=1))
            axis.add_patch(plt.Rectangle(corner, side, side, facecolor=ORANGE, alpha=alpha, lw=0))
    start = (x + 5 * small, y + 6.5 * small)
    for (r, c), alpha in strength.items():
        end = (cells[0] + c * side + 0.65 + 0.1, cells[1] + (3 - r) * side + side / 2)
        arrow(axis, start, end, color=ORANGE, lw=1 + 2.5 * alpha)
    axis.text(x, y - 0.33, "every place asks;\na 4×4 summary answers", fontsize=11.5, va="top")
    axis.text(cells[0] + 0.65, cells[1] - 0.25, "means of 4×4 places", fontsize=9.5, va="center", color=GREY)


def streams(axis: plt.Axes, x: float, y: float) -> None:
    axis.text(x, y + 3.1, "three streams, mixed", fontsize=13, weight="bold", color=GREEN)
    rows = [("1", "w₀", GREY), ("(2 lc) · (2 ls)", "w₁", BLUE), ("(2 gc) · (2 gs)", "w₂", ORANGE)]
    for i, (words, weight, colour) in enumerate(rows):
        height = y + 2.2 - 0.8 * i
        box(axis, x + 0.03, height, 1.75, 0.45, colour)
        axis.text(x + 0.9, height + 0.22, words, ha="center", va="center", fontsize=12)
        arrow(axis, (x + 1.83, height + 0.22), (x + 2.72, y + 1.62))
        axis.text(x + 2.02, height + 0.34 - 0.1 * i, weight, fontsize=12, color=colour, va="bottom")
    axis.add_patch(plt.Circle((x + 2.95, y + 1.62), 0.2, facecolor="white", edgecolor=GREEN, lw=2))
    axis.text(x + 2.95, y + 1.61, "+", fontsize=15, ha="center", va="center", color=GREEN)
    axis.text(x + 2.95, y + 1.97, "0 to 4", fontsize=10.5, ha="center", color=GREEN)
    arrow(axis, (x + 3.17, y + 1.62), (x + 3.6, y + 1.62))
    axis.add_patch(plt.Circle((x + 3.83, y + 1.62), 0.2, facecolor="white", edgecolor=GREEN, lw=2))
    axis.text(x + 3.83, y + 1.61, "×", fontsize=15, ha="center", va="center", color=GREEN)
    arrow(axis, (x + 3.83, y + 0.55), (x + 3.83, y + 1.4))
    axis.text(x + 3.83, y + 0.35, "x, once", fontsize=12, ha="center", va="center")
    arrow(axis, (x + 4.05, y + 1.62), (x + 4.45, y + 1.62))
    axis.text(x + 4.5, y + 1.62, "out", fontsize=12, va="center")
    axis.text(
        x, y - 0.33, "each map lies in 0…1; 0.5 means “no change”:\na fresh layer is the identity",
        fontsize=11.5, va="top",
    )  # fmt: skip


def draw() -> plt.Figure:
    figure, axis = sheet(13.8, 4.9)
    local(axis, 0.35, 1.1)
    wide(axis, 3.75, 1.1)
    streams(axis, 8.85, 1.1)
    for x in (3.4, 8.55):
        axis.plot([x, x], [0.3, 4.6], color="#BBBBBB", lw=1)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
