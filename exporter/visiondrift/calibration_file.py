"""How a calibration is kept: its few numbers as JSON, and beside them its axes and rows as arrays without pickle.

They lie beside the reference that they were made of, or in the exporter's own folder where that may not be written to.
A calibration is used only for exactly what it was made for: its key is of the reference's rows and of every setting
that it hangs on. One that cannot be read is as good as none.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import Settings
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan
from visiondrift.drift.calibrated import CalibratedReference, Calibration
from visiondrift.drift.calibration.nulls import SliceCalibration
from visiondrift.drift.embedding.bank import Centre
from visiondrift.drift.embedding.basis import Basis
from visiondrift.drift.embedding.detector import Detector
from visiondrift.drift.embedding.fit import EmbeddingReference
from visiondrift.drift.embedding.hours import DayCurves, DaySpread
from visiondrift.drift.embedding.novelty import Coreset
from visiondrift.drift.embedding.sensitivity import Sensitivity
from visiondrift.drift.explain.contrasts import Panel, Space
from visiondrift.drift.explain.explainer import Explainer, Usual
from visiondrift.drift.explain.witnesses import Probe, PropertyScale
from visiondrift.drift.performance.model import PerformanceModel, evidence_of
from visiondrift.prediction import Sample
from visiondrift.whole_file import written_whole

logger = logging.getLogger(__name__)

NUMBERS_FILE = "calibration.json"
ARRAYS_FILE = "calibration.npz"

Arrays = dict[str, NDArray[Any]]


def save_calibration(directory: Path, calibrated: CalibratedReference, plan: CalibrationPlan) -> None:
    """Keep what ``plan`` came to in ``directory``, which is made. Raises OSError where the disk does.

    The numbers come last, so that they never name arrays that are not yet there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    arrays: Arrays = {"key": np.array(calibrated.key)}
    labels = []
    for place, calibration in enumerate(calibrated.labels.values()):
        if calibration.detector:
            arrays |= {f"{place}/{name}": array for name, array in _arrays(calibration.detector.reference)}
        if calibration.explainer:
            arrays |= {f"{place}/{name}": array for name, array in _explainer_arrays(calibration.explainer)}
        labels.append(_numbers(calibration))
    document = {
        "key": calibrated.key,
        "plan": asdict(plan),
        "labels": labels,
        "performance": calibrated.performance.to_dict() if calibrated.performance else None,
        "why_no_performance": calibrated.why_no_performance,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"
    with written_whole(directory / ARRAYS_FILE) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    with written_whole(directory / NUMBERS_FILE) as file:
        file.write(text.encode())


def kept_plan(directory: Path) -> CalibrationPlan | None:
    """The plan of the calibration in ``directory``; None where there is none."""
    try:
        plan = json.loads((directory / NUMBERS_FILE).read_text(encoding="utf-8"))["plan"]
        settings = plan["settings"] | {name: tuple(plan["settings"][name]) for name in ("classes", "slices")}
        return CalibrationPlan(
            Settings(**settings), BlockRule(**plan["rule"]), tuple(plan["windows"]), int(plan["seed"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load_calibration(directory: Path, *, key: str, sample: Sample) -> CalibratedReference | None:
    """The calibration in ``directory`` where it is the one of ``key``; None where there is none, or it is damaged.

    ``sample`` holds the reference's rows, with classes in the model's order.
    """
    if not (directory / NUMBERS_FILE).is_file():
        return None
    try:
        document = json.loads((directory / NUMBERS_FILE).read_text(encoding="utf-8"))
        if document["key"] != key:
            return None
        # Opened here, as numpy leaves a file that it cannot read open.
        with (directory / ARRAYS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if str(arrays["key"]) != key:
            logger.warning("%s: %s and %s are of different calibrations", directory, NUMBERS_FILE, ARRAYS_FILE)
            return None
        return _calibrated(document, arrays, sample)
    except Exception as error:  # noqa: BLE001  what damage makes of a file may raise anything, and is as good as none
        logger.warning("%s: the calibration cannot be read (%s: %s)", directory, type(error).__name__, error)
        return None


def _calibrated(document: Mapping[str, Any], arrays: Arrays, sample: Sample) -> CalibratedReference:
    labels = {}
    for place, numbers in enumerate(document["labels"]):
        own = {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{place}/")}
        calibration = _calibration(numbers, own)
        labels[calibration.label] = calibration
    stored = document["performance"]
    return CalibratedReference(
        key=document["key"],
        labels=labels,
        performance=PerformanceModel.from_dict(stored, evidence_of(sample)) if stored else None,
        why_no_performance=document["why_no_performance"],
    )


def _numbers(calibration: Calibration) -> dict[str, Any]:
    detector = calibration.detector
    return {
        "label": calibration.label,
        "scenes": calibration.scenes,
        "seconds": dict(calibration.seconds),
        "spans": dict(calibration.spans),
        "scores": {target: one.to_dict() for target, one in calibration.scores.items()},
        "detector": {target: one.to_dict() for target, one in detector.slices.items()} if detector else None,
        "adjoining": detector.reference.adjoining if detector else False,
        "sensitivities": {
            move: {target: one.to_dict() for target, one in by_target.items()}
            for move, by_target in calibration.sensitivities.items()
        },
        "explainer": _explainer_numbers(calibration.explainer) if calibration.explainer else None,
    }


def _calibration(numbers: Mapping[str, Any], arrays: Arrays) -> Calibration:
    detector = None
    if numbers["detector"] is not None:
        slices = {target: SliceCalibration.from_dict(one) for target, one in numbers["detector"].items()}
        detector = Detector(_embedding(arrays, adjoining=bool(numbers["adjoining"])), slices)
    return Calibration(
        label=numbers["label"],
        seconds=numbers["seconds"],
        spans=numbers["spans"],
        detector=detector,
        scores={target: SliceCalibration.from_dict(one) for target, one in numbers["scores"].items()},
        sensitivities={
            move: {target: Sensitivity.from_dict(one) for target, one in by_target.items()}
            for move, by_target in numbers["sensitivities"].items()
        },
        explainer=_explainer(numbers["explainer"], arrays, detector) if numbers.get("explainer") else None,
        scenes=numbers["scenes"],
    )


def _explainer_numbers(explainer: Explainer) -> dict[str, Any]:
    return {
        "causes": list(explainer.causes),
        "probes": [asdict(probe) for probe in explainer.probes],
        "spaces": {name: _space_numbers(space) for name, space in _spaces(explainer)},
    }


def _spaces(explainer: Explainer) -> Iterator[tuple[str, Space]]:
    """By the name of its place in the explainer, each that there is."""
    for name in ("properties", "layouts", "embeddings"):
        space: Space | None = getattr(explainer, name)
        if space:
            yield name, space


def _space_numbers(space: Space) -> dict[str, Any]:
    return {
        "panels": [asdict(panel) | {"directions": None} for panel in space.panels],
        "slices": {target: one.to_dict() for target, one in space.slices.items()},
        "noise": dict(space.noise),
        "targets": list(space.scales),
        "adjoining": space.reference.adjoining,
    }


def _explainer_arrays(explainer: Explainer) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, space in _spaces(explainer):
        yield f"{name}/scales", np.stack(list(space.scales.values()))
        yield f"{name}/directions", np.vstack([panel.directions for panel in space.panels])
        if name != "embeddings":  # whose axes are the detector's, and are kept there
            yield from ((f"{name}/{part}", array) for part, array in _arrays(space.reference))
    if explainer.properties and explainer.scale:
        yield "properties/scale", np.stack([explainer.scale.centre, explainer.scale.spread])
        yield "properties/usual_of", np.array(list(explainer.usual), dtype=np.str_)
        yield "properties/usual", np.stack([np.stack([one.mean, one.sd]) for one in explainer.usual.values()])


def _explainer(numbers: Mapping[str, Any], arrays: Arrays, detector: Detector | None) -> Explainer:
    spaces = {}
    for name, own in numbers["spaces"].items():
        part = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
        reference = detector.reference if name == "embeddings" and detector else None
        spaces[name] = _space(own, part, reference or _embedding(part, adjoining=bool(own["adjoining"])))
    usual = {}
    if "properties" in spaces:
        names = [str(name) for name in arrays["properties/usual_of"]]
        usual = {name: Usual(*both) for name, both in zip(names, arrays["properties/usual"], strict=True)}
    return Explainer(
        causes=tuple(numbers["causes"]),
        probes=tuple(Probe(**p | {side: tuple(p[side]) for side in ("toward", "away")}) for p in numbers["probes"]),
        scale=PropertyScale(*arrays["properties/scale"]) if "properties" in spaces else None,
        properties=spaces.get("properties"),
        embeddings=spaces.get("embeddings"),
        layouts=spaces.get("layouts"),
        usual=usual,
    )


def _space(numbers: Mapping[str, Any], arrays: Arrays, reference: EmbeddingReference) -> Space:
    panels, begin = [], 0
    for given in numbers["panels"]:
        end = begin + len(given["names"])
        directions = arrays["directions"][begin:end]
        panels.append(Panel(**given | {"names": tuple(given["names"]), "directions": directions}))
        begin = end
    return Space(
        reference=reference,
        panels=tuple(panels),
        slices={target: SliceCalibration.from_dict(one) for target, one in numbers["slices"].items()},
        scales=dict(zip(numbers["targets"], arrays["scales"], strict=True)),
        noise=numbers["noise"],
    )


def _arrays(reference: EmbeddingReference) -> Iterator[tuple[str, NDArray[Any]]]:
    basis, coreset = reference.basis, reference.coreset
    yield "mean", basis.mean
    yield "axes", basis.axes
    yield "variances", basis.variances
    yield "spread", np.array(basis.spread)
    yield "centres", np.array(list(reference.centres), dtype=np.str_)
    yield "centre_means", np.stack([centre.mean for centre in reference.centres.values()])
    yield "centre_variances", np.stack([centre.variance for centre in reference.centres.values()])
    yield "coreset", coreset.rows
    yield "far", coreset.far
    yield "shares", coreset.shares
    yield "normal", coreset.normal
    if reference.day is not None:
        yield from _curve_arrays("day", reference.day)
    if reference.spread.middles:
        curves = reference.spread.curves
        yield from _curve_arrays("spread_day", curves)
        yield "spread_centres", np.stack([reference.spread.middles[name] for name in curves.coefficients])


def _curve_arrays(name: str, curves: DayCurves) -> Iterator[tuple[str, NDArray[Any]]]:
    slices = curves.coefficients
    yield f"{name}s", np.array(list(slices), dtype=np.str_)
    if slices:
        yield f"{name}_coefficients", np.stack(list(slices.values()))
        yield f"{name}_hours", np.stack([curves.known[one] for one in slices])
        yield f"{name}_middles", np.stack([curves.middle[one] for one in slices])


def _curves(arrays: Arrays, name: str) -> DayCurves | None:
    """None where the reference has no curves of this name."""
    if f"{name}s" not in arrays:
        return None
    slices = [str(one) for one in arrays[f"{name}s"]]
    parts = (arrays[f"{name}_{part}"] if slices else () for part in ("coefficients", "hours", "middles"))
    return DayCurves(*(dict(zip(slices, part, strict=True)) for part in parts))


def _embedding(arrays: Arrays, *, adjoining: bool) -> EmbeddingReference:
    names = [str(name) for name in arrays["centres"]]
    centres = zip(names, arrays["centre_means"], arrays["centre_variances"], strict=True)
    spread, curves = DaySpread(), _curves(arrays, "spread_day")
    if curves is not None:
        spread = DaySpread(dict(zip(curves.coefficients, arrays["spread_centres"], strict=True)), curves)
    return EmbeddingReference(
        basis=Basis(arrays["mean"], arrays["axes"], arrays["variances"], float(arrays["spread"])),
        centres={name: Centre(mean, variance) for name, mean, variance in centres},
        coreset=Coreset(
            arrays["coreset"],
            arrays["far"],
            arrays["shares"],
            # What was calibrated before outliers were told apart has none, and is as good for everything else.
            arrays.get("normal", np.zeros(0, dtype=np.float32)),
        ),
        day=_curves(arrays, "day"),
        spread=spread,
        adjoining=adjoining,
    )
