"""The write endpoints: read the body within bounds, hand it to intake on a thread, answer when it is durable.

The endpoints are coroutines on purpose. Work runs on a few threads of their own, and waiting for the disk takes none,
so that a slow disk or a slow embedder never keeps /metrics and the pages from answering.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from visiondrift.api.auth import bearer_check
from visiondrift.api.bodies import Bodies
from visiondrift.api.events import ErrorBody, Outcome
from visiondrift.api.failures import Failure
from visiondrift.api.origin import page_check
from visiondrift.api.services import Services
from visiondrift.intake.arrow import rows_of_arrow
from visiondrift.intake.batch import Row, rows_of_json
from visiondrift.intake.form import rows_of_form
from visiondrift.intake.receive import Receipt
from visiondrift.prediction import Rejection

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
FORM = "multipart/form-data"

_THREADS = 8
_RETRY_HEADER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_ERRORS = {
    401: "The token is missing or wrong.",
    403: "A web page of another site sent this.",
    408: "The body did not arrive in time.",
    413: "The body is larger than server.max_body, or has more than intake.max_events events.",
    415: "The content type is another, or the body is compressed.",
    422: "The body cannot be read, or none of its events is valid.",
    429: "Too much waits to be stored; nothing of this request was taken.",
    503: "The embedder or the log is not available; nothing of this request was taken.",
    507: "The disk is full; nothing of this request was taken.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    | ({"headers": _RETRY_HEADER} if status in {429, 503, 507} else {})
    for status, text in _ERRORS.items()
}

Reader = Callable[[bytes, int], list[Row]]
"""A body and the largest number of events to the rows of the batch."""


def intake_routes(services: Services) -> APIRouter:
    """POST /v1/predictions and POST /v1/images."""
    own_pages = page_check(lambda: services.config().monitoring.server.exporter_url)
    router = APIRouter(tags=["Intake"], dependencies=[Depends(own_pages), Depends(bearer_check(services.token))])
    workers = _Workers(services)
    bodies = Bodies(busy=lambda: services.failed("queue_full"))

    async def take(request: Request, reader: Reader) -> JSONResponse:
        monitoring = services.config().monitoring
        async with bodies.read(request, limit=monitoring.server.max_body) as body:
            receipt = await workers.receive(reader, body, monitoring.intake.max_events)
            del body
            appended = await asyncio.wrap_future(receipt.appended)
        rejected = [_told(rejection) for rejection in receipt.rejections]
        if not (receipt.accepted or receipt.sampled_out):
            message = f"none of the {len(rejected)} events is valid; the first: {rejected[0]['message']}"
            raise Failure(422, "nothing_valid", message, more={"rejected": rejected})
        out = {"sampled_out": receipt.sampled_out} if receipt.sampled_out else {}
        return JSONResponse({"stored": appended.stored, "duplicates": appended.duplicates, **out, "rejected": rejected})

    @router.post(
        "/v1/predictions", summary="Send predictions", response_model=Outcome, responses=RESPONSES, status_code=200
    )
    async def post_predictions(request: Request) -> JSONResponse:
        """A batch of events, as JSON or as an Arrow IPC stream (not compressed).

        The valid events of a batch are kept; the others come back by index, with field and reason. An answer of 200
        means that the kept events are durable. Sending the same id again changes nothing, but that reasons in `kept`
        which are new are added to those that the event had.

        Arrow columns: `id`, `time` (timestamp, or epoch seconds), `model`, `version`, `embedding` (list of float16,
        float32 or float64), `confidence_<class>`, `predicted_class`, `latency_ms`, `image` (binary), `image_uri`,
        `trace_id`, `metadata` (JSON text), `kept`; any other column is a slice label. Null means not given.
        """
        kind = _content_type(request, (JSON, ARROW))
        return await take(request, _json if kind == JSON else _arrow)

    @router.post("/v1/images", summary="Send image files", response_model=Outcome, responses=RESPONSES, status_code=200)
    async def post_images(request: Request) -> JSONResponse:
        """A form with one part `events` (the JSON batch, in which `image` is a file name) and the files as `images`.

        curl -F 'events={"events": [{"id": "1", "time": 1790000000, "model": "digits-demo", "version": "1",
             "image": "frame.jpg"}]};type=application/json' -F images=@frame.jpg http://localhost:9109/v1/images
        """
        _content_type(request, (FORM,))
        content_type = request.headers["content-type"]
        return await take(request, lambda body, most: rows_of_form(content_type, body, max_events=most))

    return router


class _Workers:
    """The threads of intake; batches with images have their own, because embedding one may take minutes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._quick = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="intake")
        self._images = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="intake-images")

    async def receive(self, reader: Reader, body: bytes, max_events: int) -> Receipt:
        loop = asyncio.get_running_loop()
        rows, has_images = await loop.run_in_executor(self._quick, _read, reader, body, max_events)
        threads = self._images if has_images else self._quick
        return await loop.run_in_executor(threads, self._services.receive, rows)


def _read(reader: Reader, body: bytes, max_events: int) -> tuple[list[Row], bool]:
    rows = reader(body, max_events)
    return rows, any(isinstance(row, dict) and row.get("image") is not None for row in rows)


def _json(body: bytes, max_events: int) -> list[Row]:
    return rows_of_json(body, max_events=max_events)


def _arrow(body: bytes, max_events: int) -> list[Row]:
    return rows_of_arrow(body, max_events=max_events)


def _content_type(request: Request, accepted: Sequence[str]) -> str:
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    charset = parameters.strip().lower().partition("charset=")[2].strip('" ')
    if kind not in accepted or charset not in {"", "utf-8", "utf8"}:
        message = f"content type {given!r}: accepted is {' or '.join(accepted)} (in UTF-8)"
        raise Failure(415, "unsupported_media_type", message)
    return kind


def _told(rejection: Rejection) -> dict[str, Any]:
    return {
        "index": rejection.index,
        "id": rejection.id,
        "field": rejection.field,
        "reason": rejection.reason,
        "message": rejection.message,
    }
