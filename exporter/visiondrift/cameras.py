"""Looks after the cameras: which frames each look at one reads, and what is remembered of the looks before.

A camera is a value of a model's first slice label; a model without labels counts as one camera.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.drift.health.arrival import Company, Look, longest_usual
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.health.judge import Arrival, judge_camera
from visiondrift.drift.health.normal import HOLDS, CameraNormal, normal_of
from visiondrift.drift.thinning import evenly
from visiondrift.log import Events, Stream, Window, WindowQuery
from visiondrift.prediction import Sample
from visiondrift.windows import Moment, Pair, pair_name

MOST_FRAMES = 1000
"""Events read of a camera at a look, at most; evenly spread."""

_AFTER = 1e-6


@dataclass(frozen=True, eq=False)
class CameraReference:
    """The rows of a model's reference; ``timed``: their times are those of the frames."""

    sample: Sample
    timed: bool


@dataclass
class _Memory:
    """What is remembered of one camera of one version. Looks are in order of time."""

    looks: list[Look] = field(default_factory=list)
    health: CameraHealth | None = None


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one look read of a camera."""

    sample: Sample
    usual: float | None
    now: Look


@dataclass
class Cameras:
    """The health of the cameras of all models, look by look. For one thread."""

    log: Events
    _memories: dict[tuple[str, str, str], _Memory] = field(default_factory=dict)
    _normals: dict[str, "Normals"] = field(default_factory=dict)
    _at_hand: dict[tuple[str, str, Pair], Sample] = field(default_factory=dict)

    def offer(self, moment: Moment, pair: Pair, window: str, read: Window) -> None:
        """A window that was read anyhow: what the next look needs of it is not read again."""
        sample, within = read.sample, moment.model.health.within
        if pair not in cameras_of(moment.model, (pair,)) or not len(sample) or read.total > len(sample):
            return
        newest = float(sample.times[-1])
        if moment.now - parse_duration(window) <= newest - within:
            rows = np.flatnonzero(sample.times >= newest - within)
            kept = rows[evenly(len(rows), MOST_FRAMES)]
            # A look needs no embeddings, and there may be hundreds of cameras.
            without = replace(sample, embeddings=np.empty((len(sample), 0), dtype=np.float32))
            self._at_hand[moment.model.name, moment.version, pair] = without.take(kept)

    def look(
        self, moment: Moment, pairs: Iterable[Pair], streams: Sequence[Stream], reference: CameraReference
    ) -> tuple[CameraHealth, ...]:
        """The health of each camera among ``pairs``, by the ``streams`` that the log holds of the model.

        Raises LogError.
        """
        model, version = moment.model, moment.version
        normals = self._normals_of(model, reference)
        found = {pair: self._see(moment, pair, streams, normals) for pair in cameras_of(model, pairs)}
        seen = {pair: one for pair, one in found.items() if one is not None}
        self._at_hand = {}
        self._forget(model.name, version, {pair_name(pair) for pair in seen})
        return tuple(self._judge(moment, pair, seen, streams, normals) for pair in seen)

    def keep_only(self, models: Iterable[str]) -> None:
        """Forget every other model."""
        wanted = set(models)
        self._memories = {key: kept for key, kept in self._memories.items() if key[0] in wanted}
        self._normals = {name: kept for name, kept in self._normals.items() if name in wanted}

    def _judge(
        self, moment: Moment, pair: Pair, seen: Mapping[Pair, _Seen], streams: Sequence[Stream], normals: "Normals"
    ) -> CameraHealth:
        model, name, own = moment.model, pair_name(pair), seen[pair]
        memory = self._memories.setdefault((model.name, moment.version, name), _Memory())
        oldest = moment.now - max(2 * model.health.within, 3 * model.evaluate_every)
        memory.looks = [*(look for look in memory.looks if oldest <= look.at < moment.now), own.now]
        company = self._company(moment, {key: other for key, other in seen.items() if key != pair})
        elsewhere = _newest(streams, pair, but=moment.version) > own.now.newest
        memory.health = judge_camera(
            normals.of_camera(name),
            own.sample,
            slice_=name,
            at=moment.now,
            within=model.health.within,
            arrival=Arrival(memory.looks, own.usual, replace(company, elsewhere=elsewhere)),
            earlier=memory.health,
        )
        return memory.health

    def _company(self, moment: Moment, others: Mapping[Pair, _Seen]) -> Company:
        """What the ``others`` do. One that is far behind sends as well where its frames arrive."""
        lags = []
        for pair, other in others.items():
            memory = self._memories.get((moment.model.name, moment.version, pair_name(pair)), _Memory())
            before = next((look for look in reversed(memory.looks) if look.at < moment.now), None)
            arrives = before is not None and other.now.events > before.events
            # A camera whose clock is ahead must not make the others look behind.
            if arrives or other.now.lag < (other.usual or moment.model.health.within):
                lags.append(max(0.0, other.now.lag))
        return Company(len(others), len(lags), statistics.median(lags) if lags else 0.0)

    def _normals_of(self, model: WatchedModel, reference: CameraReference) -> "Normals":
        known = self._normals.get(model.name)
        if known is None or known.reference.sample is not reference.sample or known.within != model.health.within:
            known = self._normals[model.name] = Normals(reference, model.health.within)
        return known

    def _see(self, moment: Moment, pair: Pair, streams: Sequence[Stream], normals: "Normals") -> _Seen | None:
        """The frames of the time before the newest one, which need not be now; None where the log holds none."""
        own = [stream for stream in _of_pair(streams, pair) if stream.version == moment.version]
        if not own:
            return None
        within = moment.model.health.within
        newest = max(stream.newest for stream in own)
        at_hand = self._at_hand.get((moment.model.name, moment.version, pair))
        if at_hand is not None and abs(at_hand.times[-1] - newest) <= _AFTER:
            sample = at_hand
        else:
            sample = self._read(moment, pair, newest)
        usual = longest_usual(sample.times, normals.times(pair_name(pair)), hold=within / HOLDS)
        return _Seen(sample, usual, Look(moment.now, sum(stream.rows for stream in own), newest))

    def _read(self, moment: Moment, pair: Pair, newest: float) -> Sample:
        query = WindowQuery(
            model=moment.model.name,
            version=moment.version,
            embedder=moment.embedder,
            since=newest - moment.model.health.within,
            until=newest + _AFTER,
            classes=(),
            dimension=0,
            limit=MOST_FRAMES,
            slice=pair,
        )
        return self.log.window(query).sample

    def _forget(self, model: str, version: str, cameras: set[str]) -> None:
        gone = [key for key in self._memories if key[:2] == (model, version) and key[2] not in cameras]
        for key in gone:
            del self._memories[key]


class Normals:
    """What is normal for each camera of one reference, found out when it is first asked for."""

    def __init__(self, reference: CameraReference, within: float) -> None:
        self.reference = reference
        self.within = within
        self._kept: dict[str, CameraNormal | str] = {}

    def of_camera(self, name: str) -> CameraNormal | str:
        """What is normal for a camera, or why that cannot be said."""
        if name not in self._kept:
            own = self.reference.sample.of_slice(name)
            self._kept[name] = normal_of(own, within=self.within, timed=self.reference.timed)
        return self._kept[name]

    def times(self, name: str) -> NDArray[np.float64] | None:
        """(n,) when the reference's frames of a camera were taken; None where its times say nothing."""
        return self.reference.sample.of_slice(name).times if self.reference.timed else None


def cameras_of(model: WatchedModel, pairs: Iterable[Pair]) -> list[Pair]:
    """Which of a model's slices are cameras: the values of its first label, or all events where it has no label."""
    if not model.slices:
        return [None]
    return [pair for pair in pairs if pair is not None and pair[0] == model.slices[0]]


def _of_pair(streams: Sequence[Stream], pair: Pair) -> list[Stream]:
    return [stream for stream in streams if pair is None or pair in stream.slices]


def _newest(streams: Sequence[Stream], pair: Pair, *, but: str) -> float:
    """The newest event of a camera in any other version."""
    return max((stream.newest for stream in _of_pair(streams, pair) if stream.version != but), default=-np.inf)
