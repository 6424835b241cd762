"""Mutation tests of the checkers of lesson 12: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from course_lib import evaluation
from course_lib import exercises_judge as exercises
from course_lib.calibration import expected_calibration_error

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402


def pairs_in_a_loop(y, p):
    won = 0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] == 1 and y[j] == 0:
                won += 1 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0
    return won / (sum(y == 1) * sum(y == 0))


def test_auc_by_pairs(capsys):
    right = [exercises.auc_by_pairs_reference, pairs_in_a_loop, roc_auc_score]
    wrong = {
        "zeros": lambda y, p: 0.0,
        "scaled": lambda y, p: 2 * pairs_in_a_loop(y, p),
        "ties lost": lambda y, p: float((p[y == 1][:, None] > p[y == 0]).mean()),
        "ties won": lambda y, p: float((p[y == 1][:, None] >= p[y == 0]).mean()),
        "exchanged": lambda y, p: 1 - pairs_in_a_loop(y, p),
        "number": lambda y, p: pairs_in_a_loop(y, p) * sum(y == 1) * sum(y == 0),
        "squared": lambda y, p: pairs_in_a_loop(y, p) * sum(y == 1) * sum(y == 0) / len(y) ** 2,
        "accuracy": lambda y, p: float(((p >= 0.5) == y).mean()),
        "an array": lambda y, p: np.full(2, pairs_in_a_loop(y, p)),
        "only the first": lambda y, p: float((p[y == 1][0] > p[y == 0]).mean()),
    }
    assert_checker(capsys, "auc_by_pairs", right, list(wrong.values()))
    told = {name: said(capsys, "auc_by_pairs", mine) for name, mine in wrong.items()}
    assert "a tie counts half, and here it counts nothing" in told["ties lost"]
    assert "here it counts as a win" in told["ties won"]
    assert "share of pairs lost" in told["exchanged"]
    assert "number of wins" in told["number"]
    # Other slips give the same number in one case by accident: their name would be a false accusation.
    for name in ("zeros", "accuracy"):
        assert "share of pairs lost" not in told[name] and "a pair is one fake and one real" not in told[name]


def one_above(reals, fpr):
    """Another right answer: just above the score that has to stay below."""
    ranked = sorted(reals, reverse=True)
    allowed = int(fpr * len(reals) + 1e-9)
    return np.nextafter(ranked[allowed], 2)


def by_trying(reals, fpr):
    for threshold in [0.0, *np.nextafter(np.sort(reals), 2)]:
        if np.mean(reals >= threshold) <= fpr + 1e-9:
            return threshold


def test_threshold_at_fpr(capsys):
    right = [exercises.threshold_at_fpr_reference, one_above, by_trying]
    wrong = {
        "one": lambda reals, fpr: 1.0,
        "zero": lambda reals, fpr: 0.0,
        "the share itself": lambda reals, fpr: 1 - fpr,
        "at the score": lambda reals, fpr: np.sort(reals)[::-1][int(fpr * len(reals))],
        "unsorted": lambda reals, fpr: np.nextafter(reals[int(fpr * len(reals))], 2),
        "from below": lambda reals, fpr: np.nextafter(np.sort(reals)[int(fpr * len(reals))], 2),
        "one too strict": lambda reals, fpr: np.sort(reals)[::-1][max(int(fpr * len(reals)) - 1, 0)] + 1e-9,
        "a list": lambda reals, fpr: [one_above(reals, fpr)],
        "NaN": lambda reals, fpr: float("nan"),
    }
    assert_checker(capsys, "threshold_at_fpr", right, list(wrong.values()))
    assert "a lower threshold could find more fakes" in said(capsys, "threshold_at_fpr", wrong["one"])
    assert "allows 1" in said(capsys, "threshold_at_fpr", wrong["at the score"])


def with_numpy(y, p, bins):
    place = np.clip(np.digitize(p, np.linspace(0, 1, bins + 1)) - 1, 0, bins - 1)
    return sum(abs(p[place == b].mean() - y[place == b].mean()) * (place == b).mean() for b in set(place))


def gaps(y, p, bins):
    place = np.minimum((p * bins).astype(int), bins - 1)
    return [abs(p[place == b].mean() - y[place == b].mean()) for b in set(place)]


def with_edges(y, p, bins, below, last):
    """Bins by their edges, an edge in the bin `below` it or above; `last`: a score of 1 is not lost."""
    error = 0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = (p > low) & (p <= high) if below else (p >= low) & (p < high)
        inside |= (p == 1) & last & (b == bins - 1)
        inside |= (p == 0) & (b == 0)
        error += abs((p - y)[inside].sum())
    return error / len(y)


def test_ece_at_the_edges(capsys):
    lost = said(capsys, "ece", lambda y, p, bins: with_edges(y, p, bins, False, False))
    assert "a score of 1 belongs to the last bin; here it was lost" in lost
    under = said(capsys, "ece", lambda y, p, bins: with_edges(y, p, bins, True, True))
    assert "an edge belongs to the bin above it" in under
    alone = said(
        capsys,
        "ece",
        lambda y, p, bins: (
            sum(abs((p - y)[(p * bins).astype(int) == b].sum()) for b in range(bins + 1)) / len(y)
        ),
    )
    assert "here it has a bin of its own" in alone
    assert said(capsys, "ece", lambda y, p, bins: with_edges(y, p, bins, False, True)) == "correct"


def test_ece_of_an_empty_bin(capsys):
    def mean_of_nothing(y, p, bins):
        place = np.minimum((p * bins).astype(int), bins - 1)
        with np.errstate(invalid="ignore"):
            means = np.bincount(place, p - y, bins) / np.bincount(place, minlength=bins)
        return float((np.bincount(place, minlength=bins) / len(y) * np.abs(means)).sum())

    assert "an empty bin has no mean" in said(capsys, "ece", mean_of_nothing)


def test_ece(capsys):
    right = [exercises.ece_reference, with_numpy, expected_calibration_error]
    wrong = {
        "zeros": lambda y, p, bins: 0.0,
        "scaled": lambda y, p, bins: 100 * with_numpy(y, p, bins),
        "not weighted": lambda y, p, bins: float(np.mean(gaps(y, p, bins))),
        "added": lambda y, p, bins: float(np.sum(gaps(y, p, bins))),
        "largest": lambda y, p, bins: max(gaps(y, p, bins)),
        "signed": lambda y, p, bins: float((p - y).mean()),
        "cancelled": lambda y, p, bins: abs(float((p - y).mean())),
        "brier": lambda y, p, bins: float(((p - y) ** 2).mean()),
        "always ten bins": lambda y, p, bins: with_numpy(y, p, 10),
        "decisions": lambda y, p, bins: with_numpy(y, np.where(p >= 0.5, 0.999, 0.0), bins),
        "the last lost": lambda y, p, bins: (
            sum(abs((p - y)[(p >= b / bins) & (p < (b + 1) / bins)].sum()) for b in range(bins)) / len(y)
            - (0.1 if (p == 1).any() else 0)
        ),
    }
    assert_checker(capsys, "ece", right, list(wrong.values()))
    assert "multiply each gap by n/N" in said(capsys, "ece", wrong["not weighted"])
    assert "the Brier score" in said(capsys, "ece", lambda y, p, bins: float(((p - y) ** 2).mean()))


def bayes(tpr, fpr, prevalence):
    fakes = 1e6 * prevalence
    return tpr * fakes / (tpr * fakes + fpr * (1e6 - fakes))


def test_precision_at_prevalence(capsys):
    right = [exercises.precision_at_prevalence_reference, bayes, evaluation.precision_at_prevalence]
    wrong = {
        "zeros": lambda t, f, q: 0.0,
        "per cent": lambda t, f, q: 100 * bayes(t, f, q),
        "no prevalence": lambda t, f, q: t / (t + f),
        "all reals": lambda t, f, q: t * q / (t * q + f),
        "exchanged": lambda t, f, q: bayes(t, f, 1 - q),
        "wrong share": lambda t, f, q: 1 - bayes(t, f, q),
        "alarms": lambda t, f, q: t * q + f * (1 - q),
        "recall": lambda t, f, q: t,
        "accuracy": lambda t, f, q: t * q + (1 - f) * (1 - q),
    }
    assert "exchanged" not in said(capsys, "precision_at_prevalence", lambda t, f, q: 1.0)
    # where a slip divides by nothing it stops, and is told so
    assert_checker(capsys, "precision_at_prevalence", right, list(wrong.values()))
    assert "the prevalence is missing" in said(capsys, "precision_at_prevalence", wrong["no prevalence"])
    assert "1 - prevalence" in said(capsys, "precision_at_prevalence", wrong["all reals"])


def by_scipy(right_a, right_b):
    a, b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return binomtest(a, a + b).pvalue if a + b else 1.0


def one_tail(right_a, right_b):
    a, b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return binomtest(min(a, b), a + b, alternative="less").pvalue if a + b else 1.0


def test_mcnemar(capsys):
    right = [
        exercises.mcnemar_reference,
        by_scipy,
        lambda a, b: evaluation.mcnemar(a, b).p_value,
    ]
    wrong = {
        "zeros": lambda a, b: 0.0,
        "one": lambda a, b: 1.0,
        "one tail": one_tail,
        "twice too much": lambda a, b: 2 * one_tail(a, b),
        "all images": lambda a, b: binomtest(int(a.sum()), len(a)).pvalue,
        "unpaired": lambda a, b: float(abs(a.mean() - b.mean())),
        "the shape": lambda a, b: np.array([by_scipy(a, b)]),
        "one side": lambda a, b: (
            binomtest(int((a & ~b).sum()), max(1, int((a != b).sum())), alternative="less").pvalue
        ),
    }
    assert_checker(capsys, "mcnemar", right, list(wrong.values()))
    assert "one tail" in said(capsys, "mcnemar", one_tail)
