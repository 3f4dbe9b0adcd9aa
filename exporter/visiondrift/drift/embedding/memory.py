"""Evidence that adds up: memories of several lengths of a slice's moments, of which the most surprised one speaks.

A break shows in one tick; half of it shows in none, but in the average of thirty. What is averaged are moments, before
any score is taken: averaging p values or scores forgets the direction, and the direction is what repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import Moments, faded

RATES = (1.0, 0.2, 0.05)
"""Shares of a memory that one tick replaces: now, some ten ticks, some forty."""


@dataclass(frozen=True)
class Memory:
    """What is remembered of one target: for each rate the moments of its slices by name."""

    kept: Mapping[float, Mapping[str, Moments]] = field(default_factory=dict)

    def after(self, tick: Mapping[str, Moments]) -> "Memory":
        """One tick later. ``tick`` holds the blocks that are new, each in one tick alone; a silent slice stays."""
        return Memory({rate: _faded(self.kept.get(rate, {}), tick, rate) for rate in RATES})

    def anew(self, begun: Mapping[str, Moments | None]) -> "Memory":
        """The same where the slices in ``begun`` remember these moments and no others, or nothing. The newest tick, of
        the rate 1, stays."""
        return Memory({rate: kept if rate == 1.0 else _replaced(kept, begun) for rate, kept in self.kept.items()})

    @property
    def lasting(self) -> "Memory":
        """The memories of more than one tick."""
        return Memory({rate: kept for rate, kept in self.kept.items() if rate < 1.0})

    def of(self, slice_: str) -> "Memory":
        """What is remembered of one slice alone."""
        return Memory({rate: {slice_: kept[slice_]} for rate, kept in self.kept.items() if slice_ in kept})


@dataclass(frozen=True)
class Accumulated:
    """The strongest of the memories: its ``rate`` and evidence, and ``p`` with the choice among them paid for."""

    p: float
    rate: float
    evidence: EmbeddingEvidence


def accumulated(detector: Detector, target: str, memory: Memory, rows: WindowRows | None = None) -> Accumulated | None:
    """The p of ``target``'s memories together; None where none may speak.

    ``rows`` are the newest tick's, for the neighbours, which have no memory. The least of k dependent p is worth k
    times itself at most.
    """
    looks = {
        rate: detector.look(target, moments, rows if rate == 1.0 else None) for rate, moments in memory.kept.items()
    }
    speaking = {rate: look for rate, look in looks.items() if isinstance(look, EmbeddingEvidence)}
    if not speaking:
        return None
    rate = min(speaking, key=lambda one: speaking[one].p)
    return Accumulated(min(1.0, len(speaking) * speaking[rate].p), rate, speaking[rate])


def _replaced(kept: Mapping[str, Moments], begun: Mapping[str, Moments | None]) -> Mapping[str, Moments]:
    others = {name: moments for name, moments in kept.items() if name not in begun}
    return others | {name: moments for name, moments in begun.items() if moments is not None}


def _faded(kept: Mapping[str, Moments], tick: Mapping[str, Moments], rate: float) -> Mapping[str, Moments]:
    new = {name: moments for name, moments in tick.items() if moments.count}
    before = {name: moments for name, moments in kept.items() if name not in new}
    return before | {
        name: faded(kept[name], moments, rate) if name in kept else moments for name, moments in new.items()
    }
