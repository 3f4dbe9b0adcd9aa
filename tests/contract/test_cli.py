"""The command line: what each command says, and the status it ends with. 0, 1 and 2 are answers; 3 is the caller's."""

import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from camera_parts import flat, frames
from exporter_process import ROOT, demo_config, demo_events, running_exporter
from intake_parts import picture
from monitor_parts import CLASSES, CLIP, DIMENSION, NOON, events, model, rows
from programs import PATIENCE_S, until
from visiondrift import __version__
from visiondrift.calibration_file import save_calibration
from visiondrift.cli import main
from visiondrift.cli.comparison import _compared
from visiondrift.cli.replay import _model, _ticks
from visiondrift.cli.tables import tsv
from visiondrift.config import load_config
from visiondrift.corruptions import CORRUPTIONS
from visiondrift.demo.play import _free_port
from visiondrift.drift.calibrate import CalibrationPlan, calibrate_reference
from visiondrift.drift.evaluation import PreparedReference, Settings
from visiondrift.errors import ConfigError
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.validate import Candidate, Validator, rules_of
from visiondrift.log import WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog
from visiondrift.parquet import read_sample, write_sample
from visiondrift.prediction import Sample
from visiondrift.reference import load_reference, read_manifest, save_reference
from visiondrift.witness_file import load_witnesses

VISIONDRIFT = [sys.executable, "-m", "visiondrift"]
GOLDENS = ROOT / "tests" / "goldens" / "config"
EMBEDDING_SIGNALS = ("embedding_drift", "clip_similarity")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said on either output."""

    status: int
    out: str
    err: str


Say = Callable[..., Said]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command line in this process, through the program's own entry."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["visiondrift", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Said(int(ended.value.code or 0), captured.out, captured.err)

    return run


def process(*arguments: object, **how: Any) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"DO_NOT_TRACK": "1"} | how.pop("env", {})
    command = [*VISIONDRIFT, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env, **how)


def sliced(sample: Sample, *cameras: str) -> Sample:
    """The sample with its rows dealt out to cameras, and a second between them."""
    names = np.array([cameras[row % len(cameras)] for row in range(len(sample))], dtype=object)
    return replace(sample, slices={"camera": names}, times=NOON + np.arange(len(sample), dtype=np.float64))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference of two cameras as `reference build` leaves it, calibrated once for all tests."""
    directory = tmp_path_factory.mktemp("calibrated") / "reference"
    sample = sliced(rows(600, seed=1), "left", "right").of_unit_length()
    manifest = save_reference(directory, sample, embedder=CLIP, source="a test", now=NOON)
    plan = CalibrationPlan(Settings(classes=CLASSES, slices=("camera",)))
    prepared = PreparedReference.from_sample(sample, plan.settings)
    made = calibrate_reference(prepared.sample, plan, content_hash=manifest.content_hash)
    save_calibration(directory, made, plan)
    return directory


@pytest.fixture
def files(tmp_path: Path, calibrated: Path) -> Path:
    """reference/, reference.parquet, good.parquet and moved.parquet: two cameras, of which in the last one moved."""
    shutil.copytree(calibrated, tmp_path / "reference")
    good, moved = sliced(rows(400, seed=2), "left", "right"), sliced(rows(400, seed=2, drifted=True), "left", "right")
    left = good.slices["camera"] == "left"
    write_sample(tmp_path / "reference.parquet", sliced(rows(600, seed=1), "left", "right"))
    write_sample(tmp_path / "good.parquet", good)
    write_sample(
        tmp_path / "moved.parquet",
        replace(
            good,
            embeddings=np.where(left[:, None], good.embeddings, moved.embeddings),
            confidences=np.where(left[:, None], good.confidences, moved.confidences),
            predicted=np.where(left, good.predicted, moved.predicted),
        ),
    )
    return tmp_path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder with a good configuration: the model pets, which sends embeddings of its own."""
    return configured(tmp_path / "config")


def configured(folder: Path, *models: dict[str, Any], **sections: Any) -> Path:
    folder.mkdir(exist_ok=True)
    monitoring = {
        "embedder": {"model": f"local-dir:{ROOT}/exporter/models/digits-clip"},
        "reference_data": str(folder.parent / "references"),
        "log": {"path": str(folder.parent / "state" / "predictions.sqlite")},
        "models": list(models) or [model()],
        **sections,
    }
    (folder / "monitoring.yml").write_text(yaml.safe_dump(monitoring), encoding="utf-8")
    levels = {"embedding_drift": {"warning": 0.3, "critical": 0.5}}
    (folder / "thresholds.yml").write_text(yaml.safe_dump({"defaults": {"signals": levels}}), encoding="utf-8")
    return folder


# Starting


def test_help_and_check_config_load_no_heavy_library() -> None:
    """torch, Evidently, pandas, SciPy's statistics, FastAPI: seconds that these commands have no use for."""
    program = (
        "import sys; sys.argv = ['visiondrift', *sys.argv[1:]]\n"
        "from visiondrift.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'torch', 'open_clip', 'evidently', 'pandas', 'sklearn', 'fastapi', 'uvicorn', 'sqlite3', 'httpx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    for arguments in (["--help"], ["evaluate", "--help"], ["check-config", "--config", str(ROOT / "exporter/config")]):
        done = subprocess.run([sys.executable, "-c", program, *arguments], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_ctrl_c_while_the_program_loads_ends_it_with_one_line(tmp_path: Path) -> None:
    """In the place of a library that is imported early stands one during whose import the key is pressed.

    It raises what Python makes of the key: the signal itself is ignored where the tests run in the background.
    """
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "visiondrift", "version"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "visiondrift: interrupted\n")


def test_version_is_the_package_s(say: Say) -> None:
    assert say("version") == Said(0, f"visiondrift {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--refrence", "x", "--window", "y"], "No such option: --refrence"),
        (["evaluate", "--window", "y"], "Missing option '--reference'"),
        (["evaluate", "--reference", "x", "--window", "y", "-o", "xml"], "Invalid value for '-o'"),
        (["evaluate", "--reference", "x", "--window", "y", "--min-samples", "1"], "Invalid value for '--min-samples'"),
        (["serve", "--port", "http"], "Invalid value for '--port'"),
        (["evalute"], "No such command 'evalute'"),
    ],
)
def test_a_call_that_the_options_do_not_allow_is_bad_input_not_a_verdict(
    say: Say, arguments: list[str], words: str
) -> None:
    said = say(*arguments)
    assert said.status == 3
    assert "Usage: visiondrift" in said.err
    assert words in said.err


def test_a_crash_does_not_end_like_a_verdict(say: Say, monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("visiondrift.cli.comparison.evaluate_window", broken)
    said = say("evaluate", "--reference", files / "reference", "--window", files / "good.parquet")
    assert said.status == 70
    assert "ZeroDivisionError: a defect" in said.err


# evaluate


def compare(say: Say, files: Path, window: str, *more: object) -> Said:
    return say("evaluate", "--reference", files / "reference", "--window", files / window, *more)


def test_a_window_like_the_reference_is_ok(say: Say, files: Path) -> None:
    said = compare(say, files, "good.parquet", "--min-samples", 100)
    assert (said.status, said.err) == (0, "")
    assert "Embedding drift" in said.out
    assert "camera=right" in said.out


def test_one_camera_that_moved_is_drift(say: Say, files: Path) -> None:
    said = compare(say, files, "moved.parquet", "--min-samples", 100, "-o", "tsv")
    assert said.status == 1
    lines = list(csv.DictReader(io.StringIO(said.out), delimiter="\t"))
    assert {line["slice"] for line in lines if line["verdict"] == "critical"} == {"all", "camera=right"}
    assert {line["signal"] for line in lines if line["slice"] == "all" and line["verdict"] == "critical"} >= {
        "drift_evidence", "embedding_drift", "confidence_drop",
    }  # fmt: skip
    assert all(line["verdict"] == "ok" for line in lines if line["slice"] == "camera=left")


def test_the_table_is_followed_by_what_moved_and_says_nothing_of_a_window_like_the_reference(
    say: Say, files: Path
) -> None:
    assert "\nall: only camera=right\n" in compare(say, files, "moved.parquet", "--min-samples", 100).out
    assert "\nall: " not in compare(say, files, "good.parquet", "--min-samples", 100).out


def small_reference(files: Path) -> Path:
    """Enough to be calibrated, and no more: it takes the longer the more there is."""
    write_sample(files / "small.parquet", sliced(rows(240, seed=1), "left", "right"))
    return files / "small.parquet"


def test_a_window_without_a_confidence_column_of_the_reference_is_refused(say: Say, files: Path) -> None:
    table = pq.read_table(files / "good.parquet")
    column = next(name for name in table.column_names if name.startswith("confidence_"))
    pq.write_table(table.drop_columns([column]), files / "fewer.parquet")
    said = compare(say, files, "fewer.parquet")
    assert said.status == 3
    assert f"fewer.parquet: there is no column {column}, and the reference" in said.err


def with_nulls(files: Path, *classes: str, rows: slice = slice(None)) -> Path:
    """The good window without the confidences of some classes in some of its rows."""
    sample = read_sample(files / "good.parquet")
    confidences = sample.confidences.copy()
    confidences[rows, [CLASSES.index(name) for name in classes]] = np.nan
    write_sample(files / "nulls.parquet", replace(sample, confidences=confidences))
    return files / "nulls.parquet"


def test_a_class_that_no_row_has_a_confidence_of_counts_as_in_the_service_and_is_named(say: Say, files: Path) -> None:
    said = compare(say, files, with_nulls(files, "cat").name, "-o", "json")
    assert said.err == (
        f"{files}/nulls.parquet: no row has a value in confidence_cat: it counts as 0 where a row has others, as of an "
        "event that names its highest classes alone\n"
    )
    window = read_sample(files / "nulls.parquet")
    shown = json.loads(said.out)["models"][0]["evaluations"][0]["windows"][0]
    assert "confidence_drift" in {signal["signal"] for signal in shown["signals"] if signal["verdict"] == "critical"}
    np.testing.assert_array_equal(
        window.confidences, sent_to_the_service(window, configured(files / "own")).confidences
    )


def sent_to_the_service(window: Sample, config: Path) -> Sample:
    """What the log gives back of the rows of a window, each sent with the confidences that it has."""
    loaded = load_config(config)
    validator = Validator(
        rules_of(loaded.models, loaded.monitoring.intake, keep=1e10), Embedder(loaded.monitoring.embedder.model)
    )
    about = {"model": "pets", "version": "1"}
    found = []
    for row, (name, at) in enumerate(zip(window.ids, window.times, strict=True)):
        given = dict(zip(window.classes, window.confidences[row].tolist(), strict=True))
        confidences = {name: value for name, value in given.items() if not np.isnan(value)}
        sent = {"id": name, "time": at, "confidences": confidences, **about}
        candidate = validator.check(sent, index=row, now=at)
        assert isinstance(candidate, Candidate)
        found.append(candidate.event)
    log = MemoryLog()
    log.append(found, [], now=NOON)
    return log.window(WindowQuery("pets", "1", CLIP, 0.0, NOON + 1e6, window.classes, DIMENSION, len(window))).sample


def test_rows_without_any_confidence_are_events_without_confidences(say: Say, files: Path) -> None:
    said = compare(say, files, with_nulls(files, *CLASSES, rows=slice(100)).name, "-o", "tsv")
    assert said.err == ""
    lines = {
        line["signal"]: line for line in csv.DictReader(io.StringIO(said.out), delimiter="\t") if line["slice"] == "all"
    }
    assert lines["missing_ratio"]["score"] == "0.2500"
    assert lines["confidence_drop"]["samples"] == "300"


def twice(files: Path) -> Path:
    """The good window, every row of which is there once more, as where two exports overlap."""
    table = pq.read_table(files / "good.parquet")
    pq.write_table(pa.concat_tables([table, table]), files / "twice.parquet")
    return files / "twice.parquet"


@pytest.mark.parametrize("replay", [False, True], ids=["at once", "replay"])
def test_rows_of_one_id_are_one_event_and_the_rest_is_said(say: Say, files: Path, replay: bool) -> None:
    more = ("-o", "tsv", *(["--replay"] if replay else []))
    doubled = compare(say, files, twice(files).name, *more)
    assert doubled.out == compare(say, files, "good.parquet", *more).out
    assert "twice.parquet: 400 of 800 rows are left out, as a row before has their id" in doubled.err


def test_rows_of_one_id_are_one_row_of_a_reference(say: Say, files: Path, config: Path) -> None:
    build = ("reference", "build", "pets", "--config", config, "--no-calibrate")
    said = say(*build, "--parquet", twice(files))
    assert "pets: 400 rows of 8 columns" in said.out
    assert "twice.parquet: 400 of 800 rows are left out" in said.err
    said = say("evaluate", "--reference", files / "twice.parquet", "--window", files / "good.parquet", "-o", "json")
    assert json.loads(said.out)["models"][0]["reference"]["rows"] == 400


def test_rows_kept_for_what_they_show_are_said_to_be_left_out_and_not_called_missing(
    say: Say, files: Path, config: Path
) -> None:
    good = read_sample(files / "good.parquet")
    reasons = np.array(["prompt", "uniform", "every", "unlike"] * 100, dtype=object)
    write_sample(files / "some.parquet", replace(good, kept=reasons))
    said = compare(say, files, "some.parquet", "--min-samples", 100, "-o", "tsv")
    assert "some.parquet: 200 events that were kept for what they show alone are left out" in said.err
    missing = next(
        line for line in csv.DictReader(io.StringIO(said.out), delimiter="\t") if line["signal"] == "missing_ratio"
    )
    assert (missing["score"], missing["samples"]) == ("0.0000", "200")
    write_sample(files / "none.parquet", replace(good, kept=np.full(400, "prompt", dtype=object)))
    none, why = files / "none.parquet", "none.parquet: column kept: all 400 events were kept for what they show alone"
    for call in (
        ("evaluate", "--reference", files / "reference", "--window", none),
        ("evaluate", "--reference", files / "reference", "--window", none, "--replay"),
        ("evaluate", "--reference", none, "--window", files / "good.parquet"),
        ("reference", "build", "pets", "--config", config, "--parquet", none),
    ):
        said = say(*call)
        assert said.status == 3
        assert why in said.err


def test_of_more_events_than_max_samples_as_many_are_compared_as_in_the_service(
    say: Say, files: Path, config: Path
) -> None:
    """Of all together and of each camera an even part, and of the embeddings' evidence all: the service's numbers."""
    shorter, longer = {"min_samples": 20, "max_samples": 50}, {"min_samples": 20, "max_samples": 90}
    watched = model(reference="reference", windows={"5m": shorter, "10m": longer})
    configured(config, watched)
    evaluate = ("evaluate", "--reference", files / "reference", "--config", config, "-o", "json", "--window")
    more = say(*evaluate, files / "moved.parquet", "--min-samples", 300)
    assert "of 400 events 300 are compared" in more.err, "what is asked for can be reached"
    part = say(*evaluate, part_of(files / "moved.parquet", 80))
    assert "of 80 events 50 are compared" in part.err, "what fits in the shorter window is one of those"
    assert say(*evaluate, part_of(files / "moved.parquet", 50)).err == ""
    by_the_budget(config, "drift_evidence")
    said = say(*evaluate, files / "moved.parquet")
    assert "moved.parquet: of 400 events 90 are compared, evenly spread (max_samples)" in said.err
    windows = {one["slice"]: one for one in json.loads(said.out)["models"][0]["evaluations"][0]["windows"]}
    assert [(one["samples"], one["total"]) for one in windows.values()] == [(90, 400), (90, 200), (90, 200)]
    compared = _compared(files / "reference", files / "moved.parquet", config, None)
    *_, (_, at_last) = _ticks(compared, _model(compared, None), 7)
    of_service = {one.slice: one for one in at_last if one.window == "10m"}
    assert windows.keys() == of_service.keys()
    for name, window in windows.items():
        told = {signal["signal"]: signal["score"] for signal in window["signals"]}
        theirs = {judgement.signal: judgement.score for judgement in of_service[name].judgements}
        theirs.pop("accumulated_evidence", None)
        assert told == approximately(theirs)


def by_the_budget(config: Path, *signals: str) -> None:
    """Let the levels of these signals follow from the budget, and no others be there."""
    levels = {name: {"warning": "auto", "critical": "auto"} for name in signals}
    (config / "thresholds.yml").write_text(yaml.safe_dump({"defaults": {"signals": levels}}), encoding="utf-8")


def part_of(file: Path, most: int) -> Path:
    """The first rows of a file, as another file."""
    pq.write_table(pq.read_table(file).slice(0, most), file.with_name("part.parquet"))
    return file.with_name("part.parquet")


def test_accuracy_is_measured_by_all_true_classes_of_a_window_of_which_a_part_is_compared(
    say: Say, files: Path, config: Path
) -> None:
    configured(config, model(reference="labelled", windows={"10m": {"min_samples": 20, "max_samples": 100}}))
    by_the_budget(config, "drift_evidence")
    reference = sliced(rows(600, seed=1), "left", "right")
    right = np.random.default_rng(0).random(600) < reference.confidences.max(axis=1)
    labels = np.where(right, reference.predicted, 1 - reference.predicted).astype(np.int32)
    write_sample(files / "labelled.parquet", replace(reference, labels=labels))
    good = read_sample(files / "good.parquet")
    known = np.where(np.arange(400) % 5 == 0, good.predicted, -1).astype(np.int32)
    write_sample(files / "window.parquet", replace(good, labels=known))
    said = say(
        "evaluate", "--reference", files / "labelled.parquet", "--window", files / "window.parquet", "--config", config
    )
    assert "all: accuracy 1.000 (" in said.out
    assert "measured where the true class is known" in said.out


def test_what_is_no_reference_and_embeddings_of_another_length_name_the_file(say: Say, files: Path) -> None:
    said = say("evaluate", "--reference", "nosuch", "--window", files / "good.parquet")
    assert said.status == 3
    assert "nosuch: there is no such reference; accepted is the folder of one" in said.err
    longer = rows(60, seed=1)
    write_sample(files / "longer.parquet", replace(longer, embeddings=np.tile(longer.embeddings, 2)))
    said = compare(say, files, "longer.parquet")
    assert said.status == 3
    assert "longer.parquet: column embedding has 16 values a row, and the reference" in said.err


def test_a_tab_in_a_slice_does_not_break_the_columns() -> None:
    assert tsv([("slice", "why"), ("camera=a\tb\nc", "")]) == "slice\twhy\ncamera=a\\tb\\nc\t"


def test_a_reference_that_is_not_calibrated_is_calibrated_first_and_says_so(say: Say, files: Path) -> None:
    said = say("evaluate", "--reference", small_reference(files), "--window", files / "good.parquet")
    assert said.status == 0
    assert "calibrating camera ... (`visiondrift reference build` keeps the calibration)" in said.err


def test_a_reference_of_few_blocks_cannot_tell_and_says_how_much_more_is_needed(say: Say, files: Path) -> None:
    write_sample(files / "few.parquet", sliced(rows(30, seed=1), "left"))
    said = say("evaluate", "--reference", files / "few.parquet", "--window", files / "good.parquet", "-o", "tsv")
    assert said.status == 2
    assert "the reference holds" in said.out
    assert "independent blocks, and 40 are needed: about" in said.out


def test_too_few_rows_cannot_tell_and_say_how_many_are_needed(say: Say, files: Path) -> None:
    said = compare(say, files, "good.parquet", "--min-samples", 500)
    assert said.status == 2
    assert "insufficient: the window has 400 events with embedding, and 500 are needed\n" in said.out


def test_a_camera_of_few_rows_does_not_keep_the_whole_from_being_ok(say: Say, files: Path) -> None:
    assert compare(say, files, "good.parquet", "--min-samples", 300).status == 0


@pytest.mark.parametrize("missing", ["reference", "window"])
def test_a_missing_file_is_named(say: Say, files: Path, missing: str) -> None:
    given = {"reference": files / "reference.parquet", "window": files / "good.parquet"} | {
        missing: files / "no.parquet"
    }
    said = say("evaluate", "--reference", given["reference"], "--window", given["window"])
    assert said.status == 3
    what = {"reference": "reference", "window": "file"}[missing]
    assert said.err.startswith(f"visiondrift: {files}/no.parquet: there is no such {what}; accepted is")


def test_a_file_that_is_no_parquet_is_bad_input(say: Say, files: Path) -> None:
    (files / "good.parquet").write_text("time,camera\n", encoding="utf-8")
    said = compare(say, files, "good.parquet")
    assert said.status == 3
    assert "good.parquet" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights for a moment")
def test_a_file_that_may_not_be_read_is_bad_input(say: Say, files: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(files / "reference", folder / "reference")
        shutil.copy(files / "good.parquet", folder)
        (folder / "good.parquet").chmod(0)
        os.seteuid(65534)
        try:
            said = compare(say, folder, "good.parquet")
        finally:
            os.seteuid(0)
    assert said.status == 3
    assert "good.parquet" in said.err
    assert "Traceback" not in said.err


def test_embeddings_of_different_length_are_refused_with_both_named(say: Say, files: Path) -> None:
    write_sample(files / "good.parquet", sliced(rows(300, dimension=DIMENSION + 1), "left"))
    said = compare(say, files, "good.parquet")
    assert said.status == 3
    window, reference = f"good.parquet: column embedding has {DIMENSION + 1}", f"{files}/reference"
    assert window in said.err.replace("\n", " ")
    assert reference in said.err
    assert f"has {DIMENSION}; accepted" in said.err.replace("\n", " ")


def test_the_length_of_embeddings_in_files_is_no_drift(say: Say, files: Path) -> None:
    """Intake keeps directions; a file may hold what CLIP gave, of any length."""
    good = read_sample(files / "good.parquet")
    write_sample(files / "good.parquet", replace(good, embeddings=good.embeddings * np.float32(37)))
    assert compare(say, files, "good.parquet").status == 0


def seen(frames: Sample, *, camera: str) -> Sample:
    """Events of one camera whose images were measured."""
    events = rows(len(frames), seed=3)
    names = np.full(len(frames), camera, dtype=object)
    return replace(
        events, times=frames.times, slices={"camera": names}, properties=frames.properties, layouts=frames.layouts
    )


def test_json_tells_which_camera_is_not_well_and_what_a_file_cannot_tell(
    say: Say, tmp_path: Path, config: Path
) -> None:
    reference = tmp_path / "references" / "pets"
    normal = seen(frames(600, seed=9, until=NOON - 86400), camera="left")
    save_reference(reference, normal, embedder=CLIP, source="a test", now=NOON)
    write_sample(tmp_path / "window.parquet", seen(flat(300, brightness=0.01, until=NOON), camera="left"))
    said = say(
        "evaluate", "--reference", reference, "--window", tmp_path / "window.parquet", "--config", config,
        "--model", "pets", "-o", "json",
    )  # fmt: skip
    (camera,) = json.loads(said.out)["models"][0]["evaluations"][0]["cameras"]
    assert camera["slice"] == "camera=left"
    assert [fault["name"] for fault in camera["faults"]] == ["black"]
    assert camera["unknown"]["late"] == "a file does not say when its events arrived"


def test_json_has_the_shape_of_the_service_s_evaluations(say: Say, files: Path) -> None:
    said = compare(say, files, "moved.parquet", "-o", "json")
    assert said.status == 1
    document = json.loads(said.out)
    state = document["models"][0]
    assert set(state) == {"model", "owner", "verdict", "problem", "reference", "evaluations"}
    assert state["verdict"] == "critical"
    assert state["reference"] == {
        "name": "reference", "rows": 600, "problem": "", "uncalibrated": "", "selftest": None,
    }  # fmt: skip
    evaluation = state["evaluations"][0]
    assert set(evaluation) == {"model", "version", "at", "seconds", "verdict", "windows", "cameras"}
    assert evaluation["at"] == pytest.approx(time.time(), abs=PATIENCE_S)
    assert [window["slice"] for window in evaluation["windows"]] == ["all", "camera=left", "camera=right"]
    assert set(evaluation["windows"][0]["signals"][0]) == {
        "signal", "score", "warning", "critical", "verdict", "samples", "why",
        "unreachable", "p", "expected_false_pages_per_month", "detectable_shift",
    }  # fmt: skip
    evidence = evaluation["windows"][2]["signals"][0]
    assert evidence["signal"] == "drift_evidence"
    assert evidence["p"] == pytest.approx(10 ** -evidence["score"])
    assert evidence["expected_false_pages_per_month"]["warning"] < 30 / 7
    assert evaluation["windows"][2]["blocks"]["reference"] > 40
    assert evaluation["windows"][2]["embedding"]["effect"]["mean_moved"] > 1


def test_tsv_has_one_line_for_each_signal_of_each_slice(say: Say, files: Path) -> None:
    said = compare(say, files, "good.parquet", "-o", "tsv")
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert lines[0] == ["slice", "signal", "score", "p", "warning", "critical", "verdict", "samples", "why"]
    assert {len(line) for line in lines} == {9}
    assert [line[1] for line in lines[1:] if line[0] == "all"] == [
        "drift_evidence",
        "embedding_drift",
        "clip_similarity",
        "prediction_drift",
        "confidence_drift",
        "confidence_drop",
        "low_confidence_rise",
        "missing_ratio",
    ]
    score, p, warning, critical, verdict, samples = lines[1][2:8]
    assert (verdict, samples, critical) == ("ok", "400", "")
    assert 0 < float(score) < float(warning)
    assert float(p) == pytest.approx(10 ** -float(score), rel=0.05)


def test_of_refused_events_a_file_says_nothing(say: Say, files: Path) -> None:
    assert "invalid_ratio" not in compare(say, files, "good.parquet", "-o", "tsv").out


@pytest.mark.parametrize("output", ["table", "json", "tsv"])
def test_a_reader_that_goes_away_is_no_traceback_and_no_verdict(files: Path, output: str) -> None:
    command = [*VISIONDRIFT, "evaluate", "--reference", files / "reference", "--window", files / "good.parquet"]
    done = subprocess.Popen(
        [*map(str, command), "-o", output], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    done.stdout.close()
    _, words = done.communicate()
    assert (done.returncode, words) == (141, "")


def test_a_table_in_a_pipe_is_whole(say: Say, files: Path) -> None:
    name = "camera=" + "a-very-long-name-of-a-camera-" * 4
    write_sample(files / "good.parquet", sliced(rows(300), name.removeprefix("camera=")))
    said = compare(say, files, "good.parquet")
    assert name in said.out
    assert "…" not in said.out


def test_thresholds_and_settings_come_from_the_configuration(say: Say, files: Path, config: Path) -> None:
    said = compare(say, files, "good.parquet", "--config", config, "-o", "tsv")
    assert said.status == 0
    lines = {line[1]: line for line in (text.split("\t") for text in said.out.splitlines())}
    assert lines["embedding_drift"][4:6] == ["0.3000", "0.5000"]
    assert lines["clip_similarity"][4:6] == ["", ""]
    assert "drift_evidence" not in lines, "no level asks for a calibration"


def test_with_a_configuration_a_reference_of_another_embedder_is_refused(say: Say, files: Path, config: Path) -> None:
    save_reference(files / "other", rows(300), embedder="ViT-B-32/openai", source="a test", now=NOON)
    said = say("evaluate", "--reference", files / "other", "--window", files / "good.parquet", "--config", config)
    assert said.status == 3
    assert "ViT-B-32/openai" in said.err
    assert CLIP in said.err


def test_a_model_without_a_configuration_is_refused(say: Say, files: Path) -> None:
    said = compare(say, files, "good.parquet", "--model", "pets")
    assert said.status == 3
    assert "--model: it chooses among the models of a configuration; give --config with it" in said.err


def test_of_several_models_one_must_be_named(say: Say, files: Path, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(), model("cars"))
    said = compare(say, files, "good.parquet", "--config", config)
    assert said.status == 3
    assert "name one of pets, cars" in said.err
    assert compare(say, files, "good.parquet", "--config", config, "--model", "cars").status == 0
    assert (
        "there is no model 'bikes'" in compare(say, files, "good.parquet", "--config", config, "--model", "bikes").err
    )


# check-config


def test_the_shipped_configuration_is_good(say: Say) -> None:
    said = say("check-config", "--config", ROOT / "exporter" / "config")
    assert said.status == 0
    assert said.out.startswith(f"{ROOT}/exporter/config: good\n  digits-demo: every 5 s over ")


def test_a_bad_configuration_says_every_problem_and_ends_with_3(say: Say) -> None:
    folder = GOLDENS / "problems-in-both-files-at-once"
    said = say("check-config", "--config", folder)
    assert (said.status, said.out) == (3, "")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert said.err.splitlines() == list(caught.value.problems)
    assert len(said.err.splitlines()) > 2
    assert "monitoring.yml:" in said.err
    assert "thresholds.yml:" in said.err


def test_levels_for_a_camera_that_the_reference_does_not_know_are_warned_of(
    say: Say, config: Path, files: Path
) -> None:
    """It may be a new one, or misspelt; where there is no reference nothing is known."""
    own = {"slices": {f"camera={name}": {"embedding_drift": {"warning": 0.2}} for name in ("left", "rihgt")}}
    (config / "thresholds.yml").write_text(yaml.safe_dump({"models": {"pets": own}}), encoding="utf-8")
    said = say("check-config", "--config", config)
    assert (said.status, said.err) == (0, "")
    (files / "references").mkdir()
    shutil.copytree(files / "reference", files / "references" / "pets")
    said = say("check-config", "--config", config)
    assert (said.status, said.out.splitlines()[0]) == (0, f"{config}: good")
    assert said.err.splitlines() == [
        "  pets: thresholds.yml has levels for camera=rihgt, and the reference pets has no camera rihgt (did you mean "
        "right?): it holds left, right"
    ]


def test_a_folder_that_is_not_there_is_said(say: Say, tmp_path: Path) -> None:
    said = say("check-config", "--config", tmp_path / "no")
    assert said.status == 3
    assert "it does not exist; accepted is a directory with monitoring.yml and thresholds.yml" in said.err


# reference build, list, show


def gallery(folder: Path) -> Path:
    for number in range(3):
        for camera in ("left", "right"):
            (folder / camera).mkdir(parents=True, exist_ok=True)
            (folder / camera / f"{number}.png").write_bytes(picture((40 + number, 30)))
    (folder / "loose.jpg").write_bytes(picture(kind="JPEG"))
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    return folder


def test_a_reference_from_images_has_the_folders_as_slices(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    said = say(
        "reference", "build", "lobby", "--config", config, "--images", gallery(tmp_path / "g"), "--slice", "camera"
    )
    assert said.status == 0
    assert "7 rows of 64 columns, made with digits-clip@" in said.out
    assert "16 faults learnt from 7 images, 13 probes" in said.err
    manifest = read_manifest(tmp_path / "references" / "lobby")
    assert manifest.slices == {"camera": ("left", "right")}, "an image outside of the folders is of no camera"
    assert manifest.source == "images in g"
    assert manifest.times == "file"


def test_an_image_that_is_damaged_is_left_out_of_a_reference_and_named(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = gallery(tmp_path / "g")
    (images / "left" / "0.png").write_bytes((images / "left" / "0.png").read_bytes()[:60])
    said = say("reference", "build", "lobby", "--config", config, "--images", images, "--slice", "camera")
    assert said.status == 0, said.err
    assert "6 rows of 64 columns" in said.out
    assert f"as they cannot be read: 1 images; the first: {images / 'left' / '0.png'}: " in said.err
    assert "16 faults learnt from 6 images" in said.err
    found = read_sample(tmp_path / "references" / "lobby" / "reference.parquet")
    pairs = dict(zip(found.ids, found.slices["camera"], strict=True))
    assert pairs == {name: name.partition("/")[0] if "/" in name else "" for name in pairs}
    assert say("reference", "witnesses", "lobby", "--config", config, "--images", images).status == 0


def test_where_many_images_are_damaged_there_is_no_reference(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = gallery(tmp_path / "g")
    for number in range(2):
        (images / "left" / f"{number}.png").write_bytes(b"no picture")
    said = say("reference", "build", "lobby", "--config", config, "--images", images)
    assert said.status == 3
    assert f"{images / 'left' / '1.png'}: " in said.err
    assert "with it 2 of 7 images cannot be read" in said.err
    assert not (tmp_path / "references" / "lobby").exists()


def listed(folder: Path, **kept: list[str]) -> Path:
    """``folder`` with the manifest of a collection: an image an hour, why each was kept by its camera."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    lines = [
        {
            "file": file,
            "time": f"2026-11-02T{hour:02}:00:00.5Z",
            "kept": kept.get(file.partition("/")[0], ["every"]),
            "slices": {"camera": "yard"} if file.startswith("left") else {},
        }
        for hour, file in enumerate(files)
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def test_a_reference_from_a_collection_knows_when_its_frames_were_taken(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = listed(gallery(tmp_path / "g"))
    (images / "loose.jpg").unlink()
    said = say(
        "reference", "build", "lobby", "--config", config, "--images", images, "--slice", "camera", "--no-witnesses"
    )
    assert said.status == 0
    kept = read_manifest(tmp_path / "references" / "lobby")
    assert (kept.times, kept.since, kept.until) == ("capture", "2026-11-02T00:00:00.500Z", "2026-11-02T05:00:00.500Z")
    assert kept.slices == {"camera": ("right", "yard")}, "as it was sent, or else the folder"


def test_one_image_of_an_unknown_time_leaves_the_times_to_the_files(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = listed(gallery(tmp_path / "g"))
    said = say("reference", "build", "lobby", "--config", config, "--images", images, "--no-witnesses")
    assert "of 1 of 7 images manifest.jsonl does not say when they were taken" in said.err
    assert read_manifest(tmp_path / "references" / "lobby").times == "file"


def judged(folder: Path, *said: object) -> Path:
    """``folder`` with what a model server said of each image of its manifest in turn; None where it was not asked."""
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    for line, own in zip(lines, said, strict=False):
        if own is not None:
            line["confidences"] = own
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


SAID = ({"dog": 0.75, "cat": 0.25}, None, {"cat": 1.0}, {"cat": 0.5, "dog": 0.25})


@pytest.mark.parametrize(
    ("classes", "columns", "predicted"),
    [(CLASSES, CLASSES, [1, -1, 0, 0, -1, -1]), ((), ("dog", "cat"), [0, -1, 1, 1, -1, -1])],
)
def test_a_reference_from_a_collection_has_what_a_model_server_said_of_its_frames(
    say: Say, tmp_path: Path, classes: tuple[str, ...], columns: tuple[str, ...], predicted: list[int]
) -> None:
    config = configured(tmp_path / "config", model("lobby", embedding=None) | {"classes": list(classes)})
    images = judged(listed(gallery(tmp_path / "g")), *SAID)
    (images / "loose.jpg").unlink()
    said = say("reference", "build", "lobby", "--config", config, "--images", images, "--no-witnesses")
    assert said.status == 0, said.err
    assert "3 of 6 images have confidences, from manifest.jsonl" in said.err
    found = read_sample(tmp_path / "references" / "lobby" / "reference.parquet")
    expected = [[own.get(name, np.nan) if own else np.nan for name in columns] for own in (*SAID, None, None)]
    assert found.classes == read_manifest(tmp_path / "references" / "lobby").classes == columns
    np.testing.assert_array_equal(found.confidences, np.array(expected, dtype=np.float32))
    assert found.predicted.tolist() == predicted


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"cat": 0.5, "wolf": 0.5}, "'wolf' is no class of this model; accepted are cat, dog"),
        ({"cat": 1.5}, "confidences holds [1.5]; accepted are finite numbers from 0 to 1"),
        ({"cat": "high"}, "confidences ['high']: accepted is a list of numbers from 0 to 1"),
        ({}, "confidences is empty"),
        ([0.5, 0.5], "confidences [0.5, 0.5]: accepted is a map"),
    ],
)
def test_confidences_of_a_collection_that_do_not_fit_are_refused_with_their_line(
    say: Say, tmp_path: Path, own: object, says: str
) -> None:
    config = configured(tmp_path / "config", model("lobby", embedding=None))
    images = judged(listed(gallery(tmp_path / "g")), {"cat": 1.0}, own)
    said = say("reference", "build", "lobby", "--config", config, "--images", images, "--no-witnesses")
    assert said.status == 3
    assert f"manifest.jsonl, line 2: {says}" in said.err
    assert not (tmp_path / "references" / "lobby").exists()


def test_frames_kept_for_what_they_show_are_no_reference(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = listed(gallery(tmp_path / "g"), right=["prompt"])
    (images / "loose.jpg").unlink()
    said = say("reference", "build", "lobby", "--config", config, "--images", images)
    assert "3 images that were kept for what they show are left out" in said.err
    assert "16 faults learnt from 3 images" in said.err
    assert read_manifest(tmp_path / "references" / "lobby").rows == 3
    listed(images, right=["prompt"], left=["unlike"])
    said = say("reference", "build", "all", "--config", config, "--images", images)
    assert said.status == 3
    assert "all 6 images were kept for what they show" in said.err
    assert not (tmp_path / "references" / "all").exists()


@pytest.mark.parametrize(
    "line",
    [
        '{"file": "a.png"}',
        '{"file": "a.png", "time": "noon", "kept": ["every"]}',
        '{"file": "a.png", "time": "2026-11-02T00:00:00", "kept": ["every"]}',
        '{"file": "a.png", "time": "2026-11-02T00:00:00Z", "kept": ["luck"]}',
        '{"file": "a.png", "time": "2026-11-02T00:00:00Z", "kept": [["every"]]}',
        '{"file": "a.png", "time": "2026-11-02T00:00:00Z", "kept": ["every"], "slices": "left"}',
        '["a.png"]',
    ],
)
def test_a_manifest_that_is_none_of_a_collection_is_refused_with_its_line(say: Say, tmp_path: Path, line: str) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = listed(gallery(tmp_path / "g"))
    with (images / "manifest.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    said = say("reference", "build", "lobby", "--config", config, "--images", images)
    assert said.status == 3
    assert "manifest.jsonl, line 7: accepted is a line of `collect --to-folder`" in said.err


def test_what_faults_look_like_is_learnt_beside_the_reference(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    images = gallery(tmp_path / "g")
    say("reference", "build", "lobby", "--config", config, "--images", images, "--no-witnesses", "--no-calibrate")
    assert load_witnesses(tmp_path / "references" / "lobby") is None
    said = say("reference", "witnesses", "lobby", "--config", config, "--images", images)
    assert said.status == 0
    kept = load_witnesses(tmp_path / "references" / "lobby")
    assert kept is not None
    assert kept.embedder == read_manifest(tmp_path / "references" / "lobby").embedder
    assert set(kept.witnesses.causes) == set(CORRUPTIONS)


def test_a_probe_of_ones_own_is_read_without_images_and_faults_stay_learnt(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    say("reference", "build", "lobby", "--config", config, "--images", gallery(tmp_path / "g"), "--no-calibrate")
    file = config / "monitoring.yml"
    own = [{"name": "wet", "positive": "a wet road", "negative": "a dry road"}]
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text(encoding="utf-8")) | {"probes": own}))
    said = say("reference", "witnesses", "lobby", "--config", config)
    assert said.status == 0
    assert "never speaks" not in said.err
    kept = load_witnesses(tmp_path / "references" / "lobby")
    assert kept is not None
    assert kept.witnesses.probes[-1].positive == "a wet road"
    assert len(kept.witnesses.before) == 7


def test_a_probe_that_the_embedder_cannot_tell_apart_is_said(say: Say, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(embedding=None) | {"classes": []})
    file = config / "monitoring.yml"
    own = [{"name": "shout", "positive": "a dark photo", "negative": "A DARK PHOTO"}]
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text(encoding="utf-8")) | {"probes": own}))
    said = say("reference", "build", "lobby", "--config", config, "--images", gallery(tmp_path / "g"), "--no-calibrate")
    assert "probe shout never speaks: the embedder reads both of its sentences alike" in said.err
    assert said.err.count("never speaks") == 1


def test_faults_are_learnt_by_properties_where_the_client_embeds(say: Say, config: Path, tmp_path: Path) -> None:
    directory = tmp_path / "references" / "pets"
    save_reference(directory, sliced(rows(60, seed=1), "left"), embedder=CLIP, source="a test", now=NOON)
    said = say("reference", "witnesses", "pets", "--config", config, "--images", gallery(tmp_path / "g"))
    assert said.status == 0
    assert "faults are learnt by image properties alone" in said.err
    kept = load_witnesses(directory)
    assert kept is not None
    assert (kept.embedder, kept.witnesses.moves.size, len(kept.witnesses.probes)) == ("", 0, 0)


def test_without_images_there_is_nothing_to_learn_for_a_client_s_own_embeddings(
    say: Say, config: Path, tmp_path: Path
) -> None:
    save_reference(tmp_path / "references" / "pets", rows(60, seed=1), embedder=CLIP, source="a test", now=NOON)
    said = say("reference", "witnesses", "pets", "--config", config)
    assert said.status == 3
    assert "accepted is --images FOLDER" in said.err


def test_images_cannot_stand_in_for_a_client_s_own_embeddings(say: Say, config: Path, tmp_path: Path) -> None:
    said = say("reference", "build", "lobby", "--config", config, "--images", gallery(tmp_path / "g"))
    assert said.status == 3
    assert f"pets sends embeddings of its own ({CLIP}), which cannot be made here" in said.err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.with_suffix(".png").touch(), "it is no folder"),
        (lambda folder: folder.mkdir(), "no image found; accepted are files that end in .jpg"),
        (lambda folder: [folder.mkdir(), (folder / "a.png").write_bytes(b"no")], "a.png: "),
    ],
)
def test_a_folder_without_usable_images_is_refused(
    say: Say, tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    config = configured(tmp_path / "config", model(embedding=None))
    make(tmp_path / "g")
    said = say("reference", "build", "lobby", "--config", config, "--images", tmp_path / "g")
    assert said.status == 3
    assert words in said.err


def test_a_reference_from_a_file_bears_the_only_model_s_embedder(say: Say, files: Path, config: Path) -> None:
    said = say(
        "reference", "build", "pets", "--config", config, "--parquet", files / "reference.parquet", "--no-calibrate"
    )
    assert said.status == 0
    reference = load_reference(files / "references" / "pets", embedder=CLIP, dimension=DIMENSION)
    lengths = np.linalg.norm(reference.sample.embeddings, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_a_reference_from_a_file_keeps_its_true_classes(say: Say, files: Path, config: Path) -> None:
    given = sliced(rows(300, seed=3), "left", "right")
    labels = np.where(np.arange(300) < 250, given.predicted, -1).astype(np.int32)
    write_sample(files / "labelled.parquet", replace(given, labels=labels))
    said = say(
        "reference", "build", "pets", "--config", config, "--parquet", files / "labelled.parquet", "--no-calibrate"
    )
    assert said.status == 0
    reference = load_reference(files / "references" / "pets", embedder=CLIP, dimension=DIMENSION)
    np.testing.assert_array_equal(reference.sample.labels, labels)
    assert (reference.manifest.labelled, reference.manifest.times) == (250, "capture")


def test_a_label_in_a_window_changes_nothing_of_its_evaluation(say: Say, files: Path) -> None:
    given = read_sample(files / "good.parquet")
    write_sample(files / "labelled.parquet", replace(given, labels=given.predicted))
    assert compare(say, files, "labelled.parquet", "-o", "tsv") == compare(say, files, "good.parquet", "-o", "tsv")


def built_from_file(files: Path, config: Path) -> tuple[object, ...]:
    """The command line that builds the reference pets of a file, uncalibrated."""
    source = ("--parquet", files / "reference.parquet")
    return ("reference", "build", "pets", "--config", config, *source, "--no-calibrate")


def test_with_several_models_what_made_a_file_must_be_said(say: Say, files: Path, tmp_path: Path) -> None:
    config = configured(tmp_path / "config", model(), model("cars", embedding=None))
    build = built_from_file(files, config)
    assert "--model or --embedder: say what made the embeddings; the models are pets, cars" in say(*build).err
    assert say(*build, "--embedder", "my-clip-v3").status == 0
    assert read_manifest(files / "references" / "pets").embedder == "my-clip-v3"


def test_a_reference_that_exists_is_kept_unless_told_otherwise(say: Say, files: Path, config: Path) -> None:
    build = built_from_file(files, config)
    assert say(*build).status == 0
    said = say(*build)
    assert said.status == 3
    assert "exists; choose another name, or say that it is to be overwritten (--overwrite)" in said.err
    assert say(*build, "--overwrite").status == 0


def test_a_file_that_the_model_could_not_use_replaces_nothing(say: Say, files: Path, config: Path) -> None:
    build = built_from_file(files, config)
    assert say(*build).status == 0
    before = read_manifest(files / "references" / "pets")
    write_sample(files / "reference.parquet", sliced(rows(300, dimension=DIMENSION + 1), "left"))
    said = say(*build, "--overwrite")
    assert said.status == 3
    assert f"reference.parquet: column embedding has {DIMENSION + 1} values a row, and" in said.err
    good = read_sample(files / "good.parquet")
    write_sample(files / "reference.parquet", replace(good, classes=("wolf", *good.classes[1:])))
    said = say(*build, "--overwrite")
    assert said.status == 3
    assert "reference.parquet: class 'wolf' is not one of pets; accepted are" in said.err
    assert read_manifest(files / "references" / "pets") == before


@pytest.mark.parametrize("command", ["build", "calibrate", "witnesses", "show"])
def test_a_path_is_no_name_of_a_reference(say: Say, config: Path, files: Path, command: str) -> None:
    more = ("--parquet", files / "reference.parquet") if command == "build" else ()
    said = say("reference", command, "../pets", "--config", config, *more)
    assert said.status == 3
    assert "'../pets' cannot be the name of a reference; accepted are letters" in said.err


def test_what_is_not_there_cannot_be_calibrated(say: Say, config: Path) -> None:
    said = say("reference", "calibrate", "nothing", "--config", config)
    assert said.status == 3
    assert "nothing: there is no such reference" in said.err


@pytest.mark.parametrize("more", [(), ("--from-log", "--images", "x")])
def test_a_reference_has_exactly_one_source(say: Say, config: Path, more: tuple[str, ...]) -> None:
    said = say("reference", "build", "pets", "--config", config, *more)
    assert said.status == 3
    assert "give exactly one of --images FOLDER, --parquet FILE and --from-log" in said.err


def test_list_shows_the_good_and_says_what_is_wrong_with_the_rest(say: Say, files: Path, config: Path) -> None:
    say("reference", "build", "pets", "--config", config, "--parquet", files / "reference.parquet", "--no-calibrate")
    broken = files / "references" / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{", encoding="utf-8")
    cut = files / "references" / "cut"
    shutil.copytree(files / "references" / "pets", cut)
    (cut / "reference.parquet").write_bytes((cut / "reference.parquet").read_bytes()[:-1])
    said = say("reference", "list", "--config", config)
    assert said.status == 0
    assert "camera: left, right" in said.out
    assert "manifest.json: it is not JSON" in said.out
    assert "its hash differs" in " ".join(said.out.split())
    assert say("reference", "show", "cut", "--config", config).status == 3


def test_show_prints_the_manifest(say: Say, files: Path, config: Path) -> None:
    say("reference", "build", "pets", "--config", config, "--parquet", files / "reference.parquet", "--no-calibrate")
    said = say("reference", "show", "pets", "--config", config, "-o", "json")
    assert json.loads(said.out)["source"] == "file reference.parquet"
    assert say("reference", "show", "cats", "--config", config).status == 3


def test_show_says_what_a_reference_can_and_cannot_see(say: Say, config: Path, files: Path) -> None:
    """The page of one that was calibrated as it was built; one second is less than a block of a camera."""
    configured(config, model(evaluate_every="1s", windows={"1s": {}, "1h": {}}))
    both = {"warning": "auto", "critical": "auto"}
    signals = dict.fromkeys(("drift_evidence", "accumulated_evidence"), both)
    signals["confidence_drop"] = {"warning": "auto", "critical": 0.001}
    (config / "thresholds.yml").write_text(yaml.safe_dump({"defaults": {"signals": signals}}), encoding="utf-8")
    built = say("reference", "build", "pets", "--config", config, "--parquet", small_reference(files))
    assert "calibrated for pets: `visiondrift reference show pets` says what it can see" in built.out
    assert (files / "references" / "pets" / "calibration.json").is_file()
    said = say("reference", "show", "pets", "--config", config)
    assert said.status == 0
    assert "Budget of pets: 1 per 7d false warnings, 1 per 90d false critical alerts, over 2 slices" in said.out
    assert "2 windows and all signals that the reference can judge: 11 looks every 1 s" in said.out
    left = [line for line in said.out.splitlines() if line.startswith("camera=left: such a window spans 0.")]
    assert left[0].endswith("blocks, and 3 are needed: take longer windows (this one takes nothing of the budget)")
    assert "camera=left" in said.out
    assert "Evidence of drift" in said.out
    assert "of the cloud" in said.out
    assert "smaller ones that last" in said.out
    assert re.search(r"camera=left .* s .* s .* correlate by -?\d\.\d\d", said.out), "the autocorrelation"
    milder = r"^camera=left: Confidence drop: critical 0\.001, a number, is milder than the warning 0\.\d+ that"
    assert re.search(milder, said.out, re.MULTILINE)
    hours = r"^Hour of day: not taken off: the reference spans 0\.0 days, and 3 are needed: about 3\.0 more days\.$"
    assert re.search(hours, said.out, re.MULTILINE)
    assert "How the model is doing: the reference has 0 labelled rows with confidences, and 200 are needed." in said.out
    assert "A block is twice the time after which frames of a slice no longer resemble themselves" in said.out
    assert "on a very large change" in said.out, "there are no labels to estimate a drop of accuracy from"
    assert "Self-test: the reference replayed through detectors that have not seen it" in said.out
    kept, window = files / "references" / "pets", files / "good.parquet"
    told = say("evaluate", "--reference", kept, "--window", window, "--config", config, "-o", "json")
    signals = json.loads(told.out)["models"][0]["evaluations"][0]["windows"][0]["signals"]
    (level,) = (one["warning"] for one in signals if one["signal"] == "drift_evidence")
    assert f"Each may cry wolf once in {10**level:,.0f} (warning)" in said.out


def test_a_reference_of_which_nothing_can_be_judged_is_not_called_calibrated(
    say: Say, files: Path, config: Path
) -> None:
    still = rows(60, seed=1)
    still = replace(still, embeddings=np.tile(still.embeddings[:1], (60, 1)))
    still = replace(still, confidences=np.tile(still.confidences[:1], (60, 1)), predicted=still.predicted * 0)
    write_sample(files / "still.parquet", sliced(still, "left"))
    write_sample(files / "one.parquet", sliced(rows(1, seed=1), "left"))
    for file in ("still.parquet", "one.parquet"):
        built = say("reference", "build", "pets", "--config", config, "--parquet", files / file, "--overwrite")
        assert built.status == 0
        assert "nothing can be judged against it for pets, of no slice" in built.out
        said = r"^camera=left: the reference holds \d+ independent blocks, and 40 are needed"
        assert re.search(said, built.out, re.MULTILINE)
        assert "calibrated for" not in built.out


def test_missing_embeddings_are_counted_and_a_reference_of_nothing_else_is_refused(
    say: Say, files: Path, config: Path
) -> None:
    sample = sliced(rows(60, seed=1), "left")
    sample.embeddings[:7] = np.nan
    write_sample(files / "some.parquet", sample)
    built = say("reference", "build", "pets", "--config", config, "--parquet", files / "some.parquet", "--no-calibrate")
    assert "60 rows of 8 columns, made with own-clip; 7 of them without an embedding" in built.out
    sample.embeddings[:] = np.nan
    write_sample(files / "none.parquet", sample)
    said = say("reference", "build", "pets", "--config", config, "--parquet", files / "none.parquet", "--overwrite")
    assert said.status == 3
    assert "none.parquet: column embedding: not one of 60 rows has an embedding" in said.err


def test_show_of_a_reference_that_no_model_uses_says_so(say: Say, files: Path, config: Path) -> None:
    said = say("reference", "build", "other", "--config", config, "--parquet", files / "reference.parquet")
    assert "not calibrated: no model in the configuration has the reference other" in said.out
    assert "No model in the configuration uses it" in say("reference", "show", "other", "--config", config).out


def test_a_reference_that_does_not_tell_its_cameras_apart_says_so(say: Say, files: Path, config: Path) -> None:
    mixed = replace(rows(600, seed=1), times=NOON + np.arange(600.0))
    write_sample(files / "mixed.parquet", mixed)
    said = say("reference", "build", "pets", "--config", config, "--parquet", files / "mixed.parquet", "--overwrite")
    assert "slices: the reference has no text column camera: all events are taken for those of one camera" in said.out
    configured(config, model(slices=[]))
    said = say("reference", "calibrate", "pets", "--config", config)
    assert "slices:" not in said.out
    said = say("reference", "build", "pets", "--config", config, "--parquet", files / "good.parquet", "--overwrite")
    assert "slices: the reference has the text columns camera, of which monitoring.yml names none" in said.out


# Replay


def recording(files: Path, *, bad_from: int = 360, bad_until: int = 720) -> Path:
    """An hour of two cameras, five seconds between frames; some of them are bad ones of the right camera."""
    hour = sliced(rows(720, seed=2), "left", "right"), sliced(rows(720, seed=2, drifted=True), "left", "right")
    place = np.arange(720)
    bad = (place >= bad_from) & (place < bad_until) & (hour[0].slices["camera"] == "right")
    sample = replace(
        hour[0],
        times=NOON + 5.0 * np.arange(720),
        embeddings=np.where(bad[:, None], hour[1].embeddings, hour[0].embeddings),
        confidences=np.where(bad[:, None], hour[1].confidences, hour[0].confidences),
        predicted=np.where(bad, hour[1].predicted, hour[0].predicted),
    )
    write_sample(files / "hour.parquet", sample)
    return files / "hour.parquet"


def replayed(say: Say, files: Path, config: Path, window: Path, *more: object) -> Said:
    by_the_budget(config, "drift_evidence", "accumulated_evidence", "confidence_drop")
    return say(
        "evaluate", "--replay", "--reference", files / "reference", "--window", window, "--config", config,
        *more,
    )  # fmt: skip


def test_a_replay_says_when_each_alarm_would_have_begun(say: Say, files: Path, config: Path) -> None:
    said = replayed(say, files, config, recording(files), "-o", "json")
    assert said.status == 1
    document = json.loads(said.out)
    assert (document["evaluations"], document["every"], document["windows"]) == (60, "1m", ["10m"])
    right = [change for change in document["changes"] if change["slice"] == "camera=right"]
    assert right
    assert right[0]["was"] == "ok"
    bad_since = NOON + 5 * 360
    begun = datetime.fromisoformat(right[0]["at"]).timestamp()
    assert bad_since < begun <= bad_since + 300
    assert not [change for change in document["changes"] if change["slice"] == "camera=left"]


def test_memories_begin_anew_where_a_drift_that_the_window_showed_is_over(say: Say, files: Path, config: Path) -> None:
    """Twenty minutes of a bad camera, in windows of ten: what would fade for forty more is not told again."""
    window = recording(files, bad_from=120, bad_until=360)
    document = json.loads(replayed(say, files, config, window, "-o", "json").out)
    for slice_ in ("camera=right", "all"):
        last = [change for change in document["changes"] if change["slice"] == slice_][-1]
        assert last["verdict"] == "ok"
        ended = datetime.fromisoformat(last["at"]).timestamp()
        assert NOON + 5 * 360 < ended <= NOON + 5 * 360 + 660


@pytest.mark.parametrize("cameras", [("left", "right"), ()], ids=["two cameras", "no slices"])
def test_a_replay_of_a_quiet_hour_is_ok(say: Say, files: Path, config: Path, cameras: tuple[str, ...]) -> None:
    quiet = sliced(rows(720, seed=5), *cameras) if cameras else rows(720, seed=5)
    write_sample(files / "quiet.parquet", replace(quiet, times=NOON + 5.0 * np.arange(720)))
    said = replayed(say, files, config, files / "quiet.parquet")
    assert said.status == 0
    assert "60 evaluations, one every 1m, over windows of 10m: 0 alarms" in said.out


def test_a_replay_that_can_tell_nothing_says_what_was_lacking(say: Say, files: Path, config: Path) -> None:
    few = replace(sliced(rows(20, seed=5), "left", "right"), times=NOON + 60.0 * np.arange(20))
    write_sample(files / "few.parquet", few)
    said = replayed(say, files, config, files / "few.parquet")
    assert said.status == 2
    assert "0 alarms; 0 could tell anything" in said.out
    assert "most often as the window has 10 events" in said.out


def test_a_replay_of_more_ticks_than_anybody_waits_for_is_refused(say: Say, files: Path) -> None:
    sample = sliced(rows(400, seed=2), "left", "right")
    write_sample(files / "years.parquet", replace(sample, times=NOON + 1e6 * np.arange(400)))
    said = say("evaluate", "--replay", "--reference", files / "reference", "--window", files / "years.parquet")
    assert said.status == 3
    assert "accepted are at most 20,000" in said.err


# The log as a file


@pytest.fixture
def logged(tmp_path: Path, config: Path) -> Path:
    """The configuration of a log that holds 50 events of version 1 an hour ago, and 40 of version 2 just now."""
    (tmp_path / "state").mkdir()
    log = SqliteLog(tmp_path / "state" / "predictions.sqlite")
    now = time.time()
    log.append(events(50, until=now - 3600), [], now=now)
    log.append(events(40, until=now, version="2", camera="right"), [], now=now)
    log.close()
    return config


def test_export_writes_the_newest_version_where_none_is_named(say: Say, logged: Path, tmp_path: Path) -> None:
    said = say("export", tmp_path / "out.parquet", "--config", logged)
    assert said == Said(0, f"{tmp_path}/out.parquet: 40 events\n", "")
    sample = read_sample(tmp_path / "out.parquet")
    assert sample.classes == CLASSES
    assert sample.slice_values("camera") == ("right",)
    assert sample.labels is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--version", "9"), "no events of model pets version 9; it has 2, 1"),
        (("--version", "1", "--since", "10m"), "no events of pets 1 in that time; try an earlier --since"),
        (("--since", "yesterday"), "'yesterday' is no time; accepted is RFC 3339 such as"),
        (("--since", "1h", "--until", "2h"), "--since 1h is not before --until 2h"),
        (("--since", "7x"), "7x"),
    ],
)
def test_export_says_why_there_is_nothing_to_write(
    say: Say, logged: Path, tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    said = say("export", tmp_path / "out.parquet", "--config", logged, *more)
    assert said.status == 3
    assert words in said.err
    assert not (tmp_path / "out.parquet").exists()


def test_export_without_a_log_says_where_it_would_be(say: Say, config: Path, tmp_path: Path) -> None:
    said = say("export", tmp_path / "out.parquet", "--config", config, "--state", tmp_path / "elsewhere")
    assert said.status == 3
    assert f"{tmp_path}/elsewhere/predictions.sqlite: there is no prediction log yet" in said.err
    assert not (tmp_path / "elsewhere").exists()


def test_export_to_where_nothing_can_be_written_is_bad_input(say: Say, logged: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    said = say("export", tmp_path / "file" / "out.parquet", "--config", logged)
    assert said.status == 3
    assert str(tmp_path / "file") in said.err


def test_a_reference_from_the_log_holds_the_chosen_version(say: Say, logged: Path, tmp_path: Path) -> None:
    build = (
        "reference",
        "build",
        "pets",
        "--config",
        logged,
        "--from-log",
        "--version",
        "1",
        "--since",
        "2h",
        "--no-calibrate",
    )
    assert say(*build).status == 0
    manifest = read_manifest(tmp_path / "references" / "pets")
    assert (manifest.rows, manifest.embedder, manifest.source) == (50, CLIP, "log of pets since 2h")


def test_what_export_writes_evaluates_to_the_service_s_numbers(tmp_path: Path) -> None:
    """The whole way: events into a running exporter, its verdicts, the log as a file, the same verdicts of the file."""
    config = demo_config(tmp_path / "config")
    text = (config / "monitoring.yml").read_text(encoding="utf-8").replace("evaluate_every: 5s", "evaluate_every: 1s")
    (config / "monitoring.yml").write_text(text, encoding="utf-8")
    with running_exporter(tmp_path, config=config) as exporter:
        now = time.time()
        sent = [*demo_events("left", 200, now=now), *demo_events("right", 200, now=now, damaged=True)]
        exporter.post(sent)

        def is_served() -> bool:
            """All events are evaluated, against the calibration, which is read beside the first evaluations."""
            window = exporter.windows().get("all", {})
            signals = {signal["signal"] for signal in window.get("signals", ())}
            return window.get("samples") == len(sent) and "accuracy_drop" in signals

        until(is_served, what="an evaluation of all events")
        served = exporter.windows()
        out = tmp_path / "window.parquet"
        said = process("export", out, "--config", config, "--state", exporter.state, "--since", "10m")
        assert said.returncode == 0, said.stderr
    said = process(
        "evaluate", "--reference", ROOT / "reference_data" / "digits-demo", "--window", out, "--config", config,
        "-o", "json",
    )  # fmt: skip
    assert said.returncode == 1, said.stderr
    windows = json.loads(said.stdout)["models"][0]["evaluations"][0]["windows"]
    assert {window["slice"] for window in windows} == set(served)
    for window in windows:
        of_service = {signal["signal"]: signal for signal in served[window["slice"]]["signals"]}
        for only_there in ("invalid_ratio", "accumulated_evidence"):
            of_service.pop(only_there, None)
        assert set(window) == set(served[window["slice"]])
        assert {signal["signal"] for signal in window["signals"]} == set(of_service)
        for signal in window["signals"]:
            assert signal == approximately(of_service[signal["signal"]])
        assert window["class_drift"] == pytest.approx(served[window["slice"]]["class_drift"])


def approximately(value: Any) -> Any:
    """The same, its numbers to one part in a million."""
    if isinstance(value, dict):
        return {key: approximately(inner) for key, inner in value.items()}
    return pytest.approx(value, rel=1e-6) if isinstance(value, float) else value


# health and demo


def test_health_of_nobody_is_1_and_of_no_address_3(say: Say) -> None:
    said = say("health", "--url", "http://127.0.0.1:9")
    assert said.status == 1
    assert "http://127.0.0.1:9 does not answer" in said.err
    assert say("health", "--url", "file:///etc/passwd").status == 3


def test_the_demo_takes_a_free_port_where_the_wanted_one_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        port = _free_port(taken, Console(width=200))
    assert port != taken
    said = f"Port {taken} cannot be had (Address already in use): the demo's exporter takes {port} instead."
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_plays_to_an_exporter_of_its_own_and_takes_it_along_when_it_ends(tmp_path: Path) -> None:
    """Another exporter has the port: it must not see a single event, and nothing of the demo may stay behind."""
    with running_exporter(tmp_path) as other:
        port = other.url.rpartition(":")[2]
        command = [*VISIONDRIFT, "demo", "--scenario", "healthy", "--port", port, "--config", str(other.config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
            said: list[str] = []
            reader = threading.Thread(target=lambda: said.extend(demo.stdout or ()), daemon=True)
            reader.start()
            until(lambda: any("frames" in line for line in said), what="frames of the demo")
            demo.terminate()
            assert demo.wait(PATIENCE_S) == 143
            reader.join(PATIENCE_S)
        words = "".join(said)
        assert f"Port {port} cannot be had (Address already in use)" in words
        own = re.search(r"exporter at (http://127.0.0.1:\d+)", words)
        assert own is not None
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{own[1]}/healthz", timeout=PATIENCE_S)
        metrics = other.get("/metrics").text
        assert 'visiondrift_events_received_total{model="digits-demo"} 0.0' in metrics
