"""What can go wrong between a scene and its pixels, done to an image on purpose, so that its traces can be learnt.

Decides what each fault of light, lens, weather, mount and transmission looks like, and how strong its five severities
are: from hard to see to hard to see through. Every length is a share of the image's, so that a severity looks the same
at any size from 8 x 8. A fault that can go several ways (to the left, warmer) has its ``ways``: a camera knows one.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SEVERITIES: Final = (1, 2, 3, 4, 5)
SMALLEST_SIDE: Final = 8

Pixels = NDArray[np.float32]
Apply = Callable[[Pixels, int, int, np.random.Generator], Pixels]
"""(height, width, 3) of 0-1, how strong (0 to 4), which way, a source of chance -> the same shape, unbounded."""

_SIDES = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))


@dataclass(frozen=True)
class Corruption:
    """One fault, in each of its ``ways``."""

    apply: Apply
    ways: int = 1

    def __call__(self, image: Image.Image, severity: int, *, rng: np.random.Generator, way: int = 0) -> Image.Image:
        """An RGB ``image`` of at least 8 x 8 at a ``severity`` of 1 to 5; the same generator gives the same pixels.

        Raises ValueError where the severity or the way does not exist, or the image is smaller or not RGB.
        """
        if severity not in SEVERITIES or not 0 <= way < self.ways:
            msg = f"severity {severity}, way {way}: accepted are severities 1 to 5 and ways 0 to {self.ways - 1}"
            raise ValueError(msg)
        if image.mode != "RGB" or min(image.size) < SMALLEST_SIDE:
            msg = f"the image is {image.mode} of {image.size}; accepted is RGB of {SMALLEST_SIDE} pixels a side or more"
            raise ValueError(msg)
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        changed = self.apply(pixels, severity - 1, way, rng)
        return Image.fromarray(np.asarray(np.clip(changed, 0, 1) * 255 + 0.5, dtype=np.uint8))


def _darker(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    return pixels * np.float32((0.8, 0.65, 0.5, 0.35, 0.2)[strength])


def _brighter(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    return pixels * np.float32((1.2, 1.45, 1.8, 2.3, 3.2)[strength])


def _less_contrast(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    share = np.float32((0.8, 0.65, 0.5, 0.35, 0.2)[strength])
    return np.asarray(pixels * share + pixels.mean(dtype=np.float32) * (1 - share))


def _blurred(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    radius = max(_side(pixels) * (0.006, 0.01, 0.016, 0.025, 0.04)[strength], 0.4)
    return _filtered(pixels, ImageFilter.GaussianBlur(radius))


def _motion_blurred(pixels: Pixels, strength: int, way: int, _: np.random.Generator) -> Pixels:
    """Along the rows or along the columns, as a vehicle or a shaken mount does."""
    length = max(3, 1 + 2 * round(_side(pixels) * (0.015, 0.025, 0.04, 0.06, 0.1)[strength]))
    return _smeared(pixels, length, axis=1 - way)


def _noisy(pixels: Pixels, strength: int, _: int, rng: np.random.Generator) -> Pixels:
    scale = np.float32((0.02, 0.04, 0.07, 0.12, 0.2)[strength])
    return pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * scale


def _compressed(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    _image(pixels).save(file, "JPEG", quality=(40, 25, 15, 10, 6)[strength])
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) / np.float32(255)


def _foggy(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    """Denser towards the top, where a scene is farther away; light that is scattered is also spread."""
    density = np.float32((0.2, 0.35, 0.5, 0.65, 0.8)[strength])
    height = pixels.shape[0]
    veil = (density * np.linspace(1.0, 0.7, height, dtype=np.float32))[:, None, None]
    spread = _filtered(pixels, ImageFilter.GaussianBlur(_side(pixels) * 0.012 * float(density)))
    return np.asarray(spread * (1 - veil) + np.float32(0.78) * veil)


def _rainy(pixels: Pixels, strength: int, _: int, rng: np.random.Generator) -> Pixels:
    """Bright streaks, steep, over a scene that is a little darker and greyer."""
    height, width, _channels = pixels.shape
    drops = np.asarray(rng.random((height, width)) < (0.004, 0.008, 0.014, 0.022, 0.035)[strength], dtype=np.float32)
    length = max(3, round(height * 0.09))
    streaks = np.zeros_like(drops)
    for step in range(length):
        streaks = np.maximum(streaks, np.roll(drops, (step, step // 5), axis=(0, 1)))
    gloom = np.float32((0.95, 0.9, 0.85, 0.8, 0.75)[strength])
    veil = streaks[:, :, None] * np.float32(0.45)
    return np.asarray(pixels * gloom * (1 - veil) + np.float32(0.85) * veil)


def _snowy(pixels: Pixels, strength: int, _: int, rng: np.random.Generator) -> Pixels:
    """White flakes, soft and of several sizes, over a paler scene."""
    height, width, _channels = pixels.shape
    share = (0.004, 0.008, 0.015, 0.025, 0.04)[strength]
    flakes = np.zeros((height, width), dtype=np.float32)
    for radius in (0.004, 0.008, 0.014):
        width_of_flake = 1 + 2 * max(0, round(_side(pixels) * radius))
        points = rng.random((height, width, 1)) < share / width_of_flake
        soft = _smeared(_smeared(points.astype(np.float32), width_of_flake, axis=0), width_of_flake, axis=1)
        flakes = np.maximum(flakes, np.minimum(soft[:, :, 0] * np.float32(width_of_flake**2 * 0.9), 1.0))
    pale = np.float32((0.04, 0.08, 0.12, 0.16, 0.2)[strength])
    veil = flakes[:, :, None]
    return (pixels * (1 - pale) + np.float32(0.9) * pale) * (1 - veil) + veil


def _covered(pixels: Pixels, strength: int, way: int, _: np.random.Generator) -> Pixels:
    """Something dark and out of focus before the lens, in from one of the four sides."""
    across, down = _SIDES[way]
    height, width, _channels = pixels.shape
    place = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(across) + np.linspace(
        -1, 1, height, dtype=np.float32
    )[:, None] * np.float32(down)
    edge = np.float32(1 - 2 * (0.1, 0.2, 0.35, 0.5, 0.7)[strength])
    cover = np.clip((place - edge) / np.float32(0.08) + np.float32(0.5), 0, 1)[:, :, None]
    return np.asarray(pixels * (1 - cover) + np.float32(0.08) * cover)


def _shifted(pixels: Pixels, strength: int, way: int, _: np.random.Generator) -> Pixels:
    """What was there moves to one of the four sides; the border repeats where nothing is known."""
    across, down = _SIDES[way]
    share = (0.04, 0.08, 0.13, 0.2, 0.3)[strength]
    height, width, _channels = pixels.shape
    rows = np.clip(np.arange(height) - round(down * share * height), 0, height - 1)
    columns = np.clip(np.arange(width) - round(across * share * width), 0, width - 1)
    return np.asarray(pixels[rows][:, columns])


def _rotated(pixels: Pixels, strength: int, way: int, _: np.random.Generator) -> Pixels:
    """About the middle, to the left or to the right; the border repeats."""
    degrees = (4, 8, 14, 22, 35)[strength] * (1 if way == 0 else -1)
    height, width, _channels = pixels.shape
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    return _sampled(pixels, cos * y + sin * x + (height - 1) / 2, -sin * y + cos * x + (width - 1) / 2)


def _zoomed(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    """Nearer: the middle fills the frame."""
    scale = 1 / (1.1, 1.2, 1.35, 1.6, 2.0)[strength]
    height, width, _channels = pixels.shape
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    return _sampled(pixels, y * scale + (height - 1) / 2, x * scale + (width - 1) / 2)


def _colour_cast(pixels: Pixels, strength: int, way: int, _: np.random.Generator) -> Pixels:
    """Warmer, cooler, or greener, at much the same brightness."""
    size = (0.06, 0.12, 0.19, 0.27, 0.38)[strength]
    red, green, blue = ((1.0, 0.0, -1.0), (-1.0, 0.0, 1.0), (-0.6, 0.5, -0.6))[way]
    return pixels * np.array([1 + size * red, 1 + size * green, 1 + size * blue], dtype=np.float32)


def _coarser(pixels: Pixels, strength: int, _: int, __: np.random.Generator) -> Pixels:
    """Fewer pixels, scaled up again to the size that was."""
    factor = (1.5, 2.0, 3.0, 4.5, 7.0)[strength]
    image = _image(pixels)
    small = (max(2, round(image.width / factor)), max(2, round(image.height / factor)))
    scaled = image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)
    return np.asarray(scaled, dtype=np.float32) / np.float32(255)


CORRUPTIONS: Final[Mapping[str, Corruption]] = MappingProxyType(
    {
        "darker": Corruption(_darker),
        "brighter": Corruption(_brighter),
        "less contrast": Corruption(_less_contrast),
        "blurred": Corruption(_blurred),
        "motion blurred": Corruption(_motion_blurred, ways=2),
        "noisy": Corruption(_noisy),
        "compressed": Corruption(_compressed),
        "foggy": Corruption(_foggy),
        "rainy": Corruption(_rainy),
        "snowy": Corruption(_snowy),
        "covered": Corruption(_covered, ways=4),
        "shifted": Corruption(_shifted, ways=4),
        "rotated": Corruption(_rotated, ways=2),
        "zoomed": Corruption(_zoomed),
        "colour cast": Corruption(_colour_cast, ways=3),
        "coarser": Corruption(_coarser),
    }
)
"""Every fault by the word that an operator reads: the scene has become darker, blurred, rotated."""


def _side(pixels: Pixels) -> int:
    return int(min(pixels.shape[:2]))


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.asarray(np.clip(pixels, 0, 1) * 255 + 0.5, dtype=np.uint8))


def _filtered(pixels: Pixels, kernel: ImageFilter.Filter) -> Pixels:
    return np.asarray(_image(pixels).filter(kernel), dtype=np.float32) / np.float32(255)


def _smeared(pixels: Pixels, length: int, *, axis: int) -> Pixels:
    """The mean of ``length`` (odd) neighbours along an axis; the border repeats."""
    half = length // 2
    around = [(half + 1, half) if which == axis else (0, 0) for which in range(3)]
    sums = np.cumsum(np.pad(pixels, around, mode="edge"), axis=axis, dtype=np.float64)
    size = pixels.shape[axis]
    upper = np.take(sums, np.arange(length, length + size), axis=axis)
    return np.asarray((upper - np.take(sums, np.arange(size), axis=axis)) / length, dtype=np.float32)


def _sampled(pixels: Pixels, y: NDArray[np.float64], x: NDArray[np.float64]) -> Pixels:
    """``pixels`` at the places (height, width) ``y`` and ``x``, between four neighbours; the border repeats."""
    height, width, _channels = pixels.shape
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.minimum(y.astype(np.intp), height - 2), np.minimum(x.astype(np.intp), width - 2)
    down, right = (y - top).astype(np.float32)[:, :, None], (x - left).astype(np.float32)[:, :, None]
    above = pixels[top, left] * (1 - right) + pixels[top, left + 1] * right
    below = pixels[top + 1, left] * (1 - right) + pixels[top + 1, left + 1] * right
    return np.asarray(above * (1 - down) + below * down, dtype=np.float32)
