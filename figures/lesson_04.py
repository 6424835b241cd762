"""Draw figures/lesson_04.svg: the first CNN, its shapes and what each layer learns."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREY, ORANGE, arrow, save, sheet

# x of the left edge, maps drawn, side in inches, words above, words below, colour
MAPS = [
    (0.35, 3, 1.5, "crop", "3 × 32 × 32", GREY),
    (2.65, 5, 1.5, "8 maps", "8 × 32 × 32", BLUE),
    (5.15, 5, 0.9, "halved", "8 × 16 × 16", GREY),
    (7.0, 7, 0.9, "16 maps", "16 × 16 × 16", BLUE),
    (9.1, 7, 0.5, "halved", "16 × 8 × 8", GREY),
]
ROWS = [
    (10.55, 2.3, "in a row", "1,024", GREY),
    (11.65, 1.1, "", "32", ORANGE),
    (12.7, 0.22, "logit", "1", ORANGE),
]
STEPS = [  # x of the arrow's start and end, words, what is learned there
    (2.1, 2.6, "convolution\n3×3, ReLU", "224", BLUE),
    (4.62, 5.1, "max\npool", "", GREY),
    (6.5, 6.95, "convolution\n3×3, ReLU", "1,168", BLUE),
    (8.62, 9.05, "max\npool", "", GREY),
    (10.13, 10.5, "flatten", "", GREY),
    (10.85, 11.6, "fully\nconnected,\nReLU", "32,800", ORANGE),
    (11.93, 12.62, "fully\nconnected", "33", ORANGE),
]
MIDDLE = 2.35


def draw() -> plt.Figure:
    figure, axis = sheet(13.4, 4.5)
    for x, count, side, above, below, colour in MAPS:
        shift = 0.075
        for number in reversed(range(count)):
            corner = (x + number * shift, MIDDLE - side / 2 + number * shift)
            axis.add_patch(plt.Rectangle(corner, side, side, facecolor="white", edgecolor=colour, lw=1.6))
        centre = x + (side + (count - 1) * shift) / 2
        top = MIDDLE + side / 2 + (count - 1) * shift
        axis.text(centre, top + 0.1, above, ha="center", va="bottom", fontsize=12, color=colour)
        axis.text(centre, MIDDLE - side / 2 - 0.1, below, ha="center", va="top", fontsize=11.5)
    for x, height, above, below, colour in ROWS:
        axis.add_patch(
            plt.Rectangle((x, MIDDLE - height / 2), 0.24, height, facecolor="white", edgecolor=colour, lw=1.8)
        )
        axis.text(
            x + 0.12, MIDDLE + height / 2 + 0.1, above, ha="center", va="bottom", fontsize=12, color=colour
        )
        axis.text(x + 0.12, MIDDLE - height / 2 - 0.1, below, ha="center", va="top", fontsize=11.5)
    for start, end, words, learned, colour in STEPS:
        arrow(axis, (start, MIDDLE), (end, MIDDLE))
        centre = (start + end) / 2
        axis.text(centre, 4.42, words, ha="center", va="top", fontsize=11, color=colour, linespacing=1.2)
        if learned:
            axis.text(
                centre, 0.3, learned, ha="center", va="center", fontsize=13, weight="bold", color=colour
            )
    axis.text(0.35, 0.3, "learned numbers:", ha="left", va="center", fontsize=11.5)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
