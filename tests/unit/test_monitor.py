"""The monitor: every model on its own schedule, none of them able to stop it, and nothing old passed off as new."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor_parts import CLIP, DIMENSION, NOON, World, events, model
from programs import PATIENCE_S, until
from visiondrift.errors import LogError
from visiondrift.log import Census, Window, WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog
from visiondrift.monitor import HISTORY
from visiondrift.prediction import Rejection

QUIET = {"reports": {"when": "never"}}


def _nothing(_: WindowQuery) -> None:
    return


class TroubledLog(MemoryLog):
    """A log in memory whose reads can be made to fail or to take long."""

    def __init__(self) -> None:
        super().__init__()
        self.before_window: Callable[[WindowQuery], None] = _nothing
        self.census_fails = False

    def window(self, query: WindowQuery) -> Window:
        self.before_window(query)
        return super().window(query)

    def census(self) -> Census:
        if self.census_fails:
            raise LogError("the disk is gone")
        return super().census()


@pytest.fixture
def log() -> TroubledLog:
    return TroubledLog()


@pytest.fixture
def world(tmp_path: Path, log: TroubledLog) -> World:
    """A model with a reference and one good camera, not yet evaluated."""
    made = World(tmp_path, log)
    made.configure(model(), **QUIET)
    made.refer()
    made.send(events())
    return made.start()


def test_over_the_real_log_a_good_camera_is_ok_and_a_moved_one_critical(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    world = World(tmp_path, log)
    world.configure(model(), **QUIET)
    world.refer()
    world.send([*events(), *events(camera="right", drifted=True)])
    world.start().tick()
    log.close()
    assert world.verdict("camera=left") == "ok"
    assert world.verdict("camera=right") == "critical"
    assert world.verdict("all") == "critical"
    assert world.states["pets"].owner == "cat-team"
    assert [found[:2] for found in world.tally.durations] == [("evaluation_duration_seconds", "pets")]


# The schedule


def test_each_model_is_evaluated_on_its_own_schedule(world: World) -> None:
    world.configure(model(), model("slow", reference="pets", evaluate_every="5m"), **QUIET)
    world.tick()
    for _ in range(20):
        world.tick(30)
    assert (world.evaluations("pets"), world.evaluations("slow")) == (11, 3)


def test_a_look_before_the_turn_evaluates_nothing_but_shows_what_came_in(world: World) -> None:
    world.tick()
    world.send(events(1, until=NOON + 20, over=1.0))
    world.tick(30)
    assert world.evaluations() == 1
    assert world.states["pets"].newest["1", "all"] == pytest.approx(NOON + 19)


def test_a_slow_evaluation_skips_turns_and_keeps_to_the_grid(world: World, log: TroubledLog) -> None:
    def slow(_: WindowQuery) -> None:
        world.now += 150

    log.before_window = slow
    world.tick()
    log.before_window = _nothing
    assert world.now == NOON + 150
    world.tick()
    assert world.evaluations() == 1, "the turns at 60 and 120 s are gone, not due"
    world.tick(30)
    assert world.evaluations() == 2
    world.tick(59)
    assert world.evaluations() == 2
    world.tick(1)
    assert world.evaluations() == 3


def test_a_clock_set_back_does_not_stop_the_schedule(world: World) -> None:
    world.tick()
    world.tick(-86_400)
    assert world.evaluations() == 2
    world.tick(60)
    assert world.evaluations() == 3


def test_an_interval_that_was_shortened_holds_from_the_next_turn_on(world: World) -> None:
    world.configure(model(evaluate_every="10m"), **QUIET)
    world.tick()
    world.configure(model(evaluate_every="1m"), **QUIET)
    world.monitor.hurry()
    world.tick(1)
    world.tick(60)
    assert world.evaluations() == 3


def test_edited_thresholds_are_judged_at_the_next_look(world: World) -> None:
    world.send(events(camera="right", drifted=True))
    world.tick()
    assert world.verdict("camera=right") == "critical"
    world.thresholds = {"defaults": {"signals": {"embedding_drift": {"warning": 0.3}}}}
    world.configure(model(), **QUIET)
    world.monitor.hurry()
    world.tick(1)
    assert world.verdict("camera=right") == "warning"
    world.tick(1)
    assert world.evaluations() == 2, "a hurry is one look, not all that follow"


def test_what_leaves_the_configuration_leaves_the_picture(world: World) -> None:
    world.configure(model(), model("second", reference="pets"), **QUIET)
    world.tick()
    assert set(world.states) == {"pets", "second"}
    world.configure(model(), **QUIET)
    world.tick(1)
    assert set(world.states) == {"pets"}


# One failure stops nothing else


def test_a_log_that_fails_for_one_model_stops_no_other(world: World, log: TroubledLog) -> None:
    def fail(query: WindowQuery) -> None:
        if query.model == "bad":
            raise LogError("page 7 is damaged")

    log.before_window = fail
    world.configure(model("bad", reference="pets"), model(), **QUIET)
    world.send(events(model="bad"))
    world.tick()
    assert world.verdict() == "ok"
    assert world.states["bad"].problem == "page 7 is damaged"
    assert world.states["pets"].problem == ""
    assert world.tally.counts["evaluation_failures", "bad"] == 1
    assert world.tally.counts["evaluation_failures", "pets"] == 0


def test_an_unexpected_error_is_told_with_its_kind(world: World, log: TroubledLog) -> None:
    def fail(_: WindowQuery) -> None:
        raise ZeroDivisionError("division by zero")

    log.before_window = fail
    world.tick()
    assert world.states["pets"].problem == "ZeroDivisionError: division by zero"
    assert world.tally.counts["evaluation_failures", "pets"] == 1


def test_a_failing_turn_is_taken_again_at_the_next_interval_and_not_before(world: World, log: TroubledLog) -> None:
    log.census_fails = True
    for _ in range(5):
        world.tick(0.5)
    assert world.evaluations() == 1
    assert world.states["pets"].problem == "the disk is gone"
    log.census_fails = False
    world.tick(60)
    assert (world.states["pets"].problem, world.verdict()) == ("", "ok")


def test_with_a_log_that_gives_nothing_the_picture_keeps_what_it_last_said(world: World, log: TroubledLog) -> None:
    world.tick()
    before, shown = world.states["pets"].newest, world.shown[-1]
    log.census_fails = True
    world.tick(1)
    assert world.shown[-1] == (shown[0], shown[1] + 1)
    assert world.states["pets"].newest == before


def test_the_newest_event_is_told_while_evaluations_fail(world: World) -> None:
    shutil.rmtree(world.directory / "references")
    world.tick()
    world.send(events(1, until=NOON + 600, over=1.0))
    world.tick(600)
    assert world.states["pets"].problem
    assert world.states["pets"].newest["1", "camera=left"] == pytest.approx(NOON + 599)


# The reference


def test_a_missing_reference_is_told_in_words_and_counted(world: World) -> None:
    shutil.rmtree(world.directory / "references" / "pets")
    world.tick()
    state = world.states["pets"]
    assert "references/pets: there is no such reference" in state.reference.problem
    assert "visiondrift reference build pets" in state.problem
    assert world.tally.counts["evaluation_failures", "pets"] == 1


def test_a_reference_made_with_another_embedder_is_refused_with_both_named(world: World) -> None:
    world.refer(embedder="ViT-B-32/openai")
    world.tick()
    problem = world.states["pets"].reference.problem
    assert "ViT-B-32/openai" in problem
    assert CLIP in problem


def test_a_new_reference_on_disk_is_used_without_a_restart(world: World) -> None:
    world.send(events(camera="right", drifted=True))
    world.tick()
    assert world.verdict("camera=right") == "critical"
    world.refer(drifted=True, count=500)
    world.tick(60)
    assert world.verdict("camera=right") == "ok"
    assert world.states["pets"].reference.rows == 500


@pytest.mark.parametrize("damage", ["manifest is no JSON", "manifest is gone", "rows are another file"])
def test_a_damaged_reference_is_unusable_until_it_is_mended(world: World, damage: str) -> None:
    world.tick()
    directory = world.directory / "references" / "pets"
    manifest = directory / "manifest.json"
    if damage == "manifest is no JSON":
        manifest.write_text("{", encoding="utf-8")
    elif damage == "manifest is gone":
        manifest.unlink()
    else:
        (directory / "reference.parquet").write_bytes(b"PAR1")
        manifest.touch()
    world.tick(60)
    assert "Build it anew with" in world.states["pets"].reference.problem
    world.refer()
    world.tick(60)
    assert world.states["pets"].reference.problem == ""
    assert world.states["pets"].problem == ""


def test_a_reference_is_read_once_as_long_as_it_stays_the_same(world: World) -> None:
    world.tick()
    (world.directory / "references" / "pets" / "reference.parquet").unlink()
    world.tick(60)
    assert world.states["pets"].problem == "", "the manifest is the same, so the rows are not read again"


def test_another_dimension_in_the_configuration_is_held_against_the_reference(world: World) -> None:
    world.tick()
    world.configure(model(embedding={"name": CLIP, "dimension": DIMENSION + 1}), **QUIET)
    world.tick(60)
    assert f"the model has {DIMENSION + 1}" in world.states["pets"].reference.problem


# What is shown


def test_a_score_is_shown_for_three_intervals_and_then_no_longer(world: World, log: TroubledLog) -> None:
    world.tick()
    log.census_fails = True
    world.tick(180)
    state = world.states["pets"]
    assert len(state.fresh(NOON + 180).evaluations) == 1
    assert state.fresh(NOON + 181).evaluations == ()


def test_the_time_of_the_last_success_outlives_the_scores(world: World, log: TroubledLog) -> None:
    world.tick()
    log.census_fails = True
    world.tick(86_400)
    assert world.states["pets"].fresh(world.now).evaluations == ()
    assert world.states["pets"].evaluated == {"1": NOON}


def test_too_few_events_have_no_score_and_say_how_many_are_needed(world: World) -> None:
    world.send(events(5, camera="new"))
    world.tick()
    window = world.windows()["1", "camera=new", "10m"]
    assert window.verdict == "insufficient"
    assert all(judgement.score is None for judgement in window.judgements)
    assert window.judgements[0].why == "the window has 5 events with embedding, and 20 are needed"


def test_a_model_without_events_has_nothing_to_show_and_no_problem(tmp_path: Path) -> None:
    world = World(tmp_path, MemoryLog())
    world.configure(model(), **QUIET)
    world.refer()
    world.start().tick()
    assert world.windows() == {}
    assert world.states["pets"].problem == ""
    assert world.states["pets"].reference.rows == 300


def test_windows_come_as_configured_with_all_events_before_the_slices(world: World) -> None:
    sizes = {"min_samples": 20}
    world.configure(model(windows={"1h": sizes, "10m": sizes}), **QUIET)
    world.tick()
    assert list(world.windows()) == [
        ("1", "all", "1h"),
        ("1", "camera=left", "1h"),
        ("1", "all", "10m"),
        ("1", "camera=left", "10m"),
    ]


def test_refused_events_count_against_all_events_together_only(world: World, log: TroubledLog) -> None:
    log.append([], [Rejection(0, None, "image", "bad_image", "no image", model="pets")] * 50, now=NOON - 1)
    world.tick()
    found = {j.signal: j.score for j in world.windows()["1", "all", "10m"].judgements}
    assert found["invalid_ratio"] == pytest.approx(0.5)
    assert all(j.signal != "invalid_ratio" for j in world.windows()["1", "camera=left", "10m"].judgements)


# Versions and slices


def test_versions_come_newest_first_and_no_more_than_configured(world: World) -> None:
    world.configure(model(max_versions=2), **QUIET)
    for place, version in enumerate("abc"):
        world.send(events(version=version, until=NOON - 10 * place))
    world.tick()
    assert [evaluation.version for evaluation in world.states["pets"].evaluations] == ["1", "a"]


def test_a_version_silent_for_longer_than_the_longest_window_is_no_longer_evaluated(world: World) -> None:
    world.send(events(version="2", until=NOON + 700))
    world.tick(700)
    assert [evaluation.version for evaluation in world.states["pets"].evaluations] == ["2"]
    assert world.states["pets"].newest["1", "all"] < NOON, "its last event is still told"


def test_the_newest_version_is_evaluated_however_long_it_has_been_silent(world: World) -> None:
    world.tick(7200)
    assert world.windows()["1", "all", "10m"].samples == 0
    assert world.verdict() == "insufficient"


def test_of_too_many_slices_the_silent_ones_give_way(world: World) -> None:
    world.configure(model(max_slices=2), **QUIET)
    world.send(events(camera="a-gone", until=NOON - 3600))
    world.send(events(camera="z-new"))
    world.tick()
    assert [key[1] for key in world.windows()] == ["all", "camera=left", "camera=z-new"]


def test_labels_that_are_not_configured_make_no_slices(world: World) -> None:
    world.configure(model(slices=[]), **QUIET)
    world.tick()
    assert [key[1] for key in world.windows()] == ["all"]


# The history of scores


def test_the_history_holds_the_last_scores_oldest_first(world: World) -> None:
    world.tick()
    for _ in range(HISTORY + 5):
        world.tick(60)
    scores = world.states["pets"].history["1", "all", "10m", "embedding_drift"]
    assert len(scores) == HISTORY
    assert scores[-1] is None, "the window has long been empty"


def test_the_history_of_what_is_gone_is_forgotten(world: World) -> None:
    world.send(events(camera="right", until=NOON))
    world.send(events(version="0", until=NOON))
    world.tick()
    assert {key[0] for key in world.states["pets"].history} == {"0", "1"}
    world.log.prune(older_than=NOON + 1, max_bytes=2**30)
    world.send(events(until=NOON + 60))
    world.tick(60)
    assert {key[:2] for key in world.states["pets"].history} == {("1", "all"), ("1", "camera=left")}


def test_a_window_that_was_renamed_leaves_no_history(world: World) -> None:
    world.tick()
    world.configure(model(windows={"5m": {"min_samples": 20}}), **QUIET)
    world.tick(60)
    assert {key[2] for key in world.states["pets"].history} == {"5m"}


# The loop


def test_the_loop_survives_any_exception_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish_fails = [RuntimeError("nothing can be published"), KeyError("nor now")]
    monkeypatch.setattr("visiondrift.monitor.TICK_SECONDS", 0.01)
    thread, stop = world.run()
    until(lambda: bool(world.states))
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_stop_ends_an_evaluation_in_its_middle_and_counts_it_as_no_failure(world: World, log: TroubledLog) -> None:
    for number in range(20):
        world.send(events(30, camera=f"c{number:02}"))
    entered, go_on = threading.Event(), threading.Event()
    reads: list[str] = []

    def wait(query: WindowQuery) -> None:
        reads.append(query.version)
        entered.set()
        go_on.wait(PATIENCE_S)

    log.before_window = wait
    thread, stop = world.run()
    assert entered.wait(PATIENCE_S)
    stop.set()
    go_on.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert len(reads) == 1
    assert world.tally.counts["evaluation_failures", "pets"] == 0
    assert world.windows() == {}, "half an evaluation is not shown"
