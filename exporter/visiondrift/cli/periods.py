"""What ``similarity`` prints: production's images, read from the log by period and held against the reference."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from visiondrift.calibrator import kept_calibration
from visiondrift.config import Config, SliceThresholds
from visiondrift.config.monitoring import WatchedModel
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.calibration.blocks import timed_blocks
from visiondrift.drift.calibration.budget import Terms
from visiondrift.drift.levels import standard_of, terms_for
from visiondrift.drift.prospect import slices_of
from visiondrift.drift.similarity import CONFIDENCE, similarity_to
from visiondrift.errors import BadInput
from visiondrift.intake.embedder import embedder_of
from visiondrift.log import Holding, WindowQuery
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import Sample, Slices, slice_name, slice_values
from visiondrift.reference import load_direction
from visiondrift.shelf import request_of
from visiondrift.signals import ALL_SLICES

_HOUR = 3600.0
_MOST_ROWS = 20_000
"""Images of one row that are read; of more, an evenly spread subset."""

_SIGNAL = "clip_similarity"

Row = dict[str, object]

COLUMNS = (
    "period", "version", "slice", "images", "blocks", "similarity", "similarity_low", "similarity_high", "of_means",
    "of_means_low", "of_means_high", "of_means_warning", "of_means_critical", "chosen", "partial", "other_embedder",
)  # fmt: skip
"""What every row says; None where it cannot be said. The name of an interval and of a threshold begins with that of
the number it belongs to: the thresholds are those of ``of_means``, and ``similarity`` has none.

images: chosen by chance or the clock, or all that was sent; chosen: those kept for what they show, which do not count.
partial: begin, end or both, where the time asked for, the log or the present does not cover the period there.
other_embedder: what embedded the images, where that is not what embeds them now.
"""

_NOTHING: Row = dict.fromkeys(COLUMNS)


@dataclass(frozen=True)
class Asked:
    """Which rows: by "day", "week" or "month" of ``first <= time < last``, as of ``now``: seconds since the epoch."""

    by: str
    first: float
    last: float
    now: float


def rows_by_period(config: Config, model: WatchedModel, asked: Asked) -> tuple[list[Row], str]:
    """A row for each period, version, slice and embedder that has images, and what the rows rest on.

    Only of images of the present embedder, chosen by chance or the clock, a row says how alike they are.
    """
    path = config.path(config.monitoring.log.path)
    if not path.is_file():
        raise BadInput(f"{path}: there is no prediction log yet; `visiondrift serve` makes it, --state says where")
    identity, dimension = _embeddings_of(config, model)
    measure = _Measure.of(config, model, identity, dimension)
    log = SqliteLog(path)
    try:
        return list(_rows(log, model, measure, asked)), measure.blocks
    finally:
        log.close()


def _rows(log: SqliteLog, model: WatchedModel, measure: "_Measure", asked: Asked) -> Iterator[Row]:
    oldest = log.oldest()
    covered = (asked.first if oldest is None else max(asked.first, oldest)), min(asked.last, asked.now)
    for begin, end, name in _periods(asked.by, asked.first, asked.last):
        since, until = max(begin, asked.first), min(end, asked.last)
        partial = _cut_at(begin < covered[0], end > covered[1])
        held = log.holdings(model.name, since=since, until=until)
        for version, slice_ in _series(held):
            query = WindowQuery(
                model=model.name,
                version=version,
                embedder=measure.embedder,
                since=since,
                until=until,
                classes=(),
                dimension=len(measure.direction),
                limit=_MOST_ROWS,
                slice=_pair(slice_),
            )
            of_series = [one for one in held if one.version == version and _is_in(one.slices, slice_)]
            for found in _rows_of_series(log, query, slice_, measure, of_series):
                yield _NOTHING | {"period": name, "version": version, "slice": slice_, "partial": partial} | found


def _rows_of_series(
    log: SqliteLog, query: WindowQuery, slice_: str, measure: "_Measure", held: Sequence[Holding]
) -> Iterator[Row]:
    """One row for each embedder of what is ``held`` of one slice of one period, that of the query first."""
    for embedder in sorted({one.embedder for one in held}, key=lambda name: (name != query.embedder, name)):
        fair, chosen = (
            sum(one.rows for one in held if one.embedder == embedder and one.biased == biased)
            for biased in (False, True)
        )
        row: Row = {"images": fair, "chosen": chosen}
        if embedder != query.embedder:
            row["other_embedder"] = embedder
        elif fair:
            window = log.window(query)
            sample = window.sample.take(window.sample.has_embedding)
            if len(sample):
                images = round(window.total * len(sample) / len(window.sample))
                row |= measure.row(slice_, sample, images)
            else:  # the same name stood for another embedder once
                row["other_embedder"] = f"{embedder}, of another length"
        yield row


def _cut_at(begin: bool, end: bool) -> str | None:
    """Where a period is not covered, in a word; None where all of it is."""
    return "both" if begin and end else "begin" if begin else "end" if end else None


def _embeddings_of(config: Config, model: WatchedModel) -> tuple[str, int]:
    """What makes a model's embeddings, and how many numbers one has."""
    if model.embedding:
        return model.embedding.name, model.embedding.dimension
    embedder = embedder_of(config)
    try:
        return embedder.identity, embedder.dimension
    finally:
        embedder.close()


@dataclass(frozen=True, eq=False)
class _Measure:
    """What every row is measured by: the reference's direction, its calibration if it has one, and the thresholds.

    ``embedder`` is what embeds the model's images now.
    """

    embedder: str
    direction: NDArray[np.float32]
    calibrated: CalibratedReference | None
    thresholds: Callable[[str], SliceThresholds]
    terms: Terms

    @classmethod
    def of(cls, config: Config, model: WatchedModel, embedder: str, dimension: int) -> "_Measure":
        """Of a model's reference. Raises ReferenceUnusable, and BadInput where it has no embeddings."""
        directory = config.path(config.monitoring.reference_data) / model.reference
        classes = model.classes or None
        direction = load_direction(directory, embedder=embedder, dimension=dimension, classes=classes)
        request = request_of(directory, model, embedder=embedder)
        calibrated = kept_calibration(request, config.path(config.monitoring.calibration.path))
        names = slices_of(calibrated) if calibrated else (ALL_SLICES,)
        terms = terms_for(
            config.thresholds.budget(model.name).rates,
            [(name, config.thresholds.resolve(model.name, name)) for name in names],
            calibrated,
            windows=model.window_lengths,
            every=model.evaluate_every,
        )
        return cls(embedder, direction, calibrated, lambda name: config.thresholds.resolve(model.name, name), terms)

    @property
    def blocks(self) -> str:
        """What counts as one look, in words."""
        if self.calibrated:
            return "blocks are those of the reference's calibration"
        return "blocks are hours of a camera, as the reference is not calibrated; levels by budget need that"

    def row(self, slice_: str, sample: Sample, images: int) -> Row:
        """The numbers of one slice of one period; ``sample`` holds its images, or an evenly spread part of them."""
        calibration = self.calibrated.of_slice(slice_) if self.calibrated else None
        tail = None
        if calibration is None:
            label = next(iter(sample.slices), None)
            of_row = timed_blocks(sample.times, _HOUR, slice_values(sample, label)).of_row
        else:
            target, blocks = calibration.target(slice_), calibration.blocks_of(sample)
            of_row = blocks.of_row
            tail = calibration.tail(target, _SIGNAL, calibration.worth(target, blocks))
        found = similarity_to(self.direction, sample.embeddings, of_row)
        levels = standard_of(_SIGNAL, self.thresholds(slice_), tail, "").levels(self.terms, harmful=False)
        low, high = _interval_of_means(self.direction, sample.embeddings, of_row, found.of_means)
        return {
            "images": images,
            "blocks": found.blocks,
            "similarity": found.mean,
            "similarity_low": None if math.isnan(found.low) else found.low,
            "similarity_high": None if math.isnan(found.high) else found.high,
            "of_means": found.of_means,
            "of_means_low": low,
            "of_means_high": high,
            "of_means_warning": levels.warning,
            "of_means_critical": levels.critical,
        }


def _interval_of_means(
    direction: NDArray[np.float32], embeddings: NDArray[np.float32], blocks: NDArray[np.intp], of_means: float
) -> tuple[float | None, float | None]:
    """Low and high around ``of_means``, the cosine to ``direction`` (d,) of the mean of ``embeddings`` (n, d); None
    with fewer than two ``blocks`` (n,).

    The jackknife over blocks with Student's t: how far that cosine moves when each block in turn is left out.
    """
    _, of_row = np.unique(blocks, return_inverse=True)
    of_row = of_row.reshape(-1)
    sizes = np.bincount(of_row)
    count = len(sizes)
    if count < 2:  # noqa: PLR2004 - one block has no spread
        return None, None
    sums = np.zeros((count, embeddings.shape[1]))
    np.add.at(sums, of_row, embeddings)
    # Sums do as well as means: a cosine knows no length.
    without = sums.sum(axis=0) - sums
    cosines = without @ direction.astype(np.float64) / np.linalg.norm(without, axis=1)
    error = np.sqrt((count - 1) * cosines.var())
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    return max(-1.0, of_means - reach), min(1.0, of_means + reach)


def _series(held: Iterable[Holding]) -> list[tuple[str, str]]:
    """Version and slice of everything that is held: all events of a version, then each of its slices."""
    found = set()
    for one in held:
        names = (ALL_SLICES, *(slice_name(label, value) for label, value in one.slices))
        found |= {(one.version, name) for name in names}
    return sorted(found, key=lambda series: (series[0], series[1] != ALL_SLICES, series[1]))


def _is_in(slices: Slices, slice_: str) -> bool:
    return slice_ == ALL_SLICES or slice_ in {slice_name(label, value) for label, value in slices}


def _pair(slice_: str) -> tuple[str, str] | None:
    label, equals, value = slice_.partition("=")
    return (label, value) if equals else None


def _periods(by: str, first: float, last: float) -> Iterator[tuple[float, float, str]]:
    """Begin, end and name of every period that has a part in ``first`` to ``last``."""
    day = datetime.fromtimestamp(first, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = day - timedelta(days=day.weekday()) if by == "week" else day.replace(day=1) if by == "month" else day
    while begin.timestamp() < last:
        if by == "month":
            end = (begin + timedelta(days=32)).replace(day=1)
        else:
            end = begin + timedelta(days=7 if by == "week" else 1)
        name = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}[by]
        yield begin.timestamp(), end.timestamp(), begin.strftime(name)
        begin = end
