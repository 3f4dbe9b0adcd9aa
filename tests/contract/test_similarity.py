"""``visiondrift similarity``: a row for every period with images, on a real log."""

import csv
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from visiondrift.calibration_file import save_calibration
from visiondrift.calibrator import ImmediateCalibrations
from visiondrift.cli import main
from visiondrift.cli.periods import _interval_of_means
from visiondrift.config import load_config
from visiondrift.drift.similarity import similarity_to
from visiondrift.log.sqlite import SqliteLog
from visiondrift.parquet import read_sample
from visiondrift.prediction import PredictionEvent, sample_of
from visiondrift.reference import save_reference
from visiondrift.shelf import request_of

DIMENSION = 6
MONDAY = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
DAY, HOUR = 86400.0, 3600.0
NEVER = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
"""The present, unless a test says otherwise: long after all of it."""
SPAN = ("--since", "2026-10-01T00:00:00Z", "--until", "2026-12-31T00:00:00Z")

Rows = Callable[..., list[dict[str, Any]]]


def event(
    number: int, time: float, camera: str, *, moved: bool = False, kept: Any = "", **changes: Any
) -> PredictionEvent:
    rng = np.random.default_rng(number)
    row = rng.normal(0, 0.1, DIMENSION) + np.eye(DIMENSION)[1 if moved else 0]
    embedding = (row / np.linalg.norm(row)).astype(np.float32)
    plain = PredictionEvent(
        id=f"{camera}-{number}-{kept}",
        time=time,
        model="cats",
        version="1",
        slices=(("camera", camera),),
        embedder="own",
        embedding=embedding,
        kept=kept,
    )
    return replace(plain, **changes)


def at(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Let the command's present be ``now``."""
    monkeypatch.setattr(sys.modules["visiondrift.cli.similarity"], "time", SimpleNamespace(time=lambda: now))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hall and yard from Monday to Wednesday and a week later; the yard moved on Wednesday; in between, on Friday, only
    what was kept for what it shows.
    """
    folder = tmp_path_factory.mktemp("similarity")
    (folder / "monitoring.yml").write_text(
        f"reference_data: {folder}\nlog: {{path: log.sqlite, keep: 90d}}\n"
        "calibration: {path: made}\nmodels:\n"
        f"  - {{name: cats, reference: cats, slices: [camera], embedding: {{name: own, dimension: {DIMENSION}}}}}\n",
        encoding="utf-8",
    )
    (folder / "thresholds.yml").write_text(
        "defaults: {signals: {clip_similarity: {warning: 0.9, critical: 0.8}}}\n", encoding="utf-8"
    )
    reference = [event(n, MONDAY - 5 * DAY + n * 60, "hall") for n in range(200)]
    save_reference(
        folder / "cats",
        sample_of(reference, classes=(), dimension=DIMENSION),
        embedder="own",
        source="a test",
        now=MONDAY,
    )
    sent = [
        event(100 * day + n, MONDAY + day * DAY + n * HOUR / 4, camera, moved=(day, camera) == (2, "yard"))
        for day in (0, 1, 2, 9)
        for camera in ("hall", "yard")
        for n in range(40)
    ]
    sent += [event(5000 + n, MONDAY + 4 * DAY, "hall", moved=True, kept="unlike") for n in range(5)]
    with closing(SqliteLog(folder / "log.sqlite")) as log:
        log.append(sent, [], now=MONDAY)
    return folder


@pytest.fixture
def rows(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rows:
    def run(*arguments: str, of: Path = config, now: float = NEVER, span: Sequence[str] = SPAN) -> Any:
        at(monkeypatch, now)
        given = ["visiondrift", "similarity", "--config", str(of), *span, *arguments]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return json.loads(captured.out)["rows"] if "json" in arguments else captured.out

    return run


def test_every_day_with_images_has_a_row_for_all_and_for_each_camera(rows: Rows) -> None:
    found = [(row["period"], row["slice"], row["images"]) for row in rows("--by", "day", "-o", "json")]
    usual = (("all", 80), ("camera=hall", 40), ("camera=yard", 40))
    assert found == [
        (day, slice_, images)
        for day in ("2026-11-02", "2026-11-03", "2026-11-04", "2026-11-06", "2026-11-11")
        for slice_, images in ((("all", 0), ("camera=hall", 0)) if day == "2026-11-06" else usual)
    ]


def test_a_day_of_images_that_were_all_kept_for_what_they_show_counts_them_and_has_no_mean(rows: Rows) -> None:
    found = [row for row in rows("--by", "day", "-o", "json") if row["period"] == "2026-11-06"]
    assert [(row["slice"], row["images"], row["chosen"]) for row in found] == [("all", 0, 5), ("camera=hall", 0, 5)]
    assert [row[name] for row in found for name in ("similarity", "of_means", "of_means_low", "of_means_critical")] == [
        None
    ] * 8
    read = list(csv.DictReader(io.StringIO(str(rows("--by", "day", "-o", "tsv"))), delimiter="\t"))
    assert [(row["images"], row["chosen"], row["similarity"]) for row in read if row["period"] == "2026-11-06"] == [
        ("0", "5", "")
    ] * 2


def test_images_kept_for_what_they_show_are_counted_beside_a_fair_sample(rows: Rows) -> None:
    [week, _] = [row for row in rows("--by", "week", "-o", "json") if row["slice"] == "all"]
    assert (week["images"], week["chosen"]) == (240, 5)
    assert week["similarity"] is not None


@pytest.fixture
def moved_on(config: Path, tmp_path: Path) -> Path:
    """The same, with two days in December that another embedder embedded, and one of the two this one too."""
    copied = tmp_path / "config"
    shutil.copytree(config, copied)
    older = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    sent = [
        event(9000 + n, older + n * HOUR, "hall", embedder="old", embedding=np.ones(3, np.float32)) for n in range(48)
    ]
    sent += [event(9100 + n, older, "hall", kept="prompt", embedder="old") for n in range(3)]
    sent += [event(9200 + n, older + DAY + n * HOUR, "hall") for n in range(7)]
    sent += [event(9300, older, "hall", embedding=None, version="2")]
    with closing(SqliteLog(copied / "log.sqlite")) as log:
        log.append(sent, [], now=MONDAY)
    return copied


def test_images_of_another_embedder_have_rows_that_name_it(rows: Rows, moved_on: Path) -> None:
    december = ("--since", "2026-12-01T00:00:00Z", "--until", "2026-12-31T00:00:00Z")
    found = rows("--by", "day", "-o", "json", of=moved_on, span=december)
    assert {row["version"] for row in found} == {"1"}, "an event without an embedding is no image"
    names = ("period", "images", "chosen", "other_embedder", "similarity")
    old, *second = [tuple(row[name] for name in names) for row in found if row["slice"] == "all"]
    assert old == ("2026-12-01", 24, 3, "old", None)
    assert [row[:4] for row in second] == [("2026-12-02", 7, 0, None), ("2026-12-02", 24, 0, "old")]
    assert second[0][4] > 0.9
    first_day = ("--since", "2026-12-01T00:00:00Z", "--until", "2026-12-02T00:00:00Z")
    said = rows("--by", "day", of=moved_on, span=first_day)
    assert "no images" not in said
    assert "│ old" in said


def test_an_embedder_of_another_length_under_the_same_name_is_another(rows: Rows, moved_on: Path) -> None:
    when = datetime(2026, 12, 20, tzinfo=UTC).timestamp()
    with closing(SqliteLog(moved_on / "log.sqlite")) as log:
        log.append([event(1, when, "dock", embedding=np.ones(3, np.float32))], [], now=MONDAY)
    [found] = [row for row in rows("--by", "day", "-o", "json", of=moved_on) if row["slice"] == "camera=dock"]
    assert (found["images"], found["other_embedder"], found["similarity"]) == (1, "own, of another length", None)


def test_a_time_without_images_says_so(rows: Rows) -> None:
    assert "no images in that time" in rows(span=("--since", "2026-12-01T00:00:00Z", "--until", "2026-12-31T00:00:00Z"))


def test_a_period_that_is_not_covered_says_at_which_end(rows: Rows) -> None:
    def partial(*arguments: str, **changes: Any) -> list[str | None]:
        return [row["partial"] for row in rows(*arguments, "-o", "json", **changes) if row["slice"] == "all"]

    running = datetime(2026, 11, 11, 20, tzinfo=UTC).timestamp()
    assert partial("--by", "day") == [None] * 5
    assert partial("--by", "day", now=running) == [None, None, None, None, "end"]
    assert partial("--by", "month") == ["begin"], "the log begins on the second"
    assert partial("--by", "month", now=running) == ["both"]
    inside = ("--since", "2026-11-03T08:00:00Z", "--until", "2026-11-11T10:00:00Z")
    assert partial("--by", "week", span=inside) == ["begin", "end"]
    read = csv.DictReader(io.StringIO(str(rows("--by", "week", "-o", "tsv", span=inside))), delimiter="\t")
    assert {row["partial"] for row in read} == {"begin", "end"}
    assert "│ begin" in rows("--by", "week", span=inside)


@pytest.mark.parametrize(("by", "periods"), [("week", ["2026-W45", "2026-W46"]), ("month", ["2026-11"])])
def test_weeks_and_months_add_up(by: str, periods: list[str], rows: Rows) -> None:
    found = [row for row in rows("--by", by, "-o", "json") if row["slice"] == "all"]
    assert [row["period"] for row in found] == periods
    assert sum(row["images"] for row in found) == 320


def test_the_camera_that_moved_is_below_the_threshold_on_its_day_and_no_other_is(rows: Rows) -> None:
    found = [row for row in rows("--by", "day", "-o", "json") if row["images"]]
    low = [row for row in found if row["of_means"] < row["of_means_critical"]]
    assert [(row["period"], row["slice"]) for row in low] == [("2026-11-04", "all"), ("2026-11-04", "camera=yard")]


def test_the_interval_is_around_the_mean_and_counts_hours_where_there_is_no_calibration(rows: Rows) -> None:
    for row in (row for row in rows("--by", "day", "-o", "json") if row["images"]):
        assert row["similarity_low"] < row["similarity"] < row["similarity_high"]
        assert row["of_means_low"] < row["of_means"] < row["of_means_high"]
        assert row["similarity"] < row["of_means"], "a mean has less noise than one image"
        assert row["blocks"] == (20 if row["slice"] == "all" else 10)


def test_the_interval_of_the_means_holds_what_other_days_of_as_many_blocks_say() -> None:
    """400 days of 12 blocks of unlike sizes, each with a mood of its own; 95 % is meant."""
    rng = np.random.default_rng(1)
    direction = np.eye(8, dtype=np.float32)[0]

    def day() -> tuple[float, float | None, float | None]:
        of_row = np.repeat(np.arange(12), rng.integers(5, 30, 12))
        rows = direction + 0.5 * np.eye(8)[1] + rng.normal(0, 0.3, (12, 8))[of_row]
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        of_means = similarity_to(direction, rows, of_row).of_means
        return of_means, *_interval_of_means(direction, rows, of_row, of_means)

    days = [day() for _ in range(400)]
    usual = np.mean([of_means for of_means, _, _ in days])
    inside = sum(low is not None and high is not None and low <= usual <= high for _, low, high in days)
    assert 0.90 <= inside / 400 <= 0.99


def test_one_block_has_no_interval_of_the_means() -> None:
    rows = np.eye(4, dtype=np.float32)
    assert _interval_of_means(rows[0], rows, np.zeros(4, dtype=np.intp), 0.5) == (None, None)


def test_every_interval_and_threshold_is_named_after_its_number(rows: Rows) -> None:
    expected = [
        "similarity", "similarity_low", "similarity_high",
        "of_means", "of_means_low", "of_means_high", "of_means_warning", "of_means_critical",
    ]  # fmt: skip
    said = csv.reader(io.StringIO(str(rows("--by", "month", "-o", "tsv"))), delimiter="\t")
    assert [name for name in next(said) if name.startswith(("similarity", "of_means"))] == expected
    first, second = (line for line in rows("--by", "month").splitlines()[1:3])
    cells = list(zip(*(map(str.strip, line.split("┃")) for line in (first, second)), strict=True))
    assert [cell for cell in cells if "critical" in cell] == [("of_means", "critical")]
    assert ("similarity", "low") in cells


def test_a_calibration_that_the_exporter_had_to_make_is_found(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copied = tmp_path / "config"
    shutil.copytree(config, copied)
    loaded = load_config(copied)
    request = request_of(config / "cats", loaded.models[0], embedder="own")
    made = ImmediateCalibrations().of(request).calibrated
    assert made is not None
    save_calibration(copied / "made" / "cats", made, request.plan)
    monkeypatch.setattr(sys, "argv", ["visiondrift", "similarity", "--config", str(copied), *SPAN])
    with pytest.raises(SystemExit):
        main()
    assert "blocks are those of the reference's calibration" in capsys.readouterr().out


def test_the_table_states_what_it_shows(rows: Rows) -> None:
    said = rows("--by", "month")
    for words in ("0.9000", "cosines to the reference's mean", "below of_means_warning", "blocks are hours"):
        assert words in said


def test_tab_separated_values_have_a_head_and_a_row_each(rows: Rows) -> None:
    read = list(csv.DictReader(io.StringIO(str(rows("--by", "week", "-o", "tsv"))), delimiter="\t"))
    assert len(read) == 6
    assert {row["slice"] for row in read} == {"all", "camera=hall", "camera=yard"}


def test_an_export_holds_what_was_kept_for_what_it_shows_and_says_why_of_all(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copied, out = tmp_path / "config", tmp_path / "out.parquet"
    shutil.copytree(config, copied)
    with closing(SqliteLog(copied / "log.sqlite")) as log:
        log.append([event(n, MONDAY, "dock", kept=why) for n, why in enumerate(("every", "every+prompt"))], [], now=0.0)
    monkeypatch.setattr(sys, "argv", ["visiondrift", "export", str(out), "--config", str(copied), *SPAN])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    reasons = pq.read_table(out).column("kept").to_pylist()
    assert Counter(reasons) == {None: 320, "unlike": 5, "every": 1, "every+prompt": 1}
    assert len(read_sample(out)) == 322


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Runs `export` with arguments; gives status, what it said of itself, and the ids that it wrote."""

    def run(config: Path, *arguments: str) -> tuple[int, str, list[str]]:
        out = tmp_path / "exported.parquet"
        monkeypatch.setattr(sys, "argv", ["visiondrift", "export", str(out), "--config", str(config), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = pq.read_table(out).column("id").to_pylist() if out.is_file() else []
        return int(ended.value.code or 0), capsys.readouterr().err.replace("\n", " "), written

    return run


def test_an_export_says_how_many_events_of_another_embedder_it_leaves_out(
    moved_on: Path, export: Callable[..., Any]
) -> None:
    status, said, written = export(moved_on, *SPAN, "--version", "1")
    assert (status, len(written)) == (0, 325 + 7)
    assert "51 events that were embedded by old are left out" in said
    first_of_december = ("--since", "2026-12-01T00:00:00Z", "--until", "2026-12-02T00:00:00Z", "--version", "1")
    status, said, _ = export(moved_on, *first_of_december)
    assert status == 3
    assert "the 27 there are were embedded by old, and not by own" in said


def test_a_version_of_which_all_was_kept_for_what_it_shows_is_exported_where_asked_for(
    moved_on: Path, export: Callable[..., Any]
) -> None:
    with closing(SqliteLog(moved_on / "log.sqlite")) as log:
        log.append([event(1, MONDAY, "dock", kept="unlike", version="3")], [], now=MONDAY)
    assert export(moved_on, *SPAN, "--version", "3")[0::2] == (0, ["dock-1-unlike"])
