"""When a cause may be named: what each witness testifies, and that two of them must agree.

A witness testifies only where its panel is beyond chance and some known fault accounts for most of the move; and it
testifies to every fault that accounts for it nearly as well, as traces of blur and of fewer pixels hardly differ. The
word is what all of them leave over. Properties and layouts are measured on the pixels. Properties may speak alone where
they leave no doubt, layouts speak in their place of what has moved; anything else is unknown, with the evidence: a
wrong word is worse than none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, cycle
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.explain.contrasts import Reading
from visiondrift.drift.explain.witnesses import LAYOUT, PATTERN, PROBE, PROPERTY, SIGNATURE, Probe

Witness = Literal["property", "layout", "signature", "probe"]

TRACED: Mapping[str, Witness] = {PATTERN: "property", LAYOUT: "layout", SIGNATURE: "signature"}
"""Whose panels are of what faults leave behind."""

ALPHA = 0.01
"""The chance at which a witness that sees nothing testifies all the same."""

NEARLY: Mapping[str, float] = {PATTERN: 0.03, LAYOUT: 0.05, SIGNATURE: 0.05}
"""Faults whose match is within this of the best are as good as the best."""

LEAST_MATCH: Mapping[str, float] = {PATTERN: 0.7, LAYOUT: 0.7, SIGNATURE: 0.5}
"""Cosine of the move with a fault's trace below which that fault does not account for it."""

ALONE_MATCH, ALONE_ALPHA = 0.95, 1e-4
"""The match and the chance that are asked where the properties are the only witness."""

FAR = 10.0
"""A move of the embeddings that is so far (squared, in what chance makes it) and which a fault's signature does not
account for, is not that fault's: the camera shows something else. A fixed camera that shows what another one sees
moved by some 250, like no fault by more than 0.25; faults that move by 10 or more match by 0.85.
"""

FITS = 0.93
"""The match, of pixels or of embeddings, that is asked of a move so far, where chance no longer excuses a worse one and
neither layouts nor words and pixels agree. Photographs and clips before the demo's network, which knows digits alone,
are like a fault by up to 0.92; faults that moved fixed cameras so far match by 0.94 or more, but for those that move
the picture, which layouts tell.
"""

LONGER = 2.0
"""A move of the embeddings that is so many times as long as the farthest that a fault took the reference's images,
though by the properties it would be a milder case of it, is not that fault's. Photographs before the demo's network,
which knows digits alone, move 2.2 times as far as the strongest noise; faults of the greatest severity, twice as strong
as those that were tried, move their embeddings up to 1.7 times as far, or their properties farther too.
"""

UNKNOWN = "unknown"
"""What a cause is called that cannot be named."""

_NEARLY_PROBE = 0.7
_SHOWN = 3

MOVED = frozenset({"shifted", "rotated", "zoomed"})
"""Of these, properties see what resampling does to the finest detail, and not where anything is: never alone."""

ALIKE: Mapping[str, frozenset[str]] = {
    "less sharp": frozenset({"blurred", "motion blurred", "coarser"}),
    "moved": MOVED,
    "hazy": frozenset({"foggy", "less contrast"}),
}
"""What to call faults that cannot be told apart, where all that remain are of one kind."""

MEANT: Mapping[str, tuple[str, ...]] = {
    "darker": ("brightness",),
    "brighter": ("brightness",),
    "less contrast": ("contrast",),
    "foggy": ("contrast",),
    "blurred": ("sharpness",),
    "motion blurred": ("sharpness",),
    "coarser": ("sharpness",),
    "noisy": ("noise",),
    "compressed": ("blockiness",),
    "colour cast": ("warmth", "tint"),
}
"""The properties that a fault's word is about. Others move with them, and often farther in their own spread; which way
they move is learnt.
"""


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen beyond chance. ``z`` in standard deviations of such windows without drift; ``p`` the
    chance that anything this witness looks at is as far out; ``match`` how much of the move a fault's trace accounts
    for, -1 to 1; ``before`` and ``after`` the means of a property, ``moved`` by so many standard deviations of one
    image. ``supports`` says that the word rests on it.
    """

    witness: Witness
    name: str
    z: float
    p: float
    match: float | None = None
    before: float | None = None
    after: float | None = None
    moved: float | None = None
    supports: bool = False

    @property
    def text(self) -> str:
        """As a message says it."""
        if self.before is not None and self.after is not None and self.moved is not None:
            return (
                f"{self.name} {self.before:.3g} -> {self.after:.3g} "
                f"({abs(self.moved):.1f} reference sd, p {_short(self.p)})"
            )
        if self.match is not None:
            return f"{_LIKE[self.witness]} {self.name} {self.match:.2f} (p {_short(self.p)})"
        return f"{self.witness} '{self.name}' {self.z:+.1f} (p {_short(self.p)})"


_LIKE: Mapping[Witness, str] = {"property": "properties like", "layout": "edges like", "signature": "signature"}


@dataclass(frozen=True)
class Cause:
    """Why a window drifted: the ``word``, or None where it is unknown; ``why`` says how it was found, or what lacks.

    Where the window has not ``drifted``, no word is spoken whatever the witnesses saw. ``agreed`` are the witnesses
    that the word rests on; their part of the ``evidence`` comes first. ``readings`` maps witness and name to z, for the
    record.
    """

    drifted: bool
    word: str | None
    why: str
    evidence: tuple[Evidence, ...] = ()
    agreed: tuple[Witness, ...] = ()
    readings: Mapping[tuple[Witness, str], float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole of it in a line; empty where nothing has drifted."""
        if not self.drifted:
            return ""
        also = "; ".join(one.text for one in self.also_seen)
        if not self.word:
            return f"{UNKNOWN}; {also}" if also else UNKNOWN
        supported = "; ".join([self.word, *(one.text for one in self.evidence if one.supports)])
        return f"{supported}; also seen: {also}" if also else supported

    @property
    def also_seen(self) -> tuple[Evidence, ...]:
        """What was seen beyond chance and no word rests on."""
        return tuple(one for one in self.evidence if not one.supports)

    @property
    def shown_property(self) -> str:
        """The property to show beside the word: the first that supports it, or the farthest where it is unknown."""
        of_properties = (one for one in self.evidence if one.before is not None and one.supports == bool(self.word))
        return next((one.name for one in of_properties), "")


@dataclass(frozen=True)
class Statement:
    """What one witness says: the faults that it cannot tell apart, the likeliest first."""

    witness: Witness
    causes: tuple[str, ...]
    match: float = 0.0
    p: float = 1.0


def by_cause(values: NDArray[np.float64], causes: Sequence[str]) -> dict[str, float]:
    """The greatest of each fault, the greatest first, of ``values`` by direction of a panel.

    ``causes`` (T,) is whose trace each direction is; a panel may have all of them several times over.
    """
    best: dict[str, float] = {}
    for cause, value in zip(cycle(causes), values, strict=False):
        best[cause] = max(float(value), best.get(cause, -np.inf))
    return dict(sorted(best.items(), key=lambda item: -item[1]))


def statement_of_traces(reading: Reading, causes: Sequence[str]) -> Statement | None:
    """What properties together, layouts or embeddings testify; None where they see nothing or nothing that is known."""
    matches = by_cause(reading.match, causes)
    best = next(iter(matches.values()))
    if float(reading.p.min()) > ALPHA or best < LEAST_MATCH[reading.panel.name]:
        return None
    near = tuple(cause for cause, match in matches.items() if match >= best - NEARLY[reading.panel.name])
    return Statement(TRACED[reading.panel.name], near, best, float(reading.p.min()))


def statement_of_probes(reading: Reading, probes: Sequence[Probe]) -> Statement | None:
    """What the words testify: the meanings of those that are beyond chance and nearly as far out as the farthest."""
    far = np.abs(reading.z)
    order = np.argsort(-far)
    near = [i for i in order if reading.p[i] <= ALPHA and far[i] >= _NEARLY_PROBE * far[order[0]]]
    meant = dict.fromkeys(cause for i in near for cause in probes[i].meaning(reading.z[i]))
    return Statement(PROBE, tuple(meant)) if meant else None


def recognises(answers: NDArray[np.float64], place: int, *, sign: int) -> bool:
    """Whether the probe at ``place`` moves to its side (``sign``) in one of a fault's ways, nearly as far as any.

    ``answers`` (W, Q) are the moves of all probes in each way of the fault, in their own standard deviations.
    """
    own, farthest = sign * answers[:, place], np.abs(answers).max(axis=1)
    return bool((own >= _NEARLY_PROBE * farthest).any() and (own > 0).any())


def verdict(statements: Iterable[Statement]) -> tuple[str | None, tuple[Witness, ...], str]:
    """The word, the witnesses that it rests on, and why; of the witnesses' statements, the properties' first."""
    given = list(statements)
    if not given:
        return None, (), "what moved is like no known fault, or too little to tell"
    heard = "; ".join(map(_said, given))
    if len(given) == 1:
        only = given[0]
        if only.witness != PROPERTY or only.match < ALONE_MATCH or only.p > ALONE_ALPHA:
            return None, (), f"only one witness speaks: {heard}"
        word = None if MOVED & set(only.causes) else _one_word(only.causes)
        return word, ((only.witness,) if word else ()), "" if word else f"it cannot be told which: {heard}"
    # Two that agree suffice, others may not know this fault; but not half with one and half with another.
    agreeing: list[tuple[Statement, ...]] = []
    for size in range(len(given), 1, -1):
        agreeing = agreeing or [some for some in combinations(given, size) if _suffice(some, given)]
    if len(agreeing) != 1:
        return None, (), f"the witnesses do not agree: {heard}"
    word = _one_word(_in_common(agreeing[0]))
    if word is None:
        return None, (), f"the witnesses leave it open: {heard}"
    others = [one for one in given if one not in agreeing[0] and word not in one.causes]
    return _as_others_say(word, others), tuple(one.witness for one in agreeing[0]), ""


def is_elsewhere(readings: Mapping[str, Reading], causes: Sequence[str], word: str, agreed: Sequence[Witness]) -> bool:
    """Whether pixels or embeddings moved far, and not the way of what the ``word`` of the ``agreed`` names, or much
    farther than that takes them: another scene has another light, colour and sharpness as well, and they may be those
    of a fault.
    """
    if SIGNATURE not in readings:
        return False
    signature, named = readings[SIGNATURE], ALIKE.get(word, frozenset({word}))
    pattern, best = readings.get(PATTERN), _match(signature, causes, named)
    by_pixels = _match(pattern, causes, named) if pattern else -1.0
    is_unseen = pattern is not None and pattern.far >= FAR and by_pixels < LEAST_MATCH[PATTERN]
    if "layout" not in agreed and is_unseen and not MOVED.issuperset(named):
        return True
    if signature.far >= FAR and best < LEAST_MATCH[SIGNATURE]:
        return True
    # Where things are and what words say are other evidence than how well a trace fits.
    is_told = "layout" in agreed or {"property", "probe"} <= set(agreed)
    if signature.far >= FAR and not is_told and max(best, by_pixels) < FITS:
        return True
    milder = PATTERN in readings and _in_trials(readings[PATTERN], causes, named) < 1.0
    return milder and _in_trials(signature, causes, named) > LONGER


def contradiction(readings: Mapping[str, Reading], causes: Sequence[str], word: str) -> str:
    """The property that the ``word`` is about, where it moved beyond chance and against every trace of it; "" else.

    A picture of nothing is clipped as an overexposed one is, and by this alone is like one.
    """
    if PROPERTY not in readings or PATTERN not in readings:
        return ""
    single, traces = readings[PROPERTY], readings[PATTERN].panel.directions
    named = ALIKE.get(word, frozenset({word}))
    own = np.array([cause in named for cause, _ in zip(cycle(causes), traces, strict=False)])
    for name in dict.fromkeys(name for cause in sorted(named) for name in MEANT.get(cause, ())):
        place = single.panel.names.index(name)
        if single.p[place] <= ALPHA and not (single.z[place] * traces[own, place] > 0).any():
            return name
    return ""


def _match(reading: Reading, causes: Sequence[str], named: frozenset[str]) -> float:
    """How well the best of the faults ``named`` accounts for a move."""
    return max((match for cause, match in by_cause(reading.match, causes).items() if cause in named), default=-1.0)


def _in_trials(reading: Reading, causes: Sequence[str], named: frozenset[str]) -> float:
    """How long a move is, in the longest that the faults ``named`` made when they were tried."""
    return min(
        (float(x) for x, cause in zip(reading.lengths, cycle(causes), strict=False) if cause in named), default=0.0
    )


def _as_others_say(word: str, others: Sequence[Statement]) -> str:
    """The ``word``, or what its kind is called where one of the ``others`` is for another fault of that kind."""
    for kind, members in ALIKE.items():
        if word in members and any(members.issuperset(one.causes) for one in others):
            return kind
    return word


def _suffice(some: Sequence[Statement], given: Sequence[Statement]) -> bool:
    """Whether ``some`` of the statements ``given`` agree, and not against the pixels.

    Signature and probe look at the same embedding and err together. Where things are is for the layout to say: on that
    the properties are not heard, neither against it nor for it.
    """
    common, heard = _in_common(some), {one.witness for one in some}
    silenced = {one.witness for one in given} - heard
    if LAYOUT in heard and MOVED.issuperset(common):
        silenced -= {PROPERTY}
    if heard == {PROPERTY, LAYOUT} and not MOVED.isdisjoint(common):
        return False
    return bool(common) and not (PROPERTY in silenced or (PROPERTY not in heard and LAYOUT in silenced))


def _in_common(given: Sequence[Statement]) -> tuple[str, ...]:
    return tuple(cause for cause in given[0].causes if all(cause in other.causes for other in given[1:]))


def evidence_of(
    readings: Mapping[str, Reading],
    causes: Sequence[str],
    probes: Sequence[Probe] = (),
    *,
    word: str | None = None,
    agreed: Sequence[Witness] = (),
    means: "Means | None" = None,
) -> tuple[Evidence, ...]:
    """What is beyond chance, of each panel the most telling; first what the ``word`` of the ``agreed`` rests on."""
    named = ALIKE.get(word, frozenset({word})) if word else frozenset()
    found: list[Evidence] = []
    for name, reading in readings.items():
        if name in TRACED:
            found += _traced(reading, causes, named if TRACED[name] in agreed else frozenset())
        elif name == PROPERTY:
            shown = _properties_of(readings, causes, named) if "property" in agreed else ()
            found += _single(reading, PROPERTY, shown, means)
        else:
            meant = (i for i in range(len(probes)) if not named.isdisjoint(probes[i].meaning(reading.z[i])))
            found += _single(reading, PROBE, tuple(meant) if "probe" in agreed else ())
    return tuple(sorted(found, key=lambda one: not one.supports))


@dataclass(frozen=True, eq=False)
class Means:
    """Of every property (P,): its mean ``before`` and its ``spread`` in the reference, its mean ``after``."""

    before: NDArray[np.float64]
    spread: NDArray[np.float64]
    after: NDArray[np.float64]

    def of(self, place: int) -> dict[str, float]:
        """What evidence says of one property."""
        before, after = float(self.before[place]), float(self.after[place])
        return {"before": before, "after": after, "moved": (after - before) / float(self.spread[place])}


def _traced(reading: Reading, causes: Sequence[str], named: frozenset[str]) -> Iterator[Evidence]:
    """The best match, of the faults ``named`` alone where there are any."""
    matches = {i: match for i, match in enumerate(reading.match) if not named or causes[i % len(causes)] in named}
    first = max(matches, key=matches.__getitem__)
    p = float(reading.p.min())
    if p <= ALPHA and (named or matches[first] >= LEAST_MATCH[reading.panel.name]):
        witness, cause = TRACED[reading.panel.name], causes[first % len(causes)]
        z, match = float(reading.z[first]), float(matches[first])
        yield Evidence(witness, cause, z, p, match, supports=bool(named))


def _single(reading: Reading, witness: Witness, shown: Sequence[int], means: Means | None = None) -> Iterator[Evidence]:
    """Of properties or probes those ``shown`` for the word, the first of them first, and the farthest."""
    farthest = [int(i) for i in np.argsort(-np.abs(reading.z))[:_SHOWN]]
    for i in dict.fromkeys((*shown, *farthest)):
        if reading.p[i] <= ALPHA:
            name, z, p = reading.panel.names[i], float(reading.z[i]), float(reading.p[i])
            yield Evidence(witness, name, z, p, **(means.of(i) if means else {}), supports=i in shown)


def _properties_of(readings: Mapping[str, Reading], causes: Sequence[str], named: frozenset[str]) -> tuple[int, ...]:
    """The places of the properties that moved as the matched trace says: those that the faults ``named`` are about, or
    else the one that is the largest part of the pattern.
    """
    single, pattern = readings[PROPERTY], readings[PATTERN]
    trace = max((i for i, cause in enumerate(causes) if cause in named), key=lambda i: float(pattern.match[i]))
    part = single.z * pattern.panel.directions[trace]
    order = [int(i) for i in np.argsort(-part) if part[i] > 0 and single.p[i] <= ALPHA]
    about = {name for cause in named for name in MEANT.get(cause, ())}
    return tuple(i for i in order if single.panel.names[i] in about) or tuple(order[:1])


def _one_word(causes: Sequence[str]) -> str | None:
    if len(causes) == 1:
        return causes[0]
    return next((word for word, alike in ALIKE.items() if causes and alike.issuperset(causes)), None)


def _said(statement: Statement) -> str:
    return f"{statement.witness} says {' or '.join(statement.causes)}"


def _short(p: float) -> str:
    if p < _LEAST_P:
        return f"< {_LEAST_P:.0e}"
    return f"{p:.0e}".replace("e-0", "e-") if p < _PLAIN_P else f"{p:.2g}"


_LEAST_P, _PLAIN_P = 1e-12, 1e-3  # below the least a fitted tail is a guess, and nobody's decision hangs on it
