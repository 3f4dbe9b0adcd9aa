"""The dashboards against what Grafana and Prometheus publish on npm: the JSON's types, and PromQL's present grammar."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from grafana_queries import NAMES, Dashboard, annotation_queries, load, panel_queries, panels

NODE = Path(__file__).parent / "grafana_node"
VALUES = {"model": "m", "version": "1", "slice": "all", "window": "1h"}
COMPILER_OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="node and npm are not on PATH"
)


@pytest.fixture(scope="module")
def modules() -> Path:
    """The installed npm packages, at the versions of the lock file."""
    installed = NODE / "node_modules"
    if not (installed / ".package-lock.json").exists():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        answer = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False, timeout=120)
        if answer.returncode != 0:
            pytest.skip(f"npm could not install the packages of {NODE.name}: {answer.stderr[-300:]}")
    return installed


def _refused_by_the_grammar(expressions: list[str]) -> Any:
    command = ["node", "promql.mjs"]
    answer = subprocess.run(
        command, cwd=NODE, input=json.dumps(expressions), capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_legal_in_the_grammar_of_the_newest_prometheus(modules: Path, name: str) -> None:
    queries = [*panel_queries(load(name), VALUES), *annotation_queries(load(name), VALUES)]
    assert _refused_by_the_grammar([query.expr for query in queries]) == []


def test_the_grammar_refuses_what_is_no_promql(modules: Path) -> None:
    assert [entry["expression"] for entry in _refused_by_the_grammar(["sum(up", "up"])] == ["sum(up"]


def _compile(directory: Path, modules: Path, dashboard: Dashboard) -> str:
    """What the TypeScript compiler says of a dashboard, as literals of Grafana's types; "" when it has no objection."""
    (directory / "node_modules").symlink_to(modules)
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
    command = ["node", str(modules / "typescript/bin/tsc"), *COMPILER_OPTIONS, "check.ts"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_json_fits_the_types_that_grafana_publishes(modules: Path, tmp_path: Path, name: str) -> None:
    assert _compile(tmp_path, modules, load(name)) == ""


def test_the_types_notice_a_misspelt_option(modules: Path, tmp_path: Path) -> None:
    dashboard = load("overview")
    panels(dashboard)[0]["options"]["colourMode"] = "background"
    dashboard["graphTolltip"] = 1
    complaints = _compile(tmp_path, modules, dashboard)
    assert "colourMode" in complaints
    assert "graphTolltip" in complaints
