"""Decides how several sources are read side by side in bounded memory: a thread and a few places for frames each.

A live frame that finds no place is counted as missed, as it would be late for ever after; a recording waits.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from visiondrift.collect.frames import Frame, Tally
from visiondrift.collect.images import folder_frames, image_frame
from visiondrift.collect.sources import ALONE, Source, check_source
from visiondrift.collect.video import Video
from visiondrift.errors import VisionDriftError

_PLACES = 8
"""Decoded frames of one source that wait at most: 6 MB each at 1080p."""

_LOOK_AGAIN = 0.2


@dataclass(frozen=True, eq=False)
class Taken:
    """A frame and the number of its source."""

    source: int
    frame: Frame


class Readers:
    """Reads ``sources`` until each has ended or ``stop`` is set; ``tell`` is given sentences for a person.

    ``tallies`` are in the order of the sources.
    """

    def __init__(self, sources: Sequence[Source], stop: threading.Event, *, tell: Callable[[str], None]) -> None:
        self.tallies = tuple(Tally() for _ in sources)
        self._sources = tuple(sources)
        self._stop = stop
        self._tell = tell
        self._queue: SimpleQueue[Taken] = SimpleQueue()
        self._places = [threading.Semaphore(_PLACES) for _ in sources]
        self._threads = [
            threading.Thread(target=self._read, args=(number,), name=f"source-{source.name}", daemon=True)
            for number, source in enumerate(sources)
        ]

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    @property
    def ended(self) -> bool:
        """Whether nothing is left and nothing will come."""
        return not any(thread.is_alive() for thread in self._threads) and self._queue.empty()

    def take(self, most: int, *, patience: float) -> list[Taken]:
        """Up to ``most`` frames, those that are there; waits up to ``patience`` seconds for the first."""
        taken: list[Taken] = []
        try:
            taken.append(self._queue.get(timeout=patience))
            while len(taken) < most:
                taken.append(self._queue.get_nowait())
        except Empty:
            pass
        for one in taken:
            self._places[one.source].release()
        return taken

    def _read(self, number: int) -> None:
        source, tally = self._sources[number], self.tallies[number]
        try:
            for frame in frames_of(source, tally, self._stop, tell=self._tell):
                if self._has_place(number, frame):
                    tally.looked += 1
                    self._queue.put(Taken(number, frame))
            tally.state = "stopped" if self._stop.is_set() else "ended"
        except (VisionDriftError, OSError) as error:
            tally.state, tally.problem = "failed", str(error)
            self._tell(f"{source.name}: {error}")

    def _has_place(self, number: int, frame: Frame) -> bool:
        places = self._places[number]
        if frame.live:
            found = places.acquire(blocking=False)
            self.tallies[number].missed += not found
            return found
        while not self._stop.is_set():
            if places.acquire(timeout=_LOOK_AGAIN):
                return True
        return False


def frames_of(source: Source, tally: Tally, stop: threading.Event, *, tell: Callable[[str], None]) -> Iterator[Frame]:
    """The frames of a source of any kind, in order. Raises BadInput where a file cannot be read as what it is."""
    check_source(source)
    path = Path(source.address)
    if source.is_url:
        yield from Video(source, tally, stop, tell=tell).stream_frames()
    elif path.is_dir():
        yield from folder_frames(source, tally, stop, tell=tell)
    elif path.suffix.lower() in ALONE:
        frame = image_frame(source, path, path.name, tally, tell)
        if frame is not None:
            yield frame
    else:
        yield from Video(source, tally, stop, tell=tell).file_frames()
