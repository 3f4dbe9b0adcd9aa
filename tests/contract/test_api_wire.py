"""The write endpoints on a real socket: what only a real server and a real client show."""

import json
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from intake_parts import DIGITS_CLIP, NOW, WritePath, configuration, event, picture, with_server, write_path
from programs import PATIENCE_S
from visiondrift.intake.embedder import Embedder
from visiondrift.log.memory import MemoryLog

MAX_BODY = 100_000
JSON = {"Content-Type": "application/json"}
SERVED = ("127.0.0.1", 0)
HEAD = (
    "POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {MAX_BODY}\r\n\r\n"
).encode()


@contextmanager
def serving(parts: WritePath) -> Iterator[str]:
    listener = socket.create_server(SERVED)
    server = uvicorn.Server(uvicorn.Config(parts.app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritePath]:
    config = with_server(configuration(tmp_path_factory.mktemp("config")), max_body=MAX_BODY)
    clip = Embedder(f"local-dir:{DIGITS_CLIP}")
    with write_path(config, MemoryLog(), embedder=clip) as found:
        yield found
    clip.close()


@pytest.fixture(scope="module")
def url(parts: WritePath) -> Iterator[str]:
    with serving(parts) as found:
        yield found


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def test_a_client_that_announces_too_much_reads_413(url: str) -> None:
    answer = httpx.post(f"{url}/v1/predictions", content=b"x" * 5_000_000, headers=JSON, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_client_that_sends_too_much_in_chunks_is_stopped_soon(url: str) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1
            yield b"x" * 10_000

    try:
        answer = httpx.post(f"{url}/v1/predictions", content=chunks(), headers=JSON, timeout=PATIENCE_S)
    except httpx.TransportError:  # the connection was closed while it still sent
        pass
    else:
        assert answer.status_code == 413
    assert sent < 5_000  # of 10,000 chunks: what lay in buffers


def test_a_client_that_hangs_up_is_no_error_of_the_server(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        with socket.create_connection(address(url)) as connection:
            connection.sendall(HEAD + b'{"events": [')
            time.sleep(0.1)
        time.sleep(0.3)
    assert caplog.records == []
    assert httpx.get(f"{url}/healthz", timeout=PATIENCE_S).status_code == 200


def test_a_slow_sender_keeps_nobody_waiting(url: str) -> None:
    slow = [socket.create_connection(address(url)) for _ in range(150)]
    try:
        for connection in slow:
            connection.sendall(HEAD + b"{")
        answer = httpx.post(f"{url}/v1/predictions", json={"events": [event(1)]}, timeout=PATIENCE_S)
        assert answer.status_code == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_sends_an_image_file_as_the_documentation_says(url: str, tmp_path: Path) -> None:
    (tmp_path / "frame.jpg").write_bytes(picture(kind="JPEG"))
    row = {"id": "curl-1", "time": NOW, "model": "eyes", "version": "1", "image": "frame.jpg"}
    events = json.dumps({"events": [row]})
    command = ["curl", "-sS", "-F", f"events={events};type=application/json", "-F", "images=@frame.jpg"]
    answer = subprocess.run(
        [*command, f"{url}/v1/images"], cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE_S
    )
    assert json.loads(answer.stdout) == {"stored": 1, "duplicates": 0, "rejected": []}
