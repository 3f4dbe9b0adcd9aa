"""A sample: embeddings of the length that intake gives them, and true classes that stay with their rows."""

from dataclasses import replace

import numpy as np

from visiondrift.prediction import PredictionEvent, Sample, sample_of


def sample_of_rows(rows: list[list[float]]) -> Sample:
    n = len(rows)
    return Sample(
        times=np.arange(n, dtype=np.float64),
        ids=np.array([str(i) for i in range(n)], dtype=object),
        slices={},
        classes=(),
        embeddings=np.array(rows, dtype=np.float32),
        confidences=np.zeros((n, 0), dtype=np.float32),
        predicted=np.full(n, -1, dtype=np.int32),
        latency_ms=np.full(n, np.nan),
    )


def test_embeddings_keep_their_direction_and_get_length_one() -> None:
    found = sample_of_rows([[3, 4], [-30, 40], [0.6, 0.8]]).of_unit_length()
    np.testing.assert_allclose(found.embeddings, [[0.6, 0.8], [-0.6, 0.8], [0.6, 0.8]], rtol=1e-6)
    assert found.embeddings.dtype == np.float32


def test_the_longest_and_the_shortest_that_a_float32_holds_get_length_one() -> None:
    found = sample_of_rows([[3e38, 3e38], [1e-38, 1e-38]]).of_unit_length()
    np.testing.assert_allclose(found.embeddings, np.full((2, 2), 0.5**0.5), rtol=1e-6)


def test_a_missing_embedding_stays_missing() -> None:
    found = sample_of_rows([[np.nan, np.nan], [2, 0]]).of_unit_length()
    assert list(found.has_embedding) == [False, True]


def test_embeddings_of_length_one_are_left_as_they_are_to_the_last_bit() -> None:
    sample = sample_of_rows([[0.6, 0.8], [np.nan, np.nan]])
    assert sample.of_unit_length() is sample


def test_a_sample_without_embeddings_is_left_as_it_is() -> None:
    assert sample_of_rows([[], []]).of_unit_length().dimension == 0


def test_rows_that_are_taken_keep_their_true_classes() -> None:
    labelled = replace(sample_of_rows([[3, 4]] * 4), classes=("a", "b"), labels=np.int32([0, -1, 1, 0]))
    taken = labelled.take(np.array([2, 0, 1])).of_unit_length()
    assert taken.labels is not None
    assert taken.labels.tolist() == [1, 0, -1]
    assert taken.has_label.tolist() == [True, True, False]
    assert labelled.take(labelled.has_label).has_label.all()


def test_without_true_classes_none_are_made_up() -> None:
    rows = sample_of_rows([[3, 4]] * 2)
    assert rows.take(np.array([True, False])).labels is None
    assert rows.has_label.tolist() == [False, False]


def test_events_know_no_true_class() -> None:
    event = PredictionEvent(id="1", time=1.0, model="m", version="1", classes=("a",), predicted_class="a")
    assert sample_of([event], classes=("a",), dimension=0).labels is None
