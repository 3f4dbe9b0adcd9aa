"""The command line: thin. What goes wrong is told in a sentence, with exit status 3 where the input was at fault."""

import os
import sys

import typer
from rich.console import Console

from visiondrift import __version__
from visiondrift.cli.config import app as config_app
from visiondrift.cli.files import app as files_app
from visiondrift.cli.references import app as references_app
from visiondrift.cli.run import app as run_app
from visiondrift.errors import VisionDriftError

BAD_INPUT = 3

app = typer.Typer(
    name="visiondrift",
    help="Notices when a vision model's world changes; says what changed, where, and how sure it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for group in (run_app, config_app, files_app):
    app.add_typer(group)
app.add_typer(references_app, name="reference")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"visiondrift {__version__}")


def main() -> None:
    """Run the command line; expected errors become one message and exit status 3."""
    # Evidently phones home unless told not to before it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        app()
    except VisionDriftError as error:
        Console(stderr=True).print(f"visiondrift: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): nothing is wrong, and nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
