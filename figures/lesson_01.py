"""Draw figures/lesson_01.svg: from a file to a tensor to a batch. Run it again to get the same file."""

import matplotlib.pyplot as plt
from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, grid, save, sheet

PIXELS = [[40, 220, 40], [40, 130, 220], [220, 40, 40]]


def shade(value: float) -> str:
    return f"#{int(value):02x}{int(value):02x}{int(value):02x}"


def numbers(axis, x, y, table, colour=GREY) -> None:
    """A table on squares as bright as their numbers."""
    grid(axis, x, y, [[""] * 3 for _ in range(3)], 0.42, colour, lambda r, c: shade(PIXELS[r][c]))
    for r, row in enumerate(table):
        for c, value in enumerate(row):
            ink = "black" if PIXELS[r][c] > 110 else "white"
            text = value if isinstance(value, str) else f"{value:g}".replace("-", "−")
            axis.text(x + 0.42 * c + 0.21, y + 0.42 * (2 - r) + 0.21, text, color=ink, fontsize=8.5,
                      ha="center", va="center")  # fmt: skip


def heading(axis, x, title, words, colour) -> None:
    axis.text(x, 2.75, title, weight="bold", fontsize=12, color=colour, ha="center")
    axis.text(x, 0.32, words, fontsize=9.5, ha="center", va="center", linespacing=1.4)


def draw() -> plt.Figure:
    figure, axis = sheet(10, 3.1)
    box(axis, 0.2, 0.95, 1.1, 1.35, BLUE)
    axis.text(0.75, 1.62, "JPEG\n8×8 blocks\nabout 5 kB", ha="center", va="center", linespacing=1.5)
    heading(axis, 0.75, "file", "small, and\nnot exact", BLUE)
    arrow(axis, (1.42, 1.62), (1.85, 1.62))

    numbers(axis, 1.95, 1.0, PIXELS, BLUE)
    heading(axis, 2.58, "array", "uint8, 0…255\nH × W × 3", BLUE)
    arrow(axis, (3.33, 1.62), (3.76, 1.62))

    for step, colour in enumerate(("#cfe3f1", "#d5ebe2", "#f6ddcc")):
        x, y = 4.16 - 0.14 * step, 1.2 - 0.14 * step
        axis.add_patch(plt.Rectangle((x, y), 1.15, 1.15, facecolor=colour, edgecolor=GREY, lw=1.2))
        axis.text(x + 1.08, y + 1.02, "BGR"[step], fontsize=8.5, ha="right", va="center")
    axis.text(4.4, 1.4, "one plane\na colour", fontsize=9.5, ha="center", va="center")
    heading(axis, 4.6, "tensor", "uint8, 0…255\n3 × H × W", GREEN)
    arrow(axis, (5.42, 1.62), (5.85, 1.62))

    scaled = [[round((v / 255 - 0.5) / 0.25, 1) for v in row] for row in PIXELS]
    numbers(axis, 5.95, 1.0, scaled, GREEN)
    heading(axis, 6.58, "normalised", "float32, −2…2\n(v/255 − 0.5)/0.25", GREEN)
    arrow(axis, (7.33, 1.62), (7.76, 1.62))

    for step in range(4):
        x, y = 8.34 - 0.13 * step, 1.22 - 0.1 * step
        axis.add_patch(plt.Rectangle((x, y), 1.0, 1.0, facecolor="white", edgecolor=ORANGE, lw=1.5))
    axis.text(8.45, 1.42, "32\nfaces", fontsize=9.5, ha="center", va="center")
    axis.text(9.52, 1.62, "y: 0 1 1 0 …", fontsize=9, ha="center", va="center", rotation=90)
    heading(axis, 8.65, "batch", "32 × 3 × H × W\nand a label each, 1 = fake", ORANGE)
    return figure


if __name__ == "__main__":
    save(draw(), __file__)
