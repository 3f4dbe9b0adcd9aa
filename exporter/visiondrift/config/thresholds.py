"""``thresholds.yml``: when to alert; the file that an operator edits. Resolved per model, slice and signal."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from visiondrift.config.monitoring import Name, Strict
from visiondrift.signals import BY_NAME, SEVERITIES, Severity


class Threshold(Strict):
    """A warning and a critical level of one signal; either may be left out (null)."""

    warning: float | None = None
    critical: float | None = None

    def level(self, severity: Severity) -> float | None:
        """The level of one severity."""
        return self.warning if severity == "warning" else self.critical


SliceThresholds = dict[str, Threshold]
"""Signal name -> threshold."""


class ModelThresholds(Strict):
    """What differs for one model: its owner, its signals, and its slices' signals."""

    owner: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    signals: SliceThresholds = Field(default_factory=dict)
    slices: dict[str, SliceThresholds] = Field(default_factory=dict)


class DefaultThresholds(Strict):
    """What holds where a model or slice says nothing."""

    owner: Annotated[str, Field(min_length=1, max_length=60)] = "unowned"
    signals: SliceThresholds = Field(default_factory=dict)


class ThresholdsConfig(Strict):
    """The whole of ``thresholds.yml``."""

    defaults: DefaultThresholds = DefaultThresholds()
    models: dict[Name, ModelThresholds] = Field(default_factory=dict)

    def owner(self, model: str) -> str:
        """Who answers for ``model``: the value of the label ``model_owner``."""
        own = self.models.get(model)
        return own.owner if own and own.owner else self.defaults.owner

    def resolve(self, model: str, slice_: str) -> SliceThresholds:
        """The thresholds of one slice: defaults, overridden by the model's, overridden by the slice's.

        An override replaces one severity at a time: ``{critical: 0.6}`` keeps the inherited warning.
        """
        own = self.models.get(model, ModelThresholds())
        resolved: SliceThresholds = {}
        for layer in (self.defaults.signals, own.signals, own.slices.get(slice_, {})):
            for signal, threshold in layer.items():
                given = threshold.model_dump(exclude_unset=True)
                resolved[signal] = resolved.get(signal, Threshold()).model_copy(update=given)
        return resolved

    @model_validator(mode="after")
    def _check_signals(self) -> Self:
        problems = [
            problem
            for path, layer in self._layers()
            for signal, threshold in layer.items()
            for problem in _problems(f"{path}.{signal}", signal, threshold)
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _layers(self) -> list[tuple[str, SliceThresholds]]:
        layers = [("defaults.signals", self.defaults.signals)]
        for name, model in self.models.items():
            layers.append((f"models.{name}.signals", model.signals))
            layers.extend((f"models.{name}.slices.{slice_}", layer) for slice_, layer in model.slices.items())
        return layers


def _problems(path: str, name: str, threshold: Threshold) -> list[str]:
    signal = BY_NAME.get(name)
    if signal is None:
        return [f"{path}: there is no such signal; accepted are {', '.join(BY_NAME)}"]
    problems = [
        f"{path}.{severity}: {level:g} is out of range; accepted is {signal.low:g} to {signal.high:g}"
        for severity in SEVERITIES
        if (level := threshold.level(severity)) is not None and not signal.low <= level <= signal.high
    ]
    if threshold.warning is not None and threshold.critical is not None:
        milder, harsher = sorted((threshold.warning, threshold.critical), reverse=signal.bad_when == "low")
        if (milder, harsher) != (threshold.warning, threshold.critical):
            side = "below" if signal.bad_when == "high" else "above"
            problems.append(
                f"{path}: warning {threshold.warning:g} must be {side} critical {threshold.critical:g}, "
                f"because {name} is bad when {signal.bad_when}"
            )
    return problems
