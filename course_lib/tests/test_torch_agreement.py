"""Does another version of torch give the same numbers? `torch_reference.json` holds those of one version.

    python course_lib/tests/test_torch_agreement.py   # write them anew, with the torch that is installed

The weekly workflow (`.github/workflows`) runs this test with the lowest torch that is supported, the current
one and the next. Sums may be taken in another order, so the numbers agree within a tolerance and not to the
bit: P(fake) within `SCORES`, the losses of a training within `LOSSES` in its first epoch and `LATER` in its
last, for every update passes the differences on.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
import torch

from course_lib import Detector, facenest, fit, load

REFERENCE = Path(__file__).with_name("torch_reference.json")
SCORES, LOSSES, LATER = 1e-4, 1e-4, 1e-2
EPOCHS = 3


def numbers(folder: Path) -> dict:
    """P(fake) of 24 pictures by the shipped detector, and the losses of a small training with seed 0."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sets = load("studio")
        p_fake = Detector.load("studio")([Path(path) for path in sets.test.paths[::25]])
        train, valid = sets.train.subset(range(0, 1600, 8)), sets.valid.subset(range(0, 300, 5))
        torch.manual_seed(0)
        run = fit(facenest(width=8), train, valid, run_dir=folder, epochs=EPOCHS, seed=0, progress=False)
    finally:
        torch.set_num_threads(threads)
    losses = {name: [round(loss, 7) for loss in run.history[name]] for name in ("train_loss", "valid_loss")}
    return {"torch": torch.__version__, "p_fake": [round(float(p), 7) for p in p_fake], **losses}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return json.loads(REFERENCE.read_text("utf-8")), numbers(tmp_path_factory.mktemp("run"))


def test_the_shipped_detector_says_the_same(both):
    stored, now = (found["p_fake"] for found in both)
    assert len(now) == 24 and min(stored) < 0.01 and max(stored) > 0.9  # else there is little to differ
    assert now == pytest.approx(stored, abs=SCORES)


def test_a_training_with_the_same_seed_goes_the_same_way(both):
    stored, now = both
    for name in ("train_loss", "valid_loss"):
        assert len(stored[name]) == EPOCHS and len(set(stored[name])) == EPOCHS
        assert now[name][0] == pytest.approx(stored[name][0], abs=LOSSES), name
        assert now[name] == pytest.approx(stored[name], abs=LATER), name


def test_another_seed_would_be_noticed(both, tmp_path, monkeypatch):
    """The tolerance is narrower than what one seed differs from another."""
    plain = fit
    monkeypatch.setitem(globals(), "fit", lambda *args, **others: plain(*args, **{**others, "seed": 1}))
    other = numbers(tmp_path)
    assert abs(other["train_loss"][0] - both[0]["train_loss"][0]) > 10 * LOSSES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(numbers(Path(folder)), indent=1) + "\n"
    part = REFERENCE.with_name(REFERENCE.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, REFERENCE)
