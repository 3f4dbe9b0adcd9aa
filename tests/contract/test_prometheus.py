"""Prometheus's configuration and rules: valid in the oldest supported dialect, tested, and complete.

The decision hidden here: what every alert must have. The rules' behaviour is stated in prometheus/rule_tests/.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from programs import PATIENCE_S, program
from visiondrift.publish.metrics import catalogue
from visiondrift.signals import SIGNALS

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "prometheus"
RULE_FILES = sorted((HOME / "rules").glob("*.yml"))
RULE_TESTS = sorted((HOME / "rule_tests").glob("*.yml"))
RUNBOOK = ROOT / "docs" / "runbook.md"

ANNOTATIONS = {
    "summary", "description", "observed", "expected", "timeframe", "owner", "runbook_url", "dashboard_url",
}  # fmt: skip
ALERTS_BY_SIGNAL = {
    "drift_evidence": "VisionDriftEvidence",
    "accumulated_evidence": "VisionDriftAccumulatedEvidence",
    "embedding_drift": "VisionDriftEmbeddingDrift",
    "clip_similarity": "VisionDriftLowSimilarity",
    "image_drift": "VisionDriftImageDrift",
    "prediction_drift": "VisionDriftPredictionDrift",
    "confidence_drift": "VisionDriftConfidenceDrift",
    "confidence_drop": "VisionDriftConfidenceDrop",
    "low_confidence_rise": "VisionDriftLowConfidence",
    "accuracy_drop": "VisionDriftAccuracyDrop",
    "missing_ratio": "VisionDriftMissingData",
    "invalid_ratio": "VisionDriftInvalidData",
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULE_FILES for group in load(path)["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def texts() -> Iterator[str]:
    """Every expression and every text of the rules: all places where a metric can be named."""
    for rule in rules():
        yield rule["expr"]
        yield from rule.get("annotations", {}).values()


def metric_names_in_rules() -> set[str]:
    """Every ``visiondrift_*`` series that a rule or an annotation asks for, as spelled there."""
    return {name for text in texts() for name in re.findall(r"\bvisiondrift_[a-z0-9_]+", text)}


def run(*arguments: str) -> str:
    done = subprocess.run(
        [program("promtool", package="prometheus"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_configuration_is_valid() -> None:
    """The installed promtool, 2.42 in Debian 12, accepts prometheus.yml and every rule file that it names."""
    output = run("check", "config", str(HOME / "prometheus.yml"))
    assert f"{len(RULE_FILES)} rule files found" in output


def test_rules_are_valid_and_none_is_a_duplicate() -> None:
    assert "duplicate" not in run("check", "rules", *map(str, RULE_FILES))


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_behave_as_stated(path: Path) -> None:
    """Each alert fires, stays silent, survives a failed scrape, and says what the rule tests say."""
    assert "SUCCESS" in run("test", "rules", str(path))


def test_scrape_jobs_are_those_that_the_rules_name() -> None:
    """A renamed job would make VisionDriftExporterAbsent fire for ever, and VisionDriftTargetDown never."""
    config = load(HOME / "prometheus.yml")
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert jobs == {"visiondrift", "prometheus", "alertmanager", "grafana"}
    named = set(re.findall(r'job=~?"([^"]+)"', " ".join(rule["expr"] for rule in ALERTS)))
    assert {job for names in named for job in names.split("|")} == jobs
    assert config["rule_files"] == ["rules/*.yml"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_is_complete(alert: dict[str, Any]) -> None:
    """Labels to route by, every annotation, and a link to its own section of the runbook."""
    annotations, labels = alert["annotations"], alert["labels"]
    assert labels["component"] in {"data", "camera", "intake", "monitor", "stack"}
    of_data = {"report_url", "images_url", "spread", "cause", "accuracy"}
    wanted = ANNOTATIONS | {"data": of_data, "camera": {"images_url"}}.get(labels["component"], set())
    assert set(annotations) == wanted
    assert annotations["runbook_url"].endswith(f"#{alert['alert'].lower()}")
    if labels["component"] == "data":
        # The severity is that of the threshold series that was crossed.
        assert "severity" not in labels
        assert re.search(r"[<>]= on \(model, version, slice, window\) group_right \(\)", alert["expr"])
        assert (alert["for"], alert["keep_firing_for"]) == ("1m", "5m")
    else:
        assert labels["severity"] in {"critical", "warning", "none"}
    assert not any("$value" in str(value) for value in labels.values()), "a value in a label is a new alert each time"


def test_every_signal_has_an_alert_in_its_bad_direction() -> None:
    """A signal that is added to the vocabulary needs an alert, a score, a threshold and a ratio in the rules."""
    expressions = {rule["alert"]: rule["expr"] for rule in ALERTS}
    ratios = {
        rule["labels"]["signal"] for rule in rules() if rule.get("record") == "visiondrift:signal_threshold:ratio"
    }
    assert set(ALERTS_BY_SIGNAL) == ratios == {signal.name for signal in SIGNALS}
    for signal in SIGNALS:
        expression = expressions[ALERTS_BY_SIGNAL[signal.name]]
        score = f"visiondrift:{signal.name}:{'min3m' if signal.bad_when == 'low' else 'max3m'}"
        assert score in expression
        assert score in RECORDED
        assert f"visiondrift:{signal.name}_threshold:last3m" in expression
        assert ("<= on" if signal.bad_when == "low" else ">= on") in expression


def test_every_metric_that_a_rule_names_exists() -> None:
    """A misspelt metric makes an alert that never fires."""
    known = set(catalogue())
    known |= {name + suffix for name in known for suffix in ("_bucket", "_sum", "_count")}
    assert metric_names_in_rules() <= known


def test_every_recorded_series_that_a_rule_names_is_recorded() -> None:
    named = {name for text in texts() for name in re.findall(r"\bvisiondrift:[a-z0-9_]+:[a-z0-9_]+", text)}
    assert named <= RECORDED


def test_every_alert_is_tested_both_ways() -> None:
    """The rule tests hold, for each alert, a time when it fires and one when it must not."""
    fires, silent = set(), set()
    for path in RULE_TESTS:
        for group in load(path)["tests"]:
            for case in group.get("alert_rule_test", []):
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    names = {alert["alert"] for alert in ALERTS}
    assert fires == names
    assert silent == names - {"Watchdog"}


def test_every_alert_and_severity_is_expected_somewhere() -> None:
    """Both severities of every data alert, and that of each other alert, occur in the rule tests."""
    expected = {
        (case["alertname"], alert["exp_labels"]["severity"])
        for path in RULE_TESTS
        for group in load(path)["tests"]
        for case in group.get("alert_rule_test", [])
        for alert in case["exp_alerts"]
    }
    data = {alert["alert"] for alert in ALERTS if alert["labels"]["component"] == "data"}
    wanted = {(name, severity) for name in data for severity in ("critical", "warning")}
    wanted |= {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS if alert["alert"] not in data}
    assert expected == wanted


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    """Each alert links to #<its name in lower case>, which is the anchor of its heading."""
    headings = re.findall(r"^## (\S+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted({alert["alert"] for alert in ALERTS})


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a duration as a number (3.x): write seconds", r"[<>=]\s*\d+[smhdwy]\b"),
        ("urlQueryEscape: use urlquery", r"urlQueryEscape"),
        ("now in a template: query time()", r"{{[^}]*\bnow\b"),
        ("a quoted metric name (UTF-8 names)", r'\{\s*"[^"]+"\s*[,}]'),
        (
            "a function younger than 2.42",
            r"\b(info|limitk|limit_ratio|double_exponential_smoothing|sort_by_label)\s*\(",
        ),
    ],
)
def test_rules_keep_to_the_dialect_of_2_42(what: str, pattern: str) -> None:
    """What only newer versions read would leave an older Prometheus without any rule; promtool here may be newer."""
    assert [text for text in texts() if re.search(pattern, text)] == [], what


def test_rule_groups_keep_to_the_keys_of_2_42() -> None:
    """Group labels and query_offset are younger."""
    for path in RULE_FILES:
        for group in load(path)["groups"]:
            assert set(group) <= {"name", "interval", "limit", "rules"}


def test_no_rule_outlives_its_exporter() -> None:
    """Data alerts last until ExporterDown fires and mutes them, or a dead exporter would look like a recovery."""
    seconds = {"15s": 15, "1m": 60, "3m": 180, "5m": 300}
    down = next(alert for alert in ALERTS if alert["alert"] == "VisionDriftExporterDown")
    interval = load(HOME / "prometheus.yml")["global"]
    until_down = (
        seconds[down["for"]] + seconds[interval["scrape_interval"]] + 2 * seconds[interval["evaluation_interval"]]
    )
    for alert in ALERTS:
        if alert["labels"]["component"] == "data":
            assert seconds[alert["keep_firing_for"]] > until_down
