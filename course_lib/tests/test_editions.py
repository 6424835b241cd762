"""The editions made from the lessons: complete, nothing solved by accident, the same bytes each time."""

import base64
import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
if not (NOTEBOOKS / "make_editions.py").is_file():
    pytest.skip("installed without the lessons", allow_module_level=True)
sys.path.insert(0, str(NOTEBOOKS))
import make_card  # noqa: E402
import make_editions  # noqa: E402

LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
TWO = [path for path in LESSONS if path.stem[:2] in ("00", "16")]  # small ones; 00 has a formula
needs_reveal = pytest.mark.skipif(
    importlib.util.find_spec("sphinx_revealjs") is None, reason="needs the extra `slides`"
)


@pytest.fixture(scope="module")
def editions(tmp_path_factory):
    """The two editions of notebooks, of every lesson."""
    out = tmp_path_factory.mktemp("made") / "editions"
    assert make_editions.main(["--only", "student", "solutions", "--out", str(out)]) == 0
    return out


def cells(path: Path, kind: str = "code") -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def unpacked(source: str) -> str:
    """What a packed cell hides."""
    return base64.b64decode("".join(re.findall(r'^ +"(.+)"$', source, re.M))).decode()


# ------------------------------------------------------------------------------------------------ notebooks
def test_every_lesson_is_in_both_and_what_it_links_to_lies_beside_it(editions):
    for edition in ("student", "solutions"):
        folder = editions / edition / "notebooks"
        assert [path.name for path in sorted(folder.glob("*.ipynb"))] == [path.name for path in LESSONS]
        for path in folder.glob("*.ipynb"):
            for link in make_editions.linked(nbformat.read(path, as_version=4)):
                assert (folder / link).is_file(), f"{path.name}: {link}"


def test_students_get_stubs_and_no_solution(editions):
    given = 0
    for lesson in LESSONS:
        path = editions / "student" / "notebooks" / lesson.name
        text = json.loads(path.read_text())
        shown = "\n".join("".join(cell["source"]) for cell in text["cells"])
        for before, after in zip(
            nbformat.read(lesson, as_version=4).cells, nbformat.read(path, as_version=4).cells, strict=True
        ):
            if "solution" in before.metadata.get("tags", []):
                assert before.source not in shown, before.source[:80]
                given += "packed" in after.metadata.get("tags", [])
                silent = make_editions.CALL.sub("", before.source).rstrip()
                assert after.source == make_editions.NO_SOLUTION or unpacked(after.source) == silent
            elif before.cell_type == "code":
                assert after.source == before.source
        assert not any(
            cell["outputs"] or cell["execution_count"] for cell in text["cells"] if "outputs" in cell
        )
        assert "Open in Colab" not in shown
    assert 0 < given < sum("solution" in c.metadata.get("tags", []) for p in LESSONS for c in cells(p)) / 4


def test_no_cell_of_the_students_edition_misses_a_name(editions, tmp_path):
    """Solutions are gone; ruff, which knows nothing of our rule, looks for names that went with them."""
    for path in sorted((editions / "student" / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "packed" in cell.metadata.get("tags", []):
                cell.source = unpacked(cell.source)
        nbformat.write(notebook, tmp_path / path.name)
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F821",
        "--output-format",
        "concise",
    ]
    result = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True)
    missing = set(re.findall(r"(\d\d)_\w+\.ipynb:.*F821 Undefined name `(\w+)`", result.stdout))
    assert missing == {("00", "number_of_faces")}, result.stdout  # that lesson's deliberate mistake


def test_a_packed_cell_defines_what_it_names():
    source = "def my_double_solution(x):\n    return factor * x\n\n\nassert my_double_solution(2) == 4"
    cell = make_editions.packed(source + "\ncheck.double(my_double_solution)")
    assert "factor" not in cell and "my_double_solution" in cell.splitlines()[1]
    space = {"factor": 2}
    exec(cell, space)
    assert space["my_double_solution"](5) == 10 and unpacked(cell) == source


def test_only_solutions_that_a_later_cell_needs_stay():
    def cell(source, *tags):
        return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})

    notebook = nbformat.v4.new_notebook(
        cells=[
            cell("import math"),
            cell("def helper_solution():\n    n = 1\n    return n", "solution"),
            cell("def used_solution():\n    return helper_solution()", "solution"),
            cell("def own_solution(n):\n    return n", "solution"),
            cell("print([n for n in range(3)], used_solution(), math.pi)"),
            cell("late_solution = 1", "solution"),
        ]
    )
    assert make_editions.solutions_needed_later(notebook) == {1, 2}


def test_the_solutions_edition_shows_everything(editions):
    for lesson in LESSONS:
        before = nbformat.read(lesson, as_version=4)
        after = nbformat.read(editions / "solutions" / "notebooks" / lesson.name, as_version=4)
        for one, other in zip(before.cells, after.cells, strict=True):
            assert "jupyter" not in other.metadata and "<details>" not in other.source
            if one.cell_type == "code":
                assert (one.source, one.outputs) == (other.source, other.outputs)


# --------------------------------------------------------------------------------------------------- slides
@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """All editions of two lessons, made by two processes that order their sets differently."""
    folder = tmp_path_factory.mktemp("decks")
    for seed in ("1", "2"):
        command = [sys.executable, NOTEBOOKS / "make_editions.py", *TWO, "--out", folder / seed]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True)
    return folder / "1", folder / "2"


@needs_reveal
def test_the_same_lessons_give_the_same_bytes(decks):
    first, second = map(make_editions.sums, decks)
    assert first == second and len([name for name in first if name.startswith("slides/")]) == 3
    assert {name.split("/")[0] for name in first} == set(make_editions.EDITIONS)
    for folder in decks:
        stored = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
        assert stored == make_editions.sums(folder)


def test_a_check_notices_one_altered_letter(tmp_path, capsys):
    arguments = [*map(str, TWO), "--only", "student", "--out", str(tmp_path / "made")]
    assert make_editions.main(arguments) == 0
    assert make_editions.main([*arguments, "--check"]) == 0
    card = tmp_path / "made" / "student" / "notebooks" / "quick_start.md"
    card.write_text(card.read_text().replace("Predict", "Predikt"))
    assert make_editions.main([*arguments, "--check"]) == 1
    assert capsys.readouterr().err == "student/notebooks/quick_start.md: not the same\n"


def plain(heading: str) -> str:
    return re.sub(r"[`*]", "", heading)


@needs_reveal
def test_a_deck_has_every_section_and_nothing_from_the_network(decks):
    for lesson in TWO:
        page = (decks[0] / "slides" / f"{lesson.stem}.html").read_text(encoding="utf-8")
        page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
        assert not re.search(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(?!data:)', page)
        assert "@import" not in page and "<script" not in page
        alts = re.findall(r"""<img[^>]*?alt=("[^"]*"|'[^']*')""", page)
        assert len(alts) == page.count("<img ") >= 2 and all(len(alt) > 30 for alt in alts)
        assert page.count("<math") == ("00" in lesson.stem) and "$$" not in page
        assert "No description has been provided" not in page
        sections = re.findall(r"^## (.+)$", "\n".join(c.source for c in cells(lesson, "markdown")), re.M)
        where = [html.unescape(value) for value in re.findall(r'data-where="([^"]*)"', page)]
        shown = {section for section in sections if any(plain(section) in value for value in where)}
        assert shown == set(sections) - {"Further reading"}
        assert "<details" not in page.split("<body", 1)[1]
        for cell in cells(lesson):
            first = cell.source.splitlines()[0] if cell.source else ""
            name = re.match(r"def (\w+_solution)", first)
            assert not (name and "solution" in cell.metadata.get("tags", []) and f"{name[1]}<" in page), first


@needs_reveal
@pytest.mark.browser
@pytest.mark.parametrize("lesson", TWO, ids=lambda path: path.stem)
def test_every_slide_fits_and_a_deck_asks_nothing_of_the_network(decks, lesson):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    asked, errors = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((decks[0] / "slides" / f"{lesson.stem}.html").as_uri())
        page.wait_for_function("typeof deck !== 'undefined' && deck.isReady()")
        total = page.evaluate("deck.getTotalSlides()")
        assert total > 20
        for number in range(total):
            while page.evaluate("deck.availableFragments().next"):
                page.evaluate("deck.nextFragment()")
            top, bottom, content = page.evaluate(
                """() => {
                const slide = deck.getCurrentSlide(), box = slide.getBoundingClientRect();
                const content = slide.innerText.trim().length + slide.querySelectorAll("img").length;
                return [box.top, box.bottom, content]; }"""
            )
            assert top >= 0 and bottom <= 721 and content > 0, f"slide {number + 1}"
            page.evaluate("deck.next()")
        assert page.evaluate("deck.isLastSlide()")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []


# ---------------------------------------------------------------------------------------------------- folder
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("three years")
    with pytest.raises(SystemExit, match="not made by this command"):
        make_editions.main(["--only", "student", "--out", str(tmp_path / "mine"), str(TWO[0])])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "three years"


# ------------------------------------------------------------------------------------------------- the card
def test_the_card_prints_on_one_page(tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    assert make_card.main(["--out", str(tmp_path)]) == 0
    assert pages(tmp_path / "quick_start.pdf") == 1
    text = make_card.CARD.read_text(encoding="utf-8")
    longer = tmp_path / "longer.html"
    longer.write_text(make_card.card_page(text + text), encoding="utf-8")
    assert make_card.print_pdf(longer, tmp_path / "longer.pdf")
    assert pages(tmp_path / "longer.pdf") == 2, "the count sees a second page"


def pages(pdf: Path) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def test_the_card_names_every_lesson():
    text = make_card.CARD.read_text(encoding="utf-8")
    assert set(re.findall(r"\b(\d\d) [a-zF]", text)) >= {path.stem[:2] for path in LESSONS}
