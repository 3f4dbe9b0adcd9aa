"""docs/benchmarks.md and the script that writes its tables: each benchmark has one place there, and is a script."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "tests" / "bench"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_tables", BENCH / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks for its own module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_benchmark_has_one_place_on_the_page(tables: ModuleType) -> None:
    places = re.findall(r"<!-- table: (\w+) -->", tables.PAGE.read_text(encoding="utf-8"))
    assert sorted(places) == sorted(tables.PARTS)


def test_every_script_is_run(tables: ModuleType) -> None:
    assert {part.script for part in tables.PARTS.values()} == {path.name for path in BENCH.glob("bench_*.py")}


def test_a_table_replaces_what_was_between_its_marks_alone(tables: ModuleType) -> None:
    page = "a\n<!-- table: one -->\nold\n<!-- end of table -->\nb\n<!-- table: two -->\nkept\n<!-- end of table -->\n"
    assert tables.place(page, "one", "new \\1\n") == page.replace("old", "new \\1")


def test_a_page_without_the_place_is_refused(tables: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no <!-- table: one -->"):
        tables.place("", "one", "new\n")
