"""Draw figures/lesson_10.svg: our FaceNeSt above the published layout. Run it again to get the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

from course_lib import facenest, facenest_reference
from course_lib.facenest import count_parameters


def station(axis, x, y, width, height, title, words, colour=GREY, **options):
    """A box with a title and a line below it; (x, y) is the middle of its left side."""
    box(axis, x, y - height / 2, width, height, colour, **options)
    axis.text(
        x + width / 2, y + 0.13, title, ha="center", va="center", fontsize=11.5, weight="bold", color=colour
    )
    axis.text(x + width / 2, y - 0.14, words, ha="center", va="center", fontsize=10)


def ours(axis, top, parameters):
    axis.text(0.15, top + 1.02, f"ours: {parameters:,} parameters", fontsize=14, weight="bold", color=GREEN)
    row = [
        ("image", "3×64×64", GREY),
        ("high-pass", "3×64×64", BLUE),
        ("stem: scale 1", "16×64×64", GREEN),
        ("scale 2", "32×32×32", GREEN),
        ("scale 3", "64×16×16", GREEN),
        ("scale 4", "128×8×8", GREEN),
    ]
    step, width = 1.9, 1.45
    for i, (title, words, colour) in enumerate(row):
        x = 0.15 + i * step
        station(axis, x, top + 0.35, width, 0.62, title, words, colour)
        if i:
            arrow(axis, (x - step + width + 0.05, top + 0.35), (x - 0.05, top + 0.35))
        if title == "scale 4":
            axis.text(x + width / 2, top + 0.8, "attention inside", ha="center", fontsize=10, color=ORANGE)
        if "scale" in title:
            arrow(axis, (x + width / 2, top), (x + width / 2, top - 0.42), color=GREY)
    left, right = 0.15 + 2 * step, 0.15 + 5 * step + width
    box(axis, left, top - 0.95, right - left, 0.48, ORANGE)
    words = "fusion: a mean and a linear layer each; weights from the picture; one sum"
    axis.text((left + right) / 2, top - 0.71, words, ha="center", va="center", fontsize=11, color=ORANGE)
    arrow(axis, (right + 0.05, top - 0.71), (right + 0.33, top - 0.71))
    station(axis, right + 0.4, top - 0.71, 1.15, 0.62, "head", "one logit", BLUE)


def published(axis, top, parameters, shares):
    axis.text(
        0.15, top + 1.0, f"published: {parameters:,} parameters", fontsize=14, weight="bold", color=GREY
    )
    row = [
        ("image", "3×224×224"),
        ("stem, f0", "64×56×56"),
        ("block 1, f1", "256×56×56"),
        ("block 2, f2", "512×28×28"),
        ("block 3, f3", "1024×14×14"),
    ]
    step, width, whole = 2.15, 1.45, 1.75  # whole: the side of a square that would be all parameters
    for i, (title, words) in enumerate(row):
        x = 0.15 + i * step
        station(axis, x, top + 0.35, width, 0.62, title, words, GREY)
        if i:
            arrow(axis, (x - step + width + 0.05, top + 0.35), (x - 0.05, top + 0.35))
            side, middle = whole * shares[i - 1] ** 0.5, x + width / 2
            arrow(axis, (middle, top), (middle, top - 0.28), color=GREY)
            axis.add_patch(
                plt.Rectangle(
                    (middle - side / 2, top - 0.32 - side),
                    side,
                    side,
                    facecolor="#F6D9C6",
                    edgecolor=ORANGE,
                    lw=2,
                )
            )
            percent = f"{100 * shares[i - 1]:.1f} %"
            if side > 1:
                axis.text(
                    middle,
                    top - 0.32 - side / 2,
                    f"attention\n{percent}",
                    ha="center",
                    va="center",
                    fontsize=12,
                )
            else:
                axis.text(
                    middle, top - 0.42 - side, f"attention\n{percent}", ha="center", va="top", fontsize=11
                )
    right = 0.15 + 4 * step + width
    axis.text(
        right + 0.3, top - 0.72, "maximum of each, times a static w,\nin one list: 1,856 numbers", fontsize=11
    )
    arrow(axis, (right + 0.3, top - 1.25), (right + 0.75, top - 1.25))
    station(axis, right + 0.8, top - 1.25, 1.35, 0.62, "head", "two logits", BLUE)
    axis.text(
        right + 0.3, top + 0.35, "orange squares: each attention's\nshare of all parameters,\ntogether "
        f"{100 * sum(shares):.1f} %", fontsize=11, va="center", color=ORANGE,
    )  # fmt: skip


def draw() -> plt.Figure:
    reference = facenest_reference()
    whole = count_parameters(reference)
    shares = [count_parameters(attention) / whole for attention in reference.fusion.attention]
    figure, axis = sheet(13.6, 6.2)
    ours(axis, 4.85, count_parameters(facenest()))
    axis.plot([0.15, 13.4], [3.62, 3.62], color="#CCCCCC", lw=1)
    published(axis, 2.25, whole, shares)
    return figure


if __name__ == "__main__":
    import torch

    with torch.device("meta"):  # shapes without numbers: nothing is stored
        figure = draw()
    save(figure, __file__)
