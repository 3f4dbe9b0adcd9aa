"""What a threshold costs in pages: a budget of false alarms becomes a level for every look, and back again.

Every look counts in full. Windows that overlap are no independent looks, and an alarm that stands for ten evaluations
is one page: the pages that come are therefore fewer than the budget, never more for this reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from visiondrift.signals import Severity

DAY = 86_400.0
MONTH = 30.0 * DAY

_FALSE_DISCOVERIES = 0.1


@dataclass(frozen=True)
class Budget:
    """At most ``pages`` false pages in ``period`` seconds, over all slices, windows and signals of a model."""

    pages: float
    period: float

    def per_tick(self, every: float) -> float:
        """The chance of a false page that one evaluation of everything may have, evaluating ``every`` seconds."""
        return min(1.0, self.pages * every / self.period)

    def per_look(self, every: float, looks: int) -> float:
        """The same for each of ``looks`` p values that an evaluation has (slices times windows times signals)."""
        return self.per_tick(every) / max(1, looks)


def pages_per_month(p: float, every: float, looks: int = 1) -> float:
    """False pages to expect in 30 days of a threshold that a look passes with probability ``p``, at most."""
    return p * looks * MONTH / every


def holm(p: Mapping[str, float], level: float) -> frozenset[str]:
    """Which of several p may page so that any false one has a chance of at most ``level`` (Holm 1979).

    Holds however the slices depend on one another.
    """
    found = set()
    for place, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        if value > level / (len(p) - place):
            break
        found.add(name)
    return frozenset(found)


def discoveries(p: Mapping[str, float], share: float = _FALSE_DISCOVERIES) -> frozenset[str]:
    """Which of several p to show so that at most ``share`` of those shown are false (Benjamini and Hochberg 1995)."""
    names = sorted(p, key=lambda name: p[name])
    passing = [place for place, name in enumerate(names, start=1) if p[name] <= share * place / len(names)]
    return frozenset(names[: max(passing, default=0)])


@dataclass(frozen=True)
class Terms:
    """What one look may cost: ``alpha`` maps a severity to the chance of a false page that each look may have.

    Looks are taken every ``every`` seconds.
    """

    alpha: Mapping[Severity, float]
    every: float

    def pages(self, p: float) -> float:
        """False pages a month of a level that a look passes with probability ``p``, at most."""
        return pages_per_month(p, self.every)


def terms_of(rates: Mapping[Severity, float], looks: Mapping[Severity, int], *, every: float) -> Terms:
    """``rates`` are false pages a second to accept, of ``looks`` p values that each evaluation has by severity."""
    alpha = {severity: Budget(rate, 1.0).per_look(every, looks.get(severity, 1)) for severity, rate in rates.items()}
    return Terms(alpha, every)
