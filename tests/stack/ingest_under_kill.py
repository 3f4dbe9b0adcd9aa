"""A sender that never lets up, and remembers exactly what was acknowledged to it."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

DIMENSION = 64  # of the demo's CLIP
BATCH = 50
THREADS = 4


class Sender:
    """Sends batches from several threads while the ``with`` block runs; ``acknowledged`` holds the ids of every 200.

    The events are two hours old and of a version of their own, so that no window of the demo sees them. An answer that
    a kill cut off acknowledges nothing: only the ids of an answer read to its end are held against the exporter.

    Raises AssertionError when the block ends, if an answer was not what a sender may expect.
    """

    VERSION = "kill-test"

    def __init__(self, exporter: str) -> None:
        self.acknowledged: list[str] = []
        self._exporter = exporter
        self._unexpected: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send_on, daemon=True) for _ in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._unexpected, self._unexpected

    def again(self, ids: Sequence[str]) -> dict[str, int]:
        """Send these ids once more: how many were new, and how many the exporter has already."""
        counts = {"stored": 0, "duplicates": 0}
        for start in range(0, len(ids), 500):
            answer = self._post(ids[start : start + 500])
            for name in counts:
                counts[name] += answer[name]
        return counts

    def _send_on(self) -> None:
        while not self._stop.is_set():
            ids = [uuid.uuid4().hex for _ in range(BATCH)]
            try:
                answer = self._post(ids)
            # Refused, reset or 429; or the kill fell within the headers or the body.
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
            else:
                if answer["stored"] == BATCH:
                    self.acknowledged += ids
                else:
                    self._unexpected.append(f"{BATCH} new events sent, answered {answer}")

    def _post(self, ids: Sequence[str]) -> Any:
        body = json.dumps({"events": [self._event(name) for name in ids]}).encode()
        request = urllib.request.Request(
            f"{self._exporter}/v1/predictions", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def _event(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "time": time.time() - 7200,
            "model": "digits-demo",
            "version": self.VERSION,
            "slices": {"camera": "left"},
            "embedding": [0.125] * DIMENSION,
            "confidences": {"1": 1.0},
        }
