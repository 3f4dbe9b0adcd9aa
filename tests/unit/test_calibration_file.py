"""The kept calibration: the same answers after a restart, and none, rather than wrong ones, from a damaged file."""

import io
import json
import logging
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrated_parts import SETTINGS, TERMS, calibrated, evaluated, plan, reference, site
from visiondrift.calibration_file import ARRAYS_FILE, NUMBERS_FILE, kept_plan, load_calibration, save_calibration
from visiondrift.drift.calibrate import BlockRule, calibrate_reference
from visiondrift.drift.evaluation import PreparedReference, Scale

KEY = plan().key("site")
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the site's calibration; for reading."""
    directory = tmp_path_factory.mktemp("kept") / "new"
    save_calibration(directory, calibrated(), plan())
    return directory


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    """One to damage."""
    return Path(shutil.copytree(kept, tmp_path / "copy"))


@pytest.mark.parametrize("slice_", ["all", "camera=left", "camera=slow", "camera=roof"])
def test_what_was_kept_judges_every_window_as_what_was_made(kept: Path, slice_: str) -> None:
    loaded = load_calibration(kept, key=KEY, sample=reference())
    assert loaded is not None
    for number, change in enumerate(({}, {"shift": 0.5}, {"shift": 0.5, "wrong": 0.3})):
        window = site(30 + number, {"left": 240, "right": 240, "slow": 100}, begins=3e6, labelled=False, **change)
        assert evaluated(window, slice_, scale=Scale(loaded, TERMS)) == evaluated(window, slice_)


def test_a_calibration_adjusted_for_the_hour_of_day_is_kept_too(tmp_path: Path) -> None:
    """Four days at a frame an hour or so: a curve through the camera's day, and one of its spread."""
    sample = site(31, {"left": 90})
    sample = replace(sample, times=sample.times * 4000)
    settings_ = replace(SETTINGS, classes=())
    chosen = plan(BlockRule(seconds=4000.0), settings=settings_, windows=())
    made = calibrate_reference(sample, chosen, content_hash="days")
    detector = made.labels["camera"].detector
    assert detector is not None
    assert detector.reference.day is not None
    assert "left" in detector.reference.day.coefficients
    assert "left" in detector.reference.spread.middles
    save_calibration(tmp_path, made, chosen)
    loaded = load_calibration(tmp_path, key=made.key, sample=sample)
    window = site(32, {"left": 40}, begins=500.0, labelled=False)
    window = replace(window, times=window.times * 4000)
    prepared = PreparedReference.from_sample(sample, settings_)
    one, two = (
        evaluated(window, reference=prepared, settings=settings_, scale=Scale(found, TERMS)) for found in (made, loaded)
    )
    assert one == two


def test_the_plan_is_kept_with_it(kept: Path) -> None:
    assert kept_plan(kept) == plan()
    assert calibrated().key == KEY


def test_a_folder_without_one_has_none_and_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_calibration(tmp_path, key=KEY, sample=reference()) is None
    assert kept_plan(tmp_path) is None
    assert not caplog.records


def test_one_of_another_key_is_none_and_no_damage(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_calibration(kept, key="another", sample=reference()) is None
    assert not caplog.records


@pytest.mark.parametrize(
    "changed",
    [
        {"windows": (60.0,)},
        {"seed": 1},
        {"rule": BlockRule(seconds=5.0)},
        {"rule": BlockRule(label="scene")},
        {"settings": replace(SETTINGS, classes=("bus", "car", "bike"))},
        {"settings": replace(SETTINGS, low_confidence_below=0.4)},
        {"settings": replace(SETTINGS, column_threshold=0.2)},
    ],
)
def test_every_setting_that_it_hangs_on_is_in_the_key(changed: dict[str, object]) -> None:
    assert plan(**changed).key("site") != KEY


def test_so_are_the_rows() -> None:
    assert plan().key("other rows") != KEY


def cut(name: str, share: float) -> Damage:
    def damage(directory: Path) -> None:
        content = (directory / name).read_bytes()
        (directory / name).write_bytes(content[: int(len(content) * share)])

    return damage


def rewritten(change: Callable[[dict[str, object]], object]) -> Damage:
    def damage(directory: Path) -> None:
        document = json.loads((directory / NUMBERS_FILE).read_text())
        (directory / NUMBERS_FILE).write_text(json.dumps(change(document) or document))

    return damage


def of_another_key(directory: Path) -> None:
    with np.load(directory / ARRAYS_FILE) as stored:
        arrays = {**stored, "key": np.array("another")}
    np.savez_compressed(directory / ARRAYS_FILE, **arrays)  # type: ignore[arg-type]


DAMAGES: dict[str, Damage] = {
    "arrays gone": lambda directory: (directory / ARRAYS_FILE).unlink(),
    "arrays empty": cut(ARRAYS_FILE, 0.0),
    "arrays cut in half": cut(ARRAYS_FILE, 0.5),
    "arrays without their end": cut(ARRAYS_FILE, 0.99),
    "arrays of another calibration": of_another_key,
    "arrays that are a folder": lambda d: ((d / ARRAYS_FILE).unlink(), (d / ARRAYS_FILE).mkdir()),
    "numbers empty": cut(NUMBERS_FILE, 0.0),
    "numbers cut in half": cut(NUMBERS_FILE, 0.5),
    "numbers that are no text": lambda directory: (directory / NUMBERS_FILE).write_bytes(b"\xff\xfe"),
    "numbers that are a list": lambda directory: (directory / NUMBERS_FILE).write_text("[1]"),
    "numbers that are nothing": lambda directory: (directory / NUMBERS_FILE).write_text("null"),
    "numbers too deep": lambda directory: (directory / NUMBERS_FILE).write_text("[" * 100_000),
    "no labels": rewritten(lambda document: document.pop("labels") and None),
    "labels that are none": rewritten(lambda document: {**document, "labels": [[]]}),
    "a detector that is a list": rewritten(lambda d: d["labels"][0].update(detector=[1])),  # type: ignore[index]
    "a null of uneven lists": rewritten(
        lambda d: d["labels"][0]["scores"]["all"]["nulls"]["confidence_drop"]["means"].pop() and None  # type: ignore[index]
    ),
    "accuracy learnt of other rows": rewritten(lambda d: d["performance"].update(reference_rows=7)),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_calibration_is_as_good_as_none_and_told(
    copy: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    DAMAGES[name](copy)
    assert load_calibration(copy, key=KEY, sample=reference()) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(copy) in caplog.text


@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_byte_of_the_arrays_is_an_exception(copy: Path, kept: Path, place: float, mask: int) -> None:
    content = bytearray((kept / ARRAYS_FILE).read_bytes())
    content[int(place * len(content))] ^= mask
    (copy / ARRAYS_FILE).write_bytes(content)
    found = load_calibration(copy, key=KEY, sample=reference())
    assert found is None or found.key == KEY


class Trap:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["key", "0/mean", "0/centres"])
def test_no_pickle_is_loaded(copy: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """An array of objects is a program."""
    trap = np.empty(1, dtype=object)
    trap[0] = Trap()
    packed = io.BytesIO()
    np.lib.format.write_array(packed, trap, allow_pickle=True)
    with zipfile.ZipFile(copy / ARRAYS_FILE) as old:
        members = {member: old.read(member) for member in old.namelist()}
    with zipfile.ZipFile(copy / ARRAYS_FILE, "w") as new:
        for member, content in {**members, f"{name}.npy": packed.getvalue()}.items():
            new.writestr(member, content)
    assert load_calibration(copy, key=KEY, sample=reference()) is None
    assert "allow_pickle=False" in caplog.text


def test_a_newer_one_replaces_the_old_and_leaves_nothing_behind(copy: Path) -> None:
    save_calibration(copy, replace(calibrated(), key="newer"), plan())
    assert load_calibration(copy, key=KEY, sample=reference()) is None
    assert load_calibration(copy, key="newer", sample=reference()) is not None
    assert {path.name for path in copy.iterdir()} == {NUMBERS_FILE, ARRAYS_FILE}


def test_others_may_read_what_was_kept(kept: Path) -> None:
    assert {(kept / name).stat().st_mode & 0o777 for name in (NUMBERS_FILE, ARRAYS_FILE)} == {0o644}


def test_a_save_that_breaks_off_between_the_files_is_no_calibration(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The arrays are new, the numbers are still the old ones."""
    newer = copy.parent / "newer"
    save_calibration(newer, replace(calibrated(), key="newer"), plan())
    (newer / ARRAYS_FILE).replace(copy / ARRAYS_FILE)
    for key in (KEY, "newer"):
        assert load_calibration(copy, key=key, sample=reference()) is None
    assert "are of different calibrations" in caplog.text


def test_a_folder_that_may_not_be_written_to_is_the_callers_to_know(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save_calibration(tmp_path / "file" / "below", calibrated(), plan())
