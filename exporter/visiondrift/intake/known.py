"""Decides how many slice values and versions a model may have at a time: each becomes label values in Prometheus.

A value counts as long as it was seen within the model's longest window; after that its place is free, so a camera
that was replaced, or last month's version, is not in the way.
"""

import threading
from collections.abc import Iterable

from visiondrift.intake.refusal import Refused, shown
from visiondrift.log import Stream
from visiondrift.prediction import Slices, slice_name


class KnownSeries:
    """Which slices and versions of each model are in use, and when each was last seen. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, dict[str, float]] = {}
        self._slices: dict[str, dict[str, float]] = {}

    def learn(self, streams: Iterable[Stream]) -> None:
        """Take up what the log holds (its census): at start, so that a restart does not open the door anew."""
        with self._lock:
            for stream in streams:
                _seen(self._versions.setdefault(stream.model, {}), stream.version, stream.newest)
                for label, value in stream.slices:
                    _seen(self._slices.setdefault(stream.model, {}), slice_name(label, value), stream.newest)

    def admit(
        self,
        model: str,
        version: str,
        slices: Slices,
        *,
        now: float,
        active_for: float,
        max_versions: int,
        max_slices: int,
    ) -> None:
        """Note an event's version and slices as seen at ``now``; raise Refused where that would be one too many."""
        names = [slice_name(label, value) for label, value in slices]
        with self._lock:
            versions = self._versions.setdefault(model, {})
            known = self._slices.setdefault(model, {})
            if version not in versions or any(name not in known for name in names):
                # Rare: only what is new may be too much, and only then is it worth looking for what has gone.
                _forget(versions, now - active_for)
                _forget(known, now - active_for)
                _check("version", [version], versions, max_versions, "max_versions")
                _check("slices", names, known, max_slices, "max_slices")
            _seen(versions, version, now)
            for name in names:
                _seen(known, name, now)


def _seen(values: dict[str, float], value: str, at: float) -> None:
    values[value] = max(at, values.get(value, at))


def _forget(values: dict[str, float], before: float) -> None:
    for value in [value for value, at in values.items() if at < before]:
        del values[value]


def _check(field: str, wanted: list[str], known: dict[str, float], limit: int, setting: str) -> None:
    new = [value for value in wanted if value not in known]
    if len(known) + len(new) > limit:
        raise Refused(
            field,
            "too_many_slices",
            f"{shown(new[0])} would be one more than the {limit} in use; accepted are those sent lately "
            f"({shown(', '.join(sorted(known)), 200)}), or raise {setting} in monitoring.yml",
        )
