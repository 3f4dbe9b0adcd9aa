"""Edits of the thresholds as a person makes them on the host: the editor puts a new file in the old one's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

THRESHOLDS = Path("exporter/config/thresholds.yml")


@contextmanager
def edited(root: Path, edit: Callable[[str], str]) -> Iterator[None]:
    """``thresholds.yml`` of the checkout at ``root`` with ``edit`` applied, and afterwards as it was."""
    file = root / THRESHOLDS
    before = file.read_text(encoding="utf-8")
    _replace(file, edit(before))
    try:
        yield
    finally:
        _replace(file, before)


def with_slice(slice_: str, signal: str, *, warning: float) -> Callable[[str], str]:
    """An edit that gives one slice of the demo's model a warning threshold of its own."""

    def edit(text: str) -> str:
        document = yaml.safe_load(text)
        model = document["models"]["digits-demo"]
        model.setdefault("slices", {}).setdefault(slice_, {})[signal] = {"warning": warning}
        return yaml.safe_dump(document)

    return edit


def _replace(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.rename(file)
