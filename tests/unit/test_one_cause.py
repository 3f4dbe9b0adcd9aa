"""One cause is told as one from its beginning to its end, and hides nobody who moves otherwise."""

from visiondrift.drift.explain.shift import SliceShift, Spread
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.drift.one_cause import CommonCauses

HOUR = {"1h": 3600.0, "1d": 86400.0}
CAMERAS = ("camera=a", "camera=b", "camera=c")


def windows(moved: str = "", *, common: str = "", window: str = "1h") -> tuple[WindowEvaluation, ...]:
    """What is seen of all slices together and of each, of which those with the letters ``moved`` and ``common``."""
    shifts = tuple(
        SliceShift(name, 0.5, moved=name[-1] in moved + common, share=0.0, cosine=None, common=name[-1] in common)
        for name in CAMERAS
    )
    return tuple(
        WindowEvaluation(name, window, 500, 200, (), spread=Spread(shifts) if name == "all" else None)
        for name in ("all", *CAMERAS)
    )


def told(*looks: tuple[float, tuple[WindowEvaluation, ...]]) -> list[str]:
    """After each look at its time the letters of the slices that are told as one cause; A is all of them together."""
    causes, found = CommonCauses(), []
    for now, seen in looks:
        causes = causes.after(seen, now=now, lengths=HOUR)
        names = [one.slice for one in causes.marked(seen) if one.one_cause]
        found.append("".join("A" if name == "all" else name[-1] for name in names))
    return found


def test_what_moved_the_same_way_is_one_cause_with_all_of_them_together() -> None:
    assert told((0, windows()), (60, windows("c", common="ab"))) == ["", "Aab"]


def test_where_no_way_is_common_each_speaks_for_itself() -> None:
    assert told((0, windows("abc"))) == [""]


def test_the_last_to_recover_is_not_told_as_the_only_one() -> None:
    looks = (0, windows(common="abc")), (600, windows("bc")), (1200, windows("c")), (1800, windows())
    assert told(*looks) == ["Aabc"] * 4


def test_it_is_over_once_no_window_holds_that_time() -> None:
    looks = (0, windows(common="abc")), (600, windows(common="ab")), (3590, windows("c")), (3600, windows("c"))
    assert told(*looks, (4200, windows("c"))) == ["Aabc", "Aabc", "Aabc", "Aab", ""]


def test_a_slice_that_moves_otherwise_than_the_others_speaks_for_itself_at_once() -> None:
    assert told((0, windows(common="abc")), (600, windows("c", common="ab"))) == ["Aabc", "Aab"]


def test_windows_of_another_length_have_their_own_memory() -> None:
    causes = CommonCauses().after(windows(common="abc", window="1d"), now=0, lengths=HOUR)
    causes = causes.after(windows(common="ab"), now=0, lengths=HOUR).after(windows(), now=7200, lengths=HOUR)
    assert not any(one.one_cause for one in causes.marked(windows()))
    assert all(one.one_cause for one in causes.marked(windows(window="1d")))


def test_a_clock_set_back_and_a_window_that_is_no_more_end_it() -> None:
    causes = CommonCauses().after(windows(common="abc"), now=1000, lengths=HOUR)
    assert not causes.after((), now=999, lengths=HOUR).seen
    assert not causes.after((), now=1001, lengths={}).seen
