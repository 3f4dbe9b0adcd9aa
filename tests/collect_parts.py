"""What tests of collecting share: videos made on the spot, and a camera on localhost that can die and come back."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SIDE = 64


def scene(number: int, *, side: int = SIDE) -> Image.Image:
    """A picture like no other: a bright bar that wanders over a ramp."""
    pixels = np.tile(np.linspace(0, 120, side, dtype=np.uint8), (side, 1))
    pixels[:, (5 * number) % side : (5 * number) % side + 8] = 230
    return Image.fromarray(np.stack([pixels, pixels // 2, 255 - pixels], axis=2))


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def video(path: Path, *, seconds: float, rate: int = 10, created: str | None = None) -> Path:
    """An H.264 recording of ``scene`` after ``scene``, ``rate`` a second."""
    with av.open(str(path), "w") as container:
        if created is not None:
            container.metadata["creation_time"] = created
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = rate
        for number in range(round(seconds * rate)):
            frame = av.VideoFrame.from_image(scene(number))
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class Camera:
    """An MJPEG camera: each connection is given ``frames`` pictures, one every ``pause`` seconds, and then dropped."""

    def __init__(self, *, frames: int, pause: float) -> None:
        self.frames = frames
        self.pause = pause
        self.connections = 0
        self.sent = 0
        self.refuses = 0
        """The status that is answered in place of pictures, where it is one."""
        self.damaged: frozenset[int] = frozenset()
        self.gone = threading.Event()

    def parts(self) -> Iterator[bytes]:
        for _ in range(self.frames):
            picture = jpeg(scene(self.sent))
            if self.sent in self.damaged:
                picture = picture[:20] + bytes(len(picture) - 20)
            yield b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture)
            self.sent += 1
            if self.gone.wait(self.pause):
                return


@contextmanager
def answering(answer: Callable[[str, Any, Mapping[str, str]], tuple[int, Any]]) -> Iterator[str]:
    """The address of a server on localhost: ``answer`` maps path, JSON body (None for GET) and headers to status and
    JSON body.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body: Any) -> None:
            status, said = answer(self.path, body, self.headers)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    with _running(Handler) as address:
        yield address


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


@contextmanager
def served(camera: Camera) -> Iterator[str]:
    """The address of a camera on localhost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            camera.connections += 1
            if camera.refuses:
                self.send_error(camera.refuses)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            try:
                for part in camera.parts():
                    self.wfile.write(part)
            except OSError:  # the reader has gone
                return

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    with _running(Handler) as address:
        try:
            yield f"{address}/stream"
        finally:
            camera.gone.set()
