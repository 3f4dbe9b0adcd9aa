"""A made-up model whose probabilities are exactly right, seen through faults that are made to order."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.performance.model import Evidence, PerformanceModel, fit_performance

NAMES = ("car", "bus", "bike", "walker")


@dataclass(frozen=True, eq=False)
class World:
    """Events with their true classes: labels are drawn from the probabilities, so these are calibrated."""

    evidence: Evidence
    labels: NDArray[np.int32]

    @property
    def accuracy(self) -> float:
        return float((self.evidence.predicted == self.labels).mean())

    def take(self, rows: NDArray[Any]) -> "World":
        e = self.evidence
        chosen = Evidence(
            e.confidences[rows],
            e.predicted[rows],
            None if e.embeddings is None else e.embeddings[rows],
            None if e.blocks is None else e.blocks[rows],
        )
        return World(chosen, self.labels[rows])

    def without_embeddings(self) -> "World":
        return World(replace(self.evidence, embeddings=None), self.labels)

    def with_shares(self, shares: list[float], rows: int, seed: int) -> "World":
        """Rows resampled so that the classes have these shares and look as they did."""
        rng = np.random.default_rng(seed)
        wanted = rng.multinomial(rows, shares)
        members = [np.flatnonzero(self.labels == k) for k in range(len(shares))]
        return self.take(np.concatenate([rng.choice(m, n) for m, n in zip(members, wanted, strict=True)]))


def world(rows: int, seed: int, *, sureness: float = 3.0, temperature: float = 1.0) -> World:
    """``temperature`` below 1 makes the model say more than it knows; the labels come from what it knows."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, len(NAMES), rows)
    logits = rng.normal(size=(rows, len(NAMES))) + sureness * np.eye(len(NAMES))[centre]
    known = _softmax(logits)
    labels = (known.cumsum(axis=1) > rng.random(rows)[:, None]).argmax(axis=1).astype(np.int32)
    axes = np.random.default_rng(99).normal(size=(len(NAMES), 16))
    embeddings = (axes[labels] + 0.4 * rng.normal(size=(rows, 16))).astype(np.float32)
    said = _softmax(logits / temperature)
    return World(Evidence(said, said.argmax(axis=1).astype(np.int32), embeddings), labels)


def broken_and_sure(events: World, share: float, seed: int) -> World:
    """A share of events that the model now gets wrong as surely as it was right; the embedding shows what they are."""
    rng = np.random.default_rng(seed)
    hit = rng.random(len(events.labels)) < share
    confidences = np.where(hit[:, None], np.roll(events.evidence.confidences, 1, axis=1), events.evidence.confidences)
    predicted = confidences.argmax(axis=1).astype(np.int32)
    return World(replace(events.evidence, confidences=confidences, predicted=predicted), events.labels)


def learnt(rows: int = 3000, seed: int = 0, **kwargs: float) -> PerformanceModel:
    reference = world(rows, seed, **kwargs)
    return fit_performance(reference.evidence, reference.labels, names=NAMES)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
