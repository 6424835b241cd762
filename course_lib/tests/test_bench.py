"""`make bench`: each part that stands in a script of its own gives rows of the agreed form.

The settings are the smallest that work. No timing is judged here: a busy machine must not turn a test red.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from toys import small_checkpoint

from course_lib.errors import CourseError
from course_lib.faces import finder_is_there

BENCH = Path(__file__).resolve().parents[2] / "figures" / "bench"
if not BENCH.is_dir():
    pytest.skip("installed without a checkout", allow_module_level=True)
KEYS = ["name", "ours", "peer", "unit", "ratio", "goal", "runs"]


@pytest.fixture(scope="module")
def bench():
    """The scripts as modules."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCH))
    yield lambda name: importlib.import_module(name)
    sys.path[:] = before


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(small_checkpoint(tmp_path_factory.mktemp("c") / "small"))


def well_formed(rows: list[dict]) -> bool:
    """The agreed keys, numbers above 0, and a ratio that is above 1 exactly where ours is better."""
    for row in rows:
        assert list(row) == KEYS and row["ours"] > 0 and row["peer"] > 0 and row["runs"] >= 1, row
        higher = row["unit"].endswith("/s")
        exact = row["ours"] / row["peer"] if higher else row["peer"] / row["ours"]
        assert math.isclose(row["ratio"], exact, rel_tol=0.02, abs_tol=0.002), row
        assert row["goal"] is None or row["goal"] > 0, row
    return len({row["name"] for row in rows}) == len(rows)


def test_what_is_recorded_has_the_agreed_form(bench):
    recorded, parts = json.loads((BENCH / "bench.json").read_text()), bench("run_bench").PARTS
    for row in recorded["rows"]:
        assert list(row) == ["part", *KEYS] and row["part"] in parts, row
    assert well_formed([{key: row[key] for key in KEYS} for row in recorded["rows"]])
    assert set(recorded["machines"]) == {row["part"] for row in recorded["rows"]}


def test_the_service_under_load(bench, checkpoint, capfd):
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    run_bench, load_serve = bench("run_bench"), bench("load_serve")
    rows = load_serve.rows(run_bench.row, 1, clients=3, seconds=1.5, checkpoint=checkpoint)
    assert well_formed(rows) and [row["unit"] for row in rows][:3] == ["images/s", "s", "s"]
    told = json.loads(capfd.readouterr().err)
    assert set(told["answers"]) <= {"200", "503"} and told["answers"]["200"] >= 3


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (200, b'{"pictures": [{"p_fake": 2}]}'), (503, b"{}"), (200, b"")]
)
def test_a_service_that_fails_under_load_is_no_row(bench, status, body):
    """Errors, verdicts that are none, and refusals alone end the measurement."""

    class Bad(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Retry-After", "0.2")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bad)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(RuntimeError, match="neither a verdict nor 503"):
            bench("load_serve").put_under_load(server.server_port, 0, [b"x"], clients=2, seconds=0.3)
    finally:
        server.shutdown()
        server.server_close()


def test_four_ways_to_run_the_network(bench, checkpoint, capfd):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra export")
    export_speed = bench("export_speed")
    rows = export_speed.rows(
        bench("run_bench").row, 1, seconds=0.05, side=32, checkpoint=checkpoint, backend="eager"
    )
    assert well_formed(rows) and {row["unit"] for row in rows} == {"windows/s"}
    said = capfd.readouterr().err
    for name in (export_speed.COMPILED, export_speed.ONNX, export_speed.OPENVINO):
        timed = [row["name"] for row in rows if f": {name} against" in row["name"]]
        assert len(timed) == 2 or f"{name} is left out" in said, name
    assert len(rows) >= 4 and not set(export_speed.SETTINGS) & set(os.environ)


def test_a_way_with_other_logits_is_not_timed(bench):
    x, export_speed = torch.randn(4, 3), bench("export_speed")
    export_speed.assert_parity("the same", torch.sum, torch.sum, x)
    for other in (lambda x: torch.sum(x) + 2e-4, lambda x: torch.full((), math.nan)):
        with pytest.raises(RuntimeError, match="other logits"):
            export_speed.assert_parity("another", other, torch.sum, x)


def test_compiling_is_bounded(bench, checkpoint, monkeypatch, tmp_path):
    """A compiler that never ends is ended, and so is whatever it started; one that fails is quoted."""
    export_speed = bench("export_speed")
    script = tmp_path / "compiler.py"
    monkeypatch.setattr(export_speed, "__file__", str(script))
    monkeypatch.setattr(export_speed, "PATIENCE", 1)
    for name in export_speed.SETTINGS:
        monkeypatch.setenv(name, "as before")  # put back after the test
    for code, words in (
        ("import time; time.sleep(60)", "ended after 1 s"),
        ("raise SystemExit('no g++')", "no g"),
    ):
        script.write_text(code)
        with pytest.raises(CourseError, match=words):
            export_speed.compiled(checkpoint, None, 1, 32, str(tmp_path), "inductor")


def test_the_path_of_an_upload(bench, checkpoint, capfd):
    rows = bench("upload_speed").rows(bench("run_bench").row, 1, checkpoint=checkpoint)
    assert well_formed(rows) and rows[0]["goal"] == 0.5
    assert len(rows) == 1 + finder_is_there() and all(row["goal"] is None for row in rows[1:])
    assert finder_is_there() or "left out" in capfd.readouterr().err


def test_a_large_set(bench, monkeypatch):
    for name, value in {"DISTINCT": 120, "SIDE": 80}.items():  # a small set is looked at for twins
        monkeypatch.setattr(bench("large_set"), name, value)
    splits = {"train": 40, "valid": 10, "test": 10}
    rows = bench("large_set").rows(bench("run_bench").row, 1, splits)
    assert well_formed(rows) and "120 pictures" in rows[0]["name"] and rows[0]["goal"] == 1


def test_a_part_measured_anew_replaces_its_own_rows_alone(bench, tmp_path, monkeypatch):
    run_bench, out = bench("run_bench"), tmp_path / "bench.json"
    made = {name: [run_bench.row(f"{name} row", 2, 1, "s", False, 5)] for name in run_bench.PARTS}
    for name, rows in made.items():
        monkeypatch.setitem(run_bench.PARTS, name, lambda runs, rows=rows: rows)

    def recorded():
        found = json.loads(out.read_text())
        assert list(found["machines"]) == list(dict.fromkeys(row["part"] for row in found["rows"]))
        return [(row["part"], row["name"]) for row in found["rows"]]

    run_bench.main(["--only", "service", "--out", str(out)])
    run_bench.main(["--out", str(out)])
    assert recorded() == [(name, f"{name} row") for name in run_bench.PARTS]
    made["data"][0]["name"] = "another name"  # the row of the old name goes, the order stays
    run_bench.main(["--only", "data", "--out", str(out)])
    assert recorded() == [(name, made[name][0]["name"]) for name in run_bench.PARTS]
    monkeypatch.delitem(run_bench.PARTS, "service")  # a part that is no more
    run_bench.main(["--only", "data", "--out", str(out)])
    assert recorded() == [(name, made[name][0]["name"]) for name in run_bench.PARTS]


def test_a_part_that_fails_costs_the_others_nothing(bench, tmp_path, monkeypatch):
    run_bench, out = bench("run_bench"), tmp_path / "bench.json"
    monkeypatch.setitem(run_bench.PARTS, "import", lambda runs: [run_bench.row("a row", 2, 1, "s", False, 5)])
    monkeypatch.setitem(run_bench.PARTS, "data", lambda runs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_bench.main(["--only", "import", "data", "--out", str(out)])
    assert [row["name"] for row in json.loads(out.read_text())["rows"]] == ["a row"]
