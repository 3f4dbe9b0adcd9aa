"""Camera health by what pictures measure: each fault is told, a healthy camera never, and the unknown says why."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camera_parts import NOON, flat, frames, joined, scene, still, unmeasured
from visiondrift.drift.health.findings import FAULTS, HIDES, CameraHealth, FaultName, Reading, health_of
from visiondrift.drift.health.judge import judge_camera
from visiondrift.drift.health.normal import CameraNormal, longest_run, normal_of
from visiondrift.drift.health.wording import duration
from visiondrift.prediction import Sample

WITHIN = 300.0
DAY = 86400.0


def normal(reference: Sample | None = None, *, timed: bool = True) -> CameraNormal | str:
    shown = frames(600, seed=9, until=NOON - DAY) if reference is None else reference
    return normal_of(shown, within=WITHIN, timed=timed)


NORMAL = normal()


def judged(sample: Sample, *, by: CameraNormal | str = NORMAL, earlier: CameraHealth | None = None) -> CameraHealth:
    at = float(sample.times[-1])
    return judge_camera(by, sample, slice_="all", at=at, within=WITHIN, arrival=None, earlier=earlier)


def names(health: CameraHealth) -> list[str]:
    return [fault.name for fault in health.faults]


BROKEN: dict[str, Sample] = {
    "frozen": still(frames()),
    "black": flat(brightness=0.01),
    "white": flat(brightness=0.99),
    "covered": flat(brightness=0.4),
    "moved": frames(edges=scene(5)),
    "unfocused": frames(sharpness=-2.3, contrast=0.19),
    "resolution": frames(size=np.log2(1280 * 720 / 1e6)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_told_by_its_name_and_alone(name: str) -> None:
    assert names(judged(BROKEN[name])) == [name]


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_says_in_numbers_what_was_seen(name: str) -> None:
    (fault,) = judged(BROKEN[name]).faults
    assert any(letter.isdigit() for letter in fault.evidence)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(60, 400), noise=st.floats(0.005, 0.08))
def test_a_healthy_camera_has_no_fault(seed: int, count: int, noise: float) -> None:
    reference = normal(frames(400, seed=seed + 1, until=NOON - DAY, grain=noise))
    assert names(judged(frames(count, seed=seed, grain=noise), by=reference)) == []


def test_a_healthy_camera_is_judged_for_every_fault_of_pictures() -> None:
    assert set(judged(frames()).reach) == set(FAULTS) - {"late", "clock"}


@settings(max_examples=15, deadline=None)
@given(light=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
def test_dimming_that_leaves_the_edges_where_they_are_is_no_fault(light: float, seed: int) -> None:
    dimmed = frames(
        seed=seed, brightness=0.45 * light, contrast=0.2 * light, sharpness=-1.8 + np.log10(light), noise=-3.2
    )
    assert names(judged(dimmed)) == []


def test_darkness_is_no_cover_at_an_hour_that_the_reference_does_not_know() -> None:
    dark = {"brightness": 0.03, "contrast": 0.02, "sharpness": -2.0, "noise": -2.2}
    night = frames(until=NOON - 9 * 3600, edges=scene(5), **dark)
    assert names(judged(night)) == []
    assert "night" in judged(night).unknown["covered"]


def test_the_same_darkness_at_a_known_hour_is_a_fault() -> None:
    dark = {"brightness": 0.03, "contrast": 0.02, "sharpness": -2.0, "noise": -2.2}
    assert names(judged(frames(edges=scene(5), **dark))) == ["black"]


def test_a_picture_without_any_noise_is_black_at_every_hour() -> None:
    assert names(judged(flat(until=NOON - 9 * 3600, brightness=0.01))) == ["black"]


def test_a_night_with_lamps_is_neither_black_nor_covered() -> None:
    lamps = frames(edges=scene(6), brightness=0.06, contrast=0.07, sharpness=-1.8, noise=-2.0)
    assert names(judged(lamps)) == []


def test_black_is_usual_where_the_reference_has_it() -> None:
    reference = joined(frames(1200, seed=9, until=NOON - DAY - 1300), flat(900, until=NOON - DAY, brightness=0.01))
    assert names(judged(frames(edges=scene(5), brightness=0.011, contrast=0.003), by=normal(reference))) == []


def test_a_reference_that_stands_still_makes_no_frozen_camera() -> None:
    health = judged(still(frames()), by=normal(still(frames(1200, until=NOON - DAY))))
    assert names(health) == []
    assert "stand still" in health.unknown["frozen"]


def test_frames_twice_each_are_not_frozen() -> None:
    seen = frames(150, every=2.0)
    twice = joined(seen, replace(seen, times=seen.times + 1.0))
    assert names(judged(twice)) == []


def test_a_picture_that_stands_still_for_less_than_a_fifth_of_the_time_is_not_frozen_yet() -> None:
    seen = joined(frames(250, until=NOON - 50), still(frames(50)))
    assert names(judged(seen)) == []
    assert 0.7 < judged(seen).reach["frozen"] < 1


def test_frozen_since_when_the_picture_first_stood_still() -> None:
    (fault,) = judged(joined(frames(200, until=NOON - 100), still(frames(100)))).faults
    assert fault.since == pytest.approx(NOON - 99)


def test_a_standing_picture_with_hardly_any_noise_is_likely_frozen() -> None:
    (fault,) = judged(joined(frames(200, until=NOON - 100), frames(100, grain=0.0005))).faults
    assert (fault.name, fault.certainty) == ("frozen", "likely")


def test_a_calm_scene_with_the_usual_noise_is_not_frozen() -> None:
    assert names(judged(frames(grain=0.02))) == []


def test_a_lorry_that_hides_the_scene_for_a_while_has_not_moved_the_camera() -> None:
    lorry = frames(200, edges=scene(5), seed=3)
    assert names(judged(joined(frames(100, until=NOON - 200), lorry))) == []


def test_of_a_reference_whose_frames_have_nothing_in_common_nothing_is_called_moved() -> None:
    changing = joined(*(frames(1, until=NOON - DAY - number, edges=scene(number)) for number in range(200)))
    health = judged(frames(edges=scene(-1 % 1000)), by=normal(changing))
    assert "resemble each other too little" in health.unknown["moved"]


def test_haze_takes_contrast_and_is_not_taken_for_blur() -> None:
    assert names(judged(frames(sharpness=-2.2, contrast=0.08, brightness=0.6))) == []


def test_sharpness_of_another_resolution_is_not_compared() -> None:
    health = judged(frames(size=np.log2(640 * 360 / 1e6), sharpness=-2.3, contrast=0.19))
    assert names(health) == ["resolution"]
    assert "resolution" in health.unknown["unfocused"]


def test_a_resolution_that_the_reference_also_has_is_none_of_its_faults() -> None:
    small = np.log2(640 * 360 / 1e6)
    reference = joined(frames(600, until=NOON - DAY), frames(600, until=NOON - DAY - 900, size=small))
    assert "resolution" not in names(judged(frames(size=small), by=normal(reference)))


def test_where_images_have_many_sizes_none_is_the_cameras_own() -> None:
    reference = joined(*(frames(60, until=NOON - DAY - 60 * n, size=0.1 * n) for n in range(12)))
    assert "many sizes" in judged(frames(), by=normal(reference)).unknown["resolution"]


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (unmeasured(frames(1200)), "holds 0 measured frames"),
        (frames(29), "holds 29 measured frames of this camera; at least 30"),
    ],
)
def test_without_enough_of_a_reference_everything_is_unknown_and_says_why(reference: Sample, why: str) -> None:
    health = judged(still(frames()), by=normal(reference))
    assert not health.reach
    assert why in health.unknown["frozen"]


def test_without_measured_frames_everything_is_unknown() -> None:
    health = judged(unmeasured(frames()))
    assert not health.reach
    assert "no measured frame" in health.unknown["black"]


def test_a_file_cannot_tell_how_its_events_arrived() -> None:
    assert "file" in judged(frames()).unknown["late"]


def test_few_frames_are_too_few() -> None:
    health = judged(frames(4))
    assert not health.reach
    assert "5 are needed" in health.unknown["black"]


@pytest.mark.parametrize("seconds", [60, 150, 250, 290])
def test_a_part_of_the_time_says_nothing_of_the_scene(seconds: int) -> None:
    """What passes hides it for as long: a stream that has just begun is no camera that was moved."""
    health = judged(frames(seconds, edges=scene(5)))
    assert names(health) == []
    assert {"covered", "moved", "unfocused"} <= set(health.unknown)
    assert "of 5.0 min are needed" in health.unknown["moved"]


def test_a_camera_that_sends_on_motion_alone_may_have_been_silent_for_a_part_of_the_time() -> None:
    bursts = joined(frames(20, edges=scene(5), until=NOON - 160), frames(20, edges=scene(5)))
    assert names(judged(bursts)) == ["moved"]


def test_a_camera_that_sends_once_a_minute_is_judged_by_its_last_five() -> None:
    assert names(judged(flat(6, every=55.0, brightness=0.01))) == ["black"]


def test_a_reference_without_times_still_says_what_a_picture_is_like() -> None:
    untimed = normal(replace(frames(1200, seed=9), times=np.zeros(1200)), timed=False)
    assert names(judged(frames(edges=scene(5)), by=untimed)) == ["moved"]
    assert names(judged(frames(), by=untimed)) == []


def test_the_time_since_when_a_camera_is_black_is_found_in_the_frames_before() -> None:
    seen = joined(frames(180, until=NOON - 120), flat(120, brightness=0.01))
    (fault,) = judged(seen).faults
    assert fault.since == pytest.approx(NOON - 120, abs=31)


def test_a_fault_goes_on_until_it_is_half_gone_and_keeps_its_time() -> None:
    earlier = judged(frames(edges=scene(5)))
    between = scene() + 1.1 * scene(5)
    half = frames(edges=between, until=NOON + 300)
    assert 0.5 < judged(half).reach["moved"] < 1
    assert names(judged(half)) == []
    (fault,) = judged(half, earlier=earlier).faults
    assert fault.since == earlier.faults[0].since
    assert names(judged(frames(until=NOON + 600), earlier=earlier)) == []


def reading(reach: float) -> Reading:
    return Reading(reach, NOON, "seen")


@given(reach=st.dictionaries(st.sampled_from(FAULTS), st.floats(0, 3)))
def test_whatever_is_hidden_by_a_fault_is_unknown_and_never_told_beside_it(reach: dict[FaultName, float]) -> None:
    answers: dict[FaultName, Any] = {name: reading(reach.get(name, 0.0)) for name in FAULTS}
    health = health_of("all", answers, at=NOON, last_frame=NOON)
    told = {fault.name for fault in health.faults}
    hidden = {other for name in told for other in HIDES[name]}
    assert not told & hidden
    assert hidden <= set(health.unknown)
    assert set(health.reach) | set(health.unknown) == set(FAULTS)
    assert told == {name for name in FAULTS if reach.get(name, 0.0) >= 1} - hidden


def test_black_is_told_and_out_of_focus_is_not() -> None:
    answers: dict[FaultName, Any] = {name: reading(2.0) for name in FAULTS if name not in ("late", "clock")}
    answers |= {"late": "unknown", "clock": "unknown"}
    assert [fault.name for fault in health_of("all", answers, at=NOON, last_frame=None).faults] == ["black"]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_the_longest_run_is_that_of_the_most_frames_alike(same: list[bool]) -> None:
    times = np.arange(len(same) + 1, dtype=np.float64)
    runs = "".join("x" if one else " " for one in same).split()
    assert longest_run(times, np.array(same)) == max(map(len, runs), default=0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0.4 s"), (45.2, "45 s"), (210.0, "3.5 min"), (7200.0, "2.0 h"), (4e5, "4.6 d")]
)
def test_durations_read_as_a_person_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
