"""Is it worth beginning with ImageNet? FaceNeSt beside pretrained and untrained networks, at equal time.

    python data/recipe/transfer.py                     every row that is not there yet
    python data/recipe/transfer.py --question studio   a part of it: `studio`, `few`, `long` or `unseen`
    python data/recipe/transfer.py --again FaceNeSt    train the rows of one network once more
    python data/recipe/transfer.py --measure --again FaceNeSt    the same, after a change of that network

Two questions, those of `ablate_facenest.py`. `studio`: images of the embedded set, saved once more as JPEG of
quality 50, judged on the *one* window of 32x32 pixels in the middle of each. `unseen`: photographs and real
generators (`--data ../shared/data`; left out if that is not there), trained on one source of each, judged on
the six pairings in which the photographs, the generator or both come from a source of which nothing was seen.
`few` is `studio` with 20, 100 and 400 training images, each set a part of the next; `long` is `studio` with
three times as much time.

Every training gets the same processor time of one thread, `SECONDS`; its number of updates is that time
times the network's speed, measured side by side (`transfer_speed.csv`, `--measure` for anew). Together with
`--again`, the rows of the other networks stay, and so do their speeds: what is new is put on their clock. For
one seed all see the same windows in the same order, a faster network more of them. All networks made for
ImageNet see each window enlarged to twice its side, for their first layers halve the side at once. A *frozen*
network is shown windows until the time is up, at most `EACH` of each image; then a logistic regression is
fitted to what it says.

Networks from scratch learn with lesson 10's rate, 0.003. A fine-tuned body has the better of two rates on the
validation images of `studio` with seed 0: `transfer_rates.csv`. The regression is scikit-learn's as it comes.
The rows are in `transfer.csv`: `valid_auc` decides, `test_auc` was looked at afterwards. Differences are in
`transfer_paired.csv`; their intervals draw seeds and pictures anew. What a training answered is kept in
runs/, so that an interrupted command goes on where it stopped.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.models import efficientnet_b0, resnet18

PROJECT = Path(__file__).resolve().parent.parent.parent
for folder in ("data/recipe", "data", ""):  # course_lib and the recipe, also without installing them
    sys.path.insert(0, str(PROJECT / folder))

from course_lib.facenest import count_parameters, facenest  # noqa: E402
from course_lib.training import one_cycle  # noqa: E402
from course_lib.transforms import normalise  # noqa: E402
from recipe.ablate_facenest import (  # noqa: E402
    BATCH,
    FOLDER,
    Answers,
    Kept,
    Studio,
    Unseen,
    enter,
    interval,
    paired,
    score,
    step,
)
from recipe.ablate_ingredients import cut, read_table, write_table  # noqa: E402
from recipe.efficientnet import EfficientNetTrunk  # noqa: E402
from recipe.train_faces import imagenet_weights  # noqa: E402

SECONDS, LONG = 12.0, 36.0  # of one thread, for each training
STAGES, ZOOM, EACH = 4, 2, 24  # of EfficientNet-Lite0; see lesson 15 for the first two
HEAD_RATE = 3e-3  # of a new head on a pretrained body
FEW = (20, 100, 400)
COLUMNS = (
    "question", "images", "network", "seed", "parameters", "setting", "updates", "seconds", "valid_auc",
    "test_auc", "low", "high",
)  # fmt: skip
PAIRED_COLUMNS = ("question", "images", "network", "against", "seeds", "difference", "low", "high")


# ---------------------------------------------------------------------------------------------- the networks
class Enlarged(nn.Module):
    """A network made for ImageNet behind our normalisation: pixels to -1..1, windows to `ZOOM` times."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Windows normalised to -2..2, B x 3 x H x W -> logits of *fake*, (B,)."""
        x = F.interpolate(x / 2, scale_factor=ZOOM, mode="bilinear")
        return self.network(x.contiguous(memory_format=torch.channels_last)).reshape(len(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over places of the last feature map of an `EfficientNetTrunk`: B x channels."""
        x = F.interpolate(x / 2, scale_factor=ZOOM, mode="bilinear")
        x = x.contiguous(memory_format=torch.channels_last)
        return self.network.blocks(self.network.stem(x)).mean(dim=(2, 3))


def lite(pretrained: bool) -> nn.Module:
    trunk = EfficientNetTrunk(stages=STAGES)
    if pretrained:
        trunk.load_imagenet(imagenet_weights())
    return Enlarged(trunk)


@dataclass(frozen=True)
class Arm:
    """One way to a detector. settings: to choose from, learning rates (of the body, if it is pretrained), or
    for a frozen body the C of the logistic regression."""

    make: Callable[[], nn.Module]
    settings: tuple[float, ...]
    frozen: bool = False
    calibrate: bool = False  # batch norm takes its statistics from the first windows, as untrained ones must
    head_rate: float | None = None


FROZEN, TUNED, RANDOM = "Lite0, frozen", "Lite0, fine-tuned", "Lite0, from scratch"
ARMS = {
    "FaceNeSt": Arm(facenest, (3e-3,)),
    FROZEN: Arm(lambda: lite(True), (1.0,), frozen=True),
    TUNED: Arm(lambda: lite(True), (1e-3, 3e-3), head_rate=HEAD_RATE),
    RANDOM: Arm(lambda: lite(False), (3e-3,)),
    "Lite0, random and frozen": Arm(lambda: lite(False), (1.0,), frozen=True, calibrate=True),
    "ResNet-18, from scratch": Arm(lambda: Enlarged(resnet18(num_classes=1)), (3e-3,)),
    "EfficientNet-B0, from scratch": Arm(lambda: Enlarged(efficientnet_b0(num_classes=1)), (3e-3,)),
}
SAME_SPEED = {RANDOM: TUNED, "Lite0, random and frozen": FROZEN}  # the same network, other weights
AGAINST = [(name, "FaceNeSt") for name in ARMS if name != "FaceNeSt"] + [(TUNED, FROZEN), (TUNED, RANDOM)]


# ------------------------------------------------------------------------------------------------ questions
class FewStudio(Studio):
    """`studio` with only some of its training images: the first of an order that the seed decides."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def chosen(self, seed: int) -> torch.Tensor:
        """Indices of the training images, half of them fake; a smaller set is part of a larger one."""
        labels = self.data["train"][1]
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1000 + seed))
        return torch.cat([order[labels[order] == y][: self.images // 2] for y in (0, 1)])

    def batches(self, training: str, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        images, labels = (values[self.chosen(seed)] for values in self.data["train"])
        generator = torch.Generator().manual_seed(seed)
        order = torch.empty(0, dtype=torch.long)
        while True:
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(images), generator=generator)])
            indices, order = order[:BATCH], order[BATCH:]
            x = cut(images[indices], "random", generator)
            mirrored = torch.rand(len(x), generator=generator) < 0.5
            yield torch.where(mirrored[:, None, None, None], x.flip(3), x), labels[indices]


def pictures(question) -> int:
    """How many pictures a training may look at (of `unseen`: the mean of its two trainings)."""
    if isinstance(question, Unseen):
        from recipe import train_faces

        counts = {n: len(train_faces.part(s, kept_back=False)) for n, s in question.sources.items()}
        return round(np.mean([sum(counts[n] for n in t.split("+")) for t in question.trainings]))
    return getattr(question, "images", len(question.data["train"][1]))


# ------------------------------------------------------------------------------------------------- training
def groups(model: nn.Module, arm: Arm, setting: float) -> list[dict]:
    """All weights with one rate; with a pretrained body, the head with a rate of its own."""
    if arm.head_rate is None:
        return [{"params": list(model.parameters()), "lr": setting}]
    head = list(model.network.head.parameters())
    of_head = {id(p) for p in head}
    body = [p for p in model.parameters() if id(p) not in of_head]
    return [{"params": body, "lr": setting}, {"params": head, "lr": arm.head_rate}]


def train(model: nn.Module, arm: Arm, batches: Iterator, updates: int, setting: float) -> Callable:
    """Trains all weights; returns the function from normalised windows to logits."""
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(groups(model, arm, setting), weight_decay=0.05)
    rates = [group["lr"] for group in optimizer.param_groups]
    for update, (x, y) in enumerate(islice(batches, updates)):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = one_cycle(update, updates, rate)
        step(model, optimizer, x, y)
    return model.eval()


def regress(model: nn.Module, arm: Arm, batches: Iterator, updates: int, setting: float) -> Callable:
    """Fits a logistic regression to what a frozen network says; returns windows -> logits."""
    model = model.to(memory_format=torch.channels_last).train(arm.calibrate)
    with torch.inference_mode():
        if arm.calibrate:
            for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
                norm.momentum = 1.0  # of these windows alone
            model.features(normalise(torch.cat([x for x, _ in islice(batches, 16)])))
            model.eval()
        shown = [(model.features(normalise(x)), y) for x, y in islice(batches, updates)]
    features, labels = (torch.cat(values).numpy() for values in zip(*shown, strict=True))
    line = make_pipeline(StandardScaler(), LogisticRegression(C=setting, max_iter=1000))
    line.fit(features, labels)

    def answer(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(line.decision_function(model.features(x).detach().numpy()))

    return answer


def train_once(
    question, name: str, seed: int, setting: float, speed: dict, budget: float = SECONDS
) -> tuple[Answers, int, float]:
    """What the networks of the question's trainings answer; updates and seconds of the last training."""
    arm, answers = ARMS[name], {}
    updates = round(budget * speed[name] / BATCH)
    if arm.frozen:
        updates = min(updates, -(-EACH * pictures(question) // BATCH))
    for training in question.trainings:
        torch.manual_seed(seed)
        model, batches = arm.make(), question.batches(training, seed)
        x = next(batches)  # reads files; not what is compared
        batches, start = question.batches(training, seed), time.process_time()
        if arm.frozen:
            logits = regress(model, arm, batches, updates, setting)
        else:
            logits = train(model, arm, batches, updates, setting)
        seconds = time.process_time() - start
        del x

        def answer(images: torch.Tensor, logits=logits) -> np.ndarray:
            with torch.inference_mode():
                return torch.cat([logits(normalise(part)) for part in images.split(256)]).numpy()

        answers |= question.ask(training, answer)
    return answers, updates, seconds


# ------------------------------------------------------------------------------------------- speed and rates
def on_the_old_clock(new: dict[str, float], old: dict[str, float], changed: set[str]) -> dict[str, float]:
    """Speeds of which only those of the `changed` networks are new.

    The machine may be slower or faster today than it was. So the new ones are divided by the median, over the
    unchanged networks, of what each does now over what it did then.
    """
    same = [name for name in new if name in old and name not in changed]
    drift = statistics.median(new[name] / old[name] for name in same) if same else 1.0
    return {name: old[name] if name in same else new[name] / drift for name in new}


def speeds(measure: bool, again: set[str]) -> dict[str, float]:
    """Images a second of each: trained, or if it stays frozen, looked at.

    From the table, or measured: of all, or of those in `again` only, if there are any.
    """
    table, columns = FOLDER / "transfer_speed.csv", ("network", "images_per_second")
    if measure or not table.is_file():
        x, y = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8), torch.arange(BATCH) % 2.0
        measured = {name: arm for name, arm in ARMS.items() if name not in SAME_SPEED}
        models = {name: arm.make().to(memory_format=torch.channels_last) for name, arm in measured.items()}
        optimizers = {name: torch.optim.AdamW(model.parameters()) for name, model in models.items()}

        def once(name: str) -> None:
            if ARMS[name].frozen:
                with torch.inference_mode():
                    models[name].eval().features(normalise(x))
            else:
                step(models[name].train(), optimizers[name], x, y)

        times: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(7):  # in turn, so that a machine whose speed drifts is unfair to none
            for name in measured:
                once(name)  # the first after another network is slower
                start = time.process_time()  # of this one thread: what else runs here does not count
                for _ in range(3):
                    once(name)
                times[name].append(time.process_time() - start)
        new = {name: 3 * BATCH / statistics.median(times[name]) for name in measured}
        old = {row["network"]: float(row["images_per_second"]) for row in read_table(table)}
        print("measured now:", {name: round(value, 1) for name, value in new.items()}, flush=True)
        new = on_the_old_clock(new, old, again) if again else new
        rows = [{"network": name, "images_per_second": f"{new[name]:.1f}"} for name in measured]
        write_table(table, columns, rows)
    found = {row["network"]: float(row["images_per_second"]) for row in read_table(table)}
    found |= {name: found[other] for name, other in SAME_SPEED.items()}
    print(found, flush=True)
    return found


def settings(studio: Studio, names: list[str], speed: dict) -> dict[str, float]:
    """The setting of each network: the best of its own on `studio`'s validation images, seed 0."""
    table, columns = FOLDER / "transfer_rates.csv", ("network", "setting", "updates", "valid_auc")
    done = {(row["network"], float(row["setting"])) for row in read_table(table)}
    for name in names:
        for setting in ARMS[name].settings:
            if len(ARMS[name].settings) > 1 and (name, setting) not in done:
                answers, updates, _ = train_once(studio, name, 0, setting, speed)
                auc = f"{score(answers, studio.inside):.4f}"
                row = dict(zip(columns, (name, setting, updates, auc), strict=True))
                enter(table, columns, ("network", "setting"), row)
                print(row, flush=True)
    best = {name: ARMS[name].settings[0] for name in names}
    for row in sorted(read_table(table), key=lambda row: float(row["valid_auc"])):
        best[row["network"]] = float(row["setting"])
    return best


# ------------------------------------------------------------------------------------------------ the tables
def rows_of(
    question,
    label: str,
    kept: Kept,
    names: list[str],
    speed: dict,
    best: dict,
    again: set,
    budget: float = SECONDS,
) -> None:
    """Train what is missing, seed by seed, and enter it; then the paired differences."""
    images = pictures(question)
    key = f"{label} {images}"
    for seed in (0, 1, 2):
        for name in names:
            if kept.get(key, name, seed) is not None and name not in again:
                continue
            answers, updates, seconds = train_once(question, name, seed, best[name], speed, budget)
            kept.put(key, name, seed, answers)
            numbers = (score(answers, question.inside), score(answers, question.outside))
            numbers += interval(answers, question.outside)
            values = (label, images, name, seed, count_parameters(ARMS[name].make()), best[name], updates)
            values += (f"{seconds:.1f}", *(f"{number:.4f}" for number in numbers))
            row = dict(zip(COLUMNS, values, strict=True))
            enter(FOLDER / "transfer.csv", COLUMNS, ("question", "images", "network", "seed"), row)
            print(row, flush=True)
    for name, other in AGAINST:
        runs = [(kept.get(key, other, seed), kept.get(key, name, seed)) for seed in (0, 1, 2)]
        if any(answers is None for pair in runs for answers in pair):
            continue
        difference, low, high = paired(*map(list, zip(*runs, strict=True)), question.outside)
        values = (label, images, name, other, len(runs), *(f"{v:.4f}" for v in (difference, low, high)))
        row = dict(zip(PAIRED_COLUMNS, values, strict=True))
        columns = ("question", "images", "network", "against")
        enter(FOLDER / "transfer_paired.csv", PAIRED_COLUMNS, columns, row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--question", choices=("studio", "few", "unseen", "long"), help="only this question")
    parser.add_argument(
        "--again", choices=ARMS, nargs="+", default=[], metavar="NETWORK", help="not from runs/"
    )
    parser.add_argument("--measure", action="store_true", help="measure the speeds anew")
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data", help="for `unseen`")
    parser.add_argument("--work", type=Path, default=PROJECT / "runs" / "transfer", help="for answers")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same on every machine, and fair to small networks
    kept, asked = Kept(options.work), options.question
    again = set(options.again)
    speed, studio = speeds(options.measure, again), Studio()
    best = settings(studio, list(ARMS), speed)
    three, others = (
        ["FaceNeSt", FROZEN, TUNED],
        [name for name in ARMS if name not in ("FaceNeSt", FROZEN, TUNED)],
    )
    unseen = None
    if asked in (None, "unseen") and options.data.is_dir():
        unseen = Unseen(options.data, PROJECT / "runs" / "ablate_facenest")
    elif asked in (None, "unseen"):
        print(f"{options.data} is not there: the question `unseen` is left out, its rows stay as they are.")
    if asked in (None, "studio"):  # first what the lesson cannot do without
        rows_of(studio, "studio", kept, [*three, RANDOM], speed, best, again)
    if asked in (None, "few"):
        for images in FEW:
            rows_of(FewStudio(images), "studio", kept, three, speed, best, again)
    if unseen:
        rows_of(unseen, "unseen", kept, three, speed, best, again)
    if asked in (None, "studio"):
        rows_of(studio, "studio", kept, others, speed, best, again)
    if asked in (None, "long"):
        rows_of(studio, "studio, long", kept, ["FaceNeSt", TUNED], speed, best, again, LONG)
    if unseen:
        rows_of(unseen, "unseen", kept, [RANDOM], speed, best, again)


if __name__ == "__main__":
    main()
