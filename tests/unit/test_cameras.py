"""Cameras looked after in a monitor over a real log: what is read, remembered and published of their health."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camera_parts import flat, frames, scene, still
from monitor_parts import CLASSES, CLIP, NOON, World, model, rows
from visiondrift.api.pages import Pages
from visiondrift.drift.health.findings import FAULTS, CameraHealth
from visiondrift.log import Window, WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.prediction import ImageStats, PredictionEvent, Sample
from visiondrift.publish.document import models_document
from visiondrift.publish.metrics import Metrics
from visiondrift.publish.snapshot import Links, Snapshot
from visiondrift.reference import save_reference

QUIET: dict[str, Any] = {"reports": {"when": "never"}}
DAY = 86400.0


class CountingLog(MemoryLog):
    """A log in memory that counts the windows read of it."""

    read = 0

    def window(self, query: WindowQuery) -> Window:
        self.read += 1
        return super().window(query)


@pytest.fixture
def log() -> Iterator[CountingLog]:
    log = CountingLog()
    yield log
    log.close()


@pytest.fixture
def world(tmp_path: Path, log: CountingLog) -> World:
    world = World(tmp_path, log)
    world.configure(model(), **QUIET)
    refer(world)
    return world.start()


def refer(world: World, *cameras: str) -> None:
    """A reference of a day before, with measured frames of each camera."""
    cameras = cameras or ("left", "right")
    own = frames(300, seed=9, until=NOON - DAY)
    count = len(own) * len(cameras)
    base = rows(count)
    sample = replace(
        base,
        times=np.repeat(own.times, len(cameras)),
        slices={"camera": np.array(list(cameras) * len(own), dtype=object)},
        properties=np.repeat(_of(own.properties), len(cameras), axis=0),
        layouts=np.repeat(_of(own.layouts), len(cameras), axis=0),
    )
    directory = world.directory / "references" / "pets"
    save_reference(directory, sample, embedder=CLIP, source="a test", now=NOON - 9000, overwrite=True, times="capture")


def _of(values: Any) -> Any:
    assert values is not None
    return values


def shown(sample: Sample, camera: str = "left", *, version: str = "1", tag: str = "") -> list[PredictionEvent]:
    """Measured frames as events of one camera, as a client would send them."""
    embeddings = rows(len(sample), seed=4).embeddings
    properties, layouts = _of(sample.properties), _of(sample.layouts)
    return [
        PredictionEvent(
            id=f"{version}-{camera}-{tag}-{time:.3f}",
            time=float(time),
            model="pets",
            version=version,
            slices=(("camera", camera),) if camera else (),
            embedder=CLIP,
            embedding=embeddings[row],
            image_stats=ImageStats(properties[row], layouts[row]),
            classes=CLASSES,
            confidences=np.array([0.9, 0.1], dtype=np.float32),
        )
        for row, time in enumerate(sample.times)
    ]


def health(world: World, camera: str = "camera=left", *, version: str = "1") -> CameraHealth:
    (found,) = [
        one
        for evaluation in world.states["pets"].evaluations
        for one in evaluation.cameras
        if evaluation.version == version and one.slice == camera
    ]
    return found


def faults(world: World, camera: str = "camera=left") -> list[str]:
    return [fault.name for fault in health(world, camera).faults]


def metrics(world: World) -> list[str]:
    links = Links("http://e", "http://g", "http://p", "http://r")
    snapshot = Snapshot(links, models=tuple(world.states.values()))
    return Metrics(lambda: snapshot).render("text/plain")[0].decode().splitlines()


def test_each_value_of_the_first_label_is_a_camera_and_has_its_own_health(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.send(shown(frames(until=NOON), "right"))
    world.tick()
    assert (faults(world), faults(world, "camera=right")) == (["black"], [])


def test_a_model_without_labels_is_one_camera(world: World) -> None:
    world.configure(model(slices=[]), **QUIET)
    world.send(shown(still(frames(until=NOON)), ""))
    world.tick()
    assert faults(world, "all") == ["frozen"]


def test_a_camera_that_the_reference_lacks_is_unknown_and_says_so(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01), "new"))
    world.tick()
    assert "the reference holds 0 measured frames of this camera" in health(world, "camera=new").unknown["black"]


def test_a_fault_keeps_the_time_of_its_begin_from_look_to_look(world: World) -> None:
    world.send(shown(frames(until=NOON)))
    for minute in range(8):
        world.now += 60
        world.send(shown(still(frames(60, until=world.now)), tag=str(minute)))
        world.tick()
    (fault,) = health(world).faults
    assert fault.since == pytest.approx(NOON + 1)


def test_a_camera_that_falls_silent_while_another_sends_is_late(world: World) -> None:
    world.send(shown(frames(until=NOON)))
    for minute in range(4):
        world.send(shown(frames(60, until=world.now), "right", tag=str(minute)))
        world.tick()
        world.now += 60
    assert (faults(world), faults(world, "camera=right")) == (["late"], [])


def test_where_all_cameras_fall_silent_none_is_late(world: World) -> None:
    for camera in ("left", "right"):
        world.send(shown(frames(until=NOON), camera))
    for _ in range(4):
        world.tick()
        world.now += 60
    assert faults(world) == faults(world, "camera=right") == []
    assert "no camera of the model sends" in health(world).unknown["late"]


def test_a_camera_whose_frames_go_to_a_new_version_is_not_late_in_the_old_one(world: World) -> None:
    world.send(shown(frames(until=NOON)))
    world.tick()
    for minute in range(1, 5):
        world.now += 60
        world.send(shown(frames(60, until=world.now), version="2", tag=str(minute)))
        world.tick()
    assert "another version" in health(world, version="1").unknown["late"]


def test_frames_from_the_future_say_that_the_clock_is_ahead(world: World) -> None:
    world.send(shown(frames(until=NOON + 120)))
    world.tick()
    assert faults(world) == ["clock"]


def test_a_clock_that_is_ahead_does_not_make_the_other_cameras_look_behind(world: World) -> None:
    world.configure(model(health={"within": "2m"}), **QUIET)
    for minute in range(4):
        world.send(shown(frames(60, until=world.now), tag=str(minute)))
        world.send(shown(frames(60, until=world.now + 280), "right", tag=str(minute)))
        world.tick()
        world.now += 60
    assert (faults(world), faults(world, "camera=right")) == ([], ["clock"])


def test_where_frames_of_all_cameras_come_far_behind_no_clock_is_wrong(world: World) -> None:
    """Whatever is between all of them and the log is slow: a camera that is behind sends as well."""
    world.configure(model(health={"within": "2m"}), **QUIET)
    for minute in range(6):
        for camera in ("left", "right"):
            world.send(shown(frames(60, until=world.now - 3600), camera, tag=str(minute)))
        world.tick()
        world.now += 60
    assert faults(world) == faults(world, "camera=right") == []
    assert health(world).reach["clock"] < 0.1


def test_frames_that_come_late_are_looked_at_for_as_long_as_others(world: World) -> None:
    for minute in range(6):
        world.send(shown(frames(60, edges=scene(5), until=world.now - 240), tag=str(minute)))
        world.tick()
        world.now += 60
    assert faults(world) == ["moved"]


def test_where_all_cameras_fell_silent_their_pictures_are_old_news_after_a_while(world: World) -> None:
    world.send(shown(frames(until=NOON), "right"))
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    assert faults(world) == ["black"]
    for _ in range(6):
        world.now += 60
        world.tick()
    assert faults(world) == []
    assert "no measured frame" in health(world).unknown["black"]


def test_a_window_that_was_read_anyhow_is_not_read_again(world: World, log: CountingLog) -> None:
    world.send(shown(frames(until=NOON - 1)))
    world.tick()
    assert log.read == 1


def test_a_window_shorter_than_health_looks_back_is_not_enough(world: World, log: CountingLog) -> None:
    world.configure(model(windows={"1m": {"min_samples": 20}}), **QUIET)
    world.send(shown(frames(until=NOON - 1)))
    world.tick()
    assert log.read == 2
    assert health(world).reach["moved"] < 0.5


def test_health_and_drift_are_told_apart(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    windows = models_document(world.states.values())["models"][0]["evaluations"][0]["windows"]
    assert not any(signal["signal"] == "black" for window in windows for signal in window["signals"])


def test_the_document_tells_the_evidence_of_each_fault(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    (camera,) = models_document(world.states.values())["models"][0]["evaluations"][0]["cameras"]
    assert camera["slice"] == "camera=left"
    assert camera["last_frame"] == pytest.approx(NOON)
    assert camera["faults"][0]["name"] == "black"
    assert "brightness 0.01" in camera["faults"][0]["evidence"]
    assert set(camera["reach"]) | set(camera["unknown"]) == {
        "late", "clock", "black", "white", "frozen", "covered", "resolution", "moved", "unfocused",
    }  # fmt: skip


def test_a_fault_is_one_its_absence_is_zero_and_what_is_unknown_has_no_series(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    found = {line.split('fault="')[1].split('"')[0]: line[-3:] for line in metrics(world) if "camera_fault{" in line}
    assert found["black"] == "1.0"
    assert found["late"] == "0.0"
    assert "moved" not in found


def test_the_metrics_say_since_when_and_how_far_and_when_the_last_frame_was(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    text = "\n".join(metrics(world))
    scope = 'model="pets",slice="camera=left",version="1"'
    assert f'visiondrift_camera_fault_since_timestamp_seconds{{fault="black",{scope}}}' in text
    assert f'visiondrift_camera_fault_reach_ratio{{fault="black",{scope}}}' in text
    assert f"visiondrift_camera_last_frame_timestamp_seconds{{{scope}}} 1.79" in text


def test_the_landing_page_names_the_camera_its_fault_and_the_evidence(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    snapshot = Snapshot(Links("http://e", "http://g", "http://p", "http://r"), models=tuple(world.states.values()))
    page = Pages().landing(snapshot, lambda *_: (), lambda *_: None, now=NOON)
    assert "camera left: black" in page
    assert "brightness 0.01" in page
    assert 'href="/runbook#black"' in page


def test_the_landing_page_says_nothing_of_cameras_that_are_well(world: World) -> None:
    world.send(shown(frames(until=NOON)))
    world.tick()
    snapshot = Snapshot(Links("http://e", "http://g", "http://p", "http://r"), models=tuple(world.states.values()))
    assert 'role="alert"' not in Pages().landing(snapshot, lambda *_: (), lambda *_: None, now=NOON)


def test_the_runbook_has_a_section_for_every_fault() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
    section = text.split("## VisionDriftCameraFault")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", section, re.MULTILINE)) == sorted(name.capitalize() for name in FAULTS)


def test_what_leaves_the_configuration_is_forgotten(world: World) -> None:
    world.send(shown(flat(until=NOON, brightness=0.01)))
    world.tick()
    world.configure(model("other", reference="pets"), **QUIET)
    world.tick(60)
    assert set(world.states) == {"other"}
