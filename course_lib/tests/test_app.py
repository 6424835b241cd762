"""The uploader as a page of its own: what is served, and that it says so when Voilà is missing."""

import importlib.util
import json
import os

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


@pytest.mark.parametrize("arguments, browser", [([], True), (["--no-browser"], False)])
def test_voila_is_given_the_page_and_the_settings(monkeypatch, capsys, arguments, browser):
    """All but Voilà itself, which the browser tests start."""
    voila = pytest.importorskip("voila.app")
    told = []

    def launch(cls, argv, **settings):
        told.append((argv, settings, json.loads(open(argv[0], encoding="utf-8").read())))

    monkeypatch.setattr(voila.Voila, "launch_instance", classmethod(launch))
    assert app.main(["--port", "8899", *arguments]) == 0
    [(argv, settings, page)] = told
    assert ("--no-browser" not in argv) == browser and page["metadata"]["title"] == "Real or fake?"
    assert settings["ip"] == "127.0.0.1" and settings["port"] == 8899
    assert settings["config"].VoilaConfiguration.show_tracebacks is False
    assert "http://127.0.0.1:8899/" in capsys.readouterr().out
    assert not os.path.exists(argv[0]), "the folder of the page is to go with the server"
