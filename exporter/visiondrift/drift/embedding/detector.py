"""One window's embeddings, one p: the fitted reference and its calibration used together.

The p is that of the combination of all scores, calibrated as a score itself; each score's own p explains, and never
alerts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.calibration.nulls import (
    MIN_WINDOW_BLOCKS,
    Plan,
    Shortage,
    SliceCalibration,
    calibrate,
    combined_score,
    split_of,
)
from visiondrift.drift.calibration.tails import surprise
from visiondrift.drift.embedding.bank import STATISTICS, Deviations, bank
from visiondrift.drift.embedding.fit import (
    EMBEDDING,
    NOVELTY,
    SCORES,
    Effect,
    EmbeddingFamily,
    EmbeddingReference,
    Novelty,
    WindowRows,
    as_of_fewer,
    effect_of,
    fit_embedding,
    measure_rows,
    traffic_shares,
    window_deviation,
)
from visiondrift.drift.embedding.moments import Moments
from visiondrift.drift.embedding.novelty import WINDOW_ROWS, OutlierShare
from visiondrift.signals import ALL_SLICES

MOMENTS = "moments"
"""The name of the combination of the eight statistics that moments alone give."""


MOST_SILENT = 0.1
"""Of the reference's traffic, by slices that a window lacks, before all slices together are judged no more."""


@dataclass(frozen=True)
class Silent:
    """Slices that are this ``share`` of the reference's traffic have no events in the window."""

    share: float


@dataclass(frozen=True)
class Scored:
    """One score and its chance under no drift."""

    score: float
    p: float


@dataclass(frozen=True, eq=False)
class EmbeddingEvidence:
    """What a window's embeddings say. ``p`` is the calibrated chance of all of it together where nothing has drifted.

    ``scores`` explain it; ``worth`` is how many blocks of the reference the window is like; ``ratios`` (2, m) are
    positions of rows and how much nearer each is to its like in the window than to the reference. ``outliers`` is None
    where the rows were not looked at.
    """

    p: float
    scores: Mapping[str, Scored]
    effect: Effect
    worth: float
    ratios: NDArray[np.float64]
    outliers: OutlierShare | None = None

    @property
    def surprise(self) -> float:
        """-log10 of p: 2 is one in a hundred windows, 4 one in ten thousand."""
        return surprise(self.p)


@dataclass(frozen=True, eq=False)
class Detector:
    """A reference's embeddings, fitted and calibrated; ``slices`` by name, all of them together under ``all``."""

    reference: EmbeddingReference
    slices: Mapping[str, SliceCalibration]

    def look(
        self, target: str, moments: Mapping[str, Moments], rows: WindowRows | None
    ) -> EmbeddingEvidence | Shortage | Silent | None:
        """Judge a window of ``target`` by its ``moments`` by slice, and its ``rows`` for the neighbours.

        Without rows, or where most blocks of the window adjoin, the neighbours are left out of the combination. None
        where the window itself spans fewer than ``MIN_WINDOW_BLOCKS`` blocks; a Shortage where the reference has too
        few of the slice to judge any window; Silent where too much of the reference's mix of slices is not there.
        """
        calibration = self.slices[target]
        if not calibration.nulls:
            return calibration.shortage()
        shares = self.shares if target == ALL_SLICES else None
        if shares:
            silent = sum(share for name, share in shares.items() if name not in moments or moments[name].count <= 0)
            if silent > MOST_SILENT:
                return Silent(silent)
        found = window_deviation(self.reference, moments, shares)
        spans = calibration.spans(found.blocks, found.rows, found.evenness)
        worth = min(spans, calibration.largest)
        if worth < MIN_WINDOW_BLOCKS - 1e-9:
            return None
        values = self._statistics(calibration, found.deviations, spans)
        names: tuple[str, ...] = STATISTICS
        found_rows = Novelty(0.0, 0.0, None, np.zeros((2, 0)))
        enough = MIN_WINDOW_BLOCKS * (1 + 2 * self.reference.reach)
        if rows is not None and NOVELTY in calibration.nulls and worth >= enough - 1e-9:
            found_rows = measure_rows(self.reference, rows, round(worth), round(worth * calibration.rows))
            values, names = np.append(values, found_rows.score), SCORES
        scores = {n: Scored(float(v), calibration.p(n, float(v), worth)) for n, v in zip(names, values, strict=True)}
        return EmbeddingEvidence(
            p=_combined(calibration, values, names, worth),
            scores=scores,
            effect=effect_of(self.reference, found.deviations, spans, calibration.held, found_rows.new_share),
            worth=spans,
            ratios=found_rows.ratios,
            outliers=found_rows.outliers,
        )

    def chance(self, name: str, moments: Moments) -> float | None:
        """The p of one slice by its ``moments``, as ``look`` finds it without rows; None where it finds none.

        For a third of what a look costs: nothing explains the p.
        """
        calibration = self.slices.get(name)
        if calibration is None or not calibration.nulls:
            return None
        found = window_deviation(self.reference, {name: moments})
        spans = calibration.spans(found.blocks, found.rows, found.evenness)
        if spans < MIN_WINDOW_BLOCKS - 1e-9:
            return None
        values = self._statistics(calibration, found.deviations, spans)
        return _combined(calibration, values, STATISTICS, min(spans, calibration.largest))

    def _statistics(self, calibration: SliceCalibration, window: Deviations, spans: float) -> NDArray[np.float64]:
        """(8,) of a window, where it ``spans`` more blocks than the nulls as the largest of these would have them."""
        return as_of_fewer(calibration, bank(self.reference.basis, window)[0], spans)

    @cached_property
    def shares(self) -> Mapping[str, float] | None:
        """Each slice's share of the reference's rows, "" for those of none; None where it has no slices."""
        return traffic_shares(self.slices, self.reference.centres)


def _combined(
    calibration: SliceCalibration, values: NDArray[np.float64], names: tuple[str, ...], worth: float
) -> float:
    """The p of all scores together: ``values`` (S,) of ``names``, in a window worth so many blocks."""
    together = float(combined_score(values[None, :], [calibration.nulls[name] for name in names], worth)[0])
    return calibration.p(EMBEDDING if len(names) == len(SCORES) else MOMENTS, together, worth)


def build_detector(
    embeddings: NDArray[Any],
    blocks: Blocks,
    *,
    times: NDArray[np.float64] | None = None,
    sizes: tuple[int, ...] = (),
    largest: int | None = None,
    splits: int = 4,
    draws: int = 250,
    novelty: bool = True,
    seed: int = 0,
) -> Detector:
    """Fit and calibrate on a reference's ``embeddings`` (n, d) in ``blocks``; with ``times`` for the hour of day.

    Windows of more than ``largest`` blocks are judged as if they had no more. Raises ValueError where the reference is
    too small to be parted.
    """
    combined = {MOMENTS: STATISTICS} | ({EMBEDDING: SCORES} if novelty else {})
    most_rows = WINDOW_ROWS if novelty else None
    plan = Plan(sizes, most_rows, largest, splits=splits, draws=draws, in_runs=True, combined=combined, seed=seed)
    family = EmbeddingFamily(embeddings, times=times, novelty=novelty, seed=seed)
    slices = calibrate([family], blocks, plan)
    return Detector(fit_embedding(embeddings, split_of(blocks, seed), times=times, seed=seed), slices)
