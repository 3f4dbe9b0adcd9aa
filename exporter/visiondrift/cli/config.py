"""``check-config``, and where every command finds its configuration."""

from pathlib import Path
from typing import Annotated

import typer

from visiondrift.config import Config, load_config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.errors import BadInput, ConfigError

app = typer.Typer()

ConfigOption = Annotated[
    Path,
    typer.Option("--config", envvar="VISIONDRIFT_CONFIG", help="Folder that holds monitoring.yml and thresholds.yml."),
]
DEFAULT_CONFIG = Path("exporter/config")


@app.command("check-config")
def check_config(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Validate both configuration files without starting anything. Exits 0 where they are good, 3 where not."""
    try:
        loaded = load_config(config)
    except ConfigError as error:
        typer.echo("\n".join(error.problems), err=True)
        raise typer.Exit(3) from error
    typer.echo(f"{config}: good")
    for model in loaded.models:
        windows = ", ".join(model.windows)
        typer.echo(
            f"  {model.name}: every {model.evaluate_every:g} s over {windows}; reference {model.reference}; "
            f"{len(model.classes)} classes; slices {', '.join(model.slices) or 'none'}; "
            f"owner {loaded.thresholds.owner(model.name)}"
        )


def chosen_model(config: Config, name: str | None) -> WatchedModel:
    """The model of that name; without a name, the only one. Raises BadInput."""
    names = ", ".join(model.name for model in config.models)
    if name is None:
        if len(config.models) == 1:
            return config.models[0]
        raise BadInput(f"--model: the configuration has several models; name one of {names}")
    for model in config.models:
        if model.name == name:
            return model
    raise BadInput(f"--model: there is no model '{name}' in the configuration; accepted are {names}")
