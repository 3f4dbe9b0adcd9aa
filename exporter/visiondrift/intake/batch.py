"""Decides how a request's body becomes rows: a JSON batch, a stream of Arrow record batches, or a form with files.

A row is a plain mapping, not yet checked; what is wrong with a single row is the validator's to say (a value that
could not even be read stands in its row as the Refused that says why). What is wrong with
the body as a whole raises BadBody.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from visiondrift.errors import BadInput
from visiondrift.intake.refusal import Refused, shown
from visiondrift.intake.validate import FIELDS

Row = Any
"""One event as sent: whatever stood at its place in the batch."""

CONFIDENCE = "confidence_"
_JSON_ACCEPTED = 'accepted is a JSON object {"events": [{...}, ...]}'
_ARROW_ACCEPTED = (
    "accepted is an Arrow IPC stream with the columns id, time, model, version, and embedding, confidence_<class>, "
    "predicted_class, latency_ms, image, image_uri, trace_id, metadata or slice labels as needed"
)
_FORM_ACCEPTED = "accepted is multipart/form-data with one part events (JSON) and parts images (files)"
_SCALARS = frozenset(FIELDS) - {"slices", "embedding", "confidences"}


class BadBody(BadInput):
    """The body as a whole cannot be read."""


class TooManyEvents(BadInput):
    """The batch has more events than one request may bring."""


def rows_of_json(body: bytes | memoryview, *, max_events: int) -> list[Row]:
    """The rows of ``{"events": [...]}``. Raises BadBody, TooManyEvents."""
    try:
        batch = from_json(bytes(body), allow_inf_nan=True)
    except ValueError as error:
        raise BadBody(f"the body is no JSON ({error}); {_JSON_ACCEPTED}") from error
    if not isinstance(batch, dict) or not isinstance(batch.get("events"), list):
        raise BadBody(f"the body is {shown(batch)}; {_JSON_ACCEPTED}")
    if unknown := batch.keys() - {"events"}:
        raise BadBody(f"the batch has a key {shown(min(unknown))}; {_JSON_ACCEPTED}")
    return bounded(batch["events"], max_events)


def bounded(rows: list[Row], max_events: int) -> list[Row]:
    """The same rows, if there is at least one and not more than ``max_events``."""
    if not rows:
        raise BadBody(f"the batch is empty; accepted are 1 to {max_events} events")
    if len(rows) > max_events:
        raise TooManyEvents(f"the batch has {len(rows)} events; accepted are 1 to {max_events} (intake.max_events)")
    return rows


def rows_of_arrow(body: bytes, *, max_events: int) -> list[Row]:
    """The rows of an Arrow IPC stream. Raises BadBody, TooManyEvents.

    Columns that are no field of an event and no confidence are slice labels; nulls count as not given.
    """
    rows: list[Row] = []
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            _check_columns(reader.schema.names)
            for batch in reader:
                if len(rows) + batch.num_rows > max_events:
                    count = f"{len(rows) + batch.num_rows} or more"
                    raise TooManyEvents(f"the batch has {count} events; accepted are 1 to {max_events}")
                batch.validate(full=True)  # offsets that point outside of the buffers crash the process otherwise
                rows.extend(_rows_of_batch(batch))
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise BadBody(f"the body cannot be read ({error}); {_ARROW_ACCEPTED}") from error
    return bounded(rows, max_events)


def _check_columns(names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BadBody(f"column {min(twice)} is there more than once; {_ARROW_ACCEPTED}")
    for name in ("slices", "confidences"):
        if name in names:
            raise BadBody(f"column {name}: in Arrow these are columns of their own; {_ARROW_ACCEPTED}")


def _rows_of_batch(batch: Any) -> Iterator[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in range(batch.num_rows)]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = _embeddings(column) if name == "embedding" else _values(name, column)
        inside, key = _place(name)
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                (row.setdefault(inside, {}) if inside else row)[key] = value
    return iter(rows)


def _place(name: str) -> tuple[str, str]:
    if name == "embedding" or name in _SCALARS:
        return "", name
    if name.startswith(CONFIDENCE):
        return "confidences", name.removeprefix(CONFIDENCE)
    return "slices", name


def _values(name: str, column: Any) -> Sequence[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name == "time" and pa.types.is_timestamp(column.type):
        # Through integers: to_pylist makes a datetime of each, or pandas objects for nanoseconds.
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return [None if value is None else value / per_second for value in column.cast(pa.int64()).to_pylist()]
    found: Sequence[Any] = column.to_pylist()
    return found


def _embeddings(column: Any) -> Sequence[Any]:
    """One array a row, views of one matrix where all rows are of one length."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        return column.to_pylist()  # type: ignore[no-any-return]
    if column.null_count == 0 and len(column) and column.flatten().null_count == 0:
        lengths = set(column.value_lengths().to_pylist())
        if len(lengths) == 1 and (length := lengths.pop()):
            matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), length)
            return list(matrix)
    return [None if row is None else _array(row) for row in (scalar.values for scalar in column)]


def _array(values: Any) -> Any:
    return values.to_pylist() if values.null_count else np.asarray(values.to_numpy(zero_copy_only=False))


def rows_of_form(content_type: str, body: bytes, *, max_events: int) -> list[Row]:
    """The rows of a form: its part ``events`` is the JSON batch, in which ``image`` is the file name of a part
    ``images``. Raises BadBody, TooManyEvents.
    """
    texts, files = _parts(content_type, body, max_parts=max_events + 1)
    rows = rows_of_json(texts, max_events=max_events)
    named = {row["image"] for row in rows if isinstance(row, dict) and isinstance(row.get("image"), str)}
    if unused := files.keys() - named:
        raise BadBody(f"no event names the file {shown(min(unused))} as its image; {_FORM_ACCEPTED}")
    return [_with_file(row, files) for row in rows]


def _with_file(row: Row, files: Mapping[str, bytes]) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("image"), str):
        return row
    name = row["image"]
    if name in files:
        return {**row, "image": files[name]}
    message = f"the form has no file named {shown(name)}; accepted are {shown(', '.join(sorted(files)), 200)}"
    return {**row, "image": Refused("image", "bad_image", message)}


class _Form:
    """Collects the parts of a form as the parser meets them."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[tuple[dict[str, str], bytearray]] = []
        self.complete = False
        self._max_parts = max_parts
        self._name = b""
        self._value = b""

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }

    def _end(self) -> None:
        self.complete = True

    def _begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            raise TooManyEvents(f"the form has more than {self._max_parts} parts; send fewer events at a time")
        self.parts.append(({}, bytearray()))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1][1].extend(memoryview(data)[start:end])

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self.parts[-1][0].update({key.decode("latin-1"): _utf8(value) for key, value in options.items()})
        self._name = self._value = b""


def _utf8(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _parts(content_type: str, body: bytes, *, max_parts: int) -> tuple[bytes, dict[str, bytes]]:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadBody(f"the content type names no boundary; {_FORM_ACCEPTED}")
    form = _Form(max_parts)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadBody(f"the form cannot be read ({error}); {_FORM_ACCEPTED}") from error
    if not form.complete:
        raise BadBody(f"the form is cut short; {_FORM_ACCEPTED}")
    events: bytes | None = None
    files: dict[str, bytes] = {}
    for headers, data in form.parts:
        name, filename = headers.get("name"), headers.get("filename")
        if name == "events" and events is None:
            events = bytes(data)
        elif name == "images" and filename and filename not in files:
            files[filename] = bytes(data)
        else:
            raise BadBody(f"part {shown(name)} with file name {shown(filename)} has no place here; {_FORM_ACCEPTED}")
    if events is None:
        raise BadBody(f"the form has no part events; {_FORM_ACCEPTED}")
    return events, files
