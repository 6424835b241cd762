"""Draw figures/lesson_11.svg: the seven stations of one training step. Run it again to get the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, ORANGE, arrow, save
from matplotlib.patches import FancyBboxPatch

STATIONS = [
    ("crop", "64×64 pixels,\nnot resized", BLUE),
    ("normalise", "0…255\n→ −2…2", BLUE),
    ("network", "FaceNeSt", GREEN),
    ("logit", "one number:\nhow fake?", GREEN),
    ("loss", "how wrong?", ORANGE),
    ("gradient", "whose fault?\nclipped", ORANGE),
    ("step", "a little better", ORANGE),
]


def draw() -> plt.Figure:
    figure, axis = plt.subplots(figsize=(10, 2.6))
    axis.set(xlim=(-0.6, 6.6), ylim=(-1.0, 1.05))
    axis.axis("off")
    for place, (title, words, colour) in enumerate(STATIONS):
        box = FancyBboxPatch(
            (place - 0.37, -0.42),
            0.74,
            0.95,
            boxstyle="round,pad=0.03",
            facecolor="white",
            edgecolor=colour,
            lw=2,
        )
        axis.add_patch(box)
        axis.text(place, 0.36, title, ha="center", va="center", weight="bold", color=colour, fontsize=12)
        axis.text(place, -0.06, words, ha="center", va="center", fontsize=9.5, linespacing=1.4)
        if place:
            arrow(axis, (place - 0.6, 0.06), (place - 0.4, 0.06))
    arrow(axis, (6, -0.46), (2, -0.46), connectionstyle="arc3,rad=-0.14")
    axis.text(4, -0.93, "new weights; then the next 32 crops", ha="center", va="center", fontsize=10)
    axis.text(0.5, 0.85, "data", color=BLUE, weight="bold", ha="center")
    axis.text(2.5, 0.85, "forward", color=GREEN, weight="bold", ha="center")
    axis.text(5, 0.85, "backward", color=ORANGE, weight="bold", ha="center")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
