"""Three witnesses: quiet where nothing has drifted, agreed where a known fault did it, unknown in every other case."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.embedding.moments import moments_by_slice
from visiondrift.drift.explain.causes import (
    ALIKE,
    ALONE_ALPHA,
    ALONE_MATCH,
    Cause,
    Evidence,
    Means,
    Statement,
    contradiction,
    evidence_of,
    statement_of_probes,
    verdict,
)
from visiondrift.drift.explain.contrasts import Panel, Reading, build_space
from visiondrift.drift.explain.explainer import Explainer, build_explainer
from visiondrift.drift.explain.witnesses import LIMIT, PROBES, Probe, Trace, Witnesses, property_scale
from visiondrift.prediction import LAYOUT_SIDE, PROPERTIES, Sample

DIMENSION = 16
ROWS, A_BLOCK = 600, 3
CAUSES = ("darker", "noisy", "foggy")
CELLS = LAYOUT_SIDE**2
WINDOW_BLOCKS = 30


def moved(cause: str, size: float) -> tuple[np.ndarray, np.ndarray]:
    """What a fault does to the embedding and to the properties of any image."""
    place = CAUSES.index(cause)
    embedding, properties = np.zeros(DIMENSION), np.zeros(len(PROPERTIES))
    embedding[3 * place : 3 * place + 3] = size * np.array([1.0, -0.5, 0.4])
    properties[2 * place : 2 * place + 2] = 0.1 * size * np.array([-1.0, 0.6])
    return embedding, properties


def sample(seed: int, rows: int = ROWS, cause: str | None = None, size: float = 1.0, cameras: int = 1) -> Sample:
    """Rows in blocks of three that are alike, of cameras that look at different things."""
    rng = np.random.default_rng(seed)
    blocks = rows // A_BLOCK
    camera = np.arange(blocks) % cameras

    def alike(columns: int, apart: float) -> np.ndarray:
        scene = np.repeat(rng.normal(size=(blocks, columns)), A_BLOCK, axis=0)
        view = np.random.default_rng(5).normal(size=(cameras, columns))[camera] * apart
        return 0.7 * scene + 0.7 * rng.normal(size=(rows, columns)) + np.repeat(view, A_BLOCK, axis=0)

    embeddings, properties = alike(DIMENSION, 2.0), 0.5 + 0.1 * alike(len(PROPERTIES), 1.0)
    if cause:
        by, properties_by = moved(cause, size)
        embeddings, properties = embeddings + by, properties + properties_by
    return Sample(
        times=np.arange(rows, dtype=np.float64),
        ids=np.array([str(row) for row in range(rows)], dtype=object),
        slices={"camera": np.repeat(np.array([f"c{c}" for c in camera], dtype=object), A_BLOCK)},
        classes=(),
        embeddings=embeddings.astype(np.float32),
        confidences=np.zeros((rows, 0), dtype=np.float32),
        predicted=np.full(rows, -1, dtype=np.int32),
        latency_ms=np.full(rows, np.nan),
        properties=properties.astype(np.float32),
    )


def witnesses() -> Witnesses:
    """As they are learnt from twenty images, two severities a fault; a probe looks along the first fault's way."""
    before = sample(9, 60).properties[:20]
    traces = tuple(Trace(cause, severity) for cause in CAUSES for severity in (2, 4))
    each = [moved(trace.cause, trace.severity / 3) for trace in traces]
    direction = moved("darker", 1.0)[0]
    return Witnesses(
        traces,
        before,
        np.stack([before + properties for _, properties in each]).astype(np.float32),
        np.zeros((0, CELLS), dtype=np.float32),
        np.zeros((len(traces), 0, CELLS), dtype=np.float32),
        np.stack([embedding for embedding, _ in each]).astype(np.float32),
        (Probe("light", "a dark photo", "a bright photo", ("darker",), ("brighter",)),),
        (direction / np.linalg.norm(direction))[None].astype(np.float32),
    )


@cache
def explainer(cameras: int = 1) -> Explainer:
    reference = sample(1, cameras=cameras)
    blocks = labelled_blocks(np.arange(ROWS) // A_BLOCK, reference.slices["camera"])
    found = build_explainer(reference, blocks, witnesses(), timed=False)
    assert found is not None
    return found


def ask(window: Sample, by: Explainer | None = None, *, drifted: bool = True) -> Cause:
    of_row = np.arange(len(window)) // A_BLOCK
    slices = window.slices["camera"].astype(str)
    return (by or explainer()).explain("all", window, of_row=of_row, slices=slices, drifted=drifted)


def window(seed: int, cause: str | None = None, size: float = 1.0, cameras: int = 1) -> Sample:
    return sample(seed, WINDOW_BLOCKS * A_BLOCK, cause, size, cameras)


# Named where it is known


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("size", [0.7, 1.0, 1.5])
def test_a_known_fault_is_named_and_two_witnesses_agree(cause, size):
    found = ask(window(100, cause, size))
    assert found.word == cause
    assert {"property", "signature"} <= set(found.agreed)


def test_a_fault_of_every_camera_is_named_though_cameras_look_at_different_things():
    found = ask(window(101, "noisy", cameras=3), explainer(cameras=3))
    assert found.word == "noisy"


def test_properties_alone_name_a_fault_that_leaves_no_doubt():
    found = ask(window(102, "darker", 2.5), replace(explainer(), embeddings=None))
    assert (found.word, found.agreed) == ("darker", ("property",))


def test_the_evidence_says_what_a_property_was_and_is():
    found = ask(window(103, "darker", 1.5))
    brightness = next(one for one in found.evidence if one.name == PROPERTIES[0])
    assert brightness.before == pytest.approx(float(sample(1).properties[:, 0].mean()))
    assert brightness.after == pytest.approx(brightness.before - 0.15, abs=0.05)
    assert brightness.moved == pytest.approx(-1.5, abs=0.4)


def test_a_probe_testifies_for_the_fault_that_its_words_mean():
    assert "probe" in ask(window(104, "darker", 1.5)).agreed


# Quiet where it is not


def test_words_are_spoken_of_few_windows_in_which_nothing_has_drifted():
    spoken = [ask(window(seed)).word for seed in range(200, 400)]
    assert np.mean([word is not None for word in spoken]) <= 0.05


@pytest.mark.parametrize("panel", ["property", "signature", "probe"])
def test_a_panel_is_beyond_chance_as_often_as_it_says(panel):
    """At one in ten; the allowance for an unlucky reference makes it fewer, and 200 windows are unsure by 0.02."""
    by = explainer()
    space = by.properties if panel == "property" else by.embeddings
    assert space is not None
    beyond = 0
    for seed in range(400, 600):
        one = window(seed)
        rows = by.scale.standard(one.properties) if panel == "property" else one.embeddings
        slices = np.full(len(one), "c0")
        moments = moments_by_slice(space.reference.coordinates(rows), np.arange(len(one)) // A_BLOCK, slices)
        beyond += bool(space.read("all", moments)[panel].p.min() <= 0.1)
    assert 0.005 <= beyond / 200 <= 0.16


def test_new_content_is_no_fault():
    """As strong as a fault, and along none of them."""
    one = window(105)
    strange = np.zeros(DIMENSION)
    strange[10:] = 1.0
    found = ask(replace(one, embeddings=one.embeddings + strange.astype(np.float32)))
    assert found.word is None


@pytest.mark.parametrize(("strength", "word"), [(0.0, "darker"), (2.0, None)])
def test_another_scene_that_is_darker_as_well_is_no_darkness(strength, word):
    """The properties leave no doubt, and the embeddings have moved far along no fault."""
    one, dark = window(112), window(112, "darker", 2.5)
    strange = np.zeros(DIMENSION, dtype=np.float32)
    strange[10:] = strength
    found = ask(replace(dark, embeddings=one.embeddings + strange), replace(explainer(), layouts=None))
    assert found.word == word
    assert bool(found.agreed) == bool(word)
    assert ("moved far" in found.why) == (word is None)


@pytest.mark.parametrize(
    ("of_properties", "of_embeddings", "word"), [(1.0, 1.0, "darker"), (5.0, 5.0, "darker"), (1.0, 5.0, None)]
)
def test_a_move_longer_than_the_fault_ever_made_is_not_its_own_unless_the_image_is_worse_too(
    of_properties, of_embeddings, word
):
    """To a network that knows little, all else is like something that it knows."""
    one, farther = window(113, "darker", of_properties), window(113, "darker", of_embeddings)
    found = ask(replace(one, embeddings=farther.embeddings), replace(explainer(), layouts=None))
    assert found.word == word
    assert ("moved far" in found.why) == (word is None)


@pytest.mark.parametrize(("strength", "word"), [(0.0, "darker"), (0.4, None)])
def test_what_words_and_embeddings_see_is_not_named_where_the_pixels_moved_far_and_otherwise(strength, word):
    strange = np.zeros(len(PROPERTIES), dtype=np.float32)
    strange[8:] = strength
    one, dark = window(114), window(114, "darker", 1.7)
    found = ask(replace(dark, properties=one.properties + strange), replace(explainer(), layouts=None))
    assert found.word == word
    assert ("moved far" in found.why) == (word is None)


@pytest.mark.parametrize(("strength", "word"), [(0.2, "noisy"), (1.1, None)])
def test_a_far_move_that_no_trace_fits_well_is_not_named(strength, word):
    """Of a near one chance would excuse it."""
    noisy = window(115, "noisy", 3.0)
    strange, of_pixels = np.zeros(DIMENSION, dtype=np.float32), np.zeros(len(PROPERTIES), dtype=np.float32)
    strange[10:], of_pixels[8:] = strength, 0.08 * strength
    far = replace(noisy, embeddings=noisy.embeddings + strange, properties=noisy.properties + of_pixels)
    assert ask(far, replace(explainer(), layouts=None)).word == word


@pytest.mark.parametrize(
    ("cause", "brightness", "p", "against"),
    [
        ("brighter", -9.0, 1e-6, "brightness"),
        ("brighter", -9.0, 0.2, ""),
        ("brighter", 9.0, 1e-6, ""),
        ("darker", -9.0, 1e-6, ""),
        ("snowy", -9.0, 1e-6, ""),
    ],
)
def test_a_picture_of_nothing_is_clipped_and_not_brighter(cause, brightness, p, against):
    """What the word is about must not have moved the other way."""
    moves = np.zeros((3, len(PROPERTIES)), dtype=np.float32)
    place, clipped = PROPERTIES.index("brightness"), PROPERTIES.index("clipping")
    moves[:, place], moves[:, clipped] = [1.0, -1.0, 1.0], [3.0, 1.0, 0.0]
    z, chances = np.zeros(len(PROPERTIES)), np.ones(len(PROPERTIES))
    z[place], chances[place] = brightness, p
    readings = {
        "property": Reading(Panel("property", PROPERTIES, np.eye(len(PROPERTIES))), z, chances, np.zeros(len(z))),
        "pattern": Reading(
            Panel("pattern", ("a", "b", "c"), moves, matched=True), np.ones(3), np.full(3, 1e-6), np.ones(3)
        ),
    }
    assert contradiction(readings, ("brighter", "darker", "snowy"), cause) == against


def test_embeddings_of_one_fault_and_properties_of_another_are_unknown():
    fault, other = window(106, "darker", 1.2), window(106, "noisy", 1.2)
    found = ask(replace(fault, properties=other.properties))
    assert found.word is None
    assert "do not agree" in found.why


# Where things are

VIEWS = np.abs(np.random.default_rng(7).normal(size=(3, LAYOUT_SIDE, LAYOUT_SIDE)))
ALONG = {"shifted": np.eye(DIMENSION)[9], "zoomed": np.eye(DIMENSION)[12]}


def displaced(layouts: np.ndarray, fault: str) -> np.ndarray:
    """(..., side, side) as a fault leaves them."""
    if fault == "shifted":
        return np.roll(layouts, 3, axis=-1)
    return layouts[..., 3:9, 3:9].repeat(2, axis=-2).repeat(2, axis=-1)


def seen(seed: int, rows: int, fault: str = "", *, cameras: int = 3, only: int | None = None, free: bool = False):
    """Frames of fixed cameras, or of one that looks anywhere (``free``), after a fault of all or of one (``only``)."""
    rng = np.random.default_rng((seed, 1))
    base = sample(seed, rows, cameras=cameras)
    camera = np.array([int(name[1:]) for name in base.slices["camera"]])
    layouts = np.abs(rng.normal(size=(rows, LAYOUT_SIDE, LAYOUT_SIDE))) * (1.0 if free else 0.4)
    layouts = layouts if free else layouts + VIEWS[camera]
    embeddings = base.embeddings
    if fault:
        hit = np.ones(rows, dtype=bool) if only is None else camera == only
        layouts = np.where(hit[:, None, None], displaced(layouts, fault), layouts)
        embeddings = embeddings + (hit[:, None] * ALONG[fault]).astype(np.float32)
    flat = layouts.reshape(rows, -1)
    return replace(
        base,
        embeddings=embeddings,
        layouts=(flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32),
    )


@cache
def sees_places(*, free: bool = False) -> Explainer:
    shown = seen(9, 36, free=free)
    assert shown.layouts is not None
    traces = tuple(Trace(fault, 2) for fault in ALONG)
    squares = shown.layouts.reshape(-1, LAYOUT_SIDE, LAYOUT_SIDE)
    after = np.stack([displaced(squares, fault).reshape(len(squares), -1) for fault in ALONG])
    learnt = replace(
        witnesses(),
        traces=traces,
        before=shown.properties,
        after=np.stack([shown.properties] * len(traces)),
        layouts_before=shown.layouts,
        layouts_after=(after / np.linalg.norm(after, axis=2, keepdims=True)).astype(np.float32),
        moves=np.stack(list(ALONG.values())).astype(np.float32),
        probes=(),
        directions=np.zeros((0, DIMENSION), dtype=np.float32),
    )
    reference = seen(1, ROWS, free=free)
    blocks = labelled_blocks(np.arange(ROWS) // A_BLOCK, reference.slices["camera"])
    found = build_explainer(reference, blocks, learnt, timed=False)
    assert found is not None
    return found


@pytest.mark.parametrize("fault", ALONG)
def test_layout_and_signature_name_what_has_moved_and_properties_cannot_see(fault):
    shown = seen(120, 180, fault)
    found = ask(shown, sees_places())
    assert (found.word, found.agreed) == (fault, ("layout", "signature"))
    assert any(one.text.startswith(f"edges like {fault}") for one in found.evidence)
    assert ask(shown, replace(sees_places(), layouts=None)).word is None


def test_one_camera_that_was_turned_is_named_by_the_traces_on_its_own_view():
    shown = seen(121, 270, "shifted", only=1)

    def word(camera):
        own = shown.slices["camera"] == camera
        of_row, slices = (np.arange(270) // A_BLOCK)[own], np.full(own.sum(), camera)
        return sees_places().explain(camera, shown.take(own), of_row=of_row, slices=slices, drifted=True).word

    assert (word("c1"), word("c2")) == ("shifted", None)


def test_the_layout_of_healthy_windows_says_nothing():
    for free in (False, True):
        spoken = [
            "layout" in {e.witness for e in ask(seen(seed, 180, free=free), sees_places(free=free)).evidence}
            for seed in range(50)
        ]
        assert np.mean(spoken) <= 0.06, free


def test_where_the_view_is_free_the_layout_of_a_shift_says_nothing():
    found = ask(seen(122, 180, "shifted", free=True), sees_places(free=True))
    assert found.word is None
    assert {one.witness for one in found.evidence} == {"signature"}


def test_no_word_is_spoken_of_a_window_that_has_not_drifted():
    found = ask(window(107, "darker", 1.5), drifted=False)
    assert (found.word, found.evidence, found.text) == (None, (), "")


def test_every_witness_is_on_record_whether_or_not_anything_has_drifted():
    names = set(ask(window(108), drifted=False).readings)
    assert {("property", name) for name in PROPERTIES} <= names
    assert {("signature", cause) for cause in CAUSES} | {("probe", "light")} <= names


# What a reference lacks


def test_without_witnesses_properties_that_moved_are_told_and_nothing_is_named():
    reference = sample(1)
    bare = build_explainer(reference, labelled_blocks(np.arange(ROWS) // A_BLOCK), None, timed=False)
    assert bare is not None
    found = ask(replace(window(109, "darker", 1.5), slices={"camera": np.full(90, "", dtype=object)}), bare)
    assert found.word is None
    assert {one.name for one in found.evidence} >= set(PROPERTIES[:2])


def test_a_reference_without_properties_still_hears_signatures_and_probes():
    reference = replace(sample(1), properties=None)
    by = build_explainer(reference, labelled_blocks(np.arange(ROWS) // A_BLOCK), witnesses(), timed=False)
    found = ask(replace(window(110, "darker", 1.5), slices={"camera": np.full(90, "", dtype=object)}), by)
    assert (found.word, found.agreed) == ("darker", ("signature", "probe"))


def test_witnesses_of_another_embedder_are_not_asked():
    reference = replace(sample(1), embeddings=np.ones((ROWS, 8), dtype=np.float32))
    by = build_explainer(reference, labelled_blocks(np.arange(ROWS) // A_BLOCK), witnesses(), timed=False)
    assert by is not None
    assert by.embeddings is None


def test_a_reference_of_few_rows_has_no_explainer():
    few = sample(1, 30)
    assert build_explainer(few, labelled_blocks(np.arange(30)), witnesses(), timed=False) is None


def test_a_window_without_images_says_nothing():
    nothing = replace(window(111), properties=None, embeddings=np.full((90, DIMENSION), np.nan, dtype=np.float32))
    found = ask(nothing)
    assert (found.word, found.evidence, dict(found.readings)) == (None, (), {})


# The verdict

causes = st.lists(st.sampled_from(("darker", "blurred", "motion blurred", "coarser", "foggy")), min_size=1, unique=True)


@given(first=causes, second=causes)
def test_two_witnesses_name_a_fault_only_where_both_testify_to_it(first, second):
    word, agreed, _ = verdict([Statement("property", tuple(first)), Statement("signature", tuple(second))])
    both = set(first) & set(second)
    if word is None:
        assert len(both) != 1
    else:
        assert agreed == ("property", "signature")
        assert both == {word} or both <= ALIKE[word]


@given(first=causes, match=st.floats(0, 1), p=st.floats(0, 1))
def test_one_witness_alone_names_nothing_but_properties_without_doubt(first, match, p):
    assert verdict([Statement("signature", tuple(first), match, p)])[0] is None
    word = verdict([Statement("property", tuple(first), match, p)])[0]
    assert word is None or (match >= ALONE_MATCH and p <= ALONE_ALPHA)


def test_a_third_witness_that_disagrees_outvotes_no_two_that_agree():
    word, agreed, _ = verdict(
        [Statement("property", ("noisy",)), Statement("signature", ("noisy",)), Statement("probe", ("darker",))]
    )
    assert (word, agreed) == ("noisy", ("property", "signature"))


def test_what_two_see_in_one_embedding_does_not_outvote_the_pixels():
    word, _, _ = verdict(
        [Statement("property", ("noisy",)), Statement("signature", ("darker",)), Statement("probe", ("darker",))]
    )
    assert word is None


def test_properties_alone_name_nothing_that_has_moved():
    assert verdict([Statement("property", ("shifted",), match=1.0, p=1e-9)])[0] is None


def test_of_what_has_moved_the_layout_is_heard_and_not_the_properties():
    resampled, moved = Statement("property", ("coarser", "blurred")), Statement("layout", ("rotated",))
    word, agreed, _ = verdict([resampled, moved, Statement("signature", ("rotated",))])
    assert (word, agreed) == ("rotated", ("layout", "signature"))
    word, _, _ = verdict([resampled, Statement("layout", ("foggy",)), Statement("signature", ("foggy",))])
    assert word is None


def test_properties_are_no_second_witness_of_what_has_moved():
    blurred = [Statement("property", ("shifted", "rotated")), Statement("layout", ("blurred", "rotated"))]
    assert verdict(blurred)[0] is None
    assert verdict([*blurred, Statement("signature", ("rotated",))])[0] == "rotated"
    assert verdict([Statement("property", ("noisy",)), Statement("layout", ("noisy", "rainy"))])[0] == "noisy"


def test_a_layout_alone_names_nothing_and_is_not_outvoted_by_two_that_see_one_embedding():
    moved = Statement("layout", ("shifted",), match=1.0, p=1e-9)
    assert verdict([moved])[0] is None
    assert verdict([moved, Statement("signature", ("noisy",)), Statement("probe", ("noisy",))])[0] is None


def test_pixels_that_agree_half_with_one_and_half_with_another_settle_nothing():
    said = [
        Statement("property", ("noisy", "darker")),
        Statement("signature", ("noisy",)),
        Statement("probe", ("darker",)),
    ]
    word, _, why = verdict(said)
    assert word is None
    assert "do not agree" in why


def test_faults_that_cannot_be_told_apart_are_named_by_their_kind():
    blurs = ("blurred", "coarser")
    assert verdict([Statement("property", blurs), Statement("signature", blurs)])[0] == "less sharp"


def test_a_third_witness_for_another_fault_of_the_kind_leaves_the_name_of_the_kind():
    agreeing = [Statement("property", ("motion blurred",)), Statement("signature", ("motion blurred", "coarser"))]
    assert verdict([*agreeing, Statement("layout", ("blurred",))])[:2] == ("less sharp", ("property", "signature"))
    assert verdict([*agreeing, Statement("layout", ("motion blurred", "blurred"))])[0] == "motion blurred"
    assert verdict([*agreeing, Statement("layout", ("rotated",))])[0] == "motion blurred"


def reading(z: list[float], panel: Panel) -> Reading:
    values = np.array(z)
    return Reading(panel, values, 10.0 ** -np.abs(values), np.zeros(len(z)))


def test_the_side_to_which_a_probe_moves_decides_what_it_means():
    light = (Probe("light", "a dark photo", "a bright photo", ("darker",), ("brighter",)),)
    panel = Panel("probe", ("light",), np.ones((1, 4), dtype=np.float32))
    found = [statement_of_probes(reading([z], panel), light) for z in (5.0, -5.0, 0.5)]
    assert [one.causes if one else None for one in found] == [("darker",), ("brighter",), None]


def test_probes_of_a_users_own_are_heard_and_name_nothing():
    own = (Probe("train", "a train", "a bus"),)
    panel = Panel("probe", ("train",), np.ones((1, 4), dtype=np.float32))
    assert statement_of_probes(reading([9.0], panel), own) is None


def test_the_words_of_probes_are_faults_that_exist():
    from visiondrift.corruptions import CORRUPTIONS

    meant = {cause for probe in PROBES for cause in (*probe.toward, *probe.away)}
    assert meant | {cause for kind in ALIKE.values() for cause in kind} <= set(CORRUPTIONS)


LOOKED = ("brightness", "sharpness", "noise")
MEANS = Means(np.array([0.4, -1.6, 0.01]), np.array([0.1, 0.1, 0.01]), np.array([0.2, -2.1, 0.01]))


def seen_of(word: str | None, agreed: tuple[str, ...] = ("property", "signature", "probe")) -> Cause:
    """Sharpness and the probe for fog are the farthest; brightness has fallen as well."""
    properties = reading([-10.0, -30.0, 1.0], Panel("property", LOOKED, np.eye(3, dtype=np.float32)))
    ways = np.array([[-1.0, -2.0, 0.0], [0.0, -3.0, 0.0], [-1.0, -2.0, 0.5]], dtype=np.float32)
    pattern = Panel("pattern", ("darker 2.0", "rainy 2.0", "brighter 2.0"), ways, matched=True)
    probes = (Probe("fog", "foggy", "clear", ("foggy",)), Probe("light", "dark", "bright", ("darker",)))
    readings = {
        "property": properties,
        "pattern": replace(reading([9.0, 8.0, 1.0], pattern), match=np.array([0.9, 0.88, 0.1])),
        "signature": replace(reading([9.0, 8.0, 1.0], pattern), match=np.array([0.6, 0.62, 0.1])),
        "probe": reading([-20.0, 5.0], Panel("probe", ("fog", "light"), np.eye(2, dtype=np.float32))),
    }
    causes = ("darker", "rainy", "brighter")
    found = evidence_of(readings, causes, probes, word=word, agreed=agreed if word else (), means=MEANS)
    return Cause(drifted=True, word=word, why="", evidence=found, agreed=agreed if word else ())


def test_what_the_word_is_about_stands_beside_it_and_the_rest_was_also_seen():
    cause = seen_of("darker")
    assert [one.name for one in cause.evidence if one.supports] == ["brightness", "darker", "darker", "light"]
    assert [one.name for one in cause.also_seen] == ["sharpness", "fog"]
    assert cause.shown_property == "brightness"
    assert cause.text.startswith("darker; brightness 0.4 -> 0.2 ")
    assert "; also seen: sharpness -1.6 -> -2.1 " in cause.text


def test_a_fault_that_no_property_is_named_after_shows_the_largest_part_of_its_pattern():
    assert seen_of("rainy").shown_property == "sharpness"


def test_what_did_not_agree_is_no_support():
    cause = seen_of("darker", agreed=("property", "signature"))
    assert {one.name for one in cause.also_seen} == {"sharpness", "fog", "light"}
    assert seen_of("darker", agreed=("signature", "probe")).shown_property == ""


def test_where_the_cause_is_unknown_the_property_that_moved_most_is_shown():
    cause = seen_of(None)
    assert not any(one.supports for one in cause.evidence)
    assert (cause.shown_property, "also seen" in cause.text) == ("sharpness", False)


def test_a_message_gives_numbers_a_person_can_check():
    property_ = Evidence("property", "brightness", -40.0, 1e-6, before=0.41, after=0.18, moved=-7.2, supports=True)
    signature = Evidence("signature", "darker", 30.0, 1e-5, match=0.93, supports=True)
    probe = Evidence("probe", "light", 5.1, 0.002)
    found = Cause(drifted=True, word="darker", why="", evidence=(property_, signature, probe))
    assert found.text == (
        "darker; brightness 0.41 -> 0.18 (7.2 reference sd, p 1e-6); signature darker 0.93 (p 1e-5); "
        "also seen: probe 'light' +5.1 (p 0.002)"
    )


def test_a_chance_below_what_a_fitted_tail_can_tell_is_said_as_less_than_that():
    assert Evidence("probe", "light", 99.8, 4e-182).text == "probe 'light' +99.8 (p < 1e-12)"


# The parts


@given(far=st.floats(1e3, 1e9), rows=st.integers(1, 5))
def test_no_image_counts_for_more_than_a_property_may_say(far, rows):
    values = np.random.default_rng(1).normal(size=(50, len(PROPERTIES)))
    scale = property_scale(values)
    assert np.abs(scale.standard(np.full((rows, len(PROPERTIES)), far))).max() == LIMIT


def test_a_property_in_which_the_reference_is_all_alike_still_has_a_scale():
    scale = property_scale(np.full((50, len(PROPERTIES)), 0.3))
    assert np.isfinite(scale.standard(np.full((1, len(PROPERTIES)), 0.31))).all()


def test_slices_of_a_space_have_nulls_of_their_own():
    rows = np.random.default_rng(3).normal(size=(400, 4)) * np.repeat([1.0, 5.0], 200)[:, None]
    blocks = labelled_blocks(np.arange(400), np.repeat(["still", "lively"], 200))
    space = build_space(rows, blocks, [Panel("probe", ("a", "b"), np.eye(2, 4, dtype=np.float32))])
    assert space.scales["lively"][0] > 3 * space.scales["still"][0]
    moments = moments_by_slice(
        space.reference.coordinates(rows[:20] + np.array([1.5, 0, 0, 0])), np.arange(20), np.full(20, "still")
    )
    assert space.read("still", moments)["probe"].p[0] < 1e-2
