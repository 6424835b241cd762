"""Average precision, EER, thresholds, comparisons, calibration, against hand-worked numbers and other ways to
compute them; bad data gets one sentence."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, log_loss, roc_curve

from course_lib import (
    CourseError,
    DataError,
    average_precision,
    brier_score,
    calibration,
    confusion,
    delong,
    equal_error_rate,
    expected_calibration_error,
    fit_temperature,
    mcnemar,
    paired_bootstrap,
    plots,
    precision_at_prevalence,
    reliability,
    roc_auc,
    threshold_at_fpr,
    tpr_at_fpr,
)
from course_lib.evaluation import (
    accuracy,
    bootstrap_interval,
    choose_threshold,
    crossing,
    delong_interval,
    fast_auc,
    roc_points,
    to_probability,
    win_shares,
)

Y = np.array([1, 1, 0, 1, 1, 0, 1, 0, 0, 0])
A = np.array([0.95, 0.90, 0.80, 0.70, 0.65, 0.45, 0.40, 0.30, 0.20, 0.10])
B = np.array([0.85, 0.35, 0.60, 0.80, 0.30, 0.75, 0.70, 0.20, 0.55, 0.10])


def some(n=200, shift=1.0, seed=0, other=0.7):
    """Labels, and scores of two detectors that have most of their noise in common."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    noise = rng.normal(size=n)
    first = noise + 0.4 * rng.normal(size=n) + shift * y
    second = noise + 0.4 * rng.normal(size=n) + other * y
    return y, to_probability(first), to_probability(second)


labels_and_scores = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40).filter(
    lambda pairs: 2 <= sum(a for a, _ in pairs) <= len(pairs) - 2
)


def parted(pairs):
    return np.array([a for a, _ in pairs], dtype=int), np.array([b / 6 for _, b in pairs])


#  ranking --------------------------------------------------------------------------------------------------


def test_ten_pictures_as_on_paper():
    assert roc_auc(Y, A) == pytest.approx(0.84) and roc_auc(Y, B) == pytest.approx(0.72)
    assert average_precision(Y, A) == pytest.approx((1 + 1 + 3 / 4 + 4 / 5 + 5 / 7) / 5)
    assert equal_error_rate(Y, A) == pytest.approx(0.2)
    assert confusion(Y, A, 0.5).tolist() == [[4, 1], [1, 4]]
    assert confusion(Y, A, 0.95).tolist() == [[5, 0], [4, 1]]  # a score at the threshold is called fake
    assert brier_score(Y, A) == pytest.approx(0.15675)
    assert expected_calibration_error(Y, A, bins=2) == pytest.approx(0.045)


def test_the_curve_of_ten_is_walked_down_the_ranking():
    fpr, tpr, thresholds = roc_points(Y, A)
    ups = [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (2, 4), (2, 5), (3, 5), (4, 5), (5, 5)]
    np.testing.assert_allclose(np.column_stack([fpr, tpr]) * 5, ups)
    assert thresholds[0] == np.inf and thresholds[1:].tolist() == A.tolist()


@settings(deadline=None, max_examples=50)
@given(labels_and_scores)
def test_eer_is_where_the_straight_lines_cross(pairs):
    y, p = parted(pairs)
    fpr, tpr, _ = roc_curve(y, p, drop_intermediate=False)
    walk = np.linspace(0, len(fpr) - 1, 200001)  # along the curve, in tiny steps
    x, up = np.interp(walk, np.arange(len(fpr)), fpr), np.interp(walk, np.arange(len(fpr)), tpr)
    nearest = np.abs(x - (1 - up)).argmin()
    assert equal_error_rate(y, p) == pytest.approx(x[nearest], abs=1e-3)


def test_eer_of_perfect_inverted_and_constant_scores():
    assert equal_error_rate([0, 1], [0.1, 0.9]) == 0
    assert equal_error_rate([0, 1], [0.9, 0.1]) == 1
    assert equal_error_rate([0, 1], [0.5, 0.5]) == 0.5
    assert crossing(np.array([0, 0.5, 1]), np.array([1, 0.5, 0])) == 0.5


@settings(deadline=None, max_examples=50)
@given(labels_and_scores)
def test_average_precision_is_scikit_learns(pairs):
    y, p = parted(pairs)
    assert average_precision(y, p) == pytest.approx(average_precision_score(y, p))


@settings(deadline=None, max_examples=80)
@given(labels_and_scores, st.sampled_from([0, 0.01, 0.1, 0.2, 0.29, 0.5, 0.9, 1]))
def test_threshold_accuses_as_many_as_allowed_and_no_more(pairs, fpr):
    y, p = parted(pairs)
    threshold, reals = threshold_at_fpr(y, p, fpr), p[y == 0]
    assert np.mean(reals >= threshold) <= fpr + 1e-9
    for lower in np.unique(p[p < threshold]):  # no lower threshold keeps the limit
        assert np.mean(reals >= lower) > fpr + 1e-9 or not (p[(p >= lower) & (p < threshold)]).size
    assert np.mean(p[y == 1] >= threshold) == pytest.approx(tpr_at_fpr(y, p, fpr))


def test_threshold_above_one_where_a_real_scores_one():
    threshold = threshold_at_fpr([0, 1], [1.0, 1.0], 0.0)
    assert threshold > 1 and confusion([0, 1], [1.0, 1.0], threshold)[:, 1].sum() == 0
    assert threshold_at_fpr([0, 0, 1], [0.1, 0.2, 0.9], 0.5) == pytest.approx(0.15)
    assert threshold_at_fpr([0, 1], [0.3, 0.9], 1.0) == 0.0


def test_precision_at_prevalence_has_the_published_figures():
    assert precision_at_prevalence(0.98, 0.005, 0.01) == pytest.approx(0.664, abs=5e-4)
    assert precision_at_prevalence(0.98, 0.05, 0.01) == pytest.approx(0.165, abs=5e-4)
    assert precision_at_prevalence(1, 0, 0.3) == 1 and math.isnan(precision_at_prevalence(0, 0, 0.3))
    y, p, _ = some()
    (spared, accused), (missed, found) = confusion(y, p, 0.5)
    assert precision_at_prevalence(found / 100, accused / 100, 0.5) == pytest.approx(
        found / (found + accused)
    )


#  comparisons ----------------------------------------------------------------------------------------------


def test_mcnemar_on_ten():
    result = mcnemar((A >= 0.5) == Y, (B >= 0.5) == Y)
    assert (result.both, result.only_a, result.only_b, result.neither) == (4, 4, 1, 1)
    assert result.p_value == pytest.approx(0.375)
    assert mcnemar([True, False], [True, False]).p_value == 1


def test_mcnemar_counts_every_split():
    for n, k in itertools.product(range(1, 9), range(9)):
        if k <= n:
            a = np.r_[np.ones(k), np.zeros(n - k), 1, 0].astype(bool)
            b = np.r_[np.zeros(k), np.ones(n - k), 1, 0].astype(bool)
            outcomes = [sum(toss) for toss in itertools.product((0, 1), repeat=n)]
            uneven = np.mean([abs(2 * heads - n) >= abs(2 * k - n) for heads in outcomes])
            assert mcnemar(a, b).p_value == pytest.approx(uneven) == pytest.approx(binomtest(k, n).pvalue)


def shares_by_pairs(y, p):
    """The naive way: a table of all pairs."""
    gaps = p[y == 1][:, None] - p[y == 0][None, :]
    wins = (gaps > 0) + 0.5 * (gaps == 0)
    return wins.mean(1), wins.mean(0)


@settings(deadline=None, max_examples=80)
@given(labels_and_scores)
def test_win_shares_are_those_of_all_pairs(pairs):
    y, p = parted(pairs)
    for fast, naive in zip(win_shares(y, p), shares_by_pairs(y, p), strict=True):
        np.testing.assert_allclose(fast, naive, atol=1e-12)
        assert fast.mean() == pytest.approx(fast_auc(y, p))


def covariance_of_delong(y, p_a, p_b):
    """DeLong's matrix as published: S10/m + S01/n, from the naive tables; returns the standard error."""
    (fakes_a, reals_a), (fakes_b, reals_b) = shares_by_pairs(y, p_a), shares_by_pairs(y, p_b)
    s = np.cov(np.stack([fakes_a, fakes_b])) / len(fakes_a) + np.cov(np.stack([reals_a, reals_b])) / len(
        reals_a
    )
    return math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])


def test_delong_on_ten_and_the_published_matrix():
    result = delong(Y, A, B)
    assert result.difference == pytest.approx(0.12)
    assert (result.auc_a, result.auc_b) == pytest.approx((0.84, 0.72))
    assert result.standard_error == pytest.approx(math.sqrt(0.132 / 5 + 0.072 / 5))
    assert result.p_value == pytest.approx(0.5525, abs=1e-3)
    for seed in range(5):
        y, p_a, p_b = some(61, seed=seed)
        assert delong(y, p_a, p_b).standard_error == pytest.approx(covariance_of_delong(y, p_a, p_b))


def test_delong_agrees_with_a_bootstrap():
    y, p_a, p_b = some(400)
    result = delong(y, p_a, p_b)
    difference, low, high = paired_bootstrap(fast_auc, y, p_a, p_b, n=2000)
    assert difference == pytest.approx(result.difference)
    assert (low, high) == pytest.approx((result.low, result.high), abs=0.006)
    assert delong_interval(y, p_a) == pytest.approx(bootstrap_interval(fast_auc, y, p_a, n=2000), abs=0.008)


def test_delong_says_equal_about_as_often_as_it_should():
    verdicts = [delong(*some(120, 1.0, seed, other=1.0)).p_value < 0.05 for seed in range(200)]
    assert 2 <= sum(verdicts) <= 22  # 10 expected


def test_delong_without_spread():
    same = delong(Y, A, A)
    assert same.difference == 0 and same.p_value == 1 and same.low == same.high == 0
    turned = delong([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1])
    assert turned.difference == 1 and math.isnan(turned.p_value)
    with pytest.raises(DataError, match="at least two of each"):
        delong([0, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1])


def test_pairing_narrows_the_interval():
    y, p_a, p_b = some(300)
    _, low, high = paired_bootstrap(fast_auc, y, p_a, p_b, n=500)
    alone = bootstrap_interval(fast_auc, y, p_a, n=500)
    assert high - low < 0.75 * (alone[1] - alone[0])
    assert paired_bootstrap(fast_auc, y, p_a, p_a, n=20) == (0, 0, 0)
    _, low, high = paired_bootstrap(fast_auc, y, p_a, p_b, n=1)
    assert low == high  # of a single draw


#  calibration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_is_scikit_learns_with_counts(strategy):
    y, p, _ = some(500)
    table = reliability(y, p, 10, strategy)
    true, said = calibration_curve(y, p, n_bins=10, strategy=strategy)
    np.testing.assert_allclose(table["fake"], true)
    np.testing.assert_allclose(table["said"], said)
    assert table["n"].sum() == 500 and (table["low"] <= table["fake"]).all()
    weighed = (table["n"] / 500 * (table["said"] - table["fake"]).abs()).sum()
    assert expected_calibration_error(y, p, 10, strategy) == pytest.approx(weighed)


def test_bins_at_their_edges():
    table = reliability([0, 1, 1, 0], [0.0, 1.0, 0.5, 0.5], bins=2)
    assert table["n"].tolist() == [1, 3] and table["from"].tolist() == [0, 0.5]
    assert reliability([0, 1], [0.5, 0.5], 5, "quantile")["n"].sum() == 2


def test_brier_and_log_loss_take_one_class():
    assert brier_score([1, 1], [1.0, 0.5]) == 0.125 and brier_score([0], [0.5]) == 0.25
    assert calibration.log_loss([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2))
    assert math.isfinite(calibration.log_loss([1, 0], [0.0, 1.0]))


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.5])
def test_temperature_is_found_again(truth):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=20_000) * 2
    y = (rng.random(20_000) < to_probability(logits)).astype(int)
    found = fit_temperature(y, logits * truth)
    assert found == pytest.approx(truth, rel=0.05)
    near = [log_loss(y, to_probability(logits * truth, found * factor)) for factor in (0.97, 1, 1.03)]
    assert near[1] == min(near)
    assert fit_temperature(y, 1000 * logits * truth) == pytest.approx(1000 * found, rel=1e-4)


def test_temperature_that_does_not_exist():
    with pytest.raises(DataError, match="on the right side of 0.5"):
        fit_temperature([0, 1, 1], [-1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="do not rise with the truth"):
        fit_temperature([1, 0, 1, 0], [-1.0, 2.0, 3.0, 4.0])
    with pytest.raises(DataError, match="do not rise with the truth"):
        fit_temperature([1, 0, 1, 0], [1.0, 1.0, -1.0, -1.0])
    with pytest.raises(DataError, match="Logit 1 is"):
        fit_temperature([0, 1], [1.0, np.inf])


#  bad data -------------------------------------------------------------------------------------------------

BAD = [
    ([0, 1, 1], [0.1, 0.2], "3 labels but 2 scores"),
    ([0, 1], [0.1, np.nan], "1 of 2 scores are NaN"),
    ([], [], "nothing to judge"),
    ([0, 2], [0.1, 0.2], "one of them is 2"),
    ([0, 1], [-3.0, 4.0], "sigmoid"),
    ([[0, 1]], [[0.1, 0.2]], "flat lists"),
    (["real", "fake"], [0.1, 0.2], "the first label is 'real'"),
    (["0", "1"], [0.1, 0.2], "the first label is '0'"),
    ([0, 1], ["low", "high"], "the first score is 'low'"),
    ([0, 1], None, "flat lists"),
    ([0, 1], [[0.1], [0.2, 0.3]], "must be numbers"),
]
TWO_CLASSES = [
    average_precision,
    equal_error_rate,
    threshold_at_fpr,
    tpr_at_fpr,
    choose_threshold,
    roc_points,
    win_shares,
    delong_interval,
    lambda y, p: delong(y, p, p),
    lambda y, p: paired_bootstrap(fast_auc, y, p, p, n=2),
    lambda y, p: plots.plot_roc({"it": (y, p)}),
    lambda y, p: plots.plot_precision_recall({"it": (y, p)}),
    lambda y, p: plots.plot_ranking(y, p),
]
ONE_CLASS = [
    accuracy,
    confusion,
    brier_score,
    calibration.log_loss,
    expected_calibration_error,
    reliability,
    plots.plot_scores,
]


@pytest.mark.parametrize("metric", [*TWO_CLASSES, *ONE_CLASS])
@pytest.mark.parametrize(("y", "p", "words"), BAD)
def test_bad_data_gets_a_sentence(metric, y, p, words):
    with pytest.raises(CourseError) as error:
        metric(y, p)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not plots.plt.get_fignums()  # no half-drawn figure stays behind


@pytest.mark.parametrize("metric", TWO_CLASSES)
def test_one_class_gets_a_sentence(metric):
    with pytest.raises(DataError, match="All 3 images are fake"):
        metric([1, 1, 1], [0.1, 0.2, 0.3])
    assert not plots.plt.get_fignums()


@pytest.mark.parametrize("metric", ONE_CLASS)
def test_one_class_is_enough_for_these(metric, monkeypatch):
    monkeypatch.setattr(plots.plt, "show", lambda: None)
    metric([1, 1, 1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("share", [-0.1, 1.1, "some", None, float("nan"), [0.1]])
def test_shares_are_shares(share):
    for call in (
        lambda: tpr_at_fpr(Y, A, share),
        lambda: threshold_at_fpr(Y, A, share),
        lambda: precision_at_prevalence(share, 0.1, 0.1),
        lambda: precision_at_prevalence(0.1, share, 0.1),
        lambda: precision_at_prevalence(0.1, 0.1, share),
    ):
        with pytest.raises(DataError, match="is a share, from 0 to 1"):
            call()


@pytest.mark.parametrize("threshold", [float("nan"), "0.5", None, [0.5], True])
def test_thresholds_are_numbers(threshold):
    for metric in (accuracy, confusion):
        with pytest.raises(DataError, match="A threshold is a number"):
            metric(Y, A, threshold)


@pytest.mark.parametrize("right", [[], [0.5, 1], "yes", [[True]], ["a", "b"], None])
def test_answers_are_bools(right):
    with pytest.raises(DataError, match="True \\(right\\) or False"):
        mcnemar(right, [True, False])
    with pytest.raises(DataError, match="second detector's answers"):
        mcnemar([True, False], right)


def test_answers_on_the_same_images():
    with pytest.raises(DataError, match="on 3 images, the second on 2"):
        mcnemar([True, False, True], [True, False])
    with pytest.raises(DataError, match="10 labels but 9 scores"):
        delong(Y, A, B[:-1])
    with pytest.raises(DataError, match="10 labels but 9 scores"):
        paired_bootstrap(fast_auc, Y, A, B[:-1])


@pytest.mark.parametrize("bins", [0, -1, 2.5, "ten", None])
def test_bins_are_counted(bins):
    for metric in (reliability, expected_calibration_error):
        with pytest.raises(DataError, match="whole number of 1 or more"):
            metric(Y, A, bins)
    with pytest.raises(DataError, match="equally wide"):
        reliability(Y, A, 10, "odd")


@pytest.mark.parametrize("level", [0, 1, 95, "high", None, True])
def test_levels(level):
    for call in (
        lambda: delong(Y, A, B, level),
        lambda: delong_interval(Y, A, level),
        lambda: paired_bootstrap(fast_auc, Y, A, B, level=level),
    ):
        with pytest.raises(DataError, match="level of an interval"):
            call()


#  pictures -------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(plots.plt, "show", lambda: None)
    yield
    assert not plots.plt.get_fignums()  # every figure was closed


def test_plots_give_back_what_they_drew(quiet):
    corners = plots.plot_roc({"A": (Y, A), "B": (Y, B)}, {"A": 0.5}, log=False)
    assert corners["A"][5].tolist() == pytest.approx([0.2, 0.8]) and list(corners) == ["A", "B"]
    assert plots.plot_roc({"A": (Y, A)}, {"A": 2.0}, log=True)["A"].shape == (11, 2)
    steps = plots.plot_precision_recall({"A": (Y, A)})["A"]
    assert steps[0].tolist() == [1, 0.5] and steps[-1].tolist() == [0, 1]
    assert plots.plot_confusion(confusion(Y, A)).tolist() == [[4, 1], [1, 4]]
    assert plots.plot_ranking(Y, A, 0.35).tolist() == [[3, 2], [0, 5]]
    drawn = plots.plot_reliability({"A": reliability(Y, A, 2), "B": reliability(Y, B, 3)})
    assert drawn["A"].tolist() == [pytest.approx([0.29, 0.2, 5]), pytest.approx([0.8, 0.8, 5])]
    assert plots.plot_base_rate(0.98, 0.005, 0.01)["alarms"] == pytest.approx(147.5)


@pytest.mark.parametrize(
    "counts", [[[1, 2]], [[0, 0], [0, 0]], [[-1, 2], [3, 4]], [["a", "b"], ["c", "d"]], None]
)
def test_a_confusion_matrix_is_counts(counts):
    with pytest.raises(DataError, match="2 x 2 counts"):
        plots.plot_confusion(counts)
    assert not plots.plt.get_fignums()


def test_intervals_and_tables_that_cannot_be_drawn():
    with pytest.raises(DataError, match="'coin' has a NaN"):
        plots.plot_intervals([("net", 0.9, 0.8, 1.0), ("coin", 0.5, np.nan, 0.6)])
    for rows in ([], [("net", 0.9)], [("net", "high", 0.1, 0.2)], [("net", 0.9, 0.8, 1.0), ("x", 1)]):
        with pytest.raises(DataError, match="name, value, low, high"):
            plots.plot_intervals(rows)
    for tables in ({}, {"A": None}, {"A": [1, 2]}):
        with pytest.raises(DataError, match="calibration.reliability"):
            plots.plot_reliability(tables)
    assert not plots.plt.get_fignums()


@settings(deadline=None, max_examples=100)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.0001, 0.5))
def test_natural_frequencies_add_up(tpr, fpr, prevalence):
    n = plots.natural_frequencies(tpr, fpr, prevalence)
    assert n["found"] + n["missed"] == pytest.approx(n["fakes"])
    assert n["accused"] + n["spared"] == pytest.approx(n["reals"])
    assert n["fakes"] + n["reals"] == pytest.approx(n["pictures"]) and n["fakes"] >= 99.9
    if n["alarms"] > 1e-9:
        assert n["precision"] == pytest.approx(n["found"] / n["alarms"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=6).filter(lambda parts: sum(parts) > 1e-3))
def test_squares_are_whole_and_complete(parts):
    whole = plots.whole_shares(parts, 1000)
    assert sum(whole) == 1000 and min(whole) >= 0
    assert np.abs(np.array(whole) - 1000 * np.array(parts) / sum(parts)).max() < 1.001
