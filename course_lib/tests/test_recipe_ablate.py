"""The scripts behind lesson 10's tables: scores, paired intervals, rows, rivals; on toys, in seconds."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
for folder in ("data", "data/recipe"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from recipe import ablate_facenest as ablate  # noqa: E402
from recipe.ablate_ingredients import read_table  # noqa: E402
from recipe.rivals import NETWORKS, build  # noqa: E402

from course_lib.facenest import count_parameters, facenest  # noqa: E402

PAIRS = [("real", "fake")]


def answers(shift: float, seed: int = 0, n: int = 200) -> dict:
    rng = np.random.default_rng(seed)
    return {"real": rng.normal(size=n), "fake": rng.normal(size=n) + shift}


class ToyQuestion:
    """Fakes are brighter, and nothing else; small enough for a test."""

    name, side, updates, seeds, trainings = "toy", 32, 3, (0, 1, 2), ("all",)
    inside = outside = PAIRS

    def __init__(self):
        self.shown = []

    def batches(self, training, seed):
        generator = torch.Generator().manual_seed(seed)
        while True:
            y = torch.arange(8) % 2
            x = torch.randint(0, 100, (8, 3, 32, 32), generator=generator, dtype=torch.uint8)
            self.shown.append(x.sum().item())
            yield x + (100 * y)[:, None, None, None].to(torch.uint8), y.float()

    def ask(self, training, answer):
        x = torch.full((6, 3, 32, 32), 20, dtype=torch.uint8)
        return {"real": answer(x), "fake": answer(x + 100)}


def test_score_is_the_mean_auc_over_pairs():
    found = {"a": np.array([0.0, 1.0]), "b": np.array([2.0, 3.0]), "c": np.array([-1.0, 0.5])}
    assert ablate.score(found, [("a", "b")]) == 1.0
    assert ablate.score(found, [("a", "c")]) == 0.25
    assert ablate.score(found, [("a", "b"), ("a", "c")]) == 0.625


def test_a_network_does_not_differ_from_itself():
    runs = [answers(1.0, seed) for seed in range(3)]
    assert ablate.paired(runs, runs, PAIRS) == (0, 0, 0)


def test_paired_sees_a_difference_and_its_sign():
    worse, better = [answers(0.5, s) for s in range(3)], [answers(1.5, s) for s in range(3)]
    difference, low, high = ablate.paired(worse, better, PAIRS)
    assert 0.05 < low < difference < high
    again, low, high = ablate.paired(better, worse, PAIRS)
    assert again == pytest.approx(-difference) and high < -0.05


def test_the_interval_knows_that_seeds_differ():
    """One lucky seed of three: pictures alone would make the interval narrow, the seeds make it wide."""
    base = [answers(1.0, 0, 3000)] * 3
    same, lucky = answers(1.0, 0, 3000), answers(2.0, 0, 3000)
    _, low, high = ablate.paired(base, [same, same, lucky], PAIRS)
    assert low == pytest.approx(0, abs=1e-9) and high > 0.1


def test_every_variant_sees_the_same_windows_and_the_same_seed_gives_the_same_answers():
    first, second = ToyQuestion(), ToyQuestion()
    one = ablate.train_once(first, lambda: ablate.variant("no attention"), 0, 3, 1e-3)
    two = ablate.train_once(second, lambda: ablate.variant("stem stride 4"), 0, 3, 1e-3)
    assert first.shown == second.shown
    again = ablate.train_once(ToyQuestion(), lambda: ablate.variant("no attention"), 0, 3, 1e-3)
    assert all(np.array_equal(one[g], again[g]) for g in one)
    assert not np.allclose(one["fake"], two["fake"])


def test_rows_are_kept_replaced_and_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(ablate, "FOLDER", tmp_path)
    monkeypatch.setattr(ablate, "DRAWS", 20)
    kept, question = ablate.Kept(tmp_path / "answers"), ToyQuestion()
    ablate.parts(question, kept, [0, 1, 2], [ablate.BASE, "no attention"])
    rows = read_table(tmp_path / "facenest.csv")
    assert len(rows) == 6 and {row["seed"] for row in rows} == {"0", "1", "2"}
    (paired,) = read_table(tmp_path / "facenest_paired.csv")
    assert paired["variant"] == "no attention" and paired["seeds"] == "3"
    shown = len(question.shown)
    ablate.parts(question, kept, [0, 1, 2], [ablate.BASE, "no attention"])
    assert len(question.shown) == shown, "a row that is there was trained again"
    new = rows[0] | {"valid_auc": "0.1"}
    ablate.enter(tmp_path / "facenest.csv", ablate.PART_COLUMNS, ("question", "variant", "seed"), new)
    rows = read_table(tmp_path / "facenest.csv")
    assert len(rows) == 6 and [r["valid_auc"] for r in rows].count("0.1") == 1


def test_parts_differ_in_what_their_names_say():
    assert count_parameters(ablate.variant("no attention")) < count_parameters(facenest())
    fresh = ablate.variant("blocks begin as identity")
    assert all((block.bn2.weight == 0).all() for stage in fresh.stages for block in stage)
    assert ablate.variant("no high-pass").config.high_pass is False
    changed = {name for name in ablate.PARTS if ablate.PARTS[name]}
    assert changed == set(ablate.PARTS) - {ablate.BASE, "blocks begin as identity"}


@pytest.mark.parametrize("name", NETWORKS)
def test_rivals_answer_with_one_logit_and_obey_the_high_pass(name):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 40, 48)
    seeing, filtered = build(name, high_pass=False).eval(), build(name, high_pass=True).eval()
    assert filtered(x).shape == (2,)
    filtered.load_state_dict(seeing.state_dict())
    assert torch.allclose(filtered(x), filtered(x + 0.5), atol=1e-3)
    assert not torch.equal(seeing(x), filtered(x))


def test_rivals_of_equal_size_are_of_equal_size():
    ours = count_parameters(facenest())
    slim = ("plain ResNet", "SE-ResNet", "CBAM-ResNet", "MobileNetV3-small, slim", "EfficientNet-B0, slim")
    for name in slim:
        assert abs(count_parameters(build(name)) / ours - 1) < 0.05, name


def test_equal_time_means_updates_in_proportion_to_speed():
    speed = {("FaceNeSt", 32): 100.0, ("plain ResNet", 32): 150.0}
    assert ablate.fair_updates(ToyQuestion(), "FaceNeSt", speed) == 3
    question = ToyQuestion()
    question.updates = 300
    assert ablate.fair_updates(question, "plain ResNet", speed) == 450
