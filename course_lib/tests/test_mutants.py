"""The command that tries the tests on mutants: what it copies, remembers, forgets and accepts."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module

import mutants
import pytest


def memory(folder, module, codes):
    """What mutmut has written down about a module."""
    place = folder / "mutants" / "course_lib" / f"{module}.py.meta"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"exit_code_by_key": codes, "other": 1}), "utf-8")
    return place


def test_survivors_are_tried_again_and_the_killed_are_not(tmp_path):
    codes = {"course_lib.data.x_a__mutmut_1": 1, "course_lib.data.x_a__mutmut_2": 0,
             "course_lib.data.x_b__mutmut_1": 33, "course_lib.data.x_b__mutmut_2": -24}  # fmt: skip
    place = memory(tmp_path, "data", codes)
    assert mutants.results(tmp_path, ["data", "checks"]) == codes
    mutants.forget_survivors(tmp_path)
    assert list(mutants.results(tmp_path, ["data"]).values()) == [1, None, None, -24]
    assert json.loads(place.read_text("utf-8"))["other"] == 1 and len(list(place.parent.iterdir())) == 1
    assert mutants.results(tmp_path / "nowhere", ["data"]) == {}


def test_a_copy_keeps_what_is_equal_and_renews_what_is_not(tmp_path, monkeypatch):
    root, work = tmp_path / "root", tmp_path / "work"
    for name in ("course_lib/a.py", "course_lib/__pycache__/a.pyc", "data/b.txt", "notebooks/c.ipynb"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one")
    (root / "pyproject.toml").write_text("[tool.mutmut]")
    monkeypatch.setattr(mutants, "ROOT", root)
    mutants.copy_of_the_tree(work)
    assert sorted(str(p.relative_to(work)) for p in work.rglob("*") if p.is_file()) == [
        "course_lib/a.py", "data/b.txt", "notebooks/c.ipynb", "pyproject.toml",
    ]  # fmt: skip
    before = (work / "course_lib/a.py").stat().st_mtime_ns, (work / "data/b.txt").stat().st_mtime_ns
    (root / "data/b.txt").write_text("two")
    mutants.copy_of_the_tree(work)
    after = (work / "course_lib/a.py").stat().st_mtime_ns, (work / "data/b.txt").stat().st_mtime_ns
    assert after[0] == before[0] and after[1] > before[1] and (work / "data/b.txt").read_text() == "two"


def test_which_tests_reach_what_is_asked_anew_once_code_has_changed(tmp_path, monkeypatch):
    root, work = tmp_path / "root", tmp_path / "work"
    for name in ("course_lib/a.py", "course_lib/b.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one")
    monkeypatch.setattr(mutants, "ROOT", root)
    reached = work / "mutants" / "mutmut-stats.json"
    reached.parent.mkdir(parents=True)
    for changed, kept in (("a.py", False), ("b.json", True)):
        mutants.copy_of_the_tree(work)
        reached.write_text("{}")
        (root / "course_lib" / changed).write_text("two")
        mutants.copy_of_the_tree(work)
        assert reached.is_file() == kept


def test_a_survivor_is_explained_by_its_function_and_its_line():
    lines = ["-    return a if ok else b", "+    facts = look(listing, trust=None)"]
    assert mutants.explained("verify", lines) == "None is as false as False"
    assert mutants.explained("load", lines) is None
    assert mutants.explained("verify", ["-  trust=None", "+  trust=True"]) is None


@pytest.mark.parametrize(
    ("exit_codes", "status"), [([1, 1], 0), ([1, 0], 1), ([1, None], 0)], ids=["killed", "left", "untried"]
)
def test_the_report_and_its_status(tmp_path, monkeypatch, capsys, exit_codes, status):
    names = [f"course_lib.data.x_load__mutmut_{i}" for i in (1, 2)]
    memory(tmp_path, "data", dict(zip(names, exit_codes, strict=True)))
    monkeypatch.setattr(mutants, "WORK", tmp_path)
    monkeypatch.setattr(mutants, "changed_lines", lambda work, name: ("load", ["-    a = 1", "+    a = 2"]))
    assert mutants.main(["--only", "data", "--report"]) == status
    head, *rest = capsys.readouterr().out.splitlines()
    tried = sum(code is not None for code in exit_codes)
    assert head.startswith(f"data: 2 mutants, {tried} tried, {sum(c == 1 for c in exit_codes)} killed, ")
    assert rest == (["  " + names[1], "    -    a = 1", "    +    a = 2"] if status else [])


def test_what_is_explained_is_still_there():
    """The function exists, and what is left of the changed line without its change stands in it."""
    modules = [import_module(f"course_lib.{name}") for name in mutants.MODULES]
    for function, piece, why in mutants.EXPLAINED:
        found = [m for m in modules if hasattr(m, function.partition(".")[0])]
        assert found, function
        place = getattr(found[0], function.partition(".")[0])
        code = inspect.getsource(place)
        words = [w for w in re.findall(r"[a-z_]{4,}", piece) if w not in ("else",)]
        assert why and (not words or any(word in code for word in words)), (function, piece)


def test_settings_name_the_same_modules():
    settings = (mutants.ROOT / "pyproject.toml").read_text("utf-8").partition("[tool.mutmut]")[2]
    only = re.search(r"only_mutate = \[(.*)\]", settings)
    assert only and set(re.findall(r"course_lib/(\w+)\.py", only[1])) == set(mutants.MODULES)
    for name in re.findall(r"course_lib/tests/\w+\.py", settings.partition("[tool.coverage")[0]):
        assert (mutants.ROOT / name).is_file()
