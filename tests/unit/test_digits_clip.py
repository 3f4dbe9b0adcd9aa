"""Claims about the repository's tiny CLIP, made through open_clip's ordinary loading code, without a network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP

from visiondrift.demo import digits, train_clip

MODEL = Path(__file__).parents[2] / "exporter" / "models" / "digits-clip"


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the tiny CLIP must load without a network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def loaded(no_network: None) -> tuple[Any, train_clip.Preprocess]:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{MODEL}")
    model.eval()
    return model, preprocess


@pytest.fixture(scope="module")
def tokenizer(no_network: None) -> train_clip.Tokenizer:
    return train_clip.load_tokenizer(MODEL)


def held_out(preprocess: train_clip.Preprocess, condition: str, count: int = 40) -> train_clip.Pool:
    indices = digits.split().fresh[:count]
    return train_clip.render_pool(indices, preprocess, rng=np.random.default_rng(5), conditions=[condition])


class TestLoading:
    def test_is_open_clips_own_model_class(self, loaded: tuple[Any, train_clip.Preprocess]) -> None:
        assert type(loaded[0]) is CLIP

    def test_holds_no_pickle_and_stays_small(self) -> None:
        names = {file.name for file in MODEL.iterdir()}
        assert names == {"README.md", "bpe_vocab.txt.gz", "open_clip_config.json", "open_clip_model.safetensors"}
        assert sum(file.stat().st_size for file in MODEL.iterdir()) < 3_000_000

    def test_embeds_a_batch_as_finite_unit_vectors(self, loaded: tuple[Any, train_clip.Preprocess]) -> None:
        model, preprocess = loaded
        with torch.no_grad():
            embedded = model.encode_image(held_out(preprocess, "clear", 10).images, normalize=True)
        dimension = json.loads((MODEL / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"]
        assert embedded.shape == (30, dimension)
        assert embedded.norm(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)

    def test_embeds_one_image_alone_as_in_a_batch(self, loaded: tuple[Any, train_clip.Preprocess]) -> None:
        model, preprocess = loaded
        images = held_out(preprocess, "clear", 10).images
        with torch.no_grad():
            batch, single = model.encode_image(images, normalize=True), model.encode_image(images[3:4], normalize=True)
        assert single[0].numpy() == pytest.approx(batch[3].numpy(), abs=1e-5)


class TestTokenizer:
    def test_reads_each_caption_word_as_one_token(self, tokenizer: train_clip.Tokenizer) -> None:
        tokens = tokenizer([train_clip.caption(3, "dark")])
        assert int((tokens != 0).sum()) == 7 + 2, "seven words, a start and an end"

    def test_reads_words_that_it_never_saw_within_the_models_vocabulary(self, tokenizer: train_clip.Tokenizer) -> None:
        vocabulary = json.loads((MODEL / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]["vocab_size"]
        assert int(tokenizer(["Größe: 42 platforms, ≥ 7 zebras"]).max()) == vocabulary - 1

    def test_the_table_is_the_one_that_the_script_writes(self, tmp_path: Path) -> None:
        dimension = json.loads((MODEL / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"]
        train_clip.write_architecture(tmp_path, dimension)
        for name in ("bpe_vocab.txt.gz", "open_clip_config.json"):
            assert (tmp_path / name).read_bytes() == (MODEL / name).read_bytes()


class TestZeroShot:
    def test_names_digits_and_conditions_of_held_out_frames(
        self, loaded: tuple[Any, train_clip.Preprocess], tokenizer: train_clip.Tokenizer
    ) -> None:
        """Digit right in at least 85 % of clear frames, condition right in at least 95 % on average."""
        model, preprocess = loaded
        scores = {
            condition: train_clip.zero_shot(model, tokenizer, held_out(preprocess, condition))
            for condition in digits.CONDITIONS
        }
        print(scores)
        assert scores["clear"][0] >= 0.85
        assert np.mean([named for _, named in scores.values()]) >= 0.95


class TestSeparation:
    def test_a_damaged_camera_moves_and_a_healthy_one_does_not(self, loaded: tuple[Any, train_clip.Preprocess]) -> None:
        """Cosine of mean embeddings, stream against reference: above 0.97 when clear, below 0.6 when dark or blurry."""
        model, preprocess = loaded
        rng = np.random.default_rng(2)

        def mean_of(indices: digits.Indices, condition: str) -> torch.Tensor:
            pool = train_clip.render_pool(indices, preprocess, rng=rng, conditions=[condition], weakest=0.5)
            with torch.no_grad():
                mean: torch.Tensor = model.encode_image(pool.images, normalize=True).mean(dim=0)
            return torch.nn.functional.normalize(mean, dim=0)

        parts = digits.split()
        reference = mean_of(parts.watched[:120], "clear")
        assert float(reference @ mean_of(parts.fresh[:100], "clear")) > 0.97
        for condition in ("dark", "blurry"):
            assert float(reference @ mean_of(parts.fresh[:100], condition)) < 0.6
