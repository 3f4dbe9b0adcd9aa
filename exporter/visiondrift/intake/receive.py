"""Decides the order of intake: check every row, embed the images of the valid ones, queue the events for the log.

Nothing is acknowledged here: the receipt's future ends when the log has the events.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiondrift.config import Config
from visiondrift.errors import EmbedderUnavailable
from visiondrift.intake.batch import Row
from visiondrift.intake.decode import decode_image
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.image_stats import measure
from visiondrift.intake.ingest import Ingest, IngestCounters
from visiondrift.intake.known import KnownSeries
from visiondrift.intake.refusal import Refused
from visiondrift.intake.sampling import ReferenceDirections, can_be_told_early, counted, sampled
from visiondrift.intake.thumbnails import Thumbnails
from visiondrift.intake.validate import Candidate, Rules, Validator, rejected, rules_of
from visiondrift.log import Appended
from visiondrift.prediction import ImageStats, PredictionEvent, Rejection, reasons_of


@dataclass(frozen=True, eq=False)
class Receipt:
    """What became of a batch: ``accepted`` events go to the log, whose answer ``appended`` will hold.

    ``sampled_out`` valid events are not kept, as the sampling of their model says.
    """

    accepted: int
    rejections: tuple[Rejection, ...]
    appended: "Future[Appended]"
    sampled_out: int = 0


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of an image beside its embedding: what was measured, and a thumbnail where one is wanted."""

    stats: ImageStats
    picture: bytes | None


class Intake:
    """Takes batches from any source (HTTP, a collector, a file). Safe to call from several threads.

    ``config`` gives the configuration of the moment; a reload needs nothing here but the next call.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        embedder: Embedder,
        thumbnails: Thumbnails,
        ingest: Ingest,
        known: KnownSeries,
        counters: IngestCounters,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._embedder = embedder
        self._thumbnails = thumbnails
        self._ingest = ingest
        self._known = known
        self._counters = counters
        self._clock = clock
        self._direction = ReferenceDirections(config)
        self._compiled: tuple[str, dict[str, Rules]] | None = None
        # A decoded image is up to a hundred times its file; only so many requests may hold one at a time.
        self._decoding = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))

    def receive(self, rows: Sequence[Row]) -> Receipt:
        """Check, embed and queue one batch. ``rows`` are events as sent (see validate.FIELDS).

        Raises EmbedderUnavailable, QueueFull, or LogError while stopping; then nothing of the batch is stored.
        """
        now = self._clock()
        validator = Validator(self._rules(), self._embedder)
        for model, count in Counter(map(validator.model_of, rows)).items():
            self._counters.received(model, count)
        try:
            checked = [validator.check(row, index=index, now=now) for index, row in enumerate(rows)]
            valid = [item for item in checked if isinstance(item, Candidate)]
            candidates = [candidate for candidate in valid if self._may_be_kept(candidate)]
            events, refused = self._finish(candidates, now)
        except EmbedderUnavailable:
            self._counters.failed("embedder_error")
            raise
        rejections = [item for item in checked if isinstance(item, Rejection)] + refused
        rejections.sort(key=lambda rejection: rejection.index)
        counted_out = Counter(candidate.event.model for candidate in valid)
        counted_out.subtract(event.model for event in events)
        counted_out.subtract(rejection.model for rejection in refused)
        appended = self._ingest.enqueue(events, [self._in_its_share(rejection) for rejection in rejections])
        for model, count in (+counted_out).items():
            self._counters.sampled_out(model, count)
        # Each event counts once, under its first reason: that of chance or the clock, where it has one.
        firsts = Counter((event.model, reasons_of(event.kept)[0]) for event in events if event.kept)
        for (model, why), count in firsts.items():
            self._counters.kept(model, why, count)
        return Receipt(len(events), tuple(rejections), appended, sampled_out=(+counted_out).total())

    def _may_be_kept(self, candidate: Candidate) -> bool:
        """Whether it is worth embedding an event's image: it is kept, or its embedding will tell."""
        model = candidate.rules.model
        if not can_be_told_early(candidate.event, model):
            return True
        return sampled(candidate.event, model, self._direction) is not None

    def _in_its_share(self, rejection: Rejection) -> Rejection:
        rules = self._rules().get(rejection.model)
        policy = rules.model.sampling if rules else None
        return rejection if policy is None else counted(rejection, policy.rate)

    def _rules(self) -> dict[str, Rules]:
        config = self._config()
        compiled = self._compiled
        if compiled is None or compiled[0] != config.digest:
            monitoring = config.monitoring
            compiled = (config.digest, rules_of(config.models, monitoring.intake, keep=monitoring.log.keep))
            self._compiled = compiled
        return compiled[1]

    def _finish(self, candidates: Sequence[Candidate], now: float) -> tuple[list[PredictionEvent], list[Rejection]]:
        """Embed the images, then admit slices and versions: an event that fails earlier takes no place of theirs."""
        refused: list[Rejection] = []
        events: list[PredictionEvent] = []
        for candidate, whole, picture in self._embedded(candidates, refused):
            model = candidate.rules.model
            event = sampled(whole, model, self._direction)
            if event is None:
                continue
            try:
                self._known.admit(
                    model.name,
                    event.version,
                    event.slices,
                    now=now,
                    active_for=candidate.rules.active_for,
                    max_versions=model.max_versions,
                    max_slices=model.max_slices,
                )
            except Refused as error:
                refused.append(_rejection(candidate, error))
            else:
                events.append(event)
                if picture is not None:
                    self._thumbnails.keep(event, picture)
        return events, refused

    def _embedded(
        self, candidates: Sequence[Candidate], refused: list[Rejection]
    ) -> Iterator[tuple[Candidate, PredictionEvent, bytes | None]]:
        """The candidates in order with their thumbnails, without those whose image cannot be decoded (these are added
        to ``refused``)."""
        with_image = [candidate for candidate in candidates if candidate.image is not None]
        vectors = self._vectors(with_image, refused) if with_image else {}
        for candidate in candidates:
            if candidate.image is None:
                yield candidate, candidate.event, None
            elif candidate.index in vectors:
                embedding, seen = vectors[candidate.index]
                yield candidate, self._completed(candidate.event, embedding, seen), seen.picture

    def _completed(self, event: PredictionEvent, embedding: NDArray[np.float32], seen: _Seen) -> PredictionEvent:
        return replace(event, embedding=embedding, embedder=self._embedder.identity, image_stats=seen.stats)

    def _vectors(
        self, candidates: Sequence[Candidate], refused: list[Rejection]
    ) -> dict[int, tuple[NDArray[np.float32], _Seen]]:
        """Index in the batch -> (d,) embedding and what else was seen, of the images that can be decoded."""
        decoded: list[int] = []
        seen: list[_Seen] = []

        def images() -> Iterator[Image.Image]:
            for candidate in candidates:
                model = candidate.rules.model.name
                try:
                    image = _decoded(candidate)
                except Refused as error:
                    refused.append(_rejection(candidate, error))
                else:
                    decoded.append(candidate.index)
                    seen.append(_Seen(measure(image), self._thumbnails.shrink(model, image)))
                    yield image

        failed = True
        with self._decoding:
            started = time.perf_counter()
            try:
                matrix = self._embedder.embed(images())
                failed = False
            finally:
                seconds = time.perf_counter() - started
                self._counters.embedded(seconds, images=len(decoded), failed=failed)
        return dict(zip(decoded, zip(matrix, seen, strict=True), strict=True))


def _decoded(candidate: Candidate) -> Image.Image:
    rules = candidate.rules
    return decode_image(candidate.image or b"", max_bytes=rules.max_image_bytes, max_pixels=rules.max_image_pixels)


def _rejection(candidate: Candidate, refused: Refused) -> Rejection:
    row = {"id": candidate.event.id}
    return rejected(row, refused, index=candidate.index, model=candidate.event.model)
