"""Arrow streams that say much in few bytes are refused before they unfold; what honest clients send still comes in."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from visiondrift.intake.arrow import rows_of_arrow
from visiondrift.intake.batch import BadBody, TooManyEvents

ROWS = 2000
LONG = "x" * 5_000_000
ONCE = pa.array(np.zeros(ROWS, np.int8))


def stream(columns: dict[str, Any], *, rows_each: int = 10_000, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows_each)
    return sink.getvalue().to_pybytes()


def dictionary(text: str) -> Any:
    return pa.DictionaryArray.from_arrays(ONCE, pa.array([text], pa.large_string()))


def views(text: str, rows: int = ROWS) -> Any:
    """A column of ``rows`` views, all of one text."""
    view = np.zeros((rows, 4), np.int32)
    view[:, 0], view[:, 1] = len(text), int.from_bytes(text[:4].encode(), "little")
    return pa.Array.from_buffers(
        pa.string_view(), rows, [None, pa.py_buffer(view.tobytes()), pa.py_buffer(text.encode())]
    )


def embedding_views() -> Any:
    sizes = pa.array(np.full(ROWS, 1_000_000, np.int32))
    return pa.ListViewArray.from_arrays(pa.array(np.zeros(ROWS, np.int32)), sizes, pa.array(np.zeros(1_000_000)))


NULLS = pa.ListArray.from_arrays(pa.array([0] * ROWS + [10**9], pa.int32()), pa.nulls(10**9))
BOMBS = {
    "one long text for all rows by dictionary": {"metadata": dictionary(LONG)},
    "one long text for all rows by views": {"metadata": views(LONG)},
    "one long text for all rows by run": {
        "metadata": pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), pa.array([LONG]))
    },
    "one long embedding for all rows": {"embedding": embedding_views()},
    "a billion nulls": {"metadata": NULLS},
    "a billion nulls as embedding": {"embedding": NULLS},
    "dictionaries inside of lists": {
        "metadata": pa.ListArray.from_arrays(pa.array(np.arange(ROWS + 1), pa.int32()), dictionary(LONG))
    },
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unfolds_into_gigabytes_is_refused(name: str) -> None:
    with pytest.raises(BadBody, match="accepted"):
        rows_of_arrow(stream(BOMBS[name]), max_events=10_000)


def test_a_dictionary_that_comes_again_with_every_row_is_bounded() -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int8()), pa.array([LONG, "left"]))
    with pytest.raises(BadBody, match="dictionaries"):
        rows_of_arrow(stream({"camera": words}, rows_each=1), max_events=10_000)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("column", ["text", "dictionary"])
def test_compressed_buffers_are_refused_before_they_are_unpacked(codec: str, column: str) -> None:
    if not pa.Codec.is_available(codec):
        pytest.skip(f"this pyarrow has no {codec}")
    words = pa.array(["x" * 10_000] * 100)
    body = stream({"metadata": words if column == "text" else words.dictionary_encode()}, compression=codec)
    with pytest.raises(BadBody, match="compressed"):
        rows_of_arrow(body, max_events=10_000)


def test_more_values_than_memory_has_room_for_are_refused() -> None:
    with pytest.raises(TooManyEvents, match="2000 events of 5001 columns"):
        rows_of_arrow(stream({"id": ["a"] * ROWS} | {f"c{i}": pa.nulls(ROWS) for i in range(5000)}), max_events=10_000)


def test_ten_thousand_columns_are_looked_through_at_once() -> None:
    assert rows_of_arrow(stream({f"c{i}": pa.nulls(1) for i in range(10_000)}), max_events=10) == [{}]


def test_texts_by_dictionary_and_by_view_come_in_as_plain_text_does() -> None:
    plain = ["left", None, "a name longer than the twelve bytes of a view"]
    for column in (pa.array(plain).dictionary_encode(), pa.array(plain, pa.string_view()), pa.array(plain)):
        rows = rows_of_arrow(stream({"id": ["a", "b", "c"], "camera": column}), max_events=10)
        assert [row.get("slices", {}).get("camera") for row in rows] == plain


def test_whole_numbers_come_in_as_embedding() -> None:
    rows = rows_of_arrow(stream({"embedding": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8()))}), max_events=10)
    assert [row["embedding"].tolist() for row in rows] == [[1, 2], [3, 4]]
