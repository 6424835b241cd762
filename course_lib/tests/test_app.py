"""The uploader as a page of its own: what is served, and that it says so when Voilà is missing."""

import importlib.util
import json

import pytest

from course_lib import app
from course_lib.errors import CourseError


def test_the_page_is_one_cell_that_makes_the_uploader(tmp_path):
    page = json.loads(app.write_page(tmp_path).read_text(encoding="utf-8"))
    [cell] = page["cells"]
    source = "".join(cell["source"])
    compile(source, "page", "exec")
    assert "Uploader()" in source and page["metadata"]["title"] == "Real or fake?"


def test_only_this_computer_is_served_and_no_traceback_shown():
    options = app.options(8866)
    assert options["ip"] == "127.0.0.1" and options["port"] == 8866
    assert options["config"]["VoilaConfiguration"]["show_tracebacks"] is False


def test_without_voila_there_is_one_sentence(monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "voila" else real(name))
    with pytest.raises(CourseError, match="needs Voilà"):
        app.serve(8866)
    assert app.main(["--no-browser"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_voila_knows_every_setting():
    voila = pytest.importorskip("voila.app")
    known = set(voila.Voila.class_trait_names())
    given = app.options(8866)
    assert set(given) <= known
    from voila.configuration import VoilaConfiguration

    assert set(given["config"]["VoilaConfiguration"]) <= set(VoilaConfiguration.class_trait_names())
