"""How the classes' true shares moved, if what moved is the shares alone; and whether that explains the window.

Soft black-box shift estimation (Lipton et al. 2018; Garg et al. 2020): the mean probabilities of a window are a mixture
of what the reference's classes look like to the model; find the shares of the mixture. Their maximum likelihood by EM
(Saerens et al. 2002) is smoother, and is what is told. Both believe that a class still looks as it did. The residual
tells: with as many classes as probabilities nearly any mean is some mixture, so the residual also holds the
distribution of the top confidence against that mixture's. A window that it does not explain has moved in another way.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from visiondrift.drift.performance.imagined_windows import ImaginedWindows

MAX_CONDITION = 100.0
"""Beyond this the classes look too alike to the model for their shares to be told apart."""

MAX_CLASSES = 100
"""Classes whose shares are estimated together at most: beyond it the labels hardly suffice, and the time does not."""

MIN_CLASS_LABELS = 20
"""Labels of a class before it can be recognised in a mixture."""

MAX_UNKNOWN_SHARE = 0.05
"""Of a window's probability on classes without enough labels."""

_REPLICATES = 100
_TOP_QUANTILES = (0.05, 0.1, 0.2, 0.4, 0.7)  # of the reference's top confidence: finer where faults move it
_RULE_OF_THREE = 3.0  # a class of which n independent blocks show none may yet have a share of about 3 / n
_NULL_LEVEL = 0.99  # share of replicates that the residual may pass before the mixture is disbelieved
_ITERATIONS = 200
_TOLERANCE = 1e-7
_NEVER_TELLS = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassShare:
    """One class's true share, 0-1: in the reference, and in the window by maximum likelihood with its 90 % interval;
    ``least_squares`` is the share by mixture."""

    name: str
    reference: float
    value: float
    low: float
    high: float
    least_squares: float


@dataclass(frozen=True)
class LabelShift:
    """The shares, and whether they may be believed; ``why`` says why not. ``moved``: beyond what chance explains.

    ``residual`` is the distance between what the window and the best mixture show, in standard deviations of an event,
    ``residual_limit`` what 99 in 100 windows of such a mixture stay below.
    """

    classes: tuple[ClassShare, ...]
    condition: float
    residual: float
    residual_limit: float
    moved: bool
    valid: bool
    why: str

    def ratio(self) -> Floats:
        """(C,) each class's share in the window over that in the reference; 1 where the reference has none."""
        return np.array([c.value / c.reference if c.reference > 0 else 1.0 for c in self.classes])


@dataclass(frozen=True, eq=False)
class ClassMixture:
    """What the reference's classes look like to the model, as sums over blocks, ready to be resampled.

    ``probabilities`` (n, C) are calibrated; ``labels`` (n,) true classes; ``block_of`` (n,) blocks 0 and up,
    each of which is ``merged`` of those that windows are counted in.
    """

    probabilities: Floats
    labels: NDArray[np.int32]
    block_of: NDArray[np.intp]
    merged: int = 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(C,) labels of each class."""
        return np.bincount(self.labels, minlength=self.probabilities.shape[1]).astype(np.int64)

    def estimate(
        self, probabilities: Floats, names: tuple[str, ...], *, blocks: int | None = None, seed: int = 0
    ) -> LabelShift:
        """The classes' shares in a window with calibrated ``probabilities`` (m, C).

        ``blocks`` is how many blocks the window has; left out, it has as many rows a block as the reference.
        """
        prior = self.counts / len(self.labels)
        known = np.flatnonzero(self.counts >= MIN_CLASS_LABELS)
        shows = _Shows.of(self.probabilities)
        features = shows.features(self.probabilities)
        sums = self._sums(features)
        fit = _Fit(shows, known, _looks(sums, np.ones(len(sums.rows))))
        mean = shows.features(probabilities).mean(axis=0)
        shares, residual = fit.solve(mean)
        blocks = max(1, blocks // self.merged) if blocks else self._blocks_for(len(probabilities))
        draws = self._draws(fit, sums, features, prior, shares, size=(blocks, len(probabilities) / blocks), seed=seed)
        limit = float(np.quantile(draws.residuals, _NULL_LEVEL))
        condition = float(np.linalg.cond(fit.looks[: len(prior), known])) if len(known) else np.inf
        why = _why_not(known, probabilities.mean(axis=0), condition, residual, limit)
        likeliest = maximum_likelihood(probabilities[:, known], prior[known])
        return LabelShift(
            _class_shares(names, prior, known, likeliest=likeliest, shares=shares, draws=draws.shares, blocks=blocks),
            condition,
            residual,
            limit,
            bool(np.abs(shares - prior[known]).sum() > np.quantile(draws.unmoved, _NULL_LEVEL)),
            not why,
            why,
        )

    def _blocks_for(self, rows: int) -> int:
        return max(1, round(rows * (int(self.block_of.max()) + 1) / len(self.labels)))

    def _sums(self, features: Floats) -> "_Sums":
        """By block and class, because a block is drawn whole: what it looks like then is a sum of these."""
        blocks, classes = int(self.block_of.max()) + 1, self.probabilities.shape[1]
        place = self.block_of * classes + self.labels
        sums = [np.bincount(place, weights=column, minlength=blocks * classes) for column in features.T]
        rows = np.bincount(place, minlength=blocks * classes).astype(np.float64)
        stacked = np.stack(sums, axis=1).astype(np.float64)
        return _Sums(stacked.reshape(blocks, -1), rows.reshape(blocks, classes))

    def _draws(
        self,
        fit: "_Fit",
        sums: "_Sums",
        features: Floats,
        prior: Floats,
        shares: Floats,
        *,
        size: tuple[int, float],
        seed: int,
    ) -> "_Draws":
        """Windows as they would be if ``shares`` were true, and as they would be if nothing had moved.

        Both the window and the looks of the classes are resampled by blocks. A block is drawn as often as its rows
        are wanted, and within it its rows count as much as they are wanted.
        """
        rng = np.random.default_rng(seed)
        total = int(self.block_of.max()) + 1
        wanted = np.zeros(len(prior))
        wanted[fit.known] = shares / prior[fit.known]
        moved = ImaginedWindows(features, self.block_of, wanted[self.labels], size)
        plain = ImaginedWindows(features, self.block_of, np.ones(len(self.labels)), size)
        drawn, unmoved = [], []
        for _ in range(_REPLICATES):
            weights = rng.multinomial(total, np.full(total, 1 / total)).astype(np.float64)
            other = _Fit(fit.shows, fit.known, _looks(sums, weights))
            drawn.append(other.solve(moved.draw(rng)))
            still, _residual = other.solve(plain.draw(rng))
            unmoved.append(np.abs(still - prior[fit.known]).sum())
        residuals = np.array([residual for _, residual in drawn])
        return _Draws(np.array([found for found, _ in drawn]), residuals, np.asarray(unmoved))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of B blocks: ``features`` (B, C F) summed and ``rows`` (B, C) counted by class."""

    features: Floats
    rows: Floats


def _looks(sums: _Sums, weights: Floats) -> Floats:
    """(F, C) mean features (down) of the rows of each class (across), blocks weighted (B,)."""
    totals = (weights @ sums.features).reshape(sums.rows.shape[1], -1)
    return np.asarray(totals.T / np.maximum(weights @ sums.rows, 1e-12))


@dataclass(frozen=True, eq=False)
class _Shows:
    """What of an event is compared: its probabilities, and in which range its top one is; ``spread`` (F,) of each."""

    edges: Floats
    spread: Floats

    @classmethod
    def of(cls, probabilities: Floats) -> "_Shows":
        edges = np.quantile(probabilities.max(axis=1), _TOP_QUANTILES)
        return cls(edges, np.maximum(cls(edges, np.ones(0)).features(probabilities).std(axis=0), 1e-6))

    def features(self, probabilities: Floats) -> Floats:
        """(n, F) of (n, C)."""
        reach = np.searchsorted(self.edges, probabilities.max(axis=1), side="right")
        return np.hstack([probabilities, np.eye(len(self.edges) + 1)[reach]])


@dataclass(frozen=True, eq=False)
class _Fit:
    """The looks (F, C) of the classes, of which ``known`` may be in the mixture."""

    shows: _Shows
    known: NDArray[np.intp]
    looks: Floats

    def solve(self, mean: Floats) -> tuple[Floats, float]:
        """(K,) shares of the known classes by the probabilities, and how far all features are from the mixture's."""
        classes = self.looks.shape[1]
        shares = solve_mixture(self.looks[:classes, self.known], mean[:classes])
        gap = (self.looks[:, self.known] @ shares - mean) / self.shows.spread
        return shares, float(np.linalg.norm(gap))


def solve_mixture(looks: Floats, mean: Floats) -> Floats:
    """(K,) shares, not negative and adding up to 1, with ``looks`` (C, K) times them near ``mean`` (C,).

    Non-negative least squares; each column of ``looks`` adds up to 1 as ``mean`` does, so the sum comes out near 1.
    """
    found = np.asarray(nnls(looks, mean)[0], dtype=np.float64)
    total = float(found.sum())
    return np.asarray(found / total if total > 0 else np.full(len(found), 1 / max(len(found), 1)))


def maximum_likelihood(probabilities: Floats, prior: Floats) -> Floats:
    """(K,) the shares under which (m, K) ``probabilities``, made under ``prior``, are likeliest; by EM."""
    ratio = np.asarray(probabilities / np.maximum(prior, 1e-12))
    shares = np.asarray(prior / prior.sum())
    for _ in range(_ITERATIONS):
        joint = ratio * shares
        new = np.asarray((joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)).mean(axis=0))
        new /= max(float(new.sum()), 1e-300)
        moved, shares = float(np.abs(new - shares).max()), new
        if moved < _TOLERANCE:
            break
    return shares


@dataclass(frozen=True, eq=False)
class _Draws:
    shares: Floats
    residuals: Floats
    unmoved: Floats


def _why_not(known: NDArray[np.intp], mean: Floats, condition: float, residual: float, limit: float) -> str:
    unknown = 1.0 - float(mean[known].sum())
    if unknown > MAX_UNKNOWN_SHARE:
        return (
            f"{unknown:.0%} of the window's probability is on classes with fewer than {MIN_CLASS_LABELS} labels in "
            f"the reference; at most {MAX_UNKNOWN_SHARE:.0%} may be"
        )
    if not condition <= MAX_CONDITION:
        return (
            f"the classes look too alike to the model for their shares to be told apart (condition number "
            f"{condition:.0f}; at most {MAX_CONDITION:.0f})"
        )
    if residual > max(limit, _NEVER_TELLS):
        return (
            "no mixture of the reference's classes explains the window's confidences "
            f"(residual {residual:.3f}, of which chance explains {limit:.3f}): more than the class shares has changed"
        )
    return ""


def _class_shares(
    names: tuple[str, ...],
    prior: Floats,
    known: NDArray[np.intp],
    *,
    likeliest: Floats,
    shares: Floats,
    draws: Floats,
    blocks: int,
) -> tuple[ClassShare, ...]:
    """The interval is that of the least squares, which scatters more, about the likeliest shares; never narrower above
    than what so many blocks can rule out."""
    columns = np.zeros((4, len(names)))
    columns[0, known], columns[3, known] = likeliest, shares
    below, above = shares - np.quantile(draws, 0.05, axis=0), np.quantile(draws, 0.95, axis=0) - shares
    reach = np.maximum(np.maximum(below, above), 0.0)
    columns[1, known] = np.clip(likeliest - reach, 0.0, 1.0)
    columns[2, known] = np.clip(np.maximum(likeliest + reach, _RULE_OF_THREE / blocks), 0.0, 1.0)
    return tuple(
        ClassShare(name, float(was), *map(float, column))
        for name, was, column in zip(names, prior, columns.T, strict=True)
    )
