"""The committed dashboards and provisioning: generated, linted, and asking only for series that exist."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models import units
from grafana_queries import GRAFANA, NAMES, ROOT, Dashboard, load, panel_queries, panels, substitute, targets

from visiondrift.drift.health.findings import FAULTS
from visiondrift.publish.metrics import catalogue
from visiondrift.signals import SIGNALS

BUILD = GRAFANA / "source" / "build.py"
UIDS = {"overview": "visiondrift-overview", "model": "visiondrift-model", "cameras": "visiondrift-cameras"}
DATASOURCE_UID = "visiondrift-prometheus"
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
STATE_COLORS = {"ok": "green", "warning": "orange", "critical": "red", "cannot tell": "#8e8e8e"}
MAPPED = "none"  # a panel whose values are words still says that its number has no unit


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> Dashboard:
    return load(request.param)


def _build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, BUILD, *arguments], capture_output=True, text=True, check=False)


def test_the_committed_dashboards_are_what_the_generator_writes(tmp_path: Path) -> None:
    assert _build("--output", str(tmp_path)).returncode == 0
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in (GRAFANA / "dashboards").iterdir()}
    assert written == committed


def test_check_fails_with_a_diff_when_a_committed_dashboard_was_edited_by_hand(tmp_path: Path) -> None:
    for path in (GRAFANA / "dashboards").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _build("--check", "--output", str(tmp_path)).returncode == 0
    edited = tmp_path / "model.json"
    edited.write_text(edited.read_text(encoding="utf-8").replace("Verdict", "Verdikt", 1), encoding="utf-8")
    answer = _build("--check", "--output", str(tmp_path))
    assert answer.returncode == 1
    assert "Verdikt" in answer.stdout
    assert "build.py" in answer.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_its_fixed_identity_and_cannot_be_edited(name: str) -> None:
    content = load(name)
    assert content["uid"] == UIDS[name]
    assert content["id"] is None
    assert content["editable"] is False
    assert content["tags"] == ["visiondrift"]
    assert content["schemaVersion"] >= 39
    assert "elements" not in content, "file provisioning takes the classic model only"


def test_a_dashboard_refreshes_itself_over_a_stated_time_range(dashboard: Dashboard) -> None:
    assert dashboard["refresh"] == "30s"
    assert dashboard["time"] == {"from": "now-6h", "to": "now"}


def test_every_dashboard_says_what_it_is_for(dashboard: Dashboard) -> None:
    assert len(dashboard["description"]) > 20


def test_the_data_source_is_a_variable_that_starts_at_the_provisioned_one(dashboard: Dashboard) -> None:
    (variable,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert variable["name"] == "datasource"
    assert variable["query"] == "prometheus"
    assert variable["current"]["value"] == DATASOURCE_UID


def _datasource_references(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "datasource" in node:
            yield node["datasource"]
        for value in node.values():
            yield from _datasource_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _datasource_references(value)


def test_nothing_names_a_data_source_directly(dashboard: Dashboard) -> None:
    references = list(_datasource_references(dashboard))
    assert len(references) > len(panels(dashboard))
    assert all(reference == {"type": "prometheus", "uid": "${datasource}"} for reference in references)


def test_every_panel_has_a_title_of_its_own_and_a_description(dashboard: Dashboard) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        assert panel["title"].strip()
        assert panel["description"].strip().endswith("."), panel["title"]


def test_every_panel_has_a_unit_that_grafana_knows(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


def test_every_panel_explains_an_absence_of_data_in_its_own_words(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        assert panel["fieldConfig"]["defaults"]["noValue"].strip(), panel["title"]


def test_every_target_has_a_reference_and_a_legend(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        references = [target["refId"] for target in panel["targets"]]
        assert references == list("ABCDEFGH"[: len(references)]), panel["title"]
        assert all(target["legendFormat"].strip() for target in panel["targets"]), panel["title"]


def test_every_rate_is_over_the_rate_interval(dashboard: Dashboard) -> None:
    for panel, target in targets(dashboard):
        assert set(re.findall(r"\[([^\]]+)\]", target["expr"])) <= {"$__rate_interval"}, panel["title"]


def test_every_counter_is_read_as_a_rate_and_never_raw(dashboard: Dashboard) -> None:
    for panel, target in targets(dashboard):
        for name in re.findall(r"visiondrift_\w+_(?:total|bucket|sum|count)\b", target["expr"]):
            assert re.search(rf"(?:rate|increase)\({name}", target["expr"]), (panel["title"], name)


def test_panels_fill_whole_lines_and_do_not_overlap(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height, "the page has holes"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_page_answers_whether_anything_is_wrong_at_the_top_left() -> None:
    first = load("overview")["panels"][0]
    assert (first["gridPos"]["x"], first["gridPos"]["y"]) == (0, 0)
    assert first["title"] == "Is anything wrong?"


def _value_mappings(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("text"), str) and "color" in node:
            yield node
        for value in node.values():
            yield from _value_mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _value_mappings(value)


def test_a_state_has_the_same_colour_everywhere(dashboard: Dashboard) -> None:
    seen = {(entry["text"], entry["color"]) for entry in _value_mappings(dashboard["panels"])}
    assert {text for text, _ in seen} >= set(STATE_COLORS)
    assert {(text, color) for text, color in seen if text in STATE_COLORS} == set(STATE_COLORS.items())


def test_every_signal_is_drawn_with_its_warning_and_critical_thresholds() -> None:
    by_title = {panel["title"]: panel for panel in panels(load("model"))}
    signals = {f"visiondrift_{signal.name}" for signal in SIGNALS}
    drawn = set()
    for panel in by_title.values():
        legends = {target["legendFormat"]: target["expr"] for target in panel["targets"]}
        if set(legends) == {"score", "warning", "critical"}:
            metric = re.search(r"visiondrift_\w+", legends["score"])
            assert metric is not None
            drawn.add(metric[0])
            for severity, color in (("warning", "orange"), ("critical", "red")):
                assert f"{metric[0]}_threshold{{" in legends[severity]
                assert f'severity="{severity}"' in legends[severity]
                assert _override(panel, severity)["color"] == {"mode": "fixed", "fixedColor": color}
    assert drawn == signals


def _override(panel: dict[str, Any], series: str) -> dict[str, Any]:
    (override,) = [o for o in panel["fieldConfig"]["overrides"] if o["matcher"]["options"] == series]
    return {entry["id"]: entry["value"] for entry in override["properties"]}


def test_every_override_names_a_series_or_column_that_the_panel_has(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        names = {target["legendFormat"] for target in panel["targets"]} | {"unknown"}
        for transformation in panel.get("transformations", []):
            names |= set(transformation["options"].get("renameByName", {}).values())
        names |= {target["refId"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in names, panel["title"]


def test_every_fault_of_a_camera_has_a_code_and_the_critical_ones_are_those_of_the_alert() -> None:
    (panel,) = [p for p in panels(load("cameras")) if p["title"] == "Health of each camera"]
    found = re.findall(r'(\d) \* \(visiondrift_camera_fault\{fault="(\w+)"', panel["targets"][0]["expr"])
    codes = {name: int(code) for code, name in found}
    assert set(codes) == set(FAULTS)
    words = {
        (int(code), entry["text"]): entry["color"]
        for mapping in panel["fieldConfig"]["defaults"]["mappings"]
        for code, entry in mapping["options"].items()
    }
    assert set(words) == {(0, "well")} | {(code, name) for name, code in codes.items()}
    rules = _yaml(ROOT / "prometheus/rules/camera_alerts.yml")["groups"][0]["rules"]
    (critical,) = [rule["expr"] for rule in rules if rule["labels"]["severity"] == "critical"]
    worthless = set(re.search(r'fault=~"([a-z|]+)"', critical)[1].split("|"))  # type: ignore[index]
    assert {name for (_, name), color in words.items() if color == "red"} == worthless


def test_every_metric_asked_for_is_one_that_the_exporter_or_a_rule_makes(dashboard: Dashboard) -> None:
    rules = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "prometheus/rules").glob("*.yml")]
    recorded = {
        rule["record"] for file in rules for group in file["groups"] for rule in group["rules"] if "record" in rule
    }
    known = set(catalogue()) | recorded | {"ALERTS", "ALERTS_FOR_STATE", "up"}
    texts = [target["expr"] for _, target in targets(dashboard)]
    texts += [entry["target"]["expr"] for entry in dashboard["annotations"]["list"]]
    texts += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    asked = {
        name for text in texts for name in re.findall(r"\b(?:visiondrift[_:][\w:]+|ALERTS\w*|up)\b(?=[{\[) ]|$)", text)
    }
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in known else name for name in asked}
    assert len(asked) > 5
    assert asked <= known, asked - known


def test_every_label_matched_is_one_that_its_metric_has(dashboard: Dashboard) -> None:
    for panel, target in targets(dashboard):
        for name, selector in re.findall(r"(visiondrift_\w+)\{([^}]*)\}", target["expr"]):
            labels = catalogue().get(name) or catalogue()[re.sub(r"_(bucket|sum|count)$", "", name)]
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", selector))
            assert asked <= set(labels), (panel["title"], name)


def test_the_model_dashboard_uses_every_variable_it_offers() -> None:
    content = load("model")
    text = json.dumps([content["panels"], content["links"]])
    for variable in content["templating"]["list"]:
        assert f"${variable['name']}" in text or f"${{{variable['name']}" in text, variable["name"]


def test_the_overview_links_each_row_to_the_model_dashboard_with_its_variables() -> None:
    everything = load("overview")
    (panel,) = [p for p in panels(everything) if p["title"].startswith("Every model and camera")]
    (link,) = _override(panel, "Slice")["links"]
    path, _, query = link["url"].partition("?")
    assert path == f"/d/{UIDS['model']}"
    sent = {part.split("=")[0].removeprefix("var-") for part in query.split("&") if part.startswith("var-")}
    offered = {v["name"] for v in load("model")["templating"]["list"]}
    assert sent == {"model", "version", "slice", "window"} <= offered
    fields = set(re.findall(r"__data\.fields\.(\w+):percentencode", query))
    shown = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]["includeByName"]
    assert fields == sent <= set(shown), "a link can only use fields that the table keeps"


def test_every_dashboard_links_to_the_exporter_by_the_address_it_publishes(dashboard: Dashboard) -> None:
    links = {link["title"]: link for link in dashboard["links"]}
    assert links["Exporter"]["url"] == "${exporter_url}/"
    assert links["Runbook"]["url"] == "${runbook_url}"
    assert not any("placement" in link for link in links.values()), "links belong in sight, not in a menu"


def test_the_model_dashboard_links_to_the_report_of_what_it_shows() -> None:
    (link,) = [link for link in load("model")["links"] if link["title"] == "Evidently report"]
    values = {"exporter_url": "http://localhost:9109", "model": "m", "version": "1", "slice": "all", "window": "1h"}
    expected = "http://localhost:9109/reports/latest?model=m&version=1&slice=all&window=1h"
    assert substitute(link["url"], values) == expected


def test_alerts_are_annotations_in_the_colours_of_their_severity(dashboard: Dashboard) -> None:
    colors = {entry["name"]: entry["iconColor"] for entry in dashboard["annotations"]["list"]}
    assert colors == {"Warning alerts": "orange", "Critical alerts": "red"}
    for entry in dashboard["annotations"]["list"]:
        assert 'ALERTS{alertstate="firing"' in entry["target"]["expr"]


def test_queries_have_no_variable_left_after_substitution(dashboard: Dashboard) -> None:
    values = {"model": "m", "version": "1", "slice": "all", "window": "1h"}
    queries = panel_queries(dashboard, values)
    assert len(queries) == len(list(targets(dashboard)))
    assert not [query for query in queries if "$" in query.expr]


def test_the_data_source_is_provisioned_with_the_uid_that_the_dashboards_start_at() -> None:
    content = _yaml(GRAFANA / "provisioning/datasources/visiondrift.yml")
    sources = {source["uid"]: source for source in content["datasources"]}
    assert sources[DATASOURCE_UID]["type"] == "prometheus"
    assert sources[DATASOURCE_UID]["isDefault"] is True
    assert all(source["editable"] is False for source in sources.values())


def test_the_data_sources_are_services_of_the_compose_file() -> None:
    services = _yaml(ROOT / "docker-compose.yml")["services"]
    for source in _yaml(GRAFANA / "provisioning/datasources/visiondrift.yml")["datasources"]:
        assert re.fullmatch(r"http://(\w+):\d+", source["url"])[1] in services  # type: ignore[index]


def test_the_rate_interval_rests_on_the_real_scrape_interval() -> None:
    (source,) = [
        s
        for s in _yaml(GRAFANA / "provisioning/datasources/visiondrift.yml")["datasources"]
        if s["uid"] == DATASOURCE_UID
    ]
    scraped = _yaml(ROOT / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_dashboards_are_provisioned_from_where_the_compose_file_mounts_them() -> None:
    (provider,) = _yaml(GRAFANA / "provisioning/dashboards/visiondrift.yml")["providers"]
    assert provider["allowUiUpdates"] is False
    mounts = [str(volume) for volume in _yaml(ROOT / "docker-compose.yml")["services"]["grafana"]["volumes"]]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in mounts


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
