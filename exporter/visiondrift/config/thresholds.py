"""``thresholds.yml``: when to alert; the file that an operator edits. Resolved per model, slice and signal.

What takes more than one entry to judge (ranges by signal, the order of warning and critical) is in ``checks``.
"""

import sys
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from visiondrift.config.entries import Name, Strict
from visiondrift.config.units import Rate
from visiondrift.config.words import Words, did_you_mean, shown
from visiondrift.signals import ALL_SLICES, BY_NAME, SEVERITIES, Severity

AUTO: Final = "auto"
"""The level that follows from the budget of false pages and the calibration of the reference."""

_SLICE_WORDS = "label=value with a slice label of the model, such as camera=platform-2"


def _is_signal(name: str) -> str:
    if name not in BY_NAME:
        msg = f"there is no such signal{did_you_mean(name, BY_NAME)}; accepted are {', '.join(BY_NAME)}"
        raise ValueError(msg)
    return name


def _is_slice(name: str) -> str:
    label, equals, value = name.partition("=")
    if name == ALL_SLICES:
        msg = f"{ALL_SLICES} is not one slice; accepted is {_SLICE_WORDS}, levels for all events belong under signals"
        raise ValueError(msg)
    if not (label and equals and value):
        msg = f"{name!r} does not name a slice; accepted is {_SLICE_WORDS}"
        raise ValueError(msg)
    return name


_LEVEL_WORDS = "a number, auto (the level that keeps to the budget), or null"


def is_level(level: Any) -> bool:
    """Whether this is a level as it may be written: a number that is one, ``auto``, or None."""
    is_number = isinstance(level, int | float) and not isinstance(level, bool)
    return level is None or level == AUTO or (is_number and abs(level) <= sys.float_info.max)


def _is_level(level: Any) -> Any:
    # Said here and not by the types: of a choice between types pydantic's message names every branch.
    if is_level(level):
        return level
    msg = f"{shown(level)} is no level; accepted is {_LEVEL_WORDS}"
    raise ValueError(msg)


Level = Annotated[float | Literal["auto"] | None, BeforeValidator(_is_level), Words(_LEVEL_WORDS)]


class Threshold(Strict):
    """A warning and a critical level of one signal; either may be left out (null), or follow the budget (auto)."""

    warning: Level = Field(
        default=None, description="The score at which a warning begins; auto from the budget; null for none."
    )
    critical: Level = Field(
        default=None, description="The score at which it is critical; auto from the budget; null for none."
    )

    def level(self, severity: Severity) -> "float | Literal['auto'] | None":
        """The level of one severity."""
        return self.warning if severity == "warning" else self.critical


class BudgetConfig(Strict):
    """How many false pages a model may cause: over all its cameras, windows and signals together, without drift."""

    warning: Rate = Field(default=1 / (7 * 86400.0), description="False warnings to accept, such as `1 per 7d`.")
    critical: Rate = Field(default=1 / (90 * 86400.0), description="False critical alerts to accept.")

    def rate(self, severity: Severity) -> float:
        """False pages a second to accept of one severity."""
        return self.warning if severity == "warning" else self.critical

    @property
    def rates(self) -> dict[Severity, float]:
        """The same by severity."""
        return {severity: self.rate(severity) for severity in SEVERITIES}


SignalName = Annotated[str, AfterValidator(_is_signal), Words("a signal")]
SliceName = Annotated[str, AfterValidator(_is_slice), Words(_SLICE_WORDS)]
Owner = Annotated[str, Field(min_length=1, max_length=60), Words("text of 1 to 60 characters")]

SliceThresholds = Annotated[
    dict[SignalName, Threshold],
    Words("a mapping of signals to their levels, such as drift_evidence: {warning: auto, critical: auto}"),
]
"""Signal name -> threshold."""


class ModelThresholds(Strict):
    """What differs for one model: its owner, its signals, and its slices' signals."""

    owner: Owner | None = Field(default=None, description="Who answers for the model; goes into every alert of it.")
    budget: BudgetConfig | None = Field(default=None, description="The budget of false pages of this model.")
    signals: SliceThresholds = Field(default_factory=dict, description="Levels that differ for this model.")
    slices: Annotated[
        dict[SliceName, SliceThresholds], Words("a mapping of slices, such as camera=platform-2, to their signals")
    ] = Field(default_factory=dict, description="Levels that differ for one slice, such as `camera=platform-2`.")


class DefaultThresholds(Strict):
    """What holds where a model or slice says nothing."""

    owner: Owner = Field(default="unowned", description="Who answers for a model that names nobody.")
    budget: BudgetConfig = Field(
        default=BudgetConfig(), description="The budget of false pages of each model: what `auto` levels follow from."
    )
    signals: SliceThresholds = Field(default_factory=dict, description="Levels of every model, by signal.")


class ThresholdsConfig(Strict):
    """The whole of ``thresholds.yml``."""

    defaults: DefaultThresholds = Field(
        default=DefaultThresholds(), description="What holds where a model or slice says nothing."
    )
    models: Annotated[dict[Name, ModelThresholds], Words("a mapping of models of monitoring.yml, by name")] = Field(
        default_factory=dict, description="What differs for one model, by its name."
    )

    def owner(self, model: str) -> str:
        """Who answers for ``model``: the value of the label ``model_owner``."""
        own = self.models.get(model)
        return own.owner if own and own.owner else self.defaults.owner

    def budget(self, model: str) -> BudgetConfig:
        """The false pages that ``model`` may cause; of what its own budget does not say, the default's."""
        own = self.models.get(model)
        given = own.budget.model_dump(exclude_unset=True) if own and own.budget else {}
        return self.defaults.budget.model_copy(update=given)

    def resolve(self, model: str, slice_: str) -> SliceThresholds:
        """The thresholds of one slice: defaults, overridden by the model's, overridden by the slice's.

        An override replaces one severity at a time: ``{critical: 0.6}`` keeps the inherited warning, and
        ``{warning: null}`` takes it away.
        """
        own = self.models.get(model, ModelThresholds())
        resolved: SliceThresholds = {}
        for layer in (self.defaults.signals, own.signals, own.slices.get(slice_, {})):
            for signal, threshold in layer.items():
                given = threshold.model_dump(exclude_unset=True)
                resolved[signal] = resolved.get(signal, Threshold()).model_copy(update=given)
        return resolved
