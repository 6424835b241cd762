"""The exercises of Part 5, "Use" (lessons 16 and 17): what each answer must do to be correct."""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import NotAttempted, NotYet, agrees, as_browser, blank, describe, equal, exercise, run
from .faces import square_around as reference_square

# ---- lesson 16: the uploader ----


@exercise
def read_uploads(mine: Any) -> None:
    """Lesson 16: ``mine(value)`` turns both forms of ``FileUpload.value`` into a list of (name, bytes)."""
    files = [("face.jpg", b"\xff\xd8 one"), ("two words.png", b"\x89PNG two"), ("face.jpg", b"")]

    def tuple_form(pairs):  # ipywidgets 8
        return tuple({"name": n, "type": "", "size": len(c), "content": memoryview(c)} for n, c in pairs)

    def dict_form(pairs):  # ipywidgets 7
        return {n: {"metadata": {"name": n, "size": len(c)}, "content": c} for n, c in pairs}

    cases = [
        ("the tuple of ipywidgets 8 with two files", tuple_form(files[:2]), files[:2]),
        ("the dict of ipywidgets 7 with two files", dict_form(files[:2]), files[:2]),
        ("the tuple with two files of one name", tuple_form(files), files),
        ("the empty tuple", (), []),
        ("the empty dict", {}, []),
    ]
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    answers = [mine(value) for _, value, _ in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (what, _, expected), answer in zip(cases, answers, strict=True):
        if not isinstance(answer, list | tuple):
            raise NotYet(f"{what} gives {describe(answer)}, and a list of pairs was expected")
        if len(answer) != len(expected):
            raise NotYet(f"{what} gives {len(answer)} pairs, and {len(expected)} were expected")
        for pair, (name, content) in zip(answer, expected, strict=True):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise NotYet(f"{what} gives {describe(pair)} where a pair (name, bytes) was expected")
            if pair[0] != name:
                raise NotYet(f"{what} gives the name {pair[0]!r}, and {name!r} was expected")
            if not isinstance(pair[1], bytes):
                kind = type(pair[1]).__name__
                raise NotYet(f"{what} gives the content as {kind}: copy it into bytes with bytes(…)")
            if pair[1] != content:
                raise NotYet(f"{what} gives {pair[1]!r} for {name!r}, and {content!r} was expected")


def verdict_text_reference(p_fake: float, threshold: float) -> str:
    """FAKE and P(fake) from the threshold up, REAL and 1 − P(fake) below it, in per cent, one decimal."""
    word, p = ("FAKE", p_fake) if p_fake >= threshold else ("REAL", 1 - p_fake)
    return f"{word} {100 * p:.1f} %"


@exercise
def verdict_text(mine: Any) -> None:
    """Lesson 16: ``mine(p_fake, threshold)`` is "FAKE 98.8 %" or "REAL 97.1 %"."""
    cases = [(0.988, 0.5), (0.029, 0.5), (0.5, 0.5), (0.6, 0.7), (0.31, 0.3), (0.8804, 0.9)]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (p_fake, threshold), answer in zip(cases, answers, strict=True):
        expected = verdict_text_reference(p_fake, threshold)
        what = f"P(fake) = {p_fake} with the threshold {threshold}"
        if not isinstance(answer, str):
            raise NotYet(f"{what} gives {describe(answer)}, and the text {expected!r} was expected")
        answer = answer.replace("\u00a0", " ").replace("\u202f", " ")  # no-break spaces are welcome
        if answer != expected:
            raise NotYet(f"{what} gives {answer!r}, and {expected!r} was expected")


@exercise
def name_html(mine: Any) -> None:
    """Lesson 16: ``mine(name)`` is ``<b>name</b>`` in which no name, however hostile, becomes markup."""
    names = [
        "face.jpg",
        '<img src=x onerror="alert(1)">.jpg',
        "</b><script>boom</script>.png",
        "Tom & Ann's 5 > 4.jpg",
        "already &lt;escaped&gt; &amp; odd.jpg",
    ]
    answers = [run(mine, name) for name in names]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for name, answer in zip(names, answers, strict=True):
        if not isinstance(answer, str):
            raise NotYet(f"the name {name!r} gives {describe(answer)}, and a piece of HTML was expected")
        tags, text = as_browser(answer)
        if tags != ["b", "/b"]:
            raise NotYet(f"for the name {name!r} a browser sees the tags {tags}, and not just b and /b")
        if text != name:
            raise NotYet(f"for the name {name!r} a browser shows {text!r}: the name was changed")


@exercise
def square_around(mine: Any) -> None:
    """Lesson 16: ``mine(box, size)`` is the square of 1.5 box sides around a face, moved into the picture."""
    size = (400, 300)
    cases = [
        ("in the middle", (100, 100, 140, 140), size),
        ("of a box that is taller than wide", (100, 100, 120, 140), size),
        ("of a box that is wider than tall", (200, 120, 280, 160), size),
        ("in the upper left corner", (0, 0, 40, 40), size),
        ("in the lower right corner", (360, 260, 400, 300), size),
        ("at the right edge", (380, 120, 400, 140), size),
        ("of a face as large as the picture", (60, 20, 340, 300), size),
        ("in a tall picture", (20, 460, 100, 540), (120, 560)),
    ]
    answers = [run(mine, *case) for _, *case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (where, box, size), answer in zip(cases, answers, strict=True):
        expected, what = reference_square(box, size), f"the square {where}, for the box {box} in {size},"
        equal(answer, expected, what, tolerance=0, floor=1e-9)


@exercise
def harmless_cell(mine: Any) -> None:
    """Lesson 16: ``mine(text)`` is the text, with an apostrophe in front where it could be a formula."""
    formulas = ["=1+1.jpg", "+49 170.jpg", "-2+3.png", "@SUM(A1:A9).jpg", '=HYPERLINK("x","a.jpg")', "-.jpg"]
    harmless = ["anna.jpg", "a=1.jpg", "2+2.jpg", "o'neill.png", "mail@home.jpg", "x-1.png", "", "'=1.jpg"]
    answers = [run(mine, text) for text in formulas + harmless]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for text, answer in zip(formulas + harmless, answers, strict=True):
        expected = "'" + text if text in formulas else text
        if not isinstance(answer, str) or answer != expected:
            raise NotYet(f"the name {text!r} gives {describe(answer)}, and {expected!r} was expected")


# ---- lesson 17: beyond the notebook ----


def status_reference(in_work: int, content_type: str, files: list[tuple[int, str]]) -> int:
    """The status of an answer: busy first, then the form, then the first file that has something wrong."""
    if in_work >= 4:
        return 503
    if content_type.split(";")[0].strip().lower() != "multipart/form-data":
        return 415
    if not files:
        return 422
    for size, kind in files:
        if size > 10_000_000:
            return 413
        if kind != "picture":
            return 415 if kind == "other" else 422
    return 200


@exercise
def status(mine: Any) -> None:
    """Lesson 17: ``mine(in_work, content_type, files)`` is the HTTP status of the answer."""
    form = "multipart/form-data; boundary=abc"
    good, large, other = (900_000, "picture"), (10_000_001, "picture"), (700, "other")
    damaged, edge = (30_000, "damaged"), (10_000_000, "picture")
    cases = [
        (0, form, [good]),
        (3, form, [good, edge]),
        (0, "multipart/form-data", [good]),
        (0, "Multipart/Form-Data; boundary=abc", [good]),
        (0, "application/json", [good]),
        (0, "", []),
        (0, "text/plain; note=multipart/form-data", [good]),
        (0, form, []),
        (0, form, [large]),
        (0, form, [other]),
        (0, form, [damaged]),
        (2, form, [good, damaged, other]),
        (2, form, [good, other, damaged, large]),
        (0, form, [(10_000_001, "other")]),
        (4, form, [good]),
        (9, "application/json", []),
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        expected = status_reference(*case)
        what = "status({}, {!r}, {})".format(*case)
        if isinstance(answer, bool) or not isinstance(answer, int):
            raise NotYet(f"{what} gives {describe(answer)}, and the number {expected} was expected")
        if answer != expected:
            raise NotYet(f"{what} gives {answer}, and {expected} was expected")


def unbatch_reference(logits: np.ndarray, counts: list[int]) -> np.ndarray:
    """Each picture's mean logit over its windows, through the sigmoid."""
    ends = np.cumsum(counts)
    means = [np.mean(logits[end - n : end]) for end, n in zip(ends, counts, strict=True)]
    return 1 / (1 + np.exp(-np.array(means)))


@exercise
def unbatch(mine: Any) -> None:
    """Lesson 17: ``mine(logits, counts)`` gives back P(fake) of each picture of a joint batch."""
    rng = np.random.default_rng(17)
    cases = [
        (np.array([3.0, 1.0, -2.0, 0.0, 1.0, -5.0]), [2, 1, 3]),
        (np.array([0.5]), [1]),
        (rng.normal(0, 3, 9), [9]),
        (rng.normal(0, 3, 4), [1, 1, 1, 1]),
        (rng.normal(0, 3, 20), [9, 1, 1, 9]),
    ]
    agrees(mine, unbatch_reference, cases)


def still_to_do_reference(paths: list[str], parts: dict[str, list[str]]) -> list[str]:
    """What no finished part holds, in the order of `paths`; a part still being written does not count."""
    done = {path for name, rows in parts.items() if not name.endswith(".new") for path in rows}
    return [path for path in paths if path not in done]


@exercise
def still_to_do(mine: Any) -> None:
    """Lesson 17: ``mine(paths, parts)`` is what is left to score after a kill."""
    paths = [f"{folder}/{i}.jpg" for folder in ("a", "b") for i in range(4)]
    one, two = paths[:3], paths[3:6]
    cases = [
        ("nothing was scored yet", paths, {}),
        ("one part is whole", paths, {"part-0.parquet": one}),
        ("two parts are whole", paths, {"part-0.parquet": one, "part-1.parquet": two}),
        ("the second part was being written", paths, {"part-0.parquet": one, "part-1.parquet.new": two[:2]}),
        ("only a part that was being written is there", paths, {"part-0.parquet.new": one}),
        ("everything is scored", paths, {"part-0.parquet": paths}),
        ("two folders have a 1.jpg", paths, {"part-0.parquet": ["a/0.jpg", "a/1.jpg"]}),
        ("the paths come in another order", paths[::-1], {"part-0.parquet": two}),
    ]
    answers = [run(mine, given, parts) for _, given, parts in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (what, given, parts), answer in zip(cases, answers, strict=True):
        expected = still_to_do_reference(given, parts)
        if not isinstance(answer, list | tuple):
            raise NotYet(f"where {what} it gives {describe(answer)}, and a list of paths was expected")
        again = [path for path in answer if path not in expected]
        if again:
            raise NotYet(f"where {what} it would score {again[0]!r} a second time")
        lost = [path for path in expected if path not in answer]
        if lost:
            raise NotYet(f"where {what} it loses {lost[0]!r}: no finished part holds it")
        if list(answer) != expected:
            raise NotYet(f"where {what} it gives {list(answer)}, and {expected} was expected: mind the order")
