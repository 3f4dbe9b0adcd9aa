"""What an attacker, a careless client and a tired operator get: nothing acknowledged is lost, nothing silent."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from exporter_process import demo_config
from intake_parts import DIGITS_CLIP, NOW, Counts, base64_of, configuration, event, picture, stored_event, write_path
from visiondrift.api import create_app
from visiondrift.api.bodies import Bodies
from visiondrift.api.failures import Failure
from visiondrift.api.server import app_of
from visiondrift.config import load_config
from visiondrift.config.monitoring import LogConfig, WatchedModel
from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.errors import LogError, QueueFull
from visiondrift.intake.embedder import Embedder
from visiondrift.log.memory import MemoryLog
from visiondrift.log.moments import MomentKey, kept_bytes
from visiondrift.log.retention import LEAP_SECONDS, Retention
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent
from visiondrift.service import Overrides, Service


def removed(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


@pytest.mark.parametrize("harm", [removed, replaced])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_nothing_is_acknowledged_into_a_log_that_was_removed(
    tmp_path: Path, harm: Callable[[Path], None], suffix: str
) -> None:
    """SQLite would go on writing into the removed file, and its end would be the end of what it holds."""
    path = tmp_path / "predictions.sqlite"
    with closing(SqliteLog(path)) as log:
        log.append([stored_event(1)], [], now=NOW)
        harm(path.with_name(path.name + suffix))
        for number in (2, 3):
            with pytest.raises(LogError, match="removed or replaced under the running service"):
                log.append([stored_event(number)], [], now=NOW)


def test_a_damaged_log_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "predictions.sqlite"
    path.write_bytes(b"this was a database once" * 1000)
    with pytest.raises(LogError, match=r"predictions\.sqlite: file is not a database; the file is damaged: stop"):
        SqliteLog(path)


def test_a_log_that_another_program_holds_says_so(tmp_path: Path) -> None:
    path = tmp_path / "predictions.sqlite"
    with closing(SqliteLog(path, patience=0.1)) as log, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogError, match="locked; another program is writing to it"):
            log.append([stored_event(1)], [], now=NOW)
        other.execute("ROLLBACK")
        assert log.append([stored_event(1)], [], now=NOW).stored == 1


# ---- pages of other sites -----------------------------------------------------------------------------------------

FOREIGN = {
    "a page of another site": {"Origin": "http://evil.example"},
    "a page in a sandbox": {"Origin": "null"},
    "another port of this machine": {"Origin": "http://localhost:3000"},
    "a page that does not say its site": {"Sec-Fetch-Site": "cross-site"},
    "a name that was turned to 127.0.0.1": {"Origin": "http://evil.example:9109", "Host": "evil.example:9109"},
    "a name that begins like an address": {"Origin": "http://127.0.0.1.evil.example", "Host": "127.0.0.1.evil.example"},
    "no address at all": {"Origin": "", "Host": ""},
}
OWN = {
    "a program": {},
    "the page that server.exporter_url names": {"Origin": "http://localhost:9109", "Host": "behind-a-proxy"},
    "a page by address": {"Origin": "http://192.0.2.7:9109", "Host": "192.0.2.7:9109"},
    "a page by address, version 6": {"Origin": "http://[::1]:9109", "Host": "[::1]:9109"},
    "a browser that names no origin": {"Sec-Fetch-Site": "same-origin"},
}


def sent(client: TestClient, path: str, headers: dict[str, str]) -> Any:
    body = json.dumps({"events": [event(1)]})
    if path == "/v1/images":
        # What a page may send anywhere without asking: a form.
        return client.post(path, files={"events": (None, body, "application/json")}, headers=headers)
    return client.post(path, content=body, headers={"Content-Type": "application/json", **headers})


@pytest.mark.parametrize("path", ["/v1/images", "/v1/predictions"])
@pytest.mark.parametrize("page", FOREIGN)
def test_a_page_of_another_site_cannot_send_events(tmp_path: Path, path: str, page: str) -> None:
    with write_path(configuration(tmp_path), MemoryLog()) as parts, TestClient(parts.app) as client:
        answer = sent(client, path, FOREIGN[page])
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_page")
        assert "server.exporter_url" in answer.json()["error"]["message"]
        assert parts.counts.events.total() == 0


@pytest.mark.parametrize("path", ["/v1/images", "/v1/predictions"])
@pytest.mark.parametrize("page", OWN)
def test_programs_and_the_exporters_own_pages_send_as_before(tmp_path: Path, path: str, page: str) -> None:
    with write_path(configuration(tmp_path), MemoryLog()) as parts, TestClient(parts.app) as client:
        assert sent(client, path, OWN[page]).json() == {"stored": 1, "duplicates": 0, "rejected": []}


def test_a_token_may_have_letters_of_any_alphabet(tmp_path: Path) -> None:
    with (
        write_path(configuration(tmp_path), MemoryLog(), token="schlüssel") as parts,
        TestClient(parts.app) as client,
    ):
        for token, status in (("schlüssel".encode(), 200), ("schlüsse".encode(), 401)):
            headers = {"Content-Type": "application/json", "Authorization": b"Bearer " + token}
            answer = client.post("/v1/predictions", content=json.dumps({"events": [event(1)]}), headers=headers)
            assert answer.status_code == status


# ---- bodies that take room, or time ------------------------------------------------------------------------------


def request_of(*pieces: bytes, ends: bool = True) -> Request:
    """A request whose body comes in pieces, and which then ends or hangs."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if left:
            piece = left.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(left) or not ends}
        await asyncio.sleep(60)
        raise AssertionError("nobody waited")

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


@pytest.mark.parametrize("patience", [{"pause": 0.05}, {"patience": 0.05}])
def test_a_body_that_stops_arriving_gives_up_its_place(patience: dict[str, float]) -> None:
    async def scenario() -> None:
        bodies = Bodies(busy=lambda: None, **patience)
        with pytest.raises(Failure, match="did not arrive in time") as failure:
            async with bodies.read(request_of(b"x" * 40, ends=False), limit=10**6):
                pass
        assert failure.value.status == 408
        async with bodies.read(request_of(b"a", b"b"), limit=10) as body:
            assert body == b"ab"

    asyncio.run(scenario())


def test_requests_turned_away_for_want_of_memory_are_counted() -> None:
    async def scenario(counts: Counts) -> None:
        bodies = Bodies(busy=lambda: counts.failed("queue_full"))
        async with AsyncExitStack() as held:
            for _ in range(4):
                await held.enter_async_context(bodies.read(request_of(b"x" * 10), limit=10))
            with pytest.raises(QueueFull):
                await held.enter_async_context(bodies.read(request_of(b"x"), limit=10))
        async with bodies.read(request_of(b"x"), limit=10) as body:
            assert body == b"x"

    counts = Counts()
    asyncio.run(scenario(counts))
    assert counts.failures == {"queue_full": 1}


def test_images_that_take_long_keep_no_embedding_waiting(tmp_path: Path) -> None:
    """Twenty batches of images wait for an embedder that hangs; a batch of embeddings passes them by."""
    asked, go_on = threading.Event(), threading.Event()

    class Hanging(Embedder):
        def embed(self, images: Iterable[Image.Image]) -> NDArray[np.float32]:
            asked.set()
            assert go_on.wait(20)
            return super().embed(images)

    clip = Hanging(f"local-dir:{DIGITS_CLIP}")
    images = [
        {"id": f"i{n}", "time": NOW, "model": "eyes", "version": "1", "image": base64_of(picture())} for n in range(20)
    ]
    with (
        write_path(configuration(tmp_path), MemoryLog(), embedder=clip) as parts,
        TestClient(parts.app) as client,
        ThreadPoolExecutor(21) as pool,
    ):
        waiting = [pool.submit(client.post, "/v1/predictions", json={"events": [row]}) for row in images]
        try:
            assert asked.wait(20)
            answer = pool.submit(client.post, "/v1/predictions", json={"events": [event(1)]}).result(5)
            assert answer.json()["stored"] == 1
        finally:
            go_on.set()
        assert {answer.result(20).status_code for answer in waiting} == {200}
    clip.close()


def test_documentation_that_waits_for_the_embedder_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The length of a hub model's embeddings is known once it is downloaded, which may take minutes."""
    asked, loaded = threading.Event(), threading.Event()

    def dimension(_: WatchedModel) -> int:
        asked.set()
        assert loaded.wait(20)
        return 4

    with write_path(configuration(tmp_path), MemoryLog()) as parts:
        app = create_app(replace(parts.services, dimension=dimension))
        with TestClient(app) as client, ThreadPoolExecutor() as pool:
            document = pool.submit(client.get, "/openapi.json")
            try:
                assert asked.wait(20)
                assert pool.submit(client.get, "/healthz").result(5).status_code == 200
            finally:
                loaded.set()
            assert document.result(20).json()["info"]["title"] == "VisionDrift"


# ---- clocks ---------------------------------------------------------------------------------------------------------


class Clocks:
    """A clock on the wall that can be set, and a stopwatch that cannot."""

    def __init__(self) -> None:
        self.wall, self.run = NOW, 50.0

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.run += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def retention(clocks: Clocks) -> Retention:
    return Retention(clock=lambda: clocks.wall, stopwatch=lambda: clocks.run)


def test_a_clock_that_is_wrong_for_a_minute_costs_no_event(clocks: Clocks, retention: Retention) -> None:
    clocks.wall += 365 * 86400
    assert retention.oldest_kept(3600) == NOW - 3600
    clocks.go_on(60)
    assert retention.oldest_kept(3600) == NOW + 60 - 3600
    clocks.wall -= 365 * 86400
    assert retention.oldest_kept(3600) == NOW + 60 - 3600


def test_a_clock_that_stands_by_its_leap_is_believed(clocks: Clocks, retention: Retention) -> None:
    clocks.wall += 86400
    retention.oldest_kept(0)
    clocks.go_on(LEAP_SECONDS + 1)
    assert retention.oldest_kept(0) == clocks.wall
    clocks.go_on(60)
    assert retention.oldest_kept(0) == clocks.wall


@pytest.mark.parametrize("step", [-86400.0, -1.0, 1.0, 1800.0])
def test_a_clock_that_is_corrected_is_followed_at_once(clocks: Clocks, retention: Retention, step: float) -> None:
    clocks.wall += step
    assert retention.oldest_kept(0) == clocks.wall


def test_moments_outlive_their_events_by_their_own_age_and_never_go_before_them(
    clocks: Clocks, retention: Retention
) -> None:
    """A day of blocks of an hour and their events, under three rules."""
    key = MomentKey(basis="b", model="m", version="1", slice="all", seconds=3600.0, dimension=2)
    first = int(NOW // 3600) - 24
    for keep, keep_moments, events_left, blocks_left in ((6, 12, 6, 12), (12, 6, 12, 12), (48, 96, 24, 24)):
        log = MemoryLog()
        events = [PredictionEvent(id=str(n), time=NOW - 3600 * n - 1, model="m", version="1") for n in range(24)]
        log.append(events, [], now=NOW)
        log.keep_moments(key, np.arange(first, first + 24), BlockMoments(np.ones(24), *[np.ones((24, 2))] * 2))
        kept = LogConfig().model_copy(update={"keep": keep * 3600.0, "keep_moments": keep_moments * 3600.0})
        retention.prune(log, log, kept)
        assert log.census().events == events_left
        left = log.kept_moments(key, since_block=0, until_block=2**40).blocks
        assert len(left) == pytest.approx(blocks_left, abs=1)


def test_moments_leave_half_of_the_room_to_the_events(clocks: Clocks, retention: Retention) -> None:
    key = MomentKey(basis="b", model="m", version="1", slice="all", seconds=1.0, dimension=2)
    log = MemoryLog()
    first = int(NOW) - 100
    log.keep_moments(key, np.arange(first, first + 100), BlockMoments(np.ones(100), *[np.ones((100, 2))] * 2))
    retention.prune(log, log, LogConfig().model_copy(update={"max_size": 50 * kept_bytes(2)}))
    assert len(log.kept_moments(key, since_block=0, until_block=2**40).blocks) == 25


# ---- configuration ----------------------------------------------------------------------------------------------


def test_an_edit_that_needs_a_restart_says_so_until_it_is_taken_back(tmp_path: Path) -> None:
    folder = demo_config(tmp_path / "config")
    file = folder / "monitoring.yml"
    before = file.read_text(encoding="utf-8")
    service = Service(folder, Overrides(state=tmp_path / "state"))
    client = TestClient(app_of(service))  # without starting it

    def adopted(text: str) -> tuple[bool, str]:
        file.write_text(text, encoding="utf-8")
        service.adopt(load_config(folder))
        return "visiondrift_config_restart_needed 1.0" in client.get("/metrics").text, client.get("/").text

    try:
        for _ in range(2):  # an edit of something else does not make it forgotten
            needed, page = adopted(before.replace("digits-clip", "another-clip") + "\nintake: {queue_events: 7}\n")
            assert needed
            assert "read at start only: embedder.model, intake.queue_events." in page
        needed, page = adopted(before)
        assert not needed
        assert "Restart" not in page
    finally:
        service.stop()
