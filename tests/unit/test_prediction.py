"""A sample: embeddings of the length that intake gives them, and true classes that stay with their rows."""

from dataclasses import replace

import numpy as np
import pytest

from visiondrift.prediction import PredictionEvent, Sample, all_reasons, bias_of, reasons_of, sample_of


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


@pytest.mark.parametrize(
    ("kept", "bias"),
    [
        ("", ""),
        ("every", ""),
        ("uniform+every", ""),
        ("every+prompt", ""),
        ("uniform+low_confidence", ""),
        ("uniform+timed", ""),
        ("timed", "timed"),
        ("prompt", "prompt"),
        ("distinct+prompt", "distinct"),
    ],
)
def test_a_sample_is_biased_where_every_reason_chose_by_what_an_event_shows(kept: str, bias: str) -> None:
    assert bias_of(kept) == bias
    assert all_reasons(reasons_of(kept)) == kept


def test_reasons_are_joined_once_each_with_chance_and_the_clock_first() -> None:
    assert all_reasons(["unlike", "every", "prompt", "every"]) == "every+prompt+unlike"
    assert reasons_of("unlike+every+unlike") == ("every", "unlike")


@pytest.mark.parametrize("kept", ["because", "every+", "+", "every prompt", "every+because"])
def test_what_is_no_reason_is_refused(kept: str) -> None:
    with pytest.raises(ValueError, match="is not made of uniform, every"):
        reasons_of(kept)


def test_the_unbiased_of_a_sample_say_no_more_why_they_were_kept() -> None:
    sample = replace(sample_of_rows([[1, 0]] * 3), kept=np.array(["", "unlike", "every+unlike"], dtype=object))
    found = sample.unbiased()
    assert (found.ids.tolist(), found.kept) == (["0", "2"], None)
