"""Faults done to images on purpose: what each of them must do to the pixels, at any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from visiondrift.corruptions import CORRUPTIONS, SEVERITIES
from visiondrift.intake.image_stats import measure
from visiondrift.prediction import PROPERTIES

EVERY = [(name, way) for name, corruption in CORRUPTIONS.items() for way in range(corruption.ways)]


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    return Image.fromarray(load_sample_images().images[0]).resize((160, 112))


def changed(image: Image.Image, name: str, severity: int, way: int = 0) -> Image.Image:
    return CORRUPTIONS[name](image, severity, rng=np.random.default_rng(7), way=way)


def property_of(image: Image.Image, name: str) -> float:
    return float(measure(image).properties[PROPERTIES.index(name)])


@pytest.mark.parametrize(("name", "way"), EVERY)
@settings(max_examples=8, deadline=None)
@given(width=st.integers(8, 40), height=st.integers(8, 40), severity=st.sampled_from(SEVERITIES))
def test_an_image_of_any_size_keeps_its_size(name, way, width, height, severity):
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = changed(Image.fromarray(pixels), name, severity, way)
    assert (found.size, found.mode) == ((width, height), "RGB")


@pytest.mark.parametrize(("name", "way"), EVERY)
def test_the_same_seed_gives_the_same_pixels(photograph, name, way):
    first, second = (np.asarray(changed(photograph, name, 3, way)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("name", "way"), EVERY)
def test_each_severity_is_farther_from_the_image_than_the_one_before(photograph, name, way):
    pixels = np.asarray(photograph, dtype=float)
    distances = [np.abs(np.asarray(changed(photograph, name, s, way), dtype=float) - pixels).mean() for s in SEVERITIES]
    assert distances[0] > 0
    assert np.all(np.diff(distances) > 0)


@pytest.mark.parametrize("name", [name for name, corruption in CORRUPTIONS.items() if corruption.ways > 1])
def test_ways_differ(photograph, name):
    found = {np.asarray(changed(photograph, name, 4, way)).tobytes() for way in range(CORRUPTIONS[name].ways)}
    assert len(found) == CORRUPTIONS[name].ways


@pytest.mark.parametrize(
    ("name", "property_", "sign"),
    [
        ("darker", "brightness", -1),
        ("brighter", "brightness", 1),
        ("less contrast", "contrast", -1),
        ("blurred", "sharpness", -1),
        ("motion blurred", "sharpness", -1),
        ("coarser", "sharpness", -1),
        ("noisy", "noise", 1),
        ("compressed", "blockiness", 1),
        ("foggy", "saturation", -1),
        ("colour cast", "warmth", 1),
    ],
)
def test_the_property_that_a_fault_is_known_by_moves_its_way(photograph, name, property_, sign):
    moved = property_of(changed(photograph, name, 4), property_) - property_of(photograph, property_)
    assert sign * moved > 0


@pytest.mark.parametrize(("severity", "way"), [(0, 0), (6, 0), (3, 1), (3, -1)])
def test_a_severity_or_way_that_does_not_exist_is_refused(photograph, severity, way):
    with pytest.raises(ValueError, match="accepted are severities 1 to 5"):
        changed(photograph, "darker", severity, way)


@pytest.mark.parametrize("image", [Image.new("L", (16, 16)), Image.new("RGB", (7, 16))])
def test_an_image_that_is_no_colour_image_or_too_small_is_refused(image):
    with pytest.raises(ValueError, match="accepted is RGB of 8 pixels a side or more"):
        changed(image, "darker", 1)
