"""How the model is doing: without labels two opinions, the cautious one of them, and when to say nothing.

The confidences, calibrated on the labelled reference, say how many events to expect right. Readers of the embedding say
how much more often than in the reference they contradict the model. The estimate is the lower of the two. It is refused
where what it rests on is missing or cannot hold; ``why`` then says which.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.performance.cbpe import (
    ClassPerformance,
    ConfidenceEstimate,
    Interval,
    Z,
    estimate_from_confidences,
    reweighted,
)
from visiondrift.drift.performance.confidence_calibration import Normalised
from visiondrift.drift.performance.folds import Company, block_index, design_effect, mean_companions
from visiondrift.drift.performance.label_shift import (
    MAX_CLASSES,
    MAX_UNKNOWN_SHARE,
    MIN_CLASS_LABELS,
    LabelShift,
)
from visiondrift.drift.performance.model import Evidence, PerformanceModel, why_no_probabilities
from visiondrift.drift.performance.second_opinion import Consultation

MIN_EVENTS = 50
"""Events of a window before its accuracy is estimated."""

MAX_QUARREL = 0.06
"""How much more often than on the reference the readers may contradict each other before neither is believed."""

MAX_NOVEL_SHARE = 0.5
"""Of a window, farther from the reference than 99 in 100 of its own rows; asked where only one reader is heard."""

_QUARREL_ERRORS = 2.33  # standard errors that a quarrel must be from nothing: a small window may show it by chance

MIN_EMBEDDED_SHARE = 0.5
"""Of a window's events that must have an embedding before the readers are asked."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PerformanceEstimate:
    """A window's performance. Shares 0-1; intervals hold 90 %. All but ``measured`` is what shows without labels.

    ``accuracy`` is the lower of ``by_confidence`` and ``by_readers``, and None where nothing could be computed.
    ``consultation`` is None without embeddings, ``label_shift`` with over a hundred classes.
    Where ``valid`` is False it is not to be acted on, and ``why`` says why. ``measured`` is the accuracy of the events
    whose true class is known, None where too few are: it needs no assumption, and goes before any estimate.
    """

    samples: int
    reference_accuracy: float
    accuracy: Interval | None
    by_confidence: Interval | None
    by_readers: Interval | None
    classes: tuple[ClassPerformance, ...]
    consultation: Consultation | None
    label_shift: LabelShift | None
    valid: bool
    why: str
    measured: Interval | None = None

    @property
    def drop(self) -> float | None:
        """The reference's accuracy less the measured one, or else the estimated one; None where there is neither."""
        found = self.measured or self.accuracy
        return None if found is None else self.reference_accuracy - found.value


def estimate_performance(model: PerformanceModel, window: Evidence, *, seed: int = 0) -> PerformanceEstimate:
    """What ``window`` shows of the model's performance. Pure: equal arguments give equal answers."""
    if len(window) < MIN_EVENTS:
        why = f"the window has {len(window)} events with confidences, and {MIN_EVENTS} are needed"
        return _nothing(model, window, why)
    why = why_no_probabilities(window.confidences)
    if why:
        return _nothing(model, window, why)
    block_of = block_index(window.blocks, len(window))
    blocks = None if window.blocks is None else int(block_of.max()) + 1
    # Where the window's blocks are not known they are taken to be as large as the reference's.
    company = Company(model.companions, model.companions if window.blocks is None else mean_companions(block_of))
    given = Normalised.of(window.confidences)
    probabilities = model.calibrator.apply(given)
    shift = None
    if len(model.names) <= MAX_CLASSES:
        shift = model.mixture.estimate(probabilities, model.names, blocks=blocks, seed=seed)
    confident = _by_confidence(model, given, window.predicted, shift, company)
    consultation = _consult(model, window, company)
    reader = consultation.cautious if consultation else None
    by_readers = reader.accuracy if reader else None
    why = _why_unknown(model, window, probabilities) or _why_refused(consultation, shift)
    return PerformanceEstimate(
        samples=len(window),
        reference_accuracy=model.accuracy,
        accuracy=_cautious(confident.accuracy, by_readers),
        by_confidence=confident.accuracy,
        by_readers=by_readers,
        classes=confident.classes,
        consultation=consultation,
        label_shift=shift,
        valid=not why,
        why=why,
    )


def measured_accuracy(
    predicted: NDArray[np.int32], labels: NDArray[np.int32], *, blocks: NDArray[Any] | None = None
) -> Interval | None:
    """The accuracy of the m events whose true class ``labels`` (m,) is known, -1 where not; None where of too few.

    Wilson's interval (1927), its count lowered to that of independent events where ``blocks`` (m,) tie some together.
    """
    known = (labels != -1) & (predicted >= 0)
    count = int(known.sum())
    if count < MIN_EVENTS:
        return None
    right = (predicted[known] == labels[known]).astype(np.float64)
    share = float(right.mean())
    spread_of_one = np.full(count, max(share * (1 - share), 1e-12))
    effect = design_effect(right - share, spread_of_one, block_index(None if blocks is None else blocks[known], count))
    n = count / effect
    middle, reach = share + Z**2 / (2 * n), Z * float(np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)))
    return Interval(share, (middle - reach) / (1 + Z**2 / n), min(1.0, (middle + reach) / (1 + Z**2 / n)))


def to_plain(estimate: PerformanceEstimate) -> dict[str, Any]:
    """The estimate as JSON can hold it, with its drop."""
    return {**asdict(estimate), "drop": estimate.drop}


def _nothing(model: PerformanceModel, window: Evidence, why: str) -> PerformanceEstimate:
    return PerformanceEstimate(len(window), model.accuracy, None, None, None, (), None, None, valid=False, why=why)


def _cautious(by_confidence: Interval, by_readers: Interval | None) -> Interval:
    """The lower value; the interval holds both opinions', whose difference no sampling error explains."""
    if by_readers is None:
        return by_confidence
    return Interval(
        min(by_confidence.value, by_readers.value),
        min(by_confidence.low, by_readers.low),
        max(by_confidence.high, by_readers.high),
    )


def _why_unknown(model: PerformanceModel, window: Evidence, probabilities: Floats) -> str:
    """Neither the readers nor the mixture can know a class that no labelled row has, or next to none.

    ``probabilities`` (m, C) are the window's, calibrated. Of rare classes the reference's own share is no news.
    """
    unknown = float((model.mixture.counts[window.predicted] == 0).mean())
    if unknown > MAX_UNKNOWN_SHARE:
        return (
            f"{unknown:.0%} of the window's events are predicted as classes that no labelled row of the reference has; "
            f"at most {MAX_UNKNOWN_SHARE:.0%} may be"
        )
    rare = model.mixture.counts < MIN_CLASS_LABELS
    now, then = (float(given[:, rare].sum(axis=1).mean()) for given in (probabilities, model.mixture.probabilities))
    if now - then > MAX_UNKNOWN_SHARE:
        return (
            f"{now:.0%} of the window's probability is on classes with fewer than {MIN_CLASS_LABELS} labels in the "
            f"reference, where it was {then:.0%}; it may be {MAX_UNKNOWN_SHARE:.0%} more"
        )
    return ""


def _why_refused(consultation: Consultation | None, shift: LabelShift | None) -> str:
    """A reader that is heard stands in for the mixture: it is there for the windows that this does not explain."""
    if consultation is None or consultation.cautious is None:
        if shift and shift.valid:
            return ""
        changed = (
            shift.why if shift else f"whether more than the shares of over {MAX_CLASSES} classes changed is unknown"
        )
        lacking = (
            "there are no embeddings to ask" if consultation is None else "no reader of the embedding is good enough"
        )
        return f"{changed}; and {lacking} for a second opinion"
    if consultation.quarrel > max(MAX_QUARREL, _QUARREL_ERRORS * consultation.quarrel_error):
        return (
            f"the readers of the embedding contradict each other on {consultation.quarrel:.0%} more events than on the "
            f"reference, and at most {MAX_QUARREL:.0%} may be: they do not know such images"
        )
    if not consultation.all_heard and consultation.novel_share > MAX_NOVEL_SHARE:
        return (
            f"{consultation.novel_share:.0%} of the window looks like nothing in the reference, at most "
            f"{MAX_NOVEL_SHARE:.0%} may, and only one reader of the embedding is good enough to be asked"
        )
    return ""


def _by_confidence(
    model: PerformanceModel,
    given: Normalised,
    predicted: NDArray[np.int32],
    shift: LabelShift | None,
    company: Company,
) -> ConfidenceEstimate:
    """The confidences' estimate, under the window's own class shares where these moved and can be told."""
    every = [fitted.of_predicted(given, predicted) for fitted in (model.calibrator, *model.replicas)]
    if shift and shift.valid and shift.moved:
        every = [reweighted(one, shift.ratio()) for one in every]
    effect = company.design_effect(model.design_effect)
    return estimate_from_confidences(every[0], predicted, model.names, replicas=every[1:], design_effect=effect)


def _consult(model: PerformanceModel, window: Evidence, company: Company) -> Consultation | None:
    embedded = window.embedded
    if model.opinion is None or window.embeddings is None or embedded.mean() < MIN_EMBEDDED_SHARE:
        return None
    return model.opinion.consult(window.embeddings[embedded], window.predicted[embedded], company=company)
