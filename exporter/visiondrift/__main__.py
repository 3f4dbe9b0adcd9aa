"""``python -m visiondrift``: the same as the command ``visiondrift``."""

from visiondrift.cli import main

main()
