"""Decides when events and moments are old enough to go: by a clock that has not just leapt ahead.

A clock that is set wrongly for a minute, by a year, would otherwise cost everything that the log holds.
"""

import logging
from collections.abc import Callable

from visiondrift.config.monitoring import LogConfig
from visiondrift.log import PredictionLog
from visiondrift.log.moments import MomentLog

logger = logging.getLogger(__name__)

LEAP_SECONDS = 3600.0
"""A clock that gains more than this against the stopwatch has leapt; for as long the leap is not believed."""

MOMENTS_PART = 2
"""Of the log's largest size, moments may take one part in so many: a long memory must not crowd out the events."""


class Retention:
    """How far back a log is kept. ``clock`` gives seconds since the epoch, ``stopwatch`` seconds that only run on."""

    def __init__(self, *, clock: Callable[[], float], stopwatch: Callable[[], float]) -> None:
        self._clock = clock
        self._stopwatch = stopwatch
        self._offset = clock() - stopwatch()
        self._doubted_since: float | None = None

    def oldest_kept(self, keep: float) -> float:
        """The time, in seconds since the epoch, before which all is dropped; ``keep`` is in seconds."""
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

    def prune(self, log: PredictionLog, moments: MomentLog, kept: LogConfig) -> None:
        """Drop what is too old, or more than there is room for, by ``kept``. Raises LogError."""
        # Moments go first, so that events do not make room for moments that are about to go; and never before their
        # events, from which they would only be made again.
        blocks = moments.prune_moments(
            older_than=self.oldest_kept(max(kept.keep, kept.keep_moments)), max_bytes=kept.max_size // MOMENTS_PART
        )
        if blocks:
            logger.info("Dropped the moments of %d blocks that were past log.keep_moments or log.max_size", blocks)
        events = log.prune(older_than=self.oldest_kept(kept.keep), max_bytes=kept.max_size)
        if events:
            logger.info("Dropped %d events from the log that were past log.keep or log.max_size", events)
