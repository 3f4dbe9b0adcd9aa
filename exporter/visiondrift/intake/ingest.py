"""Decides when events become durable: requests queue, one writer thread commits whatever has gathered, all at once.

While one commit is on its way to the disk, the next requests gather; so many small requests cost few commits, and a
single one waits for nothing but its own.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from visiondrift.errors import LogError, LogFull, QueueFull
from visiondrift.log import Appended, PredictionLog
from visiondrift.prediction import IngestFailure, Kept, PredictionEvent, Rejection

_LARGEST_COMMIT = 5000  # events: bounds a transaction's memory and how long its first request waits
_RETRY_AFTER = 1.0
_HOPELESS = 2  # single retries that fail, and none that succeeds: it is the log, not one request
_log = logging.getLogger(__name__)


class IngestCounters(Protocol):
    """Where intake counts what it does. Called from several threads."""

    def received(self, model: str, events: int) -> None:
        """Events of ``model`` that came in, valid or not; ``unknown`` for models that are not configured."""
        ...

    def stored(self, appended: Appended, rejections: Sequence[Rejection]) -> None:
        """What one request came to, once it is durable: stored and duplicates by model, rejections by reason."""
        ...

    def sampled_out(self, model: str, events: int) -> None:
        """Valid events of ``model`` that its sampling does not keep."""
        ...

    def kept(self, model: str, why: Kept, events: int) -> None:
        """Valid events of ``model`` that its sampling, or their client, kept for a reason."""
        ...

    def committed(self, seconds: float) -> None:
        """One commit, however many requests it carried, and however it ended."""
        ...

    def embedded(self, seconds: float, *, images: int, failed: bool) -> None:
        """One request's images were decoded and embedded; ``failed`` where the embedder was at fault."""
        ...

    def failed(self, reason: IngestFailure) -> None:
        """A request that could not be stored."""
        ...


@dataclass(frozen=True, eq=False)
class _Request:
    events: Sequence[PredictionEvent]
    rejections: Sequence[Rejection]
    answer: Future[Appended] = field(default_factory=Future)

    @property
    def size(self) -> int:
        """Places in the queue: a request of rejections alone takes one, so that it is bounded too."""
        return max(1, len(self.events))


class Ingest:
    """The queue before the log, and its writer. ``capacity`` is in events; ``clock`` gives seconds since the epoch."""

    def __init__(
        self, log: PredictionLog, *, counters: IngestCounters, clock: Callable[[], float], capacity: int
    ) -> None:
        self.capacity = capacity
        self._log = log
        self._counters = counters
        self._clock = clock
        self._queue: deque[_Request] = deque()
        self._waiting = 0
        self._closing = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._writer.start()

    @property
    def waiting(self) -> int:
        """Events that wait for the log, those of the commit under way included."""
        return self._waiting

    def enqueue(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection] = ()) -> "Future[Appended]":
        """Queue one request; its future ends when the events are durable, or with LogFull or LogError.

        Raises QueueFull where there is no place, LogError where the service is stopping.
        """
        request = _Request(events, rejections)
        # Running from the start: a client that hangs up cannot cancel what the writer is about to store.
        request.answer.set_running_or_notify_cancel()
        with self._changed:
            if self._closing:
                raise LogError("the service is stopping and takes no more events; send them again in a moment")
            if self._waiting and self._waiting + request.size > self.capacity:
                self._counters.failed("queue_full")
                message = f"{self._waiting} events wait for the log; accepted are {self.capacity} (intake.queue_events)"
                raise QueueFull(message, retry_after=_RETRY_AFTER)
            self._queue.append(request)
            self._waiting += request.size
            self._changed.notify()
        return request.answer

    def submit(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection] = ()) -> Appended:
        """``enqueue``, and wait until it is durable. Raises LogFull, LogError, QueueFull."""
        return self.enqueue(events, rejections).result()

    def close(self) -> None:
        """Take no more, write what is queued, and stop the writer. Calling it twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._writer.join()

    def _write(self) -> None:
        while batch := self._next():
            try:
                self._commit(batch)
            except Exception as error:  # noqa: BLE001
                # Nothing may end this thread: without it every request would wait for ever.
                _log.exception("the log's writer failed")
                _fail(batch, LogError(f"the log's writer failed: {error!r}"))
            with self._changed:
                self._waiting -= sum(request.size for request in batch)

    def _next(self) -> list[_Request]:
        """What has gathered, up to the largest commit; empty when closing and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            batch: list[_Request] = []
            events = 0
            while self._queue and (not batch or events + self._queue[0].size <= _LARGEST_COMMIT):
                batch.append(self._queue.popleft())
                events += batch[-1].size
            return batch

    def _commit(self, batch: list[_Request]) -> None:
        try:
            appended = self._append(batch)
        except LogFull as error:
            self._refuse(batch, error)
        except LogError as error:
            if len(batch) == 1:
                self._refuse(batch, error)
            else:
                self._commit_singly(batch)
        else:
            for request, answer in zip(batch, _shares(batch, appended), strict=True):
                self._counters.stored(answer, request.rejections)
                request.answer.set_result(answer)

    def _commit_singly(self, batch: list[_Request]) -> None:
        """One request may have spoilt the commit of all; but a log that is down is not asked a hundred times."""
        failures = 0
        for position, request in enumerate(batch):
            try:
                answer = self._append([request])
            except LogError as error:
                failures += 1
                hopeless = failures == position + 1 == _HOPELESS or isinstance(error, LogFull)
                self._refuse(batch[position:] if hopeless else [request], error)
                if hopeless:
                    return
            else:
                self._counters.stored(answer, request.rejections)
                request.answer.set_result(answer)

    def _append(self, batch: list[_Request]) -> Appended:
        """One call of the log. Raises LogError, whatever the log raised."""
        events = [event for request in batch for event in request.events]
        rejections = [rejection for request in batch for rejection in request.rejections if rejection.in_sample]
        started = time.perf_counter()
        try:
            return self._log.append(events, rejections, now=self._clock())
        except LogError:
            raise
        except Exception as error:
            _log.exception("the log failed on %d events", len(events))
            raise LogError(f"the log failed: {error!r}") from error
        finally:
            self._counters.committed(time.perf_counter() - started)

    def _refuse(self, batch: list[_Request], error: LogError) -> None:
        for _ in batch:
            self._counters.failed("disk_full" if isinstance(error, LogFull) else "log_error")
        _fail(batch, error)


def _fail(batch: list[_Request], error: LogError) -> None:
    for request in batch:
        if not request.answer.done():
            request.answer.set_exception(error)


def _shares(batch: list[_Request], appended: Appended) -> list[Appended]:
    """Each request's part of a shared commit, by the positions of the duplicates."""
    if len(batch) == 1:
        return [appended]
    duplicate = set(appended.duplicate_rows)
    shares: list[Appended] = []
    start = 0
    for request in batch:
        rows = [row for row in range(len(request.events)) if start + row in duplicate]
        shares.append(_share(request.events, frozenset(rows)))
        start += len(request.events)
    return shares


def _share(events: Sequence[PredictionEvent], duplicates: frozenset[int]) -> Appended:
    stored: dict[str, int] = {}
    again: dict[str, int] = {}
    for row, event in enumerate(events):
        counts = again if row in duplicates else stored
        counts[event.model] = counts.get(event.model, 0) + 1
    return Appended(
        stored=len(events) - len(duplicates),
        duplicates=len(duplicates),
        stored_by_model=stored,
        duplicates_by_model=again,
        duplicate_rows=tuple(sorted(duplicates)),
    )
