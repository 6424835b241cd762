"""`make bench`: each part that stands in a script of its own gives rows of the agreed form.

The settings are the smallest that work. No timing is judged here: a busy machine must not turn a test red.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from toys import small_checkpoint

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


def test_what_is_recorded_has_the_agreed_form():
    assert well_formed(json.loads((BENCH / "bench.json").read_text())["rows"])


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


def test_the_exported_network(bench, checkpoint):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra export")
    row = bench("run_bench").row
    rows = bench("export_speed").rows(row, 1, seconds=0.05, side=32, checkpoint=checkpoint)
    assert well_formed(rows) and [row["unit"] for row in rows] == ["windows/s"] * 2


def test_a_large_set(bench, monkeypatch):
    for name, value in {"DISTINCT": 120, "SIDE": 80}.items():  # a small set is looked at for twins
        monkeypatch.setattr(bench("large_set"), name, value)
    splits = {"train": 40, "valid": 10, "test": 10}
    rows = bench("large_set").rows(bench("run_bench").row, 1, splits)
    assert well_formed(rows) and "120 pictures" in rows[0]["name"] and rows[0]["goal"] == 1


def test_a_part_alone_keeps_the_other_rows(bench, tmp_path, monkeypatch):
    run_bench, out = bench("run_bench"), tmp_path / "bench.json"
    made = {name: [run_bench.row(f"{name} row", 2, 1, "s", False, 5)] for name in run_bench.PARTS}
    for name, rows in made.items():
        monkeypatch.setitem(run_bench.PARTS, name, lambda runs, rows=rows: rows)
    run_bench.main(["--out", str(out)])
    names = [row["name"] for row in json.loads(out.read_text())["rows"]]
    assert names == [f"{name} row" for name in run_bench.PARTS] and {"service", "export", "large"} <= set(
        made
    )
    made["service"][0]["ours"] = 4
    run_bench.main(["--only", "service", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == len(made) and well_formed([r for r in rows if r["name"] != "service row"])
    assert [row["ours"] for row in rows if row["name"] == "service row"] == [4]
