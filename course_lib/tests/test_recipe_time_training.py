"""The command that times a training: a row per data set and device, an older one replaced."""

import csv
import sys
from pathlib import Path

import pytest
from test_cli import make_folder

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "data" / "recipe").is_dir():
    pytest.skip("installed without a checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT / "data"))
from recipe import time_training  # noqa: E402


def test_a_row_is_measured_written_and_replaced(tmp_path, monkeypatch, capsys):
    folder = make_folder(tmp_path / "own", {"train": 16, "valid": 4, "test": 6})
    table = tmp_path / "training.csv"
    quick = dict(epochs=1, batch_size=8, crop=32, lr=3e-3, augment="light")
    monkeypatch.setattr(time_training, "LESSON_11", quick)
    monkeypatch.setattr(time_training, "TABLE", table)
    row = time_training.measure(str(folder), None, "cpu")
    assert row["train_images"] == 32 and row["device"] == "one CPU thread"
    assert 0 < row["seconds_of_steps"] and 0 < row["images_per_second"] < row["prepared_per_second"]
    assert 0 <= row["low"] <= row["test_auc"] <= row["high"] <= 1
    for name in ("other", "studio", "other"):
        monkeypatch.setattr(time_training, "measure", lambda data, *_: row | {"data": data})
        monkeypatch.setattr(sys, "argv", ["time_training.py", "--data", name])
        time_training.main()
    rows = list(csv.DictReader(table.open()))
    assert [r["data"] for r in rows] == ["studio", "other"]  # studio first, each once
    assert rows[0].keys() == {key: str(value) for key, value in row.items()}.keys()
