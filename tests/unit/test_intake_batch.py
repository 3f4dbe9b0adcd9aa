"""Bodies to rows: JSON, Arrow and forms say the same thing, and a body that cannot be read says why."""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_parts import NOW, event, picture
from visiondrift.errors import BadInput
from visiondrift.intake.arrow import rows_of_arrow
from visiondrift.intake.batch import BadBody, TooManyEvents, rows_of_json
from visiondrift.intake.form import rows_of_form
from visiondrift.intake.refusal import Refused

ALMOST = ('{"events": {}}', '{"events": []}', '{"event": [1]}', '{"events": [1], "x": 1}')
BOUNDARY = "frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def arrow(table: Any, rows_each: int = 1000) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_each)
    return sink.getvalue().to_pybytes()


def form(*parts: tuple[str, bytes]) -> bytes:
    lines = [f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data for head, data in parts]
    return b"\r\n".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


def events_part(*rows: dict[str, Any]) -> tuple[str, bytes]:
    return 'name="events"', json.dumps({"events": rows}).encode()


def image_part(name: str, data: bytes) -> tuple[str, bytes]:
    return f'name="images"; filename="{name}"', data


def test_a_json_batch_gives_its_events_as_they_are() -> None:
    rows = [event(1), 3, None, {"id": []}]
    assert rows_of_json(json.dumps({"events": rows}).encode(), max_events=10) == rows


def test_a_number_that_json_does_not_know_costs_its_event_and_not_the_batch() -> None:
    rows = rows_of_json(b'{"events": [{"latency_ms": NaN}, {"latency_ms": 1}]}', max_events=10)
    assert rows[1] == {"latency_ms": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", *map(str.encode, ALMOST)])
def test_a_body_that_is_no_json_batch_says_what_is_accepted(body: bytes) -> None:
    with pytest.raises(BadBody, match="accepted"):
        rows_of_json(body, max_events=10)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(BadBody):
        rows_of_json(b'{"events": ' + b"[" * 100_000, max_events=10)


def test_too_many_events_are_refused_in_every_format() -> None:
    table = pa.table({"id": ["a", "b", "c"]})
    with pytest.raises(TooManyEvents, match="1 to 2"):
        rows_of_json(b'{"events": [1, 2, 3]}', max_events=2)
    with pytest.raises(TooManyEvents, match="1 to 2"):
        rows_of_arrow(arrow(table, rows_each=1), max_events=2)
    with pytest.raises(TooManyEvents):
        rows_of_form(FORM, form(events_part(event(1)), *[image_part(f"{n}", b"") for n in range(9)]), max_events=2)


def columns(**changed: Any) -> dict[str, Any]:
    table = {
        "id": pa.array(["a", "b", "c"]),
        "time": pa.array([NOW, NOW + 1, NOW + 2]),
        "model": pa.array(["doors"] * 3).dictionary_encode(),
        "version": ["1"] * 3,
        "camera": pa.array(["left", None, "right"]).dictionary_encode(),
        "confidence_open": pa.array([0.9, 0.8, None], pa.float32()),
        "confidence_shut": pa.array([0.1, 0.2, None], pa.float32()),
        "latency_ms": [5.0, None, 7.0],
        "embedding": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32())),
    }
    return {**table, **changed}


def test_arrow_columns_become_the_fields_of_json() -> None:
    rows = rows_of_arrow(arrow(pa.table(columns())), max_events=10)
    first = {**rows[0], "embedding": rows[0]["embedding"].tolist()}
    assert first == {
        "id": "a",
        "time": NOW,
        "model": "doors",
        "version": "1",
        "slices": {"camera": "left"},
        "confidences": {"open": pytest.approx(0.9), "shut": pytest.approx(0.1)},
        "latency_ms": 5.0,
        "embedding": [1.0, 2.0],
    }


def test_arrow_nulls_count_as_not_given() -> None:
    rows = rows_of_arrow(arrow(pa.table(columns())), max_events=10)
    assert "slices" not in rows[1]
    assert "latency_ms" not in rows[1]
    assert "confidences" not in rows[2]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("shape", ["list", "large", "fixed"])
def test_arrow_embeddings_of_every_kind_are_read(kind: Any, shape: str) -> None:
    wrapped = {"list": pa.list_(kind), "large": pa.large_list(kind), "fixed": pa.list_(kind, 2)}[shape]
    values = pa.array(np.array([1, 2, 3, 4, 5, 6]).astype(kind.to_pandas_dtype()))
    column = pa.FixedSizeListArray.from_arrays(values, 2).cast(wrapped)
    rows = rows_of_arrow(arrow(pa.table(columns(embedding=column))), max_events=10)
    assert [row["embedding"].tolist() for row in rows] == [[1, 2], [3, 4], [5, 6]]


def test_arrow_rows_of_uneven_length_and_nulls_stay_apart() -> None:
    column = pa.array([[1, 2], None, [5, None]], pa.list_(pa.float32()))
    rows = rows_of_arrow(arrow(pa.table(columns(embedding=column))), max_events=10)
    assert rows[0]["embedding"].tolist() == [1, 2]
    assert "embedding" not in rows[1]
    assert rows[2]["embedding"] == [5, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_timestamps_become_seconds(unit: str) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    column = pa.array([int(NOW) * per_second] * 3, pa.timestamp(unit, tz="UTC"))
    rows = rows_of_arrow(arrow(pa.table(columns(time=column))), max_events=10)
    assert [row["time"] for row in rows] == [NOW] * 3


def test_a_stream_of_several_record_batches_is_one_batch() -> None:
    rows = rows_of_arrow(arrow(pa.table(columns()), rows_each=1), max_events=10)
    assert [row["id"] for row in rows] == ["a", "b", "c"]


@pytest.mark.parametrize("body", [b"", b"no arrow at all", arrow(pa.table({"id": ["a"]}))[:-150]])
def test_a_body_that_is_no_arrow_stream_says_what_is_accepted(body: bytes) -> None:
    with pytest.raises(BadBody, match="accepted"):
        rows_of_arrow(body, max_events=10)


@pytest.mark.parametrize("name", ["slices", "confidences"])
def test_arrow_has_columns_of_their_own_for_what_json_nests(name: str) -> None:
    with pytest.raises(BadBody, match="columns of their own"):
        rows_of_arrow(arrow(pa.table(columns(**{name: ["x"] * 3}))), max_events=10)


@settings(deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_arrow_stream_is_rows_or_refused(position: int, byte: int) -> None:
    body = bytearray(arrow(pa.table(columns())))
    body[position % len(body)] = byte
    with suppress(BadInput):
        assert len(rows_of_arrow(bytes(body), max_events=10)) > 0


def test_a_form_puts_each_file_into_the_event_that_names_it() -> None:
    body = form(
        events_part({"id": "1", "image": "b.png"}, {"id": "2"}, {"id": "3", "image": "a.png"}),
        image_part("a.png", b"\r\n--front\x00"),
        image_part("b.png", picture()),
    )
    rows = rows_of_form(FORM, body, max_events=10)
    assert rows == [{"id": "1", "image": picture()}, {"id": "2"}, {"id": "3", "image": b"\r\n--front\x00"}]


def test_a_file_that_two_events_name_is_given_to_both() -> None:
    body = form(events_part({"image": "a"}, {"image": "a"}), image_part("a", b"x"))
    assert rows_of_form(FORM, body, max_events=10) == [{"image": b"x"}, {"image": b"x"}]


def test_a_file_that_is_not_there_costs_only_its_event() -> None:
    rows = rows_of_form(FORM, form(events_part({"image": "a"}, {"image": "b"}), image_part("a", b"x")), max_events=10)
    assert rows[0] == {"image": b"x"}
    assert isinstance(rows[1]["image"], Refused)
    assert "'b'" in str(rows[1]["image"])


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("multipart/form-data", form(events_part({})), "boundary"),
        (FORM, b"", "cut short"),
        (FORM, form(events_part({}))[:-8], "cut short"),
        (FORM, b"hello", "cannot be read"),
        (FORM, form(image_part("a", b"x")), "no part events"),
        (FORM, form(events_part({}), events_part({})), "no place"),
        (FORM, form(events_part({"image": "a"}), image_part("a", b"x"), image_part("a", b"y")), "no place"),
        (FORM, form(events_part({"image": "a"}), ('name="images"', b"x")), "no place"),
        (FORM, form(events_part({"image": "a"}), image_part("a", b"x"), image_part("b", b"y")), "'b'"),
        (FORM, form(('name="events"', b"{")), "no JSON"),
    ],
)
def test_a_form_that_cannot_be_read_says_why(content_type: str, body: bytes, words: str) -> None:
    with pytest.raises(BadBody, match=words):
        rows_of_form(content_type, body, max_events=10)


@settings(deadline=None)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_form_is_rows_or_refused(position: int, byte: int) -> None:
    body = bytearray(form(events_part({"image": "a.png"}), image_part("a.png", b"x" * 50)))
    body[position % len(body)] = byte
    with suppress(BadInput):
        assert len(rows_of_form(FORM, bytes(body), max_events=10)) == 1
