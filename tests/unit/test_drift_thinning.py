"""Which rows stand for more of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visiondrift.drift.thinning import evenly, evenly_of_each


def test_each_stands_for_as_many_as_the_others() -> None:
    assert evenly(1000, 4).tolist() == [249, 499, 749, 999]
    assert evenly(10, 10).tolist() == evenly(10, 20).tolist() == list(range(10))


@given(rows=st.integers(0, 3000), most=st.integers(1, 500))
def test_as_many_as_may_be_each_once_and_nowhere_more_than_elsewhere(rows: int, most: int) -> None:
    steps = [after - before for before, after in zip(evenly(rows, most)[:-1], evenly(rows, most)[1:], strict=True)]
    assert len(evenly(rows, most)) == min(rows, most)
    assert all(step >= 1 for step in steps)
    assert max(steps, default=1) - min(steps, default=1) <= 1


@given(streams=st.lists(st.integers(0, 3), max_size=400), most=st.integers(1, 300))
def test_streams_keep_their_shares(streams: list[int], most: int) -> None:
    given_streams = np.array(streams, dtype=np.intp)
    kept = evenly_of_each(given_streams, most)
    assert len(kept) == min(len(streams), most)
    assert (np.diff(kept) > 0).all()
    for stream in range(4):
        expected = (given_streams == stream).sum() * len(kept) / max(len(streams), 1)
        assert abs((given_streams[kept] == stream).sum() - expected) <= 1


def test_cameras_that_take_turns_are_both_kept() -> None:
    turns = np.tile([0, 1], 200)
    assert np.bincount(turns[evenly_of_each(turns, 100)]).tolist() == [50, 50]
