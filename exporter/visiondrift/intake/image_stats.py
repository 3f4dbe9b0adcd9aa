"""What an image is like as a picture, whatever it shows: a few numbers, cheap, measured on the decoded pixels.

Light and colour are measured on a reduced copy; what lives in single pixels (sharpness, noise, JPEG's blocks) on tiles
of the image as it came, spread over it, so that the cost does not grow with the camera's resolution.
"""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, ImageStats

_REDUCED = 128
_LAYOUT_PIXELS = 8 * LAYOUT_SIDE
_TILE = 64
_TILES = 5
_BLOCK = 8
"""Pixels of a JPEG block's side; tiles begin where blocks do."""

_SMALLEST = 1e-4
"""Below the smallest step of an 8-bit pixel: what logarithms are taken of never falls below."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's mode L and JPEG
_DARKEST, _BRIGHTEST = 2 / 255, 253 / 255


def measured(images: Iterable[Image.Image], into: list[ImageStats]) -> Iterator[Image.Image]:
    """The same RGB images, one at a time as they are asked for, with what was measured of each added to ``into``."""
    for image in images:
        into.append(measure(image))
        yield image


def measure(image: Image.Image) -> ImageStats:
    """The properties and the layout of an RGB image; every number is finite."""
    width, height = image.size
    small = _pixels(_reduced(image, _REDUCED))
    luma = small @ _LUMA
    red, green, blue = small.mean(axis=(0, 1), dtype=np.float64)
    sharpness, noise, blockiness = _fine(image)
    found = {
        "brightness": luma.mean(dtype=np.float64),
        "contrast": luma.std(dtype=np.float64),
        "saturation": _chroma(small).mean(dtype=np.float64),
        "warmth": red - blue,
        "tint": green - (red + blue) / 2,
        "sharpness": sharpness,
        "noise": noise,
        "clipping": np.mean((luma <= _DARKEST) | (luma >= _BRIGHTEST)),
        "blockiness": blockiness,
        "entropy": _entropy(luma),
        "aspect": np.log2(width / height),
        "size": np.log2(width * height / 1e6),
    }
    return ImageStats(np.array([found[name] for name in PROPERTIES], dtype=np.float32), _layout(luma))


def _pixels(image: Image.Image) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = np.asarray(image, dtype=np.float32)
    return pixels / np.float32(255)


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """The image by a whole factor smaller, its shorter side at least ``side`` where it was."""
    factor = max(1, min(image.size) // side)
    return image.reduce(factor) if factor > 1 else image


def _chroma(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    red, green, blue = np.moveaxis(pixels, 2, 0)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return np.asarray(spread, dtype=np.float32)


def _entropy(luma: NDArray[np.float32]) -> float:
    """Of the histogram of 256 greys, in bits."""
    counts = np.bincount((luma * 255 + 0.5).astype(np.intp).ravel(), minlength=256)
    shares = counts[counts > 0] / luma.size
    return float(-(shares * np.log2(shares)).sum())


def _fine(image: Image.Image) -> tuple[float, float, float]:
    """Sharpness, noise and blockiness, of tiles of the image at its own resolution."""
    tiles = np.stack([np.asarray(tile.convert("L")) for tile in _tiles(image)]).astype(np.float32) / 255
    if min(tiles.shape[1:]) <= _BLOCK:  # no two blocks side by side, and hardly a gradient
        return float(np.log10(_SMALLEST)), float(np.log10(_SMALLEST)), 0.0
    right, down = np.abs(np.diff(tiles, axis=2)), np.abs(np.diff(tiles, axis=1))
    edges = np.hypot(right[:, 1:], down[:, :, 1:]).mean(axis=(1, 2))
    # Immerkaer 1996: what is left of an image after a difference of two Laplacians is noise.
    second = np.diff(np.diff(tiles, 2, axis=2), 2, axis=1)
    grain = np.sqrt(np.pi / 2) / 6 * np.abs(second).mean(axis=(1, 2))
    # The sharpest tiles say whether anything is in focus; the calmest how much of it all is noise.
    sharpest, calmest = np.quantile(edges, 0.75), np.quantile(grain, 0.25)
    # A gradient goes on through a border, a block's edge stands out from the steps beside it.
    border, beside = slice(_BLOCK - 1, None, _BLOCK), slice(_BLOCK // 2 - 1, None, _BLOCK)
    across = right[:, :, border].mean() + down[:, border].mean()
    inside = right[:, :, beside].mean() + down[:, beside].mean()
    return (
        float(np.log10(max(sharpest, _SMALLEST))),
        float(np.log10(max(calmest, _SMALLEST))),
        float(np.log2((across + _SMALLEST) / (inside + _SMALLEST))),
    )


def _tiles(image: Image.Image) -> list[Image.Image]:
    """Up to ``_TILES`` x ``_TILES`` squares of one size, evenly spread, each beginning on a block."""
    columns, rows = (_places(length) for length in image.size)
    return [
        image.crop((x, y, min(x + _TILE, image.width), min(y + _TILE, image.height))) for y in rows for x in columns
    ]


@cache
def _places(length: int) -> tuple[int, ...]:
    last = max(0, length - _TILE)
    count = min(_TILES, 1 + last // _TILE)
    return tuple(sorted({int(place) // _BLOCK * _BLOCK for place in np.linspace(0, last, count)}))


def _layout(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the edges are: (LAYOUT_SIDE²,) mean gradient of each cell, as a vector of length 1; zeros where flat."""
    grey = Image.fromarray((luma * 255).astype(np.uint8)).resize((_LAYOUT_PIXELS, _LAYOUT_PIXELS), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float32) / 255
    down, right = np.gradient(pixels)
    cells = np.hypot(down, right).reshape(LAYOUT_SIDE, 8, LAYOUT_SIDE, 8).mean(axis=(1, 3)).ravel()
    length = float(np.linalg.norm(cells))
    return np.asarray(cells / length if length > _SMALLEST else np.zeros_like(cells), dtype=np.float32)
