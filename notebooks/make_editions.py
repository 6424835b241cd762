"""Make the editions of the course from the lessons: `make editions`, into build/editions.

* `student/`: the lessons without solutions, for a workshop. Solution cells are gone; stubs, hints, checkers
  and the collapsed answers to the self-checks stay. Outputs are cleared: they would answer every "predict,
  then run", and a cell without output is a cell that was not run, which the progress sheet relies on. Where a
  later cell goes on with the result of an exercise, a worked version stays, packed so that nobody reads it by
  accident.
* `solutions/`: the lessons as they are, with outputs, all solutions and all answers unfolded.
* `slides/`: a deck for each lesson (`make_slides.py`), one file each, that needs no network.

Nothing here is edited by hand. The same lessons give the same bytes: `SHA256SUMS` says which, and `--check`
makes everything once more and compares.
"""

import argparse
import base64
import copy
import hashlib
import os
import re
import shutil
import symtable
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parent
ROOT = NOTEBOOKS.parent
EDITIONS = ("student", "solutions", "slides")
SUMS = "SHA256SUMS"
CALL = re.compile(r"^check\..*\n?", re.MULTILINE)  # the line that judges the solution
BADGE = re.compile(r"^\[!\[Open in Colab\].*\n\n?", re.MULTILINE)
LINK = re.compile(r"\]\((\.\./figures/[^)\s]+|[\w-]+\.md)\)")
NO_SOLUTION = (
    "*Solution: in the solutions edition, which your teacher has. "
    "Stuck? Open the hints, one at a time; then ask.*"
)
PACKED = """\
# The cells below go on with a worked version of this exercise, so that nobody is left behind.
# It defines {names}; packed, not secret: do not unpack it before you have tried.
import base64

exec(base64.b64decode(
{lines}
).decode())
"""


# ------------------------------------------------------------------------------------------ the two notebooks
def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def names(source: str) -> tuple[set[str], set[str]]:
    """What a cell defines at its top level, and what it needs from the cells before it."""
    top = symtable.symtable(source, "cell", "exec")
    defined = {
        symbol.get_name()
        for symbol in top.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    needed, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        needed |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (table is top or symbol.is_global())
        }
    return defined, needed


def solutions_needed_later(notebook: NotebookNode) -> set[int]:
    """The numbers of the solution cells whose names a later cell uses and no other cell defines."""
    cells = [
        (number, "solution" in tags(cell), *names(cell.source))
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    ]
    elsewhere = set().union(*(defined for _, solution, defined, _ in cells if not solution))
    kept: set[int] = set()
    wanted: set[str] = set()
    for number, solution, defined, needed in reversed(cells):
        if not solution or defined & wanted - elsewhere:
            wanted |= needed
            if solution:
                kept.add(number)
    return kept


def packed(source: str) -> str:
    """A cell that does what `source` does, and shows neither it nor the verdict on it."""
    source = CALL.sub("", source).rstrip()
    coded = base64.b64encode(source.encode()).decode()
    lines = "\n".join(f'    "{line}"' for line in textwrap.wrap(coded, 88))
    functions = sorted(name for name in names(source)[0] if name.endswith("_solution"))
    return PACKED.format(names=" and ".join(functions), lines=lines).rstrip()


def student(lesson: NotebookNode) -> NotebookNode:
    """The lesson as a workshop needs it: nothing solved, nothing run."""
    notebook = copy.deepcopy(lesson)
    needed = solutions_needed_later(notebook)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = BADGE.sub("", cell.source)  # it leads to the lesson with its solutions
            continue
        cell.outputs, cell.execution_count = [], None
        if "solution" not in tags(cell):
            continue
        if number in needed:
            cell.source = packed(cell.source)
            cell.metadata = nbformat.from_dict({"tags": ["packed"], "jupyter": {"source_hidden": True}})
        else:
            notebook.cells[number] = nbformat.v4.new_markdown_cell(NO_SOLUTION, id=cell.id)
    return notebook


def solutions(lesson: NotebookNode) -> NotebookNode:
    """The lesson with everything in it unfolded."""
    notebook = copy.deepcopy(lesson)
    for cell in notebook.cells:
        cell.metadata.pop("jupyter", None)
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("<details>", "<details open>")
    return notebook


# ------------------------------------------------------------------------------------------------ the folders
def linked(notebook: NotebookNode) -> set[str]:
    """The pictures and pages beside the lessons that a notebook shows or links to, as it names them."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return set(LINK.findall(text))


def write_notebooks(lessons: Sequence[Path], folder: Path, edition) -> None:
    """An edition as a folder that works when it is copied elsewhere: notebooks/, and figures/ beside it."""
    target = folder / "notebooks"
    target.mkdir(parents=True)
    for path in lessons:
        notebook = edition(nbformat.read(path, as_version=4))
        (target / path.name).write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
        for link in linked(notebook):
            if link.startswith("../figures/"):
                (folder / "figures").mkdir(exist_ok=True)
            shutil.copyfile(NOTEBOOKS / link, target / link)
    for name in ("quick_start.md",):
        shutil.copyfile(NOTEBOOKS / name, target / name)


def make(out: Path, lessons: Sequence[Path], editions: Sequence[str] = EDITIONS) -> None:
    """Write the editions into the new folder `out`."""
    out.mkdir(parents=True)
    if "student" in editions:
        write_notebooks(lessons, out / "student", student)
    if "solutions" in editions:
        write_notebooks(lessons, out / "solutions", solutions)
    if "slides" in editions:
        import make_slides  # here: it needs the extra `slides`

        make_slides.write_decks(lessons, out / "slides")
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums(out).items()))


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by name, in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def replace(out: Path, made: Path) -> None:
    """Put a finished folder in the place of the one before; never over a folder that is not ours."""
    if out.exists():
        if not (out / SUMS).is_file():
            raise SystemExit(f"{out}: is there, and not made by this command; name another folder with --out")
        shutil.rmtree(out)
    os.replace(made, out)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", type=Path, help="notebooks (default: all lessons)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "editions", metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=EDITIONS, default=EDITIONS, metavar="EDITION")
    parser.add_argument("--check", action="store_true", help="make them again and compare with those in DIR")
    options = parser.parse_args(arguments)
    lessons = options.lessons or sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    out = options.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".editions-") as folder:
        made = Path(folder) / "editions"
        make(made, lessons, options.only)
        fresh = sums(made)
        if options.check:
            there = sums(out)
            every = fresh.keys() | there.keys()
            different = sorted(name for name in every if fresh.get(name) != there.get(name))
            for name in different:
                print(f"{name}: not the same", file=sys.stderr)
            print(f"{len(fresh)} files made again, {len(different)} differ from those in {options.out}")
            return int(bool(different))
        replace(out, made)
    print(f"{len(lessons)} lessons, {len(fresh)} files: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
