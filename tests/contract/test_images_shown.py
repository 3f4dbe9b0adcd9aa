"""From a folder of images to a montage in the browser: a whole service in this process, with real images and CLIP."""

import base64
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from exporter_process import demo_config
from visiondrift.api.server import app_of
from visiondrift.cli import app as cli
from visiondrift.demo import digits
from visiondrift.reference_pictures import ReferencePictures
from visiondrift.service import Overrides, Service

CAMERAS = ("left", "right")


@dataclass
class Running:
    """A service that has been sent a minute of two cameras, of which the left one is dark, and has evaluated them."""

    service: Service
    http: TestClient
    reference: Path


def frame(camera: str, index: int, rng: np.random.Generator, condition: str = "clear") -> bytes:
    (shown,) = digits.frames(np.array([index]), camera, condition, strength=1.0, rng=rng)
    return digits.encode(shown[0])


def configured(folder: Path) -> Path:
    config = demo_config(folder / "config")
    monitoring = config / "monitoring.yml"
    text = monitoring.read_text(encoding="utf-8")
    before, _, _ = text.partition("models:")
    text = before + (
        "thumbnails: {keep: 40}\nmodels:\n  - name: digits-demo\n    reference: lobby\n    slices: [camera]\n"
        "    evaluate_every: 5s\n    windows:\n      1m: {min_samples: 40}\n"
    )
    lines = [line for line in text.splitlines() if not line.startswith("reference_data:")]
    monitoring.write_text("\n".join([*lines, f"reference_data: {folder / 'references'}\n"]), encoding="utf-8")
    (config / "thresholds.yml").write_text(
        "defaults: {signals: {embedding_drift: {warning: 0.3, critical: 0.6}}}\n", encoding="utf-8"
    )
    return config


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("images")
    config = configured(folder)
    rng = np.random.default_rng(3)
    for camera in CAMERAS:
        (folder / "gallery" / camera).mkdir(parents=True)
        for number, index in enumerate(digits.split().watched[:80]):
            (folder / "gallery" / camera / f"{number:03}.jpg").write_bytes(frame(camera, index, rng))
    command = ["reference", "build", "lobby", "--config", str(config), "--images", str(folder / "gallery")]
    built = CliRunner().invoke(cli, [*command, "--slice", "camera", "--no-calibrate"])
    assert built.exit_code == 0, built.output
    now = time.time()
    service = Service(config, Overrides(state=folder / "state"), clock=lambda: now)
    http = TestClient(app_of(service))  # not entered: its threads do not run, the test turns the handle
    for camera, condition in (("left", "dark"), ("right", "clear")):
        events = [event(camera, place, now, frame(camera, index, rng, condition))
                  for place, index in enumerate(digits.split().fresh[:60])]  # fmt: skip
        answer = http.post("/v1/predictions", json={"events": events})
        assert answer.json()["stored"] == 60, answer.text
    service.monitor.tick()
    try:
        yield Running(service, http, folder / "references" / "lobby")
    finally:
        service.stop()


def event(camera: str, place: int, now: float, image: bytes) -> dict[str, Any]:
    return {
        "id": f"{camera}-{place}",
        "time": now - 50 + place / 2,
        "model": "digits-demo",
        "version": "1",
        "slices": {"camera": camera},
        "image": base64.b64encode(image).decode(),
    }


def the_report(running: Running) -> str:
    asked = {"model": "digits-demo", "version": "1", "slice": "camera=left", "window": "1m"}
    found = running.http.get("/reports/latest/images", params=asked, follow_redirects=False)
    assert found.status_code == 302
    return found.headers["location"].removeprefix("/reports/").removesuffix("/images")


def test_a_reference_of_images_keeps_pictures_of_them(running: Running) -> None:
    assert len(ReferencePictures(running.reference).rows) == 160


def test_the_montage_is_a_picture_that_a_browser_may_keep(running: Running) -> None:
    name = the_report(running)
    found = running.http.get(f"/reports/{name}.jpg")
    assert found.headers["content-type"] == "image/jpeg"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in found.headers["cache-control"]
    assert found.content[:3] == b"\xff\xd8\xff"
    if target := os.environ.get("MONTAGE_OUT"):
        Path(target).write_bytes(found.content)


def test_its_page_lists_what_is_shown_and_runs_no_script(running: Running) -> None:
    name = the_report(running)
    page = running.http.get(f"/reports/{name}/images")
    assert page.status_code == 200
    assert f'src="/reports/{name}.jpg"' in page.text
    assert "left-" in page.text
    assert "right-" not in page.text, "each camera's montage is of its own images"
    assert "cosine" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src")
    assert "script" not in page.text


def test_the_landing_page_shows_it_beside_the_camera_that_drifted_alone(running: Running) -> None:
    page = running.http.get("/").text
    rows = {text.partition("<small")[0].strip(): text for text in page.split('<th scope="row">')[1:]}
    assert f"/reports/{the_report(running)}.jpg" in rows["camera left"]
    assert ".jpg" not in rows["camera right"]


def test_the_list_of_reports_and_the_metrics_know_of_it(running: Running) -> None:
    assert f"/reports/{the_report(running)}/images" in running.http.get("/reports/").text
    text = running.service.metrics.render("text/plain")[0].decode()
    series = [line for line in text.splitlines() if line.startswith("visiondrift_montage_last_timestamp_seconds{")]
    assert any('slice="camera=left"' in line for line in series)
    assert not any('slice="camera=right"' in line for line in series)


def test_the_json_names_the_images(running: Running) -> None:
    models = running.http.get("/v1/evaluations").json()["models"]
    windows = {window["slice"]: window for window in models[0]["evaluations"][0]["windows"]}
    shown = windows["camera=left"]["images"]["shown"]
    assert len(shown) == 8
    assert all(image["id"].startswith("left-") and image["slices"] == "camera=left" for image in shown)
    assert windows["camera=right"]["images"] is None


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2Fsecret", "%00"])
def test_a_name_that_is_no_report_has_no_images(running: Running, name: str) -> None:
    assert running.http.get(f"/reports/{name}/images").status_code == 404
    assert running.http.get(f"/reports/{name}.jpg").status_code == 404


def test_where_there_is_no_report_the_page_says_so(running: Running) -> None:
    found = running.http.get("/reports/latest/images", params={"model": "nobody"})
    assert found.status_code == 404
    assert "There is no report on model nobody" in found.text
