"""Which exercises pass in a folder of students' notebooks: ``python -m course_lib progress FOLDER``.

Nothing is sent anywhere, and by default nothing is run: the verdicts are read from the outputs stored in
the notebooks. That is quick and safe, and it trusts what is stored: an output can be old, or edited. With
``--run`` every notebook is copied into a folder of its own and run there from a clean kernel, with a limit of
time. That is *other people's code on your machine*, with your rights. Neither way is an examination: a
student who prints the word "correct" passes both.

Of an exercise one of five things is known:

* ``correct``, ``not yet``, ``not attempted``: the checker's verdict (`checks`);
* ``not run``: its cell holds no verdict, because it was never run, or stopped before the checker;
* ``not there``: the notebook has no such cell any more.

A folder within FOLDER is a student, with any number of notebooks below it; of a notebook that lies in FOLDER
itself, the file's name is the student's.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .images import printable

CORRECT, NOT_YET, NOT_ATTEMPTED = "correct", "not yet", "not attempted"
NOT_RUN, NOT_THERE = "not run", "not there"
VERDICTS = (CORRECT, NOT_YET, NOT_ATTEMPTED, NOT_RUN, NOT_THERE)  # the best first
COLUMNS = ("student", "notebook", "lesson", "exercise", "verdict", "message")
MAX_BYTES = 50_000_000  # a lesson with all its pictures has less than 2 MB
TITLE = re.compile(r"^#\s+(\d\d)\s+·", re.MULTILINE)
CALL = re.compile(r"^[ \t]*check\.([a-z]\w*)\(\s*([A-Za-z_]\w*)", re.MULTILINE)
LESSONS = Path(__file__).resolve().parent.parent / "notebooks"


@dataclass(frozen=True)
class Exercise:
    """An exercise of a lesson: ``check.NAME(ARGUMENT)``."""

    lesson: str
    name: str
    argument: str


@dataclass(frozen=True)
class Row:
    """What is known of one exercise in one notebook."""

    student: str
    notebook: str
    lesson: str
    exercise: str
    verdict: str
    message: str = ""


@dataclass
class Progress:
    """The rows of all notebooks that could be read, and one sentence for each file that could not."""

    rows: list[Row]
    unreadable: list[str]
    ran: bool = False


# ---------------------------------------------------------------------------------------------- one notebook
def read_notebook(path: Path) -> dict:
    """A notebook as a dict; `DataError` says in one sentence why it is none. Its form is checked as far as
    `verdicts` relies on it.
    """
    name = printable(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{name}: has more than {MAX_BYTES // 1_000_000} MB, and is not read")
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{name}: is not text, so it is no notebook") from None
    except (ValueError, RecursionError):
        raise DataError(f"{name}: is not JSON; the file is cut off or damaged") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise DataError(f"{name}: has no list of cells; open and save it in JupyterLab once")
    return notebook


def text(value: object) -> str:
    """A notebook stores text as a string or as a list of lines; anything else counts as nothing."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def stdout(cell: dict) -> str:
    """All that a code cell printed."""
    outputs = cell.get("outputs")
    if not isinstance(outputs, list):
        return ""
    return "".join(
        text(output.get("text"))
        for output in outputs
        if isinstance(output, dict)
        and (output.get("output_type"), output.get("name")) == ("stream", "stdout")
    )


def is_solution(cell: dict) -> bool:
    """Is it one of the course's own solution cells?"""
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return isinstance(tags, list) and "solution" in tags


def lesson_of(notebook: dict) -> str | None:
    """The lesson's number, such as "07", from the title in the text; files are renamed too often."""
    for cell in notebook["cells"]:
        found = TITLE.search(text(cell.get("source"))) if cell.get("cell_type") == "markdown" else None
        if found:
            return found[1]
    return None


def calls(notebook: dict) -> Iterator[tuple[str, str, str, str]]:
    """Each call of a checker outside the solutions: name, argument, verdict, and the message after it."""
    for cell in notebook["cells"]:
        if cell.get("cell_type") != "code" or is_solution(cell):
            continue
        made = [call for call in CALL.findall(text(cell.get("source"))) if not call[1].endswith("_solution")]
        told = [line for line in stdout(cell).splitlines() if parse(line)]
        if len(made) == 1:
            told = told[-1:]
        for number, (name, argument) in enumerate(made):
            verdict, message = parse(told[number]) if number < len(told) else (NOT_RUN, "")
            yield name, argument, verdict, message


def parse(line: str) -> tuple[str, str] | None:
    """A line that a checker printed as verdict and message; None for any other line."""
    line = line.strip()
    if line in (CORRECT, NOT_ATTEMPTED):
        return line, ""
    if line.startswith(f"{NOT_YET}, because "):
        return NOT_YET, line.removeprefix(f"{NOT_YET}, because ")
    return None


def roster(notebooks: Sequence[dict]) -> list[Exercise]:
    """The exercises of these notebooks. The first call of a checker in a lesson is its exercise; later ones,
    with other arguments, show something.
    """
    from .checks import all_exercises

    known, found = all_exercises(), {}
    for notebook in notebooks:
        lesson = lesson_of(notebook)
        for name, argument, _, _ in calls(notebook):
            if lesson is not None and name in known:
                found.setdefault((lesson, name), Exercise(lesson, name, argument))
    return sorted(found.values(), key=lambda exercise: exercise.lesson)  # stable: in the lesson's order


def verdicts(notebook: dict, exercises: Sequence[Exercise]) -> list[tuple[Exercise, str, str]]:
    """Of each exercise of the notebook's lesson, the best verdict on it, with its message."""
    lesson, made = lesson_of(notebook), list(calls(notebook))
    result = []
    for exercise in exercises:
        if exercise.lesson == lesson:
            told = [
                (verdict, message)
                for name, argument, verdict, message in made
                if (name, argument) == (exercise.name, exercise.argument)
            ]
            best = min(told, key=lambda one: VERDICTS.index(one[0]), default=(NOT_THERE, ""))
            result.append((exercise, *best))
    return result


# -------------------------------------------------------------------------------------------------- a folder
def notebooks_below(folder: Path) -> list[Path]:
    """Every notebook below a folder, in order; Jupyter's own copies are left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(files) if name.endswith(".ipynb")]
    return found


def course_exercises() -> list[Exercise]:
    """The exercises of the lessons that came with this library; empty if it was installed without them."""
    return roster([read_notebook(path) for path in sorted(LESSONS.glob("[0-9][0-9]_*.ipynb"))])


def progress(folder: str | Path, run: bool = False, limit: float = 900) -> Progress:
    """The verdicts of every notebook below `folder`. `run` runs each, for at most `limit` seconds."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{printable(folder)}: there is no such folder")
    found, result = {}, Progress([], [], run)
    for path in notebooks_below(folder):
        try:
            found[path] = read_notebook(path)
        except DataError as error:
            result.unreadable.append(str(error))
    exercises = course_exercises() or roster(list(found.values()))
    lessons = {exercise.lesson for exercise in exercises}
    for path, notebook in found.items():
        if lesson_of(notebook) not in lessons:
            result.unreadable.append(
                f"{printable(path)}: is no lesson of the course: no title such as '# 07 · …' is in it"
            )
            continue
        stopped = ""
        if run:
            notebook, stopped = run_again(notebook, limit)
        inside = path.relative_to(folder)
        student = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        for exercise, verdict, message in verdicts(notebook, exercises):
            message = stopped if verdict == NOT_RUN else message
            result.rows.append(
                Row(student, inside.as_posix(), exercise.lesson, exercise.name, verdict, message)
            )
    if not result.rows and not result.unreadable:
        raise DataError(f"{printable(folder)}: there is no notebook in it, nor in the folders below it")
    return result


def run_again(notebook: dict, limit: float) -> tuple[dict, str]:
    """The notebook, run from a clean kernel in an empty folder, and why it did not come to its end, if so.

    A cell that raises does not stop it. After `limit` seconds in all the kernel is ended.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    fresh = nbformat.v4.new_notebook()
    for cell in notebook["cells"]:
        new = nbformat.v4.new_code_cell if cell.get("cell_type") == "code" else nbformat.v4.new_markdown_cell
        tags = ["solution"] if is_solution(cell) else []
        fresh.cells.append(new(text(cell.get("source")), metadata={"tags": tags}))
    end, stopped = time.monotonic() + limit, ""
    folder = tempfile.mkdtemp(prefix="progress-")
    try:
        client = NotebookClient(
            fresh, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": folder}}
        )
        with client.setup_kernel(stderr=subprocess.DEVNULL):  # the kernel's own warnings, not the cells'
            for number, cell in enumerate(fresh.cells):
                client.timeout = max(1, round(end - time.monotonic()))
                client.execute_cell(cell, number)
    except CellTimeoutError:
        stopped = f"stopped after the limit of {limit:g} s"
    except DeadKernelError:
        stopped = "the kernel died"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return fresh, stopped


# --------------------------------------------------------------------------------------------- what is shown
def as_text(found: Progress) -> str:
    """Two tables: who has how many of each lesson's exercises, and how each exercise went in the room."""
    notebooks = len({row.notebook for row in found.rows})
    how = (
        "run again from a clean kernel"
        if found.ran
        else "read from the stored outputs, which can be old or edited (--run runs the notebooks)"
    )
    counted = "1 notebook" if notebooks == 1 else f"{notebooks} notebooks"
    lines = [f"{counted}; {how}. Nothing was sent anywhere.", ""]
    lessons = sorted({row.lesson for row in found.rows})
    students = sorted({row.student for row in found.rows})
    best: dict[tuple[str, str, str], str] = {}  # a student may have handed in two copies
    for row in found.rows:
        key = (row.student, row.lesson, row.exercise)
        best[key] = min(best.get(key, NOT_THERE), row.verdict, key=VERDICTS.index)
    width = max([7, *(len(printable(name)) for name in students)])
    lines.append("  ".join([f"{'student':{width}s}", *(f"{lesson:>5s}" for lesson in lessons), "correct"]))
    for student in students:
        fields, right = [f"{printable(student):{width}s}"], 0
        for lesson in lessons:
            told = [verdict for (who, where, _), verdict in best.items() if (who, where) == (student, lesson)]
            right += told.count(CORRECT)
            fields.append(f"{told.count(CORRECT)}/{len(told)}".rjust(5) if told else "    -")
        lines.append("  ".join([*fields, f"{right:7d}"]))
    lines += ["", "  ".join([f"{'exercise':30s}", *VERDICTS])]
    for lesson, name in dict.fromkeys((row.lesson, row.exercise) for row in found.rows):
        told = [verdict for (_, where, what), verdict in best.items() if (where, what) == (lesson, name)]
        title = f"{lesson} {name}"
        lines.append("  ".join([f"{title:30s}", *(f"{told.count(one):{len(one)}d}" for one in VERDICTS)]))
    return "\n".join(lines) if found.rows else lines[0]


def write_csv(found: Progress, path: str | Path) -> Path:
    """One line for each exercise of each notebook; written whole or not at all."""
    path = Path(path)
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in found.rows:
        table.writerow(harmless(getattr(row, column)) for column in COLUMNS)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(buffer.getvalue(), encoding="utf-8", errors="backslashreplace")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def harmless(value: str) -> str:
    """A spreadsheet takes text that begins like this for a formula, and runs it; an apostrophe stops that."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
