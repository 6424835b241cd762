"""Draw figures/lesson_07.svg: squeeze, weigh, multiply; and the three kinds of gate."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, grid, save, sheet

MAPS = ([[4, 0], [2, 2]], [[1, -1], [-1, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 4]])
MEANS, WEIGHTS = ("2", "0", "1", "1"), ("1", "0.5", "0", "0.5")
AFTER = ([[4, 0], [2, 2]], [[0.5, -0.5], [-0.5, 0.5]], [[0, 0], [0, 0]], [[0, 0], [0, 2]])
SHARES = ((0.64, 0.04, 0.16, 0.16), (0.25,) * 4, (0.44, 0.11, 0.22, 0.22), (0.44, 0.11, 0.22, 0.22))
ROWS = [6.55, 5.55, 4.55, 3.55]  # the middle of each channel


def four_maps(axis: plt.Axes, x: float, maps, title: str) -> None:
    axis.text(x + 0.42, 7.18, title, fontsize=12.5, ha="center", weight="bold")
    for y, numbers in zip(ROWS, maps, strict=True):
        grid(axis, x, y - 0.42, numbers, 0.42, GREY, fontsize=10)


def column(axis: plt.Axes, x: float, numbers, title: str, colour: str) -> None:
    axis.text(x, 7.18, title, fontsize=12.5, ha="center", weight="bold", color=colour)
    for y, number in zip(ROWS, numbers, strict=True):
        axis.add_patch(plt.Circle((x, y), 0.3, facecolor="white", edgecolor=colour, lw=2))
        axis.text(x, y, number, fontsize=12.5, ha="center", va="center")


def above(axis: plt.Axes) -> None:
    for y, name in zip(ROWS, "ABCD", strict=True):
        axis.text(0.35, y, name, fontsize=14, ha="center", va="center")
        arrow(axis, (1.75, y), (3.0, y))
        arrow(axis, (3.75, y), (4.95, y))
        arrow(axis, (6.75, y), (7.95, y))
        arrow(axis, (8.7, y), (10.25, y))
    four_maps(axis, 0.75, MAPS, "channels")
    axis.text(2.35, 7.18, "mean", fontsize=12, ha="center", style="italic")
    column(axis, 3.37, MEANS, "pooled", BLUE)
    box(axis, 5.0, 3.2, 1.7, 3.7, ORANGE)
    axis.text(5.85, 5.25, "gate", fontsize=16, ha="center", va="center", weight="bold", color=ORANGE)
    axis.text(5.85, 4.65, "which one?\nsee below", fontsize=11.5, ha="center", va="center")
    column(axis, 8.32, WEIGHTS, "weights", ORANGE)
    axis.text(9.5, 7.18, "times", fontsize=12, ha="center", style="italic")
    four_maps(axis, 10.35, AFTER, "re-weighted")
    words = ("as it was", "halved", "silenced", "halved")
    for y, word in zip(ROWS, words, strict=True):
        axis.text(11.4, y, word, fontsize=11.5, va="center")


def dots(axis: plt.Axes, x: float, ys, colour: str) -> None:
    for y in ys:
        axis.add_patch(plt.Circle((x, y), 0.13, facecolor="white", edgecolor=colour, lw=2, zorder=3))


def lines(axis: plt.Axes, pairs, colour: str) -> None:
    for (x0, y0), (x1, y1) in pairs:
        axis.plot([x0, x1], [y0, y1], color=colour, lw=1.2, zorder=1)


def below(axis: plt.Axes) -> None:
    ys = [1.95, 1.45, 0.95, 0.45]
    names = ("squeeze-and-excitation", "local (ECA)", "global")
    notes = ("all → two → all", "each from itself and its neighbours", "who listens to whom: 4×4 shares")
    for left, name, note in zip((0.35, 4.65, 8.75), names, notes, strict=True):
        axis.text(left, 2.72, name, fontsize=13, weight="bold")
        axis.text(left, 2.36, note, fontsize=11.5)
    middle = [1.6, 0.8]
    x0, x1, x2 = 0.75, 1.9, 3.05
    lines(axis, [((x0, a), (x1, b)) for a in ys for b in middle], GREEN)
    lines(axis, [((x1, b), (x2, a)) for a in ys for b in middle], GREEN)
    dots(axis, x0, ys, BLUE), dots(axis, x1, middle, GREEN), dots(axis, x2, ys, ORANGE)
    x0, x1 = 5.15, 6.85
    lines(axis, [((x0, a), (x1, b)) for a in ys for b in ys if abs(a - b) < 0.6], GREEN)
    dots(axis, x0, ys, BLUE), dots(axis, x1, ys, ORANGE)
    x0, x1 = 9.05, 11.9
    dots(axis, x0, ys, BLUE), dots(axis, x1, ys, ORANGE)
    arrow(axis, (9.25, 1.2), (9.5, 1.2))
    arrow(axis, (11.45, 1.2), (11.7, 1.2))
    shade = plt.get_cmap("Greens")
    grid(
        axis, 9.6, 0.4, [[f"{s:.2f}" for s in row] for row in SHARES], 0.43,
        fill=lambda r, c: shade(0.75 * SHARES[r][c]), fontsize=8.5,
    )  # fmt: skip


def draw() -> plt.Figure:
    figure, axis = sheet(12.6, 7.6)
    above(axis)
    axis.plot([0.2, 12.4], [3.02, 3.02], color="#BBBBBB", lw=1)
    below(axis)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
