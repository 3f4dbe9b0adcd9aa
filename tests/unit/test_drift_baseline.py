"""Which rows of the reference a window is compared with."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiondrift.drift.baseline import (
    MAX_ROWS,
    MIN_ROWS,
    PreparedReference,
    Settings,
    align_classes,
    mixed_rows,
)
from visiondrift.errors import ReferenceUnusable
from visiondrift.prediction import FOREIGN, Sample

SETTINGS = Settings(classes=("cat", "dog"), slices=("camera",))


def sample(cameras: Sequence[str], *, dimension: int = 4, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    n = len(cameras)
    sure = rng.uniform(0.5, 1, n).astype(np.float32)
    return Sample(
        times=np.arange(n, dtype=np.float64),
        ids=np.array([f"e{i}" for i in range(n)], dtype=object),
        slices={"camera": np.array(cameras, dtype=object)},
        classes=("cat", "dog"),
        embeddings=rng.normal(size=(n, dimension)).astype(np.float32),
        confidences=np.stack([sure, 1 - sure], axis=1),
        predicted=np.zeros(n, dtype=np.int32),
        latency_ms=np.full(n, np.nan),
    )


def mix(labels: np.ndarray) -> dict[str, int]:
    return {
        str(name): int(count) for name, count in zip(*np.unique(labels.astype(str), return_counts=True), strict=True)
    }


labels_of = {name: np.array([name] * count, dtype=object) for name, count in {"a": 600, "b": 300, "c": 300}.items()}
REFERENCE = np.concatenate(list(labels_of.values()))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"a": 20, "b": 10, "c": 10}, {"a": 600, "b": 300, "c": 300}),
        ({"a": 10, "b": 10, "c": 10}, {"a": 300, "b": 300, "c": 300}),
        ({"a": 90, "b": 9, "c": 1}, {"a": 600, "b": 60, "c": 6}),
        ({"b": 7}, {"b": 300}),
        ({"a": 10, "b": 10, "new": 80}, {"a": 300, "b": 300}),
        ({"new": 5}, {"a": 600, "b": 300, "c": 300}),
    ],
)
def test_rows_are_mixed_as_the_window_is(window: dict[str, int], expected: dict[str, int]) -> None:
    window_labels = np.array([name for name, count in window.items() for _ in range(count)], dtype=object)
    assert mix(REFERENCE[mixed_rows(REFERENCE, window_labels)]) == expected


@given(st.lists(st.sampled_from(["a", "b", "c", "", "new"]), min_size=1, max_size=200))
def test_no_row_is_taken_twice_and_none_is_out_of_order(window: list[str]) -> None:
    rows = mixed_rows(REFERENCE, np.array(window, dtype=object))
    assert (np.diff(rows) > 0).all()
    assert len(rows) >= MIN_ROWS


def test_a_label_with_too_few_reference_rows_does_not_shrink_the_others() -> None:
    reference = np.array(["a"] * 500 + ["rare"] * (MIN_ROWS - 1), dtype=object)
    window = np.array(["a"] * 50 + ["rare"] * 50, dtype=object)
    assert mix(reference[mixed_rows(reference, window)]) == {"a": 500}


def test_a_slice_is_compared_with_its_own_rows_where_there_are_a_hundred() -> None:
    reference = PreparedReference.from_sample(sample(["a"] * 100 + ["b"] * 99), SETTINGS)
    own = reference.baseline("camera=a", sample(["a"] * 5))
    whole = reference.baseline("camera=b", sample(["b"] * 5))
    assert (own.rows, own.slice) == (100, "camera=a")
    assert (whole.rows, whole.slice) == (199, "all")


def test_a_slice_is_prepared_once() -> None:
    reference = PreparedReference.from_sample(sample(["a"] * 100), SETTINGS)
    window = sample(["a"] * 5)
    assert reference.baseline("camera=a", window) is reference.baseline("camera=a", window)


def test_a_reference_without_the_label_is_compared_whole() -> None:
    reference = PreparedReference.from_sample(sample(["a"] * 50 + ["b"] * 50), Settings(SETTINGS.classes, ("site",)))
    assert reference.baseline("all", sample(["a"] * 5)).rows == 100


def test_each_part_is_mixed_among_the_events_that_have_it() -> None:
    """Camera a has stopped sending embeddings: those of the window are b's alone, and so must the reference's be."""
    window = sample(["a"] * 100 + ["b"] * 100)
    window.embeddings[:100] = np.nan
    reference = PreparedReference.from_sample(sample(["a"] * 300 + ["b"] * 200, seed=1), SETTINGS)
    baseline = reference.baseline("all", window)
    assert baseline.embedding is not None
    assert baseline.confidence is not None
    assert baseline.embedding.columns.rows == 200
    assert baseline.confidence.columns.rows == 400


def test_a_huge_reference_is_thinned_evenly() -> None:
    reference = PreparedReference.from_sample(sample(["a"] * (2 * MAX_ROWS), dimension=1), SETTINGS)
    assert len(reference.rows("all", sample(["a"] * 5, dimension=1))) == MAX_ROWS
    assert len(reference.rows("camera=a", sample(["a"] * 5, dimension=1))) == MAX_ROWS


def test_embeddings_of_another_length_are_refused_with_both_named() -> None:
    reference = PreparedReference.from_sample(sample(["a"] * 100), SETTINGS)
    with pytest.raises(ReferenceUnusable, match="have 4 columns, the window's 7"):
        reference.baseline("all", sample(["a"] * 5, dimension=7))


def test_classes_are_put_in_the_models_order() -> None:
    given_sample = sample(["a"] * 3)
    aligned = align_classes(given_sample, ("dog", "bird", "cat"))
    np.testing.assert_array_equal(aligned.confidences[:, 2], given_sample.confidences[:, 0])
    assert np.isnan(aligned.confidences[:, 1]).all()
    assert aligned.predicted.tolist() == [2, 2, 2]
    assert align_classes(given_sample, ("dog",)).predicted.tolist() == [-1, -1, -1]
    assert aligned.labels is None


def test_true_classes_are_put_in_the_models_order_and_one_it_lacks_becomes_foreign() -> None:
    labelled = replace(sample(["a"] * 4), labels=np.int32([0, 1, -1, 0]))
    aligned = align_classes(labelled, ("dog", "bird", "cat"))
    assert aligned.labels is not None
    assert aligned.labels.tolist() == [2, 0, -1, 2]
    assert aligned.labels.dtype == np.int32
    without_cats = align_classes(labelled, ("dog",))
    assert without_cats.labels is not None
    assert without_cats.labels.tolist() == [FOREIGN, 0, -1, FOREIGN]
    again = align_classes(without_cats, ("bird", "dog"))
    assert again.labels is not None
    assert again.labels.tolist() == [FOREIGN, 1, -1, FOREIGN]
    prepared = PreparedReference.from_sample(labelled, Settings(classes=("dog", "cat"), slices=("camera",)))
    assert prepared.sample.labels is not None
    assert prepared.sample.labels.tolist() == [1, 0, -1, 1]


def test_the_class_with_the_highest_confidence_stands_in_for_one_that_was_not_sent() -> None:
    given_sample = sample(["a"] * 3)
    given_sample.predicted[:] = [-1, 1, -1]
    given_sample.confidences[2] = np.nan
    prepared = PreparedReference.from_sample(given_sample, SETTINGS)
    assert prepared.sample.predicted.tolist() == [0, 1, -1]
    assert given_sample.predicted.tolist() == [-1, 1, -1]
