"""`fit`: train a network on a data set, in a way that can be interrupted, resumed and repeated.

The one idea that makes resuming exact: nothing random depends on what happened before. The order of the
images is a function of (seed, epoch); crops, augmentation and dropout of a batch are functions of (seed,
epoch, batch). The state is saved at the end of each epoch, so an epoch that was cut short is simply run
again, and gives the same numbers.

The same idea serves several processes (see `distributed`): each takes its share of the batch that one process
would have made. They may be another number of processes when the run is resumed.

In the run folder:

``state.pt``      weights, optimiser, moving average, history; replaced as a whole at the end of each epoch
``history.csv``   one row per epoch
``best/``         the best weights so far as a checkpoint folder, see `course_lib.checkpoints`
``events...``     the same curves for TensorBoard, if it is installed
"""

import ctypes
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoints import (
    CONFIG,
    Preprocessing,
    architecture_of,
    config_of,
    plain,
    reason,
    save_checkpoint,
    write_file,
)
from .distributed import AloneError, Team, join_team, whole_batch
from .errors import CheckpointError, CourseError, DataError
from .evaluation import fake_logits, fast_auc, predict_logits, require_data_set, to_probability
from .transforms import Augment, training_batch

if TYPE_CHECKING:
    import pandas

STATE, HISTORY, BEST = "state.pt", "history.csv", "best"


class TrainingError(CourseError):
    """A training run that cannot go on: the loss is no number, or not even a few images fit into memory."""


@dataclass
class FitResult:
    """What `fit` gives back."""

    model: nn.Module
    """The network that was passed in, now with the weights of the best epoch, in evaluation mode."""
    history: "pandas.DataFrame"
    """One row per finished epoch: epoch, lr, train_loss, valid_loss, valid_auc, seconds,
    images_per_second."""
    best_epoch: int
    """Counted from 1; 0 if no epoch was finished."""
    run_dir: Path
    checkpoint: Path | None
    """The folder of the best weights, for `Detector.load`; None if no epoch was finished."""
    stopped: str
    """Why it ended: ``"finished"``, ``"early"`` (no progress for `patience` epochs) or ``"interrupted"``."""


@dataclass(frozen=True)
class Settings:
    """What determines the outcome of a run; a run can only be resumed under the settings it was started
    with."""

    epochs: int
    batch_size: int
    crop: int
    lr: float
    weight_decay: float
    augment: Any
    label_smoothing: float
    seed: int
    patience: int | None
    ema: float
    grad_clip: float
    preprocessing: Any
    architecture: str
    model: dict[str, Any]
    train: str
    valid: str

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("crop", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise TrainingError(f"fit: {name}={value!r} must be a whole number of {least} or more.")
        for name in ("lr", "weight_decay"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise TrainingError(f"fit: {name}={value!r} must be a number of 0 or more.")
        if not 0 <= self.ema < 1:
            raise TrainingError(f"fit: ema={self.ema!r} must be 0 (off) or a decay below 1, such as 0.99.")
        if not 0 <= self.label_smoothing < 1:
            raise TrainingError(
                f"fit: label_smoothing={self.label_smoothing!r} must be from 0 to less than 1."
            )
        if self.grad_clip is None or not self.grad_clip > 0:
            raise TrainingError(f"fit: grad_clip={self.grad_clip!r} must be above 0; math.inf clips nothing.")


def keep_freed_memory() -> bool:
    """On Linux: memory that this process frees stays with it, to be used again; True if that was arranged.

    A training step frees some hundred megabytes of feature maps, and the next one asks for as many. The C
    library (glibc) hands large pieces back at once; then the system fills each page with zeros anew, which
    took up to a fifth of a step. Pieces above 256 MB are still handed back. See mallopt(3).
    """
    trim_threshold, mmap_threshold = -1, -3  # the numbers of these settings in malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another system, or another C library
        return False
    return bool(mallopt(mmap_threshold, 256_000_000) and mallopt(trim_threshold, 2**31 - 1))


# ---------------------------------------------------------------------------------------------- the function
def fit(
    model: nn.Module,
    train: Any,
    valid: Any = None,
    *,
    run_dir: str | Path,
    epochs: int = 10,
    batch_size: int = 32,
    crop: int = 64,
    lr: float = 3e-3,
    weight_decay: float = 0.05,
    augment: str | Augment | None = "light",
    label_smoothing: float = 0.0,
    seed: int = 0,
    device: str | torch.device | None = None,
    amp: bool | None = None,
    compile: bool = False,
    channels_last: bool = True,
    patience: int | None = None,
    ema: float = 0.0,
    grad_clip: float = 1.0,
    preprocessing: Preprocessing | None = None,
    resident: bool | None = None,
    resume: bool = True,
    progress: bool = True,
) -> FitResult:
    """Train `model` to give the logit of *fake*; returns a `FitResult` with the best weights in the model.

    model: images B x 3 x H x W, float32, normalised -> logits (B,).
    train, valid: data sets with ``len``, ``uint8(i)``, ``labels`` (1 = fake) and ``paths``, such as
        ``sets.train``. Without `valid` the last epoch counts as the best.
    run_dir: the folder of this run. If it holds a run that was begun with the same settings, that run is
        continued; one begun with others raises `CheckpointError` and says which setting differs.
    crop: side of the random training crops; validation sees what `preprocessing` shows (default: whole
        images).
    lr: the highest learning rate of a one-cycle schedule; weight_decay: AdamW's, not applied to norms and
        biases.
    augment: "light", "strong", None or an `Augment`.
    device: None takes CUDA if there is any, else Apple's MPS, else the CPU.
    amp: mixed precision; None switches it on for CUDA only. bfloat16 where the device computes in it, else
        float16 with loss scaling. A CPU without bfloat16 units gets slower by it.
    compile: `torch.compile` the network; pays in long runs only (40 s and more of compiling).
    patience: stop after so many epochs without a better validation AUC (or the same AUC and a lower loss).
    ema: decay of a moving average of the weights, which is then validated and saved instead; 0 is off.
    grad_clip: longest gradient, as a norm over all weights.
    resident: keep all training images on the device as uint8 and cut the crops there. None does so on CUDA
        where they fit, unless `augment` makes JPEGs, which needs the CPU. The crops are the same.
    resume: False throws away what is in run_dir and starts over.

    If a batch does not fit into memory it is halved, and gradients are added up over the parts. An interrupt
    (Ctrl-C, or the stop button) is answered with the best weights so far; call `fit` again to go on.

    Started by ``torchrun``, all processes train this one network together, each on its share of every batch
    of `batch_size` images; the result is that of one process, up to rounding. See `distributed`.

    Raises `CheckpointError`, `DataError`, `TrainingError`, `TeamError`, each with one sentence.
    """
    if not isinstance(model, nn.Module):
        raise TrainingError(f"fit needs a network, such as facenest(), not {str(model)[:60]!r}.")
    if not isinstance(run_dir, (str, os.PathLike)):
        raise TrainingError(f"run_dir is the path of a folder, not a {type(run_dir).__name__}.")
    device, run_dir = pick_device(device), Path(run_dir)
    if device.type == "cpu":
        keep_freed_memory()
    preprocessing = preprocessing or Preprocessing()
    augment = Augment.named(augment)
    settings = Settings(
        epochs, batch_size, crop, lr, weight_decay, plain(asdict(augment)), label_smoothing, seed, patience,
        ema, grad_clip, plain(asdict(preprocessing)), architecture_of(model), plain(config_of(model)),
        fingerprint(train, "train"), fingerprint(valid, "valid") if valid is not None else "none",
    )  # fmt: skip
    with join_team(device) as (team, device):
        share = team.share(min(batch_size, len(train)))  # of each batch, what this process works on
        model.to(device, memory_format=torch.channels_last if channels_last else torch.preserve_format)
        optimizer = make_optimizer(model, lr, weight_decay, device)
        average = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True) if ema else None
        )
        stepper = Stepper(
            model, optimizer, device, preprocessing.normalise, amp, compile, grad_clip, label_smoothing,
            channels_last, team,
        )  # fmt: skip

        def begin() -> None:
            state = open_run(run_dir, settings, resume)
            clear_unfinished(run_dir)
            if not state["model"]:  # the first weights are kept too: an interrupt in epoch 1 changes nothing
                state["best"] = copy_weights(model)
                keep(state, model, optimizer, average, stepper)
                save_state(run_dir, state)

        team.only_first(begin)
        state = open_run(run_dir, settings, resume=True)  # what every process starts from
        restore(state, model, optimizer, average, stepper)

        train_labels = np.asarray(train.labels, dtype=np.float32)
        pictures = on_device(train, device, resident, augment)
        steps = max(1, len(train) // batch_size)  # images that do not fill a batch wait for the next epoch
        judged = average.module if average is not None else model
        board = open_board(run_dir, state["epoch"]) if team.first else None
        shown = progress_bar(epochs * steps, state["epoch"] * steps, progress and team.first)
        with repeatable(device), whole_batch(model, team), shown as bar:
            try:
                while not state["stopped"]:
                    epoch, start = state["epoch"], time.perf_counter()
                    model.train()
                    losses: list[torch.Tensor] = []
                    for step, indices in enumerate(epoch_order(len(train), batch_size, seed, epoch)):
                        set_lr(optimizer, one_cycle(epoch * steps + step, epochs * steps, lr))
                        generator = seed_everything(seed, epoch, step)
                        images = training_batch(pictures, indices, crop, augment, generator, share)
                        labels = torch.as_tensor(train_labels[indices[share]])
                        check_loss(losses, epoch, epochs)  # of the step before: a GPU had time to finish it
                        losses.append(stepper(images, labels))
                        if average is not None:
                            average.update_parameters(model)
                        bar.update(1)
                    check_loss(losses, epoch, epochs)
                    seconds = time.perf_counter() - start
                    row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
                    row["train_loss"] = torch.stack(losses).double().mean().item()
                    if team.first:
                        row |= validate(judged, valid, preprocessing, batch_size) if valid is not None else {}
                        row |= {
                            "seconds": seconds,
                            "images_per_second": steps * min(batch_size, len(train)) / seconds,
                        }
                        shown_now = {k: v for k, v in row.items() if k.endswith(("loss", "auc"))}
                        bar.set_postfix({k: f"{v:.3f}" for k, v in shown_now.items()})
                        finish_epoch(state, row, judged, patience, epochs)
                        keep(state, model, optimizer, average, stepper)
                        save_state(run_dir, state)
                        report(board, row)
                        if state["best_epoch"] == epoch + 1:
                            save_best(run_dir, state, judged, preprocessing)
                    verdict = {key: state[key] for key in ("epoch", "stopped")}
                    state |= team.only_first(lambda verdict=verdict: verdict)
            except KeyboardInterrupt:
                state["stopped"] = "interrupted"
                if team.first:
                    bar.write(
                        f"Interrupted in epoch {state['epoch'] + 1} of {epochs}; the {state['epoch']} "
                        f"finished before it are kept in {run_dir}. Call fit again with the same settings "
                        "to go on from there."
                    )
            finally:
                if board is not None:
                    board.close()
        if not team.first:  # the file says what rank 0 found out
            state = open_run(run_dir, settings, resume=True) | {"stopped": state["stopped"]}
        return finish(state, model, preprocessing, run_dir, write=team.first)


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for, or else the first there is of CUDA, Apple's MPS and the CPU."""
    if device is None:
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
        else:
            device = "cpu"
    try:
        device = torch.device(device)
        if device.type == "meta":
            raise NotImplementedError("it knows shapes, and computes nothing")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".")
        raise TrainingError(f"device={str(device)!r} cannot be used here ({first}); try 'cpu'.") from None
    return device


# ------------------------------------------------------------------------------------------------ randomness
def epoch_order(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The images of one epoch in batches of indices: shuffled by (seed, epoch), all batches full."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    size = min(batch_size, n)
    for start in range(0, n - size + 1, size):
        yield order[start : start + size]


def seed_everything(seed: int, epoch: int, step: int) -> torch.Generator:
    """Seed torch (dropout), and return a generator for the images, both from (seed, epoch, step) alone."""
    for_torch, for_images = np.random.SeedSequence([seed, epoch, step]).generate_state(2).tolist()
    if torch.accelerator.is_available():
        torch.manual_seed(for_torch)
    else:  # that would go and look for every kind of device, in each step
        torch.default_generator.manual_seed(for_torch)
    return torch.Generator().manual_seed(for_images)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as they were, whatever is drawn inside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


# -------------------------------------------------------------------------------------------------- one step
def make_optimizer(
    model: nn.Module, lr: float, weight_decay: float, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019); norms and biases, whose size means something by itself, do not
    decay."""
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    rest = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise TrainingError(
            "fit: the network has no weights to train; are they all frozen (requires_grad=False)?"
        )
    # Many tensors are updated by one call. On the CPU (`foreach`) not a bit of the result changes by that.
    fused, foreach = device.type == "cuda" or None, device.type == "cpu" or None
    return torch.optim.AdamW(groups, lr=lr, fused=fused, foreach=foreach)


def one_cycle(step: int, total: int, peak: float, warm: float = 0.3) -> float:
    """The learning rate at a step: peak/25 -> peak -> peak/250,000 in two cosines (Smith & Topin 2018).

    The same numbers as `torch.optim.lr_scheduler.OneCycleLR`, as a function of the step alone, so that
    resuming needs no state; and without its division by zero when ``warm * total`` is 1.
    """
    top = max(warm * total - 1, 1.0)
    if step <= top:
        low, high, part = peak / 25, peak, step / top
    else:
        low, high, part = peak, peak / 25e4, (step - top) / max(total - 1 - top, 1e-9)
    return high + (low - high) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


class Stepper:
    """One training step: forward, backward, clip, update. Calling it returns the loss as a tensor, not yet
    awaited.

    `parts` says into how many pieces a batch is cut; it doubles whenever memory runs out.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        prepare: Callable[[torch.Tensor], torch.Tensor],
        amp: bool | None = None,
        compile: bool = False,
        grad_clip: float = 1.0,
        label_smoothing: float = 0.0,
        channels_last: bool = True,
        team: Team | None = None,
    ) -> None:
        self.team = team or Team()
        self.model, self.optimizer, self.device = model, optimizer, device
        self.forward = torch.compile(model) if compile else model
        self.prepare, self.grad_clip, self.label_smoothing = prepare, grad_clip, label_smoothing
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.amp = device.type == "cuda" if amp is None else amp
        self.dtype = half_type(device)
        # float16 has a small range: its gradients are scaled up before, and down after. A no-op otherwise.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp and self.dtype == torch.float16)
        self.parts = 1

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        while True:
            try:
                loss = self.gradients(images, labels)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            self.make_room(len(images))
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def gradients(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Gradients of the batch's mean loss, added up over its parts and over the team; returns that loss.

        images, labels: this process's share of the batch."""
        batch = len(images) * self.team.size
        self.optimizer.zero_grad(set_to_none=True)
        targets = labels * (1 - self.label_smoothing) + self.label_smoothing / 2
        total = torch.zeros((), device=self.device)
        for x, y in zip(images.tensor_split(self.parts), targets.tensor_split(self.parts), strict=True):
            x, y = to_device(x, self.device), to_device(y, self.device)
            x = self.prepare(x).contiguous(memory_format=self.layout)
            with torch.autocast(self.device.type, self.dtype, enabled=self.amp):
                logits = fake_logits(self.forward(x), len(x))
            # The loss in float32 always: a logarithm of something small is no place for half precision.
            loss = F.binary_cross_entropy_with_logits(logits.float(), y) * (len(x) / batch)
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.team.add_up([*(p.grad for p in self.model.parameters() if p.grad is not None), total])
        return total

    def make_room(self, batch: int) -> None:
        """After running out of memory: halve the parts, and say so."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.team.size > 1:  # the others are waiting inside this step, so it cannot be begun again
            raise AloneError(
                f"Process {self.team.rank + 1} of {self.team.size} ran out of memory with {batch} images; "
                "use a smaller batch_size, crop or network."
            )
        if batch // (self.parts * 2) < 2:
            raise TrainingError(
                f"Out of memory even with {math.ceil(batch / self.parts)} images at a time; use a smaller "
                "crop or network."
            )
        self.parts *= 2
        tell(
            f"Out of memory: each batch of {batch} is now computed in {self.parts} parts of about "
            f"{batch // self.parts}, "
            "their gradients added up, so the training stays the same but for batch norm's averages."
        )


def half_type(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it; float16 on older GPUs (such as Colab's T4) and Apple's."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.float16 if device.type == "mps" else torch.bfloat16


def to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy to the device; to CUDA from pinned memory, without waiting for the copy to end."""
    if x.device.type == device.type:
        return x
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether this is what torch raises when CUDA, MPS or the CPU has no memory left."""
    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def check_loss(losses: list[torch.Tensor], epoch: int, epochs: int) -> None:
    """Raise `TrainingError` if the last of these losses is NaN or infinite."""
    if losses and not math.isfinite(value := losses[-1].item()):
        raise TrainingError(
            f"The loss became {value} in epoch {epoch + 1} of {epochs}, step {len(losses)}: the training "
            "has diverged; "
            "try a lower lr (a third, say), or amp=False."
        )


# ---------------------------------------------------------------------------------- images kept on the device
class Resident:
    """A data set's images as one uint8 tensor N x 3 x H x W on a device; `uint8(i)` is a view into it."""

    def __init__(self, dataset: Any, device: torch.device) -> None:
        shape = dataset.uint8(0).shape
        self.images = torch.empty(len(dataset), *shape, dtype=torch.uint8, device=device)
        for i in range(len(dataset)):
            image = dataset.uint8(i)
            if image.shape != shape:
                raise DataError(
                    f"Image {i} is {list(image.shape)} and image 0 is {list(shape)}: only images of one size "
                    "can be kept on the device; pass resident=False."
                )
            self.images[i] = image

    def uint8(self, i: int) -> torch.Tensor:
        return self.images[i]


def on_device(dataset: Any, device: torch.device, resident: bool | None, augment: Augment) -> Any:
    """The data set itself, or its images kept on the device: if `resident`, or if None where that pays and
    fits."""
    if resident is None:
        if device.type != "cuda" or augment.jpeg:
            return dataset
        free, _ = torch.cuda.mem_get_info(device)
        if len(dataset) * dataset.uint8(0).nbytes > free // 2:  # the other half is for the training itself
            return dataset
        try:
            return Resident(dataset, device)
        except DataError:  # images of several sizes
            return dataset
    return Resident(dataset, device) if resident else dataset


# ------------------------------------------------------------------------------------------------ validation
def validate(model: nn.Module, valid: Any, preprocessing: Preprocessing, batch_size: int) -> dict[str, float]:
    """Loss and AUC on the validation set. With images of one class only, the AUC is NaN and the loss
    decides."""
    logits = predict_logits(model, (valid.uint8(i) for i in range(len(valid))), preprocessing, batch_size)
    y = np.asarray(valid.labels, dtype=np.float64)
    loss = float(np.mean(np.logaddexp(0.0, logits) - y * logits))
    auc = fast_auc(y, to_probability(logits)) if 0 < y.sum() < len(y) else math.nan
    return {"valid_loss": loss, "valid_auc": auc}


def finish_epoch(
    state: dict[str, Any], row: dict[str, float], judged: nn.Module, patience: int | None, epochs: int
) -> None:
    """Enter a finished epoch into the state: history, the best so far, and whether to stop."""
    state["history"].append(row)
    state["epoch"] = row["epoch"]
    if is_better(row, state["history"][state["best_epoch"] - 1] if state["best_epoch"] else None):
        state["best_epoch"] = row["epoch"]
        state["best"] = copy_weights(judged)
    if state["epoch"] >= epochs:
        state["stopped"] = "finished"
    elif patience is not None and state["epoch"] - state["best_epoch"] >= patience:
        state["stopped"] = "early"


def is_better(row: dict[str, float], best: dict[str, float] | None) -> bool:
    """A higher validation AUC; at the same AUC (to 0.0001) a lower loss; without validation, the later
    epoch."""
    if best is None or "valid_loss" not in row:
        return True
    gain = row["valid_auc"] - best["valid_auc"]
    return gain > 1e-4 or (not gain < -1e-4 and row["valid_loss"] < best["valid_loss"])


# ------------------------------------------------------------------------------------------------ run folder
def fingerprint(dataset: Any, what: str) -> str:
    """A short text that tells one data set from another: its size, and a hash of its file names and
    labels."""
    require_data_set(dataset)
    n, labels = len(dataset), np.asarray(dataset.labels)
    if n < 2:
        raise DataError(f"fit: the {what} set has {n} images; it needs at least two.")
    if len(labels) != n or not np.isin(labels, (0, 1)).all():
        raise DataError(f"fit: the {what} set needs one label per image, 0 (real) or 1 (fake).")
    names = [Path(path).name for path in getattr(dataset, "paths", [])]
    digest = hashlib.sha256(json.dumps([names, labels.tolist()]).encode()).hexdigest()[:12]
    return f"{n} images, {digest}"


def open_run(run_dir: Path, settings: Settings, resume: bool) -> dict[str, Any]:
    """The state of the run in this folder, or of a new one."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{run_dir}: the run folder cannot be made ({reason(error)}); choose another run_dir"
        ) from error
    path, wanted = run_dir / STATE, plain(asdict(settings))
    if not resume or not path.exists():
        clear_run(run_dir)
        return {"settings": wanted, "epoch": 0, "history": [], "best_epoch": 0, "model": {}, "stopped": ""}
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["settings"]
    except Exception as error:  # on a damaged file the unpickler may raise almost anything
        raise CheckpointError(
            f"{path}: the state of this run cannot be read; delete it or pass resume=False to start over"
        ) from error
    for key, value in wanted.items():
        if found.get(key) != value:
            raise CheckpointError(
                f"{run_dir}: this run was begun with {difference(key, found.get(key), value)}; use the same "
                "settings to "
                "continue it, another run_dir, or resume=False to throw it away and start over"
            )
    return state


def clear_run(run_dir: Path) -> None:
    """Delete what an earlier run left in this folder, and nothing else."""
    try:
        for old in [run_dir / STATE, run_dir / HISTORY, *run_dir.glob("events.out.tfevents.*")]:
            if old.exists():  # a read-only disk also refuses to delete what is not there
                old.unlink(missing_ok=True)
        if (run_dir / BEST).exists():
            shutil.rmtree(run_dir / BEST)
    except OSError as error:
        raise CheckpointError(
            f"{run_dir}: the earlier run in it cannot be deleted ({reason(error)}); choose another run_dir"
        ) from error


def clear_unfinished(run_dir: Path) -> None:
    """Delete what a process that was killed while it wrote left under names of its own."""
    for name in (STATE, HISTORY, BEST):
        for left in [*run_dir.glob(f".{name}.new-*"), *run_dir.glob(f".{name}.old-*")]:
            shutil.rmtree(left, ignore_errors=True)
            with suppress(OSError):
                left.unlink(missing_ok=True)


def difference(key: str, old: Any, new: Any) -> str:
    """``"lr=0.003 and is now asked for lr=0.001"``, going into dictionaries."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*new, *old]:
            if old.get(name) != new.get(name):
                return difference(f"{key}.{name}", old.get(name), new.get(name))
    return f"{key}={old!r} and is now asked for {key}={new!r}"


def copy_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a model's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def keep(
    state: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel | None,
    stepper: Stepper,
) -> None:
    """Put everything into the state that the next epoch depends on."""
    state["model"] = model.state_dict()
    state["optimizer"] = optimizer.state_dict()
    state["average"] = average.state_dict() if average is not None else {}
    state["scaler"] = stepper.scaler.state_dict()
    state["parts"] = stepper.parts


def restore(
    state: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel | None,
    stepper: Stepper,
) -> None:
    """The reverse of `keep`."""
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        if state["scaler"]:
            stepper.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            "The saved run is of another network than this one; build the same network, use another "
            "run_dir, or pass "
            "resume=False to start over"
        ) from error
    stepper.parts = state["parts"]


def save_state(run_dir: Path, state: dict[str, Any]) -> None:
    """Replace state.pt and history.csv, each as a whole."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_file(run_dir / STATE, buffer.getvalue())
    save_history(run_dir, state)


def save_history(run_dir: Path, state: dict[str, Any]) -> None:
    """Make history.csv say what the state says."""
    path, content = run_dir / HISTORY, history_table(state).to_csv(index=False).encode()
    if not path.exists() or path.read_bytes() != content:
        write_file(path, content)


def save_best(run_dir: Path, state: dict[str, Any], model: nn.Module, preprocessing: Preprocessing) -> Path:
    """Save the network, which now has the best weights, as the checkpoint folder ``best``."""
    row = state["history"][state["best_epoch"] - 1]
    training = {**state["settings"], "best_epoch": state["best_epoch"], "torch": torch.__version__}
    metrics = {key: row[key] for key in ("train_loss", "valid_loss", "valid_auc") if key in row}
    return save_checkpoint(
        run_dir / BEST, model, preprocessing=preprocessing, metrics=metrics, training=training
    )


def finish(
    state: dict[str, Any], model: nn.Module, preprocessing: Preprocessing, run_dir: Path, write: bool = True
) -> FitResult:
    """The best weights into the model, and the result; with `write`, also what a process that was killed
    right after its last state could no longer write: the last row, the checkpoint."""
    model.load_state_dict(state["best"])
    if write:
        save_history(run_dir, state)
    checkpoint = None
    if state["best_epoch"]:
        checkpoint = run_dir / BEST
        if write and best_on_disk(checkpoint) != state["best_epoch"]:  # killed between state and checkpoint
            save_best(run_dir, state, model, preprocessing)
    return FitResult(
        model.eval(), history_table(state), state["best_epoch"], run_dir, checkpoint, state["stopped"]
    )


def best_on_disk(folder: Path) -> int:
    """The epoch that the checkpoint ``best`` is from; 0 if there is none."""
    try:
        return int(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["training"]["best_epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def history_table(state: dict[str, Any]) -> "pandas.DataFrame":
    """The history as a table, one row per epoch."""
    import pandas

    columns = ["epoch", "lr", "train_loss", "valid_loss", "valid_auc", "seconds", "images_per_second"]
    return pandas.DataFrame(state["history"], columns=columns)


# -------------------------------------------------------------------------------------------------- progress
def progress_bar(total: int, done: int, show: bool) -> Any:
    """A bar over all steps of the run, in a notebook or a terminal."""
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, disable=not show, unit="step", desc="training")


def open_board(run_dir: Path, epoch: int) -> Any:
    """A TensorBoard writer into the run folder, or None where there is no TensorBoard or no writing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    try:
        return SummaryWriter(str(run_dir), purge_step=epoch + 1)
    except OSError:  # a read-only folder: a finished run can be read; to go on, the state must be written
        return None


def report(board: Any, row: dict[str, float]) -> None:
    """Write one epoch's numbers for TensorBoard."""
    if board is not None:
        for key, value in row.items():
            if key != "epoch":
                board.add_scalar(key, value, row["epoch"])
        board.flush()


def tell(sentence: str) -> None:
    """Say something without breaking the progress bar."""
    from tqdm.auto import tqdm

    tqdm.write(sentence)
