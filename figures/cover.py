"""Draws figures/cover.png: one forged face on its way through FaceNeSt. Everything on it is computed.

python figures/cover.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from course_lib import load, load_checkpoint
from course_lib.facenest import high_pass

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#007A5E", "#404040"
HEIGHT, WIDTH = 3.5, 12.6  # inches
FACE = 1.75


def picture(figure: plt.Figure, x: float, y: float, side: float, image, **options) -> plt.Axes:
    """An image as a square of `side` inches with its lower left corner at (x, y)."""
    axis = figure.add_axes((x / WIDTH, y / HEIGHT, side / WIDTH, side / HEIGHT))
    axis.imshow(image, **options)
    axis.set(xticks=[], yticks=[])
    return axis


def arrow(page: plt.Axes, start: tuple[float, float], end: tuple[float, float], **options) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "lw": 1.6, "mutation_scale": 14, **options}
    page.annotate("", end, start, arrowprops=style)


def draw() -> plt.Figure:
    checkpoint = load_checkpoint("studio")
    test = load("studio").test
    index = int(np.flatnonzero(test.labels == 1)[26])
    face = test.uint8(index)
    with torch.no_grad():
        batch = checkpoint.preprocessing.normalise(face[None])
        logit, details = checkpoint.model(batch, return_details=True)
    p_fake = torch.sigmoid(logit / checkpoint.temperature).item()
    residual = (high_pass(face[None].float())[0] * 6 + 128).clamp(0, 255).to(torch.uint8)
    weights = details["scale_weights"][0].tolist()

    figure = plt.figure(figsize=(WIDTH, HEIGHT), dpi=130, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    page.axis("off")
    page.text(0.25, HEIGHT - 0.42, "Real or Fake?", fontsize=23, weight="bold", color=GREY, va="center")
    page.text(3.1, HEIGHT - 0.43, "Build FaceNeSt", fontsize=23, color=GREEN, va="center")

    low, middle = 0.62, 0.62 + FACE / 2
    for x, image, words in ((0.25, face, "a face"), (2.55, residual, "minus what is coarse")):
        picture(figure, x, low, FACE, image.permute(1, 2, 0).numpy())
        page.text(x + FACE / 2, low - 0.2, words, ha="center", va="center", fontsize=10.5, color=GREY)
    arrow(page, (2.06, middle), (2.49, middle))
    arrow(page, (4.36, middle), (4.79, middle))

    x = 4.87
    for number, (feature, weight) in enumerate(zip(details["features"], weights, strict=True)):
        side = FACE * (1, 0.74, 0.54, 0.38)[number]
        shown = feature[0].mean(0).numpy()
        picture(figure, x, low, side, shown, cmap="cividis", interpolation="nearest")
        page.text(
            x + side / 2, low - 0.2, f"{feature.shape[1]} channels", ha="center", va="center", fontsize=9
        )
        start = (x + side / 2, low + side + 0.04)
        arrow(page, start, (10.19, 2.42), color=BLUE, lw=0.6 + 4 * weight, alpha=0.75, mutation_scale=9)
        page.text(start[0], start[1] + 0.1, f"{weight:.2f}", fontsize=9, color=BLUE, ha="right", va="bottom")
        x += side + 0.16
    page.text(10.25, 2.42, "four scales,\nweighted for\nthis face", fontsize=10.5, color=BLUE, va="center")

    word, colour, p = (
        ("FAKE", ORANGE, p_fake) if p_fake >= checkpoint.threshold else ("REAL", BLUE, 1 - p_fake)
    )
    arrow(page, (10.75, 2.02), (10.75, 1.66))
    page.text(10.25, 1.42, f"{word} {100 * p:.1f} %", fontsize=21, weight="bold", color=colour, va="center")
    page.add_patch(plt.Rectangle((10.25, 1.0), 2.1, 0.15, facecolor="#DDDDDD"))
    page.add_patch(
        plt.Rectangle((10.25, 1.0), 2.1 * p_fake, 0.15, facecolor=colour, hatch="///", edgecolor="white")
    )
    page.text(10.25, 0.72, "P(fake)", fontsize=10.5, color=GREY, va="center")
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})
