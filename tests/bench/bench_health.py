"""Camera health on three real cameras: which faults are found, how soon, and what is said of cameras that are well.

The reference is one half of a clip, watched is the other; each fault begins when one ``within`` of it has passed. Needs
../shared/data/videos. Exit status 1 where a healthy camera is said to have a fault, or a fault is not found in time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from camera_arrivals import ARRIVALS, HARMLESS_ARRIVALS, follow, follow_harmless, told_within
from camera_clips import CLIPS, FAULTS, HARMLESS, VIDEOS, Halves
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.health.judge import judge_camera
from visiondrift.drift.health.normal import normal_of

TOLD_WITHIN = dict.fromkeys(("frozen", "black", "white", "resolution"), 0.2)
"""Shares of ``within`` in which a fault must be told, at the next look; the others within all of it."""

_LOOK = 1 / 8
"""Share of ``within`` between two looks."""


def found(faults: dict[str, list[str]]) -> Iterator[tuple[str, bool]]:
    """The table's rows of faults, each with whether it was found in time on all clips, and not taken for another."""
    for name, ways in faults.items():
        for way in ways:
            cells, good = [], True
            for clip in CLIPS:
                halves = Halves(clip)
                seen = halves.live(FAULTS[name][way], after=halves.within)
                watched = halves.watch(seen, injected=halves.within)
                after = watched.told_after.get(name)
                others = sorted(set(watched.told_after) - {name})
                good &= after is not None and not others
                good &= after is None or after <= (TOLD_WITHIN.get(name, 1.0) + _LOOK) * halves.within
                cells.append(("not found" if after is None else f"{after:.1f} s") + "".join(f", {o}" for o in others))
            yield f"| {name} | {way} | {' | '.join(cells)} |", good


def false_reports(harmless: list[str]) -> Iterator[tuple[str, bool]]:
    """The table's rows of what is no fault: in how many looks any was reported, either half being the reference."""
    for way in harmless:
        cells, good = [], True
        for clip in CLIPS:
            looks = [
                look
                for halves in (Halves(clip), Halves(clip, swapped=True))
                for look in halves.watch(halves.live(HARMLESS[way])).looks
            ]
            names = sorted({fault.name for look in looks for fault in look.faults})
            false = sum(not look.is_well for look in looks)
            good &= not false
            cells.append(f"{false} of {len(looks)}" + (f" ({', '.join(names)})" if names else ""))
        yield f"| none | {way} | {' | '.join(cells)} |", good


def arrivals(faults: dict[str, list[str]]) -> Iterator[tuple[str, bool]]:
    """The table's rows of frames that stop or tell a wrong time, as the service sees them; and what is no fault."""
    for name, ways in faults.items():
        for way in ways:
            cells, good = [], True
            for clip in CLIPS:
                seen = follow(clip, name, way)
                after = seen.told_after.get(name)
                others = sorted(set(seen.told_after) - {name})
                good &= after is not None and after <= told_within(clip, name) and not others and not _false(seen.other)
                cells.append(("not found" if after is None else f"{after:.1f} s") + "".join(f", {o}" for o in others))
            yield f"| {name} | {way} | {' | '.join(cells)} |", good
    for way in HARMLESS_ARRIVALS:
        cells, good = [], True
        for clip in CLIPS:
            seen = follow_harmless(clip, way)
            looks = (*seen.watched, *seen.other)
            good &= not _false(looks)
            cells.append(f"{_false(looks)} of {len(looks)}")
        yield f"| none | {way} | {' | '.join(cells)} |", good


def _false(looks: tuple[CameraHealth, ...]) -> int:
    return sum(not look.is_well for look in looks)


def cost() -> str:
    """What a look costs: CPU milliseconds of preparing a camera's reference, and of one look at 300 frames."""
    rng = np.random.default_rng(0)
    halves = Halves("lobby")
    reference = halves.reference()
    many = reference.take(np.sort(rng.integers(0, len(reference), 1000)))
    recent = reference.take(np.sort(rng.integers(0, len(reference), 300)))
    at = float(recent.times[-1])
    begun = time.process_time()
    normal = normal_of(many, within=halves.within, timed=True)
    prepared = time.process_time() - begun
    looks = []
    for _ in range(5):
        begun = time.process_time()
        judge_camera(normal, recent, slice_="all", at=at, within=100.0, arrival=None)
        looks.append(time.process_time() - begun)
    return (
        f"A look at 300 frames of a camera against 1,000 of its reference takes {1e3 * statistics.median(looks):.0f} "
        f"CPU ms; its limits take {1e3 * prepared:.0f} ms, once."
    )


def main() -> int:
    """Print the tables; 1 where a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one way of each fault, and the untouched clips")
    quick = parser.parse_args().quick
    if not VIDEOS.is_dir():
        print(f"{VIDEOS} is not there: nothing was measured.")
        return 0
    faults = {name: list(ways)[:1] if quick else list(ways) for name, ways in FAULTS.items()}
    seconds = [f"{name} (within {clip.within:g} s)" for name, clip in CLIPS.items()]
    print(f"| fault | how | {' | '.join(seconds)} |\n| --- | --- |{' --- |' * len(CLIPS)}")
    good = True
    late = {name: list(ways)[:1] if quick else list(ways) for name, ways in ARRIVALS.items()}
    harmless = list(HARMLESS)[:1] if quick else list(HARMLESS)
    for row, is_good in (*found(faults), *false_reports(harmless), *arrivals(late)):
        good &= is_good
        print(row, flush=True)
    print(f"\n{cost()}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
