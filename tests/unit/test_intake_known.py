"""How many slice values and versions a model may have: the bound on label values in Prometheus."""

import pytest

from visiondrift.intake.known import KnownSeries
from visiondrift.intake.refusal import Refused
from visiondrift.log import Stream

HOUR = 3600.0


def admit(known: KnownSeries, *, camera: str = "left", version: str = "1", now: float = 0.0) -> None:
    known.admit("doors", version, (("camera", camera),), now=now, active_for=HOUR, max_versions=2, max_slices=3)


def refused(known: KnownSeries, **event: object) -> Refused:
    with pytest.raises(Refused) as caught:
        admit(known, **event)  # type: ignore[arg-type]
    assert caught.value.reason == "too_many_slices"
    return caught.value


def test_a_slice_beyond_the_limit_is_refused_and_known_ones_are_not() -> None:
    known = KnownSeries()
    for camera in ("a", "b", "c"):
        admit(known, camera=camera)
    error = refused(known, camera="d")
    assert error.field == "slices"
    assert "max_slices" in str(error)
    admit(known, camera="a")


def test_a_version_beyond_the_limit_is_refused() -> None:
    known = KnownSeries()
    for version in ("1", "2"):
        admit(known, version=version)
    error = refused(known, version="3")
    assert (error.field, "max_versions" in str(error)) == ("version", True)
    admit(known, version="2")


def test_an_event_that_is_refused_takes_no_place() -> None:
    known = KnownSeries()
    for version in ("1", "2"):
        admit(known, camera="a", version=version)
    refused(known, camera="b", version="3")
    admit(known, camera="c")
    admit(known, camera="d")


def test_a_place_is_free_once_its_value_has_not_been_seen_for_the_longest_window() -> None:
    known = KnownSeries()
    admit(known, version="1", now=0)
    admit(known, version="2", now=1000)
    refused(known, version="3", now=HOUR)
    admit(known, version="3", now=HOUR + 1)
    refused(known, version="1", now=HOUR + 2)


def test_a_value_that_is_still_sent_keeps_its_place() -> None:
    known = KnownSeries()
    for now in range(0, int(2 * HOUR), 600):
        admit(known, version="1", now=now)
        admit(known, version="2", now=now)
    refused(known, version="3", now=2 * HOUR)


def test_a_restart_does_not_open_the_door_anew() -> None:
    known = KnownSeries()
    known.learn(Stream("doors", "1", (("camera", camera),), rows=5, newest=100.0) for camera in ("a", "b", "c"))
    refused(known, camera="d", now=200)
    admit(known, camera="a", now=200)


def test_models_do_not_share_places() -> None:
    known = KnownSeries()
    for camera in ("a", "b", "c"):
        admit(known, camera=camera)
    known.admit("eyes", "1", (("camera", "d"),), now=0, active_for=HOUR, max_versions=2, max_slices=1)
