"""Says what frames resemble: the words of prompts, and the reference, both as cosines in CLIP's space."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visiondrift.collect.frames import Frame
from visiondrift.collect.keep import Likeness
from visiondrift.intake.embedder import Embedder


class Looker:
    """Embeds frames and compares them. ``prompts`` and ``references`` (d,) are by the number of their source.

    Raises EmbedderUnavailable where there is no CLIP, or one that reads no words and there are prompts.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        prompts: Sequence[tuple[str, ...]],
        references: Sequence[NDArray[np.float32] | None],
    ) -> None:
        self._embedder = embedder
        self._words = [embedder.embed_text(own) for own in prompts]
        self._references = references

    def likenesses(self, frames: Sequence[tuple[int, Frame]]) -> list[Likeness]:
        """Of each frame, given with the number of its source. Raises EmbedderUnavailable."""
        embeddings = self._embedder.embed(frame.image for _, frame in frames)
        return [self._likeness(number, row) for (number, _), row in zip(frames, embeddings, strict=True)]

    def _likeness(self, number: int, embedding: NDArray[np.float32]) -> Likeness:
        reference = self._references[number]
        return Likeness(
            embedding,
            prompts=tuple(float(cosine) for cosine in self._words[number] @ embedding),
            reference=None if reference is None else float(reference @ embedding),
        )
