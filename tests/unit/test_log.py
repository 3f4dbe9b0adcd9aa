"""What every prediction log promises: one suite over the file and the list; then what only the file can do."""

import json
import random
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_parts import (
    BATCHES,
    CLASSES,
    DIMENSION,
    MIB,
    QUICKLY,
    event,
    held_of,
    is_fair,
    new_log,
    refusal,
    small_disk,
    stats,
)
from visiondrift.errors import LogError, LogFull
from visiondrift.log import Holding, PredictionLog, WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.log.moments import BlockQuery
from visiondrift.log.schema import PAGE_BYTES, STEPS, migrate
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent, Sample


def query(**changes: object) -> WindowQuery:
    plain = WindowQuery(
        model="digits",
        version="1",
        embedder="clip",
        since=0.0,
        until=float("inf"),
        classes=CLASSES,
        dimension=DIMENSION,
        limit=1000,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def ids(sample: Sample) -> list[str]:
    return [str(name) for name in sample.ids]


class TestReadingBack:
    def test_an_event_comes_back_as_it_was_given(self, log: PredictionLog) -> None:
        given_event = event(7)
        log.append([given_event], [], now=7.0)
        sample = log.window(query()).sample
        assert ids(sample) == ["e7"]
        assert sample.times.tolist() == [7.0]
        assert sample.slices["camera"].tolist() == ["c1"]
        assert sample.latency_ms.tolist() == [7.0]
        assert CLASSES[sample.predicted[0]] == given_event.predicted_class
        np.testing.assert_array_equal(sample.embeddings[0], given_event.embedding)
        np.testing.assert_array_equal(sample.confidences[0], given_event.confidences)

    def test_the_columns_have_the_promised_types_and_shapes_also_when_empty(self, log: PredictionLog) -> None:
        log.append([event(1)], [], now=1.0)
        for since, rows in ((0.0, 1), (5.0, 0)):
            sample = log.window(query(since=since)).sample
            assert (sample.times.dtype, sample.times.shape) == (np.float64, (rows,))
            assert (sample.ids.dtype, sample.ids.shape) == (object, (rows,))
            assert (sample.embeddings.dtype, sample.embeddings.shape) == (np.float32, (rows, DIMENSION))
            assert (sample.confidences.dtype, sample.confidences.shape) == (np.float32, (rows, 3))
            assert (sample.predicted.dtype, sample.predicted.shape) == (np.int32, (rows,))
            assert (sample.latency_ms.dtype, sample.latency_ms.shape) == (np.float64, (rows,))
            assert sample.embeddings.flags.writeable

    def test_rows_are_sorted_by_time_whatever_the_order_of_arrival(self, log: PredictionLog) -> None:
        for number in (5, 1, 4, 2, 3):
            log.append([event(number)], [], now=9.0)
        assert ids(log.window(query()).sample) == ["e1", "e2", "e3", "e4", "e5"]

    def test_the_window_includes_since_and_excludes_until(self, log: PredictionLog) -> None:
        log.append([event(number) for number in range(6)], [], now=9.0)
        assert ids(log.window(query(since=2.0, until=4.0)).sample) == ["e2", "e3"]

    def test_times_are_kept_to_the_microsecond(self, log: PredictionLog) -> None:
        moment = 1_700_000_000.123456
        log.append([event(1, time=moment)], [], now=moment)
        assert log.window(query()).sample.times[0] == pytest.approx(moment, abs=5e-7)
        assert log.window(query(since=moment)).total == 1
        assert log.window(query(until=moment)).total == 0

    @pytest.mark.parametrize(
        "other", [{"model": "faces"}, {"version": "2"}, {"slices": (("camera", "c9"),)}, {"embedder": "other-clip"}]
    )
    def test_events_of_another_model_version_slice_or_embedder_are_left_out(
        self, log: PredictionLog, other: dict[str, object]
    ) -> None:
        log.append([event(0), event(1, **other)], [], now=1.0)
        assert ids(log.window(query(slice=("camera", "c0"))).sample) == ["e0"]

    def test_a_slice_is_found_among_several_labels(self, log: PredictionLog) -> None:
        both = (("camera", "c1"), ("site", "north"))
        log.append([event(1, slices=both), event(2, slices=(("site", "north"),)), event(3, slices=())], [], now=1.0)
        assert ids(log.window(query(slice=("site", "north"))).sample) == ["e1", "e2"]
        sample = log.window(query()).sample
        assert sample.slices["site"].tolist() == ["north", "north", ""]
        assert sample.slices["camera"].tolist() == ["c1", "", ""]

    def test_unusual_text_comes_back_unchanged(self, log: PredictionLog) -> None:
        name = "Gleis 2 · „Süd“ \N{CAMERA} '; DROP TABLE ids; --\x00 \" % _"
        log.append([event(1, id=name, slices=(("camera", name),), model=name)], [], now=1.0)
        sample = log.window(query(model=name, slice=("camera", name))).sample
        assert ids(sample) == [name]
        assert log.census().streams[0].slices == (("camera", name),)


class TestMissingValues:
    def test_what_was_measured_of_images_comes_back_and_is_nan_where_nothing_was(self, log: PredictionLog) -> None:
        log.append([event(1), event(2, image_stats=stats(2))], [], now=1.0)
        sample = log.window(query()).sample
        assert sample.has_properties.tolist() == [False, True]
        assert sample.properties is not None
        assert sample.layouts is not None
        np.testing.assert_array_equal(sample.properties[1], stats(2).properties)
        np.testing.assert_array_equal(sample.layouts[1], stats(2).layout)
        assert np.isnan(sample.layouts[0]).all()

    def test_where_no_image_was_measured_there_are_no_such_columns(self, log: PredictionLog) -> None:
        log.append([event(1)], [], now=1.0)
        sample = log.window(query()).sample
        assert sample.properties is None
        assert sample.layouts is None
        assert sample.has_properties.tolist() == [False]

    def test_missing_vectors_are_nan_rows(self, log: PredictionLog) -> None:
        log.append([event(1, embedding=None), event(2, confidences=None), event(3)], [], now=1.0)
        sample = log.window(query()).sample
        assert sample.has_embedding.tolist() == [False, True, True]
        assert sample.has_confidences.tolist() == [True, False, True]

    def test_an_event_without_embedding_belongs_to_every_embedder(self, log: PredictionLog) -> None:
        log.append([event(1, embedding=None), event(2)], [], now=1.0)
        assert ids(log.window(query(embedder="other-clip")).sample) == ["e1"]

    def test_an_embedding_of_another_dimension_counts_as_missing(self, log: PredictionLog) -> None:
        log.append([event(1), event(2, embedding=np.ones(DIMENSION + 1, np.float32))], [], now=1.0)
        sample = log.window(query()).sample
        assert sample.has_embedding.tolist() == [True, False]

    def test_a_window_may_be_read_without_embeddings_and_classes(self, log: PredictionLog) -> None:
        log.append([event(1)], [], now=1.0)
        sample = log.window(query(dimension=0, classes=())).sample
        assert sample.embeddings.shape == (1, 0)
        assert sample.confidences.shape == (1, 0)
        assert sample.predicted.tolist() == [-1]

    def test_an_unknown_predicted_class_and_a_missing_latency_are_told_apart_from_values(
        self, log: PredictionLog
    ) -> None:
        log.append(
            [event(1, predicted_class="wolf", latency_ms=None), event(2, predicted_class=None), event(3)], [], now=1.0
        )
        sample = log.window(query()).sample
        assert sample.predicted.tolist() == [-1, -1, 0]
        assert np.isnan(sample.latency_ms).tolist() == [True, False, False]

    def test_confidences_are_placed_by_class_name(self, log: PredictionLog) -> None:
        swapped = np.array([0.5, 0.25], np.float32)
        log.append([event(1, classes=("fox", "wolf"), confidences=swapped, predicted_class="fox")], [], now=1.0)
        sample = log.window(query()).sample
        np.testing.assert_array_equal(sample.confidences, np.array([[np.nan, np.nan, 0.5]], np.float32))
        assert sample.predicted.tolist() == [2]


class TestWhatWasKeptForWhatItShows:
    def test_a_window_leaves_it_out(self, log: PredictionLog) -> None:
        log.append([event(1), event(2, kept="prompt"), event(3, kept="uniform"), event(4, kept="every")], [], now=9.0)
        window = log.window(query())
        assert (ids(window.sample), window.total, window.sample.kept) == (["e1", "e3", "e4"], 3, None)

    def test_it_can_be_asked_for_and_says_why(self, log: PredictionLog) -> None:
        reasons = ["", "prompt", "uniform", "every+prompt", "prompt+unlike", "every"]
        log.append([event(number, kept=why) for number, why in enumerate(reasons)], [], now=9.0)
        sample = log.window(query(biased=True)).sample
        assert ids(sample) == ["e0", "e1", "e2", "e3", "e4", "e5"]
        assert sample.kept is not None
        assert sample.kept.tolist() == reasons

    def test_one_reason_of_chance_or_the_clock_among_several_leaves_it_in(self, log: PredictionLog) -> None:
        given = [event(1, kept="every+prompt"), event(2, kept="prompt+unlike"), event(3, kept="uniform+rare_class")]
        log.append(given, [], now=9.0)
        window = log.window(query())
        assert (ids(window.sample), window.total, window.sample.kept) == (["e1", "e3"], 2, None)
        assert sum(stream.rows for stream in log.census().streams) == 2

    def test_where_all_was_sent_nothing_says_why(self, log: PredictionLog) -> None:
        log.append([event(1), event(2)], [], now=9.0)
        assert log.window(query(biased=True)).sample.kept is None

    def test_it_is_no_stream_and_yet_held(self, log: PredictionLog) -> None:
        log.append([event(1), event(2, kept="outlier")], [], now=9.0)
        census = log.census()
        assert ([stream.rows for stream in census.streams], census.events) == ([1], 2)

    def test_it_is_in_no_block(self, log: MemoryLog | SqliteLog) -> None:
        log.append([event(1), event(2, kept="unlike"), event(3)], [], now=9.0)
        asked = BlockQuery(model="digits", version="1", embedder="clip", since=0.0, until=100.0, seconds=10.0)
        assert log.rows_by_block(asked) == {0: 2}


class TestWhatThereIs:
    def test_it_is_counted_by_version_slices_embedder_and_whether_it_is_a_fair_sample(self, log: PredictionLog) -> None:
        given = [event(2), event(4), event(6, kept="every"), event(8, kept="unlike"), event(10, embedder="old")]
        given += [event(12, version="2"), event(14, embedding=None), event(16, model="faces"), event(40)]
        log.append(given, [], now=9.0)
        slices = (("camera", "c0"),)
        assert set(log.holdings("digits", since=2.0, until=40.0)) == {
            Holding("1", slices, "clip", biased=False, rows=3),
            Holding("1", slices, "clip", biased=True, rows=1),
            Holding("1", slices, "old", biased=False, rows=1),
            Holding("2", slices, "clip", biased=False, rows=1),
        }
        assert log.holdings("digits", since=41.0, until=99.0) == ()

    def test_streams_that_differ_in_classes_alone_are_counted_together(self, log: PredictionLog) -> None:
        log.append([event(2), event(4, classes=CLASSES[::-1])], [], now=9.0)
        assert [one.rows for one in log.holdings("digits", since=0.0, until=9.0)] == [2]

    def test_the_oldest_event_is_that_of_all_models_and_reasons(self, log: PredictionLog) -> None:
        assert log.oldest() is None
        log.append([event(7), event(5, model="faces"), event(3, time=3.5, kept="prompt")], [], now=9.0)
        assert log.oldest() == 3.5
        log.prune(older_than=6.0, max_bytes=10**12)
        assert log.oldest() == 7.0


class TestIdempotency:
    def test_the_same_event_sent_again_changes_nothing(self, log: PredictionLog) -> None:
        first = log.append([event(1), event(2)], [], now=1.0)
        assert (first.stored, first.duplicates, first.duplicate_rows) == (2, 0, ())
        again = log.append([event(1), event(3), event(2, time=99.0, version="2")], [], now=2.0)
        assert (again.stored, again.duplicates, again.duplicate_rows) == (1, 2, (0, 2))
        assert log.window(query()).sample.times.tolist() == [1.0, 2.0, 3.0]
        assert log.window(query(version="2")).total == 0

    def test_a_duplicate_inside_a_batch_is_stored_once_and_the_first_wins(self, log: PredictionLog) -> None:
        outcome = log.append([event(1), event(1, time=50.0)], [], now=1.0)
        assert (outcome.stored, outcome.duplicate_rows) == (1, (1,))
        assert log.window(query()).sample.times.tolist() == [1.0]

    def test_the_same_id_of_another_model_is_another_event(self, log: PredictionLog) -> None:
        outcome = log.append([event(1), event(1, model="faces"), event(1)], [], now=1.0)
        assert outcome.stored_by_model == {"digits": 1, "faces": 1}
        assert outcome.duplicates_by_model == {"digits": 1}

    def test_events_of_one_moment_are_all_kept(self, log: PredictionLog) -> None:
        log.append([event(number, time=5.0) for number in range(10)], [], now=5.0)
        assert log.window(query()).total == 10


class TestReasonsOfWhatComesAgain:
    """A rule kept it first and chance drew it later: then the share drawn by chance must hold it."""

    def test_an_event_of_a_rule_that_chance_draws_later_is_in_the_window_once(self, log: PredictionLog) -> None:
        log.append([event(1, kept="prompt"), event(3, kept="prompt")], [], now=1.0)
        again = log.append([event(n, kept="uniform", latency_ms=99.0) for n in (1, 5)], [], now=2.0)
        assert (again.stored, again.duplicates, again.duplicate_rows) == (1, 1, (0,))
        assert ids(log.window(query()).sample) == ["e1", "e5"]
        every = log.window(query(biased=True)).sample
        assert every.kept is not None
        assert dict(zip(ids(every), every.kept, strict=True)) == {
            "e1": "uniform+prompt", "e3": "prompt", "e5": "uniform",
        }  # fmt: skip
        assert every.latency_ms.tolist() == [1.0, 3.0, 99.0], "nothing else of it changes"

    def test_counts_go_with_it(self, log: MemoryLog | SqliteLog) -> None:
        slices = (("camera", "c1"),)
        log.append([event(1, kept="unlike")], [], now=1.0)
        assert log.census().streams == ()
        log.append([event(1, kept="every")], [], now=2.0)
        census = log.census()
        assert [(one.slices, one.rows, one.newest) for one in census.streams] == [(slices, 1, 1.0)]
        assert census.events == 1
        assert log.holdings("digits", since=0.0, until=9.0) == (Holding("1", slices, "clip", biased=False, rows=1),)
        asked = BlockQuery(model="digits", version="1", embedder="clip", since=0.0, until=100.0, seconds=10.0)
        assert log.rows_by_block(asked) == {0: 1}
        assert log.prune(older_than=9.0, max_bytes=10**12) == 1
        assert log.census().events == 0

    @pytest.mark.parametrize(
        ("before", "now", "kept"),
        [
            ("every", "prompt", "every+prompt"),
            ("unlike", "prompt", "prompt+unlike"),
            ("prompt", "prompt+unlike", "prompt+unlike"),
            ("uniform+prompt", "prompt", "uniform+prompt"),
            ("prompt", "", "prompt"),
        ],
    )
    def test_reasons_are_joined_whichever_came_first(
        self, log: PredictionLog, before: str, now: str, kept: str
    ) -> None:
        for reasons in (before, now, now):
            log.append([event(1, kept=reasons)], [], now=1.0)
        sample = log.window(query(biased=True)).sample
        assert sample.kept is not None
        assert sample.kept.tolist() == [kept]

    def test_what_came_while_all_was_sent_stays_in_the_window(self, log: PredictionLog) -> None:
        for reasons in ("", "prompt"):
            log.append([event(1, kept=reasons)], [], now=1.0)
        assert ids(log.window(query()).sample) == ["e1"]
        assert log.window(query(biased=True)).sample.kept is None

    def test_inside_one_batch_too(self, log: PredictionLog) -> None:
        log.append([event(1, kept="prompt"), event(1, kept="uniform")], [], now=1.0)
        assert ids(log.window(query()).sample) == ["e1"]

    @pytest.mark.parametrize("other", [{"time": 2.0}, {"version": "2"}, {"slices": ()}])
    def test_another_event_that_wrongly_has_its_id_adds_nothing(
        self, log: PredictionLog, other: dict[str, object]
    ) -> None:
        log.append([event(1, kept="prompt")], [], now=1.0)
        log.append([event(1, kept="uniform", **other)], [], now=1.0)
        assert log.window(query()).total == 0

    def test_a_row_that_an_older_program_wrote_keeps_the_reason_of_its_stream(
        self, file_log: SqliteLog, tmp_path: Path
    ) -> None:
        file_log.append([event(1, kept="prompt")], [], now=1.0)
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
            connection.execute("UPDATE predictions SET kept = NULL")
            connection.commit()
        file_log.append([event(1, kept="uniform")], [], now=2.0)
        sample = file_log.window(query(biased=True)).sample
        assert sample.kept is not None
        assert sample.kept.tolist() == ["uniform+prompt"]


class TestRejections:
    def test_rejections_are_counted_by_model_at_the_time_of_the_call(self, log: PredictionLog) -> None:
        log.append([], [refusal(), refusal(), refusal("faces")], now=100.0)
        log.append([event(1)], [refusal()], now=100.0)
        log.append([], [refusal()], now=160.0)
        assert log.window(query(since=100.0, until=160.0)).rejected == 3
        assert log.window(query(since=101.0, until=161.0)).rejected == 1
        assert log.window(query(model="faces")).rejected == 1
        assert log.window(query(version="2", slice=("camera", "c1"))).rejected == 4


class TestSubset:
    def test_a_large_window_gives_an_evenly_spread_subset_of_exactly_the_limit(self, log: PredictionLog) -> None:
        log.append([event(number, slices=()) for number in range(1000)], [], now=1.0)
        window = log.window(query(limit=100))
        assert window.total == 1000
        assert set(np.diff(window.sample.times)) == {10.0}
        assert len(window.sample) == 100

    def test_every_stream_is_represented_in_proportion(self, log: PredictionLog) -> None:
        sizes = {"a": 600, "b": 300, "c": 90, "d": 10}
        number = 0
        for camera, size in sizes.items():
            log.append([event(number + n, slices=(("camera", camera),)) for n in range(size)], [], now=1.0)
            number += size
        window = log.window(query(limit=100))
        assert Counter(window.sample.slices["camera"]) == {"a": 60, "b": 30, "c": 9, "d": 1}

    def test_the_same_query_gives_the_same_rows(self, log: PredictionLog) -> None:
        log.append([event(number) for number in range(200)], [], now=1.0)
        assert ids(log.window(query(limit=33)).sample) == ids(log.window(query(limit=33)).sample)

    def test_a_window_of_exactly_the_limit_is_given_whole(self, log: PredictionLog) -> None:
        log.append([event(number) for number in range(50)], [], now=1.0)
        assert len(log.window(query(limit=50)).sample) == 50
        assert len(log.window(query(limit=49)).sample) == 49


class TestCensus:
    def test_an_empty_log_holds_nothing(self, log: PredictionLog) -> None:
        census = log.census()
        assert (census.streams, census.events) == ((), 0)

    def test_streams_are_counted_with_their_newest_event(self, log: PredictionLog) -> None:
        log.append([event(number) for number in (4, 6, 3)], [], now=1.0)
        log.append([event(2), event(3), event(8, embedding=None), event(1, version="2")], [], now=1.0)
        census = log.census()
        found = {(s.version, s.slices): (s.rows, s.newest) for s in census.streams}
        assert found == {
            ("1", (("camera", "c0"),)): (4, 8.0),
            ("1", (("camera", "c1"),)): (1, 3.0),
            ("2", (("camera", "c1"),)): (1, 1.0),
        }
        assert census.events == 6

    def test_size_grows_with_the_events(self, log: PredictionLog) -> None:
        before = log.census().size_bytes
        log.append([event(n, embedding=np.ones(500, np.float32)) for n in range(500)], [], now=1.0)
        assert log.census().size_bytes - before >= 500 * 2000


class TestPruning:
    def test_events_before_a_time_go_with_their_ids_and_counts(self, log: PredictionLog) -> None:
        log.append([event(number) for number in range(10)], [], now=1.0)
        assert log.prune(older_than=4.0, max_bytes=10**12) == 4
        assert ids(log.window(query()).sample) == ["e4", "e5", "e6", "e7", "e8", "e9"]
        assert log.census().events == 6
        assert log.append([event(1), event(5)], [], now=1.0).stored == 1  # e1 is new again, e5 is not

    def test_a_stream_goes_with_its_last_event(self, log: PredictionLog) -> None:
        log.append([event(1), event(2), event(11)], [], now=1.0)
        log.prune(older_than=10.0, max_bytes=10**12)
        assert [(s.slices, s.rows) for s in log.census().streams] == [((("camera", "c1"),), 1)]

    def test_old_rejections_go_too(self, log: PredictionLog) -> None:
        log.append([], [refusal()], now=10.0)
        log.append([], [refusal()], now=20.0)
        log.prune(older_than=15.0, max_bytes=10**12)
        assert log.window(query()).rejected == 1

    def test_beyond_a_size_the_oldest_of_all_streams_go_until_the_log_fits(self, log: PredictionLog) -> None:
        wide = np.ones(500, np.float32)
        events = [event(number, embedding=wide) for number in range(2000)]
        random.Random(1).shuffle(events)
        log.append(events, [], now=1.0)
        limit = log.census().size_bytes // 2
        dropped = log.prune(older_than=0.0, max_bytes=limit)
        census = log.census()
        assert 800 < dropped < 1400
        assert census.size_bytes <= limit
        assert census.events == 2000 - dropped
        left = log.window(query(dimension=500, limit=5000)).sample
        assert left.times.tolist() == list(range(dropped, 2000))

    def test_a_log_that_fits_is_left_alone(self, log: PredictionLog) -> None:
        log.append([event(number) for number in range(10)], [], now=1.0)
        assert log.prune(older_than=0.0, max_bytes=log.census().size_bytes) == 0
        assert log.window(query()).total == 10

    def test_a_size_that_nothing_fits_empties_the_log_and_ends(self, log: PredictionLog) -> None:
        log.append([event(number) for number in range(10)], [], now=1.0)
        assert log.prune(older_than=0.0, max_bytes=1) == 10
        assert log.append([event(1)], [], now=1.0).stored == 1


class TestFailures:
    def test_a_closed_log_says_so_and_closing_twice_is_harmless(self, log: PredictionLog) -> None:
        log.close()
        log.close()
        with pytest.raises(LogError, match="closed"):
            log.append([event(1)], [], now=1.0)
        with pytest.raises(LogError, match="closed"):
            log.window(query())
        with pytest.raises(LogError, match="closed"):
            log.census()
        with pytest.raises(LogError, match="closed"):
            log.prune(older_than=0.0, max_bytes=0)

    def test_an_event_that_cannot_be_stored_leaves_nothing_of_its_batch(self, log: PredictionLog) -> None:
        with pytest.raises(LogError, match="cannot be stored"):
            log.append([event(1), event(2, time=float("nan"))], [refusal()], now=1.0)
        assert log.window(query()).total == 0
        assert log.window(query()).rejected == 0
        assert log.append([event(1)], [], now=1.0).stored == 1


class TestThreads:
    def test_threads_append_and_read_at_once_and_every_event_is_stored_once(self, log: PredictionLog) -> None:
        """Four writers send overlapping batches while two readers check that what they see is whole."""
        done = threading.Event()
        problems: list[str] = []

        def write(seed: int) -> None:
            numbers = list(range(200))
            random.Random(seed).shuffle(numbers)
            for start in range(0, 200, 10):
                log.append([event(number) for number in numbers[start : start + 10]], [], now=1.0)

        def read() -> None:
            while not done.is_set():
                window = log.window(query())
                if len(window.sample) != window.total:
                    problems.append(f"{len(window.sample)} rows of {window.total}")
                log.census()
                time.sleep(0.005)

        writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in (*writers, *readers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert problems == []
        assert log.window(query()).sample.times.tolist() == list(range(200))
        assert log.census().events == 200


QUERIES = st.builds(
    lambda since, length, limit, which, embedder, biased: query(
        since=float(since), until=float(since + length), limit=limit, slice=which, embedder=embedder, biased=biased
    ),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 30),
    st.sampled_from([None, ("camera", "c0"), ("site", "n")]),
    st.sampled_from(["clip", "other-clip"]),
    st.booleans(),
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
class TestAnyHistory:
    @QUICKLY
    @given(batches=BATCHES)
    def test_any_order_and_repetition_of_batches_stores_each_id_once_as_first_sent(
        self, kind: str, batches: list[list[PredictionEvent]]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder, closing(new_log(kind, Path(folder))) as log:
            outcomes = [log.append(batch, [], now=1.0) for batch in (*batches, *batches)]
            first: dict[tuple[str, str], PredictionEvent] = {}
            for batch in batches:
                for sent in batch:
                    first.setdefault((sent.model, sent.id), sent)
            assert sum(outcome.stored for outcome in outcomes) == len(first) == log.census().events
            assert sum(outcome.duplicates for outcome in outcomes) == 2 * sum(map(len, batches)) - len(first)

    @QUICKLY
    @given(batches=BATCHES, asked=QUERIES)
    def test_a_window_is_what_a_filter_by_hand_finds(
        self, kind: str, batches: list[list[PredictionEvent]], asked: WindowQuery
    ) -> None:
        with tempfile.TemporaryDirectory() as folder, closing(new_log(kind, Path(folder))) as log:
            for batch in batches:
                log.append(batch, [], now=1.0)
            window = log.window(asked)
        expected = {
            sent.id: sent
            for sent in held_of(batches)
            if (sent.model, sent.version) == (asked.model, asked.version)
            and (sent.embedding is None or sent.embedder == asked.embedder)
            and (asked.slice is None or asked.slice in sent.slices)
            and asked.since <= sent.time < asked.until
            and (asked.biased or is_fair(sent.kept))
        }
        assert window.total == len(expected)
        assert len(window.sample) == min(len(expected), asked.limit)
        assert set(ids(window.sample)) <= set(expected)
        assert window.sample.times.tolist() == sorted(expected[name].time for name in ids(window.sample))
        if window.sample.kept is not None:
            assert window.sample.kept.tolist() == [expected[name].kept for name in ids(window.sample)]
        elif asked.biased:
            assert not any(expected[name].kept for name in ids(window.sample))


@QUICKLY
@given(batches=BATCHES, asked=QUERIES, older_than=st.integers(0, 20))
def test_the_file_and_the_list_answer_alike(
    batches: list[list[PredictionEvent]], asked: WindowQuery, older_than: int
) -> None:
    """The same history gives the same rows, in the same order, with the same columns, subset included."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqliteLog(Path(folder) / "log.sqlite")) as file,
        closing(MemoryLog()) as memory,
    ):
        for log in (file, memory):
            for batch in batches:
                log.append(batch, [], now=1.0)
            log.prune(older_than=float(older_than), max_bytes=10**12)
        assert file.census().streams == memory.census().streams
        assert file.oldest() == memory.oldest()
        held = [log.holdings(asked.model, since=asked.since, until=asked.until) for log in (file, memory)]
        assert set(held[0]) == set(held[1])
        left, right = file.window(asked), memory.window(asked)
    assert left.total == right.total
    assert ids(left.sample) == ids(right.sample)
    assert left.sample.slices.keys() == right.sample.slices.keys()
    for label, column in left.sample.slices.items():
        assert column.tolist() == right.sample.slices[label].tolist()
    for name in ("times", "embeddings", "confidences", "predicted", "latency_ms", "properties", "layouts", "kept"):
        np.testing.assert_array_equal(getattr(left.sample, name), getattr(right.sample, name))


class TestTheFile:
    def test_events_are_there_after_closing_and_opening(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "deep" / "log.sqlite"
        with closing(SqliteLog(path)) as log:
            log.append([event(1)], [refusal()], now=1.0)
        with closing(SqliteLog(path)) as log:
            assert log.window(query()).total == 1
            assert log.window(query()).rejected == 1
            assert log.append([event(1)], [], now=1.0).duplicates == 1

    def test_a_second_program_reads_while_the_first_writes(self, file_log: SqliteLog, tmp_path: Path) -> None:
        file_log.append([event(1)], [], now=1.0)
        with closing(SqliteLog(tmp_path / "log.sqlite")) as other:
            file_log.append([event(2)], [], now=1.0)
            assert other.window(query()).total == 2

    def test_what_a_window_does_not_give_is_kept_in_the_file(self, file_log: SqliteLog, tmp_path: Path) -> None:
        extra = {"image_uri": "s3://b/1.png", "trace_id": "t1", "metadata": {"lens": [1, "ü"]}}
        file_log.append([event(1, **extra)], [], now=1.0)
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as raw:
            uri, trace, metadata = raw.execute("SELECT image_uri, trace_id, metadata FROM predictions").fetchone()
        assert (uri, trace, json.loads(metadata)) == ("s3://b/1.png", "t1", {"lens": [1, "ü"]})

    def test_commits_are_durable_and_readers_do_not_wait(self, file_log: SqliteLog) -> None:
        """The promise 'acknowledged means stored' rests on these two settings of the writing connection."""
        writer = file_log._open()
        assert writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert writer.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL

    def test_an_embedding_of_1024_columns_takes_little_more_than_its_bytes(self, tmp_path: Path) -> None:
        with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
            wide = np.ones(1024, np.float32)
            for start in range(0, 2000, 100):
                log.append([event(n, embedding=wide) for n in range(start, start + 100)], [], now=1.0)
        assert (tmp_path / "log.sqlite").stat().st_size / 2000 < 1.35 * 4096

    def test_pruning_gives_room_back_to_the_file_system(self, file_log: SqliteLog, tmp_path: Path) -> None:
        wide = np.ones(500, np.float32)
        file_log.append([event(n, embedding=wide) for n in range(2000)], [], now=1.0)
        full = file_log.census().size_bytes
        file_log.prune(older_than=1900.0, max_bytes=10**12)
        assert sum(file.stat().st_size for file in tmp_path.iterdir() if "shm" not in file.name) < full / 5

    def test_an_append_does_not_wait_for_a_whole_pruning(self, file_log: SqliteLog) -> None:
        wide = np.ones(500, np.float32)
        file_log.append([event(n, embedding=wide) for n in range(10_000)], [], now=1.0)
        pruning = threading.Thread(target=file_log.prune, kwargs={"older_than": 10_000.0, "max_bytes": 10**12})
        pruning.start()
        appended = 0
        while pruning.is_alive():
            file_log.append([event(20_000 + appended)], [], now=1.0)
            appended += 1
            time.sleep(0.001)
        pruning.join()
        assert appended >= 5
        assert file_log.census().events == appended

    def test_a_window_of_5000_of_512_columns_is_read_in_less_than_a_third_of_a_second(
        self, file_log: SqliteLog
    ) -> None:
        matrix = np.random.default_rng(0).normal(size=(5000, 512)).astype(np.float32)
        plain = event(1)
        file_log.append(
            [replace(plain, id=str(row), time=float(row), embedding=matrix[row]) for row in range(5000)], [], now=1.0
        )
        seconds = []
        for _ in range(3):
            start = time.process_time()
            sample = file_log.window(query(dimension=512, limit=5000)).sample
            seconds.append(time.process_time() - start)
        np.testing.assert_array_equal(sample.embeddings, matrix)
        assert min(seconds) < 0.3


class TestVersions:
    def test_an_older_file_is_brought_up_to_date_with_its_events(self, file_log: SqliteLog, tmp_path: Path) -> None:
        file_log.append([event(1), event(2)], [], now=1.0)
        file_log.close()
        path = tmp_path / "log.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            next_step = ("ALTER TABLE predictions ADD COLUMN place TEXT NOT NULL DEFAULT 'here'",)
            migrate(raw, (*STEPS, next_step), path=path)
            assert raw.execute("PRAGMA user_version").fetchone()[0] == len(STEPS) + 1
            assert raw.execute("SELECT id, place FROM predictions ORDER BY time_us").fetchall() == [
                ("e1", "here"),
                ("e2", "here"),
            ]
            migrate(raw, (*STEPS, next_step), path=path)  # nothing left to do

    def test_events_from_before_reasons_were_kept_say_what_their_stream_says(self, tmp_path: Path) -> None:
        path = tmp_path / "log.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute("PRAGMA journal_mode = WAL")
            migrate(raw, STEPS[:3], path=path)
            for stream, kept in ((1, ""), (2, "prompt")):
                raw.execute(
                    "INSERT INTO streams (id, model, version, slices, classes, kept, events)"
                    " VALUES (?, 'digits', '1', '{}', '[]', ?, 1)",
                    (stream, kept),
                )
                raw.execute(
                    "INSERT INTO predictions (stream, time_us, id) VALUES (?, ?, ?)",
                    (stream, stream * 10**6, f"old {stream}"),
                )
        with closing(SqliteLog(path)) as log:
            log.append([event(3, kept="every"), event(4, kept="every+prompt")], [], now=9.0)
            assert ids(log.window(query()).sample) == ["old 1", "e3", "e4"]
            sample = log.window(query(biased=True)).sample
            assert sample.kept is not None
            assert dict(zip(ids(sample), sample.kept, strict=True)) == {
                "old 1": "", "old 2": "prompt", "e3": "every", "e4": "every+prompt"
            }  # fmt: skip

    def test_a_step_that_fails_leaves_the_older_version_whole(self, file_log: SqliteLog, tmp_path: Path) -> None:
        file_log.append([event(1)], [], now=1.0)
        file_log.close()
        path = tmp_path / "log.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            broken = ("DROP TABLE ids", "ALTER TABLE nothing ADD COLUMN x")
            with pytest.raises(sqlite3.OperationalError):
                migrate(raw, (*STEPS, broken), path=path)
        with closing(SqliteLog(path)) as log:
            assert log.append([event(1)], [], now=1.0).duplicates == 1

    def test_a_newer_file_is_refused_and_both_versions_are_named(self, file_log: SqliteLog, tmp_path: Path) -> None:
        file_log.close()
        path = tmp_path / "log.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            migrate(raw, (*STEPS, (), ()), path=path)
        with pytest.raises(LogError, match=rf"version {len(STEPS) + 2}, .* up to {len(STEPS)}") as caught:
            SqliteLog(path)
        assert str(path) in str(caught.value)

    def test_a_database_of_another_program_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "other.sqlite"
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("CREATE TABLE theirs (x)")
        before = path.read_bytes()
        with pytest.raises(LogError, match="another program"):
            SqliteLog(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("content", [b"This is a text file, not a database.\n" * 100, b"SQLite format 3\0" * 100])
    def test_a_file_that_is_no_database_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "log.sqlite"
        path.write_bytes(content)
        with pytest.raises(LogError, match=r"log\.sqlite"):
            SqliteLog(path)

    def test_a_path_that_cannot_be_made_is_refused_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(LogError, match=r"file"):
            SqliteLog(tmp_path / "file" / "log.sqlite")


class TestNoRoom:
    def test_beyond_the_configured_size_appends_are_refused_until_room_is_made(self, tmp_path: Path) -> None:
        wide = np.ones(500, np.float32)
        with closing(SqliteLog(tmp_path / "log.sqlite", max_bytes=2 * MIB)) as log:
            stored = fill(log, wide)
            assert log.window(query(dimension=500, limit=10_000)).sample.times.tolist() == list(range(stored))
            log.prune(older_than=stored / 2, max_bytes=10**12)
            assert log.append([event(stored + 50, embedding=wide)], [], now=1.0).stored == 1
        assert (tmp_path / "log.sqlite").stat().st_size <= 2 * MIB + PAGE_BYTES

    def test_on_a_full_disk_nothing_is_lost_and_appends_go_on_when_there_is_room_again(self, tiny_disk: Path) -> None:
        ballast = tiny_disk / "ballast"
        ballast.write_bytes(b"x" * (4 * MIB))
        wide = np.ones(500, np.float32)
        with closing(SqliteLog(tiny_disk / "log.sqlite")) as log:
            stored = fill(log, wide)
            assert stored > 0
            assert log.window(query(dimension=500, limit=10_000)).sample.times.tolist() == list(range(stored))
            assert log.window(query()).rejected == 0
            ballast.unlink()
            refused_before = [event(number, embedding=wide) for number in range(stored, stored + 50)]
            assert log.append(refused_before, [], now=1.0).stored == 50
        with closing(sqlite3.connect(tiny_disk / "log.sqlite")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

    def test_pruning_on_a_full_disk_loses_nothing_and_works_when_there_is_room_again(self, tiny_disk: Path) -> None:
        """A deletion is written ahead as well: it needs a little room of its own."""
        ballast = tiny_disk / "ballast"
        ballast.write_bytes(b"x" * (4 * MIB))
        wide = np.ones(500, np.float32)
        with closing(SqliteLog(tiny_disk / "log.sqlite")) as log:
            stored = fill(log, wide)
            with pytest.raises(LogFull):
                log.prune(older_than=stored / 2, max_bytes=10**12)
            assert log.census().events == stored
            ballast.unlink()
            assert log.prune(older_than=stored / 2, max_bytes=10**12) == stored // 2

    def test_a_disk_without_room_for_the_file_is_told_as_full(self, tiny_disk: Path) -> None:
        with pytest.raises(OSError, match="No space"):  # noqa: PT012
            for number in range(1000):
                (tiny_disk / f"ballast-{number}").write_bytes(b"x" * PAGE_BYTES)
        with pytest.raises(LogFull, match="no room"):
            SqliteLog(tiny_disk / "log.sqlite")


def fill(log: SqliteLog, embedding: np.ndarray) -> int:  # type: ignore[type-arg]
    """Append batches of 50 with a rejection each, the last of them refused; return how many events are stored."""
    for start in range(0, 100_000, 50):
        batch = [event(number, embedding=embedding) for number in range(start, start + 50)]
        try:
            log.append(batch, [refusal("faces")], now=float(start))
        except LogFull:
            assert log.census().events == start
            assert log.window(query(model="faces", since=float(start))).rejected == 0
            return start
    raise AssertionError("the disk never became full")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder
