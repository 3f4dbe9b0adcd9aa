"""What judging embeddings costs: a window of 5,000 x 512, a hundred slices of 1,000 x 512, and how both grow.

    python tests/bench/bench_detector.py --quick     without the hundred slices
    python tests/bench/bench_detector.py

From embeddings to a p: projection, moments of every block, and the look with its neighbours. CPU seconds of this
process, limited to one thread, least of several repetitions; memory is the peak that numpy asks for beyond what goes
in. What an evaluation costs around it (log, columns, report) is measured elsewhere. Exits 1 where growth with rows,
slices, or columns that are projected already, is not linear, and where the projection costs more than it must: it is a
product of rows, columns and axes, of which there are as many as columns (1,024 at most).
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import sys
import time
from functools import partial

import numpy as np
from bench_columns import LINEAR, Cost, measure
from numpy.typing import NDArray
from prepared import head, line
from worlds import cone

from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import block_moments

COLUMNS, ROWS, SCENE = 512, 5_000, 10
SLICES, SLICE_ROWS = 100, 1_000
SQUARE = 2.0
"""What a product of columns and as many axes may grow with at most."""

WIDEST, WIDEST_BUDGET = 1_024, 0.5
"""Columns of the widest window, and what it may cost in CPU seconds; beyond it no more axes are kept."""


def detector(columns: int, slices: int, rows: int, *, quickly: bool = True) -> tuple[Detector, float]:
    """Of so many slices with so many reference rows each, and the CPU seconds it took.

    What a look costs does not depend on how often its null was drawn: ``quickly`` draws it seldom.
    """
    x, scenes, names = stream(columns, slices, rows, seed=1)
    begun = time.process_time()
    how = {"splits": 1, "draws": 20} if quickly else {}
    built = build_detector(x, labelled_blocks(scenes, names), seed=1, **how)
    return built, time.process_time() - begun


def stream(
    columns: int, slices: int, rows: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.str_]]:
    """Rows in scenes of ten, slice after slice; the scene and the slice of each row."""
    x, _ = cone(columns, 0.3).draw(slices * rows, np.random.default_rng((seed, 71)))
    return x, np.arange(slices * rows) // SCENE, np.repeat([f"slice {n:03}" for n in range(slices)], rows)


def one_window(built: Detector, x: NDArray[np.float32], scenes: NDArray[np.intp], name: str) -> float:
    """Its p."""
    return judged(built, built.reference.basis.project(x), scenes, name)


def judged(built: Detector, y: NDArray[np.float32], scenes: NDArray[np.intp], name: str) -> float:
    """The same from coordinates."""
    moments = block_moments(y, scenes, int(scenes[-1]) + 1).together()
    found = built.look(name, {name: moments}, WindowRows(y, scenes))
    assert isinstance(found, EmbeddingEvidence)
    return found.p


def every_slice(built: Detector, x: NDArray[np.float32], names: NDArray[np.str_], rows: int) -> list[float]:
    """The p of each slice, and of all together by their moments, which are added up and not counted anew."""
    scenes = np.arange(rows) // SCENE
    moments, looks = {}, []
    for start in range(0, len(x), rows):
        name = str(names[start])
        y = built.reference.basis.project(x[start : start + rows])
        moments[name] = block_moments(y, scenes, int(scenes[-1]) + 1).together()
        looks.append(built.look(name, {name: moments[name]}, WindowRows(y, scenes)))
    looks.append(built.look("all", moments, None))
    return [look.p for look in looks if isinstance(look, EmbeddingEvidence)]


def row(what: str, cost: Cost, note: str = "") -> None:
    line(what, f"{cost.seconds:.3f}", f"{cost.megabytes:.0f}", note)


def exponent(sizes: list[int], costs: list[Cost]) -> float:
    """Of the line through the logarithms; below one where a constant part is still to be seen."""
    return float(np.polyfit(np.log(sizes), np.log([cost.seconds for cost in costs]), 1)[0])


def main() -> int:
    """Measure, print, and say by the exit status whether growth is linear."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    built, seconds = detector(COLUMNS, 1, ROWS, quickly=False)
    x, scenes, _ = stream(COLUMNS, 1, 4 * ROWS, seed=2)
    # A single slice is all there is, and has its name.
    name = "slice 000"
    head("what", "CPU s", "MB", "")
    line(f"reference {ROWS:,} x {COLUMNS}, fitted and calibrated once", f"{seconds:.1f}", "", "")
    y = built.reference.basis.project(x[:ROWS])
    row(f"window {ROWS:,} x {COLUMNS}: projection", measure(lambda: built.reference.basis.project(x[:ROWS]), 5))
    row("  moments of its 500 scenes", measure(lambda: block_moments(y, scenes[:ROWS], ROWS // SCENE), 5))
    row("all of it to a p, neighbours included", measure(lambda: one_window(built, x[:ROWS], scenes[:ROWS], name), 5))
    growths: list[tuple[str, list[int], list[Cost], float]] = []
    sizes = [ROWS // 4, ROWS // 2, ROWS, 2 * ROWS, 4 * ROWS]
    costs = [measure(partial(one_window, built, x[:n], scenes[:n], name), 3) for n in sizes]
    growths.append(("rows", sizes, costs, LINEAR))
    columns, costs, after = [128, 256, 512, WIDEST], [], []
    for d in columns:
        narrow = detector(d, 1, 1_500)[0]
        wide, of_row, _ = stream(d, 1, ROWS, seed=3)
        costs.append(measure(partial(one_window, narrow, wide, of_row, name), 3))
        after.append(measure(partial(judged, narrow, narrow.reference.basis.project(wide), of_row, name), 3))
    growths += [("columns", columns, costs, SQUARE), ("columns, projection left out", columns, after, LINEAR)]
    widest = costs[-1].seconds
    if not given.quick:
        slices, costs = [10, 30, SLICES], []
        many = detector(COLUMNS, SLICES, SLICE_ROWS)[0]
        x, _, names = stream(COLUMNS, SLICES, SLICE_ROWS, seed=4)
        for count in slices:
            part = count * SLICE_ROWS
            began = time.perf_counter()
            cost = measure(partial(every_slice, many, x[:part], names[:part], SLICE_ROWS), 2)
            wall = (time.perf_counter() - began) / 3
            costs.append(cost)
        row(f"{SLICES} slices of {SLICE_ROWS:,} x {COLUMNS}, all p", costs[-1], f"{wall:.1f} s by the clock, one core")
        growths.append(("slices", slices, costs, LINEAR))
    print("\nGrowth, all to a p:\n")
    head("with", "CPU s", "MB", "exponent", "at most")
    held = [widest <= WIDEST_BUDGET]
    for what, sizes, costs, most in growths:
        power = exponent(sizes, costs)
        seconds_of = ", ".join(f"{n:,}: {cost.seconds:.3f}" for n, cost in zip(sizes, costs, strict=True))
        megabytes = ", ".join(f"{cost.megabytes:.0f}" for cost in costs)
        line(what, seconds_of, megabytes, f"{power:.2f}", f"{most:g}")
        held.append(power <= most)
    print(f"\n{'All' if all(held) else 'NOT ALL'} of these hold, and the widest window, {ROWS:,} x {WIDEST:,}, costs")
    print(f"{widest:.2f} CPU s of at most {WIDEST_BUDGET}.")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
