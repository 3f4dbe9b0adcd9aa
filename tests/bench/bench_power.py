"""What each method sees where something has drifted, at equal realised false alarms; and how soon.

    python tests/bench/bench_power.py --quick         one cloud, 128 columns
    python tests/bench/bench_power.py                 two clouds, rows independent and correlated within scenes
    python tests/bench/bench_power.py --only delay    ticks to detection alone

Every method's threshold is the 95th percentile of its own score over no-drift windows of the same references, so a
method gains nothing by crying wolf and loses nothing by a wrong limit. The seven shifts and their sizes are those of
``worlds.py``. Errors are bootstrapped over windows, those that set the thresholds included; the best peer is picked
anew in every cell, which favours the peers.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from peers import MODEL, PEERS
from prepared import FIRST_SEED, OURS, REFERENCE_ROWS, Prepared, head, line, references
from streams import episodes, remembered, ticks
from worlds import SHIFTS, World

PLAN = {("cone", 512): (0.0, 0.3), ("isotropic", 128): (0.0, 0.3)}
DELAY_PLAN = {("cone", 512): (0.0, 0.3)}
DELAY_ROWS = (REFERENCE_ROWS, 4 * REFERENCE_ROWS)
QUICK = {("cone", 128): (0.3,)}
SIZES = (50, 200, 500)
BOOTSTRAPS = 200
BEFORE = 40
RUN_LENGTH = 500
"""Ticks between false alarms, of every detector whose delay is compared."""

Scores = dict[tuple[str, str], NDArray[np.float64]]
"""(method, shift) -> scores of the same windows in the same order; NaN where a slow method was spared."""


def power(args: argparse.Namespace) -> None:
    """Shares of shifted windows beyond each method's own 95th percentile."""
    print(
        f"{args.references} references of 5,000 rows, {args.windows} windows of each shift and twice as many without."
    )
    print(f"{MODEL} (slow) on a third of these. ± is the standard error; a cell's is at most ")
    print(f"{0.5 / np.sqrt(args.references * args.windows):.2f}, a mean's a third of that.\n")
    comparisons = []
    for name, prepared in references(args, PLAN if not args.quick else QUICK):
        by_size: dict[int, dict[tuple[str, str], list[float]]] = {size: defaultdict(list) for size in SIZES}
        for one in prepared:
            for size, scores in by_size.items():
                gather(one, size, args.windows, scores)
        for size, gathered in by_size.items():
            scores = {key: np.array(values) for key, values in gathered.items()}
            comparisons.append(compare(f"{name}, {size} rows", scores, SHIFTS, PEERS))
    verdict(comparisons, SHIFTS, PEERS)


def gather(one: Prepared, size: int, windows: int, scores: dict[tuple[str, str], list[float]]) -> None:
    """The scores of one reference's windows, added to ``scores``."""
    for shift in ("", *SHIFTS):
        for which in range(windows * (1 if shift else 2)):
            rows, of_row = one.world.shifted(shift).draw(size, one.rng)
            found = {OURS: one.ours(rows, of_row)[OURS]} | one.peers.judge(rows, permute=False, slow=which % 3 == 0)
            for method, (_, score) in found.items():
                scores[method, shift].append(score)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Of one table: ours less the best peer of each shift, and of the mean, with errors; every method's mean."""

    title: str
    gap: NDArray[np.float64]
    error: NDArray[np.float64]
    means: NDArray[np.float64]


def compare(title: str, scores: Scores, shifts: Sequence[str], peers: Sequence[str]) -> Comparison:
    """Print the power of every method."""
    methods = (OURS, *peers)
    rng = np.random.default_rng(0)
    found = powers(scores, shifts, methods, None)
    again = np.array([powers(scores, shifts, methods, rng) for _ in range(BOOTSTRAPS)])
    print(f"\n{title}\n")
    head("method", *shifts, "mean")
    for method, row, errors in zip(methods, found, np.nanstd(again, axis=0), strict=True):
        cells = [f"{value:.2f}" for value in row[:-1]] + [f"{row[-1]:.2f} ± {errors[-1]:.2f}"]
        line(*(f"**{cell}**" if method == OURS else cell for cell in (method, *cells)))
    best = found[1:].argmax(axis=0) + 1
    columns = np.arange(found.shape[1])
    gap = found[0] - found[best, columns]
    # Of a slow method's few scores a draw may hold none: it says nothing of the error.
    error = np.nanstd(again[:, 0] - again[:, best, columns], axis=0)
    line(
        f"{OURS} less the best peer",
        *(f"{g:+.2f} ± {e:.2f} ({methods[b]})" for g, e, b in zip(gap, error, best, strict=True)),
    )
    return Comparison(title.split(":", maxsplit=1)[0], gap, error, found[:, -1])


def powers(
    scores: Scores, shifts: Sequence[str], methods: Sequence[str], rng: np.random.Generator | None
) -> NDArray[np.float64]:
    """(methods, shifts + 1) shares beyond the 95th percentile, and their mean; with ``rng`` of windows drawn anew."""

    def drawn(shift: str) -> NDArray[np.float64]:
        values = np.array([scores[method, shift] for method in methods])
        return values if rng is None else values[:, rng.integers(0, values.shape[1], values.shape[1])]

    limits = np.nanquantile(drawn(""), 0.95, axis=1, keepdims=True)
    seen = []
    for shift in shifts:
        values = drawn(shift)
        seen.append(np.where(np.isnan(values), np.nan, values > limits))
    shares = np.nanmean(np.array(seen), axis=2).T
    return np.hstack([shares, shares.mean(axis=1, keepdims=True)])


def verdict(comparisons: list[Comparison], shifts: Sequence[str], peers: Sequence[str]) -> None:
    """Every method's mean over all tables, and where VisionDrift is behind by more than two standard errors."""
    means = np.mean([one.means for one in comparisons], axis=0)
    print(f"\nMean over the {len(comparisons)} tables above:\n")
    head(f"**{OURS}**", *peers)
    line(f"**{means[0]:.2f}**", *(f"{mean:.2f}" for mean in means[1:]))
    behind = [
        f"{one.title}, {shift} ({one.gap[place]:+.2f} ± {one.error[place]:.2f})"
        for one in comparisons
        for place, shift in enumerate(shifts)
        if one.gap[place] < -2 * one.error[place]
    ]
    print(
        f"\nOf {len(comparisons) * len(shifts)} cells {OURS} is behind the best peer of that very cell by more than two"
    )
    print(f"standard errors in {len(behind)}: {'; '.join(behind) or 'nowhere'}.")
    behind = [
        f"{one.title} ({one.gap[-1]:+.2f} ± {one.error[-1]:.2f})"
        for one in comparisons
        if one.gap[-1] < -2 * one.error[-1]
    ]
    print(f"By the mean of a table it is so in {len(behind)} of {len(comparisons)}: {'; '.join(behind) or 'nowhere'}.")


def delay(args: argparse.Namespace) -> None:
    """Ticks of 50 rows until half-size shifts are found, at one alarm in ``RUN_LENGTH`` ticks for every detector."""
    of_peace, patience = (200, 100) if args.quick else (600, 150)
    print(f"Ticks of 50 rows until a half-size shift is found, at one alarm in {RUN_LENGTH} ticks without drift for")
    print("every detector (its limit is set on streams of the same references): median, and the range over references.")
    print(
        f"{args.references} references, {of_peace} ticks without drift each; >{patience}: not found by then. Drift sets"
    )
    print(f"in after {BEFORE} ticks without, so that memories are full of what was normal.")
    for rows in DELAY_ROWS[: 1 if args.quick else None]:
        print(f"\nReferences of {rows:,} rows\n")
        head("world", "detector", *SHIFTS)
        _delays(args, rows, of_peace, patience)


def _delays(args: argparse.Namespace, rows: int, of_peace: int, patience: int) -> None:
    for name, prepared in references(args, DELAY_PLAN if not args.quick else QUICK, rows):
        peace: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        trouble: dict[tuple[str, str], list[NDArray[np.float64]]] = defaultdict(list)
        for one in prepared:
            for method, values in follow(one, one.world, of_peace).items():
                peace[method].append(values)
            for shift in SHIFTS:
                for method, values in follow(one, one.world.shifted(shift, 0.5), patience).items():
                    trouble[method, shift].append(values)
        for method, values in peace.items():
            limit = run_length_limit(values, RUN_LENGTH)
            cells = []
            for shift in SHIFTS:
                found = [first_above(v, limit, patience) for v in trouble[method, shift]]
                words = [f">{patience}" if d > patience else f"{d:.0f}" for d in (np.median(found), *found)]
                low, high = (words[1 + int(place)] for place in (np.argmin(found), np.argmax(found)))
                cells.append(f"{words[0]} ({low}-{high})")
            line(name, method, *cells)


def follow(one: Prepared, world: World, count: int) -> dict[str, NDArray[np.float64]]:
    """Every detector's score at each of ``count`` ticks of 50 rows, after ``BEFORE`` ticks of the reference's world."""
    stream = [*ticks(one.world, BEFORE, 50, one.rng), *ticks(world, count, 50, one.rng)]
    found = list(remembered(one.detector, iter(stream)))
    scores = {f"{OURS}, {name}": np.array([each[name] for each in found]) for name in found[0]}
    scores["Evidently: share of columns, a tick"] = np.array([one.peers.share(x) for x, _ in stream])
    scores["cosine of means, a tick"] = np.array([one.peers.cosine(x) for x, _ in stream])
    mean, faded = stream[0][0].mean(axis=0), []
    for x, _ in stream:
        mean = 0.95 * mean + 0.05 * x.mean(axis=0)
        faded.append(one.peers.cosine(mean[None, :]))
    scores["cosine of means, memory 0.05"] = np.array(faded)
    return {method: values[BEFORE:] for method, values in scores.items()}


def run_length_limit(peace: list[NDArray[np.float64]], length: float) -> float:
    """The lowest limit that is passed anew once in ``length`` ticks at most."""
    allowed = sum(map(len, peace)) / length
    for limit in np.unique(np.concatenate(peace)):
        if sum(episodes(values > limit) for values in peace) <= allowed and limit > np.median(peace[0]):
            return float(limit)
    return float("inf")


def first_above(values: NDArray[np.float64], limit: float, patience: int) -> int:
    """The first tick above ``limit``, counted from 1."""
    above = np.flatnonzero(values > limit)
    return int(above[0]) + 1 if len(above) else patience + 1


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["power", "delay"], action="append")
    parser.add_argument("--references", type=int)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--windows", type=int)
    parser.add_argument("--rho", action="append", type=float)
    args = parser.parse_args()
    args.references = args.references or (3 if args.quick else 5)
    args.windows = args.windows or (3 if args.quick else 6)
    for which, table in (("power", power), ("delay", delay)):
        if not args.only or which in args.only:
            table(args)


if __name__ == "__main__":
    main()
