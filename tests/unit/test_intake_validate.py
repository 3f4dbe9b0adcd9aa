"""The validator: every reason code by an event that earns it, what is accepted, and that nothing makes it raise."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_parts import DIGITS_CLIP, DIMENSION, NOW, base64_of, configuration, event, picture
from visiondrift.config import Config
from visiondrift.errors import EmbedderUnavailable
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.validate import FIELDS, Candidate, Validator, rules_of
from visiondrift.prediction import REASONS, Rejection

DAY = 86400.0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return configuration(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def validator(config: Config) -> Validator:
    rules = rules_of(config.models, config.monitoring.intake, keep=14 * DAY)
    return Validator(rules, Embedder(f"local-dir:{DIGITS_CLIP}"))


def accepted(validator: Validator, row: Any) -> Candidate:
    found = validator.check(row, index=3, now=NOW)
    assert isinstance(found, Candidate), found
    return found


def packed(values: Any, dtype: str) -> dict[str, str]:
    kind = {"float16": "<f2", "float32": "<f4"}[dtype]
    return {"dtype": dtype, "data": base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()}


REFUSED = {
    "no id": (event(id=None), "missing_field", "id"),
    "null id": ({**event(), "id": None}, "missing_field", "id"),
    "no time": (event(time=None), "missing_field", "time"),
    "no model": (event(model=None), "missing_field", "model"),
    "no version": (event(version=None), "missing_field", "version"),
    "time without a zone": (event(time="2026-09-21T10:00:00"), "bad_time", "time"),
    "time in words": (event(time="yesterday"), "bad_time", "time"),
    "a 30th of February": (event(time="2026-02-30T10:00:00Z"), "bad_time", "time"),
    "milliseconds": (event(time=NOW * 1000), "bad_time", "time"),
    "not a time": (event(time=float("nan")), "bad_time", "time"),
    "endless time": (event(time=float("inf")), "bad_time", "time"),
    "enormous integer time": (event(time=10**400), "bad_time", "time"),
    "true is no time": (event(time=True), "bad_time", "time"),
    "too far ahead": (event(time=NOW + 301), "bad_time", "time"),
    "older than the log keeps": (event(time=NOW - 14 * DAY - 1), "bad_time", "time"),
    "another model": (event(model="windows"), "unknown_model", "model"),
    "model is a list": (event(model=["doors"]), "unknown_model", "model"),
    "another slice label": (event(slices={"lens": "wide"}), "unknown_slice_label", "slices"),
    "slice label on a model without": (
        event(model="plain", slices={"camera": "left"}),
        "unknown_slice_label",
        "slices",
    ),
    "slices in a list": (event(slices=["camera"]), "bad_value", "slices"),
    "slice value with =": (event(slices={"camera": "a=b"}), "bad_value", "slices.camera"),
    "slice value with a quote": (event(slices={"camera": 'a"b'}), "bad_value", "slices.camera"),
    "slice value with a line break": (event(slices={"camera": "a\nb"}), "bad_value", "slices.camera"),
    "slice value with a backslash": (event(slices={"camera": "a\\b"}), "bad_value", "slices.camera"),
    "slice value with a comma": (event(slices={"camera": "a,b"}), "bad_value", "slices.camera"),
    "empty slice value": (event(slices={"camera": ""}), "bad_value", "slices.camera"),
    "long slice value": (event(slices={"camera": "x" * 65}), "bad_value", "slices.camera"),
    "number as slice value": (event(slices={"camera": 3}), "bad_value", "slices.camera"),
    "nothing to compare": (event(embedding=None, confidences=None), "no_input", ""),
    "image for a model with its own embeddings": (
        event(embedding=None, image=base64_of(picture())),
        "bad_value",
        "image",
    ),
    "image and embedding": (
        event(model="eyes", confidences=None, embedding=np.ones(64), image=base64_of(picture())),
        "bad_value",
        "image",
    ),
    "image that is no base64": (
        event(model="eyes", embedding=None, confidences=None, image="data:image/png;base64,AAAA"),
        "bad_image",
        "image",
    ),
    "image that is a number": (event(model="eyes", embedding=None, confidences=None, image=3), "bad_image", "image"),
    "image text too long": (
        event(model="eyes", embedding=None, confidences=None, image="A" * 14_000_000),
        "image_too_large",
        "image",
    ),
    "embedding of text": (event(embedding=["1", "2", "3", "4"]), "bad_embedding", "embedding"),
    "embedding of booleans": (event(embedding=[True, False, True, True]), "bad_embedding", "embedding"),
    "empty embedding": (event(embedding=[]), "bad_embedding", "embedding"),
    "nested embedding": (event(embedding=[[1.0], [2.0], [3.0], [4.0]]), "bad_embedding", "embedding"),
    "embedding with NaN": (event(embedding=[1.0, float("nan"), 1.0, 1.0]), "bad_embedding", "embedding"),
    "embedding with infinity": (event(embedding=[1.0, float("inf"), 1.0, 1.0]), "bad_embedding", "embedding"),
    "embedding of zeros": (event(embedding=[0, 0, 0, 0]), "bad_embedding", "embedding"),
    "embedding with a huge integer": (event(embedding=[10**400, 1, 1, 1]), "bad_embedding", "embedding"),
    "short embedding": (event(embedding=[1.0, 2.0]), "dimension_mismatch", "embedding"),
    "packed as float64": (event(embedding={"dtype": "float64", "data": "AAAA"}), "bad_embedding", "embedding"),
    "packed without data": (event(embedding={"dtype": "float16"}), "bad_embedding", "embedding"),
    "packed with half a number": (
        event(embedding={"dtype": "float32", "data": "AAAA"}),
        "bad_embedding",
        "embedding",
    ),
    "packed, not base64": (event(embedding={"dtype": "float32", "data": "%%%%"}), "bad_embedding", "embedding"),
    "packed short": (event(embedding=packed([1, 2], "float16")), "dimension_mismatch", "embedding"),
    "packed with infinity": (
        event(embedding=packed([1, np.inf, 1, 1], "float16")),
        "bad_embedding",
        "embedding",
    ),
    "confidence above one": (
        event(confidences={"open": 1.2, "shut": 0.1, "ajar": 0.1}),
        "bad_confidences",
        "confidences",
    ),
    "negative confidence": (event(confidences=[0.5, 0.6, -0.1]), "bad_confidences", "confidences"),
    "confidence NaN": (event(confidences=[0.5, 0.5, float("nan")]), "bad_confidences", "confidences"),
    "confidence in words": (event(confidences={"open": "high"}), "bad_confidences", "confidences"),
    "two confidences of three": (event(confidences=[0.5, 0.5]), "bad_confidences", "confidences"),
    "empty confidences": (event(confidences={}), "bad_confidences", "confidences"),
    "confidences as a number": (event(confidences=0.5), "bad_confidences", "confidences"),
    "confidence of another class": (event(confidences={"broken": 0.5}), "unknown_class", "confidences"),
    "confidences on a model without classes": (
        event(model="plain", slices=None, embedding=None, confidences=[0.5]),
        "unknown_class",
        "confidences",
    ),
    "another predicted class": (event(predicted_class="broken"), "unknown_class", "predicted_class"),
    "predicted class is a number": (event(predicted_class=1), "unknown_class", "predicted_class"),
    "id too long": (event(id="x" * 201), "bad_value", "id"),
    "empty id": (event(id=""), "bad_value", "id"),
    "id is a number": (event(id=7), "bad_value", "id"),
    "id with a lone surrogate": (event(id="a\ud800"), "bad_value", "id"),
    "version with a quote": (event(version='v"1'), "bad_value", "version"),
    "version with a space at its end": (event(version="v1 "), "bad_value", "version"),
    "negative latency": (event(latency_ms=-1), "bad_value", "latency_ms"),
    "endless latency": (event(latency_ms=float("inf")), "bad_value", "latency_ms"),
    "enormous latency": (event(latency_ms=10**400), "bad_value", "latency_ms"),
    "latency in words": (event(latency_ms="fast"), "bad_value", "latency_ms"),
    "address with a line break": (event(image_uri="s3://a\nb"), "bad_value", "image_uri"),
    "long trace": (event(trace_id="x" * 3000), "bad_value", "trace_id"),
    "kept for no known reason": (event(kept="because"), "bad_value", "kept"),
    "kept for a number": (event(kept=1), "bad_value", "kept"),
    "kept for one reason known and one not": (event(kept="every+because"), "bad_value", "kept"),
    "kept for no reason": (event(kept=""), "bad_value", "kept"),
    "metadata in a list": (event(metadata=[1]), "bad_value", "metadata"),
    "metadata with NaN": (event(metadata={"x": float("nan")}), "bad_value", "metadata"),
    "metadata of 5 KiB": (event(metadata={"x": "y" * 5000}), "bad_value", "metadata"),
    "metadata with a lone surrogate": (event(metadata={"x": "\ud800"}), "bad_value", "metadata"),
    "a field with a typing error": ({**event(), "confidence": 0.5}, "bad_value", "'confidence'"),
    "a list": ([1, 2], "bad_value", ""),
    "null": (None, "bad_value", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_event_is_refused_with_its_field_and_reason(validator: Validator, name: str) -> None:
    row, reason, field = REFUSED[name]
    found = validator.check(row, index=3, now=NOW)
    assert isinstance(found, Rejection), found
    assert (found.reason, found.field, found.index) == (reason, field, 3)
    assert "accepted" in found.message


def test_every_reason_has_an_event_that_earns_it_here_or_in_the_tests_of_intake_as_a_whole() -> None:
    elsewhere = {"too_many_slices"}
    assert {reason for _, reason, _ in REFUSED.values()} | elsewhere == set(REASONS)


def test_a_rejection_names_the_event_and_its_model(validator: Validator) -> None:
    found = validator.check(event(7, latency_ms=-1), index=0, now=NOW)
    assert isinstance(found, Rejection)
    assert (found.id, found.model) == ("event-7", "doors")


def test_what_is_no_configured_model_is_counted_as_unknown(validator: Validator) -> None:
    for row in (event(model="windows"), event(model=None), event(model={}), None, 3):
        found = validator.check(row, index=0, now=NOW)
        assert isinstance(found, Rejection)
        assert found.model == "unknown"


def test_a_message_stays_short_whatever_was_sent(validator: Validator) -> None:
    row = event(model="x" * 100_000, id="y" * 100_000)
    found = validator.check(row, index=0, now=NOW)
    assert isinstance(found, Rejection)
    assert len(found.message) < 300
    assert found.id is None


@pytest.mark.parametrize(
    ("given_time", "seconds"),
    [
        (NOW, NOW),
        (int(NOW), NOW),
        ("2026-09-21T13:33:20Z", 1789997600.0),
        ("2026-09-21T15:33:20+02:00", 1789997600.0),
        ("2026-09-21t13:33:20.250z", 1789997600.25),
        ("2026-09-21 13:33:20.123456789Z", 1789997600.123456),
        (datetime(2026, 9, 21, 13, 33, 20, tzinfo=UTC), 1789997600.0),
    ],
)
def test_times_are_read_as_rfc_3339_or_epoch_seconds(validator: Validator, given_time: Any, seconds: float) -> None:
    assert accepted(validator, event(time=given_time)).event.time == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("vector", [[3.0, 0.0, 4.0, 0.0], [3e300, 0.0, 4e300, 0.0], [3e-300, 0, 4e-300, 0]])
def test_an_embedding_comes_out_with_unit_length_however_long_it_was(validator: Validator, vector: list[float]) -> None:
    embedding = accepted(validator, event(embedding=vector)).event.embedding
    assert embedding is not None
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, [0.6, 0, 0.8, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_packed_embedding_says_the_same_as_a_list(validator: Validator, dtype: str) -> None:
    values = [0.5, -0.25, 1.0, 2.0]
    listed = accepted(validator, event(embedding=values)).event.embedding
    found = accepted(validator, event(embedding=packed(values, dtype))).event.embedding
    np.testing.assert_array_equal(found, listed)


def test_the_embedding_is_stamped_with_the_name_that_the_model_gives_it(validator: Validator) -> None:
    assert accepted(validator, event()).event.embedder == "own-clip"


def test_an_embedding_for_a_model_of_the_service_is_stamped_with_the_service_s_embedder(validator: Validator) -> None:
    row = event(model="eyes", confidences=None, embedding=np.ones(64))
    clip = Embedder(f"local-dir:{DIGITS_CLIP}")
    assert accepted(validator, row).event.embedder == clip.identity
    assert clip.identity.startswith("digits-clip@")


def test_no_embedder_is_the_service_s_fault_and_no_rejection(config: Config, tmp_path: Path) -> None:
    rules = rules_of(config.models, config.monitoring.intake, keep=DAY)
    broken = Validator(rules, Embedder(f"local-dir:{tmp_path}/none"))
    with pytest.raises(EmbedderUnavailable):
        broken.check(event(model="eyes", embedding=[1.0], confidences=None), index=0, now=NOW)
    assert isinstance(broken.check(event(), index=0, now=NOW), Candidate)


def test_a_vector_of_confidences_follows_the_configured_order(validator: Validator) -> None:
    found = accepted(validator, event(confidences=[0.2, 0.1, 0.7])).event
    assert (found.classes, found.predicted_class) == (("open", "shut", "ajar"), "ajar")
    np.testing.assert_allclose(found.confidences, [0.2, 0.1, 0.7])


def test_a_map_may_name_some_classes_and_the_others_stay_unknown(validator: Validator) -> None:
    found = accepted(validator, event(confidences={"ajar": 0.6, "open": 0.3})).event
    np.testing.assert_allclose(found.confidences, [0.3, np.nan, 0.6], rtol=1e-6)
    assert found.predicted_class == "ajar"


def test_rounding_just_outside_of_zero_to_one_is_cut_off(validator: Validator) -> None:
    found = accepted(validator, event(confidences=[1.0000004, -1e-7, 0.0])).event
    np.testing.assert_array_equal(found.confidences, np.array([1, 0, 0], dtype=np.float32))


def test_a_predicted_class_that_is_given_wins_over_the_highest_confidence(validator: Validator) -> None:
    assert accepted(validator, event(predicted_class="shut")).event.predicted_class == "shut"


def test_everything_else_arrives_as_sent(validator: Validator) -> None:
    row = event(
        slices={"site": "north", "camera": "left"},
        latency_ms=12,
        image_uri="s3://bucket/1.jpg",
        trace_id="4bf9",
        metadata={"lens": "wide", "n": [1, 2]},
    )
    found = accepted(validator, row).event
    assert found.slices == (("camera", "left"), ("site", "north"))
    assert (found.latency_ms, found.image_uri, found.trace_id) == (12.0, "s3://bucket/1.jpg", "4bf9")
    assert found.metadata == {"lens": "wide", "n": [1, 2]}


def test_an_image_waits_encoded_for_its_embedding(validator: Validator) -> None:
    data = picture()
    found = accepted(validator, event(model="eyes", embedding=None, confidences=None, image=base64_of(data)))
    assert (found.image, found.event.embedding, found.event.embedder) == (data, None, "")


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
_CHANGES = st.dictionaries(st.sampled_from(FIELDS), _VALUES, max_size=4)


@settings(deadline=None)
@given(row=_VALUES)
def test_anything_at_all_is_an_event_or_a_rejection(validator: Validator, row: Any) -> None:
    assert isinstance(validator.check(row, index=0, now=NOW), Candidate | Rejection)


@settings(deadline=None)
@given(changes=_CHANGES)
def test_any_change_to_a_valid_event_leaves_an_event_or_a_rejection(
    validator: Validator, changes: dict[str, Any]
) -> None:
    found = validator.check({**event(), **changes}, index=0, now=NOW)
    assert isinstance(found, Candidate | Rejection)
    if isinstance(found, Rejection):
        json.dumps(found.message).encode()
        assert found.reason in REASONS
    else:
        _is_fit_for_the_log(found)


def _is_fit_for_the_log(candidate: Candidate) -> None:
    found = candidate.event
    assert 0 < len(found.id) <= 200
    assert np.isfinite(found.time)
    if found.embedding is not None:
        assert found.embedding.shape == (DIMENSION,)
        assert abs(float(np.linalg.norm(found.embedding)) - 1) < 1e-5
    json.dumps(dict(found.metadata), allow_nan=False).encode()


@settings(deadline=None)
@given(vector=st.lists(st.floats(), min_size=DIMENSION, max_size=DIMENSION))
def test_an_embedding_of_any_floats_is_a_unit_vector_or_refused(validator: Validator, vector: list[float]) -> None:
    found = validator.check(event(embedding=vector), index=0, now=NOW)
    if isinstance(found, Candidate):
        _is_fit_for_the_log(found)
    else:
        assert found.reason == "bad_embedding"
