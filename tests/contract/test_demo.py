"""The demo as a person runs it, and that its exit status can fail."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from exporter_process import ROOT
from visiondrift.config import load_config
from visiondrift.demo import classifier, digits, play
from visiondrift.demo.play import Sightings
from visiondrift.demo.stream import FRAMES_PER_SECOND
from visiondrift.intake.image_stats import measure
from visiondrift.prediction import PROPERTIES
from visiondrift.reference import load_reference
from visiondrift.reference_pictures import ReferencePictures

DAMAGED = "camera=right"


def seen(**verdicts: str) -> Sightings:
    """Sightings of the three cameras with these verdicts, ok where left out."""
    found = Sightings()
    windows = [
        {"slice": f"camera={camera}", "verdict": verdicts.get(camera, "ok"), "signals": []}
        for camera in ("left", "centre", "right")
    ]
    evaluation = {"windows": windows, "cameras": []}
    found.look({"models": [{"model": "digits-demo", "evaluations": [evaluation]}]}, 1.0)
    return found


@pytest.mark.parametrize(
    ("verdicts", "scenario", "passes"),
    [
        ({"right": "critical"}, "dark", True),
        ({"right": "warning"}, "dark", True),
        ({}, "dark", False),
        ({"right": "critical", "left": "warning"}, "dark", False),
        ({"left": "critical"}, "dark", False),
        ({"right": "critical", "left": "insufficient"}, "dark", False),
        ({"right": "critical"}, "black", True),
        ({"left": "critical", "centre": "critical", "right": "critical"}, "dusk", True),
        ({"right": "critical"}, "dusk", False),
        ({}, "healthy", True),
        ({"right": "critical"}, "healthy", False),
        ({"centre": "insufficient"}, "healthy", False),
    ],
)
def test_the_demo_passes_only_when_exactly_the_damaged_cameras_were_reported(verdicts, scenario, passes):
    assert seen(**verdicts).as_expected(play.SCENARIOS[scenario]) is passes


def test_a_camera_reported_before_it_was_damaged_fails_the_demo():
    found = seen(right="critical")
    found.too_early = frozenset(found.reported)
    assert not found.as_expected(play.SCENARIOS["dark"])


def test_the_demos_reference_knows_every_digit_and_runs_at_the_streams_pace():
    reference = load_reference(ROOT / "reference_data" / "digits-demo", embedder=None, dimension=None)
    sample = reference.sample
    assert reference.manifest.labelled == len(sample)
    assert sample.classes == classifier.CLASSES
    _, true = digits.digits()
    for camera in digits.CAMERAS:
        rows = sample.of_slice(f"camera={camera}")
        shown = np.bincount(true[digits.split().watched], minlength=10)
        np.testing.assert_array_equal(np.bincount(rows.labels, minlength=10) % shown, 0)
        np.testing.assert_allclose(np.diff(rows.times), 1 / FRAMES_PER_SECOND, atol=2e-6)
        assert np.mean(rows.predicted == rows.labels) > 0.9, "labels that are out of step would be right one in ten"


def test_the_story_is_over_within_three_minutes():
    """What is not the machine's: to start and to train take seconds, or as long as they take."""
    assert play._HEALTHY_SECONDS + play._DAMAGED_SECONDS + play._REPORT_SECONDS <= 150


def test_the_demos_reference_has_pictures_of_every_digit_as_each_camera_sees_it():
    directory = ROOT / "reference_data" / "digits-demo"
    sample = load_reference(directory, embedder=None, dimension=None).sample
    pictures = ReferencePictures(directory)
    rows = pictures.rows
    for camera in digits.CAMERAS:
        shown = sample.labels[rows[sample.slices["camera"][rows] == camera]]
        assert set(shown.tolist()) == set(range(10))
    # Each is of its own row: as bright as the image that was measured, but for a second JPEG.
    bright = PROPERTIES.index("brightness")
    opened = [Image.open(io.BytesIO(pictures.of_row(int(row)))).convert("RGB") for row in rows]
    seen = [measure(image).properties[bright] for image in opened]
    np.testing.assert_allclose(seen, sample.properties[rows, bright], atol=0.004)
    assert np.std(seen) > 0.02, "pictures of other rows would be no nearer than this"


def test_of_the_shipped_configuration_only_the_demos_model_keeps_pictures_and_a_bounded_number():
    config = load_config(ROOT / "exporter" / "config")
    assert config.monitoring.thumbnails.keep == 0
    assert {model.name: model.keep_thumbnails for model in config.models} == {"digits-demo": 200}


@pytest.mark.slow
def test_the_demo_finds_the_dark_camera_and_only_that_and_why():
    command = [sys.executable, "-m", "visiondrift", "demo", "--scenario", "dark", "--port", "0"]
    played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert played.returncode == 0, played.stdout + played.stderr
    assert f"{DAMAGED} was reported" in played.stdout
    assert "camera right was reported, the healthy ones were not" in played.stdout
    assert f"{DAMAGED}: cause: darker; brightness 0.6" in played.stdout
    assert "Cameras: only camera=right" in played.stdout
    for page in ("/reports/latest?", "/reports/latest/images?"):
        assert f"{page}model=digits-demo&version=1&slice=camera=right&window=1m" in played.stdout
