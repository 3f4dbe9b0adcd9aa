"""Decides how a form with files becomes rows: curl can send one, with no base64 and no code.

The part ``events`` is the JSON batch, in which ``image`` is the file name of a part ``images``.
"""

from collections.abc import Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from visiondrift.intake.batch import BadBody, Row, TooManyEvents, rows_of_json
from visiondrift.intake.refusal import Refused, shown

_ACCEPTED = "accepted is multipart/form-data with one part events (JSON) and parts images (files)"


def rows_of_form(content_type: str, body: bytes, *, max_events: int) -> list[Row]:
    """The rows of a form, each with the bytes of its file as its image. Raises BadBody, TooManyEvents."""
    texts, files = _parts(content_type, body, max_parts=max_events + 1)
    rows = rows_of_json(texts, max_events=max_events)
    named = {row["image"] for row in rows if isinstance(row, dict) and isinstance(row.get("image"), str)}
    if unused := files.keys() - named:
        raise BadBody(f"no event names the file {shown(min(unused))} as its image; {_ACCEPTED}")
    known = shown(", ".join(sorted(files)), 200)
    return [_with_file(row, files, known) for row in rows]


def _with_file(row: Row, files: Mapping[str, bytes], known: str) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("image"), str):
        return row
    name = row["image"]
    if name in files:
        return {**row, "image": files[name]}
    message = f"the form has no file named {shown(name)}; accepted are {known}"
    return {**row, "image": Refused("image", "bad_image", message)}


class _Form:
    """Collects the parts of a form as the parser meets them."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[tuple[dict[str, str], bytearray]] = []
        self.complete = False
        self._max_parts = max_parts
        self._name = b""
        self._value = b""

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }

    def _end(self) -> None:
        self.complete = True

    def _begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            raise TooManyEvents(f"the form has more than {self._max_parts} parts; send fewer events at a time")
        self.parts.append(({}, bytearray()))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1][1].extend(memoryview(data)[start:end])

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self.parts[-1][0].update({key.decode("latin-1"): _utf8(value) for key, value in options.items()})
        self._name = self._value = b""


def _utf8(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _parts(content_type: str, body: bytes, *, max_parts: int) -> tuple[bytes, dict[str, bytes]]:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadBody(f"the content type names no boundary; {_ACCEPTED}")
    form = _Form(max_parts)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadBody(f"the form cannot be read ({error}); {_ACCEPTED}") from error
    if not form.complete:
        raise BadBody(f"the form is cut short; {_ACCEPTED}")
    events: bytes | None = None
    files: dict[str, bytes] = {}
    for headers, data in form.parts:
        name, filename = headers.get("name"), headers.get("filename")
        if name == "events" and events is None:
            events = bytes(data)
        elif name == "images" and filename and filename not in files:
            files[filename] = bytes(data)
        else:
            raise BadBody(f"part {shown(name)} with file name {shown(filename)} has no place here; {_ACCEPTED}")
    if events is None:
        raise BadBody(f"the form has no part events; {_ACCEPTED}")
    return events, files
