"""Metrics against hand-worked numbers and scikit-learn; bad input gets a sentence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from toys import ToySet, toy

from course_lib import (
    DataError,
    Detector,
    ModelInputError,
    Preprocessing,
    accuracy,
    bootstrap_interval,
    choose_threshold,
    evaluate,
    evaluation,
    predict_scores,
    roc_auc,
    wilson_interval,
)
from course_lib.evaluation import fast_auc, predict_logits, summary, to_probability, tpr_at_fpr


def some_scores(n=200, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return y, to_probability(rng.normal(size=n) + shift * y)


#  metrics --------------------------------------------------------------------------------------------------


def test_auc_by_hand():
    # of the four pairs (fake, real), three are in order and none is tied
    assert roc_auc([1, 0, 1, 0], [0.9, 0.5, 0.4, 0.1]) == 0.75
    assert roc_auc([1, 0], [0.5, 0.5]) == 0.5
    assert roc_auc([1, 0], [0.1, 0.9]) == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_fast_auc_is_scikit_learns(pairs):
    y, p = np.array([a for a, _ in pairs], dtype=int), np.array([b / 5 for _, b in pairs])
    if 0 < y.sum() < len(y):
        assert fast_auc(y, p) == pytest.approx(roc_auc_score(y, p))


def test_accuracy_counts_the_threshold_as_fake():
    assert accuracy([1, 0, 1, 0], [0.5, 0.5, 0.9, 0.1]) == 0.75
    assert accuracy([1, 1], [0.2, 0.3], threshold=0.25) == 0.5


def test_wilson_interval_by_hand():
    # (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), worked out on paper for 13 of 20 with z = 1.96
    assert wilson_interval(13, 20) == pytest.approx((0.433, 0.819), abs=5e-4)
    assert wilson_interval(13, 20, level=0.5) == pytest.approx((0.576, 0.717), abs=2e-3)
    low, high = wilson_interval(0, 20)
    assert low == 0 and 0.1 < high < 0.2
    assert wilson_interval(20, 20) == pytest.approx((1 - high, 1 - low))
    assert wilson_interval(np.int64(3), 5.0) == wilson_interval(3, 5)


@pytest.mark.parametrize(
    "k, n",
    [(21, 20), (-1, 20), (0, 0), ("13", 20.5), ("many", 20), (None, 20), ([1], 20), (float("nan"), 20),
     (3, float("inf")), (2.5, 20), (True, 20)],
)  # fmt: skip
def test_wilson_interval_says_what_is_wrong(k, n):
    with pytest.raises(DataError, match=r"^(wilson_interval counts|There cannot be).*\.$"):
        wilson_interval(k, n)


@pytest.mark.parametrize("level", [0, 1, 95, "high", None])
def test_wilson_interval_refuses_a_level_outside_0_and_1(level):
    with pytest.raises(DataError, match="level"):
        wilson_interval(1, 2, level)


def test_tpr_at_fpr_by_hand():
    y, p = np.r_[np.zeros(100), np.ones(4)], np.r_[np.linspace(0, 0.8, 100), 0.1, 0.795, 0.9, 1.0]
    assert tpr_at_fpr(y, p, 0.01) == 0.75  # one real of a hundred may be accused
    assert tpr_at_fpr(y, p, 0.0) == 0.5


def test_threshold_is_in_the_middle_of_the_gap():
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == pytest.approx(0.5)
    assert choose_threshold([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.9]) == pytest.approx(0.6)
    assert choose_threshold([0, 1], [0.3, 0.3]) == 0.5
    y, p = some_scores()
    best = choose_threshold(y, p)
    assert accuracy(y, p, best) >= max(accuracy(y, p, t) for t in np.linspace(0, 1, 101)) - 1e-9


def test_interval():
    y, p = some_scores()
    low, high = bootstrap_interval(roc_auc, y, p, n=200)
    assert low < roc_auc(y, p) < high and 0.05 < high - low < 0.25
    assert (low, high) == bootstrap_interval(roc_auc, y, p, n=200)
    assert (low, high) != bootstrap_interval(roc_auc, y, p, n=200, seed=1)
    narrow = bootstrap_interval(roc_auc, y, p, n=200, level=0.5)
    assert low < narrow[0] < narrow[1] < high
    assert bootstrap_interval(roc_auc, [0, 0, 1, 1], [0, 0, 1, 1], n=50) == (1.0, 1.0)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    truth = 0.7602  # of two normal distributions one standard deviation apart: Phi(1 / sqrt 2)
    hits = 0
    for seed in range(100):
        low, high = bootstrap_interval(fast_auc, *some_scores(120, 1.0, seed), n=200)
        hits += low <= truth <= high
    assert 86 <= hits <= 100


def test_summary():
    y, p = some_scores()
    numbers = summary(y, p, 0.6, n_bootstrap=50)
    assert numbers["n"] == 200 and numbers["n_real"] == numbers["n_fake"] == 100
    assert numbers["auc"] == roc_auc(y, p) and numbers["threshold"] == 0.6
    assert numbers["accuracy_interval"][0] <= numbers["accuracy"] <= numbers["accuracy_interval"][1]
    assert not numbers["inverted"] and summary(y, 1 - p, n_bootstrap=10)["inverted"]


def test_a_coin_is_not_called_inverted():
    y, p = np.array([0, 1] * 20), np.random.default_rng(1).uniform(size=40)
    p = p if fast_auc(y, p) < 0.5 else 1 - p
    numbers = summary(y, p, n_bootstrap=200)
    assert 0.4 < numbers["auc"] < 0.5 < numbers["auc_interval"][1] and not numbers["inverted"]


@pytest.mark.parametrize("metric", [roc_auc, accuracy, tpr_at_fpr, choose_threshold, summary])
@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([0, 1, 1], [0.1, 0.2], "3 labels but 2 scores"),
        ([0, 1], [0.1, np.nan], "1 of 2 scores are NaN, the first at index 1"),
        ([], [], "nothing to judge"),
        ([0, 2], [0.1, 0.2], "one of them is 2"),
        ([0, np.nan], [0.1, 0.2], "Labels must be 0"),
        ([0, 1], [-3.0, 4.0], "sigmoid"),
        ([0, 1], [0.5, np.inf], "from 0 to 1"),
        ([[0, 1]], [[0.1, 0.2]], "flat lists"),
        (["real", "fake"], [0.1, 0.2], "must be numbers"),
        ([0, 1], None, "flat lists"),
    ],
)
def test_bad_input_gets_a_sentence(metric, y, p, words):
    with pytest.raises(DataError) as error:
        metric(y, p)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("metric", [roc_auc, tpr_at_fpr, choose_threshold, summary])
@pytest.mark.parametrize(("label", "word"), [(0, "real"), (1, "fake")])
def test_one_class_gets_a_sentence(metric, label, word):
    with pytest.raises(DataError, match=f"All 3 images are {word}"):
        metric([label] * 3, [0.1, 0.2, 0.3])


def test_impossible_bootstraps():
    for options in ({"n": 0}, {"level": 1.0}):
        with pytest.raises(DataError, match="bootstrap_interval needs"):
            bootstrap_interval(roc_auc, [0, 1], [0.1, 0.2], **options)


def test_probabilities_do_not_overflow():
    assert to_probability(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert to_probability(np.array([2.0]), 2.0) == pytest.approx(1 / (1 + np.exp(-1)))


#  scores ---------------------------------------------------------------------------------------------------


def test_scores_are_those_of_one_image_at_a_time():
    data, model = ToySet(30, sides=(40, 32, 64)), toy().eval()
    preprocessing = Preprocessing(crop=32, crops=3)
    expected = []
    for i in range(30):
        with torch.no_grad():
            x = preprocessing.normalise(preprocessing.views(data.uint8(i)))
            expected.append(torch.sigmoid(model(x).double().mean()).item())
    for batch_size in (1, 4, 64):
        np.testing.assert_allclose(
            predict_scores(model, data, preprocessing, batch_size), expected, atol=1e-6
        )


def test_the_model_is_left_as_it_was():
    model = toy().train()
    before = model.features[1].running_mean.clone()
    predict_scores(model, ToySet(4))
    assert model.training and torch.equal(model.features[1].running_mean, before)


def test_no_images():
    assert predict_logits(toy(), []).shape == (0,)


def test_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", 4 * 40 * 40)
    waiting, most = [], 0
    # forty sizes, none of which ever fills a batch of 64
    for _, views in evaluation.batches_of_one_shape(
        (torch.zeros(3, 40 + i % 40, 40, dtype=torch.uint8) for i in range(200)), Preprocessing(), 64
    ):
        waiting.append(len(views))
        most = max(most, views.numel())
    assert sum(waiting) == 200 and most <= 3 * 4 * 40 * 40


def test_an_answer_of_the_wrong_shape():
    two = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 40 * 40, 2))
    with pytest.raises(ModelInputError, match="one logit of fake per image"):
        predict_scores(two, ToySet(3))


def test_evaluate_model_and_detector():
    data, model = ToySet(20), toy()
    numbers = evaluate(model, data, n_bootstrap=20)
    detector = Detector(model, temperature=2.0, threshold=0.3, device="cpu")
    judged = evaluate(detector, data, n_bootstrap=20)
    assert judged["auc"] == numbers["auc"] and judged["threshold"] == 0.3 and numbers["threshold"] == 0.5
    with pytest.raises(ModelInputError, match="its own preprocessing"):
        evaluate(detector, data, Preprocessing())
