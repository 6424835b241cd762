"""Metrics against hand-worked numbers and scikit-learn; bad input gets a sentence."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from toys import ToySet, toy

from course_lib import (
    CourseError,
    DataError,
    Detector,
    ModelInputError,
    Preprocessing,
    accuracy,
    bootstrap_interval,
    choose_threshold,
    confusion,
    delong,
    evaluate,
    evaluation,
    mcnemar,
    paired_bootstrap,
    precision_at_prevalence,
    predict_scores,
    roc_auc,
    threshold_at_fpr,
    wilson_interval,
)
from course_lib.evaluation import (
    delong_interval,
    fake_logits,
    fast_auc,
    predict_logits,
    summary,
    to_probability,
    tpr_at_fpr,
)


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


def test_each_draw_has_the_reals_first_and_as_many_of_them():
    y = np.array([1, 0, 1, 0, 1])
    drawn = list(evaluation.draws(y, 3, 0))
    assert [y[draw].tolist() for draw in drawn] == [[0, 0, 1, 1, 1]] * 3


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
    for seed in (1, 2):  # both intervals are drawn from the seed that is given
        numbers = summary(y, p, n_bootstrap=50, seed=seed)
        assert numbers["auc_interval"] == bootstrap_interval(fast_auc, y, p, 50, seed)
        assert numbers["accuracy_interval"] == bootstrap_interval(accuracy, y, p, 50, seed)


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
    for options in ({"n": 0}, {"level": 1.0}, {"level": 0}):
        with pytest.raises(DataError, match="bootstrap_interval needs"):
            bootstrap_interval(roc_auc, [0, 1], [0.1, 0.2], **options)


def test_probabilities_do_not_overflow():
    assert to_probability(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert to_probability(np.array([2.0]), 2.0) == pytest.approx(1 / (1 + np.exp(-1)))
    assert to_probability(np.float32([2.0])).dtype == np.float64


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


#  to the letter: each of these statements once survived a change of the code that it now forbids -----------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: roc_auc([0, 1], ["low", "high"]),
         "Labels and scores must be numbers, one of each per image, and the first score is 'low'; labels are "
         "mapped by name: real is 0, fake is 1."),
        (lambda: roc_auc("a very long word, not a list", [0.5]),
         "Labels and scores must be numbers, one of each per image, and the first label is "
         "'a very long word, no'; labels are mapped by name: real is 0, fake is 1."),
        (lambda: roc_auc([0, 1], 0.5),
         "Labels and scores must be flat lists, and have the shapes (2,) and (); take one score per image."),
        (lambda: roc_auc([0], [0.1, 0.2]),
         "There are 1 labels but 2 scores; each image needs one of both, in the same order."),
        (lambda: roc_auc([], []),
         "There is nothing to judge: no labels and no scores; check how the images were chosen."),
        (lambda: roc_auc([0, 3, 2], [0.1, 0.2, 0.3]),
         "Labels must be 0 (real) or 1 (fake), and one of them is 3; map them by name."),
        (lambda: roc_auc([0, 1, 1], [0.1, np.nan, np.nan]),
         "2 of 3 scores are NaN, the first at index 1; leave those images out or mend the model."),
        (lambda: roc_auc([0, 1], [-0.25, 0.5]),
         "Scores must be probabilities of fake, from 0 to 1, and range from -0.25 to 0.5; pass logits "
         "through a sigmoid first."),
        (lambda: roc_auc([0, 1], [0.5, 1.5]),
         "Scores must be probabilities of fake, from 0 to 1, and range from 0.5 to 1.5; pass logits "
         "through a sigmoid first."),
        (lambda: roc_auc([1], [0.5]),
         "All 1 images are fake, and this number compares the two classes; judge on real and fake images "
         "together."),
        (lambda: roc_auc([1, 1], [0.1, 0.2]),
         "All 2 images are fake, and this number compares the two classes; judge on real and fake images "
         "together."),
        (lambda: tpr_at_fpr([0, 1], [0.1, 0.2], "some very long words, a lot"),
         "The false positive rate is a share, from 0 to 1, and not 'some very long words'."),
        (lambda: threshold_at_fpr([0, 1], [0.1, 0.2], -1),
         "The false positive rate is a share, from 0 to 1, and not '-1'."),
        (lambda: precision_at_prevalence(2, 0.1, 0.1),
         "The true positive rate is a share, from 0 to 1, and not '2'."),
        (lambda: precision_at_prevalence(0.1, 2, 0.1),
         "The false positive rate is a share, from 0 to 1, and not '2'."),
        (lambda: precision_at_prevalence(0.1, 0.1, 2),
         "The prevalence is a share, from 0 to 1, and not '2'."),
        (lambda: accuracy([0, 1], [0.1, 0.2], "half of all the images there are"),
         "A threshold is a number, such as 0.5, and not 'half of all the imag'."),
        (lambda: bootstrap_interval(roc_auc, [0, 1], [0.1, 0.2], n=0),
         "bootstrap_interval needs n of 1 or more and a level between 0 and 1, not 0 and 0.95."),
        (lambda: paired_bootstrap(roc_auc, [0, 1], [0.1, 0.2], [0.1, 0.2], n=0),
         "paired_bootstrap needs n of 1 or more, not 0."),
        (lambda: wilson_interval("thirteen of the twenty pictures", 20),
         "wilson_interval counts answers, in whole numbers: k right ones of n, not 'thirteen of the twen'."),
        (lambda: wilson_interval(3, 2),
         "There cannot be 3 right answers of 2; wilson_interval needs 0 <= k <= n and n >= 1."),
        (lambda: wilson_interval(1, 2, 95),
         "The level of an interval lies between 0 and 1, as 0.95 does, and is 95."),
        (lambda: mcnemar([True, False], [True]),
         "The first detector was judged on 2 images, the second on 1; a paired comparison needs the same "
         "images, in the same order."),
        (lambda: mcnemar([2], [True]),
         "The first detector's answers must be a flat list with True (right) or False (wrong) for each "
         "image; compare (p >= threshold) with the labels."),
        (lambda: delong_interval([0, 1, 1], [0.1, 0.2, 0.3]),
         "There are 2 fakes and 1 reals; to see how far the AUC may move it needs at least two of each, and "
         "some dozens to mean much."),
        (lambda: evaluate(Detector(toy(), device="cpu"), ToySet(2), Preprocessing()),
         "A detector brings its own preprocessing; leave preprocessing out."),
        (lambda: predict_logits(toy(), [[1, 2]]),
         "Image 0 is a list; what can be judged is a uint8 tensor 3 x height x width (0 to 255), in which "
         "nothing can be NaN."),
        (lambda: predict_logits(toy(), [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8)]),
         "Image 1 is a float32 tensor [3, 8, 8]; what can be judged is a uint8 tensor 3 x height x width "
         "(0 to 255), in which nothing can be NaN."),
        (lambda: predict_logits(toy(), [torch.full((3, 8, 8), float("nan"))]),
         "Image 0 is a float32 tensor [3, 8, 8] with NaN in it; what can be judged is a uint8 tensor "
         "3 x height x width (0 to 255), in which nothing can be NaN."),
        (lambda: predict_logits(toy(), [torch.zeros(8, 8, dtype=torch.uint8)]),
         "Image 0 is a uint8 tensor [8, 8]; what can be judged is a uint8 tensor 3 x height x width "
         "(0 to 255), in which nothing can be NaN."),
        (lambda: fake_logits(torch.zeros(2, 2), 2),
         "The network answered 2 images with a tensor [2, 2]; it must give one logit of fake per image, "
         "shape (2,)."),
        (lambda: predict_scores(toy(), [1, 2]),
         "needed is a data set, such as load(...).test, not a list"),
        (lambda: fake_logits([0.0, 0.0], 2),
         "The network answered 2 images with a list; it must give one logit of fake per image, shape (2,)."),
    ],
)  # fmt: skip
def test_the_sentence_a_learner_reads(call, sentence):
    with pytest.raises(CourseError) as error:
        call()
    assert str(error.value) == sentence


def test_answers_in_one_column_are_taken_too():
    assert fake_logits(torch.tensor([[1.0], [2.0]]), 2).tolist() == [1, 2]
    assert fake_logits(torch.tensor([1.0, 2.0]), 2).tolist() == [1, 2]


def test_a_network_without_weights_is_on_the_cpu():
    assert evaluation.device_of(torch.nn.Identity()) == torch.device("cpu")
    assert evaluation.device_of(toy().to("meta")) == torch.device("meta")


def test_a_data_set_has_a_length_pictures_and_mostly_labels():
    class Unlabelled:
        uint8 = None

        def __len__(self):
            return 0

    class Endless:
        uint8 = labels = None

    assert predict_scores(toy(), Unlabelled()).shape == (0,)  # to be scored it needs no labels
    evaluation.require_data_set(ToySet(1))
    for nothing in (Unlabelled(), Endless(), None):
        with pytest.raises(DataError, match=f"not a {type(nothing).__name__}$"):
            evaluation.require_data_set(nothing)


def batch_sizes(model, work):
    """How many images the model was shown at once, call by call."""
    seen = []
    handle = model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    work()
    handle.remove()
    return [len(x) for x in seen], seen


def test_batches_are_as_large_as_asked_for():
    model, data = toy(), ToySet(7)
    assert batch_sizes(model, lambda: predict_scores(model, data, batch_size=3))[0] == [3, 3, 1]
    assert batch_sizes(model, lambda: evaluate(model, data, batch_size=3, n_bootstrap=1))[0] == [3, 3, 1]
    assert batch_sizes(model, lambda: predict_scores(model, data, batch_size=0))[0] == [1] * 7
    many = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 70
    assert batch_sizes(model, lambda: predict_logits(model, many))[0] == [64, 6]
    assert batch_sizes(model, lambda: predict_scores(model, ToySet(70, sides=(8,))))[0] == [64, 6]
    detector = Detector(model, device="cpu")
    assert batch_sizes(model, lambda: evaluate(detector, data, batch_size=3, n_bootstrap=1))[0] == [3, 3, 1]
    for judge in (model, detector):
        sixty_six = ToySet(66, sides=(8,))
        assert batch_sizes(model, lambda j=judge, d=sixty_six: evaluate(j, d, n_bootstrap=1))[0] == [64, 2]


def test_large_images_go_in_small_batches(monkeypatch):
    monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", 4 * 40 * 20)
    for height, width, at_once in ((40, 20, 4), (20, 40, 4), (40, 30, 2), (40, 60, 1), (90, 90, 1)):
        images = [torch.zeros(3, height, width, dtype=torch.uint8)] * 9
        batches = list(evaluation.batches_of_one_shape(images, Preprocessing(), 64))
        assert max(len(owners) for owners, _ in batches) == at_once
        assert all(views.shape[1:] == (3, height, width) for _, views in batches)


def test_what_waits_for_company_is_at_most_four_full_batches(monkeypatch):
    monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", 40 * 40)
    asked = []

    def images(count):  # no two of one shape, ten of them as many numbers as a full batch has
        for i in range(count):
            asked.append(i)
            yield (
                torch.zeros(3, 4, 40, dtype=torch.uint8)
                if i % 2
                else torch.zeros(3, 40, 4, dtype=torch.uint8)
            )

    full = list(evaluation.batches_of_one_shape(images(30), Preprocessing(), 64))
    assert [len(owners) for owners, _ in full] == [10, 10, 5, 5]  # each shape fills its own batch
    sizes = [(1 + i, 1600 // (1 + i)) for i in range(12)]
    odd = [torch.zeros(3, h, w // 2, dtype=torch.uint8) for h, w in sizes]
    first = next(evaluation.batches_of_one_shape((asked.append(x) or x for x in odd), Preprocessing(), 64))
    assert len(first[0]) == 1
    waiting = sum(x.numel() for x in asked if isinstance(x, torch.Tensor))
    assert 4 * 3 * 1600 < waiting <= 4 * 3 * 1600 + odd[0].numel()


def test_a_network_is_shown_channels_last_and_keeps_its_mode():
    for training in (True, False):
        model = toy().train(training)
        _, seen = batch_sizes(model, lambda m=model: predict_logits(m, [ToySet(1).uint8(0)]))
        assert seen[0].is_contiguous(memory_format=torch.channels_last) and model.training == training


def test_the_mode_comes_back_after_an_error():
    model = toy().train()
    with pytest.raises(ModelInputError):
        predict_logits(model, ["no image"])
    assert model.training


def test_scores_go_to_the_device_that_is_named():
    model = toy()
    with pytest.raises(NotImplementedError):  # nothing can be computed there, so nothing was computed here
        predict_scores(model, ToySet(2), device="meta")
    assert evaluation.device_of(model) == torch.device("meta")


def test_a_detector_is_judged_with_its_own_settings():
    data, model = ToySet(24, sides=(48,)), toy()
    crop = Preprocessing(crop=32, crops=2)
    whole, cropped = predict_scores(model, data), predict_scores(model, data, crop)
    middle = float(np.median(cropped))
    assert not np.allclose(whole, cropped)
    numbers = evaluate(model, data, crop, threshold=middle, n_bootstrap=20, seed=3)
    assert numbers == summary(data.labels, cropped, middle, n_bootstrap=20, seed=3)
    detector = Detector(model, crop, temperature=0.01, threshold=middle, device="cpu")
    sharp = predict_scores(model, data, crop, temperature=0.01)
    assert evaluate(detector, data, n_bootstrap=20, seed=3) == summary(
        data.labels, sharp, middle, n_bootstrap=20, seed=3
    )
    assert np.mean(sharp >= middle) != np.mean(cropped >= middle)  # so the temperature made a difference
    assert evaluate(detector, data, threshold=0.9, n_bootstrap=1)["threshold"] == 0.9


def test_a_score_at_the_threshold_is_called_fake():
    y, p = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.4, 0.5, 0.6, 0.2])
    assert accuracy(y, p) == accuracy(y, p, 0.5) == 0.8 and accuracy(y, p, 0.55) == 0.6
    assert summary([0, 1], [0.4, 0.5], n_bootstrap=5)["accuracy_interval"] == (1, 1)


def test_summary_of_few_reals_and_many_fakes():
    y, p = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.4, 0.5, 0.6, 0.2])
    numbers = summary(y, p)
    assert (numbers["n"], numbers["n_real"], numbers["n_fake"], numbers["threshold"]) == (5, 2, 3, 0.5)
    assert numbers["accuracy"] == 0.8 and summary(y, p, 0.55)["accuracy"] == 0.6
    assert numbers["tpr_at_1pct_fpr"] == pytest.approx(2 / 3)
    coin = summary([0, 1], [0.5, 0.5], n_bootstrap=5)
    assert coin["auc_interval"] == (0.5, 0.5) and not coin["inverted"]


def test_defaults_are_a_thousand_draws_from_seed_0():
    y, p = some_scores(300)  # so many that one draw more moves the interval
    data, model = ToySet(150), toy()
    assert summary(y, p) == summary(y, p, 0.5, n_bootstrap=1000, seed=0)
    assert evaluate(model, data) == evaluate(model, data, n_bootstrap=1000, seed=0)
    for n, seed in ((1001, 0), (1000, 1)):
        assert summary(y, p, n_bootstrap=n, seed=seed) != summary(y, p)
        assert evaluate(model, data, n_bootstrap=n, seed=seed) != evaluate(model, data)
    assert bootstrap_interval(fast_auc, y, p) == bootstrap_interval(fast_auc, y, p, 1000, 0, 0.95)
    assert bootstrap_interval(fast_auc, y, p) != bootstrap_interval(fast_auc, y, p, 1001, 0, 0.95)
    q = p[::-1].copy()
    assert paired_bootstrap(fast_auc, y, p, q) == paired_bootstrap(fast_auc, y, p, q, 1000, 0, 0.95)
    assert paired_bootstrap(fast_auc, y, p, q) != paired_bootstrap(fast_auc, y, p, q, 1001, 0, 0.95)


def test_a_table_of_one_class_is_two_by_two_all_the_same():
    assert confusion([1, 1], [0.9, 0.2]).tolist() == [[0, 0], [1, 1]]
    assert confusion([0], [0.2]).tolist() == [[1, 0], [0, 0]]


def test_mcnemar_counts_all_four():
    a, b = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]), np.array([1, 0, 0, 0, 1, 1, 0, 0, 0, 0])
    found = mcnemar(a, b)
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 3, 2, 4)


def test_labels_become_whole_numbers_and_scores_fractions():
    y, p = evaluation.check_scores([True, False], [1, 0])
    assert y.dtype == np.int64 and p.dtype == np.float64 and y.tolist() == p.tolist() == [1, 0]


def test_rounding_is_no_spread():
    y, a, b = [1, 1, 1, 0, 0, 0], [0.1, 0.4, 0.4, 0.3, 0.4, 0.0], [0.0, 0.3, 0.3, 0.3, 0.4, 0.2]
    found = delong(y, a, b)  # every image wins a third of its pairs more, but for the last binary digit
    assert found.difference == pytest.approx(1 / 3) and found.standard_error == 0
    assert math.isnan(found.p_value)


def test_an_interval_of_an_auc_stays_between_0_and_1():
    y, p = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.4, 0.3, 0.5, 0.6]
    assert delong_interval(y, p)[1] == 1 and 0 < delong_interval(y, p)[0] < roc_auc(y, p)
    low, high = delong_interval(y, [1 - score for score in p])
    assert low == 0 and roc_auc(y, [1 - score for score in p]) < high < 1


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_have_no_side_they_prefer(level):
    y, p = some_scores(80)
    q = some_scores(80, seed=1)[1]
    low, high = bootstrap_interval(fast_auc, y, p, 200, level=level)
    mirrored = bootstrap_interval(lambda y, p: -fast_auc(y, p), y, p, 200, level=level)
    assert mirrored == pytest.approx((-high, -low))
    difference, low, high = paired_bootstrap(fast_auc, y, p, q, 200, level=level)
    assert paired_bootstrap(fast_auc, y, q, p, 200, level=level) == pytest.approx((-difference, -high, -low))
