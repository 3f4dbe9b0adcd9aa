"""What is learnt of a labelled reference, once, and how it is kept: a calibrator, its uncertainty, readers, numbers.

The reference's own rows are not kept again: with them and the dictionary of ``to_dict`` the model is whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import filled, predicted_or_top
from visiondrift.drift.performance.cbpe import Z
from visiondrift.drift.performance.confidence_calibration import Calibrator, fit_calibrator, refit
from visiondrift.drift.performance.folds import block_index, design_effect, mean_companions
from visiondrift.drift.performance.label_shift import ClassMixture
from visiondrift.drift.performance.second_opinion import SecondOpinion, fit_second_opinion
from visiondrift.drift.thinning import evenly
from visiondrift.prediction import Sample

FORMAT = 1

MIN_LABELS = 200
"""Labelled rows of the reference before anything is estimated."""

MIN_BLOCKS = 20
"""Independent blocks among the labelled rows before anything is estimated."""

MAX_BLOCKS = 1_000
"""Blocks of the labelled rows that windows are drawn from at most."""

MAX_TOTAL = 1.05
"""What the confidences of an event may add up to on average: classes that do not exclude each other are not read."""

MIN_TOTAL = 0.95
"""What the confidences of an event must add up to on average, in units of one class's even share."""

_REPLICAS = 20
_CALIBRATION_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Evidence:
    """What n events show: ``confidences`` (n, C) and ``predicted`` (n,) class indices, both without gaps.

    ``embeddings`` (n, d) has NaN rows where an event has none, or is None; ``blocks`` (n,) names each row's block
    (scene, clip), None where every row stands for itself.
    """

    confidences: NDArray[Any]
    predicted: NDArray[np.int32]
    embeddings: NDArray[np.float32] | None = None
    blocks: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def embedded(self) -> NDArray[np.bool_]:
        """(n,) True where the event has an embedding."""
        if self.embeddings is None or self.embeddings.shape[1] == 0:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(~np.isnan(self.embeddings[:, 0]))


def evidence_of(sample: Sample, *, blocks: NDArray[Any] | None = None) -> Evidence:
    """The k events of ``sample`` that have confidences, in its order; ``blocks`` (n,) is of all its events.

    Labels of the same events are those at ``sample.has_confidences``.
    """
    rows = sample.has_confidences
    chosen = sample.take(rows)
    return Evidence(
        filled(chosen.confidences),
        predicted_or_top(chosen),
        chosen.embeddings if chosen.dimension else None,
        None if blocks is None else blocks[rows],
    )


@dataclass(frozen=True, eq=False)
class PerformanceModel:
    """What is learnt once of a labelled reference.

    ``positions`` (n,) are the labelled rows within the reference; ``mixture`` holds their calibrated probabilities,
    labels and blocks. ``design_effect`` is how much more the number of errors varies than if rows were independent,
    with ``companions`` other rows in a row's block. ``opinion`` is None where there are too few embeddings.
    """

    names: tuple[str, ...]
    reference_rows: int
    positions: NDArray[np.intp]
    calibrator: Calibrator
    replicas: tuple[Calibrator, ...]
    mixture: ClassMixture
    accuracy: float
    design_effect: float
    companions: float
    opinion: SecondOpinion | None

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; with the reference itself ``from_dict`` makes the same model of it."""
        return {
            "format": FORMAT,
            "classes": list(self.names),
            "reference_rows": self.reference_rows,
            "positions": self.positions.tolist(),
            "labels": self.mixture.labels.tolist(),
            "blocks": self.mixture.block_of.tolist(),
            "merged": self.mixture.merged,
            "calibrator": self.calibrator.to_dict(),
            "replicas": [replica.to_dict() for replica in self.replicas],
            "accuracy": self.accuracy,
            "design_effect": self.design_effect,
            "companions": self.companions,
            "opinion": self.opinion.to_dict() if self.opinion else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], reference: Evidence) -> "PerformanceModel":
        """The inverse of ``to_dict``. ``reference`` is what it was fitted on; its blocks are not looked at.

        Raises ValueError where it is of another format or of another reference.
        """
        if data["format"] != FORMAT:
            msg = f"the performance model has format {data['format']}, this version reads {FORMAT}"
            raise ValueError(msg)
        if data["reference_rows"] != len(reference):
            msg = f"the performance model is of {data['reference_rows']} rows, the reference has {len(reference)}"
            raise ValueError(msg)
        calibrator = Calibrator.from_dict(data["calibrator"])
        positions = np.asarray(data["positions"], dtype=np.intp)
        embeddings = reference.embeddings
        stored = data["opinion"]
        return cls(
            names=tuple(data["classes"]),
            reference_rows=len(reference),
            positions=positions,
            calibrator=calibrator,
            replicas=tuple(Calibrator.from_dict(replica) for replica in data["replicas"]),
            mixture=ClassMixture(
                calibrator.apply(reference.confidences[positions]),
                np.asarray(data["labels"], dtype=np.int32),
                np.asarray(data["blocks"], dtype=np.intp),
                int(data["merged"]),
            ),
            accuracy=float(data["accuracy"]),
            design_effect=float(data["design_effect"]),
            companions=float(data["companions"]),
            opinion=SecondOpinion.from_dict(stored, embeddings) if stored and embeddings is not None else None,
        )


def why_out_of_step(predicted: NDArray[np.int32], labels: NDArray[np.int32]) -> str:
    """Why (n,) true classes are likely not of the (n,) predictions beside them; empty where nothing speaks for it.

    Predictions that are right no more often than such that know nothing of the labels (Cohen 1960) were given other
    rows' labels, or the classes in another order, or are of no use. Of a rare class a good model may be right less
    often than whoever never names it: that is no measure.
    """
    right = float((predicted == labels).mean())
    classes = int(max(predicted.max(), labels.max())) + 1
    chance = float(
        np.bincount(predicted, minlength=classes) / len(labels) @ np.bincount(labels, minlength=classes) / len(labels)
    )
    if right > chance + Z * np.sqrt(chance * (1 - chance) / len(labels)):
        return ""
    return (
        f"the labels of the reference look out of step with its predictions: these are right on {right:.1%} of them, "
        f"and would be on {chance:.1%} if they knew nothing of them; accepted are the true classes of the same rows"
    )


def why_unlearnable(reference: Evidence, labels: NDArray[np.int32]) -> str:
    """Why nothing can be learnt of a reference with ``labels`` (n,), -1 where unknown; empty where something can."""
    known = labels >= 0
    count = int(known.sum())
    if count < MIN_LABELS:
        return f"the reference has {count} labelled rows with confidences, and {MIN_LABELS} are needed"
    blocks = len(np.unique(block_index(reference.blocks, len(reference))[known]))
    if blocks < MIN_BLOCKS:
        return f"the reference's labelled rows are of {blocks} blocks, and {MIN_BLOCKS} are needed"
    if len(np.unique(labels[known])) < 2:  # noqa: PLR2004  one class is no question
        return "all labelled rows of the reference are of one class, and at least two are needed"
    return why_out_of_step(reference.predicted[known], labels[known]) or why_no_probabilities(
        reference.confidences[known]
    )


def why_no_probabilities(confidences: NDArray[Any]) -> str:
    """Why (n, C) ``confidences`` without gaps cannot be read as probabilities; empty where they can.

    Of the classes of an event a client may leave out the less likely ones, but the likeliest has at least one in C.
    """
    totals = np.asarray(confidences, dtype=np.float64).sum(axis=1)
    total, classes = float(totals.mean()), confidences.shape[1]
    if total > MAX_TOTAL:
        return (
            f"the confidences of an event add up to {total:.2f} on average, and only classes that exclude each other "
            f"(at most {MAX_TOTAL}) can be read as probabilities"
        )
    if total < MIN_TOTAL / classes:
        return (
            f"the confidences of an event add up to {total:.2g} on average, and of {classes} classes the likeliest "
            f"alone has {1 / classes:.2g} or more: these are no probabilities"
        )
    return ""


def fit_performance(
    reference: Evidence, labels: NDArray[np.int32], *, names: tuple[str, ...], seed: int = 0
) -> PerformanceModel:
    """Learn from the reference's rows whose true class ``labels`` (n,) names, an index into ``names`` or -1.

    Raises ValueError with the sentence of ``why_unlearnable``.
    """
    why = why_unlearnable(reference, labels)
    if why:
        raise ValueError(why)
    positions = np.flatnonzero(labels >= 0)
    confidences, predicted, true = reference.confidences[positions], reference.predicted[positions], labels[positions]
    whole = block_index(reference.blocks, len(reference))[positions]
    block_of = np.unique(whole, return_inverse=True)[1].reshape(-1).astype(np.intp)
    calibrator = fit_calibrator(confidences, true, block_of, seed=seed).levelled(confidences, predicted, true)
    probabilities = calibrator.apply(confidences)
    own = probabilities[np.arange(len(true)), predicted]
    right = predicted == true
    merged = -(-int(block_of.max() + 1) // MAX_BLOCKS)
    return PerformanceModel(
        names=names,
        reference_rows=len(reference),
        positions=positions,
        calibrator=calibrator,
        replicas=_replicas(calibrator, confidences, predicted, true, block_of=block_of, seed=seed),
        # Neighbours together make larger blocks, which are as right to draw from, and cost less.
        mixture=ClassMixture(probabilities, true.astype(np.int32), block_of // merged, merged),
        accuracy=float(right.mean()),
        design_effect=design_effect(right - own - float((right - own).mean()), own * (1 - own), block_of),
        companions=mean_companions(block_of),
        opinion=_opinion(reference, positions, true, block_of, classes=len(names), seed=seed),
    )


def _replicas(
    calibrator: Calibrator,
    confidences: NDArray[Any],
    predicted: NDArray[np.int32],
    labels: NDArray[np.int32],
    *,
    block_of: NDArray[np.intp],
    seed: int,
) -> tuple[Calibrator, ...]:
    """The calibrator refitted on blocks drawn with replacement."""
    rng = np.random.default_rng(seed)
    blocks = int(block_of.max()) + 1
    made = []
    for _ in range(_REPLICAS):
        drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks))
        rows = np.repeat(np.arange(len(labels)), drawn[block_of])
        rows = rows[evenly(len(rows), _CALIBRATION_ROWS)]
        fitted = refit(calibrator, confidences[rows], labels[rows])
        made.append(fitted.levelled(confidences[rows], predicted[rows], labels[rows]))
    return tuple(made)


def _opinion(
    reference: Evidence,
    positions: NDArray[np.intp],
    labels: NDArray[np.int32],
    block_of: NDArray[np.intp],
    *,
    classes: int,
    seed: int,
) -> SecondOpinion | None:
    """Readers of the labelled rows that have an embedding; None where these are too few."""
    embedded = reference.embedded[positions]
    if reference.embeddings is None or embedded.sum() < MIN_LABELS:
        return None
    rows = positions[embedded]
    fitted = fit_second_opinion(
        reference.embeddings[rows],
        reference.predicted[rows],
        labels[embedded],
        np.unique(block_of[embedded], return_inverse=True)[1].reshape(-1),
        classes=classes,
        seed=seed,
    )
    return replace(fitted, positions=rows[fitted.positions])
