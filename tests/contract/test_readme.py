"""The README against everything else: its examples run, in order, and what it names exists.

A block of shell or Python runs unless a comment `not run: why` stands before it; a block of text after it is what it
prints, where `...` stands for anything. A block of text by itself says where it comes from. All of them share one
directory and one exporter, as for a reader who goes through the page from top to bottom.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from markdown_it import MarkdownIt
from PIL import Image

from exporter_process import ROOT, Exporter, running_exporter, show_damage
from programs import PATIENCE_S
from visiondrift import __version__
from visiondrift.api.intake_routes import RESPONSES
from visiondrift.cli import app
from visiondrift.config import config_keys, load_config
from visiondrift.prediction import REASONS
from visiondrift.publish.metrics import catalogue
from visiondrift.signals import VERDICTS

README = ROOT / "README.md"
DOCUMENTS = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "docs" / "runbook.md",
    ROOT / "alertmanager" / "secrets" / "README.md",
    ROOT / "exporter" / "models" / "digits-clip" / "README.md",
    ROOT / "tests" / "stack" / "engine" / "README.md",
)
LOCALHOST = "http://localhost:9109"
DAMAGED = "right"


# ---- the page, taken apart ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what the comment before it says, its text, and the output that follows it."""

    line: int
    kind: str
    mark: str
    text: str
    expected: str | None = None


def blocks() -> list[Block]:
    found: list[Block] = []
    before = None
    for token in MarkdownIt("commonmark").enable("table").parse(README.read_text(encoding="utf-8")):
        if token.type == "fence":
            line = token.map[0] + 1 if token.map else 0
            mark = before.content.strip() if before is not None and before.type == "html_block" else ""
            mark = mark.removeprefix("<!--").removesuffix("-->").strip()
            is_output = token.info == "text" and not mark and before is not None and before.type == "fence"
            if is_output:
                last = found.pop()
                found.append(Block(last.line, last.kind, last.mark, last.text, token.content))
            else:
                found.append(Block(line, token.info, mark, token.content))
        before = token
    return found


def runnable() -> list[Block]:
    return [block for block in blocks() if block.kind in {"sh", "python"} and not block.mark.startswith("not run: ")]


def spans(document: Path) -> list[str]:
    """The inline code of a document."""
    tokens = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    return [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]


def commands_in(document: Path) -> list[str]:
    """Lines that somebody may type: inline code, and shell blocks with their continued lines joined."""
    text = document.read_text(encoding="utf-8")
    shell = "".join(re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE))
    return [*spans(document), *shell.replace("\\\n", " ").splitlines()]


def test_every_block_says_what_it_is():
    kinds = {block.line: (block.kind, block.mark.partition(": ")[0]) for block in blocks()}
    diagrams = {block.line for block in blocks() if block.kind == "text" and "─▶" in block.text}
    accepted = {
        ("sh", ""),
        ("sh", "not run"),
        ("python", ""),
        ("yaml", "monitoring.yml"),
        ("yaml", "thresholds.yml"),
        ("text", "from"),
        ("text", "shown"),
    }
    assert {line: kind for line, kind in kinds.items() if kind not in accepted and line not in diagrams} == {}


# ---- the examples run ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as a reader has it: what examples change is copied, the rest is linked."""
    directory = tmp_path_factory.mktemp("checkout")
    for changed in ("exporter/config", "reference_data"):
        subprocess.run(["cp", "-r", "--parents", changed, directory], cwd=ROOT, check=True)
    for linked in ("exporter/models", "docs"):
        (directory / linked).symlink_to(ROOT / linked)
    for empty in ("exporter/secrets", "alertmanager/secrets", "images/left", "images/right", ".venv/bin"):
        (directory / empty).mkdir(parents=True)
    cli = directory / ".venv" / "bin" / "visiondrift"
    cli.write_text(f'#!/bin/sh\nexec {sys.executable} -m visiondrift "$@"\n')
    cli.chmod(0o755)
    rng = np.random.default_rng(0)
    for file in (
        "frame.jpg",
        *(f"images/{camera}/{number}.png" for camera in ("left", "right") for number in range(6)),
    ):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(directory / file)
    return directory


@pytest.fixture(scope="module")
def exporter(desk: Path) -> Iterator[Exporter]:
    with running_exporter(desk, config=desk / "exporter" / "config") as running:
        show_damage(running, DAMAGED)
        yield running


def run(block: Block, desk: Path, url: str) -> str:
    text = block.text.replace(LOCALHOST, url)
    command = [sys.executable, "-c", text] if block.kind == "python" else ["bash", "-euo", "pipefail", "-c", text]
    environment = os.environ | {"DO_NOT_TRACK": "1", "COLUMNS": "120"}
    done = subprocess.run(
        command, cwd=desk, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pattern(expected: str) -> str:
    """A regular expression for a block of output: `...` stands for anything, by itself for any number of lines."""
    lines = [
        r"(?:.*\n)*" if line == "..." else r".*".join(map(re.escape, line.rstrip().split("..."))) + r"\s*?\n"
        for line in expected.splitlines()
    ]
    return "".join(lines)


def matches(block: Block, printed: str) -> bool:
    return block.expected is None or re.fullmatch(pattern(block.expected), printed.rstrip() + "\n") is not None


@pytest.mark.slow
@pytest.mark.parametrize("block", runnable(), ids=lambda block: f"line-{block.line}")
def test_an_example_runs_and_prints_what_the_page_says(block: Block, desk: Path, exporter: Exporter):
    printed = run(block, desk, exporter.url)
    if "sleep " in block.text and not matches(block, printed):
        printed = run(block, desk, exporter.url)  # a busy machine may take longer than a reader's
    assert matches(block, printed), printed


@pytest.mark.parametrize("kind", ["monitoring.yml", "thresholds.yml"])
def test_the_examples_of_configuration_are_valid(kind: str, tmp_path: Path):
    examples = [block for block in blocks() if block.mark == kind]
    shipped = (ROOT / "exporter" / "config" / "monitoring.yml").read_text(encoding="utf-8")
    assert examples
    for block in examples:
        (tmp_path / "monitoring.yml").write_text(shipped)
        (tmp_path / "thresholds.yml").write_text("{}")
        (tmp_path / kind).write_text(block.text)
        assert load_config(tmp_path).models


def test_the_token_of_the_page_is_the_one_that_is_asked_for(desk: Path, tmp_path: Path):
    config = desk / "exporter" / "config" / "monitoring.yml"
    named = re.search(r"`(token_file: [^`]+)`", README.read_text(encoding="utf-8"))
    assert named
    (desk / "exporter" / "secrets" / "token").write_text("secret\n")
    other = desk / "exporter" / "with-token"
    other.mkdir()
    text = config.read_text(encoding="utf-8").replace("server:\n", f"server:\n  {named[1]}\n")
    (other / "monitoring.yml").write_text(text)
    (other / "thresholds.yml").write_text("{}")
    assert load_config(other).read_token() == "secret"


def test_the_python_example_is_short():
    (block,) = (block for block in blocks() if block.kind == "python")
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 15


def test_quoted_text_is_in_the_file_that_it_is_quoted_from():
    quotes = [block for block in blocks() if block.mark.startswith("from: ")]
    assert quotes
    for block in quotes:
        source = (ROOT / block.mark.removeprefix("from: ")).read_text(encoding="utf-8").splitlines()
        assert [line for line in block.text.splitlines() if line not in source] == []


def test_every_address_of_the_exporter_on_the_page_answers(exporter: Exporter):
    paths = set(re.findall(rf"{LOCALHOST}(/[a-z/]*)\)", README.read_text(encoding="utf-8")))
    assert paths
    assert {path: exporter.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


# ---- what is named exists -----------------------------------------------------------------------------------------


def test_the_tables_are_what_the_code_says():
    command = [sys.executable, "docs/build.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_configuration_key_is_explained_and_every_explained_key_exists():
    known = {key.name for key in config_keys()}
    named = set(spans(README))
    sections = {name.partition(".")[0].partition("[")[0] for name in known if "." in name or "[" in name}
    looks = re.compile(rf"(?:{'|'.join(sections)})(?:\[\])?(?:\.[\w<>=]+)+")
    files = {"log/schema.py", "prediction.py"}
    assert known - named == set()
    assert {name for name in named - files if looks.fullmatch(name) and not name.endswith(".py")} - known == set()


def test_every_metric_is_explained_and_every_explained_metric_exists():
    signals = {name for name in catalogue() if name.endswith("_threshold") or f"{name}_threshold" in catalogue()}
    named = {word for span in spans(README) for word in re.findall(r"\bvisiondrift_\w+", span)}
    assert catalogue().keys() - signals - named == set()
    assert named - catalogue().keys() == {"visiondrift_SIGNAL", "visiondrift_SIGNAL_threshold"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_and_variable_named_exists(document: Path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    known = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE)) | set(re.findall(r"\$\(([A-Z]+)\)", makefile))
    known |= set(re.findall(r"\$\{([A-Z_]+):-", (ROOT / "exporter" / "install.sh").read_text(encoding="utf-8")))
    lines = [line for line in commands_in(document) if re.match(r"(?:[A-Z_]+=\S+ )?make\b", line)]
    for line in lines:
        words = re.sub(r'"[^"]*"', '""', line).split()
        variables = {word.partition("=")[0] for word in words if "=" in word}
        named = {word for word in words if "=" not in word} - {"make"}
        assert variables - known == set(), line
        assert named - targets == set(), line
    assert lines or document != README


@cache
def cli() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_named_exists(document: Path):
    lines = [line for line in commands_in(document) if re.search(r"\bvisiondrift [a-z]", line)]
    for line in lines:
        words = line.partition("visiondrift ")[2].split()
        command = cli()
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given - options == set(), line
    assert lines or document != README


def test_the_options_that_make_demo_passes_on_exist():
    options = {option for parameter in cli().commands["demo"].params for option in parameter.opts}
    given = re.findall(r'make demo ARGS="?(--[a-z]+)', README.read_text(encoding="utf-8"))
    assert given
    assert set(given) - options == set()


def is_ignored(name: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_named_exists(document: Path):
    words = {word for span in spans(document) for word in span.split() if re.fullmatch(r"\.?[\w.-]+(/[\w.-]*)*", word)}
    folders = {entry.name for entry in ROOT.iterdir() if entry.is_dir()}
    endings = (".py", ".yml", ".md", ".sh", ".json", ".tmpl", ".parquet", ".env")
    named = {word for word in words if word.endswith(endings) or ("/" in word and word.partition("/")[0] in folders)}
    named |= {word for word in words if word.endswith("/")}
    made = {"window.parquet"}  # by the page's own examples
    near = [document.parent, ROOT, *(ROOT / room for room in ("exporter/visiondrift", "exporter/config", "prometheus"))]
    near += [ROOT / "exporter", ROOT / "alertmanager", ROOT / "grafana", ROOT / "tests", ROOT / "reference_data"]
    lacking = {name for name in named - made if not any((place / name).exists() for place in near)}
    ignored = {name for name in lacking if is_ignored(name)}
    known = {"reference.parquet", "manifest.json", "open_clip_model.safetensors"}
    assert lacking - ignored - known == set()


def test_the_table_of_reasons_has_every_reason():
    table = README.read_text(encoding="utf-8").partition("| reason | what was wrong with the event |")[2]
    reasons = re.findall(r"^\| `(\w+)` \| [^|]*\|$", table.partition("\n\n")[0], re.MULTILINE)
    assert sorted(set(reasons) & set(REASONS)) == sorted(REASONS)
    assert [reason for reason in reasons if reason not in REASONS] == []


def test_troubleshooting_explains_every_status_of_the_write_endpoints():
    rows = re.findall(r"^\| (\d{3}) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(row) for row in rows} == set(RESPONSES)


def test_the_glossary_knows_every_verdict():
    assert set(VERDICTS) <= set(spans(README))


def test_the_changelog_has_this_version():
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ---- links --------------------------------------------------------------------------------------------------------


def slugs(document: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_local_link_leads_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), target
        assert not anchor or anchor in slugs(path), target


def test_the_ports_on_the_page_are_those_of_compose():
    ports = set(re.findall(r"localhost:(\d+)", README.read_text(encoding="utf-8")))
    set_in = dict(re.findall(r"^([A-Z]+_PORT)=(\d+)$", (ROOT / ".env").read_text(encoding="utf-8"), re.MULTILINE))
    assert ports == set(set_in.values())


def tracked() -> Iterator[tuple[str, str]]:
    """Every tracked text file with its content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            yield name, content.decode("utf-8", errors="replace")


def test_sections_of_this_page_that_other_files_name_exist():
    headings = set(re.findall(r"^#+ (.+)$", README.read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        section
        for name, text in tracked()
        if name != "README.md"
        for section in re.findall(r'README\.md, ["“](.+?)["”]', text)
    }
    assert {section for section in named if "(.+" not in section} - headings == set()


def test_no_file_names_a_package_registry_or_a_path_of_one_machine():
    hosts = (
        "py" + "pi.org",
        "python" + "hosted.org",
        "deb.deb" + "ian.org",
        "npm" + "js.org",
        "download.py" + "torch.org",
    )
    paths = ("/wor" + "k/", "/tmp/br" + "ief", "/opt/wh" + "eels", "/fa" + "rm/")
    found = [(name, word) for name, text in tracked() for word in (*hosts, *paths) if word in text]
    assert found == []


def test_the_picture_is_small_and_of_a_critical_camera():
    file = ROOT / "docs" / "landing.png"
    assert file.stat().st_size < 200_000
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 160) & (pixels[..., 1] < 70) & (pixels[..., 2] < 70)
    assert red.sum() > 100
