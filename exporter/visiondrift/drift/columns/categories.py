"""How the mix of predicted classes moved: shares, their distances and test, and shares fit for a dashboard."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

OTHER = "other"
"""The name under which classes beyond the shown ones are added up."""

EVENTS_PER_CATEGORY = 10
"""Events for each category of a class mix; with fewer, chance alone makes the distance large."""


def class_counts(predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """(classes,) how often each class index occurs in ``predicted`` (n,); indices below zero (unknown) are left out."""
    return np.bincount(predicted[predicted >= 0], minlength=classes).astype(np.int64)


def class_shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Counts as shares that add up to 1; all zero where nothing was counted."""
    total = counts.sum()
    return np.asarray(counts / total if total else np.zeros(len(counts)), dtype=np.float64)


def jensen_shannon(p: NDArray[Any], q: NDArray[Any]) -> float:
    """Jensen-Shannon distance to base 2 of two distributions over the same classes: 0 (equal) to 1 (nothing shared).

    The distance is the square root of the divergence (Lin 1991; Endres and Schindelin 2003), as in
    ``scipy.spatial.distance.jensenshannon``. Evidently's takes the natural logarithm: 0.83 times this one.
    """
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def total_variation(p: NDArray[Any], q: NDArray[Any]) -> float:
    """Total variation distance of two distributions over the same classes: the share, 0-1, that changed class.

    It is what Evidently's method ``TVD`` observes; the score of that is a p-value, by a thousand random permutations
    of independent events, which the frames of a camera are not.
    """
    return float(np.abs(np.asarray(p) - np.asarray(q)).sum() / 2)


def chi_square(reference: NDArray[np.int64], window: NDArray[np.int64]) -> tuple[float, float]:
    """Pearson's statistic, and its p-value, of the counts of a window against the shares of the reference.

    As ``scipy.stats.chisquare`` and Evidently's method ``chisquare`` have it: classes that neither side has are left
    out, and the reference's shares count as known. A class that only the window has makes the statistic infinite.
    One class alone cannot differ: 0 and 1, where scipy says NaN. Raises ValueError where a side has no events.
    """
    if not (reference.sum() and window.sum()):
        msg = f"the reference has {reference.sum()} events and the window {window.sum()}; each needs one or more"
        raise ValueError(msg)
    present = (reference > 0) | (window > 0)
    expected = reference[present] * (window.sum() / reference.sum())
    if not expected.all():
        return float("inf"), 0.0
    statistic = float(((window[present] - expected) ** 2 / expected).sum())
    return statistic, float(chdtrc(len(expected) - 1, statistic)) if len(expected) > 1 else 1.0


def pool_classes(
    reference: NDArray[np.int64], window: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both counts with neighbouring classes added up, so that each category has ten events or more to expect.

    The distance of two draws from one mix grows with the number of classes: unpooled, a model with a thousand classes
    would have drifted in every window. Classes are gathered in their configured order into categories of about equal
    share of the reference (not by size: that would follow the reference's own noise). A class that collapses, or
    comes up from nothing, still shows in its category. With few enough classes the counts come back as they are.
    """
    most = max(2, int(min(reference.sum(), window.sum())) // EVENTS_PER_CATEGORY)
    if len(reference) <= most:
        return reference, window
    shares = class_shares(reference)
    category = np.minimum((np.cumsum(shares) - shares / 2) * most, most - 1).astype(np.intp)
    pooled = [np.bincount(category, weights=counts, minlength=most) for counts in (reference, window)]
    return pooled[0].astype(np.int64), pooled[1].astype(np.int64)


def shown_classes(classes: tuple[str, ...], reference_shares: NDArray[np.float64], limit: int) -> tuple[str, ...]:
    """At most ``limit`` classes: those with the largest share of the reference, in their configured order."""
    if len(classes) <= limit:
        return classes
    largest = np.sort(np.argsort(-reference_shares, kind="stable")[:limit])
    return tuple(classes[index] for index in largest)


def capped_shares(classes: tuple[str, ...], shares: NDArray[np.float64], shown: tuple[str, ...]) -> Mapping[str, float]:
    """Class -> share for the ``shown`` classes; the others' sum under ``other``, which is there only if they are."""
    by_name = dict(zip(classes, shares.tolist(), strict=True))
    capped = {name: by_name[name] for name in shown}
    hidden = [share for name, share in by_name.items() if name not in capped]
    if hidden:
        capped[OTHER] = capped.get(OTHER, 0.0) + sum(hidden)
    return capped


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    present = p > 0
    return float(np.sum(p[present] * np.log2(p[present] / q[present])))
