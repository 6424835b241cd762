"""Mutation tests of the checkers of lesson 09: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from course_lib import exercises_attend as exercises

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

fusion_right = exercises.adaptive_fusion_reference
absorb_right = exercises.absorb_weights_reference


def fusion_as_matrix_product(vectors, scores):
    weights = torch.softmax(scores, dim=-1)
    return (weights.unsqueeze(1) @ vectors).squeeze(1), weights


def fusion_by_loop(vectors, scores):
    powers = torch.exp(scores - scores.amax(1, keepdim=True))
    weights = powers / powers.sum(1, keepdim=True)
    fused = 0
    for i in range(vectors.shape[1]):
        fused = fused + weights[:, i : i + 1] * vectors[:, i]
    return fused, weights


def weighted(vectors, weights):
    return (weights[:, :, None] * vectors).sum(1), weights


def test_adaptive_fusion(capsys):
    wrong = [
        lambda v, s: weighted(v, torch.softmax(s, 0)),  # each scale shared out among the images
        lambda v, s: weighted(v, s),
        lambda v, s: weighted(v, torch.sigmoid(s)),
        lambda v, s: weighted(v, torch.log_softmax(s, 1)),
        lambda v, s: weighted(v, s.exp()),
        lambda v, s: weighted(v, torch.full_like(s, 1 / s.shape[1])),
        lambda v, s: weighted(v, torch.softmax(s.mean(0, keepdim=True).expand_as(s), 1)),  # not by image
        lambda v, s: (v.sum(1), torch.softmax(s, 1)),
        lambda v, s: (v.mean(1), torch.softmax(s, 1)),
        lambda v, s: ((s[:, :, None] * v).sum(1), torch.softmax(s, 1)),
        lambda v, s: (torch.softmax(s, 1)[:, :, None] * v, torch.softmax(s, 1)),
        lambda v, s: (fusion_right(v, s)[0] / s.shape[1], torch.softmax(s, 1)),
        lambda v, s: fusion_right(v, s)[::-1],
        lambda v, s: fusion_right(v, s)[0],
        lambda v, s: fusion_right(v.detach(), s),
        lambda v, s: fusion_right(v, s.detach()),
        lambda v, s: (fusion_right(v, s)[0], fusion_right(v, s)[1].detach()),
        lambda v, s: (torch.zeros(len(v), v.shape[2]), torch.zeros_like(s)),
        lambda v, s: fusion_right(v, s.flip(1)),
        lambda v, s: "no tensor",
    ]
    right = [fusion_right, fusion_as_matrix_product, fusion_by_loop, lambda v, s: list(fusion_right(v, s))]
    assert_checker(capsys, "adaptive_fusion", right, wrong)
    assert "over the images of the batch" in said(capsys, "adaptive_fusion", wrong[0])
    assert "return two things" in said(capsys, "adaptive_fusion", wrong[13])
    assert "the gradient at the vectors" in said(capsys, "adaptive_fusion", wrong[14])
    assert "through the weights" in said(capsys, "adaptive_fusion", wrong[16])


def absorb_by_loop(matrix, weights, sizes):
    out, start = matrix.clone(), 0
    for weight, size in zip(weights, sizes, strict=True):
        out[:, start : start + size] *= weight
        start += size
    return out


def absorb_with_numpy(matrix, weights, sizes):
    return matrix.numpy() @ np.diag(np.repeat(weights.numpy(), sizes))


def test_absorb_weights(capsys):
    wrong = [
        lambda m, w, s: m,
        lambda m, w, s: torch.zeros_like(m),
        lambda m, w, s: m / torch.repeat_interleave(w, torch.tensor(s)),
        lambda m, w, s: absorb_right(m, torch.softmax(w, 0), s),
        lambda m, w, s: absorb_right(m, w.flip(0), s),
        lambda m, w, s: absorb_right(absorb_right(m, w, s), w, s),
        lambda m, w, s: m * w.mean(),
        lambda m, w, s: absorb_right(m, w, s).T,
        lambda m, w, s: 2 * absorb_right(m, w, s),
        lambda m, w, s: absorb_right(m, w, s)[:, :-1],
        lambda m, w, s: m * torch.nn.functional.pad(w, (0, m.shape[1] - len(w)), value=1.0),  # first columns
        lambda m, w, s: m * w[torch.arange(m.shape[1]) % len(w)],  # the weights in turn
        lambda m, w, s: "no matrix",
    ]
    assert_checker(capsys, "absorb_weights", [absorb_right, absorb_by_loop, absorb_with_numpy], wrong)
    assert "to be multiplied" in said(capsys, "absorb_weights", wrong[2])
    assert "as it came" in said(capsys, "absorb_weights", wrong[0])
