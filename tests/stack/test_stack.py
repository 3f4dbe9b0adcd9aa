"""The shipped stack end to end: a camera goes dark, and what a person reads in Slack about it.

The tests are one story told in order, because its waits are the product's own (``for: 1m``, ``keep_firing_for: 5m``,
Slack once a minute): each waits for the state that it speaks of, and the later ones find most of that behind them. Two
stacks play it at once: in ``stack`` the camera recovers, in ``outage`` the exporter dies while it is dark.
"""

from __future__ import annotations

import html
import io
import json
import re
import time
import urllib.parse
import urllib.request

import grafana_queries
import pytest
from compose_stack import MODEL, Message, Stack, wait_for
from ingest_under_kill import Sender
from PIL import Image
from thresholds_edit import edited, with_slice

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

DAMAGED, HEALTHY = "camera=right", ("camera=left", "camera=centre")
HARDENED = ("exporter", "prometheus", "alertmanager", "demo")
DRIFT_WITHIN_S = 300  # window 1m, scrapes, for 1m, group_wait; measured 130
DOWN_WITHIN_S = 240  # for 1m, scrapes, group_wait; measured 100
OVER_WITHIN_S = 900  # window 1m, max over 3m, keep_firing_for 5m, group_interval 1m
SLACK_ROUND_S = 90  # more than a group_interval
EDIT_SEEN_WITHIN_S = 150  # exporter polls each second, scrape 15 s, rules 15 s; measured 30


# ---- the services -------------------------------------------------------------------------------------------------


def test_every_service_says_it_is_healthy(stack: Stack) -> None:
    for service in stack.services:
        wait_for(lambda service=service: stack.health(service) == "healthy", f"{service} to be healthy", seconds=300)


@pytest.mark.parametrize("service", HARDENED)
def test_containers_can_change_nothing_and_are_nobody(stack: Stack, service: str) -> None:
    container = stack.container(service)
    host = container.attrs["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert container.attrs["Config"]["User"].split(":")[0] not in {"", "0", "root"}


def test_ports_are_published_on_loopback_only(stack: Stack) -> None:
    for service in stack.services:
        published = [entry for entries in stack.container(service).ports.values() for entry in entries or []]
        assert {entry["HostIp"] for entry in published} == {"127.0.0.1"}, service


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/metrics", "/healthz", "/readyz", "/runbook"])
def test_the_exporter_answers(stack: Stack, path: str) -> None:
    assert stack.get("exporter", path)


def test_prometheus_reaches_every_service(stack: Stack) -> None:
    def down() -> set[str]:
        targets = json.loads(stack.get("prometheus", "/api/v1/targets"))["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] != "up"}

    expected = set() if "grafana" in stack.services else {"grafana"}
    wait_for(lambda: down() == expected, "every target to be up", seconds=120)


def test_every_rule_is_evaluated_without_an_error(stack: Stack) -> None:
    def rules() -> list[dict[str, str]]:
        groups = json.loads(stack.get("prometheus", "/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), "all rules to be evaluated", seconds=120)
    assert len(rules()) > 30
    assert [rule for rule in rules() if rule["health"] != "ok"] == []


def test_alertmanager_runs_on_the_shipped_configuration(stack: Stack, notes: list[str]) -> None:
    status = json.loads(stack.get("alertmanager", "/api/v2/status"))
    assert "slack_api_url_file: /etc/alertmanager/secrets/slack_api_url" in status["config"]["original"]
    build = json.loads(stack.get("prometheus", "/api/v1/status/buildinfo"))["data"]
    notes.append(f"Prometheus {build['version']}, Alertmanager {status['versionInfo']['version']}")


# ---- a camera goes dark ------------------------------------------------------------------------------------------


TOLD = f"CRITICAL: Embedding drift on {MODEL}, {DAMAGED}"


def test_a_dark_camera_is_told_in_slack(stack: Stack, notes: list[str]) -> None:
    """The message says what, where, what was seen and expected, in which time, and whose it is."""
    wait_for(lambda: stack.messages(about=TOLD), "a message about the dark camera", seconds=DRIFT_WITHIN_S + 240)
    first, message = stack.messages(about=DAMAGED)[0], stack.messages(about=TOLD)[0]
    dark = stack.went_dark_at()
    notes.append(
        f"camera dark to Slack: first message {first.at - dark:.0f} s, first critical one {message.at - dark:.0f} s"
    )
    notes.extend(["", "Slack, firing:", message.title, message.text, ""])
    assert message.color == "danger"
    told = message.words
    assert re.search(r"^Observed: \*.*\(1m window, \d+ (images|events)\)\*$", told, re.MULTILINE)
    assert re.search(r"^Expected: .*\(critical threshold\)$", told, re.MULTILINE)
    assert re.search(r"^When: the last 1m, until \d\d:\d\d UTC$", told, re.MULTILINE)
    assert f"Where: {MODEL} version 1, {DAMAGED}" in told
    assert "Owner: vision-team" in told


def test_the_cause_is_named_and_that_it_is_this_camera_alone(stack: Stack) -> None:
    """Darker, from what to what; one of three slices, and all of the shift is its."""

    def explained() -> bool:
        told = "\n".join(message.words for message in stack.messages(about=DAMAGED))
        beside = r"\(brightness 0\.\d+, normally 0\.\d+\), seen by property, [a-z, ]+"
        cause = re.search(rf"^Cause: \*darker {beside}\*$", told, re.MULTILINE)
        cameras = re.search(r"^Cameras: 1 of 3 slices moved; this one is \d+% of the shift$", told, re.MULTILINE)
        return bool(cause and cameras)

    wait_for(explained, "a message with the cause", seconds=300)


def test_only_the_dark_camera_is_named(stack: Stack) -> None:
    """Neither a healthy camera nor, beside the one that is to blame, all of them together."""
    told = "\n".join(message.words for message in stack.messages(about=MODEL))
    assert DAMAGED in told
    for healthy in HEALTHY:
        assert healthy not in told
    assert "all slices together" not in told


def test_the_links_of_a_message_lead_somewhere(stack: Stack) -> None:
    """Runbook and report open on the exporter, the runbook at this alert's own section; the query in Prometheus."""
    message = stack.messages(about=TOLD)[0]
    for name in ("Runbook", "Report"):
        assert message.links[name].startswith(stack.url("exporter"))
    runbook = urllib.parse.urlsplit(message.links["Runbook"])
    assert f'id="{runbook.fragment}"' in stack.get("exporter", runbook.path)
    with urllib.request.urlopen(message.links["Report"], timeout=60) as answer:
        assert re.fullmatch(r"/reports/[^/]+\.html", urllib.parse.urlsplit(answer.url).path)
    with urllib.request.urlopen(answer.url.replace(".html", ".json"), timeout=60) as answer:
        about = json.load(answer)
    assert (about["model"], about["slice"], about["window"]) == (MODEL, DAMAGED, "1m")
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(message.links["Query"]).query)["g0.expr"][0]
    assert stack.query(query)
    assert message.links["Dashboard"].startswith(f"{stack.url('grafana')}/d/visiondrift-model?var-model={MODEL}")
    assert message.links["Silence"].startswith(f"{stack.url('alertmanager')}/#/silences/new?filter=")


def test_the_images_behind_it_open_beside_the_most_similar_of_the_reference(stack: Stack) -> None:
    """The link "Images" of a message about the camera: its own dark frames, each beside one of its own reference."""

    def links() -> list[str]:
        told = "\n".join(message.text for message in stack.messages(about=TOLD))
        return re.findall(r"^Images: <([^|>]+)\|those behind it>$", told, re.MULTILINE)

    link = html.unescape(wait_for(links, "a message with the images", seconds=300)[0])
    assert link.startswith(f"{stack.url('exporter')}/reports/")
    with urllib.request.urlopen(link, timeout=10) as answer:
        page, address = answer.read().decode(), urllib.parse.urlsplit(answer.url).path
    report = address.removesuffix("/images")
    assert f'<img class="sheet" src="{report}.jpg"' in page
    about = json.loads(stack.get("exporter", f"{report}.json"))
    assert (about["model"], about["slice"], about["window"]) == (MODEL, DAMAGED, "1m")
    shown = about["montage"]["shown"]
    assert 1 <= len(shown) <= 8
    camera = DAMAGED.partition("=")[2]
    for image in shown:
        assert image["slices"] == DAMAGED
        assert f"-{camera}-" in image["id"], "the demo names its frames after their camera"
        assert image["reference_id"].startswith(f"{camera}-")
        assert f"<td>{image['id']}</td>" in page
        assert image["reference_id"] in page
    with urllib.request.urlopen(f"{stack.url('exporter')}{report}.jpg", timeout=10) as answer:
        assert answer.headers.get_content_type() == "image/jpeg"
        with Image.open(io.BytesIO(answer.read()), formats=("JPEG",)) as picture:
            shades = picture.convert("L").histogram()
    assert sum(shades[:64]) > 0.1 * sum(shades), "the frames of a dark camera are dark"
    assert sum(shades[100:220]) > 0.1 * sum(shades), "those of the reference are not"
    landing = stack.get("exporter", "/").split('<th scope="row">')[1:]
    rows = {row.partition("<small")[0].strip(): row for row in landing}
    assert re.search(r'<a class="montage" href="/reports/[^"/]+/images"><img', rows[DAMAGED.replace("=", " ")])
    for healthy in HEALTHY:
        assert 'class="montage"' not in rows[healthy.replace("=", " ")]


NOTHING_TO_SHOW = {"Estimated performance by class", "How alike they moved", "Faults"}
"""Panels that are empty of one dark camera, rightly: what is estimated of it is refused as a whole, no other camera has
moved, and the camera itself is well."""


@pytest.mark.parametrize("name", grafana_queries.NAMES)
def test_every_panel_shows_this_stack_something(stack: Stack, name: str) -> None:
    """Each panel has a query that returns data while the camera is dark."""
    # The first self-test runs a minute after the calibration's first use, beside everything else.
    wait_for(lambda: stack.query("visiondrift_selftest_false_alarm_ratio"), "the first self-test", seconds=300)
    values = {"model": MODEL, "version": "1", "slice": DAMAGED, "window": "1m"}
    shown: dict[str, bool] = {}
    for panel, expr in grafana_queries.panel_queries(grafana_queries.load(name), values, rate_interval="1m"):
        shown[panel] = shown.get(panel, False) or bool(stack.query(expr))
    assert {panel for panel, anything in shown.items() if not anything} - NOTHING_TO_SHOW == set()


# ---- the exporter dies in one stack, the camera recovers in the other; then what happens meanwhile -------------------


@pytest.fixture(scope="module")
def stopped_at(outage: Stack) -> float:
    """When the exporter of ``outage`` was stopped: with its drift told in Slack and still there."""
    wait_for(lambda: outage.messages(about=TOLD), "the drift to be told", seconds=DRIFT_WITHIN_S)
    outage.compose("stop", "exporter")
    return time.time()


@pytest.fixture(scope="module")
def recovered_at(stack: Stack, stopped_at: float) -> float:
    """When the camera of ``stack`` was clear again (``stopped_at``: so that both long waits begin together)."""
    assert stopped_at
    stack.play("healthy")
    return time.time()


def test_an_edited_threshold_reaches_prometheus_without_a_restart(stack: Stack, recovered_at: float) -> None:
    """Saved the way editors do (a new file takes the place of the old), seen as the new height of the line."""
    assert recovered_at
    started = stack.container("exporter").attrs["State"]["StartedAt"]
    line = 'visiondrift_clip_similarity_threshold{slice="camera=left",severity="warning"}'
    with edited(stack.root, with_slice("camera=left", "clip_similarity", warning=0.9999)):
        wait_for(
            lambda: [series for series in stack.query(line) if float(series["value"][1]) == 0.9999],
            "the edited threshold in Prometheus",
            seconds=EDIT_SEEN_WITHIN_S,
        )
        pending = {"alertname": "VisionDriftLowSimilarity", "slice": "camera=left", "severity": "warning"}
        wait_for(lambda: stack.alerts(**pending), "the alert that follows from it", seconds=EDIT_SEEN_WITHIN_S)
        wait_for(lambda: stack.messages(about="camera=left"), "the message that follows", seconds=180)
    assert stack.container("exporter").attrs["State"]["StartedAt"] == started


def test_a_broken_edit_leaves_the_last_good_thresholds_in_force(stack: Stack) -> None:
    # A fixed one: what follows from the budget moves with what the windows hold.
    line = 'visiondrift_missing_ratio_threshold{severity="warning"}'

    def accepted() -> bool:
        return "visiondrift_config_last_reload_successful 1.0" in stack.get("exporter", "/metrics")

    wait_for(accepted, "the restored thresholds", seconds=120)
    before = sorted(series["value"][1] for series in stack.query(line))
    assert before
    with edited(stack.root, lambda text: text + "\n  oops: ["):
        wait_for(lambda: not accepted(), "the exporter to refuse it", seconds=120)
        assert "thresholds.yml" in stack.get("exporter", "/"), "the landing page says which file"
        time.sleep(20)  # a scrape
        assert sorted(series["value"][1] for series in stack.query(line)) == before
    wait_for(accepted, "the exporter to accept the repaired file", seconds=120)


def test_a_killed_exporter_has_every_event_it_acknowledged(stack: Stack, notes: list[str]) -> None:
    """docker kill in the middle of an ingest, three times: each acknowledged id comes back as a duplicate."""
    acknowledged: list[str] = []
    for _ in range(3):
        with Sender(stack.url("exporter")) as sender:
            wait_for(lambda: sender.acknowledged, "events to be acknowledged", seconds=120, every=0.1)
            time.sleep(2)
            stack.container("exporter").kill()
        acknowledged += sender.acknowledged
        stack.container("exporter").start()
        wait_for(lambda: stack.health("exporter") == "healthy", "the exporter to be back", seconds=300)
    answers = sender.again(acknowledged)
    assert answers == {"stored": 0, "duplicates": len(acknowledged)}
    notes.append(f"docker kill: {len(acknowledged)} acknowledged events, all of them in the log afterwards")


def test_the_log_of_a_killed_exporter_can_be_exported(stack: Stack) -> None:
    """The command that the runbook names, inside the container, on the log that was just killed over."""
    told = stack.compose(
        "exec", "-T", "exporter", "visiondrift", "export", "/tmp/log.parquet", "--version", Sender.VERSION
    )
    assert re.search(r"[1-9][\d,]* events", told)


def test_a_stopped_exporter_is_told(outage: Stack, stopped_at: float, notes: list[str]) -> None:
    wait_for(lambda: outage.messages(about="exporter is down", since=stopped_at), "the message", seconds=DOWN_WITHIN_S)
    message = outage.messages(about="exporter is down", since=stopped_at)[0]
    notes.extend(["", f"Slack, exporter stopped ({message.at - stopped_at:.0f} s later):", message.title, message.text])
    assert "CRITICAL" in message.title


def told_as_over(stack: Stack, *, since: float) -> list[Message]:
    """Messages that say of a drift that it is over. That input is back, which a restart may say, is none."""
    drift = "Embedding drift|Images unlike|Prediction drift|Confidence drift|Confidence drop|More uncertain"
    messages = stack.messages(about=MODEL, since=since)
    return [message for message in messages if re.search(f"RESOLVED: ({drift})", message.words)]


def test_a_stopped_exporter_ends_no_drift(outage: Stack, stopped_at: float) -> None:
    """Prometheus forgets the scores, its alerts end, and still nobody is told that the camera is well again."""
    wait_for(lambda: not outage.alerts(component="data"), "Prometheus to forget the drift", seconds=OVER_WITHIN_S)
    assert outage.alerts(alertname="VisionDriftExporterDown", alertstate="firing")
    time.sleep(SLACK_ROUND_S)
    assert told_as_over(outage, since=stopped_at) == []


@pytest.fixture(scope="module")
def returned_at(outage: Stack, stopped_at: float) -> float:
    """When the exporter of ``outage`` was back, the camera still dark."""
    assert stopped_at
    outage.compose("start", "exporter")
    wait_for(lambda: outage.health("exporter") == "healthy", "the exporter to be back", seconds=300)
    outage.play("dark", healthy_for="1s")
    return time.time()


def test_a_recovered_camera_is_told_as_resolved(
    stack: Stack, recovered_at: float, returned_at: float, notes: list[str]
) -> None:
    assert returned_at, "so that the next test's wait has begun"

    def over() -> list[Message]:
        """The critical ones: among the warnings is the end of the edited threshold's alert."""
        told = stack.messages(about="(critical threshold)", since=recovered_at)
        return [message for message in told if message.title.startswith("✅ RESOLVED")]

    wait_for(over, "the end of the drift in Slack", seconds=OVER_WITHIN_S)
    message = over()[0]
    notes.extend(
        ["", f"Slack, resolved ({message.at - recovered_at:.0f} s after recovery):", message.title, message.text]
    )
    assert message.color == "good"
    assert re.match(rf"✅ RESOLVED: .* on {MODEL}, {DAMAGED}", message.title)
    assert f"Where: {MODEL} version 1, {DAMAGED}" in message.text
    for healthy in HEALTHY:
        assert healthy not in message.words


@pytest.fixture(scope="module")
def dusk_at(stack: Stack) -> float:
    """When all three cameras of ``stack`` went dark."""
    stack.play("dusk", healthy_for="1s")
    return time.time()


def test_a_drift_that_outlasts_the_outage_is_not_told_as_over(
    outage: Stack, returned_at: float, dusk_at: float
) -> None:
    """Prometheus had forgotten it. It is seen anew before the exporter's alert ends and lets the others through."""
    assert dusk_at, "so that the next test's wait has begun"
    back = "RESOLVED: The VisionDrift exporter is down"
    wait_for(lambda: outage.messages(about=back, since=returned_at), "the end of the outage in Slack", seconds=400)
    assert outage.alerts(component="data", slice=DAMAGED, alertstate="firing")
    time.sleep(SLACK_ROUND_S)
    assert told_as_over(outage, since=returned_at) == []


def told_of_a_camera(stack: Stack, *, since: float) -> set[str]:
    """The cameras of which something is told as wrong by itself, and not as over."""
    wrong = rf"(?:CRITICAL|WARNING): .* on {MODEL}, (camera=\w+)"
    return {camera for one in stack.messages(about=MODEL, since=since) for camera in re.findall(wrong, one.words)}


def test_one_cause_is_one_message_that_names_its_cameras(stack: Stack, dusk_at: float, notes: list[str]) -> None:
    """All go dark together: it is said of all of them, with their names, and of none by itself.

    But for the one that had been dark before, of which the end of that is still to be told.
    """
    cameras = "camera=centre, camera=left, camera=right"
    same_way = f"3 of 3 slices moved the same way: a common cause ({cameras})"

    of_all = rf"^Cause: \*darker .*\n(?:.+\n)*Where: {MODEL} version 1, all slices together$"

    def told() -> list[Message]:
        found = stack.messages(about=same_way, since=dusk_at)
        return [one for one in found if re.search(of_all, one.text, re.MULTILINE)]

    wait_for(told, "the common cause in Slack", seconds=DRIFT_WITHIN_S + 240)
    message = told()[0]
    notes.extend(["", f"Slack, all dark ({message.at - dusk_at:.0f} s later):", message.title, message.text])
    time.sleep(SLACK_ROUND_S)
    assert told_of_a_camera(stack, since=dusk_at) <= {DAMAGED}


def test_a_camera_without_a_picture_is_a_fault_of_the_camera_and_shows_its_pictures(
    stack: Stack, dusk_at: float, notes: list[str]
) -> None:
    """The others are well again; of this one its fault is told, and not that its images have drifted."""
    assert dusk_at
    stack.play("black", healthy_for="1s")
    begun = time.time()

    def told() -> list[Message]:
        return stack.messages(about=f"Camera fault on {MODEL}, {DAMAGED}: black", since=begun)

    wait_for(told, "the camera's fault in Slack", seconds=DRIFT_WITHIN_S + 240)
    message = told()[0]
    notes.extend(["", f"Slack, black ({message.at - begun:.0f} s later):", message.title, message.text])
    assert message.color == "danger"

    def links() -> list[str]:
        pictures = rf"^Where: {MODEL} version 1, {DAMAGED}\nImages: <([^|>]+)\|"
        return re.findall(pictures, "\n".join(one.text for one in told()), re.MULTILINE)

    link = html.unescape(wait_for(links, "a message with its pictures", seconds=300)[0])
    with urllib.request.urlopen(link, timeout=60) as answer:
        page = answer.read().decode()
    assert f'<img class="sheet" src="{urllib.parse.urlsplit(answer.url).path.removesuffix("/images")}.jpg"' in page
    assert DAMAGED in page


def test_one_cause_ends_as_one(stack: Stack, dusk_at: float, notes: list[str]) -> None:
    """The two that are well again recover in their own time, and of neither anything is told by itself meanwhile."""

    def lingers() -> bool:
        return bool(stack.alerts(component="data", spread="common", alertstate="firing"))

    wait_for(lambda: not lingers(), "the end of the common cause", seconds=OVER_WITHIN_S)
    notes.append(f"Slack: one cause over {time.time() - dusk_at:.0f} s after it began")
    time.sleep(SLACK_ROUND_S)
    assert told_of_a_camera(stack, since=dusk_at) <= {DAMAGED}


def test_no_message_was_one_that_slack_refuses(stacks: tuple[Stack, Stack]) -> None:
    """The stand-in answers those with 400 and keeps what it objected to; ``messages`` holds that to be nothing."""
    for each in stacks:
        assert each.messages()
