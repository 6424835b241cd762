"""Mutation tests of lesson 00's checkers: right answers pass, wrong ones are told why."""

import math

import numpy as np
import torch
from test_checks import assert_checker, said

from course_lib import wilson_interval


def formula(k, n, z=1.96):
    p = k / n
    middle = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)


def simple_interval(k, n):
    p, reach = k / n, 1.96 * math.sqrt(k / n * (1 - k / n) / n)
    return p - reach, p + reach


def test_share_right(capsys):
    right = [lambda k, n: 100 * k / n, lambda k, n: np.float64(k) / n * 100]
    wrong = [lambda k, n: k / n, lambda k, n: n / k if k else 0, lambda k, n: 0, lambda k, n: 100 * k // n]
    wrong += [lambda k, n: 100 * (n - k) / n, lambda k, n: f"{100 * k / n} %"]
    assert_checker(capsys, "share_right", right, wrong + [lambda k, n: [100 * k / n]])


def pairs(answers, truth):
    return zip(answers.upper().replace(" ", ""), truth, strict=True)


def by_loop(answers, truth):
    count, place = 0, 0
    for letter in answers:
        if letter != " ":
            count += letter.lower() == truth[place].lower()
            place += 1
    return count


def test_count_right(capsys):
    right = [by_loop, lambda a, t: sum(x == y for x, y in pairs(a, t))]
    wrong = [
        lambda a, t: 0,
        lambda a, t: len(t),
        lambda a, t: sum(x != y for x, y in pairs(a, t)),
        lambda a, t: sum(x == y for x, y in pairs(a, t)) / len(t),
        lambda a, t: sum(x == y for x, y in zip(a, t, strict=False)),
        lambda a, t: sum(x == y for x, y in zip(a.upper(), t, strict=False)),
        lambda a, t: sum(x == y for x, y in zip(a.replace(" ", ""), t, strict=True)),
        lambda a, t: a.upper().count("R"),
    ]
    assert_checker(capsys, "count_right", right, wrong)
    assert "'RFRR'" in said(capsys, "count_right", wrong[0])


def test_wilson_interval(capsys):
    right = [formula, wilson_interval, lambda k, n: np.array(formula(k, n)), lambda k, n: list(formula(k, n))]
    wrong = [
        simple_interval,
        lambda k, n: (0.0, 1.0),
        lambda k, n: (0.0, 0.0),
        lambda k, n: formula(k, n)[::-1],
        lambda k, n: formula(k, n)[0],
        lambda k, n: formula(k, n, z=1.645),
        lambda k, n: formula(k, n, z=1.0),
        lambda k, n: tuple(100 * x for x in formula(k, n)),
        lambda k, n: tuple(x * (1 + 3.8416 / n) for x in formula(k, n)),
    ]
    assert_checker(capsys, "wilson_interval", right, wrong)


def test_smallest_convincing(capsys):
    def search(n):
        k = 0
        while formula(k, n)[0] <= 0.5:
            k += 1
        return k

    def closed(n):  # Wilson's interval holds 1/2 exactly when k is within z/2 · √n of n/2
        return math.floor(n / 2 + 0.5 * 1.96 * math.sqrt(n)) + 1

    wrong = [
        lambda n: 0,
        lambda n: 15,
        lambda n: n,
        lambda n: search(n) - 1,
        lambda n: search(n) + 1,
        lambda n: n // 2 + 1,
        lambda n: search(n) / n,
        lambda n: next(k for k in range(n + 1) if simple_interval(k, n)[0] > 0.5),
    ]
    assert_checker(capsys, "smallest_convincing", [search, closed, lambda n: torch.tensor(search(n))], wrong)
