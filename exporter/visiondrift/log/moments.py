"""The moments beside the events: what is kept of a block, so that a window, a roll-up or a backtest is an addition.

This module is the contract (a Protocol and its values) and the form in which a block is kept: float32, its count, then
its sums, then its sums of squares. A block is one slice's stretch of time: number b holds the events whose
``floor(time / seconds)`` is b. Blocks have an age of their own at which they go; their events may be gone long before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.log import microseconds

SHORTEST = 1e-6
"""Seconds of a block at least: times are kept to the microsecond."""

_ROW_BYTES = 64
"""What a block is taken to cost beside its numbers: its row and its places in two indexes."""


@dataclass(frozen=True, kw_only=True)
class BlockQuery:
    """Which events are counted by block: ``since <= time < until`` of one model and version, with an embedding.

    ``embedder`` made the embedding, of whatever length. ``slice`` is a (label, value) pair, or None for all. Where
    ``since`` or ``until`` lies inside a block of ``seconds``, only the part of it between them is counted. Raises
    ValueError where ``seconds`` is not a length.
    """

    model: str
    version: str
    embedder: str
    since: float
    until: float
    seconds: float
    slice: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        _refuse_no_length(self.seconds)


@dataclass(frozen=True, kw_only=True)
class MomentKey:
    """Of which series of blocks, in which axes: ``basis`` names the k = ``dimension`` axes, ``slice`` the events.

    ``seconds`` is the length of a block: blocks of another length are another series. Raises ValueError where it is
    not a length.
    """

    basis: str
    model: str
    version: str
    slice: str
    seconds: float
    dimension: int

    def __post_init__(self) -> None:
        _refuse_no_length(self.seconds)

    def end_us(self, block: int) -> int:
        """The microsecond at which a block ends, which is the first that is not its own."""
        return microseconds((block + 1) * self.seconds)


@dataclass(frozen=True, eq=False)
class KeptMoments:
    """The blocks that are kept: ``blocks`` (B,) int64 their numbers, ascending, and ``moments`` of B blocks."""

    blocks: NDArray[np.int64]
    moments: BlockMoments


class Ticks(Protocol):
    """Keeps moments of blocks, and counts the events that they are made of.

    Numbers are kept as float32: a count is exact up to 16,777,216.
    """

    def rows_by_block(self, query: BlockQuery) -> Mapping[int, int]:
        """How many events of the query lie in each block now, by number; no entry where none. Raises LogError.

        Cheap beside reading them: no embedding is touched.
        """
        ...

    def kept_moments(self, key: MomentKey, *, since_block: int, until_block: int) -> KeptMoments:
        """What is kept of the blocks ``since_block <= number < until_block``; of no block where nothing is.

        Raises LogError where it cannot be read, is damaged, or is of another dimension than ``key`` says.
        """
        ...

    def keep_moments(self, key: MomentKey, blocks: NDArray[np.int64], moments: BlockMoments) -> None:
        """Keep ``moments`` of ``blocks`` (B,), in any order; of a block that is kept already they take the place.

        When this returns they survive a power cut. Raises LogFull where there is no room; LogError where shapes
        disagree, a number is not finite, the basis had another dimension before, or on any other failure. Refused
        numbers leave nothing of the call; after any other failure each block is whole, as it was or as given.
        """
        ...


class MomentLog(Ticks, Protocol):
    """What keeps moments for long. Locks for itself."""

    def prune_moments(self, *, older_than: float, max_bytes: int) -> int:
        """Drop the blocks that end by ``older_than`` (seconds since the epoch), then the oldest until they fit.

        Returns how many blocks were dropped.
        """
        ...


def kept_bytes(dimension: int) -> int:
    """About how many bytes a block takes that is kept."""
    return 4 * _numbers(dimension) + _ROW_BYTES


def packed(key: MomentKey, blocks: NDArray[np.int64], moments: BlockMoments) -> tuple[list[int], NDArray[np.float32]]:
    """What is kept of blocks: their B numbers, and (B, 2k+1) little-endian float32.

    Raises ValueError where shapes disagree or are not those of ``key``, a block comes twice, or a number is not finite.
    """
    count, shape = len(blocks), (len(blocks), key.dimension)
    given = moments.counts.shape, moments.totals.shape, moments.squares.shape
    if given != ((count,), shape, shape):
        msg = (
            f"moments cannot be stored: counts, totals and squares of {count} blocks in {key.dimension} dimensions have"
            f" the shapes {(count,)}, {shape} and {shape}; given are {given[0]}, {given[1]} and {given[2]}"
        )
        raise ValueError(msg)
    numbers = [int(block) for block in blocks]
    if len(set(numbers)) < count:
        msg = "moments cannot be stored: a block comes twice in one call"
        raise ValueError(msg)
    with np.errstate(over="ignore"):  # what is too large is told below
        rows = np.column_stack([moments.counts, moments.totals, moments.squares]).astype("<f4")
    if not np.isfinite(rows).all():
        wrong = numbers[int(np.argmin(np.isfinite(rows).all(axis=1)))]
        msg = f"moments cannot be stored: those of block {wrong} are not finite numbers of float32"
        raise ValueError(msg)
    return numbers, rows


def unpacked(key: MomentKey, blocks: Sequence[int], rows: Sequence[bytes]) -> KeptMoments:
    """The moments in ``rows``, as ``packed`` laid them. Raises ValueError where one has another length."""
    size = 4 * _numbers(key.dimension)
    for block, row in zip(blocks, rows, strict=True):
        if len(row) != size:
            msg = (
                f"the moments of block {block} of {key.model} {key.version} {key.slice} take {len(row)} bytes, but in "
                f"{key.dimension} dimensions they take {size}"
            )
            raise ValueError(msg)
    values = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), _numbers(key.dimension)).astype(np.float64)
    totals, squares = values[:, 1 : 1 + key.dimension], values[:, 1 + key.dimension :]
    return KeptMoments(np.array(blocks, dtype=np.int64), BlockMoments(values[:, 0], totals, squares))


def refuse_other_dimension(key: MomentKey, dimension: int) -> None:
    """Raises ValueError where the ``dimension`` in which the series of ``key`` is kept is another than its own."""
    if dimension != key.dimension:
        msg = (
            f"the moments of {key.model} {key.version} {key.slice} are kept in {dimension} dimensions, not in "
            f"{key.dimension}: two bases must not share the name {key.basis}"
        )
        raise ValueError(msg)


def _numbers(dimension: int) -> int:
    return 1 + 2 * dimension


def _refuse_no_length(seconds: float) -> None:
    if not SHORTEST <= seconds < math.inf:
        msg = f"a block of {seconds} s; accepted is a finite length of at least {SHORTEST} s"
        raise ValueError(msg)
