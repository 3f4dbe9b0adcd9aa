"""How a table is printed: whole. Nothing is cut off, neither in a narrow terminal nor in a pipe."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_WIDE = 1000
"""Columns where no terminal says how many it has; a table takes no more of them than it needs."""


def console() -> Console:
    """A console on the output as it is now: as wide as the terminal, or as wide as needed."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def tsv(rows: Iterable[Sequence[str]]) -> str:
    """Rows as lines with tabs between cells; a tab, a line's end or a backslash in one is escaped by a backslash."""
    escaped = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
    return "\n".join("\t".join(cell.translate(escaped) for cell in row) for row in rows)


def table_of(*columns: str, numbers: tuple[str, ...] = (), title: str | None = None) -> Table:
    """An empty table; ``numbers`` are set to the right and never broken."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        is_number = name in numbers
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return table
