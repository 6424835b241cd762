"""Mutation tests of lesson 02's checkers: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

from course_lib import exercises_see as see  # noqa: E402


def bits_by_loop(grey):
    return [[int(int(right) > int(left)) for left, right in zip(row, row[1:], strict=False)] for row in grey]


def test_difference_hash(capsys):
    right = see.difference_hash_reference
    wrong = [
        lambda grey: np.zeros((grey.shape[0], grey.shape[1] - 1)),
        lambda grey: 2 * right(grey),
        lambda grey: 1 - right(grey),
        lambda grey: right(grey).T,
        lambda grey: right(grey)[:, ::-1],
        lambda grey: np.diff(grey, axis=1) > 0,  # uint8 wraps around below 0
        lambda grey: grey[:, 1:] >= grey[:, :-1],
        lambda grey: grey[:, 1:] < grey[:, :-1],
        lambda grey: grey > grey.mean(),
        lambda grey: grey[1:] > grey[:-1],
    ]
    assert_checker(capsys, "difference_hash", [right, bits_by_loop, lambda g: g[:, 1:] > g[:, :-1]], wrong)
    words = "for ([[10, 20, 20, 5]]) it gives 1 at index [0, 2], and 0 was expected"
    assert words in said(capsys, "difference_hash", wrong[5])


def thumbnail_by_torch(image, side):
    return F.adaptive_avg_pool2d(torch.tensor(image)[None, None], side)[0, 0]


def test_thumbnail(capsys):
    right = see.thumbnail_reference
    wrong = [
        lambda image, side: np.zeros((side, side)),
        lambda image, side: 2 * right(image, side),
        lambda image, side: right(image, side).T,
        lambda image, side: right(image, side)[::-1],
        lambda image, side: right(image, side).ravel(),
        lambda image, side: image[:: image.shape[0] // side, :: image.shape[1] // side],
        lambda image, side: right(image, 2),
        lambda image, side: right(image, side) - image.mean(),
        lambda image, side: thumbnail_by_torch(image, side).round(),
        lambda image, side: image.reshape(side, -1, side, image.shape[1] // side).max(axis=(1, 3)),
    ]
    assert_checker(capsys, "thumbnail", [right, thumbnail_by_torch], wrong)


def split_in_order(groups, share):
    """Groups in the order of their number, until the share is reached."""
    test = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        if test.sum() < share * len(groups):
            test |= groups == group
    return test


def split_at_random(groups, share):
    names = np.random.default_rng().permutation(np.unique(groups))
    counts = np.array([np.sum(groups == name) for name in names])
    return [bool(group in names[np.cumsum(counts) <= share * len(groups) + 1]) for group in groups]


def split_by_image(groups, share):
    return np.arange(len(groups)) < share * len(groups)


def test_split_by_group(capsys):
    wrong = [
        lambda groups, share: np.zeros(len(groups), dtype=bool),
        lambda groups, share: np.ones(len(groups), dtype=bool),
        lambda groups, share: ~split_in_order(groups, share),
        lambda groups, share: split_in_order(groups, 0.6),
        split_by_image,
        lambda groups, share: np.roll(split_in_order(groups, share), 1),
        lambda groups, share: split_in_order(groups, share)[:-1],
        lambda groups, share: np.flatnonzero(split_in_order(groups, share)),
        lambda groups, share: 2 * split_in_order(groups, share).astype(int),
        lambda groups, share: groups == groups[0] if len(groups) == 200 else split_in_order(groups, share),
    ]
    assert_checker(capsys, "split_by_group", [split_in_order, split_at_random], wrong)
    assert "a group is dealt out whole" in said(capsys, "split_by_group", split_by_image)


def judge_by_order(low, high):
    if low > 0.6 or 0.4 > high:
        return "shortcut"
    return "unclear" if low < 0.4 or high > 0.6 else "clean"


def test_judge_interval(capsys):
    right = see.judge_interval_reference
    wrong = [
        lambda low, high: "clean",
        lambda low, high: "unclear",
        lambda low, high: right((low + high) / 2, (low + high) / 2),
        lambda low, high: "shortcut" if low > 0.6 else "clean" if high <= 0.6 else "unclear",
        lambda low, high: "clean" if low <= 0.5 <= high else "shortcut",
        lambda low, high: right(low, high).upper(),
        lambda low, high: right(high, low),
        lambda low, high: low > 0.6,
    ]
    assert_checker(capsys, "judge_interval", [right, judge_by_order], wrong)
    assert "from 0.93 to 0.98" in said(capsys, "judge_interval", lambda low, high: "clean")
