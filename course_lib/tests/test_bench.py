"""`make bench`: each part that stands in a script of its own gives rows of the agreed form.

The settings are the smallest that work. No timing is judged here: a busy machine must not turn a test red.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import nbformat
import pytest
import torch
from lesson_code import NOTEBOOKS, definitions
from toys import small_checkpoint

from course_lib import facenest, load
from course_lib.errors import CourseError
from course_lib.facenest import count_macs
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


def test_four_ways_to_run_the_network(bench, checkpoint, capfd, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra export")
    export_speed = bench("export_speed")
    monkeypatch.setattr(export_speed, "BATCHES", (2,))
    rows = export_speed.rows(
        bench("run_bench").row, 1, seconds=0.05, side=32, checkpoint=checkpoint, backend="eager"
    )
    assert well_formed(rows) and {row["unit"] for row in rows} == {"windows/s"}
    said = capfd.readouterr().err
    for name in (export_speed.COMPILED, export_speed.ONNX, export_speed.OPENVINO):
        timed = [row["name"] for row in rows if f": {name} against" in row["name"]]
        assert len(timed) == 1 or f"{name} is left out" in said, name
    assert len(rows) >= 2


def test_a_way_with_other_logits_is_not_timed(bench):
    x, export_speed = torch.zeros(4, 3), bench("export_speed")
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


def test_a_part_that_fails_costs_the_others_nothing(bench, tmp_path, monkeypatch, capsys):
    run_bench, out = bench("run_bench"), tmp_path / "bench.json"
    monkeypatch.setitem(run_bench.PARTS, "import", lambda runs: [run_bench.row("a row", 2, 1, "s", False, 5)])
    monkeypatch.setitem(run_bench.PARTS, "data", lambda runs: 1 / 0)
    monkeypatch.setitem(run_bench.PARTS, "large", lambda runs: sys.exit(3))
    with pytest.raises(SystemExit, match="^Not measured, for the reason above: data, large. "):
        run_bench.main(["--only", "data", "large", "import", "--out", str(out)])
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert [row["name"] for row in json.loads(out.read_text())["rows"]] == ["a row"]


# --- the roofline, and what is counted ---------------------------------------------------------------------


def test_the_roofline(bench):
    roofline_speed = bench("roofline_speed")
    rows = roofline_speed.rows(
        bench("run_bench").row, 1, sides=(32, 64), batches=(1, 32), matrix=128, copied=2**16, least=0.0
    )
    units = [row["unit"] for row in rows]
    assert well_formed(rows) and all(row["goal"] is None for row in rows)
    assert units == ["GFLOP/s", "GB/s"] * 2 + ["ms"] * 6  # no training step with one picture
    base = next(row for row in rows if row["name"] == roofline_speed.cost("prediction", *roofline_speed.BASE))
    assert base["ratio"] == 1


def test_what_is_counted_is_what_lesson_11_counts(bench):
    lesson, counting = definitions("11_train_facenest.ipynb"), bench("counting")
    for side, learn, width in ((32, True, 16), (64, False, 16), (64, True, 32)):
        assert counting.count(side, learn, width=width) == lesson.count(side, learn, width=width)
    # The high-pass counts a pixel's neighbours once for a whole batch: next to nothing.
    assert math.isclose(counting.count(64, False)[0], 2 * count_macs(facenest(), 64), rel_tol=2e-3)


def test_the_drawing_holds_what_was_measured(bench):
    """Made up rows: the points, the roofs and the costs come back, and the words hold the numbers."""
    speed, row = bench("roofline_speed"), bench("run_bench").row
    sys.path.insert(0, str(BENCH.parent))
    import roofline

    rows = [
        row(speed.arithmetic("prediction", 64), 40, 160, "GFLOP/s", True, 1),
        row(speed.traffic("prediction", 64), 4, 8, "GB/s", True, 1),
        row(speed.cost("prediction", 64, 32), 1.25, 1.25, "ms", False, 1),
    ]
    found = roofline.read(rows)
    assert found == {
        "peak": 160, "flow": 8, "points": {("prediction", 64): (40, 4)},
        "cost": {("prediction", 64, 32): 1.25},
    }  # fmt: skip
    words = roofline.words(found)  # 10 operations for each byte: the roof above is 80
    for told in (
        "8 GB/s",
        "160 GFLOP/s",
        "prediction at 64 px 40, that is 50 %",
        "batches of 32: 1.2 at 64 px",
    ):
        assert told in words
    assert roofline.read(rows[:2]) is None and roofline.read([]) is None
    figure = roofline.draw(found)
    roofline.plt.close(figure)
    assert len(figure.axes) == 2


# --- one GPU, estimated ------------------------------------------------------------------------------------


def test_the_estimate_is_lesson_11_s(bench):
    estimate, lesson = bench("gpu_estimate"), definitions("11_train_facenest.ipynb")
    cards = {name: (card.half, card.single, card.bytes) for name, card in estimate.CARDS.items()}
    lesson.limits.__globals__["CARDS"] = cards
    source = "".join((NOTEBOOKS / "11_train_facenest.ipynb").read_text(encoding="utf-8").split())
    for half, single, moved in cards.values():  # the lesson's own constants
        assert f"({half / 1e12:g}e12,{single / 1e12:g}e12,{moved / 1e9:g}e9)" in source
    plan, prepared = estimate.PLANS[0], 4000.0
    for name, card in estimate.CARDS.items():
        for reached in estimate.REACHED:
            theirs = lesson.seconds(
                name, reached, prepared, plan.crop, estimate.SIDE, estimate.TRAIN, estimate.VALID, 1,
                {"width": plan.width},
            )  # fmt: skip
            assert math.isclose(estimate.epoch(card, plan, prepared, reached), theirs, rel_tol=1e-9)
    whole = estimate.limits(card, estimate.PLANS[2], prepared)
    assert whole["preparation"] == prepared / 16  # four times as wide


def test_the_stored_estimate_is_what_the_script_says(bench):
    """Other releases of PyTorch may cut an operation into others, and count other bytes: 10 % is allowed."""
    estimate, number = bench("gpu_estimate"), re.compile(r"\d[\d,]*(?:\.\d+)?")
    stored, fresh = estimate.OUT.read_text(encoding="utf-8"), estimate.estimate()
    assert number.sub("#", stored).replace("min", "s") == number.sub("#", fresh).replace("min", "s")
    for old, new in zip(number.findall(stored), number.findall(fresh), strict=True):
        old, new = (float(text.replace(",", "")) for text in (old, new))
        assert math.isclose(old, new, rel_tol=0.1, abs_tol=1)


def test_the_check_without_a_gpu_is_one_sentence(bench, capsys, monkeypatch):
    estimate = bench("gpu_estimate")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert estimate.main(["--check"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"[^.\n]+ CUDA, [^.\n]+\.\n", err)


def test_the_check_measures_and_compares(bench):
    """On the CPU, with next to no pictures: only the way is tested."""
    estimate, whole = bench("gpu_estimate"), load("studio")
    sets = SimpleNamespace(train=whole.train.subset(range(8)), valid=whole.valid.subset(range(4)))
    plan, cpu = estimate.Plan("a small plan", 32, 4, batch=4), torch.device("cpu")
    told = {}
    for name, sheet in (
        ("Tesla T4", None),
        ("NVIDIA A100-SXM4-40GB", None),
        ("Another", None),
        ("My", [1, 1, 1]),
    ):
        lines = []
        estimate.check(sets, plan, cpu, name, sheet, lines.append)
        assert lines[0].startswith(f"{name}, a small plan, 8 ") and lines[1].startswith("measured: ")
        told[name] = lines[2]
    assert "--sheet" in told.pop("Another")
    assert all(
        re.search(r"estimated: \S+ s to \S+ s, so the estimate (holds|does not)", t) for t in told.values()
    )
    card = estimate.known("Tesla T4", None)
    assert card is estimate.CARDS["T4"] and estimate.known("NVIDIA T400 4GB", None) is None


# --- the course --------------------------------------------------------------------------------------------


def test_the_course(bench, monkeypatch, tmp_path, capfd):
    """One small notebook in place of the lessons; `make lab` itself is timed by hand only."""
    course_speed = bench("course_speed")
    lesson = tmp_path / "03_short.ipynb"
    cells = [nbformat.v4.new_code_cell("import time; time.sleep(0.3)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lesson)
    stored = lesson.read_bytes()
    monkeypatch.setattr(course_speed, "why_no_lab", lambda: "nobody wants it")
    rows = course_speed.rows(bench("run_bench").row, 1, [lesson])
    assert "left out: nobody wants it." in capfd.readouterr().err
    assert well_formed([{**row, "ours": max(row["ours"], 1e-9)} for row in rows]) and len(rows) == 2
    assert [row["goal"] for row in rows] == [1, 1] and "lesson (03)" in rows[1]["name"]
    assert lesson.read_bytes() == stored
    monkeypatch.setattr(course_speed, "why_no_lab", lambda: None)
    monkeypatch.setattr(course_speed, "time_lab", lambda runs: [20.0, 5.0, 6.0])
    assert course_speed.rows(bench("run_bench").row, 3, [lesson])[0]["ours"] == 6


def test_a_lesson_that_fails_is_no_time(bench, tmp_path):
    lesson = tmp_path / "03_broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), lesson)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        bench("course_speed").run_lessons([lesson])


def test_tests_that_fail_are_no_time(bench, monkeypatch):
    course_speed, row = bench("course_speed"), bench("run_bench").row
    plain, begun = subprocess.run, []
    monkeypatch.setattr(
        course_speed.subprocess,
        "run",
        lambda c, **how: begun.append(c) or (plain(c, **how) if c[0] != "make" else 0),
    )
    rows = course_speed.tests_rows(row, (sys.executable, "-c", "import time; time.sleep(0.6)"))
    assert begun[0][0] == "make" and rows[0]["unit"] == "min" and 0.01 <= rows[0]["ours"] < 5
    with pytest.raises(subprocess.CalledProcessError):
        course_speed.tests_rows(row, (sys.executable, "-c", "raise SystemExit(2)"))


def test_the_first_lesson_is_put_back(bench, tmp_path):
    file = tmp_path / "lesson.ipynb"
    file.write_bytes(b"before")
    with pytest.raises(KeyError), bench("course_speed").kept(file):
        file.write_bytes(b"what JupyterLab saved")
        raise KeyError
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


# --- what is made from the rows ----------------------------------------------------------------------------


def test_the_readme_holds_what_the_rows_give(bench):
    made, readme = bench("made_from_rows"), (BENCH.parents[1] / "README.md").read_text(encoding="utf-8")
    section = made.section(json.loads((BENCH / "bench.json").read_text(encoding="utf-8")))
    assert section in readme, "run `python figures/bench/run_bench.py --table`"
    assert made.put(readme, section) == readme


def test_the_stored_drawing_holds_what_the_rows_give(bench):
    bench("made_from_rows")
    sys.path.insert(0, str(BENCH.parent))
    import roofline

    found = roofline.read(json.loads((BENCH / "bench.json").read_text(encoding="utf-8"))["rows"])
    file = BENCH.parent / "roofline.svg"
    assert file.exists() == (found is not None)
    if found is not None:
        drawn = set(re.findall(r"<!-- (.*?) -->", file.read_text(encoding="utf-8")))
        points = found["points"].items()
        assert {f"{kind}, {side} px: {ours:.0f}" for (kind, side), (ours, _) in points} <= drawn
        assert {f"matrix product: {found['peak']:.0f} GFLOP/s", f"copy: {found['flow']:.0f} GB/s"} <= drawn


def test_goals_missed_are_shown_as_missed(bench):
    made, row = bench("made_from_rows"), bench("run_bench").row
    rows = [
        {"part": "data", **row("a goal that is met", 3, 1, "images/s", True, 5, 1.5)},
        {"part": "data", **row("a goal that is missed", 1.4, 1, "images/s", True, 5, 1.5)},
        {"part": "large", **row("exactly on it", 2, 2, "s", False, 5, 1)},
        {"part": "large", **row("no goal at all", 70_051.4, 4593.4, "images/s", True, 5)},
    ]
    one, other = ({"processor": "P", "threads": 2, "torch": version} for version in ("2.6+x", "2.7"))
    text = made.section({"machines": {"data": one, "large": other}, "rows": rows})
    lines = {
        cells[1].strip(): cells for cells in (line.split("|") for line in text.splitlines()) if cells[1:]
    }
    assert lines["a goal that is met"][-2] == " 1.5: met " and lines["exactly on it"][-2] == " 1: met "
    assert lines["a goal that is missed"][-2] == " 1.5: **missed** "
    assert lines["no goal at all"][2:6] == [" 70,051 ", " 4,593 ", " images/s ", " 15.2 "]
    assert "2 of 3 goals are met" in text and "1 more rows" in text and "roofline.svg" not in text
    assert "P, 2 threads, PyTorch 2.6 (data); P, 2 threads, PyTorch 2.7 (large)" in text
    with pytest.raises(ValueError, match="each once"):
        made.put("a README without marks", text)
    readme = f"before\n{made.BEGIN}\nold\n{made.END}\nafter\n"
    assert made.put(readme, text) == f"before\n{text}\nafter\n"
