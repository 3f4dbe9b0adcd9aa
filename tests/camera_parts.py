"""A made-up camera: a scene with edges in its own places, a sensor with noise, and as many frames of it as wanted."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, Sample

NOON = 1_790_000_000.0 // 86400 * 86400 + 43200.0
CELLS = LAYOUT_SIDE**2
USUAL = {
    "brightness": 0.45,
    "contrast": 0.2,
    "saturation": 0.2,
    "warmth": 0.01,
    "tint": 0.0,
    "sharpness": -1.8,
    "noise": -3.2,
    "clipping": 0.01,
    "blockiness": 0.1,
    "entropy": 7.0,
    "aspect": float(np.log2(16 / 9)),
    "size": float(np.log2(1920 * 1080 / 1e6)),
}


def scene(seed: int = 0) -> NDArray[np.float64]:
    """(CELLS,) where the edges of a scene are."""
    return np.random.default_rng(seed).gamma(1.0, 1.0, CELLS) + 0.1


def frames(
    count: int = 300,
    *,
    every: float = 1.0,
    until: float = NOON,
    seed: int = 0,
    edges: NDArray[np.float64] | None = None,
    grain: float = 0.02,
    **about: float,
) -> Sample:
    """``count`` frames, the last one at ``until``; ``about`` gives properties that are not as usual."""
    rng = np.random.default_rng([seed, count])
    usual = np.array([(USUAL | about)[name] for name in PROPERTIES])
    varied = usual + grain * 0.3 * rng.normal(size=(count, len(PROPERTIES)))
    for fixed in ("aspect", "size"):
        varied[:, PROPERTIES.index(fixed)] = usual[PROPERTIES.index(fixed)]
    shown = scene() if edges is None else edges
    contrast = PROPERTIES.index("contrast")
    varied[:, contrast] = np.abs(varied[:, contrast])
    layouts = np.abs(shown + grain * rng.normal(size=(count, CELLS)) * shown.mean())
    lengths = np.linalg.norm(layouts, axis=1, keepdims=True)
    return _sample(until - every * np.arange(count)[::-1], varied, layouts / lengths)


def flat(count: int = 300, *, seed: int = 0, until: float = NOON, every: float = 1.0, **about: float) -> Sample:
    """Frames without an edge, such as a lens cap gives."""
    bare = {"contrast": 0.001, "sharpness": -4.0, "noise": -4.0, "entropy": 0.0, "clipping": 0.0}
    found = frames(count, seed=seed, until=until, every=every, grain=0.0001, **(bare | about))
    return replace(found, layouts=np.zeros((count, CELLS), dtype=np.float32))


def still(sample: Sample) -> Sample:
    """Every frame measures as the first one."""
    assert sample.properties is not None
    assert sample.layouts is not None
    count = len(sample)
    return replace(
        sample,
        properties=np.repeat(sample.properties[:1], count, axis=0),
        layouts=np.repeat(sample.layouts[:1], count, axis=0),
    )


def joined(*samples: Sample) -> Sample:
    """One after the other, as seen at one go: the last one ends when it does, those before lie right before it."""
    times = np.concatenate([sample.times for sample in samples])
    properties = np.concatenate([sample.properties for sample in samples if sample.properties is not None])
    layouts = np.concatenate([sample.layouts for sample in samples if sample.layouts is not None])
    order = np.argsort(times, kind="stable")
    return _sample(times[order], properties[order], layouts[order])


def unmeasured(sample: Sample) -> Sample:
    """The same events of which no image was measured."""
    return replace(sample, properties=None, layouts=None)


def _sample(times: NDArray[np.float64], properties: NDArray[np.float64], layouts: NDArray[np.float64]) -> Sample:
    count = len(times)
    return Sample(
        times=times.astype(np.float64),
        ids=np.array([f"{time:.3f}" for time in times], dtype=object),
        slices={},
        classes=(),
        embeddings=np.empty((count, 0), dtype=np.float32),
        confidences=np.empty((count, 0), dtype=np.float32),
        predicted=np.full(count, -1, dtype=np.int32),
        latency_ms=np.full(count, np.nan),
        properties=properties.astype(np.float32),
        layouts=layouts.astype(np.float32),
    )
