"""The exposition: what a scrape sees of a snapshot, and that nothing dead or half-known is in it."""

import math
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from visiondrift.drift.explain.shift import SliceShift, Spread
from visiondrift.drift.judge import BlockCount, Judgement, Levels, WindowEvaluation
from visiondrift.drift.one_cause import CommonCauses
from visiondrift.prediction import INGEST_FAILURES, KEPT, REASONS
from visiondrift.publish.metrics import Metrics, catalogue
from visiondrift.publish.snapshot import Evaluation, Links, ModelState, ReferenceState, Snapshot
from visiondrift.signals import SIGNALS, VERDICTS

LINKS = Links("http://exporter", "http://grafana", "http://prometheus", "http://runbook")
SCOPE = {"model": "trains", "version": "3", "slice": "camera=platform-2", "window": "1h"}


def judged(signal: str, score: float | None, *, warning: float | None = 0.3, critical: float | None = 0.5) -> Judgement:
    verdict = "insufficient" if score is None else "ok"
    return Judgement(signal, score, Levels(warning=warning, critical=critical), verdict, 500)


def snapshot_of(*judgements: Judgement, **window: object) -> Snapshot:
    evaluated = WindowEvaluation(
        slice="camera=platform-2", window="1h", samples=500, min_samples=200, judgements=judgements, **window
    )
    model = ModelState(
        name="trains",
        owner="rail-vision",
        evaluate_every=300.0,
        input_stopped_after=3600.0,
        reference=ReferenceState("trains-spring", rows=9000, created=1_700_000_000.0),
        evaluations=(Evaluation("trains", "3", 1_800_000_000.0, 0.4, (evaluated,)),),
        newest={("3", "all"): 1_799_999_990.0},
    )
    return Snapshot(links=LINKS, models=(model,), log_events=7, config_loaded_at=1.0)


def scrape(metrics: Metrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = metrics.render("text/plain")[0].decode()
    series: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, []).append((sample.labels, sample.value))
    return series


def scraped(snapshot: Snapshot) -> dict[str, list[tuple[dict[str, str], float]]]:
    metrics = Metrics(lambda: snapshot)
    metrics.declare(model.name for model in snapshot.models)
    return scrape(metrics)


def test_a_score_stands_beside_its_thresholds_with_the_owner_on_them():
    series = scraped(snapshot_of(judged("embedding_drift", 0.42)))
    assert series["visiondrift_embedding_drift"] == [(SCOPE, 0.42)]
    assert series["visiondrift_embedding_drift_threshold"] == [
        ({**SCOPE, "severity": "warning", "model_owner": "rail-vision"}, 0.3),
        ({**SCOPE, "severity": "critical", "model_owner": "rail-vision"}, 0.5),
    ]


def test_slices_with_one_cause_say_so_and_others_do_not():
    """The rules label levels by it, and Alertmanager mutes by that."""
    spread = Spread(
        slices=tuple(SliceShift(f"camera={n}", 1e-9, n < 2, 0.5 * (n < 2), 0.9, n < 2) for n in range(3)),
        new={"camera=x": 0.25},
        mix_explained=0.4,
    )
    windows = tuple(
        WindowEvaluation(name, "1h", 500, 200, (judged("drift_evidence", 9.0),), spread=of_all)
        for name, of_all in (("all", spread), ("camera=0", None), ("camera=1", None), ("camera=2", None))
    )
    snapshot = snapshot_of()
    causes = CommonCauses().after(windows, now=9.0, lengths={"1h": 3600.0})
    evaluation = replace(snapshot.models[0].evaluations[0], windows=causes.marked(windows))
    series = scraped(replace(snapshot, models=(replace(snapshot.models[0], evaluations=(evaluation,)),)))
    one_cause = {given["slice"]: value for given, value in series["visiondrift_one_cause"]}
    assert one_cause == {"all": 1.0, "camera=0": 1.0, "camera=1": 1.0, "camera=2": 0.0}
    assert [value for _, value in series["visiondrift_common_cause_slices"]] == [2.0]
    shares = {given["slice"]: value for given, value in series["visiondrift_slice_shift_share"]}
    assert shares == {"camera=0": 0.5, "camera=1": 0.5, "camera=2": 0.0}
    assert {given["state"]: value for given, value in series["visiondrift_spread_slices"]} == {"judged": 3, "moved": 2}
    assert [value for _, value in series["visiondrift_mix_explained"]] == [0.4]
    assert [value for _, value in series["visiondrift_unknown_slice_ratio"]] == [0.25]
    assert [value for _, value in series["visiondrift_silent_slice_ratio"]] == [0.0]


def test_an_insufficient_score_is_absent_and_the_window_says_why():
    series = scraped(snapshot_of(judged("embedding_drift", None)))
    assert "visiondrift_embedding_drift" not in series
    assert series["visiondrift_window_samples"] == [(SCOPE, 500.0)]
    assert series["visiondrift_window_min_samples"] == [(SCOPE, 200.0)]
    shown = {labels["verdict"]: value for labels, value in series["visiondrift_verdict"]}
    assert shown == {verdict: float(verdict == "insufficient") for verdict in VERDICTS}


def test_confidence_drift_has_a_series_for_each_class_and_thresholds_without_a_class():
    series = scraped(snapshot_of(judged("confidence_drift", 0.9), class_drift={"train": 0.9, "tram": 0.1}))
    assert series["visiondrift_confidence_drift"] == [
        ({**SCOPE, "class": "train"}, 0.9),
        ({**SCOPE, "class": "tram"}, 0.1),
    ]
    assert all("class" not in labels for labels, _ in series["visiondrift_confidence_drift_threshold"])


@pytest.mark.parametrize(
    ("warning", "critical", "missing"), [(None, None, 1.0), (0.3, None, 0.0), (None, 0.5, 0.0), (0.3, 0.5, 0.0)]
)
def test_a_signal_without_any_threshold_is_pointed_out(warning, critical, missing):
    series = scraped(snapshot_of(judged("embedding_drift", 0.1, warning=warning, critical=critical)))
    assert series["visiondrift_signal_threshold_missing"] == [
        ({"model": "trains", "signal": "embedding_drift"}, missing)
    ]


def lacking(**window: object) -> list[float]:
    judgement = Judgement("drift_evidence", None, Levels(why="no null"), "insufficient", 500)
    rows = scraped(snapshot_of(judgement, **window)).get("visiondrift_calibration_lacking", [])
    return [value for _, value in rows]


def test_a_calibration_is_lacking_where_the_reference_has_none_or_too_few_blocks():
    assert lacking() == [1.0]
    assert lacking(block_count=BlockCount(window=0.0, reference=39, needed=40)) == [1.0]
    assert lacking(block_count=BlockCount(window=12.0, reference=400, needed=48)) == [1.0]


def test_a_window_that_is_itself_too_short_lacks_no_calibration():
    assert lacking(block_count=BlockCount(window=2.0, reference=400, needed=40)) == [0.0]


def test_a_calibrated_window_lacks_nothing_and_one_of_fixed_levels_has_no_say():
    assert scraped(snapshot_of(judged("drift_evidence", 1.0), block_count=BlockCount(12.0, 400, 48)))[
        "visiondrift_calibration_lacking"
    ] == [(SCOPE, 0.0)]
    assert "visiondrift_calibration_lacking" not in scraped(snapshot_of(judged("embedding_drift", 0.1)))


def test_counters_exist_at_zero_before_anything_happens():
    series = scraped(snapshot_of())
    reasons = {labels["reason"] for labels, value in series["visiondrift_events_rejected_total"] if value == 0.0}
    assert reasons == set(REASONS)
    assert {labels["reason"] for labels, _ in series["visiondrift_ingest_failures_total"]} == set(INGEST_FAILURES)
    assert ({"model": "trains"}, 0.0) in series["visiondrift_events_received_total"]
    assert {labels["why"] for labels, _ in series["visiondrift_events_kept_total"]} == set(KEPT)


def test_a_model_that_left_the_configuration_leaves_the_exposition():
    current = snapshot_of(judged("embedding_drift", 0.42))
    metrics = Metrics(lambda: current)
    metrics.declare(["trains"])
    metrics.count("events_received", 5, model="trains")
    metrics.observe("evaluation_duration_seconds", 0.1, model="trains")
    current = replace(current, models=())
    metrics.declare([])
    text = metrics.render("text/plain")[0].decode()
    assert 'model="trains"' not in text


def test_a_model_that_is_not_declared_is_counted_as_unknown():
    metrics = Metrics(lambda: Snapshot(links=LINKS))
    metrics.declare(["trains"])
    metrics.count("events_received", 2, model="some-name-a-client-made-up")
    assert ({"model": "unknown"}, 2.0) in scrape(metrics)["visiondrift_events_received_total"]


def test_no_series_is_nan_and_no_created_gauges_are_added():
    series = scraped(snapshot_of(judged("embedding_drift", 0.42)))
    assert not [name for name, rows in series.items() for _, value in rows if math.isnan(value)]
    assert not [name for name in series if name.endswith("_created")]


def test_every_series_on_the_page_is_in_the_catalogue_with_its_labels():
    series = scraped(snapshot_of(*(judged(signal.name, 0.1) for signal in SIGNALS), class_drift={"train": 0.1}))
    known = catalogue()
    for name, rows in series.items():
        base = name
        for suffix in ("_bucket", "_count", "_sum"):
            base = base if base in known else base.removesuffix(suffix)
        assert base in known, name
        assert all(set(labels) - {"le"} <= set(known[base]) for labels, _ in rows), name


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("text/plain", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
def test_the_format_follows_the_accept_header(accept, content_type):
    body, given = Metrics(lambda: Snapshot(links=LINKS)).render(accept)
    assert given.startswith(content_type)
    assert (b"# EOF" in body) == ("openmetrics" in accept)
