"""Reads back what a folder of collected frames says of itself: when each was taken, whether chance chose it, and what a
model said of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import get_args

from visiondrift.errors import BadInput
from visiondrift.intake import vectors
from visiondrift.intake.refusal import Refused, shown
from visiondrift.prediction import Kept, all_reasons, bias_of

MANIFEST = "manifest.jsonl"
_REASONS = frozenset(get_args(Kept))


@dataclass(frozen=True)
class Collected:
    """Of the files (paths below the folder, with ``/``) that its manifest lists: ``times`` in seconds since the epoch,
    and the ``reasons`` why each was kept, of all its lines together. ``slices`` are by label, of files that were kept
    for a model. ``confidences`` are by class, from 0 to 1, of files that a model server was asked about.
    """

    times: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reasons: Mapping[str, frozenset[Kept]] = field(default_factory=dict)
    confidences: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def biased(self) -> frozenset[str]:
        """The files that were kept for what they show and for no other reason."""
        return frozenset(name for name, reasons in self.reasons.items() if bias_of(all_reasons(reasons)))


def collected(folder: Path, *, classes: tuple[str, ...] = ()) -> Collected:
    """What ``manifest.jsonl`` in ``folder`` says; nothing where there is none. A line that a killed collection left
    unfinished is passed over. A file that was collected again for more has more lines than one, which add up. Raises
    BadInput with the line's number for one that is whole and none of ours, or that has confidences of other classes
    than ``classes``, where these are given.
    """
    file = folder / MANIFEST
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return Collected()
    except OSError as error:
        raise BadInput(f"{file}: it cannot be read ({error.strerror})") from error
    times: dict[str, float] = {}
    slices: dict[str, Mapping[str, str]] = {}
    confidences: dict[str, Mapping[str, float]] = {}
    why: dict[str, frozenset[Kept]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        try:
            name, time, reasons = found["file"], datetime.fromisoformat(found["time"]), found["kept"]
            own = {str(label): str(value) for label, value in found.get("slices", {}).items()}
            whole = isinstance(name, str) and time.tzinfo and reasons and _REASONS.issuperset(reasons)
        except (ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise BadInput(
                f"{file}, line {number}: accepted is a line of `collect --to-folder`: an object with file, time "
                f"(RFC 3339) and kept, a list of {', '.join(sorted(_REASONS))}"
            )
        times[name] = time.timestamp()
        slices[name] = own
        why[name] = why.get(name, frozenset()).union(reasons)
        if found.get("confidences") is not None:
            confidences[name] = _confidences(found["confidences"], classes, f"{file}, line {number}")
    return Collected(times, slices, why, confidences)


def _confidences(given: object, classes: tuple[str, ...], where: str) -> Mapping[str, float]:
    """Confidences by class, checked as those of an event are; some of ``classes`` will do."""
    if not isinstance(given, Mapping):
        raise BadInput(
            f'{where}: confidences {shown(given)}: accepted is a map such as {{"cat": 0.9}}, or a line without them'
        )
    names = classes or tuple(given)
    try:
        values = vectors.confidences(given, names or ("",)).tolist()
    except Refused as error:
        raise BadInput(f"{where}: {error}; or a line without confidences") from error
    return {name: value for name, value in zip(names, values, strict=True) if name in given}
