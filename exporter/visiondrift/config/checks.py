"""What no single entry can know: repetitions, entries that contradict each other, and the two files held together.

These read the plain values of a file, not the models, so that they find their share even where other entries are
wrong; what the models refuse already is passed over here.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from visiondrift.config.monitoring import LogConfig, MonitorDefaults
from visiondrift.config.thresholds import AUTO, BudgetConfig, is_level
from visiondrift.config.tree import Finding, Where
from visiondrift.config.units import format_duration, format_rate, parse_duration, parse_rate
from visiondrift.config.words import did_you_mean, one_of
from visiondrift.signals import BY_NAME, SEVERITIES, Signal

Levels = dict[str, Any]
"""What is in force of one signal: severity -> level, None where there is none."""

_ONLY_ALL = "invalid_ratio"  # a rejected event belongs to no slice


def check_monitoring(value: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong between the entries of ``monitoring.yml``."""
    seen: dict[str, int] = {}
    for index, model in enumerate(_list(value, "models")):
        where: Where = ("models", index)
        name = _map(model).get("name")
        if isinstance(name, str) and name in seen:
            text = f"the name {name!r} is taken by models[{seen[name]}]; accepted is a name of its own for each model"
            yield Finding((*where, "name"), text)
        elif isinstance(name, str):
            seen[name] = index
        for key in ("classes", "slices"):
            yield from _repeated(_list(_map(model), key), (*where, key))
        yield from _rare_classes(_map(model), where)
    yield from dict.fromkeys(_paces(value))
    yield from _probes(value)
    yield from _sources(value)


def check_thresholds(value: Mapping[str, Any], models: Mapping[str, tuple[str, ...]] | None) -> Iterator[Finding]:
    """What is wrong between the entries of ``thresholds.yml``, and between it and the ``models`` of the other file.

    ``models`` maps a model to its slice labels; None where ``monitoring.yml`` cannot be read.
    """
    defaults = _signals(_map(value.get("defaults")).get("signals"))
    yield from _levels(("defaults", "signals"), defaults, {})
    budget = _map(_map(value.get("defaults")).get("budget"))
    yield from _budget(("defaults", "budget"), budget, {})
    for name, given in _map(value.get("models")).items():
        if models is not None and name not in models:
            accepted = f"accepted are {', '.join(models)}" if models else "accepted are its models"
            text = f"monitoring.yml has no model of that name{did_you_mean(name, models)}; {accepted}"
            yield Finding(("models", name), text)
        yield from _budget(("models", name, "budget"), _map(_map(given).get("budget")), budget)
        own = _signals(_map(given).get("signals"))
        yield from _levels(("models", name, "signals"), own, defaults)
        inherited = _merged(defaults, own)
        for slice_, levels in _map(_map(given).get("slices")).items():
            where: Where = ("models", name, "slices", slice_)
            if models is not None and name in models:
                yield from _label(where, slice_, models[name])
            yield from _levels(where, _signals(levels), inherited)
            if _ONLY_ALL in _map(levels):
                text = f"{_ONLY_ALL} is known for a whole model only; accepted is to set it under signals"
                yield Finding((*where, _ONLY_ALL), text)


def slice_labels(value: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Model -> slice labels, as far as ``monitoring.yml`` can be read."""
    models = [_map(model) for model in _list(value, "models")]
    return {
        model["name"]: tuple(label for label in _list(model, "slices") if isinstance(label, str))
        for model in models
        if isinstance(model.get("name"), str)
    }


def _repeated(values: list[Any], where: Where) -> Iterator[Finding]:
    for index, value in enumerate(values):
        if isinstance(value, str) and value in values[:index]:
            text = f"{value!r} is there before, as {where[-1]}[{values.index(value)}]; accepted is each once"
            yield Finding((*where, index), text)


def _paces(value: Mapping[str, Any]) -> Iterator[Finding]:
    """Windows shorter than the time between two evaluations, or longer than the log remembers."""
    defaults = _map(value.get("defaults"))
    keep = _seconds(_map(value.get("log")).get("keep")) or LogConfig().keep
    for index, model in enumerate(_list(value, "models")):
        own = _map(model)
        every_at, every = _inherited("evaluate_every", own, defaults, index)
        windows_at, windows = _inherited("windows", own, defaults, index)
        lengths = {name: _seconds(name) for name in _map(windows)}
        known = {name: seconds for name, seconds in lengths.items() if seconds is not None}
        for name, length in known.items():
            if length > keep:
                text = f"a window of {name} is longer than the log keeps events; accepted is at most log.keep, "
                yield Finding((*windows_at, name), text + format_duration(keep))
        shortest = min(known, key=known.__getitem__, default=None)
        seconds = _seconds(every)
        if shortest is not None and seconds is not None and seconds > known[shortest]:
            text = (
                f"{every} is longer than the shortest window, {shortest}, so that events would pass unseen; "
                f"accepted is at most {shortest}"
            )
            yield Finding(every_at if every_at in _given(value, every_at) else windows_at, text)


def _probes(value: Mapping[str, Any]) -> Iterator[Finding]:
    """Probes of the same name, of which only one could be told."""
    names = [_map(probe).get("name") for probe in _list(value, "probes")]
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            text = f"the name {name!r} is taken by probes[{names.index(name)}]; accepted is a name of its own for each"
            yield Finding(("probes", index, "name"), text)


def _rare_classes(model: Mapping[str, Any], where: Where) -> Iterator[Finding]:
    classes = _list(model, "classes")
    for index, name in enumerate(_list(_map(_map(model.get("sampling")).get("always")), "rare_classes")):
        if isinstance(name, str) and name not in classes:
            known = [known for known in classes if isinstance(known, str)]
            accepted = f"accepted is {one_of(known)}" if known else "accepted is none, as it lists no classes"
            text = f"the model has no class {name!r}{did_you_mean(name, known)}; {accepted}"
            yield Finding((*where, "sampling", "always", "rare_classes", index), text)


def _sources(value: Mapping[str, Any]) -> Iterator[Finding]:
    """Sources of the same name, and those of models, slices and classes that there are not."""
    known = slice_labels(value)
    classless = {_map(model).get("name") for model in _list(value, "models") if not _list(_map(model), "classes")}
    sources = [_map(source) for source in _list(_map(value.get("collect")), "sources")]
    names = [source.get("name") for source in sources]
    for index, source in enumerate(sources):
        where: Where = ("collect", "sources", index)
        name, model = names[index], source.get("model")
        if isinstance(name, str) and name in names[:index]:
            text = f"the name {name!r} is taken by sources[{names.index(name)}]; accepted is a name of its own for each"
            yield Finding((*where, "name"), text)
        if isinstance(model, str) and model not in known:
            accepted = f"accepted is {one_of(known)}" if known else "accepted is the name of one"
            text = f"there is no model {model!r}{did_you_mean(model, known)}; {accepted}"
            yield Finding((*where, "model"), text)
        elif isinstance(model, str):
            if model in classless and source.get("model_server") is not None:
                text = (
                    f"model {model} has no classes, so a server cannot be asked for their confidences; accepted is to "
                    "list its classes, or to leave model_server out"
                )
                yield Finding((*where, "model_server"), text)
            for label in _map(source.get("slices")):
                yield from _known_label((*where, "slices", label), label, known[model])


def _inherited(key: str, own: Mapping[str, Any], defaults: Mapping[str, Any], index: int) -> tuple[Where, Any]:
    if own.get(key) is not None:
        return ("models", index, key), own[key]
    if key in defaults:
        return ("defaults", key), defaults[key]
    built_in = getattr(MonitorDefaults(), key)
    return ("defaults", key), format_duration(built_in) if isinstance(built_in, float) else built_in


def _given(value: Mapping[str, Any], where: Where) -> tuple[Where, ...]:
    is_default_given = where[0] != "defaults" or where[1] in _map(value.get("defaults"))
    return (where,) if is_default_given else ()


def _levels(where: Where, levels: Mapping[str, Levels], inherited: Mapping[str, Levels]) -> Iterator[Finding]:
    for name, given in levels.items():
        signal = BY_NAME[name]
        outside = False
        for severity, level in given.items():
            if level == AUTO:
                if not signal.calibrated:
                    text = f"{name} has no level of its own by the budget; accepted is a number or null"
                    yield Finding((*where, name, severity), text)
            elif level is not None and not signal.low <= level <= signal.high:
                outside = True
                yield Finding((*where, name, severity), f"{level:g} is out of range; accepted is {_range(signal)}")
        if not outside:
            yield from _order((*where, name), signal, given, inherited.get(name, {}))


def _order(where: Where, signal: Signal, given: Levels, inherited: Levels) -> Iterator[Finding]:
    together = inherited | given
    warning, critical = together.get("warning"), together.get("critical")
    if not given or not isinstance(warning, int | float) or not isinstance(critical, int | float):
        return  # of a level that follows from the budget nothing is known here
    if (warning > critical) if signal.bad_when == "high" else (warning < critical):
        says = {severity: "" if severity in given else " (inherited)" for severity in SEVERITIES}
        side = "above" if signal.bad_when == "high" else "below"
        text = (
            f"warning {warning:g}{says['warning']} is {side} critical {critical:g}{says['critical']}; accepted is a "
            f"warning not {side} critical, because {signal.name} is bad when {signal.bad_when}"
        )
        yield Finding(where, text)


def _budget(where: Where, given: Mapping[str, Any], inherited: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether more false critical alerts are accepted than false warnings, of which they are the rarer."""
    together = BudgetConfig().rates | {key: _rate(rate) for key, rate in {**inherited, **given}.items()}
    warning, critical = together["warning"], together["critical"]
    if given and warning is not None and critical is not None and critical > warning:
        text = (
            f"critical {format_rate(critical)} is more often than warning {format_rate(warning)}; accepted is a "
            "critical not more often than warning, of those given here and inherited"
        )
        yield Finding(where, text)


def _rate(text: Any) -> float | None:
    try:
        return parse_rate(text)
    except ValueError:
        return None


def _range(signal: Signal) -> str:
    return f"{signal.low:g} or more" if math.isinf(signal.high) else f"{signal.low:g} to {signal.high:g}"


def _label(where: Where, slice_: str, labels: tuple[str, ...]) -> Iterator[Finding]:
    label, equals, value = slice_.partition("=")
    if label and equals and value:
        yield from _known_label(where, label, labels, shape="=...")


def _known_label(where: Where, label: str, labels: tuple[str, ...], *, shape: str = "") -> Iterator[Finding]:
    if label not in labels:
        accepted = (
            f"accepted is {one_of(f'{known}{shape}' for known in labels)}"
            if labels
            else "accepted is none, as it lists none"
        )
        text = f"the model has no slice label {label!r} in monitoring.yml{did_you_mean(label, labels)}; {accepted}"
        yield Finding(where, text)


def _signals(value: Any) -> dict[str, Levels]:
    """The levels that are numbers, auto or null, of the signals that exist; the models refuse the rest."""
    return {
        name: {key: level for key, level in _map(levels).items() if key in SEVERITIES and is_level(level)}
        for name, levels in _map(value).items()
        if name in BY_NAME
    }


def _merged(outer: Mapping[str, Levels], inner: Mapping[str, Levels]) -> dict[str, Levels]:
    return {name: outer.get(name, {}) | inner.get(name, {}) for name in {**outer, **inner}}


def _seconds(text: Any) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []
