"""The vocabulary of camera health: which faults there are, which of them hides which, and what is said of a camera."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

FaultName = Literal["late", "clock", "black", "white", "frozen", "covered", "resolution", "moved", "unfocused"]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)
"""Most fundamental first. Also the values of a metric's label."""

Certainty = Literal["certain", "likely"]

_OF_PICTURES: frozenset[FaultName] = frozenset(FAULTS[2:])
HIDES: Mapping[FaultName, frozenset[FaultName]] = {
    "late": _OF_PICTURES,
    "clock": frozenset(),
    "black": _OF_PICTURES - {"black"},
    "white": _OF_PICTURES - {"black", "white"},
    "frozen": frozenset({"covered", "moved", "unfocused"}),
    "covered": frozenset({"moved", "unfocused"}),
    "resolution": frozenset({"moved", "unfocused"}),
    "moved": frozenset({"unfocused"}),
    "unfocused": frozenset(),
}
"""What cannot be told beside a fault: of a black picture nobody knows whether it is in focus."""

CLEAR = 0.5
"""Share of the way to its limit below which a fault is over: between here and the limit it stays what it was."""


@dataclass(frozen=True)
class Fault:
    """One fault: since when (seconds since the epoch), the evidence in words and numbers, and how sure it is."""

    name: FaultName
    since: float
    evidence: str
    certainty: Certainty


@dataclass(frozen=True)
class Reading:
    """One look for one fault: ``reach`` is the way to its limit, 0 as in the reference, from 1 on the fault is there.

    ``since`` is when it began as far as the frames at hand say; ``evidence`` and ``certainty`` are those of the fault.
    """

    reach: float
    since: float
    evidence: str
    certainty: Certainty = "likely"


Answer = Reading | str
"""A reading, or why there is none."""


@dataclass(frozen=True)
class CameraHealth:
    """How one camera is, ``at`` a time: a ``slice`` of the first label, or all events of a model without labels.

    ``reach`` maps each fault that could be judged to the way to its limit (from 1 on it is there), ``unknown`` each
    other one to the reason. ``last_frame`` is the time of the newest event, None where there is none.
    """

    slice: str
    at: float
    last_frame: float | None
    faults: tuple[Fault, ...] = ()
    reach: Mapping[FaultName, float] = field(default_factory=dict)
    unknown: Mapping[FaultName, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether no fault was found; also true where nothing could be judged."""
        return not self.faults

    def has(self, name: FaultName) -> bool:
        """Whether this fault was found."""
        return any(fault.name == name for fault in self.faults)


def health_of(
    slice_: str,
    answers: Mapping[FaultName, Answer],
    *,
    at: float,
    last_frame: float | None,
    earlier: CameraHealth | None = None,
) -> CameraHealth:
    """What the ``answers`` come to, one for each of FAULTS, given what was said ``earlier``.

    A fault begins at its limit and ends at ``CLEAR`` of the way to it, and keeps the time since when it is there. What
    a fault hides is unknown.
    """
    before = {fault.name: fault for fault in earlier.faults} if earlier else {}
    faults: list[Fault] = []
    reach: dict[FaultName, float] = {}
    unknown: dict[FaultName, str] = {}
    hidden: dict[FaultName, FaultName] = {}
    for name in FAULTS:
        answer = answers[name]
        if name in hidden:
            unknown[name] = f"cannot be told beside the fault: {hidden[name]}"
        elif isinstance(answer, str):
            unknown[name] = answer
        else:
            reach[name] = answer.reach
            known = before.get(name)
            if answer.reach >= 1 or (known is not None and answer.reach >= CLEAR):
                since = min(known.since, answer.since) if known else answer.since
                faults.append(Fault(name, since, answer.evidence, answer.certainty))
                hidden = dict.fromkeys(HIDES[name], name) | hidden
    return CameraHealth(slice_, at, last_frame, tuple(faults), reach, unknown)
