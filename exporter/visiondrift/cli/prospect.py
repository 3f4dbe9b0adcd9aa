"""The page of ``reference show``: what a reference is, what its calibration rests on, what it can and cannot see."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from visiondrift.calibrator import ImmediateCalibrations, Request
from visiondrift.cli.tables import console, table_of
from visiondrift.config import Config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import format_rate, parse_duration
from visiondrift.drift.calibrate import BlockRule, replay_reference, resemblances
from visiondrift.drift.calibrated import REMEMBERED, CalibratedReference
from visiondrift.drift.judge import Levels
from visiondrift.drift.levels import looks_of, terms_for
from visiondrift.drift.prospect import Prospect, SliceProspect, hours_of, prospects, slices_of
from visiondrift.prediction import slice_name
from visiondrift.reference import Manifest, intact_manifest
from visiondrift.shelf import request_of
from visiondrift.signals import ALL_SLICES, BY_NAME, Severity

_BLOCKS = {
    "estimated": "twice the time after which frames of a slice no longer resemble themselves (their autocorrelation is "
    "below 0.05), longer where neighbouring blocks still do",
    "seconds": "as long as configured",
    "row": "one row of the reference, and as long as configured in production",
    "label": "a scene, by the column that is configured, and as long as one usually is in production",
}
_HARM, _LARGE = "on a drop of accuracy", "on a very large change"
_BEYOND = "cannot be reached"
_HARDLY = 1e-4
"""Pages a month that nobody needs told more exactly."""


def print_reference(config: Config, directory: Path, model: WatchedModel | None) -> None:
    """Print the page. Where the calibration is not kept, it is made first. Raises ReferenceUnusable."""
    manifest = intact_manifest(directory)
    out = console()
    _print_what(out, manifest)
    if model is None:
        out.print("\nNo model in the configuration uses it, so there is nothing to calibrate it for.")
        return
    request = request_of(directory, model, embedder=None)
    answer = ImmediateCalibrations(lambda step: out.print(f"{step} ...")).of(request)
    if answer.calibrated is None:
        out.print(f"\nNot calibrated: {answer.why}", markup=False, soft_wrap=True)
        return
    names = slices_of(answer.calibrated)
    thresholds = {name: config.thresholds.resolve(model.name, name) for name in names}
    rates = config.thresholds.budget(model.name).rates
    windows, every = model.window_lengths, model.evaluate_every
    looks = looks_of(thresholds.items(), answer.calibrated, windows=windows)["warning"]
    terms = terms_for(rates, thresholds.items(), answer.calibrated, windows=windows, every=every)
    out.print(
        f"\nBudget of {model.name}: {format_rate(rates['warning'])} false warnings, {format_rate(rates['critical'])} "
        f"false critical alerts, over {len(names) - 1 or 1} slices, {len(windows)} windows and all signals that the "
        f"reference can judge: {looks} looks every {every:g} s. Each may cry wolf once in "
        f"{1 / terms.alpha['warning']:,.0f} (warning) and {1 / terms.alpha['critical']:,.0f} (critical).",
        soft_wrap=True,
    )
    out.print(f"A block is {_BLOCKS[_kind(request.plan.rule)]}.", soft_wrap=True)
    _print_resemblances(out, request, answer.calibrated)
    _print_hours(out, request, answer.calibrated)
    for window in sorted(model.windows, key=parse_duration):
        found = list(prospects(answer.calibrated, parse_duration(window), thresholds, terms))
        _print_blocks(out, window, found)
        _print_levels(out, window, found, answer.calibrated)
    _print_limits(out, answer.calibrated)
    _print_test(out, request)


def _print_what(out: Console, manifest: Manifest) -> None:
    made = f", made with {manifest.embedder}" if manifest.dimension else ""
    out.print(f"[bold]{escape(manifest.name)}[/]: {manifest.rows:,} rows of {manifest.dimension} columns{escape(made)}")
    out.print(f"from {manifest.since} to {manifest.until}, from {manifest.source}", markup=False, soft_wrap=True)
    if manifest.times == "file":
        out.print("its times are those of files: when the frames were taken is not known")
    out.print(f"true classes known of {manifest.labelled:,} rows")


def _print_resemblances(out: Console, request: Request, calibrated: CalibratedReference) -> None:
    columns = ("slice", "frames are alike for", "a block is", "neighbouring blocks")
    table = table_of(*columns, numbers=columns[1:], title="Autocorrelation: for how long normal repeats itself")
    for label, calibration in calibrated.labels.items():
        for value, found in resemblances(request.sample, request.plan, calibration).items():
            alike, block = f"{found.seconds:.3g} s", f"{calibration.seconds[value]:.3g} s"
            name = slice_name(label, value) if label else ALL_SLICES
            table.add_row(escape(name), alike, block, f"correlate by {found.next:.2f}")
    if table.row_count:
        out.print()
        out.print(table)


def _print_hours(out: Console, request: Request, calibrated: CalibratedReference) -> None:
    """Whether the hour of day is taken off; slices are named where they differ."""
    by_text: dict[str, list[str]] = {}
    for label, calibration in calibrated.labels.items():
        for value, text in hours_of(calibration, request.sample).items():
            by_text.setdefault(text, []).append(slice_name(label, value) if label else ALL_SLICES)
    out.print()
    for text, names in by_text.items():
        of = f" of {', '.join(names)}" if len(by_text) > 1 else ""
        out.print(f"Hour of day{of}: {text}.", markup=False, soft_wrap=True)


def _print_blocks(out: Console, window: str, found: Sequence[SliceProspect]) -> None:
    columns = ("slice", "a block is", "blocks", "rows a block", f"{window} is worth", "at most")
    table = table_of(*columns, numbers=columns[1:], title="Independent blocks: how much there is to compare")
    for one in found:
        table.add_row(
            escape(one.slice),
            "" if one.seconds is None else f"{one.seconds:.3g} s",
            f"{one.blocks:,}",
            f"{one.rows:.1f}",
            f"{one.worth:.0f}",
            f"{one.largest:.0f}",
        )
    out.print()
    out.print(table)
    for one in found:
        if one.why:
            out.print(f"{one.slice}: {one.why}", markup=False, soft_wrap=True)


def _kind(rule: BlockRule) -> str:
    if rule.label is not None:
        return "label"
    return "estimated" if rule.seconds is None else "seconds" if rule.timed else "row"


def _print_levels(out: Console, window: str, found: Sequence[SliceProspect], calibrated: CalibratedReference) -> None:
    columns = ("slice", "signal", "warning", "critical", "false warnings a month", "smallest shift seen")
    title = f"Levels in a {window} window, and the smallest shift that four in five such windows show"
    table = table_of(*columns, numbers=columns[2:], title=title)
    for row in _level_rows(found, otherwise=_LARGE if calibrated.performance is None else _HARM):
        table.add_row(*row)
    out.print()
    out.print(table)
    for one in found:
        for signal in () if one.why else one.signals:
            if signal.levels.why:
                title = BY_NAME[signal.signal].title
                out.print(f"{one.slice}: {title}: {signal.levels.why}", markup=False, soft_wrap=True)
            elif signal.is_never_warning:
                out.print(
                    f"{one.slice}: {BY_NAME[signal.signal].title}: critical {signal.levels.critical:g}, a number, is "
                    f"milder than the warning {signal.levels.warning:.3g} that the budget gives: it is never a warning",
                    markup=False,
                    soft_wrap=True,
                )


def _level_rows(found: Sequence[SliceProspect], *, otherwise: str) -> Iterator[tuple[str, ...]]:
    """Of the slices that can be judged; ``otherwise`` says when evidence, which is never large, is critical."""
    for one in found:
        for signal in () if one.why else one.signals:
            levels, worth = signal.levels, signal.worth
            pages = worth.false_pages.get("warning")
            yield (
                escape(one.slice),
                BY_NAME[signal.signal].title,
                _level(levels, "warning", otherwise=""),
                _level(levels, "critical", otherwise=otherwise if signal.is_critical_auto else ""),
                "" if pages is None else f"{pages:.2g}" if pages >= _HARDLY else f"below {_HARDLY:g}",
                _smallest(one, signal),
            )


def _smallest(one: SliceProspect, signal: Prospect) -> str:
    if signal.signal in REMEMBERED:
        return "smaller ones that last"
    if signal.worth.detectable is None:
        return "none of those tried"
    if signal.signal != "drift_evidence":
        return f"{signal.worth.detectable:.3g}"
    new = "" if one.new_share is None else f", or {one.new_share:.1%} new images"
    return f"{signal.worth.detectable:.3g} of the cloud{new}"


def _level(levels: Levels, severity: Severity, *, otherwise: str) -> str:
    level = levels.level(severity)
    if severity in levels.unreachable:
        return _BEYOND
    return otherwise if level is None else f"{level:.3g}"


def _print_limits(out: Console, calibrated: CalibratedReference) -> None:
    out.print("\nWhat it cannot see")
    out.print(
        "- Shifts smaller than those above, in one window; of those that last, smaller ones show in the accumulated "
        "evidence.",
        soft_wrap=True,
    )
    if calibrated.performance is None:
        out.print(f"- How the model is doing: {calibrated.why_no_performance}.", markup=False, soft_wrap=True)
    else:
        accuracy = calibrated.performance.accuracy
        out.print(f"- Labels: accuracy is estimated, from {accuracy:.1%} on the labelled reference.", soft_wrap=True)
    out.print("- Slices that the reference does not hold: they are told as insufficient.")


def _print_test(out: Console, request: Request) -> None:
    out.print("\nSelf-test: the reference replayed through detectors that have not seen it")
    tested = replay_reference(request.sample, request.plan, seed=0)
    if tested is None:
        out.print("- too few blocks to tell")
        return
    part = "all slices together" if tested.part == "all" else "a slice"
    out.print(
        f"- {tested.alarms} of {tested.windows} windows of {part} below the {tested.nominal:.0%} level: "
        f"{tested.rate:.1%}, 99 % interval {tested.low:.1%} to {tested.high:.1%}",
        soft_wrap=True,
    )
