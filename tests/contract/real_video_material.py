"""What three fixed cameras saw and two real networks said of it: the clips and MobileNets of ../shared/data.

The decision hidden here: which frames are taken, and how a network's output becomes an event. The classifier's rows
are renormalised (8-bit softmax sums to 0.6-0.97), and ``other`` carries the highest confidence of a class that is not
configured, so that predicted class and top confidence stay the network's own.
"""

import base64
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("VISIONDRIFT_SHARED_DATA", ROOT.parent / "shared" / "data"))
VIDEOS = DATA / "videos"
NETWORKS = DATA / "mobilenet-imagenet"
CLASSIFIER = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
EXTRACTOR = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
SIDE = 224
DIMENSION = 1024
OTHER = "other"

# Every so many frames of a clip, so that each half has well over a hundred, and all of it takes seconds.
CLIPS = {
    "parking": ("car-detection.mp4", 1),
    "lobby": ("one-by-one-person-detection.mp4", 3),
    "shelf": ("bottle-detection.mp4", 4),
}


@dataclass(frozen=True, eq=False)
class Frames:
    """n frames in order: ``times`` (n,) seconds into the clip, ``embeddings`` (n, 1024) as the extractor gives them
    (not of unit length), ``probabilities`` (n, 1001) with rows that sum to one, ``pictures`` n JPEG files of 224 x 224.
    """

    times: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    pictures: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: NDArray[Any]) -> "Frames":
        chosen = np.arange(len(self))[rows]
        pictures = tuple(self.pictures[row] for row in chosen)
        return Frames(self.times[chosen], self.embeddings[chosen], self.probabilities[chosen], pictures)

    def first_half(self) -> "Frames":
        return self.take(np.arange(len(self) // 2))

    def second_half(self) -> "Frames":
        return self.take(np.arange(len(self) // 2, len(self)))

    def blocks(self, seconds: float, *, odd: bool) -> "Frames":
        """Every other stretch of so many seconds: the first, third, ... or (``odd``) the second, fourth, ..."""
        return self.take((self.times // seconds).astype(int) % 2 == int(odd))


def look_at(clip: str, every: int) -> Frames:
    """Each ``every``-th frame of a clip, seen by both networks."""
    classifier, extractor = Network(NETWORKS / CLASSIFIER), Network(NETWORKS / EXTRACTOR)
    seen = [
        (time, extractor.run(pixels), classifier.run(pixels), jpeg(pixels))
        for time, pixels in decoded(VIDEOS / clip, every)
    ]
    times, embeddings, scores, pictures = zip(*seen, strict=True)
    probabilities = np.array(scores)
    return Frames(
        np.array(times),
        np.array(embeddings),
        probabilities / probabilities.sum(axis=1, keepdims=True),
        tuple(pictures),
    )


def decoded(path: Path, every: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(seconds, (224, 224, 3) RGB) of each ``every``-th frame."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield float(frame.time), frame.reformat(width=SIDE, height=SIDE, format="rgb24").to_ndarray()


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


class Network:
    """One TFLite network with 8-bit input and output."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(str(path), num_threads=2)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(k,) the output for one picture, dequantised."""
        self._interpreter.set_tensor(self._input, pixels[None])
        self._interpreter.invoke()
        scale, zero = self._output["quantization"]
        raw = self._interpreter.get_tensor(self._output["index"]).reshape(-1)
        return ((raw.astype(np.float32) - zero) * scale).astype(np.float32)


def imagenet_labels() -> list[str]:
    return (NETWORKS / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Vocabulary:
    """The classes that are configured: the network's most frequent answers, and ``other`` for the rest."""

    indices: tuple[int, ...]

    @classmethod
    def of(cls, clips: dict[str, Frames], *, most: int = 20) -> "Vocabulary":
        answers = Counter(int(index) for frames in clips.values() for index in frames.probabilities.argmax(axis=1))
        return cls(tuple(index for index, _ in answers.most_common(most)))

    @property
    def classes(self) -> tuple[str, ...]:
        labels = imagenet_labels()
        return (*(labels[index] for index in self.indices), OTHER)

    def confidences(self, frames: Frames) -> NDArray[np.float32]:
        """(n, C) in the order of ``classes``."""
        others = np.setdiff1d(np.arange(frames.probabilities.shape[1]), self.indices)
        listed = frames.probabilities[:, list(self.indices)]
        return np.column_stack([listed, frames.probabilities[:, others].max(axis=1)])

    def predicted(self, frames: Frames) -> list[str]:
        return [self.classes[int(index)] for index in self.confidences(frames).argmax(axis=1)]


def write_file(path: Path, cameras: dict[str, Frames], vocabulary: Vocabulary) -> Path:
    """A Parquet file as a team would write it from its own archive: embeddings as their network gives them."""
    cameras = {camera: frames for camera, frames in cameras.items() if len(frames)}
    confidences = np.concatenate([vocabulary.confidences(frames) for frames in cameras.values()])
    columns: dict[str, Any] = {
        "time": np.concatenate([1.79e9 + frames.times for frames in cameras.values()]),
        "camera": [camera for camera, frames in cameras.items() for _ in range(len(frames))],
        "predicted_class": [name for frames in cameras.values() for name in vocabulary.predicted(frames)],
        "embedding": [row for frames in cameras.values() for row in frames.embeddings],
    }
    columns |= {f"confidence_{name}": confidences[:, index] for index, name in enumerate(vocabulary.classes)}
    pq.write_table(pa.table(columns), path)
    return path


def events(
    frames: Frames, vocabulary: Vocabulary, *, model: str, version: str, camera: str, now: float
) -> list[dict[str, Any]]:
    """The frames as a model server would send them: just seen, the last one now."""
    confidences = vocabulary.confidences(frames)
    return [
        {
            "id": f"{version}-{camera}-{row}",
            "time": now - frames.times[-1] + frames.times[row],
            "model": model,
            "version": version,
            "slices": {"camera": camera},
            "embedding": {"dtype": "float32", "data": base64.b64encode(frames.embeddings[row].tobytes()).decode()},
            "confidences": confidences[row].tolist(),
            "predicted_class": name,
        }
        for row, name in enumerate(vocabulary.predicted(frames))
    ]
