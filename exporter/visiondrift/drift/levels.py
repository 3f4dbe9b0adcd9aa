"""Which levels are in force of a window: fixed numbers as they are, ``auto`` as the budget and the calibration give it.

Drift alone is a warning. An ``auto`` level is critical only where the model is estimated to be worse for it, or where a
change is so large that nobody would wait for an estimate; until then the critical level is that large change, and for
evidence, which says how sure and not how much, there is none.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from visiondrift.config import SliceThresholds, Threshold
from visiondrift.config.thresholds import AUTO
from visiondrift.drift.calibrated import EVIDENCE, REMEMBERED, CalibratedReference
from visiondrift.drift.calibration.budget import Terms, terms_of
from visiondrift.drift.calibration.tails import Tail, surprise
from visiondrift.drift.judge import Levels, is_past
from visiondrift.signals import BY_NAME, SEVERITIES, Severity, Signal

_SEEN = 0.8
"""Share of windows that must show a shift before it counts as one that can be seen."""


@dataclass(frozen=True)
class Standard:
    """What one signal of one window is held against: its ``threshold`` as configured and its null, where there is one.

    ``why`` says why there is none. The null of a signal that is bad when low is that of the negated score.
    """

    signal: Signal
    threshold: Threshold
    tail: Tail | None
    why: str = ""

    @property
    def has_null(self) -> bool:
        """Whether a level can follow from the budget."""
        return self.tail is not None or (self.signal.name in EVIDENCE and not self.why)

    @property
    def is_auto(self) -> bool:
        """Whether any level follows from the budget."""
        return AUTO in (self.threshold.warning, self.threshold.critical)

    def budgeted(self, alpha: float) -> float | None:
        """The level that a look without drift passes with probability ``alpha``, or the least that is one."""
        if not self.has_null:
            return None
        if self.tail is None:
            return surprise(alpha)
        level = self.signal.sign * self.tail.threshold(alpha)
        least = self.signal.least
        return level if least is None else self._worse(level, least)

    def p(self, score: float) -> float | None:
        """The chance of such a score or a worse one without drift; None where there is no null."""
        if not self.has_null:
            return None
        return float(10.0**-score) if self.tail is None else self.tail.p(self.signal.sign * score)

    def detectable(self, level: float) -> float | None:
        """The shift of the score that takes four in five windows past ``level``; None where there is no null."""
        if self.tail is None:
            return None
        return float(max(0.0, self.signal.sign * level - self.tail.threshold(_SEEN)))

    def levels(self, terms: Terms, *, harmful: bool) -> Levels:
        """The levels in force; ``harmful`` where a critical level may follow from the budget alone.

        A critical level by the budget is never milder than the warning, whose level may be a fixed number, or follow
        from a smaller budget shared by more signals. One that no score can reach is none.
        """
        found: dict[Severity, float | None] = {}
        for severity in SEVERITIES:
            given = self.threshold.level(severity)
            found[severity] = self._auto(severity, terms, harmful=harmful) if given == AUTO else given
        warning, critical = found["warning"], found["critical"]
        if self.threshold.critical == AUTO and warning is not None and critical is not None:
            found["critical"] = self._worse(warning, critical)
        budgeted = {severity: found[severity] for severity in SEVERITIES if self.threshold.level(severity) == AUTO}
        beyond = {
            severity: level for severity, level in budgeted.items() if level is not None and self._is_beyond(level)
        }
        found |= dict.fromkeys(beyond)
        lacking = self.is_auto and not self.has_null
        why = self.why if lacking else ""
        if beyond and found["warning"] is None:
            why = self._why_beyond(next(iter(beyond.values())))
        return Levels(
            found["warning"], found["critical"], why=why, unreachable=frozenset(beyond), by_budget=frozenset(budgeted)
        )

    def _is_beyond(self, level: float) -> bool:
        """Whether no score can be as bad as a level."""
        return not self.signal.low <= level <= self.signal.high

    def _why_beyond(self, level: float) -> str:
        most = self.signal.high if self.signal.bad_when == "high" else self.signal.low
        shown = "{:.1%}" if self.signal.percent else "{:.2f}"
        return (
            f"this reference is too small for the budget: even the largest possible change ({shown.format(most)}) "
            f"might be chance (the level would be {shown.format(level)}); a longer reference, longer windows or a "
            "larger budget would do"
        )

    def _auto(self, severity: Severity, terms: Terms, *, harmful: bool) -> float | None:
        level = self.budgeted(terms.alpha[severity])
        if level is None or severity == "warning" or harmful:
            return level
        return None if self.signal.large is None else self._worse(level, self.signal.large)

    def is_large(self, score: float, terms: Terms) -> bool:
        """Whether a score is a large change, surely, whatever the thresholds say."""
        large = self.signal.large
        if large is None or not self.has_null:
            return False
        level = self.budgeted(terms.alpha["critical"])
        return level is not None and is_past(self.signal.name, score, self._worse(level, large))

    def _worse(self, a: float, b: float) -> float:
        return self.signal.sign * max(self.signal.sign * a, self.signal.sign * b)


def looks_of(
    thresholds: Iterable[tuple[str, SliceThresholds]],
    calibrated: CalibratedReference | None,
    *,
    windows: Collection[float],
) -> dict[Severity, int]:
    """How many p values are held against a budget in one evaluation, by severity; ``thresholds`` of slices by name,
    and ``windows`` their lengths in seconds.

    What the reference has no null of has no level that follows from the budget, and takes nothing of it: a model
    without confidences, or a slice that the reference does not know. Nor does a window that can never be judged.
    """
    counts: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for slice_, resolved in thresholds:
        judged = resolved.keys() & calibrated.judged(slice_) if calibrated else frozenset()
        looks = sum(calibrated.can_judge(slice_, window) for window in windows) if calibrated and judged else 0
        for name in judged:
            for severity in SEVERITIES:
                if resolved[name].level(severity) == AUTO:
                    counts[severity] += 1 if name in REMEMBERED else looks
    return counts


def terms_for(
    rates: Mapping[Severity, float],
    thresholds: Iterable[tuple[str, SliceThresholds]],
    calibrated: CalibratedReference | None,
    *,
    windows: Collection[float],
    every: float,
) -> Terms:
    """What a look may cost where ``thresholds`` (one of each slice and version) share ``rates`` of false pages.

    ``windows`` are the lengths of those that are looked at every ``every`` seconds, in seconds too.
    """
    return terms_of(rates, looks_of(thresholds, calibrated, windows=windows), every=every)


def standard_of(name: str, thresholds: SliceThresholds, tail: Tail | None, why: str) -> Standard:
    """The standard of a signal by its name."""
    return Standard(BY_NAME[name], thresholds.get(name, Threshold()), tail, why)
