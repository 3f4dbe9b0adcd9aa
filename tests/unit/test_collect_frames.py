"""When a frame was taken, which frames are looked at, and how an address may be shown."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiondrift.collect.frames import LiveClock, Pace
from visiondrift.collect.sources import Source, check_source
from visiondrift.errors import BadInput

NOON = 1_790_000_000.0
SECRET = "s3cret"


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=50))
def test_frames_are_as_far_apart_as_the_stream_says_however_they_arrive(jitter: list[float]) -> None:
    clock = LiveClock(now=NOON, steady_now=100.0)
    times = [clock.time_of(n / 5, steady_now=100 + n / 5 + late / 2) for n, late in enumerate(jitter)]
    assert all(abs(after - before - 0.2) < 1e-6 for before, after in pairwise(times))


def test_a_stream_that_stood_still_is_counted_anew() -> None:
    clock = LiveClock(now=NOON, steady_now=100.0)
    clock.time_of(0.0, steady_now=100.0)
    assert clock.time_of(0.2, steady_now=400.0) == pytest.approx(NOON + 300)


def test_a_stream_that_runs_ahead_does_not_lead_into_the_future() -> None:
    clock = LiveClock(now=NOON, steady_now=100.0)
    clock.time_of(0.0, steady_now=100.0)
    assert clock.time_of(3600.0, steady_now=100.1) == pytest.approx(NOON + 0.1)


def test_frames_without_a_position_are_of_the_time_they_arrive() -> None:
    clock = LiveClock(now=NOON, steady_now=100.0)
    assert [clock.time_of(None, steady_now=at) - NOON for at in (100.0, 107.5)] == pytest.approx([0.0, 7.5])


def test_a_cameras_own_clock_is_believed() -> None:
    clock = LiveClock(now=NOON, steady_now=100.0, told=NOON - 3.0)
    assert clock.time_of(1.0, steady_now=101.0) == pytest.approx(NOON - 2.0)


def test_a_cameras_clock_that_is_a_year_wrong_is_not() -> None:
    clock = LiveClock(now=NOON, steady_now=100.0, told=NOON - 3e7)
    assert clock.time_of(1.0, steady_now=101.0) == pytest.approx(NOON + 1)


def test_a_look_a_second_is_a_look_a_second_at_any_rate_of_frames() -> None:
    pace = Pace(1.0)
    assert sum(pace.is_due(number / 24) for number in range(240)) == 10


def test_a_gap_is_not_caught_up_with() -> None:
    pace = Pace(1.0)
    assert [pace.is_due(at) for at in (0.0, 0.5, 60.0, 60.5, 61.0)] == [True, False, True, False, True]


@pytest.mark.parametrize(
    "source",
    [
        Source("yard", f"rtsp://viewer:{SECRET}@10.0.0.7/yard"),
        *(Source("yard", f"rtsp://viewer:a{sign}{SECRET}@10.0.0.7/yard") for sign in "/#?@:"),
        Source("yard", "rtsp://viewer@10.0.0.7/yard", password=SECRET),
    ],
)
def test_a_password_is_never_shown(source: Source) -> None:
    assert SECRET in source.secret_address
    assert SECRET not in f"{source} {source!r} {source.shown}"


def test_a_password_of_any_characters_reaches_its_server_whole() -> None:
    source = Source("yard", "rtsp://viewer@10.0.0.7:554/yard", password="a/b@c:d")
    assert source.secret_address == "rtsp://viewer:a%2Fb%40c%3Ad@10.0.0.7:554/yard"


@pytest.mark.parametrize("ahead", [-1e10, 10 * 86400.0, 2.4e11])
def test_a_start_that_no_recording_can_have_is_refused(ahead: float) -> None:
    start = time.time() + ahead
    with pytest.raises(BadInput, match="before 1970 or ahead"):
        check_source(Source("yard", "clip.mp4", start=start))


@pytest.mark.parametrize("address", [f"rstp://viewer:{SECRET}@10.0.0.7/yard", f"file://u:{SECRET}@/etc/passwd"])
def test_an_address_of_another_kind_is_refused_without_its_secret(address: str) -> None:
    with pytest.raises(BadInput, match="accepted are rtsp") as caught:
        check_source(Source("yard", address))
    assert SECRET not in str(caught.value)
