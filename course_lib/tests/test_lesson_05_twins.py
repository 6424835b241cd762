"""What lesson 05 builds is the same function as its torch twin, step by step; its table is its script's."""

import copy
import csv
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT / "data" / "recipe")]
from lesson_code import NOTEBOOKS, definitions  # noqa: E402

NAME = "05_training_that_works.ipynb"
if not (NOTEBOOKS / NAME).exists() or not (ROOT / "data" / "recipe").is_dir():
    pytest.skip("needs lesson 05 and its recipe", allow_module_level=True)
import ablate_ingredients as recipe  # noqa: E402


@pytest.fixture(scope="module")
def lesson():
    return definitions(NAME)


@pytest.mark.parametrize("shape", [(4, 1, 1, 1), (5, 3, 6, 4), (1, 2, 3, 3)])
def test_batch_norm_over_steps_and_in_both_modes(lesson, shape):
    torch.manual_seed(0)
    mine, twin = lesson.MyBatchNorm2d(shape[1]), nn.BatchNorm2d(shape[1])
    assert list(mine.state_dict()) == list(twin.state_dict())
    for network in (mine, twin):
        network.weight.data.fill_(1.5)
        network.bias.data.fill_(-0.5)
    for _ in range(5):
        x = 3 * torch.randn(shape) + 1
        ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.testing.assert_close(mine(ours), twin(theirs))
        mine(ours).pow(3).sum().backward()
        twin(theirs).pow(3).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)
    torch.testing.assert_close(mine.eval()(x), twin.eval()(x))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_over_a_hundred_steps(lesson, decay):
    torch.manual_seed(1)
    ours = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
    theirs = copy.deepcopy(ours)
    optimizers = [
        lesson.MyAdamW(ours.parameters(), lr=0.02, weight_decay=decay),
        torch.optim.AdamW(theirs.parameters(), lr=0.02, weight_decay=decay),
    ]
    for _ in range(100):
        x = torch.randn(8, 3)
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (network(x)[:, 0] - x.sum(1)).square().mean().backward()
            optimizer.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_one_number_rules_are_torchs_over_many_steps(lesson):
    gradients = torch.randn(40, generator=torch.Generator().manual_seed(2)).tolist()
    for rule, make in [
        (lesson.sgd, lambda w: torch.optim.SGD(w, lr=0.1)),
        (lesson.momentum, lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9)),
        (lesson.adam, lambda w: torch.optim.Adam(w, lr=0.1)),
    ]:
        assert lesson.follow(rule, gradients) == pytest.approx(lesson.follow_torch(make, gradients), abs=2e-4)


@pytest.mark.parametrize("norm", [True, False])
def test_small_cnn_is_the_network_of_the_table(lesson, norm):
    """Same first weights from the same seed, same answers behind the high-pass."""
    torch.manual_seed(3)
    mine = lesson.SmallCNN(norm=norm)
    torch.manual_seed(3)
    twin = recipe.network(norm, "kaiming")
    for a, b in zip(mine.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(
        mine(lesson.normalise(images)), twin(recipe.prepared(images, "high-pass"))[:, 0], rtol=1e-4, atol=1e-5
    )


def test_crops_and_flips_are_those_of_the_table(lesson):
    images = torch.randint(0, 256, (6, 3, 128, 128), dtype=torch.uint8)
    ours, theirs = (torch.Generator().manual_seed(4) for _ in range(2))
    crops = recipe.cut(images, "random", theirs)
    mirrored = torch.rand(len(crops), generator=theirs) < 0.5
    crops = torch.where(mirrored[:, None, None, None], crops.flip(3), crops)
    assert torch.equal(lesson.random_crops(images, ours), crops)
    assert torch.equal(lesson.middles(images), recipe.cut(images, "middle"))


def test_the_published_loop_loses_seven_of_eight_gradients_and_the_mended_one_none(lesson):
    """On a linear model whose gradients are known: which pictures moved the weights?"""

    class Picker(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(16))

        def forward(self, x):
            return x @ self.weight

    served = []

    def batch_loss(model, generator, size=4):
        x = torch.eye(16)[len(served) % 16].expand(size, 16)  # batch k touches weight k alone
        served.append(size)
        return F.binary_cross_entropy_with_logits(model(x), torch.ones(size))

    lesson.published_training.__globals__["batch_loss"] = batch_loss
    published, mended = Picker(), Picker()
    lesson.published_training(published, updates=1)
    assert (published.weight != 0).nonzero().flatten().tolist() == [7]
    served.clear()
    lesson.mended_training(mended, updates=1)
    assert (mended.weight != 0).nonzero().flatten().tolist() == list(range(8))


def test_the_stored_tables_are_complete():
    with recipe.TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["variant"], row["seed"]) for row in rows} == {(v, s) for v in recipe.VARIANTS for s in "012"}
    for row in rows:
        assert 0 <= float(row["low"]) <= float(row["test_auc"]) <= float(row["high"]) <= 1
        assert int(row["updates"]) == 150
    with recipe.RATES.open(encoding="utf-8") as file:
        rates = list(csv.DictReader(file))
    for variant, tried in recipe.OWN_RATE.items():
        own = [row for row in rates if row["variant"] == variant]
        assert [float(row["lr"]) for row in own] == list(tried)
        best = max(own, key=lambda row: float(row["valid_auc"]))["lr"]
        assert {float(row["lr"]) for row in rows if row["variant"] == variant} == {float(best)}
