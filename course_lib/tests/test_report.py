"""`report`: its numbers are those of the metrics; files all or nothing; bad data gets a sentence."""

import json
import os
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from toys import ToySet, toy  # noqa: E402

from course_lib import (  # noqa: E402
    CourseError,
    DataError,
    Detector,
    ModelInputError,
    Preprocessing,
    Report,
    __main__,
    accuracy,
    brier_score,
    calibration,
    delong,
    expected_calibration_error,
    facenest,
    fit_temperature,
    mcnemar,
    precision_at_prevalence,
    report,
    roc_auc,
    save_checkpoint,
    tpr_at_fpr,
)
from course_lib.evaluation import choose_threshold, fast_auc, predict_logits, to_probability  # noqa: E402
from course_lib.report import cross_entropy  # noqa: E402


class Scored:
    """A data set of tiny distinct images whose labels and scores are made up."""

    def __init__(self, n=80, shift=1.2, seed=0, name="made up"):
        rng = np.random.default_rng(seed)
        self.labels, self.name = np.arange(n) % 2, name
        self.scores = to_probability(2.5 * (rng.normal(size=n) + shift * (self.labels - 0.5)))
        self.seed = seed

    def __len__(self):
        return len(self.labels)

    def uint8(self, i):
        generator = torch.Generator().manual_seed(1000 * self.seed + i)
        return torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8, generator=generator)


def scores(dataset):
    return dataset.scores


def noisy(dataset):
    return np.clip(dataset.scores + np.random.default_rng(3).normal(size=len(dataset)) * 0.3, 0, 1)


SETS = SimpleNamespace(valid=Scored(seed=1), test=Scored(seed=2), name="made up")


@pytest.fixture(scope="module")
def whole():
    return report(scores, SETS, baseline=noisy, n_bootstrap=60)


def value(found, key):
    return found.numbers["metrics"][key]["value"]


def test_every_number_is_that_of_its_metric(whole):
    logit = np.log(SETS.valid.scores) - np.log1p(-SETS.valid.scores)
    T = fit_temperature(SETS.valid.labels, logit)
    p_valid, y = to_probability(logit, T), SETS.test.labels
    p = to_probability(np.log(SETS.test.scores) - np.log1p(-SETS.test.scores), T)
    cut = choose_threshold(SETS.valid.labels, p_valid)
    assert whole.numbers["temperature"] == pytest.approx(T)
    assert whole.numbers["threshold"] == pytest.approx(cut)
    np.testing.assert_allclose(whole.p, p)
    np.testing.assert_allclose(whole.raw, SETS.test.scores, atol=1e-12)
    for key, expected in {
        "auc": roc_auc(y, p),
        "tpr_at_1pct_fpr": tpr_at_fpr(y, p, 0.01),
        "accuracy": accuracy(y, p, cut),
        "brier": brier_score(y, p),
        "brier_before": brier_score(y, SETS.test.scores),
        "log_loss": calibration.log_loss(y, p),
        "ece": expected_calibration_error(y, p),
        "tpr": np.mean(p[y == 1] >= cut),
        "fpr": np.mean(p[y == 0] >= cut),
        "precision": np.mean(y[p >= cut]),
    }.items():
        assert value(whole, key) == pytest.approx(expected), key
    assert value(whole, "precision_at_1pct") == pytest.approx(
        precision_at_prevalence(value(whole, "tpr"), value(whole, "fpr"), 0.01)
    )
    for row in whole.table.itertuples():
        assert row.low <= row.value + 1e-9 and row.value <= row.high + 1e-9, row.measure
    assert whole.numbers["threshold_from"] == "chosen on validation"


def test_the_comparison_is_that_of_the_metrics(whole):
    y, theirs = SETS.test.labels, noisy(SETS.test)
    cut = choose_threshold(SETS.valid.labels, noisy(SETS.valid))
    counts = mcnemar((whole.p >= whole.numbers["threshold"]) == y, (theirs >= cut) == y)
    baseline = whole.numbers["baseline"]
    assert baseline["mcnemar_p"] == counts.p_value and baseline["only_detector_right"] == counts.only_a
    # to be drawn from logits, 0 and 1 are moved in by the smallest amount
    assert baseline["auc_difference"] == pytest.approx(delong(y, whole.p, theirs).difference, abs=1e-6)
    assert baseline["name"] == "noisy" and "Against noisy" in whole.notes[0]


def test_the_test_labels_choose_nothing():
    turned = SimpleNamespace(valid=SETS.valid, test=Scored(seed=2), name="turned")
    turned.test.labels = 1 - turned.test.labels
    one, other = report(scores, SETS, n_bootstrap=5), report(scores, turned, n_bootstrap=5)
    for key in ("threshold", "temperature"):
        assert one.numbers[key] == other.numbers[key]
    assert value(other, "auc") == pytest.approx(1 - value(one, "auc"))
    assert any("inverted" in note for note in other.notes) and not any("inverted" in n for n in one.notes)


def test_table_figure_and_json(whole):
    assert isinstance(whole, Report)
    assert list(whole.table.columns) == ["key", "measure", "value", "low", "high", "interval"]
    assert json.loads(whole.to_json())["metrics"]["auc"]["value"] == value(whole, "auc")
    figure = whole.figure()
    assert len(figure.axes) == 4 and not matplotlib.pyplot.get_fignums()
    assert [line.get_text() for line in figure.axes[0].get_legend().get_texts()][1].startswith("noisy")
    assert "ROC-AUC" in repr(whole) and whole.notes[0] in repr(whole)
    assert "<table" in whole._repr_html_()


def test_files(whole, tmp_path):
    (tmp_path / "mine.txt").write_text("stays")
    assert whole.save(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    whole.save(tmp_path)
    names = ["mine.txt", "report.json", "report.png", "scores.csv", "table.csv"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == names
    rows = pd.read_csv(tmp_path / "scores.csv")
    assert roc_auc(rows.y.to_numpy(), rows.p_fake.to_numpy()) == pytest.approx(value(whole, "auc"))
    with pytest.raises(CourseError, match="cannot be put there"):
        whole.save(tmp_path / "mine.txt")


def test_an_interruption_leaves_the_old_file(whole, tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CourseError, match="No space left on device"):
        whole.save(tmp_path)
    assert (tmp_path / "report.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_detectors_in_every_form(tmp_path):
    torch.manual_seed(0)
    model = facenest(width=4).eval()
    data = ToySet(24)
    logits = predict_logits(model, data.images)
    folder = save_checkpoint(tmp_path / "mine", model, threshold=0.4, temperature=2.0)
    found = {
        "network": report(model, data, n_bootstrap=5),
        "detector": report(
            Detector(model, temperature=2.0, threshold=0.4, device="cpu"), data, n_bootstrap=5
        ),
        "folder": report(folder, data, n_bootstrap=5),
        "function": report(lambda _: to_probability(logits), data, n_bootstrap=5),
    }
    for name, each in found.items():
        assert value(each, "auc") == pytest.approx(fast_auc(data.labels, logits)), name
    assert found["folder"].numbers["threshold"] == 0.4 and found["folder"].numbers["temperature"] == 2
    assert found["network"].numbers["threshold"] == 0.5
    assert value(found["folder"], "brier") == pytest.approx(value(found["detector"], "brier"))
    assert found["folder"].numbers["detector"] == "mine"
    cropped = Detector(model, Preprocessing(crop=32), device="cpu")
    assert not np.allclose(report(cropped, data, n_bootstrap=2).p, found["network"].p)


def test_a_baseline_of_the_same_name_is_told_apart():
    assert report(scores, SETS, baseline=scores, n_bootstrap=5).numbers["baseline"]["name"] != "scores"


class Bright(nn.Module):
    """A detector to whom bright images are fakes; the parameter only says where it lives."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.factor * x.mean((1, 2, 3))


class DarkOrBright:
    """Twenty images, the bright ones fake."""

    labels, name = np.arange(20) % 2, "dark or bright"

    def __len__(self):
        return 20

    def uint8(self, i):
        return torch.full((3, 32, 32), 200 if i % 2 else 60, dtype=torch.uint8)


def test_where_no_temperature_fits_the_detector_keeps_its_own():
    easy = DarkOrBright()
    detector = Detector(Bright(), temperature=0.789, device="cpu")
    found = report(detector, SimpleNamespace(valid=easy, test=easy, name="easy"), n_bootstrap=5)
    assert found.numbers["temperature"] == 0.789
    assert found.numbers["temperature_from"] == "the detector's own"
    note = next(note for note in found.notes if "temperature stays" in note)
    assert note.startswith("The temperature stays 0.789: All 20") and "keep the one you have" in note


def test_what_the_numbers_cannot_say():
    perfect = Scored(20)
    perfect.scores = np.where(perfect.labels == 1, 0.9, 0.1)
    found = report(scores, SimpleNamespace(valid=perfect, test=perfect, name="easy"), n_bootstrap=5)
    notes = " ".join(found.notes)
    assert "The temperature stays 1" in notes and "Only 10 real and 10 fake images" in notes
    assert "not certainty" in notes and "up to 30 %" in notes
    assert "10 reals cannot show an FPR of 0.1 %" in notes
    tiny = Scored(2)
    tiny.scores = np.array([0.4, 0.6])
    assert value(report(scores, tiny, baseline=noisy, n_bootstrap=5), "auc") == 1


def test_copies_are_found():
    data = Scored(30)
    data.uint8 = lambda i: Scored.uint8(data, i % 20)
    found = report(scores, data, n_bootstrap=5)
    assert found.numbers["copies"] == 10 and any("10 of 30 images are exact copies" in n for n in found.notes)
    assert report(scores, Scored(30), n_bootstrap=5).numbers["copies"] == 0


def changed(**changes):
    data = Scored(20)
    for name, new in changes.items():
        setattr(data, name, new)
    return data


NAN_IMAGES = torch.full((3, 40, 40), float("nan"))


@pytest.mark.parametrize(
    ("detector", "data", "words"),
    [
        (scores, changed(labels=np.ones(20)), "On the test images: All 20 images are fake"),
        (scores, changed(scores=np.full(20, np.nan)), "20 of 20 scores are NaN"),
        (scores, changed(scores=np.full(19, 0.5)), "20 labels but 19 scores"),
        (scores, changed(scores=np.linspace(-2, 2, 20)), "sigmoid"),
        (scores, changed(labels=np.array(["real", "fake"] * 10)), "the first label is 'real'"),
        (scores, changed(labels=[], scores=[]), "nothing to judge"),
        (scores, SimpleNamespace(valid=changed(labels=np.zeros(20)), test=Scored(20)), "On the validation"),
        (scores, [1, 2, 3], "type list cannot be judged on"),
        (scores, None, "type NoneType cannot be judged on"),
        (scores, "no such set", "no data set"),
        (3, Scored(20), "type int cannot be judged"),
        ("no such checkpoint", Scored(20), "no checkpoint named"),
        (lambda _: None, Scored(20), "flat lists"),
    ],
)  # fmt: skip
def test_bad_data_gets_a_sentence(detector, data, words):
    with pytest.raises(CourseError) as error:
        report(detector, data, n_bootstrap=5)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_no_draws_at_all_and_seeds_that_are_none():
    with pytest.raises(DataError, match="n_bootstrap is a number of draws, 1 or more, not 0"):
        report("studio", "studio", n_bootstrap=0)
    for seed in (-1, 1.5, "a"):
        with pytest.raises(DataError, match="seed is a whole number, 0 or more, not"):
            report("studio", "studio", seed=seed)


def test_images_that_are_none():
    class Holes(ToySet):
        def uint8(self, i):
            return NAN_IMAGES if i == 3 else self.images[i]

    with pytest.raises(ModelInputError, match=r"Image 3 is a float32 tensor \[3, 40, 40\] with NaN in it"):
        report(toy(), Holes(8), n_bootstrap=5)


def test_a_model_that_answers_nan():
    broken = toy()
    torch.nn.init.constant_(broken.head[1].bias, float("nan"))
    with pytest.raises(DataError, match="8 of 8 scores are NaN, the first at index 0"):
        report(broken, ToySet(8), n_bootstrap=5)


def test_cross_entropy_is_scikit_learns():
    y, p = SETS.test.labels, SETS.test.scores
    assert cross_entropy(y, p) == pytest.approx(calibration.log_loss(y, p))
    assert np.isfinite(cross_entropy(np.array([0, 1]), np.array([1.0, 0.0])))


def test_command(tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    folder = save_checkpoint(tmp_path / "mine", facenest(width=4))
    monkeypatch.setattr("course_lib.data.load", lambda name, root: SimpleNamespace(
        valid=ToySet(16, seed=1), test=ToySet(16, seed=2), name=name))  # fmt: skip
    command = ["report", "--checkpoint", str(folder), "--data", "toys", "--draws", "5", "--device", "cpu"]
    assert __main__.main([*command, "--out", str(tmp_path / "out")]) == 0
    out, _ = capsys.readouterr()
    assert "mine on toys: 8 real, 8 fake images" in out and "Written: report.json" in out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["n"] == 16
    assert __main__.main([*command, "--baseline", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "Against mine (baseline)" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert __main__.main([*command, "--out", str(tmp_path / "file")]) == 1
    assert "cannot be put there" in capsys.readouterr().err


def test_a_baseline_that_ranks_better_is_said_to(whole):
    """The same comparison with the sides exchanged."""
    other = report(noisy, SETS, baseline=scores, n_bootstrap=5)
    assert whole.numbers["baseline"]["auc_low"] > 0 > other.numbers["baseline"]["auc_high"]
    [told] = [note for note in whole.notes if note.startswith("Against noisy")]
    assert "DeLong): scores ranks better on images of this kind" in told
    [told] = [note for note in other.notes if note.startswith("Against scores")]
    assert "DeLong): scores ranks better on images of this kind" in told
