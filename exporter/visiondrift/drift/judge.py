"""Turns scores into verdicts: which side of its thresholds each signal is on, or that it may not speak."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from visiondrift.drift.calibration.budget import discoveries
from visiondrift.drift.embedding.fit import Effect
from visiondrift.drift.embedding.novelty import OutlierShare
from visiondrift.drift.explain.causes import Cause
from visiondrift.drift.explain.influence import Influence, ShownImage
from visiondrift.drift.explain.shift import Spread
from visiondrift.drift.performance.estimate import PerformanceEstimate
from visiondrift.signals import ALL_SLICES, BY_NAME, SEVERITIES, VERDICTS, Severity, VerdictName


@dataclass(frozen=True)
class Levels:
    """The levels of one signal in one window, as they are in force: whatever they followed from, numbers.

    ``why`` says why a level that follows from the budget is lacking, "" where none is. Those of ``unreachable``
    severities would lie beyond every possible score, and so are None; a reachable warning speaks all the same. Those
    of ``by_budget`` follow from the budget and the null: chance passes them as seldom as the budget says.
    """

    warning: float | None = None
    critical: float | None = None
    why: str = ""
    unreachable: frozenset[Severity] = frozenset()
    by_budget: frozenset[Severity] = frozenset()

    def level(self, severity: Severity) -> float | None:
        """The level of one severity."""
        return self.warning if severity == "warning" else self.critical


@dataclass(frozen=True)
class Worth:
    """What a signal's score and levels are worth, by the calibration of the reference.

    ``p`` is the chance of such a score or a worse one without drift; ``false_pages`` maps a severity to the false pages
    a month to expect of its level at most; ``detectable`` is the smallest shift, in the signal's own unit (for evidence
    in sizes of the embedding cloud), that four in five such windows would show as a warning.
    """

    p: float | None = None
    false_pages: Mapping[Severity, float] = field(default_factory=dict)
    detectable: float | None = None


@dataclass(frozen=True)
class Judgement:
    """One signal of one window: its score, the threshold it was held against, and the verdict.

    ``score`` is None exactly where ``verdict`` is ``insufficient``; ``why`` then says what is lacking.
    ``samples`` is the number of events that the score rests on.
    """

    signal: str
    score: float | None
    threshold: Levels
    verdict: VerdictName
    samples: int
    why: str = ""
    worth: Worth = Worth()


@dataclass(frozen=True)
class PropertyMove:
    """How one image property moved: its mean in the window, the one to expect at these hours, both in its own unit.

    ``moved`` is in reference standard deviations; ``threshold`` and ``p`` are what the calibration says of such a
    movement, where it says anything.
    """

    value: float
    expected: float
    moved: float
    threshold: Levels = Levels()
    p: float | None = None


@dataclass(frozen=True)
class EmbeddingFindings:
    """What explains the evidence of drift, and never alerts: ``surprises`` maps each statistic to its own -log10 p.

    ``new_share_detectable`` is the smallest share of new images that four in five such windows would show;
    ``outliers`` is None where single images were not looked at.
    """

    surprises: Mapping[str, float]
    effect: Effect
    new_share_detectable: float | None = None
    outliers: OutlierShare | None = None


@dataclass(frozen=True)
class BlockCount:
    """Independent blocks: how many of the ``reference``'s the window is worth, and how many that reference ``needed``
    to judge the window for all that it holds.
    """

    window: float
    reference: int
    needed: int


@dataclass(frozen=True)
class WindowEvaluation:
    """Every signal of one model, version, slice and window, at one time.

    ``class_drift`` maps class -> confidence drift, ``properties`` image property -> how it moved; ``class_share`` and
    ``reference_class_share`` map class -> share of predictions, 0-1; ``slice_share`` and ``reference_slice_share``
    likewise slices, for all slices together. The means and ratios are None where the window may not speak. ``total``
    events were in the window, of which ``samples`` were compared; ``reference_rows`` rows of the slice
    ``reference_slice`` of the reference were what they were compared with. Either side amounts to so many independent
    samples, which is fewer where frames repeat each other.

    ``block_count`` and ``embedding`` are None without a calibration, ``performance`` without labels; ``discovery`` says
    whether the slice is among those to show as drifted, of several looked at together, None where it has no evidence.

    ``spread`` is how a drift is spread over the slices, for all slices together, None where they are not known apart;
    ``one_cause`` whether it is told as one cause with others (``one_cause.py``); ``cause`` is why, None where the
    reference knows of no witnesses.

    ``unknown`` says that the reference holds others by its label and none of the slice, else "": there is nothing of
    its own to hold it against, so that it may drift and yet never be called ok.

    ``influence`` is what each image has to do with a drift, None where there is none, or no embeddings; ``images`` are
    those to look at first.
    """

    slice: str
    window: str
    samples: int
    min_samples: int
    judgements: tuple[Judgement, ...]
    class_drift: Mapping[str, float] = field(default_factory=dict)
    properties: Mapping[str, PropertyMove] = field(default_factory=dict)
    class_share: Mapping[str, float] = field(default_factory=dict)
    reference_class_share: Mapping[str, float] = field(default_factory=dict)
    slice_share: Mapping[str, float] = field(default_factory=dict)
    reference_slice_share: Mapping[str, float] = field(default_factory=dict)
    mean_confidence: float | None = None
    reference_mean_confidence: float | None = None
    low_confidence_ratio: float | None = None
    total: int = 0
    rejected: int = 0
    reference_rows: int = 0
    reference_slice: str = ALL_SLICES
    independent_samples: float = 0.0
    reference_independent_samples: float = 0.0
    block_count: BlockCount | None = None
    embedding: EmbeddingFindings | None = None
    performance: PerformanceEstimate | None = None
    discovery: bool | None = None
    influence: Influence | None = field(default=None, compare=False)
    images: tuple[ShownImage, ...] = ()
    spread: Spread | None = None
    one_cause: bool = False
    cause: Cause | None = None
    unknown: str = ""

    @property
    def verdict(self) -> VerdictName:
        """The worst of the signals; ``insufficient`` where no signal of drift could speak and none other is past a
        level, or the reference does not know the slice.
        """
        found = worst(judgement.verdict for judgement in self.judgements)
        return "insufficient" if self.why_blind and found == "ok" else found

    @property
    def why_blind(self) -> str:
        """Why the window can never be called ok; empty where it can."""
        drift = [j for j in self.judgements if BY_NAME[j.signal].calibrated]
        is_blind = bool(drift) and worst(j.verdict for j in drift) == "insufficient"
        return self.unknown or (drift[0].why if is_blind else "")

    @property
    def told_spread(self) -> str:
        """Which slices have moved, in a sentence; new ones and those that are silent are told whatever the verdict."""
        spread = self.spread
        is_news = spread is not None and bool(self.verdict in SEVERITIES or spread.new or spread.silent)
        return spread.sentence if spread and is_news else ""


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


def judge(
    scores: Mapping[str, ScoreOrReason],
    levels: Mapping[str, Levels],
    worth: Mapping[str, Worth] | None = None,
) -> tuple[Judgement, ...]:
    """A judgement for each score, in the order given."""
    worth = worth or {}
    return tuple(
        _judge_one(name, given, levels.get(name, Levels()), worth.get(name, Worth())) for name, given in scores.items()
    )


def with_discoveries(windows: Sequence[WindowEvaluation]) -> tuple[WindowEvaluation, ...]:
    """The same, each marked whether it is among the discoveries of its window's slices.

    At most one in ten of those shown is false: for a dashboard, where a page must answer to the budget instead.
    """
    p: dict[str, dict[str, float]] = {}
    for window in windows:
        evidence = next((j for j in window.judgements if j.signal == "drift_evidence"), None)
        if evidence is not None and evidence.worth.p is not None and window.slice != ALL_SLICES:
            p.setdefault(window.window, {})[window.slice] = evidence.worth.p
    found = {name: discoveries(of_slice) for name, of_slice in p.items()}
    return tuple(
        replace(window, discovery=window.slice in found[window.window])
        if window.slice in p.get(window.window, {})
        else window
        for window in windows
    )


def begun_anew(window: WindowEvaluation) -> WindowEvaluation:
    """The same where its memories have just begun anew, and so have nothing to say yet."""

    def silenced(judgement: Judgement) -> Judgement:
        why = "the drift that the window showed is over: it begins anew"
        return replace(judgement, score=None, verdict="insufficient", why=why, worth=Worth())

    judgements = tuple(silenced(one) if one.signal == "accumulated_evidence" else one for one in window.judgements)
    return replace(window, judgements=judgements)


def is_past(signal: str, score: float, level: float | None) -> bool:
    """Whether a score is as bad as a level, or worse; never of a level that is not there."""
    sign = BY_NAME[signal].sign
    return level is not None and sign * score >= sign * level


def _judge_one(name: str, given: ScoreOrReason, levels: Levels, worth: Worth) -> Judgement:
    if given.value is None:
        return Judgement(name, None, levels, "insufficient", given.samples, given.why)
    past = [severity for severity in SEVERITIES if is_past(name, given.value, levels.level(severity))]
    # A level that follows from the null needs no second look at what chance may do; a number does, whatever the other
    # level is.
    may_be_chance = abs(given.value - given.neutral) <= given.chance
    told = [severity for severity in past if severity in levels.by_budget or not may_be_chance]
    verdict: VerdictName = told[-1] if told else "ok"
    if past and not told:
        # Past the threshold, and yet no evidence: to alarm would be a guess, to call it ok as well.
        why = f"{given.value:.2f} is past the threshold, but chance alone reaches that with {given.looks}"
        return Judgement(name, None, levels, "insufficient", given.samples, why)
    if verdict == "ok" and levels.why:
        return Judgement(name, None, levels, "insufficient", given.samples, levels.why)
    return Judgement(name, given.value, levels, verdict, given.samples, worth=worth)


def worst(verdicts: Iterable[VerdictName]) -> VerdictName:
    """critical before warning before ok; ``insufficient`` where there is nothing else."""
    severity = {"insufficient": 0, "ok": 1, "warning": 2, "critical": 3}
    return max(verdicts, key=severity.__getitem__, default=VERDICTS[-1])
