"""Claims about the demo's world and the classifier that works in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from visiondrift.demo import classifier, digits

PACKAGE_ROOT = Path(digits.__file__).parents[2]


def frames_of(condition: str, *, strength: float = 1.0, camera: str = "centre", count: int = 60) -> list[digits.Frame]:
    indices = digits.split().fresh[:count]
    made = digits.frames(indices, camera, condition, rng=np.random.default_rng(3), strength=strength)
    return [frame for frame, _ in made]


def brightness(frames: list[digits.Frame]) -> float:
    return float(np.mean([frame.mean() for frame in frames]))


def sharpness(frames: list[digits.Frame]) -> float:
    """Mean step between neighbouring pixels of a 2 x 2 averaged grey frame, so that sensor noise counts little."""
    grey = np.stack([frame.mean(axis=2) for frame in frames]).reshape(len(frames), 32, 2, 32, 2).mean(axis=(2, 4))
    return float(np.abs(np.diff(grey, axis=2)).mean())


def contrast(frames: list[digits.Frame]) -> float:
    return float(np.mean([np.ptp(np.percentile(frame, [5, 95])) for frame in frames]))


def upright(frame: digits.Frame) -> float:
    """Covariance of x and y of the ink, in pixels squared: about zero for a 0, moved far by a turn of the camera."""
    ink = np.clip(160.0 - frame.mean(axis=2), 0.0, None)
    y, x = np.mgrid[: digits.FRAME_SIZE, : digits.FRAME_SIZE]
    weight = ink / ink.sum()
    middle_x, middle_y = (weight * x).sum(), (weight * y).sum()
    return float((weight * (x - middle_x) * (y - middle_y)).sum())


class TestSplit:
    def test_sets_are_disjoint_and_cover_every_digit_once(self) -> None:
        parts = digits.split()
        together = np.concatenate([parts.train, parts.watched, parts.fresh])
        assert sorted(together.tolist()) == list(range(1797))

    def test_train_is_half_and_the_others_a_quarter_each(self) -> None:
        parts = digits.split()
        assert [round(len(part) / 1797, 2) for part in (parts.train, parts.watched, parts.fresh)] == [
            0.5,
            0.25,
            0.25,
        ]

    def test_each_set_has_every_class_in_the_same_proportion(self) -> None:
        _, labels = digits.digits()
        parts = digits.split()
        whole = np.bincount(labels) / len(labels)
        for part in (parts.train, parts.watched, parts.fresh):
            assert np.abs(np.bincount(labels[part]) / len(part) - whole).max() < 0.005

    def test_another_process_gets_the_same_split(self) -> None:
        code = "from visiondrift.demo import digits; print(digits.split().fresh[:20].tolist())"
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONHASHSEED": "7"}
        other = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert other.stdout.strip() == str(digits.split().fresh[:20].tolist())


class TestFrames:
    def test_a_frame_is_a_64_pixel_rgb_image(self) -> None:
        frame = frames_of("clear", count=1)[0]
        assert frame.shape == (64, 64, 3)
        assert frame.dtype.name == "uint8"

    @pytest.mark.parametrize("condition", digits.CONDITIONS)
    def test_no_two_frames_of_one_digit_are_identical(self, condition: str) -> None:
        index = digits.split().fresh[:1]
        made = digits.frames(np.repeat(index, 20), "left", condition, rng=np.random.default_rng(0))
        assert len({frame.tobytes() for frame, _ in made}) == 20

    def test_the_same_generator_seed_repeats_the_stream(self) -> None:
        first, second = frames_of("noisy", count=5), frames_of("noisy", count=5)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    def test_labels_come_in_the_order_of_the_indices(self) -> None:
        _, labels = digits.digits()
        indices = digits.split().fresh[:30]
        made = digits.frames(indices, "right", rng=np.random.default_rng(0))
        assert [label for _, label in made] == labels[indices].tolist()

    def test_the_cameras_differ_a_little(self) -> None:
        by_camera = [brightness(frames_of("clear", camera=camera)) for camera in digits.CAMERAS]
        assert np.ptp(by_camera) > 3
        assert np.ptp(by_camera) < 30

    def test_an_encoded_frame_comes_back_nearly_the_same(self) -> None:
        frame = frames_of("clear", count=1)[0]
        with Image.open(io.BytesIO(digits.encode(frame))) as image:
            assert image.format == "JPEG"
            back = np.asarray(image.convert("RGB"), dtype=np.float64)
        assert np.abs(back - frame).mean() < 4

    def test_an_unknown_camera_is_refused_with_the_accepted_ones(self) -> None:
        with pytest.raises(ValueError, match="'top' is not in the demo; accepted: left, centre, right"):
            next(digits.frames(digits.split().fresh, "top", rng=np.random.default_rng(0)))

    def test_an_unknown_condition_is_refused_with_the_accepted_ones(self) -> None:
        with pytest.raises(ValueError, match="'wet' is unknown; accepted: clear, dark"):
            next(digits.frames(digits.split().fresh, "left", "wet", rng=np.random.default_rng(0)))

    def test_a_strength_outside_0_to_1_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"strength 1.5 is out of range; accepted: 0"):
            next(digits.frames(digits.split().fresh, "left", "dark", rng=np.random.default_rng(0), strength=1.5))


class TestConditions:
    def test_dark_lowers_the_brightness(self) -> None:
        assert brightness(frames_of("dark")) < 0.3 * brightness(frames_of("clear"))

    def test_overexposed_raises_the_brightness(self) -> None:
        assert brightness(frames_of("overexposed")) > 1.2 * brightness(frames_of("clear"))

    def test_blurry_takes_the_edges_away_and_leaves_the_brightness(self) -> None:
        clear, blurry = frames_of("clear"), frames_of("blurry")
        assert sharpness(blurry) < 0.5 * sharpness(clear)
        assert brightness(blurry) == pytest.approx(brightness(clear), rel=0.05)

    def test_noisy_adds_pixel_noise(self) -> None:
        def noise(frames: list[digits.Frame]) -> float:
            return float(np.std([np.diff(frame[:6].astype(float), axis=1) for frame in frames]))

        assert noise(frames_of("noisy")) > 5 * noise(frames_of("clear"))

    def test_covered_hides_the_side_where_the_cover_sits_and_no_more(self) -> None:
        clear, covered = frames_of("clear", camera="left"), frames_of("covered", camera="left")
        assert brightness([f[:, :16] for f in covered]) < 0.2 * brightness([f[:, :16] for f in clear])
        assert brightness([f[:, 40:] for f in covered]) == pytest.approx(
            brightness([f[:, 40:] for f in clear]), rel=0.05
        )

    def test_tilted_turns_the_digit(self) -> None:
        _, labels = digits.digits()
        stream = digits.split().fresh
        zeros = stream[labels[stream] == 0][:20]

        def turned(condition: str) -> float:
            made = digits.frames(zeros, "centre", condition, rng=np.random.default_rng(0))
            return abs(float(np.mean([upright(frame) for frame, _ in made])))

        assert turned("tilted") > turned("clear") + 15

    def test_foggy_takes_the_contrast_away(self) -> None:
        assert contrast(frames_of("foggy")) < 0.5 * contrast(frames_of("clear"))

    @pytest.mark.parametrize("condition", digits.CONDITIONS)
    def test_strength_0_looks_clear(self, condition: str) -> None:
        none, clear = frames_of(condition, strength=0.0), frames_of("clear")
        assert brightness(none) == pytest.approx(brightness(clear), rel=0.03)
        assert sharpness(none) == pytest.approx(sharpness(clear), rel=0.05)


@pytest.fixture(scope="module")
def trained() -> classifier.DigitClassifier:
    return classifier.train(seed=0)


def measure(trained: classifier.DigitClassifier, condition: str, strength: float = 1.0) -> tuple[float, float]:
    """Accuracy and mean confidence on the stream's digits under all three cameras."""
    made = [
        pair
        for camera in digits.CAMERAS
        for pair in digits.frames(
            digits.split().fresh, camera, condition, rng=np.random.default_rng(11), strength=strength
        )
    ]
    probabilities = trained.predict_proba([frame for frame, _ in made])
    right = probabilities.argmax(axis=1) == np.asarray([label for _, label in made])
    result = float(right.mean()), float(probabilities.max(axis=1).mean())
    print(f"{condition} {strength}: accuracy {result[0]:.3f}, mean confidence {result[1]:.3f}")
    return result


class TestClassifier:
    def test_reads_held_out_clear_frames(self, trained: classifier.DigitClassifier) -> None:
        accuracy, confidence = measure(trained, "clear")
        assert accuracy >= 0.93
        assert confidence >= 0.85

    @pytest.mark.parametrize(("condition", "strength"), [("dark", 0.5), ("dark", 1.0), ("blurry", 1.0)])
    def test_is_clearly_worse_and_less_sure_on_damaged_frames(
        self, trained: classifier.DigitClassifier, condition: str, strength: float
    ) -> None:
        clear, damaged = measure(trained, "clear"), measure(trained, condition, strength)
        assert damaged[0] < clear[0] - 0.1
        assert damaged[1] < clear[1] - 0.15

    def test_probabilities_are_one_row_an_image_and_sum_to_1(self, trained: classifier.DigitClassifier) -> None:
        probabilities = trained.predict_proba(frames_of("clear", count=7))
        assert probabilities.shape == (7, len(classifier.CLASSES))
        assert probabilities.sum(axis=1) == pytest.approx(1.0)

    def test_no_images_give_no_rows(self, trained: classifier.DigitClassifier) -> None:
        assert trained.predict_proba([]).shape == (0, 10)

    def test_the_same_seed_gives_the_same_classifier(self, trained: classifier.DigitClassifier) -> None:
        frames = frames_of("clear", count=7)
        again: NDArray[np.float64] = classifier.train(seed=0).predict_proba(frames)
        assert np.array_equal(again, trained.predict_proba(frames))
