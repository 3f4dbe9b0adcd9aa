"""Which windows are told as one cause, from its beginning to its end: one cause is to be one page.

A cause that most slices had in common ends at one moment, and their windows hold what is left of it for as long as they
are long: one by one the slices are no longer seen to move, and the last of them would be told as the only one. So what
was part of a common cause stays part of it while the window still holds that time, unless it is seen to move otherwise
than those that still have one in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from visiondrift.drift.explain.shift import Spread
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.signals import ALL_SLICES


@dataclass(frozen=True)
class CommonCauses:
    """What is remembered of a version's common causes: ``seen`` maps (window, slice) -> when, in seconds, it was last
    one of those that moved the same way.
    """

    seen: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def after(self, windows: Sequence[WindowEvaluation], *, now: float, lengths: Mapping[str, float]) -> "CommonCauses":
        """The memory with the windows that end ``now`` taken up; ``lengths`` maps window -> seconds."""
        seen = dict(self.seen)
        for window, spread in _spreads(windows).items():
            if spread.common:
                seen |= {(window, name): now for name in (ALL_SLICES, *spread.common)}
                for name in set(spread.moved) - set(spread.common):
                    seen.pop((window, name), None)
        held = {key: at for key, at in seen.items() if 0 <= now - at < lengths.get(key[0], 0.0)}
        return CommonCauses(held)

    def marked(self, windows: Sequence[WindowEvaluation]) -> tuple[WindowEvaluation, ...]:
        """The same windows, and of each whether it is told as one cause with others."""
        return tuple(replace(one, one_cause=(one.window, one.slice) in self.seen) for one in windows)


def _spreads(windows: Sequence[WindowEvaluation]) -> dict[str, Spread]:
    return {one.window: one.spread for one in windows if one.spread is not None}
