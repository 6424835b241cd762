"""The pages beside the lessons say what the lessons say: glossary, notation, bibliography, common errors."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import course_lib
from course_lib import layers

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
if not NOTEBOOKS.is_dir():
    pytest.skip("installed without the lessons", allow_module_level=True)
LESSONS = {path.name: nbformat.read(path, 4) for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
PAGES = sorted(NOTEBOOKS.glob("*.md"))
TERM = re.compile(r"- \*\*(?P<name>[^*]+)\*\*(?: \((?P<others>[^)]*)\))?: (?P<words>.+)")
LINK = re.compile(r"\]\((\d\d_\w+\.ipynb)\)")


def page(name: str) -> str:
    return (NOTEBOOKS / name).read_text(encoding="utf-8")


def words_of(lesson: str) -> str:
    return " ".join(" ".join(cell.source for cell in LESSONS[lesson].cells).split()).lower()


def entries(name: str) -> list[str]:
    return [line for line in page(name).splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_of_a_page_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


# --- glossary


def test_every_term_of_the_glossary_is_used_by_the_lesson_that_it_names():
    for line in entries("glossary.md"):
        term = TERM.fullmatch(line)
        assert term, line
        lessons = LINK.findall(line)
        assert lessons and set(lessons) <= set(LESSONS), line
        names = [term["name"], *(term["others"] or "").split(", ")]
        patterns = [rf"(?<!\w){re.escape(name.lower())}" for name in names if name]
        assert any(re.search(pattern, words_of(lessons[-1])) for pattern in patterns), (
            f"{lessons[-1]} does not say {' or '.join(names)}"
        )
        assert 30 <= len(term["words"]) <= 400, f"one or two sentences: {line}"


def test_the_glossary_is_sorted_without_doubles_under_its_letters():
    found = []
    for line in page("glossary.md").splitlines():
        if line.startswith("## "):
            found.append((line[3:].lower(), None))
        elif term := TERM.fullmatch(line):
            found.append((found[-1][0][0], term["name"].lower()))
    terms = [name for _, name in found if name]
    assert len(terms) == len(set(terms)) >= 100
    assert all(name[0] == letter for letter, name in found if name)
    assert terms == sorted(terms, key=lambda name: re.sub(r"[^a-z0-9]", "", name))


def test_every_lesson_builds_some_term():
    built = {LINK.findall(line)[-1] for line in entries("glossary.md")}
    assert built == set(LESSONS)


# --- notation


def shape_of(words: str) -> str:
    row = next(line for line in page("notation.md").splitlines() if line.startswith(f"| {words} |"))
    return row.split("|")[2].strip()


def test_the_shapes_of_the_notation_are_those_of_torch_and_of_the_library():
    shapes = {
        "the weights of a convolution": (nn.Conv2d(3, 5, 7).weight, {5: "out", 3: "in", 7: "k"}),
        "the weights of a depthwise convolution": (
            nn.Conv2d(5, 5, 3, groups=5).weight, {5: "C", 1: "1", 3: "k"},
        ),
        "the weights of a transposed convolution": (
            nn.ConvTranspose2d(3, 5, 7).weight, {5: "out", 3: "in", 7: "k"},
        ),
        "the weights of a linear layer": (nn.Linear(3, 5).weight, {5: "out", 3: "in"}),
        "a picture as a tensor": (course_lib.load("studio").test.uint8(0), {3: "3", 128: "H"}),
    }  # fmt: skip
    for words, (tensor, letters) in shapes.items():
        found = [letters[number] for number in tensor.shape]
        if words == "a picture as a tensor":
            found[-1] = "W"
            assert tensor.dtype == torch.uint8
        assert shape_of(words) == f"({', '.join(found)})"
    maps = layers.GLCSAttention(8).maps(torch.zeros(2, 8, 6, 7))
    assert maps["lc"].shape == (2, 8) and shape_of("channel weights") == "(B, C)"
    assert maps["ls"].shape == (2, 1, 6, 7) and shape_of("place weights") == "(B, 1, H, W)"
    rows = layers.GlobalChannelAttention().matrix(torch.rand(2, 8))
    assert rows.shape == (2, 8, 8) and torch.allclose(rows.sum(-1), torch.ones(2, 8))
    assert shape_of("who listens to whom, channels") == "(B, C, C), rows add up to 1"
    x = course_lib.normalise(course_lib.load("studio").test.uint8(0)[None])
    assert x.dtype == torch.float32 and -2 <= x.min() and x.max() <= 2


# --- bibliography


def references(lesson: str) -> list[str]:
    """The bullets of the lesson's "Further reading"."""
    text = next(c.source for c in LESSONS[lesson].cells if "## Further reading" in c.source)
    bullets = re.split(r"^- ", text.split("## Further reading")[1], flags=re.M)[1:]
    return [" ".join(bullet.split()) for bullet in bullets]


def addresses(text: str) -> list[str]:
    return re.findall(r"\]\((https?://(?:[^()\s]|\([^()\s]*\))+)\)", text)


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_reference_of_a_lesson_is_in_the_bibliography(lesson):
    lines = entries("bibliography.md")
    for bullet in references(lesson):
        found = addresses(bullet)
        for address in found:
            line = next((line for line in lines if f"]({address})" in line), None)
            assert line, f"bibliography.md lacks {address}, which {lesson} names: {bullet}"
            assert lesson in LINK.findall(line), f"bibliography.md: add {lesson} to {line[:80]}"
        if not found:
            title = re.search(r'"([^"]+)"|\*([^*]+)\*|(T\.81)|^([^,]+, data sheets)', bullet)
            assert title, f"{lesson}: a reference without a title: {bullet}"
            wanted = next(filter(None, title.groups())).rstrip(".").lower()
            there = [line for line in lines if wanted in line.lower()]
            assert there and any(lesson in LINK.findall(line) for line in there), f"{lesson}: {bullet}"


def test_the_bibliography_names_no_lesson_that_does_not_use_the_work():
    for line in entries("bibliography.md"):
        for lesson in LINK.findall(line):
            bullets = " ".join(references(lesson))
            titles = [t for pair in re.findall(r'"([^"]+)"|\*([^*]+)\*', line) for t in pair if t]
            used = [address in bullets for address in addresses(line)]
            used += [title.lower() in bullets.lower() for title in titles]
            used += [name in bullets for name in ("data sheets", "T.81") if name in line]
            assert any(used), f"bibliography.md: {lesson} does not name {line[:100]}"


def test_papers_stand_once_by_author_with_a_doi_or_an_address():
    papers = page("bibliography.md").split("## Papers and books")[1].split("\n## ")[0]
    lines = [line for line in papers.splitlines() if line.startswith("- ")]
    found = [address for line in lines for address in addresses(line)]
    assert len(found) == len(set(found))
    without = [line for line in lines if not addresses(line)]
    assert len(without) <= 2, without  # a blog entry and a palette of colours: neither has a lasting address
    for line in lines:
        for label, address in re.findall(r"\[((?:doi|arXiv) [^\]]+)\]\((https\S+)\)", line):
            kind, number = label.split(" ", 1)
            start = {"doi": "https://doi.org/", "arXiv": "https://arxiv.org/abs/"}[kind]
            assert address.startswith(start + number), line
    names = [re.split(r",| and ", line[2:])[0].split()[-1].lower() for line in lines]
    assert names == sorted(names)


# --- common errors


def examples() -> list[tuple[str, str]]:
    """(code, what came out) of every example on the page."""
    return re.findall(r"```python\n(.*?)```\s+```text\n(.*?)\n```", page("common_errors.md"), re.S)


def agrees(quoted: str, said: str) -> bool:
    """… stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, quoted.split("…"))), said, re.S) is not None


def test_every_quoted_sentence_has_its_example():
    text = page("common_errors.md")
    assert text.count("```text") == text.count("```python") == len(examples()) >= 20


@pytest.mark.parametrize("code, quoted", examples(), ids=lambda text: re.sub(r"\W+", "-", text)[:40])
def test_an_example_of_the_page_raises_what_is_quoted(code, quoted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {
        "torch": torch,
        "nn": nn,
        "F": F,
        "np": np,
        "course_lib": course_lib,
        "Path": Path,
        "Image": Image,
    }
    with pytest.raises(Exception) as caught:  # noqa: B017  (which one is what is being compared)
        exec(code, names)
    said = f"{caught.type.__name__}: {caught.value}"
    assert agrees(quoted, said), f"the page says:\n{quoted}\nthe code says:\n{said}"


def test_quotes_agree_or_do_not():
    assert agrees("a: 5 … end", "a: 5 of many\nlines end")
    assert not agrees("a: 5", "a: 57") and not agrees("a (5)", "a 5")


def masked(text: str) -> str:
    """The first words of a message, without its numbers."""
    return re.sub(r"\d+", "#", text)[:40]


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_page_has_every_mistake_that_a_lesson_makes_on_purpose(lesson):
    text = page("common_errors.md")
    quoted = {masked(box) for _, box in examples()}
    headings = re.findall(r"^### (.+)$", text, re.M)
    for cell in LESSONS[lesson].cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                said = f"{output.ename}: {output.evalue}"
                assert masked(said) in quoted or any(output.evalue in heading for heading in headings), (
                    f"common_errors.md lacks an entry for {said!r}, which {lesson} makes on purpose"
                )
