"""Several processes, one training: what `fit` does when ``torchrun`` has started it more than once.

    torchrun --nproc_per_node=2 -m course_lib train --data studio --run-dir runs/two

Every process, a *rank*, holds the whole network and computes on its share of each batch. The promise is that
N processes make the same training as one, up to rounding. Four things have to be right for that:

- each rank takes its slice of the *same* batch (`Team.share`);
- the gradient is the sum over all ranks (`Team.add_up`): one message a step;
- batch norm normalises by the mean and the variance of the *whole* batch (`joint_batch_norm`), not of one
  rank's share, as it would if left alone;
- dropout drops what it would have dropped in the whole batch (`joint_dropout`).

Rank 0 alone judges, prints and writes. The messages go over NCCL between GPUs and over gloo between CPUs; all
of it is the same code on both. (`torch.nn.SyncBatchNorm` does the third, on GPUs only.)
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from .errors import CourseError

PATIENCE = timedelta(hours=2)
"""How long a rank waits for the others: they must not give up while rank 0 judges a large validation set."""

A_MOMENT = 5.0
"""Seconds in which rank 0 can say what is wrong, before another rank ends, or says it in its stead."""


class TeamError(CourseError):
    """The processes that torchrun started cannot train together; each of them raises it."""


class AloneError(TeamError):
    """Trouble that one process has and the others do not know of."""


@dataclass(frozen=True)
class Team:
    """The processes of one training. A team of one, ``Team()``, sends no messages at all."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that judges, prints and writes."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This rank's part of a batch: ranks take equal slices, in order."""
        if batch % self.size or batch < 2 * self.size:
            fits = max(2, batch // self.size) * self.size
            raise TeamError(
                f"A batch of {batch} images cannot be shared equally by {self.size} processes, two or more "
                f"each; choose a multiple of {self.size} for batch_size, such as {fits}."
            )
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def only_first(self, work: Callable[[], Any]) -> Any:
        """Rank 0 does it; every rank gets what came of it, or the same `CourseError`, and none goes on
        before."""
        if self.size == 1:
            return work()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = work()
            except CourseError as error:
                told[1] = str(error)
        dist.broadcast_object_list(told, src=0)
        if told[1] is not None:
            raise TeamError(told[1])
        return told[0]

    def add_up(self, tensors: list[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, in place, with one message for all of them."""
        if self.size == 1:
            return
        message = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        dist.all_reduce(message)
        for tensor, piece in zip(tensors, message.split([t.numel() for t in tensors]), strict=True):
            tensor.detach().copy_(piece.view(tensor.shape))


@contextmanager
def join_team(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """The team that torchrun started this process for, and this rank's device; a team of one without
    torchrun.

    Within an outer `join_team` the same team again. Raises `TeamError` in one sentence if the environment is
    not that of torchrun, or if there are more processes than GPUs.
    """
    if dist.is_available() and dist.is_initialized():
        yield Team(dist.get_rank(), dist.get_world_size()), own_device(device)
        return
    rank, size = number("RANK", 0), number("WORLD_SIZE", 1)
    if size == 1:
        yield Team(), device
        return
    if not {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys() or rank >= size:
        raise TeamError(
            f"WORLD_SIZE={size} says that this is one of {size} processes, but the rest of what torchrun "
            "sets is missing or wrong; start with: torchrun --nproc_per_node=2 -m course_lib train ..."
        )
    if not dist.is_available():
        raise TeamError("This build of PyTorch cannot train in several processes; start it without torchrun.")
    device = own_device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team(rank, size), device
    except RuntimeError as error:
        if not connection_lost(error):
            raise
        raise TeamError(
            f"Process {rank + 1} of {size} lost the others at work; whichever stopped first "
            "says why. What was finished is kept: the same command goes on from there."
        ) from error
    finally:
        dist.destroy_process_group()


@contextmanager
def one_voice(team: Team) -> Iterator[None]:
    """Within it, a `CourseError` of another rank than 0 is `AloneError` unless rank 0 has it, too.

    If rank 0 has it, it says so and ends, and torchrun ends this process while it waits. If not, rank 0 is at
    work and waits for this one, so this one has to speak. Torchrun ends all processes as soon as one has
    failed; that is why a rank that leaves at once, without a word, could leave everybody without one.
    """
    try:
        yield
    except CourseError as error:
        if team.first or isinstance(error, AloneError):
            raise
        time.sleep(A_MOMENT)
        raise AloneError(f"Process {team.rank + 1} of {team.size}: {error}") from error


def connection_lost(error: RuntimeError) -> bool:
    """Whether this is what gloo or NCCL raise when another process is gone."""
    words = ("connection closed", "connection reset", "broken pipe", "peer closed", "connection was aborted")
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in words)


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs the one that belongs to this rank; on a CPU, the CPU."""
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise TeamError(f"Several processes train on CUDA or on the CPU, not on {device.type}; use one.")
    needed, there = number("LOCAL_WORLD_SIZE", 1), torch.cuda.device_count()
    if needed > there or device.index is not None:
        raise TeamError(
            f"Each process needs a GPU of its own; {needed} were started here, and there are {there} GPUs: "
            f"use --nproc_per_node={there} or less, and give the device as 'cuda', without a number."
        )
    return torch.device("cuda", number("LOCAL_RANK", 0))


def number(variable: str, default: int) -> int:
    """A whole number from an environment variable."""
    text = os.environ.get(variable, "").strip() or str(default)
    if not text.isdigit():
        raise TeamError(f"The environment variable {variable} is {text!r}, and torchrun sets a whole number.")
    return int(text)


# ------------------------------------------------------------------------ layers that look at the whole batch
@contextmanager
def whole_batch(model: nn.Module, team: Team) -> Iterator[None]:
    """Within it, batch norm and dropout of `model` treat the shares of all ranks as one batch."""
    changed = []
    if team.size > 1:
        for module in model.modules():
            joint = {_BatchNorm: joint_batch_norm, _DropoutNd: joint_dropout}
            for kind, forward in joint.items():
                if isinstance(module, kind):
                    module.forward = partial(forward, module, team)
                    changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward  # the class's own shows again


class SumOverRanks(torch.autograd.Function):
    """y = the sum of every rank's x. Each y depends on each x alike, so the gradients are added up, too."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        total = slope.clone()
        dist.all_reduce(total)
        return total


def joint_moments(mean: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of a whole from those of its equal parts (parts x C, variances without correction).

    The variance of the whole is the mean variance *within* the parts and the variance *between* their means.
    """
    whole = mean.mean(0)
    return whole, variance.mean(0) + (mean - whole).square().mean(0)


def joint_batch_norm(norm: _BatchNorm, team: Team, x: torch.Tensor) -> torch.Tensor:
    """Batch norm of B x C (x H x W) by the moments of all ranks' shares; they are of equal size."""
    if not norm.training:
        return type(norm).forward(norm, x)
    values = x.float()
    axes = [axis for axis in range(x.ndim) if axis != 1]
    variance, mean = torch.var_mean(values, axes, correction=0)
    # Every rank's row of a table, zeros in the others' rows: the sum is the table of all of them.
    table = values.new_zeros(team.size, 2, x.shape[1])
    table[team.rank] = torch.stack([mean, variance])
    mean, variance = joint_moments(*SumOverRanks.apply(table).unbind(1))
    if norm.running_mean is not None:
        count = team.size * values.numel() // x.shape[1]
        norm.num_batches_tracked += 1
        pace = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.lerp_(mean.to(norm.running_mean), pace)
            norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var), pace)
    gain = torch.rsqrt(variance + norm.eps)
    gain = gain if norm.weight is None else gain * norm.weight
    shift = -mean * gain if norm.bias is None else norm.bias - mean * gain
    shape = [1, -1, *[1] * (x.ndim - 2)]
    return (values * gain.view(shape) + shift.view(shape)).to(x.dtype)


def joint_dropout(dropout: _DropoutNd, team: Team, x: torch.Tensor) -> torch.Tensor:
    """Dropout by this rank's rows of the mask that the whole batch would have drawn."""
    if not dropout.training:
        return type(dropout).forward(dropout, x)
    mask = type(dropout).forward(dropout, x.new_ones(team.size * len(x), *x.shape[1:]))
    return x * mask[team.rank * len(x) : (team.rank + 1) * len(x)]
