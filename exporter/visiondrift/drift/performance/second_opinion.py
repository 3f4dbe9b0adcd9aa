"""What accuracy the readers of the embedding imply, and how far a window is from what they have learnt.

On a labelled row let u be 1 if the model is right, plus 1 if the reader contradicts it. Its mean over the reference
less the share of contradictions in the window is the accuracy there: exact if what both get wrong together grows as
much as what the reader gets wrong alone. It is the reference's accuracy less the rise of the disagreement.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.performance.cbpe import Interval
from visiondrift.drift.performance.folds import Company, design_effect, stratified_folds
from visiondrift.drift.performance.readers import (
    FOLDS,
    MAX_NEIGHBOUR_ROWS,
    LinearReader,
    NeighbourReader,
    fit_linear,
    fit_neighbours,
)
from visiondrift.drift.thinning import evenly

MAX_WINDOW_ROWS = 2000
"""Events of a window that are read at most, evenly spread."""

MIN_SKILL = 0.7
"""How far a reader must get from chance towards the model's own accuracy, on rows it has not seen, to be heard."""

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class ReaderRecord:
    """A reader on the labelled rows it had not seen: its accuracy, the share of rows where it contradicts the model,
    the mean and variance of u, the variance's design effect, and the rows these rest on."""

    name: str
    accuracy: float
    disagreement: float
    mean: float
    variance: float
    design_effect: float
    rows: int
    heard: bool


@dataclass(frozen=True)
class ReaderOpinion:
    """One reader on a window: shares of rows where it contradicts the model, and the accuracy this implies.

    ``heard`` is False for a reader too poor to count.
    """

    name: str
    disagreement: float
    reference_disagreement: float
    reader_accuracy: float
    accuracy: Interval
    heard: bool


@dataclass(frozen=True)
class Consultation:
    """All readers on a window; ``novel_share`` is the share of rows farther away than 99 in 100 of the reference.

    ``quarrel`` is how often the readers contradict each other, less how often they do on rows of the reference that
    neither has seen; ``quarrel_error`` its standard error. Where the readers no longer know what they look at they
    guess, and guess differently.
    """

    readers: tuple[ReaderOpinion, ...]
    novel_share: float
    quarrel: float
    quarrel_error: float
    rows: int

    @property
    def all_heard(self) -> bool:
        """Whether every reader is good enough."""
        return all(reader.heard for reader in self.readers)

    @property
    def cautious(self) -> ReaderOpinion | None:
        """The reader that implies the lowest accuracy; None where none is heard."""
        heard = [reader for reader in self.readers if reader.heard]
        return min(heard, key=lambda reader: reader.accuracy.value, default=None)


@dataclass(frozen=True, eq=False)
class SecondOpinion:
    """The fitted readers. ``positions`` (r,) says which rows of the reference the neighbour reader keeps.

    ``quarrel`` is the share of these where the readers that have not seen them contradict each other.
    """

    linear: LinearReader
    neighbours: NeighbourReader
    positions: NDArray[np.intp]
    records: tuple[ReaderRecord, ...]
    quarrel: float

    def consult(self, embeddings: Singles, predicted: NDArray[np.int32], *, company: Company) -> Consultation:
        """Read m rows of (m, d) ``embeddings`` that the model has taken for ``predicted`` (m,).

        ``company`` is how many rows share a row's block.
        """
        kept = evenly(len(predicted), MAX_WINDOW_ROWS)
        rows, given = np.ascontiguousarray(embeddings[kept], dtype=np.float32), predicted[kept]
        by_neighbours, distances = self.neighbours.read(rows)
        seen = (self.linear.read(rows), by_neighbours)
        readers = tuple(
            _opinion(record, float((classes != given).mean()), len(given), company)
            for record, classes in zip(self.records, seen, strict=True)
        )
        quarrel = float((seen[0] != seen[1]).mean())
        effect = company.design_effect(max(r.design_effect for r in self.records))
        error = np.sqrt(max(self.quarrel * (1 - self.quarrel), 1 / len(given)) * effect / len(given))
        return Consultation(
            readers, self.neighbours.novel_share(distances), quarrel - self.quarrel, float(error), len(given)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text; of the neighbours only where they stand in the reference."""
        return {
            "linear": self.linear.to_dict(),
            "neighbours": {
                "positions": self.positions.tolist(),
                "labels": self.neighbours.labels.tolist(),
                "folds": self.neighbours.fold_of.tolist(),
                "novel_beyond": self.neighbours.novel_beyond.tolist(),
            },
            "records": [asdict(record) for record in self.records],
            "quarrel": self.quarrel,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], embeddings: Singles) -> "SecondOpinion":
        """The inverse of ``to_dict``, with the reference's (n, d) ``embeddings``."""
        kept = data["neighbours"]
        positions = np.asarray(kept["positions"], dtype=np.intp)
        reader = NeighbourReader(
            np.ascontiguousarray(embeddings[positions], dtype=np.float32),
            np.asarray(kept["labels"], dtype=np.int32),
            np.asarray(kept["folds"], dtype=np.intp),
            np.asarray(kept["novel_beyond"], dtype=np.float64),
        )
        records = tuple(ReaderRecord(**record) for record in data["records"])
        return cls(LinearReader.from_dict(data["linear"]), reader, positions, records, float(data["quarrel"]))


def fit_second_opinion(
    embeddings: Singles,
    predicted: NDArray[np.int32],
    labels: NDArray[np.int32],
    block_of: NDArray[np.intp],
    *,
    classes: int,
    seed: int,
) -> SecondOpinion:
    """Readers of (n, d) labelled rows, and their record against the model's ``predicted`` (n,) classes.

    ``positions`` of the result count within these rows.
    """
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    fold_of = stratified_folds(labels, block_of, folds=FOLDS, seed=seed)
    linear, by_linear = fit_linear(rows, labels, fold_of, classes)
    kept = evenly(len(rows), MAX_NEIGHBOUR_ROWS)
    neighbours, by_neighbours = fit_neighbours(rows[kept], labels[kept], fold_of[kept])
    right = predicted == labels
    records = (
        _record("linear", by_linear, predicted, labels, block_of, chance=_chance(labels), right=right),
        _record(
            "neighbours",
            by_neighbours,
            predicted[kept],
            labels[kept],
            np.unique(block_of[kept], return_inverse=True)[1].reshape(-1),
            chance=_chance(labels),
            right=right[kept],
        ),
    )
    quarrel = float((by_linear[kept] != by_neighbours).mean())
    return SecondOpinion(linear, neighbours, kept, records, quarrel)


def _chance(labels: NDArray[np.int32]) -> float:
    """The accuracy of always naming the commonest class."""
    return float(np.bincount(labels).max() / len(labels))


def _record(
    name: str,
    seen: NDArray[np.intp],
    predicted: NDArray[np.int32],
    labels: NDArray[np.int32],
    block_of: NDArray[np.intp],
    *,
    chance: float,
    right: NDArray[np.bool_],
) -> ReaderRecord:
    accuracy, own = float((seen == labels).mean()), float(right.mean())
    contradicts = seen != predicted
    u = right.astype(np.float64) + contradicts
    residuals = u - u.mean()
    return ReaderRecord(
        name=name,
        accuracy=accuracy,
        disagreement=float(contradicts.mean()),
        mean=float(u.mean()),
        variance=float(u.var()),
        design_effect=design_effect(residuals, residuals**2, block_of),
        rows=len(u),
        heard=bool(accuracy - chance >= MIN_SKILL * (own - chance)) and accuracy > chance,
    )


def _opinion(record: ReaderRecord, disagreement: float, rows: int, company: Company) -> ReaderOpinion:
    window_effect = company.design_effect(record.design_effect)
    variance = record.variance * (record.design_effect / record.rows + window_effect / rows)
    return ReaderOpinion(
        record.name,
        disagreement,
        record.disagreement,
        record.accuracy,
        Interval.around(record.mean - disagreement, float(np.sqrt(variance))),
        record.heard,
    )
