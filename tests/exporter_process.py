"""A real exporter in a process of its own, for tests that look at it from outside."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from programs import PATIENCE_S, free_port, until
from visiondrift.demo.digits import CAMERAS
from visiondrift.parquet import read_sample

ROOT = Path(__file__).resolve().parent.parent
DEMO_REFERENCE = ROOT / "reference_data" / "digits-demo" / "reference.parquet"


@dataclass(frozen=True)
class Exporter:
    """A running exporter: where it answers, and its configuration folder, which a test may edit."""

    url: str
    config: Path
    state: Path
    process: "subprocess.Popen[bytes]"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE_S)

    def post(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/v1/predictions", json={"events": events}, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def windows(self) -> dict[str, dict[str, Any]]:
        """Slice -> its last window in /v1/evaluations."""
        models = self.get("/v1/evaluations").json()["models"]
        return {
            window["slice"]: window
            for model in models
            for evaluation in model["evaluations"]
            for window in evaluation["windows"]
        }

    def words(self) -> str:
        """What the process has logged so far."""
        return (self.state / "exporter.log").read_text(encoding="utf-8", errors="replace")


def demo_config(directory: Path) -> Path:
    """A copy of the shipped configuration that a test may edit, with paths that still lead to the checkout."""
    shutil.copytree(ROOT / "exporter" / "config", directory)
    file = directory / "monitoring.yml"
    text = file.read_text(encoding="utf-8")
    text = text.replace("local-dir:../models", f"local-dir:{ROOT}/exporter/models")
    text = text.replace("reference_data: ../../reference_data", f"reference_data: {ROOT}/reference_data")
    text = text.replace("  port: 9109\n", f"  port: 9109\n  runbook_file: {ROOT}/docs/runbook.md\n")
    file.write_text(text, encoding="utf-8")
    return directory


@contextmanager
def running_exporter(directory: Path, *, config: Path | None = None) -> Iterator[Exporter]:
    """An exporter on the shipped configuration, or on ``config``, until the block ends."""
    config = config or demo_config(directory / "config")
    state = directory / "state"
    state.mkdir(exist_ok=True)  # there already where an earlier exporter's log is taken up again
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "visiondrift", "serve", "--config", str(config), "--state", str(state)]
    with (state / "exporter.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--exporter-url", url],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"DO_NOT_TRACK": "1"},
        )
    exporter = Exporter(url, config, state, process)

    def ready() -> bool:
        assert process.poll() is None, exporter.words()
        try:
            return exporter.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(ready, what="a ready exporter")
        yield exporter
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def demo_events(camera: str, count: int, *, now: float, damaged: bool = False, seed: int = 0) -> list[dict[str, Any]]:
    """Events of one camera in the last 30 s: rows of the demo's reference, or, damaged, rows pushed one way."""
    rng = np.random.default_rng(seed)
    reference = read_sample(DEMO_REFERENCE).of_slice(f"camera={camera}")
    rows = reference.take(rng.permutation(len(reference))[:count])
    embeddings = rows.embeddings.astype(np.float64)
    if damaged:
        embeddings = embeddings + rng.normal(size=embeddings.shape[1])
    return [
        {
            "id": f"{camera}-{seed}-{index}",
            "time": now - 30 * (index + 1) / count,
            "model": "digits-demo",
            "version": "1",
            "slices": {"camera": camera},
            "embedding": [float(value) for value in embeddings[index]],
            "confidences": [float(value) for value in rows.confidences[index]],
        }
        for index in range(count)
    ]


def show_damage(exporter: Exporter, damaged: str) -> None:
    """Let the exporter report that one of the demo's cameras is critical.

    Events leave the demo's window after a minute, which is soon on a busy machine: while it takes, more are sent.
    """
    sent_at: list[float] = []

    def reported() -> bool:
        now = time.time()
        if not sent_at or now - sent_at[-1] > 20:
            for camera in CAMERAS:
                exporter.post(demo_events(camera, 150, now=now, damaged=camera == damaged, seed=len(sent_at)))
            sent_at.append(now)
        return exporter.windows().get(f"camera={damaged}", {}).get("verdict") == "critical"

    until(reported, what=f"a report of camera {damaged}")
