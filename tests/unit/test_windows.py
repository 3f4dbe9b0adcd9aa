"""Windows read for an evaluation: the same rows as asked one by one, with as few reads as that takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor_parts import CLASSES, CLIP, DIMENSION, NOON, events, model
from visiondrift.config.monitoring import HealthConfig, WatchedModel, WindowConfig
from visiondrift.log import Stream, Window, WindowQuery
from visiondrift.log.sqlite import SqliteLog
from visiondrift.windows import Moment, newest_events, read_windows, slices_of, versions_of


class CountedLog(SqliteLog):
    """The real log, and every question it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[tuple[str, tuple[str, str] | None]] = []

    def window(self, query: WindowQuery) -> Window:
        self.asked.append((f"{query.until - query.since:.0f}", query.slice))
        return super().window(query)


CAMERAS = ("a", "b", "c")


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """600 events of each of three cameras over an hour, and a few without a camera."""
    log = CountedLog(tmp_path / "log.sqlite")
    for seed, camera in enumerate(CAMERAS):
        log.append(events(600, over=3600, seed=seed, camera=camera), [], now=NOON)
    log.append(events(7, over=3600, seed=9, camera=""), [], now=NOON)
    yield log
    log.close()


def watched(*, limit: int, windows: tuple[str, ...] = ("10m", "30m", "1h"), **fields: Any) -> WatchedModel:
    return WatchedModel(
        **model()
        | {
            "classes": CLASSES,
            "slices": ("camera",),
            "embedding": None,
            "evaluate_every": 60.0,
            "windows": {name: WindowConfig(min_samples=2, max_samples=limit) for name in windows},
            "low_confidence_below": 0.5,
            "column_threshold": 0.3,
            "block": "auto",
            "input_stopped_after": 60.0,
            "max_slices": 50,
            "max_versions": 3,
            "max_classes": 50,
            "health": HealthConfig(),
        }
        | fields
    )


PAIRS = (None, *(("camera", camera) for camera in CAMERAS), ("camera", "never-seen"))


def read(log: SqliteLog, limit: int) -> tuple[Moment, dict[Any, Window]]:
    moment = Moment(model=watched(limit=limit), version="1", embedder=CLIP, dimension=DIMENSION, now=NOON)
    return moment, {(name, pair): window for name, pair, window in read_windows(log, moment, PAIRS)}


@pytest.mark.parametrize("limit", [5000, 1800, 700, 500, 120, 40])
def test_every_window_holds_the_rows_that_the_log_gives_for_it_alone(log: CountedLog, limit: int) -> None:
    moment, found = read(log, limit)
    assert len(found) == 3 * len(PAIRS)
    for (name, pair), window in found.items():
        alone = log.window(moment.query(name, pair))
        assert window.total == alone.total
        assert window.sample.ids.tolist() == alone.sample.ids.tolist()
        np.testing.assert_array_equal(window.sample.embeddings, alone.sample.embeddings)
        np.testing.assert_array_equal(window.sample.confidences, alone.sample.confidences)
        np.testing.assert_array_equal(window.sample.times, alone.sample.times)


def test_slices_are_cut_out_of_windows_that_were_read_whole(log: CountedLog) -> None:
    read(log, 5000)
    assert log.asked == [("3600", None), ("1800", None), ("600", None)]


def test_shorter_windows_are_cut_out_of_longer_ones_of_a_slice(log: CountedLog) -> None:
    read(log, 700)
    # All together 1807, 904 and 301 events: the longer two are subsets, which hold no slice whole.
    assert [asked for asked in log.asked if asked[1]] == [("3600", pair) for pair in PAIRS[1:]]


def test_only_what_was_a_subset_is_read_again(log: CountedLog) -> None:
    read(log, 500)
    # 600 events of a camera in an hour are more than 500; its 300 in half an hour are whole, and hold its 10 minutes.
    for pair in PAIRS[1:4]:
        assert [length for length, slice_ in log.asked if slice_ == pair] == ["3600", "1800"]


def stream(version: str, newest: float, camera: str = "a") -> Stream:
    return Stream("pets", version, (("camera", camera), ("site", "x")), 10, newest)


def test_the_newest_version_stays_when_all_are_silent() -> None:
    streams = [stream("1", NOON - 90_000), stream("2", NOON - 80_000)]
    assert versions_of(streams, watched(limit=10), now=NOON) == ("2",)


def test_a_version_counts_by_the_newest_of_its_streams() -> None:
    streams = [stream("1", NOON - 5, "a"), stream("2", NOON - 3, "a"), stream("1", NOON - 1, "b")]
    assert versions_of(streams, watched(limit=10), now=NOON) == ("1", "2")


def test_active_slices_are_chosen_by_name_so_that_the_choice_stays_the_same() -> None:
    streams = [stream("1", NOON - age, camera) for camera, age in (("a", 30), ("b", 5), ("c", 1), ("gone", 90_000))]
    chosen = slices_of(streams, "1", watched(limit=10, max_slices=2), now=NOON)
    assert chosen == (None, ("camera", "a"), ("camera", "b"))


def test_silent_slices_stay_as_long_as_there_is_room() -> None:
    streams = [stream("1", NOON - 5, "b"), stream("1", NOON - 90_000, "gone")]
    chosen = slices_of(streams, "1", watched(limit=10), now=NOON)
    assert chosen == (None, ("camera", "b"), ("camera", "gone"))


def test_names_that_come_and_go_do_not_pile_up_as_newest_events() -> None:
    """Each would be a series, and an alert about silence, for as long as the log keeps events."""
    streams = [stream("1", NOON - minute, f"c{minute}") for minute in range(1000)]
    found = newest_events(streams, watched(limit=10, max_slices=4, max_versions=2))
    assert len(found) == 2 * (4 + 1)
    assert found["1", "all"] == found["1", "camera=c0"] == NOON
