"""Correlated frames: how many looks they are, and that few looks neither raise an alarm nor hide a real change."""

from dataclasses import replace

import numpy as np
import pytest

from fixed_levels import FIXED_THRESHOLDS
from visiondrift.drift.columns.categories import class_shares, jensen_shannon
from visiondrift.drift.columns.distances import prepare_columns, wasserstein_normed
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.independence import COLUMN_CHANCE, Looks, correlation_rows, mix_chance, pace_of
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import Sample

CLASSES = ("a", "b", "c", "d")


def video(
    rng: np.random.Generator,
    frames: int,
    *,
    frames_per_look: float,
    shift: float = 0.0,
    camera: str = "left",
    begin: float = 0.0,
    seconds_per_frame: float = 0.1,
) -> Sample:
    """Frames of a camera whose embeddings (unit length, a cone) and confidences wander: AR(1) with that many rows a
    look."""
    rho = (frames_per_look - 1) / (frames_per_look + 1)
    noise = rng.normal(size=(frames, 64 + len(CLASSES)))
    walk = np.empty_like(noise)
    walk[0] = noise[0]
    for row in range(1, frames):
        walk[row] = rho * walk[row - 1] + np.sqrt(1 - rho**2) * noise[row]
    embeddings = 1.0 + walk[:, :64]
    embeddings[:, :40] += shift
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    odds = np.exp(2 * walk[:, 64:])
    confidences = odds / odds.sum(axis=1, keepdims=True)
    return Sample(
        times=begin + seconds_per_frame * np.arange(frames, dtype=np.float64),
        ids=np.array([f"{camera}-{begin}-{row}" for row in range(frames)], dtype=object),
        slices={"camera": np.full(frames, camera, dtype=object)},
        classes=CLASSES,
        embeddings=embeddings.astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=np.full(frames, np.nan),
    )


def evaluated(reference: Sample, window: Sample) -> WindowEvaluation:
    settings = Settings(CLASSES, ("camera",))
    return evaluate_window(
        PreparedReference.from_sample(reference, settings),
        window,
        slice_="camera=left",
        window="1h",
        min_samples=200,
        settings=settings,
        thresholds=FIXED_THRESHOLDS.resolve("", "camera=left"),
    )


@pytest.mark.parametrize("frames_per_look", [1, 5, 20])
def test_the_rows_of_one_look_are_recovered(frames_per_look: int):
    rng = np.random.default_rng(1)
    found = [correlation_rows(video(rng, 4000, frames_per_look=frames_per_look).embeddings) for _ in range(3)]
    assert np.mean(found) == pytest.approx(frames_per_look, rel=0.2)


def test_rows_that_are_all_the_same_are_told_apart_from_none():
    assert correlation_rows(np.ones((50, 8))) == 1.0


def test_independent_frames_each_are_a_look():
    sample = video(np.random.default_rng(2), 500, frames_per_look=1)
    assert pace_of(sample, "camera").looks(sample) == 500


def test_the_same_seconds_hold_the_same_looks_at_any_frame_rate():
    rng = np.random.default_rng(3)
    reference = video(rng, 4000, frames_per_look=20)  # a look every two seconds
    pace = pace_of(reference, "camera")
    fast, slow = (video(rng, 600 // k, frames_per_look=20, seconds_per_frame=0.1 * k) for k in (1, 5))
    assert pace.looks(fast) == pytest.approx(pace.looks(slow), rel=0.1)
    assert pace.looks(fast) == pytest.approx(30, rel=0.4)


@pytest.mark.parametrize("label", [None, "camera"])
def test_an_empty_window_holds_no_look(label: str | None):
    reference = video(np.random.default_rng(1), 200, frames_per_look=4)
    nothing = replace(reference.take(np.arange(0)), slices={})
    assert pace_of(reference, label).looks(nothing) == 0


def test_a_camera_that_the_reference_does_not_know_is_taken_for_its_slowest():
    rng = np.random.default_rng(4)
    reference = video(rng, 3000, frames_per_look=20)
    new = video(rng, 300, frames_per_look=1, camera="new")
    assert pace_of(reference, "camera").looks(new) < 60


@pytest.mark.parametrize(("n", "m"), [(10, 10), (50, 200), (2000, 500)])
def test_the_chance_of_a_column_is_what_simulation_says(n: int, m: int):
    rng = np.random.default_rng(5)
    distances = wasserstein_normed(prepare_columns(rng.normal(size=(n, 800))), rng.normal(size=(m, 800)))
    # The reference's own spread is in the score: with few rows it is off by itself.
    assert np.median(distances) == pytest.approx(COLUMN_CHANCE * Looks(n, m).noise, rel=0.35 if n < 50 else 0.12)


def test_the_chance_of_a_class_mix_is_what_simulation_says():
    rng = np.random.default_rng(6)
    mix = np.full(10, 0.1)
    distances = [
        jensen_shannon(class_shares(rng.multinomial(2000, mix)), class_shares(rng.multinomial(300, mix)))
        for _ in range(400)
    ]
    assert np.sqrt(np.mean(np.square(distances))) == pytest.approx(mix_chance(10, Looks(2000, 300)), rel=0.1)


@pytest.mark.parametrize("frames_per_look", [1, 5, 20, 60])
def test_healthy_frames_raise_no_alarm_however_much_they_repeat_each_other(frames_per_look: int):
    rng = np.random.default_rng(7)
    alarms = [
        (judgement.signal, judgement.score)
        for _ in range(25)
        for judgement in evaluated(
            video(rng, 1500, frames_per_look=frames_per_look),
            video(rng, 600, frames_per_look=frames_per_look, begin=1e6),
        ).judgements
        if judgement.verdict in {"warning", "critical"}
    ]
    assert len(alarms) <= 2, alarms


@pytest.mark.parametrize("frames_per_look", [1, 5, 20])
def test_a_real_change_is_seen_through_correlated_frames(frames_per_look: int):
    rng = np.random.default_rng(8)
    verdicts = []
    for _ in range(10):
        evaluation = evaluated(
            video(rng, 3000, frames_per_look=frames_per_look),
            video(rng, 1000, frames_per_look=frames_per_look, begin=1e6, shift=1.5),
        )
        verdicts.append(next(j.verdict for j in evaluation.judgements if j.signal == "embedding_drift"))
    assert verdicts.count("critical") == 10


def test_a_score_that_chance_explains_is_withheld_with_the_reason():
    rng = np.random.default_rng(9)
    withheld = [
        judgement
        for _ in range(20)
        for judgement in evaluated(
            video(rng, 400, frames_per_look=60), video(rng, 250, frames_per_look=60, begin=1e6)
        ).judgements
        if judgement.why
    ]
    assert withheld
    assert all(judgement.score is None and judgement.verdict == "insufficient" for judgement in withheld)
    assert all("independent looks in the window" in judgement.why for judgement in withheld)


def test_class_scores_are_withheld_with_the_signal_they_belong_to():
    rng = np.random.default_rng(10)
    for _ in range(20):
        evaluation = evaluated(video(rng, 400, frames_per_look=60), video(rng, 250, frames_per_look=60, begin=1e6))
        told = next(j.score is not None for j in evaluation.judgements if j.signal == "confidence_drift")
        assert bool(evaluation.class_drift) == told
