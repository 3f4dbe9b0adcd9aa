"""The dashboards as they are committed, and their queries with the variables filled in, as Grafana would send them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "grafana"
NAMES = ("overview", "model", "cameras")

Dashboard = dict[str, Any]

_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)(?::\w+)?\}|\$(?P<plain>\w+)")


class PanelQuery(NamedTuple):
    """One query of a panel; a panel with several has several of these."""

    panel: str
    expr: str


class VariableQuery(NamedTuple):
    """``label_values(selector, label)`` behind a variable."""

    variable: str
    selector: str
    label: str


def load(name: str) -> Dashboard:
    """Read a committed dashboard: ``overview``, ``model`` or ``cameras``."""
    dashboard: Dashboard = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Give every panel that shows something: rows are headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets(dashboard: Dashboard) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Give every (panel, target)."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel, target


def panel_queries(dashboard: Dashboard, values: Mapping[str, str], *, rate_interval: str = "1m") -> list[PanelQuery]:
    """Give every panel's queries with ``values`` for the dashboard's variables (model, version, slice, window)."""
    known = _known(dashboard, values, rate_interval)
    return [PanelQuery(panel["title"], substitute(target["expr"], known)) for panel, target in targets(dashboard)]


def annotation_queries(dashboard: Dashboard, values: Mapping[str, str]) -> list[PanelQuery]:
    """Give the queries behind the shaded regions."""
    known = _known(dashboard, values, "1m")
    entries = dashboard["annotations"]["list"]
    return [PanelQuery(entry["name"], substitute(entry["target"]["expr"], known)) for entry in entries]


def variable_queries(dashboard: Dashboard, values: Mapping[str, str]) -> list[VariableQuery]:
    """Give the queries behind the variables."""
    known = _known(dashboard, values, "1m")
    found = []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            text = substitute(variable["query"]["query"], known)
            selector, label = text.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            found.append(VariableQuery(variable["name"], selector, label))
    return found


def substitute(text: str, known: Mapping[str, str]) -> str:
    """Fill in ``$name``, ``${name}`` and ``${name:format}``; a name that is not known is a KeyError."""
    return _VARIABLE.sub(lambda match: known[match["braced"] or match["plain"]], text)


def _known(dashboard: Dashboard, values: Mapping[str, str], rate_interval: str) -> dict[str, str]:
    every = {v["name"]: v["allValue"] for v in dashboard["templating"]["list"] if v.get("includeAll")}
    return {**values, **every, "__rate_interval": rate_interval, "__interval": "15s", "__range": "6h"}
