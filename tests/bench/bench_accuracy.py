"""How far estimates of a model's accuracy are off without labels, and whether it was right to refuse one.

    python tests/bench/bench_accuracy.py --quick         one classifier, few windows: about a minute
    python tests/bench/bench_accuracy.py                 three classifiers, more windows
    python tests/bench/bench_accuracy.py --development   the faults on which the estimate's limits were looked at

CIFAR-10 under label shift made by resampling (VGG-16's confidences, no embeddings), and the demo's digits through ten
faults at four severities (with the demo's CLIP). Errors in percentage points, with their Monte-Carlo error beside them.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from accuracy_streams import DEVELOPMENT, MADE, OWN, SEVERITIES, Cifar, Digits, Stream, cifar_file, faulty
from numpy.typing import NDArray

from visiondrift.drift.performance.estimate import MAX_NOVEL_SHARE, PerformanceEstimate, estimate_performance
from visiondrift.drift.performance.model import Evidence, PerformanceModel, fit_performance

METHODS = ("reference accuracy", "raw confidence", "calibrated (CBPE)", "disagreement", "ours")
BOOTSTRAPS = 200
TOLERANCE = 0.10
CIFAR_ROWS = 400
WINDOWS_A_SPLIT = 4
NAMES = tuple("0123456789")


@dataclass(frozen=True)
class Trial:
    """One window: what was true, and what each method said (NaN where it says nothing)."""

    fault: str
    severity: float
    truth: float
    said: NDArray[np.float64]
    valid: bool
    novel: bool
    covered: bool

    @property
    def errors(self) -> NDArray[np.float64]:
        return self.said - self.truth


def trial(model: PerformanceModel, stream: Stream) -> tuple[Trial, PerformanceEstimate]:
    evidence, estimate = stream.evidence, estimate_performance(model, stream.evidence)
    assert estimate.accuracy is not None
    rows = np.arange(len(evidence))
    said = np.array(
        [
            model.accuracy,
            evidence.confidences[rows, evidence.predicted].mean(),
            model.calibrator.apply(evidence.confidences)[rows, evidence.predicted].mean(),
            estimate.by_readers.value if estimate.by_readers else np.nan,
            estimate.accuracy.value,
        ]
    )
    novel = estimate.consultation is not None and estimate.consultation.novel_share > MAX_NOVEL_SHARE
    covered = estimate.accuracy.low <= stream.accuracy <= estimate.accuracy.high
    return Trial(stream.fault, stream.severity, stream.accuracy, said, estimate.valid, novel, covered), estimate


def cifar(windows: int) -> None:
    file = cifar_file()
    if file is None:
        print("CIFAR-10: skipped, cifar10-vgg16-softmax is not there (VISIONDRIFT_SHARED_DATA, else ../shared/data)\n")
        return
    print("## CIFAR-10, VGG-16")
    print(
        f"{windows} windows of {CIFAR_ROWS} a row; class shares from a Dirichlet of that strength; halves drawn anew "
    )
    print(f"for every {WINDOWS_A_SPLIT} windows\n")
    table(["shares", *METHODS, "in its 90 % interval", "refused"])
    shares_rows = []
    for place, strength in enumerate((None, 1.0, 0.3, 0.1)):
        rng = np.random.default_rng([7, place])
        trials, shares = [], []
        for number in range(windows):
            if number % WINDOWS_A_SPLIT == 0:
                world = Cifar(file, rng)
                reference = world.reference()
                model = fit_performance(reference.evidence, reference.labels, names=NAMES)
            stream, true = world.window(strength, CIFAR_ROWS, rng)
            made, estimate = trial(model, stream)
            trials.append(made)
            shares.append(share_errors(model, stream, true, estimate))
        name = "unmoved" if strength is None else f"Dirichlet {strength}"
        line(name, *error_cells(trials), rate([t.covered for t in trials]), rate([not t.valid for t in trials]))
        shares_rows.append((name, np.asarray(shares)))
    print("\nTrue class shares, summed absolute error over ten classes:\n")
    table(["shares", "the reference's", "predicted", "least squares", "likelihood", "in 90 % interval", "moved"])
    for name, found in shares_rows:
        line(name, *(mean(column, 1, 3) for column in found.T[:4]), mean(found[:, 4], 1, 3), rate(found[:, 5] > 0))
    print()


def share_errors(
    model: PerformanceModel, stream: Stream, true: NDArray[np.float64], estimate: PerformanceEstimate
) -> list[float]:
    """Errors of four guesses at the window's shares (those drawn for the interval), coverage, and whether it moved."""
    shift = estimate.label_shift
    assert shift is not None
    held = np.bincount(stream.labels, minlength=10) / len(stream.labels)
    predicted = np.bincount(stream.evidence.predicted, minlength=10) / len(stream.labels)
    columns = np.array([[c.reference, c.least_squares, c.value, c.low, c.high] for c in shift.classes]).T
    gaps = [float(np.abs(guess - held).sum()) for guess in (columns[0], predicted, columns[1], columns[2])]
    return [*gaps, float(((columns[3] <= true) & (true <= columns[4])).mean()), float(shift.moved)]


def digits(faults: tuple[str, ...], seeds: Sequence[int], repeats: int) -> None:
    trials: list[Trial] = []
    for seed in seeds:
        world = Digits(seed)
        reference = world.reference(np.random.default_rng([1, seed]))
        model = fit_performance(reference.evidence, reference.labels, names=NAMES)
        trials += [trial(model, stream)[0] for stream in faulty(world, faults, 200, repeats, seed)]
        print(f"## Digits, classifier {seed}: accuracy {model.accuracy:.3f} on {len(reference.labels)} labelled rows")
    clear, broken = [t for t in trials if t.severity == 0], [t for t in trials if t.severity > 0]
    print(f"\n{len(broken)} windows of 200 through {len(faults)} faults at {len(SEVERITIES)} severities\n")
    table(["windows", "number", *METHODS, "ours in its 90 % interval"])
    for name, chosen in (
        ("no fault", clear),
        ("all faults", broken),
        ("where the estimate was given", [t for t in broken if t.valid]),
        ("where it was refused", [t for t in broken if not t.valid]),
        *((f"severity {s}", [t for t in broken if t.severity == s]) for s in SEVERITIES),
        *((fault, [t for t in broken if t.fault == fault]) for fault in faults),
    ):
        if chosen:
            line(name, str(len(chosen)), *error_cells(chosen), rate([t.covered for t in chosen]))
    refusals(clear, broken)


def refusals(clear: list[Trial], broken: list[Trial]) -> None:
    print(f"\nWas it right to refuse? An estimate is bad if it is off by more than {TOLERANCE:.0%}.\n")
    table(
        ["windows", "refused", "right to refuse", "right to speak", "bad estimates that were refused", "bad, too high"]
    )
    for name, chosen, refused in (
        ("no fault", clear, [not t.valid for t in clear]),
        ("all faults", broken, [not t.valid for t in broken]),
        ("all faults, refusing by novelty instead", broken, [t.novel for t in broken]),
    ):
        bad = np.array([abs(t.errors[-1]) > TOLERANCE for t in chosen])
        high = np.array([t.errors[-1] > TOLERANCE for t in chosen])
        no = np.array(refused)
        line(name, rate(no), rate(bad[no]), rate(~bad[~no]), rate(no[bad]), rate(no[high]))
    print()


def cost() -> None:
    """CPU seconds at 5,000 x 512 with ten classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 10_000).astype(np.int32)
    embeddings = (rng.normal(size=(10, 512))[labels] + 2 * rng.normal(size=(10_000, 512))).astype(np.float32)
    logits = rng.normal(size=(10_000, 10)) + 3 * np.eye(10)[labels]
    confidences = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    half = [
        Evidence(confidences[rows], confidences[rows].argmax(axis=1).astype(np.int32), embeddings[rows])
        for rows in (slice(0, 5000), slice(5000, None))
    ]
    begun = time.process_time()
    model = fit_performance(half[0], labels[:5000], names=NAMES)
    fitted = time.process_time()
    estimate_performance(model, half[1])
    print("## Cost, 5,000 x 512 and 10 classes, CPU seconds\n")
    table(["fit", "one window"])
    line(f"{fitted - begun:.2f}", f"{time.process_time() - fitted:.2f}")


def error_cells(trials: Iterable[Trial]) -> list[str]:
    """Mean absolute error, its 90th percentile, and the mean error with its sign, each with its Monte-Carlo error."""
    errors = 100 * np.array([t.errors for t in trials])
    cells = []
    for column in errors.T:
        if np.isnan(column).all():
            cells.append("none")
            continue
        sizes = np.abs(column)
        again = np.random.default_rng(0).choice(sizes, size=(BOOTSTRAPS, len(sizes)))
        worst = f"{np.quantile(sizes, 0.9):.1f} ± {np.quantile(again, 0.9, axis=1).std():.1f}"
        cells.append(f"{mean(sizes, 1, 1)} / {worst} ({mean(column, 1, 1, sign='+')})")
    return cells


def mean(values: NDArray[np.float64], scale: float, decimals: int, *, sign: str = "") -> str:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{scale * values.mean():{sign}.{decimals}f} ± {scale * error:.{decimals}f}"


def rate(hits: Sequence[bool] | NDArray[np.bool_]) -> str:
    if not len(hits):
        return "none"
    share = float(np.mean(hits))
    # None of so many, or all of them, is not sure either: the error of one.
    error = np.sqrt(max(share * (1 - share), 1 / len(hits)) / len(hits))
    return f"{share:.0%} ± {error:.0%} of {len(hits)}"


def table(columns: list[str]) -> None:
    line(*columns)
    line(*["---"] * len(columns))


def line(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--development", action="store_true", help="the development faults, not the reported ones")
    arguments = parser.parse_args()
    faults = tuple(DEVELOPMENT) if arguments.development else (*OWN, *MADE)
    begun = time.monotonic()
    print(
        "Cells: mean absolute error / 90th percentile (mean signed error) in percentage points, ± Monte-Carlo error.\n"
    )
    if not arguments.development:
        cifar(24 if arguments.quick else 200)
    digits(faults, seeds=(0,) if arguments.quick else (0, 1, 2), repeats=1 if arguments.quick else 3)
    if not arguments.development:
        cost()
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
