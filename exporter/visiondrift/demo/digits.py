"""The demo's world: handwritten digits on paper, seen by three cameras, in eight conditions.

Decides what a frame of the demo looks like. Scikit-learn's bundled digits are the objects; everything between the paper
and the pixels (framing, optics, exposure, sensor) is drawn here, from a caller's generator, so that no two frames are
identical and every stream can be repeated.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

FRAME_SIZE: Final = 64
CAMERAS: Final = ("left", "centre", "right")
CONDITIONS: Final = ("clear", "dark", "overexposed", "blurry", "noisy", "covered", "tilted", "foggy")

FloatImage = NDArray[np.float32]
Frame = NDArray[np.uint8]
Indices = NDArray[np.int64]

_GLYPH_SIZE: Final = 8  # load_digits gives 8 x 8 counts of inked pixels, 0 to 16
_GLYPH_SHARE: Final = 0.8  # of the frame's side, for a camera with zoom 1
_INK: Final = 0.82  # how much light full ink takes from the paper
_SPLIT_SEED: Final = 20


@dataclass(frozen=True)
class Split:
    """Disjoint index sets into the digits, each in a shuffled order.

    `train` (half) is for the classifier and the CLIP, so that nothing that is monitored was trained on. `watched` (a
    quarter) is what the demo's cameras look at, in its reference and in its traffic: frames that are rendered anew of
    the same digits, as a camera sees the same place. Two samples of 450 handwritten digits, each shown a hundred times
    over, do differ, and it would be told. `fresh` (a quarter) is what no camera has looked at.
    """

    train: Indices
    watched: Indices
    fresh: Indices


@dataclass(frozen=True)
class _View:
    """How one camera is mounted and set, and where a fault of it would sit: faults belong to a camera, not a frame."""

    tilt_degrees: float
    zoom: float
    exposure: float
    tint: tuple[float, float, float]
    light_from: tuple[float, float]
    covered_side: tuple[float, float]
    knocked_degrees: float


_VIEWS: Final[Mapping[str, _View]] = MappingProxyType(
    {
        "left": _View(-4.0, 0.97, 0.94, (1.0, 0.98, 0.94), (-0.6, -0.3), (-1.0, 0.0), -42.0),
        "centre": _View(0.0, 1.0, 1.0, (1.0, 1.0, 1.0), (0.0, -0.5), (0.0, 1.0), 42.0),
        "right": _View(4.0, 1.04, 1.05, (0.95, 0.98, 1.0), (0.6, -0.3), (1.0, 0.0), 42.0),
    }
)


@cache
def digits() -> tuple[FloatImage, Indices]:
    """All 1,797 digits: ink (1797, 8, 8), 0 to 16, and labels (1797,), 0 to 9; both read-only."""
    loaded = load_digits()
    images = np.asarray(loaded.images, dtype=np.float32)
    labels = np.asarray(loaded.target, dtype=np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def split() -> Split:
    """The same three disjoint sets at every call, every digit class in the same proportion in each."""
    _, labels = digits()
    rng = np.random.default_rng(_SPLIT_SEED)
    parts: tuple[list[Indices], list[Indices], list[Indices]] = ([], [], [])
    for label in range(10):
        members = rng.permutation(np.flatnonzero(labels == label))
        half, three_quarters = len(members) // 2, len(members) * 3 // 4
        for part, chunk in zip(parts, np.split(members, [half, three_quarters]), strict=True):
            part.append(chunk)
    train, watched, fresh = (rng.permutation(np.concatenate(part)) for part in parts)
    return Split(train, watched, fresh)


def render(
    digit: FloatImage, camera: str, condition: str = "clear", strength: float = 1.0, *, rng: np.random.Generator
) -> Frame:
    """One frame of one digit.

    `digit` is (8, 8) of ink 0 to 16; `strength` 0 is as good as clear, 1 the full fault. Returns (64, 64, 3) uint8 RGB.
    Shift, turn, size, exposure and sensor noise jitter a little with every frame. Raises ValueError on an unknown
    camera or condition and on a strength outside 0 to 1.
    """
    view = _view(camera)
    _check_condition(condition, strength)
    ink = _frame_ink(digit, view, view.knocked_degrees * strength if condition == "tilted" else 0.0, rng)
    scene = _light(view)[:, :, None] * (1.0 - _INK * ink)[:, :, None] * np.asarray(view.tint, dtype=np.float32)
    scene = _through_fault(scene, view, condition, strength)
    scene = scene * np.float32(view.exposure * rng.normal(1.0, 0.03))
    noise = 0.015 + (0.30 * strength if condition == "noisy" else 0.0)
    scene = scene + rng.standard_normal(scene.shape, dtype=np.float32) * np.float32(noise)
    return np.asarray(np.clip(scene, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8)


def frames(
    indices: Indices, camera: str, condition: str = "clear", *, rng: np.random.Generator, strength: float = 1.0
) -> Iterator[tuple[Frame, int]]:
    """Yield (frame, label) for each index, in order; an index may come twice and gives another frame each time."""
    images, labels = digits()
    for index in indices:
        yield render(images[index], camera, condition, strength, rng=rng), int(labels[index])


def encode(frame: Frame) -> bytes:
    """The frame as a JPEG, as a camera would send it."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()


def _view(camera: str) -> _View:
    view = _VIEWS.get(camera)
    if view is None:
        raise ValueError(f"camera {camera!r} is not in the demo; accepted: {', '.join(CAMERAS)}")
    return view


def _check_condition(condition: str, strength: float) -> None:
    if condition not in CONDITIONS:
        raise ValueError(f"condition {condition!r} is unknown; accepted: {', '.join(CONDITIONS)}")
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength {strength!r} is out of range; accepted: 0 (none) to 1 (full)")


def _frame_ink(digit: FloatImage, view: _View, turn_degrees: float, rng: np.random.Generator) -> FloatImage:
    """Place the glyph in the frame: one resampling, 8 x 8 to 64 x 64, values 0 to 1."""
    angle = math.radians(view.tilt_degrees + turn_degrees + rng.normal(0.0, 1.5))
    side = FRAME_SIZE * _GLYPH_SHARE * view.zoom * rng.normal(1.0, 0.02)
    shift_x, shift_y = rng.normal(0.0, 1.2, size=2)
    # PIL wants the way back, from a pixel of the frame to a place on the glyph. A rim of blank paper around the glyph
    # lets the interpolation fade out instead of ending in a hard edge.
    rim = 2
    padded = Image.fromarray(np.pad(np.asarray(digit, dtype=np.float32) / 16.0, rim))
    scale = _GLYPH_SIZE / side
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    centre = rim + _GLYPH_SIZE / 2
    middle_x, middle_y = FRAME_SIZE / 2 + shift_x, FRAME_SIZE / 2 + shift_y
    back = (cos, sin, centre - cos * middle_x - sin * middle_y, -sin, cos, centre + sin * middle_x - cos * middle_y)
    placed = padded.transform((FRAME_SIZE, FRAME_SIZE), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(placed, dtype=np.float32), 0.0, 1.0)


def _through_fault(scene: FloatImage, view: _View, condition: str, strength: float) -> FloatImage:
    """What the fault does to the light, (64, 64, 3), before exposure and sensor; 'noisy' and 'tilted' act elsewhere."""
    if condition == "dark":
        return scene * np.float32(0.12**strength)
    if condition == "overexposed":
        return scene * np.float32(3.4**strength)
    if condition == "blurry":
        return _blurred(scene, 6.5 * strength)
    if condition == "foggy":
        veil = np.float32(0.75 * strength)
        return _blurred(scene, 1.0 * strength) * (1.0 - veil) + np.float32(0.72) * veil
    if condition == "covered":
        return scene * (1.0 - _cover(view, strength))[:, :, None]
    return scene


def _blurred(scene: FloatImage, sigma: float) -> FloatImage:
    """Gaussian blur of (64, 64, 3) floats, sigma in pixels; by channel, as PIL blurs floats only singly."""
    if sigma <= 0.0:
        return scene
    quantised = Image.fromarray(np.asarray(np.clip(scene, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8))
    return np.asarray(quantised.filter(ImageFilter.GaussianBlur(sigma)), dtype=np.float32) / np.float32(255.0)


@cache
def _light(view: _View) -> FloatImage:
    """Light on the paper, (64, 64): a slope from the lamp's side and a little vignetting at the corners."""
    axis = np.linspace(-1.0, 1.0, FRAME_SIZE, dtype=np.float32)
    across, down = axis[None, :], axis[:, None]
    slope = 0.06 * (view.light_from[0] * across + view.light_from[1] * down)
    light = np.asarray(0.80 + slope - 0.05 * (across**2 + down**2), dtype=np.float32)
    light.setflags(write=False)
    return light


def _cover(view: _View, strength: float) -> FloatImage:
    """Share of the light taken away, (64, 64): something soft-edged over up to two fifths of the frame."""
    axis = np.linspace(-1.0, 1.0, FRAME_SIZE, dtype=np.float32)
    toward = view.covered_side[0] * axis[None, :] + view.covered_side[1] * axis[:, None]
    edge = 1.0 - 0.85 * strength
    share = 0.9 * np.clip((toward - edge) / 0.12, 0.0, 1.0) if strength > 0 else np.zeros_like(toward)
    return np.asarray(np.broadcast_to(share, (FRAME_SIZE, FRAME_SIZE)), dtype=np.float32)
