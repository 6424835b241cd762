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


# ---- lesson 00: start here ----

PEOPLE = (  # Nightingale & Farid, PNAS 2022, doi 10.1073/pnas.2120481119: accuracy and its 95 % interval
    ("315 people, no training", 0.482, 0.471, 0.492),
    ("219 people, trained, with feedback", 0.590, 0.577, 0.604),
)


def people_figure(rows: Sequence[tuple[str, float, float, float]]) -> Figure:
    """Shares of right answers (name, share, low, high), above those of `PEOPLE`; the figure is not shown."""
    rows = [*rows, *PEOPLE]
    places = np.arange(len(rows))[::-1]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 0.9 + 0.42 * len(rows)))
        for place, (_, share, low, high) in zip(places, rows, strict=True):
            published = place < len(PEOPLE)
            axis.hlines(place, low, high, color=GREY if published else GREEN, linewidth=3)
            axis.plot(share, place, "s" if published else "o", color="black", markersize=5)
            axis.annotate(
                f"{100 * share:.3g} %", (high, place), (6, 0), textcoords="offset points", va="center"
            )
        axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.annotate("guessing", (0.5, len(rows) - 0.55), ha="center", va="bottom", fontsize=9)
        axis.set(xlim=(0, 1.12), ylim=(-0.6, len(rows) - 0.5), xlabel="share of right answers")
        axis.set(yticks=places, yticklabels=[row[0] for row in rows], xticks=np.linspace(0, 1, 6))
        figure.tight_layout(pad=0.4)
    return figure


def plot_against_people(rows: Sequence[tuple[str, float, float, float]]) -> np.ndarray:
    """Your shares of right answers, with intervals, above two published ones; returns all numbers drawn."""
    people_figure(rows)
    plt.show()
    plt.close()
    return np.array([row[1:] for row in [*rows, *PEOPLE]], dtype=float)


def plot_all_scores(intervals: Sequence[tuple[float, float]]) -> np.ndarray:
    """The interval for each k of 0 … n right answers, those that hold 0.5 in grey; returns which hold it."""
    low, high = np.asarray(intervals, dtype=float).T
    n, holds = len(low) - 1, (low <= 0.5) & (high >= 0.5)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 3))
        for k in range(n + 1):
            colour, dash = (GREY, ":") if holds[k] else (GREEN, "-")
            axis.vlines(k, low[k], high[k], color=colour, linewidth=3, linestyle=dash)
            axis.plot(k, k / n, "o", color="black", markersize=4)
        axis.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.set(xticks=range(0, n + 1, max(1, n // 20)), xlabel=f"right answers of {n}", ylim=(0, 1))
        axis.set(ylabel="share", title="Solid: guessing is excluded. Dotted: it is not.")
        finish(figure)
    return holds


def plot_guessers(scores: Any, n: int = 20, mark: int = 15) -> np.ndarray:
    """How many guessers got 0, 1, … n right; those with `mark` or more hatched. Returns the counts."""
    counts = np.bincount(np.asarray(scores), minlength=n + 1)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 2.6))
        for k, count in enumerate(counts):
            lucky = k >= mark
            axis.bar(
                k, count, 0.8, color=FAKE if lucky else REAL, hatch="///" if lucky else "", edgecolor="white"
            )
        axis.annotate(
            f"{counts[mark:].sum():,} have {mark} or more", (mark + 0.2, counts.max() * 0.35), fontsize=10
        )
        axis.set(xticks=range(0, n + 1, 2), xlabel=f"right answers of {n}", ylabel="guessers")
        finish(figure)
    return counts


# ---- lesson 01: images are tensors ----


def show_numbers(
    tables: Sequence[Any], titles: Sequence[str] | None = None, cell: float = 0.36
) -> list[np.ndarray]:
    """Small tables of numbers side by side, each on a square as bright as it is large; returns them."""
    tables = [np.asarray(table) for table in tables]
    titles = list(titles) if titles is not None else [""] * len(tables)
    widths = [table.shape[1] for table in tables]
    with plt.rc_context(STYLE):
        size = (
            cell * (sum(widths) + 1.2 * (len(tables) - 1)),
            cell * max(len(table) for table in tables) + 0.3,
        )
        figure, axes = plt.subplots(1, len(tables), figsize=size, squeeze=False, width_ratios=widths)
        for axis, table, title in zip(axes.flat, tables, titles, strict=True):
            low, high = (
                (0, 255) if table.dtype == np.uint8 else (table.min(), max(table.max(), table.min() + 1))
            )
            axis.imshow(table, cmap="gray", vmin=low, vmax=high)
            for (r, c), value in np.ndenumerate(table):
                dark = value < (low + high) / 2
                text = (
                    f"{value:.0f}".replace("-0", "0").replace("-", "−")
                    if abs(value) < 0.5
                    else f"{value:.0f}"
                )
                axis.text(c, r, text.replace("-", "−"), ha="center", va="center", fontsize=7.5,
                          color="white" if dark else "black")  # fmt: skip
            axis.set_title(title, fontsize=10, loc="center", pad=4)
            axis.axis("off")
        finish(figure)
    return tables


def show_patterns(patterns: Any, size: float = 4.2) -> np.ndarray:
    """An 8×8 sheet of the 8×8 patterns of a cosine transform; `patterns` is 8×8×8×8. Returns them."""
    patterns = np.asarray(patterns, dtype=float)
    sheet = np.full((8 * 9 + 1, 8 * 9 + 1), np.nan)
    for u in range(8):
        for v in range(8):
            tile = patterns[u, v]
            sheet[9 * u + 1 : 9 * u + 9, 9 * v + 1 : 9 * v + 9] = tile / np.abs(tile).max()
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(size, size))
        axis.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axis.set(xticks=4.5 + 9 * np.arange(8), xticklabels=range(8), xlabel="changes from left to right: v")
        axis.set(yticks=4.5 + 9 * np.arange(8), yticklabels=range(8), ylabel="changes from top to bottom: u")
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        finish(figure)
    return patterns


def plot_lines(
    x: Any, curves: dict[str, Any], xlabel: str, ylabel: str, title: str = "", xticks: Any = None
) -> dict[str, np.ndarray]:
    """Up to four curves over one x, each with a dash and a marker of its own; returns them by name."""
    curves = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    looks = zip((REAL, FAKE, GREEN, GREY), ("-", "--", "-.", ":"), "osD^", strict=True)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 2.9))
        for (name, values), (colour, dash, marker) in zip(curves.items(), looks, strict=False):
            axis.plot(x, values, color=colour, linestyle=dash, marker=marker, markersize=5, label=name)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, None))
        if xticks is not None:
            axis.set_xticks(xticks)
        axis.legend()
        finish(figure)
    return curves
