"""Frames from image files: one, or all of a folder by age, which may be watched for more."""

import io
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from PIL import ExifTags, Image

from visiondrift.collect.frames import Frame, Tally
from visiondrift.collect.sources import IMAGES, SENT, Source
from visiondrift.errors import BadInput
from visiondrift.intake.decode import FORMATS, decode_image
from visiondrift.intake.refusal import Refused

_POLL_SECONDS = 1.0
_MOST_BYTES_A_PIXEL = 4
_READ = (*FORMATS, "BMP", "GIF", "TIFF")
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"})


def image_frame(source: Source, path: Path, name: str, tally: Tally, tell: Callable[[str], None]) -> Frame | None:
    """The frame in an image file; None, counted and told, where it cannot be decoded."""
    try:
        if path.suffix.lower() not in SENT:
            return _of_another_kind(source, path, name)
        with path.open("rb") as file:
            encoded = file.read(source.max_bytes + 1)
        image = decode_image(encoded, max_bytes=source.max_bytes, max_pixels=source.max_pixels)
        return Frame(_taken(encoded, path), image, name=name, encoded=encoded)
    except (Refused, OSError) as error:
        tally.corrupt += 1
        tell(f"{source.name}: {name}: {error}")
        return None


def _of_another_kind(source: Source, path: Path, name: str) -> Frame:
    """The first picture of a BMP, GIF or TIFF file, which no exporter takes as it is. Raises Refused, OSError.

    It goes through a PNG file, so that depth, palette and transparency come out as those of all other images.
    """
    most = _MOST_BYTES_A_PIXEL * source.max_pixels
    with path.open("rb") as file:
        encoded = file.read(most + 1)
    if len(encoded) > most:
        raise Refused("image", "image_too_large", f"the file is too large; accepted is at most {most} bytes")
    between = io.BytesIO()
    try:
        with Image.open(io.BytesIO(encoded), formats=_READ) as image:
            if image.width * image.height > source.max_pixels:
                size = f"{image.width} x {image.height} pixels; accepted is at most {source.max_pixels} in all"
                raise Refused("image", "image_too_large", f"the image has {size}")
            (image if image.mode in _PNG_MODES else image.convert("RGB")).save(between, "PNG", compress_level=1)
    except (Refused, OSError):
        raise
    except Exception as error:
        raise Refused("image", "bad_image", f"the image is damaged or cut short ({error})") from error
    png = between.getvalue()
    picture = decode_image(png, max_bytes=len(png), max_pixels=source.max_pixels)
    return Frame(_taken(encoded, path), picture, name=name)


def folder_frames(
    source: Source, tally: Tally, stop: threading.Event, *, tell: Callable[[str], None]
) -> Iterator[Frame]:
    """The images below a folder, the oldest first; new ones too, until ``stop``, where it is watched.

    A file that is written again is looked at again, so one met half written is seen when it is whole. Raises BadInput
    where a folder that is not watched holds no image.
    """
    folder = Path(source.address)
    seen: set[int] = set()
    damaged: set[Path] = set()
    tally.state = "watching" if source.watch else "reading"
    while not stop.is_set():
        found = _listed(folder)
        for number, (_, path, stamp) in enumerate(found, start=1):
            if stop.is_set():
                return
            if stamp not in seen:
                seen.add(stamp)
                # Of a file that was met half written, what was said of it does not count any more.
                tally.corrupt -= path in damaged
                damaged.discard(path)
                frame = image_frame(source, path, path.relative_to(folder).as_posix(), tally, tell)
                if frame is None:
                    damaged.add(path)
                else:
                    yield frame
            tally.share = None if source.watch else number / len(found)
        if not source.watch:
            if not found:
                raise BadInput(f"{folder}: no image lies there; accepted are {', '.join(IMAGES)}")
            return
        seen.intersection_update(stamp for _, _, stamp in found)
        stop.wait(_POLL_SECONDS)


def _listed(folder: Path) -> list[tuple[int, Path, int]]:
    """Age, path and stamp of every image below a folder, the oldest first."""
    found = []
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGES:
            try:
                state = path.stat()
            except OSError:  # it went while the folder was read
                continue
            if not stat.S_ISREG(state.st_mode):  # to open a pipe would wait for whoever writes to it
                continue
            found.append((state.st_mtime_ns, path, hash((str(path), state.st_mtime_ns, state.st_size))))
    return sorted(found)


def _taken(encoded: bytes, path: Path) -> float:
    """When an image was taken: by its EXIF where that names the zone as well, else when its file was written."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_READ) as image:
            exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
        day, _, clock = str(exif[ExifTags.Base.DateTimeOriginal]).partition(" ")
        zone = str(exif[ExifTags.Base.OffsetTimeOriginal])
        return datetime.fromisoformat(f"{day.replace(':', '-')}T{clock}{zone}").timestamp()
    except (KeyError, ValueError, OSError, SyntaxError, TypeError):
        return path.stat().st_mtime
