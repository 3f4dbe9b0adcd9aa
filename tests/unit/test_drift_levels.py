"""Levels: fixed numbers as they are, ``auto`` as budget and null give it, and critical only where there is harm."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visiondrift.config import SliceThresholds, Threshold
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.drift.calibrated import EVIDENCE, REMEMBERED, CalibratedReference, Calibration, WindowBlocks
from visiondrift.drift.calibration.budget import DAY, MONTH, Terms
from visiondrift.drift.calibration.nulls import MIN_WINDOW_BLOCKS, SliceCalibration
from visiondrift.drift.calibration.tails import Null, Tail
from visiondrift.drift.embedding.detector import Detector
from visiondrift.drift.judge import ScoreOrReason, judge
from visiondrift.drift.levels import Standard, looks_of, standard_of, terms_for
from visiondrift.signals import BY_NAME, SEVERITIES, SIGNALS, Severity

AUTOMATIC = Threshold(warning="auto", critical="auto")
TERMS = Terms({"warning": 1e-3, "critical": 1e-4}, every=300.0)
WITH_NULL = [signal.name for signal in SIGNALS if signal.calibrated and signal.name not in EVIDENCE]
MAGNITUDES = [name for name in WITH_NULL if BY_NAME[name].bad_when == "high"]

alphas = st.floats(1e-9, 0.4)
tails = st.builds(Tail, st.floats(0.0, 0.5), st.floats(1e-3, 0.5), st.floats(-0.5, 3.0))


def standard(name: str, tail: Tail | None = None, threshold: Threshold = AUTOMATIC, why: str = "") -> Standard:
    return standard_of(name, {name: threshold}, tail, why)


def wide(name: str) -> Tail:
    """A null so wide that neither ``least`` nor ``large`` binds: of the negated score, where low is bad."""
    return Tail(50.0, 10.0, 0.5) if BY_NAME[name].bad_when == "high" else Tail(5.0, 10.0, 0.5)


def severity_of(name: str, level: float) -> float:
    """A level as a number that is higher where it is worse."""
    return level if BY_NAME[name].bad_when == "high" else -level


@pytest.mark.parametrize("harmful", [True, False])
@pytest.mark.parametrize("name", list(BY_NAME))
def test_fixed_numbers_are_in_force_as_they_are(name: str, harmful: bool) -> None:
    given = standard(name, Tail(0.2, 0.1, 1.0), Threshold(warning=0.31, critical=0.52))
    found = given.levels(TERMS, harmful=harmful)
    assert (found.warning, found.critical, found.why) == (0.31, 0.52, "")


@pytest.mark.parametrize("name", list(BY_NAME))
def test_null_is_no_level(name: str) -> None:
    found = standard(name, Tail(0.2, 0.1, 1.0), Threshold()).levels(TERMS, harmful=True)
    assert (found.warning, found.critical, found.why) == (None, None, "")


@pytest.mark.parametrize("name", WITH_NULL)
@given(alpha=alphas)
@settings(max_examples=25, deadline=None)
def test_a_level_by_the_budget_is_passed_with_just_the_chance_that_a_look_may_have(name: str, alpha: float) -> None:
    """Where no floor binds."""
    given = standard(name, wide(name))
    level = given.budgeted(alpha)
    assert level is not None
    assert given.p(level) == pytest.approx(alpha, rel=1e-3)


@pytest.mark.parametrize("name", sorted(EVIDENCE))
@given(alpha=alphas)
def test_evidence_is_its_own_null(name: str, alpha: float) -> None:
    given = standard(name)
    level = given.budgeted(alpha)
    assert level == pytest.approx(-np.log10(alpha))
    assert given.p(level) == pytest.approx(alpha)


def test_the_null_of_a_signal_that_is_bad_when_low_is_that_of_the_negated_score() -> None:
    similarity = standard("clip_similarity", Tail(-0.9, 0.02, 0.0))
    assert similarity.budgeted(0.5 + 1e-12) == pytest.approx(0.9)
    assert similarity.budgeted(1e-3) == pytest.approx(0.9 - 3.0902 * 0.02, abs=1e-4)
    lower, higher = similarity.p(0.80), similarity.p(0.95)
    assert lower is not None
    assert higher is not None
    assert lower < 1e-6
    assert higher > 0.9


@pytest.mark.parametrize("name", WITH_NULL)
def test_a_change_too_small_to_matter_is_no_warning_however_surely_it_is_seen(name: str) -> None:
    sure = Tail(0.0, 1e-6, 0.0) if BY_NAME[name].bad_when == "high" else Tail(-1.0, 1e-6, 0.0)
    assert standard(name, sure).levels(TERMS, harmful=True).warning == BY_NAME[name].least


@given(name=st.sampled_from(WITH_NULL), tail=tails, alpha=alphas)
def test_no_level_by_the_budget_is_milder_than_the_least(name: str, tail: Tail, alpha: float) -> None:
    level, least = standard(name, tail).budgeted(alpha), BY_NAME[name].least
    assert level is not None
    assert least is not None
    assert severity_of(name, level) >= severity_of(name, least)


@pytest.mark.parametrize("name", WITH_NULL)
def test_the_warning_is_the_same_with_and_without_harm(name: str) -> None:
    given = standard(name, Tail(0.01, 0.005, 1.0))
    assert given.levels(TERMS, harmful=True).warning == given.levels(TERMS, harmful=False).warning


@pytest.mark.parametrize("name", WITH_NULL)
def test_without_harm_only_a_large_change_is_critical(name: str) -> None:
    quiet = Tail(0.0, 1e-3, 0.0) if BY_NAME[name].bad_when == "high" else Tail(-1.0, 1e-4, 0.0)
    given = standard(name, quiet)
    assert given.levels(TERMS, harmful=False).critical == BY_NAME[name].large
    with_harm = given.levels(TERMS, harmful=True).critical
    assert with_harm == BY_NAME[name].least


@pytest.mark.parametrize("name", WITH_NULL)
def test_a_large_change_that_chance_reaches_is_not_critical(name: str) -> None:
    large = BY_NAME[name].large
    assert large is not None
    reaching = Tail(severity_of(name, large) + 0.01, 0.01, 0.0)
    critical = standard(name, reaching).levels(TERMS, harmful=False).critical
    assert critical == standard(name, reaching).budgeted(TERMS.alpha["critical"])


BOUNDED = [name for name in WITH_NULL if np.isfinite(BY_NAME[name].high)]


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("harmful", [True, False])
def test_a_signal_that_can_never_reach_its_level_may_not_be_called_ok(name: str, harmful: bool) -> None:
    """The largest change there can be might be chance: silence would say that nothing is wrong."""
    levels = standard(name, Tail(-1.0 if BY_NAME[name].bad_when == "low" else 0.2, 1.0, 0.0)).levels(
        TERMS, harmful=harmful
    )
    assert (levels.warning, levels.critical) == (None, None)
    assert "even the largest possible change" in levels.why
    (judgement,) = judge({name: ScoreOrReason(0.5, 100)}, {name: levels})
    assert (judgement.verdict, judgement.why) == ("insufficient", levels.why)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_warning_in_reach_speaks_though_critical_is_out_of_it(name: str) -> None:
    signal = BY_NAME[name]
    # 3.09 deviations are the warning, 3.72 are critical: between them lies the end of what the score can be.
    low = signal.bad_when == "low"
    end = -signal.low if low else signal.high
    levels = standard(name, Tail(end - 3.4, 1.0, 0.0)).levels(TERMS, harmful=True)
    assert levels.warning is not None
    assert (levels.critical, levels.unreachable, levels.why) == (None, {"critical"}, "")
    (judgement,) = judge({name: ScoreOrReason(signal.low if low else signal.high, 100)}, {name: levels})
    assert judgement.verdict == "warning"


def test_fixed_numbers_are_in_force_beside_an_unreachable_level() -> None:
    threshold = Threshold(warning=0.3, critical="auto")
    levels = Standard(BY_NAME["embedding_drift"], threshold, Tail(0.2, 1.0, 0.0)).levels(TERMS, harmful=True)
    assert (levels.warning, levels.critical, levels.unreachable, levels.why) == (0.3, None, {"critical"}, "")


@pytest.mark.parametrize("name", sorted(EVIDENCE))
def test_evidence_alone_is_never_critical(name: str) -> None:
    without, harmed = (standard(name).levels(TERMS, harmful=harmful) for harmful in (False, True))
    assert (without.warning, without.critical) == (3.0, None)
    assert (harmed.warning, harmed.critical) == (3.0, 4.0)


@given(
    name=st.sampled_from([*WITH_NULL, *sorted(EVIDENCE)]),
    tail=tails,
    chances=st.tuples(alphas, alphas),
    fixed=st.none() | st.floats(-1, 1),
    harmful=st.booleans(),
)
def test_a_critical_level_by_the_budget_is_never_milder_than_the_warning(
    name: str, tail: Tail, chances: tuple[float, float], fixed: float | None, harmful: bool
) -> None:
    """Whatever the budgets and looks came to, and where the warning is a number of its own."""
    threshold = AUTOMATIC if fixed is None else Threshold(warning=fixed, critical="auto")
    given = standard(name, None if name in EVIDENCE else tail, threshold)
    terms = Terms({"warning": chances[0], "critical": chances[1]}, 300.0)
    found = given.levels(terms, harmful=harmful)
    assert (found.warning is None) == ("warning" in found.unreachable)
    if found.warning is not None and found.critical is not None:
        assert severity_of(name, found.critical) >= severity_of(name, found.warning)


@pytest.mark.parametrize("name", [*WITH_NULL, *sorted(EVIDENCE)])
def test_without_a_null_a_level_by_the_budget_lacks_and_says_why(name: str) -> None:
    found = standard(name, why="the reference is too short").levels(TERMS, harmful=True)
    assert (found.warning, found.critical, found.why) == (None, None, "the reference is too short")


def test_a_number_beside_a_lacking_level_stays_in_force() -> None:
    given = standard("embedding_drift", threshold=Threshold(warning="auto", critical=0.6), why="too short")
    found = given.levels(TERMS, harmful=False)
    assert (found.warning, found.critical, found.why) == (None, 0.6, "too short")


def test_what_lacks_a_null_says_nothing_where_no_level_hangs_on_it() -> None:
    given = standard("embedding_drift", threshold=Threshold(warning=0.3), why="too short")
    assert given.levels(TERMS, harmful=False).why == ""


def test_without_a_null_nothing_is_worth_anything() -> None:
    given = replace(standard("embedding_drift", Tail(0.1, 0.1, 0.0)), tail=None, why="the window is too short")
    assert not given.has_null
    assert given.p(0.9) is given.budgeted(1e-3) is given.detectable(0.5) is None
    assert not given.is_large(1.0, TERMS)


@pytest.mark.parametrize("name", WITH_NULL)
def test_a_change_is_large_from_its_size_on_and_where_chance_does_not_reach_it(name: str) -> None:
    large = BY_NAME[name].large
    assert large is not None
    milder = large - 0.01 if BY_NAME[name].bad_when == "high" else large + 0.01
    quiet = standard(name, Tail(0.0, 1e-3, 0.0) if BY_NAME[name].bad_when == "high" else Tail(-1.0, 1e-3, 0.0))
    assert quiet.is_large(large, TERMS)
    assert not quiet.is_large(milder, TERMS)
    assert not standard(name, wide(name)).is_large(large, TERMS)


@pytest.mark.parametrize("name", sorted(EVIDENCE))
def test_evidence_says_how_sure_and_never_how_large(name: str) -> None:
    assert not standard(name).is_large(300.0, TERMS)


def test_four_windows_in_five_that_moved_by_what_is_detectable_pass_the_level() -> None:
    tail, given = Tail(0.1, 0.02, 0.8), standard("embedding_drift", Tail(0.1, 0.02, 0.8))
    level = given.budgeted(1e-3)
    assert level is not None
    shift = given.detectable(level)
    assert shift is not None
    assert Tail(tail.mean + shift, tail.sd, tail.skew).p(level) == pytest.approx(0.8, rel=1e-6)


def test_what_is_detectable_of_a_signal_that_is_bad_when_low_is_a_fall() -> None:
    given = standard("clip_similarity", Tail(-0.98, 0.01, 0.0))
    level = given.budgeted(1e-4)
    assert level is not None
    fall = given.detectable(level)
    assert fall is not None
    assert 0 < 0.98 - level < fall
    assert Tail(-0.98 + fall, 0.01, 0.0).p(-level) == pytest.approx(0.8, rel=1e-6)


# What all looks together cost


EVERYTHING = frozenset(signal.name for signal in SIGNALS if signal.calibrated)


HOUR = 3600.0


def knowing(
    signals: Collection[str], slices: Collection[str] = ("all",), label: str = "camera", block: float = 60.0
) -> Calibration:
    """Of a reference that has nulls of these signals, for these slices alone, in blocks of so many seconds."""
    null = Null((3.0,), (0.0,), (1.0,), (0.0,))
    one = SliceCalibration(80, 40, 1.0, {name: null for name in signals if name not in EVIDENCE})
    embedded = Detector(None, dict.fromkeys(slices, replace(one, nulls={"t_lw": null})))  # type: ignore[arg-type]
    detector = embedded if EVIDENCE & set(signals) else None
    seconds = {name: block for name in slices if name != "all"} or {"": block}
    return Calibration(label, seconds, {}, detector, dict.fromkeys(slices, one))


def reference_of(*labels: Calibration) -> CalibratedReference:
    return CalibratedReference("", {one.label: one for one in labels})


WHOLE = reference_of(knowing(EVERYTHING))


def slices(count: int, **levels: Threshold) -> list[tuple[str, SliceThresholds]]:
    return [("all", dict(levels)) for _ in range(count)]


def test_a_look_is_a_window_of_a_slice_and_accumulated_evidence_one_of_a_slice() -> None:
    thresholds = slices(4, drift_evidence=AUTOMATIC, accumulated_evidence=AUTOMATIC, clip_similarity=AUTOMATIC)
    assert looks_of(thresholds, WHOLE, windows=[HOUR, HOUR, HOUR]) == {
        "warning": 4 * (3 + 1 + 3),
        "critical": 4 * (3 + 1 + 3),
    }


def test_fixed_levels_and_none_cost_no_look() -> None:
    thresholds = slices(
        2,
        clip_similarity=Threshold(warning=0.95, critical=0.9),
        embedding_drift=Threshold(warning="auto"),
        prediction_drift=Threshold(),
    )
    assert looks_of(thresholds, WHOLE, windows=[HOUR, HOUR]) == {"warning": 4, "critical": 0}


@pytest.mark.parametrize(
    ("signals", "looks"),
    [
        ({"prediction_drift"}, 2),
        ({"prediction_drift", "confidence_drift", "confidence_drop", "low_confidence_rise"}, 8),
        ({"drift_evidence", "accumulated_evidence", "embedding_drift", "clip_similarity"}, 7),
        (set(), 0),
    ],
    ids=["classes alone", "classes and confidences", "embeddings alone", "nothing"],
)
def test_what_a_model_does_not_send_takes_nothing_of_its_budget(signals: set[str], looks: int) -> None:
    thresholds = [("all", STARTING_THRESHOLDS.resolve("", "all"))]
    assert looks_of(thresholds, reference_of(knowing(signals)), windows=[HOUR, HOUR])["warning"] == looks


def test_a_slice_that_the_reference_does_not_know_takes_nothing_of_the_budget() -> None:
    reference = reference_of(knowing({"clip_similarity"}, slices=("all", "left")))
    looked_at = ["all", "camera=left", "camera=new", "shift=night"]
    thresholds = [(name, {"clip_similarity": AUTOMATIC}) for name in looked_at]
    assert looks_of(thresholds, reference, windows=[HOUR])["warning"] == 2


def test_memories_are_looked_at_of_the_first_label_alone() -> None:
    evidence = {"drift_evidence", "accumulated_evidence"}
    reference = reference_of(knowing(evidence, ("all", "left")), knowing(evidence, ("all", "night"), label="shift"))
    thresholds = [(name, dict.fromkeys(evidence, AUTOMATIC)) for name in ("all", "camera=left", "shift=night")]
    assert looks_of(thresholds, reference, windows=[HOUR, HOUR])["warning"] == 3 * 2 + 2


def test_a_reference_that_is_not_calibrated_has_no_level_to_share_a_budget_over() -> None:
    thresholds = slices(3, clip_similarity=AUTOMATIC)
    assert looks_of(thresholds, None, windows=[HOUR, HOUR]) == {"warning": 0, "critical": 0}


def spread_over(window: float, block: float, offset: float, dense: int) -> WindowBlocks:
    """The blocks of a window of a camera whose events come ``dense`` times as often as the reference's, one a block."""
    inside = np.linspace(0, window, max(2, round(dense * window / block)), endpoint=False)
    of_row = np.floor((offset * block + inside) / block).astype(np.int64)
    return WindowBlocks(of_row, np.full(len(of_row), "left"))


@given(window=st.floats(1.0, 400.0), block=st.floats(1.0, 400.0), offset=st.floats(0, 1), dense=st.integers(1, 200))
def test_a_window_that_can_never_be_judged_is_worth_less_than_a_judgement_takes(
    window: float, block: float, offset: float, dense: int
) -> None:
    """However dense its traffic, and wherever in a block it begins."""
    null = Null((3.0, 100.0), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0))
    one = SliceCalibration(800, 400, 1.0, {"embedding_drift": null}, evenness=0.5)
    calibration = Calibration("camera", {"left": block}, {}, None, {"left": one})
    if not calibration.can_judge("left", window):
        assert calibration.worth("left", spread_over(window, block, offset, dense)) < MIN_WINDOW_BLOCKS


def test_a_window_between_one_and_three_blocks_is_judged_where_traffic_is_dense() -> None:
    """And so must have its share: 2.5 blocks of three times the reference's traffic are worth three of its blocks."""
    calibration = knowing({"embedding_drift"}, ("left",))
    null = Null((3.0, 100.0), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0))
    one = replace(calibration.scores["left"], nulls={"embedding_drift": null}, evenness=0.8)
    calibration = replace(calibration, scores={"left": one})
    assert calibration.worth("left", spread_over(150.0, 60.0, 0.25, 40)) >= MIN_WINDOW_BLOCKS
    assert calibration.can_judge("left", 150.0)


@pytest.mark.parametrize(
    ("windows", "looks"),
    [([HOUR], 3), ([HOUR, 30.0], 3), ([HOUR, 60.0], 3), ([HOUR, 61.0], 5), ([30.0], 1), ([30.0, 60.0, 600.0, HOUR], 5)],
)
def test_a_window_too_short_ever_to_be_judged_takes_nothing_of_the_budget(windows: list[float], looks: int) -> None:
    """In blocks of a minute; the memories, which speak in the longest window, are longer than any."""
    reference = reference_of(knowing({"clip_similarity", "drift_evidence", "accumulated_evidence"}))
    thresholds = slices(1, drift_evidence=AUTOMATIC, accumulated_evidence=AUTOMATIC, clip_similarity=AUTOMATIC)
    assert looks_of(thresholds, reference, windows=windows)["warning"] == looks


def test_windows_are_counted_slice_by_slice_and_of_all_by_the_blocks_of_all() -> None:
    """Half a block of each of two cameras lies in up to two of either."""
    slow, fast = knowing({"clip_similarity"}, ("all", "left"), block=600.0), knowing({"clip_similarity"}, ("right",))
    calibration = replace(slow, seconds={**slow.seconds, **fast.seconds}, scores={**slow.scores, **fast.scores})
    looked_at = [(name, {"clip_similarity": AUTOMATIC}) for name in ("all", "camera=left", "camera=right")]
    for window, looks in ((30.0, 1), (300.0, 2), (601.0, 3)):
        assert looks_of(looked_at, reference_of(calibration), windows=[window])["warning"] == looks


def test_how_many_scenes_a_window_holds_is_not_known_before() -> None:
    reference = reference_of(replace(knowing({"clip_similarity"}), scenes="scene"))
    assert looks_of(slices(1, clip_similarity=AUTOMATIC), reference, windows=[1.0])["warning"] == 1


levels = st.sampled_from(["auto", None, 0.5])
signal_names = st.sampled_from([signal.name for signal in SIGNALS if signal.calibrated])
resolved = st.dictionaries(signal_names, st.builds(Threshold, warning=levels, critical=levels), max_size=8)


@given(
    thresholds=st.lists(resolved, min_size=1, max_size=5),
    known=st.sets(signal_names),
    windows=st.integers(1, 4),
    every=st.floats(10, 3600),
    days=st.floats(1, 400),
)
def test_all_looks_of_an_evaluation_together_cost_what_the_budget_gives_it(
    thresholds: list[SliceThresholds], known: set[str], windows: int, every: float, days: float
) -> None:
    rate = 1 / (days * DAY)
    rates: dict[Severity, float] = {"warning": rate, "critical": rate / 10}
    known |= EVIDENCE if known & EVIDENCE else set()  # one detector gives both
    reference = reference_of(knowing(known))
    terms = terms_for(rates, [("all", one) for one in thresholds], reference, windows=windows * [HOUR], every=every)
    for severity in SEVERITIES:
        spent = sum(
            terms.alpha[severity] * (1 if name in REMEMBERED else windows)
            for one in thresholds
            for name, threshold in one.items()
            if threshold.level(severity) == "auto" and name in known
        )
        assert spent == pytest.approx(rate * every * (1 if severity == "warning" else 0.1)) or spent == 0


def test_the_starting_thresholds_keep_one_false_warning_a_week_over_cameras_windows_and_signals() -> None:
    thresholds = slices(21, **STARTING_THRESHOLDS.resolve("", "all"))
    rates: dict[Severity, float] = {"warning": 1 / (7 * DAY), "critical": 1 / (90 * DAY)}
    terms = terms_for(rates, thresholds, WHOLE, windows=[HOUR, HOUR], every=300.0)
    looks = looks_of(thresholds, WHOLE, windows=[HOUR, HOUR])
    assert looks == {"warning": 21 * 17, "critical": 21 * 17}
    assert terms.pages(terms.alpha["warning"]) * looks["warning"] == pytest.approx(30 / 7)
    assert terms.pages(terms.alpha["critical"]) * looks["critical"] == pytest.approx(30 / 90)


@given(p=st.floats(1e-12, 1), every=st.floats(1, 86_400))
def test_false_pages_a_month_are_chance_times_evaluations(p: float, every: float) -> None:
    assert Terms({"warning": p}, every).pages(p) == pytest.approx(p * MONTH / every)
