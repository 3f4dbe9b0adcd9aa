"""What a source is, and how its address may be written and shown: a password in it is for the decoder alone."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from visiondrift.config.collect import SCHEMES, is_stream, shown_address
from visiondrift.errors import BadInput

SENT = (".jpg", ".jpeg", ".png", ".webp")
"""Images that are kept and sent as the file that they are."""

IMAGES = (*SENT, ".bmp", ".gif", ".tif", ".tiff")
"""Images of a folder."""

ALONE = tuple(suffix for suffix in IMAGES if suffix != ".gif")
"""Images that are named alone: a GIF may hold many pictures, and is read as a video then."""

_DAY = 86400.0
"""Seconds that the clock of who made a recording may be ahead."""

_WEB_FILES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""What the address of a recording on a web server ends in. A server's playlist or stream may come to be later."""


@dataclass(frozen=True)
class Source:
    """Where frames come from: ``address`` is a URL or a path.

    ``look`` is how often a frame of a stream or video is looked at, in seconds; ``start`` the time of a recording's
    first frame, in seconds since the epoch; ``watch`` says to wait for new images in a folder instead of ending.
    ``password`` belongs to the user that the address names.
    """

    name: str
    address: str = field(repr=False)
    look: float = 1.0
    start: float | None = None
    watch: bool = False
    max_pixels: int = 40_000_000
    max_bytes: int = 10 * 2**20
    password: str | None = field(default=None, repr=False)

    @property
    def is_url(self) -> bool:
        """Whether the address is one of the network."""
        return is_stream(self.address)

    @property
    def is_web_file(self) -> bool:
        """Whether the address is by its name that of a recording on a web server, which is there or is not."""
        place = urlsplit(self.address) if self.is_url else None
        return place is not None and place.scheme in {"http", "https"} and Path(place.path).suffix.lower() in _WEB_FILES

    @property
    def shown(self) -> str:
        """The address as it may be printed."""
        return shown_address(self.address)

    @property
    def secret_address(self) -> str:
        """The address with everything that its server asks for: never to be printed."""
        if self.password is None:
            return self.address
        scheme, _, rest = self.address.partition("://")
        user, _, place = rest.rpartition("@")
        return f"{scheme}://{user}:{quote(self.password, safe='')}@{place}"


class Missing(BadInput):
    """The path of a source is not there: perhaps not now only, as with a disk that is not mounted."""


def check_source(source: Source) -> None:
    """Raises BadInput where there can be no frames: Missing where a path is not there."""
    if source.start is not None and not 0 <= source.start <= time.time() + _DAY:
        raise BadInput(f"{source.shown}: its start lies before 1970 or ahead; accepted is when a recording began")
    if source.is_url:
        if source.watch:
            raise BadInput(f"{source.shown}: only a folder can be watched; a stream goes on by itself")
        return
    if "://" in source.address:
        raise BadInput(
            f"{source.shown}: this is no stream that can be read; accepted are {', '.join(SCHEMES)} and paths"
        )
    path = Path(source.address)
    if not path.exists():
        raise Missing(f"{path}: there is no such file or folder; accepted is a video, an image, a folder, or a URL")
    if source.watch and not path.is_dir():
        raise BadInput(f"{path}: only a folder can be watched")
    if source.start is not None and (path.is_dir() or path.suffix.lower() in ALONE):
        raise BadInput(
            f"{path}: only a recording has a start; an image is of the time and zone in its EXIF, else of when the "
            "file was written"
        )
