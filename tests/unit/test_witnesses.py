"""Learning what faults look like from images, and keeping it: what is learnt, what is refused, what damage does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiondrift.corruptions import CORRUPTIONS
from visiondrift.drift.explain.explainer import NO_WITNESSES
from visiondrift.drift.explain.witnesses import PATTERN, PROBES, Probe, Witnesses, property_scale
from visiondrift.intake import trials
from visiondrift.intake.trials import TRIALS, chosen, learn, with_probes, without_embeddings
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES
from visiondrift.witness_file import MOST_BYTES, WITNESS_FILE, load_witnesses, save_witnesses

DIMENSION = 6


def embed(images):
    """Means of the colours of both halves: an embedder that sees light, colour and where it is."""
    rows = []
    for image in images:
        pixels = np.asarray(image, dtype=np.float32) / 255
        left, right = np.array_split(pixels, 2, axis=1)
        rows.append(np.concatenate([left.mean(axis=(0, 1)), right.mean(axis=(0, 1))]))
    return np.array(rows, dtype=np.float32)


def read(sentences):
    """Equal sentences have equal vectors."""
    rows = [np.random.default_rng(sum(map(ord, text))).normal(size=DIMENSION) for text in sentences]
    return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def images(count: int = 4) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    small = rng.integers(40, 200, (count, 6, 8, 3), dtype=np.uint8)
    return [Image.fromarray(pixels).resize((32, 24)) for pixels in small]


@pytest.fixture(scope="module")
def learnt() -> Witnesses:
    return learn(images(), embed)


# Learning


def test_every_fault_in_every_way_is_tried(learnt):
    assert {(trace.cause, trace.way) for trace in learnt.traces} == {
        (cause, way) for cause, corruption in CORRUPTIONS.items() for way in range(corruption.ways)
    }


def test_the_trace_of_darkness_is_darkness(learnt):
    place = next(i for i, trace in enumerate(TRIALS) if (trace.cause, trace.severity) == ("darker", 4))
    assert (learnt.moves[place] < -0.1).all()
    brightness = PROPERTIES.index("brightness")
    assert (learnt.after[place, :, brightness] < learnt.before[:, brightness]).all()


def test_the_same_images_teach_the_same(learnt):
    again = learn(images(), embed)
    np.testing.assert_array_equal(again.after, learnt.after)
    np.testing.assert_array_equal(again.moves, learnt.moves)


def test_without_embeddings_properties_alone_are_learnt(learnt):
    bare = learn(images(), without_embeddings)
    assert bare.moves.shape == (len(TRIALS), 0)
    assert not list(bare.embedding_panels())
    np.testing.assert_array_equal(bare.after, learnt.after)


def test_every_trace_becomes_a_direction_of_the_properties(learnt):
    panels = {panel.name: panel for panel in learnt.property_panels(property_scale(learnt.before))}
    assert panels[PATTERN].directions.shape == (len(TRIALS), len(PROPERTIES))
    assert np.isfinite(panels[PATTERN].directions).all()


def test_images_too_small_to_change_are_left_out_and_none_at_all_is_refused():
    tiny = Image.new("RGB", (4, 40))
    assert len(learn([*images(2), tiny], embed).before) == 2
    with pytest.raises(ValueError, match="no image of at least 8 x 8 pixels"):
        learn([tiny], embed)


@pytest.mark.parametrize(("count", "pixels", "tried"), [(1000, 64 * 64, 48), (1000, 1920 * 1080, 12), (5, 10**9, 5)])
def test_of_large_images_fewer_are_tried(count, pixels, tried):
    rows = chosen(count, pixels)
    assert len(rows) == tried
    assert np.diff(rows, prepend=-1).max() <= count // tried + 1
    assert rows[-1] == count - 1


def test_own_probes_stand_beside_the_default_ones_and_replace_those_of_their_name(learnt):
    own = [Probe("train", "a train", "a bus"), Probe("light", "a lamp", "no lamp")]
    found = with_probes(learnt, read, own)
    assert len(found.probes) == len(PROBES) + 1
    assert next(probe for probe in found.probes if probe.name == "light").positive == "a lamp"
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, rtol=1e-5)


def test_sentences_that_a_model_cannot_tell_apart_have_no_direction(learnt):
    same = [Probe("same", "a photo", "a photo")]
    assert not with_probes(learnt, read, same).directions[-1].any()


def test_the_trace_of_a_shift_is_the_layout_displaced(learnt):
    """The edges of what has moved to the right are those of before, so many cells further on."""
    places = [i for i, trace in enumerate(TRIALS) if (trace.cause, trace.severity) == ("shifted", 4)]
    before = learnt.layouts_before.reshape(-1, LAYOUT_SIDE, LAYOUT_SIDE)
    after = learnt.layouts_after[places[0]].reshape(-1, LAYOUT_SIDE, LAYOUT_SIDE)
    gone = round(0.2 * LAYOUT_SIDE)

    def alike(a, b):
        return np.corrcoef(a.ravel(), b.ravel())[0, 1]

    assert alike(after[:, :, gone + 1 :], before[:, :, 1:-gone]) > 0.8
    assert alike(after, before) < 0.5


# Keeping


@pytest.fixture
def kept(tmp_path: Path, learnt: Witnesses) -> Path:
    save_witnesses(tmp_path, with_probes(learnt, read), embedder="clip@1")
    return tmp_path


def test_what_is_kept_is_read_again(kept, learnt):
    found = load_witnesses(kept)
    assert found is not None
    wanted = with_probes(learnt, read)
    assert (found.embedder, found.witnesses.traces, found.witnesses.probes) == ("clip@1", TRIALS, wanted.probes)
    for name in ("before", "after", "layouts_before", "layouts_after", "moves", "directions"):
        np.testing.assert_array_equal(getattr(found.witnesses, name), getattr(wanted, name))


def test_other_witnesses_have_another_identity(kept, learnt):
    first = load_witnesses(kept)
    save_witnesses(kept, learnt, embedder="clip@1")
    second = load_witnesses(kept)
    assert first is not None
    assert second is not None
    assert first.identity != second.identity


def test_nothing_is_left_beside_the_file(kept):
    assert [path.name for path in kept.iterdir()] == [WITNESS_FILE]


def test_where_none_are_kept_there_are_none(tmp_path):
    assert load_witnesses(tmp_path) is None


def test_words_are_kept_where_no_fault_was_learnt(tmp_path):
    words = with_probes(replace(NO_WITNESSES, moves=np.zeros((0, DIMENSION), dtype=np.float32)), read)
    save_witnesses(tmp_path, words, embedder="clip@1")
    found = load_witnesses(tmp_path)
    assert found is not None
    assert found.witnesses.probes == words.probes


def test_a_file_from_before_layouts_were_learnt_is_read_without_them(kept, learnt):
    with np.load(kept / WITNESS_FILE) as stored:
        arrays = {name: stored[name] for name in stored.files if not name.startswith("layouts")}
    words = json.loads(arrays["words"].tobytes()) | {"format": 1}
    with (kept / WITNESS_FILE).open("wb") as file:
        np.savez(file, **arrays | {"words": np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)})
    found = load_witnesses(kept)
    assert found is not None
    np.testing.assert_array_equal(found.witnesses.after, learnt.after)
    assert not list(found.witnesses.layout_panels(np.zeros((1, LAYOUT_SIDE**2))))


def rewritten(kept: Path, **changes: np.ndarray) -> None:
    with np.load(kept / WITNESS_FILE) as stored:
        arrays = {name: stored[name] for name in stored.files}
    with (kept / WITNESS_FILE).open("wb") as file:
        np.savez(file, **arrays | changes)


DAMAGE = {
    "cut off": lambda kept: (kept / WITNESS_FILE).write_bytes((kept / WITNESS_FILE).read_bytes()[:200]),
    "no archive": lambda kept: (kept / WITNESS_FILE).write_bytes(b"not an archive"),
    "pickled": lambda kept: rewritten(kept, moves=np.array([{"a": 1}], dtype=object)),
    "another shape": lambda kept: rewritten(kept, before=np.zeros((3, 2), dtype=np.float32)),
    "layouts of another size": lambda kept: rewritten(kept, layouts_before=np.zeros((4, 100), dtype=np.float32)),
    "not a number": lambda kept: rewritten(kept, directions=np.full((len(PROBES), DIMENSION), np.nan)),
    "another format": lambda kept: rewritten(
        kept, words=np.frombuffer(json.dumps({"format": 99}).encode(), dtype=np.uint8)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_told_and_as_good_as_none(kept, caplog, damage):
    DAMAGE[damage](kept)
    assert load_witnesses(kept) is None
    assert WITNESS_FILE in caplog.text


def test_a_file_that_is_far_too_large_is_not_read(kept, caplog):
    with (kept / WITNESS_FILE).open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    assert load_witnesses(kept) is None
    assert "larger than" in caplog.text


def test_more_columns_than_any_embedder_has_are_refused(kept, learnt, monkeypatch, caplog):
    monkeypatch.setattr("visiondrift.witness_file.MOST_COLUMNS", DIMENSION - 1)
    assert load_witnesses(kept) is None
    assert "at most" in caplog.text


def test_what_is_tried_is_bounded():
    assert len(TRIALS) * trials.MOST_IMAGES <= 3000
    assert replace(TRIALS[0], severity=2) in TRIALS
