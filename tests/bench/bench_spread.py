"""Whether the right cameras are named, and whether it is one cause; and what a window's mix of hours explains.

    python tests/bench/bench_spread.py --quick     one site of each material, few windows
    python tests/bench/bench_spread.py             two sites of each, eight where nothing is wrong
    python tests/bench/bench_spread.py --hours     the mix of hours

Six cameras of real pictures. Digits: the demo's three cameras, each once with the digits 0 to 4 and once with 5 to 9.
Photographs: patches of six of them. Clips: the left and the right half of three fixed cameras' pictures, whose
frames for windows lie between those of the reference, so that a healthy window is nearer to it than one of next week. A
picture is a block. Some pictures of each camera go through faults of light, lens, sensor and mount; of the others a
site is a draw of the reference, and what is left is for healthy windows. Windows are drawn anew each time from what
there is, so that they overlap. What the networks see is kept under build/bench/.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import argparse
import hashlib
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from prepared import head, line, rate
from real_streams import DATA, ROOT, Picture, See, mobilenet, patch, sample_photographs

from visiondrift.corruptions import CORRUPTIONS
from visiondrift.demo import digits
from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import Moments, moments_by_slice
from visiondrift.drift.explain.shift import Spread, spread_of
from visiondrift.intake.embedder import Embedder

SEED = 97
CAMERAS = 6
NAMES = np.array([str(camera) for camera in range(CAMERAS)])
PICTURES, REFERENCE = 120, 60
"""Of each camera, if it has as many; of which its reference."""

FAULTY, A_WINDOW = 16, 10
"""Pictures of each camera that go through faults; pictures of a window."""

QUIET = 4
"""Times as many sites where nothing is wrong: some references name a healthy camera in a third of the windows, most in
hardly any, and two of them are no rate."""

SEVERITIES = (1, 3, 5)
FAULTS = ("darker", "blurred", "noisy", "shifted")

DAY = 86_400.0
FRESH = 48
"""Pictures of each camera for windows of a day, at any hour; its reference has all ``PICTURES``."""

NIGHT = 0.3
"""Light at night, of that at day."""

LEVEL = 0.05

Take = Callable[[int, np.random.Generator], list[Picture]]
"""At most so many pictures of one camera."""


@dataclass(frozen=True, eq=False)
class Material:
    """A ``Take`` for each camera, and the network that sees its pictures."""

    name: str
    see: See
    cameras: Sequence[Take]


def materials() -> Iterator[Material]:
    """What there is, made when asked for; what is missing is printed."""
    embedder = Embedder(f"local-dir:{ROOT / 'exporter/models/digits-clip'}", device="cpu", batch_size=128)
    yield Material(
        "digits, the demo's CLIP",
        lambda pictures: embedder.embed([Image.fromarray(picture) for picture in pictures]),
        [_digits(view, high) for view in digits.CAMERAS for high in (False, True)],
    )
    if not (DATA / "mobilenet-imagenet").is_dir():
        print("Skipped for want of mobilenet-imagenet in ../shared/data: photographs and clips.\n")
        return
    see = mobilenet()
    yield Material(
        "photographs, MobileNet",
        see,
        [lambda count, rng, one=one: [patch(one, rng) for _ in range(count)] for one in sample_photographs()[:CAMERAS]],
    )
    if (DATA / "videos").is_dir():
        yield Material("halves of three fixed cameras, MobileNet", see, _clips())
    else:
        print("Skipped for want of videos in ../shared/data: clips.\n")


def _digits(view: str, high: bool) -> Take:
    labels = digits.digits()[1]
    rest = np.concatenate([digits.split().watched, digits.split().fresh])
    own = rest[(labels[rest] > 4) == high]

    def take(count: int, rng: np.random.Generator) -> list[Picture]:
        return [frame for frame, _ in digits.frames(rng.permutation(own)[:count], view, rng=rng)]

    return take


def _clips() -> list[Take]:
    """Frames evenly spread over each clip, a third of a second to 1.5 seconds apart."""
    from real_video_material import CLIPS, decoded

    def half(frames: list[Picture], columns: slice) -> Take:
        def take(count: int, rng: np.random.Generator) -> list[Picture]:
            chosen = rng.permutation(len(frames))[:count]
            return [np.asarray(Image.fromarray(frames[row][:, columns]).resize((224, 224))) for row in chosen]

        return take

    found = []
    for (clip, _), every in zip(CLIPS.values(), (4, 15, 13), strict=True):
        frames = [pixels for _, pixels in decoded(DATA / "videos" / clip, every)]
        found += [half(frames, slice(0, 112)), half(frames, slice(112, 224))]
    return found


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network sees: of each camera its pictures as they are (n, d), and the first ``FAULTY`` of them through
    each fault at each severity.
    """

    healthy: Sequence[NDArray[np.float32]]
    faulty: Mapping[tuple[str, int], NDArray[np.float32]]


def seen(material: Material) -> Seen:
    """From build/bench/, or seen and put there; a camera that is shifted is so in one way, and all of them in this."""
    source = (ROOT / "exporter" / "visiondrift" / "corruptions.py").read_bytes()
    key = repr((material.name, SEED, PICTURES, FAULTY, FAULTS, SEVERITIES)).encode()
    file = ROOT / "build" / "bench" / f"spread-{hashlib.sha256(key + source).hexdigest()[:12]}.pickle"
    if file.is_file():
        return pickle.loads(file.read_bytes())  # noqa: S301  # our own file
    rng = np.random.default_rng(SEED)
    pictures = [take(PICTURES, rng) for take in material.cameras]
    ways = {fault: int(rng.integers(CORRUPTIONS[fault].ways)) for fault in FAULTS}
    found = Seen(
        [material.see(of_one) for of_one in pictures],
        {
            (fault, severity): np.stack(
                [material.see(changed(of_one[:FAULTY], fault, severity, ways[fault], rng)) for of_one in pictures]
            )
            for fault in FAULTS
            for severity in SEVERITIES
        },
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(found))
    return found


def changed(pictures: list[Picture], fault: str, severity: int, way: int, rng: np.random.Generator) -> list[Picture]:
    """The pictures through a fault."""
    corruption = CORRUPTIONS[fault]
    return [np.asarray(corruption(Image.fromarray(picture), severity, rng=rng, way=way)) for picture in pictures]


Touched = Mapping[int, tuple[str, int]]
"""Cameras that go through a fault, and its severity."""


class Site:
    """One draw of the reference of six cameras, and a detector of it."""

    def __init__(self, material: Seen, rng: np.random.Generator) -> None:
        self._seen = material
        orders = [FAULTY + rng.permutation(len(of_one) - FAULTY) for of_one in material.healthy]
        known = [of_one[order[:REFERENCE]] for of_one, order in zip(material.healthy, orders, strict=True)]
        # Those that go through faults are, without one, as good as the others.
        self._fresh = [
            np.concatenate([of_one[:FAULTY], of_one[order[REFERENCE:]]])
            for of_one, order in zip(material.healthy, orders, strict=True)
        ]
        rows = np.concatenate(known)
        blocks = labelled_blocks(np.arange(len(rows)), np.repeat(NAMES, REFERENCE))
        self._detector = build_detector(rows, blocks, novelty=False, seed=SEED)
        self._mean = rows.mean(axis=0, dtype=np.float64)

    def window(self, touched: Touched, rng: np.random.Generator) -> tuple[Spread, float]:
        """What is said of a window, and the CPU seconds that it takes."""
        pools = [
            self._seen.faulty[touched[camera]][camera] if camera in touched else self._fresh[camera]
            for camera in range(CAMERAS)
        ]
        rows = np.concatenate([pool[np.sort(rng.choice(len(pool), A_WINDOW, replace=False))] for pool in pools])
        window = WindowRows(self._detector.reference.coordinates(rows), np.arange(len(rows)))
        begun = time.process_time()
        spread = spread_of(
            self._detector, window, np.repeat(NAMES, A_WINDOW), embeddings=rows, reference_mean=self._mean
        )
        return spread, time.process_time() - begun

    def share_error(self, spread: Spread, touched: Touched) -> float:
        """How far the shares of the cameras that were ``touched`` are from true ones, on average.

        True is the part of the squared shifts of all pictures, each held against itself without a fault.
        """
        size = {
            camera: float(
                (np.mean(self._seen.faulty[what][camera] - self._seen.healthy[camera][:FAULTY], axis=0) ** 2).sum()
            )
            for camera, what in touched.items()
        }
        told = {int(one.slice): one.share for one in spread.slices}
        return float(np.mean([abs(told[camera] - own / sum(size.values())) for camera, own in size.items()]))


@dataclass(frozen=True)
class Scenario:
    """``cameras`` through a fault, all through the same one or each through another."""

    name: str
    cameras: int = 0
    alike: bool = True

    def touched(self, fault: str, severity: int, rng: np.random.Generator) -> Touched:
        """Which cameras go through what, of which ``fault`` is the first."""
        others = rng.permutation([other for other in FAULTS if other != fault])
        faults = [fault] * self.cameras if self.alike else [fault, *others][: self.cameras]
        chosen = rng.choice(CAMERAS, self.cameras, replace=False)
        return {int(camera): (str(own), severity) for camera, own in zip(chosen, faults, strict=True)}


SCENARIOS = (
    Scenario("nothing"),
    Scenario("one camera", 1),
    Scenario("two, by different faults", 2, alike=False),
    Scenario("four, by the same fault", 4),
)
WAYS = ("right ones named", "a wrong one named", "exactly those", "common cause said")


def told(sites: Sequence[Site], scenario: Scenario, severity: int, draws: int) -> tuple[list[str], list[float]]:
    """The cells of a row, and the seconds of each window; ``draws`` windows of each fault and site."""
    hits: dict[str, list[list[float]]] = {way: [[] for _ in sites] for way in WAYS}
    errors: list[list[float]] = [[] for _ in sites]
    seconds = []
    for place, site in enumerate(sites):
        rng = np.random.default_rng((SEED, place, scenario.cameras, severity))
        for fault in FAULTS * draws:
            touched = scenario.touched(fault, severity, rng)
            spread, spent = site.window(touched, rng)
            seconds.append(spent)
            named, right = {int(name) for name in spread.moved}, set(touched)
            said = (
                len(named & right) / max(len(right), 1),
                float(bool(named - right)),
                float(named == right),
                float(spread.kind == "common"),
            )
            for way, value in zip(WAYS, said, strict=True):
                hits[way][place].append(value)
            if right and named:
                errors[place].append(site.share_error(spread, touched))
    cells = [rate(hits[way]) for way in WAYS]
    return ["", *cells[1:], ""] if not scenario.cameras else [*cells, average(errors)], seconds


def average(values: Sequence[Sequence[float]]) -> str:
    """A mean with its standard error, from one list a site: that between windows or between sites, the larger one."""
    given = [np.array(of_one) for of_one in values if len(of_one)]
    if not given:
        return ""
    each, whole = np.array([of_one.mean() for of_one in given]), np.concatenate(given)
    errors = [sample.std(ddof=1) / np.sqrt(len(sample)) for sample in (each, whole) if len(sample) > 1]
    return f"{whole.mean():.2f} ± {max(errors, default=0.0):.2f}"


def show_cameras(material: Material, count: int, draws: int) -> None:
    """Who is named, in one table; where nothing is wrong, of ``QUIET`` times as many sites."""
    print(f"## {material.name}\n")
    pictures = seen(material)
    sites = [Site(pictures, np.random.default_rng((SEED, place))) for place in range(QUIET * count)]
    head("what befell", "severity", *WAYS, "error of the share")
    seconds = []
    for scenario in SCENARIOS:
        for severity in SEVERITIES if scenario.cameras else (0,):
            # Where nothing is wrong, a fault is only so many windows more.
            cells, spent = told(sites[:count] if scenario.cameras else sites, scenario, severity, draws)
            line(scenario.name, str(severity or ""), *cells)
            seconds += spent
    print(f"\n{1e3 * float(np.median(seconds)):.0f} CPU ms a window.\n", flush=True)


def light(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) of the light at day: night from 20 to 6 o'clock, two hours of dawn and of dusk."""
    return np.interp(times / 3600 % 24, (6.0, 8.0, 18.0, 20.0), (NIGHT, 1.0, 1.0, NIGHT))


def lit(pictures: list[Picture], times: NDArray[np.float64]) -> list[Picture]:
    """The pictures in the light of their hour."""
    return [(picture * own).astype(np.uint8) for picture, own in zip(pictures, light(times), strict=True)]


MIXES = {"as in the reference": None, "three in four at night": 0.75, "night alone": 1.0}
"""The share of a window's pictures that are taken at night; None is that of the reference, some 11 hours of 24."""

DRIFTS = {"none": None, "foggy": 2}
"""And the severity."""


class Day:
    """Six cameras through the days, with detectors that know the hour or do not; drift is fog before all of them.

    The reference has its pictures of five days at any hour, the pools for windows of one day.
    """

    def __init__(self, material: Material, rng: np.random.Generator) -> None:
        pictures = [take(PICTURES + FRESH, rng) for take in material.cameras]
        at = [rng.uniform(0, 5 * DAY, PICTURES) for _ in pictures]
        self._times = [rng.uniform(7 * DAY, 8 * DAY, FRESH) for _ in pictures]
        shown = [of_one[PICTURES:] for of_one in pictures]
        rows = np.concatenate([material.see(lit(p[:PICTURES], t)) for p, t in zip(pictures, at, strict=True)])
        blocks = labelled_blocks(np.arange(len(rows)), np.repeat(NAMES, PICTURES))
        self.detectors = {
            "known": build_detector(rows, blocks, times=np.concatenate(at), novelty=False, seed=SEED),
            "not known": build_detector(rows, blocks, novelty=False, seed=SEED),
        }
        self._mean = rows.mean(axis=0, dtype=np.float64)
        looks = {
            drift: [changed(of_one, drift, severity, 0, rng) if severity else of_one for of_one in shown]
            for drift, severity in DRIFTS.items()
        }
        self._pools = {
            drift: [material.see(lit(p, t)) for p, t in zip(of_all, self._times, strict=True)]
            for drift, of_all in looks.items()
        }

    def window(
        self, share: float | None, drift: str, rng: np.random.Generator
    ) -> tuple[float | None, dict[str, float]]:
        """What the mix explains, and p by detector, of a window with this ``share`` of night."""
        own = [self._rows(times, share, rng) for times in self._times]
        rows = np.concatenate([pool[at] for pool, at in zip(self._pools[drift], own, strict=True)])
        times = np.concatenate([of_one[at] for of_one, at in zip(self._times, own, strict=True)])
        slices, blocks = np.repeat(NAMES, A_WINDOW), np.arange(len(rows))
        seen = {name: one.reference.coordinates(rows, times, slices) for name, one in self.detectors.items()}
        spread = spread_of(
            self.detectors["known"],
            WindowRows(seen["known"], blocks),
            slices,
            embeddings=rows,
            reference_mean=self._mean,
        )
        p = {name: _p(self.detectors[name], moments_by_slice(y, blocks, slices)) for name, y in seen.items()}
        return spread.mix_explained, p

    @staticmethod
    def _rows(times: NDArray[np.float64], share: float | None, rng: np.random.Generator) -> NDArray[np.intp]:
        night = light(times) < (1 + NIGHT) / 2
        of_night = night.mean() if share is None else share
        weights = np.where(night, of_night / night.sum(), (1 - of_night) / (~night).sum())
        return np.sort(rng.choice(len(times), A_WINDOW, replace=False, p=weights))


def _p(detector: Detector, moments: Mapping[str, Moments]) -> float:
    found = detector.look("all", moments, None)
    return found.p if isinstance(found, EmbeddingEvidence) else 1.0


def show_hours(material: Material, count: int, draws: int) -> None:
    """What another mix of hours explains, in one table."""
    print(
        f"{CAMERAS} cameras of {material.name}: {PICTURES} pictures of reference each, in five days; {draws} windows "
        f"of {A_WINDOW} pictures of each.\n"
    )
    days = [Day(material, np.random.default_rng((SEED, 100 + place))) for place in range(count)]
    columns = [f"{what}, hours {which}" for which in days[0].detectors for what in ("-log10 p", f"p <= {LEVEL}")]
    head("hours of the window", "drift", "mix explains", "says so in", *columns)
    for place_of_mix, (name, share) in enumerate(MIXES.items()):
        for drift in DRIFTS:
            found = [
                [day.window(share, drift, rng) for _ in range(draws)]
                for day, rng in zip(days, _chances(len(days), place_of_mix), strict=True)
            ]
            cells = [
                average([[mix for mix, _ in of_day if mix is not None] for of_day in found]),
                rate([[mix is not None for mix, _ in of_day] for of_day in found]),
            ]
            for which in days[0].detectors:
                p = [[of[which] for _, of in of_day] for of_day in found]
                cells.append(f"{float(np.median(-np.log10(np.concatenate(p)))):.1f}")
                cells.append(rate([[one <= LEVEL for one in of_day] for of_day in p]))
            line(name, drift, *cells)
    print(flush=True)


def _chances(days: int, mix: int) -> list[np.random.Generator]:
    """With and without drift the same pictures are drawn."""
    return [np.random.default_rng((SEED, day, mix)) for day in range(days)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sites", type=int)
    parser.add_argument("--windows", type=int, help="of each fault and site")
    parser.add_argument("--hours", action="store_true", help="the mix of hours instead of the cameras")
    args = parser.parse_args()
    sites, draws = args.sites or (1 if args.quick else 2), args.windows or (2 if args.quick else 4)
    if args.hours:
        # Pictures of every hour are many, and the demo's network, the first, is the quick one.
        show_hours(next(materials()), 1, 2 * len(FAULTS) * draws)
        return
    print(
        f"{CAMERAS} cameras, {REFERENCE} pictures of reference each; windows of {A_WINDOW} pictures of each; {sites} "
        f"sites of each material, {QUIET * sites} where nothing is wrong, {len(FAULTS)} faults, {draws} windows of "
        "each.\n"
    )
    for material in materials():
        show_cameras(material, sites, draws)


if __name__ == "__main__":
    main()
