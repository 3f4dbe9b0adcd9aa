"""How alike a stretch of time is to the reference in CLIP's space: a mean, with an interval that knows of blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Similarity:
    """Of n images: ``mean`` of their cosines to the reference's mean direction, with the interval from ``low`` to
    ``high`` (NaN with fewer than two ``blocks``); ``of_means`` the cosine of their mean to it.
    """

    images: int
    blocks: int
    mean: float
    low: float
    high: float
    of_means: float


def mean_direction(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(d,) of length 1, where a reference lies: along the mean of its embeddings (n, d); rows of NaN are passed over.

    Raises ValueError where no row has an embedding, or they cancel out.
    """
    present = embeddings[~np.isnan(embeddings).any(axis=1)]
    mean = present.mean(axis=0, dtype=np.float64) if len(present) else np.zeros(1)
    length = float(np.linalg.norm(mean))
    if length == 0:
        msg = "the reference has no embeddings with a direction in common"
        raise ValueError(msg)
    return np.asarray(mean / length, dtype=np.float32)


def similarity_to(
    direction: NDArray[np.float32], embeddings: NDArray[np.float32], blocks: NDArray[np.intp]
) -> Similarity:
    """Of unit ``embeddings`` (n, d), n at least 1, to ``direction`` (d,); ``blocks`` (n,) says which are one look.

    The interval is that of the mean when each block in turn is left out (the jackknife; MacKinnon and White 1985), with
    Student's t: images of a block count together, however many they are.
    """
    cosines = embeddings.astype(np.float64) @ direction.astype(np.float64)
    mean = float(cosines.mean())
    centre = embeddings.mean(axis=0, dtype=np.float64)
    of_means = float(centre @ direction / np.linalg.norm(centre))
    _, of_row = np.unique(blocks, return_inverse=True)
    excess = np.bincount(of_row.reshape(-1), weights=cosines - mean)
    count = len(excess)
    if count < 2:  # noqa: PLR2004 - one block has no spread
        return Similarity(len(cosines), count, mean, float("nan"), float("nan"), of_means)
    without = len(cosines) - np.bincount(of_row.reshape(-1))
    error = np.sqrt((count - 1) / count * ((excess / without) ** 2).sum())
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    return Similarity(len(cosines), count, mean, max(-1.0, mean - reach), min(1.0, mean + reach), of_means)
