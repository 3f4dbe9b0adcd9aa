"""Which cameras moved, how much of it each explains, and whether it is one cause."""

from dataclasses import replace

import numpy as np
import pytest

from site_parts import CAMERAS, DIMENSION, Frames, detector, frames, moments_by_camera, rows_of
from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.embedding.detector import EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.explain.shift import SliceShift, Spread, spread_of

KNOWN = frames(1, 50)


def step(axis: int, size: float = 2.5) -> np.ndarray:
    moved = np.zeros(DIMENSION)
    moved[axis] = size
    return moved


def spread(window: Frames) -> Spread:
    return spread_of(
        detector(),
        rows_of(window),
        window.cameras,
        embeddings=window.embeddings,
        reference_mean=KNOWN.embeddings.mean(axis=0, dtype=np.float64),
    )


def test_one_camera_that_moved_is_named_alone_and_explains_most():
    for seed in range(5):
        found = spread(frames(20 + seed, 16, {"c": step(seed)}))
        assert found.moved == ("c",)
        assert found.kind == "local"
        assert found.sentence == "only c"
        assert next(one.share for one in found.slices if one.slice == "c") > 0.75


def test_cameras_that_moved_the_same_way_have_a_common_cause():
    for seed in range(5):
        found = spread(frames(30 + seed, 16, dict.fromkeys("abcde", step(seed))))
        assert set("abcde") >= set(found.common)
        assert len(found.common) >= 4
        assert found.kind == "common"
        assert "moved the same way: a common cause" in found.sentence
        assert sum(one.share for one in found.slices) == pytest.approx(1.0)


def test_cameras_that_moved_each_its_own_way_have_none():
    common = 0
    for seed in range(10):
        found = spread(frames(50 + seed, 16, {camera: step(place) for place, camera in enumerate("abcd")}))
        assert set(found.moved) >= set("abcd")
        common += found.kind == "common"
    assert common == 0


def test_a_camera_that_is_not_clear_alone_joins_those_that_moved_its_way():
    found = spread(frames(72, 16, dict.fromkeys("abc", step(0)) | {"d": step(0, 0.9)}))
    assert next(one.p for one in found.slices if one.slice == "d") > 0.01
    assert set(found.common) == set("abcd")


def test_opposite_ways_are_not_the_same_way():
    found = spread(frames(70, 16, {"a": step(0), "b": step(0, -2.5)}))
    assert found.kind == "local"
    assert found.sentence == "a and b, no common way found"


def test_a_camera_that_moves_otherwise_is_told_apart_from_the_common_cause():
    found = spread(frames(71, 16, dict.fromkeys("abcd", step(0)) | {"f": step(3)}))
    assert set(found.common) == set("abcd")
    assert found.sentence == "4 of 6 moved the same way: a common cause; f moved too"


def test_a_camera_is_not_called_the_only_one_where_too_little_is_known_of_another():
    known = SliceShift("a", 1e-6, moved=True, share=1.0, cosine=None, common=False)
    unknown = SliceShift("b", None, moved=False, share=0.0, cosine=None, common=False)
    assert Spread((known,)).sentence == "only a"
    assert Spread((known, unknown)).sentence == "a; too little to say of b"


def test_where_nothing_moves_hardly_ever_is_a_cause_named():
    kinds = [spread(frames(100 + seed, 16)).kind for seed in range(20)]
    assert kinds.count("common") == 0
    assert kinds.count("local") <= 3


def test_the_cosine_of_the_same_shift_is_one_however_noisy_the_window():
    """Without the correction it would fall with every block that a window lacks."""
    found = [
        one.cosine
        for seed in range(8)
        for one in spread(frames(200 + seed, 8, dict.fromkeys(CAMERAS, step(1)))).slices
        if one.cosine is not None
    ]
    assert np.mean(found) == pytest.approx(1.0, abs=0.08)


def test_new_and_silent_cameras_are_events_of_their_own():
    found = spread(frames(80, 16, cameras=("a", "b", "c", "d", "x")))
    assert set(found.new) == {"x"}
    assert found.new["x"] == pytest.approx(0.2)
    assert set(found.silent) == {"e", "f"}
    assert found.silent["e"] == pytest.approx(1 / 6, abs=0.01)
    assert "new: x, which the reference does not know" in found.sentence
    assert "nothing from e and f" in found.sentence


def test_another_mix_of_cameras_explains_the_whole_of_a_plain_shift():
    whole = frames(90, 24)
    rare = np.isin(whole.cameras, ("a", "b")) & (whole.scenes % 1000 >= 6)
    mixed = Frames(whole.embeddings[~rare], whole.cameras[~rare], whole.scenes[~rare])
    explained = spread(mixed).mix_explained
    assert explained is not None
    assert explained > 0.8


def test_a_drift_of_all_cameras_is_not_explained_by_any_mix():
    explained = spread(frames(91, 24, dict.fromkeys(CAMERAS, step(2, 2.0)))).mix_explained
    assert explained is not None
    assert explained < 0.2


def test_cameras_with_too_few_scenes_are_not_judged():
    window = frames(92, 16)
    few = (window.cameras == "a") & (window.scenes % 1000 >= 2)
    found = spread(replace(window, embeddings=window.embeddings[~few], cameras=window.cameras[~few],
                           scenes=window.scenes[~few]))  # fmt: skip
    assert next(one.p for one in found.slices if one.slice == "a") is None
    assert found.judged == 5


def test_of_many_cameras_the_first_are_named_and_the_others_counted():
    slices = tuple(SliceShift(f"c{n}", 1e-9, moved=True, share=0.1, cosine=None, common=False) for n in range(7))
    assert Spread(slices).sentence == "c0, c1, c2 and 4 more, no common way found"


def test_the_chance_of_a_slice_is_that_of_a_look_at_its_moments():
    moments = moments_by_camera(frames(95, 16, {"c": step(0)}))
    for camera, own in moments.items():
        look = detector().look(camera, {camera: own}, None)
        assert isinstance(look, EmbeddingEvidence)
        assert detector().chance(camera, own) == look.p
    assert detector().chance("a", moments_by_camera(frames(96, 2))["a"]) is None
    assert detector().chance("unheard of", moments["a"]) is None


def test_rows_without_a_slice_have_their_share_of_the_shift_and_are_not_named():
    """Half of the images are of no camera: what moves them as far as one camera is three times its part."""
    nameless = ("d", "e", "f")

    def without(given: Frames) -> Frames:
        return replace(given, cameras=np.where(np.isin(given.cameras, nameless), "", given.cameras))

    known = without(frames(1, 50))
    blind = build_detector(
        known.embeddings, labelled_blocks(known.scenes, known.cameras), splits=2, draws=60, novelty=False
    )
    assert blind.shares == pytest.approx({"a": 1 / 6, "b": 1 / 6, "c": 1 / 6, "": 1 / 2})
    window = without(frames(97, 32, dict.fromkeys(("a", *nameless), step(0))))
    rows = WindowRows(blind.reference.coordinates(window.embeddings), window.scenes.astype(np.intp))
    found = spread_of(blind, rows, window.cameras)
    assert {one.slice for one in found.slices} == {"a", "b", "c"}
    assert found.moved == ("a",)
    assert next(one.share for one in found.slices if one.slice == "a") == pytest.approx(0.25, abs=0.08)
    assert not found.silent
