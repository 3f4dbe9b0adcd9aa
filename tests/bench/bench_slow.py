"""What changes slowly and is no drift: how lively a scene is, how noisy a sensor is by night, how soon it gets dark.

    python tests/bench/bench_slow.py --quick     two references of each world
    python tests/bench/bench_slow.py             twelve

A healthy camera for five days as reference, and ten days later for ten days, in windows of one hour and of six. Its
blocks are estimated, and its evidence is that of the eight statistics. Scenes stay alike for two minutes or for fifteen
seconds: then a block is two minutes, and an hour's window has dozens of blocks, all of the same hour.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prepared import FIRST_SEED, head, line, rate

from visiondrift.drift.calibration.blocks import block_seconds, timed_blocks
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.hours import fit_day, hour_of
from visiondrift.drift.embedding.moments import block_moments
from visiondrift.signals import ALL_SLICES

DAY, HOUR = 86_400.0, 3_600.0
BEGIN = 20_000 * DAY
REFERENCE_DAYS, LIVE_DAYS, APART_DAYS = 5, 10, 15
COLUMNS, CONTENT = 32, 12
"""Of an embedding, and directions of these in which scenes differ."""

SCENES = {"2 min": (120.0, 60.0), "15 s": (15.0, 10.0)}
"""How long a third of a scene is left, and how long it is from one frame to the next, in seconds."""

WINDOWS = (1, 6)
"""Hours."""

PARTS = {"night": (20, 6), "twilight": (5, 8), "day": (8, 18)}


@dataclass(frozen=True)
class World:
    """By night content is ``content`` times as far from its mean as by day, noise ``noise`` times; it gets dark in an
    hour or two, or ``abruptly`` in half of one. How lively scenes are wanders by ``lively`` (a standard deviation of
    the logarithm), with a memory of an hour.
    """

    content: float = 1.0
    noise: float = 1.0
    lively: float = 0.0
    abruptly: bool = False

    @property
    def has_nights(self) -> bool:
        """Whether it ever gets dark."""
        return self.content != 1.0 or self.noise != 1.0


WORLDS = {
    "nothing changes": World(),
    "livelier by 15 % for an hour or so": World(lively=0.15),
    "livelier by 30 % for an hour or so": World(lively=0.3),
    "nights are less lively, and less noisy": World(content=0.6, noise=0.6),
    "nights are twice as noisy": World(noise=2.0),
    "nights are half as lively, and come in half an hour": World(content=0.5, noise=0.5, abruptly=True),
}


def frames(
    world: World, seed: int, begin: float, days: float, pace: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times (n,) and embeddings (n, ``COLUMNS``) of one camera; ``pace`` as in ``SCENES``."""
    rng, site = np.random.default_rng((seed, int(begin))), np.random.default_rng((seed, 77))
    scene, every = pace
    times = np.sort(rng.uniform(begin, begin + days * DAY, rng.poisson(days * DAY / every)))
    sizes = np.geomspace(2.0, 0.5, CONTENT)
    axes = np.linalg.qr(site.normal(size=(COLUMNS, CONTENT)))[0].T
    content = fading(times, scene, CONTENT, rng) * sizes
    noise = 0.3 * rng.normal(size=(len(times), COLUMNS))
    dark = darkness(times, abruptly=world.abruptly) if world.has_nights else np.zeros(len(times))
    lively = world.content**dark * np.exp(world.lively * fading(times, HOUR, 1, rng)[:, 0])
    rows = content @ axes * lively[:, None] + noise * (world.noise**dark)[:, None]
    of_night = site.normal(size=COLUMNS)
    moved = 0.8 * np.sqrt((sizes**2).sum()) * of_night / np.linalg.norm(of_night)
    return times, (rows + np.outer(dark, moved)).astype(np.float32)


def fading(times: NDArray[np.float64], seconds: float, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, ``columns``) of variance 1, of which a third is left after so many seconds."""
    found = rng.normal(size=(len(times), columns))
    left = np.exp(-np.diff(times, prepend=-np.inf) / seconds)
    for row in range(1, len(times)):
        found[row] = left[row] * found[row - 1] + np.sqrt(1 - left[row] ** 2) * found[row]
    return found


def darkness(times: NDArray[np.float64], *, abruptly: bool) -> NDArray[np.float64]:
    """(n,) 0 by day, 1 by night."""
    hour = times / HOUR % 24
    if abruptly:
        return np.asarray(1 / (1 + np.exp(-np.clip((np.abs(hour - 13) - 6.5) / 0.08, -50, 50))))
    return np.asarray(1 / (1 + np.exp(6 * np.sin(2 * np.pi * (hour - 6) / 24))))


def watched(world: World, seed: int, pace: tuple[float, float]) -> Iterator[tuple[int, float, float]]:
    """Of healthy windows: how many hours each has, the hour in its middle, and its p."""
    times, rows = frames(world, seed, BEGIN, REFERENCE_DAYS, pace)
    none = np.full(len(times), "")
    steady = fit_day(rows, times, none, hour_of(times)).without(rows, times, none)
    seconds = block_seconds(times, steady @ np.random.default_rng(0).normal(size=(COLUMNS, 16)))
    sizes = tuple(round(hours * HOUR / seconds) for hours in WINDOWS)
    detector = build_detector(rows, timed_blocks(times, seconds), times=times, sizes=sizes, novelty=False, seed=seed)
    live, seen = frames(world, seed, BEGIN + APART_DAYS * DAY, LIVE_DAYS, pace)
    coordinates = detector.reference.coordinates(seen, live, np.full(len(live), ""))
    block = np.floor(live / seconds).astype(np.int64)
    for hours in WINDOWS:
        of_window = np.floor(live / (hours * HOUR)).astype(np.int64)
        for window in np.unique(of_window):
            own = of_window == window
            p = chance(detector, coordinates[own], block[own])
            if p is not None:
                yield hours, (window + 0.5) * hours % 24, p


def chance(detector: Detector, coordinates: NDArray[np.float32], block: NDArray[np.int64]) -> float | None:
    """The p of a window; None where it is too short."""
    known, of_row = np.unique(block, return_inverse=True)
    look = detector.look(ALL_SLICES, {"": block_moments(coordinates, of_row, len(known)).together()}, None)
    return look.p if isinstance(look, EmbeddingEvidence) else None


def beyond(alpha: float, each: list[list[tuple[int, float, float]]], hours: int, part: str = "") -> str:
    """The share of the windows of so many hours, of ``each`` reference, whose p is no more than ``alpha``."""
    own = [
        [p <= alpha for length, hour, p in one if length == hours and (not part or is_part(hour, part))] for one in each
    ]
    # A reference with blocks so long that no such window is judged has none.
    return rate([looks for looks in own if looks])


def is_part(hour: float, part: str) -> bool:
    """Whether an hour is of that part of the day."""
    begin, end = PARTS[part]
    return (hour - begin) % 24 < (end - begin) % 24


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    references = 2 if args.quick else 12
    print(f"Share of healthy windows with p at or below .05, .01 and .001; {references} references of each world, of")
    print(f"{REFERENCE_DAYS} days, and {LIVE_DAYS} days of windows against each. By part of the day: p ≤ .05 of an")
    print("hour's windows.\n")
    head("world", "a scene", "window", "p ≤ .05", "p ≤ .01", "p ≤ .001", *PARTS)
    for name, world in WORLDS.items():
        for alike, pace in SCENES.items():
            each = [list(watched(world, seed, pace)) for seed in range(FIRST_SEED, FIRST_SEED + references)]
            for hours in WINDOWS:
                cells = [beyond(alpha, each, hours) for alpha in (0.05, 0.01, 0.001)]
                parts = [beyond(0.05, each, hours, part) if hours == 1 else "" for part in PARTS]
                line(name, alike, f"{hours} h", *cells, *parts)


if __name__ == "__main__":
    main()
