"""Whether the cause of a drift is named rightly: real pictures through every fault at five severities, and none.

    python tests/bench/bench_explain.py --quick     few pictures, few windows
    python tests/bench/bench_explain.py             digits, photographs, three fixed cameras

The reference's own images teach the witnesses two of the five severities; windows show other images, in one way of
each fault. A word is asked of every window, whether or not a signal has warned, so that words spoken where nothing has
drifted are counted at their worst. The rule's numbers were chosen on other digits and on other patches of the same
photographs; the cameras were not looked at. Windows of one condition are drawn from one pool, so that they overlap. New
content (nothing but ones, one photograph of several, the next camera's scene) is no fault, and neither is another scene
(photographs for digits, a fixed camera's for photographs, and each camera by itself that shows what another one sees):
a word there is wrong as well. Where a camera gives no picture, black or white, it is darker or brighter if anything. As
an alert fires long before the fault fills the window, each fault is also asked of a third of one.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from real_streams import DATA, ROOT, Picture, mobilenet, patch, sample_photographs

from visiondrift.corruptions import CORRUPTIONS, SEVERITIES
from visiondrift.demo import digits
from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.explain.causes import ALIKE
from visiondrift.drift.explain.explainer import Explainer, build_explainer
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.image_stats import measure
from visiondrift.intake.trials import ReadWords, chosen, learn, with_probes
from visiondrift.prediction import Sample

SEED = 83
NONE, NEW, SCENE = "none", "new content", "another scene"
NO_PICTURE = {"black": (0, "darker"), "white": (255, "brighter")}
"""Pictures of nothing: their level, and the only word that is not wrong."""
SETTING_IN, SETTING_IN_SEVERITY, SETTING_IN_SHARE = 0, 3, 1 / 3
"""Stands for the severity of a fault that is in a share of the window alone; and how severe it is."""
MOST_WRONG = 0.05
Pictures = Sequence[Picture]
Pool = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Embeddings (n, d), properties (n, P) and layouts (n, L) of the same scenes in one condition."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Pictures of somewhere else in the place of a window's, of one camera's rows where it names one."""

    pictures: Pictures
    camera: str = ""


@dataclass(frozen=True, eq=False)
class Material:
    """A reference and windows as pictures with their blocks and cameras; ``strange`` and ``scenes`` show something
    else.
    """

    name: str
    see: Callable[[list[Picture]], np.ndarray]
    reference: Pictures
    reference_blocks: np.ndarray
    reference_cameras: np.ndarray
    window: Pictures
    window_blocks: np.ndarray
    window_cameras: np.ndarray
    strange: Pictures
    scenes: Sequence[Scene]
    size: int
    read: ReadWords | None = None


def materials(*, quick: bool) -> Iterator[Material]:
    """What there is, made when asked for; what is missing is printed."""
    yield _digits(100 if quick else 300, 20 if quick else 40)
    if not (DATA / "mobilenet-imagenet").is_dir():
        print("Skipped for want of mobilenet-imagenet in ../shared/data: photographs and cameras.\n")
        return
    yield _photographs(120 if quick else 300, 20 if quick else 40)
    if (DATA / "videos").is_dir():
        yield _cameras(30 if quick else 48)
    else:
        print("Skipped for want of videos in ../shared/data: cameras.\n")


def _digits(references: int, windows: int) -> Material:
    rng = np.random.default_rng(SEED)
    embedder = Embedder(f"local-dir:{ROOT / 'exporter/models/digits-clip'}", device="cpu", batch_size=128)
    split = digits.split()

    def shown(indices: np.ndarray) -> list[Picture]:
        return [frame for camera in digits.CAMERAS for frame, _ in digits.frames(indices, camera, rng=rng)]

    def see(pictures: list[Picture]) -> np.ndarray:
        return embedder.embed([Image.fromarray(picture) for picture in pictures])

    views = len(digits.CAMERAS)
    reference, window = split.watched[:references], split.fresh[100 : 100 + windows]
    ones = split.fresh[digits.digits()[1][split.fresh] == 1]
    photographs = sample_photographs()
    frames = shown(window)
    patches = (patch(photographs[rng.integers(len(photographs))], rng) for _ in frames)
    elsewhere = [_resized(picture, frames[0].shape) for picture in patches]
    return Material(
        "digits, the demo's CLIP",
        see,
        shown(reference),
        np.tile(np.arange(references), views),
        np.full(views * references, ""),
        frames,
        np.tile(np.arange(windows), views),
        np.full(views * windows, ""),
        shown(rng.choice(ones, windows)),
        [Scene(elsewhere)],
        windows // 2,
        embedder.embed_text,
    )


def _photographs(references: int, windows: int) -> Material:
    rng = np.random.default_rng(SEED + 1)
    photographs = sample_photographs()

    def patches(count: int) -> list[Picture]:
        return [patch(photographs[rng.integers(len(photographs))], rng) for _ in range(count)]

    reference, window = patches(references), patches(windows)
    strange = [patch(photographs[0], rng) for _ in range(windows)]
    pictures, cameras, _ = _clips()
    seen = [np.flatnonzero(cameras == camera) for camera in dict.fromkeys(cameras)]
    scenes = [Scene([_resized(pictures[row], window[0].shape) for row in _spread(rows, windows)]) for rows in seen]
    return Material(
        "photographs, MobileNet",
        mobilenet(),
        reference,
        np.arange(references),
        np.full(references, ""),
        window,
        np.arange(windows),
        np.full(windows, ""),
        strange,
        scenes,
        windows // 2,
    )


def _clips() -> tuple[Pictures, np.ndarray, np.ndarray]:
    """Frames of the fixed cameras, their cameras and seconds; none where there are no videos."""
    if not (DATA / "videos").is_dir():
        return [], np.array([], dtype=str), np.array([], dtype=int)
    sys.path.append(str(ROOT / "tests" / "contract"))
    from real_video_material import CLIPS, decoded

    found = [
        (camera, int(at), pixels)
        for camera, (clip, every) in CLIPS.items()
        for at, pixels in decoded(DATA / "videos" / clip, 2 * every)
    ]
    cameras, seconds, pictures = zip(*found, strict=True)
    return pictures, np.array(cameras), np.array(seconds)


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of the rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]


def _resized(picture: Picture, shape: tuple[int, ...]) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0])))


def _cameras(windows: int) -> Material:
    rng = np.random.default_rng(SEED + 2)
    pictures, cameras, seconds = _clips()
    of_window = _spread(np.flatnonzero(seconds % 3 == 2), windows)
    rest = np.flatnonzero(seconds % 3 != 2)
    names = list(dict.fromkeys(cameras))
    seen = {name: np.flatnonzero(cameras == name) for name in names}
    following = {name: seen[names[(i + 1) % len(names)]] for i, name in enumerate(names)}
    strange = [pictures[rng.choice(following[camera])] for camera in cameras[of_window]]
    scenes = [
        Scene([pictures[row] for row in _spread(seen[other], int((cameras[of_window] == camera).sum()))], camera)
        for camera in names
        for other in names
        if other != camera
    ]
    return Material(
        "three fixed cameras, MobileNet",
        mobilenet(),
        [pictures[row] for row in rest],
        seconds[rest],
        cameras[rest],
        [pictures[row] for row in of_window],
        seconds[of_window],
        cameras[of_window],
        strange,
        scenes,
        len(set(zip(cameras[of_window], seconds[of_window], strict=True))) // 2,
    )


def explainers(material: Material) -> tuple[dict[str, Explainer], float]:
    """By which witnesses are heard, and the seconds that it took to prepare and calibrate all of them."""
    begun = time.process_time()
    tried = [material.reference[row] for row in chosen(len(material.reference), material.reference[0][:, :, 0].size)]
    see = material.see
    witnesses = learn(
        [Image.fromarray(picture) for picture in tried], lambda images: see([np.asarray(image) for image in images])
    )
    if material.read:
        witnesses = with_probes(witnesses, material.read)
    blocks = labelled_blocks(material.reference_blocks, material.reference_cameras)
    reference = sample_of(pool_of(material.reference, see), material.reference_cameras)
    whole = build_explainer(reference, blocks, witnesses, timed=False)
    spent = time.process_time() - begun
    assert whole is not None
    heard = {
        "all witnesses": whole,
        "without layouts": replace(whole, layouts=None),
        "properties alone": replace(whole, embeddings=None, layouts=None),
    }
    return heard, spent


def pool_of(pictures: Pictures, see: Callable[[list[Picture]], np.ndarray]) -> Pool:
    """Of pictures as they are."""
    measured = [measure(Image.fromarray(picture)) for picture in pictures]
    return (
        see(list(pictures)),
        np.stack([one.properties for one in measured]),
        np.stack([one.layout for one in measured]),
    )


def sample_of(pool: Pool, cameras: np.ndarray) -> Sample:
    """As the exporter would hold it."""
    embeddings, properties, layouts = pool
    n = len(embeddings)
    return Sample(
        times=np.arange(n, dtype=np.float64),
        ids=np.array([str(row) for row in range(n)], dtype=object),
        slices={"camera": cameras.astype(object)},
        classes=(),
        embeddings=embeddings,
        confidences=np.zeros((n, 0), dtype=np.float32),
        predicted=np.full(n, -1, dtype=np.int32),
        latency_ms=np.full(n, np.nan),
        properties=properties,
        layouts=layouts,
    )


def conditions(material: Material, rng: np.random.Generator) -> Iterator[tuple[str, int, Pool]]:
    """(cause, severity, pool) of the window's pictures: none, new content, and each fault in one of its ways."""
    yield NONE, 0, pool_of(material.window, material.see)
    yield NEW, 0, pool_of(material.strange, material.see)
    for cause, corruption in CORRUPTIONS.items():
        for severity in SEVERITIES:
            way = int(rng.integers(corruption.ways))
            changed = [
                np.asarray(corruption(Image.fromarray(picture), severity, rng=rng, way=way))
                for picture in material.window
            ]
            yield cause, severity, pool_of(changed, material.see)


def windows_of(
    material: Material,
    pool: Pool,
    count: int,
    rng: np.random.Generator,
    camera: str = "",
    *,
    before: Pool | None = None,
    share: float = 1.0,
) -> Iterator[tuple[Sample, np.ndarray, np.ndarray]]:
    """Windows of half the blocks of a pool: the sample, the block of each row, and its camera.

    Of one ``camera``, of whose rows the pool then is, windows have three blocks in four: half would be too few. With
    the pool of ``before``, only a ``share`` of a window's blocks is of ``pool``.
    """
    shown = material.window_cameras == camera if camera else np.full(len(material.window_cameras), fill_value=True)
    own_cameras, own_blocks = material.window_cameras[shown], material.window_blocks[shown]
    pairs = np.stack([np.unique(own_cameras, return_inverse=True)[1], own_blocks], axis=1)
    of_row = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    size = 3 * (of_row.max() + 1) // 4 if camera else material.size
    for _ in range(count):
        blocks = rng.choice(of_row.max() + 1, size, replace=False)
        rows = np.flatnonzero(np.isin(of_row, blocks))
        shown = tuple(columns[rows] for columns in pool)
        if before is not None:
            old = np.isin(of_row[rows], blocks[round(share * size) :])
            for columns, earlier in zip(shown, before, strict=True):
                columns[old] = earlier[rows[old]]
        cameras = own_cameras[rows]
        yield sample_of(shown, cameras), of_row[rows], cameras


def is_right(cause: str, word: str | None) -> bool:
    """Whether a word names a fault, by its own name or that of its kind."""
    return word is not None and (word == cause or cause in ALIKE.get(word, frozenset()))


@dataclass
class Told:
    """What was said of the windows of one condition: words with their number, and the seconds of each window."""

    words: Counter[str | None]
    seconds: list[float]

    def share(self, says: Callable[[str | None], bool]) -> float:
        """Of the windows, those whose word is such."""
        return sum(n for word, n in self.words.items() if says(word)) / self.words.total()


def together(told: Iterable[Told]) -> Told:
    """Of several conditions."""
    each = list(told)
    return Told(sum((one.words for one in each), start=Counter()), [s for one in each for s in one.seconds])


def rate(share: float, windows: int) -> str:
    """A share of so many windows with its binomial standard error."""
    return f"{share:.2f} ± {np.sqrt(share * (1 - share) / windows):.2f}"


def ask(material: Material, *, windows: int) -> tuple[dict[str, dict[tuple[str, int], Told]], float]:
    """By witnesses heard, condition and severity; and the seconds of preparation."""
    ready, spent = explainers(material)
    rng, other_rng = (np.random.default_rng((SEED, len(material.name), *more)) for more in ((), (1,)))
    told: dict[str, dict[tuple[str, int], Told]] = defaultdict(dict)
    well = pool_of(material.window, material.see)
    for cause, severity, pool in conditions(material, rng):
        drawn = {severity: list(windows_of(material, pool, windows * (10 if cause == NONE else 1), rng))}
        if severity == SETTING_IN_SEVERITY:
            part = windows_of(material, pool, windows, other_rng, before=well, share=SETTING_IN_SHARE)
            drawn[SETTING_IN] = list(part)
        for heard, explainer in ready.items():
            for place, each in drawn.items():
                told[heard][cause, place] = words_of(explainer, "all", each)
    for name, (level, _) in NO_PICTURE.items():
        pool = pool_of([np.full_like(picture, level) for picture in material.window], material.see)
        drawn = [
            w
            for share in (SETTING_IN_SHARE, 1.0)
            for w in windows_of(material, pool, windows, other_rng, before=well, share=share)
        ]
        for heard, explainer in ready.items():
            told[heard][name, 0] = words_of(explainer, "all", drawn)
    scenes: dict[str, list[Told]] = defaultdict(list)
    for scene in material.scenes:
        drawn = list(windows_of(material, pool_of(scene.pictures, material.see), windows, rng, scene.camera))
        for heard, explainer in ready.items():
            scenes[heard].append(words_of(explainer, scene.camera or "all", drawn))
    for heard, each in scenes.items():
        told[heard][SCENE, 0] = together(each)
    return told, spent


def words_of(explainer: Explainer, target: str, drawn: Sequence[tuple[Sample, np.ndarray, np.ndarray]]) -> Told:
    """What is said of windows."""
    told = Told(Counter(), [])
    for sample, of_row, cameras in drawn:
        begun = time.process_time()
        found = explainer.explain(target, sample, of_row=of_row, slices=cameras, drifted=True)
        told.seconds.append(time.process_time() - begun)
        told.words[found.word] += 1
    return told


def show(material: Material, told: dict[str, dict[tuple[str, int], Told]], spent: float) -> None:
    """The tables of one material."""
    rows = len(material.window) * material.size // len(set(zip(material.window_cameras, material.window_blocks)))  # noqa: B905
    print(f"## {material.name}: windows of {material.size} blocks, some {rows} pictures\n")
    print(f"{len(material.reference)} pictures of reference; {spent:.0f} CPU s to learn and calibrate, once.\n")
    print(
        "| heard | severity 1 | 2 | 3 | 4 | 5 | 3, in a third of the window | no drift | new content | another scene "
        "| no picture | ms a window |"
    )
    print(f"|{' --- |' * 12}")
    for heard, found in told.items():
        cells = []
        for severity in (*SEVERITIES, SETTING_IN):
            right = np.mean([found[c, severity].share(lambda w, c=c: is_right(c, w)) for c in CORRUPTIONS])
            spoken = np.mean([found[c, severity].share(lambda w: w is not None) for c in CORRUPTIONS])
            windows = sum(found[c, severity].words.total() for c in CORRUPTIONS)
            cells.append(f"{rate(right, windows)} ({rate(spoken - right, windows)})")
        healthy = [found.get((name, 0)) for name in (NONE, NEW, SCENE)]
        spoken_at = [_spoken(one) if one else "" for one in healthy]
        wrong = np.mean([found[n, 0].share(lambda w, r=r: w not in (None, r)) for n, (_, r) in NO_PICTURE.items()])
        blank = sum(found[name, 0].words.total() for name in NO_PICTURE)
        spoken_at.append(f"{rate(wrong, blank)} of {blank}")
        ms = 1e3 * np.median(np.concatenate([one.seconds for one in found.values()]))
        print(f"| {heard} | {' | '.join(cells)} | {' | '.join(spoken_at)} | {ms:.1f} |")
    print("\nOf all severities, by fault: named rightly (named wrongly); the commonest word.\n")
    print(f"| fault | {' | '.join(told)} |\n| --- |{' --- |' * len(told)}")
    for cause in CORRUPTIONS:
        cells = []
        for found in told.values():
            all_of_it = together(found[cause, severity] for severity in SEVERITIES)
            words, windows = all_of_it.words, all_of_it.words.total()
            right = all_of_it.share(lambda w, c=cause: is_right(c, w))
            wrong = all_of_it.share(lambda w: w is not None) - right
            cells.append(f"{rate(right, windows)} ({rate(wrong, windows)}) {words.most_common(1)[0][0] or 'unknown'}")
        print(f"| {cause} | {' | '.join(cells)} |")
    for heard, found in told.items():
        for name in (NONE, NEW, SCENE, *NO_PICTURE):
            said = found[name, 0].words if (name, 0) in found else Counter()
            spoken = ", ".join(f"{word} {n}" for word, n in said.most_common() if word)
            if spoken:
                print(f"\nWords spoken of {name} by {heard}, of {said.total()} windows: {spoken}.")
    print()


def _spoken(told: Told) -> str:
    return f"{rate(told.share(lambda word: word is not None), told.words.total())} of {told.words.total()}"


def main() -> int:
    """Print the tables; 1 where words are spoken of more than one healthy window in twenty."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--windows", type=int)
    args = parser.parse_args()
    windows = args.windows or (4 if args.quick else 10)
    print(
        f"Share of windows whose cause is named rightly (wrongly), over {len(CORRUPTIONS)} faults, {windows} windows "
        "of each severity; and of windows without drift, with new content and of another scene, in which any word is "
        "wrong, and without a picture, in which all words are but darker of black and brighter of white. Beside each "
        "rate its binomial standard error; of none in n windows, less than 3/n at 95 %.\n"
    )
    worst = 0.0
    for material in materials(quick=args.quick):
        told, spent = ask(material, windows=windows)
        show(material, told, spent)
        worst = max(worst, *(found[NONE, 0].share(lambda w: w is not None) for found in told.values()))
    print(f"Most words spoken without drift: {worst:.3f} of the windows, {MOST_WRONG} at most are allowed.")
    return int(worst > MOST_WRONG)


if __name__ == "__main__":
    sys.exit(main())
