"""A sample's embeddings brought to the length that intake gives them."""

import numpy as np

from visiondrift.prediction import Sample


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
