"""The pictures of the lessons. Each function draws one thing, shows it, and returns what it drew as arrays,
so that a lesson can assert what a picture must show.

Two colours, blue for real and orange for fake, from a palette that colour-blind readers can tell apart (Okabe
& Ito 2008), and never colour alone: lines differ in dash and marker, bars in hatching, and all is labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

REAL, FAKE, GREY, GREEN = "#0072B2", "#D55E00", "#595959", "#007A5E"
STYLE = {
    "figure.facecolor": "white",  # opaque, so that black labels stay legible where the page is dark
    "figure.dpi": 100,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def as_picture(image: Any) -> np.ndarray:
    """Any picture as uint8 H×W×3: a tensor 3×H×W (uint8, or float 0..1), an array H×W×3, a PIL image."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (
            image if image.dtype == torch.uint8 else (image.float().clamp(0, 1) * 255).round().to(torch.uint8)
        )
        return image.permute(1, 2, 0).numpy()
    return np.asarray(image, dtype=np.uint8)


def show_faces(
    images: Sequence[Any], titles: Sequence[str] | None = None, columns: int = 6, size: float = 1.5
) -> list[np.ndarray]:
    """Pictures in a grid, `columns` to a row, each `size` inches wide; returns them as uint8 H×W×3."""
    pictures = [as_picture(image) for image in images]
    titles = list(titles) if titles is not None else [""] * len(pictures)
    if not pictures or len(titles) != len(pictures):
        raise ValueError(f"show_faces got {len(pictures)} pictures and {len(titles)} titles; give one each.")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    extra = 0.25 if any(titles) else 0.0
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(columns * size, rows * (size + extra)), squeeze=False
        )
        for axis in axes.flat:
            axis.axis("off")
        for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=10, loc="center", pad=3)
        finish(figure)
    return pictures


def show_difference(before: Sequence[Any], after: Sequence[Any], gain: float = 8.0) -> np.ndarray:
    """Three rows: pictures, what became of them, and the difference, `gain` times enlarged around mid-grey.

    Returns the differences ``after - before``, int16 N×H×W×3, not enlarged.
    """
    first, second = (np.stack([as_picture(image) for image in images]) for images in (before, after))
    difference = second.astype(np.int16) - first.astype(np.int16)
    enlarged = np.clip(128 + gain * difference, 0, 255).astype(np.uint8)
    words = ["before"] * len(first) + ["after"] * len(first) + [f"difference × {gain:g}"] * len(first)
    show_faces([*first, *second, *enlarged], words, columns=len(first))
    return difference


def plot_history(history: Any) -> dict[str, np.ndarray]:
    """The curves of a run: losses on the left, validation AUC on the right; returns them by column name."""
    columns = ("epoch", "train_loss", "valid_loss", "valid_auc")
    curves = {name: np.asarray(history[name], dtype=float) for name in columns}
    epoch, best = curves["epoch"], int(np.nanargmax(curves["valid_auc"]))
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2))
        left.plot(epoch, curves["train_loss"], color=GREY, marker="o", linestyle="--", label="training crops")
        left.plot(epoch, curves["valid_loss"], color=GREEN, marker="s", label="whole validation images")
        left.axhline(np.log(2), color="black", linewidth=0.8, linestyle=":")
        left.annotate("guessing", (epoch[-1], np.log(2)), va="bottom", ha="right", fontsize=9)
        left.set(title="Loss falls", xlabel="epoch", ylim=(0, None), xticks=epoch)
        left.legend()
        right.plot(epoch, curves["valid_auc"], color=GREEN, marker="s")
        right.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        place = (epoch[best], curves["valid_auc"][best])
        right.annotate(f"{place[1]:.3f}", place, (0, 4), textcoords="offset points", va="bottom", ha="right")
        right.set(title="Validation AUC rises", xlabel="epoch", ylim=(0.4, 1.06), xticks=epoch)
        finish(figure)
    return curves


def plot_schedule(rates: Sequence[float]) -> np.ndarray:
    """A learning rate against the step; returns the rates."""
    rates = np.asarray(rates, dtype=float)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6, 2.6))
        axis.plot(rates, color=GREEN)
        axis.set(title="Learning rate at each step", xlabel="step", ylim=(0, None))
        finish(figure)
    return rates


def plot_losses(losses: Sequence[float], title: str = "Loss at each step") -> np.ndarray:
    """A loss against the step, with the loss of guessing, ln 2; returns the losses."""
    losses = np.asarray(losses, dtype=float)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6, 2.6))
        axis.plot(np.arange(1, len(losses) + 1), losses, color=GREEN, marker="o", markersize=3)
        axis.axhline(np.log(2), color="black", linewidth=0.8, linestyle=":")
        axis.annotate("guessing: ln 2", (len(losses), np.log(2)), va="bottom", ha="right", fontsize=9)
        axis.set(title=title, xlabel="step", ylim=(0, None))
        finish(figure)
    return losses


def plot_scores(y: Any, p: Any, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """How many real and fake images got which P(fake), in 20 bins; returns the counts of both."""
    y, p = np.asarray(y), np.asarray(p, dtype=float)
    edges = np.linspace(0, 1, 21)
    counts = {name: np.histogram(p[y == label], edges)[0] for label, name in enumerate(("real", "fake"))}
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 2.8))
        for (name, count), colour, hatch, shift in zip(
            counts.items(), (REAL, FAKE), ("", "///"), (-0.011, 0.011), strict=True
        ):
            middle = (edges[:-1] + edges[1:]) / 2 + shift
            axis.bar(
                middle, count, 0.021, color=colour, hatch=hatch, edgecolor="white", label=f"{name} images"
            )
        axis.axvline(threshold, color="black", linewidth=0.8, linestyle=":")
        axis.annotate(" threshold", (threshold, axis.get_ylim()[1]), va="top", fontsize=9)
        axis.set(title="What the detector says of images it never saw", xlabel="P(fake)", ylabel="images")
        axis.legend(loc=(0.1, 0.6))
        finish(figure)
    return counts


def plot_intervals(rows: Sequence[tuple[str, float, float, float]], xlabel: str = "test AUC") -> np.ndarray:
    """Each row (name, value, low, high) as a dot on its interval, first row on top; returns the numbers."""
    numbers = np.array([row[1:] for row in rows], dtype=float)
    places = np.arange(len(rows))[::-1]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 0.8 + 0.45 * len(rows)))
        axis.hlines(places, numbers[:, 1], numbers[:, 2], color=GREEN, linewidth=3)
        axis.plot(numbers[:, 0], places, "o", color="black", markersize=5)
        for place, (value, _, high) in zip(places, numbers, strict=True):
            axis.annotate(
                f"{value:.3f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center"
            )
        axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.set(yticks=places, yticklabels=[row[0] for row in rows], xlabel=xlabel, xlim=(0.35, 1.1))
        axis.set(ylim=(-0.6, len(rows) - 0.4))
        finish(figure)
    return numbers


def finish(figure: Figure) -> None:
    """Fit everything in, show it (inline in a notebook), and forget the figure."""
    figure.tight_layout(pad=0.4)
    plt.show()
    plt.close(figure)
