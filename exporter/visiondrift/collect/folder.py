"""Reads back what a folder of collected frames says of itself: when each was taken, and whether chance chose it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import get_args

from visiondrift.errors import BadInput
from visiondrift.prediction import Kept, bias_of

MANIFEST = "manifest.jsonl"
_REASONS = frozenset(get_args(Kept))


@dataclass(frozen=True)
class Collected:
    """Of the files (paths below the folder, with ``/``) that its manifest lists: ``times`` in seconds since the epoch,
    and those that are ``biased``: kept for what they show and for no other reason. ``slices`` are by label, of files
    that were kept for a model.
    """

    times: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    biased: frozenset[str] = frozenset()


def collected(folder: Path) -> Collected:
    """What ``manifest.jsonl`` in ``folder`` says; nothing where there is none. A line that a killed collection left
    unfinished is passed over. Raises BadInput with the line's number for one that is whole and none of ours.
    """
    file = folder / MANIFEST
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return Collected()
    except OSError as error:
        raise BadInput(f"{file}: it cannot be read ({error.strerror})") from error
    times: dict[str, float] = {}
    slices: dict[str, Mapping[str, str]] = {}
    biased = set()
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
        if all(bias_of(reason) for reason in reasons):
            biased.add(name)
    return Collected(times, slices, frozenset(biased))
