"""Words and tables: what a number is worth, when a picture is foreign to a model, and harmless CSV."""

import csv
import io
import json
import math

import pytest
from PIL import Image

from course_lib import verdicts
from course_lib.images import jpeg_quality
from course_lib.verdicts import Result, error_rates, error_rates_text


def config(**test):
    return {"metrics": {"test": {"n": 400, "threshold": 0.4, **test}}}


@pytest.mark.parametrize(
    "given, expected",
    [
        (config(fpr=0.05, fnr=0.1), (0.05, 0.1, 400)),
        (config(fpr=0.05, tpr=0.9), (0.05, 0.1, 400)),
        (config(accuracy=1.0), (0.0, 0.0, 400)),
        (config(accuracy=0.9), None),
        (config(fpr=0.05), None),
        (config(fpr="0.05", fnr=0.1), None),
        (config(fpr=0.05, fnr=math.nan), None),
        (config(fpr=True, fnr=0.1), None),
        (config(fpr=0.05, fnr=0.1, threshold=0.5), None),  # counted at another threshold
        (config(fpr=0.05, fnr=0.1, n="many"), (0.05, 0.1, 0)),
        ({}, None),
        ({"metrics": None}, None),
        ({"metrics": {"test": [1]}}, None),
    ],
)
def test_error_rates_are_read_only_where_they_are(given, expected):
    found = error_rates(given, 0.4)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_error_rates_in_words():
    words = error_rates_text(config(fpr=0.05, fnr=0.1), 0.4)
    assert "threshold of 40 %" in words and "400 pictures" in words
    assert "5.0 % of the real ones fake" in words and "10.0 % of the fake ones real" in words
    assert "On other pictures: unknown." in words and "No error in" not in words
    assert "No error in 400 does not mean" in error_rates_text(config(accuracy=1.0), 0.4)
    assert "right on 90.0 % of its test pictures" in error_rates_text(config(accuracy=0.9), 0.4)
    assert "not known" in error_rates_text({}, 0.4)


def test_calibration_in_words():
    assert "divided by 1.62" in verdicts.calibration_text(1.62)
    assert "no calibration" in verdicts.calibration_text(1.0)


def test_what_is_foreign_to_a_model():
    assert verdicts.notes_on((300, 300), None) == verdicts.notes_on((300, 300), 50) == []
    [small] = verdicts.notes_on((300, 63), 90)
    assert "little evidence" in small
    [heavy] = verdicts.notes_on((300, 300), 49)
    assert "quality about 49" in heavy and "50 and up" in heavy
    assert verdicts.notes_on((300, 300), 74, heavy=75) and not verdicts.notes_on((300, 300), 75, heavy=75)
    [large] = verdicts.notes_on((4000, 900), 90, largest=1024)
    assert "1024 × 900 pixels only" in large
    assert len(verdicts.notes_on((40, 2000), 5, largest=1024)) == 3


def test_the_bound_for_heavy_jpeg_comes_from_the_model_s_own_metrics():
    judged = {"metrics": {"auc_after_jpeg": {"95": 1, "30": 1, "x": 1}}}
    assert verdicts.heavy_quality(judged) == 30
    for nothing in (
        {},
        {"metrics": {}},
        {"metrics": {"auc_after_jpeg": 3}},
        {"metrics": {"auc_after_jpeg": {}}},
    ):
        assert verdicts.heavy_quality(nothing) == verdicts.HEAVY_JPEG


def saved(quality: int, kind: str = "JPEG", **settings) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 30).convert("RGB").save(buffer, kind, quality=quality, **settings)
    return buffer.getvalue()


def test_the_quality_of_a_jpeg_is_read_from_its_table():
    assert [jpeg_quality(saved(q)) for q in (1, 10, 35, 50, 75, 95, 100)] == [1, 10, 35, 50, 75, 95, 100]
    flat = [[3] * 64, [3] * 64]  # a table of its own, steps of 3 everywhere: among the good ones
    assert 85 <= jpeg_quality(saved(50, qtables=flat)) <= 99
    first = Image.open(io.BytesIO(saved(15)))
    again = io.BytesIO()
    first.save(again, "JPEG", quality=95)
    assert jpeg_quality(again.getvalue()) == 95  # the last saving only


@pytest.mark.parametrize(
    "data", [b"", b"words", b"\xff\xd8\xff" + bytes(50), saved(50, "PNG"), saved(50)[:30]]
)
def test_no_jpeg_has_no_quality(data):
    assert jpeg_quality(data) is None


# --- tables

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    assert verdicts.harmless_cell(text) == "'" + text


@pytest.mark.parametrize(
    "value, cell",
    [("a=1.jpg", "a=1.jpg"), ("", ""), (None, ""), (-0.5, "-0.5"), ([1, 2], "1 2"), (True, "True")],
)
def test_other_cells_stay_as_they_are(value, cell):
    assert verdicts.harmless_cell(value) == cell


RESULTS = [
    Result("=cmd|' /C calc'!A0.jpg", "m", 0.123456789, 0.4, 300, 200, quality=75, time="2026-01-01T00:00:00"),
    Result('two "words", é.jpg', "m", 0.9, 0.4, 90, 90, part="face 1 of 2", box=(1, 2, 91, 92)),
    Result("bad.jpg", "m", error="it is empty\nand more"),
]


def test_the_csv_can_be_read_again_and_holds_no_formula():
    text = verdicts.results_csv(RESULTS)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == list(verdicts.COLUMNS) and len(rows) == 3
    assert not any(cell[:1] in tuple("=+-@") for row in rows for cell in row.values() if cell)
    assert rows[0]["file"] == "'" + RESULTS[0].name and float(rows[0]["p_fake"]) == RESULTS[0].p_fake
    assert rows[1]["file"] == RESULTS[1].name and rows[1]["box"] == "1 2 91 92"
    assert (
        rows[2]["verdict"] == "not judged"
        and rows[2]["p_fake"] == ""
        and rows[2]["error"] == RESULTS[2].error
    )


def test_the_json_holds_the_same():
    rows = json.loads(verdicts.results_json(RESULTS))
    assert [row["file"] for row in rows] == [r.name for r in RESULTS]
    assert [row["label"] for row in rows] == ["real", "fake", "error"]
    assert rows[0]["p_fake"] == RESULTS[0].p_fake and rows[1]["box"] == [1, 2, 91, 92]
    assert [row["number"] for row in rows] == [1, 2, 3] and rows[2]["p_fake"] is None
