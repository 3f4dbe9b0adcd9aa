"""Streams of blocks for the benchmark: sliding windows and fading memories over a world, tick by tick."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from worlds import World

from visiondrift.drift.calibration.nulls import Shortage
from visiondrift.drift.embedding.detector import Detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.memory import Memory
from visiondrift.drift.embedding.moments import BlockMoments, Moments, block_moments


def ticks(
    world: World, count: int, rows: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.intp]]]:
    """``count`` ticks of ``rows`` rows each, whole scenes of their own."""
    return (world.draw(rows, rng) for _ in range(count))


def sliding(
    detector: Detector, world: World, count: int, *, step: int, spans: tuple[int, ...], seed: int
) -> NDArray[np.float64]:
    """(len(spans), count) p of windows of so many blocks that move on by ``step`` blocks a tick; by moments alone."""
    rng = np.random.default_rng((seed, 31))
    total = max(spans) + step * count
    parts = []
    while sum(map(len, parts)) < total:
        x, of_row = world.draw(5000, rng)
        whole = of_row < of_row[-1]
        y = detector.reference.basis.project(x[whole])
        parts.append(block_moments(y, of_row[whole], int(of_row[-1])))
    sums = [
        np.cumsum(np.concatenate([getattr(part, name) for part in parts]), axis=0)
        for name in ("counts", "totals", "squares")
    ]
    found = np.ones((len(spans), count))
    for row, span in enumerate(spans):
        for tick in range(count):
            first, last = tick * step, tick * step + span
            counts, totals, squares = (s[last] - s[first] for s in sums)
            look = detector.look("all", {"": Moments(float(counts), totals, squares, span, span)}, None)
            found[row, tick] = 1.0 if look is None or isinstance(look, Shortage) else look.p
    return found


def flowing(world: World, count: int, *, step: int, span: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """The rows of ``count`` windows of ``span`` scenes that move on by ``step`` scenes."""
    x, of_row = world.draw(20 * (span + step * count), np.random.default_rng((seed, 37)))
    for tick in range(count):
        first = tick * step
        yield x[(of_row >= first) & (of_row < first + span)]


def remembered(
    detector: Detector, stream: Iterator[tuple[NDArray[np.float32], NDArray[np.intp]]]
) -> Iterator[dict[str, float]]:
    """-log10 p of each memory, and the greatest, tick by tick."""
    memory = Memory()
    for x, of_row in stream:
        y = detector.reference.basis.project(x)
        parts: BlockMoments = block_moments(y, of_row, int(of_row[-1]) + 1)
        memory = memory.after({"": parts.together()})
        found = {}
        for rate, kept in memory.kept.items():
            look = detector.look("all", kept, WindowRows(y, of_row) if rate == 1.0 else None)
            found[f"memory {rate:g}"] = 0.0 if look is None or isinstance(look, Shortage) else look.surprise
        yield found | {"strongest memory": max(found.values())}


def episodes(alarms: NDArray[np.bool_]) -> int:
    """Alarms that begin: neighbours are one page."""
    return int((alarms & ~np.concatenate([[False], alarms[:-1]])).sum())
