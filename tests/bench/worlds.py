"""Worlds to test drift detection in: seeded streams of embeddings whose truth is known, small enough to read.

A world draws unit-length embeddings in blocks (scenes) of 5 to 20 frames. Within a block rows share ``rho`` of every
variance, and with probability sqrt(rho) the block's concept; different blocks are independent. Two clouds:

isotropic   equal variance in all directions about the origin
cone        what image embeddings look like: a common direction (mean pairwise cosine near .5), a power-law spectrum,
            and 40 concepts of unequal frequency with means of their own
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SHIFTS = ("mean_rand", "mean_pc", "few", "cov", "iso", "concept", "prior")
"""Mean along any direction, along a leading one, on five raw columns; variances; noise; a new concept; class mix."""


@dataclass(frozen=True, eq=False)
class World:
    """The truth: ``mean`` (d,), ``root`` (d, d) square root of the common covariance, ``concepts`` (c, d) offsets."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    concepts: NDArray[np.float64]
    shares: NDArray[np.float64]
    unseen: NDArray[np.float64]
    rho: float = 0.0
    shift: str = ""
    size: float = 1.0
    seed: int = 0
    crowd: int = 1
    """How many times as many frames each scene has: another frame rate, not another world."""

    @property
    def spread(self) -> float:
        """Total variance of the cloud."""
        between = self.shares @ ((self.concepts - self.shares @ self.concepts) ** 2).sum(axis=1)
        return float((self.root**2).sum() + between)

    def shifted(self, shift: str, size: float = 1.0) -> "World":
        """The same world after ``shift``, ``size`` times its usual size."""
        return replace(self, shift=shift, size=size)

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """(rows, d) embeddings in order of time, and the block of each; the last block is cut off where rows end."""
        sizes = rng.integers(5, 21, size=rows // 5 + 1) * self.crowd
        of_row = np.repeat(np.arange(len(sizes)), sizes)[:rows]
        d = len(self.mean)
        common = rng.normal(size=(len(sizes), d))[of_row]
        z = np.sqrt(self.rho) * common + np.sqrt(1 - self.rho) * rng.normal(size=(rows, d))
        shares = self._shares()
        own = rng.choice(len(shares), size=rows, p=shares)
        shared = rng.choice(len(shares), size=len(sizes), p=shares)[of_row]
        concept = np.where(rng.random(rows) < np.sqrt(self.rho), shared, own)
        x = self.mean + self.concepts[concept] + self._spread_out(z) @ self.root.T
        x = self._moved(x, z, of_row, rng)
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), of_row.astype(np.intp)

    def _shares(self) -> NDArray[np.float64]:
        if self.shift != "prior":
            return self.shares
        shares = self.shares.copy()
        shares[len(shares) // 8] *= 1 + 1.5 * self.size
        return np.asarray(shares / shares.sum())

    def _spread_out(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.shift != "cov":
            return z
        scale = np.ones(z.shape[1])
        axes = np.random.default_rng((self.seed, 5)).permutation(z.shape[1])[: z.shape[1] // 10]
        scale[axes] = 1 + 0.25 * self.size
        return z * scale

    def _moved(
        self, x: NDArray[np.float64], z: NDArray[np.float64], of_row: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        fixed = np.random.default_rng((self.seed, 7))
        direction = fixed.normal(size=x.shape[1])
        if self.shift == "mean_rand":
            return x + 0.02 * self.size * np.sqrt(self.spread) * direction / np.linalg.norm(direction)
        if self.shift == "mean_pc":
            leading = self.root[:, :10] @ direction[:10]
            along = leading / np.linalg.norm(leading)
            return x + 0.4 * self.size * np.linalg.norm(self.root.T @ along) * along
        if self.shift == "few":
            columns = fixed.permutation(x.shape[1])[:5]
            x[:, columns] += 0.4 * self.size * np.linalg.norm(self.root[columns], axis=1)
        if self.shift == "iso":
            x = x + rng.normal(size=x.shape) * np.sqrt(0.01 * self.size * self.spread / x.shape[1])
        if self.shift == "concept":
            news = rng.random(int(of_row[-1]) + 1)[of_row] < 0.08 * self.size
            x[news] = self.mean + self.unseen + 0.5 * (z[news] @ self.root.T)
        return x


def isotropic(dimension: int, rho: float = 0.0, seed: int = 0) -> World:
    """A ball about the origin; its unseen concept is three radii-per-axis... as far out as a typical row."""
    rng = np.random.default_rng((seed, 1))
    unseen = rng.normal(size=dimension)
    return World(
        mean=np.zeros(dimension),
        root=np.eye(dimension) / np.sqrt(dimension),
        concepts=np.zeros((8, dimension)),
        shares=np.full(8, 1 / 8),
        unseen=unseen / np.linalg.norm(unseen) * 0.8,
        rho=rho,
        seed=seed,
    )


def cone(dimension: int, rho: float = 0.0, seed: int = 0) -> World:
    """Image-like: mean of length .73 before normalisation, spectrum j^-0.9, forty concepts with Zipf frequencies."""
    rng = np.random.default_rng((seed, 2))
    mean = rng.normal(size=dimension)
    turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    spectrum = np.arange(1, dimension + 1) ** -0.9
    root = turn * np.sqrt(0.33 * spectrum / spectrum.sum())
    concepts = rng.normal(size=(41, dimension)) @ root.T
    concepts *= np.sqrt(0.13) / np.sqrt((concepts**2).sum(axis=1).mean())
    shares = 1 / np.arange(1, 41)
    return World(
        mean=mean / np.linalg.norm(mean) * 0.73,
        root=root,
        concepts=concepts[:40],
        shares=shares / shares.sum(),
        unseen=concepts[40] * 1.5,
        rho=rho,
        seed=seed,
    )


CLOUDS = {"isotropic": isotropic, "cone": cone}
