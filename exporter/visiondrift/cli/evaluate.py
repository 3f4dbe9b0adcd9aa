"""``evaluate``: one evaluation from files without a server, or one for each tick of a recording (``--replay``)."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from visiondrift.errors import BadInput

app = typer.Typer()


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Option(help="A reference folder, or a Parquet file.")],
    window: Annotated[Path, typer.Option(help="A Parquet file: time, slice columns, embedding, confidence_<class>.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Folder with the thresholds to hold the scores against.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose settings and thresholds, with --config.")] = None,
    min_samples: Annotated[int | None, typer.Option(min=2, help="Events that a score needs.")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Evaluate tick by tick through the file, and say when alarms would fire.")
    ] = False,
    output: Annotated[Literal["table", "json", "tsv"], typer.Option("-o", "--output")] = "table",
) -> None:
    """Compare a window with a reference, both from files. Exits 0 ok, 1 drift, 2 cannot tell, 3 bad input."""
    if model is not None and config is None:
        raise BadInput("--model: it chooses among the models of a configuration; give --config with it")
    from visiondrift.cli.comparison import compare

    status = compare(
        reference, window, config=config, model=model, min_samples=min_samples, replay=replay, output=output
    )
    raise typer.Exit(status)
