"""The exercises of Part 5, "Use" (lessons 16 and 17): what each answer must do to be correct."""

from __future__ import annotations

from typing import Any

from .checks import NotAttempted, NotYet, as_browser, blank, describe, exercise, run

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
