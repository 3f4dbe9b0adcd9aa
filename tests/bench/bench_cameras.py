"""Twelve cameras of which one drifts, or all a little, or none while traffic moves between them: who is named.

    python tests/bench/bench_cameras.py --quick     one site
    python tests/bench/bench_cameras.py             several sites, each with ticks of every scenario

A tick is 50 independent images of each camera. At 5 %: all images as one pool against one pool of reference, by
permutation MMD and by a VisionDrift that is not told of cameras (its blocks are scenes, so that differences between
cameras are in its null); VisionDrift's p of all cameras together, each held against its own reference; and a p for each
camera, of which those that pass Holm's procedure are named.

Then cameras that have the weather in common, and no drift: how often all of them together are beyond a level, and how
often they would be if their blocks were drawn as those of cameras that have nothing in common.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
from camera_worlds import A_TICK, APART, CAMERAS, SCENARIOS, Rows, Scenario, Site
from numpy.typing import NDArray
from peers import MMD, Peers
from prepared import FIRST_SEED, OURS, head, kept, line, ours, rate

from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.calibration.budget import holm
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import Moments, block_moments

COLUMNS = 128
ROWS = 1_500
"""Of every camera's reference."""

LEVEL = 0.05
LEVELS = (0.05, 0.01)

_MOMENTS, _FRAMES, _WEATHER_COLUMNS = 200, 8, 32
WAYS = ("pooled MMD", "pooled, ours", "all cameras", "a camera named", "right one first", "healthy ones named")


class Watched:
    """One site with its two detectors: of the cameras, and of the pool."""

    def __init__(self, seed: int) -> None:
        self.site = Site(COLUMNS, 0.0, seed)
        self.rng = np.random.default_rng((seed, 43))
        rows = self.site.reference(ROWS, np.random.default_rng((seed, 42)))
        name = f"site {COLUMNS} {ROWS} {APART} {seed}"
        blocks = labelled_blocks(rows.scenes, rows.cameras)
        self.cameras = kept(name, lambda: build_detector(rows.embeddings, blocks, seed=seed))
        # The pool has as many rows as one needs: more would only make its calibration slower.
        some = np.flatnonzero(rows.scenes % 3 == 0)
        scenes = labelled_blocks(rows.scenes[some])
        self.peers = Peers(rows.embeddings[some], np.random.default_rng((seed, 44)))
        self.pool = kept(f"{name} pool", lambda: build_detector(rows.embeddings[some], scenes, seed=seed))

    def judge(self, rows: Rows) -> tuple[float, float, float, dict[str, float]]:
        """p of the pool by MMD and by ours, of all cameras together, and of each camera."""
        mmd = self.peers.permuted(rows.embeddings)[MMD][0]
        pooled = ours(self.pool, rows.embeddings, rows.scenes)[OURS][0]
        y = self.cameras.reference.basis.project(rows.embeddings)
        own = {name: np.flatnonzero(rows.cameras == name) for name in CAMERAS}
        moments = {name: _moments(y[at], rows.scenes[at]) for name, at in own.items()}
        together = _p(self.cameras, "all", moments, WindowRows(y, rows.scenes))
        each = {
            name: _p(self.cameras, name, {name: moments[name]}, WindowRows(y[at], rows.scenes[at]))
            for name, at in own.items()
        }
        return mmd, pooled, together, each


def _moments(y: NDArray[np.float32], scenes: NDArray[np.intp]) -> Moments:
    return block_moments(y, scenes - scenes[0], int(scenes[-1] - scenes[0]) + 1).together()


def _p(detector: Detector, target: str, moments: dict[str, Moments], rows: WindowRows | None) -> float:
    found = detector.look(target, moments, rows)
    return found.p if isinstance(found, EmbeddingEvidence) else 1.0


def scenario_of(one: Watched, scenario: Scenario, ticks: int) -> dict[str, list[float]]:
    """Hits of every way at each tick; the drifting camera is another one each time."""
    hits: dict[str, list[float]] = defaultdict(list)
    for tick in range(ticks):
        bad = CAMERAS[tick % len(CAMERAS)] if scenario.shift and not scenario.every_camera else ""
        mmd, pooled, together, each = one.judge(one.site.tick(scenario, bad, one.rng))
        named = holm(each, LEVEL)
        hits["pooled MMD"].append(mmd <= LEVEL)
        hits["pooled, ours"].append(pooled <= LEVEL)
        hits["all cameras"].append(together <= LEVEL)
        hits["a camera named"].append(bool(named))
        hits["right one first"].append(min(each, key=lambda name: each[name]) == bad)
        hits["healthy ones named"].append(0.0 if scenario.every_camera else len(named - {bad}))
    return hits


def in_one_weather(
    moments: int, weather: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.str_]]:
    """Embeddings of half of the cameras, eight frames of each in every moment; the moment and camera of each row.

    Half of a frame's variance is its moment's, and the part ``weather`` of that is the same for all cameras.
    """
    names = np.array(CAMERAS[: len(CAMERAS) // 2])
    shape = (moments, len(names), _FRAMES, _WEATHER_COLUMNS)
    common, own = rng.normal(size=(moments, 1, 1, shape[-1])), rng.normal(size=(*shape[:2], 1, shape[-1]))
    scene = np.sqrt(weather) * common + np.sqrt(1 - weather) * own
    rows = 4 + np.sqrt(0.5) * scene + np.sqrt(0.5) * rng.normal(size=shape)
    moment = np.repeat(np.arange(moments), len(names) * _FRAMES)
    return rows.reshape(-1, shape[-1]).astype(np.float32), moment, np.tile(np.repeat(names, _FRAMES), moments)


def weather(args: argparse.Namespace) -> None:
    """Print the table of cameras that have the weather in common."""
    references, windows = (2, 20) if args.quick else (8, 50)
    print(f"\nNo drift, {len(CAMERAS) // 2} cameras together, {references} references of {_MOMENTS} moments, {windows}")
    print(f"windows of {_MOMENTS // 10} each. *Drawn apart*: as if cameras had nothing in common.\n")
    head("of a moment's variance common", "p ≤ .05", "p ≤ .01", "drawn apart: p ≤ .05", "p ≤ .01")
    for share in (0.0, 0.1, 0.3, 1.0):
        found: dict[bool, list[list[float]]] = defaultdict(list)
        for seed in range(args.first_seed, args.first_seed + references):
            rng = np.random.default_rng((seed, 45))
            rows, moment, camera = in_one_weather(_MOMENTS, share, rng)
            blocks = labelled_blocks(moment, camera)
            alone = replace(blocks, moment=np.arange(len(blocks)))
            detectors = {
                drawn is blocks: build_detector(rows, drawn, draws=150, novelty=False, seed=seed)
                for drawn in (blocks, alone)
            }
            drawn_windows = [in_one_weather(_MOMENTS // 10, share, rng) for _ in range(windows)]
            for is_ours, detector in detectors.items():
                found[is_ours].append([_together(detector, *window) for window in drawn_windows])
        cells = [
            rate([[p <= level for p in ps] for ps in found[is_ours]]) for is_ours in (True, False) for level in LEVELS
        ]
        line(f"{share:.0%}", *cells)


def _together(
    detector: Detector, rows: NDArray[np.float32], moment: NDArray[np.intp], camera: NDArray[np.str_]
) -> float:
    y = detector.reference.basis.project(rows)
    names = np.unique(camera)
    return _p(detector, "all", {str(name): _moments(y[camera == name], moment[camera == name]) for name in names}, None)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--sites", type=int)
    parser.add_argument("--ticks", type=int)
    args = parser.parse_args()
    sites = args.sites or (1 if args.quick else 2)
    ticks = args.ticks or (12 if args.quick else 24)
    print(
        f"{sites} sites of 12 cameras, {ROWS:,} reference rows each; {ticks} ticks of {A_TICK} images a camera in every"
    )
    print(f"scenario; cone, {COLUMNS} columns; cameras lie {APART:g} sizes of the cloud from their mean. All at 5 %.\n")
    head("scenario", *WAYS)
    hits: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for seed in range(args.first_seed, args.first_seed + sites):
        one = Watched(seed)
        for scenario in SCENARIOS:
            for way, found in scenario_of(one, scenario, ticks).items():
                hits[scenario.name, way].append(found)
    for scenario in SCENARIOS:
        cells = {way: rate(hits[scenario.name, way]) for way in WAYS}
        if not scenario.shift or scenario.every_camera:
            cells["right one first"] = ""
        if scenario.every_camera:
            cells["healthy ones named"] = ""
        line(scenario.name, *cells.values())
    weather(args)


if __name__ == "__main__":
    main()
