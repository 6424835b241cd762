"""How long does a network train until it tells fakes from real faces? FaceNeSt and torchvision's networks.

    python figures/bench/time_to_auc.py                   every training that the table lacks
    python figures/bench/time_to_auc.py --seconds 240     the same, with more time for each
    python figures/bench/time_to_auc.py --networks FaceNeSt --seeds 0

All begin with random weights and train on `studio` in the same way: batches of 32 crops of 64x64, the same
crops for one seed, lightly augmented; AdamW; a rate that rises for 50 updates and then stays, so that nothing
depends on when the training will end. After every 25 updates a network is judged on the whole validation
images. It stops when their AUC is 0.95, or when its time is up: then it has *not reached* it. The test images
are judged once, after that. The time is the processor's, of one thread, and that of the judging is left out.

Each network has the better of two learning rates with seed 0: the one that reached 0.95 sooner, or else had
the higher validation AUC. Torchvision's networks are tried as they come, and once more with FaceNeSt's
high-pass in front. Each finished training is a row of figures/bench/time_to_auc.csv, so an interrupted
command goes on where it stopped. `make bench` makes its rows from that table, and trains nothing.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torchvision.models import resnet18

PROJECT = Path(__file__).resolve().parents[2]
for folder in ("data/recipe", "data", ""):  # course_lib and the recipe, also without installing them
    sys.path.insert(0, str(PROJECT / folder))

from recipe.ablate_facenest import enter  # noqa: E402
from recipe.ablate_ingredients import read_table  # noqa: E402
from recipe.rivals import Rival, build  # noqa: E402

from course_lib.checkpoints import Preprocessing  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.evaluation import fast_auc, predict_logits  # noqa: E402
from course_lib.facenest import count_parameters  # noqa: E402
from course_lib.training import (  # noqa: E402
    Stepper,
    epoch_order,
    make_optimizer,
    seed_everything,
    set_lr,
    validate,
)
from course_lib.transforms import Augment, training_batch  # noqa: E402

TABLE = Path(__file__).with_name("time_to_auc.csv")
TARGET, SECONDS, SEEDS, RATES = 0.95, 60.0, (0, 1, 2), (3e-3, 1e-3)
BATCH, CROP, WARM, LOOK = 32, 64, 50, 25
KEY = ("network", "lr", "seed")
COLUMNS = (
    *KEY, "parameters", "seconds_allowed", "seconds", "updates", "reached", "valid_auc", "best_valid_auc",
    "test_auc", "torch",
)  # fmt: skip
OURS, FRONT = "FaceNeSt", ", high-pass in front"
PEERS = {
    "resnet18": lambda front: Rival(resnet18(num_classes=1), front),
    "mobilenet_v3_small": lambda front: build("MobileNetV3-small", front),
    "efficientnet_b0": lambda front: build("EfficientNet-B0", front),
}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    OURS: lambda: build(OURS),
    **{name: lambda make=make: make(False) for name, make in PEERS.items()},
    **{name + FRONT: lambda make=make: make(True) for name, make in PEERS.items()},
}


def train(make: Callable[[], nn.Module], sets, lr: float, seed: int, seconds: float) -> dict[str, object]:
    """One training, until the validation AUC is `TARGET` or the time is up: what the table says of it."""
    torch.manual_seed(seed)
    model, device = make().train().to(memory_format=torch.channels_last), torch.device("cpu")
    optimizer = make_optimizer(model, lr, 0.05, device)
    step = Stepper(model, optimizer, device, Preprocessing().normalise)
    labels = torch.as_tensor(sets.train.labels, dtype=torch.float32)
    for i in range(len(sets.train)):
        sets.train.uint8(i)  # decoded before the clock starts, for the first training as for the others
    spent, updates, epoch, aucs = 0.0, 0, 0, [0.0]
    while spent < seconds and aucs[-1] < TARGET:
        for at, indices in enumerate(epoch_order(len(sets.train), BATCH, seed, epoch)):
            start = time.process_time()
            set_lr(optimizer, lr * min(1.0, (updates + 1) / WARM))
            images = training_batch(
                sets.train, indices, CROP, Augment.named("light"), seed_everything(seed, epoch, at)
            )
            step(images, labels[indices])
            spent, updates = spent + time.process_time() - start, updates + 1
            if updates % LOOK == 0 or spent >= seconds:
                aucs.append(validate(model, sets.valid, Preprocessing(), BATCH)["valid_auc"])
                if aucs[-1] >= TARGET or spent >= seconds:
                    break
        epoch += 1
    logits = predict_logits(model, (sets.test.uint8(i) for i in range(len(sets.test))))
    return {
        "parameters": count_parameters(model),
        "seconds_allowed": f"{seconds:g}",
        "seconds": f"{spent:.1f}",
        "updates": updates,
        "reached": "yes" if aucs[-1] >= TARGET else "no",
        "valid_auc": f"{aucs[-1]:.4f}",
        "best_valid_auc": f"{max(aucs):.4f}",
        "test_auc": f"{fast_auc(sets.test.labels, logits):.4f}",
        "torch": torch.__version__.split("+")[0],
    }


def of(table: list[dict[str, str]], network: str, seed: int | None = None) -> list[dict[str, str]]:
    return [r for r in table if r["network"] == network and seed in (None, int(r["seed"]))]


def better_rate(trainings: list[dict[str, str]]) -> float:
    """The rate of the training that reached the target sooner, or else had the higher validation AUC."""

    def rank(training: dict[str, str]) -> tuple[bool, float]:
        if training["reached"] == "yes":
            return False, float(training["seconds"])
        return True, -float(training["best_valid_auc"])

    return float(min(trainings, key=rank)["lr"])


def fill(table: Path, sets, networks: list[str], seeds: list[int], seconds: float) -> None:
    """Train what the table lacks, and enter each training when it is finished.

    A training that had less time than `seconds` and did not reach the target is done again.
    """

    def trained(name: str, lr: float, seed: int) -> None:
        for row in of(read_table(table), name, seed):
            enough = row["reached"] == "yes" or float(row["seconds_allowed"]) >= seconds
            if float(row["lr"]) == lr and enough:
                return
        row = {"network": name, "lr": lr, "seed": seed}
        enter(table, COLUMNS, KEY, row := row | train(NETWORKS[name], sets, lr, seed, seconds))
        print(row, flush=True)

    for seed in seeds:
        for name in networks:
            for lr in RATES:
                trained(name, lr, SEEDS[0])
            trained(name, better_rate(of(read_table(table), name, SEEDS[0])), seed)


def rows(row, table: Path = TABLE) -> list[dict]:
    """For bench.json, from the finished trainings; `row` makes a row.

    Medians over seeds, ours against each other network. One that did not reach the target counts as long as
    it was given, so that the ratio is the least it can be; the row's name says so. Networks without
    all seeds are left out, with a sentence.
    """
    found = {}
    for name in NETWORKS:
        trainings = of(read_table(table), name)
        chosen = of(trainings, name, SEEDS[0])
        if len(chosen) == len(RATES):
            chosen = [t for t in trainings if float(t["lr"]) == better_rate(chosen)]
            if {int(t["seed"]) for t in chosen} >= set(SEEDS):
                found[name] = chosen
                continue
        print(f"time to AUC: {name} is not trained with every seed yet; run {Path(__file__).name} first.")
    if OURS not in found or not all(t["reached"] == "yes" for t in found[OURS]):
        print(f"time to AUC: without a {OURS} that reaches {TARGET} with every seed there are no rows.")
        return []

    def middle(name: str) -> float:
        return statistics.median(float(t["seconds"]) for t in found[name])

    lowest = min(float(t["test_auc"]) for t in found[OURS])
    until = (
        f"training on studio until the validation AUC is {TARGET} (test AUC of {OURS} then {lowest} or more)"
    )
    made = []
    for name in [name for name in found if name != OURS]:
        missed = [t for t in found[name] if t["reached"] == "no"]
        words = f"{until}: {OURS} against {name}" + ("" if FRONT in name else ", no high-pass in front of it")
        if missed:
            least = min(float(t["seconds_allowed"]) for t in missed)
            seeds = f"{len(missed)} of {len(found[name])} seeds"
            words += f", which did not reach it in {least:.0f} s with {seeds} (a lower bound)"
        made.append(row(words, middle(OURS), middle(name), "s", False, len(found[name]), goal=2))
    return sorted(made, key=lambda entry: entry["ratio"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each training (default 60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fill(TABLE, load("studio"), options.networks, options.seeds, options.seconds)


if __name__ == "__main__":
    main()
