"""Draw figures/lesson_14.svg: four ways to ask a network where, and three tests for the answer."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet
from matplotlib.patches import Ellipse, FancyBboxPatch

QUESTIONS = [
    ("Grad-CAM", "which places push the logit up?"),
    ("occlusion", "what if I cover this window?"),
    ("integrated gradients", "what did each pixel add, coming from grey?"),
    ("attention", "which places were weighed?"),
]
TESTS = [
    ("shuffle the weights", "does the map change?"),
    ("pointing game", "more hits than a fixed place?"),
    ("deletion", "does the logit fall?"),
]


def face(axis: plt.Axes, x: float, y: float) -> None:
    """A head with a dashed outline round the mouth."""
    axis.add_patch(
        FancyBboxPatch((x - 0.85, y - 1.0), 1.7, 2.0, boxstyle="round,pad=0.05", fc="#EEF3F6", ec=GREY)
    )
    axis.add_patch(Ellipse((x, y), 1.15, 1.6, facecolor="white", edgecolor="black", lw=1.5))
    for side in (-0.24, 0.24):
        axis.add_patch(Ellipse((x + side, y + 0.18), 0.2, 0.1, facecolor="black"))
    axis.plot([x, x - 0.08, x + 0.05], [y + 0.1, y - 0.18, y - 0.2], color="black", lw=1.2)
    axis.plot([x - 0.2, x, x + 0.2], [y - 0.42, y - 0.47, y - 0.42], color="black", lw=2)
    axis.add_patch(Ellipse((x, y - 0.43), 0.78, 0.38, fill=False, edgecolor=ORANGE, lw=2, ls="--"))
    axis.text(x, y - 1.27, "re-drawn: known", ha="center", color=ORANGE, fontsize=10.5, weight="bold")


def draw() -> plt.Figure:
    figure, axis = sheet(10.6, 3.5)
    face(axis, 1.05, 1.95)
    axis.text(4.45, 3.22, "four ways to ask where", ha="center", color=BLUE, weight="bold", fontsize=12)
    axis.text(8.95, 3.22, "three tests of the answer", ha="center", color=GREEN, weight="bold", fontsize=12)
    for k, (name, words) in enumerate(QUESTIONS):
        y = 2.45 - 0.72 * k
        box(axis, 2.65, y, 3.6, 0.54, BLUE)
        axis.text(4.45, y + 0.37, name, ha="center", va="center", weight="bold", fontsize=11)
        axis.text(4.45, y + 0.12, words, ha="center", va="center", fontsize=9.5)
        arrow(axis, (1.98, 1.95), (2.6, y + 0.27), color=GREY)
    for k, (name, words) in enumerate(TESTS):
        y = 2.33 - 0.92 * k
        box(axis, 7.55, y, 2.8, 0.62, GREEN)
        axis.text(8.95, y + 0.42, name, ha="center", va="center", weight="bold", fontsize=11)
        axis.text(8.95, y + 0.15, words, ha="center", va="center", fontsize=9.5)
        arrow(axis, (6.75, 1.63), (7.5, y + 0.31), color=GREY)
    axis.plot([6.32, 6.75], [1.63, 1.63], color=GREY, lw=1.4)
    axis.text(6.54, 1.75, "a map", ha="center", fontsize=9.5)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
