"""How many events a second one exporter stores: the shipped server over loopback, its SQLite log, real bodies; and what
measuring one image costs.

    python tests/bench/bench_ingest.py [--seconds 8] [--clients 4] [--state DIRECTORY]

Bodies are made beforehand, so that the clients (threads of this process) cost little beside the server.
"""

import argparse
import base64
import io
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from PIL import Image

from visiondrift.intake.image_stats import measure as measure_image

DIMENSION = 512
CLASSES = [str(number) for number in range(10)]
CLIP = Path(__file__).parents[2] / "exporter/models/digits-clip"
ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"


@dataclass(frozen=True)
class Load:
    """One kind of traffic: a body for the n-th request (its ids are new), and how many events it carries."""

    name: str
    events: int
    content_type: str
    body: Callable[[int], bytes]


@dataclass
class Tally:
    """What one run came to."""

    events: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0
    latencies: list[float] = field(default_factory=list)


def configure(directory: Path, state: Path) -> None:
    """A configuration with a model of client-made embeddings and one that the exporter embeds."""
    embedding = {"name": "bench", "dimension": DIMENSION}
    monitoring = {
        "embedder": {"model": f"local-dir:{CLIP}", "pretrained": None},
        "log": {"path": str(state / "predictions.sqlite")},
        "reports": {"path": str(state / "reports"), "when": "never"},
        "models": [
            {"name": "vectors", "reference": "none", "classes": CLASSES, "slices": ["camera"], "embedding": embedding},
            {"name": "images", "reference": "none", "classes": CLASSES, "slices": ["camera"]},
        ],
    }
    (directory / "monitoring.yml").write_text(json.dumps(monitoring), encoding="utf-8")
    (directory / "thresholds.yml").write_text("{}\n", encoding="utf-8")


@contextmanager
def server(state: Path | None) -> Iterator[str]:
    """`visiondrift serve` in a process of its own; yields its address."""
    with tempfile.TemporaryDirectory() as config, tempfile.TemporaryDirectory(dir=state) as kept:
        configure(Path(config), Path(kept))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "visiondrift", "serve", "--config", config, "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, "DO_NOT_TRACK": "1"})
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit("the server ended before it was ready")
        try:
            if httpx.get(f"{url}/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the server was not ready within a minute")


def common(number: int, model: str) -> dict[str, Any]:
    """The fields that every event has."""
    return {
        "id": f"{model}-{number}-{time.monotonic_ns()}",
        "time": time.time(),
        "model": model,
        "version": "1",
        "slices": {"camera": f"camera-{number % 3}"},
        "confidences": [0.91] + [0.01] * 9,
    }


def json_batch(size: int, model: str, extra: Callable[[int], dict[str, Any]]) -> Callable[[int], bytes]:
    """A body with ``size`` events that carry what ``extra`` gives for their number."""

    def body(request: int) -> bytes:
        rows = [{**common(request * size + row, model), **extra(row)} for row in range(size)]
        return json.dumps({"events": rows}).encode()

    return body


def loads() -> list[Load]:
    """The kinds of traffic that are measured."""
    vectors = np.random.default_rng(0).normal(size=(1000, DIMENSION)).astype(np.float32)
    listed = [[round(float(value), 6) for value in vector] for vector in vectors[:100]]
    packed = [base64.b64encode(vector.astype("<f2").tobytes()).decode() for vector in vectors[:100]]
    small, large = _picture(32), _picture(640)

    def arrow(request: int) -> bytes:
        table = pa.table(
            {
                "id": [f"arrow-{request}-{row}-{time.monotonic_ns()}" for row in range(1000)],
                "time": np.full(1000, time.time()),
                "model": ["vectors"] * 1000,
                "version": ["1"] * 1000,
                "camera": [f"camera-{row % 3}" for row in range(1000)],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION),
                **{f"confidence_{name}": np.full(1000, 0.1, dtype=np.float32) for name in CLASSES},
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    def packed_row(row: int) -> dict[str, Any]:
        return {"embedding": {"dtype": "float16", "data": packed[row]}}

    one = json_batch(1, "vectors", packed_row)
    return [
        Load(
            "JSON, list of 512, by 100", 100, JSON, json_batch(100, "vectors", lambda row: {"embedding": listed[row]})
        ),
        Load("JSON, base64 float16, by 100", 100, JSON, json_batch(100, "vectors", packed_row)),
        Load("JSON, base64 float16, singly", 1, JSON, one),
        Load("JSON, confidences only, by 100", 100, JSON, json_batch(100, "vectors", lambda _: {})),
        Load("Arrow, float32, by 1000", 1000, ARROW, arrow),
        Load("Images 32 x 32 PNG, tiny CLIP, by 20", 20, JSON, json_batch(20, "images", lambda _: {"image": small})),
        Load("Images 640 x 480 JPEG, tiny CLIP, by 20", 20, JSON, json_batch(20, "images", lambda _: {"image": large})),
    ]


def _picture(width: int) -> str:
    height = width * 3 // 4
    noise = np.random.default_rng(1).integers(0, 256, (height // 8 or 1, width // 8 or 1, 3), dtype=np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    image.save(file, "PNG" if width < 100 else "JPEG", quality=90)
    return base64.b64encode(file.getvalue()).decode()


def measure(url: str, load: Load, *, seconds: float, clients: int) -> Tally:
    """Send for about ``seconds`` from ``clients`` connections; only what was answered with 200 counts."""
    bodies = [load.body(number) for number in range(max(4, min(200, int(40_000 / load.events))))]
    numbers = itertools.count()
    tally = Tally()
    lock = threading.Lock()
    begun = time.perf_counter()

    def client() -> None:
        with httpx.Client(base_url=url, timeout=60, headers={"Content-Type": load.content_type}) as http:
            while time.perf_counter() - begun < seconds:
                number = next(numbers)
                # The ready-made bodies first; where they run out, new ones, whose making slows the client down.
                body = bodies[number] if number < len(bodies) else load.body(number)
                started = time.perf_counter()
                answer = http.post("/v1/predictions", content=body)
                taken = time.perf_counter() - started
                if answer.status_code != httpx.codes.OK or answer.json()["rejected"]:
                    raise SystemExit(f"{load.name}: {answer.status_code} {answer.text[:300]}")
                with lock:
                    tally.events += int(answer.json()["stored"])
                    tally.megabytes += len(body) / 1e6
                    tally.latencies.append(taken)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.seconds = time.perf_counter() - begun
    return tally


def measuring(size: tuple[int, int]) -> float:
    """Milliseconds of one core that the properties of an image of this size cost, decoded; the middle of many."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image, costs = Image.fromarray(pixels), []
    for _ in range(31):
        began = time.thread_time()
        measure_image(image)
        costs.append((time.thread_time() - began) * 1e3)
    return statistics.median(costs)


def main() -> None:
    """Measure every kind of traffic and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--state", type=Path, help="where the log is kept: the disk that is measured")
    arguments = parser.parse_args()
    for size in ((640, 480), (1920, 1080), (3840, 2160)):
        print(f"measuring an image of {size[0]} x {size[1]}: {measuring(size):.1f} ms of one core")
    with server(arguments.state) as url:
        print(f"{'traffic':42}{'events/s':>10}{'requests/s':>12}{'MB/s':>8}{'p50 ms':>9}{'p95 ms':>9}")
        for load in loads():
            measure(url, load, seconds=1, clients=1)
            tally = measure(url, load, seconds=arguments.seconds, clients=arguments.clients)
            p50 = statistics.median(tally.latencies) * 1e3
            p95 = float(np.quantile(tally.latencies, 0.95)) * 1e3
            rates = (tally.events, len(tally.latencies), tally.megabytes)
            events, requests, megabytes = (amount / tally.seconds for amount in rates)
            print(f"{load.name:42}{events:10,.0f}{requests:12,.0f}{megabytes:8.1f}{p50:9.1f}{p95:9.1f}", flush=True)


if __name__ == "__main__":
    main()
