"""Every figure in the README comes from a file that a script wrote: this holds the one to the other."""

import csv
import json
import re
from pathlib import Path

import pytest

from course_lib import audit, load

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "README.md").is_file():
    pytest.skip("installed without a checkout", allow_module_level=True)
TEXT = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
CHECKPOINTS = ROOT / "data" / "checkpoints"


def rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_score_of_studio():
    metrics = json.loads((CHECKPOINTS / "studio" / "config.json").read_text())["metrics"]
    assert f"test AUC {metrics['test']['auc']:.4f} on the same generator and camera" in TEXT
    for quality in (95, 75, 50):
        auc = metrics["auc_after_jpeg"][str(quality)][0]
        assert f"{auc:.3f} (quality {quality})" in TEXT


def test_the_audit():
    table = audit(load("studio")).table.set_index("name")
    thumbnail = table.loc["16×16 thumbnail"]
    interval = f"{thumbnail.low:.3f} to {thumbnail.high:.3f}"
    assert f"thumbnails scores AUC {thumbnail.auc:.3f} (95 % interval {interval})" in TEXT
    for name, words in (
        ("border ring", "border ring"),
        ("file size", "file size"),
        ("shuffled labels", "shuffled labels"),
    ):
        assert re.search(rf"{words} {table.loc[name, 'auc']:.3f}", TEXT), name
    assert f"where the generator's trace is, {table.loc['spectrum', 'auc']:.3f}" in TEXT


def test_the_worth_of_the_high_pass():
    found = {"as it is": [], "without high-pass": []}
    for row in rows(ROOT / "data" / "ablation" / "studio.csv"):
        found[row["variant"]].append(f"{float(row['test_auc']):.2f}")
    for variant, words in (
        ("as it is", "reaches a test AUC of"),
        ("without high-pass", "on plain pixels"),
    ):
        listed = ", ".join(found[variant][:-1]) + " and " + found[variant][-1]
        assert re.search(rf"{words}[^.]*? {listed}", TEXT), listed


def test_the_scores_of_faces():
    table = rows(CHECKPOINTS / "faces" / "held_out_sources.csv")
    aucs = [float(row["auc"]) for row in table if row["kind"] == "both unseen"]
    listed = [f"{auc:.3f}" for auc in aucs]
    assert f"AUC {', '.join(listed[:-1])} and {listed[-1]}" in TEXT
    assert f"mean {sum(aucs) / len(aucs):.3f}" in TEXT
    trained = {row["steps"] for row in table}
    config = json.loads((CHECKPOINTS / "faces" / "config.json").read_text())
    assert trained == {str(config["training"]["epochs"] * config["training"]["batches"])}


def test_the_rivals():
    found = {}
    for row in rows(ROOT / "data" / "ablation" / "rivals.csv"):
        if row["question"] == "studio" and row["high_pass"] == "True":
            found.setdefault(row["network"], []).append(float(row["test_auc"]))
    mean = {name: sum(aucs) / len(aucs) for name, aucs in found.items()}
    assert all(len(aucs) == 5 for aucs in found.values())
    for name in ("plain ResNet", "SE-ResNet", "FaceNeSt", "CBAM-ResNet"):
        assert f"{name} {mean.pop(name):.3f}" in TEXT, name
    own = [mean.pop(f"{name}, no block at full size") for name in ("SE-ResNet", "plain ResNet")]
    assert "no block at full size, SE-ResNet {:.3f} and plain ResNet {:.3f}".format(*own) in TEXT
    assert len(mean) == 4 and f"at most {max(mean.values()):.3f}" in TEXT


def test_what_is_said_of_the_rivals():
    beside = {row["variant"]: row for row in rows(ROOT / "data" / "ablation" / "rivals_paired.csv")}
    low, high = ({name: float(row[end]) for name, row in beside.items()} for end in ("low", "high"))
    assert low["plain ResNet"] < 0 < high["plain ResNet"] and "level with a plain ResNet" in TEXT
    assert high["SE-ResNet"] < 0 and high["CBAM-ResNet"] < 0 and "ahead of the same ResNet" in TEXT
    assert low["SE-ResNet, no block at full size"] > 0 and "behind squeeze-and-excitation on its own" in TEXT
