"""Scoring a folder: every row once, through kills too; bad files are told; memory does not grow."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import small_checkpoint

from course_lib import CourseError, DataError, Detector, Preprocessing, facenest, score

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra serve")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("c") / "small")


@pytest.fixture(scope="module")
def detector(checkpoint):
    return Detector.load(checkpoint, device="cpu")


def fill(folder: Path, n: int, side: int = 32) -> Path:
    """n tiny pictures in three subfolders, no two alike."""
    for i in range(n):
        path = folder / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def table(out: Path) -> list[dict]:
    return pq.read_table(out).to_pylist()


def test_rows_are_the_detectors_answers_in_a_fixed_order(tmp_path, detector):
    folder = fill(tmp_path / "in", 23)
    found = score.score_folder(folder, tmp_path / "s.parquet", detector, part_rows=5)
    rows = table(tmp_path / "s.parquet")
    expected = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    assert [row["path"] for row in rows] == expected and (found.rows, found.resumed, found.unreadable) == (
        23,
        0,
        0,
    )
    p = detector([folder / path for path in expected])
    np.testing.assert_allclose([row["p_fake"] for row in rows], p, atol=1e-6)
    assert [row["label"] for row in rows] == [detector.label(x) for x in p] and len({*p.round(6)}) > 15
    assert sorted(f.name for f in tmp_path.iterdir()) == ["in", "s.parquet"]


def test_bad_files_are_rows_and_listed_and_stop_nothing(tmp_path, detector):
    folder = fill(tmp_path / "in", 4)
    (folder / "a" / "text.JPG").write_text("milk")
    (folder / "empty.png").touch()
    Image.new("RGB", (31, 40)).save(folder / "tiny.png")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)  # never entered
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").touch()
    odd = 'a "quoted", comma\nnewline.png'
    (folder / odd).write_bytes(b"no")
    found = score.score_folder(folder, tmp_path / "s.parquet", detector, part_rows=3)
    bad = {row["path"]: row["error"] for row in table(found.out) if row["error"]}
    assert sorted(bad) == sorted(["a/text.JPG", "empty.png", "tiny.png", "gone.png", odd])
    assert found.rows == 9 and found.unreadable == 5 and all(len(e.splitlines()) == 1 for e in bad.values())
    assert all(r["p_fake"] is None and r["label"] is None for r in table(found.out) if r["error"])
    with open(found.unreadable_list, encoding="utf-8", newline="") as file:
        assert {row["path"]: row["error"] for row in csv.DictReader(file)} == bad


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text(tmp_path, detector):
    folder = fill(tmp_path / "in", 2)
    (folder / "a" / "0.png").rename(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png"))
    found = score.score_folder(folder, tmp_path / "s.parquet", detector, part_rows=1)
    assert {row["path"] for row in table(found.out)} == {
        "b/1.png",
        r"\udcff\udcfe.png",
    } and not found.unreadable


def start(folder, out, checkpoint) -> subprocess.Popen:
    command = [sys.executable, "-m", "course_lib", "score", str(folder), "--out", str(out)]
    command += ["--checkpoint", str(checkpoint), "--part-rows", "4", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_kill_after_kill_no_row_is_lost_or_repeated(tmp_path, checkpoint, detector):
    """Six times killed with SIGKILL, each time a little later than when a new part appeared."""
    folder, out = fill(tmp_path / "in", 150), tmp_path / "s.parquet"
    (folder / "b" / "bad.png").write_text("no picture")
    parts, kills, seen = tmp_path / "s.parquet.parts", 0, 0
    while kills < 6:
        process = start(folder, out, checkpoint)
        while process.poll() is None and len(score.finished_parts(parts)) <= seen:
            time.sleep(0.002)
        time.sleep(0.004 * kills)  # in the middle of judging, of writing, of renaming: wherever it is
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was to be killed before it was done"
        kills, seen = kills + 1, len(score.finished_parts(parts))
        assert not out.exists()
    process = start(folder, out, checkpoint)
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 1 and "of them were there from before" in told, errors
    assert "1 could not be read" in errors
    rows, whole = table(out), tmp_path / "whole.parquet"
    score.score_folder(folder, whole, detector)
    assert [r["path"] for r in rows] == [r["path"] for r in table(whole)] and len(rows) == 151
    a, b = ([np.nan if r["p_fake"] is None else r["p_fake"] for r in t] for t in (rows, table(whole)))
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert not parts.exists()


class Stop(Exception):
    pass


def interrupted(folder, out, detector, after):
    def progress(safe):
        if safe >= after:
            raise Stop

    with pytest.raises(Stop):
        score.score_folder(folder, out, detector, part_rows=4, progress=progress)


def test_what_was_safe_is_not_judged_again(tmp_path, detector, monkeypatch):
    folder, out = fill(tmp_path / "in", 20), tmp_path / "s.parquet"
    interrupted(folder, out, detector, after=8)
    asked, whole = [], score.score_batch
    monkeypatch.setattr(
        score, "score_batch", lambda d, paths, *rest: asked.extend(paths) or whole(d, paths, *rest)
    )
    found = score.score_folder(folder, out, detector, part_rows=7)  # another size of parts may follow
    assert len(asked) == 12 and (found.rows, found.resumed) == (20, 8)
    assert len({row["path"] for row in table(out)}) == 20


def test_a_half_written_part_does_not_count(tmp_path, detector):
    folder, out = fill(tmp_path / "in", 9), tmp_path / "s.parquet"
    interrupted(folder, out, detector, after=4)
    (tmp_path / "s.parquet.parts" / ".part-000001.parquet.new").write_bytes(b"PAR1 half")
    assert score.score_folder(folder, out, detector).resumed == 4 and len(table(out)) == 9


@pytest.mark.parametrize("change", ["added", "removed", "model", "damaged"])
def test_a_resume_that_would_mix_things_up_is_refused(tmp_path, detector, checkpoint, change):
    folder, out = fill(tmp_path / "in", 12), tmp_path / "s.parquet"
    interrupted(folder, out, detector, after=8)
    other = detector
    if change == "added":
        (folder / "a" / "00.png").write_bytes((folder / "a" / "0.png").read_bytes())
    elif change == "removed":
        (folder / "a" / "0.png").unlink()
    elif change == "model":
        other = Detector(facenest(width=4), device="cpu")
    else:
        part = score.finished_parts(tmp_path / "s.parquet.parts")[0]
        part.write_bytes(part.read_bytes()[:-9])
    says = {"model": "by another model", "damaged": "this part is damaged"}.get(change, "in its place now")
    with pytest.raises(DataError, match=says) as caught:
        score.score_folder(folder, out, other)
    assert "\n" not in str(caught.value) and not out.exists()


def test_what_comes_behind_the_last_part_may_change(tmp_path, detector):
    folder, out = fill(tmp_path / "in", 12), tmp_path / "s.parquet"
    interrupted(folder, out, detector, after=4)
    fill(folder / "z", 3)
    assert score.score_folder(folder, out, detector).rows == 15


def test_refusals(tmp_path, detector):
    folder, out = fill(tmp_path / "in", 2), tmp_path / "s.parquet"
    (tmp_path / "none").mkdir()
    cases = [
        (tmp_path / "nowhere", out, "no such folder"),
        ("", out, "no such folder"),  # of a variable that is not set; not: the folder one happens to be in
        (tmp_path / "none", out, "ends like a picture"),
        (folder, tmp_path / "s.csv", "end in .parquet"),
        (folder / "a" / "0.png", out, "no such folder"),
    ]
    for given, result, says in cases:
        with pytest.raises(DataError, match=says):
            score.score_folder(given, result, detector)
    assert not (tmp_path / "s.parquet.parts").exists()
    out.touch()
    with pytest.raises(DataError, match="there already"):
        score.score_folder(folder, out, detector)


def test_two_at_once_are_refused(tmp_path, detector):
    folder, out = fill(tmp_path / "in", 4), tmp_path / "s.parquet"
    inside, go = threading.Event(), threading.Event()
    first = threading.Thread(
        target=score.score_folder,
        args=(folder, out, detector),
        kwargs={"progress": lambda safe: inside.set() or go.wait(60)},
    )
    first.start()
    try:
        assert inside.wait(60)
        with pytest.raises(DataError, match="another process is scoring"):
            score.score_folder(folder, out, detector)
    finally:
        go.set()
        first.join()
    assert len(table(out)) == 4


def test_without_pyarrow_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CourseError, match="pip install"):
        score.parquet()


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path, detector):
    """Python's own peak, over 60 and over 600 links to the same large pictures."""
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    Image.effect_noise((300, 300), 60).convert("RGB").save(tmp_path / "photo.jpg")
    small = Detector(detector.model, Preprocessing(crop=32), device="cpu", threshold=0.4)
    peaks = {}
    for name, n in (("few", 60), ("many", 600)):
        for i in range(n):
            os.link(tmp_path / "photo.jpg", tmp_path / name / f"{i}.jpg")
        tracemalloc.start()
        score.score_folder(tmp_path / name, tmp_path / f"{name}.parquet", small, part_rows=50, workers=2)
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["many"] < peaks["few"] + 1_000_000, peaks


def test_the_same_function_on_columns_for_an_engine(tmp_path, checkpoint, detector):
    folder = fill(tmp_path / "in", 3)
    paths = sorted(map(str, folder.rglob("*.png")))
    given = {"path": np.array([*paths, "nowhere.png"], dtype=object)}
    columns = score.ScoreBatch(checkpoint, device="cpu")(given)
    assert tuple(columns) == score.COLUMNS and columns["path"] == list(given["path"])
    np.testing.assert_allclose(columns["p_fake"][:3], detector(paths), atol=1e-6)
    assert columns["p_fake"][3] is None and "no such file" in columns["error"][3]
    assert score.score_batch(detector, []) == {column: [] for column in score.COLUMNS}


def test_windows_and_judge_are_the_detectors_two_halves(detector, tmp_path):
    """Windows of pictures of all sizes in one batch: as each alone; and ids tell detectors apart."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 64), (33, 200), (70, 70))]
    for preparation in (Preprocessing(), Preprocessing(crop=48, crops=5), Preprocessing(side=40, crop=2000)):
        one = Detector(detector.model, preparation, temperature=1.5, device="cpu")
        together = one.judge([one.windows(p) for p in pictures])
        np.testing.assert_allclose(together, one(pictures), atol=1e-6)
        assert one.judge([]).shape == (0,)
    ids = {one.id, detector.id, Detector(detector.model, preparation, threshold=0.1, device="cpu").id}
    assert len(ids) == 3 and detector.id == Detector(
        detector.model, threshold=0.4, name="small", device="cpu"
    ).id  # fmt: skip


def test_a_folder_that_may_not_be_read_stops_with_a_sentence(tmp_path, monkeypatch):
    """Passed over, its pictures would be missing from the table, and nobody would know."""
    fill(tmp_path / "in" / "closed", 2)
    real = os.scandir

    def scandir(place):
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        DataError, match=r"closed: this folder cannot be read \(Permission denied\); check its"
    ):
        list(score.walk_pictures(tmp_path / "in"))
