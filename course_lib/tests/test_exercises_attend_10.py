"""Mutation tests of the checkers of lesson 10: right answers pass, wrong ones are told why."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib import exercises_attend as exercises
from course_lib import facenest
from course_lib.facenest import FaceNeSt, FaceNeStConfig, high_pass
from course_lib.layers import LocalChannelAttention, LocalSpatialAttention

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import NONSENSE, STUBS, assert_checker, said  # noqa: E402

mend_right = exercises.mend_attention_reference
fold_right = exercises.fold_linear_reference


def three_streams(x, lc, gc, ls, gs):
    """Lesson 08's answer, with equal mixing weights."""
    return x * (1 + 4 * lc * ls + 4 * gc * gs) / 3


def test_mend_attention(capsys):
    right = [
        mend_right,
        three_streams,
        lambda x, lc, gc, ls, gs: x * (lc + gc + ls + gs) / 2,
        lambda x, lc, gc, ls, gs: x + x * ((lc + gc) * (ls + gs) - 1) / 2,
        lambda x, lc, gc, ls, gs: 2 * x * (lc * gc * ls * gs) ** 0.25,
    ]
    wrong = {
        "published": lambda x, lc, gc, ls, gs: (x * lc + x * gc) / 2 * (x * ls + x * gs) / 2,
        "not doubled": lambda x, lc, gc, ls, gs: x * (lc + gc) / 2 * (ls + gs) / 2,
        "square root": lambda x, lc, gc, ls, gs: (x * x * (lc + gc) * (ls + gs)).sqrt(),
        "zeros": lambda x, lc, gc, ls, gs: torch.zeros_like(x),
        "unchanged": lambda x, lc, gc, ls, gs: x.clone(),
        "bracket": lambda x, lc, gc, ls, gs: (lc + gc) * (ls + gs),
        "one forgotten": lambda x, lc, gc, ls, gs: x * (2 * lc) * (ls + gs),
        "channels only": lambda x, lc, gc, ls, gs: x * (lc + gc),
        "upside down": lambda x, lc, gc, ls, gs: x * (2 - lc - gc) * (ls + gs),
        "too much": lambda x, lc, gc, ls, gs: x * 16 * lc * gc * ls * gs,
        "negative": lambda x, lc, gc, ls, gs: x * (1 + 2 * (lc + gc + ls + gs - 2)),
        "mean of places": lambda x, lc, gc, ls, gs: x * (lc + gc) * (ls + gs).mean((2, 3), keepdim=True),
        "shape": lambda x, lc, gc, ls, gs: mend_right(x, lc, gc, ls, gs).flatten(1),
        "added": lambda x, lc, gc, ls, gs: x + lc + gc + ls + gs - 2,
        "detached": lambda x, lc, gc, ls, gs: x * ((lc + gc) * (ls + gs)).detach(),
        "one path cut": lambda x, lc, gc, ls, gs: x * (lc + gc.detach()) * (ls + gs),
        "numpy": lambda x, lc, gc, ls, gs: mend_right(x, lc, gc, ls, gs).tolist(),
    }
    assert_checker(capsys, "mend_attention", right, list(wrong.values()))
    told = {name: said(capsys, "mend_attention", mine) for name, mine in wrong.items()}
    assert "x times 2, with the gates as they were, makes the output 4 times as large" in told["published"]
    assert "with all gates at 0.5 it gives 0.25 times x" in told["not doubled"]
    assert "the gate gc makes no difference" in told["one forgotten"]
    assert "a larger gate lc makes the output smaller" in told["upside down"]
    assert "x is multiplied by 16; keep to 0…4" in told["too much"]
    assert "no gradient arrives at gc" in told["one path cut"]


def fold_by_probing(w1, b1, w2, b2):
    """Another right answer: ask the two maps where zero and the unit vectors go."""

    def both(v):
        return w2 @ (w1 @ v + b1) + b2

    bias = both(torch.zeros(w1.shape[1]))
    return [torch.stack([both(e) - bias for e in torch.eye(w1.shape[1])], dim=1), bias]


def test_fold_linear(capsys):
    wrong = [
        lambda w1, b1, w2, b2: (torch.zeros(len(w2), w1.shape[1]), torch.zeros(len(w2))),
        lambda w1, b1, w2, b2: (fold_right(w1, b1, w2, b2)[0].T, fold_right(w1, b1, w2, b2)[1]),
        lambda w1, b1, w2, b2: (2 * fold_right(w1, b1, w2, b2)[0], fold_right(w1, b1, w2, b2)[1]),
        lambda w1, b1, w2, b2: (w2 @ w1, b2),
        lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b1),
        lambda w1, b1, w2, b2: (w2 @ w1, w2 @ (b1 + b2) if len(b1) == len(b2) else b2),
        lambda w1, b1, w2, b2: fold_right(w1, b1, w2, b2)[0],
        lambda w1, b1, w2, b2: fold_right(w1, b1, w2, b2)[::-1],
        lambda w1, b1, w2, b2: (w1 @ w2, b2) if w1.shape[1] == len(w2) else fold_right(w1, b1, w2, b2),
        lambda w1, b1, w2, b2: (fold_right(w1, b1, w2, b2)[0], ...),
    ]
    assert_checker(capsys, "fold_linear", [fold_right, fold_by_probing], wrong)
    assert "b1 goes through the second matrix, too" in said(capsys, "fold_linear", wrong[3])
    assert "b2 is missing" in said(capsys, "fold_linear", wrong[4])
    assert "b2 is missing" in said(capsys, "fold_linear", lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b1))


class NoBias(LocalChannelAttention):
    def forward(self, pooled):
        self.conv.bias.data.zero_()
        return super().forward(pooled)


class Backwards(LocalChannelAttention):
    def forward(self, pooled):
        return super().forward(pooled.flip(1)).flip(1)


class NoSigmoid(LocalChannelAttention):
    def forward(self, pooled):
        return self.conv(pooled.unsqueeze(1)).squeeze(1)


class Inside(LocalSpatialAttention):
    def forward(self, x):
        return torch.sigmoid(self.fields[0](x))


class EachSigmoid(LocalSpatialAttention):
    def forward(self, x):
        return sum(torch.sigmoid(conv(x)) for conv in self.fields) / 3


DEAF = {
    "lc: no bias": NoBias,
    "lc: channels backwards": Backwards,
    "lc: no sigmoid": NoSigmoid,
    "ls: one field": Inside,
    "ls: a sigmoid each": EachSigmoid,
}


class Mine(nn.Module):
    """FaceNeSt from the library's parts, with one thing wrong at a time."""

    def __init__(self, fault: str = "", **changes):
        super().__init__()
        twin = FaceNeSt(FaceNeStConfig(**changes))
        self.stem, self.stages, self.fusion, self.head = twin.stem, twin.stages, twin.fusion, twin.head
        self.fault = fault
        if fault == "extra":
            self.temperature = nn.Parameter(torch.ones(1))
        if fault == "renamed":
            self.body = self.stages
            del self.stages
        if fault == "no fusion":
            del self.fusion
        if fault == "with dropout":
            self.head[1] = nn.Sequential(nn.ReLU(), nn.Dropout(0.5))
        if fault in DEAF:
            part = getattr(self.stages[3][0].attention, fault[:2])
            part.__class__ = DEAF[fault]

    def forward(self, x):
        fault = self.fault
        if fault == "unwritten":
            return None
        x = self.stem(x if fault == "no high-pass" else high_pass(x))
        features = []
        for i, stage in enumerate(self.stages):
            for block in stage:
                if fault == "attention skipped" and block.attention is not None:
                    attention, block.attention = block.attention, None
                    x = block(x)
                    block.attention = attention
                else:
                    x = block(x)
            features.append(x * 2 if fault == "doubled" and i == 1 else x)
        if fault == "coarsest first":
            features = features[:1] * 4 if len(features) < 4 else features
        fused, _ = self.fusion(features)
        if fault == "cut":
            fused = fused.detach()
        logit = self.head(fused)
        if fault == "cut early":
            logit = self.head(self.fusion([features[0].detach(), *features[1:]])[0])
        if fault == "B x 1":
            return logit
        logit = logit.squeeze(-1)
        if fault == "sigmoid":
            return torch.sigmoid(logit)
        if fault == "negative":
            return -logit
        return logit * 0 if fault == "zeros" else logit

    def with_details(self, x):
        return self(x), {}


class WithDetails(Mine):
    def forward(self, x):
        return super().forward(x), {"anything": 1}


FAULTS = {
    "extra": "has 'temperature', which FaceNeSt has not",
    "renamed": "lacks 'stages.1.0.conv1.weight' (lesson 06, the residual block)",
    "no fusion": "lacks 'fusion.project.0.weight' (lesson 09, the fusion)",
    "with dropout": "in training mode",
    "unwritten": "its forward returns nothing yet",
    "no high-pass": "what goes into the stem is the high-pass of x",
    "attention skipped": "the first part whose output differs is 'stages.3.0'",
    "doubled": "the first part whose output differs is 'stages.2.0.conv1'",
    "cut": "the gradient at 'stem.0.weight' is not",
    "cut early": "gradient at",
    "B x 1": "one logit an image",
    "sigmoid": "that is the sigmoid; return the logit",
    "negative": "the logit is that of fake",
    "zeros": "was expected",
    **{fault: f"is 'stages.3.0.attention.{fault[:2]}" for fault in DEAF},
}


@pytest.mark.parametrize("fault, words", FAULTS.items())
def test_my_facenest_names_the_fault(capsys, fault, words):
    if fault == "doubled":
        # a feature map is changed on its way to the fusion only: the stages themselves are right
        words = "the first part whose output differs is 'fusion"
    told = said(capsys, "my_facenest", lambda: Mine(fault))
    assert told.startswith("not yet, because ") and words in told, told


def test_my_facenest(capsys):
    for mine in (Mine, Mine(), lambda: Mine().eval(), WithDetails, lambda: Mine().double()):
        assert said(capsys, "my_facenest", mine) == "correct"
    wrong = [
        *NONSENSE,
        facenest(),
        facenest,
        lambda: Mine(width=8),
        lambda: Mine(branches=()),
        lambda: Mine(attend=(0, 1, 2, 3)),
        lambda: Mine(fusion="static"),
        lambda: Mine(depths=(1, 1, 1, 1)),
        lambda: Mine(depths=(0, 2, 1, 1)),
        lambda: Mine(branches=("lc", "gc", "ls", "gs")),
        lambda: Mine(residual=False),
        lambda: nn.Linear(3, 1),
        lambda: 1 / 0,
    ]
    for mine in wrong:
        assert said(capsys, "my_facenest", mine).startswith("not yet, because "), mine
    for mine in [*STUBS, lambda: ..., lambda: None]:
        assert said(capsys, "my_facenest", mine) == "not attempted"


def test_my_facenest_names_keys_and_shapes(capsys):
    assert "library's own FaceNeSt" in said(capsys, "my_facenest", facenest)
    told = said(capsys, "my_facenest", lambda: Mine(branches=("gc", "ls", "gs")))
    assert "lacks 'stages.3.0.attention.lc.conv.weight' (lesson 07, local channel attention)" in told
    told = said(capsys, "my_facenest", lambda: Mine(width=8))
    assert "'stem.0.weight' has shape (8, 3, 3, 3), and (16, 3, 3, 3) was expected" in told


def test_judging_leaves_the_answer_as_it_was(capsys):
    model = Mine()
    before = copy.deepcopy(model.state_dict())
    said(capsys, "my_facenest", model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_right_numbers_without_a_gradient_are_told_so(capsys):
    line = said(capsys, "mend_attention", lambda *parts: mend_right(*parts).detach())
    assert "its numbers are right, but no gradient goes back through it" in line

    class Cut(FaceNeSt):
        def forward(self, x):
            return super().forward(x).detach()

    line = said(capsys, "my_facenest", Cut)
    assert "its outputs are right, but no gradient goes back through it" in line
