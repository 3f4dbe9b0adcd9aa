"""A site of cameras whose frames come in scenes, as embeddings alone, and a detector that knows it well: both quick."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import Moments, moments_of

DIMENSION = 24
CAMERAS = ("a", "b", "c", "d", "e", "f")
A_SCENE = 4


@dataclass(frozen=True, eq=False)
class Frames:
    """(n, d) embeddings, their cameras (n,) and their scenes (n,)."""

    embeddings: np.ndarray
    cameras: np.ndarray
    scenes: np.ndarray


def frames(seed: int, scenes: int, shifts: Mapping[str, np.ndarray] | None = None, cameras: tuple[str, ...] = CAMERAS):
    """``scenes`` of each camera; ``shifts`` move those of a camera."""
    rng = np.random.default_rng(seed)
    views = np.random.default_rng(7).normal(size=(10, DIMENSION))
    parts, names, numbers = [], [], []
    for place, camera in enumerate(cameras):
        scene = np.repeat(rng.normal(size=(scenes, DIMENSION)), A_SCENE, axis=0)
        own = views[CAMERAS.index(camera) if camera in CAMERAS else 9] + 0.7 * (scene + rng.normal(size=scene.shape))
        parts.append(own + (0.0 if shifts is None else shifts.get(camera, 0.0)))
        names += [camera] * len(own)
        numbers += np.repeat(place * 1000 + np.arange(scenes), A_SCENE).tolist()
    return Frames(np.vstack(parts).astype(np.float32), np.array(names), np.array(numbers))


@lru_cache(maxsize=1)
def detector() -> Detector:
    known = frames(1, 50)
    return build_detector(known.embeddings, labelled_blocks(known.scenes, known.cameras), splits=2, draws=60)


def rows_of(window: Frames) -> WindowRows:
    return WindowRows(detector().reference.coordinates(window.embeddings), window.scenes.astype(np.intp))


def moments_by_camera(window: Frames) -> dict[str, Moments]:
    rows = rows_of(window)
    found = {}
    for camera in np.unique(window.cameras):
        own = window.cameras == camera
        found[str(camera)] = moments_of(rows.coordinates[own], np.unique(window.scenes[own], return_counts=True)[1])
    return found


def evidence(window: Frames) -> EmbeddingEvidence:
    found = detector().look("all", moments_by_camera(window), rows_of(window))
    assert isinstance(found, EmbeddingEvidence)
    return found
