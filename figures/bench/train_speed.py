"""One epoch of FaceNeSt by `fit`, by a loop written by hand, by fastai and by Lightning. Prints a table.

    python figures/bench/train_speed.py --runs 5

All train the same network from the same weights on the same batches: the crops of one epoch of `studio`, cut
from uint8 images in memory by `training_batch`, normalised, channels last; AdamW without decay of norms and
biases, the one-cycle rate, gradients clipped at length 1. So all must end with the same weights, bit for bit,
and are asked for that before a time counts. Nobody validates.

fastai and Lightning get their batches through PyTorch's DataLoader in this process (`num_workers=0`), ready
made, so that nothing is collated. Recorder, logger, progress bar, summary and checkpoints are off (Lightning:
`barebones`). Compared are the steps alone, without what comes before the first and after the last; and from
begin to end, where `fit`, alone among them, also writes its folder. The extra `bench` installs both; what is
not installed is left out, with a sentence. `make bench` has the rows.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from course_lib import facenest, fit, load
from course_lib.training import epoch_order, one_cycle, seed_everything, set_lr
from course_lib.transforms import Augment, normalise, training_batch

BATCH, RATE, DECAY, SEED = 32, 3e-3, 0.05, 0
FIT, PLAIN, CONTIGUOUS = "fit", "a plain loop", "a plain loop without channels last"


class InMemory:
    """Images of one size as one uint8 tensor, N x 3 x H x W."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels.numpy()

    def __len__(self) -> int:
        return len(self.images)

    def uint8(self, i: int) -> torch.Tensor:
        return self.images[i]


def studio(count: int) -> InMemory:
    """The first images of `studio`'s training set, as many real as fake."""
    train = load("studio").train
    chosen = [i for y in (0, 1) for i in np.flatnonzero(np.asarray(train.labels) == y)[: count // 2]]
    labels = torch.as_tensor(np.asarray(train.labels)[chosen])
    return InMemory(torch.stack([train.uint8(int(i)) for i in chosen]), labels)


class Batches(Dataset):
    """The batches of the first epoch, as `fit` makes them: item i is (normalised crops, labels)."""

    def __init__(self, data: InMemory, crop: int, layout: torch.memory_format = torch.channels_last) -> None:
        self.data, self.crop, self.layout = data, crop, layout
        self.order = list(epoch_order(len(data), BATCH, SEED, 0))
        self.labels = torch.as_tensor(data.labels, dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        indices, generator = self.order[step], seed_everything(SEED, 0, step)
        images = training_batch(self.data, indices, self.crop, Augment.named("light"), generator)
        return normalise(images).contiguous(memory_format=self.layout), self.labels[indices]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return (self[step] for step in range(len(self)))


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's, with the settings of `fit`, as lesson 11 writes it."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=RATE)


# ------------------------------------------------------------------------------------- four ways to one epoch
# Each takes a network and trains it; it returns the seconds of its steps alone.
def by_fit(model: nn.Module, data: InMemory, crop: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(epochs=1, batch_size=BATCH, crop=crop, lr=RATE, weight_decay=DECAY, augment="light")
        result = fit(model, data, run_dir=folder, seed=SEED, device="cpu", progress=False, **settings)
    return float(result.history.seconds.sum())


def by_hand(
    model: nn.Module, data: InMemory, crop: int, layout: torch.memory_format = torch.channels_last
) -> float:
    """The loop of lesson 11."""
    batches, total = Batches(data, crop, layout), 0.0
    model.to(memory_format=layout).train()
    optimizer = adamw(model)
    start = time.perf_counter()
    for step, (images, labels) in enumerate(batches):
        set_lr(optimizer, one_cycle(step, len(batches), RATE))
        loss = F.binary_cross_entropy_with_logits(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    return time.perf_counter() - start


def by_hand_contiguous(model: nn.Module, data: InMemory, crop: int) -> float:
    """The same, as most are written: in PyTorch's own order of numbers in memory."""
    return by_hand(model, data, crop, torch.contiguous_format)


def by_fastai(model: nn.Module, data: InMemory, crop: int) -> float:
    from fastai.callback.core import Callback
    from fastai.callback.progress import ProgressCallback
    from fastai.callback.training import GradientClip
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner, Recorder
    from fastai.optimizer import OptimWrapper

    batches = DataLoader(Batches(data, crop), batch_size=None, num_workers=0)

    class OneCycle(Callback):
        def before_train(self) -> None:
            self.begun = time.perf_counter()

        def after_train(self) -> None:
            self.seconds = time.perf_counter() - self.begun

        def before_batch(self) -> None:
            self.learn.opt.set_hypers(lr=one_cycle(self.iter, len(batches), RATE))

    model.to(memory_format=torch.channels_last)
    learner = Learner(
        DataLoaders(batches, DataLoader([])), model, loss_func=F.binary_cross_entropy_with_logits,
        cbs=[cycle := OneCycle(), GradientClip(1.0)],
    )  # fmt: skip
    learner.remove_cbs([Recorder, ProgressCallback])
    learner.opt = OptimWrapper(opt=adamw(model))
    learner.fit(1, lr=RATE)
    return cycle.seconds


def by_lightning(model: nn.Module, data: InMemory, crop: int) -> float:
    import lightning

    batches = DataLoader(Batches(data, crop), batch_size=None, num_workers=0)

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.to(memory_format=torch.channels_last)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            self.own = adamw(self.model)
            return self.own

        def on_train_epoch_start(self) -> None:
            self.begun = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.perf_counter() - self.begun

        def on_train_batch_start(self, batch, step: int) -> None:
            set_lr(self.own, one_cycle(step, len(batches), RATE))

        def training_step(self, batch, step: int) -> torch.Tensor:
            images, labels = batch
            return F.binary_cross_entropy_with_logits(self.model(images), labels)

        def configure_gradient_clipping(
            self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
        ):
            # Its own clipping takes the weights in the optimiser's order, and rounds the sum in another way.
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)

    module = Lit()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises workers for the loader
        lightning.Trainer(accelerator="cpu", devices=1, max_epochs=1, barebones=True).fit(module, batches)
    return module.seconds


WAYS: dict[str, Callable[[nn.Module, InMemory, int], float]] = {
    FIT: by_fit,
    PLAIN: by_hand,
    CONTIGUOUS: by_hand_contiguous,
    "fastai": by_fastai,
    "Lightning": by_lightning,
}
PACKAGES = {"fastai": "fastai", "Lightning": "lightning"}


# ------------------------------------------------------------------------------------------------ the measure
def installed() -> dict[str, Callable]:
    """The ways that are there; for each that is not, a sentence."""
    ways = dict(WAYS)
    for name, package in PACKAGES.items():
        if find_spec(package) is None:
            print(f"{name} is not installed: its row is left out (pip install -e '.[bench]' brings it).")
            del ways[name]
    return ways


def begun(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with the weights that all begin with."""
    torch.manual_seed(SEED)
    return make()


def weights(model: nn.Module) -> torch.Tensor:
    """All that training changes, batch norm's averages too, as one long row."""
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def hold_to(model: nn.Module, ours: nn.Module, name: str, apart: float = 0.0) -> None:
    """Raise `RuntimeError` unless both networks are the same, or no further apart than that."""
    distance = float((weights(model) - weights(ours)).norm())
    if not distance <= apart:
        raise RuntimeError(f"{name} did not train the network that fit trained: {distance:g} apart")


def measure(
    ways: dict[str, Callable], data: InMemory, crop: int, runs: int, make: Callable[[], nn.Module]
) -> dict[str, list[tuple[float, float]]]:
    """Way -> (seconds of the whole call, of its steps) of each run, taken in turn.

    First each way makes two steps, which are its warm-up, and must lead to the same place but for rounding:
    another order in memory is another order of sums. The others must agree bit for bit, also in each run.
    """
    few = torch.linspace(0, len(data) - 1, 2 * BATCH).long()  # of both labels
    first = InMemory(data.images[few], torch.as_tensor(data.labels)[few])
    reference = begun(make)
    by_fit(reference, first, crop)
    way_gone = float((weights(reference) - weights(begun(make))).norm())
    for name, way in ways.items():
        way(model := begun(make), first, crop)
        hold_to(model, reference, name, apart=1e-4 * way_gone if name == CONTIGUOUS else 0.0)
    found: dict[str, list] = {name: [] for name in ways}
    for _ in range(runs):
        trained = {name: begun(make) for name in ways}
        for name, way in ways.items():
            start = time.perf_counter()
            steps = way(trained[name], data, crop)
            found[name].append((time.perf_counter() - start, steps))
            if name != CONTIGUOUS:
                hold_to(trained[name], trained[FIT], name)
    return found


def rows(
    row, runs: int, images: int = 1600, crop: int = 64, make: Callable[[], nn.Module] = facenest
) -> list[dict]:
    """For bench.json; `row` makes a row."""
    data, runs = studio(images), 2 * runs  # the differences are small
    count, found = len(data) // BATCH * BATCH, measure(installed(), data, crop, runs, make)

    def against(name: str, alone: bool, words: str, goal: float | None) -> dict:
        ours, theirs = (
            count / statistics.median(times[alone] for times in found[who]) for who in (FIT, name)
        )
        return row(f"{of}, {words}: fit against {name}", ours, theirs, "images/s", True, runs, goal=goal)

    of = f"an epoch of {count:,} crops of {crop} px"
    peers = [name for name in found if name != FIT]
    steps = [against(name, True, "its steps alone", 1) for name in peers]
    # Only `fit` leaves a folder from which the training can go on, so no goal is set here.
    return steps + [
        against(name, False, "begin to end, with fit's files", None) for name in peers if name != CONTIGUOUS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = measure(installed(), studio(1600), 64, options.runs, facenest)
    print(f"{'':36} begin to end, s   steps alone, s   (medians)")
    for name, times in found.items():
        whole, steps = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:36} {whole:15.3f} {steps:16.3f}")


if __name__ == "__main__":
    main()
