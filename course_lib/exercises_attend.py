"""The exercises of Part 3, "Attend" (lessons 06 to 10): what each answer must do to be correct."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .checks import NotAttempted, NotYet, blank, describe, equal, exercise, run
from .facenest import FaceNeSt
from .layers import make_shortcut

# ---- lesson 06: residual blocks ----


def gradient_through_chain_reference(slopes: Sequence[float], shortcut: bool) -> list[float]:
    """The slope of the output in every place of a chain, input first; the last is the output itself, 1."""
    gradients = [1.0]
    for slope in reversed(slopes):
        gradients.append(gradients[-1] * (slope + (1 if shortcut else 0)))
    return gradients[::-1]


@exercise
def gradient_through_chain(mine: Any) -> None:
    """Lesson 06: ``mine(slopes, shortcut)``: the slopes of n steps -> the gradient at n + 1 places."""
    chains = [[0.5, 0.5, 0.5], [2.0, 0.5, -1.0], [0.25], [0.0, 3.0], [-1.0, 0.5, 4.0], [0.1] * 10, []]
    cases = [(slopes, shortcut) for slopes in chains for shortcut in (False, True)]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (slopes, shortcut), answer in zip(cases, answers, strict=True):
        what = f"for slopes {slopes} and shortcut = {shortcut} it"
        equal(answer, gradient_through_chain_reference(slopes, shortcut), what, 1e-5, 1e-12)


def residual_block_reference(
    x: torch.Tensor,
    conv1: nn.Module,
    bn1: nn.Module,
    conv2: nn.Module,
    bn2: nn.Module,
    shortcut: nn.Module | None,
) -> torch.Tensor:
    """conv-BN-ReLU-conv-BN, plus the shortcut's answer to x if there is a shortcut; then ReLU."""
    out = bn2(conv2(functional.relu(bn1(conv1(x)))))
    return functional.relu(out if shortcut is None else out + shortcut(x))


@exercise
def residual_block(mine: Any) -> None:
    """Lesson 06: ``mine(x, conv1, bn1, conv2, bn2, shortcut)``: B×C×H×W -> what the block gives."""
    cases = []
    # channels in and out, stride, side, with a shortcut, in training mode
    for before, after, stride, side, shortcut, training in [
        (2, 2, 1, 4, True, True),
        (2, 2, 1, 4, False, True),
        (3, 5, 2, 6, True, True),
        (4, 4, 1, 5, True, False),
        (2, 3, 2, 7, True, False),
        (1, 2, 1, 3, False, False),
    ]:
        parts = [
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            make_shortcut(before, after, stride) if shortcut else None,
        ]
        for part in filter(None, parts):
            for value in part.state_dict().values():
                if value.ndim == 1:  # a batch norm's; none of them at its usual start
                    value.copy_(0.5 + torch.rand_like(value))
            part.train(training)
        cases.append((torch.randn(2, before, side, side), *parts))
    answers = [run_block(mine, case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        expected = run(residual_block_reference, *case)
        mode = "training" if case[1].training else "eval"
        kind = "shortcut = None" if case[5] is None else "a shortcut"
        what = f"for x of shape {tuple(case[0].shape)}, {kind} and {mode} mode it"
        try:
            equal(answer, expected, what, 1e-4)
        except NotYet as wrong:
            raise NotYet(f"{wrong}{slip(answer, case)}") from None
    for case in cases:
        judge_gradients(mine, case)


def judge_gradients(mine: Any, case: tuple) -> None:
    """One backward pass: right numbers are not enough if a part of the block hears nothing from the loss."""
    kind = "shortcut = None" if case[5] is None else "a shortcut"
    where = f"for x of shape {tuple(case[0].shape)} and {kind} its numbers are right, but"
    weights = torch.rand_like(residual_block_reference(*copy.deepcopy(case)))
    ours, wanted = (gradients(block, case, weights, where) for block in (mine, residual_block_reference))
    for name, expected in wanted.items():
        if not torch.allclose(ours[name], expected, rtol=1e-3, atol=1e-3):
            raise NotYet(
                f"{where} the gradient at {name} is not: something on the way cuts it, such as .detach() "
                "or torch.no_grad()"
            )


def gradients(block: Any, case: tuple, weights: torch.Tensor, where: str) -> dict[str, torch.Tensor]:
    """The gradient of a weighted sum of the block's output at x and at every learned tensor."""
    leaf, *parts = copy.deepcopy(case)
    leaf.requires_grad_()
    out = block(leaf.clone(), *parts)
    if not isinstance(out, torch.Tensor) or not out.requires_grad:
        raise NotYet(
            f"{where} no gradient goes back through it, so nothing could learn: .detach(), torch.no_grad() "
            "or NumPy cuts it"
        )
    places = {"x": leaf}
    for called, part in zip(("conv1", "bn1", "conv2", "bn2", "shortcut"), parts, strict=True):
        if part is not None:
            places |= {f"{called}.{name}": p for name, p in part.named_parameters()}
    try:
        found = torch.autograd.grad((out * weights).sum(), list(places.values()), allow_unused=True)
    except RuntimeError as error:
        if "inplace" not in str(error):
            raise
        raise NotYet(
            f"{where} the backward pass stops, for a tensor that it needs was changed in place: write "
            "out = out + …, not +="
        ) from None
    return {
        name: torch.zeros_like(place) if gradient is None else gradient
        for (name, place), gradient in zip(places.items(), found, strict=True)
    }


def run_block(mine: Any, case: tuple) -> Any:
    """Run one case; who calls a shortcut that is None is told so."""
    try:
        return run(mine, *case)
    except TypeError as error:
        if case[5] is None and "NoneType" in str(error):
            raise NotYet(
                f"with shortcut = None your code stopped with TypeError: {error}; then nothing is to be added"
            ) from None
        raise


def slip(answer: Any, case: tuple) -> str:
    """What went wrong, if it is one of the slips that everybody makes once; else nothing."""
    x, *parts, shortcut = copy.deepcopy(case)
    if not isinstance(answer, torch.Tensor) or shortcut is None:
        return ""
    conv1, bn1, conv2, bn2 = parts
    branch = bn2(conv2(functional.relu(bn1(conv1(x)))))
    direct = shortcut(x)
    for guess, words in [
        (branch + direct, "the last ReLU, after the addition, is missing"),
        (functional.relu(branch) + direct, "the last ReLU comes after the addition, not before it"),
        (functional.relu(branch), "the shortcut was not added"),
        (
            functional.relu(functional.relu(branch) + direct),
            "there is a ReLU before the addition as well; only the one after it belongs there",
        ),
        (functional.relu(bn2(conv2(bn1(conv1(x)))) + direct), "the ReLU after bn1 is missing"),
    ]:
        if answer.shape == guess.shape and torch.allclose(answer, guess, atol=1e-5):
            return f": {words}"
    return ""


def shortcut_reference(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Nothing at all, or average pooling (where the side shrinks), 1×1 convolution, batch norm."""
    return make_shortcut(in_channels, out_channels, stride)


@exercise
def shortcut(mine: Any) -> None:
    """Lesson 06: ``mine(in_channels, out_channels, stride)`` -> the module on the path round the block."""
    settings = [(4, 4, 1), (4, 6, 1), (4, 8, 2), (3, 3, 2), (8, 2, 1), (2, 4, 3)]
    answers = [run(mine, *setting) for setting in settings]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for setting, answer in zip(settings, answers, strict=True):
        where = "for {} channels in, {} out and stride {}".format(*setting)
        if not isinstance(answer, nn.Module):
            raise NotYet(f"{where} it gives {describe(answer)}, and not a module such as nn.Identity()")
        judge_shortcut(answer, shortcut_reference(*setting), setting, where)


def judge_shortcut(mine: nn.Module, theirs: nn.Module, setting: tuple[int, int, int], where: str) -> None:
    """Give both the same numbers to learn, in order, and compare what they answer."""
    ours, wanted = list(mine.parameters()), list(theirs.parameters())
    shapes, expected = ([tuple(p.shape) for p in numbers] for numbers in (ours, wanted))
    if shapes != expected:
        have, want = (", ".join(map(str, sizes)) or "none" for sizes in (shapes, expected))
        raise NotYet(f"{where} its learned tensors have shapes {have}, and {want} was expected")
    with torch.no_grad():
        for a, b in zip(ours, wanted, strict=True):
            b.copy_(0.5 + torch.rand_like(b))
            a.copy_(b)
    for height, width in [(6, 6), (7, 5)]:
        x = torch.rand(2, setting[0], height, width)
        for mode in (True, False):
            mine.train(mode), theirs.train(mode)
            named = f"{where}, an input of {height}×{width} and {'training' if mode else 'eval'} mode it"
            equal(mine(x.clone()), theirs(x), named, 1e-4)


# ---- for lessons 07 to 10: wrong answers with a name, gradients that arrive ----


def named_equal(
    answer: Any,
    expected: Any,
    what: str,
    slips: Sequence[tuple[str, Any]],
    tolerance: float = 1e-5,
    floor: float = 1e-5,
) -> None:
    """`equal`, and the name of the slip if the wrong answer is one of ``slips`` (words, what they give)."""
    try:
        equal(answer, expected, what, tolerance, floor)
    except NotYet as wrong:
        for words, guess in slips:
            if alike(answer, guess):
                raise NotYet(f"{wrong}: {words}") from None
        raise


def alike(answer: Any, guess: Any) -> bool:
    """Whether a wrong answer is what a known slip gives."""
    try:
        equal(answer, guess, "it", 1e-4, 1e-4)
    except NotYet:
        return False
    return True


def judge_paths(mine: Any, reference: Any, case: tuple, names: Sequence[str]) -> None:
    """Right numbers are not enough if one of the arguments hears nothing from the loss."""
    where = "its numbers are right, but"
    gradients_of = []
    for function in (mine, reference):
        leaves = [part.clone().requires_grad_() for part in case]
        out = function(*[leaf.clone() for leaf in leaves])
        if not isinstance(out, torch.Tensor) or not out.requires_grad:
            raise NotYet(
                f"{where} no gradient goes back through it: .detach(), torch.no_grad() or NumPy cuts it"
            )
        weights = torch.linspace(0.5, 1.5, out.numel()).view(out.shape)
        gradients_of.append(torch.autograd.grad((out * weights).sum(), leaves, allow_unused=True))
    for name, ours, theirs in zip(names, *gradients_of, strict=True):
        if ours is None or not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
            raise NotYet(f"{where} the gradient at {name} is not: something on the way cuts it")


# ---- lesson 07: channel attention ----


def eca_reference(pooled: torch.Tensor, kernel: torch.Tensor, bias: float) -> torch.Tensor:
    """B×C -> B×C: a kernel of odd length slid along the channels, zeros at both ends, bias, sigmoid."""
    scores = functional.conv1d(pooled.unsqueeze(1), kernel.view(1, 1, -1), padding=len(kernel) // 2)
    return torch.sigmoid(scores.squeeze(1) + bias)


@exercise
def eca(mine: Any) -> None:
    """Lesson 07: ``mine(pooled, kernel, bias)``: B×C, k odd numbers, a number -> a weight each, B×C."""
    cases = [
        (torch.tensor([[2.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0, 1.0, -1.0]), 0.0),
        (torch.tensor([[2.0, 0.0, 1.0, 1.0], [0.0, 3.0, 1.0, -1.0]]), torch.tensor([1.0, 1.0, -1.0]), 0.5),
        (torch.randn(3, 8), torch.randn(5), -0.3),
        (torch.randn(2, 6), torch.randn(1), 0.2),
        (torch.randn(4, 4), torch.randn(3), -1.0),
        (torch.randn(1, 5), torch.randn(5), 0.1),
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        pooled, kernel, bias = case
        expected = eca_reference(*case)
        size = f"{len(pooled)} image{'s' * (len(pooled) > 1)} of {pooled.shape[1]} channels"
        what = f"for {size}, a kernel of {len(kernel)} and bias {bias:g} it"
        inside, edge = expected, len(kernel) // 2
        slips = [
            ("the sigmoid at the end is missing", torch.logit(inside)),
            ("the kernel is the wrong way round", eca_reference(pooled, kernel.flip(0), bias)),
            ("the bias was not added", eca_reference(pooled, kernel, 0.0)),
            (
                "it slid along the images, not the channels",
                eca_reference(pooled.T.contiguous(), kernel, bias).T,
            ),
            ("the dimension of size 1 in the middle has to go again: squeeze(1)", inside.unsqueeze(1)),
            ("the zeros at both ends are missing", inside[:, edge : inside.shape[1] - edge]),
        ]
        named_equal(answer, expected, what, slips)
    pooled, kernel, bias = cases[2]
    judge_paths(
        lambda *case: mine(*case, bias),
        lambda *case: eca_reference(*case, bias),
        (pooled, kernel),
        ("pooled", "kernel"),
    )


def channel_matrix_reference(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """B×C and B×C -> B×C×C: softmax of q_i·k_j over j, so that each row sums to 1."""
    return torch.softmax(query[:, :, None] * key[:, None, :], dim=2)


@exercise
def channel_matrix(mine: Any) -> None:
    """Lesson 07: ``mine(query, key)``: two B×C -> B×C×C, row i how channel i divides its attention."""
    cases = [
        (torch.tensor([[2.0, 0.0, 1.0, 1.0]]), torch.tensor([[1.0, -1.0, 0.0, 2.0]])),
        (torch.randn(3, 5), torch.randn(3, 5)),
        (torch.randn(4, 4), torch.randn(4, 4)),
        (torch.randn(2, 1), torch.randn(2, 1)),
        (torch.tensor([[30.0, -30.0]]), torch.tensor([[30.0, 20.0]])),
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        what = f"for query and key of shape {tuple(case[0].shape)} it"
        query, key = case
        scores, right = query[:, :, None] * key[:, None, :], channel_matrix_reference(*case)
        slips = [
            ("these are the scores; the softmax is missing", scores),
            ("the columns sum to 1, and the rows should", torch.softmax(scores, dim=1)),
            ("the softmax went over the images of the batch", torch.softmax(scores, dim=0)),
            ("query and key have changed places", torch.softmax(scores.transpose(1, 2), dim=2)),
            ("it is the transpose of what was asked for", right.transpose(1, 2)),
            ("nothing is to be divided by √C here", torch.softmax(scores / query.shape[1] ** 0.5, dim=2)),
        ]
        if isinstance(answer, torch.Tensor) and answer.isnan().any() and scores.exp().isinf().any():
            raise NotYet(
                f"{what} gives nan: e to the 900 is too large for a float; torch.softmax takes care of that, "
                "exp alone does not"
            )
        named_equal(answer, right, what, slips)
    judge_paths(mine, channel_matrix_reference, cases[1], ("query", "key"))


def gate_parameters_reference(kind: str, channels: int, size: int) -> int:
    """Learned numbers of a gate, biases included. size: r for "SE", the length of the kernel else."""
    if kind == "SE":
        middle = channels // size
        return 2 * channels * middle + middle + channels
    return size + 1 if kind == "local" else 2 * (size + 1) + 2


@exercise
def gate_parameters(mine: Any) -> None:
    """Lesson 07: ``mine(kind, channels, size)`` -> how many numbers the gate learns, biases included."""
    cases = [
        (kind, channels, size)
        for kind, size in (("SE", 4), ("SE", 16), ("local", 3), ("local", 5), ("global", 3), ("global", 5))
        for channels in (16, 64, 256)
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        kind, channels, size = case
        named = "r" if kind == "SE" else "a kernel of"
        what = f"for {kind!r} with {channels} channels and {named} {size} it"
        slips = {
            "SE": [("the biases of both linear layers are missing", 2 * channels * channels // size)],
            "local": [
                ("its bias is missing", size),
                ("the kernel is the same for all channels", size * channels),
            ],
            "global": [
                ("scale and bias of the last step are missing", 2 * (size + 1)),
                ("the two biases of the convolution are missing", 2 * size + 2),
                ("the convolution has two channels out, query and key", size + 3),
                ("the C×C matrix is computed, not learned", channels * channels),
            ],
        }
        named_equal(answer, gate_parameters_reference(*case), what, slips[kind], 0, 1e-9)


# ---- lesson 08: spatial attention ----


def dilated_sum_reference(x: torch.Tensor, kernels: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of three convolutions of one map H×W, with dilations 1, 2, 3 and zeros outside the map."""
    return sum(
        functional.conv2d(x[None, None], kernel[None, None], padding=dilation, dilation=dilation)[0, 0]
        for dilation, kernel in enumerate(kernels, start=1)
    )


@exercise
def dilated_sum(mine: Any) -> None:
    """Lesson 08: ``mine(x, kernels)``: a map H×W and three kernels 3×3 -> the sum of three fields, H×W."""
    cases = [
        (torch.randn(*shape), [torch.randn(3, 3) for _ in range(3)]) for shape in [(7, 7), (5, 8), (2, 3)]
    ]
    for i in range(3):  # and one field alone
        kernels = [torch.zeros(3, 3) for _ in range(3)]
        kernels[i] = torch.arange(9.0).view(3, 3)
        cases.append((torch.randn(6, 9), kernels))
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (x, kernels), answer in zip(cases, answers, strict=True):
        what = f"for a map of shape {tuple(x.shape)} it"
        maps, weights = x[None, None], [kernel[None, None] for kernel in kernels]
        slips = [
            ("all three at dilation 1", sum(functional.conv2d(maps, k, padding=1) for k in weights)[0, 0]),
            ("the kernels are turned round", dilated_sum_reference(x, [k.flip(0, 1) for k in kernels])),
            ("only the first field", functional.conv2d(maps, weights[0], padding=1)[0, 0]),
            ("the mean of the three instead of their sum", dilated_sum_reference(x, kernels) / 3),
        ]
        named_equal(answer, dilated_sum_reference(x, kernels), what, slips)


def nonlocal_attention_reference(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """softmax(q kᵀ / √d) v: B×n×d, B×m×d, B×m×v -> B×n×v."""
    scores = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    return torch.softmax(scores, dim=-1) @ values


@exercise
def nonlocal_attention(mine: Any) -> None:
    """Lesson 08: ``mine(queries, keys, values)``: B×n×d, B×m×d, B×m×v -> what each place hears, B×n×v."""
    cases = [
        (torch.randn(batch, n, d), torch.randn(batch, m, d), torch.randn(batch, m, v))
        for batch, n, m, d, v in [(1, 4, 4, 4, 1), (2, 9, 4, 8, 1), (3, 5, 5, 16, 2), (1, 6, 16, 3, 1)]
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        queries, keys, values = case
        scores = queries @ keys.transpose(1, 2)
        scaled = scores / queries.shape[-1] ** 0.5
        what = "for queries {}, keys {} and values {} it".format(*(tuple(part.shape) for part in case))
        slips = [
            ("the division by √d is missing", torch.softmax(scores, -1) @ values),
            ("divided by d instead of √d", torch.softmax(scores / queries.shape[-1], -1) @ values),
            ("the softmax runs over the queries, not over the keys", torch.softmax(scaled, 1) @ values),
            ("the softmax runs over the batch, not over the keys", torch.softmax(scaled, 0) @ values),
            ("the softmax is missing", scaled @ values),
            (
                "these are the weights; they are still to be multiplied by the values",
                torch.softmax(scaled, -1),
            ),
        ]
        named_equal(answer, nonlocal_attention_reference(*case), what, slips)
    judge_paths(mine, nonlocal_attention_reference, cases[1], ("queries", "keys", "values"))


def mix_streams_reference(
    x: torch.Tensor,
    logits: torch.Tensor,
    lc: torch.Tensor,
    ls: torch.Tensor,
    gc: torch.Tensor,
    gs: torch.Tensor,
) -> torch.Tensor:
    """x·(w0 + w1·2lc·2ls + w2·2gc·2gs), w = softmax(logits): x B×C×H×W, lc, gc B×C, ls, gs B×1×H×W."""
    w = torch.softmax(logits, dim=0)
    return x * (w[0] + w[1] * 4 * lc[:, :, None, None] * ls + w[2] * 4 * gc[:, :, None, None] * gs)


@exercise
def mix_streams(mine: Any) -> None:
    """Lesson 08: ``mine(x, logits, lc, ls, gc, gs)`` -> x times the mixture of the three streams."""
    cases = []
    for batch, channels, height, width in [(1, 2, 2, 3), (2, 3, 4, 4), (3, 4, 3, 5), (4, 4, 4, 4)]:
        maps = [torch.rand(batch, channels), torch.rand(batch, 1, height, width)]
        maps += [torch.rand(batch, channels), torch.rand(batch, 1, height, width)]
        cases.append((torch.randn(batch, channels, height, width), torch.randn(3), *maps))
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        x, logits, lc, ls, gc, gs = case
        bracket = mix_streams_reference(torch.ones_like(x), *case[1:])
        right, w = x * bracket, torch.softmax(logits, 0)
        slips = [
            ("the maps are not doubled", x * (w[0] + (bracket - w[0]) / 4)),
            ("each stream is doubled once, and it holds two maps", x * (w[0] + (bracket - w[0]) / 2)),
            ("the identity stream, w[0], is missing", x * (bracket - w[0])),
            ("this is the bracket; x is still to be multiplied by it", bracket),
            ("x is in it twice", x * right),
            ("x is added once more; the identity stream already holds it", x + right),
        ]
        what = (
            f"for x of shape {tuple(x.shape)} and stream logits {[round(v, 2) for v in logits.tolist()]} it"
        )
        named_equal(answer, right, what, slips)
    judge_paths(mine, mix_streams_reference, cases[1], ("x", "the stream logits", "lc", "ls", "gc", "gs"))


# ---- lesson 10: FaceNeSt, whole ----


def mend_attention_reference(
    x: torch.Tensor, lc: torch.Tensor, gc: torch.Tensor, ls: torch.Tensor, gs: torch.Tensor
) -> torch.Tensor:
    """The published re-weighting with one x taken out, times 4: 0.5 everywhere changes nothing."""
    return x * (lc + gc) * (ls + gs)


@exercise
def mend_attention(mine: Any) -> None:
    """Lesson 10: ``mine(x, lc, gc, ls, gs)`` -> x times a bracket of the four gates. Many are right.

    Judged by what it must do: one factor of x, nothing changed where all gates are 0.5, every gate heard and
    none upside down, a bracket from 0 to at most 4, and gradients for all.
    """
    cases = []
    for batch, channels, height, width in [(2, 3, 4, 5), (1, 4, 4, 4), (3, 2, 1, 6)]:
        gates = [torch.rand(batch, channels, *sides) for sides in [(1, 1)] * 2 + [(height, width)] * 2]
        cases.append((torch.randn(batch, channels, height, width), *gates))
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        if not isinstance(answer, torch.Tensor):
            raise NotYet(f"it gives {describe(answer)}, and a tensor was expected")
        if answer.shape != case[0].shape:
            raise NotYet(f"for x of shape {tuple(case[0].shape)} it gives the shape {tuple(answer.shape)}")
    for x, *gates in cases:
        judge_gates(mine, x, gates)
    names = ("x", "lc", "gc", "ls", "gs")
    leaves = [part.clone().requires_grad_() for part in cases[0]]
    out = mine(*[leaf.clone() for leaf in leaves])
    where = "its numbers are right, but"
    if not out.requires_grad:
        raise NotYet(f"{where} no gradient goes back through it: .detach() or torch.no_grad() cuts it")
    found = torch.autograd.grad(out.square().sum(), leaves, allow_unused=True)
    for name, gradient in zip(names, found, strict=True):
        if gradient is None or not gradient.abs().max() > 0:
            raise NotYet(f"{where} no gradient arrives at {name}: something on the way cuts it")


def judge_gates(mine: Any, x: torch.Tensor, gates: list[torch.Tensor]) -> None:
    """What a mended re-weighting must do, for one x and random gates."""
    half = [torch.full_like(gate, 0.5) for gate in gates]
    for factor in (2.0, 10.0, -1.0):
        once, scaled = run(mine, x, *gates), run(mine, factor * x, *gates)
        if not torch.allclose(scaled, factor * once, rtol=1e-3, atol=1e-4):
            grew = float(scaled.abs().sum() / once.abs().sum().clamp(min=1e-12))
            raise NotYet(
                f"x times {factor:g}, with the gates as they were, makes the output {grew:.4g} times as "
                f"large in size and not {factor:g} times what it was: x must be in it as exactly one factor"
            )
    same = run(mine, x, *half)
    if not torch.allclose(same, x, rtol=1e-3, atol=1e-4):
        ratio = float((same / x).flatten()[0])
        raise NotYet(f"with all gates at 0.5 it gives {ratio:.4g} times x, and x itself was expected")
    ones = torch.ones_like(x)
    corners = [
        [torch.full_like(gate, float(code >> i & 1)) for i, gate in enumerate(gates)] for code in range(16)
    ]
    for corner in [*corners, gates]:
        bracket = run(mine, ones, *corner)
        if bracket.min() < -1e-4 or bracket.max() > 4 + 1e-3:
            worst = float(bracket.min() if bracket.min() < -1e-4 else bracket.max())
            values = ", ".join(f"{float(gate.flatten()[0]):.2g}" for gate in corner)
            raise NotYet(
                f"with the gates lc, gc, ls, gs = {values} x is multiplied by {worst:.4g}; keep to 0…4"
            )
    for i, name in enumerate(("lc", "gc", "ls", "gs")):
        low, high = ([*gates[:i], torch.full_like(gates[i], v), *gates[i + 1 :]] for v in (0.1, 0.9))
        change = run(mine, ones, *high) - run(mine, ones, *low)
        if change.abs().max() < 1e-4:
            raise NotYet(f"the gate {name} makes no difference: 0.1 and 0.9 give the same output")
        if change.min() < -1e-4:
            raise NotYet(f"a larger gate {name} makes the output smaller: 1 is to mean “more of it”")
    judge_places(mine, x, gates)


def judge_places(mine: Any, x: torch.Tensor, gates: list[torch.Tensor]) -> None:
    """Each gate weighs its own picture, channel and place, and no other."""
    base = run(mine, torch.ones_like(x), *gates)
    for i, name in enumerate(("lc", "gc", "ls", "gs")):
        moved = [gate.clone() for gate in gates]
        spot = (0, 0) if i < 2 else (0, 0, 0, 0)
        moved[i][spot] = 1 - moved[i][spot]
        touched = (run(mine, torch.ones_like(x), *moved) - base).abs() > 1e-7
        if touched.sum() > touched[spot].sum():
            raise NotYet(f"one number of {name} changes the output at other channels or places than its own")


def fold_linear_reference(
    w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor, b2: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two linear maps in a row as one: W = W2 W1 and b = W2 b1 + b2."""
    return w2 @ w1, w2 @ b1 + b2


@exercise
def fold_linear(mine: Any) -> None:
    """Lesson 10: ``mine(w1, b1, w2, b2)``: first hidden×in, then out×hidden -> (W out×in, b out)."""
    cases = []
    for inside, hidden, out in [(3, 4, 2), (1, 5, 3), (4, 4, 4), (6, 2, 1)]:
        cases.append(
            (torch.randn(hidden, inside), torch.randn(hidden), torch.randn(out, hidden), torch.randn(out))
        )
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for case, answer in zip(cases, answers, strict=True):
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(FOLDED, case, strict=True))
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise NotYet(f"for {shapes} it gives {describe(answer)}; give a pair, the matrix and the bias")
        w1, b1, w2, b2 = case
        matrix, bias = fold_linear_reference(*case)
        wrong_way = w1 @ w2 if w1.shape[1] == w2.shape[0] else matrix
        named_equal(
            answer[0], matrix, f"for {shapes} the matrix",
            [("that is W1 W2; the map that comes first stands at the right", wrong_way)],
        )  # fmt: skip
        slips = [
            ("b1 goes through the second matrix, too", b2),
            ("b2 is missing", w2 @ b1),
            ("b1 goes through the second matrix before b2 is added", b1 + b2 if len(b1) == len(b2) else bias),
        ]
        named_equal(answer[1], bias, f"for {shapes} the bias", slips)


FOLDED = ("w1", "b1", "w2", "b2")


# Which lesson built what stands behind a name in FaceNeSt's state_dict; the first that fits.
BUILT_IN = (
    (".attention.lc", "lesson 07, local channel attention"),
    (".attention.gc", "lesson 07, global channel attention"),
    (".attention", "lesson 08, GLCSAttention"),
    (".shortcut", "lesson 06, the shortcut"),
    ("stages.", "lesson 06, the residual block"),
    ("fusion.", "lesson 09, the fusion"),
    ("stem.", "section 2 of this lesson, the stem"),
    ("head.", "section 2 of this lesson, the head"),
)


def built_in(key: str) -> str:
    """The lesson that built the part a state_dict key belongs to, in brackets; "" for a key of no part."""
    return next((f" ({words})" for part, words in BUILT_IN if part in f"{key}."), "")


@exercise
def my_facenest(mine: Any) -> None:
    """Lesson 10: a module, or a function without arguments that builds one, which is FaceNeSt.

    It has to have the library's state_dict keys and shapes and, with the same numbers in both, its outputs
    and its gradients.
    """
    model = mine
    if not isinstance(model, nn.Module):
        if not callable(mine):
            raise NotYet(
                f"a network was expected, or a function that builds one, and this is {describe(mine)}"
            )
        model = mine()
    if blank(model):
        raise NotAttempted
    if not isinstance(model, nn.Module):
        raise NotYet(f"it gives {describe(model)}, and a torch.nn.Module was expected")
    if type(model).__module__.startswith(f"{__package__}."):
        raise NotYet(f"this is the library's own {type(model).__name__}; build yours from an empty cell")
    library = FaceNeSt()
    judge_state(model.state_dict(), library.state_dict())
    model = copy.deepcopy(model).to(device="cpu", dtype=torch.float32)
    for name, value in library.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight")):
            value.copy_(0.5 + torch.rand_like(value))
        elif name.endswith("lc.conv.bias"):  # a single number; large, so that no test misses it
            value.fill_(-1.0)
        elif value.is_floating_point():
            spread = value[0].numel() ** -0.5 if value.ndim > 1 else 0.3
            if ".attention." in name:
                spread *= 4  # strong opinions, so that a slip in them shows
            value.copy_(spread * torch.randn_like(value) + (1.0 if value.ndim == 1 and "bn" in name else 0.0))
    model.load_state_dict(library.state_dict())
    for training, shape in [(False, (2, 3, 64, 64)), (False, (1, 3, 32, 45)), (True, (3, 3, 40, 32))]:
        loud = torch.linspace(0.5, 2.5, shape[0]).view(
            -1, 1, 1, 1
        )  # pictures that differ in grain and in tint
        judge_network(
            model, library, training, loud * torch.randn(shape) + 2 * torch.randn(shape[0], 3, 1, 1)
        )


def judge_state(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """The same names with the same shapes; the first that is not, in the order of the library."""
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        instead = f"; it has {extra[0]!r}, which FaceNeSt has not" if extra else ""
        raise NotYet(f"its state_dict lacks {missing[0]!r}{built_in(missing[0])}{more}{instead}")
    if extra:
        raise NotYet(f"its state_dict has {extra[0]!r}, which FaceNeSt has not{built_in(extra[0])}")
    for name, value in theirs.items():
        if ours[name].shape != value.shape:
            raise NotYet(
                f"{name!r} has shape {tuple(ours[name].shape)}, and {tuple(value.shape)} was expected"
                f"{built_in(name)}"
            )


def judge_network(model: nn.Module, library: nn.Module, training: bool, x: torch.Tensor) -> None:
    """The same logits and the same gradients; where they part, the first part whose output differs."""
    mode = "training" if training else "eval"
    what = f"with the library's weights, in {mode} mode, for images of shape {tuple(x.shape)}, it"
    answers, seen, slopes = [], [], []
    for network in (model, library):
        network.train(training)
        outputs: dict[str, torch.Tensor] = {}
        hooks = []
        for name, part in network.named_modules():
            if name:
                hooks.append(
                    part.register_forward_hook(lambda _, __, out, n=name, o=outputs: keep(o, n, out))
                )
        torch.manual_seed(7)  # the same dropout in both
        answers.append(network(x.clone()))
        for hook in hooks:
            hook.remove()
        seen.append(outputs)
    answer, expected = answers
    if isinstance(answer, tuple) and answer:
        answer = answer[0]
    if blank(answer):
        raise NotYet(f"{what} gives {answer!r}; its forward returns nothing yet")
    slips = [
        ("that is the sigmoid; return the logit", torch.sigmoid(expected)),
        ("its sign is turned round; the logit is that of fake", -expected),
    ]
    if isinstance(answer, torch.Tensor) and answer.shape == (len(x), 1):
        raise NotYet(
            f"{what} gives the shape {tuple(answer.shape)}, and one logit an image, {(len(x),)}, was expected"
        )
    try:
        equal(answer, expected, what, 1e-3, 2e-4)
    except NotYet as wrong:
        for words, guess in slips:
            if isinstance(answer, torch.Tensor) and torch.allclose(
                answer.detach(), guess.detach(), atol=1e-4
            ):
                raise NotYet(f"{wrong}: {words}") from None
        raise NotYet(f"{wrong}{parting(*seen)}") from None
    for network, out in ((model, answer), (library, expected)):
        names, leaves = zip(*network.named_parameters(), strict=True)
        if not isinstance(out, torch.Tensor) or not out.requires_grad:
            raise NotYet("its outputs are right, but no gradient goes back through it: something cuts it")
        found = torch.autograd.grad(out.square().sum(), leaves, allow_unused=True)
        slopes.append(dict(zip(names, found, strict=True)))
    for name, wanted in slopes[1].items():
        mine = slopes[0].get(name)
        mine = torch.zeros_like(wanted) if mine is None else mine
        if not torch.allclose(mine, wanted, rtol=1e-2, atol=1e-3 * max(1.0, float(wanted.abs().max()))):
            if first_different(*seen) is not None:
                raise NotYet(f"{what} gives nearly the right numbers, but not quite{parting(*seen)}")
            raise NotYet(f"its outputs are right, but the gradient at {name!r} is not{built_in(name)}")


def keep(outputs: dict[str, torch.Tensor], name: str, out: Any) -> None:
    """Remember what a part gave: its first tensor, as it was before anything changed it in place."""
    first = out[0] if isinstance(out, (tuple, list)) and out else out
    if isinstance(first, torch.Tensor):
        outputs[name] = first.detach().clone()


def first_different(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> str | None:
    """The first part, in the order in which the library ran them, whose output differs."""
    for name, wanted in theirs.items():
        mine = ours.get(name)
        if mine is None or (
            mine.shape == wanted.shape and torch.allclose(mine, wanted, rtol=1e-3, atol=1e-3)
        ):
            continue
        return name
    return None


def parting(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> str:
    """Words for the first part whose output differs."""
    name = first_different(ours, theirs)
    if name is None:
        return "; each of its parts gives what it should, so look at how forward puts them together"
    if name == "stem.0":
        first = "; the first part whose output differs is 'stem.0'"
        return f"{first}: what goes into the stem is the high-pass of x"
    return f"; the first part whose output differs is {name!r}{built_in(name)}"


# ---- lesson 09: multi-scale fusion ----


def adaptive_fusion_reference(
    vectors: torch.Tensor, scores: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """B×S×K vectors, B×S scores -> (their sum weighted by the softmax over the scales, B×K; weights, B×S)."""
    weights = torch.softmax(scores, dim=1)
    return (weights[:, :, None] * vectors).sum(dim=1), weights


@exercise
def adaptive_fusion(mine: Any) -> None:
    """Lesson 09: ``mine(vectors, scores)``: B×S×K and B×S -> (fused B×K, weights B×S)."""
    cases = [
        (torch.randn(batch, scales, width), 2 * torch.randn(batch, scales))
        for batch, scales, width in [(2, 4, 3), (1, 4, 2), (4, 4, 4), (5, 3, 8), (3, 2, 1)]
    ]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (vectors, scores), answer in zip(cases, answers, strict=True):
        what = f"for vectors {tuple(vectors.shape)} and scores {tuple(scores.shape)} it"
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise NotYet(f"{what} gives {describe(answer)}; return two things: fused, weights")
        fused, weights = adaptive_fusion_reference(vectors, scores)
        powers, columns, even = scores.exp(), scores[:, :, None], torch.full_like(scores, 1 / scores.shape[1])
        slips = [
            ("the softmax runs over the images of the batch, not over the scales", torch.softmax(scores, 0)),
            ("the softmax is missing: these are the scores", scores),
            ("the powers still have to be divided by their sum", powers),
            ("these are logarithms: log_softmax in place of softmax", torch.log_softmax(scores, 1)),
            ("all scales get the same weight; the scores are not used", even),
            ("that is a sigmoid, and its weights do not sum to 1", torch.sigmoid(scores)),
        ]  # fmt: skip
        named_equal(answer[1], weights, f"{what} in its second answer, the weights,", slips)
        slips = [
            ("the sum is not weighted", vectors.sum(1)),
            ("that is the mean, as if all scales counted alike", vectors.mean(1)),
            ("the weighted vectors are averaged; they are to be added", fused / scores.shape[1]),
            ("weighted with the scores instead of their softmax", (columns * vectors).sum(1)),
            ("the weighted vectors still have to be added over the scales", weights[:, :, None] * vectors),
        ]
        named_equal(answer[0], fused, f"{what} in its first answer, the fused vector,", slips)
    for place, name in enumerate(("fused vector", "weights")):
        vectors, scores = (part.clone().requires_grad_() for part in cases[0])
        out = mine(vectors, scores)[place]
        if not isinstance(out, torch.Tensor) or not out.requires_grad:
            raise NotYet(f"its numbers are right, but no gradient goes back through the {name}: "
                         ".detach(), torch.no_grad(), .tolist() or NumPy cuts it")  # fmt: skip
    judge_paths(
        lambda *case: mine(*case)[0],
        lambda *case: adaptive_fusion_reference(*case)[0],
        cases[0],
        ("the vectors", "the scores"),
    )


def absorb_weights_reference(matrix: torch.Tensor, weights: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """The matrix (out × sum of sizes) whose columns for scale i are multiplied by weight i."""
    return matrix * torch.repeat_interleave(weights, torch.tensor(sizes))


@exercise
def absorb_weights(mine: Any) -> None:
    """Lesson 09: ``mine(matrix, weights, sizes)`` -> the matrix that gives the same without the weights."""
    shapes = [(2, (1, 2, 1)), (3, (2, 2, 2, 2)), (1, (4, 1)), (5, (1, 2, 4, 8)), (4, (4,)), (6, (6,) * 6)]
    cases = [(torch.randn(out, sum(sizes)), torch.randn(len(sizes)), list(sizes)) for out, sizes in shapes]
    answers = [run(mine, *case) for case in cases]
    if all(blank(answer) for answer in answers):
        raise NotAttempted
    for (matrix, weights, sizes), answer in zip(cases, answers, strict=True):
        what = f"for a matrix {tuple(matrix.shape)} and sizes {sizes} it"
        each = torch.repeat_interleave(weights, torch.tensor(sizes))
        slips = [
            ("the columns are divided by the weights; they are to be multiplied", matrix / each),
            ("this is the matrix as it came", matrix),
            ("all columns are multiplied by the mean weight", matrix * weights.mean()),
            ("the weights went through a softmax first; they are free numbers",
             absorb_weights_reference(matrix, torch.softmax(weights, 0), sizes)),
            ("the weights come in the wrong order", absorb_weights_reference(matrix, weights.flip(0), sizes)),
            ("the weights are in it twice", matrix * each * each),
        ]  # fmt: skip
        named_equal(answer, absorb_weights_reference(matrix, weights, sizes), what, slips)
