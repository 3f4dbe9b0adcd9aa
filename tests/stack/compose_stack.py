"""The shipped Compose stack, run from a copy of the checkout: on free ports, under a project name of its own.

The decision this hides: how a running stack is reached. Tests ask it for a page, a query, a container or a message, and
know neither Docker nor ports.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import docker
from docker.models.containers import Container

import slack_standin
from programs import free_port

ROOT = Path(__file__).resolve().parents[2]
PORTS = {"exporter": 9109, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
IMAGE_VERSION = "stack-test"
STAND_IN_LABEL = "visiondrift.stand-in"
PYTHON_IMAGE = "python:3.13-slim"
MODEL = "digits-demo"
T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """What Slack got: when (seconds since the epoch), and the attachment's heading, text, colour and links by name."""

    at: float
    title: str
    text: str
    color: str
    links: Mapping[str, str]

    @property
    def words(self) -> str:
        """All that a person reads."""
        return f"{self.title}\n{self.text}"

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Message:
        """The message in a payload that the stand-in kept."""
        (attachment,) = payload["attachments"]
        links = {action["text"]: action["url"] for action in attachment["actions"]}
        return cls(payload["at"], attachment["title"], attachment["text"], attachment["color"], links)


@dataclass
class Stack:
    """One running stack. ``root`` is its copy of the checkout, which a test may edit."""

    engine: docker.DockerClient
    project: str
    root: Path
    services: tuple[str, ...]
    ports: Mapping[str, int]
    slack_port: int = 0
    demo: dict[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, seconds: float = 300) -> str:
        """Run ``docker compose`` on the shipped file; fails with all its output."""
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.root,
            env=os.environ | self._environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, (
            f"docker compose {' '.join(arguments)}:\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
        )
        return done.stdout

    def container(self, service: str) -> Container:
        """The container of a service, as it is now."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        (found,) = self.engine.containers.list(all=True, ignore_removed=True, filters={"label": labels})
        return found

    def health(self, service: str) -> str:
        """What the service's own health check says: starting, healthy, unhealthy, or that it has not begun."""
        return str(self.container(service).attrs["State"].get("Health", {}).get("Status", "none yet"))

    def url(self, service: str) -> str:
        """Where a service answers on this machine."""
        return f"http://localhost:{self.ports[service]}"

    def get(self, service: str, path: str) -> str:
        """A page of a service; follows redirects, raises on any status but 2xx."""
        with urllib.request.urlopen(self.url(service) + path, timeout=60) as answer:
            return str(answer.read().decode())

    def query(self, expr: str) -> list[dict[str, Any]]:
        """An instant query's series, each with ``metric`` and ``value``."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expr})
        data = json.loads(self.get("prometheus", path))["data"]
        return list(data["result"]) if data["resultType"] == "vector" else [{"metric": {}, "value": data["result"]}]

    def alerts(self, **labels: str) -> list[dict[str, str]]:
        """The labels of the alerts that are pending or firing now and carry ``labels``."""
        selector = ",".join(f'{name}="{value}"' for name, value in labels.items())
        return [series["metric"] for series in self.query(f"ALERTS{{{selector}}}")]

    def messages(self, about: str = "", since: float = 0.0) -> list[Message]:
        """What Slack got, oldest first: only what came after ``since`` and has ``about`` in its words."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.slack_port}", timeout=60) as answer:
            kept = json.load(answer)
        assert kept["refused"] == [], "Slack would have refused a message"
        found = [Message.of(payload) for payload in kept["messages"]]
        return [message for message in found if about in message.words and message.at > since]

    def play(self, scenario: str, *, healthy_for: str = "90s") -> None:
        """Let the demo stream this from now on: ``healthy``, or ``dark`` from ``healthy_for`` on."""
        self.demo = {"DEMO_SCENARIO": scenario, "DEMO_HEALTHY_FOR": healthy_for, "DEMO_DAMAGED_FOR": "1h"}
        self.compose("--profile", "demo", "up", "--detach", "--no-deps", "--force-recreate", "demo")

    def went_dark_at(self) -> float:
        """When the demo said that its camera had gone dark."""
        for line in self.container("demo").logs(timestamps=True).decode().splitlines():
            stamp, _, words = line.partition(" ")
            if words.endswith("is dark"):
                return datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp()
        raise AssertionError("the demo's camera has not gone dark yet")

    def _environment(self) -> dict[str, str]:
        ports = {f"{service.upper()}_PORT": str(port) for service, port in self.ports.items()}
        return {"COMPOSE_PROJECT_NAME": self.project, "VISIONDRIFT_VERSION": IMAGE_VERSION, **ports, **self.demo}


@contextmanager
def running(engine: docker.DockerClient, project: str, root: Path, services: tuple[str, ...]) -> Iterator[Stack]:
    """Bring the services up beside a Slack stand-in, and take them and their volumes down whatever happens."""
    stack = Stack(engine, project, root, services, {service: free_port() for service in PORTS})
    _down(stack)  # what an interrupted run left behind
    try:
        name = f"{project}-slack"
        webhook = root / "alertmanager" / "secrets" / "slack_api_url"
        webhook.write_text(f"http://{name}:{slack_standin.PORT}/services/T000/B000/stand-in", encoding="utf-8")
        webhook.chmod(0o444)
        stack.compose("up", "--detach", *services)
        stack.slack_port = _slack(stack, name)
        yield stack
    finally:
        _down(stack)


def _slack(stack: Stack, name: str) -> int:
    """Start the stand-in on the stack's network: the port on this machine where its messages can be read."""
    script = Path(slack_standin.__file__)
    container = stack.engine.containers.run(
        PYTHON_IMAGE,
        ["python3", "-u", "/stand-in.py"],
        name=name,
        detach=True,
        user="65534",
        network=f"{stack.project}_default",
        ports={f"{slack_standin.PORT}/tcp": ("127.0.0.1", None)},
        volumes={str(script): {"bind": "/stand-in.py", "mode": "ro"}},
    )
    container.reload()
    return int(container.ports[f"{slack_standin.PORT}/tcp"][0]["HostPort"])


def _down(stack: Stack) -> None:
    for container in stack.engine.containers.list(all=True, filters={"name": f"^{stack.project}-slack$"}):
        container.remove(force=True)
    stack.compose("--profile", "demo", "down", "--volumes", "--timeout", "5")


def copy_of_checkout(target: Path) -> Path:
    """What a clone would hold, with the changes that are not committed yet, readable by any user."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
            copy.chmod(copy.stat().st_mode | 0o444)
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return target


def wait_for(look: Callable[[], T], what: str, *, seconds: float, every: float = 1.0) -> T:
    """The first truthy answer of ``look``; fails, saying what was waited for, after ``seconds``.

    A service that does not answer for a while, is not there, or goes in the middle of an answer is waited for like
    anything else.
    """
    end = time.monotonic() + seconds
    problem: Exception | None = None
    while time.monotonic() < end:
        try:
            found = look()
            if found:
                return found
            problem = None
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = error
        time.sleep(every)
    raise AssertionError(
        f"waited {seconds:.0f} s for {what}" + (f"; the last problem was {problem}" if problem else "")
    )
