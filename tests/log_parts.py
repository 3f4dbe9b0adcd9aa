"""What tests of the prediction log share: events and histories of them, a log of either kind, a disk that fills up."""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, ImageStats, PredictionEvent, Rejection, joined_reasons

CLASSES = ("cat", "dog", "fox")
DIMENSION = 8
MIB = 2**20


def event(number: int, **changes: object) -> PredictionEvent:
    """Event ``number``, at second ``number``; its embedding and confidences follow from the number."""
    rng = np.random.default_rng(number)
    plain = PredictionEvent(
        id=f"e{number}",
        time=float(number),
        model="digits",
        version="1",
        slices=(("camera", f"c{number % 2}"),),
        embedder="clip",
        embedding=rng.normal(size=DIMENSION).astype(np.float32),
        classes=CLASSES,
        confidences=rng.dirichlet(np.ones(3)).astype(np.float32),
        predicted_class=CLASSES[number % 3],
        latency_ms=float(number),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def stats(number: int) -> ImageStats:
    """What might have been measured of the image of event ``number``."""
    rng = np.random.default_rng((number, 1))
    return ImageStats(
        rng.normal(size=len(PROPERTIES)).astype(np.float32), rng.random(LAYOUT_SIDE**2).astype(np.float32)
    )


def refusal(model: str = "digits") -> Rejection:
    return Rejection(index=0, id=None, field="time", reason="bad_time", message="no", model=model)


def new_log(kind: str, folder: Path) -> MemoryLog | SqliteLog:
    return MemoryLog() if kind == "memory" else SqliteLog(folder / "log.sqlite")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A real file system of 12 MiB, mounted at ``folder``. Skips the test where it cannot be made."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


KEPT_FOR = (
    "",
    "uniform",
    "every",
    "every+prompt",
    "uniform+low_confidence",
    "prompt",
    "low_confidence",
    "prompt+unlike",
)


def is_fair(kept: str) -> bool:
    """Whether a window reads what was kept for that."""
    return not kept or not {"uniform", "every"}.isdisjoint(kept.split("+"))


def held_of(batches: Iterable[Sequence[PredictionEvent]]) -> list[PredictionEvent]:
    """By hand: of events of one id the first, with the reasons of those after it that are the same event."""
    first: dict[tuple[str, str], PredictionEvent] = {}
    for batch in batches:
        for sent in batch:
            known = first.setdefault((sent.model, sent.id), sent)
            if (known.version, known.slices, known.time) == (sent.version, sent.slices, sent.time):
                first[sent.model, sent.id] = replace(known, kept=joined_reasons(known.kept, sent.kept))
    return list(first.values())


STREAMS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["digits", "faces"]),
        "version": st.sampled_from(["1", "2"]),
        "slices": st.sampled_from([(), (("camera", "c0"),), (("camera", "c1"),), (("camera", "c0"), ("site", "n"))]),
        "embedder": st.sampled_from(["clip", "other-clip"]),
        "classes": st.sampled_from([CLASSES, CLASSES[::-1]]),
        "time": st.integers(0, 40).map(float),
        "kept": st.sampled_from(KEPT_FOR),
    }
)
EVENTS = st.builds(
    lambda number, bare, seen, changes: event(
        number,
        **({"embedding": None} if bare else {}),
        **({"image_stats": stats(number)} if seen else {}),
        **changes,
    ),
    st.integers(0, 30),
    st.booleans(),
    st.booleans(),
    STREAMS,
)
BATCHES = st.lists(st.lists(EVENTS, max_size=8), max_size=8)
QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
