"""Which frames are kept as small pictures, and that none is where nobody asked for them."""

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from visiondrift.intake.thumbnails import Thumbnails
from visiondrift.prediction import PredictionEvent


def event(number: int, camera: str = "left", model: str = "trains") -> PredictionEvent:
    return PredictionEvent(f"{camera}-{number}", float(number), model, "1", slices=(("camera", camera),))


def picture(thumbnails: Thumbnails, size: tuple[int, int] = (1920, 1080)) -> bytes:
    made = thumbnails.shrink("trains", Image.new("RGB", size, (200, 30, 30)))
    assert made is not None
    return made


def test_nothing_is_made_or_written_where_none_is_kept(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path / "thumbnails", keep=lambda _: 0, side=160)
    assert thumbnails.shrink("trains", Image.new("RGB", (64, 64))) is None
    assert not (tmp_path / "thumbnails").exists()


@pytest.mark.parametrize(("size", "small"), [((1920, 1080), (160, 90)), ((50, 400), (20, 160)), ((32, 32), (32, 32))])
def test_a_thumbnail_is_a_small_jpeg_in_the_image_s_own_shape(tmp_path: Path, size, small):
    made = Image.open(io.BytesIO(picture(Thumbnails(tmp_path, keep=lambda _: 1, side=160), size)))
    assert (made.format, made.size) == ("JPEG", small)


def test_the_newest_of_each_camera_are_kept_whatever_the_order_they_came_in(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, keep=lambda _: 2, side=32)
    for number in (5, 1, 4, 2, 3):
        thumbnails.keep(event(number), picture(thumbnails))
    thumbnails.keep(event(9, camera="right"), picture(thumbnails))
    assert len(thumbnails.newest("trains", "camera=left", 10)) == 2
    assert len(thumbnails.newest("trains", "all", 10)) == 3
    assert len(list(tmp_path.iterdir())) == 3
    thumbnails.keep(event(6), picture(thumbnails, (64, 16)))
    assert thumbnails.newest("trains", "camera=left", 1) == [picture(thumbnails, (64, 16))]


def test_half_of_the_pictures_are_spread_over_the_time_before_the_newest(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, keep=lambda _: 10, side=32)
    for number in range(400):
        thumbnails.keep(event(number), b"picture")
    kept = sorted(n for n in range(400) if thumbnails.known("trains", [f"left-{n}"]))
    assert kept[5:] == [395, 396, 397, 398, 399]
    older = kept[:5]
    assert older[0] < 100
    assert max(later - earlier for earlier, later in pairwise([*older, 395])) < 250


def test_a_picture_is_found_by_the_id_of_its_event_and_of_its_model_alone(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, keep=lambda _: 5, side=32)
    thumbnails.keep(event(1), b"picture")
    assert thumbnails.known("trains", ["left-1", "left-2"]) == {"left-1"}
    assert thumbnails.known("doors", ["left-1"]) == frozenset()
    assert thumbnails.of_event("trains", "left-1") == b"picture"
    assert thumbnails.of_event("trains", "left-2") is None


def test_the_name_of_an_event_cannot_lead_to_another_file(tmp_path: Path):
    (tmp_path / "secret").write_text("no picture")
    thumbnails = Thumbnails(tmp_path / "kept", keep=lambda _: 5, side=32)
    thumbnails.keep(replace(event(1), id="../secret"), b"picture")
    assert (tmp_path / "secret").read_text() == "no picture"
    assert thumbnails.of_event("trains", "../secret") == b"picture"
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_pictures_that_have_become_old_are_dropped(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, keep=lambda _: 10, side=32, max_age=60)
    for number in (0, 30, 90):
        thumbnails.keep(event(number), b"picture")
    thumbnails.drop(100)
    assert thumbnails.known("trains", [f"left-{n}" for n in (0, 30, 90)]) == {"left-90"}
    assert len(list(tmp_path.iterdir())) == 1


def test_each_model_has_a_number_of_its_own_that_counts_at_once_when_it_is_changed(tmp_path: Path):
    keep = {"trains": 4, "doors": 0}
    thumbnails = Thumbnails(tmp_path, keep=keep.__getitem__, side=32)
    for number in range(6):
        thumbnails.keep(event(number), b"picture")
    assert thumbnails.shrink("doors", Image.new("RGB", (8, 8))) is None
    assert [thumbnails.wanted(model) for model in ("trains", "doors")] == [True, False]
    assert len(list(tmp_path.iterdir())) == 4
    keep["trains"] = 1
    thumbnails.drop(0)
    assert thumbnails.known("trains", [f"left-{n}" for n in range(6)]) == {"left-5"}
    keep["trains"] = 0
    thumbnails.drop(0)
    assert list(tmp_path.iterdir()) == []


def test_the_same_event_is_kept_once(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, keep=lambda _: 5, side=32)
    for _ in range(3):
        thumbnails.keep(event(1), picture(thumbnails))
    assert len(thumbnails.newest("trains", "all", 10)) == 1


def test_a_kept_picture_comes_back_as_it_was(tmp_path: Path):
    thumbnails = Thumbnails(tmp_path, keep=lambda _: 1, side=32)
    made = picture(thumbnails)
    thumbnails.keep(event(1), made)
    assert thumbnails.newest("trains", "camera=left", 3) == [made]
    assert thumbnails.newest("trains", "camera=right", 3) == []


def test_what_an_earlier_run_kept_is_removed_and_nothing_else(tmp_path: Path):
    first = Thumbnails(tmp_path, keep=lambda _: 1, side=32)
    first.keep(event(1), picture(first))
    (tmp_path / "holiday.jpg").write_text("somebody's own")
    Thumbnails(tmp_path, keep=lambda _: 1, side=32)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_picture_that_cannot_be_written_costs_the_event_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    thumbnails = Thumbnails(tmp_path / "kept", keep=lambda _: 1, side=32)
    (tmp_path / "kept").write_text("a file where the folder should be")
    thumbnails.keep(event(1), picture(thumbnails))
    assert thumbnails.newest("trains", "all", 1) == []
    assert "could not be kept" in caplog.text
