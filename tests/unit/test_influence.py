"""Which images are behind a drift, how far out single images are, and which of them are shown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from site_parts import CAMERAS, DIMENSION, Frames, detector, evidence, frames, rows_of
from visiondrift.drift.embedding.novelty import outlier_chances, to_reference
from visiondrift.drift.explain.influence import Influence, chosen, influence_of, nearest_rows, plain_influence


def influence(window: Frames) -> Influence:
    positions = np.arange(len(window.embeddings))
    reference = detector().reference
    return influence_of(reference, evidence(window), rows_of(window), slices=window.cameras, positions=positions)


def with_new_kind(seed: int, every: int = 12) -> tuple[Frames, np.ndarray]:
    """A window in which one image of some scenes is of a kind that the reference has never seen; and which."""
    window = frames(seed, 20)
    new = np.arange(len(window.embeddings)) % every == 0
    embeddings = window.embeddings.copy()
    rng = np.random.default_rng(seed)
    embeddings[new] = np.linspace(-5, 5, DIMENSION) + rng.normal(scale=0.1, size=(int(new.sum()), DIMENSION))
    return replace(window, embeddings=embeddings), new


def test_images_of_a_new_kind_are_those_that_are_named():
    window, new = with_new_kind(5)
    found = influence(window)
    assert found.measure == "ratio"
    shown = chosen(found, window.embeddings)
    assert len(shown) == 8
    assert new[found.rows[shown]].all()


def test_where_nothing_is_new_influence_is_how_far_an_image_lies_along_the_shift():
    window = frames(9, 20)
    moved = np.isin(window.cameras, ("a", "b"))
    step = np.zeros(DIMENSION, dtype=np.float32)
    step[2] = 1.0
    window = replace(window, embeddings=window.embeddings + moved[:, None] * step)
    found = influence(window)
    assert found.measure == "shift"
    assert found.scores[moved].mean() > found.scores[~moved].mean() + 0.5
    assert found.scores[~moved].std() == pytest.approx(1.0, abs=0.25)


def test_a_camera_that_looks_elsewhere_has_no_influence_by_that_alone():
    """Each image is held against the centre of its own camera."""
    window = frames(11, 40)
    found = influence(window)
    means = [found.scores[window.cameras[found.rows] == camera].mean() for camera in CAMERAS]
    assert np.ptp(means) < 1.0


def test_without_a_calibration_the_difference_of_the_means_says_which():
    window, new = with_new_kind(6, every=4)
    found = plain_influence(window.embeddings, frames(1, 30).embeddings, positions=np.arange(len(window.embeddings)))
    assert new[found.rows[np.argsort(-found.scores)][:8]].all()
    assert np.isnan(found.chances).all()


# Single images


def test_of_images_like_the_reference_few_have_a_small_chance():
    """Conformal: at most a share a has a p of at most a."""
    coreset = detector().reference.coreset
    distances = np.concatenate(
        [to_reference(coreset.rows, rows_of(frames(seed, 50)).coordinates) for seed in range(40, 48)]
    )
    chances = outlier_chances(coreset, distances)
    for level in (0.02, 0.1, 0.5):
        assert (chances <= level).mean() <= 1.3 * level + 0.01, level


def test_a_stranger_has_the_smallest_chance_that_so_many_normal_images_can_show():
    coreset = detector().reference.coreset
    assert outlier_chances(coreset, np.array([1e6])) == pytest.approx([1 / (1 + len(coreset.normal))])


def test_the_share_of_outliers_of_healthy_windows_lies_where_it_is_expected():
    found = [evidence(frames(seed, 30)).outliers for seed in range(60, 80)]
    assert sum(not one.low <= one.ratio <= one.high for one in found if one is not None) <= 1


def test_a_window_of_strangers_has_more_outliers_than_are_expected():
    window, new = with_new_kind(7, every=2)
    found = evidence(window).outliers
    assert found is not None
    assert found.ratio == pytest.approx(new.mean(), abs=0.05)
    assert found.ratio > found.high > found.expected


# What is shown of them


def scored(scores: np.ndarray) -> Influence:
    return Influence("shift", np.arange(len(scores)), scores.astype(np.float64), np.full(len(scores), np.nan))


def test_eight_siblings_of_one_scene_are_not_shown_where_there_are_other_images():
    rng = np.random.default_rng(0)
    siblings = np.tile([1.0, 0, 0, 0], (12, 1)) + rng.normal(scale=1e-3, size=(12, 4))
    others = np.eye(4)[1:] + rng.normal(scale=1e-3, size=(3, 4))
    embeddings = np.vstack([siblings, others]).astype(np.float32)
    scores = np.concatenate([np.full(12, 5.0), np.full(3, 4.0)])
    shown = chosen(scored(scores), embeddings, most=4)
    assert shown[0] < 12
    assert set(shown[1:]) == {12, 13, 14}


def test_copies_of_what_is_shown_are_not_shown_again():
    embeddings = np.tile([1.0, 0.0], (10, 1)).astype(np.float32)
    assert len(chosen(scored(np.arange(1.0, 11.0)), embeddings)) == 1


def test_beside_a_few_strange_images_no_ordinary_ones_are_shown():
    """A camera that has just gone dark: two frames far along the shift, the others where the reference's lie too."""
    scores = np.concatenate([[12.0, 9.9], np.linspace(1.9, -1.9, 46)])
    embeddings = np.random.default_rng(1).normal(size=(48, 6)).astype(np.float32)
    assert chosen(scored(scores), embeddings).tolist() == [0, 1]
    assert len(chosen(scored(scores[2:]), embeddings[2:])) > 1, "a small shift of all has no other images to show"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 10**6))
def test_what_is_shown_has_influence_no_copies_and_begins_with_the_most_influential(rows: int, most: int, seed: int):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=rows)
    shown = chosen(scored(scores), rng.normal(size=(rows, 6)).astype(np.float32), most=most)
    assert len(set(shown.tolist())) == len(shown) <= most
    assert (scores[shown] > 0).all()
    assert list(scores[shown]) == sorted(scores[shown], reverse=True)
    assert not (scores > 0).any() or scores[shown[0]] == scores.max()


def test_the_nearest_row_is_that_of_the_highest_cosine():
    place, cosine = nearest_rows(
        np.array([[1.0, 0.1], [0.0, 2.0]], dtype=np.float32), np.array([[0.0, 1.0], [3.0, 0.0]], dtype=np.float32)
    )
    assert place.tolist() == [1, 0]
    assert cosine == pytest.approx([1 / np.sqrt(1.01), 1.0])
