"""What ships keeps its promises: the audit's bounds, the checksums, the cards' numbers, the size."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from course_lib import Detector, audit, evaluate, load, verify_embedded
from course_lib.checkpoints import load_checkpoint
from course_lib.facenest import FaceNeStConfig, count_parameters
from course_lib.layers import BRANCHES

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
if not (DATA / "studio").is_dir():
    pytest.skip("installed without a checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def sets():
    return load("studio")


def test_every_embedded_file_is_the_one_that_was_committed():
    assert verify_embedded(DATA) == []


def test_embedded_data_is_small():
    files = [path for path in DATA.rglob("*") if path.is_file() and "studio_work" not in path.parts]
    size = sum(path.stat().st_size for path in files)
    assert size <= 30_000_000


def test_counts_and_sizes_of_studio(sets):
    for split, count in (("train", 1600), ("valid", 300), ("test", 600)):
        part = getattr(sets, split)
        assert len(part) >= count
        assert part.labels.sum() * 2 == len(part)
        assert part.labels.dtype.kind == "i"
        assert set(np.unique(part.labels)) == {0, 1}
        folders = np.array([Path(path).parent.name for path in part.paths])
        assert np.array_equal(folders == "fake", part.labels == 1)
    assert sets.test.uint8(0).shape == (3, 128, 128)


def test_nobody_appears_twice():
    people = pd.read_csv(DATA / "studio" / "people.csv")
    assert people["person"].is_unique


def test_studio_keeps_the_bounds_of_its_audit(sets):
    table = audit(sets).table.set_index("name")
    for name in ("16×16 thumbnail", "border ring", "file size"):
        assert table.loc[name, "auc"] <= 0.60, f"{name}: {table.loc[name, 'auc']:.3f}"
    assert 0.45 <= table.loc["shuffled labels", "auc"] <= 0.55


@pytest.mark.parametrize("name", ["studio", "studio_attention"])
def test_the_detectors_of_studio_score_what_their_cards_say(sets, name):
    folder = DATA / "checkpoints" / name
    checkpoint = load_checkpoint(folder)
    claimed = checkpoint.config["metrics"]["test"]
    found = evaluate(Detector.load(folder), sets.test)
    assert found["auc"] >= 0.98
    assert found["auc"] == pytest.approx(claimed["auc"], abs=2e-3)
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert f"{claimed['auc']:.4f}" in card and f"{count_parameters(checkpoint.model):,} parameters" in card


def test_what_each_checkpoint_is_for():
    assert load_checkpoint(DATA / "checkpoints" / "studio").model.config == FaceNeStConfig()
    attention = load_checkpoint(DATA / "checkpoints" / "studio_attention").model.config
    assert attention.attend == (2, 3) and set(attention.branches) == set(BRANCHES)


def test_the_faces_card_repeats_its_table():
    folder = DATA / "checkpoints" / "faces"
    table = pd.read_csv(folder / "held_out_sources.csv", dtype=str)
    card = (folder / "card.md").read_text(encoding="utf-8")
    counting = table[table["kind"] == "both unseen"]
    assert len(counting) == 4, "leave one real and one fake source out, every pairing"
    for row in table.itertuples():
        assert f"| {row.auc} | {row.low} to {row.high} |" in card
    below = table["high"].astype(float) < 0.5  # the whole interval
    assert card.count("| **inverted** |") == below.sum() and ((table["inverted"] == "yes") == below).all()
    claimed = json.loads((folder / "config.json").read_text())["metrics"]["auc_both_sources_unseen"]
    assert sorted(claimed) == sorted(counting["auc"].astype(float))


def test_the_data_card_shows_the_tables_of_the_data():
    command = [sys.executable, str(DATA / "describe_studio.py")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert shown.stdout in (DATA / "README.md").read_text(encoding="utf-8")


def test_the_label_says_nothing_about_the_people():
    text = (DATA / "README.md").read_text(encoding="utf-8")
    p_values = [float(p) for p in re.findall(r"\| ([01]\.\d\d) \|$", text, re.M)]
    assert len(p_values) >= 10
    assert min(p_values) > 0.05 / len(p_values) / 5  # far from what chance would do among so many tests
