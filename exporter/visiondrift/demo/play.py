"""The demo as a story: three cameras run well, one goes bad, and the exporter says which; or it fails and says how."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from visiondrift.config import load_config
from visiondrift.demo import classifier, digits
from visiondrift.demo.stream import MODEL, NO_PICTURE, VERSION, Conditions, Stream
from visiondrift.errors import VisionDriftError
from visiondrift.prediction import slice_name
from visiondrift.signals import ALL_SLICES, BY_NAME

STRENGTH = 0.8
WINDOW = "1m"

_HOST = "127.0.0.1"
_READY_SECONDS = 60.0
_SHOW_EVERY_SECONDS = 5.0
_HEALTHY_SECONDS = 75.0
_DAMAGED_SECONDS = 60.0
_REPORT_SECONDS = 15.0
_TELL_EVERY = 30
_REPORTED = ("warning", "critical")


_CAMERAS = frozenset(slice_name("camera", camera) for camera in digits.CAMERAS)


@dataclass(frozen=True)
class Scenario:
    """What happens in the demo: the ``condition`` that befalls some ``cameras``; none where there are none."""

    condition: str
    cameras: tuple[str, ...]

    @property
    def conditions(self) -> Conditions:
        """What every camera that is not well shows."""
        return dict.fromkeys(self.cameras, (self.condition, STRENGTH))

    @property
    def slices(self) -> frozenset[str]:
        """The slices that are to be reported."""
        return frozenset(slice_name("camera", camera) for camera in self.cameras)

    def sentence(self, verb: str, verb_of_many: str) -> str:
        """What happens to whom, such as "camera right is dark", with the verb that is wanted."""
        if len(self.cameras) == 1:
            return f"camera {self.cameras[0]} {verb} {self.condition}"
        return f"cameras {', '.join(self.cameras)} {verb_of_many} {self.condition}"


SCENARIOS: Mapping[str, Scenario] = {
    "dark": Scenario("dark", ("right",)),
    "blurry": Scenario("blurry", ("right",)),
    "black": Scenario(NO_PICTURE, ("right",)),
    "dusk": Scenario("dark", digits.CAMERAS),
    "healthy": Scenario("well", ()),
}


@dataclass
class Sightings:
    """What the exporter said of each slice while the story ran: its last window, and when it was first reported.

    ``too_early`` are the slices reported before anything had happened; ``faults`` what the cameras themselves have.
    """

    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    first_reported: dict[str, float] = field(default_factory=dict)
    too_early: frozenset[str] = frozenset()
    faults: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def look(self, document: dict[str, Any], now: float) -> None:
        """Take in an answer of ``/v1/evaluations``."""
        for window in windows_of(document):
            self.last[window["slice"]] = window
            if window["verdict"] in _REPORTED:
                self.first_reported.setdefault(window["slice"], now)
        self.faults = {camera["slice"]: camera["faults"] for camera in _evaluated(document, "cameras")}

    @property
    def reported(self) -> set[str]:
        """The cameras that were reported at any time."""
        return set(self.first_reported) & _CAMERAS

    @property
    def blind(self) -> set[str]:
        """The cameras of which nothing could be told at the end."""
        return {camera for camera in _CAMERAS if self.verdict(camera) == "insufficient"}

    def as_expected(self, scenario: Scenario) -> bool:
        """Whether exactly the cameras that were damaged were reported, and not before they were."""
        return self.reported == scenario.slices and not self.too_early and not self.blind

    def verdict(self, slice_: str) -> str:
        """The last verdict of a slice; ``insufficient`` where it was never seen."""
        return str(self.last.get(slice_, {}).get("verdict", "insufficient"))


def windows_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The demo model's windows in an answer of ``/v1/evaluations``."""
    return _evaluated(document, "windows")


def _evaluated(document: dict[str, Any], what: str) -> Iterator[dict[str, Any]]:
    for model in document["models"]:
        if model["model"] == MODEL:
            for evaluation in model["evaluations"]:
                yield from evaluation[what]


def play(*, config: Path, scenario: str, keep: bool, console: Console, port: int = 9109) -> bool:
    """Start an exporter, play ``scenario`` to it, tell what it found. True where just the damaged cameras were found.

    With ``keep`` the exporter stays up until Ctrl-C. Raises VisionDriftError where something does not start.
    """
    console.print("[bold]VisionDrift demo[/]: three cameras read handwritten digits.")
    token = load_config(config).read_token()
    with _exporter(config, _free_port(port, console), console) as url:
        console.print("Training the model under watch (its half of the digits is never in the stream) ...")
        stream = Stream(url, classifier.train(), token=token)
        try:
            stage = _Stage(stream, url, console)
            _story(stage, SCENARIOS[scenario])
        finally:
            stream.close()
        passed = _tell(stage.found, SCENARIOS[scenario], url, console)
        if keep:
            console.print(f"\nThe exporter stays up at [link={url}]{url}[/link] until Ctrl-C.")
            _wait_for_interrupt()
    return passed


def stream_forever(
    *, url: str, scenario: str, healthy_for: float, damaged_for: float, token: str | None, console: Console
) -> None:
    """Send the demo's stream to a running exporter until stopped: so many good seconds, so many bad ones, and again."""
    stream = Stream(url, classifier.train(), seed=int(time.time()), token=token)
    played = SCENARIOS[scenario]
    told: str | None = None
    second = 0
    while True:
        damaged = bool(played.cameras) and second % (healthy_for + damaged_for) >= healthy_for
        now = played.sentence("is", "are") if damaged else "all cameras are well"
        if now != told or second % _TELL_EVERY == 0:
            console.print(f"{stream.sent} frames sent; {now}")
            told = now
        stream.second(played.conditions if damaged else {})
        second += 1


@dataclass
class _Stage:
    """Where the story plays: the stream that is sent, the exporter that watches it, what was seen, who is told."""

    stream: Stream
    url: str
    console: Console
    found: Sightings = field(default_factory=Sightings)

    def run(self, conditions: Conditions, *, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Send the stream for so many seconds, or until ``until``; True where it was that."""
        begun = time.monotonic()
        shown = -_SHOW_EVERY_SECONDS
        while (passed := time.monotonic() - begun) < seconds:
            self.stream.second(conditions)
            self.found.look(_get(self.url, "/v1/evaluations"), time.monotonic() - begun)
            done = until()
            if done or passed - shown >= _SHOW_EVERY_SECONDS:
                shown = passed
                self._show(time.monotonic() - begun)
            if done:
                return True
        return False

    def _show(self, passed: float) -> None:
        said = (f"{c} {_coloured(self.found.verdict(slice_name('camera', c)))}" for c in digits.CAMERAS)
        self.console.print(f"  {passed:3.0f} s  {self.stream.sent:5d} frames   " + "   ".join(said), soft_wrap=True)


def _story(stage: _Stage, scenario: Scenario) -> None:
    found, console = stage.found, stage.console
    console.print("\n[bold]1. All three cameras are well.[/]")
    settled = stage.run({}, seconds=_HEALTHY_SECONDS, until=lambda: all(found.verdict(s) == "ok" for s in _CAMERAS))
    found.too_early = frozenset(found.reported)
    if not settled:
        return
    if not scenario.cameras:
        console.print("\n[bold]2. They stay well[/]: nothing may be reported.")
        stage.run({}, seconds=_DAMAGED_SECONDS)
        return
    others = "" if scenario.slices == _CAMERAS else ", the others stay as they are"
    console.print(f"\n[bold]2. {scenario.sentence('goes', 'go').capitalize()}[/]{others}.")
    told = stage.run(
        scenario.conditions,
        seconds=_DAMAGED_SECONDS,
        until=lambda: all(found.verdict(slice_) == "critical" for slice_ in scenario.slices),
    )
    more = "the cause has its moment, and a false alarm its chance" if told else "it has not been told yet"
    console.print(f"\n[bold]3. A moment more[/]: {more}.")
    stage.run(scenario.conditions, seconds=_REPORT_SECONDS)


def _tell(found: Sightings, scenario: Scenario, url: str, console: Console) -> bool:
    console.print()
    console.print(_table(found))
    reported, expected = found.reported, scenario.slices
    for name in sorted(reported):
        console.print(f"[bold]{name}[/] was reported {found.first_reported[name]:.0f} s into its part of the story.")
    for name in sorted(reported):
        console.print(f"[bold]{name}[/]: {_why(found.last[name])}", soft_wrap=True)
        for fault in found.faults.get(name, []):
            console.print(f"[bold]{name}[/]: the camera is {fault['name']}: {fault['evidence']}", soft_wrap=True)
    spread = found.last.get(ALL_SLICES, {}).get("spread")
    if reported and spread:
        console.print(f"Cameras: {spread['sentence']}", soft_wrap=True)
    for slice_ in sorted(reported):
        asked = f"model={MODEL}&version={VERSION}&slice={slice_}&window={WINDOW}"
        console.print(f"Evidently report: {url}/reports/latest?{asked}", soft_wrap=True)
        console.print(f"Images behind it: {url}/reports/latest/images?{asked}", soft_wrap=True)
    console.print(f"Page to open:     {url}/", soft_wrap=True)
    passed = found.as_expected(scenario)
    if passed:
        console.print(f"[green]As it should be:[/] {_told(scenario)}.")
    else:
        console.print(
            f"[red]Not as it should be:[/] reported {', '.join(sorted(reported)) or 'nobody'}, "
            f"expected {', '.join(sorted(expected)) or 'nobody'}"
            + (f"; reported before anything happened: {', '.join(sorted(found.too_early))}" if found.too_early else "")
            + (f"; could not tell about {', '.join(sorted(found.blind))}" if found.blind else "")
        )
    return passed


def _told(scenario: Scenario) -> str:
    if not scenario.cameras:
        return "nobody was reported"
    if scenario.slices == _CAMERAS:
        return "all cameras were reported"
    return f"camera {', '.join(scenario.cameras)} was reported, the healthy ones were not"


def _why(window: dict[str, Any]) -> str:
    """The cause that the exporter names, with its evidence, or that it names none."""
    return f"cause: {window['cause']['text']}" if window["cause"] and window["cause"]["text"] else "no cause is named"


def _table(found: Sightings) -> Table:
    table = Table(title="What the exporter says now", title_justify="left")
    table.add_column("signal")
    columns = [slice_name("camera", camera) for camera in digits.CAMERAS] + [ALL_SLICES]
    for name in columns:
        table.add_column("all together" if name == ALL_SLICES else name.replace("=", " "), justify="right")
    scores = {
        name: {entry["signal"]: entry for entry in found.last.get(name, {"signals": []})["signals"]} for name in columns
    }
    for signal_name in BY_NAME:
        if any(signal_name in entries for entries in scores.values()):
            table.add_row(BY_NAME[signal_name].title, *(_cell(scores[name].get(signal_name)) for name in columns))
    table.add_section()
    table.add_row("verdict", *(_coloured(found.verdict(name)) for name in columns))
    return table


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    score = "-" if entry["score"] is None else f"{entry['score']:.2f}"
    return f"{score} {_coloured(entry['verdict'])}"


def _coloured(verdict: str) -> str:
    colour = {"ok": "green", "warning": "yellow", "critical": "red"}.get(verdict, "bright_black")
    return f"[{colour}]{verdict}[/]"


@contextmanager
def _exporter(config: Path, port: int, console: Console) -> Iterator[str]:
    """A real exporter process on its embedded defaults, its state in a folder that goes with it."""
    state = Path(tempfile.mkdtemp(prefix="visiondrift-demo-"))
    url = f"http://{_HOST}:{port}"
    console.print(f"Starting the exporter at {url} ...")
    log = state / "exporter.log"
    command = [sys.executable, "-m", "visiondrift", "serve", "--config", str(config), "--state", str(state)]
    # Without this a SIGTERM would end the demo on the spot, and its exporter would go on without it for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [*command, "--host", _HOST, "--port", str(port), "--exporter-url", url],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(state, ignore_errors=True)


def _free_port(wanted: int, console: Console) -> int:
    """The port that was asked for where nobody listens at it: the demo must not play to somebody else's exporter."""
    try:
        with socket.create_server((_HOST, wanted)) as found:
            return int(found.getsockname()[1])
    except OSError as error:
        reason = os.strerror(error.errno or 0)
    with socket.create_server((_HOST, 0)) as found:
        port = int(found.getsockname()[1])
    console.print(f"Port {wanted} cannot be had ({reason}): the demo's exporter takes {port} instead.")
    return port


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    give_up = time.monotonic() + _READY_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise VisionDriftError(f"the exporter did not become ready at {url}; its last words:\n{words}")


def _get(url: str, path: str) -> dict[str, Any]:
    return dict(httpx.get(url + path, timeout=10).raise_for_status().json())


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        os.write(1, b"\n")
