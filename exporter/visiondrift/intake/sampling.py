"""Decides which events of a busy model are kept: a fair share by chance, and by rule those that are rare or doubtful.

Chance is a hash of the id, so that sending an event again meets the same answer. What a rule keeps beside the share is
marked with the rule: no drift window reads it, as it would make the rare look frequent.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from visiondrift.config import Config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.errors import BadInput, ReferenceUnusable
from visiondrift.prediction import Kept, PredictionEvent, Rejection, all_reasons, bias_of, reasons_of
from visiondrift.reference import MANIFEST_FILE, load_direction

_log = logging.getLogger(__name__)

Direction = Callable[[WatchedModel, str], NDArray[np.float32] | None]
"""A model's and an embedder's name to the mean direction (d,) of the model's reference, None where there is none."""


def in_share(model: str, event_id: str, rate: float) -> bool:
    """Whether an event belongs to the share ``rate`` that is kept by chance."""
    drawn = int.from_bytes(blake2b(f"{model}\0{event_id}".encode(), digest_size=8).digest())
    return drawn < rate * 2**64


def can_be_told_early(event: PredictionEvent, model: WatchedModel) -> bool:
    """Whether ``sampled`` has its answer before the image is embedded, which is the dearest step of all."""
    policy = model.sampling
    if policy is None or policy.always.unlike is None or bias_of(event.kept):
        return True
    return in_share(model.name, event.id, policy.rate) or bool(_by_rule(event, model))


def sampled(event: PredictionEvent, model: WatchedModel, direction: Direction) -> PredictionEvent | None:
    """The event with its reasons where it is kept, None where it is sampled out.

    An event that its client kept for what it shows stays: it is in no window already.
    """
    if model.sampling is None or bias_of(event.kept):
        return event
    reasons = _by_rule(event, model)
    if _is_outlier(event, model, direction):
        reasons.append("outlier")
    if in_share(model.name, event.id, model.sampling.rate):
        reasons += reasons_of(event.kept) or ("uniform",)
    elif reasons:
        # What the clock chose is no fair sample any more, once only the rare of it are left.
        reasons += [reason for reason in reasons_of(event.kept) if bias_of(reason)]
    return replace(event, kept=all_reasons(reasons)) if reasons else None


def counted(rejection: Rejection, rate: float) -> Rejection:
    """The rejection, counted in the log only where its event would have been in the share: the ratio stays true."""
    name = str(rejection.index) if rejection.id is None else rejection.id
    return replace(rejection, in_sample=in_share(rejection.model, name, rate))


def _by_rule(event: PredictionEvent, model: WatchedModel) -> list[Kept]:
    """The rules that keep an event whatever its image shows."""
    policy = model.sampling
    found: list[Kept] = []
    if policy is None:
        return found
    is_sure = event.confidences is None or float(np.nanmax(event.confidences)) >= model.low_confidence_below
    if policy.always.low_confidence and not is_sure:
        found.append("low_confidence")
    if event.predicted_class in policy.always.rare_classes:
        found.append("rare_class")
    return found


def _is_outlier(event: PredictionEvent, model: WatchedModel, direction: Direction) -> bool:
    unlike = model.sampling.always.unlike if model.sampling else None
    if unlike is None or event.embedding is None:
        return False
    mean = direction(model, event.embedder)
    return mean is not None and mean.shape == event.embedding.shape and float(mean @ event.embedding) <= unlike


class ReferenceDirections:
    """A ``Direction`` read from the references on disk, anew where a manifest is another. For several threads."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._lock = Lock()
        self._kept: dict[str, tuple[object, NDArray[np.float32] | None]] = {}

    def __call__(self, model: WatchedModel, embedder: str) -> NDArray[np.float32] | None:
        """The mean direction; None, once logged, where the reference cannot be used."""
        config = self._config()
        directory = config.path(config.monitoring.reference_data) / model.reference
        stamp = (directory, embedder, _written(directory / MANIFEST_FILE))
        with self._lock:
            kept = self._kept.get(model.name)
            if kept is None or kept[0] != stamp:
                kept = self._kept[model.name] = (stamp, _read(directory, embedder))
            return kept[1]


def _read(directory: Path, embedder: str) -> NDArray[np.float32] | None:
    try:
        return load_direction(directory, embedder=embedder, dimension=None)
    except (ReferenceUnusable, BadInput) as error:
        _log.warning("sampling.always.unlike keeps nothing: %s", error)
        return None


def _written(manifest: Path) -> int | None:
    try:
        return manifest.stat().st_mtime_ns
    except OSError:
        return None
