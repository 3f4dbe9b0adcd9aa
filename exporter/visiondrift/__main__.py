"""The command ``visiondrift`` and ``python -m visiondrift``: small, so that Ctrl-C is answered while the rest loads."""

import sys

INTERRUPTED = 130
"""What a shell reports of a program that SIGINT ended."""


def main() -> None:
    """Run the command line and end the process with its status."""
    try:
        from visiondrift.cli import main as run  # noqa: PLC0415 - takes a second or two

        run()
    except KeyboardInterrupt:
        sys.stderr.write("visiondrift: interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
