"""The classes' true shares in a window: found where only they moved, doubted where something else did."""

import numpy as np
import pytest

from performance_worlds import NAMES, World, world
from visiondrift.drift.performance.label_shift import ClassMixture, maximum_likelihood, solve_mixture

REFERENCE = world(4000, 0)
REST = world(20_000, 1)


def mixture(events: World = REFERENCE) -> ClassMixture:
    return ClassMixture(events.evidence.confidences, events.labels, np.arange(len(events.labels)))


@pytest.mark.parametrize("shares", [[0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 0.5, 0.5], [0.97, 0.01, 0.01, 0.01]])
def test_a_known_shift_is_recovered_and_believed(shares: list[float]) -> None:
    window = REST.with_shares(shares, 2000, 2)
    shift = mixture().estimate(window.evidence.confidences, NAMES)
    assert shift.valid, shift.why
    assert shift.moved
    np.testing.assert_allclose([c.value for c in shift.classes], shares, atol=0.04)
    np.testing.assert_allclose([c.least_squares for c in shift.classes], shares, atol=0.06)
    np.testing.assert_allclose(shift.ratio() * [c.reference for c in shift.classes], [c.value for c in shift.classes])


def test_intervals_hold_the_true_shares_at_least_as_often_as_they_say() -> None:
    shares = [0.55, 0.3, 0.15, 0.0]
    held = []
    for seed in range(40):
        shift = mixture().estimate(REST.with_shares(shares, 300, seed).evidence.confidences, NAMES, seed=seed)
        held += [c.low <= true <= c.high for c, true in zip(shift.classes, shares, strict=True)]
    assert np.mean(held) > 0.85


def test_nothing_moved_is_rarely_called_moved_or_unexplained() -> None:
    moved = unexplained = 0
    for seed in range(50):
        rows = np.random.default_rng(seed).choice(20_000, 300, replace=False)
        shift = mixture().estimate(REST.evidence.confidences[rows], NAMES, seed=seed)
        moved += shift.moved
        unexplained += not shift.valid
    assert moved <= 3  # 1 in 100 is meant; four or more has a chance of 0.2 %
    assert unexplained <= 3


def test_frames_of_a_scene_are_one_piece_of_evidence() -> None:
    """Windows of 30 scenes of ten near-equal frames: by blocks they are mostly believed, row by row mostly not."""
    rng = np.random.default_rng(3)
    scenes = REST.take(rng.choice(20_000, 400, replace=False))
    tied = ClassMixture(
        np.repeat(scenes.evidence.confidences, 10, axis=0), np.repeat(scenes.labels, 10), np.repeat(np.arange(400), 10)
    )
    by_block = by_row = 0
    for seed in range(20):
        rows = np.repeat(np.random.default_rng(100 + seed).choice(20_000, 30, replace=False), 10)
        confidences = REST.evidence.confidences[rows]
        by_block += not tied.estimate(confidences, NAMES, blocks=30, seed=seed).valid
        by_row += not mixture().estimate(confidences, NAMES, seed=seed).valid
    assert by_block <= 2
    assert by_row >= 10


def test_a_fault_that_lowers_confidence_is_not_taken_for_a_label_shift() -> None:
    worse = 0.7 * world(500, 4).evidence.confidences + 0.075
    shift = mixture().estimate(worse, NAMES)
    assert not shift.valid
    assert "no mixture of the reference's classes explains" in shift.why
    assert shift.residual > shift.residual_limit


def test_classes_that_look_alike_to_the_model_cannot_be_told_apart() -> None:
    alike = REFERENCE.evidence.confidences.copy()
    alike[:, :2] = alike[:, :2].mean(axis=1, keepdims=True)
    shift = ClassMixture(alike, REFERENCE.labels, np.arange(4000)).estimate(alike[:500], NAMES)
    assert not shift.valid
    assert "too alike" in shift.why


def test_a_window_full_of_a_class_without_labels_is_doubted() -> None:
    without = REFERENCE.take(REFERENCE.labels != 3)
    shift = mixture(without).estimate(REST.take(REST.labels == 3).evidence.confidences[:500], NAMES)
    assert not shift.valid
    assert "fewer than 20 labels" in shift.why
    assert shift.classes[3].value == 0


def test_likelihood_never_falls_and_ends_where_the_shares_reproduce_themselves() -> None:
    window = REST.with_shares([0.1, 0.2, 0.3, 0.4], 3000, 5).evidence.confidences
    prior = np.full(4, 0.25)
    found = maximum_likelihood(window, prior)
    weighted = window * found / prior
    np.testing.assert_allclose((weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0), found, atol=1e-5)
    assert np.log(weighted.sum(axis=1)).sum() > np.log((window * prior / prior).sum(axis=1)).sum()


def test_a_mixture_is_unmixed_exactly() -> None:
    rng = np.random.default_rng(6)
    looks = rng.dirichlet(np.full(5, 0.3), size=5).T
    shares = np.array([0.5, 0.0, 0.2, 0.3, 0.0])
    np.testing.assert_allclose(solve_mixture(looks, looks @ shares), shares, atol=1e-9)


def test_the_same_seed_gives_the_same_answer() -> None:
    window = REST.with_shares([0.4, 0.3, 0.2, 0.1], 400, 7).evidence.confidences
    assert mixture().estimate(window, NAMES, seed=3) == mixture().estimate(window, NAMES, seed=3)
