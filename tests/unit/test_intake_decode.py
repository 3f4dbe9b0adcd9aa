"""Decoding: which images are taken, how they come out, and that hostile files cost nothing and break nothing."""

import io
import random
import struct
import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from intake_parts import picture
from visiondrift.intake.decode import FORMATS, decode_image
from visiondrift.intake.refusal import Refused

MEBIBYTE = 2**20


def decode(data: bytes, *, max_bytes: int = MEBIBYTE, max_pixels: int = 1_000_000) -> Image.Image:
    return decode_image(data, max_bytes=max_bytes, max_pixels=max_pixels)


def refused(data: bytes, **bounds: int) -> Refused:
    with pytest.raises(Refused) as caught:
        decode(data, **bounds)
    assert caught.value.field == "image"
    assert "accepted is" in str(caught.value)
    return caught.value


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_png_and_webp_come_out_as_rgb(kind: str, mode: str) -> None:
    image = decode(picture((40, 30), kind, mode))
    assert (image.mode, image.size) == ("RGB", (40, 30))
    ramp = np.asarray(image)[15, :, 0].astype(int)
    assert ramp[0] < 20
    assert ramp[-1] > 235


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
def test_every_kind_of_png_comes_out_as_the_same_ramp(mode: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (30, 1))
    source = Image.fromarray(ramp)
    source = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else source.convert(mode)
    file = io.BytesIO()
    source.save(file, "PNG")
    found = np.asarray(decode(file.getvalue())).astype(int)
    assert found.shape == (30, 40, 3)
    columns = np.abs(found[..., 0].mean(axis=0) - ramp[0])  # a dithered bit is right on average only
    assert columns.max() < (40 if mode == "1" else 6)


def test_a_jpeg_in_cmyk_is_taken() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(file, "JPEG")
    red, green, blue = decode(file.getvalue()).getpixel((4, 4))
    assert (red > 200, green < 60, blue < 60) == (True, True, True)


def test_an_image_comes_out_upright() -> None:
    file = io.BytesIO()
    image = Image.new("RGB", (40, 30))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    image.save(file, "JPEG", exif=exif)
    assert decode(file.getvalue()).size == (30, 40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_a_broken_exif_block_does_not_cost_the_image() -> None:
    data = picture((40, 30), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert decode(data).size == (40, 30)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(file.getvalue()).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "ICO", "PPM", "TGA"])
def test_any_other_format_is_refused(kind: str) -> None:
    assert refused(picture((32, 32), kind)).reason == "bad_image"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"hello",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"\x89PNG\r\n\x1a\n" + picture((9, 9), "JPEG"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refused(data).reason == "bad_image"


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_that_is_cut_short_is_refused(kind: str) -> None:
    whole = picture((200, 200), kind)
    for share in (0.2, 0.5, 0.9):
        assert refused(whole[: int(len(whole) * share)]).reason == "bad_image"


def test_a_file_with_too_many_bytes_is_refused() -> None:
    assert refused(picture(), max_bytes=10).reason == "image_too_large"


def test_an_image_with_too_many_pixels_is_refused_by_its_header() -> None:
    error = refused(picture((100, 100)), max_pixels=9_999)
    assert error.reason == "image_too_large"
    assert "100 x 100" in str(error)
    assert decode(picture((100, 100)), max_pixels=10_000).size == (100, 100)


def test_a_bomb_costs_no_time() -> None:
    # 4 MB of zeros unpack to 4 GB: 36,000 x 36,000 pixels in a file of 4 MB.
    bomb = png(36_000, 36_000, zlib.compress(bytes(4 * MEBIBYTE), 9))
    started = time.process_time()
    assert refused(bomb, max_pixels=40_000_000).reason == "image_too_large"
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("side", [9_500, 20_000, 2**31 - 1])
def test_dimensions_beyond_pillow_s_own_bounds_are_too_large(side: int) -> None:
    assert refused(png(side, side, zlib.compress(b"")), max_pixels=10**12).reason == "image_too_large"


def test_a_bomb_in_a_text_chunk_is_refused() -> None:
    text = b"note\x00\x00" + zlib.compress(bytes(64 * MEBIBYTE), 9)
    head = png(8, 8, zlib.compress(bytes(8 * 25)))
    bomb = head[:33] + chunk(b"zTXt", text) + head[33:]
    assert refused(bomb).reason == "bad_image"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_are_images_or_refused_and_never_anything_else(kind: str) -> None:
    whole = picture((64, 48), kind)
    rng = random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with suppress(Refused):
            assert decode(bytes(data)).mode == "RGB"
