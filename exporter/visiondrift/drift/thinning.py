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
