"""How a state looks: the one place that decides which colour and which word stand for what.

A colour never carries meaning alone: every coloured value also says its word.
"""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard

OK = "green"
WARNING = "orange"
CRITICAL = "red"
INSUFFICIENT = "#8e8e8e"
SCORE = "blue"
REFERENCE = "purple"

BY_VERDICT = {"insufficient": INSUFFICIENT, "ok": OK, "warning": WARNING, "critical": CRITICAL}

VERDICT_CODES = {"insufficient": 0, "ok": 1, "warning": 2, "critical": 3}
"""Numbers that the verdicts become in a query: the worst verdict of several is their maximum."""

VERDICT_WORDS = {"insufficient": "cannot tell", "ok": "ok", "warning": "warning", "critical": "critical"}


FAULT_CODES = {
    "unfocused": 1,
    "moved": 2,
    "resolution": 3,
    "clock": 4,
    "late": 5,
    "covered": 6,
    "frozen": 7,
    "white": 8,
    "black": 9,
}
"""Numbers that the faults of a camera become in a query: of several the most fundamental is their maximum."""

WORTHLESS = 6
"""The code from which on a fault is critical, as in the alert's rules."""


def thresholds(*steps: tuple[float | None, str]) -> build.ThresholdsConfig:
    """Colour steps, lowest first; the first has no lower end (``None``)."""
    return (
        build.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=color) for value, color in steps])
    )


def of_threshold() -> build.ThresholdsConfig:
    """For a score as a share of its threshold, over time: near it, beyond it, far beyond it."""
    return thresholds((None, OK), (0.75, "yellow"), (1, WARNING), (2, "dark-orange"))


def calm() -> build.ThresholdsConfig:
    """For values that are neither good nor bad."""
    return thresholds((None, "text"))


def _value_map(words: dict[str, tuple[str, str]]) -> list[dashboard.ValueMapping]:
    return [
        dashboard.ValueMap(
            options={
                value: dashboard.ValueMappingResult(text=word, color=color, index=index)
                for index, (value, (word, color)) in enumerate(words.items())
            }
        )
    ]


def verdict_mappings() -> list[dashboard.ValueMapping]:
    """Verdict codes as coloured words."""
    return _value_map({str(code): (VERDICT_WORDS[name], BY_VERDICT[name]) for name, code in VERDICT_CODES.items()})


def fault_mappings() -> list[dashboard.ValueMapping]:
    """Codes of camera faults as coloured words; 0 is a camera that is well."""
    words = {str(code): (name, CRITICAL if code >= WORTHLESS else WARNING) for name, code in FAULT_CODES.items()}
    return _value_map({"0": ("well", OK)} | words)


def validity_mappings() -> list[dashboard.ValueMapping]:
    """Whether an estimate may be acted on."""
    return _value_map({"1": ("valid", OK), "0": ("not valid", INSUFFICIENT)})


def discovery_mappings() -> list[dashboard.ValueMapping]:
    """Whether a slice is among those shown as drifted."""
    return _value_map({"1": ("drifted", WARNING), "0": ("not shown", INSUFFICIENT)})


def severity_mappings() -> list[dashboard.ValueMapping]:
    """The label ``severity`` in its colour."""
    return _value_map({"critical": ("critical", CRITICAL), "warning": ("warning", WARNING)})


def well_mappings(*, well: str, broken: str) -> list[dashboard.ValueMapping]:
    """1 and 0 as words: 1 is well."""
    return _value_map({"1": (well, OK), "0": (broken, CRITICAL)})
