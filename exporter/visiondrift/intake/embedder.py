"""Decides how images and words become CLIP embeddings: one open_clip model, loaded on first use, run by one thread.

torch and open_clip take seconds and hundreds of megabytes to import, so nothing here imports them before an image is
embedded; a model's name and width are read from files.
"""

import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiondrift.config import Config
from visiondrift.errors import EmbedderUnavailable

LOCAL = "local-dir:"
HUB = "hf-hub:"
_CONFIG = "open_clip_config.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.pth")
_MERGES = "bpe_vocab.txt.gz"
"""The merge table of a model whose vocabulary is not CLIP's own, in its directory."""

_TRY_AGAIN_AFTER = 30.0
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Loaded:
    """The model on its device; ``preprocess`` turns an RGB image into a (3, h, w) float tensor."""

    run: Callable[[list[Any]], NDArray[np.float32]]
    preprocess: Callable[[Image.Image], Any]
    read: Callable[[list[str]], NDArray[np.float32]]


class Embedder:
    """Images and words to unit-length CLIP embeddings of one space. Safe to call from several threads.

    ``model`` is an open_clip name, ``hf-hub:ORG/REPO``, or ``local-dir:PATH``; ``pretrained`` is a tag or the path of
    a checkpoint file, and is None for the last two. Relative paths are the caller's to resolve.
    """

    def __init__(
        self, model: str, *, pretrained: str | None = None, device: str = "auto", batch_size: int = 32, threads: int = 1
    ) -> None:
        self._model = model
        self._pretrained = pretrained
        self._device = device
        self._batch_size = batch_size
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._failure: tuple[float, str] | None = None
        # One thread runs the model: torch keeps a pool of threads for every thread that calls it.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clip")

    @cached_property
    def identity(self) -> str:
        """What a reference must have been made with to be comparable: the same string for the same weights.

        A tag names its weights; a file or directory is named by its base name and the hash of what it holds, so that
        it is the same wherever it lies. Raises EmbedderUnavailable where it does not exist.
        """
        if self._model.startswith(LOCAL):
            directory = self._directory()
            return f"{directory.name}@{_digest([directory / _CONFIG, *_weights(directory)])}"
        if self._model.startswith(HUB):
            return self._model.removeprefix(HUB)
        checkpoint = Path(self._pretrained or "")
        if checkpoint.is_file():
            return f"{self._model}/{checkpoint.name}@{_digest([checkpoint])}"
        return f"{self._model}/{self._pretrained}"

    @cached_property
    def dimension(self) -> int:
        """Length of an embedding. Raises EmbedderUnavailable."""
        if self._model.startswith(LOCAL):
            return _embed_dim(self._directory() / _CONFIG)
        if not self._model.startswith(HUB):
            return _embed_dim(self._built_in())
        return int(self.embed([Image.new("RGB", (64, 64))]).shape[1])

    def load(self) -> None:
        """Load the model now rather than at the first image. Raises EmbedderUnavailable."""
        self._ready()

    def embed(self, images: Iterable[Image.Image]) -> NDArray[np.float32]:
        """(n, d) float32 of unit rows, in order. ``images`` are RGB; an iterator is drawn one image at a time.

        Raises EmbedderUnavailable where the model cannot be loaded or fails.
        """
        loaded = self._ready()
        parts = [
            self._on_worker(loaded.run, batch) for batch in _batches(map(loaded.preprocess, images), self._batch_size)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), dtype=np.float32)

    def embed_text(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """(k, d) float32 of unit rows, in order, in the space of ``embed``: a cosine with an image says how it fits.

        Words beyond the model's context (77 tokens in most) are not read. Raises EmbedderUnavailable where the model
        cannot be loaded, reads no words, or fails.
        """
        read = self._ready().read
        parts = [self._on_worker(read, batch) for batch in _batches(iter(prompts), self._batch_size)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), dtype=np.float32)

    def close(self) -> None:
        """Stop the worker thread. Calling it twice is harmless."""
        self._worker.shutdown()

    def _ready(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Loaded:
        # A failed download is not tried again for every request: each try may hang until its connection times out.
        if self._failure and time.monotonic() - self._failure[0] < _TRY_AGAIN_AFTER:
            raise EmbedderUnavailable(self._failure[1])
        try:
            identity = self.identity
            loaded = self._on_worker(self._open)
        except EmbedderUnavailable as error:
            self._failure = (time.monotonic(), str(error))
            raise
        self._failure = None
        _log.info("embedder %s is loaded", identity)
        return loaded

    def _on_worker(self, work: Callable[..., _T], *arguments: Any) -> _T:
        try:
            future = self._worker.submit(work, *arguments)
        except RuntimeError as error:
            raise EmbedderUnavailable("the embedder is closed: the service is stopping") from error
        return future.result()

    def _open(self) -> _Loaded:
        """Build the model by open_clip's own factory; the same call for every kind of name."""
        self._check_names()
        import open_clip  # noqa: PLC0415 - seconds and hundreds of megabytes, so on first use only
        import torch  # noqa: PLC0415

        torch.set_num_threads(self._threads)
        # A picture has one embedding, whatever it is batched with and wherever its reference was embedded: TF32 rounds
        # to three digits, and otherwise from batch to batch.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        device = self._device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise EmbedderUnavailable(
                f"embedder.device cuda: torch {torch.__version__} finds no GPU here; accepted are auto, cpu, and cuda "
                "where there is one, its driver is installed, and torch is built for it (TORCH_BACKEND)"
            )
        try:
            # require_pretrained: without it open_clip warns, and embeds with random weights.
            model, _, preprocess = open_clip.create_model_and_transforms(
                self._model, pretrained=self._pretrained, device=device, require_pretrained=True
            )
        except Exception as error:  # hub, disk, network, pickle and torch each have their own
            raise EmbedderUnavailable(self._advice(error)) from error
        model.eval()

        def run(batch: list[Any]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return self._checked(
                    lambda: model.encode_image(torch.stack(batch).to(device), normalize=True), f"{len(batch)} images"
                )

        @cache
        def tokenizer() -> Any:  # a file of its own, which may have to be fetched: nobody waits for it who has no words
            return self._tokenizer(model)

        def read(prompts: list[str]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return self._checked(
                    lambda: model.encode_text(tokenizer()(prompts).to(device), normalize=True), f"{len(prompts)} texts"
                )

        return _Loaded(run, preprocess, read)

    def _checked(self, encode: Callable[[], Any], what: str) -> NDArray[np.float32]:
        """What the model answers, as finite numbers. Raises EmbedderUnavailable."""
        try:
            found = np.asarray(encode().float().cpu().numpy(), dtype=np.float32)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            message = f"embedder {self.identity} failed on {what}: {error}"
            raise EmbedderUnavailable(message) from error
        if not np.isfinite(found).all():
            message = f"embedder {self.identity} answered with numbers that are not finite"
            raise EmbedderUnavailable(message)
        return found

    def _tokenizer(self, model: Any) -> Callable[[list[str]], Any]:
        """open_clip's tokenizer of the model. Raises EmbedderUnavailable where it has none that fits."""
        if not hasattr(model, "encode_text"):
            raise EmbedderUnavailable(f"embedder {self.identity} reads no words; accepted is a CLIP with a text tower")
        import open_clip  # noqa: PLC0415 - loaded already

        merges = Path(self._model.removeprefix(LOCAL)) / _MERGES
        # open_clip would look for a table that the configuration names in the working directory.
        own = {"bpe_path": str(merges)} if self._model.startswith(LOCAL) and merges.is_file() else {}
        try:
            found = open_clip.get_tokenizer(self._model, **own)
        except Exception as error:  # hub, disk, network and the tokenizers each have their own
            message = f"the tokenizer of embedder {self.identity} cannot be loaded, so it reads no words: {error}"
            raise EmbedderUnavailable(message) from error
        read: Callable[[list[str]], Any] = found
        if read([""]).max() >= (getattr(model, "vocab_size", 0) or math.inf):
            raise EmbedderUnavailable(
                f"the tokenizer of embedder {self.identity} has a larger vocabulary than its text tower, so it reads "
                f"no words; accepted is its merge table as {_MERGES} beside {_CONFIG}"
            )
        return read

    def _check_names(self) -> None:
        if self._model.startswith(LOCAL):
            _weights(self._directory())
            return
        if self._model.startswith(HUB):
            return
        self._built_in()
        if not self._pretrained:
            raise EmbedderUnavailable(
                f"embedder.model {self._model} needs embedder.pretrained: a tag that open_clip knows "
                "(such as laion2b_s34b_b79k for ViT-B-32), or the path of a checkpoint file"
            )

    def _directory(self) -> Path:
        directory = Path(self._model.removeprefix(LOCAL))
        if not (directory / _CONFIG).is_file():
            raise EmbedderUnavailable(
                f"embedder.model {self._model}: there is no {_CONFIG} in {directory}; "
                f"accepted is a directory with {_CONFIG} and a checkpoint such as open_clip_model.safetensors"
            )
        return directory

    def _built_in(self) -> Path:
        """The file that describes a model by open_clip's own name."""
        known = {path.stem: path for path in _model_configs().glob("*.json")}
        name = self._model.replace("/", "-")
        if name in known:
            return known[name]
        near = get_close_matches(name, known, n=5, cutoff=0.5)
        raise EmbedderUnavailable(
            f"embedder.model {self._model}: open_clip has no model of that name"
            + (f"; near it are {', '.join(near)}" if near else "")
            + f"; accepted are its {len(known)} names, {HUB}ORG/REPO, and {LOCAL}PATH"
        )

    def _advice(self, error: Exception) -> str:
        if self._model.startswith(LOCAL):
            return f"embedder.model {self._model} cannot be loaded: {error}"
        tag = self._model if self._model.startswith(HUB) else f"{self._model} with pretrained {self._pretrained}"
        return (
            f"embedder {tag} cannot be fetched or loaded: {error}. Without internet: download the checkpoint on "
            f"another machine (python -c \"import open_clip; open_clip.create_model('{self._model}', "
            f'pretrained={self._pretrained!r})" fills ~/.cache/huggingface), copy the file here, and set '
            "embedder.pretrained to its path, such as pretrained: /models/checkpoint.safetensors; or set "
            f"embedder.model to {LOCAL}PATH of a directory with {_CONFIG} and the checkpoint"
        )


def embedder_of(config: Config) -> Embedder:
    """The embedder that a configuration names; nothing is loaded yet."""
    settings = config.monitoring.embedder
    model, pretrained = settings.model, settings.pretrained
    if model.startswith(LOCAL):
        model = LOCAL + str(config.path(Path(model.removeprefix(LOCAL))))
    if pretrained is not None and config.path(Path(pretrained)).is_file():
        pretrained = str(config.path(Path(pretrained)))
    return Embedder(
        model,
        pretrained=pretrained,
        device=settings.device,
        batch_size=settings.batch_size,
        threads=settings.threads,
    )


def _batches(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while batch := list(islice(items, size)):
        yield batch


def _model_configs() -> Path:
    """open_clip's folder of model descriptions, found without importing it (which would import torch)."""
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        message = "open_clip is not installed; accepted is the package open_clip_torch 3.3 or later"
        raise EmbedderUnavailable(message)
    return Path(spec.origin).parent / "model_configs"


def _embed_dim(path: Path) -> int:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return int(described.get("model_cfg", described)["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} does not say embed_dim: {error!r}"
        raise EmbedderUnavailable(message) from error


def _weights(directory: Path) -> list[Path]:
    """Every checkpoint in a directory: which of them open_clip would take is its own affair."""
    found = sorted(path for pattern in _WEIGHTS for path in directory.glob(pattern))
    if not found:
        raise EmbedderUnavailable(
            f"there is no checkpoint in {directory}; accepted is a file such as open_clip_model.safetensors"
        )
    return found


def _digest(paths: list[Path]) -> str:
    """The first 12 hex digits of the SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]
