"""What every signal says on healthy video, by how the clip is split: python tests/contract/real_video_table.py

One row is one window against one reference, all frames of the clips. `run` windows are contiguous, `spread` ones are
evenly spread; of several windows the row shows the median and the worst.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from real_video_material import CLIPS, Frames, Vocabulary, look_at

from visiondrift.drift.columns.distances import drifted_share, prepare_columns, wasserstein_normed
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.prediction import Sample

COLUMN_THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 1.0)
SIGNALS = ("clip_similarity", "prediction_drift", "confidence_drift", "confidence_drop", "low_confidence_rise")
SIZES = (100, 200)
RUNS = 13
HEADER = ("clip", "split", "window", "n_ref", "m", *(f"ed@{t:g}" for t in COLUMN_THRESHOLDS), *SIGNALS)

Rows = NDArray[np.intp]


def main() -> None:
    clips = {camera: look_at(file, 1) for camera, (file, _) in CLIPS.items()}
    vocabulary = Vocabulary.of(clips)
    samples = {camera: sample_of(frames, vocabulary) for camera, frames in clips.items()}
    print("\t".join(HEADER))
    for camera, sample in samples.items():
        for split, normal, now in splits(sample.times):
            for label, windows in windows_of(split, now):
                scores = np.array([score(sample.take(normal), sample.take(rows)) for rows in windows])
                show(camera, split, label, (len(normal), len(windows[0])), scores)
        normal, _ = halves(len(sample))
        for other, its in samples.items():
            if other != camera:
                rows = halves(len(its))[1]
                scores = np.array([score(sample.take(normal), its.take(rows))])
                show(camera, f"clip {other}", "all", (len(normal), len(rows)), scores)


def sample_of(frames: Frames, vocabulary: Vocabulary) -> Sample:
    n = len(frames)
    confidences = vocabulary.confidences(frames)
    return Sample(
        times=frames.times,
        ids=np.arange(n).astype(str).astype(object),
        slices={},
        classes=vocabulary.classes,
        embeddings=frames.embeddings,
        confidences=confidences,
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=np.full(n, np.nan),
    ).of_unit_length()


def halves(n: int) -> tuple[Rows, Rows]:
    return np.arange(n // 2), np.arange(n // 2, n)


def splits(times: NDArray[np.float64]) -> Iterator[tuple[str, Rows, Rows]]:
    """Name, rows of the reference, rows that windows are taken from."""
    n = len(times)
    yield "contiguous halves", *halves(n)
    for seconds in (1, 2, 5):
        odd = (times // seconds).astype(int) % 2 == 1
        yield f"{seconds} s blocks", np.flatnonzero(~odd), np.flatnonzero(odd)
    shuffled = np.random.default_rng(0).permutation(n)
    yield "random halves", np.sort(shuffled[: n // 2]), np.sort(shuffled[n // 2 :])


def windows_of(split: str, rows: Rows) -> Iterator[tuple[str, Sequence[Rows]]]:
    for size in (size for size in SIZES if size < len(rows)):
        yield "spread", [rows[np.linspace(0, len(rows) - 1, size).astype(int)]]
        if split == "contiguous halves":
            firsts = np.linspace(0, len(rows) - size, RUNS).astype(int)
            yield "run", [rows[first : first + size] for first in firsts]
    yield "all", [rows]


def score(reference: Sample, window: Sample) -> list[float]:
    settings = Settings(classes=window.classes)
    prepared = PreparedReference.from_sample(reference, settings)
    found = evaluate_window(prepared, window, slice_="all", window="", min_samples=2, settings=settings, thresholds={})
    scores = {judgement.signal: judgement.score for judgement in found.judgements}
    distances = wasserstein_normed(prepare_columns(reference.embeddings), window.embeddings)
    shares = [drifted_share(distances, threshold) for threshold in COLUMN_THRESHOLDS]
    return shares + [np.nan if scores[name] is None else float(scores[name] or 0.0) for name in SIGNALS]


def show(camera: str, split: str, label: str, n_and_m: tuple[int, int], scores: NDArray[np.float64]) -> None:
    worst = np.max(scores, axis=0)
    similarity = len(COLUMN_THRESHOLDS) + SIGNALS.index("clip_similarity")
    worst[similarity] = scores[:, similarity].min()
    rows = [(label, np.median(scores, axis=0))]
    if len(scores) > 1:
        rows = [(f"{label}, median of {len(scores)}", rows[0][1]), (f"{label}, worst of {len(scores)}", worst)]
    for name, values in rows:
        print("\t".join([camera, split, name, *map(str, n_and_m), *(f"{value:.2f}" for value in values)]))


if __name__ == "__main__":
    main()
