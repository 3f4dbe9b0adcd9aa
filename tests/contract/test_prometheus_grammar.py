"""The rules against PromQL's present grammar, which Prometheus publishes on npm: a check without a 3.x promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_prometheus import rules, texts

NODE = Path(__file__).parent / "grafana_node"


def queries_in_texts() -> Iterator[str]:
    """What the annotations ask Prometheus, with something put where they put labels and numbers."""
    for text in texts():
        for query in re.findall(r"printf\s+`([^`]+)`[^}]*\| query", text) + re.findall(r'query "([^"]+)"', text):
            labels = query.replace("%s}", 'model="m"}').replace("%s", '{model="m"}')
            yield labels.replace("%q", '"m"').replace("%f", "1.5")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
def test_every_expression_and_query_is_legal_in_the_newest_grammar() -> None:
    if not (NODE / "node_modules" / ".package-lock.json").exists():
        pytest.skip(f"the npm packages of {NODE.name} are not installed (test_grafana_npm.py installs them)")
    queries = list(queries_in_texts())
    assert len(queries) > len(rules()), "the texts ask something"
    expressions = [rule["expr"] for rule in rules()] + queries
    command = ["node", "promql.mjs"]
    answer = subprocess.run(
        command, cwd=NODE, input=json.dumps(expressions), capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(answer.stdout) == []
