"""Which rows stand for more of them than can be looked at."""

import numpy as np
from numpy.typing import NDArray


def evenly(rows: int, most: int) -> NDArray[np.intp]:
    """At most ``most`` positions of ``rows``, ascending, evenly spread, the last among them.

    Those at which (position + 1) * most / rows passes a whole number, as SQL can also tell of a row.
    """
    if rows <= most:
        return np.arange(rows)
    return (np.arange(1, most + 1) * rows + most - 1) // most - 1


def evenly_of_each(streams: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most ``most`` positions of rows of ``streams`` (n,), ascending, evenly spread over each of them and from each
    in proportion.

    Two cameras that take turns would else be thinned to one of them.
    """
    end_to_end = np.argsort(streams, kind="stable")
    return np.sort(end_to_end[evenly(len(streams), most)])
