"""Mutation tests of lesson 16's later checkers: right answers pass, wrong ones are told why."""

import numpy as np
from test_checks import assert_checker

from course_lib import faces, verdicts


def with_clip(box, size):
    """Another right way: the middle first, then NumPy's clip."""
    side = min(int(1.5 * max(box[2] - box[0], box[3] - box[1])), *size)
    corner = [int(np.clip((box[i] + box[i + 2]) / 2 - side / 2, 0, size[i] - side)) for i in (0, 1)]
    return [*corner, corner[0] + side, corner[1] + side]


def raw(box, size, margin=1.5, side_of=max):
    """The square without a look at the edges."""
    side = margin * side_of(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
    return x, y, x + side, y + side


def test_square_around(capsys):
    wrong = [
        lambda box, size: box,
        lambda box, size: (0, 0, 0, 0),
        raw,
        lambda box, size: raw(box, size, side_of=min),
        lambda box, size: faces.square_around(box, size, 1.0),
        lambda box, size: faces.square_around(box, size, 2.0),
        lambda box, size: tuple(np.clip(raw(box, size), 0, [*size, *size])),  # cut off, no square any more
        lambda box, size: faces.square_around(box, size[::-1]),
        lambda box, size: [(y, x) for x, y in [faces.square_around(box, size)[:2]]],
        lambda box, size: faces.square_around(box, (10_000, 10_000)),
        lambda box, size: faces.square_around(box, size)[:2],
    ]
    assert_checker(capsys, "square_around", [faces.square_around, with_clip], wrong)


def test_harmless_cell(capsys):
    def with_startswith(text):
        return "'" + text if text.startswith(("=", "+", "-", "@")) else text

    wrong = [
        lambda text: text,
        lambda text: "'" + text,
        lambda text: "'" + text if text.startswith("=") else text,
        lambda text: text.lstrip("=+-@"),
        lambda text: "'" + text if set(text) & set("=+-@") else text,
        lambda text: " " + text if text[:1] in "=+-@" else text,
        lambda text: text.replace("=", "").replace("+", ""),
        lambda text: "'" + text if text[:1] in "=+-@" else text,  # the empty text is in every text
        lambda text: "",
    ]
    assert_checker(capsys, "harmless_cell", [verdicts.harmless_cell, with_startswith], wrong)
