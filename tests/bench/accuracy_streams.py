"""The streams of bench_accuracy: the demo's digits through ten faults at four severities, CIFAR-10 under label shift.

Seven faults are the demo's own conditions; inversion, shift and heavy JPEG are made here of clear frames. Five others
are for development: limits of the estimate were looked at on those, and never on the ten.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiondrift.demo import classifier, digits
from visiondrift.drift.performance.model import Evidence
from visiondrift.intake.embedder import Embedder

SEVERITIES = (0.25, 0.5, 0.75, 1.0)
ROOT = Path(__file__).resolve().parents[2]
OWN = tuple(condition for condition in digits.CONDITIONS if condition != "clear")

Fault = Callable[[digits.Frame, float, np.random.Generator], digits.Frame]


@dataclass(frozen=True)
class Stream:
    """Events with their true classes; ``fault`` and ``severity`` say what was done to them."""

    fault: str
    severity: float
    evidence: Evidence
    labels: NDArray[np.int32]

    @property
    def accuracy(self) -> float:
        return float((self.evidence.predicted == self.labels).mean())


def inverted(frame: digits.Frame, severity: float, _: np.random.Generator) -> digits.Frame:
    """Towards the negative; at one half there is nothing but grey."""
    return _bytes(frame * (1 - severity) + (255 - frame.astype(float)) * severity)


def shifted(frame: digits.Frame, severity: float, rng: np.random.Generator) -> digits.Frame:
    """Up to 28 of 64 pixels in a random direction; the border repeats its edge."""
    angle = rng.uniform(0, 2 * np.pi)
    right, down = np.round(28 * severity * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    places = [np.clip(np.arange(64) - step, 0, 63) for step in (down, right)]
    return np.ascontiguousarray(frame[places[0]][:, places[1]])


def jpeg(frame: digits.Frame, severity: float, _: np.random.Generator) -> digits.Frame:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=max(1, round(20 * (1 - severity))))
    return np.asarray(Image.open(buffer).convert("RGB"))


def pixelated(frame: digits.Frame, severity: float, _: np.random.Generator) -> digits.Frame:
    side = round(16 - 12 * severity)
    small = Image.fromarray(frame).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small.resize((64, 64), Image.Resampling.NEAREST))


def zoomed_out(frame: digits.Frame, severity: float, _: np.random.Generator) -> digits.Frame:
    side = round(64 - 44 * severity)
    before = (64 - side) // 2
    after = 64 - side - before
    small = np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS))
    return np.pad(small, ((before, after), (before, after), (0, 0)), mode="edge")


def sheared(frame: digits.Frame, severity: float, _: np.random.Generator) -> digits.Frame:
    lean = 1.2 * severity
    back = (1, lean, -32 * lean, 0, 1, 0)
    fill = tuple(int(v) for v in np.median(frame, axis=(0, 1)))
    return np.asarray(
        Image.fromarray(frame).transform(
            (64, 64), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC, fillcolor=fill
        )
    )


def peppered(frame: digits.Frame, severity: float, rng: np.random.Generator) -> digits.Frame:
    hit = rng.random(frame.shape[:2]) < 0.5 * severity
    return np.where(hit[:, :, None], (255 * rng.integers(0, 2, frame.shape[:2]))[:, :, None], frame).astype(np.uint8)


def striped(frame: digits.Frame, severity: float, rng: np.random.Generator) -> digits.Frame:
    """Rows lost in transmission: they repeat the last row received."""
    lost = rng.random(64) < 0.9 * severity
    lost[0] = False
    return np.ascontiguousarray(frame[np.maximum.accumulate(np.where(lost, 0, np.arange(64)))])


MADE: dict[str, Fault] = {"inverted": inverted, "shifted": shifted, "jpeg": jpeg}
DEVELOPMENT: dict[str, Fault] = {
    "pixelated": pixelated,
    "zoomed out": zoomed_out,
    "sheared": sheared,
    "peppered": peppered,
    "striped": striped,
}


class Digits:
    """The demo's world, watched: its classifier, its tiny CLIP, a labelled reference, and streams through faults."""

    def __init__(self, seed: int = 0) -> None:
        self._model = classifier.train(seed)
        self._embedder = Embedder(f"local-dir:{ROOT / 'exporter/models/digits-clip'}", device="cpu", batch_size=128)

    def reference(self, rng: np.random.Generator, rounds: int = 2) -> Stream:
        """Clear frames of the watched quarter by every camera; the block is the digit that frames show."""
        parts = [np.tile(digits.split().watched, rounds) for _ in digits.CAMERAS]
        return self._stream("clear", 0.0, parts, rng)

    def window(self, fault: str, severity: float, rows: int, rng: np.random.Generator) -> Stream:
        """``rows`` frames of the stream quarter by all cameras, each digit at most once."""
        chosen = rng.choice(digits.split().fresh, rows, replace=False)
        return self._stream(fault, severity, np.array_split(chosen, len(digits.CAMERAS)), rng)

    def _stream(self, fault: str, severity: float, parts: list[digits.Indices], rng: np.random.Generator) -> Stream:
        condition = fault if fault in digits.CONDITIONS else "clear"
        make = (MADE | DEVELOPMENT).get(fault)
        frames, labels = [], []
        for camera, indices in zip(digits.CAMERAS, parts, strict=True):
            for frame, label in digits.frames(indices, camera, condition, rng=rng, strength=severity):
                frames.append(make(frame, severity, rng) if make else frame)
                labels.append(label)
        confidences = self._model.predict_proba(frames)
        images = [Image.open(io.BytesIO(digits.encode(frame))).convert("RGB") for frame in frames]
        evidence = Evidence(
            confidences.astype(np.float32),
            confidences.argmax(axis=1).astype(np.int32),
            self._embedder.embed(images),
            np.concatenate(parts),
        )
        return Stream(fault, severity, evidence, np.asarray(labels, dtype=np.int32))


class Cifar:
    """VGG-16 on CIFAR-10's test images: confidences and true classes, half for the reference, half for the stream."""

    def __init__(self, file: Path, rng: np.random.Generator) -> None:
        with np.load(file) as data:
            self._confidences, self._labels = data["probs"], data["labels"].astype(np.int32)
        order = rng.permutation(len(self._labels))
        self._reference, self._rest = np.array_split(order, 2)

    def reference(self) -> Stream:
        return self._stream("none", 0.0, self._reference)

    def window(self, strength: float | None, rows: int, rng: np.random.Generator) -> tuple[Stream, NDArray[np.float64]]:
        """``rows`` events whose class shares are drawn from a Dirichlet, and these shares; None: no label shift."""
        shares = np.full(10, 0.1) if strength is None else rng.dirichlet(np.full(10, strength))
        wanted = rng.multinomial(rows, shares)
        # Without replacement: events drawn twice would tie windows together in a way that no interval knows of.
        members = [self._rest[self._labels[self._rest] == k] for k in range(10)]
        chosen = [rng.choice(m, min(n, len(m)), replace=False) for m, n in zip(members, wanted, strict=True)]
        return self._stream("label shift", strength or 0.0, np.concatenate(chosen)), shares

    def _stream(self, fault: str, severity: float, rows: NDArray[np.intp]) -> Stream:
        confidences = self._confidences[rows]
        evidence = Evidence(confidences, confidences.argmax(axis=1).astype(np.int32))
        return Stream(fault, severity, evidence, self._labels[rows])


def cifar_file() -> Path | None:
    """Where the CIFAR-10 confidences are, by VISIONDRIFT_SHARED_DATA; None where they are not."""
    root = Path(os.environ.get("VISIONDRIFT_SHARED_DATA", ROOT.parent / "shared" / "data"))
    file = root / "cifar10-vgg16-softmax" / "cifar_probs.npz"
    return file if file.is_file() else None


def faulty(world: Digits, faults: tuple[str, ...], rows: int, repeats: int, seed: int) -> Iterator[Stream]:
    """Every fault at every severity, ``repeats`` windows of each, and as many clear ones for each fault."""
    for place, fault in enumerate(faults):
        for step, severity in enumerate((0.0, *SEVERITIES)):
            for repeat in range(repeats):
                rng = np.random.default_rng([seed, place, step, repeat])
                yield world.window("clear" if severity == 0 else fault, severity, rows, rng)


def _bytes(values: NDArray[np.floating]) -> digits.Frame:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
