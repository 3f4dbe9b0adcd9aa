"""Cameras in: frames from recordings, folders and a camera that dies, and what is kept of them where."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from collect_parts import Camera, answering, jpeg, scene, served, video
from exporter_process import demo_config, running_exporter
from programs import PATIENCE_S, until
from rtsp_camera import RtspCamera, serving
from visiondrift.cli import main
from visiondrift.collect import video as collect_video
from visiondrift.collect.folder import collected
from visiondrift.collect.frames import Frame, Tally
from visiondrift.collect.keep import Policy
from visiondrift.collect.reading import Readers, frames_of
from visiondrift.collect.run import Collector, Job
from visiondrift.collect.sinks import FolderSink, KeptFrame
from visiondrift.collect.sources import Source
from visiondrift.demo.digits import frames as digit_frames
from visiondrift.errors import BadInput
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import Kept, PredictionEvent, sample_of
from visiondrift.reference import save_reference

START = 1_790_000_000.0


@dataclass(frozen=True)
class Said:
    """How the command ended, and what it said on either output."""

    status: int
    out: str
    err: str


Collect = Callable[..., Said]


def seen(source: Source, *, tally: Tally | None = None) -> list[Frame]:
    return list(frames_of(source, tally or Tally(), threading.Event(), tell=lambda _: None))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("clip") / "hall.mp4", seconds=6, created="2026-11-02T08:00:00.000000Z")


def test_a_recordings_frames_count_from_its_start(clip: Path) -> None:
    frames = seen(Source("hall", str(clip), look=0.5, start=START))
    assert [frame.time - START for frame in frames] == pytest.approx([n / 2 for n in range(12)], abs=1e-6)


def test_how_much_of_a_recording_and_of_a_folder_is_read_is_known_and_of_a_watched_one_is_not(
    clip: Path, tmp_path: Path
) -> None:
    tally = Tally()
    frames = frames_of(Source("hall", str(clip), look=2.0), tally, threading.Event(), tell=lambda _: None)
    assert [tally.share for _ in frames] == pytest.approx([0, 1 / 3, 2 / 3], abs=0.01)
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(scene(number)))
    tally = Tally()
    assert len(seen(Source("hall", str(tmp_path)), tally=tally)) == 4
    assert tally.share == 1.0
    stop, tally = threading.Event(), Tally()
    for number, _ in enumerate(frames_of(Source("h", str(tmp_path), watch=True), tally, stop, tell=lambda _: None)):
        if number == 3:
            stop.set()
    assert tally.share is None


def test_a_recording_without_a_stated_start_begins_when_it_says(clip: Path) -> None:
    first = seen(Source("hall", str(clip)))[0]
    assert first.time == pytest.approx(1_793_606_400.0)


def test_a_recording_that_says_nothing_ends_when_it_was_written(tmp_path: Path) -> None:
    file = video(tmp_path / "hall.mkv", seconds=2)
    os.utime(file, (START, START))
    assert seen(Source("hall", str(file)))[0].time == pytest.approx(START - 2, abs=0.2)


def test_frames_are_what_the_camera_saw(clip: Path) -> None:
    frames = seen(Source("hall", str(clip), look=1.0, start=START))
    for number, frame in enumerate(frames):
        off = np.abs(np.asarray(frame.image, dtype=float) - np.asarray(scene(10 * number), dtype=float))
        assert off.mean() < 12


def test_a_recording_that_is_cut_short_gives_what_it_has(clip: Path, tmp_path: Path) -> None:
    whole = video(tmp_path / "whole.mkv", seconds=6).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    assert 1 <= len(seen(Source("hall", str(tmp_path / "cut.mkv")))) < 6


def cut(whole: Path, share: float) -> Path:
    content = whole.read_bytes()
    file = whole.with_name(f"cut{whole.suffix}")
    file.write_bytes(content[: round(share * len(content))])
    return file


@pytest.mark.parametrize("suffix", [".mkv", ".flv"])
def test_a_recording_that_lacks_a_part_says_how_much_of_it_there_is(suffix: str, tmp_path: Path) -> None:
    file = cut(video(tmp_path / f"whole{suffix}", seconds=20), 0.5)
    tally, said = Tally(), []
    list(frames_of(Source("hall", str(file)), tally, threading.Event(), tell=said.append))
    assert re.search(r"it ends early, (9|10)\.\d s of 20\.\d s could be read", tally.problem)
    assert said == [f"hall: {file}: {tally.problem}"]


def test_a_recording_whose_end_is_damaged_ends_early(tmp_path: Path) -> None:
    tally, file = Tally(), cut(video(tmp_path / "whole.h264", seconds=4), 0.99)
    seen(Source("hall", str(file)), tally=tally)
    assert tally.problem.endswith("could be read (its end is damaged)")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mpg", ".h264"])
def test_a_whole_recording_does_not_end_early(suffix: str, tmp_path: Path) -> None:
    tally = Tally()
    seen(Source("hall", str(video(tmp_path / f"whole{suffix}", seconds=20))), tally=tally)
    assert (tally.problem, tally.corrupt) == ("", 0)


def test_a_recording_of_which_only_the_beginning_is_asked_for_does_not_end_early(clip: Path) -> None:
    tally, stop = Tally(), threading.Event()
    for _ in frames_of(Source("hall", str(clip)), tally, stop, tell=lambda _: None):
        stop.set()
    assert not tally.problem


def test_a_colon_in_the_name_of_a_file_is_no_protocol(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip, tmp_path / "2024-01-01T12:00:00.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(seen(Source("hall", "2024-01-01T12:00:00.mp4"))) == 6


def test_damaged_frames_are_counted_and_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "hall.avi"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for number in range(20):
            for packet in stream.encode(av.VideoFrame.from_image(scene(number))):
                container.mux(packet)
        container.mux(stream.encode())
    content = bytearray(file.read_bytes())
    places = [at for at in range(len(content)) if content[at : at + 3] == b"\xff\xd8\xff"]
    content[places[8] : places[9] - 8] = bytes(places[9] - 8 - places[8])
    file.write_bytes(content)
    tally = Tally()
    frames = seen(Source("hall", str(file), look=0.1), tally=tally)
    assert (tally.corrupt, len(frames)) == (1, 19)


def test_a_file_that_is_no_video_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("nothing to see", encoding="utf-8")
    with pytest.raises(BadInput, match=r"notes\.mp4: it cannot be read .*accepted is a video"):
        seen(Source("hall", str(tmp_path / "notes.mp4")))


def test_images_of_a_folder_come_by_age_and_as_they_were(tmp_path: Path) -> None:
    for number, name in enumerate(("b.jpg", "deep/a.png", "c.webp")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        scene(number).save(file)
        os.utime(file, (START + number, START + number))
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    frames = seen(Source("hall", str(tmp_path)))
    assert [(frame.name, frame.time - START) for frame in frames] == [("b.jpg", 0), ("deep/a.png", 1), ("c.webp", 2)]
    assert frames[0].encoded == (tmp_path / "b.jpg").read_bytes()


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.tif", "a.tiff"])
def test_an_image_of_a_kind_that_no_exporter_takes_is_read_and_kept_as_a_jpeg(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    scene(3).save(tmp_path / "in" / name)
    (frame,) = seen(Source("hall", str(tmp_path / "in")))
    off = np.abs(np.asarray(frame.image, dtype=float) - np.asarray(scene(3), dtype=float))
    assert off.mean() < (4 if name == "a.gif" else 0.01)
    (alone,) = seen(Source("hall", str(tmp_path / "in" / name)))
    assert alone.image.size == frame.image.size
    FolderSink(tmp_path / "out", print, 2**30).put(KeptFrame("hall", frame, ("every",)))
    (line,) = manifest(tmp_path / "out")
    with Image.open(tmp_path / "out" / line["file"]) as image:
        assert (image.format, Path(line["file"]).suffix, line["name"]) == ("JPEG", ".jpg", name)


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.tif"])
def test_such_an_image_that_is_cut_short_or_too_large_is_counted_and_passed_over(name: str, tmp_path: Path) -> None:
    scene(0).save(tmp_path / name)
    cut(tmp_path / name, 0.3)
    tally = Tally()
    assert not seen(Source("hall", str(tmp_path), max_pixels=1000), tally=tally)
    assert tally.corrupt == 2


@pytest.mark.parametrize("watch", [False, True])
def test_a_folder_is_read_past_what_is_no_file(watch: bool, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    os.mkfifo(tmp_path / "b.jpg")
    scene(0).save(tmp_path / "c.jpg")
    stop, tally = threading.Event(), Tally()
    frames = frames_of(Source("hall", str(tmp_path), watch=watch), tally, stop, tell=lambda _: None)
    assert (next(frames).name, tally.corrupt) == ("c.jpg", 0)


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(BadInput, match=r"no image lies there; accepted are \.jpg"):
        seen(Source("hall", str(tmp_path)))


def test_an_image_that_says_when_and_in_which_zone_it_was_taken_is_believed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2026:11:02 09:00:00", 0x9011: "+01:00"})
    scene(0).save(tmp_path / "a.jpg", exif=exif)
    assert seen(Source("hall", str(tmp_path / "a.jpg")))[0].time == 1_793_606_400.0


def test_a_watched_folder_gives_new_files_and_half_written_ones_when_they_are_whole(tmp_path: Path) -> None:
    whole = jpeg(scene(0))
    (tmp_path / "a.jpg").write_bytes(whole)
    stop, tally, found = threading.Event(), Tally(), []
    source = Source("hall", str(tmp_path), watch=True)

    def watch() -> None:
        found.extend(frame.name for frame in frames_of(source, tally, stop, tell=lambda _: None))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        until(lambda: tally.state == "watching")
        (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
        until(lambda: tally.corrupt >= 1, what="a half-written file")
        (tmp_path / "b.jpg").write_bytes(whole)
        until(lambda: len(found) == 2, what="the whole file")
        time.sleep(1.2)  # another look at the folder, in which nothing is new
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert found == ["a.jpg", "b.jpg"]
    assert tally.corrupt == 0, "what was half written when it was met is damaged no more"


def test_a_camera_that_dies_and_comes_back_goes_on_with_times_of_the_clock() -> None:
    camera, stop, tally = Camera(frames=8, pause=0.05), threading.Event(), Tally()
    camera.damaged = frozenset({3})
    said: list[str] = []
    times: list[float] = []
    with served(camera) as url:
        address = url.replace("//", "//viewer:s3cret@")
        began = time.time()
        for frame in frames_of(Source("hall", address, look=0.05), tally, stop, tell=said.append):
            tally.looked += 1
            times.append(frame.time)
            if tally.connections == 3:
                stop.set()
    assert tally.connections == 3
    assert tally.corrupt == 1
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= time.time()
    assert any("again in" in sentence for sentence in said)
    assert "s3cret" not in " ".join(said)


def test_a_camera_that_is_not_there_yet_is_asked_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is twice the one before, give or take half."""
    monkeypatch.setattr(collect_video, "_FIRST_WAIT", 0.2)
    camera, stop, tally = Camera(frames=5, pause=0.01), threading.Event(), Tally()
    camera.refuses = 503
    pauses: list[float] = []

    def tell(sentence: str) -> None:
        pauses.append(float(sentence.rpartition("again in ")[2].removesuffix(" s")))
        if len(pauses) == 5:
            stop.set()

    with served(camera) as url:
        assert not list(frames_of(Source("hall", url), tally, stop, tell=tell))
    assert camera.connections == 5
    assert tally.connections == 0
    assert all(0.5 * 0.2 * 2**n - 0.05 <= pause <= 1.5 * 0.2 * 2**n + 0.05 for n, pause in enumerate(pauses)), pauses


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_recording_that_a_web_server_does_not_give_is_asked_for_once(status: int) -> None:
    camera, tally = Camera(frames=5, pause=0.01), Tally()
    camera.refuses = status
    with served(camera) as url, pytest.raises(BadInput, match=rf"it cannot be read \(Server returned {status}"):
        seen(Source("hall", f"{url}/rec.mp4?channel=1".replace("//", "//viewer:s3cret@", 1)), tally=tally)
    assert (camera.connections, tally.connections) == (1, 0)


@pytest.mark.parametrize(("status", "path"), [(404, "live.m3u8"), (404, "video"), (503, "rec.mp4"), (429, "rec.mp4")])
def test_what_may_come_to_be_is_asked_for_again(status: int, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_video, "_FIRST_WAIT", 0.05)
    camera, stop, said = Camera(frames=5, pause=0.01), threading.Event(), []
    camera.refuses = status

    def tell(sentence: str) -> None:
        said.append(sentence)
        if len(said) == 3:
            stop.set()

    with served(camera) as url:
        assert not list(frames_of(Source("hall", f"{url}/{path}"), Tally(), stop, tell=tell))
    assert camera.connections == 3


def test_the_frames_of_an_rtsp_camera_are_in_order_and_go_on_when_it_has_hung_up(clip: Path) -> None:
    camera, stop, tally, said = RtspCamera(clip), threading.Event(), Tally(), []
    times: list[float] = []
    with serving(camera) as url:
        for frame in frames_of(Source("hall", url, look=0.5), tally, stop, tell=said.append):
            tally.looked += 1
            times.append(frame.time)
            if camera.connections == 2:
                stop.set()
    assert (tally.corrupt, said[-1]) == (0, "hall: connected again")
    assert len(times) == 13
    # FFmpeg reads some seconds before it gives the first picture: those are of when they were taken, and not of now.
    assert abs(times[0] - camera.played_at[0]) < 1
    assert np.diff(times[:12]) == pytest.approx(0.5, abs=0.11)
    assert times[11] < times[12] <= time.time()


def test_a_recording_waits_for_whoever_is_slow_and_loses_nothing(clip: Path) -> None:
    stop = threading.Event()
    readers = Readers([Source("hall", str(clip), look=0.1)], stop, tell=lambda _: None)
    readers.start()
    time.sleep(1.0)
    assert readers.tallies[0].looked <= 8
    taken = 0
    while not readers.ended:
        taken += len(readers.take(4, patience=0.1))
    assert (taken, readers.tallies[0].missed) == (60, 0)


def test_a_camera_does_not_wait_and_what_is_missed_is_counted() -> None:
    camera, stop = Camera(frames=60, pause=0.02), threading.Event()
    with served(camera) as url:
        readers = Readers([Source("hall", url, look=0.02)], stop, tell=lambda _: None)
        readers.start()
        until(lambda: readers.tallies[0].missed > 5, what="missed frames")
        stop.set()
    assert readers.tallies[0].looked == 8


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_config(tmp_path_factory.mktemp("collect") / "config")


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path) -> Collect:
    """Runs the command in this process, through the program's own entry: CLIP is loaded once for all tests."""

    def run(*arguments: object) -> Said:
        given = ["visiondrift", "collect", "--config", str(config), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Said(int(ended.value.code or 0), captured.out, captured.err)

    return run


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_frames_are_kept_in_a_folder_with_a_manifest_that_says_why(
    clip: Path, collect: Collect, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = collect(
        clip, "--every", "2s", "--slice", "camera=left", "--start", "2026-11-02T08:00:00Z", "--to-folder", out,
    )  # fmt: skip
    assert said.status == 0, said.err
    lines = manifest(out)
    assert [(line["time"], line["kept"], line["slices"]) for line in lines] == [
        (f"2026-11-02T08:00:0{second}.000000Z", ["every"], {"camera": "left"}) for second in (0, 2, 4)
    ]
    for line in lines:
        with Image.open(out / line["file"]) as image:
            assert image.size == (64, 64)
    assert "every 3" in said.out


def test_collecting_the_same_again_doubles_nothing(clip: Path, collect: Collect, tmp_path: Path) -> None:
    for _ in range(2):
        said = collect(clip, "--every", "2s", "--to-folder", tmp_path)
    assert "3 duplicates" in said.out
    assert len(manifest(tmp_path)) == 3


def test_it_is_the_same_however_its_path_is_written(
    clip: Path, collect: Collect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip.parent)
    for path in (clip, clip.name, f"../{clip.parent.name}/{clip.name}"):
        said = collect(path, "--every", "2s", "--to-folder", tmp_path)
    assert "3 duplicates" in said.out
    (folder,) = (path.name for path in tmp_path.iterdir() if path.is_dir())
    assert re.fullmatch(r"hall-[0-9a-f]{8}", folder)


def test_recordings_of_one_name_and_one_time_lose_nothing_to_each_other(
    clip: Path, collect: Collect, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for camera in ("left", "right"):
        (tmp_path / camera).mkdir()
        shutil.copy(clip, tmp_path / camera / "rec.mp4")
        said = collect(
            tmp_path / camera / "rec.mp4", "--every", "2s", "--slice", f"camera={camera}", "--to-folder", out
        )
        assert "folder: 3 stored" in said.out
    lines = manifest(out)
    assert len({line["id"] for line in lines}) == len({line["file"] for line in lines}) == len(lines) == 6
    assert len({line["source"] for line in lines}) == 2
    found = collected(out)
    assert sorted(own["camera"] for own in found.slices.values()) == ["left"] * 3 + ["right"] * 3


@pytest.mark.parametrize("other", [("--version", "2"), ("--slice", "camera=left")])
def test_frames_of_one_name_are_apart_by_what_they_are_events_of(
    other: tuple[str, str], clip: Path, collect: Collect, tmp_path: Path
) -> None:
    collect(clip, "--every", "2s", "--name", "cam", "--to-folder", tmp_path)
    said = collect(clip, "--every", "2s", "--name", "cam", *other, "--to-folder", tmp_path)
    assert "folder: 3 stored" in said.out
    assert {line["file"].partition("/")[0] for line in manifest(tmp_path)} == {"cam"}


def test_a_line_that_a_kill_left_unfinished_spoils_no_other(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path, print, 2**30)
    sink.put(KeptFrame("hall", Frame(START, scene(0)), ("every",)))
    with (tmp_path / "manifest.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"file": "hall/2026')
    sink = FolderSink(tmp_path, print, 2**30)
    sink.put(KeptFrame("hall", Frame(START + 1, scene(1)), ("unlike",)))
    found = collected(tmp_path)
    assert list(found.times.values()) == [START, START + 1]
    assert len(found.biased) == 1


def collected_for(folder: Path, *reasons: Kept, **more: Any) -> dict[str, int]:
    """Collects one frame into a folder, as another run of the command would; what was counted."""
    sink = FolderSink(folder, print, 2**30)
    sink.put(KeptFrame("hall", Frame(START, scene(0)), reasons, model="digits", **more))
    return dict(sink.counts)


def test_a_frame_that_a_rule_chose_belongs_to_the_share_that_chance_draws_later(tmp_path: Path) -> None:
    assert collected_for(tmp_path, "prompt") == {"stored": 1}
    assert len(collected(tmp_path).biased) == 1
    assert collected_for(tmp_path, "uniform") == {"completed": 1}
    assert collected_for(tmp_path, "prompt", "uniform") == {"duplicates": 1}
    found = collected(tmp_path)
    assert (list(found.reasons.values()), found.biased) == ([{"prompt", "uniform"}], frozenset())
    assert len(list(tmp_path.rglob("*.jpg"))) == 1


def test_a_kill_between_the_lines_of_a_frame_leaves_what_it_had(tmp_path: Path) -> None:
    collected_for(tmp_path, "prompt")
    whole = (tmp_path / "manifest.jsonl").read_text(encoding="utf-8")
    collected_for(tmp_path, "uniform")
    cut(tmp_path / "manifest.jsonl", 0.8).replace(tmp_path / "manifest.jsonl")
    assert (tmp_path / "manifest.jsonl").read_text(encoding="utf-8").startswith(whole)
    assert list(collected(tmp_path).reasons.values()) == [{"prompt"}]
    assert collected_for(tmp_path, "uniform") == {"completed": 1}
    assert not collected(tmp_path).biased


def test_confidences_can_be_asked_for_afterwards(tmp_path: Path) -> None:
    collected_for(tmp_path, "every")
    assert collected_for(tmp_path, "every", confidences={"cat": 0.75, "dog": 0.25}) == {"completed": 1}
    assert collected_for(tmp_path, "every", confidences={"cat": 0.5, "dog": 0.5}) == {"duplicates": 1}
    assert collected_for(tmp_path, "every") == {"duplicates": 1}
    assert list(collected(tmp_path).confidences.values()) == [{"cat": 0.75, "dog": 0.25}]


def test_an_image_that_a_kill_left_without_a_line_gets_it_when_it_is_collected_again(tmp_path: Path) -> None:
    collected_for(tmp_path, "every")
    (tmp_path / "manifest.jsonl").write_text("", encoding="utf-8")
    assert collected_for(tmp_path, "every") == {"completed": 1}
    assert list(collected(tmp_path).times.values()) == [START]


def test_a_folder_with_another_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"name": "a dataset"}\n', encoding="utf-8")
    with pytest.raises(BadInput, match="line 1: accepted is a line of `collect --to-folder`"):
        FolderSink(tmp_path, print, 2**30)


def test_chance_after_a_rule_is_said_in_the_summary(clip: Path, collect: Collect, tmp_path: Path) -> None:
    to = ("--to-folder", tmp_path, "--look", "2s")
    assert "3 stored" in collect(clip, "--prompt", "a dark photo", "--threshold", "-1", *to).out
    assert "folder: 3 completed" in collect(clip, "--uniform", "1", *to).out
    assert not collected(tmp_path).biased


def test_a_full_folder_takes_no_more_and_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    frames = [KeptFrame("hall", Frame(START + number, scene(number)), ("every",)) for number in range(4)]
    room = 2 * max(len(frame.encoded) for frame in frames) + 1000
    for _ in range(2):  # what lies there already counts
        sink = FolderSink(tmp_path, said.append, room)
        for frame in frames:
            sink.put(frame)
    assert dict(sink.counts) == {"duplicates": 2, "lost": 2}
    assert len(manifest(tmp_path)) == 2
    assert len(said) == 2
    assert "collect.folder_max_size" in sink.problem


def test_a_collection_ends_when_its_folder_is_full(clip: Path, tmp_path: Path) -> None:
    job = Job(Source("hall", str(clip), look=0.1), Policy(uniform=1.0))
    sink = FolderSink(tmp_path, lambda _: None, 1)
    collector = Collector([job], [sink], looker=None, stop=threading.Event(), tell=lambda _: None)
    collector.run()
    assert sink.problem
    assert collector.progress[0].kept < 60


def test_a_full_folder_leaves_the_other_sink_all_frames(clip: Path, tmp_path: Path) -> None:
    job = Job(Source("hall", str(clip), look=0.1), Policy(uniform=1.0))
    sinks = [FolderSink(tmp_path / name, lambda _: None, room) for name, room in (("small", 1), ("large", 2**30))]
    Collector([job], sinks, looker=None, stop=threading.Event(), tell=lambda _: None).run()
    assert [dict(sink.counts) for sink in sinks] == [{"lost": 60}, {"stored": 60}]


def test_a_dry_run_prints_what_each_frame_resembles(clip: Path, collect: Collect) -> None:
    said = collect(clip, "--look", "2s", "--prompt", "a dark photo", "--dry-run")
    assert said.status == 0, said.err
    lines = [line for line in said.out.splitlines() if re.search(r'Z  hall-[0-9a-f]{8}  .*"a dark photo"', line)]
    assert len(lines) == 3
    assert all("reference " in line for line in lines)
    assert "largest" in said.out


def test_a_threshold_keeps_what_resembles_the_words(collect: Collect, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for condition in ("clear", "dark"):
        for number, (frame, _) in enumerate(digit_frames(np.arange(4), "left", condition, rng=rng)):
            Image.fromarray(frame).save(tmp_path / "in" / f"{condition}-{number}.png")
    out = tmp_path / "out"
    said = collect(
        tmp_path / "in", "--prompt", "a dark photo", "--threshold", "0.5", "--to-folder", out, "--model", "digits-demo",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert {line["name"].partition("-")[0] for line in manifest(out)} == {"dark"}
    assert all(line["similarity"]["prompts"]["a dark photo"] >= 0.5 for line in manifest(out))


def test_it_ends_in_order_on_ctrl_c_with_a_summary(config: Path, tmp_path: Path) -> None:
    camera = Camera(frames=100_000, pause=0.02)
    with served(camera) as url:
        command = [sys.executable, "-m", "visiondrift", "collect", url, "--look", "100ms", "--every", "200ms"]
        process = subprocess.Popen(
            [*command, "--to-folder", str(tmp_path), "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: (tmp_path / "manifest.jsonl").is_file() and len(manifest(tmp_path)) > 3, what="kept frames")
        for _ in range(2):  # as `timeout` sends it: to the program, and to its group
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert f"{len(manifest(tmp_path))} stored" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.mp4", "--every", "1s", "--dry-run"], "there is no such file or folder"),
        (["CLIP", "--every", "1s"], "kept frames would go nowhere"),
        (["CLIP", "--to-folder", "out"], "no frame would be kept"),
        (["CLIP", "--prompt", "a train", "--to-folder", "out"], "Give --threshold"),
        (["CLIP", "--every", "often", "--to-folder", "out"], "--every: 'often' is not a duration"),
        (["CLIP", "--every", "1s", "--slice", "camra=left", "--to-folder", "out"], "accepted is camera=..."),
        (["CLIP", "--every", "1s", "--watch", "--to-folder", "out"], "only a folder can be watched"),
        (["CLIP", "--uniform", "0", "--to-folder", "out"], "a share above 0"),
        (["CLIP", "--prompt", " ", "--threshold", "0.2", "--to-folder", "out"], "there are no words in it"),
        (["FOLDER", "--uniform", "1", "--watch", "--to-folder", "FOLDER/out"], "would be read again"),
        (["--to-folder", "out"], "collect.sources"),
        (
            ["CLIP", "--every", "2s", "--look", "3s", "--to-folder", "out"],
            "accepted is a --look of at most 2s, or none",
        ),
        (["FOLDER", "--every", "1s", "--start", "now", "--to-folder", "out"], "only a recording has a start"),
        (["rstp://viewer:s3cret@10.0.0.7/", "--every", "1s", "--to-folder", "out"], "rstp://***@10.0.0.7"),
        (
            ["CLIP", "--every", "1s", "--name", "../../x", "--to-folder", "out"],
            "--name '../../x': accepted is a name of",
        ),
        (["CLIP", "--every", "1s", "--name", "", "--to-folder", "out"], "--name '': accepted is a name of"),
        (["CLIP", "--every", "1s", "--version", "a,b", "--to-folder", "out"], "--version 'a,b': accepted are 1 to 64"),
        (["CLIP", "--every", "1s", "--slice", "camera=x=y", "--to-folder", "out"], "after the first =, 1 to 64"),
        (
            ["CLIP", "--every", "1s", "--slice", "camera=a", "--slice", "camera=b", "--to-folder", "out"],
            "accepted is one value of a label",
        ),
        (["CLIP", "--every", "1s", "--start", "9999-12-31T23:59:50Z", "--to-folder", "out"], "1970 or ahead"),
    ],
)
def test_what_cannot_be_done_is_said_with_status_3(
    arguments: list[str], says: str, clip: Path, collect: Collect
) -> None:
    given = (argument.replace("FOLDER", str(clip.parent)) for argument in arguments)
    said = collect(*(str(clip) if argument == "CLIP" else argument for argument in given))
    assert said.status == 3
    assert says in said.err.replace("\n", " ")


def test_frames_are_looked_at_as_often_as_they_are_to_be_kept(clip: Path, collect: Collect, tmp_path: Path) -> None:
    assert collect(clip, "--every", "500ms", "--to-folder", tmp_path).status == 0
    assert len(manifest(tmp_path)) == 12


def test_images_whose_files_are_of_one_time_are_said_to_be(collect: Collect, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(5):
        scene(number).save(tmp_path / "in" / f"{number}.png")
        os.utime(tmp_path / "in" / f"{number}.png", (START, START))
    said = collect(tmp_path / "in", "--every", "1m", "--to-folder", tmp_path / "out")
    assert (said.status, len(manifest(tmp_path / "out"))) == (0, 1)
    assert "every kept one of 5 images" in said.out


def configured(config: Path, folder: Path, sources: str, models: str = "") -> tuple[str, Path]:
    """The option that names a copy of ``config`` with these sources, and models beside its own."""
    copy = folder / "config"
    shutil.copytree(config, copy)
    file = copy / "monitoring.yml"
    text = file.read_text(encoding="utf-8").replace("\nmodels:\n", f"\nmodels:\n{models}")
    file.write_text(f"{text}\ncollect:\n  sources:\n{sources}", encoding="utf-8")
    return "--config", copy


@pytest.mark.parametrize(
    "option",
    [
        ["--slice", "camera=left"],
        ["--start", "now", "hall"],
        ["--model", "digits-demo"],
        ["--name", "yard", "hall"],
        ["--version", "2"],
        ["--watch"],
        ["--model-server", "http://localhost:1"],
        ["--protocol", "json"],
        ["--seed", "0"],
        ["--look", "2s"],
        ["--every", "2s"],
    ],
)
def test_what_a_configured_source_says_itself_is_refused_beside_it(
    option: list[str], clip: Path, config: Path, collect: Collect, tmp_path: Path
) -> None:
    given = configured(config, tmp_path, f"    - {{name: hall, path: {clip}, model: digits-demo, every: 2s}}\n")
    said = collect(*option, "--to-folder", tmp_path / "out", *given)
    assert said.status == 3
    assert f"{option[0]}: of the source" in said.err
    assert not (tmp_path / "out").exists()


def test_a_configured_source_is_read_as_its_entries_say(
    clip: Path, config: Path, collect: Collect, tmp_path: Path
) -> None:
    source = f"name: hall, path: {clip}, model: digits-demo, slices: {{camera: left}}, every: 500ms"
    given = configured(config, tmp_path, f"    - {{{source}, start: 2026-11-02T08:00:00+01:00}}\n")
    said = collect("hall", "--to-folder", tmp_path / "out", "--max-frames", "3", *given)
    assert said.status == 0, said.err
    assert [(line["time"], line["slices"]) for line in manifest(tmp_path / "out")] == [
        (f"2026-11-02T07:00:0{seconds}00000Z", {"camera": "left"}) for seconds in ("0.0", "0.5", "1.0")
    ]


def test_a_source_whose_path_is_missing_leaves_the_others_alone(
    clip: Path, config: Path, collect: Collect, tmp_path: Path
) -> None:
    of = "model: digits-demo, every: 2s"
    sources = f"    - {{name: yard, path: /nowhere.mp4, {of}}}\n    - {{name: hall, path: {clip}, {of}}}\n"
    given = configured(config, tmp_path, sources)
    said = collect("--to-folder", tmp_path / "out", *given)
    assert said.status == 1
    assert "yard: /nowhere.mp4: there is no such file or folder" in said.err
    assert [line["source"] for line in manifest(tmp_path / "out")] == ["hall"] * 3
    assert collect("yard", "--to-folder", tmp_path / "out", *given).status == 3


def test_an_image_of_a_folder_that_is_damaged_is_told_by_the_exit_status(collect: Collect, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        scene(number).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "1.png").write_bytes(b"no image")
    said = collect(tmp_path / "in", "--uniform", "1", "--to-folder", tmp_path / "out")
    assert (said.status, len(manifest(tmp_path / "out"))) == (1, 2)
    assert "1.png" in said.err


def test_frames_that_a_model_server_left_without_confidences_are_told_by_the_exit_status(
    clip: Path, config: Path, collect: Collect, tmp_path: Path
) -> None:
    server = "model_server: {url: 'http://127.0.0.1:9', protocol: json, timeout: 300ms}"
    source = f"name: hall, path: {clip}, model: digits-demo, slices: {{camera: left}}, every: 2s, {server}"
    given = configured(config, tmp_path, f"    - {{{source}}}\n")
    said = collect("--to-folder", tmp_path / "out", *given)
    assert (said.status, len(manifest(tmp_path / "out"))) == (1, 3)
    assert "3 without confidences" in " ".join(said.out.split())


def test_a_recording_s_dead_model_server_costs_a_camera_beside_it_no_frame(
    config: Path, collect: Collect, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        scene(number).save(tmp_path / "in" / f"{number}.png")
    with served(Camera(frames=100_000, pause=0.1)) as url:
        server = "model_server: {url: 'http://127.0.0.1:9', protocol: json}"
        given = configured(
            config,
            tmp_path,
            f"    - {{name: live, url: '{url}', model: digits-demo, uniform: 1, look: 200ms}}\n"
            f"    - {{name: rec, path: {tmp_path / 'in'}, model: digits-demo, uniform: 1, {server}}}\n",
        )
        began = time.monotonic()
        said = collect("--to-folder", tmp_path / "out", "--max-frames", "40", *given)
    assert time.monotonic() - began < 60  # 100 s where each frame of the folder waits for its server
    rows = {row[0]: row for row in map(str.split, said.out.replace("│", " ").splitlines()) if row}
    assert rows["live"][1:5] == ["20", "0", "0", "20"], said.out
    assert rows["rec"][1:5] == ["20", "0", "0", "20"], said.out


def test_a_slip_in_the_name_of_a_source_is_answered_with_the_names(
    clip: Path, config: Path, collect: Collect, tmp_path: Path
) -> None:
    given = configured(config, tmp_path, f"    - {{name: lobby, path: {clip}, model: digits-demo, every: 2s}}\n")
    said = collect("lobb", "--every", "1s", "--to-folder", tmp_path / "out", *given)
    assert said.status == 3
    assert "no source of that name in monitoring.yml (did you mean lobby?)" in said.err
    assert "a URL, or lobby" in said.err


def test_of_several_models_the_one_that_slices_belong_to_must_be_named(
    clip: Path, config: Path, collect: Collect, tmp_path: Path
) -> None:
    source = f"    - {{name: lobby, path: {clip}, model: digits-demo, every: 2s}}\n"
    given = configured(config, tmp_path, source, models="  - {name: other, reference: digits-demo}\n")
    said = collect(clip, "--every", "2s", "--slice", "camera=x", "--to-folder", tmp_path / "out", *given)
    assert said.status == 3
    assert "--model: the configuration has several models; name one of other, digits-demo" in said.err


@pytest.fixture
def own_embeddings(config: Path, tmp_path: Path) -> tuple[str, ...]:
    """Options that name a model whose client embeds for itself, and whose reference is of those embeddings."""
    option, copy = configured(
        config,
        tmp_path,
        "    []\n",
        models="  - {name: own, reference: own, embedding: {name: siglip, dimension: 16}}\n",
    )
    file = copy / "monitoring.yml"
    text = re.sub(r"(?m)^reference_data: .*$", f"reference_data: {tmp_path}", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    embeddings = np.random.default_rng(0).normal(1, 0.1, (20, 16)).astype(np.float32)
    seen = [
        PredictionEvent(str(n), START + n, "own", "1", embedder="siglip", embedding=row)
        for n, row in enumerate(embeddings)
    ]
    sample = sample_of(seen, classes=(), dimension=16).of_unit_length()
    save_reference(tmp_path / "own", sample, embedder="siglip", source="a test", now=START)
    return option, str(copy), "--model", "own"


def test_only_likeness_to_the_reference_needs_it(
    clip: Path, collect: Collect, tmp_path: Path, own_embeddings: tuple[str, ...]
) -> None:
    by_words = ("--prompt", "a dark photo", "--threshold", "-1", "--distinct", "1", "--look", "2s")
    said = collect(clip, *by_words, "--to-folder", tmp_path / "out", *own_embeddings)
    assert said.status == 0, said.err
    assert "similarity" in manifest(tmp_path / "out")[0]
    said = collect(clip, "--similar", "0.5", "--to-folder", tmp_path / "out", *own_embeddings)
    assert said.status == 3
    assert "own sends embeddings of its own (siglip)" in said.err
    assert "Build it anew" not in said.err


def test_a_dry_run_without_a_reference_says_why_it_shows_no_cosine_to_it(
    clip: Path, collect: Collect, own_embeddings: tuple[str, ...]
) -> None:
    said = collect(clip, "--prompt", "a dark photo", "--look", "2s", "--dry-run", *own_embeddings)
    assert said.status == 0, said.err
    assert said.out.count('"a dark photo" ') == 4
    assert "reference" not in said.out
    assert "no cosine to the reference is shown: own sends embeddings of its own (siglip)" in said.err


def test_frames_that_the_exporter_rejects_are_said_by_the_exit_status(clip: Path, collect: Collect) -> None:
    def refuse(_: str, body: Any, __: Mapping[str, str]) -> tuple[int, Any]:
        refused = [{"field": "time", "reason": "bad_time", "message": event["time"]} for event in body["events"]]
        return 422, {"error": {"code": "nothing_valid", "message": "none is valid", "rejected": refused}}

    with answering(refuse) as url:
        said = collect(clip, "--every", "2s", "--slice", "camera=left", "--to-exporter", url)
    assert said.status == 1
    assert "3 rejected" in said.out
    assert said.err.count("--start") == 1


def test_frames_reach_a_running_exporter_and_only_those_of_chance_and_clock_its_windows(
    config: Path, collect: Collect, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(24):
        scene(number).save(images / f"{number:02}.png")
    to = ("--slice", "camera=left", "--version", "7")
    with running_exporter(tmp_path, config=config) as exporter:
        until(lambda: "is loaded" in exporter.words(), what="a loaded CLIP")
        by_the_clock = collect(images, "--every", "1ms", *to, "--to-exporter", exporter.url)
        unlike = collect(images, "--name", "odd", "--unlike", "1", *to, "--to-exporter", exporter.url)
        census = SqliteLog(exporter.state / "predictions.sqlite").census()
        by_chance = collect(images, "--name", "odd", "--uniform", "1", *to, "--to-exporter", exporter.url)
        joined = SqliteLog(exporter.state / "predictions.sqlite").census()
    assert (by_the_clock.status, unlike.status) == (0, 0), by_the_clock.err + unlike.err
    assert "24 stored" in unlike.out
    assert "no drift window and no camera health reads it" in unlike.err
    assert "no camera health" not in by_the_clock.err
    kept = int(by_the_clock.out.rpartition("exporter: ")[2].split()[0])
    assert [(stream.version, stream.slices, stream.rows) for stream in census.streams] == [
        ("7", (("camera", "left"),), kept)
    ]
    assert census.events == kept + 24
    assert "24 duplicates" in by_chance.out
    assert [stream.rows for stream in joined.streams] == [kept + 24], "chance has drawn what a rule had chosen"
    assert joined.events == census.events
