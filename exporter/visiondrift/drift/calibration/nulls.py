"""What a score is worth: its null, drawn from blocks of the reference that whatever it is compared with has not seen.

One mechanism for every signal. A family of scores is fitted on one part of the reference and measured on windows drawn
from the other, several times over with other parts; what comes out is three numbers a score and window size. Scores
that answer one question are combined, and the combination gets a null of its own.

Windows are drawn as whole blocks; where what changes in hours is not looked at by itself (``Plan.alike``), in runs of
blocks that follow one another in time, as those of a real window do. How lively a scene is, how noisy a sensor, how
wrong a curve of the day: blocks from here and there would have the mean of it where a window has one of its extremes.

They are drawn without replacement: a block that is in a window twice would be its own sibling, and in many dimensions
two copies of a block outweigh everything. Such a window is nearer to the centre of the blocks it came from than a new
one would be, by a known factor (``stretch``), which whoever compares with that centre applies. And the chance in the
centre itself is drawn once: an unlucky reference cries wolf every week, a lucky one never. A second factor (``luck``)
takes that chance not at its mean but at its 90th percentile, so that nine references in ten keep the promise, and not
their average.

What slices have in common at one moment, such as the weather, is no chance that averages out over them. All slices
together are parted and drawn by moments, each with its blocks of every slice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visiondrift.drift.calibration.blocks import LEAST_BLOCKS, Blocks
from visiondrift.drift.calibration.tails import Null, Tail, cauchy_combination, fit_null, upper_tail
from visiondrift.signals import ALL_SLICES

MIN_WINDOW_BLOCKS = 3
"""Blocks that a window must span before it is judged: fewer witnesses have no spread."""

MIN_HELD_BLOCKS = LEAST_BLOCKS // 2
"""Held blocks that a slice's null must rest on."""

HELD_PER_WINDOW = 2
"""Held blocks for each block of a window: beyond, the reference's own chance would be most of the null."""

CALM = 0.9
"""The largest p that a score brings to a combination: to be calmer than usual is no evidence against the others."""

MANY_SLICES = 20
"""Slices beyond which half as many windows of each are drawn, at half as many sizes: what a hundred take is minutes."""

RUNS = 30
"""Runs of blocks that the held half of a reference is at least: fewer do not tell how different windows are."""

_PIECES = 4
"""Held pieces of a reference that a run is of, each of moments that follow one another; between them lie about as many
fitted ones, so that each half knows every hour of the day.
"""

_FEWEST_DRAWS = 50

_GRID_RATIO = 1.6
_ENOUGH_ROWS = 300
_CHOICE = 3

_STRETCHES = 8
"""Parts of a reference's time that are fitted and held in turn, where windows are drawn in one piece."""

UPPER = 1.2816
"""The normal's 90th percentile, in standard deviations: how unlucky a reference the nulls allow for."""
_LUCKY = 0.9


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of a reference in two parts that share no block.

    ``fitted`` and ``held`` are row positions; ``blocks`` are the held rows' blocks, numbered anew, and
    ``fitted_blocks`` those of the fitted. ``neighbours`` (P, 2) are held blocks that follow one another in a slice.
    """

    fitted: NDArray[np.intp]
    fitted_blocks: Blocks
    held: NDArray[np.intp]
    blocks: Blocks
    neighbours: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Draw:
    """Windows of one size of ``target`` (a slice, or all): ``windows`` (W, q) positions of held blocks, no repeats.

    ``share`` is how much of the target's held blocks a window is; of all its blocks it is half of that. ``alike`` is
    how many blocks in a row are one witness: 1 where every block is its own.
    """

    target: str
    windows: NDArray[np.intp]
    share: float
    alike: float = 1.0


class Measure(Protocol):
    """What measures drawn windows against what was fitted."""

    def __call__(self, draw: Draw) -> NDArray[np.float64]:
        """(W, S) the scores of every window; high is bad, none is NaN."""
        ...


class Family(Protocol):
    """Scores that are fitted and measured together."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the S scores are called."""
        ...

    def fit(self, split: Split) -> Measure:
        """Fit on ``split.fitted`` and measure windows of ``split.blocks``."""
        ...


@dataclass(frozen=True)
class Shortage:
    """What a slice lacks: it has ``blocks`` blocks in the reference, and ``needed`` are."""

    blocks: int
    needed: int

    @property
    def more(self) -> int:
        """Blocks that the reference lacks."""
        return max(0, self.needed - self.blocks)


@dataclass(frozen=True)
class SliceCalibration:
    """The nulls of one slice by name of score; ``blocks`` is how many blocks the slice has in the whole reference.

    ``held`` of these make the centre and the nulls, for which they were drawn in runs of some ``run``; ``rows`` is the
    mean number of rows of a block, and ``evenness`` what rows so unevenly spread over blocks are worth of them, 0-1.
    Without enough blocks ``nulls`` is empty.
    """

    blocks: int
    held: int
    rows: float
    nulls: Mapping[str, Null] = field(default_factory=dict)
    evenness: float = 1.0
    run: int = 1

    @property
    def largest(self) -> float:
        """The largest window size, in blocks, that has nulls; 0 where there are none."""
        return max((null.sizes[-1] for null in self.nulls.values()), default=0.0)

    def spans(self, blocks: float, rows: float, evenness: float = 1.0) -> float:
        """How many blocks of the reference a window is like, whose rows are spread over its blocks so evenly.

        No more than it has, and fewer where its rows crowd in some of them more than the reference's do; and no more
        than its rows would fill, as thin traffic says less by the block.
        """
        return min(blocks * min(1.0, evenness / self.evenness), rows / self.rows)

    def worth(self, blocks: float, rows: float, evenness: float = 1.0) -> float:
        """How many blocks a window is worth to a null: what it ``spans``, and no more than was calibrated.

        A larger window is nearer to normal than that null says, which errs on the quiet side.
        """
        return min(self.spans(blocks, rows, evenness), self.largest)

    def shortage(self, blocks: float = MIN_WINDOW_BLOCKS) -> Shortage | None:
        """What the reference lacks to judge a window of so many blocks for all that it is worth; None for nothing.

        Without a single null no window can be judged; else the shortage is of sharpness alone.
        """
        held = max(MIN_HELD_BLOCKS, int(np.ceil(HELD_PER_WINDOW * blocks)))
        return None if self.held >= held else Shortage(self.blocks, 2 * held)

    def tail(self, name: str, worth: float) -> Tail:
        """The null of a score in a window worth so many blocks, as far as the held blocks can tell it."""
        return replace(self.nulls[name].at(worth), witnesses=self.held / max(1.0, min(worth, self.run)))

    def p(self, name: str, score: float, worth: float) -> float:
        """The chance of such a score or a higher one, in a window worth so many blocks, where nothing has drifted."""
        return self.tail(name, worth).p(score)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        nulls = {name: null.to_dict() for name, null in self.nulls.items()}
        own = {"blocks": self.blocks, "held": self.held, "rows": self.rows, "evenness": self.evenness, "run": self.run}
        return {**own, "nulls": nulls}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "SliceCalibration":
        """What ``to_dict`` gave. Raises KeyError, ValueError."""
        nulls = {name: Null.from_dict(null) for name, null in stored["nulls"].items()}
        blocks, held, rows = int(stored["blocks"]), int(stored["held"]), float(stored["rows"])
        return cls(blocks, held, rows, nulls, float(stored["evenness"]), int(stored["run"]))


@dataclass(frozen=True)
class Plan:
    """How to calibrate. ``sizes`` are window sizes in blocks that must be among those drawn; of none beyond
    ``largest`` are windows drawn.

    ``splits`` times the reference is parted anew, each time with ``draws`` windows a size. ``alike`` where scores
    change so slowly that so many blocks in a row are one witness: then windows are drawn in one piece, not from here
    and there; else ``in_runs`` as ``run_of`` has it, or block by block. ``combined`` names scores that are combined, by
    the name of the combination. Where a score looks at ``most_rows`` of a window at most, windows of that many rows are
    drawn too: between two sizes nulls are interpolated, and there this one has a corner.
    """

    sizes: tuple[int, ...] = ()
    most_rows: int | None = None
    largest: int | None = None
    splits: int = 4
    draws: int = 250
    alike: float | None = None
    in_runs: bool = False
    combined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0


def split_of(blocks: Blocks, seed: int) -> Split:
    """The first of the splits that a plan with this seed makes: the one whose fit is stored and used."""
    return split_blocks(blocks, np.random.default_rng((seed, 1)))


def split_blocks(blocks: Blocks, rng: np.random.Generator) -> Split:
    """Half of each slice's moments to fit, the other half held, and each on one side in all slices that have it; of an
    odd number one more is held. Moments of a slice that follow one another stay together, as many as are a piece of a
    run of its own.

    The slices with the fewest come first: they would suffer most from not being halved exactly. Raises ValueError where
    there are blocks enough, but no slice has two.
    """
    of_slice = [np.unique(blocks.moment[blocks.stratum == stratum]) for stratum in range(len(blocks.names))]
    fitted = np.zeros(int(blocks.moment.max(initial=-1)) + 1, dtype=bool)
    parted = np.zeros_like(fitted)
    for own in sorted(of_slice, key=len):
        lacking = max(len(own) // 2 - int(fitted[own].sum()), 0)
        free = own[~parted[own]]
        piece = np.arange(len(free)) // max(1, run_of(len(own) // 2, blocks) // _PIECES)
        turn = np.argsort(rng.permutation(piece[-1] + 1 if len(free) else 0))
        fitted[free[np.argsort(turn[piece], kind="stable")][:lacking]] = True
        parted[own] = True
    if len(blocks) >= LEAST_BLOCKS and not fitted.any():
        msg = f"none of the {len(blocks.names)} slices has two independent blocks: one to fit on, one to measure on"
        raise ValueError(msg)
    return _split(blocks, fitted[blocks.moment])


def run_of(held: int, blocks: Blocks) -> int:
    """How many of ``held`` blocks of a slice, or moments of all of them, that follow one another are drawn as one; 1 of
    ``blocks`` that do not follow in time.
    """
    return max(1, held // RUNS) if blocks.ordered else 1


def split_stretches(blocks: Blocks, turn: float) -> Split:
    """Stretches of each slice's blocks in turn to fit and held, so that held windows lie in one piece; ``turn``, 0-2,
    says where the turns begin."""
    fitted = np.zeros(len(blocks), dtype=bool)
    for stratum in range(len(blocks.names)):
        own = np.flatnonzero(blocks.stratum == stratum)
        fitted[own] = (np.floor(np.arange(len(own)) / len(own) * _STRETCHES + turn) % 2).astype(bool)
    return _split(blocks, fitted)


def _split(blocks: Blocks, fitted: NDArray[np.bool_]) -> Split:
    of_fitted = fitted[blocks.of_row]
    return Split(
        np.flatnonzero(of_fitted),
        blocks.only(fitted),
        np.flatnonzero(~of_fitted),
        blocks.only(~fitted),
        _neighbours(blocks, ~fitted),
    )


def _neighbours(blocks: Blocks, held: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(P, 2) positions among the held blocks of those whose next block of the same slice is held too."""
    both = held[:-1] & held[1:] & (blocks.stratum[:-1] == blocks.stratum[1:])
    number = np.cumsum(held) - 1
    return np.stack([number[:-1][both], number[1:][both]], axis=1).astype(np.intp)


def calibrate(families: Sequence[Family], blocks: Blocks, plan: Plan) -> dict[str, SliceCalibration]:
    """The nulls of every score of ``families``, for all slices together and for each of them by name.

    A slice with fewer than ``MIN_HELD_BLOCKS`` held blocks has none, and none of a score that is NaN in one of the
    windows drawn. Equal arguments give equal answers.
    """
    rng = np.random.default_rng(plan.seed)
    splits = _splits(blocks, plan, rng)
    ratio, draws = _GRID_RATIO, plan.draws
    if len(blocks.names) > MANY_SLICES:
        ratio, draws = ratio**2, max(min(draws, _FEWEST_DRAWS), draws // 2)
    rows = {target: float(blocks.sizes[own].mean()) if len(own) else 0.0 for target, own in targets(blocks)}
    drawn: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    for split in splits:
        measures = [family.fit(split) for family in families]
        for target, own in targets(split.blocks):
            corner = (round(plan.most_rows / rows[target]),) if plan.most_rows and rows[target] else ()
            for size in window_sizes(len(own), (*plan.sizes, *corner), ratio=ratio, largest=plan.largest):
                if plan.alike is None:
                    draw = draw_windows(
                        target, own, size, blocks=split.blocks, draws=draws, rng=rng, in_runs=plan.in_runs
                    )
                else:
                    draw = draw_stretches(
                        target, own, size, blocks=split.blocks, draws=draws, rng=rng, alike=plan.alike
                    )
                scores = np.hstack([measure(draw) for measure in measures])
                drawn.setdefault((target, size), []).append(scores)
    names = tuple(name for family in families for name in family.names)
    held = {target: len(own) for target, own in targets(splits[0].blocks)}
    return {
        target: SliceCalibration(
            blocks=len(own),
            held=held[target],
            rows=rows[target],
            nulls=_nulls({size: np.vstack(m) for (of, size), m in drawn.items() if of == target}, names, plan),
            evenness=evenness(blocks.sizes[own]),
            run=run_of(held[target], blocks) if plan.in_runs else 1,
        )
        for target, own in targets(blocks)
    }


def _splits(blocks: Blocks, plan: Plan, rng: np.random.Generator) -> list[Split]:
    if plan.alike is not None:
        return [split_stretches(blocks, 2 * turn / plan.splits) for turn in range(plan.splits)]
    return [split_of(blocks, plan.seed), *(split_blocks(blocks, rng) for _ in range(plan.splits - 1))]


def targets(blocks: Blocks) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """All slices together, then each slice that has a name, with its blocks' positions."""
    yield ALL_SLICES, np.arange(len(blocks))
    for stratum, name in enumerate(blocks.names):
        if name:
            yield name, np.flatnonzero(blocks.stratum == stratum)


def window_sizes(
    held: int, asked: Sequence[int], *, ratio: float = _GRID_RATIO, largest: int | None = None
) -> tuple[int, ...]:
    """The sizes in blocks at which a slice with ``held`` blocks is drawn: a geometric grid and those asked for.

    Nulls between sizes are interpolated by powers, which they follow: up to 2.6 between two sizes costs no accuracy.
    """
    if held < MIN_HELD_BLOCKS:
        return ()
    largest = max(MIN_WINDOW_BLOCKS, min(held // HELD_PER_WINDOW, largest or held))
    steps = int(np.log(largest / MIN_WINDOW_BLOCKS) / np.log(ratio)) + 1
    grid = np.geomspace(MIN_WINDOW_BLOCKS, largest, max(2, steps))
    wanted = {size for size in asked if MIN_WINDOW_BLOCKS <= size <= largest}
    return tuple(sorted({round(size) for size in grid} | wanted))


def draw_windows(
    target: str,
    own: NDArray[np.intp],
    size: int,
    *,
    blocks: Blocks,
    draws: int,
    rng: np.random.Generator,
    in_runs: bool = False,
) -> Draw:
    """Windows of ``size`` of the blocks ``own``, ``in_runs`` of them (``run_of``) or one by one; fewer of very large
    windows, each of which says more. Of all slices together whole moments are taken, one after the other until there
    are so many blocks.

    Of three times as many, those are kept whose rows are nearest to what so many blocks usually have: a window is
    judged by the blocks and rows it has, and is not to be held against the chance of having had fewer.
    """
    sizes = blocks.sizes[own]
    rows = size * float(sizes.mean())
    count = int(max(min(draws, 60), draws * min(1.0, _ENOUGH_ROWS / rows)))
    known, place = np.unique(blocks.moment[own] if target == ALL_SLICES else own, return_inverse=True)
    run = run_of(len(known), blocks) if in_runs else 1
    order = _order(place, run, _CHOICE * count, rng)
    chosen = np.argpartition(order, size - 1, axis=1)[:, :size]
    nearest = np.argsort(np.abs(sizes[chosen].sum(axis=1) - rows), kind="stable")[:count]
    chosen = chosen[np.sort(nearest)]
    return Draw(target, own[chosen], size / len(own))


def _order(place: NDArray[np.intp], run: int, windows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(windows, B) numbers for blocks of the moments ``place`` (B,), numbered from 0 without gaps, of which each window
    draws the smallest: whole moments, and ``run`` of them that follow one another.
    """
    moments = int(place.max(initial=-1)) + 1
    if run == 1 and moments == len(place):
        return rng.random((windows, len(place)))
    at = np.tile(place, (windows, 1))
    if run > 1:  # each window cuts runs of its own, of a circle: none is more often at the beginning of one than others
        at = (at + rng.integers(moments, size=(windows, 1))) % moments
    runs = -(-moments // run)
    of_run = rng.permuted(np.tile(np.arange(runs, dtype=np.float64), (windows, 1)), axis=1)
    within = (at % run + rng.random((windows, len(place)))) / run
    return np.asarray(np.take_along_axis(of_run, at // run, axis=1) + within)


def draw_stretches(
    target: str,
    own: NDArray[np.intp],
    size: int,
    *,
    blocks: Blocks,
    draws: int,
    rng: np.random.Generator,
    alike: float,
) -> Draw:
    """Windows of ``size`` of the blocks ``own`` that follow one another, of every slice from the same part of its time.

    Blocks of what changes slowly are alike for hours: windows of blocks from here and there would hardly ever be all
    bright or all dark, as an hour of one afternoon is.
    """
    starts = rng.random(draws)
    strata = [own[blocks.stratum[own] == stratum] for stratum in np.unique(blocks.stratum[own])]
    share = size / len(own)
    counts = _apportioned(np.array([len(part) for part in strata]), size)
    pieces = [
        part[(starts[:, None] * (len(part) - count + 1)).astype(np.intp) + np.arange(count)]
        for part, count in zip(strata, counts, strict=True)
    ]
    return Draw(target, np.hstack(pieces), share, alike)


def _apportioned(sizes: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """``total`` dealt out in proportion to ``sizes``, whole numbers, none beyond its size (largest remainders)."""
    exact = sizes * total / sizes.sum()
    counts = np.floor(exact).astype(np.int64)
    for place in np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]:
        counts[place] += 1
    return np.asarray(counts)


def evenness(sizes: NDArray[Any]) -> float:
    """What blocks of ``sizes`` (B,) rows are worth by their rows (Kish 1965), as a share of their number; 1 of none."""
    rows = sizes.astype(np.float64)
    return float(rows.sum() ** 2 / (rows**2).sum() / len(rows)) if rows.sum() > 0 else 1.0


def stretch(share: float) -> float:
    """By how much more a new window is off a centre than one that is this ``share`` of what made the centre.

    With variance s² a block and n blocks in the centre, a window of q of them is off by s²(1/q - 1/n), a new one by
    s²(1/q + 1/n).
    """
    return float(np.sqrt((1 + share) / (1 - share)))


def luck(share: float | NDArray[np.float64], freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much more a squared deviation is off where the centre's own error is at its 90th percentile.

    A sum of squares with many degrees of ``freedom`` has hardly any luck; one with a single one is off by 2.7 times
    its mean in one reference of ten.
    """
    unlucky = special.gammaincinv(freedom / 2, _LUCKY) * 2 / freedom
    return np.asarray((1 + unlucky * share) / (1 + share))


def member_matrix(windows: NDArray[np.intp], blocks: int) -> NDArray[np.float64]:
    """(W, B) 1 where a block is in a window."""
    members = np.zeros((len(windows), blocks))
    np.put_along_axis(members, windows, 1.0, axis=1)
    return members


def combined_score(scores: NDArray[np.float64], nulls: Sequence[Null], blocks: float) -> NDArray[np.float64]:
    """(W,) -log10 of the Cauchy combination of each window's p; ``scores`` (W, S), a window of so many blocks.

    Truncated (Fang et al. 2023): a p of 0.999 would cancel one of 0.001, and whatever keeps one statistic calm, such as
    a camera that never moves, would hide what the others see.
    """
    tails = [null.at(blocks) for null in nulls]
    p = upper_tail(scores, [t.mean for t in tails], [t.sd for t in tails], [t.skew for t in tails])
    return np.asarray(-np.log10(cauchy_combination(np.minimum(p, CALM))))


def _nulls(drawn: Mapping[int, NDArray[np.float64]], names: tuple[str, ...], plan: Plan) -> dict[str, Null]:
    if not drawn:
        return {}
    order = sorted(drawn)
    sizes = tuple(float(size) for size in order)
    told = [
        place for place in range(len(names)) if not any(np.isnan(scores[:, place]).any() for scores in drawn.values())
    ]
    known = [names[place] for place in told]
    nulls = dict(zip(known, fit_null(sizes, [drawn[size][:, told] for size in order]), strict=True)) if told else {}
    for name, parts in plan.combined.items():
        columns = [names.index(part) for part in parts]
        own = [nulls[part] for part in parts]
        scores = [combined_score(drawn[size][:, columns], own, size)[:, None] for size in order]
        (nulls[name],) = fit_null(sizes, scores)
    return nulls
