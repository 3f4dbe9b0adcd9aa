"""References: kept whole, checked when loaded, refused with both embedders named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from visiondrift.errors import BadInput, ReferenceUnusable
from visiondrift.parquet import write_sample
from visiondrift.prediction import Sample
from visiondrift.reference import (
    Manifest,
    list_references,
    load_reference,
    open_reference,
    read_manifest,
    save_reference,
)

NOON = 1_790_000_000.0
CLIP = "ViT-B-32/laion2b_s34b_b79k"


def a_sample(rows: int = 6, dimension: int = 4) -> Sample:
    rng = np.random.default_rng(rows)
    return Sample(
        times=NOON + np.arange(rows, dtype=np.float64),
        ids=np.array([f"id-{row}" for row in range(rows)], dtype=object),
        slices={"camera": np.array(["north", "south"] * (rows // 2), dtype=object)},
        classes=("cat", "dog"),
        embeddings=rng.normal(size=(rows, dimension)).astype(np.float32),
        confidences=np.tile(np.float32([0.75, 0.25]), (rows, 1)),
        predicted=np.zeros(rows, dtype=np.int32),
        latency_ms=np.full(rows, 12.5),
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    directory = tmp_path / "animals"
    save_reference(directory, a_sample(), embedder=CLIP, source="images in photos/", now=NOON + 60)
    return directory


def why_refused(directory: Path, *, embedder: str | None = CLIP, dimension: int | None = 4) -> str:
    with pytest.raises(ReferenceUnusable) as caught:
        load_reference(directory, embedder=embedder, dimension=dimension)
    text = str(caught.value)
    assert text.endswith(f"Build it anew with: visiondrift reference build {directory.name}")
    return text


def test_a_reference_comes_back_with_its_manifest(saved: Path) -> None:
    reference = load_reference(saved, embedder=CLIP, dimension=4)
    np.testing.assert_array_equal(reference.sample.embeddings, a_sample().embeddings)
    assert reference.manifest.model_copy(update={"content_hash": ""}) == Manifest(
        name="animals",
        format=2,
        embedder=CLIP,
        dimension=4,
        rows=6,
        classes=("cat", "dog"),
        slices={"camera": ("north", "south")},
        source="images in photos/",
        since="2026-09-21T14:13:20.000Z",
        until="2026-09-21T14:13:25.000Z",
        content_hash="",
        created="2026-09-21T14:14:20.000Z",
        labelled=0,
        times="capture",
    )
    assert reference.manifest.created_seconds == NOON + 60


def test_only_the_two_files_are_left_behind(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["manifest.json", "reference.parquet"]
    assert [path.name for path in saved.parent.iterdir()] == ["animals"]


def test_another_embedder_is_refused_with_both_named(saved: Path) -> None:
    assert why_refused(saved, embedder="local-dir:digits-clip", dimension=128) == (
        f"{saved}: the reference was made with the embedder {CLIP} (4 columns), the model is embedded by "
        "local-dir:digits-clip (128 columns): they cannot be compared. "
        "Build it anew with: visiondrift reference build animals"
    )


def test_another_dimension_is_refused_with_both_named(saved: Path) -> None:
    assert f"has embeddings of 4 columns ({CLIP}), the model has 8 ({CLIP})" in why_refused(saved, dimension=8)


def test_what_is_not_known_of_the_model_is_not_checked(saved: Path) -> None:
    assert len(load_reference(saved, embedder=None, dimension=None).sample) == 6


def test_a_reference_without_embeddings_fits_every_embedder(tmp_path: Path) -> None:
    save_reference(tmp_path / "bare", a_sample(dimension=0), embedder="", source="log", now=NOON)
    assert load_reference(tmp_path / "bare", embedder=CLIP, dimension=512).sample.dimension == 0


def test_classes_asked_for_give_the_order_of_confidences(saved: Path) -> None:
    reference = load_reference(saved, embedder=CLIP, dimension=4, classes=("dog", "cat", "cow"))
    np.testing.assert_array_equal(reference.sample.confidences[0], np.float32([0.25, 0.75, np.nan]))


def test_a_class_of_the_reference_that_the_model_lacks_is_refused(saved: Path) -> None:
    with pytest.raises(ReferenceUnusable, match=r"column confidence_dog names a class that is not configured"):
        load_reference(saved, embedder=CLIP, dimension=4, classes=("cat",))


def test_a_missing_reference_says_how_to_build_it(tmp_path: Path) -> None:
    assert why_refused(tmp_path / "none").startswith(f"{tmp_path / 'none'}: there is no such reference. ")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "manifest.json").unlink(), "manifest.json cannot be read (No such file or directory)"),
        (lambda d: (d / "reference.parquet").unlink(), "reference.parquet cannot be read (No such file or directory)"),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json: it is not JSON"),
        (lambda d: (d / "manifest.json").write_text("{}"), "manifest.json: name is missing"),
        (
            lambda d: (d / "reference.parquet").write_bytes((d / "reference.parquet").read_bytes()[:-1]),
            "reference.parquet is not the file that manifest.json describes (its hash differs)",
        ),
        (
            lambda d: write_sample(d / "reference.parquet", a_sample(8)),
            "reference.parquet is not the file that manifest.json describes (its hash differs)",
        ),
    ],
)
def test_a_damaged_reference_is_refused(damage: object, says: str, saved: Path) -> None:
    damage(saved)  # type: ignore[operator]
    assert says in why_refused(saved)


def test_a_manifest_of_a_later_format_is_refused(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | {"format": 3, "weather": "fog"}))
    assert "the reference has format 3, this version reads up to 2" in why_refused(saved)


def test_a_manifest_of_the_first_format_has_no_labels_and_times_of_capture(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    first = {key: value for key, value in manifest.items() if key not in {"labelled", "times"}} | {"format": 1}
    (saved / "manifest.json").write_text(json.dumps(first))
    loaded = load_reference(saved, embedder=CLIP, dimension=4).manifest
    assert (loaded.format, loaded.labelled, loaded.times) == (1, 0, "capture")


def test_a_labelled_reference_keeps_its_true_classes_and_counts_them(tmp_path: Path) -> None:
    labelled = replace(a_sample(), labels=np.int32([0, 1, -1, 0, -1, 1]))
    save_reference(tmp_path / "pets", labelled, embedder=CLIP, source="a file", now=NOON)
    reference = load_reference(tmp_path / "pets", embedder=CLIP, dimension=4, classes=("cow", "dog", "cat"))
    assert reference.manifest.labelled == 4
    assert reference.sample.labels is not None
    assert list(reference.sample.labels) == [2, 1, -1, 2, -1, 1], "in the order of the classes asked for"
    assert open_reference(tmp_path / "pets" / "reference.parquet").manifest.labelled == 4


def test_a_true_class_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    labelled = replace(a_sample(), classes=("cat", "cow"), confidences=np.full((6, 2), np.nan, dtype=np.float32))
    write_sample(tmp_path / "rows.parquet", replace(labelled, labels=np.ones(6, dtype=np.int32)))
    table = pq.read_table(tmp_path / "rows.parquet").drop_columns(["confidence_cat", "confidence_cow"])
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(BadInput, match=r"column label: row 0 is 'cow', which is not one of the classes cat, dog"):
        open_reference(tmp_path / "rows.parquet", classes=("cat", "dog"))


def test_times_of_files_are_kept_apart_from_times_of_capture(tmp_path: Path) -> None:
    save_reference(tmp_path / "photos", a_sample(), embedder=CLIP, source="images", now=NOON, times="file")
    assert read_manifest(tmp_path / "photos").times == "file"


@pytest.mark.parametrize("wrong", [{"times": "upload"}, {"labelled": -1}])
def test_a_manifest_with_a_value_that_cannot_be_is_refused(wrong: dict[str, object], saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | wrong))
    ((name, value),) = wrong.items()
    assert f"manifest.json: {name} cannot be {value!r}" in why_refused(saved)


def test_a_manifest_that_counts_wrongly_is_refused(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | {"rows": 5}))
    assert "manifest.json says 5 rows of 4 columns, reference.parquet has 6 of 4" in why_refused(saved)


def test_an_existing_reference_is_kept_unless_told_otherwise(saved: Path) -> None:
    with pytest.raises(BadInput, match="animals exists; choose another name, or say that it is to be overwritten"):
        save_reference(saved, a_sample(8), embedder=CLIP, source="log", now=NOON)
    assert read_manifest(saved).rows == 6
    save_reference(saved, a_sample(8), embedder=CLIP, source="log", now=NOON, overwrite=True)
    assert len(load_reference(saved, embedder=CLIP, dimension=4).sample) == 8
    assert [path.name for path in saved.parent.iterdir()] == ["animals"]


def test_a_failed_overwrite_leaves_the_old_reference(saved: Path) -> None:
    """The new sample cannot be written (a slice label that is a column): nothing changes, nothing is left over."""
    bad = replace(a_sample(), slices={"time": np.array(["x"] * 6, dtype=object)})
    with pytest.raises(BadInput):
        save_reference(saved, bad, embedder=CLIP, source="log", now=NOON, overwrite=True)
    assert len(load_reference(saved, embedder=CLIP, dimension=4).sample) == 6
    assert [path.name for path in saved.parent.iterdir()] == ["animals"]


def test_a_replacement_cut_short_is_pointed_out(saved: Path) -> None:
    """The process died between moving the old one aside and the new one in: the message says where the old one is."""
    aside = saved.parent / ".animals.old"
    shutil.move(saved, aside)
    assert f"(an interrupted replacement left the one before it in {aside})" in why_refused(saved)


@pytest.mark.parametrize(
    ("name", "sample", "embedder", "says"),
    [
        ("-x", a_sample(), CLIP, "'-x' cannot be the name of a reference"),
        ("empty", a_sample().take(np.zeros(6, dtype=bool)), CLIP, "there are no rows to keep"),
        ("nameless", a_sample(), "", "what made them is not said; name the embedder"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(
    name: str, sample: Sample, embedder: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=says):
        save_reference(tmp_path / name, sample, embedder=embedder, source="log", now=NOON)
    assert list(tmp_path.iterdir()) == []


def test_a_bare_parquet_file_is_a_reference_of_unknown_embedder(tmp_path: Path) -> None:
    write_sample(tmp_path / "rows.parquet", a_sample())
    reference = open_reference(tmp_path / "rows.parquet", embedder=CLIP)
    assert (reference.manifest.name, reference.manifest.embedder, reference.manifest.rows) == ("rows", "", 6)
    with pytest.raises(ReferenceUnusable, match="has embeddings of 4 columns"):
        open_reference(tmp_path / "rows.parquet", dimension=8)


def test_a_folder_opens_as_its_reference(saved: Path) -> None:
    assert open_reference(saved).manifest == read_manifest(saved)


def test_listing_shows_the_good_and_what_is_wrong_with_the_bad(saved: Path) -> None:
    (saved.parent / "broken").mkdir()
    (saved.parent / ".half.new-x").mkdir()
    good, bad = list_references(saved.parent)
    assert (good.name, good.manifest, good.problem) == ("animals", read_manifest(saved), "")
    assert (bad.name, bad.manifest) == ("broken", None)
    assert "manifest.json cannot be read" in bad.problem
    assert list_references(saved.parent / "nowhere") == ()
