"""Writes the README's tables from the code, between its marker comments. `make docs`; `--check` only compares.

A table is a function below; `<!-- table: NAME -->` in README.md says where it goes. Everything in it comes from the
code and the shipped configuration, so a table cannot say anything else than what runs.
"""

import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

import typer
import yaml

from visiondrift.cli import app
from visiondrift.config import Config, ConfigKey, config_keys, load_config
from visiondrift.config.entries import Name
from visiondrift.config.monitoring import Label, Windows
from visiondrift.config.schema import MONITORING_FILE, THRESHOLDS_FILE
from visiondrift.config.thresholds import AUTO
from visiondrift.config.units import DURATION_WORDS, RATE_WORDS, SIZE_WORDS
from visiondrift.config.words import Words
from visiondrift.publish.gauges import SNAPSHOT_GAUGES
from visiondrift.publish.metrics import LIVE_METRICS, PREFIX
from visiondrift.signals import SEVERITIES, SIGNALS, Signal

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PACKAGE = ROOT / "exporter" / "visiondrift"
RULES = ROOT / "prometheus" / "rules" / "data_alerts.yml"

SCOPE = ("model", "version", "slice", "window")
_MARKED = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_INHERITED = "from defaults."


def _words(annotation: object) -> str:
    marks: Iterable[object] = getattr(annotation, "__metadata__", ())
    return next(mark.text for mark in marks if isinstance(mark, Words))


_SHORT = {
    DURATION_WORDS: "duration",
    SIZE_WORDS: "size",
    RATE_WORDS: "rate",
    _words(Name): "name",
    _words(Label): "label",
    _words(Windows): "mapping of windows",
}
"""What is said once below the table, and in one word in it."""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _prose(text: str) -> str:
    """A sentence of the code, with its names set as code."""
    return re.sub(r"(?<![`\w])[a-z]+(?:_[a-z]+)+(?![`\w])", lambda found: _code(found[0]), text[0].upper() + text[1:])


def _alerts() -> dict[str, str]:
    """Signal -> the alert whose expression begins with its recorded score."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule["expr"].split(":")[1]: rule["alert"] for rule in rules}


def _level(signal: Signal, level: float | str | None) -> str:
    """A level as configured, with the side of it that is bad."""
    if level is None:
        return "none"
    if level == AUTO:
        return _code(AUTO)
    return f"{'≥' if signal.bad_when == 'high' else '≤'} {level:g}"


def signals(config: Config) -> str:
    """Every signal: what it measures, when it is bad, where it starts to warn, what fires."""
    starting, alerts = config.thresholds.defaults.signals, _alerts()

    def row(signal: Signal) -> Sequence[str]:
        threshold, alert = starting[signal.name], alerts[signal.name]
        levels = (_level(signal, threshold.level(severity)) for severity in SEVERITIES)
        return _code(signal.name), _prose(signal.meaning), *levels, f"[{alert}](docs/runbook.md#{alert.lower()})"

    return _table(("signal", "what it measures", "warning", "critical", "alert"), map(row, SIGNALS))


def _labels(names: Sequence[str]) -> str:
    if names[: len(SCOPE)] == SCOPE:
        return ", ".join(["*scope*", *map(_code, names[len(SCOPE) :])])
    return ", ".join(map(_code, names))


def metrics(_: Config) -> str:
    """Every metric; a signal's score and threshold once for all signals."""
    scored = {name for signal in SIGNALS for name in (signal.name, f"{signal.name}_threshold")}
    sibling = ("severity", "model_owner")
    rows = [
        ("visiondrift_SIGNAL", "gauge", "*scope*", "The score of a signal. Absent while the window may not speak."),
        ("visiondrift_SIGNAL_threshold", "gauge", _labels((*SCOPE, *sibling)), "The level at which a severity begins."),
        *(
            (PREFIX + gauge.name, "gauge", _labels(gauge.labels), _prose(gauge.help))
            for gauge in SNAPSHOT_GAUGES
            if gauge.name not in scored
        ),
        *(
            (
                PREFIX + live.name + ("_total" if live.kind == "counter" else ""),
                live.kind,
                _labels(live.labels),
                _prose(live.help),
            )
            for live in LIVE_METRICS
        ),
    ]
    return _table(("metric", "kind", "labels", "meaning"), ((_code(row[0]), *row[1:]) for row in rows))


def _config_rows(file: str) -> list[list[ConfigKey]]:
    """Keys that differ only in where they stand (defaults, model, slice) share a row."""
    rows: list[list[ConfigKey]] = []
    for key in (key for key in config_keys() if key.file == file):
        same = next((row for row in rows if _says_the_same(row[0], key)), None)
        if same is None:
            rows.append([key])
        else:
            same.append(key)
    return rows


def _says_the_same(first: ConfigKey, key: ConfigKey) -> bool:
    names = [one.name.rpartition(".")[2] for one in (first, key)]
    default = key.default.startswith(_INHERITED) or key.default == first.default
    return names[0] == names[1] and first.accepted == key.accepted and first.description == key.description and default


def _config_table(file: str) -> str:
    def row(keys: list[ConfigKey]) -> Sequence[str]:
        first = keys[0]
        accepted = first.accepted
        for long, short in _SHORT.items():
            accepted = accepted.replace(f"a {long}", f"a {short}").replace(long, short)
        names = "<br>".join(_code(key.name) for key in keys)
        default = first.default if first.default == "required" else _code(first.default)
        return names, default, accepted, first.description

    return _table(("key", "default", "accepts", "meaning"), map(row, _config_rows(file)))


def monitoring(_: Config) -> str:
    """The keys of monitoring.yml."""
    return _config_table(MONITORING_FILE)


def thresholds(_: Config) -> str:
    """The keys of thresholds.yml."""
    return _config_table(THRESHOLDS_FILE)


def accepts(_: Config) -> str:
    """What the short words in the tables of keys stand for."""
    items = (f"- **{short}**: {long}." for long, short in _SHORT.items())
    return "".join(textwrap.fill(item, 120, subsequent_indent="  ", break_on_hyphens=False) + "\n" for item in items)


def commands(_: Config) -> str:
    """Every command with the first sentence of its help."""

    def described(group: Any, prefix: str) -> Iterator[Sequence[str]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from described(command, f"{prefix}{name} ")
            else:
                yield _code(f"{prefix}{name}"), " ".join(command.help.split())

    return _table(("command", "what it does"), described(typer.main.get_command(app), "visiondrift "))


def rooms(_: Config) -> str:
    """The package's modules in the order of the import direction, each with the decision it hides."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]

    def row(name: str) -> Sequence[str]:
        path = PACKAGE / name
        if not path.is_dir():
            return _code(f"{name}.py"), _purpose(path.with_suffix(".py"))
        return _code(f"{name}/"), _purpose(path / "__init__.py")

    names = [name.strip() for layer in layers for name in layer.split("|") if name.strip() != "__main__"]
    return _table(("room", "what it decides"), map(row, names))


def _purpose(file: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = text.partition("\n\n")[0].replace("\n", " ").replace("``", "`")
    return first if not first or first.endswith(".") else f"{first}."


TABLES: dict[str, Callable[[Config], str]] = {
    table.__name__: table for table in (signals, metrics, monitoring, thresholds, accepts, commands, rooms)
}


def written(text: str) -> str:
    """``text`` with every marked table written anew. Raises KeyError for a marker without a table."""
    config = load_config(ROOT / "exporter" / "config")
    return _MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](config)}\n{found[3]}", text)


def main() -> int:
    """Write or check; 1 where --check found a difference."""
    before = README.read_text(encoding="utf-8")
    after = written(before)
    missing = TABLES.keys() - {found[1] for found in _MARKED.findall(before)}
    if missing:
        sys.exit(f"README.md has no place for the tables {', '.join(sorted(missing))}: <!-- table: NAME -->")
    if "--check" in sys.argv[1:]:
        changes = unified_diff(before.splitlines(), after.splitlines(), "README.md", "make docs", lineterm="", n=0)
        difference = "\n".join(changes)
        if difference:
            sys.exit(f"{difference}\nREADME.md's tables are not what the code says; run: make docs")
        return 0
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
