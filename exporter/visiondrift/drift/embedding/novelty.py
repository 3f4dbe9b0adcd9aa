"""Is part of the window something that the reference has never seen: near its own kind and far from the reference.

The statistic is a ratio of densities: an image's distance to the reference over its distance to other images of the
window. A new kind of image has siblings in the window and none in the reference. Siblings in the same block do not
count: every scene resembles itself. What the user is told is another number, a share with a guarantee.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from visiondrift.drift.thinning import evenly

CORESET = 2_000
"""Rows of the reference that a window is measured against."""

WINDOW_ROWS = 1_000
"""Rows of a window that are looked at; beyond these, evenly spread ones stand for all."""

AXES = 128
"""Leading axes in which distances are taken."""

_TOP_SHARE = 0.02
_REFERENCE_NEIGHBOUR = 10
_SIBLING = 3
_COPY = 0.01
"""Of an image's distance to the reference: one so near to it is the same picture once more, as where a clip is played
in a loop, and neither it nor what was taken with it is a witness that there are others like it.
"""
_CONFIDENCE = 0.05
_FAR = (0.9, 0.98, 0.998)
_OUTLIER = 1
"""Which of these distances makes an image an outlier."""

NORMAL_ROWS = 4_000
"""Distances of normal images that are kept at most: p values go down to one over their number."""


@dataclass(frozen=True, eq=False)
class Coreset:
    """``rows`` (c, a) float32 of the reference's fitted part; ``far`` (3,) distances that few others of it pass.

    ``shares`` (3,) upper bounds, valid together at 97.5 %, of the share of normal images beyond each distance.
    ``normal`` (q,) ascending, distances of images that the fit has not seen; none in a coreset of an older kind.
    """

    rows: NDArray[np.float32]
    far: NDArray[np.float64]
    shares: NDArray[np.float64]
    normal: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


@dataclass(frozen=True)
class OutlierShare:
    """``ratio`` of a window's images farther from the reference than all but the share ``expected`` of normal ones.

    Without drift it lies between ``low`` and ``high`` in 95 % of windows of so many blocks at least.
    """

    ratio: float
    expected: float
    low: float
    high: float


def build_coreset(
    fitted: NDArray[np.float32], held: NDArray[np.float32], of_row: NDArray[np.intp], rng: np.random.Generator
) -> Coreset:
    """From the coordinates of the fitted part (n, k); ``held`` (m, k), in blocks ``of_row`` (m,), sets the distances.

    Raises ValueError where either part has fewer than ten rows, or all held rows are one block.
    """
    least = min(len(fitted), len(held))
    if least < _REFERENCE_NEIGHBOUR or len(np.unique(of_row)) < 2:  # noqa: PLR2004
        msg = f"a coreset needs {_REFERENCE_NEIGHBOUR} rows of both parts and two held blocks; the smaller has {least}"
        raise ValueError(msg)
    chosen = fitted if len(fitted) <= CORESET else fitted[np.sort(rng.choice(len(fitted), CORESET, replace=False))]
    rows = np.ascontiguousarray(chosen[:, :AXES])
    distance = to_reference(rows, held)
    # One half of the blocks says which distances are far, the other how many normal images pass them: a bound on a
    # share holds only for a limit that was chosen without it.
    choosing = np.unique(of_row, return_inverse=True)[1] % 2 == 0
    far = np.quantile(distance[choosing], _FAR)
    share = (distance[~choosing, None] > far).mean(axis=0)
    bound = np.array([share_above(s, _witnesses(of_row[~choosing]), _CONFIDENCE / 6) for s in share])
    few = distance if len(distance) <= NORMAL_ROWS else rng.choice(distance, NORMAL_ROWS, replace=False)
    return Coreset(rows, far, bound, np.sort(few).astype(np.float32))


def to_reference(coreset: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(m,) distance of each of ``rows`` (m, k) to its tenth neighbour in the ``coreset`` (c, a)."""
    squared = squared_distances(rows[:, : coreset.shape[1]], coreset)
    kth = min(_REFERENCE_NEIGHBOUR, squared.shape[1]) - 1
    return np.sqrt(np.partition(squared, kth, axis=1)[:, kth].astype(np.float64))


def squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) squared Euclidean distances of the rows of ``a`` (n, k) and ``b`` (m, k), at least 0."""
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :]
    products = a @ b.T
    products *= 2
    squared -= products
    return np.asarray(np.maximum(squared, 0, out=squared), dtype=np.float32)


def knn_ratio(
    to_others: NDArray[np.float64], among: NDArray[np.float32], of_row: NDArray[np.intp], *, reach: int = 0
) -> tuple[float, NDArray[np.float64]]:
    """The mean of the highest 2 % of ratios, and every row's ratio (m,): the images to show are those of the highest.

    ``to_others`` (m,) are distances to the reference, ``among`` (m, m) squared distances within the window, ``of_row``
    (m,) the blocks. A ratio counts siblings in blocks more than ``reach`` numbers away that hold no copy of what its
    own block does; where there are fewer than three, it is 0.
    """
    apart = np.where(_alike(of_row, reach), np.float32(np.inf), among)
    copies = apart < np.square(_COPY * to_others, dtype=np.float32)[:, None]
    if copies.any():
        scene = _together(of_row, copies)
        apart[scene[:, None] == scene] = np.inf
    if apart.shape[1] < _SIBLING:
        return 0.0, np.zeros(len(to_others))
    siblings = np.sqrt(np.partition(apart, _SIBLING - 1, axis=1)[:, _SIBLING - 1].astype(np.float64))
    ratios = np.where(np.isfinite(siblings), to_others / np.maximum(siblings, 1e-9), 0.0)
    top = max(1, round(_TOP_SHARE * len(ratios)))
    return float(np.sort(ratios)[-top:].mean()), ratios


def _together(of_row: NDArray[np.intp], copies: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(m,) the blocks numbered anew, those that hold copies of each other's rows (m, m) as one."""
    blocks, place = np.unique(of_row, return_inverse=True)
    row, column = np.nonzero(copies)
    pairs = coo_array((np.ones(len(row), dtype=bool), (place[row], place[column])), shape=(len(blocks), len(blocks)))
    return np.asarray(connected_components(pairs, directed=False)[1][place])


def _alike(of_row: NDArray[np.intp], reach: int) -> NDArray[np.bool_]:
    """(m, m) True where two rows' blocks are at most ``reach`` numbers apart.

    Blocks are numbered anew in half the bytes, wide gaps between them narrowed: nothing else here is as large.
    """
    numbers, place = np.unique(of_row, return_inverse=True)
    narrow = np.cumsum(np.minimum(np.diff(numbers, prepend=numbers[:1]), reach + 1)).astype(np.int32)
    own = narrow[place]
    if not reach:
        return np.asarray(own[:, None] == own)
    gaps = own[:, None] - own
    return np.asarray(np.abs(gaps, out=gaps) <= reach)


def new_share(coreset: Coreset, distances: NDArray[np.float64], of_row: NDArray[np.intp]) -> float:
    """At least this share of the window is new, 0-1, with 95 % confidence.

    If a share s of the window comes from elsewhere, then P(far) <= s + (1 - s) P_normal(far) at every distance. P(far)
    is bounded from below by Hoeffding's inequality in its relative-entropy form for the window's blocks, P_normal from
    above likewise, three distances and both sides sharing the 5 %.
    """
    if not len(distances):
        return 0.0
    witnesses = _witnesses(of_row)
    seen = (distances[:, None] > coreset.far).mean(axis=0)
    least = np.array([share_below(s, witnesses, _CONFIDENCE / 6) for s in seen])
    return float(max(0.0, np.max((least - coreset.shares) / np.maximum(1 - coreset.shares, 1e-9))))


def outlier_share(coreset: Coreset, distances: NDArray[np.float64], of_row: NDArray[np.intp]) -> OutlierShare | None:
    """How many of a window's ``distances`` (m,) are those of outliers; ``of_row`` (m,) are its blocks. None of none.

    The interval is Hoeffding's for the window's blocks, of a share of normal outliers that is itself bounded.
    """
    if not len(distances):
        return None
    limit = np.log(2 / _CONFIDENCE) / _witnesses(of_row)
    expected = 1 - _FAR[_OUTLIER]
    most = max(expected, float(coreset.shares[_OUTLIER]))
    return OutlierShare(
        ratio=float((distances > coreset.far[_OUTLIER]).mean()),
        expected=expected,
        low=_reach(expected, limit, 0.0),
        high=_reach(most, limit, 1.0),
    )


def outlier_chances(coreset: Coreset, distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) the conformal p of each distance to the reference (Vovk, Gammerman and Shafer 2005); NaN where unknown.

    Of an image like those of the reference it is at most a with a chance of at most a, whatever their distribution.
    """
    normal = coreset.normal
    if not len(normal):
        return np.full(len(distances), np.nan)
    beyond = len(normal) - np.searchsorted(normal, distances.astype(np.float32), side="left")
    return np.asarray((1 + beyond) / (1 + len(normal)))


def share_below(share: float, witnesses: float, level: float) -> float:
    """A lower bound at confidence 1 - ``level`` of a share observed as the mean of bounded independent witnesses.

    Solves witnesses * KL(share || p) = ln(1 / level) for p < share (Hoeffding 1963, theorem 1).
    """
    return _entropy_bound(share, witnesses, level, 0.0)


def share_above(share: float, witnesses: float, level: float) -> float:
    """The upper bound that belongs to ``share_below``."""
    return _entropy_bound(share, witnesses, level, 1.0)


def thinned(of_row: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Positions of some rows in blocks ``of_row`` (m,), ascending: all, or ``most`` at most and one of each block.

    The fullest blocks are thinned, evenly, to one number of rows: frames that crowd in a block are all near to one
    another block's, as if that were a kind of its own.
    """
    sizes = np.sort(np.unique(of_row, return_counts=True)[1])
    if sizes.sum() <= most:
        return np.arange(len(of_row))
    each = max(1, bisect_right(range(1, int(sizes[-1])), most, key=lambda rows: int(np.minimum(sizes, rows).sum())))
    kept = [own[evenly(len(own), each)] for own in _positions(of_row)]
    return np.sort(np.concatenate(kept))


def _positions(of_row: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The rows of each block."""
    order = np.argsort(of_row, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1)


def _witnesses(of_row: NDArray[np.intp]) -> float:
    """Independent witnesses that rows in blocks are worth at least: rows over the largest block.

    Hoeffding's exponent for weighted means is Schur-convex in the weights, so that equal weights of the largest are
    its worst case: the bounds stay valid whatever the sizes.
    """
    return float(len(of_row) / np.unique(of_row, return_counts=True)[1].max())


def _entropy_bound(share: float, witnesses: float, level: float, outer: float) -> float:
    limit = np.log(1 / level) / witnesses
    inner = share
    for _ in range(60):
        middle = (inner + outer) / 2
        inner, outer = (inner, middle) if _relative_entropy(share, middle) > limit else (middle, outer)
    return float(outer)


def _reach(p: float, limit: float, outer: float) -> float:
    """The observed share between ``p`` and ``outer`` that is as far from ``p`` as ``limit`` allows (Hoeffding 1963)."""
    inner = p
    for _ in range(60):
        middle = (inner + outer) / 2
        inner, outer = (inner, middle) if _relative_entropy(middle, p) > limit else (middle, outer)
    return float(outer)


def _relative_entropy(share: float, p: float) -> float:
    p = min(max(p, 1e-12), 1 - 1e-12)
    first = share * np.log(share / p) if share > 0 else 0.0
    return float(first + ((1 - share) * np.log((1 - share) / (1 - p)) if share < 1 else 0.0))
