"""``check-config``, and where every command finds its configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from visiondrift.config import Config, load_config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.schema import THRESHOLDS_FILE
from visiondrift.config.words import did_you_mean
from visiondrift.errors import BadInput, ConfigError, ReferenceUnusable

app = typer.Typer()

ConfigOption = Annotated[
    Path,
    typer.Option("--config", envvar="VISIONDRIFT_CONFIG", help="Folder that holds monitoring.yml and thresholds.yml."),
]
DEFAULT_CONFIG = Path("exporter/config")
_MOST_NAMED = 10


@app.command("check-config")
def check_config(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Validate both configuration files without starting anything. Exits 0 where they are good, 3 where not.

    Of levels for a slice that the reference does not know it warns: it may be a new camera.
    """
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
        for warning in _unknown_slices(loaded, model):
            typer.echo(f"  {model.name}: {warning}", err=True)


def _unknown_slices(config: Config, model: WatchedModel) -> Iterator[str]:
    """Of each slice with levels of its own that the model's reference does not hold, that it does not.

    Nothing of a reference that is not here: the files may be checked elsewhere, or before it is built.
    """
    own = config.thresholds.models.get(model.name)
    if own is None or not own.slices:
        return
    from visiondrift.reference import read_manifest

    try:
        manifest = read_manifest(config.path(config.monitoring.reference_data) / model.reference)
    except ReferenceUnusable:
        return
    for slice_ in own.slices:
        label, _, value = slice_.partition("=")
        known = [one for one in manifest.slices.get(label, ()) if one]
        if value not in known:
            holds = f"it holds {', '.join(known[:_MOST_NAMED])}{' ...' if len(known) > _MOST_NAMED else ''}"
            yield (
                f"{THRESHOLDS_FILE} has levels for {slice_}, and the reference {model.reference} has no {label} "
                f"{value}{did_you_mean(value, known)}: {holds if known else f'it knows of no {label}'}"
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
