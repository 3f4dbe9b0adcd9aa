"""What a window's evaluation says: scores where they may speak, a sentence where not, and no alarm on no drift."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from fixed_levels import FIXED_THRESHOLDS
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.errors import ReferenceUnusable
from visiondrift.prediction import Sample

CLASSES = ("cat", "dog", "fox")
SETTINGS = Settings(classes=CLASSES, slices=("camera",))
THRESHOLDS = FIXED_THRESHOLDS.resolve("", "all")


def world(
    rng: np.random.Generator,
    n: int,
    *,
    cameras: dict[str, float] | None = None,
    shift: float = 0.0,
    blur: float = 1.0,
    class_mix: tuple[float, ...] = (0.4, 0.4, 0.2),
    scene: int = 1,
    rho: float = 0.0,
    dimension: int = 64,
) -> Sample:
    """Unit-length embeddings in a cone, each camera with its own view and class mix; ``scene`` frames share a look."""
    cameras = cameras or {"left": 0.5, "right": 0.5}
    camera = rng.choice(list(cameras), n, p=list(cameras.values()))
    views = {name: np.random.default_rng(7 + i).normal(size=dimension) for i, name in enumerate(("left", "right"))}
    look = rng.normal(size=(-(-n // scene), dimension)).repeat(scene, axis=0)[:n]
    own = rng.normal(size=(n, dimension))
    base = 1.2 + 0.8 * np.array([views.get(name, np.zeros(dimension)) for name in camera])
    embeddings = base + np.sqrt(rho) * look + np.sqrt(1 - rho) * own + shift
    predicted = np.where(camera == "right", rng.choice(3, n, p=class_mix[::-1]), rng.choice(3, n, p=class_mix))
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), predicted] += 6
    confidences = np.exp(logits / blur)
    confidences /= confidences.sum(axis=1, keepdims=True)
    return Sample(
        times=np.arange(n, dtype=np.float64),
        ids=np.array([f"e{i}" for i in range(n)], dtype=object),
        slices={"camera": camera.astype(object)},
        classes=CLASSES,
        embeddings=(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=np.full(n, np.nan),
    )


REFERENCE_SAMPLE = world(np.random.default_rng(1), 2000)
REFERENCE = PreparedReference.from_sample(REFERENCE_SAMPLE, SETTINGS)


def evaluated(window: Sample, *, reference: PreparedReference = REFERENCE, **changed: Any) -> WindowEvaluation:
    given: dict[str, Any] = {
        "slice_": "all",
        "window": "1h",
        "min_samples": 100,
        "settings": SETTINGS,
        "thresholds": THRESHOLDS,
    }
    return evaluate_window(reference, window, **(given | changed))


def signals(evaluation: WindowEvaluation) -> dict[str, Judgement]:
    return {judgement.signal: judgement for judgement in evaluation.judgements}


def score(evaluation: WindowEvaluation, signal: str) -> float:
    value = signals(evaluation)[signal].score
    assert value is not None
    return value


def without(sample: Sample, rows: slice, *, embeddings: bool = False, confidences: bool = False) -> Sample:
    changed = replace(
        sample,
        embeddings=sample.embeddings.copy(),
        confidences=sample.confidences.copy(),
        predicted=sample.predicted.copy(),
    )
    if embeddings:
        changed.embeddings[rows] = np.nan
    if confidences:
        changed.confidences[rows] = np.nan
        changed.predicted[rows] = -1
    return changed


def test_every_score_is_what_its_definition_says_computed_the_slow_way() -> None:
    window = world(np.random.default_rng(2), 300, shift=0.3, blur=3).of_slice("camera=left")
    reference = REFERENCE_SAMPLE.of_slice("camera=left")
    found = evaluated(window, slice_="camera=left")

    def moved(a: np.ndarray, b: np.ndarray) -> float:
        return float(wasserstein_distance(a.astype(float), b.astype(float)) / max(a.astype(float).std(), 0.001))

    columns = [moved(reference.embeddings[:, i], window.embeddings[:, i]) for i in range(window.dimension)]
    means = [sample.embeddings.mean(axis=0, dtype=float) for sample in (reference, window)]
    shares = [np.bincount(sample.predicted, minlength=3) / len(sample) for sample in (reference, window)]
    tops = [sample.confidences.max(axis=1).astype(float) for sample in (reference, window)]
    confidences = {name: moved(reference.confidences[:, i], window.confidences[:, i]) for i, name in enumerate(CLASSES)}
    expected = {
        "embedding_drift": np.mean(np.array(columns) >= 0.3),
        "clip_similarity": means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1]),
        "prediction_drift": jensenshannon(*shares, base=2),
        "confidence_drift": max(confidences.values()),
        "confidence_drop": tops[0].mean() - tops[1].mean(),
        "low_confidence_rise": (tops[1] < 0.5).mean() - (tops[0] < 0.5).mean(),
        "missing_ratio": 0.0,
    }
    assert {name: score(found, name) for name in signals(found)} == pytest.approx(expected, abs=1e-6)
    assert found.class_drift == pytest.approx(confidences)
    assert found.class_share == pytest.approx(dict(zip(CLASSES, shares[1], strict=True)))
    assert found.reference_class_share == pytest.approx(dict(zip(CLASSES, shares[0], strict=True)))
    assert found.mean_confidence == pytest.approx(tops[1].mean())
    assert found.reference_mean_confidence == pytest.approx(tops[0].mean())
    assert found.low_confidence_ratio == pytest.approx((tops[1] < 0.5).mean())
    assert (found.reference_slice, found.reference_rows) == ("camera=left", len(reference))


@pytest.mark.parametrize("samples", [100, 200, 1000])
def test_no_drift_raises_no_alarm_at_the_default_thresholds(samples: int) -> None:
    rng = np.random.default_rng(samples)
    for _ in range(30):
        assert evaluated(world(rng, samples)).verdict == "ok"
        assert evaluated(world(rng, samples, cameras={"left": 1.0}), slice_="camera=left").verdict == "ok"


@pytest.mark.parametrize("mix", [{"left": 0.9, "right": 0.1}, {"left": 0.03, "right": 0.97}, {"left": 1.0}])
def test_more_traffic_from_one_camera_is_no_drift(mix: dict[str, float]) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        assert evaluated(world(rng, 400, cameras=mix)).verdict == "ok"
    unmatched = PreparedReference.from_sample(REFERENCE_SAMPLE, replace(SETTINGS, slices=()))
    assert evaluated(world(rng, 400, cameras=mix), reference=unmatched).verdict == "critical"


def test_frames_of_the_same_scene_raise_no_alarm_at_two_hundred_events() -> None:
    """Five frames a scene, correlation 0.5: noise as of a third of the events, and the fixed defaults bear it."""
    rng = np.random.default_rng(4)
    for _ in range(30):
        assert evaluated(world(rng, 200, scene=5, rho=0.5)).verdict == "ok"


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        ({"shift": 1.0}, "embedding_drift"),
        ({"blur": 6.0}, "confidence_drop"),
        ({"blur": 6.0}, "confidence_drift"),
        ({"blur": 12.0}, "low_confidence_rise"),
        ({"class_mix": (0.0, 0.1, 0.9)}, "prediction_drift"),
    ],
)
def test_a_change_of_the_world_is_seen_by_the_signal_that_is_meant_for_it(change: dict[str, Any], signal: str) -> None:
    window = world(np.random.default_rng(5), 400, **change).of_slice("camera=left")
    found = evaluated(window, slice_="camera=left")
    assert signals(found)[signal].verdict in {"warning", "critical"}
    assert found.verdict in {"warning", "critical"}


def test_one_drifting_camera_is_named_and_the_other_is_not() -> None:
    rng = np.random.default_rng(6)
    window = world(rng, 600)
    dark = world(rng, 600, shift=2.0, blur=6)
    left = window.slices["camera"] == "left"
    window = replace(
        window,
        embeddings=np.where(left[:, None], dark.embeddings, window.embeddings),
        confidences=np.where(left[:, None], dark.confidences, window.confidences),
    )
    assert evaluated(window.of_slice("camera=left"), slice_="camera=left").verdict == "critical"
    assert evaluated(window.of_slice("camera=right"), slice_="camera=right").verdict == "ok"


def test_too_few_events_say_so_and_give_no_score() -> None:
    found = evaluated(world(np.random.default_rng(7), 99))
    assert found.verdict == "insufficient"
    assert {judgement.score for judgement in found.judgements} == {None}
    assert signals(found)["embedding_drift"].why == "the window has 99 events with embedding, and 100 are needed"
    assert signals(found)["missing_ratio"].why == "the window has 99 events, and 100 are needed"
    assert (found.mean_confidence, found.class_share, found.class_drift) == (None, {}, {})


def test_a_slice_that_the_reference_does_not_know_is_never_ok_and_may_yet_speak() -> None:
    """Data that is all there says nothing of drift."""
    yard = world(np.random.default_rng(7), 400, cameras={"yard": 1.0})
    only_missing = {"missing_ratio": THRESHOLDS["missing_ratio"]}
    found = evaluated(yard, slice_="camera=yard", thresholds=only_missing)
    assert signals(found)["missing_ratio"].verdict == "ok"
    assert (found.verdict, found.unknown) == ("insufficient", "the reference has no events of camera yard")
    gone = without(yard, slice(0, 200), embeddings=True)
    assert evaluated(gone, slice_="camera=yard", thresholds=only_missing).verdict == "critical"
    left = world(np.random.default_rng(7), 400, cameras={"left": 1.0})
    known = evaluated(left, slice_="camera=left", thresholds=only_missing)
    assert (known.verdict, known.unknown) == ("ok", "")
    everywhere = evaluated(yard, slice_="side=north", thresholds=only_missing)
    assert everywhere.unknown == "", "a reference that names no side stands for each"


def test_an_empty_window_is_insufficient() -> None:
    empty = world(np.random.default_rng(7), 5).take(np.zeros(5, dtype=bool))
    assert evaluated(empty).verdict == "insufficient"
    assert evaluated(empty.of_slice("camera=left"), slice_="camera=left").verdict == "insufficient"


def test_each_signal_counts_the_events_that_have_what_it_looks_at() -> None:
    window = without(world(np.random.default_rng(8), 150), slice(60), embeddings=True)
    window = without(window, slice(100, 140), confidences=True)
    found = signals(evaluated(window))
    assert {name: judgement.samples for name, judgement in found.items()} == {
        "embedding_drift": 90,
        "clip_similarity": 90,
        "prediction_drift": 110,
        "confidence_drift": 110,
        "confidence_drop": 110,
        "low_confidence_rise": 110,
        "missing_ratio": 150,
        "invalid_ratio": 150,
    }
    assert found["embedding_drift"].verdict == "insufficient"
    assert found["confidence_drop"].verdict != "insufficient"
    assert found["missing_ratio"].score == pytest.approx(100 / 150)


def test_embeddings_that_stop_on_one_camera_are_missing_data_and_no_drift() -> None:
    window = world(np.random.default_rng(9), 600)
    left = window.slices["camera"] == "left"
    window.embeddings[left] = np.nan
    found = signals(evaluated(window))
    assert found["embedding_drift"].verdict == "ok"
    assert found["clip_similarity"].verdict == "ok"
    assert found["missing_ratio"].verdict == "critical"


def test_a_model_that_is_never_asked_for_confidences_misses_none() -> None:
    """Its images are watched alone; one that has sent some before, and no longer does, misses them."""
    window = world(np.random.default_rng(9), 600)
    window.confidences[:] = np.nan
    assert signals(evaluated(window))["missing_ratio"].score == 1.0
    alone = signals(evaluated(window, answers=False))
    assert (alone["missing_ratio"].score, alone["missing_ratio"].verdict) == (0.0, "ok")
    assert alone["confidence_drift"].verdict == "insufficient"
    assert alone["embedding_drift"].verdict == "ok"


def test_rejected_events_count_for_all_slices_together_only() -> None:
    window = world(np.random.default_rng(10), 150)
    found = evaluated(window, rejected=50, total=450)
    assert score(found, "invalid_ratio") == 0.1
    assert signals(found)["invalid_ratio"].samples == 500
    assert (found.samples, found.total, found.rejected) == (150, 450, 50)
    assert "invalid_ratio" not in signals(evaluated(window, slice_="camera=left", rejected=50))


def test_a_window_of_nothing_but_rejected_events_is_judged_on_them() -> None:
    empty = world(np.random.default_rng(7), 5).take(np.zeros(5, dtype=bool))
    found = evaluated(empty, rejected=100)
    assert signals(found)["invalid_ratio"].score == 1.0
    assert found.verdict == "critical"


def test_a_model_without_classes_has_embedding_signals_alone() -> None:
    settings = replace(SETTINGS, classes=())
    reference = PreparedReference.from_sample(REFERENCE_SAMPLE, settings)
    found = evaluated(world(np.random.default_rng(11), 200), reference=reference, settings=settings)
    assert set(signals(found)) == {"embedding_drift", "clip_similarity", "missing_ratio", "invalid_ratio"}
    assert score(found, "missing_ratio") == 0


def test_what_neither_side_has_is_neither_judged_nor_missed() -> None:
    everything = slice(None)
    no_embeddings = without(REFERENCE_SAMPLE, everything, embeddings=True)
    reference = PreparedReference.from_sample(no_embeddings, SETTINGS)
    found = evaluated(without(world(np.random.default_rng(12), 200), everything, embeddings=True), reference=reference)
    assert not {"embedding_drift", "clip_similarity"} & set(signals(found))
    assert score(found, "missing_ratio") == 0


def test_what_the_reference_lacks_is_said_with_its_number() -> None:
    reference = PreparedReference.from_sample(without(REFERENCE_SAMPLE, slice(12, None), confidences=True), SETTINGS)
    found = signals(evaluated(world(np.random.default_rng(13), 200), reference=reference))
    assert found["confidence_drop"].why == "the reference has 12 events with confidences, and 30 are needed"
    assert found["prediction_drift"].why == "the reference has 12 events with predicted class, and 30 are needed"
    assert found["embedding_drift"].verdict == "ok"


def test_rare_classes_are_not_judged_by_themselves() -> None:
    rng = np.random.default_rng(14)
    rare = world(rng, 2000, cameras={"left": 1.0}, class_mix=(0.6, 0.398, 0.002))
    reference = PreparedReference.from_sample(rare, SETTINGS)
    window = world(rng, 200, cameras={"left": 1.0}, class_mix=(0.6, 0.4, 0.0))
    assert set(evaluated(window, reference=reference).class_drift) == {"cat", "dog"}


def test_many_classes_raise_no_alarm_on_no_drift() -> None:
    classes = tuple(f"class {i}" for i in range(1000))

    def draw(rng: np.random.Generator, n: int) -> Sample:
        predicted = rng.choice(1000, n, p=(1 / np.arange(1, 1001)) / (1 / np.arange(1, 1001)).sum())
        logits = rng.normal(size=(n, 1000))
        logits[np.arange(n), predicted] += 10
        confidences = np.exp(logits)
        confidences /= confidences.sum(axis=1, keepdims=True)
        own = world(rng, n, dimension=2)
        return replace(
            own, classes=classes, confidences=confidences.astype(np.float32), predicted=predicted.astype(np.int32)
        )

    rng = np.random.default_rng(15)
    settings = Settings(classes=classes)
    reference = PreparedReference.from_sample(draw(rng, 3000), settings)
    for _ in range(5):
        found = evaluated(draw(rng, 200), reference=reference, settings=settings)
        assert found.verdict == "ok"
        assert len(found.class_share) == 51


def test_a_client_that_sends_the_highest_confidences_alone_is_read_as_zero_elsewhere() -> None:
    window = world(np.random.default_rng(16), 300)
    window.confidences[window.confidences < window.confidences.max(axis=1, keepdims=True)] = np.nan
    found = evaluated(window)
    assert found.verdict == "ok"
    assert score(found, "missing_ratio") == 0


def test_an_evaluation_is_the_same_twice_and_changes_nothing() -> None:
    window = without(world(np.random.default_rng(17), 300), slice(10), embeddings=True, confidences=True)
    before = window.embeddings.copy(), window.confidences.copy(), window.predicted.copy()
    assert evaluated(window) == evaluated(window)
    for old, new in zip(before, (window.embeddings, window.confidences, window.predicted), strict=True):
        np.testing.assert_array_equal(old, new)


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(ReferenceUnusable, match="have 64 columns, the window's 32"):
        evaluated(world(np.random.default_rng(18), 200, dimension=32))


def test_a_signal_without_a_threshold_is_scored_and_ok() -> None:
    found = evaluated(world(np.random.default_rng(19), 200, shift=3), thresholds={})
    assert score(found, "embedding_drift") > 0.9
    assert found.verdict == "ok"
