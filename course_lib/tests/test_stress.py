"""A light share of `make stress`, and one test for each fault that it has found."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import stress
import stress_decode
import stress_kill
import stress_net
import torch
from filelock import FileLock
from PIL import Image
from toys import ToySet, small_checkpoint, toy

from course_lib import (
    CheckpointError,
    DataError,
    Detector,
    DownloadError,
    checkpoints,
    decode_image,
    embedded,
    fit,
    load_checkpoint,
    save_checkpoint,
    score,
)
from course_lib.errors import TooLargeError

HERE = Path(__file__).parent


# --- what a kill at a bad moment used to leave behind -------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and what the moment would have cleaned up is not run here."""


def killed_before_rename(monkeypatch, number: int, work) -> None:
    """Run `work` and stop it dead before its n-th rename; clearing up is stopped, too."""
    calls, dead, rename = 0, False, os.replace

    def replace(*args):
        nonlocal calls, dead
        calls += 1
        if calls == number:
            dead = True
            raise Killed
        return rename(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        for place, name in ((checkpoints.shutil, "rmtree"), (Path, "unlink")):
            whole = getattr(place, name)
            patch.setattr(place, name, lambda *a, whole=whole, **k: None if dead else whole(*a, **k))
        with pytest.raises(Killed):
            work()


def train(folder):
    quick = {"epochs": 2, "batch_size": 8, "crop": 16, "progress": False, "device": "cpu"}
    return fit(toy(), ToySet(16), ToySet(8, seed=1), run_dir=folder, **quick)


@pytest.mark.parametrize("number", range(1, 10))
def test_a_run_killed_while_writing_ends_with_the_files_of_a_whole_one(tmp_path, monkeypatch, number):
    """Killed after the last state and before the last row of history.csv, that row was missing for ever; and
    files under other names stayed behind."""
    whole = train(tmp_path / "whole")
    killed_before_rename(monkeypatch, number, lambda: train(tmp_path / "run"))
    train(tmp_path / "run")
    names = lambda folder: sorted(p.name for p in folder.iterdir() if "tfevents" not in p.name)  # noqa: E731
    assert names(tmp_path / "run") == names(whole.run_dir)
    rows = [(f / "history.csv").read_text().splitlines() for f in (tmp_path / "run", whole.run_dir)]
    assert len(rows[0]) == len(rows[1]) == 3


def test_a_checkpoint_killed_between_two_renames_is_still_there(tmp_path, monkeypatch):
    """The old one has been put aside, the new one is not in its place yet."""
    folder = save_checkpoint(tmp_path / "mine", toy(seed=1))
    killed_before_rename(monkeypatch, 2, lambda: save_checkpoint(folder, toy(seed=2)))
    assert not folder.exists()
    found = load_checkpoint(folder, model=toy())
    assert found.name == "mine"
    assert torch.equal(found.model.head[1].weight, toy(seed=1).head[1].weight)
    save_checkpoint(folder, toy(seed=3))
    assert torch.equal(load_checkpoint(folder, model=toy()).model.head[1].weight, toy(seed=3).head[1].weight)
    assert not list(tmp_path.glob(".mine.old-*"))


def test_a_scoring_killed_while_it_clears_up_is_done(tmp_path, monkeypatch):
    """The table was there, whole, and so were its parts; the same command was told to delete the table."""
    pytest.importorskip("pyarrow", reason="needs the extra serve")
    detector = Detector.load(small_checkpoint(tmp_path / "small"), device="cpu")
    for i in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.effect_noise((40, 40), 20 * i).convert("RGB").save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "bad.png").touch()
    out = tmp_path / "s.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(score.shutil, "rmtree", lambda *a, **k: None)
        whole = score.score_folder(tmp_path / "in", out, detector, part_rows=2)
    content = out.read_bytes()
    again = score.score_folder(tmp_path / "in", out, detector, part_rows=2)
    assert out.read_bytes() == content and not (tmp_path / "s.parquet.parts").exists()
    assert (again.rows, again.resumed, again.unreadable) == (6, 6, 1)
    assert again.unreadable_list == whole.unreadable_list
    with pytest.raises(DataError, match="there already"):
        score.score_folder(tmp_path / "in", out, detector)


def test_what_a_killed_make_notebooks_left_is_cleared_away(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE.parents[1] / "notebooks")
    import make_notebooks
    import nbclient
    import nbformat

    path = tmp_path / "90_[tiny].ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    (tmp_path / "90_[tiny].ipynb.123.part").write_text("half")
    (tmp_path / "91.ipynb.123.part").write_text("somebody else's")
    monkeypatch.setattr(nbclient.NotebookClient, "execute", lambda self: None)
    make_notebooks.run(path, 60)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["90_[tiny].ipynb", "91.ipynb.123.part"]


# --- hostile settings, disks that may not be written --------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model": {"width": 4_000}}, "too small for them"),  # 20 GB of memory, before
        ({"model": {"width": 4, "depths": [1, 1, 1, 10**7]}}, "at most 1,000"),  # minutes
        ({"threshold": 10**400}, "must lie in 0..1"),  # an OverflowError
        ({"threshold": "x" * 100_000}, "must lie in 0..1"),  # 100,000 letters long
        ({"format": ["x"] * 100_000}, "is not the one known here"),
    ],
)
def test_a_config_that_asks_for_too_much(tmp_path, change, words):
    folder = small_checkpoint(tmp_path / "small")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(folder)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_scores_that_cannot_be_written_are_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs the extra serve")
    detector = Detector.load(small_checkpoint(tmp_path / "small"), device="cpu")
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "in" / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written \(Not a directory\)"):
        score.score_folder(tmp_path / "in", tmp_path / "file" / "s.parquet", detector)

    def full(*args):
        raise OSError(28, "Error writing bytes to file")

    monkeypatch.setattr(score, "write_table", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); free some"):
        score.score_folder(tmp_path / "in", tmp_path / "s.parquet", detector)


def test_a_finished_run_on_a_read_only_disk_is_read(tmp_path, monkeypatch):
    whole = train(tmp_path)

    def read_only(*args, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", read_only)
    assert train(tmp_path).history.equals(whole.history)


# --- servers and archives -----------------------------------------------------------------------------------


def test_what_a_killed_download_left_is_cleared_away(tmp_path, monkeypatch):
    archive, sha256, data = stress_kill.make_archive(tmp_path / "in", 4)
    target, url = tmp_path / "out" / "embedded-data-1", archive.as_uri()
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "_extract", lambda *a: (_ for _ in ()).throw(Killed))
        patch.setattr(embedded.shutil, "rmtree", lambda *a, **k: None)
        patch.setattr(embedded.os, "unlink", lambda *a, **k: None)
        with pytest.raises(Killed):
            embedded.fetch_embedded(url, sha256, target)
    assert list(target.parent.glob(".embedded-data-1-*/archive.tar"))
    embedded.fetch_embedded(url, sha256, target)
    assert stress_kill.tree(target) == stress_kill.tree(data)
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_a_download_at_work_is_not_taken_for_a_killed_one(tmp_path):
    archive, sha256, data = stress_kill.make_archive(tmp_path / "in", 4)
    target = tmp_path / "out" / "embedded-data-1"
    target.parent.mkdir()
    work = target.with_name(".embedded-data-1-0123")
    work.mkdir()
    with FileLock(f"{work}.lock"):
        embedded.fetch_embedded(archive.as_uri(), sha256, target)
        assert work.exists()


@pytest.mark.parametrize("manner", ["circle", "rude"])
def test_a_server_that_says_rubbish_makes_one_line(tmp_path, manner):
    with stress_kill.serving(stress_net.Moody) as address, pytest.raises(DownloadError) as caught:
        embedded.fetch_embedded(f"{address}/{manner}/1/x.tar", "0" * 64, tmp_path / "data", 5)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


# --- slow clients ------------------------------------------------------------------------------------------


def test_a_connection_that_asks_nothing_is_ended(tmp_path):
    """uvicorn waits for ever for a header; a header that never ends held its connection."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
    from course_lib.patience import patient

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await asyncio.sleep(1.2)  # longer than the patience: work is no idleness
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, http=patient(0.5), log_level="error", timeout_keep_alive=30)
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    whole, half = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nX-A: "
    try:
        for sent in (b"", half, whole, whole + half):
            with socket.create_connection(listener.getsockname(), timeout=30) as line:
                line.sendall(sent)
                said = b""
                while more := line.recv(4096):  # until the other side ends it
                    said += more
            assert said.endswith(b"ok") == sent.startswith(whole)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


# --- small files that become large --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_deep_pictures_need_few_bytes_a_pixel(kind):
    """A TIFF of 4 kB took 946 MB and two seconds: 84 million pixels of 16 bits, each made 24 bytes long."""
    array = np.arange(3_000_000).reshape(1_500, 2_000)
    array = (array % 65_536 if kind is np.uint16 else array / 3_000_000).astype(kind)
    tracemalloc.start()
    found = np.asarray(decode_image(array))[:, :, 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = (array.astype(np.int64) + 128) // 257 if kind is np.uint16 else np.rint(array * 255.0)
    assert np.array_equal(found, expected)
    assert peak < 10 * array.size + 20_000_000, f"{peak / array.size:.0f} bytes a pixel"


def test_a_jpeg_of_very_many_scans_is_refused():
    """384 kB of them took 18 seconds: each scan is a pass over all pixels."""
    with pytest.raises(TooLargeError, match="scans and at most 100 are"):
        decode_image(stress_decode.many_scans(64, 9_991))
    assert decode_image(stress_decode.many_scans(64, 80)).size == (64, 64)


# --- a light share of it all --------------------------------------------------------------------------------

LIGHT = (
    "kill-download", "kill-cache", "kill-training", "kill-scoring", "side-by-side", "disk-full", "read-only",
    "clock", "same-again", "network", "archives", "checkpoints", "decode-jpeg", "decode-png", "decode-webp",
    "decode-gif",
    "decode-bmp", "decode-tiff", "decode-ways", "serve-loopback",
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="kills, mounts and forks as Linux has them")
@pytest.mark.parametrize("half", [0, 1])
def test_a_light_share_of_make_stress(half):
    for package in ("pyarrow", "fastapi", "httpx"):
        pytest.importorskip(package, reason="needs the extra test")
    groups = LIGHT[half::2]
    command = [sys.executable, str(HERE / "stress.py"), "--share", "0.02"]
    command += [word for name in groups for word in ("--only", name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:-1]] == list(groups)
    assert f"{len(groups)} groups, " in done.stdout and ", 0 faults (seed 0)" in done.stdout


def test_a_fault_is_told_and_kept(tmp_path, monkeypatch, capsys):
    """The stress command itself: what it finds makes its status 1, as does a group that does not finish."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def finds(trials):
        while trials.more():
            trials.done += 1
            trials.check(trials.done != 2, f"kept as {trials.keep(b'x', 'y')}")

    groups = {
        "finds": (finds, 3),
        "crashes": (lambda trials: 1 / 0, 1),
        "stops": (lambda trials: None, 7),
        "good": (lambda trials: setattr(trials, "done", trials.wanted), 9),
    }
    monkeypatch.setattr(stress, "GROUPS", groups)
    assert stress.main(["--seed", "5"]) == 1
    out = capsys.readouterr().out
    assert "FAULT trial 2: kept as build/stress/y" in out and (tmp_path / "build/stress/y").exists()
    assert "ZeroDivisionError" in out and "only 0 of 7" in out
    assert out.splitlines()[-1] == "4 groups, 12 trials, 4 faults (seed 5)"
    assert stress.main(["--only", "good", "--times", "2"]) == 0
    assert "good             2 of 2 trials, 0 faults" in capsys.readouterr().out
