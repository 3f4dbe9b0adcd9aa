"""A camera that speaks RTSP on localhost: H.264 over interleaved TCP, as most cameras do, and no more of it."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av

_1900 = 2_208_988_800
"""Seconds from where NTP counts to where Unix does."""

_PAYLOAD = 1400
_CLOCK = 90_000


@dataclass(frozen=True)
class _Clip:
    """``parameters``: sets that a decoder needs; ``packets``: seconds of each (decoded, shown) and its NAL units."""

    parameters: list[bytes]
    packets: list[tuple[float, float, list[bytes]]]


class RtspCamera:
    """Gives each connection the clip at ``path``, as fast as it runs, and then hangs up.

    ``played_at``: when each connection's clip began, in seconds since the epoch.
    """

    def __init__(self, path: Path) -> None:
        self.clip = _clip(path)
        self.connections = 0
        self.played_at: list[float] = []
        self.gone = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of one client until it has had all, or goes."""
        lines = connection.makefile("rb")
        while not self.gone.is_set() and (request := lines.readline().decode().split()):
            number = ""
            while header := lines.readline().decode().strip():
                name, _, value = header.partition(":")
                number = value.strip() if name.lower() == "cseq" else number
            extra, body = self._answer(request[0], request[1])
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            connection.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{extra}{length}\r\n{body}".encode())
            if request[0] == "PLAY":
                self.connections += 1
                self._play(connection)
                connection.shutdown(socket.SHUT_RDWR)
                return

    def _answer(self, method: str, url: str) -> tuple[str, str]:
        if method == "DESCRIBE":
            sets = ",".join(base64.b64encode(one).decode() for one in self.clip.parameters)
            body = "\r\n".join((
                "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "t=0 0", "m=video 0 RTP/AVP 96", "a=control:track",
                "a=rtpmap:96 H264/90000", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}", "",
            ))  # fmt: skip
            return f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n", body
        if method == "SETUP":
            return "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""
        return "Session: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n", ""

    def _play(self, connection: socket.socket) -> None:
        began, sent = time.monotonic(), 0
        self.played_at.append(time.time())
        ntp = self.played_at[-1] + _1900
        report = struct.pack(">BBHIIIIII", 0x80, 200, 6, 1, int(ntp), int(ntp % 1 * 2**32), 0, 0, 0)
        _send(connection, 1, report)
        for decoded, shown, units in self.clip.packets:
            if self.gone.wait(max(0.0, began + decoded - time.monotonic())):
                return
            parts = [part for unit in units for part in _parts(unit)]
            for number, part in enumerate(parts, 1):
                kind = 96 | (0x80 if number == len(parts) else 0)
                _send(connection, 0, struct.pack(">BBHII", 0x80, kind, sent & 0xFFFF, round(shown * _CLOCK), 1) + part)
                sent += 1


@contextmanager
def serving(camera: RtspCamera) -> Iterator[str]:
    """The address of a camera on localhost."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                try:
                    camera.serve(connection)
                except OSError:  # the reader has gone
                    continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/stream"
    finally:
        camera.gone.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


def _send(connection: socket.socket, channel: int, packet: bytes) -> None:
    connection.sendall(struct.pack(">cBH", b"$", channel, len(packet)) + packet)


def _parts(unit: bytes) -> list[bytes]:
    """A NAL unit as payloads of RTP (RFC 6184): whole, or in fragments where it is too long."""
    if len(unit) <= _PAYLOAD:
        return [unit]
    head, rest = unit[0], unit[1:]
    pieces = [rest[start : start + _PAYLOAD - 2] for start in range(0, len(rest), _PAYLOAD - 2)]
    ends = [0x80, *[0] * (len(pieces) - 2), 0x40]
    return [bytes([head & 0xE0 | 28, end | head & 0x1F]) + piece for end, piece in zip(ends, pieces, strict=True)]


def _clip(path: Path) -> _Clip:
    """The packets of an MP4, in which each NAL unit comes after its length in four bytes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        record = bytes(stream.codec_context.extradata or b"")
        packets = []
        for packet in container.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                times = float(packet.dts * packet.time_base), float(packet.pts * packet.time_base)
                packets.append((*times, _units(bytes(packet), 4)))
    first = packets[0][0]
    # The record (ISO 14496-15): five bytes, a count, then parameter sets after their lengths in two bytes, twice.
    sequence_end = 8 + struct.unpack_from(">H", record, 6)[0]
    picture = _units(record[sequence_end + 1 :], 2)[0]
    return _Clip([record[8:sequence_end], picture], [(d - first, p - first, units) for d, p, units in packets])


def _units(data: bytes, width: int) -> list[bytes]:
    units = []
    while len(data) > width:
        end = width + int.from_bytes(data[:width])
        units.append(data[width:end])
        data = data[end:]
    return units
