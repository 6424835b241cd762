"""The stored notebooks are what a lesson promises; altering a checked output turns nbval red."""

import base64
import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib.checks import all_exercises

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
if not NOTEBOOKS.is_dir():
    pytest.skip("installed without the lessons", allow_module_level=True)
sys.path.insert(0, str(NOTEBOOKS))
import make_notebooks  # noqa: E402

LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
ABSOLUTE_PATH = re.compile(r"(?<![\w./:])/(home|root|Users|tmp|work|content|usr|opt|var)/[\w.-]+|[A-Z]:\\\\")
lesson_by_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def tags(cell) -> list:
    return cell.metadata.get("tags", [])


def checked_cells(notebook):
    return [cell for cell in code_cells(notebook) if "nbval-check-output" in tags(cell)]


def test_there_are_lessons():
    assert LESSONS


@lesson_by_lesson
def test_is_small_and_in_normal_form(path):
    assert path.stat().st_size < 2_000_000
    assert make_notebooks.main(["--check", str(path)]) == 0


@lesson_by_lesson
def test_was_run_in_order_without_errors(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" or "raises-exception" in tags(cell), cell.source


@lesson_by_lesson
def test_shows_no_path_of_anybodys_machine(path):
    for cell in read(path).cells:
        texts = [cell.source] + [
            json.dumps(output.get("data", output))
            for output in cell.get("outputs", [])
            if "image/png" not in output.get("data", {})
        ]
        for text in texts:
            found = ABSOLUTE_PATH.search(text)
            assert not found, f"{path.name}: {found.group(0)!r} in {cell.source[:80]!r}"


@lesson_by_lesson
def test_has_at_least_five_cells_that_nbval_compares_with_something(path):
    cells = checked_cells(read(path))
    assert len(cells) >= 5
    for cell in cells:
        assert cell.outputs, f"checked, yet nothing is stored: {cell.source[:80]!r}"
        assert not cell.source.rstrip().endswith(";")


@lesson_by_lesson
def test_code_cells_are_short(path):
    lengths = sorted(len(cell.source.splitlines()) for cell in code_cells(read(path)))
    assert lengths[-1] <= 40
    assert lengths[len(lengths) // 2] <= 10


@lesson_by_lesson
def test_code_fits_its_window(path):
    """In JupyterLab at 1280 pixels, beside the table of contents, 100 characters fit; 110 scroll a little."""
    too_long = [
        line for cell in code_cells(read(path)) for line in cell.source.splitlines() if len(line) > 110
    ]
    assert not too_long


@lesson_by_lesson
def test_images_carry_alt_text(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\s*\]\(", cell.source), cell.source[:80]
            assert not re.search(r"<img(?![^>]*alt=\"[^\"]+\")", cell.source), cell.source[:80]


@lesson_by_lesson
def test_a_figure_is_described_in_words_next_to_it(path):
    notebook = read(path)
    for cell, following in zip(notebook.cells, notebook.cells[1:] + [None], strict=True):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert following is not None and following.cell_type == "markdown", cell.source[:80]
            assert len(following.source) > 40, f"say in words what the figure shows: {cell.source[:80]!r}"


@lesson_by_lesson
def test_links_inside_the_course_lead_somewhere(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\(([^)#\s]+)\)", cell.source):
                if not link.startswith(("http:", "https:", "mailto:", "attachment:")):
                    assert (NOTEBOOKS / link).exists(), f"{path.name} links to {link}, which is not there"


@lesson_by_lesson
def test_has_the_parts_of_a_lesson(path):
    notebook = read(path)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for part in ("**You will**", "**You need**", "**Time**", "colab-badge", "## Recap", "## Further reading"):
        assert part in text, f"{path.name} lacks {part!r}"
    assert len(re.findall(r"^#+ Exercise", text, re.M)) >= 2
    assert text.count("<details>") >= 5, "hints and explained answers belong in collapsed blocks"
    assert sum("solution" in tags(cell) for cell in notebook.cells) >= 2
    for cell in notebook.cells:
        if "solution" in tags(cell):
            assert cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source[:80]


def test_the_set_up_cell_is_the_same_everywhere():
    """Written in one place, `SET_UP`; `make_notebooks.py --set-up` puts it into the lessons."""
    for path in LESSONS:
        first = code_cells(read(path))[0]
        assert first.source == make_notebooks.SET_UP, f"{path.name}: run notebooks/make_notebooks.py --set-up"
        assert first.outputs == [], f"{path.name}: outside Colab the cell says nothing"


def test_a_lesson_whose_set_up_cell_differs_is_refused(tmp_path, capsys):
    notebook = read(LESSONS[0])
    code_cells(notebook)[0].source += "\nprint('mine')"
    path = tmp_path / LESSONS[0].name
    make_notebooks.write(notebook, path)
    assert make_notebooks.main(["--check", str(path)]) == 1
    assert "its set-up cell differs" in capsys.readouterr().out
    assert make_notebooks.main(["--set-up", str(path)]) == 0
    assert make_notebooks.main(["--check", str(path)]) == 0


def test_untouched_exercises_claim_nothing():
    for path in LESSONS:
        for cell in code_cells(read(path)):
            if "solution" in tags(cell):
                continue
            for output in cell.outputs:
                assert not ("check." in cell.source and "correct" in output.get("text", "").lower())


@lesson_by_lesson
def test_each_solution_is_judged_by_its_checker_in_a_compared_cell(path):
    asked, judged = set(), set()
    for cell in code_cells(read(path)):
        called = set(re.findall(r"^check\.(\w+)\(", cell.source, re.M)) & set(all_exercises())
        if "solution" not in tags(cell):
            asked |= called
        elif called:
            judged |= called
            assert "nbval-check-output" in tags(cell)
            assert cell.outputs[-1]["text"].endswith("the solution: correct\n")
    assert len(asked) >= 2 and judged == asked


def nbval(path: Path, strict: bool) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "--nbval" if strict else "--nbval-lax"]
    command += ["--nbval-current-env", "-p", "no:cacheprovider"]
    command += ["--nbval-cell-timeout", "300", "--nbval-sanitize-with", str(NOTEBOOKS / "nbval_sanitize.cfg")]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=path.parent)


def tampered(text: str) -> str:
    """The text with its first digit or letter changed."""
    return re.sub(r"[0-9A-Za-z]", lambda found: "7" if found.group(0) != "7" else "8", text, count=1)


@pytest.mark.parametrize("lesson, strict", [("16_the_uploader", False), ("01_images_are_tensors", True)])
def test_altering_any_checked_output_turns_the_run_red(tmp_path, lesson, strict):
    """Every compared cell of a lesson, its output altered by one character: nbval must name them all.

    A strict lesson's cells are compared without a tag. Run on two short lessons, one of each kind."""
    source = NOTEBOOKS / f"{lesson}.ipynb"
    notebook = read(source)
    altered = 0
    for cell in code_cells(notebook) if strict else checked_cells(notebook):
        output = next((o for o in cell.outputs if "text" in o or "text/plain" in o.get("data", {})), None)
        if output is None or set(tags(cell)) & {"raises-exception", "nbval-ignore-output"}:
            continue
        if output.output_type == "stream":
            output.text = tampered(output.text)
        else:
            output.data["text/plain"] = tampered(output.data["text/plain"])
        altered += 1
    copy_path = tmp_path / source.name
    nbformat.write(notebook, copy_path)
    result = nbval(copy_path, strict)
    assert altered >= (20 if strict else 5)
    assert re.search(rf"\b{altered} failed\b", result.stdout), result.stdout[-2000:]


def small_notebook() -> nbformat.NotebookNode:
    png = base64.b64encode(b"not really").decode()
    cells = [nbformat.v4.new_markdown_cell("# title"), nbformat.v4.new_code_cell("print(object())")]
    cells[1].outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="at 0x7f00aa11bb22"),
        nbformat.v4.new_output("stream", name="stdout", text=" and on\n"),
        nbformat.v4.new_output("stream", name="stderr", text=" 50%|#####     |"),
        nbformat.v4.new_output("display_data", data={make_notebooks.WIDGET_VIEW: {}}),
        nbformat.v4.new_output("display_data", data={"image/png": png}, metadata={"needs": 1}),
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=["\x1b[0m/home/me/x.py"]),
    ]
    cells[1].metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {"state": {}}})
    return notebook


def test_normalising_drops_what_differs_from_run_to_run():
    notebook = make_notebooks.normalise(small_notebook())
    outputs = notebook.cells[1].outputs
    assert [output.output_type for output in outputs] == ["stream", "display_data", "error"]
    assert outputs[0].text == "at 0xADDRESS and on\n"
    assert outputs[2].traceback == ["ValueError: no"]
    assert "widgets" not in notebook.metadata and "execution" not in notebook.cells[1].metadata


def test_normalising_twice_changes_nothing():
    once = make_notebooks.normalise(small_notebook())
    twice = make_notebooks.normalise(copy.deepcopy(once))
    assert nbformat.writes(once) == nbformat.writes(twice)


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path, capsys):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    path = tmp_path / "broken.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert make_notebooks.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert "ZeroDivisionError" in capsys.readouterr().err
