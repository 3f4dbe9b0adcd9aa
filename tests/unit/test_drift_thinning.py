"""Which rows stand for more of them."""

from hypothesis import given
from hypothesis import strategies as st

from visiondrift.drift.thinning import evenly


def test_each_stands_for_as_many_as_the_others() -> None:
    assert evenly(1000, 4).tolist() == [249, 499, 749, 999]
    assert evenly(10, 10).tolist() == evenly(10, 20).tolist() == list(range(10))


@given(rows=st.integers(0, 3000), most=st.integers(1, 500))
def test_as_many_as_may_be_each_once_and_nowhere_more_than_elsewhere(rows: int, most: int) -> None:
    steps = [after - before for before, after in zip(evenly(rows, most)[:-1], evenly(rows, most)[1:], strict=True)]
    assert len(evenly(rows, most)) == min(rows, most)
    assert all(step >= 1 for step in steps)
    assert max(steps, default=1) - min(steps, default=1) <= 1
