"""Camera health on frames of three real cameras: each fault is found in its time, and no other ever."""

from functools import cache

import pytest

from camera_arrivals import ARRIVALS, HARMLESS_ARRIVALS, follow, follow_harmless, told_within
from camera_clips import CLIPS, FAULTS, HARMLESS, VIDEOS, Halves, Watched

pytestmark = pytest.mark.skipif(
    not VIDEOS.is_dir(), reason="no real video here: ../shared/data/videos is not beside the checkout"
)

A_FIFTH = {"frozen", "black", "white", "resolution"}
LOOK = 1 / 8
"""Of ``within``: how long after the other two looks follow each other."""


@cache
def broken(clip: str, fault: str) -> Watched:
    """The clip with the first way in which ``fault`` comes about, from one ``within`` after its begin on."""
    halves = Halves(clip)
    seen = halves.live(next(iter(FAULTS[fault].values())), after=halves.within)
    return halves.watch(seen, injected=halves.within)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_its_time(clip: str, fault: str) -> None:
    share = 1 / 5 if fault in A_FIFTH else 1.0
    assert broken(clip, fault).told_after[fault] <= (share + LOOK) * CLIPS[clip].within


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_not_told_before_it_is_there_nor_taken_for_another(clip: str, fault: str) -> None:
    told = broken(clip, fault).told_after
    assert set(told) == {fault}
    assert told[fault] > 0


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("way", ["untouched", "night: a quarter of the light, noise"])
def test_of_a_camera_that_is_well_no_fault_is_told(clip: str, way: str) -> None:
    halves = Halves(clip)
    looks = halves.watch(halves.live(HARMLESS[way])).looks
    assert len(looks) > 10
    assert [look.faults for look in looks if not look.is_well] == []


@pytest.mark.parametrize("clip", CLIPS)
def test_every_fault_of_pictures_can_be_judged_of_a_real_camera(clip: str) -> None:
    halves = Halves(clip)
    last = halves.watch(halves.live(HARMLESS["untouched"])).looks[-1]
    assert set(last.reach) == set(FAULTS)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(("fault", "way"), [(fault, way) for fault, ways in ARRIVALS.items() for way in ways])
def test_frames_that_stop_or_tell_a_wrong_time_are_told_of_that_camera_alone(clip: str, fault: str, way: str) -> None:
    seen = follow(clip, fault, way)
    assert set(seen.told_after) == {fault}
    assert 0 <= seen.told_after[fault] <= told_within(clip, fault)
    assert len(seen.other) > 10
    assert [look.faults for look in seen.other if not look.is_well] == []


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("way", HARMLESS_ARRIVALS)
def test_what_befalls_all_cameras_alike_is_the_fault_of_none(clip: str, way: str) -> None:
    seen = follow_harmless(clip, way)
    assert len(seen.watched) > 10
    assert [look.faults for look in (*seen.watched, *seen.other) if not look.is_well] == []


@pytest.mark.parametrize("clip", CLIPS)
def test_frames_that_come_late_are_judged_by_as_many_as_others(clip: str) -> None:
    """A wrong verdict on half a window is not to be had by half a window, nor is silence."""
    last = follow_harmless(clip, "frames come two seconds late").watched[-1]
    assert set(last.reach) == {*FAULTS, *ARRIVALS}
