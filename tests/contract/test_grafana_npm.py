"""The dashboards against what Grafana and Prometheus publish on npm: the JSON's types, and PromQL's present grammar."""

import json
import shutil
from pathlib import Path

import pytest
from grafana_queries import NAMES, Dashboard, annotation_queries, load, panel_queries, panels
from npm_packages import NODE, installed, node, refused_by_the_grammar

VALUES = {"model": "m", "version": "1", "slice": "all", "window": "1h"}
COMPILER_OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_legal_in_the_grammar_of_the_newest_prometheus(name: str) -> None:
    queries = [*panel_queries(load(name), VALUES), *annotation_queries(load(name), VALUES)]
    assert refused_by_the_grammar([query.expr for query in queries]) == []


def test_the_grammar_refuses_what_is_no_promql() -> None:
    assert [entry["expression"] for entry in refused_by_the_grammar(["sum(up", "up"])] == ["sum(up"]


def _compile(directory: Path, dashboard: Dashboard) -> str:
    """What the TypeScript compiler says of a dashboard, as literals of Grafana's types; "" when it has no objection."""
    (directory / "node_modules").symlink_to(installed())
    (directory / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    shutil.copy(NODE / "dashboard.ts", directory)
    kinds = [
        {
            "kind": panel["type"],
            "options": panel.get("options", {}),
            "custom": panel["fieldConfig"]["defaults"].get("custom", {}),
        }
        for panel in panels(dashboard)
    ]
    source = [
        'import type { Dashboard, Panel } from "./dashboard.js";',
        f"export const dashboard: Dashboard = {json.dumps(dashboard, indent=1)};",
        *(f"export const panel{number}: Panel = {json.dumps(kind)};" for number, kind in enumerate(kinds)),
    ]
    (directory / "check.ts").write_text("\n".join(source), encoding="utf-8")
    return node(installed() / "typescript/bin/tsc", *COMPILER_OPTIONS, "check.ts", cwd=directory)


@pytest.mark.parametrize("name", NAMES)
def test_the_json_fits_the_types_that_grafana_publishes(tmp_path: Path, name: str) -> None:
    assert _compile(tmp_path, load(name)) == ""


def test_the_types_notice_a_misspelt_option(tmp_path: Path) -> None:
    dashboard = load("overview")
    panels(dashboard)[0]["options"]["colourMode"] = "background"
    dashboard["graphTolltip"] = 1
    complaints = _compile(tmp_path, dashboard)
    assert "colourMode" in complaints
    assert "graphTolltip" in complaints
