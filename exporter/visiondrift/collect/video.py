"""Frames from videos and streams, decoded by FFmpeg (PyAV, imported on use).

A stream that ends or dies is connected again, ever more patiently; what cannot be decoded is counted and passed over.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from visiondrift.collect.frames import Frame, LiveClock, Pace, Tally, steady
from visiondrift.collect.sources import Source
from visiondrift.errors import BadInput

_NETWORK = "rtsp,rtsps,rtp,srtp,udp,srt,http,https,httpproxy,tcp,tls,crypto,hls"
_UNTIMED = frozenset({"mpjpeg", "mjpeg", "h264", "hevc"})
"""Formats that say no times: FFmpeg counts frames at a rate that it makes up."""

_USUAL_RATE = 25.0
_OPEN_SECONDS, _READ_SECONDS = 15.0, 15.0
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_SHORT_SECONDS, _SHORT_SHARE = 2.0, 0.05
"""A recording that lacks more than both of these ends early; less may be a last picture that is shown for long."""


class Video:
    """The frames of one video or stream, in order; for one thread.

    ``tell`` is given a sentence when a connection comes or goes.
    """

    def __init__(self, source: Source, tally: Tally, stop: threading.Event, *, tell: Callable[[str], None]) -> None:
        import av  # noqa: PLC0415 - 100 MB of libraries

        av.logging.set_level(None)  # FFmpeg's own words hold addresses; what matters comes as an exception
        self._av = av
        self._source = source
        self._tally = tally
        self._stop = stop
        self._tell = tell
        self._pace = Pace(source.look)
        self._read = self._whole = 0.0
        self._ends_damaged = False

    def file_frames(self) -> Iterator[Frame]:
        """The frames of a file. Raises BadInput where it is no video."""
        path = Path(self._source.address)
        try:
            with self._opened() as container:
                yield from self._recording(container)
        except self._av.FFmpegError as error:
            if not self._tally.looked:
                message = f"{path}: it cannot be read ({_reason(error)}); accepted is a video or image file"
                raise BadInput(message) from error
            self._tally.corrupt += 1  # cut short: what came until then is good
            self._ends_early(_reason(error))

    def stream_frames(self) -> Iterator[Frame]:
        """The frames of a URL, until ``stop`` is set; of a recording there, until its end.

        Raises BadInput where a web server says at once that such a file is not there, or not for us.
        """
        wait = _FIRST_WAIT
        while not self._stop.is_set():
            before, why = self._tally.looked, "it ended"
            try:
                with self._opened() as container:
                    if container.duration is not None:
                        yield from self._recording(container)
                        return
                    yield from self._live(container)
            except self._av.FFmpegError as error:
                why = _reason(error)
                if self._is_refused(error):
                    raise BadInput(f"{self._source.shown}: it cannot be read ({why})") from error
            if self._tally.looked > before:
                wait = _FIRST_WAIT
            self._pause(wait, why)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _is_refused(self, error: Exception) -> bool:
        """Whether to ask again is in vain. Another status may be one that passes: FFmpeg tells only these apart."""
        of_av = self._av.error
        lasting = (of_av.HTTPUnauthorizedError, of_av.HTTPForbiddenError, of_av.HTTPNotFoundError)
        return isinstance(error, lasting) and self._source.is_web_file and not self._tally.connections

    def _pause(self, wait: float, why: str) -> None:
        if self._stop.is_set():
            return
        self._tally.state = "waiting"
        seconds = wait * random.uniform(0.5, 1.5)  # noqa: S311 - so that many cameras do not knock at once
        self._tell(f"{self._source.name}: nothing from {self._source.shown} ({why}); again in {seconds:.1f} s")
        self._stop.wait(seconds)

    def _opened(self) -> Any:
        """The container, as a context. Raises FFmpegError."""
        self._tally.state = "connecting"
        patience: tuple[float | None, float | None] = (None, None)
        options = {"protocol_whitelist": "file,crypto"}
        if self._source.is_url:
            # A playlist that a server sends must not name files of this machine.
            options = {"protocol_whitelist": _NETWORK, "rtsp_transport": "tcp"}
            patience = (_OPEN_SECONDS, _READ_SECONDS)
        # A colon in the name of a file does not make what is before it the name of a protocol.
        address = self._source.secret_address if self._source.is_url else f"file:{self._source.address}"
        container = self._av.open(address, options=options, timeout=patience, metadata_errors="replace")
        if not container.streams.video:
            container.close()
            raise self._av.error.InvalidDataError(0, "it holds no video")
        self._tally.state = "reading"
        self._tally.connections += 1
        if self._tally.connections > 1:
            self._tell(f"{self._source.name}: connected again")
        return container

    def _live(self, container: Any) -> Iterator[Frame]:
        clock: LiveClock | None = None
        is_timed = _UNTIMED.isdisjoint(container.format.name.split(","))
        for picture in self._decoded(container):
            now, position = steady(), picture.time if is_timed else None
            if clock is None:
                # Of the first picture of RTSP FFmpeg may not know yet where it is: it is what the others count from.
                position = 0.0 if is_timed and position is None else position
                told = container.start_time_realtime
                clock = LiveClock(now=time.time(), steady_now=now, told=told / 1e6 if told else None)
            at = clock.time_of(position, steady_now=now)
            if self._pace.is_due(at):
                yield Frame(at, picture.to_image(), live=True)

    def _recording(self, container: Any) -> Iterator[Frame]:
        start = self._start(container)
        rate = float(container.streams.video[0].average_rate or _USUAL_RATE)
        seconds = self._whole = _seconds_of(container)
        self._read, self._ends_damaged = 0.0, False
        first: float | None = None
        for number, picture in enumerate(self._decoded(container)):
            is_timed = picture.time is not None
            position = picture.time if is_timed else number / rate
            first = position if first is None else first
            lasts = float(picture.duration * picture.time_base) if is_timed and picture.duration else 1 / rate
            self._read = max(self._read, position - first + lasts)
            # Without times its length is a guess.
            self._whole = self._whole if is_timed else 0.0
            self._tally.share = min((position - first) / seconds, 1.0) if seconds else None
            if self._pace.is_due(position - first):
                yield Frame(start + position - first, picture.to_image())
        if self._stop.is_set():
            return
        if self._ends_damaged:
            self._ends_early("its end is damaged")
        elif self._whole - self._read > max(_SHORT_SECONDS, _SHORT_SHARE * self._whole):
            self._ends_early("it is cut, or was never finished")

    def _ends_early(self, why: str) -> None:
        """Say that a recording is not whole: what came until then is good, and yet somebody must know."""
        whole = f" of {self._whole:,.1f} s" if self._whole else ""
        self._tally.problem = f"it ends early, {self._read:,.1f} s{whole} could be read ({why})"
        self._tell(f"{self._source.name}: {self._source.shown}: {self._tally.problem}")

    def _start(self, container: Any) -> float:
        """When a recording began: as stated, as it says itself, or so that it ends when it was written."""
        if self._source.start is not None:
            return self._source.start
        try:
            return datetime.fromisoformat(container.metadata["creation_time"]).timestamp()
        except (KeyError, ValueError):
            end = time.time() if self._source.is_url else Path(self._source.address).stat().st_mtime
            return float(end - (container.duration or 0) / 1e6)

    def _decoded(self, container: Any) -> Iterator[Any]:
        """The pictures of the first video stream; damaged and oversized ones are counted. Raises FFmpegError."""
        for packet in container.demux(container.streams.video[0]):
            if self._stop.is_set():
                return
            try:
                pictures = packet.decode()
            except self._av.FFmpegError:
                self._tally.corrupt += 1
                self._ends_damaged = True
                continue
            # The last packet is an empty one, for pictures that the decoder still holds.
            is_damaged = any(picture.is_corrupt for picture in pictures)
            self._ends_damaged = is_damaged or (self._ends_damaged and not packet.size)
            for picture in pictures:
                if picture.is_corrupt or picture.width * picture.height > self._source.max_pixels:
                    self._tally.corrupt += 1
                else:
                    yield picture


def _seconds_of(container: Any) -> float:
    """How long a recording says that its pictures go on; 0 where it does not."""
    stream = container.streams.video[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1e6


def _reason(error: Exception) -> str:
    """What FFmpeg says, without the address that it adds."""
    return str(getattr(error, "strerror", "") or type(error).__name__)
