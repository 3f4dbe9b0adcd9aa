"""Calibration of confidences, and precision, recall and F1 from them; scikit-learn and simulation are the oracles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import precision_recall_fscore_support

from performance_worlds import NAMES, world
from visiondrift.drift.performance.cbpe import estimate_from_confidences, reweighted
from visiondrift.drift.performance.confidence_calibration import (
    Calibrator,
    expected_calibration_error,
    fit_calibrator,
    fit_curves,
    fit_temperature,
    normalised,
    scaled,
)
from visiondrift.drift.performance.folds import block_index, design_effect, stratified_folds


def test_calibrated_confidences_have_the_temperature_one() -> None:
    events = world(20_000, 0)
    assert fit_temperature(events.evidence.confidences, events.labels).temperature == pytest.approx(1, abs=0.03)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 4))
def test_the_temperature_that_was_applied_is_found(temperature: float) -> None:
    events = world(5000, 1)
    said = scaled(events.evidence.confidences, temperature)
    found = fit_temperature(said, events.labels).temperature
    assert found * temperature == pytest.approx(
        fit_temperature(events.evidence.confidences, events.labels).temperature, rel=0.01
    )


def test_curves_are_scikit_learns_isotonic_regression() -> None:
    events = world(3000, 2, temperature=0.5)
    confidences = np.round(events.evidence.confidences, 2)  # many ties
    confidences /= confidences.sum(axis=1, keepdims=True)
    fitted = fit_curves(confidences, events.labels)
    fresh = np.linspace(0, 1, 200)
    for place, (x, y) in enumerate(fitted.curves):
        given_to_both = np.round(normalised(confidences)[:, place], 12)
        oracle = IsotonicRegression(out_of_bounds="clip").fit(given_to_both, events.labels == place)
        np.testing.assert_allclose(np.interp(fresh, x, y), oracle.predict(fresh), atol=1e-9)


def test_curves_are_taken_where_a_temperature_cannot_help_and_labels_suffice() -> None:
    """The model's confidence is squashed by a curve that no temperature undoes."""
    events = world(6000, 3)
    said = events.evidence.confidences.copy()
    said[:, 0] = np.where(said[:, 0] > 0.5, 0.5 + (said[:, 0] - 0.5) ** 6, said[:, 0] ** 3)
    rows = np.arange(6000)
    assert fit_calibrator(said, events.labels, rows, seed=0).method == "isotonic"
    few = fit_calibrator(said[:3000], events.labels[:3000], rows[:3000], seed=0)
    assert few.method == "temperature"


def test_calibrated_data_keep_the_temperature_even_with_labels_for_curves() -> None:
    events = world(6000, 4)
    assert fit_calibrator(events.evidence.confidences, events.labels, np.arange(6000), seed=0).method == "temperature"


@pytest.mark.parametrize(
    "calibrator", [Calibrator(2.0), fit_curves(world(500, 5).evidence.confidences, world(500, 5).labels)]
)
def test_probabilities_come_out_whatever_confidences_go_in(calibrator: Calibrator) -> None:
    odd = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0.2, 0.2, 0, 0], [1e-30, 1e-30, 1e-30, 1e-30], [1, 1, 1, 1]])
    out = calibrator.apply(odd)
    assert (out >= 0).all()
    np.testing.assert_allclose(out.sum(axis=1), 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1))
def test_the_level_moves_the_predicted_class_and_keeps_probabilities_whole(level: float) -> None:
    confidences = np.array([[1, 0, 0, 0], [0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
    predicted = np.array([0, 1, 3])
    plain = Calibrator(1.0).apply(confidences)[np.arange(3), predicted]
    out = Calibrator(1.0, level=level).of_predicted(confidences, predicted)
    np.testing.assert_allclose(out.sum(axis=1), 1)
    assert (out >= 0).all()
    np.testing.assert_allclose(out[np.arange(3), predicted], np.clip(plain + level, 0, 1), atol=1e-6)


def test_on_its_own_reference_a_levelled_calibrator_says_the_true_accuracy() -> None:
    """Even where no temperature fits: a fifth of all labels are wrong, however sure the model was."""
    events = world(3000, 30)
    labels = np.where(np.arange(3000) % 5 == 0, (events.labels + 1) % 4, events.labels)
    e = events.evidence
    fitted = fit_temperature(e.confidences, labels).levelled(e.confidences, e.predicted, labels)
    said = fitted.of_predicted(e.confidences, e.predicted)[np.arange(3000), e.predicted].mean()
    assert said == pytest.approx((e.predicted == labels).mean(), abs=0.005)


def test_calibration_error_is_zero_for_a_sure_and_right_model_and_its_gap_for_a_wrong_one() -> None:
    sure = np.array([[0.9, 0.1]] * 10)
    assert expected_calibration_error(sure, np.array([0] * 9 + [1])) == pytest.approx(0)
    assert expected_calibration_error(sure, np.array([1] * 10)) == pytest.approx(0.9)


def test_class_rates_are_what_labels_drawn_from_the_probabilities_give() -> None:
    events = world(40_000, 6, sureness=2.0)
    estimate = estimate_from_confidences(events.evidence.confidences, events.evidence.predicted, NAMES)
    oracle = precision_recall_fscore_support(events.labels, events.evidence.predicted, labels=range(4))
    for place, found in enumerate(estimate.classes):
        assert found.precision is not None
        assert found.recall is not None
        assert found.f1 is not None
        for rate, true in zip((found.precision, found.recall, found.f1), oracle[:3], strict=True):
            assert rate.value == pytest.approx(true[place], abs=0.015)
        harmonic = 2 / (1 / found.precision.value + 1 / found.recall.value)
        assert found.f1.value == pytest.approx(harmonic)
    weights = np.array([c.predicted for c in estimate.classes]) / 40_000
    assert estimate.accuracy.value == pytest.approx(
        sum(w * c.precision.value for w, c in zip(weights, estimate.classes, strict=True) if c.precision)
    )


def test_intervals_have_the_width_of_labels_drawn_again_and_again() -> None:
    events = world(300, 7, sureness=2.0)
    estimate = estimate_from_confidences(events.evidence.confidences, events.evidence.predicted, NAMES)
    rng = np.random.default_rng(8)
    drawn = []
    for _ in range(400):
        labels = (events.evidence.confidences.cumsum(axis=1) > rng.random(300)[:, None]).argmax(axis=1)
        rates = precision_recall_fscore_support(labels, events.evidence.predicted, labels=range(4))
        drawn.append([(labels == events.evidence.predicted).mean(), *(rate[0] for rate in rates[:3])])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    first = estimate.classes[0]
    for interval, width in zip((estimate.accuracy, first.precision, first.recall, first.f1), high - low, strict=True):
        assert interval is not None
        assert interval.high - interval.low == pytest.approx(width, rel=0.25)


def test_a_class_with_few_events_is_not_told_about() -> None:
    probabilities = np.tile([0.97, 0.01, 0.01, 0.01], (100, 1))
    predicted = np.zeros(100, dtype=np.int32)
    told = estimate_from_confidences(probabilities, predicted, NAMES).classes
    assert told[0].precision is not None
    assert (told[1].precision, told[1].recall, told[1].f1) == (None, None, None)


def test_calibrators_that_differ_widen_the_interval() -> None:
    events = world(500, 9)
    p, predicted = events.evidence.confidences, events.evidence.predicted
    alone = estimate_from_confidences(p, predicted, NAMES).accuracy
    doubted = estimate_from_confidences(p, predicted, NAMES, replicas=[scaled(p, 0.5), scaled(p, 2.0)]).accuracy
    assert doubted.value == alone.value
    assert doubted.high - doubted.low > 1.5 * (alone.high - alone.low)


def test_a_new_prior_moves_probabilities_by_bayes_rule() -> None:
    out = reweighted(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([0.2, 1.8]))
    np.testing.assert_allclose(out, [[0.1, 0.9], [0.5, 0.5]])


def test_no_block_is_divided_and_every_class_is_in_every_fold() -> None:
    rng = np.random.default_rng(10)
    block_of = block_index(rng.permutation(np.repeat(np.arange(100), 4)), 400)
    labels = np.repeat(rng.integers(0, 5, 100), 4)[np.argsort(np.argsort(block_of, kind="stable"), kind="stable")]
    fold_of = stratified_folds(labels, block_of, folds=3, seed=0)
    assert all(len(set(fold_of[block_of == block])) == 1 for block in range(100))
    for fold in range(3):
        counted = np.bincount(labels[fold_of == fold], minlength=5)
        assert (np.abs(counted - np.bincount(labels, minlength=5) / 3) <= 4).all()


def test_the_design_effect_is_one_for_independent_rows_and_the_block_size_for_copies() -> None:
    rng = np.random.default_rng(11)
    residuals = rng.normal(size=3000)
    assert design_effect(residuals, residuals**2, np.arange(3000)) == 1
    copies = np.repeat(residuals, 4)
    assert design_effect(copies, copies**2, np.repeat(np.arange(3000), 4)) == pytest.approx(4)


def test_block_ids_must_be_one_a_row() -> None:
    with pytest.raises(ValueError, match="3 block ids for 4 rows"):
        block_index(np.zeros(3), 4)
