"""Build the site of the course from the lessons as they are stored: `make book`.

Nothing is run: the pictures and numbers on the site are those in the notebooks. The README is the front
page, and its table of lessons is the table of contents, so a lesson that is not listed there stops the build.
A link to what is not on the site (the data card, the licence) leads to the repository on GitHub.

    python .book/build.py            # writes build/book/html
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "book"
REPOSITORY = "https://github.com/real-or-fake-course/real-or-fake"
ROW = re.compile(
    r"^\| *(?:\*\*(?P<part>[^*]+)\*\*)? *\| \[[^\]]+\]\((?P<path>notebooks/\d\d_\w+\.ipynb)\)", re.M
)
LINK = re.compile(
    r"(?P<before>!?\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\]\()(?P<target>[^)\s]+)(?P<after>\))"
)
FIRST_PAGES = ("quick_start", "glossary", "notation", "common_errors", "bibliography", "verdicts")
FIGURE = "Figure made by the cell above; the text below says what it shows."


class BookError(Exception):
    """The site cannot be built; one sentence says why."""


def parts(readme: str) -> list[tuple[str, list[str]]]:
    """The table of contents: (part, lessons) in the order of the README's table of lessons."""
    found: list[tuple[str, list[str]]] = []
    for row in ROW.finditer(readme):
        if row["part"]:
            found.append((row["part"], []))
        if not found:
            raise BookError(f"README.md: {row['path']} stands before the name of a part.")
        found[-1][1].append(row["path"])
    return found


def pages(folder: Path) -> list[str]:
    """The Markdown pages beside the lessons: those that learners look things up in first, then by name."""
    names = [path.stem for path in folder.glob("*.md")]
    order = {name: place for place, name in enumerate(FIRST_PAGES)}
    return [f"notebooks/{name}.md" for name in sorted(names, key=lambda n: (order.get(n, len(order)), n))]


def check_contents(root: Path, contents: list[tuple[str, list[str]]]) -> None:
    """Every lesson stands in the table once, and every lesson of the table is there; else `BookError`."""
    listed = [path for _, lessons in contents for path in lessons]
    there = sorted(f"notebooks/{path.name}" for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if listed != there:
        odd = sorted(set(listed) ^ set(there)) or ["their order"]
        raise BookError(f"README.md's table of lessons and notebooks/ differ: {', '.join(odd)}.")


def rewrite_links(text: str, folder: str, inside: set[str]) -> str:
    """Links that lead out of the site go to the repository on GitHub; those inside stay as they are.

    folder: of the text, relative to the root; inside: the files of the site, relative to the root. A link to
    what is neither on the site nor in the repository raises `BookError`.
    """

    def rewritten(match: re.Match) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = os.path.normpath(os.path.join(folder, target))
        if path in inside:
            return match[0]
        if not (ROOT / path).exists():
            raise BookError(f"A page in {folder or '.'} links to {target}, which is not there.")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        place = f"{path}#{anchor}" if anchor else path
        return f"{match['before']}{REPOSITORY}/{kind}/main/{place}{match['after']}"

    return LINK.sub(rewritten, text)


def front_page(
    readme: str, contents: list[tuple[str, list[str]]], others: list[str], inside: set[str]
) -> str:
    """The README, with the table of contents for Sphinx behind it."""
    trees = [(part, lessons) for part, lessons in contents] + [("Look it up", others)]
    blocks = [
        "```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(paths) + "\n```"
        for caption, paths in trees
        if paths
    ]
    return rewrite_links(readme, "", inside) + "\n\n" + "\n\n".join(blocks) + "\n"


def for_the_site(notebook: nbformat.NotebookNode, inside: set[str]) -> nbformat.NotebookNode:
    """A lesson as the site shows it (changed in place): solutions folded, figures with alt text, links.

    The first code cell, which installs the library in Colab, is folded too.
    """
    first = next((cell for cell in notebook.cells if cell.cell_type == "code"), None)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = rewrite_links(cell.source, "notebooks", inside)
            continue
        tags = cell.metadata.get("tags", [])
        if "solution" in tags or cell is first:
            cell.metadata["tags"] = [*tags, "hide-input"]
        shown = [output.data for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        if shown:
            words = shown[0].get("text/plain", "")
            alt = FIGURE if words.startswith("<") or not words else words
            cell.metadata["mystnb"] = {"image": {"alt": " ".join(alt.split())}}
    return notebook


def lay_out(root: Path, source: Path) -> list[tuple[str, list[str]]]:
    """Fill the folder `source` with what Sphinx reads; returns the table of contents."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    contents, others = parts(readme), pages(root / "notebooks")
    check_contents(root, contents)
    figures = [
        f"figures/{path.name}" for path in (root / "figures").glob("*.*") if path.suffix in (".svg", ".png")
    ]
    inside = {path for _, lessons in contents for path in lessons} | set(others) | set(figures)
    shutil.rmtree(source, ignore_errors=True)
    for name in sorted(inside):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".ipynb"):
            nbformat.write(for_the_site(nbformat.read(root / name, as_version=4), inside), target)
        elif name.endswith(".md"):
            text = rewrite_links((root / name).read_text(encoding="utf-8"), "notebooks", inside)
            target.write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(root / name, target)
    (source / "index.md").write_text(front_page(readme, contents, others, inside), encoding="utf-8")
    return contents


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=BUILD, help="folder to write into (default build/book)")
    parser.add_argument("--builder", choices=("html", "linkcheck"), default="html", help="Sphinx's builder")
    options = parser.parse_args(arguments)
    source = options.out / "source"
    try:
        contents = lay_out(ROOT, source)
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    # -W: a warning (a link to nowhere, a heading that jumps) stops the build, after all of them were shown
    command = [sys.executable, "-m", "sphinx", "-b", options.builder, "-q", "-W", "--keep-going"]
    command += ["-c", str(HERE), "-d", str(options.out / "doctrees"), str(source)]
    status = subprocess.run([*command, str(options.out / options.builder)]).returncode
    if status == 0 and options.builder == "html":
        count = sum(len(lessons) for _, lessons in contents)
        others = len(pages(ROOT / "notebooks"))
        print(f"{count} lessons and {others} pages: open {options.out / 'html' / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
