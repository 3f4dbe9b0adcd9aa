"""The cause of a drift in an evaluation: spoken where a signal warns, kept with the calibration, told everywhere."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from calibrated_parts import DIMENSION, SETTINGS, TERMS, evaluated, plan, site
from visiondrift.api.pages import Pages
from visiondrift.calibration_file import load_calibration, save_calibration
from visiondrift.drift.calibrate import BlockRule, calibrate_reference
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.evaluation import PreparedReference, Scale
from visiondrift.drift.explain.witnesses import Probe, Trace, Witnesses
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, Sample
from visiondrift.publish.document import window_document
from visiondrift.publish.gauges import SNAPSHOT_GAUGES
from visiondrift.publish.report_header import with_header
from visiondrift.publish.snapshot import Evaluation, Links, ModelState, ReferenceState, Snapshot
from visiondrift.signals import SEVERITIES

WINDOW = {"left": 200, "right": 90}
UNLABELLED = replace(SETTINGS, classes=())
PLAN = plan(BlockRule(seconds=3.0), settings=UNLABELLED, windows=(), witnesses="some")
BY_DARKNESS = np.eye(len(PROPERTIES))[0] * -0.2 + np.eye(len(PROPERTIES))[9] * -0.1
ALONG = np.sqrt(DIMENSION) * np.eye(DIMENSION)[-1]
"""What a shift of the site's embeddings is along."""
ABOUT = {
    "model": "gates",
    "version": "1",
    "since": 0.0,
    "until": 1.0,
    "at": 1.0,
    "dimension": DIMENSION,
    "columns": {"shown": [], "left_out": []},
    "evidently": {"version": "0"},
}
"""What the head of a report reads of its JSON."""
LAYOUT = (np.arange(LAYOUT_SIDE**2) % 5 / 30).astype(np.float32)


def measured(sample: Sample, seed: int, *, darker: float = 0.0) -> Sample:
    noise = np.random.default_rng(seed).normal(size=(len(sample), len(PROPERTIES)))
    layouts = LAYOUT + 0.02 * np.random.default_rng(seed + 1).normal(size=(len(sample), len(LAYOUT)))
    return replace(
        sample,
        properties=(0.5 + 0.1 * noise + darker * BY_DARKNESS).astype(np.float32),
        layouts=layouts.astype(np.float32),
    )


def witnesses() -> Witnesses:
    traces = tuple(Trace(cause, severity) for cause in ("darker", "noisy") for severity in (2, 4))
    before = np.full((5, len(PROPERTIES)), 0.5, dtype=np.float32)
    other = np.eye(len(PROPERTIES))[6] * 0.2
    view = np.tile(LAYOUT, (5, 1))
    after = np.stack([before + part for part in (BY_DARKNESS / 2, BY_DARKNESS, other / 2, other)])
    noisy = np.roll(ALONG, 1)
    return Witnesses(
        traces,
        before,
        after.astype(np.float32),
        view,
        np.stack([view, np.roll(view, 12, axis=1), view, view]).astype(np.float32),
        np.stack([ALONG / 2, ALONG, noisy / 2, noisy]).astype(np.float32),
        (Probe("light", "a dark photo", "a bright photo", ("darker",)),),
        (ALONG / np.linalg.norm(ALONG))[None].astype(np.float32),
    )


@cache
def learnt() -> tuple[Sample, CalibratedReference]:
    sample = measured(site(1, {"left": 240, "right": 100}), 1)
    return sample, calibrate_reference(sample, PLAN, content_hash="measured", witnesses=witnesses())


def dark_window() -> Sample:
    return measured(site(40, WINDOW, begins=3e6, labelled=False, shift=0.8), 2, darker=1.0)


def judged(window: Sample, slice_: str = "all", by: CalibratedReference | None = None) -> WindowEvaluation:
    sample, found = learnt()
    base = PreparedReference.from_sample(sample, UNLABELLED)
    return evaluated(window, slice_, reference=base, settings=UNLABELLED, scale=Scale(by or found, TERMS))


def snapshot(window: WindowEvaluation) -> Snapshot:
    evaluation = Evaluation("gates", "1", 0.0, 0.1, (window,))
    model = ModelState("gates", "", 300.0, 3600.0, ReferenceState("gates"), (evaluation,))
    return Snapshot(Links("", "", "", ""), (model,))


def rows_of(name: str, window: WindowEvaluation) -> dict[tuple[str, ...], float]:
    gauge = next(gauge for gauge in SNAPSHOT_GAUGES if gauge.name == name)
    return {tuple(labels): value for labels, value in gauge.rows(snapshot(window))}


def test_a_drifted_window_of_every_slice_says_why() -> None:
    for slice_ in ("all", "camera=left"):
        cause = judged(dark_window(), slice_).cause
        assert cause is not None
        assert (cause.drifted, cause.word) == (True, "darker")


def test_a_healthy_window_says_no_word_and_keeps_the_record() -> None:
    cause = judged(measured(site(41, WINDOW, begins=4e6, labelled=False), 3)).cause
    assert cause is not None
    assert (cause.drifted, cause.word, cause.evidence) == (False, None, ())
    assert ("property", "brightness") in cause.readings


def test_a_reference_that_knows_no_witnesses_says_nothing() -> None:
    _, found = learnt()
    bare = replace(found, labels={"camera": replace(found.labels["camera"], explainer=None)})
    assert judged(dark_window(), "all", bare).cause is None


def test_a_drift_that_is_like_no_known_fault_is_unknown() -> None:
    window = measured(site(43, WINDOW, begins=5e6, labelled=False), 4)
    strange = 2 * np.roll(ALONG, -5) - 2 * np.roll(ALONG, -8)
    cause = judged(replace(window, embeddings=(window.embeddings + strange).astype(np.float32))).cause
    assert cause is not None
    assert (cause.drifted, cause.word) == (True, None)


def test_what_was_kept_says_what_was_learnt(tmp_path: Path) -> None:
    sample, made = learnt()
    save_calibration(tmp_path, made, PLAN)
    kept = load_calibration(tmp_path, key=made.key, sample=sample)
    for slice_ in ("all", "camera=right"):
        assert judged(dark_window(), slice_, kept) == judged(dark_window(), slice_)


def test_other_witnesses_make_another_calibration_and_none_the_one_that_was() -> None:
    keys = {plan(witnesses=name).key("rows") for name in ("", "some", "others")}
    assert len(keys) == 3
    assert plan().key("rows") == plan(witnesses="").key("rows")


def test_the_document_of_a_window_tells_the_cause_and_its_evidence() -> None:
    document = json.loads(json.dumps(window_document(judged(dark_window()))))
    assert document["cause"]["word"] == "darker"
    assert document["cause"]["agreed"] == ["property", "signature", "probe"]
    assert any("brightness" in one["text"] for one in document["cause"]["evidence"])


def test_the_cause_is_a_series_of_its_window() -> None:
    window = judged(dark_window(), "camera=left")
    beside = ("brightness", "property, signature, probe")
    assert rows_of("drift_cause", window) == {("gates", "1", "camera=left", "2m", "darker", *beside): 1.0}
    z = rows_of("witness_z", window)
    assert z["gates", "1", "camera=left", "2m", "probe", "light"] > 5
    assert ("gates", "1", "camera=left", "2m", "layout", "darker") in z


def test_the_page_and_the_report_say_the_cause_and_its_evidence() -> None:
    dark, healthy = judged(dark_window()), judged(measured(site(45, WINDOW, begins=7e6, labelled=False), 6))
    page = Pages().landing(snapshot(dark), lambda *_: (), lambda *_: None, now=0.0)
    assert "cause: darker</small>" in page
    assert "property and signature and probe agree" in page
    assert "cause:" not in Pages().landing(snapshot(healthy), lambda *_: (), lambda *_: None, now=0.0)
    report = with_header("<head></head><body></body>", dark, ABOUT)
    assert "Cause: <strong>darker</strong>. property and signature and probe agree" in report
    assert "<li>brightness " in report
    assert dark.spread is not None
    assert f"<p>Slices: {dark.spread.sentence}</p>" in report
    assert "camera=left" in dark.spread.sentence
    assert "Cause:" not in with_header("<head></head><body></body>", healthy, ABOUT)


def test_the_page_tells_of_a_silent_camera_though_nothing_has_drifted() -> None:
    healthy = judged(measured(site(46, {"left": 200}, begins=8e6, labelled=False), 7))
    assert healthy.verdict not in SEVERITIES
    page = Pages().landing(snapshot(healthy), lambda *_: (), lambda *_: None, now=0.0)
    assert "nothing from camera=right" in page


def test_a_healthy_window_has_no_series_of_a_cause() -> None:
    window = judged(measured(site(44, WINDOW, begins=6e6, labelled=False), 5))
    assert rows_of("drift_cause", window) == {}
