"""A calibrated reference in use: quiet where nothing has changed, a warning on drift, and critical where it harms."""

import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from calibrated_parts import (
    ALPHA,
    DIMENSION,
    SETTINGS,
    STARTING,
    TERMS,
    calibrated,
    evaluated,
    healthy,
    joined,
    judgements,
    plan,
    prepared,
    reference,
    site,
)
from visiondrift.config import Threshold
from visiondrift.drift.calibrate import BlockRule, _blocks, _lengths, calibrate_reference
from visiondrift.drift.calibrated import CalibratedReference, Calibration, slice_values
from visiondrift.drift.calibration.blocks import MAX_BLOCKS, block_seconds
from visiondrift.drift.calibration.nulls import MIN_WINDOW_BLOCKS
from visiondrift.drift.embedding.detector import EmbeddingEvidence
from visiondrift.drift.embedding.memory import Memory
from visiondrift.drift.evaluation import PreparedReference, Scale
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.drift.one_cause import CommonCauses
from visiondrift.drift.prospect import hours_of, prospects
from visiondrift.prediction import PROPERTIES, Sample
from visiondrift.signals import BY_NAME

AUTOMATIC = [name for name, threshold in STARTING.items() if threshold.warning == "auto" and name != "image_drift"]
"""The signals of this site, whose images nobody has measured."""
QUICK = {"left": 120, "right": 120}


def alarms(evaluation: WindowEvaluation) -> dict[str, str]:
    return {j.signal: j.verdict for j in evaluation.judgements if j.verdict in {"warning", "critical"}}


def lengths(sample: Sample, rule: BlockRule | None = None) -> dict[str, float]:
    return _lengths(sample, slice_values(sample, "camera"), rule or BlockRule())


def without_embeddings(sample: Sample, rows: np.ndarray) -> Sample:
    changed = replace(sample, embeddings=sample.embeddings.copy())
    changed.embeddings[rows] = np.nan
    return changed


# Blocks


def test_a_camera_whose_scenes_last_longer_has_longer_blocks() -> None:
    seconds = calibrated().labels["camera"].seconds
    assert seconds["slow"] > 4 * max(seconds["left"], seconds["right"])


def test_frames_without_an_embedding_make_no_block_shorter() -> None:
    """Half of a slow camera's frames are not embedded: those that are resemble each other for as long as before."""
    sample = site(3, {"slow": 2500}, labelled=False)
    half = without_embeddings(sample, np.random.default_rng(0).random(len(sample)) < 0.5)
    assert lengths(half)["slow"] >= 0.9 * lengths(sample)["slow"]


@pytest.mark.parametrize("value", [0.1, 1e6, 0.0])
def test_what_never_changes_does_not_say_how_long_it_lasts(value: float) -> None:
    assert block_seconds(np.arange(80.0), np.full((80, 3), value)) == pytest.approx(79 / 8)


def test_a_model_that_is_always_as_sure_leaves_the_blocks_to_its_pictures() -> None:
    """Of a single class a model is certain in every frame; that took a reference for eight looks."""
    sample = site(3, {"left": 800}, labelled=False)
    certain = replace(sample, confidences=np.full_like(sample.confidences, 1 / 3))
    pictures = replace(sample, confidences=np.full_like(sample.confidences, np.nan))
    assert lengths(certain) == lengths(pictures)


def test_cameras_without_a_slice_do_not_hide_how_long_each_stays_alike() -> None:
    """Two cameras send a quarter of a second apart, every two minutes: a block between two looks holds no frame, and
    their pictures differ by more than anything that either of them shows."""
    rng = np.random.default_rng(0)
    scenes = rng.normal(size=(72, 2, 6)).repeat(10, axis=0)
    values = (scenes + 3 * rng.normal(size=(1, 2, 6))).reshape(1440, 6)
    times = (np.arange(720)[:, None] * 120.0 + [0, 0.25]).ravel()
    assert block_seconds(times, values) >= 1200


def test_slow_changes_of_a_very_long_reference_are_seen_over_all_of_it() -> None:
    """Changes that take an hour, in 40,000 frames of three a second: the first half alone would hide them."""
    times = np.arange(40_000) / 3
    scene = np.floor(times / 1200).astype(int)
    values = np.random.default_rng(4).normal(size=(scene.max() + 1, 6))[scene]
    quick = values[:, :3] + np.random.default_rng(5).normal(size=(len(times), 3))
    assert block_seconds(times, quick) >= 1200


def test_a_long_reference_of_independent_frames_has_no_more_blocks_than_can_be_paid_for() -> None:
    times = np.arange(60_000.0)
    seconds = block_seconds(times, np.random.default_rng(6).normal(size=(len(times), 4)))
    assert len(np.unique(np.floor(times / seconds))) <= MAX_BLOCKS + 1


def scenes(sample: Sample, frames: int) -> Sample:
    named = np.array([f"scene {row // frames:05d}" for row in range(len(sample))], dtype=object)
    return replace(sample, slices={**sample.slices, "scene": named})


def test_labelled_scenes_are_the_blocks_and_a_block_of_a_window_is_as_long_as_one() -> None:
    sample = scenes(site(5, {"left": 300}), 6)
    rule = BlockRule(label="scene")
    seconds = lengths(sample, rule)
    assert seconds == {"left": 5.0}
    blocks = _blocks(sample, slice_values(sample, "camera"), seconds, rule)
    np.testing.assert_array_equal(blocks.of_row, np.arange(300) // 6)


def test_scenes_are_in_the_order_in_which_they_began_whatever_they_are_called() -> None:
    sample, rule = scenes(site(5, {"left": 300}), 6), BlockRule(label="scene")
    backwards = replace(sample, slices={**sample.slices, "scene": sample.slices["scene"][::-1]})
    for one in (sample, backwards):
        blocks = _blocks(one, slice_values(one, "camera"), lengths(one, rule), rule)
        np.testing.assert_array_equal(blocks.of_row, np.arange(300) // 6)
        assert blocks.ordered


def watched(seed: int, count: int, *, begins: float = 0.0) -> Sample:
    """So many scenes of 5 to 20 frames, one a second, that are alike and named."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(count), rng.integers(5, 21, count))
    sample = site(seed, {"left": len(number)}, begins=begins)
    rows = 4 + 0.8 * rng.normal(size=(count, DIMENSION))[number] + 0.6 * rng.normal(size=(len(number), DIMENSION))
    named = np.array([f"{seed}/{one}" for one in number], dtype=object)
    return replace(sample, embeddings=rows.astype(np.float32), slices={**sample.slices, "scene": named})


@lru_cache
def by_scenes() -> CalibratedReference:
    rule = plan(BlockRule(label="scene"), settings=replace(SETTINGS, classes=()))
    return calibrate_reference(watched(50, 140), rule, content_hash="x")


@pytest.mark.parametrize("are_named", [True, False])
def test_windows_of_scenes_as_the_reference_has_are_no_drift(are_named: bool) -> None:
    """Whether they name their scenes, or are cut by the clock, which parts scenes: no half is news of the other."""
    found = by_scenes().labels["camera"]
    assert found.detector is not None
    seen = []
    for seed in range(25):
        window = watched(60 + seed, 40, begins=1e6)
        if not are_named:
            window = replace(window, slices={"camera": window.slices["camera"]})
        blocks = found.blocks_of(window)
        assert blocks.count == 40 if are_named else 20 <= blocks.count < 40
        moments, rows = found.moments_of(window, blocks)
        look = found.detector.look("left", moments, rows)
        assert isinstance(look, EmbeddingEvidence)
        assert "knn_ratio" in look.scores
        seen.append(look.p)
    assert np.mean(np.array(seen) <= 0.05) <= 0.2
    assert min(seen) > 1e-4


def test_scenes_of_one_frame_do_not_make_every_frame_of_a_video_a_block() -> None:
    """A reference of one picture a scene, a minute apart, says nothing of seconds."""
    sample = site(5, {"left": 300})
    sample = scenes(replace(sample, times=sample.times * 60), 1)
    assert lengths(sample, BlockRule(label="scene"))["left"] >= 59


def test_configured_seconds_are_the_blocks_of_reference_and_window() -> None:
    sample = site(5, {"left": 300, "slow": 300})
    found = calibrate_reference(
        sample, plan(BlockRule(seconds=30.0), settings=replace(SETTINGS, classes=())), content_hash="x"
    ).labels["camera"]
    assert dict(found.seconds) == {"left": 30.0, "slow": 30.0}
    assert {name: one.blocks for name, one in found.scores.items()} == {"all": 20, "left": 10, "slow": 10}
    assert found.blocks_of(site(6, {"left": 90}, begins=3000.0)).count == 3


def test_untimed_references_need_a_block_and_say_so() -> None:
    with pytest.raises(ValueError, match="set block to how long production frames stay alike, such as 30s"):
        calibrate_reference(reference(), plan(BlockRule(timed=False)), content_hash="x")


def test_each_row_of_an_untimed_reference_is_a_block_however_its_files_are_dated() -> None:
    sample = site(7, {"left": 30})
    sample = replace(sample, times=np.full(len(sample), 5.0))
    rule = BlockRule(seconds=30.0, timed=False)
    found = calibrate_reference(sample, plan(rule), content_hash="x").labels["camera"]
    assert found.scores["left"].blocks == 30
    assert found.why_silent("left") == "the reference holds 30 independent blocks, and 40 are needed"


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="the reference has no text column 'scene'"):
        calibrate_reference(reference(), plan(BlockRule(label="scene")), content_hash="x")


# Who may speak


def test_a_camera_with_too_few_blocks_is_silent_and_says_how_much_is_lacking() -> None:
    (window,) = healthy(1, {"slow": 240})
    found = judgements(evaluated(window, "camera=slow"))
    blocks = calibrated().labels["camera"].scores["slow"].blocks
    for name in ("drift_evidence", "embedding_drift", "confidence_drop"):
        assert found[name].verdict == "insufficient"
        assert found[name].why.startswith(f"the reference holds {blocks} independent blocks, and 40 are needed: about ")
        assert re.search(r"about \d+ more minutes of reference$", found[name].why)


def why_of_hours(hours: int) -> str:
    """Why nothing can be judged against so many hours of a camera whose scenes last one, a picture a minute."""
    rng = np.random.default_rng(0)
    times = np.arange(0, hours * 3600, 60.0)
    scene = rng.normal(size=(hours, DIMENSION)).repeat(60, axis=0)
    rows = 4 + scene + 0.3 * rng.normal(size=(len(times), DIMENSION))
    sample = replace(site(0, {"left": len(times)}, labelled=False), times=times, embeddings=rows.astype(np.float32))
    learnt = calibrate_reference(sample, plan(settings=replace(SETTINGS, classes=())), content_hash="x")
    return learnt.labels["camera"].why_silent("left")


def test_a_reference_too_short_to_tell_how_long_a_block_is_says_how_much_is_lacking_at_least() -> None:
    """Of blocks of two hours it takes three days and more; two hours of reference cannot know that."""
    unsure = "of reference, as this one is too short to tell how long frames stay alike"
    assert why_of_hours(2).endswith(f"40 are needed: at least 6.8 more hours {unsure}")
    assert why_of_hours(16).endswith(f"40 are needed: at least 2.3 more days {unsure}")
    assert why_of_hours(32).endswith("40 are needed: about 2.0 more days of reference")


def test_the_others_speak_meanwhile() -> None:
    (window,) = healthy(1, {**QUICK, "slow": 240})
    for slice_ in ("all", "camera=left", "camera=right"):
        found = judgements(evaluated(window, slice_))
        assert {found[name].verdict for name in AUTOMATIC if name in found} == {"ok"}


@lru_cache(maxsize=1)
def with_a_camera_of_few() -> tuple[Sample, CalibratedReference]:
    """A reference that holds fifty looks at one of its cameras, all measured as images."""
    sample = site(9, {"left": 300, "right": 50})
    properties = np.random.default_rng(9).normal(size=(len(sample), len(PROPERTIES))).astype(np.float32)
    sample = replace(sample, properties=properties)
    return sample, calibrate_reference(sample, plan(BlockRule(seconds=1.0)), content_hash="few")


def test_a_camera_of_few_rows_is_judged_by_its_embeddings_and_says_what_the_rest_needs() -> None:
    sample, found = with_a_camera_of_few()
    window = site(10, {"left": 60, "right": 60}, begins=1e6, labelled=False)
    window = replace(window, properties=np.zeros((len(window), len(PROPERTIES)), dtype=np.float32))
    given = {"reference": PreparedReference.from_sample(sample, SETTINGS), "scale": Scale(found, TERMS)}
    told = judgements(evaluated(window, "camera=right", **given))
    assert told["drift_evidence"].verdict == "ok"
    for name in ("embedding_drift", "image_drift", "confidence_drop"):
        assert told[name].why == (
            "the reference has 50 events of camera right, and 100 are needed for this signal: about 1 more minutes of "
            "reference"
        )
    assert judgements(evaluated(window, "camera=left", **given))["embedding_drift"].verdict == "ok"


def test_such_a_camera_has_the_prospect_that_its_windows_are_judged_by() -> None:
    _, found = with_a_camera_of_few()
    thresholds = {"camera=right": STARTING}
    (one,) = prospects(found, 120.0, thresholds, TERMS)
    assert (one.why, {signal.signal for signal in one.signals}) == ("", {"drift_evidence", "accumulated_evidence"})
    assert one.worth == one.largest > MIN_WINDOW_BLOCKS
    assert all(signal.worth.false_pages for signal in one.signals)


@pytest.mark.parametrize(("name", "milder", "worse"), [("confidence_drop", 1e-6, 0.9), ("clip_similarity", 1.0, -0.9)])
def test_a_critical_number_milder_than_the_warning_of_the_budget_is_told(
    name: str, milder: float, worse: float
) -> None:
    for threshold, is_told in (
        (Threshold(warning="auto", critical=milder), True),
        (Threshold(warning="auto", critical=worse), False),
        (Threshold(warning="auto", critical="auto"), False),
        (Threshold(warning=milder, critical="auto"), False),
        (Threshold(warning="auto"), False),
    ):
        (one,) = prospects(calibrated(), 120.0, {"camera=left": {name: threshold}}, TERMS)
        assert [signal.is_never_warning for signal in one.signals] == [is_told]


def test_what_few_rows_of_a_reference_have_is_no_null() -> None:
    """Of 40 images measured neither half can be compared with: a level from nothing would be passed by everything."""
    sample = site(9, {"left": 300})
    properties = np.full((len(sample), len(PROPERTIES)), np.nan, dtype=np.float32)
    properties[:40] = np.random.default_rng(9).normal(size=(40, len(PROPERTIES)))
    found = calibrate_reference(replace(sample, properties=properties), plan(BlockRule(seconds=1.0)), content_hash="x")
    nulls = found.labels["camera"].scores["left"].nulls
    assert "embedding_drift" in nulls
    assert "image_drift" not in nulls


def test_a_camera_that_the_reference_does_not_know_says_so() -> None:
    (window,) = healthy(1, {"left": 120})
    window = replace(window, slices={"camera": np.full(120, "roof", dtype=object)})
    found = judgements(evaluated(window, "camera=roof"))
    assert found["drift_evidence"].why == "the reference has no events of camera roof"
    assert found["confidence_drop"].verdict == "insufficient"


def test_a_window_of_a_few_frames_of_one_scene_may_not_speak() -> None:
    sample = site(8, {"left": 400}, labelled=False)
    window = replace(sample, times=4e6 + np.arange(400) / 100)
    found = judgements(evaluated(window, "camera=left"))
    assert found["drift_evidence"].why == "the window spans fewer than 3 independent blocks"
    assert found["embedding_drift"].verdict == "insufficient"


def test_an_empty_window_is_insufficient_and_nothing_else() -> None:
    (window,) = healthy(1, QUICK)
    for slice_ in ("all", "camera=left"):
        assert evaluated(window.take(np.zeros(len(window), dtype=bool)), slice_).verdict == "insufficient"


def test_a_window_without_embeddings_is_missing_data_and_its_confidences_speak() -> None:
    (window,) = healthy(1, QUICK)
    found = judgements(evaluated(without_embeddings(window, np.arange(len(window)))))
    assert found["drift_evidence"].why == "the window has 0 events with embedding, and 20 are needed"
    assert found["confidence_drop"].verdict == "ok"
    assert found["missing_ratio"].verdict == "critical"


def test_events_that_carry_no_camera_are_judged_among_all() -> None:
    sample = site(9, {"left": 165, "right": 60})
    names = np.where(sample.slices["camera"] == "left", "left", "").astype(object)
    sample = replace(sample, slices={"camera": names})
    settings = replace(SETTINGS, classes=())
    found = calibrate_reference(sample, plan(BlockRule(seconds=4.0), settings=settings), content_hash="x")
    window = site(10, {"left": 60, "right": 60}, begins=1e6, labelled=False)
    window = replace(window, slices={"camera": np.where(window.slices["camera"] == "left", "left", "").astype(object)})
    judged = evaluated(
        window,
        reference=PreparedReference.from_sample(sample, settings),
        settings=settings,
        scale=Scale(found, TERMS),
    )
    assert alarms(judged) == {}
    assert judgements(judged)["drift_evidence"].verdict == "ok"


def test_a_camera_without_embeddings_takes_nothing_from_the_others() -> None:
    sample = site(9, {"left": 165, "right": 60})
    sample = without_embeddings(sample, sample.slices["camera"] == "right")
    rule, settings = BlockRule(seconds=4.0), replace(SETTINGS, classes=())
    found = calibrate_reference(sample, plan(rule, settings=settings), content_hash="x")
    given = {
        "reference": PreparedReference.from_sample(sample, settings),
        "settings": settings,
        "scale": Scale(found, TERMS),
    }
    window = site(10, {"left": 60, "right": 60}, begins=1e6, labelled=False)
    assert judgements(evaluated(window, "camera=left", **given))["drift_evidence"].verdict == "ok"
    assert judgements(evaluated(window, "camera=right", **given))["drift_evidence"].verdict == "insufficient"


@pytest.mark.parametrize("name", ["clip_similarity", "prediction_drift", "confidence_drop"])
def test_a_number_tells_the_same_whether_the_other_level_is_a_number_or_follows_from_the_budget(name: str) -> None:
    """Of a healthy window, held against a number that its score is just past: chance reaches that."""
    (window,) = healthy(1, {"left": 120})
    score = judgements(evaluated(window, "camera=left"))[name].score
    assert score is not None
    sign = BY_NAME[name].sign
    found = [
        judgements(
            evaluated(window, "camera=left", thresholds={name: Threshold(warning=score - sign * 1e-9, critical=c)})
        )
        for c in (sign * 0.99, None, "auto")
    ]
    assert {own[name].verdict for own in found} == {"insufficient"}
    assert len({own[name].why for own in found}) == 1
    assert found[2][name].threshold.critical is not None


def test_a_reference_that_is_not_calibrated_lacks_levels_and_not_fixed_ones() -> None:
    window = site(28, QUICK, begins=2e6, shift=3.0)
    thresholds = {**STARTING, "embedding_drift": Threshold(warning=0.3)}
    scale = Scale(None, TERMS, why="it is being calibrated")
    found = judgements(evaluated(window, scale=scale, thresholds=thresholds))
    assert found["drift_evidence"].why == found["clip_similarity"].why == "it is being calibrated"
    assert found["embedding_drift"].verdict == "warning"
    assert found["missing_ratio"].verdict == "ok"


# No wolf


@pytest.mark.parametrize(
    ("slice_", "rows"), [("all", {**QUICK, "slow": 120}), ("camera=left", {"left": 120}), ("camera=right", QUICK)]
)
def test_windows_of_the_same_process_are_ok(slice_: str, rows: dict[str, int]) -> None:
    """Over 24 windows each signal warns no more often than chance at its level would in one of ten thousand tries."""
    windows = 24
    counted: Counter[tuple[str, str]] = Counter()
    for window in healthy(windows, rows):
        counted.update((j.signal, j.verdict) for j in evaluated(window, slice_).judgements)
    bearable = stats.binom.isf(1e-4, windows, ALPHA)
    for name in AUTOMATIC:
        if name != "accumulated_evidence":
            assert counted[name, "ok"] >= windows - bearable, counted
    assert not any(verdict == "critical" for _, verdict in counted)


def test_a_busier_camera_is_no_drift() -> None:
    """The reference has as much of one camera as of the other; these windows have ten times as much of one."""
    for rows in ({"left": 200, "right": 20}, {"left": 20, "right": 200}):
        for window in healthy(5, rows, seed=300):
            assert alarms(evaluated(window)) == {}


@pytest.mark.parametrize("seconds", [20, 60])
def test_a_faster_camera_is_no_drift(seconds: int) -> None:
    """The reference has a frame a second; of these windows twenty frames a second show the same."""
    for number in range(6):
        slow = site(700 + number, {"left": seconds}, begins=1e6 + 1000.0 * number, labelled=False)
        fast = slow.take(np.repeat(np.arange(seconds), 20))
        fast = replace(fast, times=fast.times + np.tile(np.arange(20) / 20, seconds))
        assert alarms(evaluated(fast, "camera=left")) == {}


def test_a_burst_of_one_moment_is_no_drift() -> None:
    """A camera that sends sixty frames more of four seconds, beside two minutes of others, as on a motion."""
    for number in range(12):
        window = site(800 + number, {"left": 120}, begins=1e6 + 1000.0 * number, labelled=False)
        first = 8 * (1 + number)
        rows = np.sort(np.concatenate([np.arange(120), np.repeat(np.arange(first, first + 4), 15)]))
        assert alarms(evaluated(window.take(rows), "camera=left")) == {}


def test_an_evaluation_is_the_same_twice() -> None:
    window = site(11, QUICK, begins=2e6, wrong=0.2, shift=0.3, labelled=False)
    assert evaluated(window) == evaluated(window)


def test_all_together_is_silent_while_a_third_of_the_cameras_is() -> None:
    """What is left is no window of the reference's mix; each camera that still sends is judged by itself."""
    window = site(12, QUICK, begins=2e6)
    told = judgements(evaluated(window))["drift_evidence"]
    assert told.verdict == "insufficient"
    assert "have sent nothing" in told.why
    assert judgements(evaluated(window, "camera=left"))["drift_evidence"].verdict == "ok"


def test_events_without_a_camera_are_not_told_as_cameras_that_send_nothing() -> None:
    window = site(12, {"left": 120, "right": 120, "slow": 120}, begins=2e6)
    told = judgements(evaluated(replace(window, slices={})))["drift_evidence"]
    assert told.why == "no event of the window says of which camera it is, and the reference is of several"


# Drift, and harm


def test_drift_that_harms_nothing_is_a_warning() -> None:
    for slice_ in ("all", "camera=left"):
        found = alarms(evaluated(site(20, {"left": 240, "right": 240, "slow": 240}, begins=2e6, shift=0.5), slice_))
        assert found["drift_evidence"] == "warning"
        assert "critical" not in found.values()


def test_drift_that_harms_is_critical() -> None:
    window = site(20, {"left": 240, "right": 240, "slow": 240}, begins=2e6, shift=0.5, wrong=0.3)
    for slice_ in ("all", "camera=left"):
        found = alarms(evaluated(window, slice_))
        assert found["accuracy_drop"] == "critical"
        assert found["drift_evidence"] == "critical"


def test_without_labels_the_same_drift_stays_a_warning() -> None:
    window = site(20, {"left": 240, "right": 240, "slow": 240}, begins=2e6, shift=0.5, wrong=0.3)
    unlabelled = replace(calibrated(), performance=None, why_no_performance="no labels")
    found = evaluated(window, scale=Scale(unlabelled, TERMS))
    assert alarms(found)["drift_evidence"] == "warning"
    assert "accuracy_drop" not in judgements(found)


def test_where_true_classes_are_known_accuracy_is_measured() -> None:
    """The same drift is critical where the model is wrong, whatever its confidences and readers make of it."""
    right = site(20, {"left": 240, "right": 240, "slow": 240}, begins=2e6, shift=0.5)
    assert right.labels is not None
    for share, verdict in ((0.0, "warning"), (0.4, "critical")):
        wrong = np.random.default_rng(6).random(len(right)) < share
        window = replace(right, labels=np.where(wrong, (right.labels + 1) % 3, right.labels).astype(np.int32))
        found = evaluated(window, labelled=True)
        assert alarms(found)["drift_evidence"] == verdict
        assert found.performance is not None
        assert found.performance.measured is not None
        assert found.performance.measured.value == pytest.approx((window.labels == window.predicted).mean())
        drop = judgements(found)["accuracy_drop"]
        assert drop.score == pytest.approx(found.performance.reference_accuracy - found.performance.measured.value)
        assert drop.verdict == {"warning": "ok", "critical": "critical"}[verdict]


def test_a_very_large_change_is_critical_whatever_the_estimate_says() -> None:
    unlabelled = replace(calibrated(), performance=None, why_no_performance="no labels")
    window = site(21, {"left": 240, "right": 240, "slow": 240}, begins=2e6, shift=3.0)
    found = alarms(evaluated(window, scale=Scale(unlabelled, TERMS)))
    assert {found[name] for name in ("drift_evidence", "embedding_drift")} == {"critical"}


def test_a_camera_that_drifts_is_told_from_one_that_does_not() -> None:
    moved = site(22, {"left": 240}, begins=2e6, shift=0.6)
    window = joined([moved, site(23, {"right": 240}, begins=2e6)])
    assert alarms(evaluated(window, "camera=left"))["drift_evidence"] == "warning"
    assert alarms(evaluated(window, "camera=right")) == {}


# Accuracy


def test_a_drop_that_the_readers_see_and_the_confidences_do_not_is_told() -> None:
    """The model is as sure as ever and wrong in a third of the events: that the two opinions differ is no error."""
    found = evaluated(site(24, {"left": 240, "right": 240, "slow": 240}, begins=2e6, wrong=0.33))
    performance = found.performance
    assert performance is not None
    assert performance.by_confidence is not None
    assert performance.reference_accuracy - performance.by_confidence.value < 0.03
    drop = judgements(found)["accuracy_drop"]
    assert drop.verdict == "critical"
    assert drop.score == pytest.approx(0.25, abs=0.08)


def test_a_drop_that_chance_may_have_made_is_withheld_and_says_so() -> None:
    window = site(25, {"left": 60}, begins=2e6, wrong=0.15)
    found = judgements(evaluated(window))["accuracy_drop"]
    assert found.verdict == "insufficient"
    assert found.why.endswith(
        "is past the threshold, but chance alone reaches that with an estimate as unsure as this one"
    )


def test_an_estimate_that_is_refused_is_insufficient_with_its_reason() -> None:
    mirrored = site(26, {"left": 240, "right": 240, "slow": 240}, begins=2e6)
    mirrored = replace(mirrored, embeddings=np.roll(mirrored.embeddings, 5, axis=1))
    found = evaluated(mirrored)
    assert found.performance is not None
    assert not found.performance.valid
    drop = judgements(found)["accuracy_drop"]
    assert (drop.score, drop.verdict, drop.why) == (None, "insufficient", found.performance.why)


def test_too_few_events_for_an_estimate_say_how_many_are_needed() -> None:
    (window,) = healthy(1, {"left": 40})
    drop = judgements(evaluated(window))["accuracy_drop"]
    assert drop.why == "the window has 40 events with confidences, and 50 are needed"


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (None, "the reference has 0 labelled rows with confidences, and 200 are needed"),
        (0, "all labelled rows of the reference are of one class, and at least two are needed"),
    ],
)
def test_a_reference_that_teaches_nothing_of_accuracy_says_why(labels: int | None, why: str) -> None:
    sample = site(27, {"left": 240}, labelled=False)
    if labels is not None:
        sample = replace(sample, labels=np.full(len(sample), labels, dtype=np.int32))
    sample = without_embeddings(sample, np.arange(len(sample)))
    found = calibrate_reference(sample, plan(BlockRule(seconds=10.0)), content_hash="x")
    assert (found.performance, found.why_no_performance) == (None, why)


# Memories


def with_second_label(sample: Sample) -> Sample:
    return replace(sample, slices={**sample.slices, "lane": sample.slices["camera"]})


def test_memories_of_one_label_say_nothing_of_another_whose_values_are_called_the_same() -> None:
    """A camera and a lane may both be called left: only the camera's moments are remembered, in the camera's axes."""
    known = calibrated()
    camera = known.labels["camera"]
    both = CalibratedReference("key", {"camera": camera, "lane": replace(camera, label="lane")})
    window = with_second_label(next(healthy(1, {**QUICK, "slow": 240})))
    moments, _ = camera.moments_of(window, camera.blocks_of(window))
    scale = Scale(both, TERMS, memory=Memory().after(moments))
    prepared_ = prepared()
    found = {
        slice_: judgements(evaluated(window, slice_, reference=prepared_, scale=scale))
        for slice_ in ("all", "camera=left", "lane=left")
    }
    assert found["all"]["accumulated_evidence"].verdict == found["camera=left"]["accumulated_evidence"].verdict == "ok"
    assert "accumulated_evidence" not in found["lane=left"]
    assert found["lane=left"]["drift_evidence"].verdict == "ok"


def test_memories_do_not_judge_a_window_of_too_few_events() -> None:
    camera = calibrated().labels["camera"]
    (window,) = healthy(1, QUICK)
    moments, _ = camera.moments_of(window, camera.blocks_of(window))
    scale = Scale(calibrated(), TERMS, memory=Memory().after(moments))
    told = judgements(evaluated(window, "camera=left", scale=scale, min_samples=5000))["accumulated_evidence"]
    assert (told.verdict, told.why) == ("insufficient", "the window has 120 events with embedding, and 5000 are needed")


# How it is spread over the cameras


def test_a_drift_of_all_cameras_is_told_as_one_cause_and_marks_their_windows():
    window = site(77, {"left": 120, "right": 140, "slow": 10}, begins=2e6, labelled=False, shift=0.6)
    together = evaluated(window)
    assert together.spread is not None
    assert set(together.spread.common) >= {"camera=left", "camera=right"}
    assert "moved the same way: a common cause" in together.spread.sentence
    left = evaluated(window, "camera=left")
    assert left.spread is None
    causes = CommonCauses().after([together, left], now=9.0, lengths={together.window: 60.0})
    marked = causes.marked([together, left])
    assert [one.one_cause for one in marked] == [True, True]


def test_a_camera_that_the_reference_does_not_know_is_told_as_new():
    window = site(78, {"left": 120, "right": 140}, begins=2e6, labelled=False)
    renamed = np.where(window.slices["camera"] == "right", "lobby", window.slices["camera"])
    found = evaluated(replace(window, slices={"camera": renamed.astype(object)})).spread
    assert found is not None
    assert set(found.new) == {"camera=lobby"}
    assert set(found.silent) == {"camera=right", "camera=slow"}


DAY = 86_400.0


def answers(days: int, seed: int, *, begins: float = 0.0, less_sure: float = 0.0) -> Sample:
    """An answer every two minutes, surer by day than by night, and of another class more often."""
    rng = np.random.default_rng(seed)
    times = begins + np.arange(0, days * DAY, 120.0)
    dark = 0.5 + 0.5 * np.cos(2 * np.pi * times / DAY)
    predicted = (rng.random(len(times)) < 0.25 + 0.2 * dark).astype(np.int32)
    top = np.clip(rng.beta(12, 1.5, len(times)) - 0.12 * dark * rng.random(len(times)), 0.3, 0.999) - less_sure
    confidences = np.repeat((1 - top)[:, None] / 2, 3, axis=1)
    confidences[np.arange(len(times)), predicted] = top
    one = site(1, {"left": len(times)}, labelled=False)
    return replace(
        one,
        times=times,
        embeddings=np.zeros((len(times), 0), np.float32),
        confidences=confidences.astype(np.float32),
        predicted=predicted,
    )


@pytest.mark.parametrize("rule", [BlockRule(), BlockRule(seconds=240.0)])
def test_answers_that_are_less_sure_by_night_are_no_drift_where_the_reference_knows_nights(rule: BlockRule) -> None:
    """A block is as long as answers are alike beside the hour, and an hour of night is one of the windows drawn."""
    known = answers(4, 1)
    learnt = calibrate_reference(known, plan(rule, windows=(7200.0,)), content_hash="days")
    assert learnt.labels["camera"].seconds["left"] < 1000.0
    given = {"reference": PreparedReference.from_sample(known, SETTINGS), "scale": Scale(learnt, TERMS)}
    signals = ("confidence_drop", "low_confidence_rise", "prediction_drift")

    def told(less_sure: float) -> list[str]:
        day = answers(1, 2, begins=20 * DAY, less_sure=less_sure)
        hours = (day.take(np.flatnonzero(day.times // 7200 == hour)) for hour in np.unique(day.times // 7200))
        evaluations = [evaluated(one, "camera=left", **given) for one in hours]
        return [str(judgements(one)[signal].verdict) for one in evaluations for signal in signals]

    assert set(told(0.0)) == {"ok"}
    assert told(0.2).count("critical") >= 6
    # By day a drop to what nights are is told as well: an hour is held against its own.
    noon = answers(1, 2, begins=20 * DAY, less_sure=0.08)
    noon = noon.take(np.flatnonzero((noon.times % DAY >= 10 * 3600) & (noon.times % DAY < 12 * 3600)))
    dark = known.take(np.flatnonzero(known.times % DAY < 2 * 3600))
    assert noon.top_confidence.mean() > dark.top_confidence.mean() - 0.03
    assert judgements(evaluated(noon, "camera=left", **given))["confidence_drop"].verdict == "warning"


def told_of_hours(sample: Sample, rule: BlockRule) -> str:
    learnt = calibrate_reference(sample, plan(rule, settings=replace(SETTINGS, classes=())), content_hash="hours")
    return hours_of(learnt.labels["camera"], sample)["left"]


def of_days(days: float, *, hours: int = 24) -> Sample:
    """Pictures, one every ten minutes of the first so many hours of each day."""
    times = np.arange(0, days * DAY, 600.0)
    times = times[times % DAY < hours * 3600]
    return replace(site(1, {"left": len(times)}, labelled=False), times=times)


def test_whether_the_hour_of_day_is_taken_off_is_told_with_what_it_rests_on() -> None:
    rule = BlockRule(seconds=1800.0)
    assert told_of_hours(of_days(5), rule) == (
        "taken off (mean and spread), from 5.0 days, at the 24 hours that were seen on three"
    )
    # An hour is known by its neighbours too, and half of what there is is fitted.
    assert "from 5.4 days, at the 10 hours" in told_of_hours(of_days(6, hours=10), rule)
    assert told_of_hours(of_days(1.8), rule) == (
        "not taken off: the reference spans 1.8 days, and 3 are needed: about 1.2 more days"
    )
    untimed = told_of_hours(of_days(5), BlockRule(seconds=1800.0, timed=False))
    assert untimed == "not taken off: when the frames were taken is not known"


def test_what_the_hour_does_to_answers_alone_is_told_as_well() -> None:
    """Of a model that sends no embeddings."""
    calibration = Calibration("camera", {"left": 240.0}, {"left": 4 * DAY}, None, {})
    assert hours_of(calibration, answers(4, 1))["left"] == (
        "taken off (mean), from 4.0 days, at the 24 hours that were seen on three"
    )
    few = replace(calibration, spans={"left": 2 * DAY})
    assert hours_of(few, answers(2, 1))["left"].endswith("2.0 days, and 3 are needed: about 1.0 more days")
