"""The mean similarity of a stretch of time, and what its interval knows of blocks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visiondrift.drift.similarity import mean_direction, similarity_to


def units(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    rows = rng.normal(size=shape) + 1.0
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(1, 30))
def test_the_mean_is_that_of_the_cosines_whatever_the_blocks(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    rows, direction = units(rng, images, 5), units(rng, 5)
    found = similarity_to(direction, rows, rng.integers(0, 4, images))
    assert found.mean == pytest.approx(float((rows @ direction).mean()), abs=1e-5)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_repeating_every_frame_makes_nothing_surer(seed: int, times: int) -> None:
    rng = np.random.default_rng(seed)
    rows, direction, blocks = units(rng, 12, 5), units(rng, 5), np.arange(12)
    once = similarity_to(direction, rows, blocks)
    again = similarity_to(direction, np.repeat(rows, times, axis=0), np.repeat(blocks, times))
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=1e-6)


def test_one_block_has_a_mean_and_no_interval() -> None:
    rng = np.random.default_rng(0)
    found = similarity_to(units(rng, 5), units(rng, 9, 5), np.zeros(9, dtype=np.intp))
    assert (found.images, found.blocks) == (9, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """1,000 worlds of 20 blocks of unlike sizes, each with a lasting mood of its own; 95 % is meant."""
    rng = np.random.default_rng(1)
    direction = np.array([1.0, 0.0, 0.0], dtype=np.float32)

    def world(blocks: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        of_row = np.repeat(np.arange(blocks), rng.integers(5, 30, blocks)).astype(np.intp)
        rows = rng.normal([1, 0, 0], 0.3, (blocks, 3))[of_row] + rng.normal(0, 0.1, (len(of_row), 3))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), of_row

    truth = similarity_to(direction, *world(200_000)).mean
    inside = 0
    for _ in range(1000):
        found = similarity_to(direction, *world(20))
        inside += found.low <= truth <= found.high
    assert 0.90 <= inside / 1000 <= 0.98


def test_the_direction_passes_over_rows_without_an_embedding() -> None:
    rows = np.array([[0, 1], [np.nan, np.nan], [1, 0]], dtype=np.float32)
    np.testing.assert_allclose(mean_direction(rows), [np.sqrt(0.5), np.sqrt(0.5)], atol=1e-6)


@pytest.mark.parametrize("rows", [np.full((3, 4), np.nan), np.zeros((0, 4)), [[1.0, 0.0], [-1.0, 0.0]]])
def test_a_reference_without_a_direction_is_refused(rows: object) -> None:
    with pytest.raises(ValueError, match="no embeddings"):
        mean_direction(np.array(rows, dtype=np.float32))
