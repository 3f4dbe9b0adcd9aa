"""The command line: thin. What goes wrong is told in a sentence, with exit status 3 where the input was at fault.

Statuses 0, 1 and 2 are answers of ``evaluate``, so nothing else may end with 1 or 2 by accident: not a mistyped option,
not a crash, not a reader that has gone.
"""

import os
import sys
import traceback
from typing import cast

import typer
from rich.console import Console

from visiondrift import __version__
from visiondrift.cli.collect import app as collect_app
from visiondrift.cli.config import app as config_app
from visiondrift.cli.evaluate import app as evaluate_app
from visiondrift.cli.files import app as files_app
from visiondrift.cli.references import app as references_app
from visiondrift.cli.run import app as run_app
from visiondrift.cli.similarity import app as similarity_app
from visiondrift.errors import VisionDriftError

BAD_INPUT = 3
DEFECT = 70
"""EX_SOFTWARE of sysexits.h."""
READER_GONE = 141
"""What a shell reports of a program that ended because nobody reads its output any more."""

_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""Of the click that this typer comes with, whichever that is: any call that the options do not allow."""

app = typer.Typer(
    name="visiondrift",
    help="Notices when a vision model's world changes; says what changed, where, and how sure it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for group in (run_app, collect_app, config_app, evaluate_app, similarity_app, files_app):
    app.add_typer(group)
app.add_typer(references_app, name="reference")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"visiondrift {__version__}")


def main() -> None:
    """Run the command line and end the process with its status."""
    # Evidently phones home unless told not to before it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    sys.exit(_status())


def _status() -> int:
    try:
        status = app(standalone_mode=False, prog_name="visiondrift")
        sys.stdout.flush()
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return BAD_INPUT
    except (VisionDriftError, OSError) as error:
        return _reader_gone() if isinstance(error, BrokenPipeError) else _refuse(error)
    except SystemExit as error:
        # Rich and typer make a status of their own of a broken pipe.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        return _reader_gone()
    except Exception:  # noqa: BLE001  a crash would end with status 1, which says drift
        traceback.print_exc()
        return DEFECT
    return status if isinstance(status, int) else 0


def _refuse(error: VisionDriftError | OSError) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    Console(stderr=True).print(f"visiondrift: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    return BAD_INPUT


def _reader_gone() -> int:
    # Python flushes once more at its end, and would complain then.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE
