"""Mutation tests of lesson 17's checkers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from course_lib import exercises_use

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

status, unbatch, still_to_do = (
    exercises_use.status_reference,
    exercises_use.unbatch_reference,
    exercises_use.still_to_do_reference,
)


def status_by_table(in_work, content_type, files):
    codes = [503] * (in_work > 3) + [415] * (not content_type.lower().startswith("multipart/form-data"))
    codes += [422] * (not files)
    by_kind = {"picture": [], "other": [415], "damaged": [422]}
    for size, kind in files:
        codes += [413] * (size > 10_000_000) + by_kind[kind]
    return (codes + [200])[0]


def test_status(capsys):
    wrong = [
        lambda n, c, f: 200,
        lambda n, c, f: 200 if status(n, c, f) == 503 else status(n, c, f),
        lambda n, c, f: status(n - 1, c, f),  # one too many
        lambda n, c, f: status(
            n, "multipart/form-data" if "multipart" in c else c, f
        ),  # anywhere in the text
        lambda n, c, f: status(n, c if c == "multipart/form-data" else "", f),  # no boundary allowed
        lambda n, c, f: status(n, c if c == c.lower() else "", f),  # minds capitals
        lambda n, c, f: status(n, c, f) if f else 200,
        lambda n, c, f: status(n, c, f[::-1]),  # the last bad file
        lambda n, c, f: status(n, c, [(s + 1, k) for s, k in f]),  # at least 10 MB
        lambda n, c, f: status(n, c, f[:1]),  # the first file alone
        lambda n, c, f: str(status(n, c, f)),
        lambda n, c, f: 415 if "json" in c else status(n, c, f),  # the form before the work
        lambda n, c, f: {415: 400}.get(status(n, c, f), status(n, c, f)),
    ]
    assert_checker(capsys, "status", [status, status_by_table], wrong)


def test_unbatch(capsys):
    def by_split(logits, counts):
        pieces = np.split(logits, np.cumsum(counts)[:-1])
        return [torch.sigmoid(torch.tensor(piece.mean())).item() for piece in pieces]

    def sigmoid(x):
        return 1 / (1 + np.exp(-np.asarray(x)))

    def pieces(logits, counts):
        return np.split(logits, np.cumsum(counts)[:-1])

    wrong = [
        lambda x, n: np.zeros(len(n)),
        lambda x, n: [sigmoid(p).mean() for p in pieces(x, n)],  # the mean of probabilities
        lambda x, n: sigmoid([p.sum() for p in pieces(x, n)]),
        lambda x, n: [p.mean() for p in pieces(x, n)],  # no sigmoid
        lambda x, n: 1 - unbatch(x, n),
        lambda x, n: sigmoid([p[0] for p in pieces(x, n)]),
        lambda x, n: sigmoid([p.max() for p in pieces(x, n)]),
        lambda x, n: sigmoid([p.mean() for p in np.array_split(x, len(n))]),  # as if all had equally many
        lambda x, n: unbatch(x, n)[::-1],
        lambda x, n: sigmoid(x),
        lambda x, n: unbatch(x, n).mean(),
    ]
    assert_checker(capsys, "unbatch", [unbatch, by_split], wrong)


def test_still_to_do(capsys):
    def by_loop(paths, parts):
        rest = list(paths)
        for name in parts:
            if name.endswith(".parquet"):
                for path in parts[name]:
                    rest.remove(path)
        return rest

    def rows(parts):
        return [path for part in parts.values() for path in part]

    wrong = [
        lambda paths, parts: list(paths),
        lambda paths, parts: [],
        lambda paths, parts: [p for p in paths if p not in rows(parts)],  # believes the half-written part
        lambda paths, parts: paths[sum(len(v) for k, v in parts.items() if ".new" not in k) :],  # by count
        lambda paths, parts: sorted(still_to_do(paths, parts)),
        lambda paths, parts: still_to_do(paths, parts)[1:],
        lambda paths, parts: still_to_do(paths, parts) * 2,
        lambda paths, parts: set(still_to_do(paths, parts)),
        lambda paths, parts: [  # by the file's name without its folder
            p
            for p in paths
            if p.split("/")[1] not in {q.split("/")[1] for q in set(paths) - set(still_to_do(paths, parts))}
        ],
    ]
    assert_checker(capsys, "still_to_do", [still_to_do, by_loop], wrong)


def test_messages(capsys):
    line = said(capsys, "status", lambda n, c, f: 200)
    assert "status(0, 'application/json', [(900000, 'picture')]) gives 200, and 415 was expected" in line
    assert "a second time" in said(capsys, "still_to_do", lambda paths, parts: paths)
    assert "loses 'a/0.jpg'" in said(capsys, "still_to_do", lambda paths, parts: [])
