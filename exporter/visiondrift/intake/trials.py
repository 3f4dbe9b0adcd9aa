"""Learns what known faults do to the images of a reference: each fault is done to some of them, measured and embedded.

The images are few and the faults many, so cost is bounded by pixels: of large images fewer are tried, of small ones as
many as make the mean move certain. What is kept is the traces, never an image.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiondrift.corruptions import CORRUPTIONS, SMALLEST_SIDE
from visiondrift.drift.explain.witnesses import PROBES, Probe, Trace, Witnesses
from visiondrift.drift.thinning import evenly
from visiondrift.intake.image_stats import measured
from visiondrift.prediction import ImageStats

TRIED_SEVERITIES = (2, 4)
MOST_IMAGES = 48
FEWEST_IMAGES = 12
_MOST_PIXELS = 24_000_000
"""Of all images that are tried together; each of them is changed some fifty times."""

Embed = Callable[[Iterable[Image.Image]], NDArray[np.float32]]
"""Images, one at a time -> (n, d) unit rows."""

ReadWords = Callable[[Sequence[str]], NDArray[np.float32]]
"""Sentences -> (k, d) unit rows in the same space."""

TRIALS: tuple[Trace, ...] = tuple(
    Trace(cause, severity, way)
    for cause, corruption in CORRUPTIONS.items()
    for way in range(corruption.ways)
    for severity in TRIED_SEVERITIES
)
"""Everything that is tried."""


def chosen(count: int, pixels: int) -> NDArray[np.intp]:
    """Which of ``count`` images of so many ``pixels`` each are tried, evenly spread over them."""
    many = int(np.clip(_MOST_PIXELS // max(pixels, 1), FEWEST_IMAGES, MOST_IMAGES))
    return evenly(count, many)


def without_embeddings(images: Iterable[Image.Image]) -> NDArray[np.float32]:
    """Embeds nothing, where only a client can: what is learnt is then of the properties alone."""
    return np.zeros((sum(1 for _ in images), 0), dtype=np.float32)


def learn(
    images: Sequence[Image.Image], embed: Embed, *, progress: Callable[[str], None] = lambda _: None
) -> Witnesses:
    """What every trial does to RGB ``images``, of which those smaller than 8 x 8 are left out; without probes.

    Raises ValueError where no image is left, and whatever ``embed`` raises.
    """
    tried = [image for image in images if min(image.size) >= SMALLEST_SIDE]
    if not tried:
        msg = f"no image of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels to learn faults from"
        raise ValueError(msg)
    before, layouts_before, usual = _seen(tried, embed)
    after, layouts_after, moves = [], [], []
    for trace in TRIALS:
        if trace.severity == TRIED_SEVERITIES[0] and trace.way == 0:
            progress(f"learning what {trace.cause} looks like")
        properties, layouts, mean = _seen(_changed(tried, trace), embed)
        after.append(properties)
        layouts_after.append(layouts)
        moves.append(mean - usual)
    no_directions = np.zeros((0, len(usual)), dtype=np.float32)
    return Witnesses(
        TRIALS,
        before,
        np.stack(after),
        layouts_before,
        np.stack(layouts_after),
        np.stack(moves).astype(np.float32),
        (),
        no_directions,
    )


def with_probes(witnesses: Witnesses, read: ReadWords, own: Sequence[Probe] = ()) -> Witnesses:
    """The same with the default probes and a user's ``own``, which take the place of defaults of the same name."""
    named = {probe.name for probe in own}
    probes = (*(probe for probe in PROBES if probe.name not in named), *own)
    positive, negative = read([probe.positive for probe in probes]), read([probe.negative for probe in probes])
    apart = positive.astype(np.float64) - negative
    lengths = np.linalg.norm(apart, axis=1, keepdims=True)
    directions = (apart / np.maximum(lengths, _LEAST_LENGTH)).astype(np.float32)
    return replace(witnesses, probes=probes, directions=directions)


_LEAST_LENGTH = 1e-6
"""Two sentences that a model cannot tell apart have no direction between them, and never speak."""


def _changed(images: Sequence[Image.Image], trace: Trace) -> Iterator[Image.Image]:
    seed = zlib.crc32(f"{trace.cause} {trace.severity} {trace.way}".encode())
    rng = np.random.default_rng(seed)
    for image in images:
        yield CORRUPTIONS[trace.cause](image, trace.severity, rng=rng, way=trace.way)


def _seen(
    images: Iterable[Image.Image], embed: Embed
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Properties (N, P) and layouts (N, L) of the images, and the mean (d,) of their embeddings; each is made once."""
    stats: list[ImageStats] = []
    embedded = embed(measured(images, stats))
    mean = np.asarray(embedded.mean(axis=0, dtype=np.float64))
    return np.stack([one.properties for one in stats]), np.stack([one.layout for one in stats]), mean
