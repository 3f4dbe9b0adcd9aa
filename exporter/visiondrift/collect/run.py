"""The loop of collecting: frames come from all sources, are judged in turn, and what is kept goes to every sink."""

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from visiondrift.collect.frames import Frame, Tally
from visiondrift.collect.keep import Keeper, Likeness, Policy
from visiondrift.collect.likeness import Looker
from visiondrift.collect.model_server import ModelServer
from visiondrift.collect.reading import Readers, Taken
from visiondrift.collect.sinks import KeptFrame, Sink, digest_of_owner
from visiondrift.collect.sources import Source
from visiondrift.config.collect import ModelServerConfig
from visiondrift.prediction import Kept, Slices

_BATCH = 16
_PATIENCE = 0.2
_REMEMBERED = 20_000
"""Cosines of one source that the summary is made of."""


@dataclass(frozen=True)
class Job:
    """A source, what of it is kept, and whose events its frames become; ``model`` is "" where they become none.

    ``server`` is asked for the confidences of what is kept.
    """

    source: Source
    policy: Policy
    model: str = ""
    version: str = ""
    slices: Slices = ()
    server: ModelServerConfig | None = None

    @property
    def identity(self) -> str:
        """What tells its frames from those of any other: the source, and whose events they are."""
        return f"{self.source.name}\0{digest_of_owner(self.model, self.version, self.slices)}"


@dataclass(frozen=True, eq=False)
class Judged:
    """A frame that was looked at: what it resembles where that was asked, and why it is kept; empty where not."""

    job: Job
    frame: Frame
    likeness: Likeness | None
    reasons: tuple[Kept, ...]


@dataclass
class Progress:
    """One source so far: what it has given, what was kept and why (of that, how many its model server left without
    confidences), the times of its first and its last frame, and the ``cosines`` of its last frames: to the prompts,
    in their order, and last to the reference where there is one.
    """

    job: Job
    tally: Tally
    kept: int = 0
    unanswered: int = 0
    earliest: float = math.inf
    latest: float = -math.inf
    reasons: Counter[str] = field(default_factory=Counter)
    cosines: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Collector:
    """Runs ``jobs`` until all have ended, ``stop`` is set, ``max_frames`` were looked at, or no sink takes any more.

    ``looker`` embeds where a policy needs it, or all frames with ``look_at_all``; its sources are the jobs in order.
    ``judged`` is called for every frame, ``tell`` with sentences for a person, from several threads.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        sinks: Sequence[Sink],
        *,
        looker: Looker | None,
        servers: Sequence[ModelServer | None] = (),
        stop: threading.Event,
        tell: Callable[[str], None],
        judged: Callable[[Judged], None] = lambda _: None,
        look_at_all: bool = False,
        max_frames: int | None = None,
    ) -> None:
        self._jobs = tuple(jobs)
        self._sinks = tuple(sinks)
        self._looker = looker
        self._servers = tuple(servers) or (None,) * len(self._jobs)
        self._stop = stop
        self._judged = judged
        self._look_at_all = look_at_all
        self._left = max_frames
        self._readers = Readers([job.source for job in jobs], stop, tell=tell)
        self._keepers = [Keeper(job.policy, source=job.identity) for job in jobs]
        self.progress = tuple(
            Progress(job, tally) for job, tally in zip(self._jobs, self._readers.tallies, strict=True)
        )

    def run(self) -> None:
        """Collect. Raises EmbedderUnavailable where CLIP fails."""
        self._readers.start()
        try:
            while not (self._stop.is_set() or self._readers.ended or self._is_in_vain()):
                most = _BATCH if self._left is None else min(_BATCH, self._left)
                taken = self._readers.take(most, patience=_PATIENCE)
                self._look(taken)
                if self._left is not None:
                    self._left -= len(taken)
                    if self._left <= 0:
                        break
        finally:
            self._stop.set()
            for sink in self._sinks:
                sink.close()
            for server in filter(None, self._servers):
                server.close()

    def _is_in_vain(self) -> bool:
        return bool(self._sinks) and all(sink.problem for sink in self._sinks)

    def _look(self, taken: Sequence[Taken]) -> None:
        wanted = [
            number
            for number, one in enumerate(taken)
            if self._look_at_all or self._jobs[one.source].policy.needs_embedding
        ]
        found: dict[int, Likeness] = {}
        if wanted and self._looker is not None:
            frames = [(taken[number].source, taken[number].frame) for number in wanted]
            found = dict(zip(wanted, self._looker.likenesses(frames), strict=True))
        for number, one in enumerate(taken):
            self._judge(one, found.get(number))

    def _judge(self, taken: Taken, likeness: Likeness | None) -> None:
        job, progress = self._jobs[taken.source], self.progress[taken.source]
        progress.earliest = min(progress.earliest, taken.frame.time)
        progress.latest = max(progress.latest, taken.frame.time)
        reasons = self._keepers[taken.source].reasons(taken.frame.time, likeness, name=taken.frame.name)
        if likeness is not None:
            to_reference = () if likeness.reference is None else (likeness.reference,)
            progress.cosines.append((*likeness.prompts, *to_reference))
        self._judged(Judged(job, taken.frame, likeness, reasons))
        if reasons:
            progress.kept += 1
            progress.reasons.update(reasons)
            self._keep(taken, reasons, likeness)

    def _keep(self, taken: Taken, reasons: tuple[Kept, ...], likeness: Likeness | None) -> None:
        job, server = self._jobs[taken.source], self._servers[taken.source]
        kept = KeptFrame(
            source=job.source.name,
            frame=taken.frame,
            reasons=reasons,
            likeness=likeness,
            prompts=job.policy.prompts,
            model=job.model,
            version=job.version,
            slices=job.slices,
        )
        if server is not None:
            answer = server.ask(taken.frame.image, kept.encoded)
            if answer is not None:
                kept = replace(kept, confidences=answer.confidences, latency_ms=answer.latency_ms)
            self.progress[taken.source].unanswered = server.unanswered
        for sink in self._sinks:
            sink.put(kept)
