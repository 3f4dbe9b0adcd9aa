"""A camera outdoors: dark at night, cloudy for hours; the properties of its images, and embeddings that say nothing."""

import numpy as np
from numpy.typing import NDArray

from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, Sample

DAY = 86_400.0
_CLOUDS = 7_200.0
"""Seconds for which a cloudy sky stays so."""


def outdoors(seed: int, days: float, *, begins: float = 0.0, darker: float = 0.0, every: float = 120.0) -> Sample:
    """Frames of so many days, one ``every`` so many seconds; ``darker`` is what is taken off their brightness."""
    rng = np.random.default_rng(seed)
    rows = int(days * DAY / every)
    times = begins + np.arange(rows) * every
    properties = 0.05 * rng.normal(size=(rows, len(PROPERTIES)))
    sun = -0.25 * np.cos(2 * np.pi * times / DAY)
    properties[:, PROPERTIES.index("brightness")] += 0.5 + sun + 0.06 * _weather(rng, rows, every) - darker
    embeddings = rng.normal(size=(rows, 8))
    return Sample(
        times=times,
        ids=np.array([f"roof-{begins:.0f}-{row}" for row in range(rows)], dtype=object),
        slices={"camera": np.full(rows, "roof", dtype=object)},
        classes=(),
        embeddings=(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        confidences=np.zeros((rows, 0), dtype=np.float32),
        predicted=np.full(rows, -1, dtype=np.int32),
        latency_ms=np.full(rows, np.nan),
        properties=properties.astype(np.float32),
        layouts=np.full((rows, LAYOUT_SIDE**2), 1 / LAYOUT_SIDE, dtype=np.float32),
    )


def _weather(rng: np.random.Generator, rows: int, every: float) -> NDArray[np.float64]:
    keep = np.exp(-every / _CLOUDS)
    state, states = rng.normal(), np.empty(rows)
    for row in range(rows):
        state = keep * state + np.sqrt(1 - keep**2) * rng.normal()
        states[row] = state
    return states
