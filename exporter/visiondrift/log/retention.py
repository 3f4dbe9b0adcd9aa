"""Decides when events are old enough to go: by a clock that has not just leapt ahead.

A clock that is set wrongly for a minute, by a year, would otherwise cost everything that the log holds.
"""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

LEAP_SECONDS = 3600.0
"""A clock that gains more than this against the stopwatch has leapt; for as long the leap is not believed."""


class Retention:
    """How far back events are kept. ``clock`` gives seconds since the epoch, ``stopwatch`` seconds that only run on."""

    def __init__(self, *, clock: Callable[[], float], stopwatch: Callable[[], float]) -> None:
        self._clock = clock
        self._stopwatch = stopwatch
        self._offset = clock() - stopwatch()
        self._doubted_since: float | None = None

    def oldest_kept(self, keep: float) -> float:
        """The time, in seconds since the epoch, before which events are dropped; ``keep`` is in seconds."""
        run = self._stopwatch()
        offset = self._clock() - run
        leap = offset - self._offset
        if leap <= LEAP_SECONDS:
            self._offset, self._doubted_since = offset, None
        elif self._doubted_since is None:
            self._doubted_since = run
            logger.warning(
                "The clock has leapt %.0f s ahead: unless that lasts for %.0f s, no event is dropped for its age by it",
                leap,
                LEAP_SECONDS,
            )
        elif run - self._doubted_since > LEAP_SECONDS:
            self._offset, self._doubted_since = offset, None
        return run + self._offset - keep
