"""What a calibrated evaluation costs: every signal, evidence, novelty and the accuracy estimate.

    python tests/bench/bench_calibrated.py            one window of 5,000 x 512, and 100 cameras of 1,000 each
    python tests/bench/bench_calibrated.py --quick    the one window, and its growth

The one window is in CPU seconds of one thread, least of three. The cameras are in seconds by the clock, as an operator
waits for them. Exits 1 where one passes its budget.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.drift import calibrate
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan, calibrate_reference
from visiondrift.drift.embedding.detector import build_detector
from visiondrift.drift.evaluation import PreparedReference, Scale, Settings, evaluate_window
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.drift.levels import terms_for
from visiondrift.prediction import Sample
from visiondrift.signals import ALL_SLICES

WINDOW_BUDGET = 0.5
CAMERAS_BUDGET = 20.0
CLASSES = tuple(str(number) for number in range(10))
SETTINGS = Settings(classes=CLASSES, slices=("camera",))


def sample(rng: np.random.Generator, rows: int, columns: int, cameras: int) -> Sample:
    """Frames of cameras by turns, a second apart, with classes that show in embeddings and confidences, labelled."""
    labels = rng.integers(0, len(CLASSES), rows)
    looks = np.random.default_rng(1).normal(size=(len(CLASSES), columns))
    embeddings = 1.0 + looks[labels] + 3 * rng.normal(size=(rows, columns))
    logits = rng.normal(0, 1.5, size=(rows, len(CLASSES)))
    logits[np.arange(rows), labels] += 4
    confidences = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array([f"camera-{number:03}" for number in range(cameras)], dtype=object)
    return Sample(
        times=np.arange(rows, dtype=np.float64),
        ids=np.arange(rows).astype(str).astype(object),
        slices={"camera": names[np.arange(rows) % cameras]},
        classes=CLASSES,
        embeddings=(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=np.full(rows, np.nan),
        labels=labels.astype(np.int32),
    )


class World:
    """A calibrated reference of so many cameras; with few ``draws`` its levels say little, and cost what they cost."""

    def __init__(self, rows: int, columns: int, cameras: int, *, draws: int | None = None) -> None:
        rng = np.random.default_rng(0)
        self.columns, self.cameras = columns, cameras
        own = sample(rng, rows, columns, cameras)
        self.prepared = PreparedReference.from_sample(own, SETTINGS)
        # One row in so many is of a camera, so that a block of that many seconds holds one row of each.
        plan = CalibrationPlan(SETTINGS, BlockRule(seconds=float(cameras)))
        if draws is not None:
            calibrate._EMBEDDING_DRAWS = calibrate._CONFIDENCE_DRAWS = draws
            calibrate.build_detector = partial(build_detector, draws=10 * draws, splits=2)
        begun = time.process_time()
        self.calibrated = calibrate_reference(self.prepared.sample, plan, content_hash="bench")
        self.seconds = time.process_time() - begun
        names = [ALL_SLICES, *(f"camera=camera-{number:03}" for number in range(cameras))]
        self.thresholds = {name: STARTING_THRESHOLDS.resolve("", name) for name in names}
        rates = STARTING_THRESHOLDS.budget("").rates
        terms = terms_for(rates, self.thresholds.items(), self.calibrated, windows=[3600.0], every=300.0)
        self.scale = Scale(self.calibrated, terms)

    def evaluate(self, window: Sample, slice_: str) -> WindowEvaluation:
        return evaluate_window(
            self.prepared,
            window,
            slice_=slice_,
            window="1h",
            min_samples=50,
            settings=SETTINGS,
            thresholds=self.thresholds[slice_],
            scale=self.scale,
        )


def least(work: Callable[[], Any], repetitions: int = 3) -> float:
    """CPU seconds of the fastest repetition, after one that is not counted."""
    work()
    seconds = []
    for _ in range(repetitions):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def one_window(*, quick: bool) -> bool:
    """The window of the budget, and what doubling its rows or columns does."""
    print("| window | reference | CPU s an evaluation |\n|---|---|---|")
    held = True
    spent = 0.0
    for columns, sizes in [(512, (5000, 2500, 1250)), *([] if quick else [(256, (5000,)), (128, (5000,))])]:
        world = World(5000, columns, 3, draws=4 if quick or columns < 512 else None)
        spent = spent or world.seconds
        for rows in sizes:
            window = sample(np.random.default_rng(7), rows, columns, 3)
            seconds = least(lambda world=world, window=window: world.evaluate(window, ALL_SLICES))
            print(f"| {rows:,} x {columns} | 5,000 x {columns} | {seconds:.3f} |", flush=True)
            held &= (rows, columns) != (5000, 512) or seconds <= WINDOW_BUDGET
    print(f"\nThe first reference, of three cameras, took {spent:.0f} CPU s to calibrate, once.")
    return held


def cameras(*, quick: bool) -> bool:
    """All cameras and all of them together, by the clock."""
    print("| cameras x rows | columns | seconds by the clock | CPU s | peak memory, MiB |\n|---|---|---|---|---|")
    held = True
    for count in (25,) if quick else (25, 50, 100):
        world = World(100 * count, 512, count, draws=2)
        window = sample(np.random.default_rng(7), 1000 * count, 512, count)
        parts = [window.of_slice(name) for name in world.thresholds if name != ALL_SLICES]
        together = window.take(np.arange(0, len(window), max(1, len(window) // 5000)))
        begun, cpu = time.monotonic(), time.process_time()
        world.evaluate(together, ALL_SLICES)
        found = [world.evaluate(part, name) for part, name in zip(parts, list(world.thresholds)[1:], strict=True)]
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        assert all(one.block_count is not None for one in found), "every camera was to be judged by its calibration"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {count} x 1,000 | 512 | {seconds:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)
        held &= count != 100 or seconds <= CAMERAS_BUDGET
    return held


def main() -> int:
    """Measure, print, and say by the exit status whether the budgets hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer shapes and cameras")
    given = parser.parse_args()
    print(f"## A calibrated evaluation of one window, on one thread (budget {WINDOW_BUDGET} CPU s for 5,000 x 512)\n")
    with threadpool_limits(limits=1, user_api="blas"):
        held = one_window(quick=given.quick)
    print(f"\n## Many cameras, one after the other (budget {CAMERAS_BUDGET:g} s for 100 x 1,000)\n", flush=True)
    return 0 if cameras(quick=given.quick) and held else 1


if __name__ == "__main__":
    sys.exit(main())
