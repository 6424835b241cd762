"""Mutation tests of lesson 11's checker of joint moments (its other checkers are in test_checks.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from course_lib import distributed, exercises_train

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

right = exercises_train.joint_moments_reference


def by_loop(means, variances):
    n = len(means)
    whole = sum(means) / n
    return [whole, sum(v + (m - whole) ** 2 for m, v in zip(means, variances, strict=True)) / n]


def test_joint_moments(capsys):
    wrong = [
        lambda m, v: (m.mean(0), v.mean(0)),  # the parts' variances alone
        lambda m, v: (m.mean(0), m.var(0, correction=0)),  # the variance between the parts alone
        lambda m, v: (m.mean(0), v.mean(0) + m.var(0)),  # with correction
        lambda m, v: (m.mean(0), (v + m**2).mean(0)),  # the square of the mean forgotten
        lambda m, v: (m.sum(0), right(m, v)[1]),
        lambda m, v: (m.mean(1), right(m, v)[1]),  # over channels
        lambda m, v: right(m, v)[::-1] if isinstance(right(m, v), tuple) else tuple(right(m, v))[::-1],
        lambda m, v: (right(m, v)[0], right(m, v)[1].sqrt()),  # a standard deviation
        lambda m, v: tuple(torch.zeros_like(m[0]) for _ in range(2)),
        lambda m, v: right(m, v)[0],  # the mean alone
        lambda m, v: (*right(m, v), 1),
        lambda m, v: (..., right(m, v)[1]),
        lambda m, v: (right(m, v)[0], None),
    ]
    corrects = [lambda m, v: tuple(right(m, v)), by_loop, distributed.joint_moments]
    assert_checker(capsys, "joint_moments", corrects, wrong)


def test_the_message_names_the_numbers_on_paper(capsys):
    line = said(capsys, "joint_moments", lambda m, v: (m.mean(0), v.mean(0)))
    assert "means [[2], [6]]" in line and "the variance gives 1" in line and "5 was expected" in line
    line = said(capsys, "joint_moments", lambda m, v: (m.mean(0), ...))
    assert "one of them is still empty" in line
