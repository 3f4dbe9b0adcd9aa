"""Turns scores into verdicts: which side of its thresholds each signal is on, or that it may not speak."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from visiondrift.config import SliceThresholds, Threshold
from visiondrift.signals import ALL_SLICES, BY_NAME, VERDICTS, VerdictName


@dataclass(frozen=True)
class Judgement:
    """One signal of one window: its score, the threshold it was held against, and the verdict.

    ``score`` is None exactly where ``verdict`` is ``insufficient``; ``why`` then says what is lacking.
    ``samples`` is the number of events that the score rests on.
    """

    signal: str
    score: float | None
    threshold: Threshold
    verdict: VerdictName
    samples: int
    why: str = ""


@dataclass(frozen=True)
class WindowEvaluation:
    """Every signal of one model, version, slice and window, at one time.

    ``class_drift`` maps class -> confidence drift; ``class_share`` and ``reference_class_share`` map class -> share
    of predictions, 0-1. The means and ratios are None where the window may not speak. ``total`` events were in the
    window, of which ``samples`` were compared; ``reference_rows`` rows of the slice ``reference_slice`` of the
    reference were what they were compared with. Either side amounts to so many independent samples, which is fewer
    where frames repeat each other.
    """

    slice: str
    window: str
    samples: int
    min_samples: int
    judgements: tuple[Judgement, ...]
    class_drift: Mapping[str, float] = field(default_factory=dict)
    class_share: Mapping[str, float] = field(default_factory=dict)
    reference_class_share: Mapping[str, float] = field(default_factory=dict)
    mean_confidence: float | None = None
    reference_mean_confidence: float | None = None
    low_confidence_ratio: float | None = None
    total: int = 0
    rejected: int = 0
    reference_rows: int = 0
    reference_slice: str = ALL_SLICES
    independent_samples: float = 0.0
    reference_independent_samples: float = 0.0

    @property
    def verdict(self) -> VerdictName:
        """The worst of the signals; ``insufficient`` only where no signal could speak."""
        return worst(judgement.verdict for judgement in self.judgements)


def judge(scores: Mapping[str, "ScoreOrReason"], thresholds: SliceThresholds) -> tuple[Judgement, ...]:
    """A judgement for each score, in the order given."""
    return tuple(_judge_one(name, given, thresholds.get(name, Threshold())) for name, given in scores.items())


@dataclass(frozen=True)
class ScoreOrReason:
    """A score with the number of samples behind it; or None, and the reason why there is none.

    ``chance`` is how far from its ``neutral`` value (that of no drift) chance alone may take the score, given how few
    independent looks it rests on; ``looks`` says how few.
    """

    value: float | None
    samples: int
    why: str = ""
    chance: float = 0.0
    neutral: float = 0.0
    looks: str = ""


def _judge_one(name: str, given: ScoreOrReason, threshold: Threshold) -> Judgement:
    if given.value is None:
        return Judgement(name, None, threshold, "insufficient", given.samples, given.why)
    sign = 1.0 if BY_NAME[name].bad_when == "high" else -1.0
    verdict: VerdictName = "ok"
    if threshold.critical is not None and sign * given.value >= sign * threshold.critical:
        verdict = "critical"
    elif threshold.warning is not None and sign * given.value >= sign * threshold.warning:
        verdict = "warning"
    if verdict != "ok" and abs(given.value - given.neutral) <= given.chance:
        # Past the threshold, and yet no evidence: to alarm would be a guess, to call it ok as well.
        why = f"{given.value:.2f} is past the threshold, but chance alone reaches that with {given.looks}"
        return Judgement(name, None, threshold, "insufficient", given.samples, why)
    return Judgement(name, given.value, threshold, verdict, given.samples)


def worst(verdicts: Iterable[VerdictName]) -> VerdictName:
    """critical before warning before ok; ``insufficient`` where there is nothing else."""
    severity = {"insufficient": 0, "ok": 1, "warning": 2, "critical": 3}
    return max(verdicts, key=severity.__getitem__, default=VERDICTS[-1])
