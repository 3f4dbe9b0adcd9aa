"""The OpenAPI document and its page: examples that this very server accepts, and Swagger UI without the internet."""

import base64
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from PIL import Image
from pydantic.json_schema import models_json_schema

from visiondrift.api.events import Batch, Form
from visiondrift.api.intake_routes import ARROW, FORM, JSON
from visiondrift.api.services import Services
from visiondrift.config.monitoring import WatchedModel

_REF = "#/components/schemas/{model}"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_SETTINGS = {
    # Swagger UI sends the document to a validator on the internet unless told not to.
    "validatorUrl": None,
    "tryItOutEnabled": True,
    "displayRequestDuration": True,
    "persistAuthorization": True,
}


def docs_routes() -> APIRouter:
    """GET /docs, and the files of Swagger UI (they come with the package fastapi-swagger)."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def get_docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title="VisionDrift API",
            swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/favicon-32x32.png",
            swagger_ui_parameters=_SETTINGS,
        )

    for name, media_type in _ASSETS.items():
        router.add_api_route(f"/docs/{name}", _asset(name, media_type), name=name)
    return router


def _asset(name: str, media_type: str) -> Callable[[], Response]:
    def get_asset() -> Response:
        content = files("fastapi_swagger").joinpath("resources", name).read_bytes()
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=86400"})

    return get_asset


def openapi_of(app: FastAPI, services: Services) -> dict[str, Any]:
    """The OpenAPI document, with bodies and examples for the models that are configured now."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, shapes = models_json_schema([(Batch, "validation"), (Form, "validation")], ref_template=_REF)
    document["components"]["schemas"].update(shapes["$defs"])
    model = services.config().models[0]
    examples = batch_examples(model, services.dimension(model), now=datetime.now(UTC))
    batch = {"schema": {"$ref": _REF.format(model="Batch")}, "examples": examples}
    arrow = {"schema": {"type": "string", "format": "binary", "description": "An Arrow IPC stream."}}
    form: dict[str, Any] = {
        "schema": {"$ref": _REF.format(model="Form")},
        "encoding": {"events": {"contentType": JSON}, "images": {"contentType": "image/*"}},
    }
    if "image" in examples:
        (event,) = examples["image"]["value"]["events"]
        form["example"] = {"events": {"events": [{**event, "image": "frame.jpg"}]}, "images": []}
    _body(document, "/v1/predictions", {JSON: batch, ARROW: arrow})
    _body(document, "/v1/images", {FORM: form})
    return document


def _body(document: dict[str, Any], path: str, content: dict[str, Any]) -> None:
    document["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}


def batch_examples(model: WatchedModel, dimension: int | None, *, now: datetime) -> dict[str, Any]:
    """Batches for ``model`` that are accepted as they stand, by name: with an image, with embeddings, with neither."""
    time = (now - timedelta(minutes=1)).replace(microsecond=0)
    common: dict[str, Any] = {
        "time": time.isoformat().replace("+00:00", "Z"),
        "model": model.name,
        # Names that show what they are: whoever presses Execute adds these events to the log.
        "version": "example",
        **({"slices": {model.slices[0]: "example"}} if model.slices else {}),
        **({"confidences": _confidences(model.classes)} if model.classes else {}),
    }
    examples: dict[str, Any] = {}
    if model.embedding is None:
        event = {"id": f"image-{time:%H%M%S}", **common, "image": _picture(), "latency_ms": 12.5}
        examples["image"] = _example("An image, embedded by the exporter", [event])
    length = model.embedding.dimension if model.embedding else dimension
    if length:
        vector = np.cos(np.arange(length, dtype=np.float32))
        packed = base64.b64encode(vector.astype("<f2").tobytes()).decode()
        events = [
            {"id": f"list-{time:%H%M%S}", **common, "embedding": [round(float(value), 4) for value in vector]},
            {"id": f"packed-{time:%H%M%S}", **common, "embedding": {"dtype": "float16", "data": packed}},
        ]
        examples["embeddings"] = _example("Embeddings, as a list and packed", events)
    if model.classes:
        event = {"id": f"output-{time:%H%M%S}", **common, "trace_id": "4bf92f35", "metadata": {"lens": "wide"}}
        examples["outputs"] = _example("Confidences alone", [event])
    return examples


def _example(summary: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    # Through JSON, so that no two examples share an object.
    return {"summary": summary, "value": json.loads(json.dumps({"events": events}))}


def _confidences(classes: tuple[str, ...]) -> dict[str, float]:
    others = round(0.1 / max(1, len(classes) - 1), 4)
    return {name: others if index else 0.9 for index, name in enumerate(classes)}


def _picture() -> str:
    """Base64 of a small PNG: a bright square on a dark ground."""
    image = Image.new("RGB", (32, 32), (20, 24, 40))
    image.paste((240, 200, 80), (8, 8, 24, 24))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
