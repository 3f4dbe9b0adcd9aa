"""Twelve cameras that look at different places: the world of ``worlds.py`` about twelve means of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from worlds import World, cone

CAMERAS = tuple(f"camera {number:02}" for number in range(1, 13))
A_TICK = 50
"""Images of a camera in a tick where traffic is even."""

APART = 1.0
"""Distance of a camera's mean from the cameras' common one, in sizes of the cloud."""


@dataclass(frozen=True, eq=False)
class Rows:
    """(n, d) embeddings of all cameras, the camera of each row, and its scene, numbered through."""

    embeddings: NDArray[np.float32]
    cameras: NDArray[np.str_]
    scenes: NDArray[np.intp]


@dataclass(frozen=True)
class Scenario:
    """What befalls the cameras: a shift of ``worlds.py`` and its size, of one camera or of all; the mix of traffic."""

    name: str
    shift: str = ""
    size: float = 1.0
    every_camera: bool = False
    mix: bool = False


SCENARIOS = (
    Scenario("no drift"),
    Scenario("no drift, traffic mix moves", mix=True),
    Scenario("one camera: mean_pc 0.8 sd", "mean_pc", 2.0),
    Scenario("one camera: mean_rand 0.03", "mean_rand", 1.5),
    Scenario("one camera: 25 % new concept", "concept", 25 / 8),
    Scenario("one camera: noise, 5 % of variance", "iso", 5.0),
    Scenario("all cameras: mean_pc 0.2 sd", "mean_pc", 0.5, every_camera=True),
    Scenario("all cameras: mean_rand 0.01", "mean_rand", 0.5, every_camera=True),
)


class Site:
    """Twelve cameras with a common cloud and a mean of their own each."""

    def __init__(self, columns: int, rho: float, seed: int) -> None:
        world = cone(columns, rho, seed)
        along = np.random.default_rng((seed, 41)).normal(size=(len(CAMERAS), columns)) @ world.root.T
        along *= APART * np.sqrt(world.spread) / np.linalg.norm(along, axis=1, keepdims=True)
        self._worlds = {name: replace(world, mean=world.mean + step) for name, step in zip(CAMERAS, along, strict=True)}

    def reference(self, rows: int, rng: np.random.Generator) -> Rows:
        """``rows`` of every camera."""
        return self._draw(self._worlds, dict.fromkeys(CAMERAS, rows), rng)

    def tick(self, scenario: Scenario, bad: str, rng: np.random.Generator) -> Rows:
        """One tick; ``bad`` is the camera that drifts where one does."""
        counts = dict.fromkeys(CAMERAS, A_TICK)
        if scenario.mix:
            # Half of the cameras see half as much as before, the other half half as much again.
            counts = {name: A_TICK // 2 if place % 2 else A_TICK * 3 // 2 for place, name in enumerate(CAMERAS)}
        worlds = {
            name: world.shifted(scenario.shift, scenario.size) if scenario.every_camera or name == bad else world
            for name, world in self._worlds.items()
        }
        return self._draw(worlds, counts, rng)

    @staticmethod
    def _draw(worlds: Mapping[str, World], counts: Mapping[str, int], rng: np.random.Generator) -> Rows:
        parts, cameras, scenes, begun = [], [], [], 0
        for name, world in worlds.items():
            x, of_row = world.draw(counts[name], rng)
            parts.append(x)
            cameras.append(np.full(len(x), name))
            scenes.append(of_row + begun)
            begun += int(of_row[-1]) + 1
        return Rows(np.concatenate(parts), np.concatenate(cameras), np.concatenate(scenes))
