"""Every panel's query, run against a real Prometheus that scrapes a full page of the exporter's series."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_exposition import DAMAGED, EMPTY, MODEL, VALUES, exposition
from grafana_queries import NAMES, ROOT, annotation_queries, load, panel_queries, variable_queries

from programs import PATIENCE_S, free_port, program, until


class _Exporter(BaseHTTPRequestHandler):
    """``/metrics`` is the exporter's page; any other path is an empty one, enough for ``up``."""

    def do_GET(self) -> None:
        body = exposition().encode() if self.path == "/metrics" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Prometheus:
    """The query API of a running Prometheus."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/-/ready", timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Run an instant query; a query that Prometheus refuses raises."""
        data = self._get("/api/v1/query", {"query": expr})
        return data["result"] if data["resultType"] == "vector" else [data["result"]]

    def legal_over(self, expr: str, seconds: float) -> bool:
        """Run a range query over the last ``seconds``."""
        now = time.time()
        window = {"start": str(now - seconds), "end": str(now), "step": "1"}
        return bool(self._get("/api/v1/query_range", {"query": expr, **window})["resultType"] == "matrix")

    def label_values(self, selector: str, label: str) -> list[str]:
        values: list[str] = self._get(f"/api/v1/label/{label}/values", {"match[]": selector})
        return values

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._address}{path}?{query}", timeout=PATIENCE_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


def _recording_rules() -> dict[str, Any]:
    """The shipped recording rules. Alerts stay out: their ``for`` would make this test wait for minutes."""
    groups = []
    for path in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            rules = [rule for rule in group["rules"] if "record" in rule]
            if rules:
                groups.append({"name": group["name"], "rules": rules})
    return {"groups": groups}


def _configure(directory: Path, exporter: int) -> Path:
    (directory / "rules.yml").write_text(yaml.safe_dump(_recording_rules()), encoding="utf-8")
    jobs = {"visiondrift": "/metrics", "prometheus": "/up", "alertmanager": "/up", "grafana": "/up"}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": job, "metrics_path": path, "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}
            for job, path in jobs.items()
        ],
    }
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Prometheus]:
    """A Prometheus that has scraped the page a few times and evaluated the recording rules."""
    directory = tmp_path_factory.mktemp("prometheus")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    command = [
        program("prometheus", package="prometheus"),
        f"--config.file={_configure(directory, server.server_port)}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            api = _Prometheus(f"http://127.0.0.1:{port}")
            _wait_for_data(api, process, directory / "log")
            yield api
        finally:
            process.terminate()
            server.shutdown()
            server.server_close()


def _wait_for_data(api: _Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the slowest kind of query answers: a rate over recorded time, and a ratio of two recorded series."""
    needed = (
        "rate(visiondrift_events_stored_total[10s]) > 0",
        'visiondrift:signal_threshold:ratio{signal="invalid_ratio"}',
    )

    def answered() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        return api.ready() and all(api.query(expr) for expr in needed)

    until(answered, every=0.2, what="data in Prometheus")


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_every_panel_returns_numbers(prometheus: _Prometheus, name: str) -> None:
    empty = []
    for panel, expr in panel_queries(load(name), VALUES, rate_interval="10s"):
        samples = prometheus.query(expr)
        if not samples or any(_value(sample) != _value(sample) for sample in samples):
            empty.append((panel, expr, samples))
    assert not empty


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_every_panel_is_legal_over_a_time_range(prometheus: _Prometheus, name: str) -> None:
    for panel, expr in panel_queries(load(name), VALUES, rate_interval="10s"):
        assert prometheus.legal_over(expr, 5), panel


@pytest.mark.parametrize("name", NAMES)
def test_every_annotation_finds_the_firing_alert(prometheus: _Prometheus, name: str) -> None:
    queries = annotation_queries(load(name), VALUES)
    assert len(queries) == 2
    for title, expr in queries:
        assert [sample["metric"]["slice"] for sample in prometheus.query(expr)] == [DAMAGED], title


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_offers_values(prometheus: _Prometheus, name: str) -> None:
    offered = {v.variable: prometheus.label_values(v.selector, v.label) for v in variable_queries(load(name), VALUES)}
    assert all(offered.values()), offered
    assert offered["model"] == [MODEL]
    assert offered["exporter_url"] == ["http://localhost:9109"]


def test_the_state_tile_shows_the_worst_verdict(prometheus: _Prometheus) -> None:
    assert _answer(prometheus, "overview", "Is anything wrong?") == {"": 3.0}


def test_the_table_has_a_verdict_for_every_camera_and_names_the_damaged_one(prometheus: _Prometheus) -> None:
    verdicts, worst = _samples(prometheus, "overview", "Every model and camera, worst first")[:2]
    by_slice = {s["metric"]["slice"]: _value(s) for s in verdicts if s["metric"]["window"] == "1h"}
    assert by_slice == {"all": 1.0, "camera=platform-1": 1.0, DAMAGED: 3.0, EMPTY: 0.0}
    beyond = {s["metric"]["slice"] for s in worst if _value(s) >= 1}
    assert beyond == {DAMAGED}
    assert EMPTY not in {s["metric"]["slice"] for s in worst}, "too few samples: no score, rather than a zero"
    assert all(s["metric"]["signal"] for s in worst)


def test_the_table_has_one_row_for_each_window(prometheus: _Prometheus) -> None:
    for samples in _samples(prometheus, "overview", "Every model and camera, worst first"):
        keys = [tuple(s["metric"].get(label) for label in ("model", "version", "slice", "window")) for s in samples]
        assert len(set(keys)) == len(keys)


def test_evidence_is_drawn_as_a_share_of_its_warning_level_slice_by_slice(prometheus: _Prometheus) -> None:
    (samples,) = _samples(prometheus, "overview", "Evidence of drift, of its level")
    shares = {s["metric"]["slice"]: round(_value(s), 2) for s in samples if s["metric"]["window"] == "1h"}
    assert shares == {"all": 0.33, "camera=platform-1": 0.33, DAMAGED: 2.0}


def test_an_estimate_that_is_not_valid_is_kept_off_the_overview(prometheus: _Prometheus) -> None:
    (samples,) = _samples(prometheus, "overview", "Estimated accuracy by slice")
    assert {s["metric"]["slice"] for s in samples} == {"all", "camera=platform-1", DAMAGED}


def test_firing_alerts_are_listed_with_how_long_they_have_been_active(prometheus: _Prometheus) -> None:
    (samples,) = _samples(prometheus, "overview", "Firing alerts")
    assert {s["metric"]["severity"] for s in samples} == {"warning", "critical"}
    assert all(300 <= _value(s) < 330 for s in samples)


def test_the_cameras_page_names_the_camera_that_is_not_well_and_its_fault(prometheus: _Prometheus) -> None:
    assert _answer(prometheus, "cameras", "Cameras that are not well") == {"": 1.0}
    (states,) = _samples(prometheus, "cameras", "Health of each camera")
    assert {s["metric"]["slice"]: _value(s) for s in states} == {"all": 0, "camera=platform-1": 0, DAMAGED: 9, EMPTY: 0}
    since, _ = _samples(prometheus, "cameras", "Faults")
    assert [(s["metric"]["slice"], s["metric"]["fault"]) for s in since] == [(DAMAGED, "black")]


def test_the_model_dashboard_counts_the_alerts_of_its_slice_only(prometheus: _Prometheus) -> None:
    dashboard = load("model")
    for slice_, expected in ((DAMAGED, [1.0, 1.0]), ("camera=platform-1", [0.0, 0.0])):
        queries = [q for q in panel_queries(dashboard, {**VALUES, "slice": slice_}) if q.panel == "Firing alerts"]
        assert [_value(prometheus.query(q.expr)[0]) for q in queries] == expected


def test_an_unjudged_slice_keeps_its_thresholds_and_has_no_score(prometheus: _Prometheus) -> None:
    queries = [q for q in panel_queries(load("model"), {**VALUES, "slice": EMPTY}) if q.panel == "Embedding drift"]
    assert [len(prometheus.query(q.expr)) for q in queries] == [0, 1, 1]


def _samples(prometheus: _Prometheus, name: str, panel: str) -> list[list[dict[str, Any]]]:
    queries = [q for q in panel_queries(load(name), VALUES, rate_interval="10s") if q.panel == panel]
    assert queries, panel
    return [prometheus.query(q.expr) for q in queries]


def _answer(prometheus: _Prometheus, name: str, panel: str) -> dict[str, float]:
    (samples,) = _samples(prometheus, name, panel)
    return {",".join(sample["metric"].values()): _value(sample) for sample in samples}


def _value(sample: Any) -> float:
    pair = sample["value"] if isinstance(sample, dict) else sample
    return float(pair[1])
