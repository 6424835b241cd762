"""Draw figures/lesson_09.svg: four scales, four vectors, four weights, one sum; who decides the weights."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

SHARES = (0.2, 0.2, 0.4, 0.2)


def feature_map(axis: plt.Axes, x: float, y: float, places: int, layers: int) -> None:
    """A stack of ``layers`` maps, each ``places`` × ``places``."""
    side = 0.72
    for layer in reversed(range(layers)):
        corner = (x + 0.07 * layer, y + 0.05 * layer)
        axis.add_patch(plt.Rectangle(corner, side, side, facecolor="#CFE3F2", edgecolor=BLUE, lw=1))
    for i in range(1, places):
        step = side * i / places
        axis.plot([x + step, x + step], [y, y + side], color=BLUE, lw=0.4)
        axis.plot([x, x + side], [y + step, y + step], color=BLUE, lw=0.4)


def row(axis: plt.Axes, i: int) -> None:
    y = 4.35 - 1.15 * i
    axis.text(0.1, y + 0.36, f"scale {i + 1}", fontsize=12, weight="bold", color=BLUE, va="center")
    feature_map(axis, 1.0, y, 16 // 2**i, i + 1)
    arrow(axis, (2.05, y + 0.36), (2.95, y + 0.36))
    axis.text(2.48, y + 0.43, "mean", fontsize=10.5, ha="center", va="bottom")
    length = 0.22 + 0.17 * i
    axis.add_patch(plt.Rectangle((3.05, y + 0.36 - length / 2), 0.16, length, fc="#CFE3F2", ec=BLUE, lw=1))
    arrow(axis, (3.3, y + 0.36), (4.2, y + 0.36))
    axis.text(3.73, y + 0.43, "linear", fontsize=10.5, ha="center", va="bottom")
    for cell in range(4):
        place = (4.3 + 0.17 * cell, y + 0.27)
        axis.add_patch(plt.Rectangle(place, 0.17, 0.18, facecolor="#D7EDE6", edgecolor=GREEN, lw=1))
    arrow(axis, (5.05, y + 0.36), (6.85, y + 0.36))
    share = SHARES[i]
    axis.add_patch(plt.Circle((7.1, y + 0.36), 0.2, facecolor="white", edgecolor=ORANGE, lw=2))
    axis.text(7.1, y + 0.35, "×", fontsize=15, ha="center", va="center", color=ORANGE)
    axis.add_patch(plt.Rectangle((7.0, y + 0.62), 1.5 * share, 0.14, facecolor=ORANGE, edgecolor="none"))
    axis.text(6.94, y + 0.69, f"{share:g}", fontsize=11, ha="right", va="center", color=ORANGE)
    arrow(axis, (7.33, y + 0.36), (8.62, 2.72 + 0.08 * (1.5 - i)))


def draw() -> plt.Figure:
    figure, axis = sheet(13.6, 5.6)
    for i in range(4):
        row(axis, i)
    box(axis, 5.35, 0.75, 1.1, 4.45, ORANGE, facecolor="#FFF6EE")
    axis.text(5.9, 3.05, "who\ndecides\nthe\nweights?", fontsize=12, ha="center", va="center", color=ORANGE)
    axis.add_patch(plt.Circle((8.87, 2.72), 0.22, facecolor="white", edgecolor=GREEN, lw=2))
    axis.text(8.87, 2.71, "+", fontsize=16, ha="center", va="center", color=GREEN)
    arrow(axis, (9.12, 2.72), (9.55, 2.72))
    axis.text(9.62, 2.72, "head", fontsize=12, va="center")
    axis.text(0.1, 0.28, "fine, few channels, sees near … coarse, many channels, sees far", fontsize=11)
    axis.text(5.35, 0.28, "four weights that add up to 1", fontsize=11, color=ORANGE)
    axis.plot([10.25, 10.25], [0.4, 5.3], color="#BBBBBB", lw=1)
    words = [
        ("static", GREY, "four free numbers,\nthe same for every image"),
        ("softmax", BLUE, "four numbers that add up\nto 1, the same for every image"),
        ("dynamic", ORANGE, "a small network looks at\nthe four vectors of this image"),
    ]
    for i, (name, colour, text) in enumerate(words):
        y = 4.75 - 1.6 * i
        axis.text(10.5, y, name, fontsize=13.5, weight="bold", color=colour, va="center")
        axis.text(10.5, y - 0.52, text, fontsize=11.5, va="center", linespacing=1.35)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
