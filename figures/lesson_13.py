"""Draw figures/lesson_13.svg: three ways to break a detector. Run it again to get the same file."""

import matplotlib.pyplot as plt
import numpy as np
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet


def words(axis: plt.Axes, x: float, y: float, text: str, **options) -> None:
    axis.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 10, **options})


def files(axis: plt.Axes) -> None:
    """Left: real pictures as JPEG, fakes as PNG; saved alike the score is gone."""
    words(axis, 1.65, 3.62, "Which file?", weight="bold", fontsize=12)
    for y, colour, kind, ending in ((2.75, BLUE, "real", ".jpg"), (1.95, ORANGE, "fake", ".png")):
        box(axis, 0.1, y - 0.24, 0.95, 0.48, colour)
        words(axis, 0.575, y, f"{kind} {ending}", color=colour, weight="bold")
        arrow(axis, (1.1, y), (1.62, 2.35 + 0.15 * np.sign(y - 2.35)))
    box(axis, 1.68, 2.1, 1.0, 0.5, GREEN)
    words(axis, 2.18, 2.35, "AUC 1.00", color=GREEN, weight="bold")
    words(axis, 1.65, 1.35, "saved alike:", fontsize=9.5)
    for y, colour, kind in ((1.0, BLUE, "real"), (0.45, ORANGE, "fake")):
        box(axis, 0.1, y - 0.2, 0.95, 0.4, colour)
        words(axis, 0.575, y, f"{kind} .jpg", color=colour, weight="bold")
        arrow(axis, (1.1, y), (1.62, 0.72 + 0.1 * np.sign(y - 0.72)))
    box(axis, 1.68, 0.47, 1.0, 0.5, GREY)
    words(axis, 2.18, 0.72, "AUC 0.50", color=GREY, weight="bold")


def way(axis: plt.Axes) -> None:
    """Middle: a chain of things that happen, and the curve that falls."""
    words(axis, 5.05, 3.62, "What happened on the way?", weight="bold", fontsize=12)
    for i, name in enumerate(("JPEG", "blur", "noise", "smaller", "turned")):
        x = 3.35 + 0.71 * i
        box(axis, x, 2.8, 0.56, 0.36, GREY, lw=1.5)
        words(axis, x + 0.28, 2.98, name, fontsize=8.5)
        if i:
            arrow(axis, (x - 0.14, 2.98), (x - 0.02, 2.98))
    left, low, wide, high = 3.8, 0.55, 2.7, 1.75
    arrow(axis, (left, low), (left, low + high + 0.15))
    arrow(axis, (left, low), (left + wide + 0.2, low))
    t = np.linspace(0, 1, 40)
    curve = 0.5 + 0.5 / (1 + np.exp(9 * (t - 0.55)))
    y = low + high * (curve - 0.4) / 0.62
    band = 0.05 + 0.12 * t
    axis.fill_between(left + wide * t, y - band, y + band, color=GREEN, alpha=0.2, lw=0)
    axis.plot(left + wide * t, y, color=GREEN, lw=2)
    guess = low + high * 0.1 / 0.62
    axis.plot([left, left + wide], [guess, guess], ":", color="black", lw=0.9)
    words(axis, left + 0.5, guess + 0.12, "guessing", fontsize=8.5)
    words(axis, left - 0.2, low + high, "1", fontsize=9)
    words(axis, left - 0.26, guess, "0.5", fontsize=9)
    words(axis, left + wide / 2, 0.3, "mild → strong", fontsize=9.5)
    words(axis, left - 0.33, low + high / 2 + 0.15, "AUC", fontsize=9.5, rotation=90)


def whose(axis: plt.Axes) -> None:
    """Right: the matrix of generators."""
    words(axis, 8.6, 3.62, "Whose fakes?", weight="bold", fontsize=12)
    left, top, cell = 7.9, 2.75, 0.62
    for r in range(3):
        words(axis, left - 0.42, top - cell * (r + 0.5), f"from {'ABC'[r]}", fontsize=9.5)
        words(axis, left + cell * (r + 0.5), top + 0.16, f"{'ABC'[r]}", fontsize=9.5)
        for c in range(3):
            place = (left + cell * c, top - cell * (r + 1))
            face = GREEN if r == c else "#E4E4E4"
            axis.add_patch(plt.Rectangle(place, cell, cell, facecolor=face, edgecolor="white", lw=2))
            middle = (place[0] + cell / 2, place[1] + cell / 2)
            ink = "white" if r == c else "black"
            words(axis, *middle, "seen" if r == c else "?", color=ink, fontsize=10)
    words(axis, left + 1.5 * cell, top + 0.42, "judged on", fontsize=9.5)
    words(axis, left + 0.9, 0.52, "one generator in training,\nothers in the world", fontsize=9.5)


def draw() -> plt.Figure:
    figure, axis = sheet(10, 3.9)
    files(axis)
    way(axis)
    whose(axis)
    for x in (3.05, 7.02):
        axis.plot([x, x], [0.2, 3.7], color="#CCCCCC", lw=1)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
