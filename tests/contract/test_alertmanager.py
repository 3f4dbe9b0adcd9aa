"""Alertmanager's configuration and message templates: what is routed where, what is muted, and what a person reads.

The decision hidden here: rendering is checked with amtool, so that a template is tried by the engine that will run it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from programs import PATIENCE_S, program

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "alertmanager" / "alertmanager.yml"
TEMPLATES = ROOT / "alertmanager" / "templates"
GOLDENS = Path(__file__).with_name("test_alertmanager_goldens")
CASES = sorted(path.stem for path in GOLDENS.glob("*.json"))
UPDATE = os.environ.get("UPDATE_GOLDENS") == "1"


@pytest.fixture(scope="module")
def amtool() -> str:
    """The path of amtool; without it these tests are skipped on a desk and fail in CI."""
    return program("amtool", package="prometheus-alertmanager")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def defined_templates() -> list[str]:
    return re.findall(r'{{-? define "([^"]+)"', "".join(p.read_text("utf-8") for p in sorted(TEMPLATES.glob("*.tmpl"))))


def render(amtool: str, case: str, text: str) -> str:
    return run(
        amtool, "template", "render", f"--template.glob={TEMPLATES}/*.tmpl",
        f"--template.data={GOLDENS / case}.json", f"--template.text={text}",
    )  # fmt: skip


def slack_config() -> dict[str, object]:
    receivers = {r["name"]: r for r in yaml.safe_load(CONFIG.read_text("utf-8"))["receivers"]}
    config: dict[str, object] = receivers["slack-critical"]["slack_configs"][0]
    return config


def message_parts() -> dict[str, str]:
    """Every text of the Slack message as configured, by its place in the message."""
    config = slack_config()
    parts = {key: str(config[key]) for key in ("color", "title", "title_link", "fallback", "text", "footer")}
    actions = config["actions"]
    assert isinstance(actions, list)
    for number, action in enumerate(actions, start=1):
        parts |= {f"button {number} text": action["text"], f"button {number} link": action["url"]}
    return parts


def test_configuration_is_valid(amtool: str) -> None:
    """The oldest supported Alertmanager accepts the shipped configuration and its templates."""
    assert "SUCCESS" in run(amtool, "check-config", str(CONFIG))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=VisionDriftEmbeddingDrift severity=critical model=m model_owner=vision-team", "slack-critical"),
        ("alertname=VisionDriftEmbeddingDrift severity=warning model=m model_owner=vision-team", "slack-warning"),
        ("alertname=VisionDriftEmbeddingDrift severity=critical model=m", "slack-critical"),
        ("alertname=VisionDriftExporterDown severity=critical component=stack", "slack-critical"),
        ("alertname=VisionDriftEmbeddingDrift severity=critical model_owner=example-team", "slack-example-team"),
        ("alertname=VisionDriftEmbeddingDrift severity=warning model_owner=example-team", "slack-example-team"),
        ("alertname=Watchdog severity=none", "dead-mans-switch"),
        ("alertname=Whatever severity=none", "nobody"),
        ("alertname=SomebodyElsesAlert", "slack-warning"),
    ],
)
def test_an_alert_reaches_its_receiver(amtool: str, labels: str, receiver: str) -> None:
    """Severity and owner decide the channel, and an alert that no route expects is still told to somebody."""
    arguments = [f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels.split()]
    assert run(amtool, "config", "routes", "test", *arguments).strip() == receiver


def test_a_critical_alert_is_repeated_hourly_and_a_warning_twice_a_day() -> None:
    route = yaml.safe_load(CONFIG.read_text("utf-8"))["route"]
    critical = next(r for r in route["routes"] if r["receiver"] == "slack-critical")
    assert (critical["repeat_interval"], route["repeat_interval"], route["group_by"]) == ("1h", "12h", ["model"])


def test_every_slack_receiver_sends_the_same_message() -> None:
    """Channels differ in their URL and in nothing else, and every one also tells when an alert is over."""
    texts = []
    for receiver in yaml.safe_load(CONFIG.read_text("utf-8"))["receivers"]:
        for config in receiver.get("slack_configs", []):
            assert config["send_resolved"] is True
            texts.append({key: value for key, value in config.items() if key != "api_url_file"})
    assert len(texts) == 3
    assert all(text == texts[0] for text in texts)


def test_the_configuration_names_no_secret() -> None:
    """Slack's URL comes from a file that git ignores."""
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    assert config["global"] == {
        "slack_api_url_file": "/etc/alertmanager/secrets/slack_api_url", "resolve_timeout": "5m",
    }  # fmt: skip
    ignored = (ROOT / "alertmanager" / "secrets" / ".gitignore").read_text("utf-8").split()
    assert "*" in ignored
    assert {entry for entry in ignored if entry.startswith("!")} == {"!.gitignore", "!README.md"}


@pytest.mark.parametrize("case", CASES)
def test_message_reads_as_agreed(amtool: str, case: str) -> None:
    """Every text of the message, for every kind of alert group, is the one a person has looked at.

    After a wanted change: UPDATE_GOLDENS=1 pytest, and read the difference.
    """
    parts = message_parts()
    separator = "\n--8<--\n"
    rendered = render(amtool, case, separator.join(parts.values())).split(separator)
    golden = GOLDENS / f"{case}.txt"
    text = "".join(f"## {place}\n{part.rstrip(chr(10))}\n" for place, part in zip(parts, rendered, strict=True))
    if UPDATE:
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


@pytest.mark.parametrize("case", CASES)
def test_no_part_of_a_message_is_empty_or_unset(amtool: str, case: str) -> None:
    """A text that Slack would refuse (no value, no link) does not occur, not even for an alert without annotations."""
    for place, template in message_parts().items():
        part = render(amtool, case, template)
        assert part.strip(), place
        assert "<no value>" not in part, place
        if "link" in place:
            assert re.fullmatch(r"https?://[^\s\"<>]+", part), (place, part)


@pytest.mark.parametrize("case", CASES)
def test_a_silence_link_survives_its_way_to_the_form(amtool: str, case: str) -> None:
    """Alertmanager's page reads %20 as a space but + as a plus, so a link may hold no plus."""
    link = render(amtool, case, message_parts()["button 4 link"])
    matchers = unquote(link.partition("?filter=")[2])
    assert "+" not in link
    assert re.fullmatch(r'{(\w+="[^"]*"(, )?)*}', matchers), matchers
    assert "severity" not in matchers


def test_every_template_is_used() -> None:
    """A template that nothing calls is not kept, and one that is called exists."""
    text = CONFIG.read_text("utf-8") + "".join(p.read_text("utf-8") for p in TEMPLATES.glob("*.tmpl"))
    called = set(re.findall(r'{{-? template "([^"]+)"', text))
    assert called == set(defined_templates())


def test_a_label_cannot_mention_the_channel_or_fake_a_link(amtool: str) -> None:
    """Whoever names a camera <!channel> gets text, not a mention, and cannot make a message endless."""
    data = json.loads((GOLDENS / "hostile.json").read_text("utf-8"))
    assert "<!channel>" in data["alerts"][0]["labels"]["slice"]
    message = [render(amtool, "hostile", message_parts()[place]) for place in ("title", "text", "footer", "fallback")]
    assert not any("<" in part for part in message)
    assert max(len(part) for part in message) < 3000


def test_five_alerts_are_told_and_the_others_counted(amtool: str) -> None:
    text = render(amtool, "several", message_parts()["text"])
    assert text.count("CRITICAL") == 5
    assert "… and 2 more" in text


def test_what_fires_comes_before_what_is_over(amtool: str) -> None:
    text = render(amtool, "mixed", message_parts()["text"])
    marks = re.findall(r"CRITICAL|RESOLVED", text)
    assert marks == ["CRITICAL", "CRITICAL", "RESOLVED"]
