"""The exercises of Part 4, "Train and judge" (lessons 14 and 15): what each answer must do to be correct."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .checks import NotAttempted, NotYet, as_array, blank, describe, equal, exercise, run

# ---- lesson 14: explain it ----


def integrated_gradients_reference(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, baseline: torch.Tensor, steps: int
) -> torch.Tensor:
    """The mean slope at the middles of `steps` equal pieces of the way from baseline to x, times the way."""
    total = torch.zeros_like(x)
    for k in range(steps):
        place = (baseline + (k + 0.5) / steps * (x - baseline)).requires_grad_()
        total += torch.autograd.grad(f(place), place)[0]
    return (x - baseline) * total / steps


def _tilted(x: torch.Tensor) -> torch.Tensor:
    return 2 * x[0] - x[1] + 3 * x[3]


def _either(x: torch.Tensor) -> torch.Tensor:
    return 1 - torch.relu(1 - x.sum())


def _curved(x: torch.Tensor) -> torch.Tensor:
    return (x[0] * x[1]).sum() + x[1].square().sum()


def _cubed(x: torch.Tensor) -> torch.Tensor:
    return x.pow(3).sum()  # its slopes bend, so only the middles of the pieces give the middles' mean


@exercise
def integrated_gradients(mine: Any) -> None:
    """Lesson 14: ``mine(f, x, baseline, steps)``: f gives one number -> what each entry of x adds to it."""
    line = torch.tensor([1.0, 2.0, 3.0, -1.0])
    picture = torch.arange(12.0).reshape(2, 2, 3) / 4 - 1
    cases = [
        ("2a − b + 3d", _tilted, line, torch.zeros(4), 1),
        ("2a − b + 3d", _tilted, line, torch.tensor([1.0, 0.0, 5.0, 1.0]), 3),
        ("1 − relu(1 − a − b)", _either, torch.ones(2), torch.zeros(2), 4),
        ("1 − relu(1 − a − b)", _either, torch.tensor([0.5, 1.0]), torch.zeros(2), 6),
        ("a curved function", _curved, picture, torch.zeros_like(picture), 5),
        ("a curved function", _curved, picture, torch.full_like(picture, 0.5), 8),
        ("a³ + b³", _cubed, torch.tensor([1.0, 2.0]), torch.zeros(2), 3),
    ]
    answers = [run(mine, f, x, baseline, steps) for _, f, x, baseline, steps in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (name, f, x, baseline, steps), answer in zip(cases, answers, strict=True):
        expected = integrated_gradients_reference(f, x.clone(), baseline, steps)
        given = f"x of shape {tuple(x.shape)}, a baseline of {_told(baseline)}, {steps} steps"
        what = f"for f = {name}, {given} it"
        try:
            equal(answer, expected, what, 1e-4)
        except NotYet as wrong:
            raise NotYet(f"{wrong}{_gradient_slip(answer, expected, f, x, baseline, steps)}") from None


def _told(values: torch.Tensor) -> str:
    shown = str(values.flatten()[:4].tolist()) + ("…" if values.numel() > 4 else "")
    return shown if values.any() else "zeros"


def _gradient_slip(
    answer: Any,
    expected: torch.Tensor,
    f: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    baseline: torch.Tensor,
    steps: int,
) -> str:
    """What went wrong, if it is one of the usual slips."""
    if not isinstance(answer, torch.Tensor) or answer.shape != expected.shape:
        return ""
    way, leaf = x - baseline, x.clone().requires_grad_()
    last = torch.autograd.grad(f(leaf), leaf)[0]

    def rule(shares: torch.Tensor) -> torch.Tensor:
        places = [(baseline + share * way).requires_grad_() for share in shares]
        return way * torch.stack([torch.autograd.grad(f(at), at)[0] for at in places]).mean(dim=0)

    k = torch.arange(steps)
    middles = "take the slopes at the middles of the pieces, (k + 0.5) / steps of the way"
    for guess, words in [
        (expected * steps, "divide the sum of the slopes by the number of steps"),
        (torch.where(way == 0, way, expected / way), "the mean slope is not yet times x − baseline"),
        (last * way, "that is the slope at the end only; take it at the middles of all pieces of the way"),
        (integrated_gradients_reference(f, x, torch.zeros_like(x), steps), "the way begins at the baseline"),
        (-expected, "the sign is the other way round: the way is x − baseline"),
        (rule(k / steps), middles),
        (rule((k + 1) / steps), middles),
        (rule(torch.linspace(0, 1, steps)), middles),
    ]:
        if torch.allclose(answer.detach().to(guess.dtype), guess, atol=1e-4):
            return f": {words}"
    return ""


def grad_cam_reference(features: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """C×h×w maps and the logit's slopes at them -> h×w: relu of the sum of mean slope times map."""
    return torch.relu((slopes.mean(dim=(1, 2), keepdim=True) * features).sum(dim=0))


@exercise
def grad_cam(mine: Any) -> None:
    """Lesson 14: ``mine(features, slopes)``, both C×h×w -> the map h×w."""
    cases = [
        (torch.tensor([[[4.0, 0.0]], [[1.0, 3.0]]]), torch.tensor([[[0.25, 0.25]], [[-0.5, -0.5]]])),
        (torch.tensor([[[4.0, 0.0]], [[1.0, 3.0]]]), torch.tensor([[[0.5, 0.0]], [[0.0, -1.0]]])),
        (torch.rand(3, 4, 5), torch.randn(3, 4, 5)),
        (torch.randn(1, 2, 2), torch.randn(1, 2, 2)),
        (torch.randn(6, 3, 3), torch.randn(6, 3, 3)),
    ]

    def slips(answer: np.ndarray, features: torch.Tensor, slopes: torch.Tensor) -> list[str]:
        alpha = slopes.mean(dim=(1, 2), keepdim=True)
        guesses = [
            ((alpha * features).sum(0), "the last relu is missing"),
            (torch.relu((slopes * features).sum(0)), "average each channel's slopes over the places first"),
            (torch.relu(alpha * features).sum(0), "add up the channels first, then relu"),
            (torch.relu((alpha * features).mean(0)), "add up the channels, do not average them"),
            (
                torch.relu((alpha * features).sum(0)) * slopes[0].numel(),
                "take the mean of the slopes over the places, not their sum",
            ),
            ((alpha * features).sum(0).abs(), "relu sets what is negative to 0; abs does not"),
        ]
        return [words for guess, words in guesses if _near(answer, guess)]

    _judge(mine, grad_cam_reference, cases, slips)


def occlusion_reference(
    f: Callable[[torch.Tensor], Any],
    picture: torch.Tensor,
    window: int,
    stride: int,
    fill: float,
    *,
    sticking_out: bool = False,
    uncovered: bool = True,
) -> torch.Tensor:
    """H×W: the fall of f when a window is filled, averaged over the windows that cover each pixel.

    The two last settings make usual mistakes: windows that stick out at the edge, and windows that pile up.
    """
    before, total, count = float(f(picture)), torch.zeros_like(picture), torch.zeros_like(picture)
    ends = [side if sticking_out else side - window + 1 for side in picture.shape]
    covered = picture.clone()
    for top in range(0, ends[0], stride):
        for left in range(0, ends[1], stride):
            if uncovered:
                covered = picture.clone()
            covered[top : top + window, left : left + window] = fill
            total[top : top + window, left : left + window] += before - float(f(covered))
            count[top : top + window, left : left + window] += 1
    return total / count


def _brightest(picture: torch.Tensor) -> float:
    return float(picture.max())


def _weighed(picture: torch.Tensor) -> float:
    return float((picture * torch.arange(picture.numel()).reshape(picture.shape)).sum())


@exercise
def occlusion(mine: Any) -> None:
    """Lesson 14: ``mine(f, picture, window, stride, fill)``, picture H×W -> H×W."""
    spot = torch.zeros(6, 8)
    spot[2, 5] = 1.0
    cases = [
        (_brightest, spot, 2, 2, 0.0),
        (_weighed, torch.rand(4, 4), 1, 1, 0.0),
        (_weighed, torch.rand(4, 6), 2, 2, 0.5),
        (_weighed, torch.rand(6, 8), 4, 2, 0.0),
        (_brightest, torch.rand(5, 7), 3, 1, 2.0),
    ]

    def slips(answer: np.ndarray, f: Callable, picture: torch.Tensor, *rest: Any) -> list[str]:
        window, stride, fill = rest
        right = occlusion_reference(f, picture, window, stride, fill)
        count = torch.zeros_like(right)
        for top in range(0, picture.shape[0] - window + 1, stride):
            for left in range(0, picture.shape[1] - window + 1, stride):
                count[top : top + window, left : left + window] += 1
        guesses = [
            (-right, "the sign is the other way round: before less after"),
            (right * count, "divide by the number of windows that cover the pixel"),
            (float(f(picture)) - right, "that is the answer with the window covered; the fall is wanted"),
            (occlusion_reference(f, picture, window, stride, 0.0), "fill the window with `fill`"),
            (
                occlusion_reference(f, picture, window, stride, fill, sticking_out=True),
                "a window that would stick out at the edge does not count",
            ),
            (
                occlusion_reference(f, picture, window, stride, fill, uncovered=False),
                "each window begins with the whole picture: .clone() it first",
            ),
        ]
        found = [words for guess, words in guesses if _near(answer, guess)]
        if np.isnan(answer).any() or _near(answer, right):
            found.append(
                "0 / 0 is nan, so no window was counted there; windows begin at 0, stride, 2 · stride …, "
                "the last at side − window if it fits, and count for all their pixels"
            )
        return found

    _judge(mine, occlusion_reference, cases, slips)


def pointing_hit_reference(found: torch.Tensor, mask: torch.Tensor) -> float:
    """The share of the places with the largest value that lie inside the mask."""
    largest = found == found.max()
    return float((largest & mask).sum() / largest.sum())


@exercise
def pointing_hit(mine: Any) -> None:
    """Lesson 14: ``mine(found, mask)``: a map H×W and a bool mask -> 1, 0, or a share for ties."""
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[1:3, 1:3] = True
    inside, outside, flat = torch.rand(4, 5), torch.rand(4, 5), torch.zeros(4, 5)
    inside[2, 1], inside[0, 0], outside[0, 4] = 2.0, -1.0, 2.0
    tie = torch.zeros(4, 5)
    tie[1, 1] = tie[0, 0] = tie[3, 3] = 0.5
    pair = torch.zeros(4, 5)
    pair[1, 1] = pair[3, 3] = 0.5
    named = {
        "a map with its largest value inside the mask": (inside, mask),
        "a map with its largest value outside the mask": (outside, mask),
        "a map whose largest value stands at 3 places, one of them inside the mask,": (tie, mask),
        "a map whose largest value stands at 2 places, one of them inside the mask,": (pair, mask),
        "a map of zeros": (flat, mask),
        "a map with its largest value outside the mask, and below 0 inside,": (-inside, mask),
        "a map of 5 × 4 with its largest value outside the mask": (outside.T, mask.T),
    }

    def slips(answer: np.ndarray, found: torch.Tensor, mask: torch.Tensor) -> list[str]:
        right, first = pointing_hit_reference(found, mask), float(mask.flatten()[found.argmax()])
        guesses = [
            (first, "several places share the largest value, and argmax takes the first of them"),
            ((mask & (found == found.max())).sum(), "divide by how many places hold the largest value"),
            (
                right if right in (0, 1) else answer.round(),
                "if several places share the largest value, give the share of them inside",
            ),
        ]
        return [words for guess, words in guesses if _near(answer, guess)]

    _judge(mine, pointing_hit_reference, list(named.values()), slips, list(named))


def _near(answer: np.ndarray, guess: Any) -> bool:
    guess = np.asarray(guess, dtype=np.float64)
    return answer.shape == guess.shape and np.allclose(answer, guess, atol=1e-4)


def _judge(
    mine: Any,
    reference: Callable,
    cases: list[tuple],
    slips: Callable[..., list[str]],
    names: list[str] | None = None,
) -> None:
    """`agrees`, with the name of a usual slip after the first wrong case, if it explains every answer.

    slips: the words of all usual slips that would give this answer in this case.
    """
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    names = names or [f"({', '.join(describe(x) for x in case if not callable(x))})" for case in cases]
    for name, case, answer in zip(names, cases, answers, strict=True):
        try:
            equal(answer, run(reference, *case), f"for {name} it", 1e-4)
        except NotYet as wrong:
            raise NotYet(f"{wrong}{_slip_everywhere(answers, cases, slips)}") from None


def _slip_everywhere(answers: list, cases: list[tuple], slips: Callable[..., list[str]]) -> str:
    """The first slip that explains the answers of all cases; one case alone often fits several."""
    if any(blank(answer) for answer in answers):
        return ""
    try:
        found = [slips(as_array(a, "it"), *case) for a, case in zip(answers, cases, strict=True)]
    except NotYet:  # something else than numbers: `equal` has said so, or will once this case is right
        return ""
    common = [words for words in found[0] if all(words in other for other in found)]
    return f": {common[0]}" if common else ""


# ---- lesson 15: transfer learning ----


def small_body(seed: int = 0) -> nn.Sequential:
    """A body as a pretrained network has one: two convolutions with batch norms that have seen data."""
    generator = torch.Generator().manual_seed(seed)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.BatchNorm2d(5),
    )
    with torch.no_grad():
        for value in body.state_dict().values():
            if value.is_floating_point():
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return body


def frozen_features_reference(body, images, batch_size):
    was_training = body.training
    body.eval()
    with torch.no_grad():
        found = torch.cat([body(batch).mean(dim=(2, 3)) for batch in images.split(batch_size)])
    body.train(was_training)
    return found


@exercise
def frozen_features(mine):
    """mine(body, images, batch_size) -> N x C: the means over places of body(images), in batches, frozen."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    generator = torch.Generator().manual_seed(1)
    for number, batch_size, training in ((6, 2, True), (7, 3, False), (5, 8, True)):
        body, images = small_body(number).train(training), torch.randn(number, 3, 8, 8, generator=generator)
        before = copy.deepcopy(body.state_dict())
        expected = frozen_features_reference(body, images, batch_size)
        seen = []
        body.register_forward_pre_hook(
            lambda module, given, seen=seen: seen.append(
                (len(given[0]), torch.is_grad_enabled(), module[1].training or module[4].training)
            )
        )
        answer = mine(body, images.clone(), batch_size)
        what = f"for {number} images in batches of {batch_size} it"
        if blank(answer):
            if number != 6:  # the first case had an answer
                raise NotYet(f"{what} gives {answer!r}")
            raise NotAttempted
        if any(in_training for *_, in_training in seen):
            raise NotYet(
                "body looked at images in training mode, so batch norm used the statistics of the batch "
                "(and changed its own): call body.eval() first"
            )
        moved = [name for name, value in body.state_dict().items() if not torch.equal(value, before[name])]
        if moved:
            raise NotYet(f"body is to stay as it was, and its {moved[0]!r} has changed")
        equal(answer, expected, what)
        if max((size for size, *_ in seen), default=0) > batch_size:
            largest = max(size for size, *_ in seen)
            raise NotYet(f"{what} showed body {largest} images at once; at most {batch_size} fit in memory")
        if len(seen) > -(-number // batch_size):
            raise NotYet(
                f"{what} called body {len(seen)} times; {-(-number // batch_size)} batches are enough"
            )
        if any(grad for _, grad, _ in seen) or getattr(answer, "requires_grad", False):
            raise NotYet(
                "body ran with gradients recorded, which costs memory for nothing: use torch.no_grad()"
            )


def freeze_reference(body):
    for parameter in body.parameters():
        parameter.requires_grad_(False)
    return body.eval()


@exercise
def freeze(mine):
    """mine(body): afterwards no parameter of it learns, and its batch norms keep their statistics."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    for seed in (0, 1):
        body = small_body(seed).train()
        before = copy.deepcopy(body.state_dict())
        answer = mine(body)
        values = body.state_dict()
        changed = [
            name for name in before if name not in values or not torch.equal(values[name], before[name])
        ]
        if changed:
            raise NotYet(f"{changed[0]!r} has other values than before; frozen weights stay as they are")
        learning = [name for name, parameter in body.named_parameters() if parameter.requires_grad]
        norms = [
            name for name, part in body.named_modules() if isinstance(part, nn.BatchNorm2d) and part.training
        ]
        if len(learning) == len(list(body.parameters())) and len(norms) == 2:
            if blank(answer) and seed == 0:
                raise NotAttempted
            raise NotYet(
                "body itself is as before: every weight would learn. Change the body that you are given"
            )
        if learning:
            raise NotYet(f"{learning[0]!r} still has requires_grad=True, so it would learn")
        if norms:
            raise NotYet(
                f"the batch norm {norms[0]!r} is in training mode: its running statistics change with every "
                "batch, although no weight of it does"
            )
        body(torch.randn(4, 3, 8, 8))
        drifted = [name for name, value in body.state_dict().items() if not torch.equal(value, before[name])]
        if drifted:
            raise NotYet(f"after one batch {drifted[0]!r} is no longer what it was")


def parameter_groups_reference(parts, rate, factor):
    last = len(parts) - 1
    return [
        {"params": list(part.parameters()), "lr": rate / factor ** (last - i)} for i, part in enumerate(parts)
    ]


@exercise
def parameter_groups(mine):
    """mine(parts, rate, factor) -> groups for an optimiser: the last part gets rate, each before it less."""
    if not callable(mine):
        raise NotYet(f"the answer is to be a function, and this is {describe(mine)}")
    for count, rate, factor in ((3, 0.01, 10.0), (4, 0.003, 2.0), (1, 0.1, 3.0)):
        parts = [nn.Linear(i + 2, 2) for i in range(count)]
        what = f"for {count} parts, rate {rate:g} and factor {factor:g} it"
        groups = mine(list(parts), rate, factor)
        if blank(groups):
            if count != 3:  # the first case had an answer
                raise NotYet(f"{what} gives {groups!r}")
            raise NotAttempted
        if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
            raise NotYet(f"{what} gives no list of dictionaries")
        without = [group for group in groups if "params" not in group or "lr" not in group]
        if without or not groups:
            raise NotYet('each group is to be a dictionary with the keys "params" and "lr"')
        optimizer = torch.optim.AdamW(groups, lr=123.0)  # refuses a weight that stands in two groups
        found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        for i, (part, wanted) in enumerate(
            zip(parts, parameter_groups_reference(parts, rate, factor), strict=True)
        ):
            for name, parameter in part.named_parameters():
                if id(parameter) not in found:
                    raise NotYet(f"{what} leaves out {name!r} of part {i}, which then never learns")
                equal(
                    found[id(parameter)],
                    wanted["lr"],
                    f"{what}, at {name!r} of part {i} (counted from 0),",
                    1e-6,
                    0,
                )
