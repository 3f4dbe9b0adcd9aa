"""Makes the demo's reference: `python -m visiondrift.demo.make_reference`, after training the demo's CLIP anew.

The digits that the cameras watch, seen by each camera a few times, classified and embedded as the stream will be, at
its pace, and with the digits that they truly are; beside the rows small pictures of some, to set beside those of a
drift. The same code and weights give the same rows and pictures.
"""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from visiondrift.config import load_config
from visiondrift.demo import classifier, digits
from visiondrift.demo.stream import FRAMES_PER_SECOND, MODEL, VERSION
from visiondrift.drift.thinning import evenly
from visiondrift.intake.embedder import Embedder, embedder_of
from visiondrift.intake.image_stats import measure
from visiondrift.intake.thumbnails import small_jpeg
from visiondrift.intake.trials import MOST_IMAGES, learn, with_probes
from visiondrift.prediction import PredictionEvent, Sample, sample_of
from visiondrift.reference import save_reference
from visiondrift.reference_pictures import save_pictures
from visiondrift.witness_file import save_witnesses

ROUNDS = 2
PICTURES = 240
"""Kept of the rows: some of each camera and digit, in a few hundred KiB."""

_Shown = tuple[PredictionEvent, int, Image.Image]
"""An event of the reference, the digit that it truly is of, and its image."""

_BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC).timestamp()


def main(config_directory: Path = Path("exporter/config")) -> None:
    """Build and save it where the configuration says that references are."""
    config = load_config(config_directory)
    embedder = embedder_of(config)
    directory = config.path(config.monitoring.reference_data) / MODEL
    shown = _shown(embedder)
    sample = _sample(shown, embedder.dimension)
    manifest = save_reference(
        directory,
        sample,
        embedder=embedder.identity,
        source="the reference quarter of scikit-learn's digits, three cameras, clear",
        now=time.time(),
        overwrite=True,
    )
    images = {event.id: image for event, _, image in shown}
    side = config.monitoring.thumbnails.side
    chosen = evenly(len(sample), PICTURES).tolist()
    save_pictures(directory, {row: small_jpeg(images[str(sample.ids[row])], side) for row in chosen})
    witnesses = with_probes(learn(_healthy(), embedder.embed), embedder.embed_text)
    save_witnesses(directory, witnesses, embedder=embedder.identity)
    print(f"{directory}: {manifest.rows} rows of {manifest.dimension} columns, made with {manifest.embedder}")


def _healthy() -> list[Image.Image]:
    """Frames that known faults are tried on: as many of each camera, of the digits that they watch."""
    rng = np.random.default_rng(2)
    each = MOST_IMAGES // len(digits.CAMERAS)
    frames = [frame for camera in digits.CAMERAS for frame, _ in digits.frames(_some(each, rng), camera, rng=rng)]
    return [_through_jpeg(frame) for frame in frames]


def _some(count: int, rng: np.random.Generator) -> digits.Indices:
    return rng.choice(digits.split().watched, count, replace=False)


def _through_jpeg(frame: digits.Frame) -> Image.Image:
    """As the stream's frames go: the traces of JPEG are part of what normal looks like."""
    return Image.open(io.BytesIO(digits.encode(frame))).convert("RGB")


def _shown(embedder: Embedder) -> list[_Shown]:
    """What every camera has seen, camera by camera."""
    model = classifier.train()
    rng = np.random.default_rng(1)
    return [row for camera in digits.CAMERAS for row in _seen_by(camera, embedder, model, rng)]


def _sample(shown: Sequence[_Shown], dimension: int) -> Sample:
    """Every camera's rows, sorted by time, with the true digits as labels."""
    sample = sample_of([event for event, _, _ in shown], classes=classifier.CLASSES, dimension=dimension)
    # By id, because an event has no place for its true class and the sample is sorted.
    true = {event.id: classifier.CLASSES.index(str(digit)) for event, digit, _ in shown}
    return replace(sample, labels=np.array([true[id_] for id_ in sample.ids], dtype=np.int32))


def _seen_by(
    camera: str, embedder: Embedder, model: classifier.DigitClassifier, rng: np.random.Generator
) -> Iterator[_Shown]:
    """Each frame of one camera, in the order of time."""
    indices = np.concatenate([rng.permutation(digits.split().watched) for _ in range(ROUNDS)])
    frames, true = zip(*digits.frames(indices, camera, rng=rng), strict=True)
    images = [_through_jpeg(frame) for frame in frames]
    rows = zip(images, embedder.embed(images), model.predict_proba(frames), true, strict=True)
    for number, (image, embedding, confidences, digit) in enumerate(rows):
        event = PredictionEvent(
            id=f"{camera}-{number}",
            time=_BEGIN + number / FRAMES_PER_SECOND,
            model=MODEL,
            version=VERSION,
            slices=(("camera", camera),),
            embedder=embedder.identity,
            embedding=embedding,
            image_stats=measure(image),
            classes=classifier.CLASSES,
            confidences=confidences.astype(np.float32),
            predicted_class=classifier.CLASSES[int(confidences.argmax())],
        )
        yield event, digit, image


if __name__ == "__main__":
    main()
