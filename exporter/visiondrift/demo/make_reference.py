"""Makes the demo's reference: `python -m visiondrift.demo.make_reference`, after training the demo's CLIP anew.

The digits of the reference quarter, seen by each camera a few times, classified and embedded as the stream will be.
The same code and weights give the same rows.
"""

import io
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from visiondrift.config import load_config
from visiondrift.demo import classifier, digits
from visiondrift.demo.stream import MODEL, VERSION
from visiondrift.intake.embedder import embedder_of
from visiondrift.prediction import PredictionEvent, sample_of
from visiondrift.reference import save_reference

ROUNDS = 2
_BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC).timestamp()
_SECONDS_BETWEEN_FRAMES = 2.0


def main(config_directory: Path = Path("exporter/config")) -> None:
    """Build and save it where the configuration says that references are."""
    config = load_config(config_directory)
    embedder = embedder_of(config)
    model = classifier.train()
    rng = np.random.default_rng(1)
    events = []
    for camera in digits.CAMERAS:
        indices = np.concatenate([rng.permutation(digits.split().reference) for _ in range(ROUNDS)])
        # Through JPEG, as the stream's frames go: its traces are part of what normal looks like.
        frames = [frame for frame, _ in digits.frames(indices, camera, rng=rng)]
        images = [Image.open(io.BytesIO(digits.encode(frame))).convert("RGB") for frame in frames]
        rows = zip(embedder.embed(images), model.predict_proba(frames), strict=True)
        for number, (embedding, confidences) in enumerate(rows):
            events.append(
                PredictionEvent(
                    id=f"{camera}-{number}",
                    time=_BEGIN + number * _SECONDS_BETWEEN_FRAMES,
                    model=MODEL,
                    version=VERSION,
                    slices=(("camera", camera),),
                    embedder=embedder.identity,
                    embedding=embedding,
                    classes=classifier.CLASSES,
                    confidences=confidences.astype(np.float32),
                    predicted_class=classifier.CLASSES[int(confidences.argmax())],
                )
            )
    sample = sample_of(events, classes=classifier.CLASSES, dimension=embedder.dimension)
    directory = config.path(config.monitoring.reference_data) / MODEL
    manifest = save_reference(
        directory,
        sample,
        embedder=embedder.identity,
        source="the reference quarter of scikit-learn's digits, three cameras, clear",
        now=time.time(),
        overwrite=True,
    )
    print(f"{directory}: {manifest.rows} rows of {manifest.dimension} columns, made with {manifest.embedder}")


if __name__ == "__main__":
    main()
