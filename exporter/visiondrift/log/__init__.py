"""The prediction log: what was acknowledged, durable, and read back one window at a time.

This module is the contract (a Protocol and its values); ``sqlite`` keeps it in one file, ``memory`` in a list. One
behavioural test suite runs over both.

Times are kept to the microsecond. Streams stay in the order in which they first appeared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from visiondrift.prediction import PredictionEvent, Rejection, Sample, Slices

_FAR = 2**62


def microseconds(seconds: float) -> int:
    """A time as it is kept: whole microseconds since the epoch. Infinity becomes the farthest time that can be kept.

    Raises ValueError on NaN.
    """
    if math.isinf(seconds):
        return _FAR if seconds > 0 else -_FAR
    return max(-_FAR, min(_FAR, round(seconds * 1_000_000)))


@dataclass(frozen=True)
class WindowQuery:
    """Which events are compared: ``since <= time < until`` of one model and version, of one embedder.

    Events whose embedding another embedder made are left out; events without any embedding belong to every embedder.
    ``slice`` is a (label, value) pair, or None for all. ``classes`` and ``dimension`` give the columns of the answer.
    With more than ``limit`` rows, the answer is an evenly spread subset of ``limit`` rows (never the newest ones
    alone: that would be another, shorter window). Events that were kept for what they show are left out unless
    ``biased``: they say nothing of how much there is. Only then does the answer say why each event was kept.
    """

    model: str
    version: str
    embedder: str
    since: float
    until: float
    classes: tuple[str, ...]
    dimension: int
    limit: int
    slice: tuple[str, str] | None = None
    biased: bool = False


@dataclass(frozen=True, eq=False)
class Window:
    """A window read from the log. ``total`` events matched, of which ``sample`` holds at most ``limit``.

    ``rejected`` counts the events of the model (all versions and slices) refused at intake in that time.
    """

    sample: Sample
    total: int
    rejected: int


@dataclass(frozen=True)
class Stream:
    """One series of events: a model, a version, a set of slice labels; its rows and its newest event time, and whether
    any of them has confidences.

    Events that were kept for what they show belong to none.
    """

    model: str
    version: str
    slices: Slices
    rows: int
    newest: float
    answers: bool = False


@dataclass(frozen=True)
class Census:
    """What the log holds now; ``events`` counts all, those of no stream too."""

    streams: tuple[Stream, ...]
    events: int
    size_bytes: int


@dataclass(frozen=True)
class Holding:
    """How many events with an embedding there are of one version, set of slice labels and embedder, in some time.

    ``biased``: they were kept for what they show.
    """

    version: str
    slices: Slices
    embedder: str
    biased: bool
    rows: int


@dataclass(frozen=True)
class Appended:
    """The outcome of an append: events newly stored, and those whose (model, id) was stored before.

    ``duplicate_rows`` are the positions, in the events given, of those stored before: one commit may carry the events
    of several requests, and each is told of its own.
    """

    stored: int
    duplicates: int
    stored_by_model: Mapping[str, int] = field(default_factory=dict)
    duplicates_by_model: Mapping[str, int] = field(default_factory=dict)
    duplicate_rows: tuple[int, ...] = ()


class Events(Protocol):
    """What an evaluation reads of a log."""

    def window(self, query: WindowQuery) -> Window:
        """The events of a window, as columns sorted by time. Raises LogError."""
        ...

    def census(self) -> Census:
        """What the log holds: streams, rows, bytes on disk. Cheap enough to call at each evaluation."""
        ...


class PredictionLog(Events, Protocol):
    """Keeps events. Calls come from several threads; an implementation locks for itself."""

    def append(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection], *, now: float) -> Appended:
        """Store events durably, in one commit; when this returns they survive a power cut.

        An event whose (model, id) is stored already changes nothing, but for one thing: where it is of the same
        version, slices and time, what it is kept for now is added to what it was kept for before, if that was
        anything. So a share drawn by chance holds what a rule had chosen before. Rejections are counted by model at
        ``now``.
        Raises LogFull where there is no room, LogError on any other failure; then nothing of the call is stored.
        """
        ...

    def holdings(self, model: str, *, since: float, until: float) -> tuple[Holding, ...]:
        """What there is of a model at ``since <= time < until``: of every embedder, and of every reason to keep it.

        Cheap beside reading events: no embedding is touched. Raises LogError.
        """
        ...

    def oldest(self) -> float | None:
        """The time of the oldest event of all models, before which the log knows of nothing; None where it is empty.

        Raises LogError.
        """
        ...

    def prune(self, *, older_than: float, max_bytes: int) -> int:
        """Drop events before ``older_than`` (seconds since the epoch), then the oldest until the log fits.

        Returns how many events were dropped.
        """
        ...

    def close(self) -> None:
        """Release files. Calling it twice is harmless."""
        ...
