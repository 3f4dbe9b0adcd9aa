"""What is measured of an image: each property sees its own fault, in the right direction, and no image breaks any."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_sample_images

from visiondrift.intake.image_stats import measure
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES

PHOTOGRAPHS = [Image.fromarray(pixels) for pixels in load_sample_images().images]


def measured(image: Image.Image) -> dict[str, float]:
    return dict(zip(PROPERTIES, measure(image).properties.tolist(), strict=True))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def with_noise(image: Image.Image, level: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, level, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def tinted(image: Image.Image, *factors: float) -> Image.Image:
    return Image.fromarray((np.asarray(image) * np.array(factors)).astype(np.uint8))


FAULTS = {
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.5), "brightness", -1),
    "flatter": (lambda image: ImageEnhance.Contrast(image).enhance(0.4), "contrast", -1),
    "greyer": (lambda image: ImageEnhance.Color(image).enhance(0.2), "saturation", -1),
    "redder": (lambda image: tinted(image, 1.0, 0.8, 0.6), "warmth", 1),
    "greener": (lambda image: tinted(image, 0.7, 1.0, 0.7), "tint", 1),
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(3)), "sharpness", -1),
    "noisy": (lambda image: with_noise(image, 15), "noise", 1),
    "overexposed": (lambda image: ImageEnhance.Brightness(image).enhance(3), "clipping", 1),
    "compressed": (lambda image: as_jpeg(image, 10), "blockiness", 1),
    "posterised": (lambda image: image.quantize(4).convert("RGB"), "entropy", -1),
    "wider": (lambda image: image.resize((image.width * 2, image.height)), "aspect", 1),
    "smaller": (lambda image: image.resize((image.width // 2, image.height // 2)), "size", -1),
}
LEAST = dict.fromkeys(PROPERTIES, 0.02) | {"entropy": 0.5, "aspect": 0.9, "size": 0.9, "blockiness": 0.3, "noise": 0.3}


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_moves_its_property(fault: str, photograph: Image.Image) -> None:
    change, name, sign = FAULTS[fault]
    moved = measured(change(photograph))[name] - measured(photograph)[name]
    assert sign * moved > LEAST[name]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    kind=st.sampled_from(["black", "white", "noise", "half"]),
    seed=st.integers(0, 5),
)
def test_of_any_image_every_number_is_finite(width: int, height: int, kind: str, seed: int) -> None:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    if kind == "white":
        pixels += 255
    elif kind == "half":
        pixels[: height // 2] = 200
    elif kind == "noise":
        pixels = np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)
    found = measure(Image.fromarray(pixels))
    assert found.properties.shape == (len(PROPERTIES),)
    assert found.layout.shape == (LAYOUT_SIDE**2,)
    assert np.isfinite(found.properties).all()
    length = float(np.linalg.norm(found.layout))
    assert length == 0 or length == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_the_layout_knows_a_camera_that_moved_from_one_that_went_dark(photograph: Image.Image) -> None:
    own = measure(photograph).layout
    shifted = Image.new("RGB", photograph.size)
    shifted.paste(photograph, (photograph.width // 5, 0))
    assert own @ measure(ImageEnhance.Brightness(photograph).enhance(0.4)).layout > 0.97
    assert own @ measure(shifted).layout < 0.9
    assert own @ measure(photograph.rotate(20)).layout < 0.92


def test_the_cost_does_not_grow_with_the_resolution() -> None:
    """From 2 to 8 megapixels only the reduction of the image grows, which is a small part."""
    import time

    def seconds(size: tuple[int, int]) -> float:
        image = PHOTOGRAPHS[0].resize(size)
        return min(once(image) for _ in range(10))

    def once(image: Image.Image) -> float:
        begun = time.process_time()
        measure(image)
        return time.process_time() - begun

    assert seconds((3840, 2160)) < 4 * seconds((1920, 1080))
