"""How the witnesses of a reference are kept: one file of arrays beside it, without pickle and of bounded size.

They are of the images that the reference was built from and of one embedder, and are used with no other. A file that
is damaged is told and is as good as none: drift is seen without it, only not named.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.explain.witnesses import Probe, Trace, Witnesses
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES
from visiondrift.whole_file import written_whole

logger = logging.getLogger(__name__)

WITNESS_FILE = "witnesses.npz"
MOST_BYTES = 64 * 2**20
MOST_TRACES = 500
MOST_PROBES = 200
MOST_COLUMNS = 8192

_FORMAT = 2
_WITHOUT_LAYOUTS = 1
"""The format before layouts were learnt: it is read, and the witness that looks at them stays silent."""


@dataclass(frozen=True, eq=False)
class KeptWitnesses:
    """``identity`` tells these from any others; ``embedder`` made their embeddings, "" where they have none."""

    witnesses: Witnesses
    embedder: str
    identity: str


def save_witnesses(directory: Path, witnesses: Witnesses, *, embedder: str) -> None:
    """Keep them beside the reference in ``directory``, whole or not at all. Raises OSError where the disk does."""
    words = {
        "format": _FORMAT,
        "embedder": embedder,
        "traces": [asdict(trace) for trace in witnesses.traces],
        "probes": [asdict(probe) for probe in witnesses.probes],
    }
    arrays: dict[str, NDArray[Any]] = {
        "words": np.frombuffer(json.dumps(words, ensure_ascii=False).encode(), dtype=np.uint8),
        "before": witnesses.before,
        "after": witnesses.after,
        "layouts_before": witnesses.layouts_before,
        "layouts_after": witnesses.layouts_after,
        "moves": witnesses.moves,
        "directions": witnesses.directions,
    }
    with written_whole(directory / WITNESS_FILE) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_witnesses(directory: Path) -> KeptWitnesses | None:
    """What is kept beside the reference in ``directory``; None where nothing is, or it is damaged."""
    file = directory / WITNESS_FILE
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > MOST_BYTES:
            logger.warning("%s: larger than %d bytes, and not read", file, MOST_BYTES)
            return None
        content = file.read_bytes()
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        witnesses, embedder = _read(arrays)
    except Exception as error:  # noqa: BLE001  what damage makes of a file may raise anything, and is as good as none
        logger.warning("%s: the witnesses cannot be read (%s: %s)", file, type(error).__name__, error)
        return None
    return KeptWitnesses(witnesses, embedder, hashlib.sha256(content).hexdigest()[:24])


def _read(arrays: Mapping[str, NDArray[Any]]) -> tuple[Witnesses, str]:
    words = json.loads(arrays["words"].astype(np.uint8).tobytes())
    if words["format"] not in {_FORMAT, _WITHOUT_LAYOUTS}:
        msg = f"format {words['format']} is neither {_WITHOUT_LAYOUTS} nor {_FORMAT}"
        raise ValueError(msg)
    traces = tuple(Trace(str(t["cause"]), int(t["severity"]), int(t["way"])) for t in words["traces"])
    probes = tuple(
        Probe(p["name"], p["positive"], p["negative"], tuple(p["toward"]), tuple(p["away"])) for p in words["probes"]
    )
    before, after, moves, directions = (
        arrays[name].astype(np.float32) for name in ("before", "after", "moves", "directions")
    )
    if words["format"] == _WITHOUT_LAYOUTS:
        layouts_before = np.zeros((0, LAYOUT_SIDE**2), np.float32)
        layouts_after = np.zeros((len(traces), 0, LAYOUT_SIDE**2), np.float32)
    else:
        layouts_before, layouts_after = (
            arrays[name].astype(np.float32) for name in ("layouts_before", "layouts_after")
        )
    images, seen, columns = len(before), len(layouts_before), moves.shape[1]
    shapes = {
        "before": (before, (images, len(PROPERTIES))),
        "after": (after, (len(traces), images, len(PROPERTIES))),
        "layouts_before": (layouts_before, (seen, LAYOUT_SIDE**2)),
        "layouts_after": (layouts_after, (len(traces), seen, LAYOUT_SIDE**2)),
        "moves": (moves, (len(traces), columns)),
        "directions": (directions, (len(probes), columns)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape or not np.isfinite(array).all():
            msg = f"{name} is {array.shape}, or not finite; {shape} was due"
            raise ValueError(msg)
    if max(len(traces) / MOST_TRACES, len(probes) / MOST_PROBES, columns / MOST_COLUMNS) > 1:
        msg = f"at most {MOST_TRACES} traces, {MOST_PROBES} probes and {MOST_COLUMNS} columns are read"
        raise ValueError(msg)
    found = Witnesses(traces, before, after, layouts_before, layouts_after, moves, probes, directions)
    return found, str(words["embedder"])
