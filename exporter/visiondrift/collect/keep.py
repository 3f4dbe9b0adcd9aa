"""Decides which frames are kept, and why: pure. Reasons combine; each kept frame says all of its own.

Drift windows read the share that ``uniform`` draws and nothing else. Without ``uniform`` they read the frames of
``every``, which go by the clock, whatever they show. What is kept for what it shows is a biased sample.
Near-duplicates may be left out of everything but ``uniform``: a camera that is stuck must stay visible there.

Chance is a hash of what names a frame, so that reading the same frame again, after a restart, meets the same answer.
"""

from collections import deque
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from visiondrift.collect.frames import Pace
from visiondrift.prediction import Kept

_REMEMBERED = 128
"""Kept frames that a new one is compared with."""


@dataclass(frozen=True)
class Policy:
    """What to keep of one source. None switches a reason off.

    ``every``: seconds; ``uniform``: share of the frames looked at, drawn by ``seed``; ``threshold``: least cosine to
    one of the ``prompts``; ``similar`` and ``unlike``: least and largest cosine to the reference's mean direction;
    ``distinct``: cosine to a frame kept before, from which a frame is its near-duplicate.
    """

    every: float | None = None
    uniform: float | None = None
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    similar: float | None = None
    unlike: float | None = None
    distinct: float | None = None
    seed: int = 0

    @property
    def keeps_something(self) -> bool:
        """Whether any frame could be kept."""
        return any(value is not None for value in (self.every, self.uniform, self.threshold, self.similar, self.unlike))

    @property
    def leaves_unbiased(self) -> bool:
        """Whether some frames are chosen by chance or the clock alone."""
        return self.uniform is not None or (self.every is not None and self.distinct is None)

    @property
    def needs_reference(self) -> bool:
        """Whether the reference decides."""
        return self.similar is not None or self.unlike is not None

    @property
    def needs_embedding(self) -> bool:
        """Whether a frame must be embedded before it can be judged."""
        return self.threshold is not None or self.needs_reference or self.distinct is not None


@dataclass(frozen=True, eq=False)
class Likeness:
    """What a frame resembles: its unit ``embedding`` (d,), cosines to the ``prompts`` (k,) in their order, and to the
    ``reference``'s mean direction; None where there is no reference.
    """

    embedding: NDArray[np.float32]
    prompts: tuple[float, ...] = ()
    reference: float | None = None


class Keeper:
    """Applies a policy to the frames of one source, in the order of their time; for one thread.

    ``source`` is what chance knows it by: the frames of two are drawn apart.
    """

    def __init__(self, policy: Policy, *, source: str) -> None:
        self._policy = policy
        self._source = source
        self._pace = None if policy.every is None else Pace(policy.every)
        self._before: deque[NDArray[np.float32]] = deque(maxlen=_REMEMBERED)

    def reasons(self, time: float, likeness: Likeness | None, *, name: str = "") -> tuple[Kept, ...]:
        """Why the frame at ``time`` (seconds) is kept, the strongest first; empty where it is not.

        ``likeness`` may be None where the policy needs no embedding; ``name`` is that of the frame's file in the
        source, where it is one. Call it once for each frame.
        """
        policy = self._policy
        by_chance = policy.uniform is not None and self._is_drawn(time, name, policy.uniform)
        others: list[Kept] = []
        if self._pace is not None and self._pace.is_due(time):
            others.append(_of_the_clock(policy))
        if likeness is not None:
            others += _for_what_it_shows(policy, likeness)
            if others and policy.distinct is not None and self._is_near_duplicate(likeness, policy.distinct):
                others = []
            if by_chance or others:
                self._before.append(likeness.embedding)
        return ("uniform", *others) if by_chance else tuple(others)

    def _is_drawn(self, time: float, name: str, share: float) -> bool:
        """Whether chance keeps a frame: the same whenever the same frame is asked about.

        It is not the chance by which an exporter samples (``intake/sampling.py``): that must draw anew.
        """
        frame = f"{self._policy.seed}\0{self._source}\0{name}\0{round(time * 1e6)}"
        drawn = blake2b(frame.encode(errors="surrogateescape"), digest_size=8, person=b"collect").digest()
        return int.from_bytes(drawn) < share * 2**64

    def _is_near_duplicate(self, likeness: Likeness, distinct: float) -> bool:
        return any(float(before @ likeness.embedding) >= distinct for before in self._before)


def _of_the_clock(policy: Policy) -> Kept:
    if policy.distinct is not None:
        return "distinct"
    return "every" if policy.uniform is None else "timed"


def _for_what_it_shows(policy: Policy, likeness: Likeness) -> list[Kept]:
    found: list[Kept] = []
    if policy.threshold is not None and max(likeness.prompts, default=-1.0) >= policy.threshold:
        found.append("prompt")
    if likeness.reference is not None:
        if policy.similar is not None and likeness.reference >= policy.similar:
            found.append("similar")
        if policy.unlike is not None and likeness.reference <= policy.unlike:
            found.append("unlike")
    return found
