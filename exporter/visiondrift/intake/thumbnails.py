"""Which frames are kept as small pictures: none unless asked for, else the newest few of each camera.

They are for the eyes of a person beside a verdict, not data: what an earlier run kept is removed at start, and a
picture that cannot be written costs a line in the log and nothing else.
"""

import hashlib
import io
import logging
import threading
from collections import deque
from pathlib import Path

from PIL import Image

from visiondrift.prediction import PredictionEvent, Slices
from visiondrift.signals import ALL_SLICES

_SUFFIX = ".thumbnail.jpg"
_QUALITY = 80
_log = logging.getLogger(__name__)


class Thumbnails:
    """The newest ``keep`` pictures of each model and set of slice labels, at most ``side`` pixels wide and high.

    Safe to call from several threads. With ``keep`` 0 nothing is made and nothing is written.
    """

    def __init__(self, directory: Path, *, keep: int, side: int) -> None:
        self._directory = directory
        self._keep = keep
        self._side = side
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, Slices], deque[tuple[float, str]]] = {}
        for old in directory.glob(f"*{_SUFFIX}"):
            old.unlink(missing_ok=True)
        if keep:
            directory.mkdir(parents=True, exist_ok=True)

    def shrink(self, image: Image.Image) -> bytes | None:
        """The small JPEG of an RGB image; None where none is kept."""
        if not self._keep:
            return None
        small = image.copy()
        small.thumbnail((self._side, self._side))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=_QUALITY)
        return buffer.getvalue()

    def keep(self, event: PredictionEvent, picture: bytes) -> None:
        """Keep the picture of ``event``; the oldest of its camera makes room."""
        name = hashlib.sha256(f"{event.model}\0{event.id}".encode(errors="replace")).hexdigest()[:32]
        with self._lock:
            kept = self._kept.setdefault((event.model, event.slices), deque())
            if any(name == other for _, other in kept):
                return
            try:
                (self._directory / f"{name}{_SUFFIX}").write_bytes(picture)
            except OSError as error:
                _log.warning("A thumbnail could not be kept in %s: %s", self._directory, error)
                return
            kept.append((event.time, name))
            if len(kept) > self._keep:
                oldest = min(kept)
                kept.remove(oldest)
                self._file(oldest[1]).unlink(missing_ok=True)

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

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"
