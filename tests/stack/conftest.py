"""What the stack tests stand on: an engine, the image built as shipped, and two stacks that play the same story.

Two, because two claims need ten minutes each and exclude each other: in ``stack`` the camera recovers, in ``outage``
the exporter dies while the camera is dark.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from compose_stack import PORTS, ROOT, STAND_IN_LABEL, Stack, copy_of_checkout, running, wait_for
from docker.errors import ImageNotFound

SERVICES = ("exporter", "prometheus", "alertmanager")
_NOTES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_NOTES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the stack ran on, and what was measured: it belongs to the result, passed or not."""
    if config.stash[_NOTES]:
        terminalreporter.section("stack test")
        for note in config.stash[_NOTES]:
            terminalreporter.line(note)


@pytest.fixture(scope="session")
def notes(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the output."""
    return pytestconfig.stash[_NOTES]


def _problem_with_engine() -> str:
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command, problem in ((["version"], "no Docker engine answers"), (["compose", "version"], "no compose plug-in")):
        done = subprocess.run(["docker", *command], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            return f"{problem}: {done.stderr.strip()}"
    return ""


@pytest.fixture(scope="session")
def engine(notes: list[str]) -> Iterator[docker.DockerClient]:
    """A Docker engine. In CI one is made where there is none, and not getting one is a failure, never a skip."""
    wanted = os.environ.get("CI") == "true" or os.environ.get("VISIONDRIFT_STACK") == "1"
    if wanted:
        script = ROOT / "tests" / "stack" / "engine" / "up.sh"
        done = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=500, check=False)
        if done.returncode != 0:
            pytest.fail(f"tests/stack/engine/up.sh:\n{done.stdout}{done.stderr}")
    if problem := _problem_with_engine():
        if wanted:
            pytest.fail(problem)
        pytest.skip(f"{problem}; VISIONDRIFT_STACK=1 installs what is missing, as root on Debian")
    with closing(docker.from_env()) as client:
        notes.append(f"engine {client.version()['Version']}")
        yield client


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, notes: list[str]) -> Path:
    """A copy of the checkout, from which the exporter's image was built with the shipped files."""
    checkout = copy_of_checkout(tmp_path_factory.mktemp("built"))
    begun = time.monotonic()
    stack = Stack(engine, "visiondrift-test", checkout, (), PORTS)
    stack.compose("build", "exporter", seconds=900)
    # What an earlier run built under this name has lost it now, and would keep gigabytes.
    engine.images.prune({"dangling": True, "label": "org.opencontainers.image.title=VisionDrift exporter"})
    described = engine.images.get(_images(stack)["exporter"])
    notes.append(
        f"exporter image {described.attrs['Size'] / 1e9:.2f} GB, built in {time.monotonic() - begun:.0f} s"
        " (layers of an earlier build count as built)"
    )
    return checkout


@pytest.fixture(scope="session")
def services(engine: docker.DockerClient, image: Path, notes: list[str]) -> tuple[str, ...]:
    """The services whose images can be had; Grafana is the only one that may be missing, and that is said."""
    images = _images(Stack(engine, "visiondrift-test", image, (), PORTS))
    stand_ins = [images[name] for name in SERVICES[1:] if STAND_IN_LABEL in engine.images.get(images[name]).labels]
    if stand_ins:
        notes.append(f"stand-ins from Debian's packages: {', '.join(stand_ins)} (versions below)")
    try:
        engine.images.get(images["grafana"])
    except ImageNotFound:
        notes.append(f"Grafana was LEFT OUT: {images['grafana']} is not on this machine")
        return SERVICES
    return (*SERVICES, "grafana")


def _images(stack: Stack) -> dict[str, str]:
    config = json.loads(stack.compose("--profile", "demo", "config", "--format", "json"))
    return {name: service["image"] for name, service in config["services"].items()}


@pytest.fixture(scope="session")
def stacks(
    engine: docker.DockerClient,
    image: Path,
    services: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
    notes: list[str],
) -> Iterator[tuple[Stack, Stack]]:
    """Both stacks, started together; the demo streams to both, and its camera goes dark in both."""
    begun = time.monotonic()
    copies = [copy_of_checkout(tmp_path_factory.mktemp(name)) for name in ("stack", "outage")]
    with (
        running(engine, "visiondrift-test", copies[0], services) as stack,
        running(engine, "visiondrift-test-outage", copies[1], services) as outage,
    ):
        for each in (stack, outage):
            wait_for(lambda each=each: each.health("exporter") == "healthy", "a healthy exporter", seconds=300)
            each.play("dark")
        yield stack, outage
        for service in (*services, "demo"):
            used = stack.container(service).stats(stream=False)["memory_stats"]
            notes.append(f"memory of {service}: {used['usage'] / 2**20:.0f} MiB of {used['limit'] / 2**20:.0f} MiB")
    notes.append(f"both stacks up and down: {time.monotonic() - begun:.0f} s")


@pytest.fixture(scope="session")
def stack(stacks: tuple[Stack, Stack]) -> Stack:
    """The stack in which the camera recovers."""
    return stacks[0]


@pytest.fixture(scope="session")
def outage(stacks: tuple[Stack, Stack]) -> Stack:
    """The stack in which the exporter dies."""
    return stacks[1]
