"""How pictures of a reference are kept: small JPEG files in one archive beside it, each named by the row that it is of.

They are there for the eyes of a person who compares, so a few hundred stand for all rows. An archive that cannot be
read is as good as none.
"""

import logging
import re
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visiondrift.whole_file import written_whole

logger = logging.getLogger(__name__)

PICTURES_FILE = "pictures.zip"

MOST_PICTURES = 400
"""Pictures of one reference, at most."""

MOST_BYTES = 256 * 1024
"""Of one picture."""

_NAME = re.compile(r"(\d{1,9})\.jpg")


def save_pictures(directory: Path, pictures: Mapping[int, bytes]) -> None:
    """Keep ``pictures`` (row -> JPEG file) beside the reference in ``directory``. Raises OSError."""
    with (
        written_whole(directory / PICTURES_FILE) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,  # the pictures are compressed already
    ):
        for row, picture in sorted(pictures.items())[:MOST_PICTURES]:
            # A ZipInfo of its own has no time of day in it: the same pictures are the same file.
            archive.writestr(zipfile.ZipInfo(f"{row}.jpg"), picture)


class ReferencePictures:
    """The pictures beside the reference in ``directory``, read when they are asked for."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / PICTURES_FILE

    @property
    def rows(self) -> NDArray[np.intp]:
        """(k,) the rows of the reference that have a picture, ascending."""
        return np.array(sorted(self._pictures), dtype=np.intp)

    def of_row(self, row: int) -> bytes | None:
        """The picture of a row as a JPEG file; None where there is none."""
        return self._pictures.get(row)

    @cached_property
    def _pictures(self) -> Mapping[int, bytes]:
        if not self._file.is_file():
            return {}
        try:
            with zipfile.ZipFile(self._file) as archive:
                listed = [(_NAME.fullmatch(entry.filename), entry) for entry in archive.infolist()[:MOST_PICTURES]]
                # What an entry says of its size is not believed: no more than so much is read of it.
                return {
                    int(name[1]): picture
                    for name, entry in listed
                    if name and len(picture := _read(archive, entry)) <= MOST_BYTES
                }
        except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
            logger.warning("%s: the pictures cannot be read (%s)", self._file, error)
            return {}


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        return file.read(MOST_BYTES + 1)
