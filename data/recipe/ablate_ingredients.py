"""What is each ingredient of lesson 05 worth? Switch it off, everything else equal, and write the table.

    python data/recipe/ablate_ingredients.py                 all rows that the table lacks
    python data/recipe/ablate_ingredients.py --seeds 0       one seed only

The network is lesson 05's (three convolutions, 8, 16 and 32 channels). The budget is the same for every row:
three epochs of `studio`, 4,800 training crops of 32×32 pixels, 150 updates of 32 crops. Whole images are too
easy a question (with everything on, the validation AUC is 1.00, as lesson 05 shows), so a network is judged
on *one* crop of each image, the 32×32 pixels in its middle.

`data/ablation/ingredients_rates.csv`: the learning rate of each row that needs one of its own was chosen
among four, by the AUC on the validation images with seed 0. `data/ablation/ingredients.csv`: the rows, three
seeds each. Decisions are made on the validation column; the test column was written once and decided nothing.
"""

import argparse
import csv
import io
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))  # course_lib, also without installing it

from course_lib.checkpoints import write_file  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.evaluation import bootstrap_interval, fast_auc, to_probability  # noqa: E402
from course_lib.facenest import high_pass  # noqa: E402
from course_lib.training import one_cycle  # noqa: E402
from course_lib.transforms import gaussian_blur, normalise  # noqa: E402

FOLDER = PROJECT / "data" / "ablation"
RATES, TABLE = FOLDER / "ingredients_rates.csv", FOLDER / "ingredients.csv"
RATE_COLUMNS = ("variant", "lr", "train_loss", "valid_auc")
COLUMNS = ("variant", "seed", "lr", "updates", "train_loss", "valid_auc", "test_auc", "low", "high")

SIDE, EPOCHS, IMAGES = 32, 3, 32  # side of a crop, times through the set, images between two updates
BASE = {
    "see": "high-pass",
    "norm": True,
    "init": "kaiming",
    "optimizer": "AdamW",
    "cycle": True,
    "flip": True,
    "crop": "random",
    "batch": 32,
    "keep_gradients": True,
}
VARIANTS = {
    "everything on": {},
    "no high-pass": {"see": "pixels"},
    "no batch norm": {"norm": False},
    "weights of 0.01": {"init": "small"},
    "weights of 0.01, no batch norm": {"init": "small", "norm": False},
    "Adam (no weight decay)": {"optimizer": "Adam"},
    "SGD with momentum": {"optimizer": "momentum"},
    "plain SGD": {"optimizer": "SGD"},
    "constant rate": {"cycle": False},
    "no flips": {"flip": False},
    "no random crops": {"crop": "middle"},
    "resized, not cropped": {"crop": "resize"},
    "blurred": {"see": "blurred"},
    "batches of 4, added up": {"batch": 4},
    "batches of 4, 7 of 8 gradients lost": {"batch": 4, "keep_gradients": False},
}
ADAM_RATES, SGD_RATES = (1e-3, 3e-3, 1e-2, 3e-2), (3e-2, 1e-1, 3e-1, 1.0)
OWN_RATE = {
    "everything on": ADAM_RATES,
    "no batch norm": ADAM_RATES,
    "weights of 0.01, no batch norm": ADAM_RATES,
    "Adam (no weight decay)": ADAM_RATES,
    "constant rate": ADAM_RATES,
    "SGD with momentum": SGD_RATES,
    "plain SGD": SGD_RATES,
}  # all others take that of "everything on"


def network(norm: bool, init: str) -> nn.Sequential:
    """Three convolutions and a mean over what they see: B×3×H×W -> B×1."""
    layers, before = [], 3
    for after in (8, 16, 32):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=not norm)]
        layers += [nn.BatchNorm2d(after)] if norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        before = after
    layers[-1] = nn.AdaptiveAvgPool2d(1)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, 1))
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            if init == "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def make_optimizer(name: str, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    weights = model.parameters()
    if name == "AdamW":
        return torch.optim.AdamW(weights, lr=lr, weight_decay=0.05)
    if name == "Adam":
        return torch.optim.Adam(weights, lr=lr)
    return torch.optim.SGD(weights, lr=lr, momentum=0.9 if name == "momentum" else 0.0)


def prepared(images: torch.Tensor, see: str) -> torch.Tensor:
    """uint8 crops -> what the network is shown."""
    x = normalise(images)
    if see == "blurred":
        x = gaussian_blur(x, torch.full((len(x),), 1.5))
    return x if see == "pixels" else high_pass(x)


def cut(images: torch.Tensor, crop: str, generator: torch.Generator | None = None) -> torch.Tensor:
    """One 32×32 picture of each image: a random window if there is a generator, else the middle one."""
    if crop == "resize":
        small = F.interpolate(images.float(), size=(SIDE, SIDE), mode="bilinear", antialias=True)
        return small.round().to(torch.uint8)
    room = images.shape[-1] - SIDE
    if crop == "middle" or generator is None:
        return images[:, :, room // 2 : room // 2 + SIDE, room // 2 : room // 2 + SIDE]
    places = torch.randint(0, room + 1, (len(images), 2), generator=generator).tolist()
    return torch.stack(
        [image[:, r : r + SIDE, c : c + SIDE] for image, (r, c) in zip(images, places, strict=True)]
    )


def judge(model: nn.Module, data: tuple, settings: dict) -> tuple:
    """Labels and P(fake) of one crop of each image."""
    images, labels = data
    model.eval()
    with torch.inference_mode():
        x = cut(images, "resize" if settings["crop"] == "resize" else "middle")
        logits = model(prepared(x, settings["see"]))[:, 0]
    return labels.numpy(), to_probability(logits.numpy())


def train_once(change: dict, lr: float, seed: int, data: dict) -> tuple[nn.Module, int, float]:
    """One training; returns the network, the number of updates, and the mean loss of the last 50 updates."""
    settings = BASE | change
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = network(settings["norm"], settings["init"]).train()
    optimizer = make_optimizer(settings["optimizer"], model, lr)
    images, labels = data["train"]
    batch = settings["batch"]
    parts = IMAGES // batch
    total, update, losses = EPOCHS * (len(images) // IMAGES), 0, []
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for part, indices in enumerate(order.split(batch)):
            x = cut(images[indices], settings["crop"], generator)
            if settings["flip"]:
                mirrored = torch.rand(len(x), generator=generator) < 0.5
                x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
            loss = F.binary_cross_entropy_with_logits(
                model(prepared(x, settings["see"]))[:, 0], labels[indices]
            )
            if part % parts == 0 or not settings["keep_gradients"]:
                optimizer.zero_grad()
            (loss / parts if settings["keep_gradients"] else loss).backward()
            losses.append(loss.item())
            if part % parts == parts - 1:
                for group in optimizer.param_groups:
                    group["lr"] = one_cycle(update, total, lr) if settings["cycle"] else lr
                optimizer.step()
                update += 1
    last = losses[-50 * parts :]
    return model, update, sum(last) / len(last)


def load_data() -> dict[str, tuple]:
    """The three parts of `studio`, each as (images N×3×128×128 uint8, labels N float)."""
    sets, data = load("studio"), {}
    for name in ("train", "valid", "test"):
        part = getattr(sets, name)
        images = torch.stack([part.uint8(i) for i in range(len(part))])
        data[name] = (images, torch.tensor(part.labels, dtype=torch.float32))
    return data


def read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, columns: tuple, rows: list[dict]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.getvalue().encode())


def choose_rates(data: dict) -> dict[str, float]:
    """The learning rate of each variant; trains what ingredients_rates.csv lacks."""
    rows = read_table(RATES)
    done = {(row["variant"], float(row["lr"])) for row in rows}
    for variant, rates in OWN_RATE.items():
        for lr in rates:
            if (variant, lr) not in done:
                model, _, loss = train_once(VARIANTS[variant], lr, 0, data)
                auc = fast_auc(*judge(model, data["valid"], BASE | VARIANTS[variant]))
                rows.append(
                    {"variant": variant, "lr": lr, "train_loss": f"{loss:.4f}", "valid_auc": f"{auc:.4f}"}
                )
                write_table(RATES, RATE_COLUMNS, rows)
                print(rows[-1], flush=True)
    best = {}
    for variant in OWN_RATE:
        own = [row for row in rows if row["variant"] == variant]
        best[variant] = float(max(own, key=lambda row: float(row["valid_auc"]))["lr"])
    return {variant: best.get(variant, best["everything on"]) for variant in VARIANTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    data = load_data()
    rates = choose_rates(data)
    rows = read_table(TABLE)
    done = {(row["variant"], int(row["seed"])) for row in rows}
    for seed in options.seeds:
        for variant, change in VARIANTS.items():
            if (variant, seed) in done:
                continue
            start = time.perf_counter()
            model, updates, loss = train_once(change, rates[variant], seed, data)
            valid = fast_auc(*judge(model, data["valid"], BASE | change))
            y, p = judge(model, data["test"], BASE | change)
            numbers = (loss, valid, fast_auc(y, p), *bootstrap_interval(fast_auc, y, p))
            values = (variant, seed, rates[variant], updates, *(f"{number:.4f}" for number in numbers))
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            write_table(TABLE, COLUMNS, rows)
            print(f"{time.perf_counter() - start:.0f} s", rows[-1], flush=True)


if __name__ == "__main__":
    main()
