"""The estimate of accuracy without labels: what it says, when it refuses, and that it can be kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import binomtest

from performance_worlds import NAMES, World, broken_and_sure, learnt, world
from visiondrift.drift.performance.estimate import estimate_performance, measured_accuracy, to_plain
from visiondrift.drift.performance.model import (
    Evidence,
    PerformanceModel,
    evidence_of,
    fit_performance,
    why_out_of_step,
    why_unlearnable,
)
from visiondrift.prediction import FOREIGN, Sample

MODEL = learnt()


def test_without_drift_the_interval_holds_the_true_accuracy_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        window = world(400, 1000 + seed)
        estimate = estimate_performance(MODEL, window.evidence)
        assert estimate.valid, estimate.why
        assert estimate.accuracy is not None
        held += estimate.accuracy.low <= window.accuracy <= estimate.accuracy.high
    assert held >= 33  # 90 % of 40 is 36; fewer than 33 has a chance of about 4 %


def test_a_model_that_says_too_much_is_calibrated_before_it_is_believed() -> None:
    model, window = learnt(temperature=0.4), world(4000, 5, temperature=0.4)
    estimate = estimate_performance(model, window.evidence)
    assert estimate.by_confidence is not None
    assert window.evidence.confidences.max(axis=1).mean() - window.accuracy > 0.08
    assert abs(estimate.by_confidence.value - window.accuracy) < 0.02


def test_sure_mistakes_escape_the_confidences_and_not_the_readers() -> None:
    window = broken_and_sure(world(1000, 6), 0.5, 7)
    estimate = estimate_performance(MODEL, window.evidence)
    assert estimate.by_confidence is not None
    assert estimate.by_readers is not None
    assert estimate.by_confidence.value - window.accuracy > 0.2
    assert abs(estimate.by_readers.value - window.accuracy) < 0.05
    assert estimate.accuracy is not None
    assert estimate.accuracy.value == estimate.by_readers.value
    assert estimate.drop == pytest.approx(estimate.reference_accuracy - estimate.by_readers.value)
    assert estimate.valid


def test_label_shift_alone_is_followed_in_the_accuracy() -> None:
    """Events of the class that the model knows worst become common."""
    reference = world(6000, 8)
    confidences = reference.evidence.confidences.copy()
    blurred = reference.labels == 3
    confidences[blurred] = 0.5 * confidences[blurred] + 0.125
    rng = np.random.default_rng(9)
    labels = (confidences.cumsum(axis=1) > rng.random(6000)[:, None]).argmax(axis=1).astype(np.int32)
    hard = World(Evidence(confidences, confidences.argmax(axis=1).astype(np.int32)), labels)
    model = fit_performance(hard.evidence, hard.labels, names=NAMES)
    window = hard.with_shares([0.05, 0.05, 0.05, 0.85], 2000, 10)
    estimate = estimate_performance(model, window.evidence)
    assert estimate.valid, estimate.why
    assert estimate.accuracy is not None
    uncorrected = float(model.calibrator.apply(window.evidence.confidences).max(axis=1).mean())
    assert abs(estimate.accuracy.value - window.accuracy) < 0.02
    assert abs(uncorrected - window.accuracy) > 0.03


def test_it_refuses_without_embeddings_where_class_shares_do_not_explain_the_window() -> None:
    window = world(800, 11).without_embeddings()
    worse = 0.6 * window.evidence.confidences + 0.1
    estimate = estimate_performance(MODEL, replace(window.evidence, confidences=worse))
    assert not estimate.valid
    assert "no mixture" in estimate.why
    assert "second opinion" in estimate.why


def test_it_refuses_where_the_readers_no_longer_agree_with_each_other() -> None:
    window = world(800, 12)
    assert window.evidence.embeddings is not None
    noise = np.random.default_rng(13).normal(0, 4, window.evidence.embeddings.shape).astype(np.float32)
    estimate = estimate_performance(MODEL, replace(window.evidence, embeddings=window.evidence.embeddings + noise))
    assert not estimate.valid
    assert "contradict each other" in estimate.why


def test_readers_that_cannot_read_are_not_heard() -> None:
    reference, window = world(2000, 14), world(500, 15)
    noise = np.random.default_rng(16).normal(size=(2000, 16)).astype(np.float32)
    model = fit_performance(replace(reference.evidence, embeddings=noise), reference.labels, names=NAMES)
    estimate = estimate_performance(model, replace(window.evidence, embeddings=noise[:500]))
    assert estimate.by_readers is None
    assert estimate.valid  # nothing has moved, so the confidences may speak alone
    assert estimate.accuracy == estimate.by_confidence


def test_a_small_window_gets_a_reason_and_no_number() -> None:
    estimate = estimate_performance(MODEL, world(49, 17).evidence)
    assert (estimate.accuracy, estimate.valid) == (None, False)
    assert "49 events" in estimate.why
    assert "50" in estimate.why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e, y: (e, np.where(np.arange(len(y)) < 199, y, -1)), "199 labelled rows"),
        (lambda e, y: (replace(e, blocks=np.arange(len(y)) // 200), y), "of 3 blocks"),
        (lambda e, y: (e, np.zeros_like(y)), "of one class"),
        (lambda e, y: (replace(e, confidences=2 * e.confidences), y), "add up to 2.00"),
    ],
)
def test_a_reference_that_nothing_can_be_learnt_of_says_why(change, reason) -> None:
    events = world(600, 18)
    evidence, labels = change(events.evidence, events.labels)
    assert reason in why_unlearnable(evidence, labels)
    with pytest.raises(ValueError, match=reason):
        fit_performance(evidence, labels, names=NAMES)


def test_labels_out_of_step_with_the_predictions_are_not_learnt_from() -> None:
    """Each label one class further, as where two lists of classes begin at 0 and at 1."""
    reference = world(1000, 1)
    rotated = ((reference.labels + 1) % len(NAMES)).astype(np.int32)
    why = why_unlearnable(reference.evidence, rotated)
    assert "the labels of the reference look out of step with its predictions: these are right on" in why
    assert why_unlearnable(reference.evidence, reference.labels) == ""


def test_labels_of_other_rows_are_out_of_step_and_a_rare_class_found_too_often_is_not() -> None:
    labels = np.repeat(np.array([0, 1], dtype=np.int32), [990, 10])
    cautious = np.repeat(np.array([0, 1], dtype=np.int32), [960, 40])  # right on less than whoever always says 0
    assert (cautious == labels).mean() < 0.99
    assert why_out_of_step(cautious, labels) == ""
    shuffled = np.random.default_rng(1).permutation(world(1000, 1).labels)
    assert "look out of step" in why_out_of_step(world(1000, 1).evidence.predicted, shuffled)


def test_unlabelled_rows_of_the_reference_teach_nothing() -> None:
    events = world(1500, 19)
    labels = np.where(np.arange(1500) % 3 == 0, -1, events.labels).astype(np.int32)
    some = fit_performance(events.evidence, labels, names=NAMES)
    alone = events.take(labels >= 0)
    only = fit_performance(alone.evidence, alone.labels, names=NAMES)
    window = world(300, 20).evidence
    assert estimate_performance(some, window) == estimate_performance(only, window)


def test_kept_as_json_and_restored_it_says_the_same() -> None:
    events = world(1000, 21)
    blocks = np.array([f"scene-{i // 3}" for i in range(1000)], dtype=object)
    evidence = replace(events.evidence, blocks=blocks)
    model = fit_performance(evidence, events.labels, names=NAMES)
    restored = PerformanceModel.from_dict(json.loads(json.dumps(model.to_dict())), evidence)
    window = world(300, 22).evidence
    assert estimate_performance(restored, window) == estimate_performance(model, window)
    json.dumps(to_plain(estimate_performance(model, window)), allow_nan=False)


def test_a_kept_model_refuses_another_reference_and_another_format() -> None:
    data = MODEL.to_dict()
    with pytest.raises(ValueError, match="3000 rows, the reference has 10"):
        PerformanceModel.from_dict(data, world(10, 0).evidence)
    with pytest.raises(ValueError, match="format 99"):
        PerformanceModel.from_dict({**data, "format": 99}, world(3000, 0).evidence)


def test_events_of_the_same_scene_widen_the_interval() -> None:
    """Every event of the reference and the window comes five times."""
    reference, window = world(800, 23), world(200, 24)
    rows, few = np.repeat(np.arange(800), 5), np.repeat(np.arange(200), 5)
    many = reference.take(rows)
    independent = fit_performance(many.evidence, many.labels, names=NAMES)
    tied = fit_performance(replace(many.evidence, blocks=rows), many.labels, names=NAMES)
    repeated = window.take(few).evidence
    narrow = estimate_performance(independent, repeated).by_confidence
    wide = estimate_performance(tied, replace(repeated, blocks=few)).by_confidence
    assert narrow is not None
    assert wide is not None
    assert 1.8 < (wide.high - wide.low) / (narrow.high - narrow.low) < 2.7  # sqrt(5) = 2.24


def test_frames_that_crowd_in_a_scene_count_as_one_where_the_reference_has_one_of_each() -> None:
    window = world(60, 24)
    crowd = np.repeat(np.arange(60), 20)
    alone, crowded = (
        estimate_performance(MODEL, replace(seen.evidence, blocks=blocks))
        for seen, blocks in ((window, np.arange(60)), (window.take(crowd), crowd))
    )
    for one, other in ((alone.by_confidence, crowded.by_confidence), (alone.by_readers, crowded.by_readers)):
        assert one is not None
        assert other is not None
        assert other.high - other.value == pytest.approx(one.high - one.value, rel=0.1)


@pytest.mark.parametrize(
    ("confidence", "why"),
    [(0.9, "add up to 3.60 on average, and only classes that exclude each other"), (0.0, "these are no probabilities")],
)
def test_it_refuses_where_the_windows_confidences_are_no_probabilities(confidence: float, why: str) -> None:
    evidence = world(400, 11).evidence
    estimate = estimate_performance(
        MODEL, replace(evidence, confidences=np.full_like(evidence.confidences, confidence))
    )
    assert (estimate.valid, estimate.accuracy) == (False, None)
    assert why in estimate.why


def test_it_refuses_where_a_class_of_the_window_was_never_labelled() -> None:
    taught, window = world(1200, 0), world(400, 5)
    known = np.where(taught.labels == 3, -1, taught.labels).astype(np.int32)
    estimate = estimate_performance(fit_performance(taught.evidence, known, names=NAMES), window.evidence)
    assert not estimate.valid
    assert "are predicted as classes that no labelled row of the reference has; at most 5% may be" in estimate.why


@pytest.mark.parametrize(("share", "valid"), [(0.0, True), (0.3, False)])
def test_it_refuses_where_a_class_of_hardly_any_labels_becomes_common_though_readers_are_heard(
    share: float, valid: bool
) -> None:
    """Readers that hardly know the class contradict a model that reads it well, and agree with each other."""
    reference = world(4000, 1)
    rows = np.sort(np.concatenate([np.flatnonzero(reference.labels != 3), np.flatnonzero(reference.labels == 3)[:5]]))
    given = reference.evidence
    assert given.embeddings is not None
    evidence = Evidence(given.confidences[rows], given.predicted[rows], given.embeddings[rows])
    model = fit_performance(evidence, reference.labels[rows], names=NAMES)
    window = world(4000, 2).with_shares([(1 - share) / 3] * 3 + [share], 1000, 3)
    estimate = estimate_performance(model, window.evidence)
    assert estimate.consultation is not None
    assert estimate.consultation.cautious is not None
    assert estimate.accuracy is not None
    assert (abs(estimate.accuracy.value - window.accuracy) < 0.05) == valid
    assert estimate.valid == valid
    assert ("classes with fewer than 20 labels in the reference, where it was" in estimate.why) == (not valid)


def test_the_likeliest_class_alone_is_enough_of_a_confidence() -> None:
    evidence = world(400, 11).evidence
    top = evidence.confidences.max(axis=1, keepdims=True)
    alone = np.where(evidence.confidences == top, evidence.confidences, 0.0)
    assert estimate_performance(MODEL, replace(evidence, confidences=alone)).accuracy is not None


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.float32, (60, 4), elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.float32, (60, 16), elements=st.floats(-100, 100, width=32)),
    st.integers(0, 3),
)
def test_whatever_comes_in_shares_come_out_and_intervals_hold_their_values(confidences, embeddings, predicted) -> None:
    total = confidences.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, confidences / np.where(total > 0, total, 1), np.eye(4, dtype=np.float32)[predicted])
    estimate = estimate_performance(MODEL, Evidence(shares, np.full(60, predicted, dtype=np.int32), embeddings))
    intervals = [estimate.accuracy, estimate.by_confidence, estimate.by_readers]
    intervals += [i for c in estimate.classes for i in (c.precision, c.recall, c.f1)]
    for interval in intervals:
        assert interval is None or 0 <= interval.low <= interval.value <= interval.high <= 1
    assert estimate.label_shift is not None
    assert sum(c.value for c in estimate.label_shift.classes) == pytest.approx(1)
    assert all(0 <= c.low <= c.value <= c.high <= 1 for c in estimate.label_shift.classes)
    assert estimate.valid == (not estimate.why)


def test_of_a_sample_the_events_with_confidences_are_the_evidence() -> None:
    nan = np.nan
    sample = Sample(
        times=np.arange(4.0),
        ids=np.array(list("abcd"), dtype=object),
        slices={},
        classes=("x", "y"),
        embeddings=np.array([[1, 0], [nan, nan], [0, 1], [1, 1]], dtype=np.float32),
        confidences=np.array([[0.9, 0.1], [nan, 0.8], [nan, nan], [0.3, 0.7]], dtype=np.float32),
        predicted=np.array([0, -1, 1, 0], dtype=np.int32),
        latency_ms=np.full(4, nan),
    )
    evidence = evidence_of(sample, blocks=np.array([5, 6, 7, 8]))
    assert evidence.predicted.tolist() == [0, 1, 0]  # as sent; the top one where nothing was sent
    assert evidence.blocks is not None
    assert evidence.blocks.tolist() == [5, 6, 8]
    assert evidence.embedded.tolist() == [True, False, True]
    np.testing.assert_allclose(evidence.confidences, [[0.9, 0.1], [0, 0.8], [0.3, 0.7]])


def test_with_a_thousand_classes_accuracy_is_estimated_and_their_shares_are_not() -> None:
    rng = np.random.default_rng(30)
    labels = rng.integers(0, 1000, 2000).astype(np.int32)
    sure = np.full((2000, 1000), 1e-4) + 0.9 * np.eye(1000)[np.where(rng.random(2000) < 0.9, labels, 0)]
    evidence = Evidence(sure / sure.sum(axis=1, keepdims=True), sure.argmax(axis=1).astype(np.int32))
    model = fit_performance(evidence, labels, names=tuple(str(k) for k in range(1000)))
    estimate = estimate_performance(model, evidence)
    assert estimate.label_shift is None
    assert estimate.accuracy is not None
    assert abs(estimate.accuracy.value - 0.9) < 0.02
    assert not estimate.valid
    assert "over 100 classes" in estimate.why


def test_measured_accuracy_is_wilsons_interval_over_the_labels_that_came() -> None:
    predicted = np.zeros(200, dtype=np.int32)
    labels = np.where(np.arange(200) < 120, -1, np.arange(200) % 4 == 0).astype(np.int32)
    measured = measured_accuracy(predicted, labels)
    expected = binomtest(60, 80).proportion_ci(0.90, method="wilson")
    assert measured is not None
    assert (measured.value, measured.low, measured.high) == pytest.approx((0.75, expected.low, expected.high))
    assert measured_accuracy(predicted[:160], labels[:160]) is None, "of forty it is not told"


def test_an_event_of_a_class_that_the_model_does_not_know_counts_as_wrong() -> None:
    measured = measured_accuracy(np.zeros(100, dtype=np.int32), np.repeat([0, FOREIGN], 50).astype(np.int32))
    assert measured is not None
    assert measured.value == 0.5
