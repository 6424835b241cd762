"""What is a shortcut worth, the deeper a network gets? Train plain and residual blocks, and write the table.

    python data/recipe/ablate_depth.py                 all rows that the table lacks
    python data/recipe/ablate_depth.py --seeds 0       one seed only

The networks are lesson 06's: one convolution to 8 channels, pooled once, then 2, 8, 16 or 24 blocks of
8 channels each, a mean, one linear layer. All kinds begin with the same stem, and differ in their blocks
only: with or without a shortcut, with or without batch norm, with the last batch norm of a block starting at
0 (as in the library) or at 1.

The budget is that of lesson 05's table: three epochs of `studio`, 4,800 training crops of 32×32 pixels,
150 updates of 32 crops, AdamW, one cycle. Whole images are too easy a question, so a network is judged on
*one* crop of each image, the 32×32 pixels in its middle.

`data/ablation/depth_rates.csv`: each kind and depth has its own learning rate, chosen among three by the AUC
on the validation images with seed 0. `data/ablation/depth.csv`: the rows, three seeds each. Decisions are
made on the validation column; the test column was written once and decided nothing.

`data/ablation/trunk.csv`: the same for the trunk of FaceNeSt at half its width, four blocks of 8, 16, 32 and
64 channels, each but the first halving the side, a mean, one linear layer. It asks what the shortcut is worth
at *our* depth, and whether it should shrink its map by averaging or by skipping. Five seeds, one rate.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "data")]  # course_lib and recipe, also without installing them

from course_lib.evaluation import bootstrap_interval, fast_auc, to_probability  # noqa: E402
from course_lib.facenest import high_pass  # noqa: E402
from course_lib.layers import ResidualBlock  # noqa: E402
from course_lib.training import one_cycle  # noqa: E402
from course_lib.transforms import normalise  # noqa: E402
from recipe.ablate_ingredients import cut, load_data, read_table, write_table  # noqa: E402

FOLDER = PROJECT / "data" / "ablation"
TRUNK = FOLDER / "trunk.csv"
RATES, TABLE = FOLDER / "depth_rates.csv", FOLDER / "depth.csv"
RATE_COLUMNS = ("kind", "depth", "lr", "train_loss", "valid_auc")
COLUMNS = ("kind", "depth", "seed", "lr", "train_loss", "valid_auc", "test_auc", "low", "high")

WIDTH, EPOCHS, IMAGES = 8, 3, 32  # channels everywhere, times through the set, crops to an update
DEPTHS = (2, 8, 16, 24)  # in blocks; each holds two convolutions
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
KINDS = {
    "plain": {"residual": False, "norm": True},
    "residual": {"residual": True, "norm": True},
    "residual, last norm from 1": {"residual": True, "norm": True, "last": 1.0},
    "plain, no batch norm": {"residual": False, "norm": False},
    "residual, no batch norm": {"residual": True, "norm": False},
}
TRUNK_COLUMNS = ("shortcut", *COLUMNS[2:])
TRUNK_SEEDS, TRUNK_RATE = (0, 1, 2, 3, 4), 1e-2
SHORTCUTS = ("averaged", "averaged, last norm from 1", "strided", "none")


def block(residual: bool, norm: bool, last: float | None = None) -> ResidualBlock:
    """The library's block, or the same with its batch norms taken out or started elsewhere."""
    one = ResidualBlock(WIDTH, WIDTH, residual=residual)
    if last is not None:
        nn.init.constant_(one.bn2.weight, last)
    if not norm:
        one.bn1, one.bn2 = nn.Identity(), nn.Identity()
    return one


def network(kind: str, depth: int) -> nn.Sequential:
    """B×3×H×W -> B×1: stem, `depth` blocks, mean, linear."""
    stem = [nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.MaxPool2d(2)]
    blocks = [block(**KINDS[kind]) for _ in range(depth)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 1))


def trunk(shortcut: str) -> nn.Sequential:
    """B×3×H×W -> B×1: stem, four blocks that double the channels and halve the side, mean, linear."""
    layers = [nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    before = WIDTH
    for i in range(4):
        after, stride = WIDTH * 2**i, 1 if i == 0 else 2
        one = ResidualBlock(before, after, stride, residual=shortcut != "none")
        if shortcut == "strided" and stride > 1:
            one.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )
        if shortcut.endswith("from 1"):
            nn.init.ones_(one.bn2.weight)
        layers.append(one)
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1))


def prepared(images: torch.Tensor) -> torch.Tensor:
    return high_pass(normalise(images))


def judge(model: nn.Module, data: tuple, prepare: Callable = prepared) -> tuple:
    """Labels and P(fake) of the middle of each image."""
    images, labels = data
    model.eval()
    with torch.inference_mode():
        logits = model(prepare(cut(images, "middle"))).flatten()
    return labels.numpy(), to_probability(logits.numpy())


def train_once(
    make: Callable, lr: float, seed: int, data: dict, prepare: Callable = prepared, epochs: int = EPOCHS
) -> tuple[nn.Module, float]:
    """One training of what `make()` gives; returns it and the mean loss of the last 50 updates."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = make().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    images, labels = data["train"]
    total, losses = epochs * (len(images) // IMAGES), []
    for _ in range(epochs):
        for indices in torch.randperm(len(images), generator=generator).split(IMAGES):
            x = cut(images[indices], "random", generator)
            mirrored = torch.rand(len(x), generator=generator) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
            loss = F.binary_cross_entropy_with_logits(model(prepare(x)).flatten(), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(len(losses), total, lr)
            optimizer.step()
            losses.append(loss.item())
    return model, sum(losses[-50:]) / 50


def choose_rates(data: dict) -> dict[tuple[str, int], float]:
    """The learning rate of each kind and depth; trains what depth_rates.csv lacks."""
    rows = read_table(RATES)
    done = {(row["kind"], int(row["depth"]), float(row["lr"])) for row in rows}
    for kind, depth, lr in product(KINDS, DEPTHS, LEARNING_RATES):
        if (kind, depth, lr) not in done:
            model, loss = train_once(partial(network, kind, depth), lr, 0, data)
            auc = fast_auc(*judge(model, data["valid"]))
            values = (kind, depth, lr, f"{loss:.4f}", f"{auc:.4f}")
            rows.append(dict(zip(RATE_COLUMNS, values, strict=True)))
            write_table(RATES, RATE_COLUMNS, rows)
            print(rows[-1], flush=True)
    best = {}
    for kind, depth in product(KINDS, DEPTHS):
        own = [row for row in rows if row["kind"] == kind and int(row["depth"]) == depth]
        best[kind, depth] = float(max(own, key=lambda row: float(row["valid_auc"]))["lr"])
    return best


def full_row(
    names: tuple, key: tuple, make: Callable, lr: float, seed: int, data: dict, prepare: Callable = prepared,
    epochs: int = EPOCHS,
) -> dict:  # fmt: skip
    """Train once, judge on both columns, and print the row."""
    start = time.perf_counter()
    model, loss = train_once(make, lr, seed, data, prepare, epochs)
    valid = fast_auc(*judge(model, data["valid"], prepare))
    y, p = judge(model, data["test"], prepare)
    numbers = (loss, valid, fast_auc(y, p), *bootstrap_interval(fast_auc, y, p))
    row = dict(zip(names, (*key, seed, lr, *(f"{number:.4f}" for number in numbers)), strict=True))
    print(f"{time.perf_counter() - start:.0f} s", row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    data = load_data()
    rates = choose_rates(data)
    rows = read_table(TABLE)
    done = {(row["kind"], int(row["depth"]), int(row["seed"])) for row in rows}
    for seed, depth, kind in product(options.seeds, DEPTHS, KINDS):
        if (kind, depth, seed) not in done:
            make = partial(network, kind, depth)
            rows.append(full_row(COLUMNS, (kind, depth), make, rates[kind, depth], seed, data))
            write_table(TABLE, COLUMNS, rows)
    rows = read_table(TRUNK)
    done = {(row["shortcut"], int(row["seed"])) for row in rows}
    for seed, shortcut in product(TRUNK_SEEDS, SHORTCUTS):
        if (shortcut, seed) not in done:
            make = partial(trunk, shortcut)
            rows.append(full_row(TRUNK_COLUMNS, (shortcut,), make, TRUNK_RATE, seed, data))
            write_table(TRUNK, TRUNK_COLUMNS, rows)


if __name__ == "__main__":
    main()
