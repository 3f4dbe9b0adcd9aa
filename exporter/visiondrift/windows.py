"""Which rows an evaluation reads from the log: every slice and window of a version, each row once where it can be.

A window that was read whole holds all its slices, and every shorter window of its slice; those are cut out of it. Only
where a window has more events than are compared at most, so that the log gave a subset, is the log asked again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.log import Census, Events, Stream, Window, WindowQuery, microseconds
from visiondrift.prediction import Sample, slice_name
from visiondrift.signals import ALL_SLICES

Pair = tuple[str, str] | None
"""A slice as (label, value); None for all events together."""


def pair_name(pair: Pair) -> str:
    """What a pair is called in metrics, thresholds and tables."""
    return ALL_SLICES if pair is None else slice_name(*pair)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What the windows of one model and version have in common: ``now`` is where they all end."""

    model: WatchedModel
    version: str
    embedder: str
    dimension: int
    now: float

    def query(self, name: str, pair: Pair) -> WindowQuery:
        """What to ask the log for one window of one slice."""
        return WindowQuery(
            model=self.model.name,
            version=self.version,
            embedder=self.embedder,
            since=self.now - parse_duration(name),
            until=self.now,
            classes=self.model.classes,
            dimension=self.dimension,
            limit=self.model.windows[name].max_samples,
            slice=pair,
        )


def read_windows(log: Events, moment: Moment, pairs: Sequence[Pair]) -> Iterator[tuple[str, Pair, Window]]:
    """Every window of every slice: all events together first, of each slice the longest window first.

    ``rejected`` is of the whole model, and only there where the slice is None. Raises LogError.
    """
    longest_first = sorted(moment.model.windows, key=parse_duration, reverse=True)
    together: dict[str, Sample] = {}
    for pair in sorted(pairs, key=lambda pair: pair is not None):
        longer: Sample | None = None
        for name in longest_first:
            query = moment.query(name, pair)
            sample = None if pair is None else _cut(query, together.get(name), longer)
            window = log.window(query) if sample is None else Window(sample, total=len(sample), rejected=0)
            if window.total == len(window.sample):
                longer = window.sample
                if pair is None:
                    together[name] = longer
            yield name, pair, window


def _cut(query: WindowQuery, together: Sample | None, longer: Sample | None) -> Sample | None:
    """The window from what was read whole: the same window of all slices, or a longer one of this slice.

    None where neither is there, or where it has more events than may be compared.
    """
    if together is not None and query.slice is not None:
        return together.of_slice(slice_name(*query.slice))
    if longer is None:
        return None
    # Compared as the log compares: by whole microseconds, to which its times are kept.
    cut = longer.take(longer.times >= microseconds(query.since) / 1e6)
    return cut if len(cut) <= query.limit else None


def streams_of(census: Census, model: WatchedModel) -> list[Stream]:
    """The streams of one model."""
    return [stream for stream in census.streams if stream.model == model.name]


def versions_of(streams: Sequence[Stream], model: WatchedModel, *, now: float) -> tuple[str, ...]:
    """The versions to evaluate, newest event first, at most ``max_versions``.

    A version without an event in the longest window has nothing left to say, unless it is the newest there is.
    """
    newest: dict[str, float] = {}
    for stream in streams:
        newest[stream.version] = max(newest.get(stream.version, stream.newest), stream.newest)
    since = now - _longest(model)
    ordered = sorted(newest, key=lambda version: -newest[version])
    return tuple(v for place, v in enumerate(ordered) if place == 0 or newest[v] >= since)[: model.max_versions]


def slices_of(streams: Sequence[Stream], version: str, model: WatchedModel, *, now: float) -> tuple[Pair, ...]:
    """All events together (None), then the values of the configured labels, by name.

    Of more than ``max_slices``, the silent ones give way: a camera that went must not hide one that came.
    """
    newest: dict[tuple[str, str], float] = {}
    for stream in streams:
        for pair in stream.slices:
            if stream.version == version and pair[0] in model.slices:
                newest[pair] = max(newest.get(pair, stream.newest), stream.newest)
    since = now - _longest(model)
    silence = {pair: -at if at < since else float("-inf") for pair, at in newest.items()}
    return (None, *sorted(sorted(newest, key=lambda pair: (silence[pair], pair))[: model.max_slices]))


def newest_events(streams: Sequence[Stream], model: WatchedModel) -> Mapping[tuple[str, str], float]:
    """(version, slice) -> time of its newest event; what has been silent for long is there as well.

    Newest first, at most as many as may be in use at a time: where names come and go by the minute, each would be a
    series and an alert of its own for as long as the log remembers it.
    """
    newest: dict[tuple[str, str], float] = {}
    for stream in streams:
        names = (slice_name(*pair) for pair in stream.slices if pair[0] in model.slices)
        for name in (ALL_SLICES, *names):
            key = (stream.version, name)
            newest[key] = max(newest.get(key, stream.newest), stream.newest)
    most = model.max_versions * (model.max_slices + 1)
    return dict(sorted(newest.items(), key=lambda found: -found[1])[:most])


def _longest(model: WatchedModel) -> float:
    return max(map(parse_duration, model.windows))
