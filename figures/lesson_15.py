"""Draw figures/lesson_15.svg: from scratch, frozen, fine-tuned: which parts learn. Always the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

PARTS = ("stem", "stage 1", "stage 2", "stage 3", "stage 4", "head")
GROWING = (0.12, 0.2, 0.32, 0.5, 0.7, 1.0)
ROWS = [
    ("from scratch", "all weights begin at random;\nall learn, with one rate", (1.0,) * 6, False),
    ("frozen", "weights from ImageNet stay;\nonly the head learns", (0, 0, 0, 0, 0, 1.0), True),
    ("fine-tuned", "weights from ImageNet go on learning,\nthe later ones with larger rates", GROWING, True),
]
LEGEND = (
    "Blue: from ImageNet. Green: from random numbers. Hatched, locked: does not learn. "
    "Orange bar: the learning rate."
)
LEFT, STEP, WIDE, HIGH = 3.55, 1.05, 0.82, 0.52


def draw() -> plt.Figure:
    figure, axis = sheet(10.6, 4.95)
    for row, (name, words, rates, borrowed) in enumerate(ROWS):
        y = 4.15 - 1.5 * row
        axis.text(0.1, y + 0.44, name, weight="bold", fontsize=13, va="center")
        axis.text(0.1, y + 0.02, words, fontsize=9.5, va="center", linespacing=1.35)
        axis.text(LEFT - 0.32, y + HIGH / 2, "pixels", fontsize=10, ha="right", va="center")
        for i, (part, rate) in enumerate(zip(PARTS, rates, strict=True)):
            x = LEFT + i * STEP
            arrow(axis, (x - 0.19, y + HIGH / 2), (x - 0.02, y + HIGH / 2))
            from_imagenet = borrowed and part != "head"
            colour = BLUE if from_imagenet else GREEN
            options = {} if rate else {"hatch": "///", "facecolor": "#EEF3F8"}
            box(axis, x, y, WIDE, HIGH, colour, **options)
            if not rate:
                axis.add_patch(plt.Rectangle((x + 0.08, y + 0.15), WIDE - 0.16, 0.22, color="white"))
            axis.text(x + WIDE / 2, y + HIGH / 2, part, ha="center", va="center", fontsize=10)
            if rate:
                axis.add_patch(
                    plt.Rectangle(
                        (x + WIDE / 2 - 0.13, y - 0.13 - 0.5 * rate), 0.26, 0.5 * rate, color=ORANGE
                    )
                )
            else:
                axis.text(
                    x + WIDE / 2, y - 0.25, "locked", ha="center", va="center", fontsize=9.5, color=GREY
                )
        end = LEFT + 5 * STEP + WIDE
        arrow(axis, (end + 0.04, y + HIGH / 2), (end + 0.27, y + HIGH / 2))
        axis.text(end + 0.32, y + HIGH / 2, "P(fake)", fontsize=10, va="center")
    axis.text(0.1, 0.06, LEGEND, fontsize=9.5, va="bottom", color="#333333")
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
