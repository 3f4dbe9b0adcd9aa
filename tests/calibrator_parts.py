"""What a calibrating process may be given to do, by functions that it can import; and who counts what comes of it."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from visiondrift.drift.calibrate import CalibrationPlan
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.selftest import SelfTest
from visiondrift.prediction import Sample

BEGUN, LET = "begun", "let"
RESULT = SelfTest(windows=100, alarms=5, nominal=0.05, low=0.01, high=0.14)


def at_once(sample: Sample, plan: CalibrationPlan, content_hash: str) -> CalibratedReference:
    return CalibratedReference(plan.key(content_hash), {}, why_no_performance=f"made by {os.getpid()}")


def tested(sample: Sample, plan: CalibrationPlan, seed: int) -> SelfTest:
    return RESULT


def die(sample: Sample, plan: CalibrationPlan, given: object) -> None:
    os._exit(9)


def fail(sample: Sample, plan: CalibrationPlan, given: object) -> None:
    raise ArithmeticError("the rows are odd")


def when_let(sample: Sample, plan: CalibrationPlan, given: tuple[str, object]) -> CalibratedReference:
    """The content hash is a folder: says there that it has begun, and is done once it is let."""
    folder = Path(given[0])
    (folder / BEGUN).touch()
    while not (folder / LET).exists():
        time.sleep(0.02)
    return at_once(sample, plan, given[0])


@dataclass
class Tally:
    """Counters that can be looked at."""

    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    observed: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        self.counted[name, labels["model"]] += int(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        self.observed.append((name, labels["model"]))
        self.seconds += seconds
