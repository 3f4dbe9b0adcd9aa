"""How kept frames reach an exporter: again while it does not answer, never twice counted, never lost in silence."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from collect_parts import answering, scene
from programs import PATIENCE_S
from visiondrift.collect import delivery
from visiondrift.collect.delivery import ExporterSink
from visiondrift.collect.frames import Frame
from visiondrift.collect.sinks import KeptFrame
from visiondrift.errors import BadInput

Answer = tuple[int, dict[str, Any]]


class StandIn:
    """Answers the way an exporter may: by ``answer``, given the number of the request and its events."""

    def __init__(self, answer: Callable[[int, list[dict[str, Any]]], Answer]) -> None:
        self.answer = answer
        self.batches: list[list[dict[str, Any]]] = []
        self.tokens: set[str | None] = set()
        self.url = ""


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    def answer(_: str, body: Any, headers: Mapping[str, str]) -> Answer:
        stand_in.tokens.add(headers.get("Authorization"))
        stand_in.batches.append(body["events"])
        return stand_in.answer(len(stand_in.batches), body["events"])

    with answering(answer) as stand_in.url:
        yield stand_in


def taken(events: list[dict[str, Any]]) -> Answer:
    return 200, {"stored": len(events), "duplicates": 0, "rejected": []}


def kept(number: int) -> KeptFrame:
    frame = Frame(1_790_000_000.0 + number, scene(number))
    return KeptFrame("hall", frame, ("prompt", "uniform"), model="digits-demo", version="1")


def sent(stand_in: StandIn, count: int, *, token: str | None = None) -> tuple[ExporterSink, list[str]]:
    said: list[str] = []
    sink = ExporterSink(stand_in.url, token=token, stop=threading.Event(), tell=said.append)
    for number in range(count):
        sink.put(kept(number))
    sink.close()
    return sink, said


def test_every_frame_arrives_once_and_in_order() -> None:
    with serving(StandIn(lambda _, events: taken(events))) as exporter:
        sink, _ = sent(exporter, 40, token="secret")
    times = [event["time"] for batch in exporter.batches for event in batch]
    assert (len(times), times) == (40, sorted(times))
    assert dict(sink.counts) == {"stored": 40}
    assert exporter.tokens == {"Bearer secret"}


def test_an_event_carries_all_its_reasons_first_the_one_that_leaves_it_unbiased() -> None:
    with serving(StandIn(lambda _, events: taken(events))) as exporter:
        sent(exporter, 1)
    assert exporter.batches[0][0]["kept"] == "uniform+prompt"


@pytest.mark.parametrize("status", [429, 500, 503, 507])
def test_what_is_not_taken_now_is_sent_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_WAIT", 0.05)
    busy = {"error": {"code": "busy", "message": "in a moment"}}
    with serving(StandIn(lambda number, events: (status, busy) if number <= 2 else taken(events))) as exporter:
        sink, said = sent(exporter, 3)
    assert dict(sink.counts) == {"stored": 3}
    assert len(said) == 1
    assert "in a moment" in said[0]


def test_an_exporter_that_is_away_at_the_end_costs_frames_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_LAST_SECONDS", 1.0)
    stand_in = StandIn(lambda _, events: taken(events))
    stand_in.url = "http://127.0.0.1:9"
    sink, said = sent(stand_in, 5)
    assert dict(sink.counts) == {"lost": 5}
    assert "127.0.0.1:9" in said[0]


def test_frames_that_are_refused_one_by_one_are_counted_and_the_first_reason_is_told() -> None:
    refusal = {"index": 0, "id": "x", "field": "time", "reason": "bad_time", "message": "it is 9 years old"}
    with serving(StandIn(lambda *_: (200, {"stored": 0, "duplicates": 0, "rejected": [refusal]}))) as exporter:
        sink, said = sent(exporter, 1)
    assert dict(sink.counts) == {"rejected": 1}
    assert "9 years old" in said[0]


def test_a_reason_that_has_the_time_of_each_frame_in_it_is_told_once_and_names_the_option_that_helps() -> None:
    def refused(_: int, events: list[dict[str, Any]]) -> Answer:
        each = [
            {"field": "time", "reason": "bad_time", "message": f"time '{event['time']}' lies 900.0 days ago"}
            for event in events
        ]
        return 422, {"error": {"code": "nothing_valid", "message": "none is valid", "rejected": each}}

    with serving(StandIn(refused)) as exporter:
        sink, said = sent(exporter, 40)
    assert dict(sink.counts) == {"rejected": 40}
    assert len(said) == 1
    assert "900.0 days ago" in said[0]
    assert "--start" in said[0]


def test_a_batch_that_is_too_large_is_halved() -> None:
    too_large = (413, {"error": {"code": "too_large", "message": "too large"}})
    with serving(StandIn(lambda _, events: too_large if len(events) > 2 else taken(events))) as exporter:
        sink, _ = sent(exporter, 16)
    assert dict(sink.counts) == {"stored": 16}


def test_a_wrong_token_ends_it_at_once_with_the_exporters_words() -> None:
    wrong = (401, {"error": {"code": "unauthorized", "message": "the token is wrong"}})
    with serving(StandIn(lambda *_: wrong)) as exporter:
        sink, _ = sent(exporter, 3)
    assert "the token is wrong" in sink.problem
    assert sink.counts["lost"] == 3


def test_while_the_exporter_is_away_no_more_than_so_much_waits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_MOST_WAITING_BYTES", 20_000)
    monkeypatch.setattr(delivery, "_LAST_SECONDS", 0.5)
    stop = threading.Event()
    sink = ExporterSink("http://127.0.0.1:9", token=None, stop=stop, tell=lambda _: None)
    put = threading.Thread(target=lambda: [sink.put(kept(number)) for number in range(30)])
    put.start()
    put.join(timeout=1.0)
    assert put.is_alive()
    stop.set()
    put.join(PATIENCE_S)
    sink.close()
    assert dict(sink.counts) == {"lost": 30}


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="accepted is http://HOST:PORT"):
        ExporterSink("localhost:9109", token=None, stop=threading.Event(), tell=lambda _: None)
