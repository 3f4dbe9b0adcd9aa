"""An exporter that watches fixed cameras: its configuration, what is sent to it, and what it says.

The decision hidden here: how a minute of video stands for a camera. Levels are fixed numbers: a minute holds some
fifteen independent looks at a scene, too few to calibrate any, and it is the product's business to know that.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from real_video_material import DIMENSION, ROOT, Frames, Vocabulary

from exporter_process import Exporter
from fixed_levels import FIXED_LEVELS
from programs import PATIENCE_S

MODEL = "video"
BY_IMAGE = "video-by-image"
MIN_SAMPLES = 100
BATCH = 200
DRIFT, OK, CANNOT_TELL = 1, 0, 2


def write_config(directory: Path, vocabulary: Vocabulary) -> Path:
    """Fixed levels, and two models over an hour's window."""
    directory.mkdir()
    watched = {
        "slices": ["camera"],
        "evaluate_every": "2s",
        "windows": {"1h": {"min_samples": MIN_SAMPLES, "max_samples": 5000}},
    }
    monitoring = {
        "server": {"runbook_file": str(ROOT / "docs" / "runbook.md")},
        "embedder": {"model": f"local-dir:{ROOT}/exporter/models/digits-clip"},
        "reports": {"when": "never"},
        "reference_data": str(directory.parent / "reference_data"),
        "models": [
            watched
            | {
                "name": MODEL,
                "reference": MODEL,
                "classes": list(vocabulary.classes),
                "embedding": {"name": "mobilenet-v1-1.0-224", "dimension": DIMENSION},
            },
            watched | {"name": BY_IMAGE, "reference": BY_IMAGE},
        ],
    }
    levels = {name: level.model_dump() for name, level in FIXED_LEVELS.items()}
    thresholds = {"defaults": {"signals": levels}, "models": {MODEL: {"owner": "facilities"}}}
    _write(directory / "monitoring.yml", monitoring)
    _write(directory / "thresholds.yml", thresholds)
    return directory


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def command_line(*arguments: str | Path, accept: Iterable[int] = (0,)) -> subprocess.CompletedProcess[str]:
    """Run `visiondrift`; its result, whose status must be one of ``accept``."""
    command = [sys.executable, "-m", "visiondrift", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode in accept, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def evaluate(reference: Path, window: Path, *options: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """`visiondrift evaluate`: its exit status, and its windows by slice."""
    arguments = ("evaluate", "--reference", reference, "--window", window, "-o", "json", *options)
    done = command_line(*arguments, accept=(OK, DRIFT, CANNOT_TELL))
    return done.returncode, _by_slice(json.loads(done.stdout), "", "")


def send(exporter: Exporter, events: Sequence[dict[str, Any]]) -> None:
    """All events, in batches; each must be taken."""
    for first in range(0, len(events), BATCH):
        batch = list(events[first : first + BATCH])
        assert exporter.post(batch) == {"stored": len(batch), "duplicates": 0, "rejected": []}


def send_images(exporter: Exporter, frames: Frames, *, version: str, camera: str, now: float) -> None:
    """The frames' pictures as the files of a form, for the exporter to embed."""
    rows = range(len(frames))
    events = [
        {
            "id": f"{version}-{camera}-{row}",
            "time": now - frames.times[-1] + frames.times[row],
            "model": BY_IMAGE,
            "version": version,
            "slices": {"camera": camera},
            "image": f"{row}.jpg",
        }
        for row in rows
    ]
    files: list[tuple[str, tuple[str, str | bytes, str]]] = [
        ("events", ("events.json", json.dumps({"events": events}), "application/json"))
    ]
    files += [("images", (f"{row}.jpg", frames.pictures[row], "image/jpeg")) for row in rows]
    answer = httpx.post(f"{exporter.url}/v1/images", files=files, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"stored": len(frames), "duplicates": 0, "rejected": []}


def windows(exporter: Exporter, model: str, version: str) -> dict[str, dict[str, Any]]:
    """Slice -> the last window of a model's version; empty before its first evaluation."""
    return _by_slice(exporter.get("/v1/evaluations").json(), model, version)


def _by_slice(document: dict[str, Any], model: str, version: str) -> dict[str, dict[str, Any]]:
    """Of the document that service and command line share; an empty name stands for any."""
    return {
        window["slice"]: window
        for state in document["models"]
        if model in {"", state["model"]}
        for evaluation in state["evaluations"]
        if version in {"", evaluation["version"]}
        for window in evaluation["windows"]
    }


def signal(window: dict[str, Any], name: str) -> dict[str, Any]:
    """One signal of a window."""
    return next(entry for entry in window["signals"] if entry["signal"] == name)


def alarms(window: dict[str, Any]) -> dict[str, tuple[str, float | None]]:
    """Signal -> (verdict, score) of those that raise an alarm."""
    return {
        entry["signal"]: (entry["verdict"], entry["score"])
        for entry in window["signals"]
        if entry["verdict"] in {"warning", "critical"}
    }
