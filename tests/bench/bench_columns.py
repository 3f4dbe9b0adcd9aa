"""What the column scores cost: 5,000 rows of 512 columns against as many, beside Evidently's over the same columns.

    python tests/bench/bench_columns.py            with Evidently's stock preset (a minute)
    python tests/bench/bench_columns.py --quick    without it

CPU seconds of this process, limited to one thread, least of several repetitions; memory is the peak that numpy asks
for beyond what goes in. Exits 1 where a ratio falls short, a share is not Evidently's, or growth is not linear.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import argparse
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.columns.binned import bin_columns, hellinger, jensen_shannon, psi
from visiondrift.drift.columns.distances import (
    drifted_share,
    mean_shift,
    prepare_columns,
    quantile_shift,
    wasserstein,
    wasserstein_normed,
)
from visiondrift.drift.columns.ks import ks_pvalue, ks_statistic
from visiondrift.drift.columns.ordered import OrderedColumns, PreparedColumns, order_window
from visiondrift.drift.columns.table import ColumnScores, score_columns

Matrix = NDArray[np.float32]

PRESET_RATIO, COUNT_RATIO, SORT_RATIO = 100, 20, 4
NUMPY_SORT, OWN_SORT = "sort of the window alone, numpy.sort(axis=0)", "sort of the window alone, ours"
LINEAR = 1.15
"""The exponent up to which growth counts as linear; sorting has n log n, which over the range here is 1.09."""

EVIDENTLY_THRESHOLD = 0.1


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the fastest repetition, and the megabytes that one more took at most."""

    seconds: float
    megabytes: float
    result: Any


def measure(work: Callable[[], Any], repetitions: int = 7) -> Cost:
    """The cost of ``work``. Memory is watched in a run of its own, because watching takes time."""
    seconds, result = [], None
    for _ in range(repetitions):
        begun = time.process_time()
        result = work()
        seconds.append(time.process_time() - begun)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Cost(min(seconds), peak / 1e6, result)


def embeddings(rng: np.random.Generator, rows: int, columns: int, shift: float = 0.0) -> Matrix:
    """Unit vectors in a narrow cone."""
    drawn = rng.normal(1 + shift, 1, size=(rows, columns))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def ks_and_wasserstein(reference: PreparedColumns, window: Matrix) -> tuple[Any, ...]:
    """What the acceptance speaks of: both from an unsorted window, the p-value and the share included."""
    compared = order_window(reference, window)
    distances = wasserstein_normed(reference, compared)
    statistic = ks_statistic(reference, compared)
    pvalue = ks_pvalue(statistic, reference.rows, compared.rows)
    return statistic, pvalue, distances, drifted_share(distances, EVIDENTLY_THRESHOLD)


def ours(matrix: Matrix, window: Matrix) -> dict[str, Cost]:
    """Each step by itself, then what a caller asks for."""
    reference = prepare_columns(matrix)
    compared = order_window(reference, window)
    binned = bin_columns(reference, compared)
    statistic = ks_statistic(reference, compared)
    fewer = order_window(reference, window[:-1])
    fewer_statistic = ks_statistic(reference, fewer)
    n = reference.rows
    steps: dict[str, tuple[Callable[[], Any], int]] = {
        NUMPY_SORT: (lambda: np.sort(window, axis=0), 7),
        OWN_SORT: (lambda: order_window(reference, window), 7),
        "  KS statistic": (lambda: ks_statistic(reference, compared), 7),
        "  KS p-value, equal sizes": (lambda: ks_pvalue(statistic, n, n), 7),
        "  Wasserstein": (lambda: wasserstein(reference, compared), 7),
        "  mean and quantile shifts": (
            # Columns remember their means, so every repetition has new ones.
            lambda: (mean_shift(reference, OrderedColumns(compared.ordered)), quantile_shift(reference, compared)),
            7,
        ),
        "  bins of PSI and Jensen-Shannon": (lambda: bin_columns(reference, compared), 7),
        "  PSI and Jensen-Shannon from bins": (lambda: (psi(binned), jensen_shannon(binned)), 7),
        "  Hellinger, bins as those where they are as many": (
            lambda: hellinger(reference, compared, binned=binned),
            7,
        ),
        "  one row fewer: KS statistic": (lambda: ks_statistic(reference, fewer), 7),
        "  one row fewer: Wasserstein": (lambda: wasserstein(reference, fewer), 7),
        "  one row fewer: KS p-value, exact": (lambda: ks_pvalue(fewer_statistic, n, n - 1), 1),
        "reference, prepared once": (lambda: prepare_columns(matrix), 7),
        "KS with p-value + Wasserstein + share": (lambda: ks_and_wasserstein(reference, window), 7),
        "every score": (lambda: score_columns(reference, window), 7),
        "every score, reference prepared for it": (lambda: score_columns(prepare_columns(matrix), window), 7),
    }
    return {name: measure(work, repetitions) for name, (work, repetitions) in steps.items()}


def evidentlys(matrix: Matrix, window: Matrix, *, preset: bool) -> dict[str, Cost]:
    """Evidently's count of drifted columns and, if asked for, its preset with the HTML; the result is the share."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from evidently import Report
        from evidently.metrics import DriftedColumnsCount
        from evidently.presets import DataDriftPreset

        names = [f"e{column}" for column in range(matrix.shape[1])]
        current, old = (pd.DataFrame(side.astype(np.float64), columns=names) for side in (window, matrix))

        def share(metric: Any, *, draw: bool) -> float:
            snapshot = Report([metric], include_tests=False).run(current, old)
            if draw:
                snapshot.get_html_str(as_iframe=False)
            return float(snapshot.dict()["metrics"][0]["value"]["share"])

        asked = {"Evidently's DriftedColumnsCount": lambda: share(DriftedColumnsCount(), draw=False)}
        if preset:
            asked["Evidently's DataDriftPreset, HTML"] = lambda: share(DataDriftPreset(), draw=True)
        costs = {}
        for name, work in asked.items():
            begun = time.process_time()
            result = work()
            costs[name] = Cost(time.process_time() - begun, float("nan"), result)
    return costs


def growth(rng: np.random.Generator, rows: int, columns: int) -> list[tuple[str, list[tuple[int, Cost]], float]]:
    """Costs of every score along rows and along columns, and the exponent of the line through their logarithms."""
    table = []
    for name, shapes in (
        ("rows", [(rows * k // 4, columns) for k in (1, 2, 4, 8, 16)]),
        ("columns", [(rows, columns * k // 4) for k in (1, 2, 4, 8)]),
    ):
        costs = []
        for n, d in shapes:
            matrix, window = embeddings(rng, n, d), embeddings(rng, n, d, 0.1)
            reference = prepare_columns(matrix)
            cost = measure(lambda ref=reference, win=window: score_columns(ref, win), 3)
            costs.append((n if name == "rows" else d, cost))
        along, seconds = zip(*[(size, cost.seconds) for size, cost in costs], strict=True)
        table.append((name, costs, float(np.polyfit(np.log(along), np.log(seconds), 1)[0])))
    return table


def show(costs: dict[str, Cost], base: float) -> None:
    """One line a cost, and how many sorts of the window it takes."""
    width = max(map(len, costs))
    print(f"{'':{width}}  CPU ms   sorts    MB")
    for name, cost in costs.items():
        memory = "" if np.isnan(cost.megabytes) else f"{cost.megabytes:5.0f}"
        print(f"{name:{width}} {cost.seconds * 1e3:7.1f} {cost.seconds / base:7.1f} {memory}")


def verdict(claim: str, *, holds: bool) -> bool:
    """Print a claim and whether it holds."""
    print(f"{'holds' if holds else 'FAILS'}  {claim}")
    return holds


def ratios(own: dict[str, Cost], stock: dict[str, Cost], base: float) -> list[bool]:
    """The claims of the acceptance, by the dearest reading: every score, and the reference prepared for it.

    Of sorts there are two: numpy's, of the window as it comes, and ours, which lays the columns out first and is much
    faster.
    """
    both, dearest = own["KS with p-value + Wasserstein + share"], own["every score, reference prepared for it"]
    held = []
    for name, cost, sort, alone in (
        ("every score and its reference take", dearest, "numpy's sorts", own[NUMPY_SORT].seconds),
        ("KS and Wasserstein take", both, "of our own sorts", base),
    ):
        spent = cost.seconds / alone
        claim = f"{name} {spent:.1f} {sort} of the window (at most {SORT_RATIO})"
        held.append(verdict(claim, holds=spent <= SORT_RATIO))
    for name, cost in stock.items():
        least = PRESET_RATIO if "Preset" in name else COUNT_RATIO
        ratio, of_both = cost.seconds / dearest.seconds, cost.seconds / both.seconds
        claim = f"{name}: {ratio:.0f} times every score and its reference (at least {least}), {of_both:.0f} times both"
        held.append(verdict(claim, holds=ratio >= least))
        held.append(verdict(f"{name}: share {cost.result:.4f} is ours", holds=cost.result == both.result[3]))
    return held


def main() -> int:
    """Measure, print, and say by the exit status whether all claims hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out Evidently's stock preset")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--columns", type=int, default=512)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    matrix = embeddings(rng, given.rows, given.columns)
    window = embeddings(rng, given.rows, given.columns, 0.1)
    window[:, ::3] += 0.2 * matrix.std(axis=0)[::3]
    print(f"{given.rows:,} x {given.columns} against {given.rows:,} x {given.columns}, float32\n")
    own = ours(matrix, window)
    base = min(cost.seconds for name, cost in own.items() if name.startswith("sort of the window"))
    stock = evidentlys(matrix, window, preset=not given.quick)
    show(own | stock, base)
    print()
    held = ratios(own, stock, base)
    fields = len(ColumnScores.__dataclass_fields__)
    print(f"\nGrowth of every score ({fields} of them), reference prepared")
    for name, costs, exponent in growth(rng, given.rows, given.columns):
        shown = [f"{size:>6,}: {cost.seconds * 1e3:3.0f} ms {cost.megabytes:2.0f} MB" for size, cost in costs]
        print("  ".join([f"{name:7}", *shown]))
        held.append(verdict(f"grows with {name} to the power of {exponent:.2f}", holds=exponent <= LINEAR))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
