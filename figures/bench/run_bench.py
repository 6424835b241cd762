"""Performance figures, measured side by side on this machine: `make bench`.

Each row alternates ours and the peer, so that a machine whose speed drifts is unfair to neither, and
quotes medians. Rows go to figures/bench/bench.json: part, name, ours, peer, unit, ratio (above 1: ours is
better), goal (the least ratio that is wanted, null where there is none), runs. Where a bound was set, such
as 25 minutes, the bound is the peer and the goal is 1. `--table` makes what is made from the rows: the
table in the README, a drawing, and an estimate. Timings are never part of a test's verdict.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "data"))  # the networks that FaceNeSt is compared with

from recipe.rivals import build  # noqa: E402

from course_lib import data, facenest, facenest_reference  # noqa: E402


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(ours: Callable, peer: Callable, runs: int) -> tuple[float, float]:
    """Median seconds of both, after one warm-up each, taken in turn."""
    ours(), peer()
    times = [(seconds(ours), seconds(peer)) for _ in range(runs)]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def row(name, ours, peer, unit, higher_is_better, runs, goal=None) -> dict:
    ratio = ours / peer if higher_is_better else peer / ours
    return {
        "name": name, "ours": round(ours, 4), "peer": round(peer, 4), "unit": unit,
        "ratio": round(ratio, 3), "goal": goal if goal is None else round(goal, 3), "runs": runs,
    }  # fmt: skip


def data_rows(runs: int) -> list[dict]:
    """From JPEGs of 256×256 to normalised batches of 32 crops of 64: ours against ImageFolder + DataLoader.

    Ours decodes the pictures new to it in threads and keeps them; torchvision decodes anew in each epoch, in
    so many worker processes. The files are in the system's memory for both. PyTorch computes with one thread
    for both: its second one waits busily, on the core that another thread or process decodes on.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as place:
            return _data_rows(Path(place), runs)
    finally:
        torch.set_num_threads(threads)


def _data_rows(place: Path, runs: int, count: int = 2_000, batch: int = 32, side: int = 64) -> list[dict]:
    from PIL import Image
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from course_lib import Augment, FaceDataset, normalise
    from course_lib.transforms import training_batch

    faces, paths = data.load("studio").train, []
    for i in range(count):
        paths.append(place / "set" / ("real", "fake")[i % 2] / f"{i}.jpg")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(faces.uint8(i % len(faces)).permute(1, 2, 0).numpy())
        picture.resize((256, 256)).save(paths[-1], quality=90)
    labels = [i % 2 for i in range(count)]

    def epoch(dataset):
        order = torch.randperm(count).numpy()
        generator = torch.Generator().manual_seed(0)
        for start in range(0, count - batch + 1, batch):
            indices = order[start : start + batch]
            normalise(training_batch(dataset, indices, side, Augment.named(None), generator))

    in_memory = FaceDataset(paths, labels)
    on_disk = in_memory.cached(place / "pixels")
    ours = {
        "first epoch": lambda: epoch(FaceDataset(paths, labels)),
        "later epochs, kept in memory": lambda: epoch(in_memory),
        "later epochs, kept on disk": lambda: epoch(on_disk),
    }
    prepare = transforms.Compose(
        [transforms.RandomCrop(side), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)]
    )
    folder = ImageFolder(str(place / "set"), transform=prepare)
    rows = []
    for workers in (0, 1, 2):
        loader = torch.utils.data.DataLoader(
            folder, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )
        for name, work in ours.items():
            mine, theirs = alternate(work, lambda loader=loader: deque(loader, maxlen=0), runs)
            goal = 1.5 if name == "first epoch" else 10
            name = f"data, {name}: ours against ImageFolder + DataLoader with {workers} workers"
            rows.append(row(name, count / mine, count / theirs, "images/s", True, runs, goal))
    return rows


def network_rows(runs: int) -> list[dict]:
    """Training steps and predictions of FaceNeSt against an SE-ResNet of its size with the same stem.

    Both have the high-pass in front, channels last in memory, 32 images to a batch at 64 px and 8 at 128.
    """
    from course_lib.facenest import count_parameters

    def step(model, side):
        model = model.train().to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(model.parameters())
        x = torch.randn(images[side], 3, side, side).to(memory_format=torch.channels_last)

        def work():
            optimiser.zero_grad()
            model(x).square().mean().backward()
            optimiser.step()

        return work

    def predict(model, side):
        model = model.eval().to(memory_format=torch.channels_last)
        x = torch.randn(images[side], 3, side, side).to(memory_format=torch.channels_last)

        @torch.inference_mode()
        def work():
            for _ in range(3):
                model(x)

        return work

    images, rows = {64: 32, 128: 8}, []
    sizes = f"{count_parameters(facenest()):,} against {count_parameters(build('SE-ResNet')):,} parameters"
    for side in images:
        ours, peer = alternate(step(facenest(), side), step(build("SE-ResNet"), side), 3 * runs)
        rows.append(
            row(f"training step at {side} px: FaceNeSt against SE-ResNet ({sizes})", images[side] / ours,
                images[side] / peer, "images/s", True, 3 * runs, goal=0.8)
        )  # fmt: skip
        ours, peer = alternate(predict(facenest(), side), predict(build("SE-ResNet"), side), 3 * runs)
        rows.append(
            row(f"prediction at {side} px: FaceNeSt against SE-ResNet ({sizes})", 3 * images[side] / ours,
                3 * images[side] / peer, "images/s", True, 3 * runs, goal=0.9)
        )  # fmt: skip
    return rows


def reference_rows(runs: int) -> list[dict]:
    """Ours against the published layout: size, and single pictures of 224 px on this machine."""
    from course_lib.facenest import count_macs, count_parameters

    ours, reference = facenest().eval(), facenest_reference().eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        fast, slow = alternate(lambda: ours(x), lambda: reference(x), runs)
    return [
        row("parameters: ours against the reference", count_parameters(ours) / 1e6,
            count_parameters(reference) / 1e6, "million", False, 1, goal=100),
        row("multiply-accumulates at 224 px: ours against the reference", count_macs(ours, 224) / 1e9,
            count_macs(reference, 224) / 1e9, "GMAC", False, 1, goal=100),
        row("one 224-px picture: ours against the reference", 1 / fast, 1 / slow, "images/s", True, runs,
            goal=100),
    ]  # fmt: skip


def import_rows(runs: int) -> list[dict]:
    """A fresh interpreter that imports course_lib and its model, against one that imports torch alone."""

    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    ours, peer = alternate(run("import torch, course_lib"), run("import torch"), runs)
    return [row("import course_lib and torch against torch alone", ours, peer, "s", False, runs, 1 / 1.1)]


def service_rows(runs: int) -> list[dict]:
    """64 clients at once for a minute, and longer: `load_serve.py`."""
    import load_serve

    return load_serve.rows(row, runs)


def inference_rows(runs: int) -> list[dict]:
    """Eager, compiled, ONNX Runtime, OpenVINO: `export_speed.py`."""
    import export_speed

    return export_speed.rows(row, runs)


def upload_rows(runs: int) -> list[dict]:
    """From the bytes of a photograph to a verdict: `upload_speed.py`."""
    import upload_speed

    return upload_speed.rows(row, runs)


def roofline_rows(runs: int) -> list[dict]:
    """How near the network comes to what the processor can do, and what size costs: `roofline_speed.py`."""
    import roofline_speed

    return roofline_speed.rows(row, runs)


def course_rows(runs: int) -> list[dict]:
    """All lessons from top to bottom (20 minutes and more), and `make lab`: `course_speed.py`."""
    import course_speed

    return course_speed.rows(row, runs)


def tests_rows(runs: int) -> list[dict]:
    """One `make test` (up to half an hour): `course_speed.py`."""
    import course_speed

    return course_speed.tests_rows(row)


def training_rows(runs: int) -> list[dict]:
    """`fit` beside a loop written by hand, fastai and Lightning: `train_speed.py`."""
    import train_speed

    return train_speed.rows(row, runs)


def auc_rows(runs: int) -> list[dict]:
    """From random weights to an AUC of 0.95, out of the trainings in `time_to_auc.csv`: `time_to_auc.py`."""
    import time_to_auc

    return time_to_auc.rows(row)


def large_rows(runs: int) -> list[dict]:
    """A set as large as `rvsf`: `large_set.py`."""
    import large_set

    return large_set.rows(row, runs)


PARTS = {
    "import": import_rows,
    "data": data_rows,
    "network": network_rows,
    "reference": reference_rows,
    "inference": inference_rows,
    "roofline": roofline_rows,
    "upload": upload_rows,
    "service": service_rows,
    "large": large_rows,
    "training": training_rows,  # late: fastai adds methods of its own to torch and Pillow
    "auc": auc_rows,
    "course": course_rows,
    "tests": tests_rows,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART",
        help=f"measure some parts alone, and keep the other rows as they are: {', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=HERE / "bench.json", help="default figures/bench/bench.json"
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="measure nothing; make what is made from the file, such as the README's table",
    )
    options = parser.parse_args(arguments)
    if options.table:
        import made_from_rows

        for path in made_from_rows.write(options.out):
            print(f"written: {path}")
        return
    torch.manual_seed(0)
    failed = []
    for part in options.only or PARTS:
        try:
            rows = [{"part": part, **entry} for entry in PARTS[part](options.runs)]
        except (Exception, SystemExit):  # told in full; the old rows stay, and the other parts are measured
            traceback.print_exc()
            failed.append(part)
            continue
        write(part, rows, options.out)
        for entry in rows:
            figures = f"{entry['ours']} / {entry['peer']} {entry['unit']}"
            print(f"{entry['ratio']:8.2f}×  {entry['name']}  ({figures})", flush=True)
    if failed:
        sys.exit(f"Not measured, for the reason above: {', '.join(failed)}. The other rows are written.")


def machine() -> dict[str, object]:
    """What this was measured on."""
    processor, info = platform.machine(), Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        processor = found[1]
    return {"processor": processor, "threads": torch.get_num_threads(), "torch": torch.__version__}


def write(part: str, rows: list[dict], out: Path) -> None:
    """Put the rows of a part in place of its old ones; drop those of parts that no longer exist."""
    old = json.loads(out.read_text()) if out.exists() else {"machines": {}, "rows": []}
    machines = {**old["machines"], part: machine()}
    kept = [entry for entry in old["rows"] if entry["part"] != part]
    order = list(PARTS)
    rows = sorted(
        (entry for entry in [*kept, *rows] if entry["part"] in PARTS),
        key=lambda entry: order.index(entry["part"]),
    )
    machines = {name: machines[name] for name in PARTS if name in machines}
    file = out.with_name(f"{out.name}.part")
    file.write_text(json.dumps({"machines": machines, "rows": rows}, indent=1, ensure_ascii=False) + "\n")
    os.replace(file, out)


if __name__ == "__main__":
    main()
