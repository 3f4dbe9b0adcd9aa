"""What every log of moments promises: one suite over the file and the dict; then what only the file can do."""

import gzip
import math
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_parts import BATCHES, CLASSES, DIMENSION, MIB, QUICKLY, event, held_of, is_fair, new_log, small_disk
from visiondrift.drift.calibration.blocks import timed_blocks
from visiondrift.drift.embedding.moments import BlockMoments, block_moments, moments_of
from visiondrift.errors import LogError, LogFull
from visiondrift.log import WindowQuery, microseconds
from visiondrift.log.blocks import _COUNT
from visiondrift.log.memory import MemoryLog
from visiondrift.log.moments import BlockQuery, KeptMoments, MomentKey, kept_bytes
from visiondrift.log.schema import PAGE_BYTES, STEPS
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent

AnyLog = MemoryLog | SqliteLog

KEY = MomentKey(basis="b1", model="digits", version="1", slice="camera=c0", seconds=10.0, dimension=DIMENSION)
VERSION_1 = Path(__file__).parents[1] / "goldens" / "log" / "version-1.sqlite.gz"
"""Written by the program that knew one version: 10 events of seconds 0 to 9, one without embedding at 10, one of
another embedder at 11, a rejection at 5."""


def query(**changes: object) -> BlockQuery:
    plain = BlockQuery(model="digits", version="1", embedder="clip", since=0.0, until=float("inf"), seconds=10.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def some(blocks: int, *, seed: int = 0, dimension: int = DIMENSION) -> BlockMoments:
    """Moments of as many blocks, in numbers that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    counts, totals, squares = (rng.integers(1, 1000, size) / 8 for size in (blocks, *[(blocks, dimension)] * 2))
    return BlockMoments(counts, totals, squares)


def numbers(*blocks: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(blocks, dtype=np.int64)


def all_kept(log: AnyLog, key: MomentKey = KEY) -> KeptMoments:
    return log.kept_moments(key, since_block=-(2**62), until_block=2**62)


def assert_same(left: BlockMoments, right: BlockMoments) -> None:
    for name in ("counts", "totals", "squares"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


class TestKeeping:
    def test_moments_come_back_as_they_were_given_in_the_order_of_their_blocks(self, log: AnyLog) -> None:
        given_moments = some(4)
        log.keep_moments(KEY, numbers(7, -2, 5, 6), given_moments)
        kept = all_kept(log)
        assert kept.blocks.tolist() == [-2, 5, 6, 7]
        assert_same(kept.moments, given_moments.take(np.array([1, 2, 3, 0])))

    def test_types_and_shapes_are_as_promised_also_when_nothing_is_kept(self, log: AnyLog) -> None:
        for count in (0, 3):
            kept = all_kept(log)
            assert (kept.blocks.dtype, kept.blocks.shape) == (np.int64, (count,))
            assert (kept.moments.counts.dtype, kept.moments.counts.shape) == (np.float64, (count,))
            assert (kept.moments.totals.dtype, kept.moments.totals.shape) == (np.float64, (count, DIMENSION))
            assert (kept.moments.squares.dtype, kept.moments.squares.shape) == (np.float64, (count, DIMENSION))
            assert kept.moments.together().total.shape == (DIMENSION,)
            log.keep_moments(KEY, numbers(1, 2, 3), some(3))

    def test_a_range_includes_its_first_block_and_excludes_its_last(self, log: AnyLog) -> None:
        log.keep_moments(KEY, np.arange(10), some(10))
        assert log.kept_moments(KEY, since_block=3, until_block=6).blocks.tolist() == [3, 4, 5]

    def test_a_block_that_is_kept_again_takes_the_place_of_the_first(self, log: AnyLog) -> None:
        log.keep_moments(KEY, numbers(1, 2), some(2))
        later = some(2, seed=1)
        log.keep_moments(KEY, numbers(2, 3), later)
        kept = all_kept(log)
        assert kept.blocks.tolist() == [1, 2, 3]
        assert_same(kept.moments.take(np.array([1, 2])), later)

    @pytest.mark.parametrize(
        "other", [{"basis": "b2"}, {"model": "faces"}, {"version": "2"}, {"slice": "all"}, {"seconds": 10.000000001}]
    )
    def test_another_basis_model_version_slice_or_length_is_another_series(
        self, log: AnyLog, other: dict[str, object]
    ) -> None:
        elsewhere = replace(KEY, **other)  # type: ignore[arg-type]
        log.keep_moments(KEY, numbers(1), some(1))
        log.keep_moments(elsewhere, numbers(1, 2), some(2, seed=1))
        assert_same(all_kept(log).moments, some(1))
        assert_same(all_kept(log, elsewhere).moments, some(2, seed=1))

    def test_no_block_is_nothing_to_keep(self, log: AnyLog) -> None:
        log.keep_moments(KEY, numbers(), some(0))
        assert len(all_kept(log).blocks) == 0
        assert log.prune_moments(older_than=1e12, max_bytes=0) == 0

    def test_blocks_added_up_are_the_moments_of_all_their_rows(self, log: AnyLog) -> None:
        rng = np.random.default_rng(0)
        rows, of_row = rng.normal(size=(5000, DIMENSION)), rng.integers(0, 40, 5000)
        log.keep_moments(KEY, np.arange(40), block_moments(rows, of_row, 40))
        together, expected = all_kept(log).moments.together(), moments_of(rows)
        assert together.count == expected.count
        np.testing.assert_allclose(together.total, expected.total, rtol=0, atol=40 * 2.0**-24 * 40)
        np.testing.assert_allclose(together.squares, expected.squares, rtol=2.0**-24)

    def test_what_the_log_holds_includes_moments(self, log: AnyLog) -> None:
        before = log.census().size_bytes
        log.keep_moments(KEY, np.arange(1000), some(1000))
        assert log.census().size_bytes - before >= 1000 * 4 * (2 * DIMENSION + 1)
        assert log.census().events == 0


class TestRefusing:
    @pytest.mark.parametrize("wrong", [some(3), some(2, dimension=DIMENSION + 1), BlockMoments(*[np.zeros(2)] * 3)])
    def test_shapes_that_disagree_are_refused_and_named(self, log: AnyLog, wrong: BlockMoments) -> None:
        with pytest.raises(LogError, match=r"cannot be stored: .* 2 blocks in 8 dimensions"):
            log.keep_moments(KEY, numbers(1, 2), wrong)
        assert len(all_kept(log).blocks) == 0

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
    def test_numbers_that_float32_cannot_hold_are_refused_with_their_block(self, log: AnyLog, value: float) -> None:
        wrong = some(2)
        wrong.squares[1, 3] = value
        with pytest.raises(LogError, match="block 22 are not finite"):
            log.keep_moments(KEY, numbers(11, 22), wrong)
        assert len(all_kept(log).blocks) == 0

    def test_a_block_given_twice_is_refused(self, log: AnyLog) -> None:
        with pytest.raises(LogError, match="twice"):
            log.keep_moments(KEY, numbers(1, 1), some(2))

    def test_a_basis_that_has_changed_its_dimension_is_refused_in_reading_and_in_keeping(self, log: AnyLog) -> None:
        log.keep_moments(KEY, numbers(1), some(1))
        wider = replace(KEY, dimension=DIMENSION + 1)
        with pytest.raises(LogError, match=r"8 dimensions, not in 9: .* b1"):
            all_kept(log, wider)
        with pytest.raises(LogError, match=r"8 dimensions, not in 9: .* b1"):
            log.keep_moments(wider, numbers(2), some(1, dimension=DIMENSION + 1))

    @pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-7, math.nan, math.inf])
    def test_a_block_must_have_a_length(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="finite length"):
            query(seconds=seconds)
        with pytest.raises(ValueError, match="finite length"):
            replace(KEY, seconds=seconds)

    def test_a_closed_log_says_so(self, log: AnyLog) -> None:
        log.close()
        with pytest.raises(LogError, match="closed"):
            log.rows_by_block(query())
        with pytest.raises(LogError, match="closed"):
            all_kept(log)
        with pytest.raises(LogError, match="closed"):
            log.keep_moments(KEY, numbers(1), some(1))
        with pytest.raises(LogError, match="closed"):
            log.prune_moments(older_than=0.0, max_bytes=0)


class TestCounting:
    def test_events_are_counted_by_the_block_of_their_time(self, log: AnyLog) -> None:
        log.append([event(number) for number in (0, 9, 10, 11, 35)], [], now=1.0)
        assert log.rows_by_block(query()) == {0: 2, 1: 2, 3: 1}

    def test_a_boundary_belongs_to_the_later_block_and_times_before_the_epoch_to_the_block_below(
        self, log: AnyLog
    ) -> None:
        times = (-10.0, -0.000001, 0.0, 9.999999, 10.0)
        log.append([event(number, time=time) for number, time in enumerate(times)], [], now=1.0)
        assert log.rows_by_block(query(since=-math.inf)) == {-1: 2, 0: 2, 1: 1}

    def test_only_what_lies_between_since_and_until_is_counted(self, log: AnyLog) -> None:
        log.append([event(number) for number in range(40)], [], now=1.0)
        assert log.rows_by_block(query(since=8.0, until=22.0)) == {0: 2, 1: 10, 2: 2}

    def test_events_without_embedding_or_of_another_embedder_are_left_out(self, log: AnyLog) -> None:
        log.append([event(1), event(2, embedding=None), event(3, embedder="other-clip")], [], now=1.0)
        assert log.rows_by_block(query()) == {0: 1}
        assert log.rows_by_block(query(embedder="third")) == {}

    def test_the_streams_of_a_slice_are_added_up(self, log: AnyLog) -> None:
        north = (("camera", "c1"), ("site", "north"))
        log.append([event(1), event(3, slices=north), event(5, slices=north, classes=CLASSES[::-1])], [], now=1.0)
        assert log.rows_by_block(query(slice=("camera", "c1"))) == {0: 3}
        assert log.rows_by_block(query(slice=("site", "north"))) == {0: 2}
        assert log.rows_by_block(query(slice=("site", "south"))) == {}


BLOCK_QUERIES = st.builds(
    lambda since, length, seconds, which, embedder: query(
        since=float(since), until=float(since + length), seconds=seconds, slice=which, embedder=embedder
    ),
    st.integers(-5, 40),
    st.integers(0, 45),
    st.sampled_from([0.1, 0.3, 1.0, 1 / 3, 7.0, 12.5]),
    st.sampled_from([None, ("camera", "c0"), ("site", "n")]),
    st.sampled_from(["clip", "other-clip"]),
)
SHIFTS = st.floats(-5, 5, allow_nan=False)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@QUICKLY
@given(batches=BATCHES, shift=SHIFTS, asked=BLOCK_QUERIES)
def test_rows_by_block_are_what_a_count_by_hand_finds(
    kind: str, batches: list[list[PredictionEvent]], shift: float, asked: BlockQuery
) -> None:
    moved = [[replace(sent, time=sent.time + shift) for sent in batch] for batch in batches]
    with tempfile.TemporaryDirectory() as folder, closing(new_log(kind, Path(folder))) as log:
        for batch in moved:
            log.append(batch, [], now=1.0)
        found = log.rows_by_block(asked)
    expected = Counter(
        math.floor(microseconds(sent.time) / 1e6 / asked.seconds)
        for sent in held_of(moved)
        if (sent.model, sent.version) == (asked.model, asked.version)
        and is_fair(sent.kept)
        and sent.embedding is not None
        and sent.embedder == asked.embedder
        and (asked.slice is None or asked.slice in sent.slices)
        and microseconds(asked.since) <= microseconds(sent.time) < microseconds(asked.until)
    )
    assert found == dict(expected)


@QUICKLY
@given(
    times=st.lists(st.integers(0, 4 * 10**15), min_size=1, max_size=30, unique=True),
    seconds=st.floats(0.001, 1e6),
    onto=st.booleans(),
)
def test_blocks_are_those_into_which_the_statistics_cut_a_window(times: list[int], seconds: float, onto: bool) -> None:
    """To the last bit, also where a time lies on a boundary: a block counted one way and summed another never fits."""
    moments = [round(time / 1e6 / seconds) * seconds if onto else time / 1e6 for time in times]
    with tempfile.TemporaryDirectory() as folder, closing(SqliteLog(Path(folder) / "log.sqlite")) as log:
        log.append([event(number, time=moment, slices=()) for number, moment in enumerate(moments)], [], now=1.0)
        window = log.window(
            WindowQuery("digits", "1", "clip", 0.0, math.inf, classes=CLASSES, dimension=DIMENSION, limit=1000)
        )
        counted = log.rows_by_block(query(seconds=seconds))
    assert [counted[block] for block in sorted(counted)] == timed_blocks(window.sample.times, seconds).sizes.tolist()
    assert sorted(counted) == np.unique(np.floor(window.sample.times / seconds)).astype(np.int64).tolist()


class TestPruning:
    def test_moments_stay_when_their_events_go(self, log: AnyLog) -> None:
        log.append([event(number) for number in range(20)], [], now=1.0)
        log.keep_moments(KEY, numbers(0, 1), some(2))
        assert log.prune(older_than=100.0, max_bytes=10**12) == 20
        assert log.rows_by_block(query()) == {}
        assert_same(all_kept(log).moments, some(2))

    def test_events_stay_when_their_moments_go(self, log: AnyLog) -> None:
        log.append([event(number) for number in range(20)], [], now=1.0)
        log.keep_moments(KEY, numbers(0, 1), some(2))
        assert log.prune_moments(older_than=100.0, max_bytes=10**12) == 2
        assert log.rows_by_block(query()) == {0: 10, 1: 10}

    def test_a_block_goes_when_its_end_is_old_enough_whatever_its_length(self, log: AnyLog) -> None:
        longer = replace(KEY, seconds=25.0)
        log.keep_moments(KEY, np.arange(10), some(10))
        log.keep_moments(longer, np.arange(4), some(4))
        assert log.prune_moments(older_than=50.0, max_bytes=10**12) == 5 + 2
        assert all_kept(log).blocks.tolist() == [5, 6, 7, 8, 9]
        assert all_kept(log, longer).blocks.tolist() == [2, 3]

    def test_beyond_a_size_the_oldest_of_all_series_go_until_the_rest_fits(self, log: AnyLog) -> None:
        other = replace(KEY, slice="camera=c1")
        log.keep_moments(KEY, np.arange(0, 2000, 2), some(1000))
        log.keep_moments(other, np.arange(1, 2000, 2), some(1000))
        assert log.prune_moments(older_than=0.0, max_bytes=500 * kept_bytes(DIMENSION)) == 1500
        assert all_kept(log).blocks.tolist() == list(range(1500, 2000, 2))
        assert all_kept(log, other).blocks.tolist() == list(range(1501, 2000, 2))

    def test_a_block_that_was_replaced_counts_once(self, log: AnyLog) -> None:
        for _ in range(3):
            log.keep_moments(KEY, np.arange(10), some(10))
        assert log.prune_moments(older_than=0.0, max_bytes=10 * kept_bytes(DIMENSION)) == 0
        assert log.prune_moments(older_than=1e12, max_bytes=10**12) == 10

    def test_a_basis_that_is_gone_may_come_back_in_another_dimension(self, log: AnyLog) -> None:
        log.keep_moments(KEY, numbers(1), some(1))
        log.prune_moments(older_than=1e12, max_bytes=10**12)
        wider = replace(KEY, dimension=DIMENSION + 1)
        log.keep_moments(wider, numbers(2), some(1, dimension=DIMENSION + 1))
        assert all_kept(log, wider).blocks.tolist() == [2]


class TestTheFile:
    def test_moments_are_there_after_closing_and_opening(self, tmp_path: Path) -> None:
        path = tmp_path / "log.sqlite"
        with closing(SqliteLog(path)) as log:
            log.keep_moments(KEY, np.arange(1200), some(1200))
        with closing(SqliteLog(path)) as log:
            assert all_kept(log).blocks.tolist() == list(range(1200))
            assert_same(all_kept(log).moments, some(1200))

    @pytest.mark.parametrize("dimension", [64, 512, 1024])
    def test_a_block_takes_little_more_than_its_numbers(self, file_log: SqliteLog, dimension: int) -> None:
        """Also where many series grow side by side, as they do when every slice has a new block at each tick."""
        keys = [replace(KEY, slice=f"camera=c{camera}", dimension=dimension) for camera in range(20)]
        before = file_log.census().size_bytes
        for block in range(0, 50, 5):
            for key in keys:
                file_log.keep_moments(key, np.arange(block, block + 5), some(5, dimension=dimension))
        file_log._shorten()
        assert (file_log.census().size_bytes - before) / 1000 < 1.45 * 4 * (2 * dimension + 1)

    def test_counting_reads_the_index_alone(self, file_log: SqliteLog) -> None:
        names = {"stream": 1, "since": 0, "until": 1, "seconds": 1.0}
        with file_log._reading() as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {_COUNT}", names)]
        assert "USING COVERING INDEX predictions_by_time (stream=? AND time_us>? AND time_us<?)" in plan[0]

    def test_100_000_events_are_counted_in_less_than_half_a_second(self, file_log: SqliteLog) -> None:
        plain = event(1)
        for start in range(0, 100_000, 5000):
            file_log.append(
                [replace(plain, id=str(n), time=1.7e9 + n) for n in range(start, start + 5000)], [], now=1.0
            )
        seconds = []
        for _ in range(3):
            start_at = time.process_time()
            counted = file_log.rows_by_block(query(seconds=300.0))
            seconds.append(time.process_time() - start_at)
        assert sum(counted.values()) == 100_000
        assert min(seconds) < 0.5

    def test_an_append_does_not_wait_for_a_long_keeping(self, file_log: SqliteLog) -> None:
        many = 10_000
        moments = some(many, dimension=128)
        keeping = threading.Thread(
            target=file_log.keep_moments, args=(replace(KEY, dimension=128), np.arange(many), moments)
        )
        keeping.start()
        appended = 0
        while keeping.is_alive():
            file_log.append([event(appended)], [], now=1.0)
            appended += 1
            time.sleep(0.001)
        keeping.join()
        assert appended >= 5
        assert file_log.census().events == appended

    def test_room_of_dropped_moments_goes_back_to_the_file_system(self, file_log: SqliteLog) -> None:
        wide = replace(KEY, dimension=512)
        file_log.keep_moments(wide, np.arange(1000), some(1000, dimension=512))
        full = file_log.census().size_bytes
        file_log.prune_moments(older_than=9500.0, max_bytes=10**12)
        assert file_log.census().size_bytes < full / 5
        assert_same(all_kept(file_log, wide).moments, some(1000, dimension=512).take(np.arange(950, 1000)))

    def test_a_row_of_a_wrong_length_is_refused_and_named(self, file_log: SqliteLog, tmp_path: Path) -> None:
        file_log.keep_moments(KEY, numbers(1, 2, 3), some(3))
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as raw, raw:
            raw.execute("UPDATE moments SET numbers = substr(numbers, 1, 60) WHERE block = 2")
        with pytest.raises(LogError, match=r"log\.sqlite: .* block 2 of digits 1 camera=c0 take 60 bytes, .* take 68"):
            all_kept(file_log)
        assert file_log.kept_moments(KEY, since_block=3, until_block=9).blocks.tolist() == [3]


class TestVersions:
    def test_a_file_of_version_1_keeps_its_events_and_takes_moments(self, tmp_path: Path) -> None:
        path = tmp_path / "log.sqlite"
        path.write_bytes(gzip.decompress(VERSION_1.read_bytes()))
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("PRAGMA user_version").fetchone()[0] == 1
        with closing(SqliteLog(path)) as log:
            window = log.window(
                WindowQuery("digits", "1", "clip", 0.0, math.inf, classes=CLASSES, dimension=DIMENSION, limit=100)
            )
            assert window.sample.times.tolist() == [float(second) for second in range(11)]
            np.testing.assert_array_equal(window.sample.embeddings[3], event(3).embedding)
            assert window.rejected == 1
            assert log.append([event(3)], [], now=1.0).duplicates == 1
            assert log.rows_by_block(query(seconds=4.0)) == {0: 4, 1: 4, 2: 2}
            log.keep_moments(KEY, numbers(1), some(1))
        with closing(SqliteLog(path)) as log:
            assert_same(all_kept(log).moments, some(1))

    def test_a_file_of_version_1_becomes_what_a_new_file_is(self, tmp_path: Path) -> None:
        old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
        old.write_bytes(gzip.decompress(VERSION_1.read_bytes()))
        schemas = []
        for path in (old, new):
            SqliteLog(path).close()
            with closing(sqlite3.connect(path)) as raw:
                assert raw.execute("PRAGMA user_version").fetchone()[0] == len(STEPS) == 4
                assert raw.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                schemas.append(raw.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall())
        assert schemas[0] == schemas[1]


class TestNoRoom:
    def test_beyond_the_configured_size_moments_are_refused_until_room_is_made(self, tmp_path: Path) -> None:
        key = replace(KEY, dimension=512)
        with closing(SqliteLog(tmp_path / "log.sqlite", max_bytes=2 * MIB)) as log:
            kept = fill(log, key)
            log.prune_moments(older_than=kept / 2 * KEY.seconds, max_bytes=10**12)
            log.keep_moments(key, numbers(kept + 50), some(1, dimension=512))
        assert (tmp_path / "log.sqlite").stat().st_size <= 2 * MIB + PAGE_BYTES

    def test_on_a_full_disk_what_was_kept_stays_and_keeping_goes_on_when_there_is_room_again(
        self, tmp_path: Path
    ) -> None:
        key = replace(KEY, dimension=512)
        with small_disk(tmp_path / "disk") as disk:
            ballast = disk / "ballast"
            ballast.write_bytes(b"x" * (4 * MIB))
            with closing(SqliteLog(disk / "log.sqlite")) as log:
                kept = fill(log, key)
                ballast.unlink()
                log.keep_moments(key, np.arange(kept, kept + 50), some(50, dimension=512))
                assert all_kept(log, key).blocks.tolist() == list(range(kept + 50))
            with closing(sqlite3.connect(disk / "log.sqlite")) as raw:
                assert raw.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def fill(log: SqliteLog, key: MomentKey) -> int:
    """Keep 50 blocks a call, the last call refused; return how many are kept, all of them as they were given."""
    for start in range(0, 100_000, 50):
        try:
            log.keep_moments(key, np.arange(start, start + 50), some(50, seed=start, dimension=key.dimension))
        except LogFull:
            kept = all_kept(log, key)
            assert kept.blocks.tolist() == list(range(start))
            for first in range(0, start, 50):
                assert_same(
                    kept.moments.take(np.arange(first, first + 50)), some(50, seed=first, dimension=key.dimension)
                )
            assert start > 0
            return start
    raise AssertionError("the disk never became full")
