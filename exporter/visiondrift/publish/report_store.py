"""Where reports are kept: two or three files each in one folder, the last N, found again after a restart.

A report's JSON says what it is about, so the folder is its own index. The HTML and the montage are written first and
the JSON last, each by renaming a finished file: a report that is listed is whole.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from visiondrift.whole_file import left_behind, written_whole

_OURS = re.compile(r"\d{8}T\d{6}_.+_[0-9a-f]{8}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")
_PART_LENGTH = 40

Kind = Literal["html", "json", "jpg"]
"""The page, what it says, and the montage."""


@dataclass(frozen=True)
class ReportDocument:
    """A report: a self-contained page, what it says as JSON-ready values, and a montage as a JPEG file (None: none)."""

    html: str
    data: dict[str, Any]
    montage: bytes | None = None


@dataclass(frozen=True)
class StoredReport:
    """One kept report. ``at`` is the time of its evaluation, seconds since the epoch."""

    name: str
    model: str
    version: str
    slice: str
    window: str
    at: float
    verdict: str
    has_montage: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is about."""
        return self.model, self.version, self.slice, self.window


class ReportStore:
    """Reports in ``directory``, which is created; at most ``keep`` of them. Calls may come from several threads."""

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory = directory
        self._keep = keep
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._reports = {report.name: report for report in _found(directory)}
        self._sweep()
        self._prune()

    @property
    def directory(self) -> Path:
        """Where the files are."""
        return self._directory

    def write(self, document: ReportDocument, *, model: str, version: str, slice_: str, window: str, at: float) -> str:
        """Keep ``document`` and return its name. Raises OSError; then nothing of it is left behind."""
        name = _name(model, version, slice_, window, at)
        about = {"model": model, "version": version, "slice": slice_, "window": window, "at": at}
        text = json.dumps(document.data | about, ensure_ascii=False, allow_nan=False, default=_plain)
        with self._lock:
            try:
                _write(self._path(name, "html"), document.html.encode())
                if document.montage is not None:
                    _write(self._path(name, "jpg"), document.montage)
                _write(self._path(name, "json"), text.encode())
            except OSError:
                self._remove(name)
                raise
            verdict, has_montage = str(document.data.get("verdict", "")), document.montage is not None
            self._reports[name] = StoredReport(name, model, version, slice_, window, at, verdict, has_montage)
            self._prune()
        return name

    def entries(self) -> tuple[StoredReport, ...]:
        """Every kept report, newest first."""
        with self._lock:
            return tuple(_newest_first(self._reports.values()))

    def latest(self, model: str, version: str, slice_: str, window: str) -> StoredReport | None:
        """The newest report on one window whose page is still there; None where there is none. "" means any."""
        wanted = (model, version, slice_, window)
        for report in self.entries():
            is_wanted = all(asked in {"", found} for asked, found in zip(wanted, report.key, strict=True))
            if is_wanted and self._path(report.name, "html").is_file():
                return report
        return None

    def named(self, name: str) -> StoredReport | None:
        """The kept report of that name; None where there is none."""
        with self._lock:
            return self._reports.get(name)

    def path(self, name: str, kind: Kind) -> Path | None:
        """The file of a kept report; None for any name that is not one, so that no name can lead elsewhere."""
        with self._lock:
            path = self._path(name, kind) if name in self._reports else None
        return path if path and path.is_file() else None

    def _path(self, name: str, kind: str) -> Path:
        return self._directory / f"{name}.{kind}"

    def _prune(self) -> None:
        """Drop the oldest beyond ``keep``; the newest on each window stay longest, because alerts link to them."""
        seen: set[tuple[str, str, str, str]] = set()
        newest: list[StoredReport] = []
        older: list[StoredReport] = []
        for report in _newest_first(self._reports.values()):
            (older if report.key in seen else newest).append(report)
            seen.add(report.key)
        for report in (newest + older)[self._keep :]:
            self._remove(report.name)
            del self._reports[report.name]

    def _remove(self, name: str) -> None:
        # The JSON goes first: what is without it is not listed.
        for kind in ("json", "html", "jpg"):
            self._path(name, kind).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what an interrupted write or prune left behind, and nothing that is not ours."""
        orphans = [
            path
            for path in self._directory.iterdir()
            if path.suffix in {".html", ".jpg"} and _OURS.fullmatch(path.stem) and path.stem not in self._reports
        ]
        for path in (*left_behind(self._directory), *orphans):
            path.unlink(missing_ok=True)


def _newest_first(reports: Iterable[StoredReport]) -> list[StoredReport]:
    return sorted(reports, key=lambda report: (report.at, report.name), reverse=True)


def _found(directory: Path) -> list[StoredReport]:
    found = []
    for path in directory.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(path.read_text(encoding="utf-8"))
            model, version, slice_, window = (str(data[key]) for key in ("model", "version", "slice", "window"))
            if _OURS.fullmatch(path.stem) and path.with_suffix(".html").is_file():
                verdict = str(data.get("verdict", ""))
                has_montage = path.with_suffix(".jpg").is_file()
                at = float(data["at"])
                found.append(StoredReport(path.stem, model, version, slice_, window, at, verdict, has_montage))
    return found


def _name(model: str, version: str, slice_: str, window: str, at: float) -> str:
    """A file name that a person can read; the digest keeps apart what the readable part cannot."""
    stamp = datetime.fromtimestamp(at, tz=UTC).strftime("%Y%m%dT%H%M%S")
    readable = "_".join(_UNSAFE.sub("-", part)[:_PART_LENGTH] for part in (model, version, slice_, window))
    exact = hashlib.sha256(repr((model, version, slice_, window, at)).encode()).hexdigest()[:8]
    return f"{stamp}_{readable}_{exact}"


def _write(path: Path, content: bytes) -> None:
    with written_whole(path) as file:
        file.write(content)


def _plain(value: Any) -> object:
    """NumPy's numbers as Python's; anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
