"""A real Alertmanager with the shipped configuration, and a Slack that holds it to Slack's documented limits.

The decision hidden here: what is "shipped". The directory is copied; in the copy the path of the secret is redirected
and the waiting times are shortened. Nothing else differs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from programs import PATIENCE_S, free_port, program, until
from slack_standin import Slack, server_of

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = Path(__file__).with_name("test_alertmanager_goldens")
QUIET_S = 2.0  # more than three of the shortened group intervals


@pytest.fixture
def slack() -> Iterator[Slack]:
    standin = Slack()
    server = server_of(standin, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    standin.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield standin
    server.shutdown()
    server.server_close()
    thread.join()
    assert standin.refused == []


@dataclass
class Alertmanager:
    """A running Alertmanager."""

    url: str
    secrets: Path

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
            text: str = answer.read().decode()
            return text

    def ready(self) -> bool:
        try:
            return bool(self.get("/-/ready"))
        except (urllib.error.URLError, OSError):
            return False

    def post(self, *alerts: dict[str, Any]) -> None:
        body = json.dumps(alerts).encode()
        request = urllib.request.Request(
            self.url + "/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert answer.status == 200


@pytest.fixture
def alertmanager(tmp_path: Path, slack: Slack) -> Iterator[Alertmanager]:
    """Alertmanager on a copy of the shipped directory, its secret in place, its clock sped up."""
    binary = program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    home = tmp_path / "alertmanager"
    shutil.copytree(ROOT / "alertmanager", home)
    config = (home / "alertmanager.yml").read_text("utf-8").replace("/etc/alertmanager/secrets", str(home / "secrets"))
    config = config.replace("group_wait: 15s", "group_wait: 1s").replace("group_interval: 1m", "group_interval: 500ms")
    (home / "alertmanager.yml").write_text(config, "utf-8")
    (home / "secrets" / "slack_api_url").write_text(slack.url + "/critical-and-warning\n", "utf-8")
    (home / "secrets" / "slack_api_url_example_team").write_text(slack.url + "/example-team\n", "utf-8")
    running = Alertmanager(url=f"http://127.0.0.1:{free_port()}", secrets=home / "secrets")
    command = [
        binary, f"--config.file={home}/alertmanager.yml", f"--storage.path={tmp_path}/data",
        f"--web.listen-address={running.url.removeprefix('http://')}", "--cluster.listen-address=",
        "--web.external-url=http://ops.example:9093",
    ]  # fmt: skip
    log = (tmp_path / "alertmanager.log").open("wb")
    with subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(running.ready, what="a ready Alertmanager")
            yield running
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)
            log.close()


def alert(name: str = "VisionDriftEmbeddingDrift", *, over: bool = False, **labels: str) -> dict[str, Any]:
    """An alert as Prometheus sends it, with the annotations of a golden one."""
    golden = json.loads((GOLDENS / "one.json").read_text("utf-8"))["alerts"][0]
    own = {"severity": "critical", "component": "data", "model": "digits-demo", "version": "1", "window": "2m"}
    own |= {key: value for key, value in labels.items() if value} | {"alertname": name}
    where = own.get("slice", "")
    annotations = golden["annotations"] | {"summary": f"{name} on digits-demo, {where}"}
    # One that began longer than group_wait ago would be told at once, before the others of its request are known: so
    # it begins a while from now, however long it takes to get there.
    minutes = (-2.0, -0.02) if over else (1.0, 5.0)
    starts, ends = (datetime.now(UTC) + timedelta(minutes=count) for count in minutes)
    return {
        "labels": own, "annotations": annotations, "generatorURL": golden["generatorURL"],
        "startsAt": starts.isoformat(), "endsAt": ends.isoformat(),
    }  # fmt: skip


def test_a_drift_is_told_once_and_so_is_its_end(alertmanager: Alertmanager, slack: Slack) -> None:
    """One camera beyond both thresholds, and all slices with it: one message about the camera, and one when it ends."""
    left, both = {"slice": "camera=left"}, {"slice": "all"}
    alertmanager.post(
        alert(**left), alert(**left, severity="warning"), alert(**both), alert(**both, severity="warning"),
        alert("Watchdog", severity="none", component="stack", model="", version="", window=""),
    )  # fmt: skip
    until(lambda: bool(slack.messages), what="the message")
    time.sleep(QUIET_S)
    assert slack.titles() == ["🔴 CRITICAL: VisionDriftEmbeddingDrift on digits-demo, camera=left"]
    message = slack.messages[0]
    assert message["path"] == "/critical-and-warning"
    assert message["username"] == "VisionDrift"
    attachment = message["attachments"][0]
    assert attachment["color"] == "danger"
    *told, since, where, owner = attachment["text"].splitlines()[1:]
    assert told == [
        "Observed: *64.2% of CLIP columns moved (2m window, 213 images)*",
        "Expected: below 50.0% (critical threshold)",
        "When: the last 2m, until 14:05 UTC",
    ]
    assert re.fullmatch(r"Alerting since: \d+ [A-Z][a-z]{2} \d\d:\d\d UTC", since)
    assert (where, owner) == ("Where: digits-demo version 1, camera=left", "Owner: vision-team")
    assert [action["text"] for action in attachment["actions"]] == [
        "Runbook", "Dashboard", "Query", "Silence", "Report",
    ]  # fmt: skip
    assert attachment["actions"][3]["url"].startswith("http://ops.example:9093/#/silences/new?filter=%7Balertname%3D")
    if target := os.environ.get("SLACK_PAYLOAD_OUT"):
        Path(target).write_text(json.dumps(message, indent=2, ensure_ascii=False), "utf-8")

    alertmanager.post(
        *(alert(**slice_, severity=s, over=True) for slice_ in (left, both) for s in ("critical", "warning"))
    )
    until(lambda: len(slack.messages) > 1, what="the end of it")
    time.sleep(QUIET_S)
    assert len(slack.messages) == 2
    assert slack.titles()[1].startswith("✅ RESOLVED: VisionDriftEmbeddingDrift on digits-demo")
    assert slack.messages[1]["attachments"][0]["color"] == "good"


def test_a_dead_exporter_does_not_end_a_drift(alertmanager: Alertmanager, slack: Slack) -> None:
    """The drift's alert ends because its score is gone: nobody is told that it is over."""
    alertmanager.post(alert(slice="camera=left"))
    until(lambda: len(slack.messages) == 1, what="the drift")
    down = {"severity": "critical", "component": "stack", "model": "", "version": "", "window": ""}
    alertmanager.post(alert("VisionDriftExporterDown", **down))
    until(lambda: len(slack.messages) == 2, what="the dead exporter")
    alertmanager.post(alert(slice="camera=left", over=True))
    time.sleep(QUIET_S)
    assert len(slack.messages) == 2
    assert not any("RESOLVED" in title for title in slack.titles())


@pytest.mark.parametrize("name", ["VisionDriftInputStopped", "VisionDriftEvaluationStale"])
def test_what_is_no_longer_seen_is_not_over(alertmanager: Alertmanager, slack: Slack, name: str) -> None:
    """A camera that stops sending, or a model that is no longer evaluated, does not end its drift either."""
    component = "intake" if name == "VisionDriftInputStopped" else "monitor"
    slice_ = "camera=left" if component == "intake" else ""
    alertmanager.post(alert(slice="camera=left"))
    until(lambda: len(slack.messages) == 1, what="the drift")
    alertmanager.post(alert(name, component=component, slice=slice_, version="", window=""))
    until(lambda: len(slack.messages) == 2, what="the other alert")
    alertmanager.post(alert(slice="camera=left", over=True))
    time.sleep(QUIET_S)
    assert not any("RESOLVED" in title for title in slack.titles())


def test_a_camera_that_is_not_well_mutes_its_own_drift_and_no_other(alertmanager: Alertmanager, slack: Slack) -> None:
    """The camera's fault is told, and so is the drift of the other camera; what its events lack is no drift."""
    fault = {"component": "camera", "fault": "black", "window": ""}
    alertmanager.post(
        alert("VisionDriftCameraFault", slice="camera=left", **fault),
        alert(slice="camera=left"),
        alert(slice="camera=left", severity="warning"),
        alert("VisionDriftMissingData", slice="camera=left"),
        alert(slice="camera=right"),
    )
    until(lambda: bool(slack.messages), what="the message")
    time.sleep(QUIET_S)
    told = "\n".join(message["attachments"][0]["text"] for message in slack.messages)
    assert "VisionDriftCameraFault on digits-demo, camera=left" in told
    assert "VisionDriftMissingData on digits-demo, camera=left" in told
    assert "VisionDriftEmbeddingDrift on digits-demo, camera=right" in told
    assert "VisionDriftEmbeddingDrift on digits-demo, camera=left" not in told


def test_a_late_camera_need_not_say_that_its_input_has_stopped(alertmanager: Alertmanager, slack: Slack) -> None:
    late = {"severity": "warning", "slice": "camera=left", "window": ""}
    alertmanager.post(
        alert("VisionDriftCameraFault", component="camera", fault="late", **late),
        alert("VisionDriftInputStopped", component="intake", version="", **late),
    )
    until(lambda: bool(slack.messages), what="the message")
    time.sleep(QUIET_S)
    assert slack.titles() == ["🟠 WARNING: VisionDriftCameraFault on digits-demo, camera=left"]


def test_what_a_window_shows_is_not_told_again_of_the_memories(alertmanager: Alertmanager, slack: Slack) -> None:
    """But where a window is a warning only, memories that are critical speak, and so do those of another camera."""
    alertmanager.post(
        alert("VisionDriftEvidence", slice="camera=left"),
        alert("VisionDriftAccumulatedEvidence", slice="camera=left", window="1h"),
        alert("VisionDriftEvidence", slice="camera=right", severity="warning"),
        alert("VisionDriftAccumulatedEvidence", slice="camera=right", window="1h"),
    )
    until(lambda: len(slack.messages) > 1, what="both messages")
    told = "\n".join(map(str, slack.messages))
    assert "VisionDriftEvidence on digits-demo, camera=left" in told
    assert "VisionDriftAccumulatedEvidence on digits-demo, camera=right" in told
    assert "VisionDriftAccumulatedEvidence on digits-demo, camera=left" not in told


@pytest.mark.parametrize("signal", ["AccuracyDrop", "ConfidenceDrift"])
@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_all_together_have_become_worse_is_not_told_beside_the_camera_that_is_to_blame(
    severity: str, signal: str, alertmanager: Alertmanager, slack: Slack
) -> None:
    """Where that camera is critical: a warning about it does not hide that the model has become worse."""
    alertmanager.post(
        alert("VisionDriftEmbeddingDrift", slice="camera=left", severity=severity),
        alert(f"VisionDrift{signal}", slice="all"),
    )
    until(lambda: any("camera=left" in title for title in slack.titles()), what="the camera's message")
    time.sleep(QUIET_S)
    assert any(signal in title for title in slack.titles()) == (severity == "warning")


def test_what_all_events_lack_is_told_beside_a_camera_that_has_changed(
    alertmanager: Alertmanager, slack: Slack
) -> None:
    """And a camera whose events lack something hides no drift of all of them together."""
    alertmanager.post(
        alert("VisionDriftEmbeddingDrift", slice="camera=left"),
        alert("VisionDriftMissingData", slice="all"),
        alert("VisionDriftMissingData", slice="camera=right", window="1h"),
        alert("VisionDriftEmbeddingDrift", slice="all", window="1h"),
    )
    until(lambda: bool(slack.messages), what="the message")
    time.sleep(QUIET_S)
    told = "\n".join(message["attachments"][0]["text"] for message in slack.messages)
    assert "VisionDriftMissingData on digits-demo, all*" in told
    assert "VisionDriftEmbeddingDrift on digits-demo, all*" in told


def test_two_faults_of_one_camera_are_both_told(alertmanager: Alertmanager, slack: Slack) -> None:
    """A critical fault mutes a warning of the same fault only."""
    both = {"component": "camera", "slice": "camera=left", "window": ""}
    alertmanager.post(
        alert("VisionDriftCameraFault", fault="black", **both),
        alert("VisionDriftCameraFault", fault="clock", severity="warning", **both),
    )
    until(lambda: len(slack.messages) > 1, what="both messages")
    assert {title.split(" ")[1] for title in slack.titles()} == {"CRITICAL:", "WARNING:"}


def test_a_cameras_warning_does_not_hide_that_all_are_critical(alertmanager: Alertmanager, slack: Slack) -> None:
    alertmanager.post(alert(slice="camera=left", severity="warning"), alert(slice="all"))
    until(lambda: len(slack.messages) == 2, what="both messages")
    assert {title.split(" ")[1] for title in slack.titles()} == {"CRITICAL:", "WARNING:"}


def test_one_cause_is_one_message_and_a_camera_that_moved_otherwise_speaks_for_itself(
    alertmanager: Alertmanager, slack: Slack
) -> None:
    same = [alert(slice=f"camera={name}", spread="common") for name in ("left", "right")]
    signal = alert("VisionDriftPredictionDrift", slice="camera=left", spread="common")
    alertmanager.post(*same, signal, alert(slice="all", spread="common"), alert(slice="camera=knocked"))
    until(lambda: bool(slack.messages), what="the message")
    time.sleep(QUIET_S)
    assert len(slack.messages) == 1
    text = slack.messages[0]["attachments"][0]["text"]
    assert sorted(re.findall("Where: (.*)", text)) == [
        "digits-demo version 1, all slices together", "digits-demo version 1, camera=knocked",
    ]  # fmt: skip


def test_what_was_told_of_a_camera_before_the_others_followed_it_is_neither_told_again_nor_as_over(
    alertmanager: Alertmanager, slack: Slack
) -> None:
    alertmanager.post(alert(slice="camera=left"))
    until(lambda: bool(slack.messages), what="the camera's own message")
    alertmanager.post(alert(slice="camera=left", spread="common"), alert(slice="all", spread="common"))
    until(lambda: len(slack.messages) == 2, what="the message of all")
    alertmanager.post(alert(slice="camera=left", over=True))
    time.sleep(QUIET_S)
    told = [message["attachments"][0]["text"] for message in slack.messages[1:]]
    assert {where for text in told for where in re.findall("Where: (.*)", text)} == {
        "digits-demo version 1, all slices together"
    }


def test_a_common_warning_does_not_hide_that_one_of_its_cameras_is_critical(
    alertmanager: Alertmanager, slack: Slack
) -> None:
    alertmanager.post(
        alert(slice="all", severity="warning", spread="common"), alert(slice="camera=left", spread="common")
    )
    until(lambda: len(slack.messages) == 2, what="both messages")
    assert {title.split(" ")[1] for title in slack.titles()} == {"CRITICAL:", "WARNING:"}


def test_cameras_of_a_common_cause_speak_where_all_slices_do_not(alertmanager: Alertmanager, slack: Slack) -> None:
    alertmanager.post(alert(slice="camera=left", spread="common"))
    until(lambda: bool(slack.messages), what="the message")
    assert "camera=left" in slack.titles()[0]


def test_an_owner_with_a_channel_is_told_there(alertmanager: Alertmanager, slack: Slack) -> None:
    alertmanager.post(alert(slice="camera=left", model_owner="example-team"))
    until(lambda: bool(slack.messages), what="the message")
    assert slack.messages[0]["path"] == "/example-team"


def test_without_slacks_url_the_failure_is_counted(alertmanager: Alertmanager, slack: Slack) -> None:
    """A missing secret is no start-up error: the counter that VisionDriftNotificationsFailing reads must move."""
    (alertmanager.secrets / "slack_api_url").unlink()
    pattern = re.compile(r'^alertmanager_notifications_failed_total\{integration="slack".*\} ([1-9].*)$', re.MULTILINE)
    assert pattern.search(alertmanager.get("/metrics")) is None
    alertmanager.post(alert(slice="camera=left"))
    until(lambda: pattern.search(alertmanager.get("/metrics")) is not None, what="the failure")
    assert slack.messages == []
