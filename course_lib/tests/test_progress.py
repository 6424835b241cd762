"""The progress sheet: what it reads from students' notebooks, and what it does with files that are none."""

import csv
import json
import time

import nbformat
import pytest

from course_lib import __main__, progress
from course_lib.errors import DataError

TITLE = "# 00 · Start here"
NAMES = ["share_right", "count_right", "wilson_interval", "smallest_convincing"]


def cell(name: str, printed: str | None, argument: str | None = None, tags: tuple = ()) -> dict:
    """A code cell that calls a checker, with what it printed."""
    source = f"check.{name}({argument or f'my_{name}'})"
    outputs = [] if printed is None else [nbformat.v4.new_output("stream", name="stdout", text=printed)]
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def hand_in(path, *cells, title=TITLE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(title), *cells]), path)


def verdicts_in(folder, **options) -> dict:
    return {(row.student, row.exercise): row.verdict for row in progress.progress(folder, **options).rows}


def test_each_verdict_is_told_apart(tmp_path):
    hand_in(
        tmp_path / "anna" / "Copy of anything.ipynb",
        cell("share_right", "correct\n"),
        cell("share_right", "not yet, because it shows something\n", "somebodys_share_right"),
        cell("count_right", "a word of my own\nnot yet, because for 3 it gives 4\n"),
        cell("wilson_interval", None),
    )
    rows = progress.progress(tmp_path).rows
    assert [(row.exercise, row.verdict) for row in rows] == [
        ("share_right", "correct"),
        ("count_right", "not yet"),
        ("wilson_interval", "not run"),
        ("smallest_convincing", "not there"),
    ]
    assert rows[1].message == "for 3 it gives 4" and rows[0].student == "anna"


def test_nobody_earns_a_verdict_with_the_courses_own_solution_or_a_demonstration(tmp_path):
    hand_in(
        tmp_path / "ben.ipynb",
        cell("share_right", "not attempted\n"),
        cell("share_right", "correct\n", tags=["solution"]),
        cell("share_right", "correct\n", "my_share_right_solution"),
        cell("share_right", "correct\n", "somebodys_share_right"),
        nbformat.v4.new_code_cell(
            "# check.count_right(my_count_right)",
            outputs=[nbformat.v4.new_output("stream", name="stdout", text="correct\n")],
        ),
    )
    found = verdicts_in(tmp_path)
    assert found["ben", "share_right"] == "not attempted" and found["ben", "count_right"] == "not there"


def test_the_untouched_lessons_hold_every_exercise_and_no_success():
    if not progress.LESSONS.is_dir():
        pytest.skip("installed without the lessons")
    from course_lib.checks import all_exercises

    rows = progress.progress(progress.LESSONS).rows
    assert {row.verdict for row in rows} == {"not attempted"}
    assert {row.exercise for row in rows} == set(all_exercises())
    assert len({row.lesson for row in rows}) == len(list(progress.LESSONS.glob("[0-9]*.ipynb")))


def test_of_two_copies_the_sheet_counts_the_better_verdict(tmp_path):
    hand_in(tmp_path / "cem" / "a.ipynb", cell("share_right", "not attempted\n"))
    hand_in(tmp_path / "cem" / "b.ipynb", cell("share_right", "correct\n"))
    hand_in(tmp_path / "cem" / ".ipynb_checkpoints" / "b.ipynb", cell("count_right", "correct\n"))
    lines = progress.as_text(progress.progress(tmp_path)).splitlines()
    assert "2 notebooks" in lines[0] and "stored outputs" in lines[0]
    assert [line.split() for line in lines if line.startswith("cem")] == [["cem", "1/4", "1"]]
    assert [line.split()[-5:] for line in lines if "share_right" in line] == [["1", "0", "0", "0", "0"]]


BAD = {
    "cut.ipynb": b'{"cells": [',
    "picture.ipynb": b"\xff\xd8\xff\xe0" + bytes(200),
    "empty.ipynb": b"",
    "list.ipynb": b"[]",
    "cells.ipynb": b'{"cells": {"a": 1}}',
    "strings.ipynb": b'{"cells": ["print(1)"]}',
    "deep.ipynb": b"[" * 100_000,
    "other.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": "# Shopping"}]}).encode(),
    "odd.ipynb": json.dumps({"cells": [{"cell_type": 3, "source": 4, "outputs": 5, "metadata": 6}]}).encode(),
}


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path, capsys):
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dangling.ipynb").symlink_to(tmp_path / "gone")
    hand_in(tmp_path / "dora.ipynb", cell("share_right", "correct\n"))
    assert __main__.main(["progress", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "dora" in out and "1/4" in out and "Traceback" not in err
    assert sorted(line.split(": ")[0].rsplit("/", 1)[1] for line in err.splitlines()) == sorted(
        [*BAD, "dangling.ipynb"]
    )


def test_a_file_that_is_larger_than_any_lesson_is_not_read(tmp_path):
    hand_in(tmp_path / "a.ipynb", cell("share_right", "correct\n"))
    hand_in(tmp_path / "b.ipynb", cell("share_right", "correct\n"))
    with open(tmp_path / "b.ipynb", "r+b") as file:
        file.truncate(progress.MAX_BYTES + 1)  # without taking the room
    found = progress.progress(tmp_path)
    assert {row.notebook for row in found.rows} == {"a.ipynb"}
    assert found.unreadable == [f"{tmp_path / 'b.ipynb'}: has more than 50 MB, and is not read"]


def test_odd_cells_inside_a_lesson_count_for_nothing(tmp_path):
    title = {"cell_type": "markdown", "source": [TITLE, 7]}
    call = {"cell_type": "code", "source": "check.share_right(my_share_right)", "metadata": []}
    outputs = [3, None, {"output_type": "stream", "name": "stdout", "text": {"a": 1}}]
    document = {"cells": [title, call | {"outputs": outputs}, call | {"outputs": "correct"}]}
    (tmp_path / "e.ipynb").write_text(json.dumps(document))
    assert verdicts_in(tmp_path)["e", "share_right"] == "not run"


def test_folders_without_anything(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        progress.progress(tmp_path / "gone")
    with pytest.raises(DataError, match="no notebook in it"):
        progress.progress(tmp_path)


def test_the_table_is_whole_and_no_formula(tmp_path, capsys):
    hand_in(tmp_path / "room" / "=1+1" / "a.ipynb", cell("count_right", 'not yet, because of a, or "b"\n'))
    out = tmp_path / "sheet.csv"
    assert __main__.main(["progress", str(tmp_path / "room"), "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == progress.COLUMNS and len(rows) == len(NAMES)
    assert rows[1]["student"] == "'=1+1" and rows[1]["message"] == 'of a, or "b"'
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["sheet.csv"]
    assert __main__.main(["progress", str(tmp_path / "room"), "--out", str(tmp_path / "no" / "x.csv")]) == 1
    assert "No such file" in capsys.readouterr().err


def code(source: str, printed: str = "") -> dict:
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
    return nbformat.v4.new_code_cell(source, outputs=outputs)


CHECK = """
class Check:
    def __getattr__(self, name):
        return lambda mine: print(mine())
check = Check()
"""


def test_running_again_believes_no_stored_output_and_keeps_to_its_limit(tmp_path):
    """A kernel without the library (quick to start): the checker is a stand-in that prints the answer."""
    hand_in(
        tmp_path / "room" / "fay.ipynb",
        code(CHECK),
        code("1 / 0"),
        code("my_share_right = lambda: 'correct'\ncheck.share_right(my_share_right)", "not attempted\n"),
        code("check.count_right(my_count_right)", "correct\n"),
        code("open('left_behind.txt', 'w').write('x')"),
        code("import time; time.sleep(600)"),
        code("check.wilson_interval(my_wilson_interval)", "correct\n"),
    )
    begin = time.monotonic()
    found = progress.progress(tmp_path / "room", run=True, limit=6)
    assert time.monotonic() - begin < 60
    told = {row.exercise: (row.verdict, row.message) for row in found.rows}
    assert told["share_right"] == ("correct", "")
    assert told["count_right"][0] == "not run"
    assert told["wilson_interval"] == ("not run", "stopped after the limit of 6 s")
    assert "run again" in progress.as_text(found).splitlines()[0]
    assert [path.name for path in (tmp_path / "room").iterdir()] == ["fay.ipynb"]


def test_a_kernel_that_dies_is_told(tmp_path):
    hand_in(tmp_path / "gil.ipynb", code("import os; os._exit(3)"), cell("share_right", "correct\n"))
    rows = progress.progress(tmp_path, run=True, limit=60).rows
    assert (rows[0].verdict, rows[0].message) == ("not run", "the kernel died")
