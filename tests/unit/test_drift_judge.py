"""Which side of its thresholds a score is on."""

import pytest

from visiondrift.drift.judge import Levels, ScoreOrReason, judge, worst
from visiondrift.signals import VerdictName


@pytest.mark.parametrize(
    ("signal", "score", "threshold", "verdict"),
    [
        ("embedding_drift", 0.29, Levels(warning=0.3, critical=0.5), "ok"),
        ("embedding_drift", 0.3, Levels(warning=0.3, critical=0.5), "warning"),
        ("embedding_drift", 0.5, Levels(warning=0.3, critical=0.5), "critical"),
        ("clip_similarity", 0.96, Levels(warning=0.95, critical=0.9), "ok"),
        ("clip_similarity", 0.95, Levels(warning=0.95, critical=0.9), "warning"),
        ("clip_similarity", 0.2, Levels(warning=0.95, critical=0.9), "critical"),
        ("embedding_drift", 0.9, Levels(warning=0.3), "warning"),
        ("embedding_drift", 0.4, Levels(critical=0.5), "ok"),
        ("embedding_drift", 1.0, Levels(), "ok"),
    ],
)
def test_a_score_is_judged_in_its_signals_direction(
    signal: str, score: float, threshold: Levels, verdict: VerdictName
) -> None:
    (judgement,) = judge({signal: ScoreOrReason(score, 500)}, {signal: threshold})
    assert (judgement.verdict, judgement.score, judgement.samples) == (verdict, score, 500)


def test_a_score_that_is_not_there_keeps_its_reason() -> None:
    (judgement,) = judge({"embedding_drift": ScoreOrReason(None, 7, "too few")}, {})
    assert (judgement.verdict, judgement.score, judgement.why) == ("insufficient", None, "too few")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), "insufficient"),
        (("insufficient",), "insufficient"),
        (("insufficient", "ok"), "ok"),
        (("ok", "warning"), "warning"),
        (("critical", "warning", "insufficient"), "critical"),
    ],
)
def test_the_worst_verdict_speaks_for_all(verdicts: tuple[VerdictName, ...], expected: VerdictName) -> None:
    assert worst(verdicts) == expected
