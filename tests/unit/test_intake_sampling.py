"""What is kept of a busy model: a fair share, and what is rare or doubtful beside it, each with its reason."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from intake_parts import DIMENSION, MONITORING, NOW, WritePath, configuration, event, reasons, stored_event, write_path
from programs import PATIENCE_S
from visiondrift.intake.receive import Receipt
from visiondrift.intake.sampling import in_share
from visiondrift.log import Window, WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.prediction import sample_of
from visiondrift.reference import save_reference

DOORS: dict[str, Any] = next(model for model in MONITORING["models"] if model["name"] == "doors")
RATE = 0.25
ALWAYS = {"low_confidence": True, "rare_classes": ["ajar"], "unlike": 0.2}
SURE, UNSURE = {"open": 0.9, "shut": 0.1}, {"open": 0.4, "shut": 0.3}


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    with closing(MemoryLog()) as log:
        yield log


@pytest.fixture
def parts(tmp_path: Path, log: MemoryLog) -> Iterator[WritePath]:
    along = np.tile(np.eye(DIMENSION, dtype=np.float32)[:1], (5, 1))
    rows = [stored(number, along[number]) for number in range(5)]
    save_reference(
        tmp_path / "doors",
        sample_of(rows, classes=(), dimension=DIMENSION),
        embedder="own-clip",
        source="a test",
        now=NOW,
    )
    model = {**DOORS, "sampling": {"rate": RATE, "always": ALWAYS}}
    config = configuration(tmp_path, models=[model], reference_data=str(tmp_path))
    with write_path(config, log) as found:
        yield found


def stored(number: int, embedding: Any) -> Any:
    return replace(stored_event(number), embedding=embedding)


def usual(number: int, **fields: Any) -> dict[str, Any]:
    return event(number, **{"embedding": [1.0, 0.1, 0.0, 0.0], "confidences": SURE, **fields})


def sent(parts: WritePath, *rows: dict[str, Any]) -> Receipt:
    receipt = parts.intake.receive(rows)
    receipt.appended.result(timeout=PATIENCE_S)
    return receipt


def read(log: MemoryLog, *, biased: bool) -> Window:
    return log.window(
        WindowQuery(
            model="doors",
            version="1",
            embedder="own-clip",
            since=0.0,
            until=2 * NOW,
            classes=(),
            dimension=DIMENSION,
            limit=10_000,
            biased=biased,
        )
    )


def kept(log: MemoryLog) -> set[str]:
    found = read(log, biased=True).sample.kept
    assert found is not None
    return set(found)


def left_out(count: int) -> list[int]:
    """Numbers of events that chance does not keep."""
    return [number for number in range(100 * count) if not in_share("doors", f"event-{number}", RATE)][:count]


def test_a_share_is_kept_and_the_rest_is_counted(parts: WritePath, log: MemoryLog) -> None:
    receipt = sent(parts, *(usual(number) for number in range(2000)))
    assert receipt.accepted + receipt.sampled_out == 2000
    assert 430 < receipt.accepted < 570
    assert parts.counts.sampled == {"doors": receipt.sampled_out}
    assert parts.counts.reasons == {("doors", "uniform"): receipt.accepted}
    assert read(log, biased=False).total == receipt.accepted


def test_sending_again_meets_the_same_answer(parts: WritePath) -> None:
    rows = [usual(number) for number in range(200)]
    first, again = sent(parts, *rows), sent(parts, *rows)
    assert (again.accepted, again.sampled_out) == (first.accepted, first.sampled_out)
    assert again.appended.result().duplicates == first.accepted


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"confidences": UNSURE}, "low_confidence"),
        ({"predicted_class": "ajar"}, "rare_class"),
        ({"embedding": [0.0, 1.0, 0.0, 0.0]}, "outlier"),
    ],
)
def test_what_a_rule_keeps_is_marked_with_it_and_in_no_window(
    fields: dict[str, Any], reason: str, parts: WritePath, log: MemoryLog
) -> None:
    receipt = sent(parts, *(usual(number, **fields) for number in left_out(20)))
    assert (receipt.accepted, receipt.sampled_out) == (20, 0)
    assert read(log, biased=False).total == 0
    assert kept(log) == {reason}
    assert parts.counts.reasons == {("doors", reason): 20}


def test_all_rules_that_keep_an_event_are_said_and_it_counts_once(parts: WritePath, log: MemoryLog) -> None:
    rare = {"confidences": UNSURE, "predicted_class": "ajar", "embedding": [0.0, 1.0, 0.0, 0.0]}
    sent(parts, *(usual(number, **rare) for number in left_out(5)))
    assert kept(log) == {"low_confidence+outlier+rare_class"}
    assert parts.counts.reasons == {("doors", "low_confidence"): 5}


def test_what_the_clock_of_a_client_chose_is_no_fair_sample_where_only_a_rule_kept_it(
    parts: WritePath, log: MemoryLog
) -> None:
    sent(parts, *(usual(number, kept="every+prompt", confidences=UNSURE) for number in left_out(5)))
    assert kept(log) == {"prompt+low_confidence"}
    assert read(log, biased=False).total == 0


def test_what_chance_keeps_says_too_which_rules_would_have(parts: WritePath, log: MemoryLog) -> None:
    lucky = [number for number in range(100) if in_share("doors", f"event-{number}", RATE)][:4]
    sent(parts, *(usual(number, confidences=UNSURE) for number in lucky[:2]))
    sent(parts, *(usual(number, kept="every+prompt") for number in lucky[2:]))
    assert kept(log) == {"uniform+low_confidence", "every+prompt"}
    assert parts.counts.reasons == {("doors", "uniform"): 2, ("doors", "every"): 2}
    assert read(log, biased=False).total == 4


def test_what_chance_keeps_is_in_the_windows_however_rare_it_is(parts: WritePath, log: MemoryLog) -> None:
    sent(parts, *(usual(number, confidences=UNSURE) for number in range(400)))
    assert read(log, biased=False).total == sum(in_share("doors", f"event-{number}", RATE) for number in range(400))


def test_what_a_client_kept_for_what_it_shows_stays(parts: WritePath, log: MemoryLog) -> None:
    receipt = sent(parts, *(usual(number, kept="prompt") for number in left_out(10)))
    assert (receipt.accepted, receipt.sampled_out) == (10, 0)
    assert parts.counts.reasons == {("doors", "prompt"): 10}
    assert read(log, biased=False).total == 0


def test_the_ratio_of_invalid_events_stays_true(parts: WritePath, log: MemoryLog) -> None:
    receipt = sent(parts, *(usual(number, latency_ms=-1 if number % 2 else 1) for number in range(2000)))
    window = read(log, biased=False)
    assert len(receipt.rejections) == 1000
    assert set(reasons(receipt.rejections)) == {"bad_value"}
    assert 0.44 < window.rejected / (window.rejected + window.total) < 0.56


def test_a_batch_of_which_nothing_is_kept_is_no_error(parts: WritePath) -> None:
    with TestClient(parts.app) as client:
        rows = [usual(number) for number in left_out(3)]
        answer = client.post("/v1/predictions", json={"events": rows})
    assert (answer.status_code, answer.json()) == (
        200,
        {"stored": 0, "duplicates": 0, "sampled_out": 3, "rejected": []},
    )
