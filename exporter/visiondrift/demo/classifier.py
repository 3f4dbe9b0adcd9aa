"""The demo's model under watch: a small digit classifier, trained when the demo starts.

Decides how the watched model reads a frame. It is a real classifier with a real weakness: it has only ever seen clear
frames, so a damaged camera makes it wrong and unsure. Nothing is pickled; training takes a few seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from visiondrift.demo import digits

CLASSES: Final = tuple(str(digit) for digit in range(10))

_SIDE: Final = 16  # frames are averaged down to 16 x 16 grey before they are read
_ROUNDS: Final = 2  # times that each camera sees each digit, jittered anew
_EPOCHS: Final = 40


@dataclass(frozen=True)
class DigitClassifier:
    """Reads frames; made by `train`."""

    network: MLPClassifier

    def predict_proba(self, images: Sequence[digits.Frame]) -> NDArray[np.float64]:
        """Probabilities (n, 10), rows sum to 1, columns in the order of `CLASSES`, for n (64, 64, 3) uint8 frames."""
        if not images:
            return np.zeros((0, len(CLASSES)))
        return np.asarray(self.network.predict_proba(_features(images)), dtype=np.float64)


def train(seed: int = 0) -> DigitClassifier:
    """Train on the train half under all three cameras, clear frames only. The same seed gives the same classifier."""
    rng = np.random.default_rng(seed)
    images: list[digits.Frame] = []
    labels: list[int] = []
    for _ in range(_ROUNDS):
        for camera in digits.CAMERAS:
            for frame, label in digits.frames(digits.split().train, camera, rng=rng):
                images.append(frame)
                labels.append(label)
    # Weight decay keeps the confidences honest: without it the network is as sure of the dark as of the clear.
    network = MLPClassifier(hidden_layer_sizes=(128,), alpha=0.2, learning_rate_init=3e-3, random_state=seed)
    features, targets, classes = _features(images), np.asarray(labels), np.arange(len(CLASSES))
    for _ in range(_EPOCHS):
        network.partial_fit(features, targets, classes=classes)
    return DigitClassifier(network)


def _features(images: Sequence[digits.Frame]) -> NDArray[np.float32]:
    """Grey levels (n, 256), 0 to 1, less a mid grey so that plain paper is near zero."""
    grey = np.stack([image.mean(axis=2, dtype=np.float32) for image in images]) / np.float32(255.0)
    pooled = grey.reshape(len(images), _SIDE, digits.FRAME_SIZE // _SIDE, _SIDE, digits.FRAME_SIZE // _SIDE)
    return np.asarray(pooled.mean(axis=(2, 4)).reshape(len(images), -1) - 0.5, dtype=np.float32)
