"""Group commit: 200 means durable, nothing acknowledged is lost, nothing hangs, and no failure spreads."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from intake_parts import NOW, Counts, stored_event
from programs import PATIENCE_S, until
from visiondrift.errors import LogError, LogFull, QueueFull
from visiondrift.intake.ingest import Ingest
from visiondrift.log import Appended, PredictionLog
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent, Rejection


class Gate(MemoryLog):
    """A log whose commits wait until the gate is opened; ``troubles`` may raise before a commit."""

    def __init__(self, troubles: Callable[[Sequence[PredictionEvent]], None] = lambda _: None) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.commits: list[int] = []
        self._troubles = troubles

    def append(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection], *, now: float) -> Appended:
        self.entered.set()
        assert self.opened.wait(PATIENCE_S)
        self.commits.append(len(events))
        self._troubles(events)
        return super().append(events, rejections, now=now)


@contextmanager
def ingest_of(log: PredictionLog, counts: Counts | None = None, capacity: int = 1000) -> Iterator[Ingest]:
    ingest = Ingest(log, counters=counts or Counts(), clock=lambda: NOW, capacity=capacity)
    try:
        yield ingest
    finally:
        if isinstance(log, Gate):
            log.opened.set()
        ingest.close()


def events(first: int, count: int = 1) -> list[PredictionEvent]:
    return [stored_event(number) for number in range(first, first + count)]


def rejection(reason: str = "bad_time") -> Rejection:
    return Rejection(0, None, "time", reason, "words", "doors")


def test_what_is_acknowledged_is_in_the_log(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    with ingest_of(log) as ingest:
        assert ingest.submit(events(0, 3)).stored == 3
        assert log.census().events == 3
    log.close()


def test_requests_that_arrive_during_a_commit_share_the_next_one() -> None:
    log = Gate()
    with ingest_of(log) as ingest:
        first = ingest.enqueue(events(0))
        assert log.entered.wait(PATIENCE_S)
        later = [ingest.enqueue(events(number)) for number in range(1, 51)]
        log.opened.set()
        assert [answer.result(PATIENCE_S).stored for answer in (first, *later)] == [1] * 51
    assert log.commits == [1, 50]


def test_many_threads_cost_fewer_commits_than_requests(tmp_path: Path) -> None:
    counts = Counts()
    log = SqliteLog(tmp_path / "log.sqlite")
    with ingest_of(log, counts) as ingest, ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: ingest.submit(events(number)), range(400)))
    assert sum(answer.stored for answer in answers) == log.census().events == 400
    assert len(counts.commits) < 400
    log.close()


def test_a_commit_is_bounded_in_size() -> None:
    log = Gate()
    with ingest_of(log, capacity=100_000) as ingest:
        first = ingest.enqueue(events(0))
        assert log.entered.wait(PATIENCE_S)
        later = [ingest.enqueue(events(1 + 3000 * number, 3000)) for number in range(4)]
        log.opened.set()
        for answer in (first, *later):
            answer.result(PATIENCE_S)
    assert log.commits == [1, 3000, 3000, 3000, 3000]


def test_each_request_of_a_shared_commit_is_told_of_its_own_duplicates() -> None:
    log = Gate()
    counts = Counts()
    with ingest_of(log, counts) as ingest:
        first = ingest.enqueue(events(0, 2))
        assert log.entered.wait(PATIENCE_S)
        again = ingest.enqueue(events(0, 3))
        fresh = ingest.enqueue(events(10, 2))
        twice = ingest.enqueue([*events(20), *events(20)])
        log.opened.set()
        answers = [answer.result(PATIENCE_S) for answer in (first, again, fresh, twice)]
    assert [(answer.stored, answer.duplicates) for answer in answers] == [(2, 0), (1, 2), (2, 0), (1, 1)]
    assert answers[1].duplicates_by_model == {"doors": 2}
    assert sum(appended.stored for appended, _ in counts.outcomes) == 6


def test_rejections_alone_reach_the_log_and_are_counted_once_they_do() -> None:
    counts = Counts()
    with ingest_of(MemoryLog(), counts) as ingest:
        assert ingest.submit([], [rejection()]).stored == 0
    assert [len(rejections) for _, rejections in counts.outcomes] == [1]


def test_a_full_queue_refuses_at_once_and_takes_the_next_when_there_is_room() -> None:
    log = Gate()
    counts = Counts()
    with ingest_of(log, counts, capacity=10) as ingest:
        first = ingest.enqueue(events(0, 8))
        assert log.entered.wait(PATIENCE_S)
        with pytest.raises(QueueFull) as caught:
            ingest.enqueue(events(8, 3))
        assert caught.value.retry_after > 0
        assert (ingest.waiting, ingest.capacity) == (8, 10)
        log.opened.set()
        first.result(PATIENCE_S)
        assert ingest.submit(events(8, 3)).stored == 3
    assert counts.failures == {"queue_full": 1}


def test_rejections_alone_take_places_too() -> None:
    log = Gate()
    with ingest_of(log, capacity=3) as ingest:
        for _ in range(3):
            ingest.enqueue([], [rejection()])
        with pytest.raises(QueueFull):
            ingest.enqueue([], [rejection()])


def test_a_batch_larger_than_the_queue_is_taken_when_nothing_waits() -> None:
    with ingest_of(MemoryLog(), capacity=10) as ingest:
        assert ingest.submit(events(0, 50)).stored == 50


def full(_: Sequence[PredictionEvent]) -> None:
    raise LogFull("the disk is full")


def test_a_full_disk_fails_every_request_of_the_commit() -> None:
    counts = Counts()
    log = Gate(full)
    with ingest_of(log, counts) as ingest:
        log.opened.set()
        with pytest.raises(LogFull):
            ingest.submit(events(0))
    assert counts.failures == {"disk_full": 1}


def test_after_a_failure_the_writer_goes_on() -> None:
    trouble = [True]

    def once(found: Sequence[PredictionEvent]) -> None:
        if trouble.pop() if trouble else False:
            full(found)

    log = Gate(once)
    with ingest_of(log) as ingest:
        log.opened.set()
        with pytest.raises(LogFull):
            ingest.submit(events(0))
        assert ingest.submit(events(0)).stored == 1
        assert ingest.waiting == 0


def test_a_request_that_spoils_a_shared_commit_fails_alone() -> None:
    def poisoned(found: Sequence[PredictionEvent]) -> None:
        if any(event.id == "event-3" for event in found):
            raise ZeroDivisionError("no such event")

    counts = Counts()
    log = Gate(poisoned)
    with ingest_of(log, counts) as ingest:
        first = ingest.enqueue(events(0))
        assert log.entered.wait(PATIENCE_S)
        later = [ingest.enqueue(events(number)) for number in range(1, 6)]
        log.opened.set()
        outcomes = [answer.exception(PATIENCE_S) for answer in (first, *later)]
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [LogError] + [type(None)] * 2
    assert counts.failures == {"log_error": 1}
    assert log.census().events == 5


def test_a_log_that_is_down_is_not_asked_once_for_every_request() -> None:
    def down(found: Sequence[PredictionEvent]) -> None:
        if found[0].id != "event-0":
            raise LogError("the log is down")

    counts = Counts()
    log = Gate(down)
    with ingest_of(log, counts) as ingest:
        first = ingest.enqueue(events(0))
        assert log.entered.wait(PATIENCE_S)
        later = [ingest.enqueue(events(number)) for number in range(1, 41)]
        log.opened.set()
        assert first.exception(PATIENCE_S) is None
        assert all(isinstance(answer.exception(PATIENCE_S), LogError) for answer in later)
    assert len(log.commits) == 4  # the first, all together, and two of them singly
    assert counts.failures == {"log_error": 40}


def test_counters_that_fail_do_not_end_the_writer() -> None:
    class Broken(Counts):
        def stored(self, *_: object) -> None:
            raise RuntimeError("no counter")

    with ingest_of(MemoryLog(), Broken()) as ingest:
        for number in range(3):
            with pytest.raises(LogError):
                ingest.submit(events(number))


def enqueue_for_ever(ingest: Ingest, answers: list[Future[Appended]]) -> None:
    while True:
        answers.append(ingest.enqueue(events(100 + len(answers))))
        time.sleep(0.001)


def test_closing_writes_what_is_queued_and_refuses_what_comes_after() -> None:
    log = Gate()
    with ingest_of(log, capacity=1_000_000) as ingest:
        answers = [ingest.enqueue(events(number)) for number in range(20)]
        closing = threading.Thread(target=ingest.close)
        closing.start()
        with pytest.raises(LogError, match="stopping"):
            enqueue_for_ever(ingest, answers)
        log.opened.set()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert all(answer.result(PATIENCE_S).stored == 1 for answer in answers)
    assert log.census().events == len(answers)


def test_closing_under_load_leaves_every_request_with_an_answer(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    stored: list[int] = []

    def client(number: int) -> None:
        for turn in range(1000):
            try:
                stored.append(ingest.submit(events(number * 1000 + turn)).stored)
            except LogError:
                return

    with ingest_of(log) as ingest:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(stored) > 100, what="a busy ingest")
        ingest.close()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)
    assert sum(stored) == log.census().events > 0
    log.close()
