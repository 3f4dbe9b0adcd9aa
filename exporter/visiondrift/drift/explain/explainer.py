"""Asks a window why it drifted: four witnesses, prepared and calibrated on the reference, and the verdict on them.

Without images of its own a reference knows no faults; its properties are still compared, and named where they moved,
and its probes are read. What is asked of a slice is its own mean against its own centre, as in every other score.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.embedding.moments import Moments, moments_by_slice
from visiondrift.drift.explain.causes import (
    TRACED,
    Cause,
    Means,
    Statement,
    Witness,
    by_cause,
    contradiction,
    evidence_of,
    is_elsewhere,
    recognises,
    statement_of_probes,
    statement_of_traces,
    verdict,
)
from visiondrift.drift.explain.contrasts import Reading, Space, build_space
from visiondrift.drift.explain.witnesses import (
    LAYOUT,
    PROBE,
    PROPERTY,
    SIGNATURE,
    Probe,
    PropertyScale,
    Witnesses,
    property_scale,
)
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, Sample
from visiondrift.signals import ALL_SLICES

MIN_ROWS = 40
"""Rows and blocks of a reference without which nothing is learnt of it; as many as its detector needs."""


@dataclass(frozen=True, eq=False)
class Usual:
    """What the properties (P,) of a slice are like: ``mean`` and standard deviation ``sd``, as measured."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Explainer:
    """Of the slices of one label. ``causes`` says whose each trace is, ``probes`` which words each probe has; a space
    is None where the reference lacks what it is made of. ``usual`` is by target.
    """

    causes: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    scale: PropertyScale | None = None
    properties: Space | None = None
    embeddings: Space | None = None
    layouts: Space | None = None
    usual: Mapping[str, Usual] = field(default_factory=dict)

    def explain(
        self,
        target: str,
        window: Sample,
        *,
        of_row: NDArray[np.int64],
        slices: NDArray[np.str_],
        drifted: bool,
        moments: Mapping[str, Moments] | None = None,
    ) -> Cause:
        """Why ``window`` has ``drifted``, if it has, whose rows are in blocks ``of_row`` (n,) of ``slices`` (n,).

        ``moments`` by slice are those of all its embeddings, where the window is a part of them.
        """
        readings = self._read_properties(target, window, of_row, slices)
        readings |= self._read_layouts(target, window, of_row, slices)
        if self.embeddings is not None:
            readings |= self.embeddings.read(target, moments or self._moments(window, of_row, slices))
        record = dict(self._record(readings))
        if not drifted:
            return Cause(drifted=False, word=None, why="nothing has drifted", readings=record)
        word, agreed, why = verdict(self._statements(readings))
        if word and is_elsewhere(readings, self.causes, word, agreed):
            why = f"the embeddings moved far, and not as by {word} alone, which is what {' and '.join(agreed)} saw"
        elif word and (against := contradiction(readings, self.causes, word)):
            why = f"the {against} moved against {word}, which is what {' and '.join(agreed)} saw"
        if why:
            word, agreed = None, ()
        return Cause(
            drifted=True,
            word=word,
            why=why or f"{' and '.join(agreed)} {'agree' if len(agreed) > 1 else 'leaves no doubt'}",
            evidence=evidence_of(
                readings,
                self.causes,
                self.probes,
                word=word,
                agreed=agreed,
                means=self._means(target, window),
            ),
            agreed=agreed,
            readings=record,
        )

    def _means(self, target: str, window: Sample) -> Means | None:
        usual = self.usual.get(target)
        rows = window.has_properties
        if usual is None or window.properties is None or not rows.any():
            return None
        return Means(usual.mean, usual.sd, window.properties[rows].mean(axis=0, dtype=np.float64))

    def _read_properties(
        self, target: str, window: Sample, of_row: NDArray[np.int64], slices: NDArray[np.str_]
    ) -> dict[str, Reading]:
        rows = window.has_properties
        if self.properties is None or self.scale is None or window.properties is None or not rows.any():
            return {}
        values = self.scale.standard(window.properties[rows])
        moments = _moments_in(self.properties, values, window, rows, of_row=of_row, slices=slices)
        return self.properties.read(target, moments)

    def _read_layouts(
        self, target: str, window: Sample, of_row: NDArray[np.int64], slices: NDArray[np.str_]
    ) -> dict[str, Reading]:
        rows = window.has_layout
        if self.layouts is None or window.layouts is None or not rows.any():
            return {}
        moments = _moments_in(self.layouts, window.layouts[rows], window, rows, of_row=of_row, slices=slices)
        return self.layouts.read(target, moments)

    def _moments(self, window: Sample, of_row: NDArray[np.int64], slices: NDArray[np.str_]) -> dict[str, Moments]:
        rows = window.has_embedding
        if self.embeddings is None or not rows.any():
            return {}
        return _moments_in(self.embeddings, window.embeddings[rows], window, rows, of_row=of_row, slices=slices)

    def _statements(self, readings: Mapping[str, Reading]) -> list[Statement]:
        given = [statement_of_traces(readings[name], self.causes) for name in TRACED if name in readings]
        if PROBE in readings:
            given.append(statement_of_probes(readings[PROBE], self.probes))
        return [one for one in given if one is not None]

    def _record(self, readings: Mapping[str, Reading]) -> "list[tuple[tuple[Witness, str], float]]":
        """The z of every property and probe, and of the farthest trace of each fault's layouts and embeddings."""
        found: list[tuple[tuple[Witness, str], float]] = []
        if PROPERTY in readings:
            found += [(("property", name), float(z)) for name, z in _named(readings[PROPERTY])]
        for name in (LAYOUT, SIGNATURE):
            if name in readings:
                of_cause = by_cause(readings[name].z, self.causes)
                found += [((TRACED[name], cause), z) for cause, z in of_cause.items()]
        if PROBE in readings:
            found += [(("probe", name), float(z)) for name, z in _named(readings[PROBE])]
        return found


def _named(reading: Reading) -> "zip[tuple[str, Any]]":
    return zip(reading.panel.names, reading.z, strict=True)


def _moments_in(
    space: Space,
    values: NDArray[Any],
    window: Sample,
    rows: NDArray[np.bool_],
    *,
    of_row: NDArray[np.int64],
    slices: NDArray[np.str_],
) -> dict[str, Moments]:
    """The moments by slice, in a space, of the ``rows`` of a window, whose ``values`` there they have."""
    coordinates = space.reference.coordinates(values, times=window.times[rows], slices=slices[rows])
    return moments_by_slice(coordinates, of_row[rows], slices[rows])


def build_explainer(
    sample: Sample,
    blocks: Blocks,
    witnesses: Witnesses | None,
    *,
    timed: bool = True,
    sizes: tuple[int, ...] = (),
    seed: int = 0,
) -> Explainer | None:
    """Of a reference's rows in ``blocks``; ``timed`` where its times say when a frame was taken.

    None where it has neither properties nor witnesses that its embeddings can be asked with, or too few rows.
    """
    scale, properties = _property_space(sample, blocks, witnesses, timed=timed, sizes=sizes, seed=seed)
    embeddings = _embedding_space(sample, blocks, witnesses, timed=timed, sizes=sizes, seed=seed)
    layouts = _layout_space(sample, blocks, witnesses, timed=timed, sizes=sizes, seed=seed)
    if properties is None and embeddings is None and layouts is None:
        return None
    return Explainer(
        causes=tuple(trace.cause for trace in witnesses.traces) if witnesses else (),
        probes=_heard(witnesses, embeddings) if witnesses else (),
        scale=scale,
        properties=properties,
        embeddings=embeddings,
        layouts=layouts,
        usual=_usual(sample, blocks) if properties else {},
    )


def _property_space(
    sample: Sample, blocks: Blocks, witnesses: Witnesses | None, *, timed: bool, sizes: tuple[int, ...], seed: int
) -> tuple[PropertyScale | None, Space | None]:
    rows = np.flatnonzero(sample.has_properties)
    part = _enough(rows, blocks)
    if part is None or sample.properties is None:
        return None, None
    measured = sample.properties[rows]
    scale = property_scale(measured)
    panels = (witnesses or NO_WITNESSES).property_panels(scale)
    times = sample.times[rows] if timed else None
    return scale, build_space(scale.standard(measured), part, panels, times=times, sizes=sizes, seed=seed)


def _layout_space(
    sample: Sample, blocks: Blocks, witnesses: Witnesses | None, *, timed: bool, sizes: tuple[int, ...], seed: int
) -> Space | None:
    rows = np.flatnonzero(sample.has_layout)
    part = _enough(rows, blocks)
    if part is None or witnesses is None or sample.layouts is None:
        return None
    layouts = sample.layouts[rows]
    views = [layouts[part.of_row_stratum == stratum].mean(axis=0) for stratum in np.unique(part.stratum)]
    panels = tuple(witnesses.layout_panels(np.stack(views)))
    times = sample.times[rows] if timed else None
    return build_space(layouts, part, panels, times=times, sizes=sizes, seed=seed) if panels else None


def _embedding_space(
    sample: Sample, blocks: Blocks, witnesses: Witnesses | None, *, timed: bool, sizes: tuple[int, ...], seed: int
) -> Space | None:
    rows = np.flatnonzero(sample.has_embedding)
    part = _enough(rows, blocks)
    fits = witnesses is not None and witnesses.dimension == sample.dimension
    panels = tuple(witnesses.embedding_panels()) if witnesses and fits else ()
    if part is None or not panels:
        return None
    times = sample.times[rows] if timed else None
    return build_space(sample.embeddings[rows], part, panels, times=times, sizes=sizes, seed=seed)


def _heard(witnesses: Witnesses, embeddings: Space | None) -> tuple[Probe, ...]:
    """The probes, each with those meanings alone that it recognises.

    An embedder need not know a word. What faults do to the reference's own images is known, so a probe that says
    something else of an image in the rain than that it rains is not asked about rain. Faults that were not tried are
    left to the words.
    """
    if embeddings is None or not witnesses.moves.size or not witnesses.directions.size:
        return witnesses.probes
    begin = sum(len(panel.names) for panel in embeddings.panels if panel.name != PROBE)
    answers = witnesses.moves @ witnesses.directions.T / embeddings.scales[ALL_SLICES][begin:]
    plain = {trace.cause: 0 for trace in witnesses.traces}
    for trace in witnesses.traces:
        plain[trace.cause] = max(plain[trace.cause], trace.severity)
    rows = {
        cause: answers[[i for i, t in enumerate(witnesses.traces) if (t.cause, t.severity) == (cause, severity)]]
        for cause, severity in plain.items()
    }
    return tuple(
        replace(
            probe,
            toward=tuple(c for c in probe.toward if c not in rows or recognises(rows[c], place, sign=1)),
            away=tuple(c for c in probe.away if c not in rows or recognises(rows[c], place, sign=-1)),
        )
        for place, probe in enumerate(witnesses.probes)
    )


def _enough(rows: NDArray[np.intp], blocks: Blocks) -> Blocks | None:
    part = blocks.of_rows(rows) if len(rows) >= MIN_ROWS else None
    return part if part is not None and len(part) >= MIN_ROWS else None


def _usual(sample: Sample, blocks: Blocks) -> dict[str, Usual]:
    measured = sample.has_properties
    assert sample.properties is not None  # noqa: S101  the caller has asked
    found = {}
    for name in (ALL_SLICES, *filter(None, blocks.names)):
        own = measured if name == ALL_SLICES else measured & (blocks.of_row_stratum == blocks.names.index(name))
        if own.any():
            values = sample.properties[own].astype(np.float64)
            found[name] = Usual(values.mean(axis=0), np.maximum(values.std(axis=0), _LEAST_SD))
    return found


_LEAST_SD = 1e-3
"""In the unit of any property: less is no spread, and a ratio to it no news."""

NO_WITNESSES = Witnesses(
    (),
    np.zeros((0, len(PROPERTIES)), np.float32),
    np.zeros((0, 0, len(PROPERTIES)), np.float32),
    np.zeros((0, LAYOUT_SIDE**2), np.float32),
    np.zeros((0, 0, LAYOUT_SIDE**2), np.float32),
    np.zeros((0, 0), np.float32),
    (),
    np.zeros((0, 0), np.float32),
)
"""Of a reference whose images are not at hand and whose embedder reads no words."""
