"""Reports: which windows get one, when, and that none is forgotten; each is a real one, on disk."""

import shutil
from pathlib import Path

import pytest

from monitor_parts import NOON, World, events, model
from visiondrift.log.memory import MemoryLog
from visiondrift.publish.evidence import MOST_AT_ONCE

LONG = {"evaluate_every": "1m", "windows": {"1h": {"min_samples": 20}}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One good camera, not yet evaluated; a report at most every fifteen minutes."""
    made = World(tmp_path, MemoryLog())
    made.configure(model(**LONG, slices=[]))
    made.refer()
    return made.start()


def good(world: World) -> None:
    world.log.prune(older_than=NOON + 10**6, max_bytes=2**30)
    world.send(events(60, until=world.now, camera="", seed=int(world.now - NOON)))


def bad(world: World) -> None:
    world.log.prune(older_than=NOON + 10**6, max_bytes=2**30)
    world.send(events(60, until=world.now, camera="", seed=int(world.now - NOON), drifted=True))


def test_a_drift_gets_one_report_and_no_other_while_it_lasts(world: World) -> None:
    bad(world)
    world.tick()
    for _ in range(10):
        world.tick(60)
    assert world.reported() == [("all", "critical")]
    assert world.tally.counts["reports", ""] == 1


def test_a_lasting_drift_gets_another_report_when_the_last_has_become_old(world: World) -> None:
    bad(world)
    world.tick()
    world.tick(840)
    assert len(world.reported()) == 1
    world.tick(60)
    assert len(world.reported()) == 2


def test_a_drift_that_comes_back_is_news(world: World) -> None:
    bad(world)
    world.tick()
    world.now += 60
    good(world)
    world.tick()
    world.now += 60
    bad(world)
    world.tick()
    assert world.reported() == [("all", "critical")] * 2


def test_a_change_from_critical_to_warning_is_news(world: World) -> None:
    bad(world)
    world.tick()
    levels = {"embedding_drift": {"warning": 0.3}}
    world.thresholds = {"defaults": {"signals": levels}}
    world.configure(model(**LONG, slices=[]))
    world.tick(60)
    assert world.reported() == [("all", "critical"), ("all", "warning")]


def test_too_few_events_for_a_while_do_not_make_the_same_drift_news(world: World) -> None:
    bad(world)
    world.tick()
    world.log.prune(older_than=NOON + 10**6, max_bytes=2**30)
    world.now += 60
    world.send(events(5, until=world.now, camera=""))
    world.tick()
    assert world.windows()["1", "all", "1h"].verdict == "insufficient"
    world.now += 60
    bad(world)
    world.tick()
    assert len(world.reported()) == 1


def test_what_is_well_gets_no_report_by_default(world: World) -> None:
    good(world)
    world.tick()
    assert world.verdict(window="1h") == "ok"
    assert world.reported() == []


def test_never_means_never(world: World) -> None:
    world.configure(model(**LONG, slices=[]), reports={"when": "never"})
    bad(world)
    world.tick()
    assert world.verdict(window="1h") == "critical"
    assert world.reported() == []


def test_always_means_each_evaluation_that_could_speak(world: World) -> None:
    world.configure(model(**LONG, slices=[]), reports={"when": "always"})
    good(world)
    world.tick()
    world.tick(60)
    world.tick(60)
    assert world.reported() == [("all", "ok")] * 3


def test_those_left_out_get_their_turn_next_and_the_critical_come_first(world: World) -> None:
    world.configure(model(**LONG))
    signals = {"embedding_drift": {"warning": 0.3, "critical": 0.5}}
    mild = {f"camera=a{n}": {"embedding_drift": {"critical": None}} for n in range(3)}
    world.thresholds = {"defaults": {"signals": signals}, "models": {"pets": {"slices": mild}}}
    world.configure(model(**LONG))
    for camera in ("a0", "a1", "a2", "z0", "z1", "z2", "z3"):
        world.send(events(40, camera=camera, drifted=True))
    world.tick()
    first = world.reported()
    assert len(first) == MOST_AT_ONCE
    assert {verdict for _, verdict in first} == {"critical"}
    world.tick(60)
    assert len(world.reported()) == 8, "all, four critical and three that are warned of: each has one now"
    assert {slice_ for slice_, _ in world.reported()} == {
        "all", "camera=a0", "camera=a1", "camera=a2", "camera=z0", "camera=z1", "camera=z2", "camera=z3",
    }  # fmt: skip
    world.tick(60)
    assert len(world.reported()) == 8


def test_a_restart_does_not_report_the_same_drift_again(world: World) -> None:
    bad(world)
    world.tick()
    world.start()
    world.tick(60)
    assert len(world.reported()) == 1


def test_a_report_that_fails_is_counted_silences_nothing_and_is_tried_again(world: World) -> None:
    bad(world)
    folder = world.reports.directory
    shutil.rmtree(folder)
    folder.write_text("in the way", encoding="utf-8")
    world.tick()
    assert world.verdict(window="1h") == "critical"
    assert world.states["pets"].problem == ""
    assert world.tally.counts["report_failures", ""] == 1
    assert world.tally.counts["evaluation_failures", "pets"] == 0
    folder.unlink()
    folder.mkdir()
    world.tick(60)
    assert world.reported() == [("all", "critical")]


def test_a_report_that_fails_is_not_tried_again_at_once(world: World) -> None:
    world.configure(model(**{**LONG, "evaluate_every": "5s"}, slices=[]), reports={"when": "always"})
    bad(world)
    world.reports.directory.rmdir()
    for _ in range(4):
        world.tick(5)
    assert world.tally.counts["report_failures", ""] == 1
    world.tick(60)
    assert world.tally.counts["report_failures", ""] == 2


def test_the_picture_tells_when_the_newest_report_was_written(world: World) -> None:
    bad(world)
    world.tick()
    assert world.states["pets"].reports == {("1", "all", "1h"): NOON}
