"""The Parquet format: what is written comes back, what people bring is read, what cannot be used is said."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from visiondrift.errors import BadInput
from visiondrift.log import WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.parquet import classes_in, read_events, read_sample, write_sample
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, PredictionEvent, Sample, sample_of

NOON = 1_790_000_000.0


def write(path: Path, **columns: Any) -> Path:
    file = path / "window.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def refusal(file: Path, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        read_sample(file, **options)
    text = str(caught.value)
    assert text.startswith(str(file))
    return text.removeprefix(f"{file}: ")


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    n = draw(st.integers(1, 8))
    d = draw(st.integers(0, 4))
    classes = tuple(draw(st.lists(st.text(min_size=1, max_size=4), max_size=3, unique=True)))
    micros = draw(st.lists(st.integers(0, 4_000_000_000_000_000), min_size=n, max_size=n))
    unit = st.floats(-1, 1, width=32).filter(lambda value: abs(value) > 0.001)
    embeddings = draw(npst.arrays(np.float32, (n, d), elements=unit))
    embeddings[draw(npst.arrays(bool, n))] = np.nan
    confidences = draw(npst.arrays(np.float32, (n, len(classes)), elements=st.floats(0, 1, width=32)))
    confidences[draw(npst.arrays(bool, confidences.shape))] = np.nan
    labels = draw(st.lists(st.sampled_from(["camera", "site", "lens"]), unique=True))
    texts = st.lists(st.text(max_size=5), min_size=n, max_size=n)
    latency = draw(npst.arrays(np.float64, n, elements=st.floats(0, 1e6)))
    latency[draw(npst.arrays(bool, n))] = np.nan
    indices = npst.arrays(np.int32, n, elements=st.integers(-1, len(classes) - 1))
    measured = draw(st.booleans())
    properties = draw(npst.arrays(np.float32, (n, len(PROPERTIES)), elements=st.floats(-9, 9, width=32)))
    layouts = np.tile(np.arange(LAYOUT_SIDE**2, dtype=np.float32), (n, 1))
    unseen = draw(npst.arrays(bool, n))
    properties[unseen] = layouts[unseen] = np.nan
    return Sample(
        times=np.array(sorted(micros)) / 1e6,
        ids=np.array(draw(st.lists(st.text(min_size=1), min_size=n, max_size=n)), dtype=object),
        slices={label: np.array(draw(texts), dtype=object) for label in labels},
        classes=classes,
        embeddings=embeddings,
        confidences=confidences,
        predicted=draw(indices),
        latency_ms=latency,
        labels=draw(st.none() | indices),
        properties=properties if measured else None,
        layouts=layouts if measured else None,
    )


@given(sample=samples())
@settings(max_examples=60, deadline=None)
def test_a_sample_comes_back_as_it_was_written(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every column, every missing value, the order of the classes; times to the microsecond."""
    file = tmp_path_factory.mktemp("round") / "sample.parquet"
    write_sample(file, sample)
    if not sample.classes and not sample.dimension:
        return
    back = read_sample(file)
    assert back.classes == sample.classes
    for name in ("times", "ids", "embeddings", "confidences", "predicted", "latency_ms"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sample, name), err_msg=name)
        assert getattr(back, name).dtype == getattr(sample, name).dtype
    if sample.labels is None:
        assert back.labels is None
    else:
        assert back.labels is not None
        np.testing.assert_array_equal(back.labels, sample.labels)
        assert back.labels.dtype == np.int32
    for name in ("properties", "layouts"):
        written, read = getattr(sample, name), getattr(back, name)
        assert (read is None) == (written is None)
        if written is not None:
            np.testing.assert_array_equal(read, written, err_msg=name)
            assert read.dtype == np.float32
    assert set(back.slices) == set(sample.slices)
    for label, values in sample.slices.items():
        assert list(back.slices[label]) == list(values)


TIMES = {
    "timestamp with zone": pa.array([1_790_000_000_000_000], pa.timestamp("us", tz="Europe/Berlin")),
    "timestamp without zone": pa.array([1_790_000_000_000], pa.timestamp("ms")),
    "nanoseconds": pa.array([1_790_000_000 * 10**9], pa.timestamp("ns", tz="UTC")),
    "whole seconds": pa.array([1_790_000_000]),
    "float seconds": pa.array([NOON]),
    "text in UTC": pa.array([datetime.fromtimestamp(NOON, UTC).isoformat()]),
    "text with Z": pa.array(["2026-09-21T14:13:20Z"]),
    "text with offset": pa.array(["2026-09-21T16:13:20.000+02:00"]),
    "text without zone": pa.array(["2026-09-21 14:13:20"]),
    "dictionary text": pa.array(["2026-09-21T14:13:20Z"]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", TIMES)
def test_time_is_read_from(kind: str, tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=TIMES[kind], predicted_class=["cat"]))
    assert list(sample.times) == [NOON]


def test_a_date_alone_is_its_midnight(tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=["2026-09-21"], predicted_class=["cat"]))
    assert sample.times[0] == datetime(2026, 9, 21, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float64()),
        pa.list_(pa.float32(), 2),
        pa.large_list(pa.float32()),
    ],
    ids=str,
)
def test_embeddings_are_read_from(kind: Any, tmp_path: Path) -> None:
    rows = pa.array([[1.0, 0.5], None, [0.25, 1.0]], pa.list_(pa.float32())).cast(kind)
    sample = read_sample(write(tmp_path, time=[1.0, 2.0, 3.0], embedding=rows))
    np.testing.assert_array_equal(sample.embeddings, np.float32([[1, 0.5], [np.nan, np.nan], [0.25, 1]]))


def test_embeddings_of_which_there_is_none_are_all_missing(tmp_path: Path) -> None:
    nothing = pa.array([None, [], None], pa.list_(pa.float32()))
    sample = read_sample(write(tmp_path, time=[1.0, 2.0, 3.0], embedding=nothing))
    assert not sample.has_embedding.any()


def test_embeddings_that_say_nothing_count_as_missing(tmp_path: Path) -> None:
    """Zeros, NaN, a null inside, an empty list, infinity, and a number beyond float32."""
    rows = [[1.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [None, 1.0], [], [np.inf, 1.0], [1e300, 1.0], None]
    sample = read_sample(write(tmp_path, time=np.arange(8.0), embedding=pa.array(rows, pa.list_(pa.float64()))))
    assert list(sample.has_embedding) == [True] + [False] * 7
    assert np.isnan(sample.embeddings[1:]).all()


def test_what_pandas_writes_is_read(tmp_path: Path) -> None:
    """Arrays in object columns, categories, a time zone, an index: the ordinary way people make these files."""
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2026-09-21", periods=4, freq="s", tz="UTC"),
            "camera": pd.Categorical(["a", "b", None, "a"]),
            "embedding": [np.ones(3, dtype=np.float32)] * 4,
            "predicted_class": [3, 1, 3, 1],
            "confidence_1": [0.2, 0.9, 0.1, 0.8],
            "confidence_3": [0.8, 0.1, 0.9, 0.2],
        },
        index=["w", "x", "y", "z"],
    )
    frame.to_parquet(tmp_path / "pandas.parquet")
    sample = read_sample(tmp_path / "pandas.parquet")
    assert sample.classes == ("1", "3")
    assert list(sample.predicted) == [1, 0, 1, 0]
    assert set(sample.slices) == {"camera"}
    assert sample.slice_values("camera") == ("a", "b")
    assert list(sample.ids) == ["0", "1", "2", "3"]


def test_rows_are_sorted_by_time(tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=[3.0, 1.0, 2.0], predicted_class=["c", "a", "b"], id=["z", "x", "y"]))
    assert list(sample.times) == [1, 2, 3]
    assert list(sample.ids) == ["x", "y", "z"]


def test_sorting_by_time_keeps_true_classes_with_their_rows(tmp_path: Path) -> None:
    sample = read_sample(
        write(tmp_path, time=[3.0, 1.0, 2.0], predicted_class=["a", "a", "b"], label=["b", "a", None], id=list("zxy"))
    )
    assert list(sample.ids) == ["x", "y", "z"]
    assert sample.labels is not None
    assert list(sample.labels) == [0, -1, 1]


LABELS = {
    "text": pa.array(["3", None, "7", ""]),
    "large text": pa.array(["3", None, "7", ""], pa.large_string()),
    "dictionary": pa.array(["3", None, "7", ""]).dictionary_encode(),
    "integers": pa.array([3, None, 7, None]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_true_classes_are_read_from(kind: str, tmp_path: Path) -> None:
    file = write(tmp_path, time=np.arange(4.0), predicted_class=["7"] * 4, label=LABELS[kind])
    sample = read_sample(file, classes=["7", "3"])
    assert sample.labels is not None
    assert list(sample.labels) == [1, -1, 0, -1]
    assert not sample.slices, "the true class is no slice"


def test_a_label_column_of_nulls_knows_no_true_class(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0], predicted_class=["a"], label=pa.nulls(1))
    assert list(read_sample(file).has_label) == [False]


def test_without_labels_no_such_column_is_written(tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=[1.0], predicted_class=["a"]))
    assert sample.labels is None
    assert list(sample.has_label) == [False]
    write_sample(tmp_path / "out.parquet", sample)
    assert "label" not in pq.read_schema(tmp_path / "out.parquet").names


def test_true_classes_alone_are_nothing_to_compare(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, time=[1.0], label=["a"])).startswith("nothing to compare; accepted is at least one")


def test_classes_asked_for_give_the_order_and_leave_the_absent_missing(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0], confidence_b=[0.25], confidence_a=[0.75])
    sample = read_sample(file, classes=["a", "b", "c"])
    np.testing.assert_array_equal(sample.confidences, np.float32([[0.75, 0.25, np.nan]]))
    assert list(sample.predicted) == [0], "without the column, the class of highest confidence"


def test_classes_in_a_file_are_those_with_confidences_then_those_predicted_or_true(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0, 2.0], confidence_d=[0.25, None], predicted_class=["c", "d"], label=["a", "c"])
    assert classes_in(file) == ("d", "a", "c")
    sample = read_sample(file)
    assert sample.classes == ("d", "a", "c")
    assert sample.labels is not None
    assert list(sample.labels) == [1, 2]


def test_columns_that_are_fields_of_an_event_are_not_slices(tmp_path: Path) -> None:
    columns = {"image_uri": ["s3://a"], "trace_id": ["f"], "model": ["m"], "version": ["1"], "camera": ["north"]}
    assert set(read_sample(write(tmp_path, time=[1.0], predicted_class=["a"], **columns)).slices) == {"camera"}


def test_slices_asked_for_may_be_numbers(tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=[1.0], predicted_class=["a"], lane=[4], camera=["n"]), slices=["lane"])
    assert {label: list(values) for label, values in sample.slices.items()} == {"lane": ["4"]}


REFUSED = {
    "time missing": (
        {"embedding": [[1.0]]},
        "column time: there is no such column, only embedding; accepted is timestamps, ISO 8601 text or seconds since "
        "the epoch, one in every row",
    ),
    "nothing to compare": (
        {"time": [1.0], "camera": ["n"]},
        "nothing to compare; accepted is at least one of the columns embedding, predicted_class and "
        "confidence_<class>, found are time, camera",
    ),
    "no rows": (
        {"time": pa.array([], pa.float64()), "predicted_class": pa.array([], pa.string())},
        "the file has no rows; accepted is one row for each prediction",
    ),
    "null time": (
        {"time": [1.0, None], "predicted_class": ["a", "a"]},
        "column time: row 1 is null; accepted is timestamps, ISO 8601 text or seconds since the epoch, one in every "
        "row",
    ),
    "milliseconds": (
        {"time": [1_790_000_000_000], "predicted_class": ["a"]},
        "column time: row 0 is 1.79e+12, which are not seconds; accepted is timestamps, ISO 8601 text or seconds "
        "since the epoch, one in every row",
    ),
    "time in words": (
        {"time": ["2026-09-21", "noon"], "predicted_class": ["a", "a"]},
        "column time: row 1 is 'noon'; accepted is timestamps, ISO 8601 text or seconds since the epoch, one in "
        "every row",
    ),
    "time of truth": (
        {"time": [True], "predicted_class": ["a"]},
        "column time: it holds bool; accepted is timestamps, ISO 8601 text or seconds since the epoch, one in every "
        "row",
    ),
    "ragged": (
        {"time": [1.0, 2.0, 3.0, 4.0], "embedding": [None, [1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]},
        "column embedding: row 2 has 1 values, row 1 has 2 (and 1 more rows like it); accepted is a list of floats of "
        "one length in every row, null where missing",
    ),
    "embedding of text": (
        {"time": [1.0], "embedding": ["[1, 2]"]},
        "column embedding: it holds string; accepted is a list of floats of one length in every row, null where "
        "missing",
    ),
    "confidence in percent": (
        {"time": [1.0, 2.0], "confidence_a": [0.5, 50]},
        "column confidence_a: row 1 is 50; accepted is numbers from 0 to 1, null where missing",
    ),
    "negative confidence": (
        {"time": [1.0], "confidence_a": [-0.5]},
        "column confidence_a: row 0 is -0.5; accepted is numbers from 0 to 1, null where missing",
    ),
    "confidence of text": (
        {"time": [1.0], "confidence_a": ["high"]},
        "column confidence_a: it holds string; accepted is numbers from 0 to 1, null where missing",
    ),
    "predicted class of lists": (
        {"time": [1.0], "predicted_class": [["a"]]},
        "column predicted_class: it holds list<element: string>; accepted is text, null where unknown",
    ),
    "label of lists": (
        {"time": [1.0], "predicted_class": ["a"], "label": [["a"]]},
        "column label: it holds list<element: string>; accepted is text, null where unknown",
    ),
    "label of fractions": (
        {"time": [1.0], "predicted_class": ["a"], "label": [0.5]},
        "column label: it holds double; accepted is text, null where unknown",
    ),
    "some image properties": (
        {"time": [1.0], "predicted_class": ["a"], "image_brightness": [0.5]},
        "column image_contrast: there is no such column, though others of its kind are there; accepted is finite "
        "numbers, null where not measured, and all of " + ", ".join(f"image_{name}" for name in PROPERTIES),
    ),
    "a short layout": (
        {"time": [1.0], "predicted_class": ["a"], "image_layout": [[0.5, 0.5]]}
        | {f"image_{name}": [0.5] for name in PROPERTIES},
        "column image_layout: it has 2 values a row; accepted is a list of 144 floats in every row, null where the "
        "image was not measured",
    ),
    "slice label with a space": (
        {"time": [1.0], "predicted_class": ["a"], "Camera name": ["n"]},
        "column 'Camera name' cannot be a slice label; accepted are lower-case letters, digits and _, at most 31, a "
        "letter first: rename the column or leave it out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_with_column_and_row(case: str, tmp_path: Path) -> None:
    columns, expected = REFUSED[case]
    assert refusal(write(tmp_path, **columns)) == expected


def test_a_class_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0], confidence_dog=[0.5])
    assert refusal(file, classes=["cat"]) == (
        "column confidence_dog names a class that is not configured; accepted are cat"
    )
    file = write(tmp_path, time=[1.0], predicted_class=["dog"])
    assert refusal(file, classes=["cat"]) == (
        "column predicted_class: row 0 is 'dog', which is not one of the classes cat; accepted is text, null where "
        "unknown"
    )
    file = write(tmp_path, time=[1.0, 2.0], predicted_class=["cat", "cat"], label=[None, "dog"])
    assert refusal(file, classes=["cat"]) == (
        "column label: row 1 is 'dog', which is not one of the classes cat; accepted is text, null where unknown"
    )


def test_a_slice_column_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0], predicted_class=["a"])
    assert refusal(file, slices=["camera"]) == (
        "there is no column camera for the slice label of that name; found are time, predicted_class"
    )


def test_rows_kept_for_what_they_show_are_written_and_not_read(tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=[1.0, 2.0, 3.0], predicted_class=["a", "b", "a"]))
    biased = replace(sample, kept=np.array(["", "prompt", "every+prompt"], dtype=object))
    write_sample(tmp_path / "out.parquet", biased)
    assert pq.read_table(tmp_path / "out.parquet").column("kept").to_pylist() == [None, "prompt", "every+prompt"]
    assert read_sample(tmp_path / "out.parquet").times.tolist() == [1.0, 3.0]


def test_rows_kept_by_chance_or_the_clock_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0, 2.0, 3.0], predicted_class=["a"] * 3, kept=["uniform", "every", "unlike"])
    assert read_sample(file).times.tolist() == [1.0, 2.0]


def test_a_reason_that_there_is_not_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0], predicted_class=["a"], kept=["because"])
    assert "column kept: row 0 holds 'because'; accepted is one of uniform, every" in refusal(file)
    file = write(tmp_path, time=[1.0, 2.0], predicted_class=["a", "a"], kept=["every+prompt", "every+"])
    assert "column kept: row 1 holds 'every+'" in refusal(file)


def events_of(file: Path) -> tuple[list[str], list[str]]:
    """The ids that are read of a file, and what is said of the rows that are not."""
    told: list[str] = []
    found = [str(name) for name in read_events(file, tell=told.append).ids]
    return found, [text.removeprefix(f"{file}: ") for text in told]


def test_an_id_counts_once_and_the_first_row_is_the_one(tmp_path: Path) -> None:
    """As in the log, where what comes again changes nothing; rows without an id are all events, whatever they say."""
    file = write(
        tmp_path,
        time=[5.0, 4.0, 3.0, 2.0, 1.0],
        predicted_class=["a", "b", "a", "a", "b"],
        id=["x", None, "x", None, "1"],
    )
    ids, told = events_of(file)
    assert ids == ["1", "3", "1", "x"], "row 1 is no repetition of the row whose id is 1"
    assert told == [
        "1 of 5 rows are left out, as a row before has their id: an id counts once, as in the prediction log"
    ]
    assert read_events(file, tell=told.append).times.tolist() == [1.0, 2.0, 4.0, 5.0]
    assert len(read_sample(file)) == 5, "a reference is what it was built of"


@pytest.mark.parametrize(
    "ids", [[7, 8, 7], pa.array(["7", "8", "7"]).dictionary_encode()], ids=["number", "dictionary"]
)
def test_ids_of_every_kind_count_once(ids: Any, tmp_path: Path) -> None:
    assert events_of(write(tmp_path, time=[1.0, 2.0, 3.0], predicted_class=["a"] * 3, id=ids))[0] == ["7", "8"]


def test_nothing_is_said_of_a_file_that_is_read_whole(tmp_path: Path) -> None:
    assert events_of(write(tmp_path, time=[1.0, 2.0], predicted_class=["a", "b"])) == (["0", "1"], [])
    assert events_of(write(tmp_path, time=[1.0, 2.0], predicted_class=["a", "b"], id=["p", "q"])) == (["p", "q"], [])


def kept_events() -> list[PredictionEvent]:
    """Events that come again for another reason, at another time, from another camera, and where all was sent."""
    again = [
        ("drawn later", 1.0, "n", "prompt"),
        ("drawn later", 1.0, "n", "uniform"),
        ("other time", 2.0, "n", "prompt"),
        ("other time", 3.0, "n", "uniform"),
        ("other camera", 4.0, "n", "prompt"),
        ("other camera", 4.0, "s", "uniform"),
        ("all sent", 5.0, "n", ""),
        ("all sent", 5.0, "n", "prompt"),
    ]
    return [
        PredictionEvent(
            name, at, "pets", "1", (("camera", camera),), confidences=np.float32([1]), classes=("a",), kept=kept
        )
        for name, at, camera, kept in again
    ]


def test_reasons_of_an_event_that_comes_again_are_joined_as_in_the_log(tmp_path: Path) -> None:
    events = kept_events()
    log = MemoryLog()
    log.append(events, [], now=0.0)
    logged = log.window(WindowQuery("pets", "1", "", 0.0, 9.0, ("a",), 0, 99)).sample
    sent = sample_of(events, classes=("a",), dimension=0)
    write_sample(tmp_path / "out.parquet", sent)
    ids, told = events_of(tmp_path / "out.parquet")
    assert ids == list(logged.ids) == ["drawn later", "all sent"]
    assert told[0].startswith("4 of 8 rows are left out")
    assert told[1:] == ["2 events that were kept for what they show alone are left out"]


def test_a_file_of_nothing_but_what_was_looked_for_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, time=[1.0, 2.0], predicted_class=["a", "b"], kept=["prompt", "unlike"])
    with pytest.raises(BadInput, match="column kept: all 2 events were kept for what they show alone, and say nothing"):
        events_of(file)


def test_what_is_not_a_parquet_file_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "window.csv"
    text.write_text("time,camera\n1,2\n")
    assert refusal(text).startswith("this is not a readable Parquet file (")
    assert refusal(tmp_path).startswith("it is a directory; accepted is a Parquet file with the columns time,")
    assert refusal(tmp_path / "no.parquet").startswith("there is no such file; accepted is a Parquet file")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, time=np.arange(1000.0), predicted_class=["a"] * 1000)
    file.write_bytes(file.read_bytes()[:-20])
    assert refusal(file).startswith("this is not a readable Parquet file (")
    damaged = bytearray(write(tmp_path, time=np.arange(1000.0), predicted_class=["a"] * 1000).read_bytes())
    damaged[4:600] = bytes(596)
    file.write_bytes(damaged)
    assert refusal(file).startswith("this is not a readable Parquet file (")


@pytest.mark.parametrize("name", ["time", "label"])
def test_a_slice_label_that_is_a_column_is_not_written(name: str, tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, time=[1.0], predicted_class=["a"]))
    clash = Sample(**{**vars(sample), "slices": {name: np.array(["x"], dtype=object)}})
    with pytest.raises(BadInput, match=f"{name} cannot be a slice label"):
        write_sample(tmp_path / "out.parquet", clash)
    assert not (tmp_path / "out.parquet").exists()


def test_five_thousand_rows_of_512_cost_little_more_than_pyarrow_s_own_reading(tmp_path: Path) -> None:
    """Measured at twice; the bound leaves room for a busy machine and none for a loop over values (a hundred times)."""
    rng = np.random.default_rng(1)
    sample = Sample(
        times=np.arange(5000) + NOON,
        ids=np.array([f"id-{i}" for i in range(5000)], dtype=object),
        slices={"camera": np.array(["a", "b"] * 2500, dtype=object)},
        classes=tuple("0123456789"),
        embeddings=rng.normal(size=(5000, 512)).astype(np.float32),
        confidences=rng.dirichlet(np.ones(10), 5000).astype(np.float32),
        predicted=rng.integers(0, 10, 5000).astype(np.int32),
        latency_ms=np.full(5000, np.nan),
    )
    write_sample(tmp_path / "big.parquet", sample)
    np.testing.assert_array_equal(read_sample(tmp_path / "big.parquet").embeddings, sample.embeddings)

    def seconds(read: Callable[[Path], object]) -> float:
        begun = time.process_time()
        read(tmp_path / "big.parquet")
        return time.process_time() - begun

    plain, took = (min(seconds(read) for _ in range(3)) for read in (pq.read_table, read_sample))
    assert took < 20 * plain, f"{took:.3f} s against {plain:.3f} s"
