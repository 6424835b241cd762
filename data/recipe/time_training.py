"""How long does a training take here, and what does it score? One row of data/ablation/training.csv.

    python data/recipe/time_training.py                                  studio, the settings of lesson 11
    python data/recipe/time_training.py --data hardrvsf --root FOLDER    another data set

A row says what was measured and on what: seconds of the training steps alone and with validation, the test
AUC with its interval, and how fast one CPU core prepares crops (`prepared_per_second`), which limits every
GPU that it feeds. On a CPU the training runs in one thread, and the time is the processor's: that of the
clock on an idle machine, and nearly the same on a busy one. A row for the same data and device is replaced.
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


def prepared_per_second(train) -> float:
    """Crops, augmented, that one core makes in a second from pictures that are decoded already."""
    torch.set_num_threads(1)
    generator, rates = torch.Generator().manual_seed(0), []
    for epoch in range(3):  # the first decodes the pictures
        start, done = time.process_time(), 0
        for indices in epoch_order(len(train), LESSON_11["batch_size"], 0, epoch):
            training_batch(train, indices, LESSON_11["crop"], Augment.named("light"), generator)
            done += len(indices)
        rates.append(done / (time.process_time() - start))
    return rates[-1]


class Clock:
    """The processor's time; on a GPU, which works by itself, the time on the wall."""

    def __init__(self, device: torch.device) -> None:
        self.now = time.perf_counter if device.type == "cuda" else time.process_time
        self.begun = self.now()

    def seconds(self) -> float:
        return self.now() - self.begun


def measure(name: str, root: str | None, device: str | None) -> dict[str, object]:
    """One training, timed and judged."""
    sets, device = load(name, root), pick_device(device)
    cuda = device.type == "cuda"
    if not cuda:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    model = facenest()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(len(sets.train)):
            sets.train.uint8(i)  # decoded before the clock starts: that is done once, not in each epoch
        clock = Clock(device)
        fit(model, sets.train, run_dir=Path(folder) / "steps", device=device, **LESSON_11 | {"epochs": 1})
        steps = LESSON_11["epochs"] * clock.seconds()  # without validation
        torch.manual_seed(0)
        model, clock = facenest(), Clock(device)
        result = fit(model, sets.train, sets.valid, run_dir=Path(folder) / "all", device=device, **LESSON_11)
        whole = clock.seconds()
    scores = evaluate(result.model, sets.test)
    low, high = scores["auc_interval"]
    batch = LESSON_11["batch_size"]
    images = LESSON_11["epochs"] * (len(sets.train) // batch) * batch
    return {
        "data": name,
        "device": torch.cuda.get_device_name(device) if cuda else "one CPU thread",
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
