"""How a file is written so that it is there whole or not at all, also after a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

_UNFINISHED = ".part"


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of ``path`` when the block ends; where it raises, nothing is left behind.

    Raises OSError where the disk does.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED, delete=False) as file:
        unfinished = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            unfinished.chmod(0o644)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def left_behind(directory: Path) -> Iterator[Path]:
    """The unfinished files in ``directory``: where nobody writes there now, those of writers that were killed."""
    return directory.glob(f".*{_UNFINISHED}")
