"""Mutation tests of the checkers of lesson 05: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from course_lib import exercises_convolve as exercises

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

norm_right = exercises.batch_norm_reference
adamw_right = exercises.adamw_step_reference
accumulate_right = exercises.accumulate_reference
early_right = exercises.early_stopping_reference


def norm_with_torch(x, gamma, beta):
    layer = nn.BatchNorm2d(len(gamma))
    layer.weight.data, layer.bias.data = gamma, beta
    return layer.train()(x)


def norm_over(dims, unbiased=False, eps=1e-5):
    def wrong(x, gamma, beta):
        variance = x.var(dims, keepdim=True, unbiased=unbiased)
        x = (x - x.mean(dims, keepdim=True)) / torch.sqrt(variance + eps)
        return gamma.view(1, -1, 1, 1) * x + beta.view(1, -1, 1, 1)

    return wrong


def norm_eps_outside(x, gamma, beta):
    deviation = x.var((0, 2, 3), keepdim=True, unbiased=False).sqrt() + 1e-5
    x = (x - x.mean((0, 2, 3), keepdim=True)) / deviation
    return gamma.view(1, -1, 1, 1) * x + beta.view(1, -1, 1, 1)


def test_batch_norm(capsys):
    wrong = [
        lambda x, gamma, beta: torch.zeros_like(x),
        lambda x, gamma, beta: 2 * norm_right(x, gamma, beta),
        lambda x, gamma, beta: norm_right(x, gamma, beta).transpose(0, 1),
        lambda x, gamma, beta: norm_right(x, beta, gamma),
        lambda x, gamma, beta: norm_right(x, torch.ones_like(gamma), torch.zeros_like(beta)),
        lambda x, gamma, beta: norm_right(x, gamma, beta, eps=0.0),
        lambda x, gamma, beta: norm_right(x, gamma, beta)[:, 0],
        norm_over((0, 2, 3), unbiased=True),
        norm_over((0,)),
        norm_over((2, 3)),
        norm_over((1, 2, 3)),
        norm_over((0, 1, 2, 3)),
        norm_eps_outside,
    ]
    assert_checker(capsys, "batch_norm", [norm_right, norm_with_torch], wrong)


def adamw_with_torch(w, g, m, v, t, rate, decay):
    weight = w.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=rate, weight_decay=decay)
    optimizer.state[weight] = {
        "step": torch.tensor(float(t - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()
    }  # fmt: skip
    weight.grad = g.clone()
    optimizer.step()
    state = optimizer.state[weight]
    return weight.detach(), state["exp_avg"], state["exp_avg_sq"]


def adam_with_l2(w, g, m, v, t, rate, decay):
    """Decay through the gradient, as in Adam before AdamW."""
    return adamw_right(w, g + decay * w, m, v, t, rate, 0.0)


def without_correction(w, g, m, v, t, rate, decay):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return w - rate * decay * w - rate * m / (v**0.5 + 1e-8), m, v


def corrected_state(w, g, m, v, t, rate, decay):
    w, m, v = adamw_right(w, g, m, v, t, rate, decay)
    return w, m / (1 - 0.9**t), v / (1 - 0.999**t)


def decay_after(w, g, m, v, t, rate, decay):
    w, m, v = adamw_right(w, g, m, v, t, rate, 0.0)
    return w * (1 - rate * decay), m, v


def test_adamw_step(capsys):
    wrong = [
        lambda *a: (0.0, 0.0, 0.0),
        lambda w, g, m, v, t, rate, decay: (w, m, v),
        lambda w, g, m, v, t, rate, decay: (w - rate * g, m, v),
        lambda w, g, m, v, t, rate, decay: adamw_right(w, g, m, v, t, 2 * rate, decay),
        lambda w, g, m, v, t, rate, decay: adamw_right(w, g, m, v, t + 1, rate, decay),
        lambda w, g, m, v, t, rate, decay: adamw_right(w, -g, m, v, t, rate, decay),
        lambda *a: adamw_right(*a)[0],
        lambda *a: adamw_right(*a)[::-1],
        adam_with_l2,
        without_correction,
        corrected_state,
        decay_after,
    ]
    assert_checker(capsys, "adamw_step", [adamw_right, adamw_with_torch], wrong)


def accumulate_from_one_batch(model, optimizer, batches):
    """The same in one pass: the batches are equally large and there is no batch norm."""
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    functional.binary_cross_entropy_with_logits(model(x)[:, 0], y).backward()
    optimizer.step()
    optimizer.zero_grad()


def accumulating(zero="first", divide=True, step="last", result=None):
    """The same loop with one thing wrong at a time."""

    def mine(model, optimizer, batches):
        if zero == "first":
            optimizer.zero_grad()
        for x, y in batches:
            if zero == "each":
                optimizer.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(model(x)[:, 0], y)
            (loss / len(batches) if divide is True else loss / divide if divide else loss).backward()
            if step == "each":
                optimizer.step()
        if step == "last":
            optimizer.step()
        return result

    return mine


def test_accumulate(capsys):
    wrong = [
        accumulating(zero="each"),  # the published bug
        accumulating(zero="each", divide=False),
        accumulating(zero="never"),
        accumulating(divide=False),
        accumulating(divide=8),  # right for 8 batches, wrong for 3
        accumulating(step="each"),
        accumulating(step="each", zero="each", divide=False),
        accumulating(step="never"),
        lambda model, optimizer, batches: accumulate_right(model, optimizer, batches[-1:]),
        lambda model, optimizer, batches: accumulate_right(model, optimizer, batches[:1]),
        lambda model, optimizer, batches: [p.data.zero_() for p in model.parameters()] and None,
    ]
    right = [accumulate_right, accumulate_from_one_batch, accumulating(result=0.5)]
    assert_checker(capsys, "accumulate", right, wrong)


def test_the_published_bug_is_told_which_update_went_wrong(capsys):
    assert "in update 1, from 8 batches of 4" in said(capsys, "accumulate", accumulating(zero="each"))


def early_by_slices(scores, patience):
    for last in range(1, len(scores) + 1):
        best = scores[:last].index(max(scores[:last])) + 1
        if last - best >= patience:
            return [best, last]
    return scores.index(max(scores)) + 1, len(scores)


def early_last_of_equals(scores, patience):
    best, kept = float("-inf"), 0
    for epoch, score in enumerate(scores, start=1):
        if score >= best:
            best, kept = score, epoch
        if epoch - kept >= patience:
            return kept, epoch
    return kept, len(scores)


def early_against_the_one_before(scores, patience):
    """Counts falls in a row, instead of epochs without a new best."""
    falls = 0
    for epoch in range(2, len(scores) + 1):
        falls = falls + 1 if scores[epoch - 1] <= scores[epoch - 2] else 0
        if falls >= patience:
            return scores.index(max(scores[:epoch])) + 1, epoch
    return scores.index(max(scores)) + 1, len(scores)


def test_early_stopping(capsys):
    wrong = [
        lambda scores, patience: (0, 0),
        lambda scores, patience: (scores.index(max(scores)) + 1, len(scores)),
        lambda scores, patience: tuple(n - 1 for n in early_right(scores, patience)),
        lambda scores, patience: early_right(scores, patience)[::-1],
        lambda scores, patience: early_right(scores, patience + 1),
        lambda scores, patience: early_right(scores, 3),
        lambda scores, patience: early_right(scores, patience)[0],
        lambda scores, patience: (early_right(scores, patience)[1],) * 2,
        early_last_of_equals,
        early_against_the_one_before,
    ]
    assert_checker(capsys, "early_stopping", [early_right, early_by_slices], wrong)
