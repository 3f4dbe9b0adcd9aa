"""Camera health on frames of three real cameras: each fault is found in its time, and no other ever."""

from functools import cache

import pytest

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
