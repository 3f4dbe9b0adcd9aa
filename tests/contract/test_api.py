"""The write endpoints over HTTP: what is stored, what comes back, and every status that the contract names."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from intake_parts import (
    DIGITS_CLIP,
    NOW,
    WritePath,
    base64_of,
    configuration,
    event,
    picture,
    reasons,
    with_intake,
    with_server,
    write_path,
)
from visiondrift.config import Config
from visiondrift.errors import LogError, LogFull
from visiondrift.intake.embedder import Embedder
from visiondrift.log import Appended, PredictionLog
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent, Rejection

ARROW = "application/vnd.apache.arrow.stream"


class Failing(MemoryLog):
    """A log that fails with a given error."""

    def __init__(self, error: LogError) -> None:
        super().__init__()
        self._error = error

    def append(self, *_: object, now: float) -> Appended:  # noqa: ARG002
        raise self._error


class Slow(MemoryLog):
    """A log whose commits wait for a signal."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def append(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection], *, now: float) -> Appended:
        self.entered.set()
        assert self.go_on.wait(20)
        return super().append(events, rejections, now=now)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


@pytest.fixture(scope="module")
def clip() -> Iterator[Embedder]:
    embedder = Embedder(f"local-dir:{DIGITS_CLIP}")
    yield embedder
    embedder.close()


@contextmanager
def client_of(
    config: Config, log: PredictionLog | None = None, **options: Any
) -> Iterator[tuple[TestClient, WritePath]]:
    with (
        write_path(config, log or MemoryLog(), **options) as parts,
        TestClient(parts.app, raise_server_exceptions=False) as client,
    ):
        yield client, parts


def post(client: httpx.Client, *rows: Any, **options: Any) -> httpx.Response:
    return client.post("/v1/predictions", json={"events": list(rows)}, **options)


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer, after holding it to the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert body["error"]["message"]
    return dict(body["error"])


def arrow_of(rows: int, **changed: Any) -> bytes:
    table = pa.table(
        {
            "id": [f"row-{number}" for number in range(rows)],
            "time": [NOW - number for number in range(rows)],
            "model": ["doors"] * rows,
            "version": ["1"] * rows,
            "camera": ["left"] * rows,
            "embedding": pa.array(list(np.eye(4)) * (rows // 4), pa.list_(pa.float32())),
            "confidence_open": [0.5] * rows,
            "confidence_shut": [0.3] * rows,
            "confidence_ajar": [0.2] * rows,
            **changed,
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_a_batch_is_stored_and_bad_events_come_back_by_index(config: Config, tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    with client_of(config, log) as (client, _):
        answer = post(client, event(0), event(1, latency_ms=-1), event(2))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["stored"], body["duplicates"]) == (2, 0)
    (rejected,) = body["rejected"]
    assert {name: rejected[name] for name in ("index", "id", "field", "reason")} == {
        "index": 1,
        "id": "event-1",
        "field": "latency_ms",
        "reason": "bad_value",
    }
    assert "accepted" in rejected["message"]
    assert log.census().events == 2
    log.close()


def test_200_means_that_the_log_has_answered(config: Config) -> None:
    log = Slow()
    with client_of(config, log) as (client, _), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, client, event(0))
        assert log.entered.wait(20)
        assert not answer.done()
        log.go_on.set()
        assert answer.result(20).json()["stored"] == 1


def test_sending_the_same_batch_again_changes_nothing(config: Config) -> None:
    with client_of(config) as (client, _):
        assert post(client, event(0), event(1)).json() == {"stored": 2, "duplicates": 0, "rejected": []}
        assert post(client, event(0), event(1)).json() == {"stored": 0, "duplicates": 2, "rejected": []}


def test_an_image_in_json_is_embedded_and_stored(config: Config, clip: Embedder) -> None:
    with client_of(config, embedder=clip) as (client, parts):
        row = event(model="eyes", embedding=None, confidences=[0.2, 0.8], image=base64_of(picture(kind="JPEG")))
        assert post(client, row).json()["stored"] == 1
        assert parts.counts.embeddings == [(1, False)]


def test_an_arrow_stream_is_stored_like_json(config: Config) -> None:
    with client_of(config) as (client, _):
        answer = client.post("/v1/predictions", content=arrow_of(8), headers={"Content-Type": ARROW})
        assert answer.json() == {"stored": 8, "duplicates": 0, "rejected": []}


def test_bad_rows_of_an_arrow_stream_come_back_by_index(config: Config) -> None:
    body = arrow_of(4, confidence_open=[0.5, 7.0, 0.5, 0.5], lens=[None, None, "wide", None])
    with client_of(config) as (client, _):
        answer = client.post("/v1/predictions", content=body, headers={"Content-Type": ARROW}).json()
    assert answer["stored"] == 2
    assert [(found["index"], found["reason"]) for found in answer["rejected"]] == [
        (1, "bad_confidences"),
        (2, "unknown_slice_label"),
    ]


def test_image_files_are_matched_by_their_names(config: Config, clip: Embedder) -> None:
    rows = [
        event(number, model="eyes", embedding=None, confidences=None, image=name)
        for number, name in enumerate(["b.png", "a.jpg", "c.webp"])
    ]
    files = [
        ("events", (None, json.dumps({"events": rows}), "application/json")),
        ("images", ("a.jpg", picture(kind="JPEG"), "image/jpeg")),
        ("images", ("b.png", picture(), "image/png")),
    ]
    with client_of(config, embedder=clip) as (client, _):
        answer = client.post("/v1/images", files=files)
    assert answer.json()["stored"] == 2
    assert [(found["index"], found["reason"]) for found in answer.json()["rejected"]] == [(2, "bad_image")]


def test_without_the_token_nothing_is_taken(config: Config) -> None:
    log = MemoryLog()
    with client_of(config, log, token="open sesame") as (client, _):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic open sesame"}):
            answer = post(client, event(0), headers=headers)
            assert error(answer, 401)["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert error(client.post("/v1/images", files={"a": b""}, headers=headers), 401)
        assert log.census().events == 0
        assert post(client, event(0), headers={"Authorization": "Bearer open sesame"}).status_code == 200


def test_machines_that_watch_need_no_token(config: Config) -> None:
    with client_of(config, token="open sesame") as (client, _):
        for path in ("/metrics", "/healthz", "/readyz", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_a_body_that_says_it_is_too_large_is_refused_unread(config: Config) -> None:
    with client_of(with_server(config, max_body=1000)) as (client, _):
        answer = client.post("/v1/predictions", content=b"x" * 1001, headers={"Content-Type": "application/json"})
        found = error(answer, 413)
    assert (found["code"], "1000 bytes" in found["message"]) == ("body_too_large", True)


def test_a_body_in_chunks_is_refused_at_the_byte_that_is_too_much(config: Config) -> None:
    sent = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield b"x" * 100

    with client_of(with_server(config, max_body=1000)) as (client, _):
        answer = client.post("/v1/predictions", content=chunks(), headers={"Content-Type": "application/json"})
        assert error(answer, 413)["code"] == "body_too_large"


def test_too_many_events_are_refused(config: Config) -> None:
    with client_of(with_intake(config, max_events=2)) as (client, _):
        assert error(post(client, *map(event, range(3))), 413)["code"] == "too_many_events"
        assert post(client, *map(event, range(2))).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/images"])
def test_any_other_content_type_is_refused(config: Config, path: str, kind: str) -> None:
    with client_of(config) as (client, _):
        found = error(client.post(path, content=b"{}", headers={"Content-Type": kind}), 415)
    assert found["code"] == "unsupported_media_type"
    assert "accepted is" in found["message"]


def test_a_body_without_a_content_type_is_refused(config: Config) -> None:
    with client_of(config) as (client, _):
        assert error(client.post("/v1/predictions", content=b"{}"), 415)


def test_a_compressed_body_is_refused(config: Config) -> None:
    with client_of(config) as (client, _):
        answer = post(client, event(0), headers={"Content-Encoding": "gzip"})
        assert error(answer, 415)["code"] == "unsupported_encoding"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"events": []}', b'{"events": 3}'])
def test_a_body_that_is_no_batch_is_refused_whole(config: Config, body: bytes) -> None:
    with client_of(config) as (client, _):
        answer = client.post("/v1/predictions", content=body, headers={"Content-Type": "application/json"})
        assert error(answer, 422)["code"] == "malformed_body"


def test_a_batch_without_a_valid_event_is_refused_with_every_reason(config: Config) -> None:
    with client_of(config) as (client, parts):
        found = error(post(client, event(0, time="now"), event(1, model="windows")), 422)
        assert found["code"] == "nothing_valid"
        assert reasons(found["rejected"]) == ["bad_time", "unknown_model"]
        assert [len(rejections) for _, rejections in parts.counts.outcomes] == [2]


def test_a_full_queue_says_when_to_come_back(config: Config) -> None:
    log = Slow()
    with client_of(with_intake(config, queue_events=2), log) as (client, parts), ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, client, event(0), event(1))
        assert log.entered.wait(20)
        answer = post(client, event(2))
        assert error(answer, 429)["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) >= 1
        assert parts.counts.failures == {"queue_full": 1}
        log.go_on.set()
        assert first.result(20).status_code == 200
        assert post(client, event(2)).status_code == 200


def test_without_the_embedder_a_batch_with_images_may_come_back_later(config: Config, tmp_path: Path) -> None:
    with client_of(config, embedder=Embedder(f"local-dir:{tmp_path}/none")) as (client, _):
        answer = post(client, event(model="eyes", embedding=None, confidences=None, image=base64_of(picture())))
        assert error(answer, 503)["code"] == "embedder_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert post(client, event(0)).status_code == 200


def test_a_log_that_fails_is_a_503_and_a_full_disk_a_507(config: Config) -> None:
    for failure, status, code in (
        (LogError("the log is locked"), 503, "log_unavailable"),
        (LogFull("no room"), 507, "disk_full"),
    ):
        with client_of(config, Failing(failure)) as (client, _):
            answer = post(client, event(0))
            assert error(answer, status) == {"code": code, "message": str(failure)}
            assert int(answer.headers["retry-after"]) >= 1


def test_a_log_that_has_reached_its_size_is_a_507(config: Config, tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite", max_bytes=1_200_000)
    with client_of(config, log) as (client, _):
        stored = 0
        for start in range(0, 100_000, 500):
            rows = [event(number, metadata={"note": "x" * 500}) for number in range(start, start + 500)]
            answer = post(client, *rows)
            if answer.status_code != 200:
                break
            stored += answer.json()["stored"]
        assert error(answer, 507)["code"] == "disk_full"
        assert log.census().events == stored > 0
    log.close()


def test_an_error_of_the_exporter_itself_gives_nothing_away(config: Config) -> None:
    with client_of(config) as (client, parts):
        parts.intake._known = None  # type: ignore[assignment]
        found = error(post(client, event(0)), 500)
    assert found["code"] == "internal_error"
    assert "NoneType" not in found["message"]


def test_what_does_not_exist_has_the_same_shape_of_error(config: Config) -> None:
    with client_of(config) as (client, _):
        assert error(client.get("/v1/nothing"), 404)["code"] == "not_found"
        assert error(client.get("/v1/predictions"), 405)["code"] == "method_not_allowed"


def test_metrics_are_answered_at_their_address_in_the_format_asked_for(config: Config) -> None:
    with client_of(config) as (client, _):
        answer = client.get("/metrics", headers={"Accept": "text/plain"}, follow_redirects=False)
    assert (answer.status_code, answer.content) == (200, b"# EOF\n")
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8; accept=text/plain"


def test_readiness_names_what_is_missing(config: Config) -> None:
    with client_of(config) as (client, parts):
        assert client.get("/readyz").json() == {"status": "ready"}
        parts.problems.append("the log is not open")
        answer = client.get("/readyz")
        assert "the log is not open" in error(answer, 503)["message"]
        assert client.get("/healthz").status_code == 200


def test_a_hanging_disk_holds_up_neither_metrics_nor_health(config: Config) -> None:
    log = Slow()
    with client_of(config, log) as (client, _), ThreadPoolExecutor(70) as pool:
        waiting = [pool.submit(post, client, event(number)) for number in range(60)]
        try:
            assert log.entered.wait(20)
            for path in ("/metrics", "/readyz", "/healthz"):
                assert pool.submit(client.get, path).result(5).status_code == 200
        finally:
            log.go_on.set()
        assert all(answer.result(20).status_code == 200 for answer in waiting)
