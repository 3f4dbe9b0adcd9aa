"""Decides which Arrow streams become rows: plain columns only, so that little sent never unfolds into much held.

In Arrow a few bytes can stand for gigabytes: compressed buffers, runs, lists of nulls, views and dictionaries that
name one long text ten thousand times. What may unfold is refused by its type; texts that rows share are bounded.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from visiondrift.intake.batch import BadBody, Row, TooManyEvents, bounded
from visiondrift.intake.validate import FIELDS

CONFIDENCE = "confidence_"
_ACCEPTED = (
    "accepted is an Arrow IPC stream with the columns id, time, model, version, and embedding, confidence_<class>, "
    "predicted_class, latency_ms, image, image_uri, trace_id, metadata, kept or slice labels as needed"
)
_SCALARS = frozenset(FIELDS) - {"slices", "embedding", "confidences"}
_MOST_SHARED = 64 * 2**20
"""Bytes of text that rows of one stream may name through dictionaries and views."""
_MOST_CELLS = 10_000_000
"""Rows by columns of one stream: each value becomes a Python object of some fifty bytes."""
_VIEW = 4  # int32 values of one view, the first of which is its length
_UNREADABLE = (
    pa.ArrowException,
    OSError,
    OverflowError,
    UnicodeDecodeError,
    struct.error,
)

_TYPES = pa.types
_PLAIN = (
    _TYPES.is_null,
    _TYPES.is_boolean,
    _TYPES.is_integer,
    _TYPES.is_floating,
    _TYPES.is_string,
    _TYPES.is_large_string,
    _TYPES.is_binary,
    _TYPES.is_large_binary,
)


def rows_of_arrow(body: bytes, *, max_events: int) -> list[Row]:
    """The rows of an Arrow IPC stream. Raises BadBody, TooManyEvents.

    Columns that are no field of an event and no confidence are slice labels; nulls count as not given.
    """
    rows: list[Row] = []
    shared = 0
    try:
        _refuse_compressed(body)
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            _check_columns(reader.schema)
            for batch in reader:
                _check_size(len(rows) + batch.num_rows, batch.num_columns, max_events)
                shared = _bounded_text(shared + sum(map(_text_to_check, batch.columns)))
                batch.validate(full=True)  # offsets that point outside of the buffers crash the process otherwise
                shared = _bounded_text(shared + sum(map(_text_by_index, batch.columns)))
                rows.extend(_rows_of_batch(batch))
    except _UNREADABLE as error:
        raise BadBody(f"the body cannot be read ({error}); {_ACCEPTED}") from error
    return bounded(rows, max_events)


def _check_size(rows: int, columns: int, max_events: int) -> None:
    if rows > max_events:
        raise TooManyEvents(f"the batch has {rows} or more events; accepted are 1 to {max_events}")
    if rows * columns > _MOST_CELLS:
        size = f"{rows} events of {columns} columns"
        raise TooManyEvents(f"the batch has {size}; accepted are at most {_MOST_CELLS} values; send fewer at a time")


def _check_columns(schema: Any) -> None:
    seen: set[str] = set()
    for field in schema:
        if field.name in seen:
            raise BadBody(f"column {field.name} is there more than once; {_ACCEPTED}")
        seen.add(field.name)
        if field.name in ("slices", "confidences"):
            raise BadBody(f"column {field.name}: in Arrow these are columns of their own; {_ACCEPTED}")
        if field.name == "embedding":
            _check_embedding(field.type)
        elif not (_is_plain(field.type) or (field.name == "time" and _TYPES.is_timestamp(field.type))):
            accepted = "accepted are text, numbers and true or false, a timestamp for time, bytes for image"
            raise BadBody(f"column {field.name} holds {field.type}; {accepted}")


def _is_plain(kind: Any) -> bool:
    if _TYPES.is_dictionary(kind):
        return bool(_TYPES.is_string(kind.value_type) or _TYPES.is_large_string(kind.value_type))
    return _is_view(kind) or any(check(kind) for check in _PLAIN)


def _is_view(kind: Any) -> bool:
    return bool(kind in (pa.string_view(), pa.binary_view()))


def _check_embedding(kind: Any) -> None:
    is_list = _TYPES.is_list(kind) or _TYPES.is_large_list(kind) or _TYPES.is_fixed_size_list(kind)
    is_number = is_list and (_TYPES.is_floating(kind.value_type) or _TYPES.is_integer(kind.value_type))
    if not (is_number or _TYPES.is_null(kind)):
        raise BadBody(f"column embedding holds {kind}; accepted is a list of numbers, best of float32 or float16")


def _text_to_check(column: Any) -> int:
    """Bytes of text that checking a column would read, more than once where rows share it. Nothing is valid yet."""
    if _TYPES.is_dictionary(column.type):
        return sum(buffer.size for buffer in column.dictionary.buffers() if buffer)
    if _is_view(column.type):
        views = column.buffers()[1]
        lengths = np.frombuffer(views, dtype="<i4", count=views.size // 4)[::_VIEW] if views else np.zeros(0)
        return int(lengths.clip(0).sum(dtype=np.int64))
    return 0


def _text_by_index(column: Any) -> int:
    """Bytes of text that the rows of a valid column name in its dictionary, each time counted."""
    if not _TYPES.is_dictionary(column.type):
        return 0
    return int(pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0)


def _bounded_text(shared: int) -> int:
    if shared > _MOST_SHARED:
        what = f"its rows share more than {_MOST_SHARED} bytes of text by dictionaries or views"
        raise BadBody(f"{what}; accepted is plain text, or fewer events at a time")
    return shared


def _rows_of_batch(batch: Any) -> Iterator[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in range(batch.num_rows)]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if _TYPES.is_null(column.type):
            continue
        values = _embeddings(column) if name == "embedding" else _values(column)
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


def _values(column: Any) -> Sequence[Any]:
    if _TYPES.is_dictionary(column.type):
        words = column.dictionary.to_pylist()  # each text once: rows share it
        return [None if index is None else words[index] for index in column.indices.to_pylist()]
    if _TYPES.is_timestamp(column.type):
        # Through integers: to_pylist makes a datetime of each, or pandas objects for nanoseconds.
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return [None if value is None else value / per_second for value in column.cast(pa.int64()).to_pylist()]
    found: Sequence[Any] = column.to_pylist()
    return found


def _embeddings(column: Any) -> Sequence[Any]:
    """One array a row, views of one matrix where all rows are of one length."""
    if column.null_count == 0 and len(column) and column.flatten().null_count == 0:
        lengths = set(column.value_lengths().to_pylist())
        if len(lengths) == 1 and (length := lengths.pop()):
            matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), length)
            return list(matrix)
    return [None if row is None else _array(row) for row in (scalar.values for scalar in column)]


def _array(values: Any) -> Any:
    return values.to_pylist() if values.null_count else np.asarray(values.to_numpy(zero_copy_only=False))


# ---- compression: pyarrow unfolds a message as it reads it, so its description is read first --------------------

_HEADER_TYPE, _HEADER = 1, 2  # fields of the FlatBuffers table Message, in their order
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # values of header_type
_DATA = 1  # field of DictionaryBatch
_COMPRESSION = 3  # field of RecordBatch


def _refuse_compressed(body: bytes) -> None:
    """Source of the layout: format/Message.fbs of Apache Arrow. Raises BadBody, struct.error, ArrowException."""
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        if _is_compressed(message.metadata.to_pybytes()):
            raise BadBody(f"the Arrow buffers are compressed; {_ACCEPTED}, not compressed")


def _is_compressed(description: bytes) -> bool:
    root = struct.unpack_from("<I", description)[0]
    kind_at, header_at = (_field(description, root, number) for number in (_HEADER_TYPE, _HEADER))
    kind = struct.unpack_from("<B", description, kind_at)[0] if kind_at else 0
    if not header_at or kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return False
    batch = _followed(description, header_at)
    if kind == _DICTIONARY_BATCH:
        data_at = _field(description, batch, _DATA)
        if not data_at:
            return False
        batch = _followed(description, data_at)
    return bool(_field(description, batch, _COMPRESSION))


def _followed(buffer: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", buffer, at)[0])


def _field(buffer: bytes, table: int, number: int) -> int:
    """Where a field of a FlatBuffers table lies; 0 where it is not given."""
    layout = table - struct.unpack_from("<i", buffer, table)[0]
    entry = 4 + 2 * number
    if entry >= struct.unpack_from("<H", buffer, layout)[0]:
        return 0
    offset = struct.unpack_from("<H", buffer, layout + entry)[0]
    return table + offset if offset else 0
