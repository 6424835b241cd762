"""Draw figures/lesson_02.svg: two classes framed differently, and what a thumbnail makes of them.

The people are two ellipses each, placed by seed; the mosaics are their true means over 8×8 blocks.
"""

import numpy as np
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet
from matplotlib.patches import Ellipse, Rectangle

SIDE = 64
ROWS = [("real: cropped tight", BLUE, 1.7, 3.0), ("fake: framed wide", ORANGE, 1.0, 1.05)]


def person(random: np.random.Generator, zoom: float) -> tuple[dict, dict]:
    """Head and shoulders as ellipses in a frame of width 1: centre, width, height, grey."""
    dx, dy, size = random.normal(0, 0.02, 2).tolist() + [zoom * random.uniform(0.92, 1.08)]
    skin, cloth = random.uniform(0.55, 0.9), random.uniform(0.2, 0.45)
    head = dict(x=0.5 + dx, y=0.56 + dy, w=0.34 * size, h=0.46 * size, grey=skin)
    body = dict(x=0.5 + dx, y=0.56 + dy - 0.46 * size, w=0.72 * size, h=0.5 * size, grey=cloth)
    return body, head


def picture(parts: tuple[dict, dict]) -> np.ndarray:
    """The same ellipses as SIDE×SIDE grey values on white, the first row on top."""
    x = (np.arange(SIDE) + 0.5) / SIDE
    image = np.ones((SIDE, SIDE))
    for part in parts:
        inside = ((x[None, :] - part["x"]) / part["w"]) ** 2 + ((x[::-1, None] - part["y"]) / part["h"]) ** 2
        image[inside < 0.25] = part["grey"]
    return image


def draw():
    figure, axis = sheet(10, 3.9)
    random = np.random.default_rng(4)
    for words, colour, zoom, y in ROWS:
        y = 2.3 if colour == BLUE else 0.75
        axis.text(0.2, y + 1.12, words, color=colour, weight="bold", fontsize=11, va="bottom")
        pictures = []
        for i in range(5):
            left = 0.2 + 1.13 * i
            frame = Rectangle((left, y), 1.05, 1.05, facecolor="white", edgecolor=colour, lw=2)
            axis.add_patch(frame)
            parts = person(random, zoom)
            pictures.append(picture(parts))
            for part in parts:
                place = (left + 1.05 * part["x"], y + 1.05 * part["y"])
                patch = Ellipse(place, 1.05 * part["w"], 1.05 * part["h"], facecolor=str(part["grey"]))
                patch.set_edgecolor("#333333")
                axis.add_patch(patch)
                patch.set_clip_path(frame)
        mosaic = np.mean(pictures, axis=0).reshape(8, 8, 8, 8).mean(axis=(1, 3))
        arrow(axis, (5.95, y + 0.52), (6.55, y + 0.52))
        for (r, c), value in np.ndenumerate(mosaic):
            cell = Rectangle((6.7 + c * 0.131, y + (7 - r) * 0.131), 0.131, 0.131, facecolor=f"{value:.3f}")
            cell.set_edgecolor("none")
            axis.add_patch(cell)
        axis.add_patch(Rectangle((6.7, y), 1.05, 1.05, facecolor="none", edgecolor=colour, lw=2))
    axis.text(7.22, 3.42, "mean thumbnail", ha="center", va="bottom", fontsize=11, color=GREY)
    box(axis, 8.25, 1.35, 1.55, 1.4, GREEN)
    axis.text(9.02, 2.05, "64 grey squares\ntell the rows\napart", ha="center", va="center", fontsize=10.5,
              linespacing=1.5)  # fmt: skip
    arrow(axis, (7.82, 2.75), (8.2, 2.4))
    arrow(axis, (7.82, 1.35), (8.2, 1.7))
    axis.text(5, 0.3, "So a detector's high score on this set says nothing about fakes.", ha="center",
              va="center", fontsize=12)  # fmt: skip
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
