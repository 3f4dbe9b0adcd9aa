"""Decides which image files are opened, and how: JPEG, PNG and WebP, within bounds that are checked before decoding.

The pixels come back upright (EXIF) and as RGB, whatever the file holds.
"""

import io
import struct
import zlib

from PIL import Image, ImageOps, UnidentifiedImageError

from visiondrift.intake.refusal import Refused

FORMATS = ("JPEG", "PNG", "WEBP")
ACCEPTED = "accepted is a JPEG, PNG or WebP file"

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's three decoders raise on damaged files; found by feeding them damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)
_DEEP_GREYS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def decode_image(data: bytes, *, max_bytes: int, max_pixels: int, field: str = "image") -> Image.Image:
    """The first frame of an encoded image: RGB, upright. Raises Refused (bad_image, image_too_large).

    Size in bytes and in pixels is compared with its bound before a pixel is decoded, so that a small file cannot
    unfold into gigabytes.
    """
    if len(data) > max_bytes:
        raise Refused(field, "image_too_large", f"the file has {len(data)} bytes; accepted is at most {max_bytes}")
    if not data:
        raise Refused(field, "bad_image", f"the image is empty; {ACCEPTED}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_pixels(image.size, max_pixels, field)
            image.load()
            return _rgb(_upright(image))
    except UnidentifiedImageError as error:
        raise Refused(field, "bad_image", f"the data is no image that can be read; {ACCEPTED}") from error
    except _BOMBS as error:
        raise Refused(field, "image_too_large", f"{error}; accepted is at most {max_pixels} pixels") from error
    except Refused:
        raise
    except _DAMAGE as error:
        raise Refused(field, "bad_image", f"the image is damaged or cut short ({error}); {ACCEPTED}") from error


def _check_pixels(size: tuple[int, int], max_pixels: int, field: str) -> None:
    width, height = size
    if width * height > max_pixels:
        message = f"the image has {width} x {height} pixels; accepted is at most {max_pixels} in all"
        raise Refused(field, "image_too_large", message)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        # Cameras write broken EXIF blocks around good pixels; without a readable orientation it is as stored.
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_GREYS:
        # Pillow cuts 16-bit greys at 255, which turns nearly all of them white.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    return image.convert("RGB")
