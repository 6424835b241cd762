"""The pictures of the lessons. Each function draws one thing, shows it, and returns what it drew as arrays,
so that a lesson can assert what a picture must show.

Two colours, blue for real and orange for fake, from a palette that colour-blind readers can tell apart (Okabe
& Ito 2008), and never colour alone: lines differ in dash and marker, bars in hatching, and all is labelled.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from .errors import DataError
from .evaluation import (
    average_precision,
    check_scores,
    confusion,
    fast_auc,
    precision_at_prevalence,
    roc_points,
)

REAL, FAKE, GREY, GREEN = "#0072B2", "#D55E00", "#595959", "#007A5E"
INK = {FAKE: "#B84E00"}  # words need more contrast than lines (4.5:1, not 3:1), and orange has too little
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
    check_scores(y, p, both_classes=False)  # before there is a figure, which would stay behind
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 2.8))
        counts = draw_scores(axis, y, p, threshold)
        axis.set(title="What the detector says of images it never saw")
        finish(figure)
    return counts


def draw_scores(axis: Any, y: Any, p: Any, threshold: float) -> dict[str, np.ndarray]:
    """The work of `plot_scores` on an axis."""
    y, p = check_scores(y, p, both_classes=False)
    edges = np.linspace(0, 1, 21)
    counts = {name: np.histogram(p[y == label], edges)[0] for label, name in enumerate(("real", "fake"))}
    for (name, count), colour, hatch, shift in zip(
        counts.items(), (REAL, FAKE), ("", "///"), (-0.011, 0.011), strict=True
    ):
        middle = (edges[:-1] + edges[1:]) / 2 + shift
        axis.bar(middle, count, 0.021, color=colour, hatch=hatch, edgecolor="white", label=f"{name} images")
    axis.axvline(threshold, color="black", linewidth=0.8, linestyle=":")
    axis.annotate(" threshold", (threshold, axis.get_ylim()[1]), va="top", fontsize=9)
    axis.set(xlabel="P(fake)", ylabel="images")
    axis.legend(loc=(0.1, 0.6))
    return counts


def plot_intervals(rows: Sequence[tuple[str, float, float, float]], xlabel: str = "test AUC") -> np.ndarray:
    """Each row (name, value, low, high) as a dot on its interval, first row on top; returns the numbers."""
    try:
        numbers = np.array([row[1:] for row in rows], dtype=float)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.ndim != 2 or numbers.shape[1] != 3 or not len(rows):
        raise DataError("plot_intervals needs rows (name, value, low, high), at least one, in numbers.")
    if np.isnan(numbers).any():
        name = rows[int(np.isnan(numbers).any(1).argmax())][0]
        raise DataError(f"The row {name!r} has a NaN in it; leave it out, or look where it comes from.")
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
        left = min(0.35, float(np.nanmin(numbers)) - 0.03)
        axis.set(yticks=places, yticklabels=[row[0] for row in rows], xlabel=xlabel, xlim=(left, 1.1))
        axis.set(ylim=(-0.6, len(rows) - 0.4))
        finish(figure)
    return numbers


def show_maps(
    maps: Sequence[Any],
    titles: Sequence[str],
    columns: int = 5,
    size: float = 1.8,
    reach: float | None = None,
) -> list[np.ndarray]:
    """Feature maps H×W as grey pictures: mid-grey is 0, black −reach, white reach.

    `reach` is shared by all; without one, each map has its own largest value. Returns the maps as float64.
    """
    arrays = [np.asarray(torch.as_tensor(m).detach(), dtype=float) for m in maps]
    if not arrays or len(arrays) != len(titles) or any(a.ndim != 2 for a in arrays):
        raise ValueError("show_maps needs maps of two dimensions each and as many titles.")
    columns = min(columns, len(arrays))
    rows = -(-len(arrays) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(columns * size, rows * (size + 0.25)), squeeze=False
        )
        for axis in axes.flat:
            axis.axis("off")
        for axis, array, title in zip(axes.flat, arrays, titles, strict=False):
            limit = reach or max(np.abs(array).max(), 1e-12)
            axis.imshow(array, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
            axis.set_title(title, fontsize=10, loc="center", pad=3)
        finish(figure)
    return arrays


def plot_curve(
    values: Sequence[float], title: str, xlabel: str, ylabel: str, log: bool = False
) -> np.ndarray:
    """One curve against 1, 2, 3 …; returns its values."""
    values = np.asarray(values, dtype=float)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6, 2.6))
        axis.plot(np.arange(1, len(values) + 1), values, color=GREEN)
        axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axis.set(yscale="log") if log else axis.set_ylim(0, None)
        finish(figure)
    return values


def plot_spectra(real: Any, fake: Any) -> np.ndarray:
    """Two mean power spectra H×W (zero frequency in the middle) and how many times larger the fake's is.

    Returns the base-2 logarithm of that ratio: 1 is twice as strong, −1 half as strong.
    """
    arrays = [np.asarray(torch.as_tensor(s), dtype=float) for s in (real, fake)]
    ratio = np.log2(np.maximum(arrays[1], 1e-12) / np.maximum(arrays[0], 1e-12))
    low, high = (np.log10(np.maximum(np.quantile(np.stack(arrays), q), 1e-12)) for q in (0.01, 0.999))
    half = arrays[0].shape[0] // 2
    ticks = {"xticks": [0, half, 2 * half - 1], "yticks": [0, half, 2 * half - 1]}
    words = ["every\n2 px", "even", "every\n2 px"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(8.7, 2.9))
        for axis, array, title in zip(axes, arrays, ("real", "fake"), strict=False):
            shown = axis.imshow(np.log10(np.maximum(array, 1e-12)), cmap="cividis", vmin=low, vmax=high)
            axis.set_title(f"{title}: power, powers of ten", fontsize=10)
            figure.colorbar(shown, ax=axis, fraction=0.046)
        shown = axes[2].imshow(ratio, cmap="PuOr_r", vmin=-3, vmax=3)
        axes[2].set_title("fake ÷ real, powers of two", fontsize=10)
        figure.colorbar(shown, ax=axes[2], fraction=0.046)
        for axis in axes:
            axis.set(**ticks, xticklabels=words, yticklabels=words)
            axis.tick_params(labelsize=8)
        finish(figure)
    return ratio


def contrast(colour: Any, ground: Any) -> float:
    """How far two colours stand apart, 1 to 21 (WCAG 2.1); whatever matplotlib takes for a colour."""
    lights = []
    for one in (colour, ground):
        rgb = np.array(to_rgb(one))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(lights) / min(lights)


def ink_on(ground: Any) -> str:
    """Black or white, whichever stands out more from the colour `ground`: always by 4.5:1 or more."""
    return max(("black", "white"), key=lambda ink: contrast(ink, ground))


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
                f"{100 * share:.1f} %",
                (high, place),
                (6, 0),
                textcoords="offset points",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
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
            axis.plot(k, k / n, "o", color="black", markersize=4, clip_on=False)
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
    """Tables of numbers in a row, each on a square as bright as it is large (sign aside). Returns them."""
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
            if table.dtype == np.uint8:  # pixels; anything else by its size, on a logarithmic scale
                shade = table / 255
            else:
                shade = np.log1p(np.abs(table)) / max(np.log1p(np.abs(table)).max(), 1e-9)
            axis.imshow(shade, cmap="gray", vmin=0, vmax=1)
            for (r, c), value in np.ndenumerate(table):
                text = f"{round(float(value)):d}".replace("-", "−")
                ink = ink_on(str(round(float(shade[r, c]), 6)))  # at the limit, the last bit must not decide
                axis.text(c, r, text, ha="center", va="center", fontsize=7.5, color=ink)
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
        axis.set_facecolor("#7fb2d0")  # between the patterns, so that a white one has an edge
        axis.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axis.set(xticks=4.5 + 9 * np.arange(8), xticklabels=range(8), xlabel="changes from left to right: v")
        axis.set(yticks=4.5 + 9 * np.arange(8), yticklabels=range(8), ylabel="changes from top to bottom: u")
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        finish(figure)
    return patterns


def plot_lines(
    x: Any,
    curves: dict[str, Any],
    xlabel: str,
    ylabel: str,
    title: str = "",
    xticks: Any = None,
    low: float | None = 0,
) -> dict[str, np.ndarray]:
    """Up to four curves over one x, each with a dash and a marker of its own; returns them by name.

    low: where the upright axis begins; None lets the curves decide.
    """
    curves = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    looks = zip((REAL, FAKE, GREEN, GREY), ("-", "--", "-.", ":"), "osD^", strict=True)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 2.9))
        for (name, values), (colour, dash, marker) in zip(curves.items(), looks, strict=False):
            axis.plot(x, values, color=colour, linestyle=dash, marker=marker, markersize=5, label=name)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(low, None))
        if xticks is not None:
            axis.set_xticks(xticks)
        axis.legend()
        finish(figure)
    return curves


# ---- lessons 04 and 05: a first CNN, training that works ----


def plot_curves(
    curves: dict[str, Sequence[float]],
    title: str = "",
    xlabel: str = "step",
    guess: float | None = None,
    logarithmic: bool = False,
) -> dict[str, np.ndarray]:
    """Up to four curves against the step (or epoch), counted from 1, each with a dash of its own.

    guess: where a dotted line "guessing" is drawn, such as ln 2 for a loss. Returns the curves by name.
    """
    drawn = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    looks = zip((GREEN, FAKE, REAL, GREY), ("-", "--", "-.", ":"), "osD^", strict=True)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 2.9))
        for (name, values), (colour, dash, marker) in zip(drawn.items(), looks, strict=False):
            few = {"marker": marker, "markersize": 5} if len(values) <= 30 else {}
            steps = np.arange(1, len(values) + 1)
            axis.plot(steps, values, color=colour, linestyle=dash, label=name, **few)
        if guess is not None:
            axis.axhline(guess, color="black", linewidth=0.8, linestyle=":")
            axis.annotate(
                "guessing", (1.01, guess), xycoords=("axes fraction", "data"), va="center", fontsize=9
            )
        if logarithmic:
            axis.set_yscale("log")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set(title=title, xlabel=xlabel)
        axis.legend(loc="best")
        finish(figure)
    return drawn


def running_mean(values: Sequence[float], width: int) -> np.ndarray:
    """The mean of each value and those before it, `width` of them in all (fewer at the start)."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    ends = np.arange(1, len(total))
    starts = np.maximum(ends - width, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def plot_four_pictures(pictures: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> list[tuple]:
    """Pictures (title, training loss, validation loss) side by side, two to a row; returns what was drawn."""
    drawn = [(title, np.asarray(a, dtype=float), np.asarray(b, dtype=float)) for title, a, b in pictures]
    rows = -(-len(drawn) // 2)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, 2, figsize=(8, 2.3 * rows), squeeze=False)
        for axis, (title, train, valid) in zip(axes.flat, drawn, strict=False):
            epochs = np.arange(1, len(train) + 1)
            axis.plot(epochs, train, color=GREY, linestyle="--", marker="o", markersize=3, label="training")
            axis.plot(epochs, valid, color=GREEN, marker="s", markersize=3, label="validation")
            axis.axhline(np.log(2), color="black", linewidth=0.8, linestyle=":")
            axis.set(ylim=(0, max(1.0, min(2.0, 1.05 * np.nanmax([train, valid])))), xlabel="epoch")
            axis.set_title(title, fontsize=11)
        axes[0, 0].legend(fontsize=9)
        finish(figure)
    return drawn


def plot_seeds(
    rows: Sequence[tuple[str, Sequence[float]]], xlabel: str = "validation AUC", low: float = 0.45
) -> np.ndarray:
    """Each row (name, one value for each seed): the seeds as dots on a line from least to most, the mean as a
    bar across it and in figures. Returns the values, rows × seeds."""
    values = np.array([row[1] for row in rows], dtype=float)
    places = np.arange(len(rows))[::-1]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 0.8 + 0.33 * len(rows)))
        axis.hlines(places, values.min(1), values.max(1), color=GREEN, linewidth=2)
        for column in values.T:
            axis.plot(column, places, "o", color="white", markeredgecolor=GREEN, markersize=6)
        axis.plot(values.mean(1), places, "|", color="black", markersize=14, markeredgewidth=2)
        for place, row in zip(places, values, strict=True):
            axis.annotate(f"{row.mean():.3f}", (1.005, place), va="center", annotation_clip=False)
        axis.axvline(values[0].mean(), color="black", linewidth=0.8, linestyle=":")
        axis.set(yticks=places, yticklabels=[row[0] for row in rows], xlabel=xlabel, xlim=(low, 1.0))
        axis.set(ylim=(-0.6, len(rows) - 0.4))
        finish(figure)
    return values


def plot_activations(curves: dict[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """The standard deviation of the numbers that leave each layer, on a logarithmic scale, one curve for each
    way to begin; returns the curves."""
    return plot_curves(curves, "How large the numbers are after each layer", "layer", logarithmic=True)


def rate_figure(
    rates: Sequence[float], losses: Sequence[float], tried: dict[float, Sequence[float]], chosen: float
) -> Figure:
    """Left the search for a learning rate, loss against rate, with a line at `chosen`; right what short
    trainings at the rates in `tried` do. The figure is not shown."""
    looks = [(REAL, ":"), (GREEN, "-"), (FAKE, "--"), (GREY, "-.")] if len(tried) > 1 else [(GREEN, "-")]
    several = "A short training at each of these rates" if len(tried) > 1 else "A short training at this rate"
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), sharey=True)
        left.plot(rates, losses, color="black", linewidth=1.5)
        left.axvline(chosen, color=GREEN, linewidth=1.5)
        left.annotate(f" rate {chosen:g}", (chosen, 0.02), xycoords=("data", "axes fraction"), color=GREEN)
        left.set(xscale="log", xlabel="learning rate, growing at each step", title="The search")
        left.set(ylim=(0, 1.4), ylabel="training loss")
        for (rate, values), (colour, dash) in zip(tried.items(), looks, strict=False):
            steps = np.arange(1, len(values) + 1)
            right.plot(steps, values, color=colour, linestyle=dash, label=f"rate {rate:g}")
        for axis in (left, right):
            axis.axhline(np.log(2), color="black", linewidth=0.8, linestyle=":")
        left.annotate("guessing", (rates[0], np.log(2)), (0, -14), textcoords="offset points", fontsize=9)
        right.set(xlabel="step", title=several)
        right.legend(fontsize=9)
        figure.tight_layout(pad=0.4)
    return figure


# ---- lesson 02: look before you learn ----


def plot_real_fake(
    real: Any, fake: Any, xlabel: str, title: str = "", bins: int = 30
) -> dict[str, np.ndarray]:
    """How often each value of one number occurs, real images upwards and fake ones downwards, like a mirror.

    Both classes share their bins, and bars are shares of the class. Returns the counts of both.
    """
    values = {"real": np.asarray(real, dtype=float), "fake": np.asarray(fake, dtype=float)}
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins)
    counts = {name: np.histogram(numbers, edges)[0] for name, numbers in values.items()}
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 2.9))
        for (name, count), colour, hatch, way in zip(
            counts.items(), (REAL, FAKE), ("", "///"), (1, -1), strict=True
        ):
            share = way * 100 * count / max(1, count.sum())
            axis.bar(edges[:-1], share, np.diff(edges), align="edge", color=colour, hatch=hatch,
                     edgecolor="white", linewidth=0.5, label=name)  # fmt: skip
        reach = 1.15 * max(np.abs(axis.get_ylim()))
        axis.set(xlabel=xlabel, ylabel="% of the class", title=title, ylim=(-reach, reach))
        axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axis.axhline(0, color="black", linewidth=0.8)
        axis.legend(loc="upper right", ncols=2)
        finish(figure)
    return counts


def plot_rings(real: Any, fake: Any) -> np.ndarray:
    """Mean log-power of real and fake images at each frequency, and below it the difference fake − real.

    real, fake: arrays images × frequencies (natural logarithms). Returns the difference of the means.
    """
    means = [np.asarray(values, dtype=float).mean(axis=0) for values in (real, fake)]
    difference, frequency = means[1] - means[0], np.arange(1, len(means[0]) + 1)
    with plt.rc_context(STYLE):
        figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 4.2), sharex=True, height_ratios=[3, 2])
        upper.plot(frequency, means[0], color=REAL, label="real")
        upper.plot(frequency, means[1], color=FAKE, linestyle="--", label="fake")
        upper.set(ylabel="mean log-power", title="Coarse to fine")
        upper.legend()
        lower.fill_between(frequency, difference, color=GREY, alpha=0.35)
        lower.plot(frequency, difference, color="black", linewidth=1)
        lower.axhline(0, color="black", linewidth=0.8)
        lower.set(ylabel="fake − real", xlabel="waves across the picture")
        finish(figure)
    return difference


# ---- lesson 06: residual blocks ----


def plot_by_depth(
    curves: dict[str, Any], depths: Sequence[int], xlabel: str = "blocks", ylabel: str = "validation AUC"
) -> dict[str, np.ndarray]:
    """Up to five curves over the depth: the mean of the seeds as a line, each seed as a small mark.

    curves: name -> depths × seeds. Names stand at the lines' ends, moved apart where they would overlap.
    Returns the values by name.
    """
    drawn = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    looks = list(zip((GREEN, REAL, FAKE, GREY, "black"), ("-", "-.", "--", (0, (5, 1, 1, 1, 1, 1)), ":"),
                     "osD^v", strict=True))  # fmt: skip
    places = np.arange(len(depths))  # equally far apart: 2 and 8 differ as much as 16 and 24
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.5, 3.4))
        for (name, values), (colour, dash, marker) in zip(drawn.items(), looks, strict=False):
            axis.plot(places, values.mean(1), color=colour, linestyle=dash, label=name)
            for seed in values.T:
                axis.plot(places, seed, marker, color="none", markeredgecolor=colour, markersize=6)
        axis.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.annotate("guessing", (places[0], 0.5), (0, 3), textcoords="offset points", fontsize=9)
        low, step = round(axis.get_ylim()[0], 6), 0.047  # rounded: sums differ in the last bit between runs
        last = sorted(((round(values[-1].mean(), 6), name) for name, values in drawn.items()))
        height = low
        for look_at, name in last:
            height = max(look_at, height + step)
            colour = looks[list(drawn).index(name)][0]
            axis.annotate(name, (places[-1], look_at), (places[-1] + 0.12, height), fontsize=10, va="center",
                          color=INK.get(colour, colour), annotation_clip=False)  # fmt: skip
        axis.set(xticks=places, xticklabels=depths, xlabel=xlabel, ylabel=ylabel)
        finish(figure)
    return drawn


# ---- lesson 08: spatial attention ----


def overlay(image: Any, weights: Any, low: float, high: float) -> np.ndarray:
    """A face in grey, tinted by place weights: purple below the middle of low…high, orange above. uint8."""
    grey = as_picture(image).mean(axis=2) / 255
    values = np.asarray(torch.as_tensor(weights).detach(), dtype=float)
    rows = np.arange(grey.shape[0]) * values.shape[0] // grey.shape[0]
    columns = np.arange(grey.shape[1]) * values.shape[1] // grey.shape[1]
    share = np.clip((values[np.ix_(rows, columns)] - low) / max(high - low, 1e-12), 0, 1)
    tint = plt.get_cmap("PuOr_r")(share)[..., :3]
    return np.round(255 * (0.35 * grey[..., None] + 0.65 * tint * (0.4 + 0.6 * grey[..., None]))).astype(
        np.uint8
    )


def show_over_faces(
    faces: Sequence[Any],
    maps: Sequence[Any],
    titles: Sequence[str],
    limits: tuple[float, float] | None = (0.0, 1.0),
    columns: int = 4,
    size: float = 1.9,
) -> np.ndarray:
    """Place weights laid over faces, with one colour bar; a map that is None shows the face alone.

    limits: what the two ends of the colours mean, for all maps alike. None stretches each map from its own
    smallest to its own largest value, which makes a flat map look lively: the colour bar then has no numbers.
    Returns smallest and largest weight of each map, maps × 2 (NaN where there is none).
    """
    if not len(faces) == len(maps) == len(titles) or not len(faces):
        raise ValueError("show_over_faces needs as many faces as maps and titles, and at least one.")
    rows, ranges = -(-len(faces) // columns), np.full((len(faces), 2), np.nan)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(columns * size + 0.9, rows * (size + 0.28)), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for axis in axes.flat:
            axis.axis("off")
        for i, (axis, face, weights, title) in enumerate(zip(axes.flat, faces, maps, titles, strict=False)):
            picture = as_picture(face)
            if weights is not None:
                values = torch.as_tensor(weights).detach()
                ranges[i] = float(values.min()), float(values.max())
                picture = overlay(face, values, *(limits or ranges[i]))
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=10, loc="center", pad=3)
        low, high = limits or (0.0, 1.0)
        scale = plt.cm.ScalarMappable(plt.Normalize(low, high), "PuOr_r")
        bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.02)
        if limits is None:
            bar.set_ticks([0, 1], labels=["its\nsmallest", "its\nlargest"])
        bar.ax.tick_params(labelsize=9)
        plt.show()
        plt.close(figure)
    return ranges


# ---- lesson 07: channel attention ----


def show_channels(
    rows: dict[str, Any], names: Sequence[str], captions: Sequence[Sequence[str]], size: float = 1.7
) -> dict[str, np.ndarray]:
    """Feature maps C×H×W, one row for each entry, one column for each channel; black is 0 or less.

    Each column has one brightness scale for all its rows, so that they can be compared. captions: a line
    above each map, rows × columns. Returns the rows as float64.
    """
    drawn = {name: np.asarray(torch.as_tensor(maps).detach(), dtype=float) for name, maps in rows.items()}
    stacked = np.stack([*drawn.values()])  # rows × C × H × W
    if stacked.ndim != 4 or stacked.shape[1] != len(names) or len(captions) != len(stacked):
        raise ValueError("show_channels needs C×H×W maps, a name for each channel, captions for each row.")
    tops = [max(np.quantile(stacked[:, c], 0.995), 1e-9) for c in range(len(names))]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            *stacked.shape[:2],
            figsize=(size * len(names) + 0.4, (size + 0.3) * len(stacked) + 0.2),
            squeeze=False,
        )
        for r, c in np.ndindex(stacked.shape[:2]):
            axis = axes[r, c]
            axis.imshow(stacked[r, c], cmap="gray", vmin=0, vmax=tops[c], interpolation="nearest")
            above = f"{names[c]}\n{captions[r][c]}" if r == 0 else captions[r][c]
            axis.set_title(above, fontsize=10, loc="center", pad=3)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for r, name in enumerate(drawn):
            axes[r, 0].set_ylabel(name, fontsize=11)
        finish(figure)
    return drawn


def show_attention(
    matrices: Sequence[Any],
    titles: Sequence[str],
    numbers: bool = False,
    size: float = 3.1,
    label: str = "share of attention",
    top: float | None = None,
) -> list[np.ndarray]:
    """Matrices whose rows say who listens to whom, side by side, on one colour scale from 0; returns them.

    numbers: write each entry into its square; for small matrices. top: where the scale ends; all above it
    looks alike. label: what stands beside the scale.
    """
    arrays = [np.asarray(torch.as_tensor(m).detach(), dtype=float) for m in matrices]
    if not arrays or len(arrays) != len(titles) or any(a.ndim != 2 for a in arrays):
        raise ValueError("show_attention needs matrices of two dimensions and as many titles.")
    end = "max" if top and any(a.max() > top for a in arrays) else "neither"
    top = top or max(a.max() for a in arrays)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            len(arrays),
            figsize=(size * len(arrays) + 0.7, size + 0.1),
            squeeze=False,
            layout="constrained",
        )
        for axis, array, title in zip(axes.flat, arrays, titles, strict=True):
            picture = axis.imshow(array, cmap="cividis", vmin=0, vmax=top, interpolation="nearest")
            axis.set_title(title, fontsize=11)
            axis.set(xlabel="channel j, heard", ylabel="channel i, listening")
            if len(array) <= 8:
                axis.set(xticks=range(len(array)), yticks=range(len(array)))
            if numbers:
                for (i, j), value in np.ndenumerate(array):
                    ink = ink_on(picture.to_rgba(value)[:3])
                    axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=10, color=ink)
        if not numbers:
            figure.colorbar(picture, ax=[*axes.flat], shrink=0.85, label=label, extend=end)
        plt.show()
        plt.close(figure)
    return arrays


def plot_costs(channels: Sequence[int], costs: dict[str, dict[str, Sequence[float]]]) -> dict[str, Any]:
    """One panel for each kind of cost, a line for each gate over the number of channels, both axes
    logarithmic; `costs[panel][gate]` are the numbers. Returns them as arrays."""
    drawn = {
        panel: {gate: np.asarray(values, dtype=float) for gate, values in lines.items()}
        for panel, lines in costs.items()
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(drawn), figsize=(3.9 * len(drawn), 2.9), squeeze=False)
        for axis, (panel, lines) in zip(axes.flat, drawn.items(), strict=True):
            looks = zip((GREEN, FAKE, REAL, GREY), ("-", "--", "-.", ":"), "osD^", strict=True)
            for (gate, values), (colour, dash, marker) in zip(lines.items(), looks, strict=False):
                axis.plot(channels, values, color=colour, linestyle=dash, marker=marker, markersize=6)
                axis.annotate(
                    gate, (channels[-1], values[-1]), (7, 0), textcoords="offset points", va="center"
                )
            axis.set(xscale="log", yscale="log", xlabel="channels", title=panel)
            axis.set_xticks(channels, [str(c) for c in channels])
            axis.minorticks_off()
            axis.set_xlim(channels[0] * 0.8, channels[-1] * 3.2)
        finish(figure)
    return drawn


def plot_gains(
    panels: dict[str, Sequence[tuple[str, float, float, float]]], xlabel: str = "gain in validation AUC"
) -> dict[str, np.ndarray]:
    """Panels of rows (name, gain, low, high) under one another, each gain a dot on its interval, beside a
    line at 0; one axis for all. Returns the numbers by panel."""
    drawn = {title: np.array([row[1:] for row in rows], dtype=float) for title, rows in panels.items()}
    reach = 1.5 * max(np.abs(numbers).max() for numbers in drawn.values())
    with plt.rc_context(STYLE):
        height = sum(0.6 + 0.3 * len(rows) for rows in panels.values()) + 0.4
        figure, axes = plt.subplots(len(panels), 1, figsize=(7.2, height), sharex=True, squeeze=False)
        for axis, (title, rows) in zip(axes.flat, panels.items(), strict=True):
            numbers, places = drawn[title], np.arange(len(rows))[::-1]
            axis.axvline(0, color="black", linewidth=0.8, linestyle=":")
            axis.hlines(places, numbers[:, 1], numbers[:, 2], color=GREEN, linewidth=3)
            axis.plot(numbers[:, 0], places, "o", color="black", markersize=5)
            for place, (value, _, high) in zip(places, numbers, strict=True):
                text = f"{value:+.4f}".replace("-", "\u2212")
                axis.annotate(
                    text, (high, place), (6, 0), textcoords="offset points", va="center", fontsize=10
                )
            axis.set(yticks=places, yticklabels=[row[0] for row in rows], ylim=(-0.6, len(rows) - 0.4))
            axis.set(xlim=(-reach, reach), title=title)
        axes[-1, 0].set_xlabel(xlabel)
        finish(figure)
    return drawn


# ---- lesson 10: FaceNeSt, whole ----


def plot_growth(
    x: Sequence[float],
    curves: dict[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    ticks: Sequence[str] | None = None,
    base: int = 2,
) -> dict[str, float]:
    """Up to four curves of positive numbers, both axes in powers of `base`, each name with its slope.

    A slope of 1 is "linear": twice the input, twice the output; a slope of 2 is "quadratic": four times.
    ticks: what stands below each x, if not the number itself. Returns the slopes by name, from the first
    point to the last.
    """
    x = np.asarray(x, dtype=float)
    looks = zip((FAKE, GREEN, REAL, GREY), ("--", "-", "-.", ":"), "soD^", strict=True)
    slopes = {}
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 3.1))
        for (name, values), (colour, dash, marker) in zip(curves.items(), looks, strict=False):
            y = np.asarray(values, dtype=float)
            slopes[name] = float(np.log(y[-1] / y[0]) / np.log(x[-1] / x[0]))
            words = f"{name}: slope {slopes[name]:.2f}"
            axis.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=5, label=words)
        axis.set_xscale("log", base=base)
        axis.set_yscale("log", base=base)
        axis.set_xticks(x, ticks or [f"{n:g}" for n in x])
        axis.minorticks_off()
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axis.legend()
        finish(figure)
    return slopes


def plot_differences(
    panels: dict[str, dict[str, tuple[float, float, float]]],
    reach: float = 0.1,
    xlabel: str = "difference in AUC",
) -> dict[str, dict[str, str]]:
    """Panels side by side over the same rows; panels[title][row] = (difference, low, high), and a line at 0.

    A full circle: the interval leaves out 0; an open one: it does not. What lies beyond `reach` is an arrow
    at the edge, and its number tells how far. A row that a panel lacks stays empty there. Returns for each
    panel which rows are "below" 0, "above" it, or "open".
    """
    rows = [*dict.fromkeys(row for panel in panels.values() for row in panel)]
    told: dict[str, dict[str, str]] = {}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            len(panels),
            figsize=(2.6 + 3.2 * len(panels), 0.9 + 0.27 * len(rows)),
            sharey=True,
            squeeze=False,
        )
        for axis, (title, panel) in zip(axes.flat, panels.items(), strict=True):
            told[title] = {}
            axis.axvline(0, color="black", linewidth=0.8, linestyle=":")
            for place, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
                if row not in panel:
                    continue
                value, low, high = panel[row]
                kind = "below" if high < 0 else "above" if low > 0 else "open"
                told[title][row] = kind
                axis.plot(np.clip([low, high], -reach, reach), [place, place], color=GREEN, linewidth=2.5)
                marker = "<" if value < -reach else ">" if value > reach else "o"
                face = "white" if kind == "open" else "black"
                spot = float(np.clip(value, -0.97 * reach, 0.97 * reach))
                axis.plot(spot, place, marker, color=face, markeredgecolor="black", markersize=6)
                text = f"{value:+.3f}".replace("-", "\u2212")
                axis.annotate(
                    text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9
                )
            axis.set(xlim=(-reach, reach), ylim=(-0.6, len(rows) - 0.4), title=title, xlabel=xlabel)
            axis.set_yticks(range(len(rows)), rows[::-1])
        finish(figure)
    return told


def plot_rivals(rows: dict[str, Sequence[float]], xlabel: str = "test AUC") -> dict[str, np.ndarray]:
    """A row for each network: a circle for each value (one a seed), a bar at the mean, which also stands at
    the right; a dotted line at 0.5. Returns the values by row."""
    drawn = {name: np.asarray(values, dtype=float) for name, values in rows.items()}
    lowest = min(values.min() for values in drawn.values())
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.8, 0.8 + 0.36 * len(drawn)))
        for place, values in zip(range(len(drawn) - 1, -1, -1), drawn.values(), strict=True):
            axis.hlines(place, values.min(), values.max(), color=GREEN, linewidth=1.5)
            height = np.full(len(values), place)
            axis.plot(values, height, "o", color="white", markeredgecolor=GREEN, markersize=6)
            axis.plot(values.mean(), place, "|", color="black", markersize=11, markeredgewidth=2)
            text = f"{values.mean():.3f}"
            axis.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.set(yticks=range(len(drawn)), yticklabels=[*drawn][::-1], xlabel=xlabel)
        axis.set(xlim=(lowest - 0.08 * (1 - lowest), None), ylim=(-0.5, len(drawn) - 0.5))
        finish(figure)
    return drawn


def plot_scale_weights(weights: Any, labels: Any, title: str = "") -> dict[str, np.ndarray]:
    """For each scale the weights it got, one dot for each image: reals left, fakes right, a bar at each mean.

    weights: images × scales; labels: 1 is fake. Returns the weights by class, "real" and "fake".
    """
    weights, labels = np.asarray(weights, dtype=float), np.asarray(labels)
    drawn = {"real": weights[labels == 0], "fake": weights[labels == 1]}
    generator = np.random.default_rng(0)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.2, 3.0))
        for (name, rows), shift, colour, mark in zip(
            drawn.items(), (-0.18, 0.18), (REAL, FAKE), "od", strict=True
        ):
            for i, column in enumerate(rows.T):
                x = i + 1 + shift + generator.uniform(-0.1, 0.1, len(column))
                label = name if i == 0 else None
                axis.plot(x, column, mark, color=colour, markersize=3, alpha=0.55, mew=0, label=label)
                axis.hlines(column.mean(), i + 0.85 + shift, i + 1.15 + shift, color="black", linewidth=2)
        axis.axhline(1 / weights.shape[1], color="black", linewidth=0.8, linestyle=":")
        axis.set(xlabel="scale (1 finest)", ylabel="weight", ylim=(0, None), title=title)
        axis.set_xticks(range(1, weights.shape[1] + 1))
        axis.legend(markerscale=2, loc="upper left")
        finish(figure)
    return drawn


# ---- lesson 12: judge it ----

CURVES = tuple(zip((GREEN, FAKE, REAL, GREY), ("-", "--", "-.", ":"), strict=True))  # colour and dash


def draw_roc(
    axis: Any, curves: dict[str, tuple[Any, Any]], marks: dict[str, float] | None = None, log: bool = False
) -> dict[str, np.ndarray]:
    """The work of `plot_roc` on an axis."""
    marks, drawn = marks or {}, {}
    diagonal = np.linspace(1e-4 if log else 0, 1, 200)
    axis.plot(diagonal, diagonal, color="black", linewidth=0.8, linestyle=":")
    for (name, (y, p)), (colour, dash) in zip(curves.items(), CURVES, strict=False):
        fpr, tpr, thresholds = roc_points(y, p)
        drawn[name] = np.column_stack([fpr, tpr])
        label = f"{name}: AUC {fast_auc(*check_scores(y, p)):.3f}"
        floor = 0.3 / (np.asarray(y) == 0).sum()  # where 0 stands on a logarithmic axis
        axis.plot(np.maximum(fpr, floor) if log else fpr, tpr, color=colour, linestyle=dash, label=label)
        if name in marks:
            at = int(np.searchsorted(-thresholds, -marks[name], side="right")) - 1
            axis.plot(max(fpr[at], floor) if log else fpr[at], tpr[at], "o", color="black", markersize=7)
            axis.annotate("threshold", (fpr[at], tpr[at]), (8, -12), textcoords="offset points", fontsize=9)
    axis.set(xlabel="FPR: reals accused", ylabel="TPR: fakes found", ylim=(-0.02, 1.03))
    if log:
        axis.set_xscale("log")
    else:
        axis.set_xlim(-0.02, 1.02)
    axis.legend(loc="lower right", fontsize=9)
    return drawn


def plot_roc(
    curves: dict[str, tuple[Any, Any]], marks: dict[str, float] | None = None, log: bool = False
) -> dict[str, np.ndarray]:
    """ROC curves, one for each name -> (labels, scores), up to four; the dotted line is guessing.

    marks: name -> a threshold to mark on that curve. log: the false positive rate on a logarithmic axis; an
    FPR of 0, which it does not have, stands at a third of one image. Returns the corners (fpr, tpr) by name.
    """
    for y, p in curves.values():
        check_scores(y, p)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5.6, 4.2))
        drawn = draw_roc(axis, curves, marks, log)
        finish(figure)
    return drawn


def plot_precision_recall(curves: dict[str, tuple[Any, Any]]) -> dict[str, np.ndarray]:
    """Precision against recall, one step curve for each name -> (labels, scores); dotted: a coin.

    Returns the corners (recall, precision) by name.
    """
    from sklearn.metrics import precision_recall_curve

    drawn = {}
    for y, p in curves.values():
        check_scores(y, p)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(5.6, 3.6))
        for (name, (y, p)), (colour, dash) in zip(curves.items(), CURVES, strict=False):
            y, p = check_scores(y, p)
            precision, recall, _ = precision_recall_curve(y, p)
            drawn[name] = np.column_stack([recall, precision])
            label = f"{name}: AP {average_precision(y, p):.3f}"
            axis.step(recall, precision, where="post", color=colour, linestyle=dash, label=label)
            axis.axhline(y.mean(), color=colour, linewidth=0.8, linestyle=":")
        axis.set(xlabel="recall: fakes found", ylabel="precision: alarms that are right")
        axis.set(xlim=(-0.02, 1.02), ylim=(0, 1.05))
        axis.legend(loc="lower left", fontsize=9)
        finish(figure)
    return drawn


def draw_confusion(axis: Any, counts: Any) -> np.ndarray:
    """The work of `plot_confusion` on an axis."""
    counts = check_counts(counts)
    words = (("left alone", "accused"), ("missed", "found"))
    for truth in (0, 1):
        total = max(1, counts[truth].sum())
        for said in (0, 1):
            right, share = truth == said, counts[truth, said] / total
            axis.add_patch(
                plt.Rectangle(
                    (said, 1 - truth), 1, 1, facecolor="#E4EFEB" if right else "white", edgecolor="black",
                    hatch="" if right else "//", lw=0.8,
                )
            )  # fmt: skip
            told = f"{counts[truth, said]:,}\n{words[truth][said]}, {100 * share:.1f} %"
            axis.text(
                said + 0.5, 1.5 - truth, told,
                ha="center", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
            )  # fmt: skip
    axis.set(xlim=(0, 2), ylim=(0, 2), xticks=(0.5, 1.5), xticklabels=("called real", "called fake"))
    axis.set(yticks=(1.5, 0.5), yticklabels=("real", "fake"))
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return counts


def check_counts(counts: Any) -> np.ndarray:
    """A confusion matrix, or a `DataError`."""
    counts = np.asarray(counts)
    if counts.shape != (2, 2) or counts.dtype.kind not in "iu" or counts.min() < 0 or counts.sum() == 0:
        raise DataError("A confusion matrix is 2 x 2 counts, as evaluation.confusion gives them.")
    return counts


def plot_confusion(counts: Any) -> np.ndarray:
    """A confusion matrix as a table: a row for what the images are, a column for what was said of them.

    Mistakes are hatched; the shares are of the row. Returns the counts.
    """
    check_counts(counts)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(4.6, 2.2))
        counts = draw_confusion(axis, counts)
        finish(figure)
    return counts


def draw_reliability(axis: Any, table: Any, colour: str = GREEN, label: str = "") -> None:
    """One reliability table as dots with their intervals, beside the diagonal."""
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    off = [np.maximum(table["fake"] - table["low"], 0), np.maximum(table["high"] - table["fake"], 0)]
    axis.errorbar(
        table["said"], table["fake"], yerr=off, fmt="o", color=colour, markersize=5, capsize=2, label=label
    )
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="share of fakes")


def plot_reliability(tables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Reliability diagrams side by side, one for each name -> table of `calibration.reliability`.

    Above, the share of fakes against the mean P(fake) of each bin, with its 95 % interval; on the dotted
    line what is said is true. Below, how many images each bin holds. Returns (said, fake, n) by name.
    """
    wanted = ["from", "to", "n", "said", "fake", "low", "high"]
    if not tables or not all(set(wanted) <= set(getattr(table, "columns", ())) for table in tables.values()):
        raise DataError("plot_reliability needs tables of calibration.reliability by name, at least one.")
    drawn = {name: table[["said", "fake", "n"]].to_numpy(float) for name, table in tables.items()}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2, len(tables), figsize=(3.6 * len(tables), 4.3), squeeze=False, sharex=True, sharey="row",
            height_ratios=[3, 1.1],
        )  # fmt: skip
        for (upper, lower), (name, table) in zip(axes.T, tables.items(), strict=True):
            draw_reliability(upper, table)
            upper.set(title=name)
            lower.bar(table["from"], table["n"], table["to"] - table["from"], align="edge", color=GREY,
                      edgecolor="white")  # fmt: skip
            for _, row in table.iterrows():
                place = ((row["from"] + row["to"]) / 2, row["n"])
                lower.annotate(f"{row['n']:.0f}", place, (0, 1), textcoords="offset points", ha="center",
                               fontsize=8)  # fmt: skip
            lower.set(xlabel="P(fake) said")
            lower.set_ylim(0, 1.25 * max(table["n"].max(), lower.get_ylim()[1] / 1.25))
        for axis in axes[0, 1:]:
            axis.set_ylabel("")
        axes[1, 0].set_ylabel("images")
        finish(figure)
    return drawn


def ranking_figure(y: Any, p: Any, threshold: float) -> Figure:
    """Left a few scores on a line from 0 to 1 with a threshold across; right the ROC curve, and where the
    threshold stands on it. Reals are blue circles, fakes orange diamonds. The figure is not shown."""
    y, p = check_scores(y, p)
    counts = confusion(y, p, threshold)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.3), width_ratios=[1.5, 1])
        for label, (name, colour, marker) in enumerate((("real", REAL, "o"), ("fake", FAKE, "D"))):
            height = np.full((y == label).sum(), 1.0 + label)
            left.plot(p[y == label], height, marker, color=colour, markersize=9, markeredgecolor="white")
            ink = INK.get(colour, colour)
            left.text(-0.03, 1.0 + label, name, ha="right", va="center", color=ink, weight="bold")
        left.axvspan(min(max(threshold, 0), 1.06), 1.06, color=GREY, alpha=0.13, lw=0)
        left.axvline(min(max(threshold, 0), 1.06), color="black", linewidth=1.2)
        left.text(1.05, 2.62, "called fake", ha="right", fontsize=10)
        left.text(-0.01, 2.62, "called real", ha="left", fontsize=10)
        left.set(xlim=(-0.02, 1.06), ylim=(0.4, 2.9), yticks=[], xlabel="P(fake)")
        left.spines["left"].set_visible(False)
        fpr, tpr, _ = roc_points(y, p)
        right.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
        right.plot(fpr, tpr, color=GREEN, marker=".", markersize=7)
        rates = counts[:, 1] / counts.sum(1)
        right.plot(*rates, "o", color="black", markersize=10, fillstyle="none", markeredgewidth=2)
        right.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), xlabel="FPR: reals accused")
        right.set(ylabel="TPR: fakes found", aspect="equal")
        figure.tight_layout(pad=0.4)
    return figure


def plot_ranking(y: Any, p: Any, threshold: float = 0.5) -> np.ndarray:
    """A few scores on a line, and where a threshold stands on their ROC curve; returns the confusion matrix
    at that threshold."""
    counts = confusion(y, p, threshold)
    ranking_figure(y, p, threshold)
    plt.show()
    plt.close()
    return counts


def natural_frequencies(tpr: float, fpr: float, prevalence: float) -> dict[str, float]:
    """Of so many pictures, how many are what and are called what: expected numbers, not rounded.

    The number of pictures is 1,000, or ten, a hundred … times that if fewer than 100 would be fakes.
    Keys: pictures, fakes, reals, found, missed, accused, spared, alarms, precision (NaN without alarms).
    """
    precision = precision_at_prevalence(tpr, fpr, prevalence)
    pictures = 1_000
    while 0 < pictures * prevalence < 99.999 and pictures < 1_000_000:
        pictures *= 10
    fakes = pictures * prevalence
    reals = pictures - fakes
    found, accused = tpr * fakes, fpr * reals
    return {
        "pictures": pictures, "fakes": fakes, "reals": reals, "found": found, "missed": fakes - found,
        "accused": accused, "spared": reals - accused, "alarms": found + accused, "precision": precision,
    }  # fmt: skip


def whole_shares(parts: Sequence[float], total: int) -> list[int]:
    """Parts as whole numbers that add up to ``total``: rounded down, the rest to the largest remainders."""
    shares = np.asarray(parts, dtype=float) / max(sum(parts), 1e-12) * total
    whole = np.floor(shares + 1e-9).astype(int)
    for place in np.argsort(whole - shares)[: total - whole.sum()]:
        whole[place] += 1
    return whole.tolist()


def squares(axis: Any, counts: Sequence[int], columns: int, size: float) -> None:
    """Squares in rows: fakes found (orange, a diamond inside), fakes missed (orange frame), reals accused
    (blue, a cross inside), reals left alone (pale)."""
    place = np.arange(sum(counts))
    x, height = place % columns, -(place // columns)
    looks = [(FAKE, FAKE, "D", "white"), ("white", FAKE, "", ""), (REAL, REAL, "x", "white"),
             ("#DDDDDD", "#DDDDDD", "", "")]  # fmt: skip
    begin = 0
    for count, (face, edge, sign, ink) in zip(counts, looks, strict=True):
        part = slice(begin, begin + count)
        axis.scatter(x[part], height[part], s=size, marker="s", facecolor=face, edgecolor=edge, linewidth=1)
        if sign:
            small = size / 4 if size > 30 else size / 9  # on tiny squares a large sign would hide the fill
            axis.scatter(x[part], height[part], s=small, marker=sign, color=ink, linewidth=small / 11)
        begin += count
    axis.set(xlim=(-0.8, columns - 0.2), ylim=(height.min() - 0.8 if len(place) else -1, 0.8))
    axis.set_aspect("equal")
    axis.axis("off")


def base_rate_figure(tpr: float, fpr: float, prevalence: float) -> Figure:
    """Left 1,000 pictures as squares, in the middle 100 alarms, right the precision against the share of
    fakes among all pictures. The figure is not shown."""
    numbers = natural_frequencies(tpr, fpr, prevalence)
    parts = [numbers[key] for key in ("found", "missed", "accused", "spared")]
    with plt.rc_context(STYLE):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8.3, 3.2), width_ratios=[1.7, 0.85, 1.3])
        squares(left, whole_shares(parts, 1000), 40, 14)
        each = "" if numbers["pictures"] == 1000 else f" (a square is {numbers['pictures'] // 1000:,})"
        left.set_title(f"{numbers['pictures']:,} pictures{each}")
        if numbers["alarms"] > 0:
            right_ones = whole_shares([numbers["found"], numbers["accused"]], 100)
            squares(middle, [right_ones[0], 0, right_ones[1], 0], 10, 42)
            middle.set_title("100 alarms")
        else:
            middle.axis("off")
            middle.set_title("no alarms")
        handles = [
            plt.Line2D([], [], linestyle="", marker="s", markersize=9, markerfacecolor=face,
                       markeredgecolor=edge, label=label)
            for face, edge, label in (
                (FAKE, FAKE, "fake found ◆"), ("white", FAKE, "fake missed"),
                (REAL, REAL, "real accused ×"), ("#DDDDDD", "#DDDDDD", "real left alone"),
            )
        ]  # fmt: skip
        figure.legend(handles=handles, loc="lower left", ncols=4, fontsize=8.5, handletextpad=0.2,
                      columnspacing=1.0, bbox_to_anchor=(0.0, -0.02))  # fmt: skip
        shares = np.logspace(-4, np.log10(0.5), 200)
        right.plot(100 * shares, [100 * precision_at_prevalence(tpr, fpr, s) for s in shares], color=GREEN)
        if prevalence > 0 and numbers["alarms"] > 0:
            right.plot(100 * prevalence, 100 * numbers["precision"], "o", color="black", markersize=8)
        right.set(xscale="log", ylim=(-3, 104), xlabel="% of all pictures that are fakes")
        right.set_xticks([0.01, 0.1, 1, 10, 50], ["0.01", "0.1", "1", "10", "50"])
        right.set_title("% of alarms that are right")
        figure.tight_layout(pad=0.4, rect=(0, 0.07, 1, 1))
    return figure


def plot_base_rate(tpr: float, fpr: float, prevalence: float) -> dict[str, float]:
    """What an alarm is worth where so many of all pictures are fakes; returns `natural_frequencies`."""
    base_rate_figure(tpr, fpr, prevalence)
    plt.show()
    plt.close()
    return natural_frequencies(tpr, fpr, prevalence)


# ---- lesson 14: explain it ----


def show_signed_maps(
    faces: Sequence[Any],
    maps: Sequence[Any],
    titles: Sequence[str],
    masks: Sequence[Any] | None = None,
    columns: int = 6,
    size: float = 1.35,
) -> np.ndarray:
    """Maps laid over faces: orange speaks for fake, purple for real, grey is 0; None shows the face alone.

    Each map has a unit of its own, so each is drawn from -r to r with its own largest size r, which stands in
    its title. masks: where the forgery is, drawn as an outline. Returns r of each map (NaN where there is
    none).
    """
    masks = [None] * len(faces) if masks is None else masks
    if not len(faces) == len(maps) == len(titles) == len(masks) or not len(faces):
        raise ValueError("show_signed_maps needs as many faces as maps, titles and masks, at least one.")
    columns = min(columns, len(faces))
    rows, reaches = -(-len(faces) // columns), np.full(len(faces), np.nan)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(columns * size, rows * (size + 0.27)), squeeze=False
        )
        for axis in axes.flat:
            axis.axis("off")
        drawn = zip(axes.flat, faces, maps, titles, masks, strict=False)
        for i, (axis, face, values, title, mask) in enumerate(drawn):
            picture = as_picture(face)
            if values is not None:
                reaches[i] = float(torch.as_tensor(values).detach().abs().max())
                picture = overlay(face, values, -max(reaches[i], 1e-12), max(reaches[i], 1e-12))
                title = f"{title} \u00b1{reaches[i]:.2g}"
            axis.imshow(picture, interpolation="nearest")
            if mask is not None:
                inside = np.asarray(torch.as_tensor(mask), dtype=float)
                for colour, width in (("black", 2.2), ("white", 1.0)):
                    axis.contour(inside, levels=[0.5], colors=colour, linewidths=width)
            axis.set_title(title, fontsize=8.5, loc="center", pad=3)
        finish_light(figure)
    return reaches


def finish_light(figure: Figure, colours: int = 96) -> None:
    """`finish`, as a picture of few colours: a fraction of the bytes where noise over faces is drawn."""
    from IPython.display import Image as Shown
    from IPython.display import display

    figure.tight_layout(pad=0.4)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, facecolor="white")
    plt.close(figure)
    few, stream = Image.open(stream).convert("RGB").quantize(colours, dither=Image.Dither.NONE), io.BytesIO()
    few.save(stream, "PNG", optimize=True)
    display(Shown(stream.getvalue()))


def plot_shares(
    rows: Sequence[tuple[str, float, float, float]],
    marks: dict[str, float] | None = None,
    xlabel: str = "share of pictures",
) -> np.ndarray:
    """Each row (name, value, low, high), values 0..1, as a dot on its interval, first row on top.

    marks: baselines, drawn as dotted lines with their names. Returns the numbers, rows x 3.
    """
    numbers = np.array([row[1:] for row in rows], dtype=float)
    places = np.arange(len(rows))[::-1]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 1.0 + 0.36 * len(rows)))
        axis.hlines(places, numbers[:, 1], numbers[:, 2], color=GREEN, linewidth=3)
        axis.plot(numbers[:, 0], places, "o", color="black", markersize=5)
        for place, (value, *_) in zip(places, numbers, strict=True):
            axis.annotate(f"{value:.2f}", (1.01, place), xycoords=("axes fraction", "data"), va="center")
        for k, (name, value) in enumerate((marks or {}).items()):
            axis.axvline(value, color="black", linewidth=0.9, linestyle=":")
            axis.annotate(
                name, (value, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2 + 13 * (k % 2)),
                textcoords="offset points", ha="center", fontsize=9,
            )  # fmt: skip
        axis.set(yticks=places, yticklabels=[row[0] for row in rows], xlabel=xlabel, xlim=(-0.02, 1.0))
        axis.set(ylim=(-0.6, len(rows) - 0.4))
        finish(figure)
    return numbers


def plot_cascade(
    steps: Sequence[str],
    curves: dict[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    zero: bool = True,
    size: tuple[float, float] = (7.6, 3.0),
) -> dict[str, np.ndarray]:
    """A few curves over named steps, each with a dash and a marker of its own; a dotted line at 0."""
    drawn = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    looks = zip((GREEN, FAKE, REAL, GREY, "black"), ("-", "--", "-.", ":", "-"), "osD^x", strict=True)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=size)
        for (name, values), (colour, dash, marker) in zip(drawn.items(), looks, strict=False):
            axis.plot(values, color=colour, linestyle=dash, marker=marker, markersize=5, label=name)
        if zero:
            axis.axhline(0, color="black", linewidth=0.8, linestyle=":")
        axis.set_xticks(range(len(steps)), steps, fontsize=9.5)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        finish(figure)
    return drawn


# ---- lesson 13: break it ----


def plot_severity(
    curves: Sequence[Any] | dict[str, Sequence[Any]], columns: int = 3, accuracy: bool | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Severity curves (`robustness.SeverityCurve`), a panel for each kind, mild to strong from left to right.

    curves: those of one detector, or name -> those of up to three detectors. Each point stands on its 95 %
    interval; the first is the pictures as they are. accuracy: a dashed line for it, at the detector's own
    threshold (left out: for one detector only). Returns the AUCs by kind and name, and "accuracy" if drawn.
    """
    by_name = curves if isinstance(curves, dict) else {"AUC": list(curves)}
    accuracy = len(by_name) == 1 if accuracy is None else accuracy
    if not by_name or not all(by_name.values()):
        raise DataError("plot_severity needs at least one severity curve of each detector.")
    kinds = {curve.kind: curve for curve in next(iter(by_name.values()))}
    drawn: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in kinds}
    columns = min(columns, len(kinds))
    rows = -(-len(kinds) // columns)
    looks = tuple(zip((GREEN, FAKE, REAL), ("-", "--", "-."), "osD", strict=True))
    with plt.rc_context(STYLE):
        size = (3.1 * columns, 2.35 * rows + 0.3)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=True)
        for number, (name, group) in enumerate(by_name.items()):
            colour, dash, mark = looks[number % 3]
            for curve in group:
                axis, places = axes.flat[list(kinds).index(curve.kind)], np.arange(len(curve.auc))
                drawn[curve.kind][name] = curve.auc
                axis.fill_between(places, curve.auc_low, curve.auc_high, color=colour, alpha=0.18, lw=0)
                axis.plot(places, curve.auc, dash, marker=mark, color=colour, markersize=4, label=name)
                if accuracy:
                    drawn[curve.kind]["accuracy"] = curve.accuracy
                    axis.plot(places, curve.accuracy, "--", marker="s", color=FAKE, markersize=4,
                              fillstyle="none", label="accuracy")  # fmt: skip
        for axis, (kind, curve) in zip(axes.flat, kinds.items(), strict=False):
            axis.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
            axis.set_xticks(range(len(curve.steps)), ["as is", *curve.steps[1:]], fontsize=8.5)
            axis.set(title=kind, ylim=(min(0.35, min(v.min() for v in drawn[kind].values()) - 0.05), 1.04))
            axis.set_xlabel(curve.unit, fontsize=9.5)
        for axis in list(axes.flat)[len(kinds) :]:
            axis.axis("off")
        axes[0, 0].legend(fontsize=9, loc="lower left", frameon=True, edgecolor="none", framealpha=0.9)
        finish(figure)
    return drawn


def plot_matrix(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    low: Any = None,
    high: Any = None,
    title: str = "",
    seen: Any = None,
) -> np.ndarray:
    """AUCs as a table of coloured squares: purple below 0.5, white at it, green above; each with its number.

    low, high: intervals, written below the numbers. seen: bools, a thick yellow frame and a word where a
    training saw what it is judged on. An AUC below 0.5 is called *inverted*, and "a coin" stands where the
    interval holds 0.5. Returns the AUCs, rows x columns.
    """
    array = np.asarray(values, dtype=float)
    if array.shape != (len(rows), len(columns)):
        raise DataError(
            f"plot_matrix has {array.shape} values for {len(rows)} rows and {len(columns)} columns; give one "
            "for each square."
        )
    lows, highs = (None if x is None else np.asarray(x, dtype=float) for x in (low, high))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(2.2 + 1.6 * len(columns), 0.9 + 0.85 * len(rows)))
        picture = axis.imshow(array, cmap="PRGn", vmin=0, vmax=1, aspect="auto")
        for (r, c), value in np.ndenumerate(array):
            words = "no pictures" if np.isnan(value) else f"{value:.2f}"
            if lows is not None and highs is not None and not np.isnan(value):
                words += f"\n{lows[r, c]:.2f} to {highs[r, c]:.2f}"
                if lows[r, c] <= 0.5 <= highs[r, c]:
                    words += "\na coin"
                elif value < 0.5:
                    words += "\ninverted"
            if seen is not None and np.asarray(seen)[r, c]:
                words += "\nseen in training"
            ink = "black" if np.isnan(value) else ink_on(picture.to_rgba(value)[:3])
            axis.text(c, r, words, ha="center", va="center", fontsize=9, color=ink, linespacing=1.25)
            if seen is not None and np.asarray(seen)[r, c]:
                axis.add_patch(
                    plt.Rectangle((c - 0.47, r - 0.45), 0.94, 0.9, fill=False, edgecolor="#F0E442", lw=3.5)
                )
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(rows)), rows)
        axis.set(title=title, xlabel="judged on", ylabel="trained on")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        finish(figure)
    return array


# ---- lesson 15: transfer learning ----


def plot_moves(moves: dict[str, Sequence[float]], parts: Sequence[str]) -> dict[str, np.ndarray]:
    """How far training moved each part of a network, in per cent of its weights: a panel for each way.

    moves: way -> a number for each of `parts`, the first layer first. 0 is a frozen part: it says so. Returns
    the numbers by way.
    """
    drawn = {way: np.asarray(values, dtype=float) for way, values in moves.items()}
    if not drawn or any(values.shape != (len(parts),) for values in drawn.values()):
        raise ValueError(
            f"plot_moves needs one number for each of the {len(parts)} parts, and at least one way."
        )
    reach = max(values.max() for values in drawn.values()) or 1.0
    places = np.arange(len(parts))[::-1]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            len(drawn),
            figsize=(1.2 + 2.2 * len(drawn), 0.9 + 0.33 * len(parts)),
            sharey=True,
            squeeze=False,
        )
        for axis, (way, values) in zip(axes.flat, drawn.items(), strict=True):
            axis.barh(places, values, 0.7, color=GREEN, edgecolor="white", hatch="///")
            for place, value in zip(places, values, strict=True):
                words = "frozen" if value == 0 else f"{value:.1f}" if value >= 0.1 else f"{value:.1g}"
                axis.annotate(
                    words, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=9
                )
            axis.set(xlim=(0, 1.3 * reach), title=way, xlabel="moved, %")
            axis.set_yticks(places, parts)
        finish(figure)
    return drawn
