"""Where the demo's traffic comes from: three cameras, a classifier, and the exporter's real HTTP API.

One second of the stream is one request: a few frames of each camera, each with its image and its confidences.
"""

import base64
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np

from visiondrift.demo import digits
from visiondrift.demo.classifier import CLASSES, DigitClassifier
from visiondrift.errors import VisionDriftError

MODEL = "digits-demo"
VERSION = "1"
FRAMES_PER_SECOND = 6

NO_PICTURE = "black"
"""The condition of a camera that sends frames and sees nothing; the others are those of ``digits``."""

Conditions = Mapping[str, tuple[str, float]]
"""Camera -> (condition, strength); clear where absent."""

_PATIENCE_SECONDS = 30.0


class Stream:
    """Sends frames to the exporter at ``url``, in real time. The same seed shows the same digits in the same order."""

    def __init__(self, url: str, classifier: DigitClassifier, *, seed: int = 0, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS, headers=headers)
        self._classifier = classifier
        self._rng = np.random.default_rng(seed)
        self._order = {camera: self._shuffled() for camera in digits.CAMERAS}
        self._run = uuid.uuid4().hex[:8]
        self.sent = 0

    def second(self, conditions: Conditions) -> int:
        """Send one second of frames; ``conditions`` maps a camera to its (condition, strength), clear where absent.

        Returns the number of events stored. Raises VisionDriftError where the exporter refuses them.
        """
        begun = time.time()
        events = [
            event
            for camera in digits.CAMERAS
            for event in self._camera(camera, *conditions.get(camera, ("clear", 1.0)), begun=begun)
        ]
        answer = self._post({"events": events})
        self.sent += len(events)
        time.sleep(max(0.0, begun + 1.0 - time.time()))
        return int(answer["stored"])

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _camera(self, camera: str, condition: str, strength: float, *, begun: float) -> Iterator[dict[str, Any]]:
        indices = np.array([next(self._order[camera]) for _ in range(FRAMES_PER_SECOND)])
        seen = "clear" if condition == NO_PICTURE else condition
        shown = digits.frames(indices, camera, seen, strength=strength, rng=self._rng)
        images = [np.zeros_like(frame) if condition == NO_PICTURE else frame for frame, _ in shown]
        for number, (image, confidences) in enumerate(zip(images, self._classifier.predict_proba(images), strict=True)):
            yield {
                "id": f"{self._run}-{camera}-{self.sent + number}",
                "time": begun - 1.0 + (number + 1) / FRAMES_PER_SECOND,
                "model": MODEL,
                "version": VERSION,
                "slices": {"camera": camera},
                "image": base64.b64encode(digits.encode(image)).decode(),
                "confidences": {name: round(float(p), 6) for name, p in zip(CLASSES, confidences, strict=True)},
            }

    def _shuffled(self) -> Iterator[int]:
        indices = digits.split().watched
        while True:
            yield from self._rng.permutation(indices).tolist()

    def _post(self, batch: dict[str, Any]) -> dict[str, Any]:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                response = self._http.post("/v1/predictions", json=batch)
                if response.status_code == httpx.codes.OK:
                    return dict(response.json())
                problem = f"{response.status_code} {response.text[:300]}"
                retry = response.status_code in {429, 503}
            except httpx.TransportError as error:
                problem, retry = f"{type(error).__name__}: {error}", True
            # The ids stay the same, so that sending a batch again can never count it twice.
            if not retry or time.monotonic() > give_up:
                raise VisionDriftError(f"{self._http.base_url} did not take the demo's frames: {problem}")
            time.sleep(1.0)
