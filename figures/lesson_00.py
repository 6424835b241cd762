"""Draw figures/lesson_00.svg: the way of the course, in five parts. Run it again to get the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

PARTS = [
    ("1  See", BLUE, "00 start here\n01 tensors\n02 look first"),
    ("2  Convolve", BLUE, "03 by hand\n04 a first CNN\n05 training"),
    ("3  Attend", GREEN, "06 residual blocks\n07 channels\n08 space\n09 scales\n10 FaceNeSt"),
    ("4  Train, judge", ORANGE, "11 train\n12 judge\n13 break\n14 explain\n15 transfer"),
    ("5  Use", ORANGE, "16 the uploader\n17 beyond"),
]


def draw() -> plt.Figure:
    figure, axis = sheet(10, 3.1)
    width, gap = 1.72, 0.26
    for number, (title, colour, lessons) in enumerate(PARTS):
        x = 0.18 + number * (width + gap)
        box(axis, x, 0.72, width, 2.05, colour)
        axis.text(x + 0.1, 2.5, title, color=colour, weight="bold", fontsize=12.5, va="center")
        axis.text(x + 0.1, 2.2, lessons, fontsize=10.5, va="top", linespacing=1.5)
        if number:
            arrow(axis, (x - gap + 0.04, 1.75), (x - 0.03, 1.75))
    words = "Before any network is built, a person is measured: you.  20 faces, real or fake?"
    axis.annotate("", (0.95, 0.7), (0.95, 0.42), arrowprops={"arrowstyle": "-|>", "color": "#333333"})
    axis.text(0.3, 0.24, words, fontsize=12, color=GREY, va="center", weight="bold")
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
