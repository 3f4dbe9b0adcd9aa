"""A reference of a world, ready for every method, and the worlds that the tables are made with.

Building a detector takes seconds and several tables ask for the same ones, so they are kept under build/bench/, by a
digest of the code that made them.
"""

import argparse
import hashlib
import pickle
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers import Peers, Scores
from worlds import CLOUDS, World

from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.calibration.nulls import Shortage
from visiondrift.drift.embedding.detector import Detector, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import block_moments

ROOT = Path(__file__).resolve().parents[2]
REFERENCE_ROWS = 5_000
OURS = "VisionDrift"
FIRST_SEED = 1000
"""Of the worlds that are reported. Seeds 0 to 99 of the same kinds were looked at while methods were settled."""

Row = NDArray[np.float32]
Labels = NDArray[np.intp]


class Prepared:
    """One reference of ``world``: ``count`` rows, detector, peers; and the generator of what is drawn afterwards."""

    def __init__(self, world: World, name: str, seed: int, count: int = REFERENCE_ROWS) -> None:
        self.world = self._of_reference = world
        self.name = f"{name} {count} {seed}"
        self.seed = seed
        self.count = count
        self.rng = np.random.default_rng((seed, 12))

    @cached_property
    def drawn(self) -> tuple[Row, Labels]:
        return self._of_reference.draw(self.count, np.random.default_rng((self.seed, 11)))

    @property
    def rows(self) -> Row:
        return self.drawn[0]

    @cached_property
    def detector(self) -> Detector:
        rows, of_row = self.drawn
        return kept(self.name, lambda: build_detector(rows, labelled_blocks(of_row), seed=self.seed))

    @cached_property
    def peers(self) -> Peers:
        return Peers(self.rows, np.random.default_rng((self.seed, 13)))

    def ours(self, rows: Row, of_row: Labels) -> Scores:
        """Of one window: all of it together, then its single statistics."""
        return ours(self.detector, rows, of_row)


def ours(detector: Detector, rows: Row, of_row: Labels) -> Scores:
    """What the detector says of one window without slices; p 1 where it says nothing."""
    y = detector.reference.basis.project(rows)
    moments = block_moments(y, of_row, int(of_row[-1]) + 1).together()
    found = detector.look("all", {"": moments}, WindowRows(y, of_row))
    if found is None or isinstance(found, Shortage):
        return {OURS: (1.0, 0.0)}
    return {OURS: (found.p, found.surprise)} | {name: (s.p, -np.log10(s.p)) for name, s in found.scores.items()}


def kept(name: str, build: Callable[[], Detector]) -> Detector:
    """The detector ``name`` from build/bench/, or built and put there."""
    file = ROOT / "build" / "bench" / _digest() / f"{name.replace(' ', '-')}.pickle"
    if file.is_file():
        return pickle.loads(file.read_bytes())  # noqa: S301  # our own file
    detector = build()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(detector))
    return detector


@cache
def _digest() -> str:
    """Of the code that makes a reference and a detector of it."""
    statistics = sorted((ROOT / "exporter" / "visiondrift" / "drift").rglob("*.py"))
    text = b"".join(path.read_bytes() for path in [*statistics, Path(__file__).with_name("worlds.py")])
    return hashlib.sha256(text).hexdigest()[:12]


def references(
    args: argparse.Namespace, plan: dict[tuple[str, int], tuple[float, ...]], count: int = REFERENCE_ROWS
) -> Iterator[tuple[str, Iterator[Prepared]]]:
    """For each world of ``plan`` ((cloud, columns): correlations) its name and its references of ``count`` rows, made
    when asked for.
    """
    for (cloud, d), rhos in plan.items():
        for rho in args.rho or rhos:
            name = f"{cloud} {d}, rho {rho:g}"
            seeds = range(args.first_seed, args.first_seed + args.references)
            yield name, (Prepared(CLOUDS[cloud](d, rho, seed), name.replace(",", ""), seed, count) for seed in seeds)


def rate(hits: list[list[bool]]) -> str:
    """A share with its standard error, from one list of hits a reference.

    The error is that between references or the binomial one, whichever is larger: windows of one reference share its
    luck.
    """
    each = np.array([np.mean(of_one) for of_one in hits])
    total = sum(map(len, hits))
    binomial = np.sqrt(max(each.mean() * (1 - each.mean()), 1 / total) / total)
    between = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0.0
    return f"{each.mean():.3f} ± {max(binomial, between):.3f}"


def head(*cells: str) -> None:
    """The first two lines of a Markdown table."""
    line(*cells)
    line(*["---"] * len(cells))


def line(*cells: str) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)
