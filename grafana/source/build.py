"""Write the dashboards: ``python grafana/source/build.py``, or ``--check`` that the committed files are up to date.

The JSON is Grafana's classic dashboard model, which file provisioning takes, and byte-stable: the same source gives
the same bytes, so the committed files can be compared with it.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from cameras import cameras
from model import model
from overview import overview

DIRECTORY = Path(__file__).resolve().parents[1] / "dashboards"


def render(board: build.Dashboard) -> str:
    """Encode a dashboard as text, with panel ids in reading order."""
    built = board.build()
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    content = json.loads(json.dumps(built, cls=JSONEncoder))
    _correct(content)
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _correct(content: dict[str, Any]) -> None:
    """Undo what the SDK fills in by itself and the Grafana that we ship does not want."""
    # Grafana gives the number; a committed one would collide with another dashboard's.
    content["id"] = None
    # A default that hides links and annotation switches in a menu: they belong in sight, at the top of the page.
    for entry in (*content["links"], *content["annotations"]["list"]):
        entry.pop("placement", None)
    # The defaults of an interval variable, on every variable; there is none of that kind.
    for variable in content["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min"):
            variable.pop(name, None)
    # A table's footer is a matter of its fields since Grafana 12.
    for panel in content["panels"]:
        panel.get("options", {}).pop("footer", None)


def documents() -> dict[str, str]:
    """Every dashboard's file name and content."""
    return {"overview.json": render(overview()), "model.json": render(model()), "cameras.json": render(cameras())}


def stale(directory: Path) -> list[str]:
    """Differences between the files in ``directory`` and the source, as lines of a unified diff."""
    lines: list[str] = []
    for name, wanted in documents().items():
        path = directory / name
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            present.splitlines(), wanted.splitlines(), f"committed/{name}", f"generated/{name}", lineterm=""
        )
    return lines


def main(arguments: list[str]) -> int:
    """Run the command; 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing; exit 1 if stale")
    parser.add_argument("--output", type=Path, default=DIRECTORY, help="directory of the dashboards (%(default)s)")
    options = parser.parse_args(arguments)
    if options.check:
        differences = stale(options.output)
        if differences:
            print("\n".join(differences))
            print(f"{options.output} is stale: run python grafana/source/build.py and commit", file=sys.stderr)
        return 1 if differences else 0
    options.output.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (options.output / name).write_text(content, encoding="utf-8", newline="\n")
        print(f"wrote {options.output / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
