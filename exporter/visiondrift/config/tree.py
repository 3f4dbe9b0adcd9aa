"""How YAML is read: plain values, the line of every entry, and a complaint for everything that YAML lets slip.

Refused are duplicate keys, keys that are not text, tags, and aliases that contain themselves or multiply. Dates stay
text: no setting is a date, and a class may be called 2024-01-01.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from visiondrift.config.words import shown

Where = tuple[str | int, ...]
"""The way to an entry from the root of a file: ``("models", 0, "windows")``."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with an entry, and what is accepted. ``line`` is 0 where that is the line of the entry."""

    where: Where
    text: str
    line: int = 0


_MOST_ENTRIES = 50_000
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + kind for kind in ("null", "bool", "int", "float", "str")}
_AS_TEXT = {_TAG + "timestamp", _TAG + "value"}


@dataclass(frozen=True)
class Document:
    """One file as plain values. ``lines`` maps the way to each entry to its line, counted from 1."""

    value: Any = None
    lines: Mapping[Where, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    broken: tuple[int, str] | None = None
    """Line (0 where it has none) and words where the file cannot be read at all."""

    def line(self, where: Where) -> int:
        """The line of an entry, or of the nearest one around it that exists."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def read_document(content: bytes) -> Document:
    """The values in a YAML file; whatever is wrong is in the answer, nothing is raised."""
    reader = _Reader()
    line = 1
    try:
        node = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        line = node.start_mark.line + 1 if node else 1
        value = reader.read(node, ()) if node else None
        if isinstance(value, dict):
            return Document(value, reader.lines, tuple(reader.findings))
        words = f"the file holds {shown(value)}; accepted is a mapping of settings"
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        words = f"byte {error.start} is not UTF-8; accepted is text in UTF-8"
    except yaml.reader.ReaderError as error:
        line = content.decode("utf-8-sig")[: error.position].count("\n") + 1
        words = f"the character {chr(error.character)!r} is not allowed in YAML; accepted is plain text"
    except yaml.MarkedYAMLError as error:
        line, words = _syntax(error)
    except RecursionError:
        words = "it is nested too deeply, or an alias contains itself; accepted is plain YAML"
    except OverflowError:
        words = f"it has more than {_MOST_ENTRIES} entries; accepted are fewer"
    return Document(broken=(line, words))


def _syntax(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    context = f"{error.context}, " if error.context else ""
    if error.context and error.context_mark and error.context_mark.line + 1 != line:
        context = f"{error.context} that begins on line {error.context_mark.line + 1}, "
    return line, f"this is not YAML, at column {column}: {context}{error.problem}"


class _Reader:
    """Turns nodes into values; keeps the lines and the findings it meets on the way."""

    def __init__(self) -> None:
        self.lines: dict[Where, int] = {(): 1}
        self.findings: list[Finding] = []
        self._entries = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, where: Where) -> Any:
        """The value of a node. Raises OverflowError, and RecursionError for an alias inside of itself."""
        self._entries += 1
        if self._entries > _MOST_ENTRIES:
            raise OverflowError
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._entry(item, (*where, index), item) for index, item in enumerate(node.value)]
        return self._scalar(node, where)

    def _entry(self, value: yaml.Node, where: Where, at: yaml.Node) -> Any:
        self.lines[where] = at.start_mark.line + 1
        return self.read(value, where)

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged.extend(self._merged(value_node, where))
                continue
            key = self._key(key_node, where)
            if key is None:
                continue
            if key in mapping:
                before = self.lines[(*where, key)]
                text = f"it is given before, on line {before}; accepted is one of each"
                self.findings.append(Finding((*where, key), text, key_node.start_mark.line + 1))
                continue
            mapping[key] = self._entry(value_node, (*where, key), key_node)
        for key_node, value_node in merged:
            key = self._key(key_node, where)
            if key is not None and key not in mapping:
                mapping[key] = self._entry(value_node, (*where, key), key_node)
        return mapping

    def _merged(self, node: yaml.Node, where: Where) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        line = node.start_mark.line + 1
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                text = "<< merges something that is not a mapping; accepted is an alias of one"
                self.findings.append(Finding(where, text, line))
                continue
            for key_node, value_node in source.value:
                if key_node.tag == _TAG + "merge":
                    yield from self._merged(value_node, where)
                else:
                    yield key_node, value_node

    def _key(self, node: yaml.Node, where: Where) -> str | None:
        key = self.read(node, where)
        if isinstance(key, str):
            return key
        hint = f', such as "{node.value}" in quotes' if isinstance(node, yaml.ScalarNode) and node.value else ""
        text = f"the key {shown(key)} is not text; accepted is text{hint}"
        self.findings.append(Finding(where, text, node.start_mark.line + 1))
        return None

    def _scalar(self, node: yaml.Node, where: Where) -> Any:
        if node.tag in _AS_TEXT:
            return node.value
        try:
            if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN:
                return self._scalars.construct_object(node)
        except (ValueError, OverflowError):
            pass
        tag = node.tag.replace(_TAG, "!!")
        text = f"the tag {tag} does not fit here; accepted are plain values without a tag"
        self.findings.append(Finding(where, text, node.start_mark.line + 1))
        return None
