"""What all drawings of the course share: colours, boxes, arrows, and the way they are stored.

A drawing is a script `figures/NAME.py` that writes `figures/NAME.svg`; run it again to get the same file.
Colours are Okabe and Ito's, told apart by colour-blind readers, and never the only cue; orange and green are
a little darker than theirs, so that words in them stand out from white by 4.5:1. The ground is white, opaque,
so that the words stay legible where the page is dark.
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch  # noqa: E402

BLUE, ORANGE, GREEN, GREY, YELLOW = "#0072B2", "#B84E00", "#007A5E", "#595959", "#F0E442"


def sheet(width: float, height: float) -> tuple[plt.Figure, plt.Axes]:
    """An empty drawing of ``width`` × ``height`` inches; one unit of its axes is one inch."""
    figure, axis = plt.subplots(figsize=(width, height))
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, axis


def box(axis: plt.Axes, x: float, y: float, width: float, height: float, colour: str = GREY, **options):
    """A rounded box with its lower left corner at (x, y)."""
    options = {"facecolor": "white", "edgecolor": colour, "lw": 2, **options}
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.03", **options))


def arrow(axis: plt.Axes, start: tuple[float, float], end: tuple[float, float], **options) -> None:
    options = {"color": "#333333", "lw": 1.4, **options}
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, **options))


def grid(
    axis: plt.Axes,
    x: float,
    y: float,
    numbers,
    cell: float = 0.42,
    colour: str = GREY,
    fill=None,
    fontsize: float = 10,
) -> None:
    """A table of numbers as squares, its lower left corner at (x, y).

    ``fill``: a function from (row, column) to a face colour, or None.
    """
    rows = len(numbers)
    for r, row in enumerate(numbers):
        for c, number in enumerate(row):
            place = (x + c * cell, y + (rows - 1 - r) * cell)
            face = (fill(r, c) if fill else None) or "white"
            axis.add_patch(plt.Rectangle(place, cell, cell, facecolor=face, edgecolor=colour, lw=1))
            text = number if isinstance(number, str) else f"{number:g}".replace("-", "−")
            axis.text(
                place[0] + cell / 2, place[1] + cell / 2, text, ha="center", va="center", fontsize=fontsize
            )


def save(figure: plt.Figure, script: str) -> None:
    """Write the drawing beside its script, the same bytes each time."""
    plt.rcParams["svg.hashsalt"] = "real-or-fake"
    figure.savefig(
        Path(script).with_suffix(".svg"), metadata={"Date": None, "Creator": None}, facecolor="white"
    )
