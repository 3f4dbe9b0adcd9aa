"""Seven other ways to call a window drifted, each as its users run it: what the benchmarks hold VisionDrift against.

Evidently's classifier is Evidently's own code. Its share of drifted columns is computed by ours, many times faster and
equal to the last digit, which bench_columns.py and bench_false_alarms.py check at every run. NannyML's limits are made
here as its documentation describes them. The tests are textbook ones, valid for independent rows.
"""

import warnings

import numpy as np
import pandas as pd
from evidently.legacy.metrics.data_drift.embedding_drift_methods import ModelDriftMethod
from numpy.typing import NDArray
from scipy import stats
from sklearn.covariance import ledoit_wolf

from visiondrift.drift.columns.distances import drifted_share, prepare_columns, wasserstein_normed
from visiondrift.drift.columns.ks import ks_statistic
from visiondrift.drift.columns.ordered import order_window

SHARE, MODEL, NANNY = "Evidently: share of columns", "Evidently: classifier", "NannyML-style limits"
KS, MMD, COSINE, C2ST = "KS + Bonferroni", "permutation MMD", "cosine of means, permuted", "classifier test"
PEERS = (SHARE, MODEL, NANNY, KS, MMD, COSINE, C2ST)
"""The first three have a limit in place of a p."""

SHARE_LIMIT, COLUMN_LIMIT = 0.5, 0.1
MODEL_ROWS = 2_000
"""Reference rows that Evidently's classifier is given: its cost is that of a fit."""

PERMUTED_ROWS = 500
"""Reference rows of the permutation tests, whose cost is quadratic; as scores without p they compare with all."""

PERMUTATIONS = 200
KEPT_VARIANCE = 0.65

Matrix = NDArray[np.float64]
Scores = dict[str, tuple[float, float]]
"""Method -> p (or 0 and 1 for a fixed limit), and a score that is higher where drift is."""


class Peers:
    """All of them, prepared for the reference ``rows`` (n, d)."""

    def __init__(self, rows: NDArray[np.float32], rng: np.random.Generator) -> None:
        self._rng = rng
        self._rows = rows
        self._columns = prepare_columns(rows)
        self._frame = pd.DataFrame(rows[:MODEL_ROWS])
        self._few = rows[rng.choice(len(rows), min(PERMUTED_ROWS, len(rows)), replace=False)]
        gaps = squared(self._few, self._few)
        self._bandwidth = float(np.median(gaps[gaps > 1e-9]))
        self._split = _Split(rows, rng)
        self._nanny = _Reconstruction(rows)

    def judge(self, rows: NDArray[np.float32], *, permute: bool, slow: bool = True) -> Scores:
        """Of a window; without ``permute`` MMD and the cosine are mere scores, against all reference rows.

        Without ``slow`` Evidently's classifier is spared, and its score is NaN.
        """
        ordered = order_window(self._columns, rows)
        share = drifted_share(wasserstein_normed(self._columns, ordered), COLUMN_LIMIT)
        n, m = len(self._rows), len(rows)
        ks = float(stats.kstwo.sf(ks_statistic(self._columns, ordered).max(), round(n * m / (n + m))))
        auc = self.evidently(rows) if slow else float("nan")
        excess, distance = self._nanny.judge(rows)
        return {
            SHARE: (float(share < SHARE_LIMIT), share),
            MODEL: (float(auc <= ModelDriftMethod().threshold), auc),
            NANNY: (float(excess <= 3), excess + 1e-9 * distance),
            KS: (min(1.0, ks * rows.shape[1]), -np.log10(max(ks, 1e-300))),
            C2ST: self._split.judge(rows, self._rng),
        } | (self.permuted(rows) if permute else self._unpermuted(rows))

    def evidently(self, rows: NDArray[np.float32]) -> float:
        """The AUC of Evidently's default method for embeddings, which writes into what it is given."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(ModelDriftMethod()(pd.DataFrame(rows), self._frame.copy())[0])

    def share(self, rows: NDArray[np.float32]) -> float:
        """Evidently's share of drifted columns."""
        return drifted_share(wasserstein_normed(self._columns, rows), COLUMN_LIMIT)

    def evidently_share(self, rows: NDArray[np.float32]) -> float:
        """The same from Evidently itself: seconds a call."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from evidently import Report
            from evidently.metrics import DriftedColumnsCount

            names = [f"e{column}" for column in range(rows.shape[1])]
            window, reference = (pd.DataFrame(x.astype(np.float64), columns=names) for x in (rows, self._rows))
            snapshot = Report([DriftedColumnsCount()], include_tests=False).run(window, reference)
            return float(snapshot.dict()["metrics"][0]["value"]["share"])

    def cosine(self, rows: NDArray[np.float32]) -> float:
        """One minus the cosine of the mean vectors."""
        a, b = rows.mean(axis=0), self._rows.mean(axis=0)
        return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def _unpermuted(self, rows: NDArray[np.float32]) -> Scores:
        # The reference's own part of MMD is the same for every window.
        within, across = (
            np.exp(-squared(rows, other) / self._bandwidth).mean(dtype=np.float64) for other in (rows, self._rows)
        )
        return {MMD: (1.0, float(within - 2 * across)), COSINE: (1.0, self.cosine(rows))}

    def permuted(self, rows: NDArray[np.float32]) -> Scores:
        """MMD and the cosine of means with p, against a part of the reference."""
        pool = np.vstack([self._few, rows])
        # One set of permutations as signed weights: the window's rows weigh 1/m, the reference's -1/n.
        n, m = len(self._few), len(rows)
        first = np.concatenate([np.full(n, -1 / n), np.full(m, 1 / m)]).astype(np.float32)
        weights = np.tile(first, (PERMUTATIONS + 1, 1))
        weights[1:] = self._rng.permuted(weights[1:], axis=1)
        gram = np.exp(-squared(pool, pool) / self._bandwidth)
        mmd = ((weights @ gram) * weights).sum(axis=1)
        window, reference = (np.where(part, weights, 0) @ pool for part in (weights > 0, weights < 0))
        lengths = np.linalg.norm(window, axis=1) * np.linalg.norm(reference, axis=1)
        apart = 1 + (window * reference).sum(axis=1) / lengths
        return {MMD: (rank(mmd), float(mmd[0])), COSINE: (rank(apart), float(apart[0]))}


class _Split:
    """A classifier two-sample test with one split: linear discriminant on one half, ranks of its scores on the other.

    The covariance is that of the reference's half, shrunk by Ledoit and Wolf's rule.
    """

    def __init__(self, rows: NDArray[np.float32], rng: np.random.Generator) -> None:
        order = rng.permutation(len(rows))
        train, self._test = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
        self._mean = train.mean(axis=0)
        self._precision = np.linalg.inv(ledoit_wolf(train)[0])

    def judge(self, rows: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float]:
        order = rng.permutation(len(rows))
        train, test = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
        direction = self._precision @ (train.mean(axis=0) - self._mean)
        found = stats.mannwhitneyu(test @ direction, self._test @ direction, alternative="greater", method="asymptotic")
        return float(found.pvalue), float(-np.log10(max(found.pvalue, 1e-300)))


class _Reconstruction:
    """PCA that keeps 65 % of the standardised variance; how far a chunk's mean error is from the reference's chunks."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._mean, self._sd = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
        scaled = (rows - self._mean) / self._sd
        values, axes = np.linalg.eigh(scaled.T @ scaled)
        kept = np.cumsum(values[::-1]) / values.sum() < KEPT_VARIANCE
        self._axes = axes[:, ::-1][:, : int(kept.sum()) + 1].astype(np.float32)
        self._errors = self._error(rows)

    def judge(self, rows: NDArray[np.float32]) -> tuple[float, float]:
        """In standard deviations of reference chunks of the same size, and as it is."""
        size = min(len(rows), len(self._errors) // 2)
        chunks = self._errors[: len(self._errors) // size * size].reshape(-1, size).mean(axis=1)
        distance = abs(float(self._error(rows).mean() - chunks.mean()))
        return distance / float(chunks.std(ddof=1)), distance

    def _error(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = (rows - self._mean) / self._sd
        return np.asarray(np.linalg.norm(scaled - scaled @ self._axes @ self._axes.T, axis=1))


def squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) squared distances of all rows."""
    return np.asarray(np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T, 0))


def rank(values: NDArray[np.floating]) -> float:
    """The permutation p of the first of ``values``."""
    return float((values >= values[0] * (1 - 1e-6)).mean())
