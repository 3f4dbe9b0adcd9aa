"""The OpenAPI document: its examples are accepted as they stand, its page needs no internet, and it keeps its word."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from intake_parts import WritePath, configuration, picture, write_path
from visiondrift.api import events as shapes
from visiondrift.api.docs import openapi_of
from visiondrift.intake.validate import FIELDS
from visiondrift.log.memory import MemoryLog
from visiondrift.prediction import REASONS

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritePath]:
    config = configuration(tmp_path_factory.mktemp("config"))
    with write_path(config, MemoryLog(), clock=time.time) as found:
        yield found


@pytest.fixture(scope="module")
def client(parts: WritePath) -> Iterator[TestClient]:
    with TestClient(parts.app) as found:
        yield found


FITTING, ODD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        ("POST", "/v1/predictions", FITTING),
        ("POST", "/v1/predictions", ODD),
        ("POST", "/v1/images", FITTING),
        ("POST", "/v1/images", ODD),
        ("GET", "/metrics", FITTING),
        ("GET", "/healthz", FITTING),
        ("GET", "/readyz", FITTING),
    ],
)
def test_an_endpoint_answers_as_the_document_says(parts: WritePath, method: str, path: str, mode: Any) -> None:
    operation = schemathesis.openapi.from_asgi("/openapi.json", parts.app)[path][method]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    answers()


def test_the_document_s_examples_are_accepted_as_they_stand(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    examples = document["paths"]["/v1/predictions"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"embeddings", "outputs"}  # the first model has embeddings of its own
    for example in examples.values():
        rows = example["value"]["events"]
        answer = client.post("/v1/predictions", json=example["value"])
        assert answer.json() == {"stored": len(rows), "duplicates": 0, "rejected": []}
        shapes.Batch.model_validate(example["value"])


def test_a_model_embedded_by_the_exporter_has_examples_with_an_image(tmp_path: Path) -> None:
    models = [{"name": "eyes", "reference": "eyes", "classes": ["a", "b"]}]
    with (
        write_path(configuration(tmp_path, models=models), MemoryLog(), clock=time.time) as parts,
        TestClient(parts.app) as client,
    ):
        document = client.get("/openapi.json").json()
        content = document["paths"]["/v1/predictions"]["post"]["requestBody"]["content"]
        answer = client.post("/v1/predictions", json=content["application/json"]["examples"]["image"]["value"])
        assert answer.json()["stored"] == 1
        content = document["paths"]["/v1/images"]["post"]["requestBody"]["content"]["multipart/form-data"]
        (row,) = content["example"]["events"]["events"]
        row["id"] = "another"
        files = {"images": (row["image"], picture(kind="JPEG")), "events": (None, json.dumps({"events": [row]}))}
        assert client.post("/v1/images", files=files).json()["stored"] == 1


def test_every_reference_in_the_document_leads_somewhere(parts: WritePath) -> None:
    document = openapi_of(parts.app, parts.services)
    for found in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))):
        target: Any = document
        for step in found.removeprefix("#/").split("/"):
            target = target[step]
        assert target


def test_the_described_event_has_the_fields_that_are_checked() -> None:
    assert tuple(shapes.Event.model_fields) == FIELDS


def test_the_described_reasons_are_the_ones_that_are_given(parts: WritePath) -> None:
    document = openapi_of(parts.app, parts.services)
    assert document["components"]["schemas"]["RejectedEvent"]["properties"]["reason"]["enum"] == list(REASONS)


def test_intake_asks_for_the_token_and_says_so(parts: WritePath) -> None:
    document = openapi_of(parts.app, parts.services)
    for path in ("/v1/predictions", "/v1/images"):
        assert document["paths"][path]["post"]["security"] == [{"HTTPBearer": []}]


def test_the_page_of_the_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("/docs/")
        answer = client.get(address)
        assert answer.status_code == 200
        assert len(answer.content) > 500
    assert '"validatorUrl": null' in page
