"""Runs every benchmark and writes what they print into docs/benchmarks.md. `make bench`; nothing there is typed.

    python tests/bench/tables.py                     all of it, for two to three hours of one core
    python tests/bench/tables.py --quick             minutes; into build/bench/benchmarks.md, the page stays as it is
    python tests/bench/tables.py --only false real   some of them; the others stay as they are
    python tests/bench/tables.py --only quarter      another half hour or more for the rarest of pages

The page's words are written by hand; `<!-- table: NAME -->` says where the output of a benchmark goes. A benchmark is
a process of its own, limited to one thread, and its part of the page is written as soon as it ends.
"""

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
QUICK_PAGE = ROOT / "build" / "bench" / "benchmarks.md"


@dataclass(frozen=True)
class Part:
    """One benchmark: its script, whether that has a ``--quick`` way, and whether it prints Markdown."""

    script: str
    arguments: tuple[str, ...] = ()
    quick: bool = True
    markdown: bool = True
    long: bool = False
    """Made only where it is named: half an hour of CPU or more for one more number."""


PARTS = {
    "columns": Part("bench_columns.py", markdown=False),
    "evaluation": Part("bench_evaluation.py", markdown=False),
    "ingest": Part("bench_ingest.py", quick=False, markdown=False),
    "detector": Part("bench_detector.py"),
    "calibrated": Part("bench_calibrated.py"),
    "false": Part("bench_false_alarms.py", ("--only", "false")),
    "pages": Part("bench_false_alarms.py", ("--only", "pages")),
    "quarter": Part("bench_false_alarms.py", ("--only", "quarter", "--jobs", "2"), long=True),
    "days": Part("bench_days.py"),
    "slow": Part("bench_slow.py"),
    "small": Part("bench_false_alarms.py", ("--only", "small")),
    "power": Part("bench_power.py", ("--only", "power")),
    "delay": Part("bench_power.py", ("--only", "delay")),
    "cameras": Part("bench_cameras.py"),
    "real": Part("bench_real.py"),
    "accuracy": Part("bench_accuracy.py"),
    "health": Part("bench_health.py"),
    "explain": Part("bench_explain.py"),
    "spread": Part("bench_spread.py"),
    "hours": Part("bench_spread.py", ("--hours",)),
}

DEFAULT = [name for name, part in PARTS.items() if not part.long]


def run(part: Part, *, quick: bool) -> tuple[str, int]:
    """What the page is to say of ``part``, and its exit status; its output is shown as it comes."""
    arguments = [part.script, *part.arguments, *(["--quick"] if quick and part.quick else [])]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), datetime.now(UTC)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    lines = []
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HERE / arguments[0]), *arguments[1:]],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads | {"DO_NOT_TRACK": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = "\n".join(lines).strip()
    head = f"`tests/bench/{' '.join(arguments)}`, {begun:%Y-%m-%d}, {machine()}; {spent:.0f} CPU s"
    if process.returncode:
        head += f"; **exit status {process.returncode}**"
    # Its headings are below those of the page.
    shown = re.sub(r"^## ", "### ", said, flags=re.MULTILINE) if part.markdown else f"```text\n{said}\n```"
    return f"{head}\n\n{shown}\n", process.returncode


def machine() -> str:
    """Its cores, and the versions that matter."""
    return f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, numpy {version('numpy')}"


def place(page: str, name: str, text: str) -> str:
    """``page`` with ``text`` between the marks of ``name``. Raises SystemExit where there are none."""
    mark = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end of table -->)", re.DOTALL)
    if not mark.search(page):
        raise SystemExit(f"{PAGE}: there is no <!-- table: {name} --> with its <!-- end of table -->")
    return mark.sub(lambda found: f"{found[1]}{text}{found[2]}", page)


def main() -> int:
    """Run what was asked for; 1 where a benchmark says that a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=DEFAULT, metavar="NAME")
    given = parser.parse_args()
    target = QUICK_PAGE if given.quick else PAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    if given.quick:
        target.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    failed, begun = [], time.monotonic()
    for name in given.only:
        print(f"\n=== {name}", flush=True)
        text, status = run(PARTS[name], quick=given.quick)
        # Read anew: the words may have been edited while it ran.
        target.write_text(place(target.read_text(encoding="utf-8"), name, text), encoding="utf-8")
        failed += [name] if status else []
    print(f"\n{target}: {len(given.only)} tables in {time.monotonic() - begun:.0f} s; failed: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
