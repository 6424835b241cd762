"""Draw figures/lesson_03.svg: one number of a convolution, worked out. Run it again to get the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, grid, save, sheet

IMAGE = [[0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 0, 4, 9, 9], [0, 4, 9, 9, 9]]
KERNEL = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
CELL = 0.42
ROW, COLUMN = 1, 2  # the place that is worked out


def brightness(numbers):
    """A grey for each number, light enough for black figures on it."""
    low, high = min(map(min, numbers)), max(map(max, numbers))

    def fill(r, c):
        level = 0.62 + 0.38 * (numbers[r][c] - low) / (high - low)
        return (level, level, level)

    return fill


def frame(axis, x, y, rows, row, column, height, width, colour):
    """A thick frame around some cells of a grid whose lower left corner is (x, y)."""
    place = (x + column * CELL, y + (rows - row - height) * CELL)
    axis.add_patch(plt.Rectangle(place, width * CELL, height * CELL, fill=False, edgecolor=colour, lw=3))
    return place[0] + width * CELL / 2, place[1] + height * CELL / 2


def draw() -> plt.Figure:
    output = [
        [sum(IMAGE[i + a][j + b] * KERNEL[a][b] for a in range(3) for b in range(3)) for j in range(3)]
        for i in range(3)
    ]
    figure, axis = sheet(10, 4.05)
    grid(axis, 0.3, 1.35, IMAGE, CELL, fill=brightness(IMAGE))
    frame(axis, 0.3, 1.35, 5, ROW, COLUMN, 3, 3, BLUE)
    grid(axis, 3.75, 1.77, KERNEL, CELL, colour=GREEN)
    frame(axis, 3.75, 1.77, 3, 0, 0, 3, 3, GREEN)
    grid(axis, 8.35, 1.77, output, CELL, fill=brightness(output))
    frame(axis, 8.35, 1.77, 3, ROW, COLUMN, 1, 1, ORANGE)
    for x, title, colour in (
        (1.35, "picture, 5×5", BLUE),
        (4.38, "kernel, 3×3", GREEN),
        (8.98, "feature map, 3×3", ORANGE),
    ):
        axis.text(x, 3.78, title, ha="center", va="center", weight="bold", fontsize=12, color=colour)
    axis.text(3.1, 2.4, "×", ha="center", va="center", fontsize=22, color=GREY)
    axis.text(5.5, 2.4, "=", ha="center", va="center", fontsize=22, color=GREY)
    products = [[IMAGE[ROW + a][COLUMN + b] * KERNEL[a][b] for b in range(3)] for a in range(3)]
    grid(axis, 5.95, 1.77, products, CELL, colour=GREY)
    axis.text(6.58, 3.78, "nine products", ha="center", va="center", weight="bold", fontsize=12, color=GREY)
    arrow(axis, (7.3, 2.4), (8.25, 2.4))
    axis.text(7.76, 2.6, "add", ha="center", va="center", fontsize=11, color=GREY)
    terms = [f"{IMAGE[ROW + a][COLUMN + b]}·({KERNEL[a][b]})" for a in range(3) for b in range(3)]
    lines = [" + ".join(terms[3 * a : 3 * a + 3]) for a in range(3)]
    total = output[ROW][COLUMN]
    text = f"{lines[0]}  +  {lines[1]}  +  {lines[2]}  =  {total}".replace("-", "−")
    axis.text(5.0, 0.82, text, ha="center", va="center", fontsize=10.5)
    words = (
        "How much brighter is it on the right than on the left? Then move the frame by one pixel, and again."
    )
    axis.text(5.0, 0.36, words, ha="center", va="center", fontsize=11, style="italic", color=GREY)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
