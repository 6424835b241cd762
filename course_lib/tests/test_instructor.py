"""The instructor's guide: its minutes add up to the lessons' times, and its plans to its minutes."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "notebooks" / "instructor.md"
if not GUIDE.is_file():
    pytest.skip("installed without the lessons", allow_module_level=True)
TEXT = GUIDE.read_text(encoding="utf-8")
LESSONS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
NOT_TAUGHT = ("Recap", "Further reading")
each_lesson = pytest.mark.parametrize("lesson", LESSONS)


def rows(text: str) -> list[list[str]]:
    """The rows of all tables in a text, without heads and rules."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    rules = [number for number, row in enumerate(found) if set("".join(row)) <= set("-: ")]
    return [row for number, row in enumerate(found) if number not in rules and number + 1 not in rules]


def chapter(title: str) -> str:
    """What stands between a heading and the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}.*?$(.*?)(?=^#{{1,3}} |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"the guide has no {title!r}"
    return found[2]


def markdown(lesson: str) -> str:
    cells = nbformat.read(LESSONS[lesson], as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def stated(lesson: str) -> int:
    """The minutes in the lesson's own "**Time**" line."""
    return int(re.search(r"\*\*Time\*\*: about (\d+) minutes", markdown(lesson))[1])


def minutes(lesson: str) -> dict[str, int]:
    """A lesson's sections with their minutes, from the guide."""
    return {row[0]: int(row[1]) for row in rows(chapter(f"{lesson} · "))}


def of_sections(what: str) -> int:
    """The minutes of a row such as `04 · sections 2, 3, 4`."""
    lesson, sections = re.fullmatch(r"(\d\d) · sections? ([\d, ]+)", what).groups()
    by_number = {title.split(".")[0]: number for title, number in minutes(lesson).items()}
    return sum(by_number[section] for section in sections.split(", "))


@each_lesson
def test_the_minutes_of_the_sections_add_up_to_the_lessons_time(lesson):
    found = minutes(lesson)
    assert sum(found.values()) == stated(lesson)
    assert all(number > 0 for number in found.values())
    assert f"({stated(lesson)} minutes)" in re.search(rf"^### {lesson} · .*$", TEXT, re.MULTILINE)[0]


@each_lesson
def test_every_section_of_the_lesson_is_there_in_its_order(lesson):
    headings = re.findall(
        r"^## (.+)$", re.sub(r"```.*?```", "", markdown(lesson), flags=re.DOTALL), re.MULTILINE
    )
    assert ["Opening", *(title for title in headings if title not in NOT_TAUGHT)] == list(minutes(lesson))


@each_lesson
def test_every_lesson_has_what_a_teacher_asks_for(lesson):
    text = chapter(f"{lesson} · ")
    for part in ("**Say:**", "**Ask:**", "**Where people stumble**", "**While it runs:**"):
        assert part in text
    title = re.search(r"^# \d\d · (.+)$", markdown(lesson), re.MULTILINE)[1]
    assert f"### {lesson} · {title} (" in TEXT


def test_the_six_evenings_hold_every_lesson_once_and_add_up():
    *evenings, total = rows(chapter("Six evenings"))
    assert len(evenings) == 6
    for _, lessons, taught, breaks, reserve, together, _ in evenings:
        assert int(taught) == sum(map(stated, lessons.split(", ")))
        assert int(together) == int(taught) + int(breaks) + int(reserve)
    assert [lesson for row in evenings for lesson in row[1].split(", ")] == list(LESSONS)
    for column in (2, 3, 4, 5):
        assert int(total[column]) == sum(int(row[column]) for row in evenings)


@pytest.mark.parametrize("plan", ["One day", "Half a day"])
def test_a_plan_adds_up_and_its_clock_is_right(plan):
    text = chapter(plan)
    *table, end = rows(text)
    clock = 9 * 60
    for begins, what, number in table:
        assert begins == f"{clock // 60:02d}:{clock % 60:02d}", what
        if what[:2].isdigit():
            assert int(number) == of_sections(what), what
        clock += int(number)
    assert end[:2] == [f"{clock // 60:02d}:{clock % 60:02d}", "end"]
    hours, rest = divmod(clock - 9 * 60, 60)
    assert (f"{hours} hours {rest} minutes" if rest else f"{hours} hours, ") in text
    assert sum(what[:2].isdigit() for _, what, _ in table) >= 8


def test_the_commands_it_names_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", TEXT))
    assert {"lab", "editions", "card", "stick"} <= named <= targets
