"""The images behind a drift, beside those of the reference: which are shown, what is said where there are none, and
that a montage stays as long as its report."""

import io
import json
import zipfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monitor_parts import CLASSES, NOON, World, events, model, rows
from visiondrift.config.thresholds import Threshold
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.intake.thumbnails import Thumbnails, small_jpeg
from visiondrift.log.memory import MemoryLog
from visiondrift.prediction import PredictionEvent, Sample
from visiondrift.publish import montage
from visiondrift.publish.montage_drawing import Tile, draw
from visiondrift.publish.report_store import ReportDocument, ReportStore
from visiondrift.reference_pictures import MOST_BYTES, MOST_PICTURES, PICTURES_FILE, ReferencePictures, save_pictures

WINDOW = {"evaluate_every": "1m", "windows": {"1h": {"min_samples": 20}}}
SETTINGS = Settings(classes=CLASSES, slices=("camera",))


def jpeg(shade: int = 120, size: tuple[int, int] = (80, 60)) -> bytes:
    return small_jpeg(Image.new("RGB", size, (shade, 40, 200)), 160)


def kept(directory: Path, ids: list[str], keep: int = 100) -> Thumbnails:
    thumbnails = Thumbnails(directory / "thumbnails", keep=lambda _: keep, side=160)
    for place, id_ in enumerate(ids):
        thumbnails.keep(PredictionEvent(id_, NOON + place, "pets", "1"), jpeg())
    return thumbnails


def of_camera(sample: Sample, *names: str) -> Sample:
    return replace(sample, slices={"camera": np.resize(np.array(names, dtype=object), len(sample))})


REFERENCE = of_camera(rows(300), "left", "right")
WINDOW_ROWS = of_camera(rows(60, seed=1, drifted=True), "left", "right")
IDS = [str(id_) for id_ in WINDOW_ROWS.ids]


@lru_cache(maxsize=1)
def evaluation() -> WindowEvaluation:
    return evaluate_window(
        PreparedReference.from_sample(REFERENCE, SETTINGS),
        WINDOW_ROWS,
        slice_="all",
        window="1h",
        min_samples=20,
        settings=SETTINGS,
        thresholds={"embedding_drift": Threshold(warning=0.3, critical=0.5)},
    )


def shown_of(thumbnails: Thumbnails | None, side: ReferencePictures | None = None, **changed: Any) -> montage.Montage:
    about = {"window": WINDOW_ROWS, "evaluation": evaluation(), "reference": REFERENCE} | changed
    return montage.build_montage(**about, model="pets", title="pets", pictures=thumbnails, kept=side)


def test_the_images_of_a_drift_are_shown_with_their_time_and_camera(tmp_path: Path) -> None:
    found = shown_of(kept(tmp_path, IDS))
    assert 1 <= len(found.data["shown"]) <= 8
    for image in found.data["shown"]:
        row = IDS.index(image["id"])
        assert image["time"] == WINDOW_ROWS.times[row]
        assert image["slices"] == f"camera={WINDOW_ROWS.slices['camera'][row]}"


def test_only_images_with_a_picture_are_shown(tmp_path: Path) -> None:
    found = shown_of(kept(tmp_path, IDS[:5]))
    assert {image["id"] for image in found.data["shown"]} <= set(IDS[:5])
    assert found.file is not None


@pytest.mark.parametrize(
    ("keep", "ids", "why"), [(0, IDS, montage.OFF), (10, [], montage.NONE_KEPT), (None, [], montage.OFF)]
)
def test_where_there_is_nothing_to_show_the_reason_is_said(
    tmp_path: Path, keep: int | None, ids: list[str], why: str
) -> None:
    found = shown_of(None if keep is None else kept(tmp_path, ids, keep))
    assert (found.file, found.data["why"], found.data["shown"]) == (None, why, [])


def test_without_embeddings_no_image_is_named(tmp_path: Path) -> None:
    found = shown_of(kept(tmp_path, IDS), evaluation=replace(evaluation(), influence=None))
    assert found.data["why"] == montage.NO_EMBEDDINGS


def test_beside_each_image_is_the_most_similar_of_its_own_camera_in_the_reference(tmp_path: Path) -> None:
    save_pictures(tmp_path, {row: jpeg() for row in range(0, 300, 3)})
    for image in shown_of(kept(tmp_path, IDS), ReferencePictures(tmp_path)).data["shown"]:
        row = [str(id_) for id_ in REFERENCE.ids].index(image["reference_id"])
        assert row % 3 == 0
        assert f"camera={REFERENCE.slices['camera'][row]}" == image["slices"]
        assert -1 <= image["similarity"] <= 1


def test_where_no_pictures_of_the_reference_are_kept_that_is_said(tmp_path: Path) -> None:
    found = shown_of(kept(tmp_path, IDS), ReferencePictures(tmp_path / "nowhere"))
    assert found.data["note"] == montage.NO_REFERENCE
    assert found.file is not None


def test_a_report_on_a_drift_holds_its_montage(tmp_path: Path) -> None:
    """Over a monitor, a log and a report store, as the service has them."""
    found = events(60, drifted=True)
    world = World(tmp_path, MemoryLog())
    world.configure(model(**WINDOW, slices=[]))
    save_pictures(world.refer(), {row: jpeg() for row in range(0, 300, 3)})
    world.start(pictures=kept(tmp_path, [event.id for event in found]))
    world.send(found)
    world.tick()
    (report,) = world.reports.entries()
    paths = {kind: world.reports.path(report.name, kind) for kind in ("html", "json", "jpg")}
    assert all(paths.values())
    assert 'src="data:image/jpeg;base64,' in paths["html"].read_text()
    assert "similarity" in json.loads(paths["json"].read_text())["montage"]["shown"][0]
    assert paths["jpg"].read_bytes()[:3] == b"\xff\xd8\xff"


# Drawing


def test_a_montage_is_one_jpeg_of_bounded_size() -> None:
    tiles = [Tile(jpeg(20 * n), jpeg(), (f"camera {n}", "score")) for n in range(8)]
    drawn = draw(tiles, title="pets", note="", paired=True)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "JPEG"
        assert picture.width < 1000
        assert picture.height < 1500
    assert len(drawn) < 300_000


@pytest.mark.parametrize("broken", [b"", b"GIF89a", jpeg()[:60], b"\xff\xd8\xff" + bytes(100)])
def test_a_picture_that_cannot_be_read_leaves_its_place_to_words(broken: bytes) -> None:
    assert draw([Tile(broken, None, ("x",))], title="pets", note="", paired=True)[:2] == b"\xff\xd8"


def test_a_picture_fills_its_place_whatever_its_shape() -> None:
    drawn = draw([Tile(jpeg(255, (300, 20)), jpeg(255, (8, 8)), ())], title="t", note="", paired=True)
    assert drawn[:2] == b"\xff\xd8"


def test_names_that_no_typeface_has_or_that_are_endless_can_be_drawn() -> None:
    tile = Tile(jpeg(), None, ("camera=カメラ\n<b>" + "x" * 10_000,))
    with Image.open(io.BytesIO(draw([tile], title="ö" * 5_000, note="n" * 3_000, paired=False))) as picture:
        assert picture.width < 1000


# The store


def test_a_montage_goes_with_its_report(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=1)
    about = {"model": "m", "version": "1", "slice_": "all", "window": "1h"}
    first = store.write(ReportDocument("<p>", {"verdict": "warning"}, b"one"), **about, at=NOON)
    picture = store.path(first, "jpg")
    assert picture is not None
    assert picture.read_bytes() == b"one"
    second = store.write(ReportDocument("<p>", {"verdict": "warning"}), **about, at=NOON + 60)
    assert store.path(first, "jpg") is None
    assert store.path(second, "jpg") is None
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html", ".json"]


def test_a_montage_is_found_again_after_a_restart_and_one_without_a_report_is_removed(tmp_path: Path) -> None:
    about = {"model": "m", "version": "1", "slice_": "all", "window": "1h", "at": NOON}
    name = ReportStore(tmp_path, keep=5).write(ReportDocument("<p>", {}, b"one"), **about)
    lonely = tmp_path / f"{name[:-1]}{'0' if name[-1] != '0' else '1'}.jpg"
    lonely.write_bytes(b"two")
    again = ReportStore(tmp_path, keep=5)
    assert again.entries()[0].has_montage
    assert again.path(name, "jpg") is not None
    assert not lonely.exists()


# The reference's pictures


def test_pictures_of_a_reference_come_back_by_row(tmp_path: Path) -> None:
    save_pictures(tmp_path, {7: jpeg(1), 300: jpeg(2)})
    found = ReferencePictures(tmp_path)
    assert found.rows.tolist() == [7, 300]
    assert found.of_row(300) == jpeg(2)
    assert found.of_row(8) is None


def test_no_more_than_so_many_pictures_of_so_many_bytes_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / PICTURES_FILE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", b"\0" * (MOST_BYTES + 1))
        archive.writestr("../2.jpg", b"x")
        archive.writestr("3.jpg", b"x")
        for row in range(1000, 1000 + MOST_PICTURES):
            archive.writestr(f"{row}.jpg", b"x")
    found = ReferencePictures(tmp_path).rows
    assert found[0] == 3
    assert len(found) == MOST_PICTURES - 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_a_damaged_archive_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / PICTURES_FILE).write_bytes(damage)
    assert ReferencePictures(tmp_path).rows.tolist() == []


def test_without_pictures_there_are_none(tmp_path: Path) -> None:
    assert ReferencePictures(tmp_path / "nowhere").rows.tolist() == []
