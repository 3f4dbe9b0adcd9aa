"""A recording answers as a log would that has taken in everything until the present."""

import numpy as np
import pytest

from monitor_parts import CLASSES, CLIP, DIMENSION, NOON, events
from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.log import WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.log.moments import BlockQuery, MomentKey
from visiondrift.log.recording import Recording
from visiondrift.prediction import sample_of

FOUND = [
    event
    for seed, camera in enumerate(("left", "right", ""))
    for event in events(90, until=NOON, over=600, seed=seed, camera=camera)
]


@pytest.fixture
def logs() -> tuple[Recording, MemoryLog]:
    recording = Recording(sample_of(FOUND, classes=CLASSES, dimension=DIMENSION), model="pets", version="1")
    recording.now = NOON
    log = MemoryLog()
    log.append(FOUND, [], now=NOON)
    return recording, log


@pytest.mark.parametrize("pair", [None, ("camera", "left"), ("camera", "nowhere"), ("line", "3")])
@pytest.mark.parametrize("since", [NOON - 700, NOON - 200, NOON - 1])
def test_windows_are_those_of_a_log(
    logs: tuple[Recording, MemoryLog], since: float, pair: tuple[str, str] | None
) -> None:
    query = WindowQuery("pets", "1", CLIP, since, NOON, CLASSES, DIMENSION, 5000, pair)
    ours, theirs = (log.window(query) for log in logs)
    assert ours.total == theirs.total
    assert sorted(ours.sample.ids) == sorted(theirs.sample.ids)
    order = np.argsort(ours.sample.ids), np.argsort(theirs.sample.ids)
    assert np.array_equal(ours.sample.embeddings[order[0]], theirs.sample.embeddings[order[1]])
    assert np.array_equal(ours.sample.confidences[order[0]], theirs.sample.confidences[order[1]])


def test_of_more_rows_than_may_be_compared_an_even_part_of_each_stream_is_given(
    logs: tuple[Recording, MemoryLog],
) -> None:
    for log in logs:
        window = log.window(WindowQuery("pets", "1", CLIP, NOON - 700, NOON, CLASSES, DIMENSION, 30))
        assert (len(window.sample), window.total) == (30, 270)
        assert np.unique(window.sample.slices["camera"], return_counts=True)[1].tolist() == [10, 10, 10]
        assert np.diff(np.sort(window.sample.times)).max() < 61


def test_blocks_are_counted_as_in_a_log(logs: tuple[Recording, MemoryLog]) -> None:
    query = BlockQuery(
        model="pets", version="1", embedder=CLIP, since=NOON - 500, until=NOON, seconds=37, slice=("camera", "left")
    )
    assert logs[0].rows_by_block(query) == logs[1].rows_by_block(query)


def test_the_census_knows_only_what_lies_before_the_present(logs: tuple[Recording, MemoryLog]) -> None:
    recording, log = logs
    known = {stream.slices: (stream.rows, round(stream.newest, 5)) for stream in log.census().streams}
    ours = {stream.slices: (stream.rows, round(stream.newest, 5)) for stream in recording.census().streams}
    assert ours == known
    recording.now = NOON - 300
    assert recording.census().events == sum(event.time < NOON - 300 for event in FOUND)
    assert all(stream.newest < NOON - 300 for stream in recording.census().streams)


def test_kept_moments_come_back_in_order(logs: tuple[Recording, MemoryLog]) -> None:
    key = MomentKey(basis="b", model="pets", version="1", slice="all", seconds=60, dimension=2)
    rng = np.random.default_rng(0)
    moments = BlockMoments(np.arange(1.0, 4.0), rng.normal(size=(3, 2)), rng.uniform(size=(3, 2)))
    for log in logs:
        log.keep_moments(key, np.array([7, 5, 6]), moments)
    ours, theirs = (log.kept_moments(key, since_block=5, until_block=7) for log in logs)
    assert list(ours.blocks) == list(theirs.blocks) == [5, 6]
    assert ours.moments.totals == pytest.approx(theirs.moments.totals, rel=1e-6)
    assert len(logs[0].kept_moments(key, since_block=8, until_block=9).blocks) == 0
