"""``serve``, ``demo`` and ``health``: the commands that run something."""

import logging
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Literal

import typer

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption
from visiondrift.config import load_config
from visiondrift.config.units import parse_duration
from visiondrift.errors import BadInput

app = typer.Typer()

Scenario = Literal["dark", "blurry", "black", "dusk", "healthy"]
TokenFile = Annotated[Path | None, typer.Option(help="File that holds the token to send with each request.")]


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for the prediction log and the reports.")] = None,
    exporter_url: Annotated[str | None, typer.Option(envvar="VISIONDRIFT_EXPORTER_URL")] = None,
    grafana_url: Annotated[str | None, typer.Option(envvar="VISIONDRIFT_GRAFANA_URL")] = None,
    prometheus_url: Annotated[str | None, typer.Option(envvar="VISIONDRIFT_PROMETHEUS_URL")] = None,
    runbook_url: Annotated[str | None, typer.Option(envvar="VISIONDRIFT_RUNBOOK_URL")] = None,
) -> None:
    """Run the exporter: take predictions, evaluate on schedule, publish metrics, pages and reports."""
    workers = os.environ.get("WEB_CONCURRENCY", "1")
    if workers != "1":
        raise BadInput(f"WEB_CONCURRENCY is {workers!r}: metrics and schedule live in one process; unset it, or set 1")
    # Of the libraries only what is wrong: uvicorn and open_clip tell of every step.
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("visiondrift").setLevel(logging.INFO)
    from visiondrift.api.server import listen, run
    from visiondrift.service import Overrides, Service

    overrides = Overrides(
        host=host,
        port=port,
        state=state,
        exporter_url=exporter_url,
        grafana_url=grafana_url,
        prometheus_url=prometheus_url,
        runbook_url=runbook_url,
    )
    server = overrides.apply(load_config(config)).monitoring.server
    # The port comes first: whoever has it may well be an exporter on the same state folder.
    with listen(server.host, server.port) as listener:
        run(Service(config, overrides), listener)


@app.command()
def demo(
    config: ConfigOption = DEFAULT_CONFIG,
    scenario: Annotated[
        Scenario, typer.Option(envvar="VISIONDRIFT_DEMO_SCENARIO", help="What happens to a camera, or at dusk to all.")
    ] = "dark",
    port: Annotated[int, typer.Option(help="Port for the demo's exporter; 0 takes any free one.")] = 9109,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the exporter up at the end, until Ctrl-C.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Only send the stream, to the exporter at --url.")] = False,
    url: Annotated[str, typer.Option(help="With --stream: where the exporter is.")] = "http://localhost:9109",
    healthy_for: Annotated[
        str, typer.Option(envvar="VISIONDRIFT_DEMO_HEALTHY_FOR", help="With --stream: how long all cameras are well.")
    ] = "4m",
    damaged_for: Annotated[
        str, typer.Option(envvar="VISIONDRIFT_DEMO_DAMAGED_FOR", help="With --stream: how long it then is not so.")
    ] = "10m",
    token_file: TokenFile = None,
) -> None:
    """Play three cameras to a real exporter; those that go bad and no others must be reported (exit 0), else 1."""
    from rich.console import Console

    from visiondrift.demo.play import play, stream_forever

    console = Console(highlight=False)
    if stream:
        token = token_file.read_text(encoding="utf-8").strip() if token_file else None
        stream_forever(
            url=url,
            scenario=scenario,
            healthy_for=_seconds("--healthy-for", healthy_for),
            damaged_for=_seconds("--damaged-for", damaged_for),
            token=token,
            console=console,
        )
    elif not play(config=config, scenario=scenario, keep=keep, console=console, port=port):
        raise typer.Exit(1)


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadInput(f"{option}: {error}") from error


@app.command()
def health(url: Annotated[str, typer.Option(help="Where the exporter is.")] = "http://127.0.0.1:9109") -> None:
    """Ask a running exporter whether it is ready. Exits 0 where it is, 1 where not."""
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"--url: {url} is no web address; accepted is http://HOST:PORT")
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=4) as answer:  # noqa: S310 - the scheme was checked
            typer.echo(answer.read().decode())
    except urllib.error.HTTPError as error:
        typer.echo(error.read().decode(errors="replace"), err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        typer.echo(f"{url} does not answer: {error}", err=True)
        raise typer.Exit(1) from error
