"""The one file format: which Parquet columns hold a sample, in references, in exports and in ``evaluate --window``.

=====================  ====================================================  ========================================
column                 written as                                            also read
=====================  ====================================================  ========================================
``time``               timestamp[us, UTC]                                    any timestamp (naive means UTC), epoch
                                                                             seconds, ISO 8601 text
``embedding``          list<float32>; null where missing                     large or fixed-size lists, float16/64
``predicted_class``    string; null where unknown                            dictionary, integers
``label``              string, the true class; null where unknown; only      dictionary, integers; may be left out
                       where the sample has labels
``confidence_<class>`` float32, 0 to 1; null where missing                   float16/64, integers
``id``                 string                                                dictionary, integers; may be left out
                                                                             or null; of several rows with one id
                                                                             ``read_events`` reads the first
``latency_ms``         float64; null where not given                         any number; may be left out
``image_<property>``   float32, one for each of ``PROPERTIES``; null where   any number; all of them or none
                       the image was not measured
``image_layout``       list<float32>; null as the properties                 may be left out
``kept``               string, why the event was kept, ``every+prompt``      dictionary; rows that were chosen by
                       for two reasons; null where all was sent; only        what they show alone are not read
                       where some have a reason
a slice label          string; null where an event has none                  dictionary
=====================  ====================================================  ========================================

Only ``time`` must be there, and something to compare: embeddings, predicted classes or confidences. A column with the
name of another field (``RESERVED_LABELS``) is never a slice. Rows are counted from 0. Everything wrong raises BadInput
with file, column and what is accepted.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visiondrift.config.monitoring import RESERVED_LABELS
from visiondrift.errors import BadInput
from visiondrift.prediction import KEPT, LAYOUT_SIDE, PROPERTIES, Sample, joined_reasons, reasons_of
from visiondrift.whole_file import written_whole

CONFIDENCE = "confidence_"
"""What the name of a confidence column begins with; the class follows."""

MEASURED = tuple(f"image_{name}" for name in PROPERTIES)
"""The columns of the properties of images."""

LAYOUT = "image_layout"
KEPT_FOR = "kept"

_METADATA = b"visiondrift"
_NAMING = ("predicted_class", "label")  # the columns whose values are classes
_LABEL = re.compile(r"[a-z][a-z0-9_]{0,30}")
_ACCEPTED = (
    "time, embedding, predicted_class, confidence_<class>, label, id, latency_ms and slice labels such as camera"
)
_LATEST_SECONDS = 1e11  # the year 5138: a larger number is milliseconds
_ROUNDING = 1e-6  # a softmax in float16 or float32 may end this far outside of 0 to 1


def read_sample(path: Path, *, classes: Sequence[str] | None = None, slices: Sequence[str] | None = None) -> Sample:
    """The sample in a Parquet file, sorted by time: every row, but for those kept for what they show alone.

    ``classes`` gives the order of the confidence columns of the answer (NaN where the file lacks one; a class of the
    file that is not among them is an error, be it predicted or true); left out, they are the file's own. ``slices``
    names the slice columns to read, all of which must be there; left out, every text column that is nothing else is
    one. Embeddings are kept as they are; a row that is null, all zeros or not finite counts as missing.

    Raises BadInput.
    """
    return _in_order(_sample(_Columns(path), classes, slices).unbiased())


def read_events(path: Path, *, classes: Sequence[str] | None = None, tell: Callable[[str], None]) -> Sample:
    """The sample in a file that anybody may have made, sorted by time, as the log would have taken its rows in.

    An id counts once: of rows with the same one the first is read, as ``PredictionLog.append`` has it; rows without an
    id are events of their own. ``classes`` as of ``read_sample``. ``tell`` is given a sentence for each reason why rows
    are left out. Raises BadInput, also where no row is left.
    """
    columns = _Columns(path)
    given = _sample(columns, classes, None)
    once = _once(given, columns.first_rows())
    found = once.unbiased()
    if len(once) < len(given):
        tell(
            f"{path}: {len(given) - len(once):,} of {len(given):,} rows are left out, as a row before has their id: an "
            "id counts once, as in the prediction log"
        )
    if not len(found):
        raise BadInput(
            f"{path}: column {KEPT_FOR}: all {len(once):,} events were kept for what they show alone, and say nothing "
            "of what is usual; accepted are some that chance or the clock chose, or that are null there"
        )
    if len(found) < len(once):
        tell(f"{path}: {len(once) - len(found):,} events that were kept for what they show alone are left out")
    return _in_order(found)


def _sample(columns: "_Columns", classes: Sequence[str] | None, slices: Sequence[str] | None) -> Sample:
    """All rows of a file, in its order."""
    times = columns.times()
    names = columns.classes() if classes is None else tuple(classes)
    confidences = columns.confidences(names)
    properties = columns.properties()
    return Sample(
        times=times,
        ids=columns.ids(),
        slices={label: columns.texts(label) for label in columns.slice_labels(slices)},
        classes=names,
        embeddings=columns.embeddings(),
        confidences=confidences,
        predicted=columns.predicted(names, confidences),
        latency_ms=columns.numbers("latency_ms") if "latency_ms" in columns.names else np.full(len(times), np.nan),
        labels=columns.true(names),
        properties=properties,
        layouts=None if properties is None else columns.layouts(properties),
        kept=columns.kept(),
    )


def _once(sample: Sample, first: NDArray[np.intp]) -> Sample:
    """The rows that are their own ``first`` (n,). What an event that comes again is kept for is added to what it was
    kept for before, if that was anything, as in the log.
    """
    rows = np.arange(len(sample))
    if sample.kept is not None:
        kept = sample.kept.copy()
        at = np.round(sample.times * 1e6)
        for again in np.flatnonzero(first != rows):
            row = first[again]
            if at[row] == at[again] and all(values[row] == values[again] for values in sample.slices.values()):
                kept[row] = joined_reasons(kept[row], kept[again])
        sample = replace(sample, kept=kept)
    return sample.take(first == rows)


def _in_order(sample: Sample) -> Sample:
    times = sample.times
    ascending = bool(np.all(times[1:] >= times[:-1]))
    return sample if ascending else sample.take(np.argsort(times, kind="stable"))


def confident_classes_in(path: Path) -> frozenset[str]:
    """The classes of a readable file that have a confidence column."""
    names = pq.read_schema(path).names
    return frozenset(name.removeprefix(CONFIDENCE) for name in names if name.startswith(CONFIDENCE))


def classes_in(path: Path) -> tuple[str, ...]:
    """The classes of a file: its confidence columns in order, then predicted and true ones without such, sorted."""
    return _Columns(path).classes()


def write_sample(path: Path, sample: Sample) -> None:
    """Write ``sample`` as a Parquet file, whole or not at all. Raises BadInput where a slice label cannot be a column,
    and OSError where the file cannot be written.
    """
    columns: dict[str, Any] = {
        "time": pa.array(np.round(sample.times * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
        "id": pa.array(sample.ids, pa.string()),
    }
    for label, values in sample.slices.items():
        _check_label(path, label)
        columns[label] = pa.array(values, pa.string(), mask=np.asarray(values == "", dtype=bool))
    names = np.array([*sample.classes, None], dtype=object)  # -1, unknown, picks the None
    if sample.classes:
        columns["predicted_class"] = pa.array(names[sample.predicted], pa.string())
    if sample.labels is not None:
        columns["label"] = pa.array(names[np.maximum(sample.labels, -1)], pa.string())
    for index, name in enumerate(sample.classes):
        shares = sample.confidences[:, index]
        columns[CONFIDENCE + name] = pa.array(shares, pa.float32(), mask=np.isnan(shares))
    columns["latency_ms"] = pa.array(sample.latency_ms, pa.float64(), mask=np.isnan(sample.latency_ms))
    if sample.properties is not None:
        for index, name in enumerate(MEASURED):
            columns[name] = pa.array(sample.properties[:, index], pa.float32(), mask=~sample.has_properties)
    if sample.layouts is not None:
        columns[LAYOUT] = _lists(sample.layouts, sample.has_properties)
    if sample.kept is not None:
        columns[KEPT_FOR] = pa.array(sample.kept, pa.string(), mask=np.asarray(sample.kept == "", dtype=bool))
    if sample.dimension:
        columns["embedding"] = _lists(sample.embeddings, sample.has_embedding)
    notes = json.dumps({"format": 1, "dimension": sample.dimension})
    table = pa.table(columns).replace_schema_metadata({_METADATA: notes.encode()})
    _write(path, table)


def _write(path: Path, table: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with written_whole(path) as file:
        pq.write_table(table, file, compression="zstd", use_dictionary=texts)


def _lists(matrix: NDArray[np.float32], present: NDArray[np.bool_]) -> Any:
    """Rows of ``matrix`` (n, d) as lists; null where not ``present`` (n,)."""
    offsets = np.concatenate([[0], np.cumsum(present * matrix.shape[1])]).astype(np.int64)
    values = pa.array(matrix[present].reshape(-1))
    return pa.LargeListArray.from_arrays(offsets, values, mask=pa.array(~present)).cast(pa.list_(pa.float32()))


def _check_label(path: Path, label: str) -> None:
    if label in RESERVED_LABELS or label.startswith(CONFIDENCE):
        msg = f"{path}: {label} cannot be a slice label, it is a column of its own; choose another name"
        raise BadInput(msg)
    if not _LABEL.fullmatch(label):
        msg = (
            f"{path}: column {label!r} cannot be a slice label; accepted are lower-case letters, digits and _, "
            "at most 31, a letter first: rename the column or leave it out"
        )
        raise BadInput(msg)


class _Columns:
    """The columns of one file, each converted whole; knows the path so that every complaint names it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            found = "it is a directory" if path.is_dir() else "there is no such file"
            raise BadInput(f"{path}: {found}; accepted is a Parquet file with the columns {_ACCEPTED}")
        try:
            with pq.ParquetFile(path) as file:
                self.names: list[str] = file.schema_arrow.names
                self._check_names(file.metadata.num_rows)
                wanted = [name for name in self.names if self._is_wanted(file.schema_arrow.field(name))]
                self._table = file.read(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInput(f"{path}: this is not a readable Parquet file ({reason})") from error
        self._rows: int = self._table.num_rows

    def _check_names(self, rows: int) -> None:
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise BadInput(f"{self._path}: column {twice[0]} is there more than once; accepted is one of each name")
        if "time" not in self.names:
            raise self._bad("time", f"there is no such column, only {', '.join(self.names)}")
        if not any(name in {"embedding", "predicted_class"} or name.startswith(CONFIDENCE) for name in self.names):
            msg = (
                f"{self._path}: nothing to compare; accepted is at least one of the columns embedding, "
                f"predicted_class and confidence_<class>, found are {', '.join(self.names)}"
            )
            raise BadInput(msg)
        if rows == 0:
            raise BadInput(f"{self._path}: the file has no rows; accepted is one row for each prediction")

    @staticmethod
    def _is_wanted(field: Any) -> bool:
        known = {"time", "id", "embedding", *_NAMING, "latency_ms", *MEASURED, LAYOUT, KEPT_FOR}
        if field.name in known or field.name.startswith(CONFIDENCE):
            return True
        return field.name not in RESERVED_LABELS and not pa.types.is_nested(field.type)

    def _bad(self, column: str, what: str) -> BadInput:
        words = {
            "time": "timestamps, ISO 8601 text or seconds since the epoch, one in every row",
            "embedding": "a list of floats of one length in every row, null where missing",
            "predicted_class": "text, null where unknown",
            "label": "text, null where unknown",
            "id": "text or whole numbers",
            "latency_ms": "numbers, null where not given",
            KEPT_FOR: f"one of {', '.join(KEPT)}, or several joined by +, null where everything was sent",
            LAYOUT: f"a list of {LAYOUT_SIDE**2} floats in every row, null where the image was not measured",
        } | dict.fromkeys(MEASURED, f"finite numbers, null where not measured, and all of {', '.join(MEASURED)}")
        accepted = words.get(
            column, "numbers from 0 to 1, null where missing" if column.startswith(CONFIDENCE) else "text"
        )
        return BadInput(f"{self._path}: column {column}: {what}; accepted is {accepted}")

    def _column(self, name: str) -> Any:
        return self._table.column(name).combine_chunks()

    def times(self) -> NDArray[np.float64]:
        """(n,) seconds since the epoch, in the order of the file."""
        column = self._column("time")
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        self._refuse_rows("time", column.is_null().to_numpy(zero_copy_only=False), lambda _: "is null")
        if pa.types.is_timestamp(column.type):
            return self._seconds(column)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return self._seconds(self._parsed(column))
        seconds = self.numbers("time")
        odd = ~np.isfinite(seconds) | (np.abs(seconds) > _LATEST_SECONDS)
        self._refuse_rows("time", odd, lambda row: f"is {seconds[row]:g}, which are not seconds")
        return seconds

    @staticmethod
    def _seconds(column: Any) -> NDArray[np.float64]:
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return np.asarray(column.cast(pa.int64()).to_numpy() / per_second, dtype=np.float64)

    def _parsed(self, column: Any) -> Any:
        zoned = pc.match_substring_regex(column, r"[Tt ].*(?:[Zz]|[+-]\d\d:?\d\d)$")
        texts = pc.if_else(zoned, column, pc.binary_join_element_wise(column, "Z", ""))
        dated = pc.match_substring_regex(column, r"^\d{4}-\d\d-\d\d$")
        texts = pc.if_else(dated, pc.binary_join_element_wise(column, "T00:00:00Z", ""), texts)
        kind = pa.timestamp("ns", tz="UTC")
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            odd = np.array([not _is_castable(text, kind) for text in texts])
            self._refuse_rows("time", odd, lambda row: f"is {column[row].as_py()!r}")
            raise

    def numbers(self, name: str) -> NDArray[np.float64]:
        """(n,) a column of numbers; NaN where null."""
        column = self._column(name)
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise self._bad(name, f"it holds {kind}")
        if pa.types.is_null(kind):
            return np.full(self._rows, np.nan)
        values = column.to_numpy(zero_copy_only=False)
        if column.null_count and pa.types.is_float16(kind):
            values = np.array(values, dtype=np.float64)
        return np.asarray(values, dtype=np.float64)

    def texts(self, name: str) -> NDArray[np.object_]:
        """(n,) a column of text; "" where null."""
        column = self._text_column(name)
        return np.asarray(pc.fill_null(column, "").to_numpy(zero_copy_only=False), dtype=object)

    def _text_column(self, name: str) -> Any:
        column = self._column(name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise self._bad(name, f"it holds {kind}")
        return column.cast(pa.string())

    def ids(self) -> NDArray[np.object_]:
        """(n,) the column ``id``; the number of the row where there is none."""
        rows = np.arange(self._rows).astype(str).astype(object)
        if "id" not in self.names:
            return rows
        given = self.texts("id")
        return np.where(given == "", rows, given)

    def first_rows(self) -> NDArray[np.intp]:
        """(n,) the first row with the same ``id``; itself for a row that has none."""
        rows = np.arange(self._rows)
        if "id" not in self.names:
            return rows
        column = self._text_column("id")
        numbers = pc.fill_null(column.dictionary_encode().indices, -1).to_numpy()
        _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
        return np.where(self.texts("id") == "", rows, first[place.reshape(-1)])

    def slice_labels(self, wanted: Sequence[str] | None) -> list[str]:
        """The slice columns: those wanted, or every text column that is nothing else."""
        if wanted is None:
            labels = [field.name for field in self._table.schema if self._is_slice(field)]
            for label in labels:
                _check_label(self._path, label)
            return labels
        for label in wanted:
            if label not in self._table.column_names:
                raise BadInput(
                    f"{self._path}: there is no column {label} for the slice label of that name; "
                    f"found are {', '.join(self.names)}"
                )
        return list(wanted)

    @staticmethod
    def _is_slice(field: Any) -> bool:
        if field.name in {*RESERVED_LABELS, *MEASURED} or field.name.startswith((CONFIDENCE, "__")):
            return False
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        return _is_text(kind)

    def classes(self) -> tuple[str, ...]:
        """Classes with a confidence column, in order; then those that are only predicted or true, sorted."""
        named = [name.removeprefix(CONFIDENCE) for name in self.names if name.startswith(CONFIDENCE)]
        columns = [self._text_column(name) for name in _NAMING if name in self.names]
        others = {text for column in columns for text in pc.unique(column).to_pylist()} - {None, ""}
        return (*named, *sorted(others.difference(named)))

    def confidences(self, classes: tuple[str, ...]) -> NDArray[np.float32]:
        """(n, C) in the order of ``classes``; NaN where missing."""
        position = {name: index for index, name in enumerate(classes)}
        matrix = np.full((self._rows, len(classes)), np.nan, dtype=np.float32)
        for column in (name for name in self.names if name.startswith(CONFIDENCE)):
            index = position.get(column.removeprefix(CONFIDENCE))
            if index is None:
                raise BadInput(
                    f"{self._path}: column {column} names a class that is not configured; "
                    f"accepted are {', '.join(classes) or 'none'}"
                )
            values = self.numbers(column)
            odd = np.abs(values - 0.5) > 0.5 + _ROUNDING
            self._refuse_rows(column, odd, partial(_is_number, values))
            matrix[:, index] = np.clip(values, 0, 1)
        return matrix

    def predicted(self, classes: tuple[str, ...], confidences: NDArray[np.float32]) -> NDArray[np.int32]:
        """(n,) indices into ``classes``, -1 where unknown; without such a column the class of highest confidence."""
        if "predicted_class" not in self.names:
            known = ~np.isnan(confidences).all(axis=1) if classes else np.zeros(self._rows, dtype=bool)
            indices = np.full(self._rows, -1, dtype=np.int32)
            if known.any():
                indices[known] = np.nanargmax(confidences[known], axis=1)
            return indices
        return self._indices("predicted_class", classes)

    def true(self, classes: tuple[str, ...]) -> NDArray[np.int32] | None:
        """(n,) indices of the true classes into ``classes``, -1 where unknown; None without such a column."""
        return self._indices("label", classes) if "label" in self.names else None

    def _indices(self, name: str, classes: tuple[str, ...]) -> NDArray[np.int32]:
        column = self._text_column(name)
        if not classes:
            found: NDArray[np.int32] = np.full(self._rows, -1, dtype=np.int32)
        else:
            found = pc.fill_null(pc.index_in(column, pa.array(classes, pa.string())), -1).to_numpy()
        given = pc.fill_null(column, "").to_numpy(zero_copy_only=False)
        self._refuse_rows(
            name,
            (found < 0) & (given != ""),
            lambda row: f"is {given[row]!r}, which is not one of the classes {', '.join(classes) or '(none)'}",
        )
        return np.asarray(found, dtype=np.int32)

    def properties(self) -> NDArray[np.float32] | None:
        """(n, P) what was measured of the images, NaN rows where nothing was; None without such columns."""
        if not any(name in self.names for name in MEASURED):
            return None
        matrix = np.empty((self._rows, len(MEASURED)), dtype=np.float32)
        for index, name in enumerate(MEASURED):
            if name not in self.names:
                raise self._bad(name, "there is no such column, though others of its kind are there")
            matrix[:, index] = self.numbers(name)
            self._refuse_rows(name, np.isinf(matrix[:, index]), lambda _: "is not finite")
        matrix[np.isnan(matrix).any(axis=1)] = np.nan
        return matrix

    def layouts(self, properties: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, LAYOUT_SIDE²) where the edges of the images are; NaN rows where there are no ``properties`` (n, P)."""
        matrix = np.full((self._rows, LAYOUT_SIDE**2), np.nan, dtype=np.float32)
        if LAYOUT in self.names:
            given = self._vectors(LAYOUT, empty=LAYOUT_SIDE**2)
            if given.shape[1] != LAYOUT_SIDE**2:
                raise self._bad(LAYOUT, f"it has {given.shape[1]} values a row")
            matrix = given
        matrix[np.isnan(properties[:, 0])] = np.nan
        return matrix

    def kept(self) -> NDArray[np.object_] | None:
        """(n,) why each event was kept, "" where everything was sent; None without such a column."""
        if KEPT_FOR not in self.names:
            return None
        given = self.texts(KEPT_FOR)
        unknown = np.array([not _is_of_reasons(kept) for kept in given], dtype=bool)
        self._refuse_rows(KEPT_FOR, unknown, lambda row: f"holds {given[row]!r}")
        return given

    def embeddings(self) -> NDArray[np.float32]:
        """(n, d) with NaN rows where missing; d is 0 where the file has no embedding at all."""
        dimension = self._noted_dimension()
        if "embedding" not in self.names:
            return np.full((self._rows, dimension), np.nan, dtype=np.float32)
        matrix = self._vectors("embedding", empty=dimension)
        useless = ~np.isfinite(matrix).all(axis=1) | ~matrix.any(axis=1)
        matrix[useless] = np.nan
        return matrix

    def _vectors(self, name: str, empty: int = 0) -> NDArray[np.float32]:
        """(n, d) a column of lists, NaN rows where null; d is ``empty`` where all are."""
        column = self._column(name)
        kind = column.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if pa.types.is_null(kind):
            return np.full((self._rows, empty), np.nan, dtype=np.float32)
        if not is_list or not pa.types.is_floating(kind.value_type):
            raise self._bad(name, f"it holds {kind}")
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        filled = lengths > 0
        if not filled.any():
            return np.full((self._rows, empty), np.nan, dtype=np.float32)
        first = int(np.argmax(filled))
        dimension = int(lengths[first])
        self._refuse_rows(
            name,
            filled & (lengths != dimension),
            lambda row: f"has {lengths[row]} values, row {first} has {dimension}",
        )
        matrix = np.full((self._rows, dimension), np.nan, dtype=np.float32)
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite: of no use to whoever asks
            matrix[filled] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
        return matrix

    def _noted_dimension(self) -> int:
        notes = (self._table.schema.metadata or {}).get(_METADATA)
        try:
            return int(json.loads(notes)["dimension"]) if notes else 0
        except (ValueError, KeyError, TypeError):
            return 0

    def _refuse_rows(self, column: str, odd: NDArray[np.bool_], what: Callable[[int], str]) -> None:
        if odd.any():
            row = int(np.argmax(odd))
            more = int(odd.sum()) - 1
            others = f" (and {more} more rows like it)" if more else ""
            raise self._bad(column, f"row {row} {what(row)}{others}")


def _is_of_reasons(kept: str) -> bool:
    try:
        reasons_of(kept)
    except ValueError:
        return False
    return True


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(values: NDArray[np.float64], row: int) -> str:
    return f"is {values[row]:g}"


def _is_castable(value: Any, kind: Any) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
