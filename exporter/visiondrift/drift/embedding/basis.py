"""The axes in which embeddings are compared: the reference's own, with variances shrunk towards their mean.

Fitted on one part of the reference alone; what a window is held against is another part. The shrinkage is Ledoit and
Wolf's (2004) with blocks in place of rows: frames of one scene are no independent witnesses, and counting them as such
leaves the small variances far too small.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DIMENSIONS = 1024
"""Axes that are kept at most, those of largest variance: 2 x 8 KiB a block."""


@dataclass(frozen=True, eq=False)
class Basis:
    """``mean`` (d,), ``axes`` (d, k) orthonormal columns by falling variance, ``variances`` (k,) shrunk.

    ``spread`` is the total variance of the cloud: its size is the square root of that.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float32]
    variances: NDArray[np.float64]
    spread: float

    @property
    def dimension(self) -> int:
        """Axes kept, k."""
        return int(self.axes.shape[1])

    def project(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(n, k) coordinates of ``embeddings`` (n, d). Raises ValueError where d differs."""
        if embeddings.shape[1] != len(self.mean):
            msg = f"the embeddings have {embeddings.shape[1]} columns, the basis {len(self.mean)}: they must be equal"
            raise ValueError(msg)
        centred = np.asarray(embeddings, dtype=np.float32) - self.mean.astype(np.float32)
        return np.asarray(centred @ self.axes, dtype=np.float32)


def fit_basis(
    embeddings: NDArray[Any], of_row: NDArray[np.intp], strata: NDArray[np.intp], *, most: int = MAX_DIMENSIONS
) -> Basis:
    """Fit on ``embeddings`` (n, d), n at least 2; ``of_row`` (n,) is each row's block, ``strata`` (n,) its slice.

    The covariance is that within slices: cameras that look at different places are no variance of any of them.
    """
    values = np.asarray(embeddings, dtype=np.float64)
    mean = values.mean(axis=0)
    values = values - _means(values, strata)
    n, d = values.shape
    covariance = values.T @ values / n
    share = _shrinkage(values, covariance, of_row)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    order = np.argsort(-eigenvalues)[:most]
    level = float(np.trace(covariance)) / d
    variances = (1 - share) * np.maximum(eigenvalues[order], 0.0) + share * level
    floor = max(level * 1e-6, np.finfo(np.float64).tiny)
    return Basis(mean, vectors[:, order].astype(np.float32), np.maximum(variances, floor), level * d)


def _means(values: NDArray[np.float64], strata: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n, d) the mean of each row's stratum."""
    names, place = np.unique(strata, return_inverse=True)
    means = np.stack([values[place == index].mean(axis=0) for index in range(len(names))])
    return np.asarray(means[place])


def _shrinkage(values: NDArray[np.float64], covariance: NDArray[np.float64], of_row: NDArray[np.intp]) -> float:
    """Share of the identity, 0-1: the covariance's sampling error over its distance from a multiple of the identity.

    With C_b the sum of x xᵀ over block b: |C_b|² is the squared Gram matrix of the block's rows, so nothing of size
    d x d is made for a block.
    """
    n, d = values.shape
    level = np.trace(covariance) / d
    distance = float((covariance**2).sum() - d * level**2)
    if distance <= 0:
        return 1.0
    agreement = np.einsum("ij,ij->i", values @ covariance, values)
    norm = float((covariance**2).sum())
    error = 0.0
    order = np.argsort(of_row, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1):
        gram = values[rows] @ values[rows].T
        error += float((gram**2).sum()) - 2 * len(rows) * float(agreement[rows].sum()) + len(rows) ** 2 * norm
    return float(min(1.0, max(0.0, error / n**2 / distance)))
