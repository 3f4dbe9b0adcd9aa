"""Which frames are kept as small pictures: none unless asked for, else a few of each camera, for a while.

Of a camera's places half hold its newest frames, for whoever asks what it sees now; the other half are spread over the
time for which pictures are kept, so that a drift of this morning can still be shown. They are for the eyes of a person
beside a verdict, not data: what an earlier run kept is removed at start, and a picture that cannot be written costs a
line in the log and nothing else.
"""

import hashlib
import io
import logging
import threading
from bisect import insort
from collections.abc import Callable, Collection
from pathlib import Path

from PIL import Image

from visiondrift.prediction import PredictionEvent, Slices
from visiondrift.signals import ALL_SLICES

_SUFFIX = ".thumbnail.jpg"
_QUALITY = 80
_log = logging.getLogger(__name__)


class Thumbnails:
    """At most ``keep(model)`` pictures of each set of slice labels of a model, ``side`` pixels wide and high at most,
    for ``max_age`` seconds.

    Safe to call from several threads. ``keep`` is asked each time; where it is 0 nothing is made and nothing written.
    """

    def __init__(
        self, directory: Path, *, keep: Callable[[str], int], side: int, max_age: float = float("inf")
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._side = side
        self._max_age = max_age
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, Slices], list[tuple[float, str]]] = {}
        for old in directory.glob(f"*{_SUFFIX}"):
            old.unlink(missing_ok=True)

    def wanted(self, model: str) -> bool:
        """Whether any picture of a model is kept at all."""
        return self._keep(model) > 0

    def shrink(self, model: str, image: Image.Image) -> bytes | None:
        """The small JPEG of an RGB image of a model; None where none is kept."""
        return small_jpeg(image, self._side) if self.wanted(model) else None

    def keep(self, event: PredictionEvent, picture: bytes) -> None:
        """Keep the picture of ``event``; another of its camera makes room."""
        name = _name(event.model, event.id)
        with self._lock:
            kept = self._kept.setdefault((event.model, event.slices), [])
            if any(name == other for _, other in kept):
                return
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._file(name).write_bytes(picture)
            except OSError as error:
                _log.warning("A thumbnail could not be kept in %s: %s", self._directory, error)
                return
            insort(kept, (event.time, name))
            self._make_room(kept, self._keep(event.model))

    def drop(self, now: float) -> None:
        """Remove the pictures that are older than ``max_age`` at ``now``, seconds since the epoch, and those that are
        more than ``keep`` says since it was changed.
        """
        with self._lock:
            for camera, kept in list(self._kept.items()):
                while kept and now - kept[0][0] > self._max_age:
                    self._file(kept.pop(0)[1]).unlink(missing_ok=True)
                self._make_room(kept, self._keep(camera[0]))
                if not kept:
                    del self._kept[camera]

    def newest(self, model: str, slice_: str, most: int) -> list[bytes]:
        """The newest pictures of a slice ("all" or ``label=value``) as JPEG files, newest first."""
        label, _, value = slice_.partition("=")
        with self._lock:
            found = [
                picture
                for (of_model, slices), kept in self._kept.items()
                if of_model == model and (slice_ == ALL_SLICES or (label, value) in slices)
                for picture in kept
            ]
            files = [self._file(name) for _, name in sorted(found, reverse=True)[:most]]
            return [file.read_bytes() for file in files if file.is_file()]

    def known(self, model: str, ids: Collection[str]) -> frozenset[str]:
        """Those of a model's events ``ids`` of which there is a picture."""
        with self._lock:
            names = {name for (of_model, _), kept in self._kept.items() if of_model == model for _, name in kept}
        return frozenset(id_ for id_ in ids if _name(model, id_) in names)

    def of_event(self, model: str, id_: str) -> bytes | None:
        """The picture of one event as a JPEG file; None where there is none."""
        try:
            return self._file(_name(model, id_)).read_bytes()
        except OSError:
            return None

    def _make_room(self, kept: list[tuple[float, str]], most: int) -> None:
        while len(kept) > most:
            _, gone = kept.pop(_least_missed(kept))
            self._file(gone).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"


def small_jpeg(image: Image.Image, side: int) -> bytes:
    """An RGB image as a JPEG file of at most ``side`` pixels across and down."""
    small = image.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _name(model: str, id_: str) -> str:
    """A file name that no client can choose."""
    return hashlib.sha256(f"{model}\0{id_}".encode(errors="replace")).hexdigest()[:32]


def _least_missed(kept: list[tuple[float, str]]) -> int:
    """Which of a camera's pictures, ascending by time, makes room: of the older half the one that leaves the smallest
    gap. The oldest stays, until it is too old, so that the others are spread over all of the time.
    """
    times = [time for time, _ in kept]
    inner = range(1, len(kept) // 2)
    return min(inner, key=lambda place: times[place + 1] - times[place - 1]) if inner else 0
