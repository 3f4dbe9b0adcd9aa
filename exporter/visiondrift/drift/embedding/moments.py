"""What is kept of a set of embeddings: count, sum and sum of squares in the reference's axes, because these add.

A window, a roll-up over cameras, a memory that fades and a backtest are then sums and products of a few kilobytes; the
embeddings themselves are needed for pictures alone. The unit that is kept is the block (one slice, one stretch of
time), not the tick: frames of one block are one witness, and only whole blocks can be counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_COLUMNS_AT_ONCE = 128
"""Of rows that are summed up by block: what a processor's cache holds, however wide the matrix is."""

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of some rows y in the axes of a basis: ``count`` n, ``total`` (k,) their sum, ``squares`` (k,) the sum of y².

    ``blocks`` is how many independent witnesses they are (a whole number until memories fade), ``weights`` the sum of
    squared weights of those blocks: with weight w each, ``blocks`` is n w and ``weights`` n w². ``crowding`` is the sum
    of (w m)² over blocks of m rows; 0 where all of them have as many.
    """

    count: float
    total: Vector
    squares: Vector
    blocks: float = 1.0
    weights: float = 1.0
    crowding: float = 0.0

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            self.blocks + other.blocks,
            self.weights + other.weights,
            self.crowding + other.crowding,
        )

    def scaled(self, weight: float) -> "Moments":
        """The same rows counting ``weight`` each."""
        return Moments(
            self.count * weight,
            self.total * weight,
            self.squares * weight,
            self.blocks * weight,
            self.weights * weight * weight,
            self.crowding * weight * weight,
        )

    @property
    def effective_blocks(self) -> float:
        """How many equally weighted blocks these are worth (Kish 1965): their number, where all count the same."""
        return self.blocks * self.blocks / self.weights if self.weights > 0 else 0.0

    @property
    def evenness(self) -> float:
        """Share of the blocks that rows as unevenly spread over them are worth: 1 where all have as many."""
        if self.crowding <= 0 or self.effective_blocks <= 0:
            return 1.0
        return min(1.0, self.count * self.count / self.crowding / self.effective_blocks)

    @classmethod
    def none(cls, dimension: int) -> "Moments":
        """Of no rows: what adding leaves unchanged."""
        return cls(0.0, np.zeros(dimension), np.zeros(dimension), 0.0, 0.0)


def moments_of(rows: NDArray[np.floating], sizes: NDArray[np.integer] | None = None) -> Moments:
    """Of ``rows`` (n, k), already in the axes of a basis: one block, or as many as ``sizes`` (B,) says how large."""
    values = np.asarray(rows, dtype=np.float64)
    own = np.array([len(values)]) if sizes is None else sizes
    blocks, crowding = float(len(own)), float((own.astype(np.float64) ** 2).sum())
    squares = np.einsum("ij,ij->j", values, values)
    return Moments(float(len(values)), values.sum(axis=0), squares, blocks, blocks, crowding)


def moments_by_slice(
    rows: NDArray[np.floating], of_row: NDArray[np.integer], slices: NDArray[np.str_]
) -> dict[str, Moments]:
    """Of ``rows`` (n, k) in blocks ``of_row`` (n,), for each of the ``slices`` (n,) that there are."""
    found = {}
    for value in np.unique(slices):
        own = slices == value
        found[str(value)] = moments_of(rows[own], np.unique(of_row[own], return_counts=True)[1])
    return found


def faded(memory: Moments, new: Moments, rate: float) -> Moments:
    """An exponentially fading memory after one more tick: (1 - rate) of what was, ``rate`` of what is new.

    Ticks weigh by their rows. A tick without rows leaves the memory as it is: silence is not evidence.
    """
    if new.count == 0:
        return memory
    return memory.scaled(1 - rate) + new.scaled(rate)


@dataclass(frozen=True, eq=False)
class BlockMoments:
    """The moments of B blocks as arrays: ``counts`` (B,), ``totals`` and ``squares`` (B, k)."""

    counts: Vector
    totals: Matrix
    squares: Matrix

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, blocks: NDArray[np.intp] | NDArray[np.bool_]) -> "BlockMoments":
        """Some of the blocks."""
        return BlockMoments(self.counts[blocks], self.totals[blocks], self.squares[blocks])

    def together(self) -> Moments:
        """All blocks as one."""
        n = float(len(self))
        crowding = float((self.counts**2).sum())
        return Moments(float(self.counts.sum()), self.totals.sum(axis=0), self.squares.sum(axis=0), n, n, crowding)

    def each(self) -> Iterable[Moments]:
        """One after the other."""
        parts = zip(self.counts, self.totals, self.squares, strict=True)
        return (Moments(float(c), t, s, crowding=float(c * c)) for c, t, s in parts)


def block_moments(rows: NDArray[np.floating], of_row: NDArray[np.intp], blocks: int) -> BlockMoments:
    """Moments of each block of ``rows`` (n, k); ``of_row`` (n,) says which of the ``blocks`` a row belongs to."""
    order = np.argsort(of_row, kind="stable")
    counts = np.bincount(of_row, minlength=blocks).astype(np.float64)
    present = np.flatnonzero(counts)
    starts = np.concatenate(([0], np.cumsum(counts[present])[:-1])).astype(np.intp)
    totals, squares = np.zeros((blocks, rows.shape[1])), np.zeros((blocks, rows.shape[1]))
    for start in range(0, rows.shape[1] if len(present) else 0, _COLUMNS_AT_ONCE):
        some = slice(start, start + _COLUMNS_AT_ONCE)
        ordered = rows[:, some][order].astype(np.float64)
        totals[present, some] = np.add.reduceat(ordered, starts, axis=0)
        ordered *= ordered
        squares[present, some] = np.add.reduceat(ordered, starts, axis=0)
    return BlockMoments(counts, totals, squares)
