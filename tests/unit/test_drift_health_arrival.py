"""Whether frames come, and whether their times can be right, from looks at the log alone."""

import numpy as np
import pytest

from visiondrift.drift.health.arrival import Company, Look, judge_clock, judge_late, longest_usual
from visiondrift.drift.health.findings import Reading

NOW = 1_790_000_000.0
HOLD = 60.0
ALONE = Company()
OTHERS_SEND = Company(cameras=8, sending=8, lag=1.0)


def reach(answer: Reading | str) -> float:
    assert isinstance(answer, Reading), answer
    return answer.reach


def looks(*lags_and_events: tuple[float, int], every: float = 60.0) -> list[Look]:
    """(seconds behind, events) of each look, the last one now."""
    begun = NOW - every * (len(lags_and_events) - 1)
    return [
        Look(begun + every * number, events, begun + every * number - lag)
        for number, (lag, events) in enumerate(lags_and_events)
    ]


def test_a_camera_that_sends_is_not_late() -> None:
    assert reach(judge_late(looks((1, 100), (1, 160)), 60.0, OTHERS_SEND)) < 0.1


def test_a_camera_that_fell_silent_is_late() -> None:
    answer = judge_late(looks((1, 100), (61, 100), (121, 100)), 60.0, OTHERS_SEND)
    assert reach(answer) > 2
    assert isinstance(answer, Reading)
    assert "no frame for 2.0 min" in answer.evidence
    assert "8 of the 8 others send" in answer.evidence
    assert answer.since == pytest.approx(NOW - 121)


def test_it_is_late_as_soon_as_its_pause_is_too_long_though_it_sent_since_the_look_before() -> None:
    assert reach(judge_late(looks((1, 100), (250, 150), every=300.0), 60.0, OTHERS_SEND)) > 1


def test_where_no_camera_sends_it_is_not_the_camera() -> None:
    answer = judge_late(looks((1, 100), (121, 100)), 60.0, Company(cameras=8, sending=0, lag=120.0))
    assert answer == "no camera of the model sends: what is before all of them has stopped"


def test_the_only_camera_of_a_model_is_late_by_itself() -> None:
    assert reach(judge_late(looks((1, 100), (121, 100)), 60.0, ALONE)) > 1


def test_one_look_cannot_tell_silence_from_a_clock_that_is_behind() -> None:
    assert "clock" in str(judge_late(looks((500, 100)), 60.0, OTHERS_SEND))


def test_a_camera_whose_clock_is_behind_is_not_late_while_its_frames_arrive() -> None:
    behind = looks((500, 100), (500, 160), (500, 220))
    assert reach(judge_late(behind, 60.0, OTHERS_SEND)) == 0


def test_a_camera_whose_clock_is_behind_is_told_of_its_clock() -> None:
    answer = judge_clock(looks((500, 100), (500, 160), (500, 220)), OTHERS_SEND, hold=HOLD)
    assert reach(answer) > 1
    assert isinstance(answer, Reading)
    assert "8.3 min older" in answer.evidence


def test_where_all_cameras_are_behind_it_is_no_clock() -> None:
    slow = Company(cameras=8, sending=8, lag=500.0)
    assert reach(judge_clock(looks((500, 100), (500, 160), (500, 220)), slow, hold=HOLD)) == 0


def test_a_clock_ahead_is_told_at_the_first_look() -> None:
    answer = judge_clock(looks((-90, 100)), OTHERS_SEND, hold=HOLD)
    assert reach(answer) == 3
    assert isinstance(answer, Reading)
    assert "2" not in answer.evidence.split("ahead")[0]
    assert "90 s ahead" in answer.evidence


def test_a_clock_that_jumped_back_sends_frames_that_are_never_the_newest() -> None:
    answer = judge_clock(looks((1, 100), (61, 160), (121, 220)), OTHERS_SEND, hold=HOLD)
    assert isinstance(answer, Reading)
    assert answer.reach >= 1
    assert "jumped back" in answer.evidence


def test_frames_that_arrive_out_of_order_now_and_then_are_no_clock_fault() -> None:
    assert reach(judge_clock(looks((1, 100), (61, 130), (1, 220)), OTHERS_SEND, hold=HOLD)) < 1


def test_batches_that_arrive_every_few_minutes_are_no_clock_fault() -> None:
    assert reach(judge_clock(looks((240, 100), (2, 400), (62, 400), (122, 400)), OTHERS_SEND, hold=HOLD)) < 1


def test_frames_that_always_take_two_minutes_to_arrive_are_no_clock_fault() -> None:
    assert reach(judge_clock(looks((120, 100), (120, 160), (120, 220)), ALONE, hold=HOLD)) < 0.5


def test_a_silent_camera_has_no_clock_fault() -> None:
    assert isinstance(judge_clock(looks((61, 100), (121, 100), (181, 100)), OTHERS_SEND, hold=HOLD), str)


def test_no_frame_yet_says_so() -> None:
    assert judge_late([], 60.0, ALONE) == judge_clock([], ALONE, hold=HOLD) == "no frame has come yet"


def test_what_is_usual_follows_from_the_longest_pause() -> None:
    steady = np.arange(100.0)
    assert longest_usual(steady, None, hold=HOLD) == HOLD
    seldom = 30.0 * np.arange(10)
    assert longest_usual(seldom, None, hold=HOLD) == 150.0


def test_a_camera_that_sends_on_motion_pauses_as_long_as_its_reference_did() -> None:
    bursts = np.concatenate([hour * 3600.0 + np.arange(20.0) for hour in range(24)])
    usual = longest_usual(np.arange(20.0), bursts, hold=HOLD)
    assert usual is not None
    assert usual > 3600


def test_of_a_reference_in_a_few_pieces_the_time_between_them_is_no_pause() -> None:
    pieces = np.concatenate([day * 86400.0 + np.arange(3600.0) for day in range(3)])
    assert longest_usual(np.arange(100.0), pieces, hold=HOLD) == HOLD


def test_too_few_frames_say_nothing_of_what_is_usual() -> None:
    assert longest_usual(np.arange(4.0), None, hold=HOLD) is None
    assert "fewer than 5" in str(judge_late(looks((1, 3)), None, ALONE))
