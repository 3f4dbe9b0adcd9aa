"""A real Prometheus with the shipped configuration: scores on a page become alerts that a stand-in Alertmanager gets.

The decision hidden here: what is "shipped". The directory is copied; in the copy the addresses point at the stand-ins
and the waiting times are shortened to a second. Nothing else differs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from programs import PATIENCE_S, free_port, program, until
from visiondrift.signals import SIGNALS

ROOT = Path(__file__).resolve().parents[2]
SCOPE = 'model="digits-demo",version="1",slice="camera=left",window="2m"'
ALL = SCOPE.replace("camera=left", "all")


def exposition() -> str:
    """A page of /metrics on which every signal of one camera is beyond both thresholds."""
    now = time.time()
    lines = [
        'visiondrift_links_info{exporter_url="http://e",grafana_url="http://g",runbook_url="http://r"} 1',
        f"visiondrift_window_samples{{{SCOPE}}} 213",
        f"visiondrift_mean_confidence{{{SCOPE}}} 0.62",
        f"visiondrift_reference_mean_confidence{{{SCOPE}}} 0.93",
        f"visiondrift_low_confidence_ratio{{{SCOPE}}} 0.5",
        f"visiondrift_embedding_mean_moved{{{SCOPE}}} 0.42",
        f"visiondrift_embedding_new_share{{{SCOPE}}} 0.12",
        f"visiondrift_embedding_low_variance_share{{{SCOPE}}} 0.7",
        f"visiondrift_estimate_valid{{{SCOPE}}} 1",
        f"visiondrift_montage_last_timestamp_seconds{{{SCOPE}}} {now}",
        f'visiondrift_spread_slices{{{ALL},state="moved"}} 1',
        f'visiondrift_spread_slices{{{ALL},state="judged"}} 3',
        f'visiondrift_drift_cause{{{SCOPE},cause="darker",property="brightness",agreed="property, signature"}} 1',
        f'visiondrift_image_property_drift{{{SCOPE},property="brightness"}} 4.2',
        f'visiondrift_image_property_drift_threshold{{{SCOPE},property="brightness",severity="warning"}} 1.2',
        f'visiondrift_image_property_mean{{{SCOPE},property="brightness"}} 0.11',
        f'visiondrift_image_property_expected{{{SCOPE},property="brightness"}} 0.43',
        f"visiondrift_estimated_accuracy{{{SCOPE}}} 0.84",
        f'visiondrift_estimated_accuracy_bound{{{SCOPE},bound="low"}} 0.8',
        f'visiondrift_estimated_accuracy_bound{{{SCOPE},bound="high"}} 0.88',
        f"visiondrift_reference_accuracy{{{SCOPE}}} 0.93",
        f'visiondrift_last_event_timestamp_seconds{{model="digits-demo",version="1",slice="all"}} {now}',
        f'visiondrift_events_rejected_total{{model="digits-demo",reason="bad_image"}} {now}',
        'visiondrift_input_stopped_after_seconds{model="digits-demo",model_owner="vision-team"} 600',
        f'visiondrift_evaluation_last_success_timestamp_seconds{{model="digits-demo",version="1"}} {now}',
        'visiondrift_evaluation_interval_seconds{model="digits-demo"} 60',
    ]
    for signal in SIGNALS:
        labels = SCOPE + (',class="3"' if signal.name == "confidence_drift" else "")
        score, levels = (0.6, (0.9, 0.8)) if signal.bad_when == "low" else (0.6, (0.3, 0.5))
        lines.append(f"visiondrift_{signal.name}{{{labels}}} {score}")
        for severity, level in zip(("warning", "critical"), levels, strict=True):
            owner = f'severity="{severity}",model_owner="vision-team"'
            lines.append(f"visiondrift_{signal.name}_threshold{{{SCOPE},{owner}}} {level}")
    return "\n".join(lines) + "\n"


@dataclass
class World:
    """What stands around Prometheus: the exporter's page, and an Alertmanager that keeps what it gets."""

    address: str = ""
    alerts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def keep(self, body: bytes) -> None:
        for alert in json.loads(body):
            self.alerts[alert["labels"]["alertname"], alert["labels"].get("severity", "")] = alert


@pytest.fixture
def world() -> Iterator[World]:
    around = World()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            around.keep(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    around.address = f"127.0.0.1:{server.server_address[1]}"
    yield around
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def prometheus(tmp_path: Path, world: World) -> Iterator[None]:
    """Prometheus on a copy of the shipped directory, sped up."""
    binary = program("prometheus", package="prometheus")
    own = f"127.0.0.1:{free_port()}"
    home = tmp_path / "prometheus"
    shutil.copytree(ROOT / "prometheus", home)
    config = home / "prometheus.yml"
    text = config.read_text("utf-8").replace("interval: 15s", "interval: 1s").replace("timeout: 10s", "timeout: 1s")
    for name in ("exporter:9109", "alertmanager:9093"):
        text = text.replace(name, world.address)
    config.write_text(text.replace("localhost:9090", own), "utf-8")
    for path in (home / "rules").glob("*.yml"):
        path.write_text(path.read_text("utf-8").replace("for: 1m\n", "for: 1s\n"), "utf-8")
    command = [
        binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={own}", "--web.external-url=http://ops.example:9090", "--rules.alert.resend-delay=1s",
    ]  # fmt: skip
    log = (tmp_path / "prometheus.log").open("wb")
    with subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)
            log.close()


@pytest.mark.usefixtures("prometheus")
def test_every_drift_reaches_alertmanager_with_its_texts(world: World) -> None:
    """All signals at both severities and the Watchdog arrive, their texts expanded, their links whole."""
    rules = yaml.safe_load((ROOT / "prometheus" / "rules" / "data_alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    wanted = {(rule["alert"], severity) for rule in rules for severity in ("critical", "warning")}
    wanted.add(("Watchdog", "none"))
    until(lambda: wanted <= set(world.alerts), what=f"all of {sorted(wanted)}")
    assert set(world.alerts) == wanted, "nothing else fires"
    for alert in world.alerts.values():
        for name, text in alert["annotations"].items():
            assert text.strip(), name
            assert not any(sign in text for sign in ("<error", "<no value>", "unknown", "%!", "{{")), (name, text)
    drift = world.alerts["VisionDriftEmbeddingDrift", "critical"]
    assert drift["annotations"]["observed"] == "60.0% of CLIP columns moved (2m window, 213 images)"
    assert drift["annotations"]["expected"] == "below 50.0% (critical threshold)"
    assert drift["annotations"]["accuracy"] == "estimated 0.84 (0.80-0.88), reference 0.93"
    assert drift["annotations"]["runbook_url"] == "http://r#visiondriftembeddingdrift"
    assert drift["generatorURL"].startswith(
        "http://ops.example:9090/graph?g0.expr=visiondrift%3Aembedding_drift%3Amax3m"
    )
    assert max(len(alert["generatorURL"]) for alert in world.alerts.values()) < 3000, "Slack cuts longer links"
