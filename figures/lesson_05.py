"""Draw figures/lesson_05.svg: seven ingredients of a training, each with a switch."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, ORANGE, arrow, box, save, sheet
from matplotlib.patches import Circle, FancyBboxPatch

INGREDIENTS = [
    ("evidence", "high-pass in front;\ncrop and flip,\nnever blur", BLUE),
    ("first weights", "not too small,\nnot too large:\nσ = √(2/n)", BLUE),
    ("batch norm", "numbers kept\nin size,\nlayer by layer", BLUE),
    ("gradient", "whose fault?\nfrom how many\npictures?", GREEN),
    ("optimiser", "SGD, momentum,\nAdam, AdamW", GREEN),
    ("learning rate", "found by\nexperiment;\none cycle", GREEN),
    ("the end", "read the curves,\nstop in time", ORANGE),
]
PITCH, LEFT = 1.72, 0.25


def draw() -> plt.Figure:
    figure, axis = sheet(12.3, 3.3)
    for place, (title, words, colour) in enumerate(INGREDIENTS):
        x = LEFT + place * PITCH
        box(axis, x, 1.1, 1.42, 1.9, colour)
        axis.text(x + 0.71, 2.72, title, ha="center", va="center", fontsize=13, weight="bold", color=colour)
        axis.text(x + 0.71, 1.85, words, ha="center", va="center", fontsize=10.8, linespacing=1.35)
        if place:
            arrow(axis, (x - 0.25, 2.05), (x - 0.05, 2.05))
        track = FancyBboxPatch(
            (x + 0.26, 0.53),
            0.36,
            0.12,
            boxstyle="round,pad=0.1",
            facecolor="white",
            edgecolor="#333333",
            lw=1.6,
        )
        axis.add_patch(track)
        axis.add_patch(Circle((x + 0.58, 0.59), 0.13, color="#333333"))
        axis.text(x + 0.86, 0.59, "on", fontsize=11.5, va="center")
    words = "each is built from nothing, then switched off: what was it worth?"
    axis.text(12.3 / 2, 0.15, words, ha="center", va="center", fontsize=13)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
