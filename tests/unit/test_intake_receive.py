"""Intake as a whole: rows in; events checked, embedded, admitted and queued; rejections in order; all of it counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_parts import (
    DIGITS_CLIP,
    NOW,
    WritePath,
    base64_of,
    configuration,
    event,
    picture,
    reasons,
    with_intake,
    write_path,
)
from visiondrift.errors import EmbedderUnavailable
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.thumbnails import Thumbnails
from visiondrift.log import WindowQuery
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog


@pytest.fixture(scope="module")
def clip() -> Any:
    embedder = Embedder(f"local-dir:{DIGITS_CLIP}")
    yield embedder
    embedder.close()


def shot(number: int, **fields: Any) -> dict[str, Any]:
    image = base64_of(picture((30 + number, 30)))
    return event(number, model="eyes", embedding=None, confidences=None, image=image, **fields)


def answer(parts: WritePath, rows: list[Any]) -> tuple[int, list[str]]:
    receipt = parts.intake.receive(rows)
    return receipt.appended.result(20).stored, reasons(receipt.rejections)


def test_valid_events_are_kept_and_the_others_come_back_by_index(tmp_path: Path) -> None:
    with write_path(configuration(tmp_path), MemoryLog()) as parts:
        rows = [event(0), event(1, latency_ms=-1), event(2), event(3, time="now"), None]
        receipt = parts.intake.receive(rows)
        assert receipt.appended.result(20).stored == receipt.accepted == 2
    assert [(found.index, found.reason) for found in receipt.rejections] == [
        (1, "bad_value"),
        (3, "bad_time"),
        (4, "bad_value"),
    ]
    assert parts.counts.events == {"doors": 4, "unknown": 1}


def test_images_are_embedded_in_order_and_stamped_with_the_embedder(tmp_path: Path, clip: Embedder) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    with write_path(configuration(tmp_path), log, embedder=clip) as parts:
        rows = [shot(0), event(1), shot(2), event(3, model="eyes", embedding=None, confidences=[0.5, 0.5])]
        assert answer(parts, rows) == (4, [])
        assert parts.counts.embeddings == [(2, False)]
        query = WindowQuery(
            model="eyes",
            version="1",
            embedder=clip.identity,
            since=0,
            until=2 * NOW,
            classes=("0", "1"),
            dimension=clip.dimension,
            limit=10,
        )
        found = log.window(query).sample
    from visiondrift.intake.decode import decode_image
    from visiondrift.intake.image_stats import measure

    images = [decode_image(picture((30 + n, 30)), max_bytes=10**6, max_pixels=10**6) for n in (0, 2)]
    assert found.has_embedding.tolist() == [True, True, False]
    np.testing.assert_allclose(found.embeddings[:2], clip.embed(images), atol=1e-6)
    assert found.properties is not None
    np.testing.assert_array_equal(found.properties[:2], [measure(image).properties for image in images])
    assert found.has_properties.tolist() == [True, True, False]
    log.close()


def test_an_image_that_cannot_be_decoded_costs_only_its_event(tmp_path: Path, clip: Embedder) -> None:
    with write_path(configuration(tmp_path), MemoryLog(), embedder=clip) as parts:
        rows = [shot(0), shot(1) | {"image": base64_of(b"GIF89a")}, shot(2), shot(3, latency_ms=-1)]
        assert answer(parts, rows) == (2, ["bad_image", "bad_value"])
        assert parts.counts.embeddings == [(2, False)]


def test_the_bounds_on_images_come_from_the_configuration(tmp_path: Path, clip: Embedder) -> None:
    config = with_intake(configuration(tmp_path), max_image_bytes=100)
    with write_path(config, MemoryLog(), embedder=clip) as parts:
        assert answer(parts, [shot(0)]) == (0, ["image_too_large"])
    config = with_intake(configuration(tmp_path), max_image_pixels=899)
    with write_path(config, MemoryLog(), embedder=clip) as parts:
        assert answer(parts, [shot(0)]) == (0, ["image_too_large"])


def test_slices_and_versions_beyond_their_limits_are_refused(tmp_path: Path) -> None:
    with write_path(configuration(tmp_path), MemoryLog()) as parts:
        rows = [event(number, slices={"camera": f"c{number}"}) for number in range(5)]
        assert answer(parts, rows) == (3, ["too_many_slices"] * 2)
        rows = [event(10 + number, slices=None, version=str(number)) for number in range(4)]
        assert answer(parts, rows) == (2, ["too_many_slices"] * 2)


def test_an_image_that_is_refused_takes_no_slice(tmp_path: Path, clip: Embedder) -> None:
    with write_path(configuration(tmp_path), MemoryLog(), embedder=clip) as parts:
        bad = [shot(n, slices={"camera": f"bad{n}"}) | {"image": base64_of(b"no image")} for n in range(3)]
        good = [shot(10 + n, slices={"camera": f"good{n}"}) for n in range(3)]
        assert answer(parts, bad + good) == (3, ["bad_image"] * 3)


def test_without_an_embedder_nothing_of_a_batch_with_images_is_stored(tmp_path: Path) -> None:
    log = MemoryLog()
    broken = Embedder(f"local-dir:{tmp_path}/none")
    with write_path(configuration(tmp_path), log, embedder=broken) as parts:
        with pytest.raises(EmbedderUnavailable):
            parts.intake.receive([event(0), shot(1)])
        assert parts.counts.failures == {"embedder_error": 1}
        assert log.census().events == 0
        assert answer(parts, [event(0)]) == (1, [])


def test_sending_the_same_batch_again_changes_nothing(tmp_path: Path, clip: Embedder) -> None:
    log = MemoryLog()
    with write_path(configuration(tmp_path), log, embedder=clip) as parts:
        rows = [event(0), shot(1), event(0)]
        first = parts.intake.receive(rows).appended.result(20)
        second = parts.intake.receive(rows).appended.result(20)
    assert (first.stored, first.duplicates) == (2, 1)
    assert (second.stored, second.duplicates) == (0, 3)
    assert log.census().events == 2


def test_a_changed_configuration_counts_from_the_next_batch_on(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    current = [config]
    with write_path(config, MemoryLog()) as parts:
        parts.intake._config = lambda: current[0]
        assert answer(parts, [event(0, model="new")]) == (0, ["unknown_model"])
        models = [{"name": "new", "reference": "new", "embedding": {"name": "e", "dimension": 4}}]
        current[0] = configuration(tmp_path, models=models)
        assert answer(parts, [event(0, model="new", slices=None, confidences=None)]) == (1, [])


def test_the_pictures_of_accepted_images_are_kept_where_asked_for(tmp_path: Path, clip: Embedder) -> None:
    kept = Thumbnails(tmp_path / "thumbnails", keep=lambda _: 5, side=16)
    with write_path(configuration(tmp_path), MemoryLog(), embedder=clip, thumbnails=kept) as parts:
        rows = [shot(0, slices={"camera": "a"}), shot(1) | {"image": base64_of(b"GIF89a")}, event(2)]
        assert answer(parts, rows) == (2, ["bad_image"])
    assert len(kept.newest("eyes", "all", 5)) == len(kept.newest("eyes", "camera=a", 5)) == 1
    assert kept.newest("doors", "all", 5) == []
