"""`make bench`, the parts training and auc: who is timed did the same work, and tables are read as they are.

The settings are the smallest that work. No timing is judged here: a busy machine must not turn a test red.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from test_bench import BENCH, bench, well_formed  # noqa: F401

from course_lib import facenest

if not BENCH.is_dir():
    pytest.skip("installed without a checkout", allow_module_level=True)


def small():
    return facenest(width=4)


@pytest.fixture
def speed(bench):  # noqa: F811
    return bench("train_speed")


@pytest.fixture
def auc(bench, tmp_path, monkeypatch):  # noqa: F811
    """The script with a table of its own."""
    module = bench("time_to_auc")
    monkeypatch.setattr(module, "TABLE", tmp_path / "table.csv")
    return module


# ------------------------------------------------------------------------------------------------- training
def test_every_way_trains_the_same_network(bench, speed, capsys):  # noqa: F811
    """Else `rows` raises; Lightning and fastai only where they are installed."""
    rows = speed.rows(bench("run_bench").row, 1, images=64, crop=32, make=small)
    assert well_formed(rows)
    missing = capsys.readouterr().out.count("is not installed")
    steps, whole = ([row for row in rows if row["goal"] == goal] for goal in (1, None))
    peers = [row["name"].rsplit("fit against ", 1)[1] for row in steps]
    assert peers[:2] == [speed.PLAIN, speed.CONTIGUOUS] and len(peers) == 4 - missing
    assert all("steps alone" in row["name"] for row in steps) and len(whole) == len(steps) - 1
    assert all("begin to end, with fit's files" in row["name"] and row["runs"] == 2 for row in whole)


def test_a_framework_that_is_not_there_is_left_out_with_a_sentence(speed, monkeypatch, capsys):
    monkeypatch.setitem(speed.PACKAGES, "Lightning", "no_such_package")
    assert "Lightning" not in speed.installed()
    assert "Lightning is not installed: its row is left out" in capsys.readouterr().out


def nudged(model, data, crop, speed):
    """Trains as the others do, and then one bias is a little larger."""
    seconds = speed.by_hand(model, data, crop)
    with torch.no_grad():
        list(model.parameters())[-1].add_(1e-2)
    return seconds


def one_step_short(model, data, crop, speed):
    return speed.by_hand(model, speed.InMemory(data.images[32:], torch.as_tensor(data.labels[32:])), crop)


def other_crops(model, data, crop, speed):
    class Mirrored(speed.InMemory):
        def uint8(self, i):
            return self.images[i].flip(-1)

    return speed.by_hand_contiguous(model, Mirrored(data.images, torch.as_tensor(data.labels)), crop)


@pytest.mark.parametrize("wrong", [nudged, one_step_short, other_crops])
@pytest.mark.parametrize("name", ["a plain loop", "a plain loop without channels last"])
def test_who_does_other_work_is_not_timed(speed, wrong, name):
    ways = {speed.FIT: speed.by_fit, name: lambda model, data, crop: wrong(model, data, crop, speed)}
    with pytest.raises(RuntimeError, match=f"{name} did not train the network that fit trained"):
        speed.measure(ways, speed.studio(64), 32, 1, small)


def test_other_work_in_a_later_run_is_seen_too(speed):
    calls = []

    def way(model, data, crop):
        calls.append(len(data))
        if len(calls) < 3:
            return speed.by_hand(model, data, crop)
        return one_step_short(model, data, crop, speed)

    with pytest.raises(RuntimeError, match="a plain loop did not"):
        speed.measure({speed.FIT: speed.by_fit, speed.PLAIN: way}, speed.studio(96), 32, 2, small)
    assert calls == [64, 96, 96]  # the warm-up, and two runs


# ---------------------------------------------------------------------------------------------- time to AUC
@pytest.fixture
def sets(speed):
    one = speed.studio(32)
    return SimpleNamespace(train=one, valid=one, test=one)


@pytest.mark.parametrize("target, reached", [(1e-9, "yes"), (1.1, "no")])
def test_a_training_ends_at_the_target_or_when_its_time_is_up(auc, sets, monkeypatch, target, reached):
    for name, value in {"TARGET": target, "BATCH": 8, "CROP": 32, "LOOK": 2}.items():
        monkeypatch.setattr(auc, name, value)
    found = auc.train(small, sets, 1e-3, 0, seconds=0.3 if reached == "no" else 60)
    assert found["reached"] == reached and set(found) == set(auc.COLUMNS) - set(auc.KEY)
    assert found["updates"] == 2 if reached == "yes" else float(found["seconds"]) >= 0.3
    assert 0 <= float(found["valid_auc"]) <= float(found["best_valid_auc"]) <= 1


def fake(auc, monkeypatch, finish):
    """Trainings that take no time: `finish(network, lr, seed)` says seconds, or None for *not reached*."""
    calls = []

    def train(make, sets, lr, seed, seconds):
        name = next(name for name, known in auc.NETWORKS.items() if known is make)
        calls.append((name, lr, seed))
        took = finish(name, lr, seed)
        return dict(
            parameters=1, seconds_allowed=seconds, seconds=took or seconds, updates=1, torch="2",
            reached="yes" if took else "no", valid_auc=0.96 if took else 0.5, test_auc=0.9,
            best_valid_auc=0.96 if took else 0.5 + lr,
        )  # fmt: skip

    monkeypatch.setattr(auc, "train", train)
    return calls


def test_the_better_rate_is_chosen_with_the_first_seed_and_finished_trainings_stay(auc, monkeypatch):
    calls = fake(auc, monkeypatch, lambda name, lr, seed: 5 + 1000 * lr if name == auc.OURS else None)
    fill = lambda seconds: auc.fill(auc.TABLE, None, [auc.OURS, "resnet18"], [0, 1], seconds)  # noqa: E731
    fill(30)
    high, low = auc.RATES
    assert calls == [
        (auc.OURS, high, 0), (auc.OURS, low, 0), ("resnet18", high, 0), ("resnet18", low, 0),
        (auc.OURS, low, 1),  # sooner there
        ("resnet18", high, 1),  # neither was there, but the validation AUC was higher
    ]  # fmt: skip
    before = auc.TABLE.read_text()
    calls.clear()
    fill(30)
    assert calls == [] and auc.TABLE.read_text() == before
    auc.TABLE.write_text("".join(line for line in before.splitlines(True) if "resnet18,0.003,1" not in line))
    fill(30)  # interrupted before the last one
    assert calls == [("resnet18", high, 1)]
    calls.clear()
    fill(40)  # more time is for those that did not get there
    assert calls == [("resnet18", high, 0), ("resnet18", low, 0), ("resnet18", high, 1)]


def test_rows_are_medians_and_a_lower_bound_says_so(bench, auc, monkeypatch, capsys):  # noqa: F811
    row = bench("run_bench").row

    def finish(name, lr, seed):
        took = {auc.OURS: 4, "resnet18": 20}.get(name)
        return took and took + seed + 1000 * lr

    fake(auc, monkeypatch, finish)
    networks = [auc.OURS, "resnet18", "efficientnet_b0"]
    auc.fill(auc.TABLE, None, networks, [0, 1], 30)
    assert auc.rows(row, auc.TABLE) == []  # seed 2 is not there
    assert f"{auc.OURS} is not trained with every seed yet" in capsys.readouterr().out
    auc.fill(auc.TABLE, None, networks, [2], 30)
    rows = auc.rows(row, auc.TABLE)
    assert well_formed(rows) and [(r["ours"], r["peer"], r["goal"], r["runs"]) for r in rows] == [
        (6, 22, 2, 3), (6, 30, 2, 3)
    ]  # fmt: skip
    assert all("test AUC of FaceNeSt then 0.9 or more" in row["name"] for row in rows)
    assert rows[0]["name"].endswith("against resnet18, no high-pass in front of it")
    assert rows[1]["name"].endswith("did not reach it in 30 s with 3 of 3 seeds (a lower bound)")
    assert "mobilenet_v3_small is not trained with every seed yet" in capsys.readouterr().out


def test_ours_that_does_not_get_there_gives_no_row(bench, auc, monkeypatch, capsys):  # noqa: F811
    fake(auc, monkeypatch, lambda name, lr, seed: None if (name, seed) == (auc.OURS, 1) else 9)
    auc.fill(auc.TABLE, None, list(auc.NETWORKS), list(auc.SEEDS), 30)
    assert auc.rows(bench("run_bench").row, auc.TABLE) == []
    assert "there are no rows" in capsys.readouterr().out


def test_the_recorded_trainings_are_consistent(bench):  # noqa: F811
    module = bench("time_to_auc")
    table = module.read_table(BENCH / "time_to_auc.csv")
    assert table and len({tuple(row[key] for key in module.KEY) for row in table}) == len(table)
    for row in table:
        assert row["network"] in module.NETWORKS and float(row["lr"]) in module.RATES, row
        assert (row["reached"] == "yes") == (float(row["valid_auc"]) >= module.TARGET), row
        assert row["reached"] == "yes" or float(row["seconds"]) >= float(row["seconds_allowed"]), row
    assert well_formed(module.rows(bench("run_bench").row, BENCH / "time_to_auc.csv"))


# -------------------------------------------------------------------------------------- what made fit quicker
def test_the_seed_of_a_step_is_torchs_own(monkeypatch):
    """Without an accelerator only the processor's generator is seeded: to the same state as by torch."""
    from course_lib.training import seed_everything

    drawn = []
    for there in (True, False):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        generator = seed_everything(3, 4, 5)
        drawn.append(torch.cat([torch.rand(5), torch.rand(5, generator=generator)]))
    assert torch.equal(*drawn) and not torch.equal(drawn[0][:5], drawn[0][5:])
