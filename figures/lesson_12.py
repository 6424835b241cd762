"""Draw figures/lesson_12.svg: ten scores, three questions asked of them. Run it again for the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

FAKE = (1, 1, 0, 1, 1, 0, 1, 0, 0, 0)
SCORES = (0.95, 0.90, 0.80, 0.70, 0.65, 0.45, 0.40, 0.30, 0.20, 0.10)


def ranking(axis: plt.Axes) -> None:
    """The ten pictures, highest score first, and the threshold after the fifth."""
    for i, (fake, score) in enumerate(zip(FAKE, SCORES, strict=True)):
        x, colour = 0.75 + 0.95 * i + (0.25 if i > 4 else 0), ORANGE if fake else BLUE
        axis.scatter(x, 4.02, s=260, marker="D" if fake else "o", color=colour)
        axis.text(x, 4.42, f"{score:.2f}", ha="center", va="center", fontsize=10)
        axis.text(x, 3.66, "fake" if fake else "real", ha="center", va="center", fontsize=10, color=colour)
    axis.plot([5.15, 5.15], [3.5, 4.65], color="black", lw=1.3, ls="--")
    axis.text(5.15, 4.76, "threshold 0.5", ha="center", fontsize=10)
    axis.text(0.3, 4.76, "called fake", fontsize=10, color=GREY)
    axis.text(9.9, 4.76, "called real", fontsize=10, color=GREY, ha="right")


def staircase(axis: plt.Axes) -> None:
    """Who ranks above whom?"""
    side, x, y = 1.75, 0.95, 0.55
    axis.add_patch(plt.Rectangle((x, y), side, side, facecolor="white", edgecolor=GREY, lw=0.8))
    axis.plot([x, x + side], [y, y + side], color="black", lw=0.8, ls=":")
    corner = [(x, y)]
    for fake in FAKE:
        right, up = corner[-1]
        corner.append((right, up + side / 5) if fake else (right + side / 5, up))
    for (a, b), (c, d), fake in zip(corner, corner[1:], FAKE, strict=False):
        axis.plot([a, c], [b, d], color=ORANGE if fake else BLUE, lw=3, ls="-" if fake else (0, (2, 0.6)))
    axis.text(x + side / 2, y - 0.2, "reals accused →", ha="center", va="center", fontsize=9.5)
    axis.text(x - 0.17, y + side / 2, "fakes found →", ha="center", va="center", fontsize=9.5, rotation=90)
    axis.text(x + 1.18, y + 0.5, "AUC 0.84", ha="center", va="center", fontsize=11, weight="bold")


def matrix(axis: plt.Axes) -> None:
    """What is decided?"""
    words = ((("4", "left alone"), ("1", "accused")), (("1", "missed"), ("4", "found")))
    for row in (0, 1):
        for column in (0, 1):
            x, y = 4.25 + 0.95 * column, 1.45 - 0.8 * row
            wrong = row != column
            axis.add_patch(
                plt.Rectangle(
                    (x, y), 0.95, 0.8, facecolor="white" if wrong else "#E4EFEB", edgecolor="black", lw=0.8
                )
            )
            if wrong:
                for shift in (0.1, 0.22, 0.34):  # hatched in the upper right corner
                    axis.plot([x + 0.95 - shift, x + 0.95], [y + 0.79, y + 0.8 - shift], color=GREY, lw=0.7)
            number, told = words[row][column]
            axis.text(x + 0.475, y + 0.5, number, ha="center", va="center", fontsize=13, weight="bold")
            axis.text(x + 0.475, y + 0.2, told, ha="center", va="center", fontsize=9)
    for row, name in enumerate(("real", "fake")):
        axis.text(4.15, 1.85 - 0.8 * row, name, ha="right", va="center", fontsize=10)
    for column, name in enumerate(("called\nreal", "called\nfake")):
        axis.text(4.725 + 0.95 * column, 2.45, name, ha="center", va="center", fontsize=9)


def belief(axis: plt.Axes) -> None:
    """Can the number be believed?"""
    side, x, y = 1.75, 7.75, 0.55
    axis.add_patch(plt.Rectangle((x, y), side, side, facecolor="white", edgecolor=GREY, lw=0.8))
    axis.plot([x, x + side], [y, y + side], color="black", lw=0.8, ls=":")
    for said, true, words, place in (
        (0.29, 0.20, "said 0.29\n0.20 are", (0.64, 0.14)),
        (0.80, 0.80, "said 0.80\n0.80 are", (0.45, 0.82)),
    ):
        axis.scatter(x + said * side, y + true * side, s=70, color=GREEN, zorder=3)
        axis.text(
            x + place[0] * side,
            y + place[1] * side,
            words,
            ha="center",
            va="center",
            fontsize=9.5,
            color=GREEN,
        )
    axis.text(x + side / 2, y - 0.2, "P(fake) said", ha="center", va="center", fontsize=9.5)
    axis.text(x - 0.17, y + side / 2, "share of fakes", ha="center", va="center", fontsize=9.5, rotation=90)


def draw() -> plt.Figure:
    figure, axis = sheet(10.3, 5.0)
    ranking(axis)
    for x, title in (
        (1.75, "Who ranks above whom?"),
        (5.15, "What is decided?"),
        (8.55, "Can the number be believed?"),
    ):
        box(axis, x - 1.45, 0.12, 2.9, 2.95, GREY, lw=1)
        arrow(axis, (x, 3.5), (x, 3.12))
        axis.text(x, 2.86, title, ha="center", va="center", fontsize=11, weight="bold")
    staircase(axis)
    matrix(axis)
    belief(axis)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
