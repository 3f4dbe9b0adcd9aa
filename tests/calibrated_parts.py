"""A site of cameras whose frames resemble their neighbours in time, with true classes; and what is learnt of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from visiondrift.config import SliceThresholds
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan, calibrate_reference
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.calibration.budget import Terms
from visiondrift.drift.evaluation import PreparedReference, Scale, Settings, evaluate_window
from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.prediction import Sample

CLASSES = ("car", "bus", "bike")
SETTINGS = Settings(classes=CLASSES, slices=("camera",))
DIMENSION = 16
ALPHA = 1e-3
TERMS = Terms({"warning": ALPHA, "critical": ALPHA / 10}, every=300.0)
STARTING: SliceThresholds = STARTING_THRESHOLDS.resolve("", "all")
CAMERAS: Mapping[str, float] = {"left": 0.2, "right": 0.3, "slow": 0.85}
"""How much a frame of each camera resembles the one before: the slow one's scenes last for tens of seconds."""


def site(
    seed: int,
    rows: Mapping[str, int],
    *,
    begins: float = 0.0,
    labelled: bool = True,
    shift: float = 0.0,
    wrong: float = 0.0,
) -> Sample:
    """``rows`` frames of each camera, one a second. ``shift`` moves the embeddings by so many of their sizes; of a
    share ``wrong`` of the frames the model is sure of another class than the one that it sees."""
    rng = np.random.default_rng(seed)
    parts = [_camera(name, n, rng, begins=begins, shift=shift, wrong=wrong) for name, n in rows.items()]
    return joined(parts, labelled=labelled)


def _camera(name: str, rows: int, rng: np.random.Generator, *, begins: float, shift: float, wrong: float) -> Sample:
    view = np.random.default_rng(sorted(CAMERAS).index(name)).normal(size=DIMENSION)
    phi = CAMERAS[name]
    state = rng.normal(size=(rows, DIMENSION))
    for row in range(1, rows):
        state[row] = phi * state[row - 1] + np.sqrt(1 - phi**2) * state[row]
    known = softmax(4.0 * state[:, :3])
    labels = (known.cumsum(axis=1) > rng.random(rows)[:, None]).argmax(axis=1)
    axes = 2.0 * np.eye(3, DIMENSION, k=3)
    embeddings = 3.0 + 0.5 * view + state + axes[labels]
    embeddings = embeddings + shift * np.sqrt(DIMENSION) * np.eye(DIMENSION)[-1]
    hit = rng.random(rows) < wrong
    confidences = np.where(hit[:, None], np.roll(known, 1, axis=1), known)
    return Sample(
        times=begins + np.arange(rows, dtype=np.float64),
        ids=np.array([f"{name}-{row}" for row in range(rows)], dtype=object),
        slices={"camera": np.full(rows, name, dtype=object)},
        classes=CLASSES,
        embeddings=(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=np.full(rows, np.nan),
        labels=labels.astype(np.int32),
    )


def joined(parts: list[Sample], *, labelled: bool = True) -> Sample:
    """The rows of all, in order of time."""
    order = np.argsort(np.concatenate([part.times for part in parts]), kind="stable")
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("times", "ids", "embeddings", "confidences", "predicted", "latency_ms")
    }
    slices = {label: np.concatenate([part.slices[label] for part in parts])[order] for label in parts[0].slices}
    labels = np.concatenate([part.labels for part in parts if part.labels is not None])[order] if labelled else None
    return replace(parts[0], **columns, slices=slices, labels=labels)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def plan(rule: BlockRule | None = None, **changed: Any) -> CalibrationPlan:
    return CalibrationPlan(**{"settings": SETTINGS, "rule": rule or BlockRule(), "windows": (120.0,)} | changed)


@lru_cache(maxsize=1)
def reference() -> Sample:
    """Two quick cameras and a slow one."""
    return site(1, {"left": 300, "right": 360, "slow": 240})


@lru_cache(maxsize=1)
def calibrated() -> CalibratedReference:
    """What is learnt of it."""
    return calibrate_reference(reference(), plan(), content_hash="site")


@lru_cache(maxsize=1)
def prepared() -> PreparedReference:
    return PreparedReference.from_sample(reference(), SETTINGS)


def evaluated(window: Sample, slice_: str = "all", **changed: Any) -> WindowEvaluation:
    """The evaluation of one slice of ``window`` against the site's calibrated reference, which is told no true classes
    unless it is to be ``labelled``.
    """
    given: dict[str, Any] = {
        "reference": prepared(),
        "window": "2m",
        "min_samples": 20,
        "settings": SETTINGS,
        "thresholds": STARTING,
        "scale": Scale(calibrated(), TERMS),
    } | changed
    if not given.pop("labelled", False):
        window = replace(window, labels=None)
    return evaluate_window(given.pop("reference"), window.of_slice(slice_), slice_=slice_, **given)


def judgements(evaluation: WindowEvaluation) -> dict[str, Judgement]:
    return {judgement.signal: judgement for judgement in evaluation.judgements}


def healthy(count: int, rows: Mapping[str, int], *, seed: int = 100) -> Iterator[Sample]:
    """Windows of the same process, at other times."""
    for number in range(count):
        yield site(seed + number, rows, begins=1e6 + 1000.0 * number, labelled=False)
