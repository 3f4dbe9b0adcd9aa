"""Reads the two YAML files into one frozen ``Config``, or says everything that is wrong with them at once.

A problem is one line: ``file:line: path: what is wrong; what is accepted``.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from visiondrift.config.checks import check_monitoring, check_thresholds, slice_labels
from visiondrift.config.explain import explain
from visiondrift.config.monitoring import MonitoringConfig, WatchedModel
from visiondrift.config.schema import MONITORING_FILE, THRESHOLDS_FILE
from visiondrift.config.thresholds import ThresholdsConfig
from visiondrift.config.tree import Document, Finding, Where, read_document
from visiondrift.errors import ConfigError

_LARGEST = 2**20
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Config:
    """Both files, validated together. ``digest`` changes when either file's content does."""

    directory: Path
    monitoring: MonitoringConfig
    thresholds: ThresholdsConfig
    models: tuple[WatchedModel, ...]
    digest: str
    token_line: int = field(default=1, compare=False)

    def path(self, relative: Path) -> Path:
        """A path that a configuration file names, relative to the directory of that file."""
        return (self.directory / relative).resolve()

    def read_token(self) -> str | None:
        """The bearer token that intake asks for, or None where no file is named. For serving only.

        Raises ConfigError where the file is missing, unreadable or empty: a service that was meant to ask for a token
        must not start without one.
        """
        named = self.monitoring.server.token_file
        if named is None:
            return None
        file = self.path(named)
        where = f"{self.directory / MONITORING_FILE}:{self.token_line}: server.token_file"
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            problem = f"{where}: {file} cannot be read ({reason}); accepted is a file that holds the token"
            raise ConfigError([problem]) from error
        if not token:
            raise ConfigError([f"{where}: {file} is empty; accepted is a file that holds the token"])
        return token


def load_config(directory: Path) -> Config:
    """The configuration in ``directory``. Raises ConfigError with one line per problem, of both files."""
    if not directory.is_dir():
        found = "is not a directory" if directory.exists() else "does not exist"
        expected = f"accepted is a directory with {MONITORING_FILE} and {THRESHOLDS_FILE}"
        raise ConfigError([f"{directory}: it {found}; {expected}"])
    contents = {name: _read(directory / name) for name in (MONITORING_FILE, THRESHOLDS_FILE)}
    documents = {name: _document(content) for name, content in contents.items()}
    watched, alerting = documents[MONITORING_FILE], documents[THRESHOLDS_FILE]
    monitoring, monitoring_findings = _validated(MonitoringConfig, watched, check_monitoring)
    known = None if watched.broken else slice_labels(watched.value)
    thresholds, thresholds_findings = _validated(
        ThresholdsConfig, alerting, lambda value: check_thresholds(value, known)
    )
    problems = [
        *_lines(directory / MONITORING_FILE, watched, monitoring_findings),
        *_lines(directory / THRESHOLDS_FILE, alerting, thresholds_findings),
    ]
    if problems or monitoring is None or thresholds is None:
        raise ConfigError(problems)
    return Config(
        directory=directory.resolve(),
        monitoring=monitoring,
        thresholds=thresholds,
        models=monitoring.watched(),
        digest=_digest(contents),
        token_line=watched.line(("server", "token_file")),
    )


def config_digest(directory: Path) -> str:
    """A hash of what both files hold now: equal to ``Config.digest`` exactly while that configuration is current.

    By content, so that it does not matter how an editor, a mount or a checkout puts the file there. A file that is
    missing or unreadable counts as one of its own kind.
    """
    return _digest({name: _read(directory / name) for name in (MONITORING_FILE, THRESHOLDS_FILE)})


class ConfigWatcher:
    """Notices an edit: to be polled every second or so by one thread."""

    def __init__(self, directory: Path, digest: str) -> None:
        """Watches ``directory``, whose current configuration has ``digest`` (``Config.digest``)."""
        self._directory = directory
        self._settled = digest
        self._seen = digest

    def poll(self) -> Config | None:
        """The new configuration, or None where nothing changed.

        A change is read once it was the same at two polls, so that a file half written is not judged. Raises
        ConfigError, once for each content, where the new files cannot be used: keep the last good one.
        """
        digest = config_digest(self._directory)
        is_new = digest != self._settled
        is_stable, self._seen = digest == self._seen, digest
        if not (is_new and is_stable):
            return None
        self._settled = digest
        return load_config(self._directory)


def _read(file: Path) -> bytes | str:
    """The content, or why there is none."""
    try:
        with file.open("rb") as handle:
            content = handle.read(_LARGEST + 1)
    except FileNotFoundError:
        return f"there is no such file; accepted is a directory with {MONITORING_FILE} and {THRESHOLDS_FILE}"
    except OSError as error:
        return f"it cannot be read ({error.strerror}); accepted is a readable file"
    return "it is larger than 1 MiB; accepted is a file of settings" if len(content) > _LARGEST else content


def _digest(contents: Mapping[str, bytes | str]) -> str:
    digest = hashlib.sha256()
    for content in contents.values():
        kind, data = (b"text", content.encode()) if isinstance(content, str) else (b"file", content)
        digest.update(b"%s %d\0%s" % (kind, len(data), data))
    return digest.hexdigest()


def _document(content: bytes | str) -> Document:
    return read_document(content) if isinstance(content, bytes) else Document(broken=(0, content))


def _validated(
    model: type[_Model], document: Document, check: Callable[[Any], Any]
) -> tuple[_Model | None, list[Finding]]:
    """The model where it is valid, and everything that is wrong with the document."""
    if document.broken:
        line, text = document.broken
        return None, [Finding((), text, line)]
    findings = list(document.findings)
    valid: _Model | None = None
    try:
        # Through JSON: there pydantic can be strict (no text for a number) and yet take text for a path.
        valid = model.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        findings += explain(model, error)
    findings += check(document.value)
    return valid, findings


def _lines(file: Path, document: Document, findings: list[Finding]) -> list[str]:
    if document.broken and not document.broken[0]:
        return [f"{file}: {document.broken[1]}"]
    placed = sorted((finding.line or document.line(finding.where), index) for index, finding in enumerate(findings))
    lines = [f"{file}:{line}: {_path(findings[index].where)}{findings[index].text}" for line, index in placed]
    return list(dict.fromkeys(lines))


def _path(where: Where) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return f"{text.removeprefix('.')}: " if text else ""
