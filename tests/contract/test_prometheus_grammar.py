"""The rules against PromQL's present grammar, which Prometheus publishes on npm: a check without a 3.x promtool."""

from __future__ import annotations

import re
from collections.abc import Iterator

from npm_packages import refused_by_the_grammar
from test_prometheus import rules, texts


def queries_in_texts() -> Iterator[str]:
    """What the annotations ask Prometheus, with something put where they put labels and numbers."""
    for text in texts():
        for query in re.findall(r"printf\s+`([^`]+)`[^}]*\| query", text) + re.findall(r'query "([^"]+)"', text):
            labels = query.replace("%s}", 'model="m"}').replace("%s", '{model="m"}')
            yield labels.replace("%q", '"m"').replace("%f", "1.5")


def test_every_expression_and_query_is_legal_in_the_newest_grammar() -> None:
    queries = list(queries_in_texts())
    assert len(queries) > len(rules()), "the texts ask something"
    assert refused_by_the_grammar([rule["expr"] for rule in rules()] + queries) == []
