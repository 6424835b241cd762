"""How long does a training take here, and what does it score? One row of data/ablation/training.csv.

    python data/recipe/time_training.py                                  studio, the settings of lesson 11
    python data/recipe/time_training.py --data hardrvsf --root FOLDER    another data set

A row says what was measured and on what machine: seconds of the training steps alone and with validation,
the test AUC with its interval, and how fast one CPU core prepares crops (`prepared_per_second`), which limits
every GPU that it feeds. A row for the same data and device is replaced.
"""

import argparse
import csv
import io
import sys
import tempfile
import time
from pathlib import Path

import torch

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))  # course_lib, also without installing it

from course_lib.checkpoints import write_file  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.evaluation import evaluate  # noqa: E402
from course_lib.facenest import count_macs, count_parameters, facenest  # noqa: E402
from course_lib.training import epoch_order, fit, pick_device  # noqa: E402
from course_lib.transforms import Augment, training_batch  # noqa: E402

TABLE = PROJECT / "data" / "ablation" / "training.csv"
LESSON_11 = dict(epochs=6, batch_size=32, crop=64, lr=3e-3, augment="light")


def prepared_per_second(train, seconds: float = 3.0) -> float:
    """Crops, augmented, that one core makes in a second from pictures that are decoded already."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        generator, done, end = torch.Generator().manual_seed(0), 0, None
        while end is None or time.perf_counter() < end:
            for indices in epoch_order(len(train), LESSON_11["batch_size"], 0, 0):
                training_batch(train, indices, LESSON_11["crop"], Augment.named("light"), generator)
                done += len(indices)
                if end is not None and time.perf_counter() >= end:
                    break
            if end is None:  # the first epoch decoded the pictures
                start, done = time.perf_counter(), 0
                end = start + seconds
        return done / (time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)


def measure(name: str, root: str | None, device: str | None) -> dict[str, object]:
    """One training, timed and judged."""
    sets, device = load(name, root), pick_device(device)
    torch.manual_seed(0)
    model = facenest()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = fit(model, sets.train, sets.valid, run_dir=folder, device=device, **LESSON_11)
        whole = time.perf_counter() - start
    scores = evaluate(result.model, sets.test)
    low, high = scores["auc_interval"]
    cuda = device.type == "cuda"
    steps = result.history.seconds.sum()
    images = LESSON_11["epochs"] * (len(sets.train) // 32) * 32
    return {
        "data": name,
        "device": torch.cuda.get_device_name(device) if cuda else f"{torch.get_num_threads()} CPU threads",
        "epochs": LESSON_11["epochs"],
        "train_images": len(sets.train),
        "parameters": count_parameters(model),
        "million_macs": round(count_macs(model, LESSON_11["crop"]) / 1e6, 1),
        "seconds_of_steps": round(steps, 1),
        "seconds_in_all": round(whole, 1),
        "images_per_second": round(images / steps, 1),
        "prepared_per_second": round(prepared_per_second(sets.train)),
        "test_auc": round(scores["auc"], 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "torch": torch.__version__.split("+")[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="studio", metavar="NAME")
    parser.add_argument("--root", metavar="DIR", help="where the data set was unpacked; default: download it")
    parser.add_argument("--device", help="cpu, cuda; default: the best there is")
    options = parser.parse_args()
    row = measure(options.data, options.root, options.device)
    rows = []
    if TABLE.is_file():
        with TABLE.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    rows = [old for old in rows if (old["data"], old["device"]) != (row["data"], row["device"])]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        sorted([*rows, row], key=lambda row: (row["data"] != "studio", row["data"], row["device"]))
    )
    write_file(TABLE, text.getvalue().encode())
    print(row)


if __name__ == "__main__":
    main()
