"""Makes the demo's tiny CLIP: open_clip's own model, both towers, trained on the demo's digits and their captions.

Decides what the repository's own checkpoint knows. The result is an ordinary open_clip directory, opened with
`open_clip.create_model_and_transforms("local-dir:<path>")`; its tokenizer is open_clip's own byte-pair tokenizer with a
merge table cut to the captions' words, opened with `load_tokenizer(path)`. About two minutes on two cores:

    python -m visiondrift.demo.train_clip --out exporter/models/digits-clip
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from visiondrift.demo import digits

DIGIT_NAMES: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CONDITION_WORDS: Final = MappingProxyType(
    {
        "clear": ("clear", "sharp"),
        "dark": ("dark", "underexposed"),
        "overexposed": ("overexposed", "bright"),
        "blurry": ("blurry", "blurred"),
        "noisy": ("noisy", "grainy"),
        "covered": ("covered", "blocked"),
        "tilted": ("tilted", "rotated"),
        "foggy": ("foggy", "hazy"),
    }
)
VOCABULARY_FILE: Final = "bpe_vocab.txt.gz"

_CONFIG_FILE: Final = "open_clip_config.json"
_WEIGHTS_FILE: Final = "open_clip_model.safetensors"
_CONTEXT_LENGTH: Final = 16
_BYTE_TOKENS: Final = 2 * 256  # the tokenizer's floor: every byte, alone and at the end of a word
_SPECIAL_TOKENS: Final = 2
_BATCH: Final = 128
_ROUNDS: Final = 2  # times that every camera sees every training digit in every condition
_WEAKEST: Final = 0.35  # below this a fault can hardly be told from clear, and a caption of it would be a guess
_PEAK_RATE: Final = 1e-3
_WARM_UP_STEPS: Final = 60
_MAX_LOGIT_SCALE: Final = math.log(100.0)

Tokenizer = Callable[[Sequence[str]], torch.Tensor]
Preprocess = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Pool:
    """Preprocessed frames (n, 3, 32, 32) and what each shows: digit (n,) 0 to 9, condition (n,) index in CONDITIONS."""

    images: torch.Tensor
    digit: NDArray[np.int64]
    condition: NDArray[np.int64]


def load_tokenizer(directory: Path) -> Tokenizer:
    """open_clip's tokenizer for a model directory made here: texts -> token ids (n, 16).

    The table's place must be passed along, as open_clip would read a path inside the configuration file relative to
    the working directory; without it open_clip takes its 49,408-token table, whose ids this model does not have.
    """
    tokenizer: Tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}", bpe_path=str(directory / VOCABULARY_FILE))
    return tokenizer


def caption(digit: int | None, condition: str | None, rng: np.random.Generator | None = None) -> str:
    """Such as "a dark photo of the digit three"; None leaves that part out; `rng` picks a synonym, else the first."""
    word = "" if condition is None else CONDITION_WORDS[condition][0 if rng is None else int(rng.integers(2))] + " "
    article = "an" if word[:1] in tuple("aeiou") else "a"
    subject = "" if digit is None else f" of the digit {DIGIT_NAMES[digit]}"
    return f"{article} {word}photo{subject}"


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in order, that make a single token of each word (Sennrich et al. 2016, run to the end)."""
    spelled = [[*word[:-1], word[-1] + "</w>"] for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for symbols in spelled for pair in itertools.pairwise(symbols))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(symbols, best) for symbols in spelled]


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def write_architecture(directory: Path, embed_dim: int) -> None:
    """Write the merge table and the configuration that open_clip builds the model and its preprocessing from."""
    words = {word for names in CONDITION_WORDS.values() for word in names} | set(DIGIT_NAMES)
    merges = learn_merges([*words, "a", "an", "photo", "of", "the", "digit"])
    # The first line is skipped by open_clip, and a line break at the end would be read as one more, empty, merge.
    table = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)])
    (directory / VOCABULARY_FILE).write_bytes(gzip.compress(table.encode(), mtime=0))
    tower = {"width": 128}
    model = {
        "embed_dim": embed_dim,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 4, "head_width": 32, **tower},
        "text_cfg": {
            "context_length": _CONTEXT_LENGTH,
            "vocab_size": _BYTE_TOKENS + len(merges) + _SPECIAL_TOKENS,
            "heads": 4,
            "layers": 2,
            **tower,
        },
    }
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (directory / _CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def render_pool(
    indices: digits.Indices,
    preprocess: Preprocess,
    *,
    rng: np.random.Generator,
    conditions: Sequence[str] = digits.CONDITIONS,
    weakest: float = _WEAKEST,
) -> Pool:
    """Every index under every camera in every given condition, at strengths drawn from `weakest` to 1."""
    images, labels = digits.digits()
    tensors: list[torch.Tensor] = []
    shown: list[tuple[int, int]] = []
    for camera in digits.CAMERAS:
        for condition in conditions:
            for index in indices:
                frame = digits.render(images[index], camera, condition, rng.uniform(weakest, 1.0), rng=rng)
                tensors.append(preprocess(Image.fromarray(frame)))
                shown.append((int(labels[index]), digits.CONDITIONS.index(condition)))
    both = np.asarray(shown, dtype=np.int64)
    return Pool(torch.stack(tensors), both[:, 0], both[:, 1])


def train(directory: Path, *, steps: int, seed: int) -> None:
    """Train the model whose configuration is in `directory`, and write its weights there, in half precision."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{directory}", load_weights=False)
    tokenizer = load_tokenizer(directory)
    pool = render_pool(np.tile(digits.split().train, _ROUNDS), preprocess, rng=rng)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_share(step, steps))
    model.train()
    for step in range(steps):
        rows = rng.integers(len(pool.digit), size=_BATCH)
        loss = _batch_loss(model, tokenizer, pool, rows, rng)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:4d}  loss {loss.item():.3f}", flush=True)
    weights = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, directory / _WEIGHTS_FILE, metadata={"format": "pt"})
    # safetensors writes for the owner alone; a service reads the model as another user.
    (directory / _WEIGHTS_FILE).chmod(0o644)


def _rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < _WARM_UP_STEPS:
        return (step + 1) / _WARM_UP_STEPS
    return 0.5 * (1.0 + math.cos(math.pi * (step - _WARM_UP_STEPS) / max(1, steps - _WARM_UP_STEPS)))


def _batch_loss(
    model: Any, tokenizer: Tokenizer, pool: Pool, rows: NDArray[np.int64], rng: np.random.Generator
) -> torch.Tensor:
    """CLIP's two-way cross-entropy, with every caption that is true of an image counted as right.

    Many images of a batch share a caption here (80 combinations, and some captions name one part only), so the usual
    one-to-one targets would push true pairs apart.
    """
    digit, condition = pool.digit[rows], pool.condition[rows]
    says_digit = rng.random(len(rows)) < 0.75
    says_condition = ~says_digit | (rng.random(len(rows)) < 0.7)
    captions = [
        caption(int(d) if sd else None, digits.CONDITIONS[c] if sc else None, rng)
        for d, c, sd, sc in zip(digit, condition, says_digit, says_condition, strict=True)
    ]
    digit_fits = (digit[:, None] == digit[None, :]) | ~says_digit[None, :]
    condition_fits = (condition[:, None] == condition[None, :]) | ~says_condition[None, :]
    true = torch.from_numpy((digit_fits & condition_fits).astype(np.float32))
    image = model.encode_image(pool.images[rows], normalize=True)
    text = model.encode_text(tokenizer(captions), normalize=True)
    logits = model.logit_scale.exp() * image @ text.T
    by_image = functional.cross_entropy(logits, true / true.sum(dim=1, keepdim=True))
    by_text = functional.cross_entropy(logits.T, true.T / true.T.sum(dim=1, keepdim=True))
    return (by_image + by_text) / 2


@torch.no_grad()
def zero_shot(model: Any, tokenizer: Tokenizer, pool: Pool) -> tuple[float, float]:
    """Share of the pool's frames whose digit, and whose condition, the text tower's captions name rightly."""
    image = model.encode_image(pool.images, normalize=True)
    asked_digit = tokenizer([caption(digit, None) for digit in range(10)])
    asked_condition = tokenizer([caption(None, condition) for condition in digits.CONDITIONS])
    digit = (image @ model.encode_text(asked_digit, normalize=True).T).argmax(dim=1).numpy()
    condition = (image @ model.encode_text(asked_condition, normalize=True).T).argmax(dim=1).numpy()
    return float((digit == pool.digit).mean()), float((condition == pool.condition).mean())


def zero_shot_table(directory: Path, *, seed: int) -> str:
    """Load the directory as anyone would, and measure it on digits that were not trained on, one line a condition."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    model.eval()
    tokenizer = load_tokenizer(directory)
    parts = digits.split()
    held_out = np.concatenate([parts.watched, parts.fresh])
    lines = ["| condition | digit right | condition right |", "| --- | --- | --- |"]
    for condition in digits.CONDITIONS:
        pool = render_pool(held_out, preprocess, rng=np.random.default_rng(seed), conditions=[condition])
        digit, named = zero_shot(model, tokenizer, pool)
        lines.append(f"| {condition} | {digit:.1%} | {named:.1%} |")
    return "\n".join(lines)


def main() -> None:
    """Train, save and measure."""
    parser = argparse.ArgumentParser(description="Train the demo's tiny CLIP on rendered digits.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write the open_clip files to")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--embed-dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_architecture(arguments.out, arguments.embed_dim)
    train(arguments.out, steps=arguments.steps, seed=arguments.seed)
    size = sum(file.stat().st_size for file in arguments.out.iterdir())
    print(f"trained in {time.monotonic() - started:.0f} s; {size / 1e6:.2f} MB in {arguments.out}")
    print(zero_shot_table(arguments.out, seed=arguments.seed + 1))


if __name__ == "__main__":
    main()
