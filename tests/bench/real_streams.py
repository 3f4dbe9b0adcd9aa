"""Real pictures, seen by real networks, normal and through seven faults: the material of bench_real.

digits       scikit-learn's digits as the demo's cameras see them, by its CLIP; three frames of a digit are a block
photographs  patches of two photographs of scikit-learn's and five of scikit-image's at random places, by
             an ImageNet MobileNet; each is a block
cameras      three fixed cameras' clips, by the same network; a second of a clip is a block, and every third second is
             kept for windows

Networks and clips are in ../shared/data (VISIONDRIFT_SHARED_DATA); what is not there is skipped, and said so. Faults
are as strong as makes them hard to see, chosen before any method was run on them.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage import data
from sklearn.datasets import load_sample_images

from visiondrift.demo import digits
from visiondrift.intake.embedder import Embedder

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("VISIONDRIFT_SHARED_DATA", ROOT.parent / "shared" / "data"))
NEW_SHARE = 0.1

Picture = NDArray[np.uint8]
Fault = Callable[[Picture, np.random.Generator], Picture]
See = Callable[[list[Picture]], NDArray[np.float32]]


def _darker(picture: Picture, _: np.random.Generator) -> Picture:
    return _bytes(picture * 0.85)


def _blurred(picture: Picture, _: np.random.Generator) -> Picture:
    blur = ImageFilter.GaussianBlur(len(picture) / 80)
    return np.asarray(Image.fromarray(picture).filter(blur))


def _noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    return _bytes(picture + rng.normal(0, 10, picture.shape))


def _shifted(picture: Picture, _: np.random.Generator) -> Picture:
    """By a sixteenth of the side to the right; the border repeats."""
    side = picture.shape[1]
    return np.ascontiguousarray(picture[:, np.clip(np.arange(side) - side // 16, 0, side - 1)])


def _occluded(picture: Picture, rng: np.random.Generator) -> Picture:
    """A grey box of a fifth of the side, anywhere."""
    side = len(picture)
    box = side // 5
    top, left = rng.integers(0, side - box, 2)
    covered = picture.copy()
    covered[top : top + box, left : left + box] = 90
    return covered


def _compressed(picture: Picture, _: np.random.Generator) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=20)
    return np.asarray(Image.open(file).convert("RGB"))


FAULTS: dict[str, Fault] = {
    "darker": _darker,
    "blur": _blurred,
    "noise": _noisy,
    "shift": _shifted,
    "occlusion": _occluded,
    "JPEG": _compressed,
}
NEW = "new content"
SHIFTS = (*FAULTS, NEW)


@dataclass(frozen=True, eq=False)
class Material:
    """Embeddings by network: of a reference in ``blocks``, and of windows' blocks in every condition ("" is normal).

    ``window_blocks`` (n,) belong to the rows of every pool of ``pools`` (n, d), which show the same scenes; rows of
    ``strange`` (k, d) show something else. ``cameras`` and ``window_cameras`` are slices. ``sizes`` in blocks.
    """

    name: str
    reference: NDArray[np.float32]
    blocks: NDArray[np.intp]
    cameras: NDArray[np.str_]
    pools: dict[str, NDArray[np.float32]]
    window_blocks: NDArray[np.intp]
    window_cameras: NDArray[np.str_]
    strange: NDArray[np.float32]
    sizes: tuple[int, ...]

    def window(self, shift: str, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """The rows and their positions of ``size`` blocks in order; new content replaces whole blocks."""
        chosen = rng.choice(np.unique(self.window_blocks), size, replace=False)
        at = np.flatnonzero(np.isin(self.window_blocks, chosen))
        rows = self.pools["" if shift == NEW else shift][at]
        if shift == NEW:
            new = np.isin(self.window_blocks[at], rng.choice(chosen, max(1, round(NEW_SHARE * size)), replace=False))
            rows = rows.copy()
            rows[new] = self.strange[rng.choice(len(self.strange), int(new.sum()), replace=False)]
        return rows, at


def materials(quick: bool) -> Iterator[Material]:
    """What there is, made when asked for; what is missing is printed."""
    yield _digits(80 if quick else 449)
    if not (DATA / "mobilenet-imagenet").is_dir():
        print("Skipped for want of mobilenet-imagenet in ../shared/data: photographs and cameras.\n")
        return
    yield _photographs(120 if quick else 600, 80 if quick else 250)
    if (DATA / "videos").is_dir():
        yield _cameras(quick)
    else:
        print("Skipped for want of videos in ../shared/data: cameras.\n")


def _pools(pictures: list[Picture], see: See, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    return {"": see(pictures)} | {name: see([fault(p, rng) for p in pictures]) for name, fault in FAULTS.items()}


def _digits(count: int) -> Material:
    rng = np.random.default_rng(51)
    embedder = Embedder(f"local-dir:{ROOT / 'exporter/models/digits-clip'}", device="cpu", batch_size=128)
    split = digits.split()

    def see(pictures: list[Picture]) -> NDArray[np.float32]:
        return embedder.embed([Image.fromarray(p) for p in pictures])

    def shown(indices: NDArray[np.int64]) -> list[Picture]:
        return [frame for camera in digits.CAMERAS for frame, _ in digits.frames(indices, camera, rng=rng)]

    reference, window = split.watched[:count], split.fresh[:count]
    views = len(digits.CAMERAS)
    none = np.full(views * count, "")
    return Material(
        "digits, the demo's CLIP",
        see(shown(reference)),
        np.tile(np.arange(len(reference)), views),
        none[: views * len(reference)],
        _pools(shown(window), see, rng),
        np.tile(np.arange(len(window)), views),
        none[: views * len(window)],
        see([_bytes(255.0 - p) for p in shown(split.fresh[:40])]),
        (10, 20) if count < 100 else (20, 60),
    )


def _photographs(references: int, windows: int) -> Material:
    rng = np.random.default_rng(52)
    photographs = sample_photographs()

    def patches(count: int, of: list[Picture]) -> list[Picture]:
        return [patch(of[rng.integers(len(of))], rng) for _ in range(count)]

    see = mobilenet()
    first, second = (_pools(patches(windows, photographs), see, rng), see(patches(references, photographs)))
    return Material(
        "photographs, MobileNet",
        second,
        np.arange(references),
        np.full(references, ""),
        first,
        np.arange(windows),
        np.full(windows, ""),
        # Something that none of the photographs show: the demo's digits.
        see([np.asarray(Image.fromarray(f).resize((224, 224))) for f in some_digits(40, rng)]),
        (20,) if windows < 100 else (50, 100),
    )


def photograph_patches(count: int) -> NDArray[np.float32] | None:
    """(count, d) embeddings of patches of the photographs; None, and said so, where there is no network."""
    if not (DATA / "mobilenet-imagenet").is_dir():
        print("Skipped for want of mobilenet-imagenet in ../shared/data: photographs.\n")
        return None
    rng = np.random.default_rng(54)
    photographs = sample_photographs()
    see = mobilenet()
    return np.concatenate([see([patch(photographs[rng.integers(len(photographs))], rng)]) for _ in range(count)])


def sample_photographs() -> list[Picture]:
    """The seven photographs in colour that come with scikit-learn and scikit-image, whatever their sizes."""
    own = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.stereo_motorcycle()[0])
    return [*load_sample_images().images, *own]


def _cameras(quick: bool) -> Material:
    sys.path.append(str(ROOT / "tests" / "contract"))
    from real_video_material import CLIPS, decoded

    rng = np.random.default_rng(53)
    see = mobilenet()
    pictures, cameras, seconds = [], [], []
    for camera, (clip, every) in CLIPS.items():
        for time, pixels in decoded(DATA / "videos" / clip, every * (3 if quick else 1)):
            pictures.append(pixels)
            cameras.append(camera)
            seconds.append(int(time))
    names, second = np.array(cameras), np.array(seconds)
    blocks = np.unique(np.stack([np.unique(names, return_inverse=True)[1], second]), axis=1, return_inverse=True)[1]
    kept = second % 3 == 2
    window = [picture for picture, of_window in zip(pictures, kept, strict=True) if of_window]
    return Material(
        "three fixed cameras, MobileNet",
        see([picture for picture, of_window in zip(pictures, kept, strict=True) if not of_window]),
        blocks[~kept].reshape(-1),
        names[~kept],
        _pools(window, see, rng),
        blocks[kept].reshape(-1),
        names[kept],
        see([np.asarray(Image.fromarray(f).resize((224, 224))) for f in some_digits(200, rng)]),
        (10, 20),
    )


def some_digits(count: int, rng: np.random.Generator) -> list[Picture]:
    return [frame for frame, _ in digits.frames(digits.split().fresh[:count], digits.CAMERAS[0], rng=rng)]


def mobilenet() -> See:
    sys.path.append(str(ROOT / "tests" / "contract"))
    from real_video_material import EXTRACTOR, Network

    network = Network(DATA / "mobilenet-imagenet" / EXTRACTOR)
    return lambda pictures: np.array([network.run(np.ascontiguousarray(p)) for p in pictures], dtype=np.float32)


def patch(photograph: Picture, rng: np.random.Generator) -> Picture:
    side = int(rng.integers(80, 200))
    top, left = (int(rng.integers(0, length - side)) for length in photograph.shape[:2])
    return np.asarray(Image.fromarray(photograph[top : top + side, left : left + side]).resize((224, 224)))


def _bytes(values: NDArray[np.floating]) -> Picture:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
