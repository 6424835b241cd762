"""Stress: SIGKILL in the middle of whatever writes files here, and several that build one thing at once."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stress_kit import Trials, done_in_a_child, ended, in_a_child, kill_again_and_again
from toys import ToySet, small_checkpoint, toy

from course_lib import Detector, fit, pixels, score
from course_lib.embedded import fetch_embedded, pack_embedded, verify_embedded, write_sums

ROOT = Path(__file__).resolve().parents[2]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: its path there, and its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


# --- download -----------------------------------------------------------------------------------------------


def make_archive(folder: Path, files: int = 60) -> tuple[Path, str, Path]:
    """(archive, SHA-256, the folder it is made of) of an embedded set of about 2 MB."""
    rng, data = np.random.default_rng(0), folder / "data"
    for i in range(files):
        path = data / "studio" / "abc"[i % 3] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(30_000))
    write_sums(data)
    archive, sha256 = pack_embedded(folder / "packed", data)
    return archive, sha256, data


class Slowly(http.server.BaseHTTPRequestHandler):
    """Sends one archive in pieces, with pauses that make the whole of it take a fifth of a second."""

    body = b""

    def do_GET(self):  # noqa: N802, the name http.server wants
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        piece = max(1, len(self.body) // 40)
        try:
            for start in range(0, len(self.body), piece):
                self.wfile.write(self.body[start : start + piece])
                time.sleep(0.005)
        except OSError:
            return  # the client was killed

    def log_message(self, *args):
        """Nothing on the screen."""


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server in a process of its own (a process with threads should not fork); yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    child, pipe = in_a_child(server.serve_forever)
    address = f"http://127.0.0.1:{server.server_port}"
    server.server_close()  # the child has it
    try:
        yield address
    finally:
        os.kill(child, signal.SIGKILL)
        ended(child, pipe)


def kill_download(trials: Trials) -> None:
    """The embedded archive from a local server: the folder is there whole or not at all, and nothing else."""
    archive, sha256, data = make_archive(trials.folder / "in")
    out, target = trials.folder / "out", trials.folder / "out" / "embedded-data-1"
    whole = {path: content for path, content in tree(data).items()}

    def look() -> None:
        if target.exists():
            trials.check(
                tree(target) == whole and verify_embedded(target) == [], "a folder that is not whole"
            )

    def finished() -> None:
        look()
        trials.check(target.exists(), "it ended without its folder")
        others = [p for p in out.rglob("*") if p.is_file() and target not in p.parents]
        left = [p.name for p in others if p.stat().st_size]
        trials.check(not left, f"left behind: {len(left)} files, such as {left[:1]}")

    def work() -> None:
        if not target.exists():  # as `embedded.data_folder` does
            fetch_embedded(f"{address}/x.tar", sha256, target)

    Slowly.body = archive.read_bytes()
    with serving(Slowly) as address:
        kill_again_and_again(trials, work, look, finished, lambda: empty(out))


# --- the cache of decoded pictures --------------------------------------------------------------------------


def paint_many(folder: Path, n: int) -> list[str]:
    """n pictures of several sizes, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(n):
        coarse = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        size = (32 + 8 * (i % 3), 32 + 8 * (i % 4))
        paths.append(str(folder / f"{i}.jpg"))
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def right_pixels(folder: Path, paths: list[str]) -> str:
    """What is wrong with a cache that should hold these pictures and no byte more; nothing: ""."""
    cache = pixels.PixelFile(folder)
    if cache.fault or set(cache.places) != set(paths):
        return cache.fault or f"it holds {len(cache.places)} of {len(paths)} pictures"
    for path in paths:
        if not torch.equal(cache.several([path])[0], pixels.decode_pixels(path)):
            return f"other pixels than those of {Path(path).name}"
    size = (folder / cache.name).stat().st_size
    extra = {p.name for p in folder.iterdir()} - {cache.name, pixels.INDEX, pixels.LOCK}
    return "" if size == cache.bytes and not extra else f"{size - cache.bytes} bytes too many, {extra}"


def kill_cache(trials: Trials) -> None:
    """`build_pixels`: the index is whole after every kill, every picture in it right, and it goes on."""
    paths, folder = paint_many(trials.folder / "in", 120), trials.folder / "out"
    pixels.SAVE_EVERY, before = 0.01, pixels.SAVE_EVERY

    def look() -> None:
        cache = pixels.PixelFile(folder)
        trials.check(not cache.fault, f"a damaged index: {cache.fault}")
        trials.check(not cache.check(progress=False), "damaged pixels")

    def finished() -> None:
        wrong = right_pixels(folder, paths)
        trials.check(not wrong, wrong)

    try:
        kill_again_and_again(
            trials, lambda: pixels.build_pixels(folder, paths), look, finished, lambda: empty(folder)
        )
    finally:
        pixels.SAVE_EVERY = before


def side_by_side(trials: Trials) -> None:
    """Three processes build one cache at once, and one of them is killed; then the same with downloads."""
    paths, folder = paint_many(trials.folder / "in", 60), trials.folder / "out"
    archive, sha256, data = make_archive(trials.folder / "archive", 12)
    Slowly.body, whole = archive.read_bytes(), tree(data)
    target = folder / "embedded-data-1"
    with serving(Slowly) as address:

        def download() -> None:
            fetch_embedded(f"{address}/x.tar", sha256, target)

        while trials.more():
            empty(folder)
            fetching = trials.done % 2 == 1
            work = download if fetching else lambda: pixels.build_pixels(folder, paths)
            children = [in_a_child(work) for _ in range(3)]
            time.sleep(trials.rng.uniform(0, 0.15))
            os.kill(children[0][0], signal.SIGKILL)
            for number, (killer, _, error) in enumerate([ended(*child) for child in children]):
                trials.check(not error and (not killer or not number), f"process {number}: {error or killer}")
            if fetching:
                trials.check(tree(target) == whole, "not the whole folder")
            else:
                wrong = right_pixels(folder, paths)
                trials.check(not wrong, wrong)
            trials.done += 1


# --- training -----------------------------------------------------------------------------------------------

EXACT = [
    "epoch",
    "lr",
    "train_loss",
    "valid_loss",
    "valid_auc",
]  # of the history; the other columns are times


def train_tiny(folder: Path) -> None:
    """A network of 233 weights, 64 pictures, five epochs: `fit` as everybody calls it, ended or resumed."""
    train, valid = ToySet(64), ToySet(20, seed=1)
    fit(
        toy(), train, valid, run_dir=folder, epochs=5, batch_size=16, crop=32, lr=0.01,
        progress=False, device="cpu", ema=0.9,
    )  # fmt: skip


def run_of(folder: Path) -> dict[str, object]:
    """All that a run leaves, without what is measured in seconds."""
    import pandas

    state = torch.load(folder / "state.pt", weights_only=True)
    flat: dict[str, object] = {}

    def flatten(value: object, name: str) -> None:
        if isinstance(value, torch.Tensor):
            flat[name] = value.numpy().tobytes()
        elif isinstance(value, (dict, list)):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in pairs:
                flatten(item, f"{name}/{key}")
        elif name.rsplit("/")[-1] not in ("seconds", "images_per_second"):
            flat[name] = value

    flatten(state, "state")
    flat["history.csv"] = pandas.read_csv(folder / "history.csv")[EXACT].to_csv()
    files = {name: content for name, content in tree(folder).items() if "tfevents" not in name}
    flat["files"] = sorted(files)
    return flat | {name: content for name, content in files.items() if name.startswith("best/")}


def kill_training(trials: Trials) -> None:
    """`fit`: weights, optimiser, history and best checkpoint are those of a run that nobody disturbed."""
    folder = trials.folder / "out"
    done_in_a_child(lambda: train_tiny(trials.folder / "undisturbed"))
    wanted = run_of(trials.folder / "undisturbed")

    def look() -> None:
        if (folder / "state.pt").exists():
            torch.load(folder / "state.pt", weights_only=True)
        if (folder / "best").exists():
            names = sorted(p.name for p in (folder / "best").iterdir())
            trials.check(names == ["config.json", "model.safetensors"], f"best/ holds {names}")

    def finished() -> None:
        found = run_of(folder)
        other = [name for name in wanted if wanted[name] != found.get(name)] + sorted(
            set(found) - set(wanted)
        )
        trials.check(not other, f"another run than undisturbed: {other[:3]}")

    kill_again_and_again(trials, lambda: train_tiny(folder), look, finished, lambda: empty(folder))


# --- scoring ------------------------------------------------------------------------------------------------


def kill_scoring(trials: Trials) -> None:
    """`score_folder`: the table has the very bytes of one that was made without a break."""
    import pyarrow.parquet  # noqa: F401, before the processes fork

    folder, out = trials.folder / "in", trials.folder / "out" / "scores.parquet"
    paths = paint_many(folder, 60)
    (folder / "broken.png").write_text("no picture")
    detector = Detector.load(small_checkpoint(trials.folder / "small"), device="cpu")
    detector(paths[:12])  # what the first call makes ready, the processes need not make again

    def into(out: Path) -> None:
        score.score_folder(folder, out, detector, part_rows=8, workers=2)

    whole = trials.folder / "whole" / "scores.parquet"
    whole.parent.mkdir()
    done_in_a_child(lambda: into(whole))
    wanted = tree(whole.parent)

    def look() -> None:
        if out.exists():
            trials.check(out.read_bytes() == wanted[out.name], "a table that is not whole")

    def finished() -> None:
        found = tree(out.parent)
        trials.check(found == wanted, f"other files than undisturbed: {sorted(found)}")

    kill_again_and_again(trials, lambda: into(out), look, finished, lambda: empty(out.parent))


# --- notebooks ----------------------------------------------------------------------------------------------


def tiny_notebook(path: Path) -> None:
    """Three cells whose outputs are to be stored, one of them an address that is to be made normal."""
    import nbformat

    cells = ["import time\nprint('one')", "time.sleep(0.1)\nobject()", "6 * 7"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def kernels(runtime: Path) -> list[int]:
    """Processes that were started with a connection file in this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(runtime).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill_notebooks(trials: Trials) -> None:
    """`make_notebooks`: the lesson is the old one or the new one, and no kernel stays behind."""
    sys.path.insert(0, str(ROOT / "notebooks"))
    import make_notebooks
    import nbclient  # noqa: F401, before the processes fork

    runtime = trials.folder / "runtime"
    os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
    path = trials.folder / "out" / "90_tiny.ipynb"

    tiny_notebook(path)
    old = path.read_bytes()

    def reset() -> None:
        empty(path.parent)
        path.write_bytes(old)

    done_in_a_child(lambda: make_notebooks.run(path, 60))
    new = path.read_bytes()
    reset()

    def look() -> None:
        trials.check(path.read_bytes() in (old, new), "a lesson that is neither the old one nor the new one")

    def finished() -> None:
        found = tree(path.parent)
        trials.check(found == {path.name: new}, f"not as undisturbed: {sorted(found)}")

    kill_again_and_again(trials, lambda: make_notebooks.run(path, 60), look, finished, reset)
    end = time.monotonic() + 20  # a kernel looks for its parent every second
    while (left := kernels(runtime)) and time.monotonic() < end:
        time.sleep(0.2)
    trials.check(not left, f"{len(left)} kernels live on without anybody")
    for number in left:
        os.kill(number, signal.SIGKILL)


GROUPS = {
    "kill-download": (kill_download, 50),
    "kill-cache": (kill_cache, 50),
    "kill-training": (kill_training, 50),
    "kill-scoring": (kill_scoring, 50),
    "kill-notebooks": (kill_notebooks, 50),
    "side-by-side": (side_by_side, 20),
}
