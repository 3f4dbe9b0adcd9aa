"""The embedder, on real CLIP weights: the ones that the repository carries, and random ones made on the spot."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intake_parts import DIGITS_CLIP
from programs import PATIENCE_S
from visiondrift.demo.digits import frames
from visiondrift.errors import EmbedderUnavailable
from visiondrift.intake.embedder import Embedder

WIDTH = 48


def make_clip(directory: Path, seed: int = 0) -> Path:
    """An open_clip directory with random weights, as open_clip's own class makes them."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    tower = {"width": 64, "layers": 1}
    model = {
        "embed_dim": WIDTH,
        "vision_cfg": {"image_size": 16, "patch_size": 8, "head_width": 32, **tower},
        "text_cfg": {"context_length": 4, "vocab_size": 16, "heads": 2, **tower},
    }
    directory.mkdir(parents=True)
    save_file(CLIP(**model).state_dict(), directory / "open_clip_model.safetensors")
    (directory / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}), encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def random_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "random")


@pytest.fixture(scope="module")
def digits() -> Iterator[Embedder]:
    embedder = Embedder(f"local-dir:{DIGITS_CLIP}", batch_size=4)
    yield embedder
    embedder.close()


def images(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (20 + n, 30, 3), dtype=np.uint8)) for n in range(count)]


def unavailable(embedder: Embedder) -> str:
    with pytest.raises(EmbedderUnavailable) as caught:
        embedder.embed(images(1))
    return str(caught.value)


def test_a_gpu_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the model could not be fetched, whose advice would be how to download it."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = unavailable(Embedder(f"local-dir:{DIGITS_CLIP}", device="cuda"))
    assert said.startswith("embedder.device cuda: torch")
    assert "accepted are auto, cpu" in said


def test_with_a_gpu_the_embedding_is_that_of_the_cpu() -> None:
    """So that a reference embedded on one is good for cameras on the other. Needs a GPU."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    own, other = (Embedder(f"local-dir:{DIGITS_CLIP}", device=device) for device in ("cpu", "cuda"))
    shown = [
        Image.fromarray(frame) for frame, _ in frames(np.arange(200), "left", "clear", rng=np.random.default_rng(1))
    ]
    ours, others = own.embed(shown), other.embed(shown)
    np.testing.assert_allclose(ours, others, atol=1e-5)
    assert own.embed_text(["a photo"]) == pytest.approx(other.embed_text(["a photo"]), abs=1e-5)


def test_images_become_float32_rows_of_unit_length(digits: Embedder) -> None:
    found = digits.embed(images(6))
    assert (found.shape, found.dtype) == ((6, digits.dimension), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_the_batch_size_changes_nothing(digits: Embedder) -> None:
    whole = Embedder(f"local-dir:{DIGITS_CLIP}", batch_size=32)
    np.testing.assert_allclose(digits.embed(images(9)), whole.embed(images(9)), atol=1e-6)


def test_the_embedding_is_what_open_clip_says(digits: Embedder) -> None:
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{DIGITS_CLIP}")
    model.eval()
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([preprocess(image) for image in images(3)]), normalize=True)
    np.testing.assert_allclose(digits.embed(images(3)), expected.numpy(), atol=1e-6)


def test_words_become_float32_rows_of_unit_length(digits: Embedder) -> None:
    found = digits.embed_text(["a dark photo", "a photo", "a blurry photo", "a photo of the digit one", "a hat"])
    assert (found.shape, found.dtype) == ((5, digits.dimension), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_words_are_where_the_images_are_that_they_tell_of(digits: Embedder) -> None:
    rng = np.random.default_rng(0)
    clear, dark = (
        [Image.fromarray(frame) for frame, _ in frames(np.arange(40), "left", condition, rng=rng)]
        for condition in ("clear", "dark")
    )
    said = digits.embed_text(["a dark photo", "a clear photo"])
    darker = (digits.embed([*clear, *dark]) @ said.T) @ np.array([1, -1])
    assert darker[:40].max() < darker[40:].min()


def test_no_words_are_no_rows(digits: Embedder) -> None:
    assert digits.embed_text([]).shape == (0, digits.dimension)


def test_a_vocabulary_that_is_not_the_models_is_refused(random_clip: Path) -> None:
    embedder = Embedder(f"local-dir:{random_clip}")
    with pytest.raises(EmbedderUnavailable, match=r"larger vocabulary.*bpe_vocab\.txt\.gz"):
        embedder.embed_text(["a dark photo"])


def test_no_images_are_no_rows(digits: Embedder) -> None:
    assert digits.embed([]).shape == (0, digits.dimension)


def test_images_are_drawn_one_at_a_time(digits: Embedder) -> None:
    held = 0
    most = 0

    def source() -> Iterator[Image.Image]:
        nonlocal held, most
        for image in images(8):
            held += 1
            most = max(most, held)
            yield image
            held -= 1

    digits.embed(source())
    assert most == 1


def test_many_threads_get_their_own_rows(digits: Embedder) -> None:
    expected = digits.embed(images(8))
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        found[number] = digits.embed([images(8)[number]])[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, row in found.items():
        np.testing.assert_allclose(row, expected[number], atol=1e-6)


def test_the_same_weights_have_the_same_name_wherever_they_lie(random_clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "random"
    copy.mkdir(parents=True)
    for file in random_clip.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert Embedder(f"local-dir:{copy}").identity == Embedder(f"local-dir:{random_clip}").identity


def test_other_weights_in_a_directory_of_the_same_name_are_another_embedder(random_clip: Path, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "random", seed=1)
    assert Embedder(f"local-dir:{other}").identity != Embedder(f"local-dir:{random_clip}").identity


def test_a_tag_is_named_as_configured_and_its_length_is_known_without_it() -> None:
    embedder = Embedder("ViT-B-32", pretrained="laion2b_s34b_b79k")
    assert (embedder.identity, embedder.dimension) == ("ViT-B-32/laion2b_s34b_b79k", 512)


def test_a_checkpoint_file_is_named_by_its_content(random_clip: Path) -> None:
    file = random_clip / "open_clip_model.safetensors"
    identity = Embedder("ViT-B-32", pretrained=str(file)).identity
    assert identity.startswith("ViT-B-32/open_clip_model.safetensors@")


def test_names_and_lengths_are_known_without_importing_torch() -> None:
    code = f"""
import sys
from visiondrift.intake.embedder import Embedder
Embedder("ViT-L-14", pretrained="openai").dimension
embedder = Embedder("local-dir:{DIGITS_CLIP}")
print(embedder.identity, embedder.dimension)
sys.exit("torch" in sys.modules or "open_clip" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


def test_a_wrong_name_is_answered_with_the_near_ones() -> None:
    text = unavailable(Embedder("ViT-B32", pretrained="openai"))
    assert "ViT-B-32" in text
    assert "local-dir:" in text


def test_a_name_without_weights_is_refused_rather_than_run_at_random() -> None:
    text = unavailable(Embedder("ViT-B-32"))
    assert "embedder.pretrained" in text


def test_a_directory_without_weights_is_refused_rather_than_run_at_random(random_clip: Path, tmp_path: Path) -> None:
    config = (random_clip / "open_clip_config.json").read_text(encoding="utf-8")
    (tmp_path / "open_clip_config.json").write_text(config, encoding="utf-8")
    assert "no checkpoint" in unavailable(Embedder(f"local-dir:{tmp_path}"))


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = unavailable(Embedder(f"local-dir:{tmp_path}/nowhere"))
    assert "nowhere" in text
    assert "open_clip_config.json" in text


def test_weights_of_another_architecture_are_refused(random_clip: Path) -> None:
    file = random_clip / "open_clip_model.safetensors"
    assert "ViT-B-32" in unavailable(Embedder("ViT-B-32", pretrained=str(file)))


def test_an_unknown_tag_says_what_to_do_offline() -> None:
    text = unavailable(Embedder("ViT-B-32", pretrained="no-such-tag"))
    for hint in ("no-such-tag", "another machine", ".safetensors", "local-dir:"):
        assert hint in text


def test_a_tag_that_cannot_be_fetched_says_what_to_do_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = unavailable(Embedder("ViT-B-32", pretrained="laion2b_s34b_b79k"))
    for hint in ("ViT-B-32", "laion2b_s34b_b79k", "another machine", "pretrained: /models/checkpoint.safetensors"):
        assert hint in text


def test_a_failed_load_is_not_tried_again_at_once(random_clip: Path, tmp_path: Path) -> None:
    directory = tmp_path / "late"
    embedder = Embedder(f"local-dir:{directory}")
    first = unavailable(embedder)
    directory.mkdir()
    for file in random_clip.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    assert unavailable(embedder) == first


def test_a_closed_embedder_says_that_it_is_stopping() -> None:
    embedder = Embedder(f"local-dir:{DIGITS_CLIP}")
    embedder.load()
    embedder.close()
    embedder.close()
    assert "stopping" in unavailable(embedder)
