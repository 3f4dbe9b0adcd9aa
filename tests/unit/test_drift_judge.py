"""Which side of its thresholds a score is on."""

import pytest

from visiondrift.drift.judge import Levels, ScoreOrReason, WindowEvaluation, judge, worst
from visiondrift.signals import Severity, VerdictName


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


@pytest.mark.parametrize(
    ("score", "by_budget", "verdict"),
    [
        (0.45, (), "insufficient"),
        (0.45, ("critical",), "insufficient"),
        (0.45, ("warning",), "warning"),
        (0.45, ("warning", "critical"), "warning"),
        (0.55, (), "insufficient"),
        (0.55, ("critical",), "critical"),
        (0.55, ("warning",), "warning"),
        (0.55, ("warning", "critical"), "critical"),
        (0.35, ("critical",), "ok"),
        (0.65, ("critical",), "critical"),
        (0.65, ("warning",), "critical"),
    ],
)
def test_what_chance_reaches_a_number_does_not_tell_whatever_the_other_level_is(
    score: float, by_budget: tuple[Severity, ...], verdict: VerdictName
) -> None:
    """Chance alone comes to 0.6: a level that follows from its null is passed for sure, a number is not."""
    given = ScoreOrReason(score, 500, chance=0.6, looks="3 independent looks")
    levels = Levels(warning=0.4, critical=0.5, by_budget=frozenset(by_budget))
    (judgement,) = judge({"embedding_drift": given}, {"embedding_drift": levels})
    assert judgement.verdict == verdict
    assert ("chance alone reaches that with 3 independent looks" in judgement.why) == (verdict == "insufficient")


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


def evaluation(**scores: ScoreOrReason) -> WindowEvaluation:
    levels = {name: Levels(warning=0.3, critical=0.5) for name in scores}
    return WindowEvaluation("all", "1h", samples=500, min_samples=20, judgements=judge(scores, levels))


def test_a_window_in_which_no_drift_can_be_judged_is_not_called_ok() -> None:
    blind = ScoreOrReason(None, 500, "the reference holds 9 independent blocks, and 40 are needed")
    found = evaluation(drift_evidence=blind, missing_ratio=ScoreOrReason(0.0, 500))
    assert (found.verdict, found.why_blind) == ("insufficient", blind.why)
    assert evaluation(drift_evidence=blind, missing_ratio=ScoreOrReason(0.6, 500)).verdict == "critical"
    seen = evaluation(drift_evidence=blind, image_drift=ScoreOrReason(0.1, 500), missing_ratio=ScoreOrReason(0.0, 500))
    assert (seen.verdict, seen.why_blind) == ("ok", "")
