"""Draw figures/lesson_05_accumulation.svg: eight gradients, of which seven are thrown away, or none."""

import math

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, save, sheet

ANGLES = (62, 18, 95, 40, -12, 75, 30, 118)  # degrees: eight gradients of one slope, trembling
LENGTHS = (0.62, 0.75, 0.55, 0.7, 0.6, 0.65, 0.78, 0.66)
STEP = 1.12  # from one batch to the next


def gradient(axis: plt.Axes, x: float, y: float, angle: float, length: float, **options) -> None:
    dx, dy = length * math.cos(math.radians(angle)), length * math.sin(math.radians(angle))
    arrow(axis, (x - dx / 2, y - dy / 2), (x + dx / 2, y + dy / 2), **{"lw": 2.4, **options})


def row(axis: plt.Axes, y: float, title: str, words: str, lost: bool) -> None:
    colour = ORANGE if lost else GREEN
    axis.text(0.3, y + 1.0, title, fontsize=13.5, weight="bold", color=colour, va="center")
    axis.text(0.3 + (2.75 if lost else 2.4), y + 1.0, words, fontsize=12, va="center")
    for number, (angle, length) in enumerate(zip(ANGLES, LENGTHS, strict=True)):
        x = 0.8 + number * STEP
        gone = lost and number < 7
        gradient(axis, x, y + 0.1, angle, length, color=GREY if gone else BLUE, alpha=0.55 if gone else 1)
        if gone:
            for sign in (1, -1):
                axis.plot(
                    [x - 0.3, x + 0.3], [y + 0.1 - 0.3 * sign, y + 0.1 + 0.3 * sign], color=ORANGE, lw=2
                )
        axis.text(x, y - 0.55, f"batch {number + 1}", ha="center", va="center", fontsize=11)
    end = 0.8 + 8 * STEP
    arrow(axis, (end - 0.62, y + 0.1), (end - 0.12, y + 0.1))
    if lost:
        angle, length, below = ANGLES[-1], LENGTHS[-1], "step: 4 pictures"
    else:
        dx = sum(n * math.cos(math.radians(a)) for a, n in zip(ANGLES, LENGTHS, strict=True)) / 8
        dy = sum(n * math.sin(math.radians(a)) for a, n in zip(ANGLES, LENGTHS, strict=True)) / 8
        angle, length, below = math.degrees(math.atan2(dy, dx)), math.hypot(dx, dy), "step: 32 pictures"
    gradient(axis, end + 0.45, y + 0.1, angle, length, color=colour, lw=4)
    axis.text(end + 0.45, y - 0.55, below, ha="center", va="center", fontsize=12, weight="bold", color=colour)


def draw() -> plt.Figure:
    figure, axis = sheet(11.1, 4.2)
    row(
        axis,
        2.85,
        "what was published",
        "zero_grad() after every batch, step() after every eighth",
        lost=True,
    )
    row(axis, 0.75, "what was meant", "each loss divided by 8, zero_grad() only after the step", lost=False)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
