"""The site: its contents are the lessons there are, and its links lead somewhere. `make book` builds it."""

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / ".book"
if not BOOK.is_dir():
    pytest.skip("installed without a checkout", allow_module_level=True)


def load(name: str):
    """A script of the folder .book as a module."""
    spec = importlib.util.spec_from_file_location(f"book_{name}", BOOK / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build, check = load("build"), load("check")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_contents_is_the_lessons_there_are():
    contents = build.parts(README)
    assert [name for name, _ in contents] == ["See", "Convolve", "Attend", "Train and judge", "Use"]
    listed = [path for _, lessons in contents for path in lessons]
    assert listed == sorted(f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb"))
    build.check_contents(ROOT, contents)  # raises nothing


def test_a_lesson_that_is_missing_or_added_stops_the_build():
    contents = build.parts(README)
    last = contents[-1][1].pop()
    with pytest.raises(build.BookError, match=re.escape(last)):
        build.check_contents(ROOT, contents)
    contents[-1][1].extend([last, "notebooks/99_more.ipynb"])
    with pytest.raises(build.BookError, match="99_more"):
        build.check_contents(ROOT, contents)
    swapped = [(name, lessons[::-1]) for name, lessons in build.parts(README)]
    with pytest.raises(build.BookError, match="order"):
        build.check_contents(ROOT, swapped)


def test_a_lesson_before_the_first_part_stops_the_build():
    with pytest.raises(build.BookError, match="before the name of a part"):
        build.parts("| | [00](notebooks/00_start_here.ipynb) | x |")


def test_every_page_beside_the_lessons_is_in_the_book():
    found = build.pages(ROOT / "notebooks")
    assert sorted(found) == sorted(f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.md"))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[x](03_a.ipynb)", "[x](03_a.ipynb)"),
        ("[x](03_a.ipynb#part)", "[x](03_a.ipynb#part)"),
        ("[x](https://example.org/a)", "[x](https://example.org/a)"),
        ("[x](#part)", "[x](#part)"),
        ("[card](../data/README.md)", f"[card]({build.REPOSITORY}/blob/main/data/README.md)"),
        ("[a](../data/README.md#x)", f"[a]({build.REPOSITORY}/blob/main/data/README.md#x)"),
        ("[folder](../data)", f"[folder]({build.REPOSITORY}/tree/main/data)"),
        ("![a (b) [c]](../figures/cover.py)", f"![a (b) [c]]({build.REPOSITORY}/blob/main/figures/cover.py)"),
        ("[![badge](https://a/b.svg)](../LICENSE)", f"[![badge](https://a/b.svg)]({build.REPOSITORY}/blob/main/LICENSE)"),
    ],
)  # fmt: skip
def test_links_out_of_the_site_lead_to_the_repository(text, expected):
    assert build.rewrite_links(text, "notebooks", {"notebooks/03_a.ipynb"}) == expected


def test_a_link_to_nowhere_stops_the_build():
    with pytest.raises(build.BookError, match="gone.ipynb, which is not there"):
        build.rewrite_links("[x](gone.ipynb)", "notebooks", set())


def test_the_sources_are_complete_and_the_lessons_otherwise_as_stored(tmp_path):
    build.lay_out(ROOT, tmp_path)
    front = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert front.count("```{toctree}") == len(build.parts(README)) + 1
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        stored, shown = nbformat.read(path, 4), nbformat.read(tmp_path / "notebooks" / path.name, 4)
        assert len(stored.cells) == len(shown.cells)
        for before, after in zip(stored.cells, shown.cells, strict=True):
            assert before.get("outputs") == after.get("outputs")
            if before.cell_type == "code":
                assert before.source == after.source
                if "solution" in before.metadata.get("tags", []):
                    assert "hide-input" in after.metadata.tags
                if any("image/png" in output.get("data", {}) for output in before.outputs):
                    assert len(after.metadata.mystnb["image"]["alt"]) > 20
    for page in [tmp_path / "index.md", *(tmp_path / "notebooks").iterdir()]:
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".ipynb":
            cells = nbformat.reads(text, 4).cells
            text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for match in build.LINK.finditer(text):
            target = match["target"].partition("#")[0]
            if target and not re.match(r"[a-z]+:", target):
                assert (page.parent / target).is_file(), f"{page.name} links to {target}"


def test_broken_links_inside_the_site_are_found(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="notebooks/a.html#here">1</a><a href="notebooks/a.html#gone">2</a><img src="b.png">'
        '<a href="https://example.org/">3</a><a href="#top">4</a><p id="top"></p>'
    )
    (tmp_path / "notebooks" / "a.html").write_text('<h1 id="here"></h1><a href="../index.html">5</a>')
    found = list(check.broken_links(tmp_path))
    assert found == [
        "index.html links to notebooks/a.html#gone, and that page has no such place",
        "index.html links to b.png, and there is no such file",
    ]


def test_the_check_wants_a_site_first(tmp_path, capsys):
    assert check.main(["--html", str(tmp_path)]) == 1
    assert "run `make book` first" in capsys.readouterr().err


def test_the_searches_of_the_check_name_lessons():
    titles = re.findall(r"^\| .*?\[(\d\d · [^\]]+)\]", README, re.M)
    assert set(check.SEARCHES.values()) <= set(titles)


def test_the_extra_holds_what_the_site_is_made_with():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {Requirement(line).name for line in extras["book"]}
    assert {"sphinx", "myst-nb", "sphinx-book-theme", "latex2mathml", "playwright"} <= names


def test_the_workflow_runs_the_same_commands_and_publishes_only_main():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = workflow["jobs"]["build"]["steps"]
    assert "make book-check" in [step.get("run") for step in steps]
    upload = next(step for step in steps if "upload-pages" in step.get("uses", ""))
    assert upload["with"]["path"] == str((build.BUILD / "html").relative_to(ROOT))
    assert "refs/heads/main" in upload["if"] and "refs/heads/main" in workflow["jobs"]["publish"]["if"]
    targets = (ROOT / "Makefile").read_text()
    for command in ("book", "book-check", "book-links"):
        assert re.search(rf"^{command}:.*## ", targets, re.M), command
