"""Mutation tests of the checkers of lesson 13: right answers pass, wrong ones are told why."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_lib import exercises_judge as exercises
from course_lib import roc_auc
from course_lib.transforms import jpeg

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

alike = exercises.resave_alike_reference
worst = exercises.worst_case_reference
turn = exercises.turn_if_inverted_reference


def with_pil(images, labels, quality):
    """Another right answer: PIL's own settings, an array, a list."""
    found = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="JPEG", quality=quality)
        found.append(np.array(Image.open(buffer)).transpose(2, 0, 1))
    return np.stack(found)


def only(label):
    return lambda images, labels, quality: torch.stack(
        [jpeg(x, quality) if y == label else x for x, y in zip(images, labels, strict=True)]
    )


def test_resave_alike(capsys):
    right = [
        alike,
        with_pil,
        lambda images, labels, quality: [jpeg(image, quality) for image in images],
    ]
    wrong = {
        "zeros": lambda images, labels, quality: torch.zeros_like(images),
        "untouched": lambda images, labels, quality: images,
        "reals only": only(0),
        "fakes only": only(1),
        "two qualities": lambda images, labels, quality: torch.stack(
            [jpeg(x, quality if y else max(1, quality - 20)) for x, y in zip(images, labels, strict=True)]
        ),
        "fixed quality": lambda images, labels, quality: alike(images, labels, 75),
        "order": lambda images, labels, quality: alike(images, labels, quality).flip(0),
        "transposed": lambda images, labels, quality: alike(images, labels, quality).transpose(2, 3),
        "float": lambda images, labels, quality: alike(images, labels, quality).float() / 255,
        "colours": lambda images, labels, quality: alike(images, labels, quality).flip(1),
        "one image": lambda images, labels, quality: alike(images, labels, quality)[0],
        "channels last": lambda images, labels, quality: alike(images, labels, quality).permute(0, 2, 3, 1),
        "nan": lambda images, labels, quality: np.full(tuple(images.shape), np.nan),
    }
    assert_checker(capsys, "resave_alike", right, list(wrong.values()))
    told = {name: said(capsys, "resave_alike", mine) for name, mine in wrong.items()}
    assert "a real one, as it was; save both classes alike" in told["fakes only"]
    assert "a fake one, as it was; save both classes alike" in told["reals only"]
    assert "at a quality of about" in told["two qualities"] and "at a quality of" in told["fixed quality"]
    assert "torch.uint8 was expected" in told["float"]
    assert "gives nan at index [0, 0, 0, 0]" in told["nan"]  # and not: your code stopped with IndexError


def worst_in_a_loop(y, scores):
    name, lowest = None, 2.0
    for condition in scores:
        auc = roc_auc(y, scores[condition])
        if auc < lowest:
            name, lowest = condition, auc
    return [name, torch.tensor(lowest)]


def test_worst_case(capsys):
    def picked(key, value=None):
        def mine(y, scores):
            aucs = {name: roc_auc(y, p) for name, p in scores.items()}
            name = key(y, scores, aucs)
            return name, aucs[name] if value is None else value(y, scores, aucs)

        return mine

    def lowest(y, scores, aucs):
        return min(aucs, key=aucs.get)

    wrong = {
        "best": picked(lambda y, s, a: max(a, key=a.get)),
        "mean": picked(lowest, lambda y, s, a: np.mean(list(a.values()))),
        "accuracy": picked(lambda y, s, a: min(s, key=lambda n: ((s[n] >= 0.5) == y).mean())),
        "nearest to a coin": picked(lambda y, s, a: min(a, key=lambda n: abs(a[n] - 0.5))),
        "folded": picked(lowest, lambda y, s, a: max(min(a.values()), 1 - min(a.values()))),
        "turned": picked(lowest, lambda y, s, a: 1 - min(a.values())),
        "loss": picked(lowest, lambda y, s, a: max(a.values()) - min(a.values())),
        "first": picked(lambda y, s, a: next(iter(s))),
        "only the number": lambda y, s: worst(y, s)[1],
        "only the name": lambda y, s: worst(y, s)[0],
        "exchanged": lambda y, s: worst(y, s)[::-1],
        "zero": picked(lowest, lambda y, s, a: 0.0),
    }
    assert_checker(capsys, "worst_case", [worst, worst_in_a_loop], list(wrong.values()))
    told = {name: said(capsys, "worst_case", mine) for name, mine in wrong.items()}
    assert "that is the best one" in told["best"]
    assert "the mean over the conditions" in told["mean"]
    assert "lowest accuracy at 0.5" in told["accuracy"]
    assert "nearest to guessing" in told["nearest to a coin"]
    assert "1 minus the AUC" in told["turned"]
    assert "the name comes first" in told["exchanged"]


def turn_by_ranks(y_valid, p_valid, p_test):
    """Another right answer: count pairs on validation by hand."""
    pairs = [(f, r) for f in p_valid[y_valid == 1] for r in p_valid[y_valid == 0]]
    won = sum((f > r) + 0.5 * (f == r) for f, r in pairs)
    return [1 - p for p in p_test] if won < 0.5 * len(pairs) else p_test.tolist()


def test_turn_if_inverted(capsys):
    wrong = {
        "always": lambda y, v, t: 1 - t,
        "never": lambda y, v, t: t,
        "other way": lambda y, v, t: 1 - turn(y, v, t),
        "negative": lambda y, v, t: -t if roc_auc(y, v) < 0.5 else t,
        "by accuracy": lambda y, v, t: 1 - t if ((v >= 0.5) == y).mean() < 0.5 else t,
        "by the mean score": lambda y, v, t: 1 - t if v.mean() > 0.5 else t,
        "by the test scores": lambda y, v, t: 1 - t if t[::2].mean() > t[1::2].mean() else t,
        "valid returned": lambda y, v, t: 1 - v if roc_auc(y, v) < 0.5 else v,
        "zeros": lambda y, v, t: np.zeros_like(t),
        "labels": lambda y, v, t: (turn(y, v, t) >= 0.5).astype(float),
        "threshold too high": lambda y, v, t: 1 - t if roc_auc(y, v) < 0.95 else t,
    }
    assert_checker(capsys, "turn_if_inverted", [turn, turn_by_ranks], list(wrong.values()))
    told = {name: said(capsys, "turn_if_inverted", mine) for name, mine in wrong.items()}
    assert "below 0.5 on validation, and only there, decides" in told["always"]
    assert "leaves the scores" in told["never"]
    assert "no probability" in told["negative"]
