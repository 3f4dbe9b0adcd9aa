"""The Evidently report behind a verdict: what it shows, what it survives, and how reports are kept."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from programs import program
from visiondrift.config import Threshold
from visiondrift.drift.baseline import align_classes
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import Sample
from visiondrift.publish.report import ReportDocument, ReportStore, build_report

CLASSES = ("cat", "dog", "fox")
THRESHOLDS = {
    "embedding_drift": Threshold(warning=0.3, critical=0.5),
    "confidence_drift": Threshold(warning=0.4, critical=0.5),
    "prediction_drift": Threshold(warning=0.2, critical=0.4),
}


def sample(seed: int, n: int, *, classes: tuple[str, ...] = CLASSES, blur: float = 1.0) -> Sample:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, len(classes))) / blur
    logits[np.arange(n), rng.integers(0, len(classes), n)] += 5 / blur
    confidences = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Sample(
        times=1.7e9 + np.arange(n, dtype=np.float64),
        ids=np.array([f"e{i}" for i in range(n)], dtype=object),
        slices={"camera": np.full(n, "left", dtype=object)},
        classes=classes,
        embeddings=rng.normal(1, 1, size=(n, 8)).astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=rng.gamma(2, 10, n),
    )


def reported(
    reference: Sample, window: Sample, *, slice_: str = "camera=left", version: str = "1.4.0"
) -> tuple[WindowEvaluation, ReportDocument]:
    settings = Settings(classes=reference.classes)
    evaluation = evaluate_window(
        PreparedReference.from_sample(reference, settings),
        window,
        slice_=slice_,
        window="1h",
        min_samples=50,
        settings=settings,
        thresholds=THRESHOLDS,
        total=4 * len(window),
    )
    return evaluation, build_report(reference, window, evaluation, model="digits", version=version, at=1.7e9 + 3600)


class Text(HTMLParser):
    """The visible words of a page: not its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.title = ""
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["title"]:
            self.title += data
        elif self._inside[-1:] not in (["script"], ["style"]):
            self.words.extend(data.split())

    def __str__(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def drifted() -> tuple[WindowEvaluation, ReportDocument]:
    return reported(sample(1, 600), sample(2, 300, blur=12))


def test_the_header_says_what_was_compared_and_what_came_out(drifted: tuple[WindowEvaluation, ReportDocument]) -> None:
    evaluation, document = drifted
    page = Text(document.html)
    assert page.title == "digits 1.4.0 · camera=left · 1h · VisionDrift"
    words = str(page)
    assert "digits 1.4.0 · camera=left · 1h critical" in words
    assert "Events compared 300 of 1,200, evenly spread" in words
    assert "From 2023-11-14 22:13:20 UTC To 2023-11-14 22:18:19 UTC" in words
    assert "Reference 600 events, camera=left" in words
    assert evaluation.reference_slice == "camera=left"
    drift = next(judgement for judgement in evaluation.judgements if judgement.signal == "confidence_drift")
    assert f"Confidence drift {drift.score:.3f} 0.400 0.500 {drift.verdict} 300" in words
    assert "the 8 columns that a person can read" in words
    assert "The 8 embedding columns are judged above and not drawn." in words


def test_the_json_holds_our_judgements_and_evidentlys_metrics(
    drifted: tuple[WindowEvaluation, ReportDocument],
) -> None:
    evaluation, document = drifted
    data = json.loads(json.dumps(document.data, allow_nan=False))
    assert (data["model"], data["version"], data["slice"], data["window"]) == ("digits", "1.4.0", "camera=left", "1h")
    assert data["verdict"] == evaluation.verdict == "critical"
    assert [found["signal"] for found in data["signals"]] == [found.signal for found in evaluation.judgements]
    assert data["columns"]["shown"] == [
        "predicted class",
        "top confidence",
        "margin of the top two",
        "similarity to the reference",
        "latency in ms",
        "confidence of cat",
        "confidence of dog",
        "confidence of fox",
    ]
    configured = {
        metric["config"]["column"]: (metric["config"]["method"], metric["config"]["threshold"])
        for metric in data["evidently"]["metrics"]
        if "column" in metric["config"]
    }
    assert configured.pop("predicted class") == ("jensenshannon_base2", 0.2)
    assert set(configured.values()) == {("wasserstein", 0.4)}


def test_evidentlys_scores_are_the_ones_we_judge_by(drifted: tuple[WindowEvaluation, ReportDocument]) -> None:
    evaluation, document = drifted
    scores = document.data["columns"]["scores"]
    for name, drift in evaluation.class_drift.items():
        assert scores[f"confidence of {name}"] == pytest.approx(drift, rel=1e-6)
    judged = {judgement.signal: judgement.score for judgement in evaluation.judgements}
    assert scores["predicted class"] == pytest.approx(judged["prediction_drift"], abs=1e-9)


def test_columns_that_cannot_be_drawn_are_left_out_and_named() -> None:
    reference, window = sample(3, 200), sample(4, 100)
    reference.latency_ms[:] = np.nan
    window.embeddings[:] = np.nan
    reference.confidences[:, 2] = window.confidences[:, 2] = 0.0
    _, document = reported(reference, window)
    assert document.data["columns"]["left_out"] == [
        "similarity to the reference: no values in the window",
        "latency in ms: no values in the reference",
        "confidence of fox: always 0",
    ]
    assert "Not shown: similarity to the reference: no values in the window; latency" in str(Text(document.html))


def test_a_column_that_is_constant_on_one_side_is_drawn() -> None:
    reference, window = sample(5, 200), sample(6, 100)
    reference.latency_ms[:] = 5.0
    window.confidences[:, 0] = 0.0
    _, document = reported(reference, window)
    assert {"latency in ms", "confidence of cat"} <= set(document.data["columns"]["shown"])


def test_a_window_without_anything_to_draw_still_has_its_judgements() -> None:
    reference, window = sample(7, 200), sample(8, 100)
    for side in (reference, window):
        side.latency_ms[:] = np.nan
        side.embeddings[:] = np.nan
    _, document = reported(align_classes(reference, ()), align_classes(window, ()))
    assert document.data["columns"]["shown"] == []
    assert "No column can be drawn." in str(Text(document.html))
    assert "Missing data" in str(Text(document.html))


def test_of_many_classes_those_that_moved_are_shown_and_the_rest_is_counted() -> None:
    classes = tuple(f"c{i:02}" for i in range(30))
    reference, window = sample(9, 900, classes=classes), sample(10, 300, classes=classes)
    window.confidences[:, 29] += 0.5
    evaluation, document = reported(reference, window)
    shown = [name for name in document.data["columns"]["shown"] if name.startswith("confidence of")]
    assert len(shown) == 20
    assert "confidence of c29" in shown
    assert evaluation.class_drift["c29"] > 1
    assert document.data["columns"]["left_out"] == ["10 of 30 classes: they moved less"]


def test_names_cannot_break_out_of_the_page() -> None:
    nasty = "</script><script>alert(1)</script>"
    classes = (nasty, "dog")
    _, document = reported(
        sample(11, 200, classes=classes), sample(12, 100, classes=classes), slice_=f"camera={nasty}", version=nasty
    )
    assert "<script>alert(1)" not in document.html


def test_making_a_report_changes_neither_samples_nor_global_randomness() -> None:
    reference, window = sample(13, 200), sample(14, 100)
    window.confidences[:5] = np.nan
    before = [array.copy() for side in (reference, window) for array in (side.embeddings, side.confidences)]
    np.random.seed(1)
    state = np.random.get_state()[1]
    reported(reference, window)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    after = [array for side in (reference, window) for array in (side.embeddings, side.confidences)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_evidently_is_not_imported_until_a_report_is_made_and_may_not_call_home() -> None:
    code = (
        "import os, sys; os.environ.pop('DO_NOT_TRACK', None); import visiondrift.publish.report;"
        "assert 'evidently' not in sys.modules; assert 'pandas' not in sys.modules;"
        "import warnings; warnings.simplefilter('ignore'); import visiondrift.publish.evidently_table;"
        "print(os.environ['DO_NOT_TRACK'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.browser
def test_a_browser_without_network_draws_the_page(
    drifted: tuple[WindowEvaluation, ReportDocument], tmp_path: Path
) -> None:
    chromium = program("chromium", "chromium-browser", package="chromium")
    page = tmp_path / "report.html"
    page.write_text(drifted[1].html, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [chromium, *flags, "--virtual-time-budget=10000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    drawn = str(Text(done.stdout))
    for name in drifted[1].data["columns"]["shown"]:
        assert name in drawn
    assert "Jensen-Shannon distance (base 2)" in drawn
    assert "Confidence drift" in drawn


def document(verdict: str = "ok", size: int = 10) -> ReportDocument:
    return ReportDocument("<html>" + "x" * size, {"verdict": verdict, "score": np.float64(0.5)})


def keep(store: ReportStore, at: float, **changed: str) -> str:
    about = {"model": "digits", "version": "1", "slice_": "all", "window": "1h"} | changed
    return store.write(document("critical"), at=at, **about)


def test_a_report_is_two_files_that_are_found_by_name(tmp_path: Path) -> None:
    store = ReportStore(tmp_path / "new" / "reports", keep=5)
    name = keep(store, 1.7e9)
    html, data = store.path(name, "html"), store.path(name, "json")
    assert html is not None
    assert data is not None
    assert html.read_text(encoding="utf-8").startswith("<html>")
    assert json.loads(data.read_text(encoding="utf-8")) == {
        "verdict": "critical",
        "score": 0.5,
        "model": "digits",
        "version": "1",
        "slice": "all",
        "window": "1h",
        "at": 1.7e9,
    }
    assert sorted(path.name for path in store.directory.iterdir()) == [f"{name}.html", f"{name}.json"]


@pytest.mark.parametrize(
    "slice_", ["camera=../../etc/passwd", "camera=a/b", "camera=ä ö", "camera=" + "x" * 300, "camera=a\nb", "camera=."]
)
def test_any_slice_makes_a_safe_file_name_and_is_found_again_exactly(tmp_path: Path, slice_: str) -> None:
    store = ReportStore(tmp_path, keep=5)
    name = keep(store, 1.7e9, slice_=slice_)
    assert name.isascii()
    assert not set(name) & set('/\\ \n"<>?#%&')
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}
    found = ReportStore(tmp_path, keep=5).latest("digits", "1", slice_, "1h")
    assert found is not None
    assert (found.name, found.slice, found.verdict) == (name, slice_, "critical")


def test_slices_that_look_alike_in_a_file_name_are_kept_apart(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=5)
    assert keep(store, 1.7e9, slice_="camera=a/b") != keep(store, 1.7e9, slice_="camera=a?b")


def test_the_newest_come_first_and_after_a_restart_too(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=10)
    names = [keep(store, 1.7e9 + hour) for hour in (3, 1, 2)]
    expected = [names[0], names[2], names[1]]
    assert [report.name for report in store.entries()] == expected
    assert [report.name for report in ReportStore(tmp_path, keep=10).entries()] == expected
    newest = store.latest("digits", "1", "all", "1h")
    assert newest is not None
    assert newest.at == 1.7e9 + 3
    assert store.latest("digits", "2", "all", "1h") is None


def test_a_report_whose_page_is_gone_is_not_the_newest(tmp_path: Path) -> None:
    """An alert links to the newest: to one that can be read, where there is one."""
    store = ReportStore(tmp_path, keep=5)
    older, newer = keep(store, 1.7e9), keep(store, 1.7e9 + 1)
    (tmp_path / f"{newer}.html").unlink()
    found = store.latest("digits", "", "all", "")
    assert found is not None
    assert found.name == older


def test_only_the_last_ones_are_kept(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=3)
    names = [keep(store, 1.7e9 + second) for second in range(8)]
    assert [report.name for report in store.entries()] == names[:-4:-1]
    assert len(list(tmp_path.iterdir())) == 6
    assert store.path(names[0], "html") is None


def test_a_busy_slice_does_not_push_out_another_slices_newest_report(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=3)
    quiet = keep(store, 1.7e9, slice_="camera=quiet")
    for second in range(1, 9):
        keep(store, 1.7e9 + second)
    found = store.latest("digits", "1", "camera=quiet", "1h")
    assert found is not None
    assert found.name == quiet


def test_a_smaller_limit_takes_effect_at_the_next_start(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=5)
    for second in range(5):
        keep(store, 1.7e9 + second)
    assert len(ReportStore(tmp_path, keep=2).entries()) == 2


def killed_over(path: Path) -> None:
    """Begin to write the file, in a process that is killed before it has ended."""
    code = (
        "import os, sys; from pathlib import Path; from visiondrift.whole_file import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as file:\n    file.write(b'half'); file.flush(); os._exit(9)"
    )
    before = set(path.parent.iterdir())
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 9
    assert len(set(path.parent.iterdir()) - before) == 1, "it has left something"


def test_a_start_removes_half_written_reports_and_nothing_that_is_not_ours(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=5)
    whole, half, damaged = (keep(store, 1.7e9 + second) for second in range(3))
    (tmp_path / f"{half}.json").unlink()
    (tmp_path / f"{damaged}.json").write_text("{", encoding="utf-8")
    killed_over(tmp_path / f"{half}.json")
    (tmp_path / "holiday.html").write_text("mine", encoding="utf-8")
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    assert [report.name for report in ReportStore(tmp_path, keep=5).entries()] == [whole]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{whole}.html", f"{whole}.json", f"{damaged}.json", "holiday.html", "notes.json"}


@pytest.mark.parametrize("name", ["../secret", "", ".", "nothing", "20260101T000000_a_b_c_d_00000000"])
def test_a_name_that_is_no_report_leads_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.html").write_text("secret", encoding="utf-8")
    assert ReportStore(tmp_path / "reports", keep=5).path(name, "html") is None


def test_a_report_that_someone_deleted_is_not_there(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=5)
    name = keep(store, 1.7e9)
    (tmp_path / f"{name}.html").unlink()
    assert store.path(name, "html") is None


def test_a_folder_that_has_vanished_fails_loudly_and_lists_nothing(tmp_path: Path) -> None:
    store = ReportStore(tmp_path / "reports", keep=5)
    (tmp_path / "reports").rmdir()
    with pytest.raises(OSError, match="No such file"):
        keep(store, 1.7e9)
    assert store.entries() == ()


def test_a_value_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = ReportStore(tmp_path, keep=5)
    with pytest.raises(ValueError, match="JSON"):
        store.write(ReportDocument("", {"x": float("nan")}), model="m", version="1", slice_="all", window="1h", at=0)
    assert list(tmp_path.iterdir()) == []
