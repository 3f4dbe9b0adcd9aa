"""Whole days of two healthy cameras that know day and night, through the calibration and the evaluator of the service.

    python tests/bench/bench_days.py --quick     one reference of each kind, a day of looks
    python tests/bench/bench_days.py             four references of each, three days

The other benchmarks draw windows; here everything is as in production: blocks are estimated, cameras send at random
moments, scenes stay alike for minutes, an hour's window is judged every ten minutes, and every signal whose level
follows from the budget is asked. By night images look different and more alike, the model is less sure, and names other
classes.
References have whole days, working hours alone, or two mornings.

Then the model becomes less sure by day: how soon is that seen, though by night it always is?
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prepared import FIRST_SEED, head, line, rate

from visiondrift.calibrator import Answer
from visiondrift.config import Config, MonitoringConfig
from visiondrift.config.monitoring import ModelConfig, WatchedModel, WindowConfig
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan, calibrate_reference
from visiondrift.drift.evaluation import PreparedReference, Settings
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.evaluator import Evaluator
from visiondrift.log.recording import Recording
from visiondrift.prediction import Sample
from visiondrift.publish.snapshot import ReferenceState
from visiondrift.shelf import Shelved

EVIDENCE = "drift_evidence"
DAY, HOUR = 86_400.0, 3_600.0
BEGIN = 20_000 * DAY
CLASSES = ("car", "bus", "bike")
CAMERAS = ("left", "right")
COLUMNS, A_HOUR = 32, 60
"""Of an embedding; and events of a camera."""

ALIKE = 120.0
"""Seconds after which a third of a scene is left."""

SIGNALS = (
    EVIDENCE, "accumulated_evidence", "embedding_drift", "clip_similarity", "prediction_drift",
    "confidence_drift", "confidence_drop", "low_confidence_rise",
)  # fmt: skip
PARTS = {"night, 22 to 5 h": (22, 5), "dawn, 5 to 8 h": (5, 8), "day, 8 to 17 h": (8, 17), "dusk, 17 to 22 h": (17, 22)}
"""Of the day."""

DIMMED = (0.3, 0.6, 0.9)
"""By how much the logarithm of a model's sureness falls at noon."""


@dataclass(frozen=True)
class World:
    """``night`` is what the hour does, from 0 (nothing) to 1."""

    seed: int
    night: float

    def events(
        self, begin: float, end: float, *, hours: tuple[int, int] = (0, 24), draw: int = 0, dimmed: float = 0.0
    ) -> Sample:
        """Of both cameras from ``begin`` to ``end``, at the ``hours`` of the day alone; another ``draw``, others."""
        rng = np.random.default_rng((self.seed, draw))
        parts = [self._camera(name, self._times(begin, end, hours, rng), dimmed, rng) for name in CAMERAS]
        times, cameras, embeddings, confidences = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(times, kind="stable")
        return Sample(
            times=times[order],
            ids=np.arange(len(times)).astype(str).astype(object),
            slices={"camera": cameras[order]},
            classes=CLASSES,
            embeddings=embeddings[order],
            confidences=confidences[order],
            predicted=confidences[order].argmax(axis=1).astype(np.int32),
            latency_ms=np.full(len(times), np.nan),
        )

    @staticmethod
    def _times(begin: float, end: float, hours: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
        times = np.sort(rng.uniform(begin, end, rng.poisson(A_HOUR * (end - begin) / HOUR)))
        hour = times / HOUR % 24
        return times[(hour >= hours[0]) & (hour < hours[1])]

    def _camera(
        self, name: str, times: NDArray[np.float64], dimmed: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.object_], NDArray[np.float32], NDArray[np.float32]]:
        hour, count = times / HOUR % 24, len(times)
        dark = self.night / (1 + np.exp(6 * np.sin(2 * np.pi * (hour - 6) / 24)))
        scene = rng.normal(size=(count, COLUMNS))
        left = np.exp(-np.diff(times, prepend=-np.inf) / ALIKE)
        for row in range(1, count):
            scene[row] = left[row] * scene[row - 1] + np.sqrt(1 - left[row] ** 2) * scene[row]
        site = np.random.default_rng((self.seed, CAMERAS.index(name), 1))
        view, of_night, of_class = (site.normal(size=size) for size in (COLUMNS, COLUMNS, (len(CLASSES), COLUMNS)))
        by_hour = self.night * np.outer(np.sin(2 * np.pi * hour / 24), np.arange(len(CLASSES)) - 1.0)
        logits = 0.8 * scene[:, : len(CLASSES)] + by_hour
        shown = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        shows = scene + of_class[shown] + 0.5 * rng.normal(size=scene.shape)
        rows = 3 + 0.5 * view + shows * np.exp(-0.5 * dark)[:, None]
        rows += 0.8 * np.sqrt(COLUMNS) * np.outer(dark, of_night / np.linalg.norm(of_night))
        sure = (3.0 * np.eye(len(CLASSES))[shown] + rng.normal(size=logits.shape)) * np.exp(-0.6 * dark - dimmed)[
            :, None
        ]
        answers = np.exp(sure - sure.max(axis=1, keepdims=True))
        return (
            times,
            np.full(count, name, dtype=object),
            (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
            (answers / answers.sum(axis=1, keepdims=True)).astype(np.float32),
        )


class Watch:
    """A reference with its calibration, as the service's shelf would hold them."""

    def __init__(self, sample: Sample, seed: int) -> None:
        settings = Settings(classes=CLASSES, slices=("camera",))
        plan = CalibrationPlan(settings, BlockRule(), (HOUR,), seed=seed)
        self._answer = Answer(calibrate_reference(sample, plan, content_hash=""), "")
        state = ReferenceState("site", len(sample), 0.0)
        self._shelved = Shelved(PreparedReference.from_sample(sample, settings), state, (), None, Path())
        window = {"1h": WindowConfig(min_samples=30)}
        plain = ModelConfig(
            name="site", reference="site", classes=CLASSES, slices=("camera",), evaluate_every="10m", windows=window
        )
        monitoring = MonitoringConfig(models=(plain,))
        (self.model,) = monitoring.watched()
        self.config = Config(Path(), monitoring, STARTING_THRESHOLDS, (self.model,), "")

    def take(self, _config: Config, _model: WatchedModel) -> Shelved:
        return self._shelved

    def calibration(self, _shelved: Shelved, _model: WatchedModel) -> Answer:
        return self._answer

    def keep_only(self, models: Iterable[str]) -> None:
        pass

    def looks(self, sample: Sample) -> Iterator[tuple[float, WindowEvaluation]]:
        """When it ended, and every window of every slice, every ten minutes."""
        log = Recording(sample, model="site", version="")
        evaluator = Evaluator(log=log, moments=log, shelf=self, embedder_of=lambda _: "", stopwatch=time.monotonic)
        for now in np.arange(sample.times[0] + HOUR, sample.times[-1], self.model.evaluate_every):
            log.now = float(now) + 1e-6
            for evaluation in evaluator.evaluate(
                self.config, self.model, now=log.now, offer=lambda *_: None
            ).evaluations:
                yield from ((log.now, window) for window in evaluation.windows)


def working_days(world: World) -> Sample:
    """Five, of ten hours each."""
    return world.events(BEGIN, BEGIN + 5 * DAY, hours=(8, 18))


def mornings(world: World) -> Sample:
    """Two of four hours each, three days apart."""
    whole = world.events(BEGIN, BEGIN + 4 * DAY, hours=(9, 13))
    return whole.take((whole.times < BEGIN + DAY) | (whole.times >= BEGIN + 3 * DAY))


def healthy(args: argparse.Namespace) -> None:
    """Rates of p without drift, and how many alarms began."""
    days = 1 if args.quick else 3
    by_day = (8, 18)
    kinds = {
        "3 whole days": (1.0, lambda world: world.events(BEGIN, BEGIN + 3 * DAY), (0, 24)),
        "5 whole days": (1.0, lambda world: world.events(BEGIN, BEGIN + 5 * DAY), (0, 24)),
        "5 days, 8 to 18 h, watched then": (1.0, working_days, by_day),
        "5 days, 8 to 18 h, no night, watched all day": (0.0, working_days, (0, 24)),
        "2 mornings, no night, watched all day": (0.0, mornings, (0, 24)),
    }
    print(f"Share of looks (an hour's window, every ten minutes) with p ≤ .05 where nothing drifts; {args.references}")
    print(f"references of each kind, {days} days of looks at all together and at each of two cameras. Last, the alarms")
    print("that began, at the budget of a false warning a week: so many days, and so many are allowed in them.\n")
    head("reference", *SIGNALS, "alarms", "allowed")
    by_part: dict[str, dict[str, list[list[bool]]]] = {}
    for name, (night, build, hours) in kinds.items():
        found: dict[str, list[list[bool]]] = defaultdict(list)
        by_part[name] = {part: [] for part in PARTS}
        begun = 0
        for seed in range(FIRST_SEED, FIRST_SEED + args.references):
            world = World(seed, night)
            watch = Watch(build(world), seed)
            live = world.events(BEGIN + 20 * DAY, BEGIN + (20 + days) * DAY, hours=hours, draw=1)
            own: dict[str, list[bool]] = defaultdict(list)
            parts: dict[str, list[bool]] = {part: [] for part in PARTS}
            alarmed: dict[str, bool] = {}
            for now, window in watch.looks(live):
                for judgement in window.judgements:
                    if judgement.signal in SIGNALS and judgement.worth.p is not None:
                        own[judgement.signal].append(judgement.worth.p <= 0.05)
                        if judgement.signal == EVIDENCE:
                            parts[part_of(now - HOUR / 2)].append(judgement.worth.p <= 0.05)
                is_alarm = window.verdict in {"warning", "critical"}
                begun += is_alarm and not alarmed.get(window.slice, False)
                alarmed[window.slice] = is_alarm
            for signal, hits in own.items():
                found[signal].append(hits)
            for part, hits in parts.items():
                by_part[name][part] += [hits] if hits else []
        cells = [rate(found[signal]) if found[signal] else "" for signal in SIGNALS]
        line(name, *cells, str(begun), f"{args.references * days / 7:.1f}")
    print(f"\n`{EVIDENCE}` by the hour in the middle of the window.\n")
    head("reference", *PARTS)
    for name, each in by_part.items():
        line(name, *(rate(hits) if hits else "" for hits in each.values()))


def part_of(moment: float) -> str:
    """Of the day."""
    hour = moment / HOUR % 24
    return next(part for part, (begin, end) in PARTS.items() if (hour - begin) % 24 < (end - begin) % 24)


def noon(args: argparse.Namespace) -> None:
    """How often a model that is less sure at noon is told of, though it is by night what it is then."""
    print("\nFrom 10 to 16 h the model is less sure; the reference has five whole days. Of both cameras, the share of")
    print("looks with an alarm of `confidence_drop` or `low_confidence_rise`.\n")
    head("top confidence by night", "by day", "now by day", "looks with an alarm")
    each: dict[float, list[list[bool]]] = defaultdict(list)
    means: dict[float, list[tuple[float, float, float]]] = defaultdict(list)
    for seed in range(FIRST_SEED, FIRST_SEED + args.references):
        world = World(seed, 1.0)
        reference = world.events(BEGIN, BEGIN + 5 * DAY)
        watch = Watch(reference, seed)
        hour = reference.times / HOUR % 24
        times = (hour < 4, (hour >= 10) & (hour < 16))
        by_night, by_day = (float(reference.take(rows).top_confidence.mean()) for rows in times)
        for dimmed in DIMMED:
            live = world.events(BEGIN + 20 * DAY + 10 * HOUR, BEGIN + 20 * DAY + 16 * HOUR, draw=2, dimmed=dimmed)
            means[dimmed].append((by_night, by_day, float(live.top_confidence.mean())))
            each[dimmed].append(
                [
                    any(
                        one.verdict in {"warning", "critical"}
                        for one in window.judgements
                        if one.signal in {"confidence_drop", "low_confidence_rise"}
                    )
                    for _, window in watch.looks(live)
                    if window.slice != "all"
                ]
            )
    for dimmed in DIMMED:
        line(*(f"{value:.2f}" for value in np.mean(means[dimmed], axis=0)), rate(each[dimmed]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    args.references = 1 if args.quick else 4
    healthy(args)
    noon(args)


if __name__ == "__main__":
    main()
