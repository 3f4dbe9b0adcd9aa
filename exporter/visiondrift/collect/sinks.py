"""Decides where kept frames go: a folder with a manifest, or a running exporter; and what is counted on the way."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from visiondrift.collect.folder import MANIFEST, collected
from visiondrift.collect.frames import Frame
from visiondrift.collect.keep import Likeness
from visiondrift.errors import BadInput
from visiondrift.prediction import Kept, Slices, all_reasons

_QUALITY = 92
_LONGEST_PLACE = 160
_SHORT = 8


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """A frame that is kept, why, and what belongs to it. ``model`` is "" where it belongs to none."""

    source: str
    frame: Frame
    reasons: tuple[Kept, ...]
    likeness: Likeness | None = None
    prompts: tuple[str, ...] = ()
    model: str = ""
    version: str = ""
    slices: Slices = ()
    confidences: Mapping[str, float] | None = None
    latency_ms: float | None = None

    @property
    def id(self) -> str:
        """The same whenever the same frame is collected for the same, so that collecting again doubles nothing."""
        place = f"{self.source}/{self.frame.name}" if self.frame.name else self.source
        if len(place) > _LONGEST_PLACE or not place.isprintable():
            place = f"{self.source}/{_digest(place)}"
        return "@".join((place, self.time, *filter(None, [self.owner])))

    @property
    def time(self) -> str:
        """When it was taken: RFC 3339 in UTC, to the microsecond."""
        return datetime.fromtimestamp(self.frame.time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    @property
    def owner(self) -> str:
        """A digest of the model, version and slices whose event it becomes; "" where it becomes none."""
        return digest_of_owner(self.model, self.version, self.slices)

    @property
    def kept(self) -> str:
        """All its reasons, as its event carries them."""
        return all_reasons(self.reasons)

    @cached_property
    def encoded(self) -> bytes:
        """The image file: as it was where it was one, else a JPEG."""
        if self.frame.encoded is not None:
            return self.frame.encoded
        buffer = BytesIO()
        self.frame.image.save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()


def digest_of_owner(model: str, version: str, slices: Slices) -> str:
    """Of what a frame becomes an event of, in 8 characters; "" where ``model`` is.

    The same picture may be sent for two models, or for two cameras whose recordings have one name and one time.
    """
    return _digest(json.dumps([model, version, sorted(slices)]))[:_SHORT] if model else ""


class Sink(Protocol):
    """Takes kept frames, from one thread. ``counts`` are for the summary; ``problem`` says why nothing can be taken."""

    name: str
    counts: Counter[str]
    problem: str

    def put(self, kept: KeptFrame) -> None:
        """Take a frame; it is counted, whatever becomes of it."""
        ...

    def close(self) -> None:
        """Finish what was taken, within bounds."""
        ...


@dataclass
class FolderSink:
    """Image files by source and day, and a line of JSON for each in ``manifest.jsonl``.

    The sub-folders are the sources, so that ``reference build --images FOLDER --slice camera`` reads them, and with
    them the times of the frames. Of a frame that is there already, what its lines do not say yet is completed by one
    more line: reasons, confidences, or all of it where a kill came before its first. At ``max_bytes`` it takes no more
    frames, as what left for the newest would be missing in a reference. Raises BadInput where it cannot be a folder,
    or has a manifest that is none.
    """

    directory: Path
    tell: Callable[[str], None]
    max_bytes: int
    name: str = "folder"
    counts: Counter[str] = field(default_factory=Counter)
    problem: str = ""
    _bytes: int = 0
    _reasons: dict[str, frozenset[Kept]] = field(default_factory=dict)
    _with_confidences: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / MANIFEST).open("ab+") as manifest:
                # What a kill left unfinished is to spoil no more than its own line.
                if manifest.tell():
                    manifest.seek(-1, os.SEEK_END)
                    if manifest.read() != b"\n":
                        manifest.write(b"\n")
            self._bytes = sum(path.lstat().st_size for path in self.directory.rglob("*"))
        except OSError as error:
            raise BadInput(f"{self.directory}: frames cannot be kept there ({error.strerror})") from error
        said = collected(self.directory)
        self._reasons.update(said.reasons)
        self._with_confidences.update(said.confidences)

    def put(self, kept: KeptFrame) -> None:
        """Write the image, then its line: a line always has its image."""
        try:
            file = self.directory / _place(kept)
            is_new = not file.exists()
            if not (is_new or self._adds(kept)):
                self.counts["duplicates"] += 1
                return
            if is_new and self._is_full(kept):
                self.counts["lost"] += 1
                return
            if is_new:
                self._write_image(kept, file)
            self._write_line(kept)
            self.counts["stored" if is_new else "completed"] += 1
        except OSError as error:
            self.counts["lost"] += 1
            self.tell(f"{self.directory}: a frame of {kept.source} could not be kept ({error.strerror or error})")

    def close(self) -> None:
        """Nothing is left to do."""

    def _adds(self, kept: KeptFrame) -> bool:
        """Whether a frame has a reason or confidences that no line of its file has."""
        name = _place(kept).as_posix()
        is_first_answer = kept.confidences is not None and name not in self._with_confidences
        return is_first_answer or not self._reasons.get(name, frozenset()).issuperset(kept.reasons)

    def _write_image(self, kept: KeptFrame, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.new")
        unfinished.write_bytes(kept.encoded)
        os.utime(unfinished, (kept.frame.time, kept.frame.time))
        unfinished.replace(file)
        self._bytes += len(kept.encoded)

    def _write_line(self, kept: KeptFrame) -> None:
        with (self.directory / MANIFEST).open("a", encoding="utf-8") as manifest:
            self._bytes += manifest.write(json.dumps(_line(kept), ensure_ascii=False) + "\n")
        name = _place(kept).as_posix()
        self._reasons[name] = self._reasons.get(name, frozenset()).union(kept.reasons)
        if kept.confidences is not None:
            self._with_confidences.add(name)

    def _is_full(self, kept: KeptFrame) -> bool:
        if not self.problem and self._bytes + len(kept.encoded) > self.max_bytes:
            self.problem = (
                f"{self.directory} is full: it holds {self._bytes / 2**20:,.1f} MiB, and collect.folder_max_size is "
                f"{self.max_bytes / 2**20:,.1f} MiB; move frames away, or raise it"
            )
            self.tell(self.problem)
        return bool(self.problem)


def _place(kept: KeptFrame) -> Path:
    """Where a frame lies below the folder: source, day, time to the microsecond, which file it was, and whose it is."""
    day, _, clock = kept.time.partition("T")
    of_file = _digest(kept.frame.name)[:_SHORT] if kept.frame.name else ""
    is_as_it_was = kept.frame.name and kept.frame.encoded is not None
    suffix = Path(kept.frame.name).suffix.lower() if is_as_it_was else ".jpg"
    name = "-".join(filter(None, [clock.rstrip("Z").replace(":", ""), of_file, kept.owner]))
    return Path(kept.source, day, name + suffix)


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).hexdigest()


def _line(kept: KeptFrame) -> dict[str, Any]:
    line: dict[str, Any] = {
        "file": _place(kept).as_posix(),
        "id": kept.id,
        "time": kept.time,
        "source": kept.source,
        "kept": list(kept.reasons),
    }
    if kept.frame.name:
        line["name"] = kept.frame.name.encode(errors="replace").decode()
    if kept.model:
        line |= {"model": kept.model, "version": kept.version, "slices": dict(kept.slices)}
    if kept.likeness is not None:
        found = dict(zip(kept.prompts, kept.likeness.prompts, strict=True))
        line["similarity"] = {"prompts": {prompt: round(cosine, 4) for prompt, cosine in found.items()}}
        if kept.likeness.reference is not None:
            line["similarity"]["reference"] = round(kept.likeness.reference, 4)
    if kept.confidences is not None:
        line["confidences"] = dict(kept.confidences)
    return line
