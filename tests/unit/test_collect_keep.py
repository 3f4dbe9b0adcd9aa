"""Which frames are kept, and why."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visiondrift.collect.frames import Frame
from visiondrift.collect.keep import Keeper, Likeness, Policy
from visiondrift.collect.run import Job
from visiondrift.collect.sinks import KeptFrame
from visiondrift.collect.sources import Source
from visiondrift.intake.fields import MAX_ID
from visiondrift.prediction import all_reasons, bias_of


def like(*, prompts: tuple[float, ...] = (), reference: float | None = None, angle: float = 0.0) -> Likeness:
    return Likeness(np.array([np.cos(angle), np.sin(angle)], dtype=np.float32), prompts, reference)


def kept_times(policy: Policy, times: list[float], likenesses: list[Likeness] | None = None) -> list[float]:
    keeper = Keeper(policy, source="hall")
    looks = likenesses or [None] * len(times)
    return [time for time, look in zip(times, looks, strict=True) if keeper.reasons(time, look)]


def test_every_keeps_the_first_frame_of_each_stretch() -> None:
    assert kept_times(Policy(every=10), [0.0, 4.0, 9.9, 10.1, 19.8, 20.0, 47.0, 48.0]) == [0.0, 10.1, 20.0, 47.0]


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=60), st.floats(0.5, 1e3))
def test_every_keeps_no_two_frames_of_one_stretch(times: list[float], every: float) -> None:
    kept = kept_times(Policy(every=every), sorted(times))
    stretches = [int((time - min(times)) / every + 1e-6) for time in kept]
    assert kept[0] == min(times)
    assert len(set(stretches)) == len(stretches)


def test_uniform_keeps_its_share_whatever_frames_show() -> None:
    keeper = Keeper(Policy(uniform=0.2, seed=3), source="hall")
    kept = sum(bool(keeper.reasons(float(time), None)) for time in range(20_000))
    assert 0.19 < kept / 20_000 < 0.21


def test_the_same_seed_draws_the_same_frames_of_the_same_source() -> None:
    times = [float(time) for time in range(200)]
    assert kept_times(Policy(uniform=0.3, seed=7), times) == kept_times(Policy(uniform=0.3, seed=7), times)


def test_another_seed_draws_other_frames() -> None:
    times = [float(time) for time in range(200)]
    assert kept_times(Policy(uniform=0.3, seed=7), times) != kept_times(Policy(uniform=0.3, seed=8), times)


def test_a_frame_that_is_read_again_meets_the_same_answer_whatever_else_lies_there() -> None:
    """A folder that is read again after every restart, and has lost a file in between, keeps no more than its share."""
    names = [f"{number}.jpg" for number in range(2000)]
    kept: set[str] = set()
    for gone in range(5):
        keeper = Keeper(Policy(uniform=0.1), source="hall")
        kept |= {name for name in names[gone:] if keeper.reasons(1_790_000_000.0, None, name=name)}
    assert 0.08 < len(kept) / 2000 < 0.12


def test_two_sources_of_one_seed_are_drawn_apart() -> None:
    hall, yard = (Keeper(Policy(uniform=0.5), source=name) for name in ("hall", "yard"))
    assert [hall.reasons(n, None) for n in range(64)] != [yard.reasons(n, None) for n in range(64)]


@pytest.mark.parametrize("other", [{"model": "faces"}, {"version": "2"}, {"slices": (("camera", "right"),)}])
def test_what_is_for_another_model_version_or_slice_is_drawn_apart_and_has_another_id(other: dict[str, Any]) -> None:
    one = Job(Source("hall", "rtsp://10.0.0.7/"), Policy(uniform=0.5), "digits", "1", (("camera", "left"),))
    two = replace(one, **other)
    drawn = [
        [bool(Keeper(job.policy, source=job.identity).reasons(n, None)) for n in range(64)] for job in (one, one, two)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    frame = Frame(1_790_000_000.0, Image.new("RGB", (8, 8)), name="a.jpg")
    first, again, second = (
        KeptFrame("hall", frame, ("uniform",), model=job.model, version=job.version, slices=job.slices).id
        for job in (one, one, two)
    )
    assert first == again != second


def test_an_id_fits_into_an_event_however_long_the_names_are() -> None:
    frame = Frame(1_790_000_000.0, Image.new("RGB", (8, 8)), name="deep/" * 60 + "a.jpg")
    given = KeptFrame("h" * 63, frame, ("uniform",), model="digits", version="1").id
    assert len(given) <= MAX_ID


def test_one_prompt_that_fits_is_enough() -> None:
    keeper = Keeper(Policy(prompts=("a train", "a tram"), threshold=0.2), source="hall")
    assert keeper.reasons(0, like(prompts=(0.1, 0.2))) == ("prompt",)
    assert keeper.reasons(1, like(prompts=(0.1, 0.19))) == ()


def test_similar_and_unlike_are_the_two_ends() -> None:
    keeper = Keeper(Policy(similar=0.9, unlike=0.5), source="hall")
    assert [keeper.reasons(n, like(reference=cosine)) for n, cosine in enumerate((0.95, 0.7, 0.4))] == [
        ("similar",),
        (),
        ("unlike",),
    ]


def test_a_frame_says_all_its_reasons() -> None:
    keeper = Keeper(Policy(every=10, uniform=1.0, prompts=("a train",), threshold=0.2, unlike=0.5), source="hall")
    assert keeper.reasons(0, like(prompts=(0.3,), reference=0.1)) == ("uniform", "timed", "prompt", "unlike")


def test_a_near_duplicate_of_a_kept_frame_is_left_out() -> None:
    policy = Policy(prompts=("a train",), threshold=0.2, distinct=0.98)
    looks = [like(prompts=(0.3,), angle=angle) for angle in (0.0, 0.05, 0.6, 0.02)]
    assert kept_times(policy, [0.0, 1.0, 2.0, 3.0], looks) == [0.0, 2.0]


def test_chance_keeps_near_duplicates_so_that_a_stuck_camera_stays_visible() -> None:
    looks = [like() for _ in range(5)]
    assert kept_times(Policy(uniform=1.0, distinct=0.98), [float(n) for n in range(5)], looks) == [0, 1, 2, 3, 4]


def test_a_sample_by_the_clock_is_biased_once_duplicates_are_left_out() -> None:
    keeper = Keeper(Policy(every=1, distinct=0.98), source="hall")
    assert keeper.reasons(0, like()) == ("distinct",)
    assert bias_of("distinct")


def test_beside_a_share_drawn_by_chance_the_clock_adds_nothing_to_what_windows_read() -> None:
    keeper = Keeper(Policy(every=2, uniform=0.2), source="hall")
    kept = [all_reasons(keeper.reasons(float(time), None)) for time in range(5_000)]
    assert kept[::2].count("timed") + kept[::2].count("uniform+timed") == 2_500
    assert not any("timed" in one for one in kept[1::2])
    read = sum(one != "" and not bias_of(one) for one in kept)
    assert 0.18 < read / 5_000 < 0.22


def test_without_such_a_share_windows_read_what_the_clock_chose() -> None:
    keeper = Keeper(Policy(every=2, unlike=0.5), source="hall")
    kept = [all_reasons(keeper.reasons(float(time), like(reference=0.1))) for time in range(4)]
    assert kept == ["every+unlike", "unlike", "every+unlike", "unlike"]
    assert [bool(bias_of(one)) for one in kept] == [False, True, False, True]


@pytest.mark.parametrize("policy", [Policy(), Policy(distinct=0.9), Policy(prompts=("a train",))])
def test_a_policy_without_a_reason_to_keep_says_so(policy: Policy) -> None:
    assert not policy.keeps_something
