"""The running exporter, seen from outside: starting, reloading, stopping, starting again; and what it refuses."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter_process import ROOT, Exporter, demo_config, demo_events, running_exporter
from programs import PATIENCE_S, free_port, until
from visiondrift.errors import LogError
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent
from visiondrift.service import Overrides, Service

EVENT = {"id": "a", "model": "digits-demo", "version": "1", "slices": {"camera": "left"}, "confidences": {"3": 0.9}}


def edit(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")


def series(exporter: Exporter, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Label sets of one series -> value."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exporter.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def value(exporter: Exporter, name: str, **labels: str) -> float | None:
    """The value of the series with these labels among its own; None where there is none."""
    found = [v for given, v in series(exporter, name).items() if labels.items() <= dict(given).items()]
    assert len(found) <= 1, found
    return found[0] if found else None


def light_config(folder: Path) -> Path:
    """A configuration whose events bring their embeddings, so that no CLIP is loaded: a quick start and stop."""
    config = demo_config(folder)
    edit(
        config,
        "monitoring.yml",
        "    slices: [camera]\n",
        "    slices: [camera]\n    embedding: {name: x, dimension: 64}\n",
    )
    return config


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """One exporter for the tests that leave it as they find it."""
    with running_exporter(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def exporter(undisturbed: Exporter) -> Exporter:
    """With events of two cameras in its window, which is a minute: the last test may have been long ago."""
    now = time.time()
    for camera in ("left", "right"):
        undisturbed.post(demo_events(camera, 200, now=now, seed=int(now)))
    until(lambda: "camera=left" in undisturbed.windows(), what="an evaluation")
    return undisturbed


def test_it_says_in_one_line_where_it_is_ready(exporter: Exporter) -> None:
    lines = [line for line in exporter.words().splitlines() if "ready" in line]
    assert len(lines) == 1
    assert re.search(rf"VisionDrift [\d.]+ is ready at {exporter.url}/ \(events need no token\)$", lines[0])


def test_on_loopback_it_warns_of_nothing(exporter: Exporter) -> None:
    assert "WARNING" not in exporter.words()
    assert "ERROR" not in exporter.words()


# Reloading


def test_an_edited_threshold_is_on_the_metrics_within_seconds(exporter: Exporter) -> None:
    labels = {"slice": "camera=left", "severity": "warning"}
    name = "visiondrift_missing_ratio_threshold"
    before = value(exporter, name, **labels)
    assert before is not None
    edit(
        exporter.config,
        "thresholds.yml",
        f"missing_ratio: {{warning: {before:g},",
        "missing_ratio: {warning: 0.123,",
    )
    try:
        until(lambda: value(exporter, name, **labels) == 0.123, what="the new threshold")
    finally:
        edit(exporter.config, "thresholds.yml", "{warning: 0.123,", f"{{warning: {before:g},")
    until(lambda: value(exporter, name, **labels) == before, what="the old threshold")


def test_a_bad_edit_keeps_the_last_good_and_says_so_until_it_is_mended(exporter: Exporter) -> None:
    name = "visiondrift_config_last_reload_successful"
    loaded_at = value(exporter, "visiondrift_config_last_reload_success_timestamp_seconds")
    assert loaded_at is not None
    edit(exporter.config, "thresholds.yml", "critical: 0.1}", "critical: lots}")
    try:
        until(lambda: value(exporter, name) == 0, what="a refused configuration")
        assert value(exporter, "visiondrift_missing_ratio_threshold", slice="all", severity="critical") == 0.25
        page = exporter.get("/").text
        assert "The last good one is still in force" in page
        assert "thresholds.yml" in page
        assert "Configuration rejected, the last good one stays in force: " in exporter.words()
        assert value(exporter, "visiondrift_config_last_reload_success_timestamp_seconds") == loaded_at
        assert exporter.get("/readyz").status_code == 200
    finally:
        edit(exporter.config, "thresholds.yml", "critical: lots}", "critical: 0.1}")
    until(lambda: value(exporter, name) == 1, what="an accepted configuration")
    assert "The last good one" not in exporter.get("/").text


def test_a_configuration_that_vanishes_for_a_moment_stops_nothing(exporter: Exporter) -> None:
    """As an editor does it, or a volume that is mounted anew."""
    away = exporter.config.with_name("away")
    exporter.config.rename(away)
    try:
        name = "visiondrift_config_last_reload_successful"
        until(lambda: value(exporter, name) == 0, what="a refused configuration")
        assert exporter.get("/readyz").status_code == 200
    finally:
        away.rename(exporter.config)
    until(lambda: value(exporter, name) == 1, what="an accepted configuration")


def test_a_model_added_while_it_runs_takes_events_and_is_watched(exporter: Exporter) -> None:
    before = (exporter.config / "monitoring.yml").read_text(encoding="utf-8")
    more = "  - name: second\n    reference: digits-demo\n    embedding: {name: mine, dimension: 3}\n"
    (exporter.config / "monitoring.yml").write_text(before.rstrip("\n") + "\n" + more, encoding="utf-8")
    until(lambda: value(exporter, "visiondrift_events_received_total", model="second") == 0, what="the new model")
    exporter.post([{"id": "s1", "time": time.time(), "model": "second", "version": "1", "embedding": [1, 2, 3]}])
    assert value(exporter, "visiondrift_events_stored_total", model="second") == 1
    until(lambda: value(exporter, "visiondrift_reference_usable", model="second") == 0, what="an unusable reference")
    assert "the model is embedded by mine (3 columns)" in exporter.get("/").text
    assert value(exporter, "visiondrift_reference_usable", model="digits-demo") == 1
    (exporter.config / "monitoring.yml").write_text(before, encoding="utf-8")
    gone = lambda: value(exporter, "visiondrift_events_received_total", model="second") is None  # noqa: E731
    until(gone, what="the model's leave")
    until(
        lambda: value(exporter, "visiondrift_reference_usable", model="second") is None, what="its leave of the picture"
    )


def test_what_only_a_restart_can_change_is_said(exporter: Exporter) -> None:
    edit(exporter.config, "monitoring.yml", "  host: 127.0.0.1\n", "  host: localhost\n")
    try:
        said = "server.host in monitoring.yml has changed: it takes effect at a restart"
        until(lambda: said in exporter.words(), what="a word about the host")
        assert "server.port in monitoring.yml" not in exporter.words()
    finally:
        edit(exporter.config, "monitoring.yml", "  host: localhost\n", "  host: 127.0.0.1\n")


# Stopping and starting again


def test_nothing_acknowledged_is_lost_when_it_is_stopped_during_ingest(tmp_path: Path) -> None:
    """Four clients send until they are turned away; every event whose 200 came is in the log afterwards."""
    acknowledged: list[str] = []
    lock = threading.Lock()

    def send(client: int, url: str) -> None:
        number = 0
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
            while True:
                batch = [{**EVENT, "id": f"{client}-{number}-{i}", "time": time.time()} for i in range(50)]
                try:
                    answer = http.post("/v1/predictions", json={"events": batch})
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    return
                assert answer.json()["stored"] == 50
                with lock:
                    acknowledged.extend(str(event["id"]) for event in batch)
                number += 1

    with running_exporter(tmp_path, config=light_config(tmp_path / "config")) as running:
        clients = [threading.Thread(target=send, args=(number, running.url)) for number in range(4)]
        for client in clients:
            client.start()
        until(lambda: len(acknowledged) > 2000, what="a busy exporter")
    for client in clients:
        client.join(PATIENCE_S)
        assert not client.is_alive()
    kept = stored_ids(tmp_path / "state")
    assert len(acknowledged) > 2000
    assert set(acknowledged) <= kept
    assert "Traceback" not in running.words()


def stored_ids(state: Path) -> set[str]:
    with closing(sqlite3.connect(state / "predictions.sqlite")) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM predictions")}


def test_sigterm_ends_it_by_that_signal_and_within_seconds(tmp_path: Path) -> None:
    with running_exporter(tmp_path, config=light_config(tmp_path / "config")) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(25) in {-signal.SIGTERM, 0}


def test_after_a_restart_it_knows_the_last_events_and_the_slices_in_use(tmp_path: Path) -> None:
    config = light_config(tmp_path / "config")
    edit(config, "monitoring.yml", "    slices: [camera]\n", "    slices: [camera]\n    max_slices: 2\n")
    # A slice is in use for as long as the longest window: longer than two starts may take.
    edit(config, "monitoring.yml", "      1m: {min_samples", "      1h: {min_samples")
    now = time.time()
    with running_exporter(tmp_path, config=config) as running:
        running.post([*demo_events("left", 3, now=now), *demo_events("right", 3, now=now - 20)])
    with running_exporter(tmp_path, config=config) as running:
        name = "visiondrift_last_event_timestamp_seconds"
        until(lambda: value(running, name, slice="camera=right") is not None, what="the cameras")
        assert value(running, name, slice="camera=right") == pytest.approx(now - 20 - 10, abs=0.01)
        assert value(running, name, slice="all") == pytest.approx(now - 10, abs=0.01)
        event = {**EVENT, "time": time.time(), "slices": {"camera": "third"}}
        answer = httpx.post(f"{running.url}/v1/predictions", json={"events": [event]}, timeout=PATIENCE_S)
        assert answer.status_code == 422
        assert "too_many_slices" in answer.text


# What is too old


def test_scores_that_are_too_old_are_not_shown_even_where_the_monitor_hangs(tmp_path: Path) -> None:
    """The clock goes on and nothing new is published: the scores go, the time of the last success stays."""
    now = [time.time()]
    service = Service(demo_config(tmp_path / "config"), Overrides(state=tmp_path / "state"), clock=lambda: now[0])
    try:
        service.log.append(_events(60, now[0]), [], now=now[0])
        service.monitor.tick()
        before = service.metrics.render("text/plain")[0].decode()
        now[0] += 3600
        after = service.metrics.render("text/plain")[0].decode()
    finally:
        service.stop()
    assert "visiondrift_window_samples{" in before
    assert "visiondrift_window_samples{" not in after
    assert "visiondrift_verdict{" not in after
    assert 'visiondrift_evaluation_last_success_timestamp_seconds{model="digits-demo",version="1"}' in after


def _events(count: int, now: float) -> list[PredictionEvent]:
    classes = tuple("0123456789")
    return [
        PredictionEvent(
            id=str(number),
            time=now - number - 1,
            model="digits-demo",
            version="1",
            classes=classes,
            confidences=np.full(10, 0.1, dtype=np.float32),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("own", [True, False])
def test_clip_is_loaded_at_the_start_only_where_a_model_needs_it(tmp_path: Path, own: bool) -> None:
    config = demo_config(tmp_path / "config")
    if own:
        edit(config, "monitoring.yml", "    slices: [camera]\n", "    embedding: {name: mine, dimension: 8}\n")
    service = Service(config, Overrides(state=tmp_path / "state"))
    asked: list[bool] = []
    service.embedder.load = lambda: asked.append(True)  # type: ignore[method-assign]
    service.start()
    service.stop()
    assert bool(asked) is not own


# What it refuses


def serve(*arguments: object, **env: str) -> "subprocess.CompletedProcess[str]":
    """`visiondrift serve`, which is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "visiondrift", "serve", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=os.environ | {"DO_NOT_TRACK": "1"} | env,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return light_config(tmp_path / "config")


def with_token(config: Path) -> None:
    edit(config, "monitoring.yml", "  port: 9109\n", "  port: 9109\n  token_file: secret\n")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read (No such file or directory)"), ("", "is empty"), ("\n", "is empty")]
)
def test_without_the_token_that_it_is_to_ask_for_it_does_not_start(
    config: Path, tmp_path: Path, content: str | None, words: str
) -> None:
    with_token(config)
    if content is not None:
        (config / "secret").write_text(content, encoding="utf-8")
    done = serve("--config", config, "--state", tmp_path / "state", "--port", free_port())
    assert done.returncode == 3
    assert re.search(r"monitoring\.yml:\d+: server\.token_file: ", done.stderr)
    assert f"{config}/secret {words}; accepted is a file that holds the token" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_a_token_only_who_has_it_may_send(config: Path, tmp_path: Path) -> None:
    with_token(config)
    (config / "secret").write_text("open sesame\n", encoding="utf-8")
    edit(config, "monitoring.yml", "  host: 127.0.0.1\n", "  host: 0.0.0.0\n")
    event = {**EVENT, "time": time.time()}
    with running_exporter(tmp_path, config=config) as running:
        url = f"{running.url}/v1/predictions"
        assert httpx.post(url, json={"events": [event]}, timeout=PATIENCE_S).status_code == 401
        with_it = {"Authorization": "Bearer open sesame"}
        assert httpx.post(url, json={"events": [event]}, headers=with_it, timeout=PATIENCE_S).status_code == 200
        assert "events need the token" in running.words()
        assert "WARNING" not in running.words(), "beyond loopback, but with a token"
        assert "sesame" not in running.words()


def test_listening_beyond_loopback_without_a_token_is_warned_of(config: Path, tmp_path: Path) -> None:
    edit(config, "monitoring.yml", "  host: 127.0.0.1\n", "  host: 0.0.0.0\n")
    with running_exporter(tmp_path, config=config) as running:
        warned = [line for line in running.words().splitlines() if "WARNING" in line]
    assert len(warned) == 1
    assert "0.0.0.0 is not loopback, and no token is asked for" in warned[0]


def test_a_port_that_is_taken_is_said_before_the_state_folder_is_touched(config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = serve("--config", config, "--state", tmp_path / "state", "--port", port)
    assert done.returncode == 3
    assert done.stderr.startswith(f"visiondrift: cannot listen at 127.0.0.1 port {port}: Address already in use; ")
    assert not (tmp_path / "state").exists()


def test_an_address_of_another_machine_is_refused(config: Path, tmp_path: Path) -> None:
    done = serve("--config", config, "--state", tmp_path / "state", "--host", "192.0.2.7", "--port", 9109)
    assert done.returncode == 3
    assert "cannot listen at 192.0.2.7 port 9109: Cannot assign requested address" in done.stderr


@pytest.mark.parametrize("workers", ["2", "auto"])
def test_more_than_one_process_is_refused(config: Path, workers: str) -> None:
    done = serve("--config", config, WEB_CONCURRENCY=workers)
    assert done.returncode == 3
    assert f"WEB_CONCURRENCY is '{workers}': metrics and schedule live in one process" in done.stderr


def test_a_bad_configuration_is_refused_with_every_problem(tmp_path: Path) -> None:
    done = serve("--config", ROOT / "tests/goldens/config/problems-in-both-files-at-once")
    assert done.returncode == 3
    assert "monitoring.yml:" in done.stderr
    assert "thresholds.yml:" in done.stderr


def test_a_state_folder_that_cannot_be_made_is_said(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file is in the way", encoding="utf-8")
    done = serve("--config", config, "--state", tmp_path / "state", "--port", free_port())
    assert done.returncode == 3
    assert f"visiondrift: {tmp_path}/state/predictions.sqlite: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_reports_that_cannot_be_made_is_said(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file is in the way", encoding="utf-8")
    text = f"\nreports:\n  path: {tmp_path}/file/reports\nlog:\n  path: {tmp_path}/state/log.sqlite\n"
    with (config / "monitoring.yml").open("a", encoding="utf-8") as file:
        file.write(text)
    done = serve("--config", config, "--port", free_port())
    assert done.returncode == 3
    assert f"visiondrift: {tmp_path}/file/reports: reports cannot be kept there (Not a directory)" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights for a moment")
def test_a_state_folder_that_may_not_be_written_to_is_said(config: Path) -> None:
    """As the exporter's user finds a volume that belongs to root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(LogError, match=re.escape(f"{name}/predictions.sqlite: ")) as log_refused:
                SqliteLog(Path(name) / "predictions.sqlite")
        finally:
            os.seteuid(0)
    assert "denied" in str(log_refused.value) or "unable to open" in str(log_refused.value)
