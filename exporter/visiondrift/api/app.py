"""Puts the HTTP application together; the one place that knows all routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.types import Lifespan

from visiondrift import __version__
from visiondrift.api import failures
from visiondrift.api.docs import docs_routes, openapi_of
from visiondrift.api.intake_routes import intake_routes
from visiondrift.api.ops_routes import ops_routes
from visiondrift.api.services import Services

_DESCRIPTION = """Send what your vision model saw and answered; VisionDrift says when it stops looking like normal.

Valid events of a batch are kept, the others come back by index; 200 means durable; sending an id again is harmless.
On 429, 503 and 507 nothing was taken: wait for `Retry-After` seconds and send the same batch again.
"""


def create_app(
    services: Services, *, routers: Sequence[APIRouter] = (), lifespan: Lifespan[FastAPI] | None = None
) -> FastAPI:
    """The application: intake, operations and documentation, and what ``routers`` add (pages, reports)."""
    app = FastAPI(
        title="VisionDrift",
        version=__version__,
        description=_DESCRIPTION,
        # The pages of FastAPI load their scripts from the internet; docs.py has its own.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    failures.install(app)
    for router in (intake_routes(services), ops_routes(services), docs_routes(), *routers):
        app.include_router(router)

    def openapi() -> dict[str, Any]:
        return openapi_of(app, services)

    app.openapi = openapi  # type: ignore[method-assign]

    # FastAPI's own route would make the document on the event loop; its examples may wait for the embedder.
    @app.get("/openapi.json", include_in_schema=False)
    def get_document() -> JSONResponse:
        return JSONResponse(app.openapi())

    return app
