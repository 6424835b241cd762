"""The script behind lesson 15's tables: parts of the data, groups, frozen features, equal time; on toys."""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
for folder in ("data", "data/recipe"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from recipe import transfer  # noqa: E402
from recipe.ablate_ingredients import read_table  # noqa: E402

TABLE = ROOT / "data" / "ablation" / "transfer.csv"


class Toy(transfer.FewStudio):
    """Fakes are brighter, and nothing else."""

    def __init__(self, images):
        self.images = images
        labels = (torch.arange(60) % 2).float()
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 100, (60, 3, 40, 40), generator=generator, dtype=torch.uint8)
        pixels += (100 * labels)[:, None, None, None].to(torch.uint8)
        self.data = {part: (pixels, labels) for part in ("train", "valid", "test")}


def test_a_smaller_set_is_half_fake_and_part_of_a_larger_one():
    few, more = set(Toy(10).chosen(3).tolist()), set(Toy(40).chosen(3).tolist())
    assert len(few) == 10 and len(more) == 40 and few < more
    assert Toy(10).data["train"][1][Toy(10).chosen(3)].mean() == 0.5
    assert few != set(Toy(10).chosen(4).tolist())


def test_batches_are_full_and_the_same_for_the_same_seed():
    first, again = (list(islice(Toy(10).batches("all", 0), 3)) for _ in range(2))
    for (x, y), (x_again, y_again) in zip(first, again, strict=True):
        assert x.shape == (transfer.BATCH, 3, 32, 32) and torch.equal(x, x_again) and torch.equal(y, y_again)
    assert not torch.equal(first[0][0], next(Toy(10).batches("all", 1))[0])


def test_every_weight_is_in_one_group_and_the_head_has_its_own_rate():
    model = transfer.Enlarged(transfer.EfficientNetTrunk(stages=1))
    groups = transfer.groups(model, transfer.ARMS[transfer.TUNED], 1e-4)
    assert [group["lr"] for group in groups] == [1e-4, transfer.HEAD_RATE]
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in model.network.head.parameters()} == {id(p) for p in groups[1]["params"]}


def test_a_frozen_body_stays_as_it_was_and_its_regression_learns(monkeypatch):
    torch.manual_seed(0)
    model = transfer.Enlarged(transfer.EfficientNetTrunk(stages=1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    arm = transfer.Arm(lambda: model, (1.0,), frozen=True)
    answer = transfer.regress(model, arm, Toy(40).batches("all", 0), 4, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    speed = {"toy": 1e9}
    monkeypatch.setitem(transfer.ARMS, "toy", arm)
    answers, updates, seconds = transfer.train_once(Toy(40), "toy", 0, 1.0, speed)
    assert transfer.score(answers, [("test real", "test fake")]) == 1.0
    assert updates == -(-transfer.EACH * 40 // transfer.BATCH) and seconds > 0
    assert answer(torch.zeros(2, 3, 32, 32)).shape == (2,)


def test_calibration_changes_statistics_only():
    torch.manual_seed(0)
    model = transfer.Enlarged(transfer.EfficientNetTrunk(stages=1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    arm = transfer.Arm(lambda: model, (1.0,), frozen=True, calibrate=True)
    transfer.regress(model, arm, Toy(40).batches("all", 0), 4, 1.0)
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all("running" in name or "num_batches" in name for name in changed)
    assert not any(part.training for part in model.modules() if isinstance(part, nn.BatchNorm2d))


def test_time_buys_updates():
    arm = transfer.ARMS["FaceNeSt"]
    assert not arm.frozen
    _, updates, _ = transfer.train_once(Toy(40), "FaceNeSt", 0, 3e-3, {"FaceNeSt": 8.0})
    assert updates == round(transfer.SECONDS * 8.0 / transfer.BATCH) == 3


def test_a_new_speed_is_put_on_the_clock_of_the_old_ones():
    old = {"changed": 100.0, "slow": 10.0, "fast": 1000.0, "middle": 50.0}
    # The machine is half as fast as it was, by the median.
    new = {"changed": 90.0, "slow": 5.0, "fast": 500.0, "middle": 20.0}
    found = transfer.on_the_old_clock(new, old, {"changed"})
    assert found == old | {"changed": 180.0}
    assert transfer.on_the_old_clock(new, {}, {"changed"}) == new  # no table yet: everything is new
    assert transfer.on_the_old_clock(new, old, set(new)) == new


def test_the_stored_rows_are_whole_and_at_equal_time():
    if not TABLE.is_file():
        pytest.skip("the table has not been made")
    rows = read_table(TABLE)
    speed = {
        r["network"]: float(r["images_per_second"]) for r in read_table(TABLE.with_name("transfer_speed.csv"))
    }
    speed |= {name: speed[other] for name, other in transfer.SAME_SPEED.items()}
    for row in rows:
        budget = transfer.LONG if "long" in row["question"] else transfer.SECONDS
        allowed = round(budget * speed[row["network"]] / transfer.BATCH)
        if transfer.ARMS[row["network"]].frozen:
            assert int(row["updates"]) <= allowed
        else:
            assert int(row["updates"]) == allowed
        low, auc, high = (float(row[name]) for name in ("low", "test_auc", "high"))
        assert 0 <= low <= auc <= high <= 1
    keys = [(row["question"], row["images"], row["network"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["question"] for row in rows} <= {"studio", "unseen", "studio, long"}


def test_the_paired_table_holds_differences_of_the_rows():
    paired = TABLE.with_name("transfer_paired.csv")
    if not paired.is_file():
        pytest.skip("the table has not been made")
    rows = read_table(TABLE)

    def mean(question, images, network):
        found = [
            float(r["test_auc"])
            for r in rows
            if (r["question"], r["images"], r["network"]) == (question, images, network)
        ]
        assert len(found) == 3
        return np.mean(found)

    for row in read_table(paired):
        place = row["question"], row["images"]
        difference = mean(*place, row["network"]) - mean(*place, row["against"])
        assert abs(difference - float(row["difference"])) < 2e-4
        assert float(row["low"]) <= difference + 2e-4 and difference - 2e-4 <= float(row["high"])
