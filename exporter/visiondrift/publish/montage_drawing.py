"""What a montage looks like: pictures in pairs, in two columns, with what is known of each in words below.

It is drawn with Pillow and its own typeface, so that it is the same on every machine and needs no network.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIDE = 200
"""Pixels of a picture's place, across and down."""

_GAP, _MARGIN, _LINE = 12, 20, 17
_LARGEST_SCALE = 4
_MOST_PIXELS = 4_000_000
_MOST_LETTERS = 160  # of a line: more than fit into any, so that endless text is not measured letter by letter
_QUALITY = 86
_PAPER, _INK, _FAINT, _PLACE, _MARK = (255, 255, 255), (28, 36, 48), (90, 102, 117), (238, 241, 244), (204, 36, 36)


@dataclass(frozen=True)
class Tile:
    """A picture of the window, the reference's beside it (both JPEG files), and the lines below them."""

    picture: bytes
    beside: bytes | None
    captions: tuple[str, ...]


def draw(tiles: Sequence[Tile], *, title: str, note: str, paired: bool) -> bytes:
    """A JPEG file of ``tiles``, of which there is at least one; ``paired`` leaves room for the reference's pictures."""
    columns = min(2 if paired else 4, len(tiles))
    rows = -(-len(tiles) // columns)
    lines = max(len(tile.captions) for tile in tiles)
    card_width = 2 * SIDE + _GAP if paired else SIDE
    card_height = SIDE + lines * _LINE + 2 * _GAP
    # One picture alone must not cut the title off.
    width = max(2 * _MARGIN + columns * card_width + (columns - 1) * 2 * _GAP, 2 * _MARGIN + 2 * SIDE + _GAP)
    heading = [title, *_wrapped(_reading(paired=paired), width), *_wrapped(note, width)]
    top = _MARGIN + 8 + len(heading) * (_LINE + 3) + _GAP
    sheet = Image.new("RGB", (width, top + rows * card_height + _MARGIN - _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.fontmode = "L"
    for number, line in enumerate(heading):
        size, ink = (18, _INK) if number == 0 else (13, _FAINT)
        at = (_MARGIN, _MARGIN + number * (_LINE + 3) + (0 if number == 0 else 6))
        _write(pen, at, line, ink=ink, right=width, size=size)
    for number, tile in enumerate(tiles):
        left = _MARGIN + (number % columns) * (card_width + 2 * _GAP)
        _card(sheet, pen, tile, (left, top + number // columns * card_height), card_width, paired=paired)
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def _reading(*, paired: bool) -> str:
    if paired:
        return (
            "Left, framed in red: images of this window, the most responsible for the drift first. "
            "Right: of each the most similar image of the reference."
        )
    return "Images of this window, the most responsible for the drift first."


def _card(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], width: int, *, paired: bool
) -> None:
    left, top = corner
    _place(sheet, pen, tile.picture, (left, top), frame=_MARK)
    if paired:
        _place(sheet, pen, tile.beside, (left + SIDE + _GAP, top), frame=_PLACE)
    for number, line in enumerate(tile.captions):
        ink = _INK if number == 0 else _FAINT
        _write(pen, (left, top + SIDE + 6 + number * _LINE), line, ink=ink, right=left + width + _GAP)


def _place(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    file: bytes | None,
    corner: tuple[int, int],
    *,
    frame: tuple[int, int, int],
) -> None:
    """A picture in the middle of its place; where it cannot be read, words."""
    left, top = corner
    pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=_PLACE)
    picture = _opened(file)
    if picture is None:
        _write(pen, (left + 10, top + SIDE // 2 - 8), "no picture kept", ink=_FAINT, right=left + SIDE)
        return
    offset = (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2)
    sheet.paste(picture, offset)
    right, bottom = offset[0] + picture.width, offset[1] + picture.height
    pen.rectangle((offset[0] - 1, offset[1] - 1, right, bottom), outline=frame, width=2)


def _opened(file: bytes | None) -> Image.Image | None:
    if file is None:
        return None
    try:
        with Image.open(io.BytesIO(file), formats=("JPEG",)) as found:
            if found.width * found.height > _MOST_PIXELS:
                return None
            picture = found.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    inside = SIDE - 2
    scale = min(inside / picture.width, inside / picture.height, _LARGEST_SCALE)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _write(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    *,
    ink: tuple[int, int, int],
    right: int,
    size: int = 13,
) -> None:
    """One line, cut where it would pass ``right``. Letters that the typeface lacks are written as question marks."""
    font = ImageFont.load_default(size)
    text = "".join(
        letter if letter.isascii() or letter == "·" else "?" for letter in " ".join(text[:_MOST_LETTERS].split())
    )
    room = right - corner[0] - _GAP
    if pen.textlength(text, font=font) > room:
        while text and pen.textlength(f"{text}...", font=font) > room:
            text = text[:-1]
        text = f"{text}..."
    pen.text(corner, text, font=font, fill=ink)


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines that fit into so many pixels, roughly."""
    most = max(20, (width - 2 * _MARGIN) // 7)
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
