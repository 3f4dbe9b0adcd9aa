"""Pairs of column matrices for the tests of the column scores: ties, constants, tails, tiny and unequal samples."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

Pair = tuple[NDArray[Any], NDArray[Any]]

DTYPES = (np.float16, np.float32, np.float64)


@st.composite
def few_values(draw: st.DrawFn) -> Pair:
    """Small samples in which hypothesis chooses every value; few distinct ones, so that ties are everywhere."""
    dtype, window_dtype = (draw(st.sampled_from(DTYPES)) for _ in range(2))
    columns = draw(st.integers(1, 4))
    values = draw(st.sampled_from([st.integers(-3, 3).map(float), st.floats(-1000, 1000, width=16)]))
    rows = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    reference = draw(arrays(dtype, (rows[0], columns), elements=values, fill=st.just(0.0)))
    return reference, draw(arrays(window_dtype, (rows[1], columns), elements=values, fill=st.just(0.0)))


@st.composite
def many_values(draw: st.DrawFn) -> Pair:
    """Samples of up to 700 rows: normal, rounded, heavy-tailed, constant, with as many rows or not, moved or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([1, 21, 64, 200, 333, 512, 700]))
    m = draw(st.sampled_from([n, 1, 2, 17, 150, 512, 699]))
    shift, scale = draw(st.sampled_from([(0.0, 1.0), (0.3, 1.0), (0.0, 1.5), (50.0, 1.0)]))
    dtype, window_dtype = (draw(st.sampled_from(DTYPES)) for _ in range(2))
    return _sample(rng, n).astype(dtype), (_sample(rng, m) * scale + shift).astype(window_dtype)


def _sample(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    normal = rng.normal(size=(rows, 6))
    normal[:, 1] = normal[:, 1].round(1)
    normal[:, 2] = (normal[:, 2] * 3).round()
    normal[:, 3] = np.clip(np.exp(2 * normal[:, 3]), 0, 30_000)
    normal[:, 4] = 1.5
    normal[:, 5] = rng.permutation(np.repeat(normal[: -(-rows // 2), 0], 2)[:rows])
    return normal


def pairs() -> st.SearchStrategy[Pair]:
    """Either kind."""
    return st.one_of(few_values(), many_values())


def both_as_float64(pair: Pair) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The columns of both as float64, in which scipy and Evidently are asked."""
    return [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(pair[0].T, pair[1].T, strict=True)]
