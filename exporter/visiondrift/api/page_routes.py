"""The endpoints for people, and for who wants the verdicts as JSON: pages, reports, runbook, /v1/evaluations."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from visiondrift.api.failures import Failure
from visiondrift.api.pages import NewestPictures, Pages
from visiondrift.publish.document import snapshot_document
from visiondrift.publish.report import Kind, ReportStore
from visiondrift.publish.snapshot import Snapshot

# Our pages carry their style and no script, and show pictures of their own server; a report is Evidently's page,
# scripts and all, kept in a sandbox.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
REPORT_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob: data:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:",
    "X-Content-Type-Options": "nosniff",
}
# The name of a report stands for one picture and no other.
PICTURE_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=86400, immutable",
}
_MEDIA_TYPES: dict[Kind, str] = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "jpg": "image/jpeg",
}


@dataclass(frozen=True, kw_only=True)
class PageServices:
    """What the pages need: the state of now, the newest pictures (model, slice, how many -> JPEG files, newest first),
    the reports, the runbook's file, and the time in seconds.
    """

    snapshot: Callable[[], Snapshot]
    reports: ReportStore
    pictures: NewestPictures
    runbook: Path
    clock: Callable[[], float]


def page_routes(services: PageServices) -> APIRouter:
    """GET /, /runbook, /v1/evaluations, and everything below /reports/."""
    router = APIRouter()
    pages = Pages()
    router.include_router(_report_routes(services, pages))

    @router.get("/", include_in_schema=False)
    def get_landing() -> HTMLResponse:
        snapshot = services.snapshot()
        text = pages.landing(snapshot, services.pictures, services.reports.latest, now=services.clock())
        return HTMLResponse(text, headers=PAGE_HEADERS)

    @router.get("/runbook", include_in_schema=False)
    def get_runbook() -> HTMLResponse:
        links = services.snapshot().links
        try:
            markdown = services.runbook.read_text(encoding="utf-8")
        except OSError:
            text = pages.message(
                links, "No runbook here", "The file server.runbook_file cannot be read.", now=services.clock()
            )
            return HTMLResponse(text, status_code=404, headers=PAGE_HEADERS)
        return HTMLResponse(pages.runbook(links, markdown, now=services.clock()), headers=PAGE_HEADERS)

    @router.get("/v1/evaluations", tags=["Evaluations"], summary="The last verdicts")
    def get_evaluations() -> dict[str, Any]:
        """Every model's last evaluation: each slice, window and signal with score, thresholds and verdict."""
        return snapshot_document(services.snapshot())

    return router


def _report_routes(services: PageServices, pages: Pages) -> APIRouter:
    router = APIRouter()

    @router.get("/reports/", include_in_schema=False)
    def get_reports() -> HTMLResponse:
        links = services.snapshot().links
        text = pages.reports(links, services.reports.entries(), now=services.clock())
        return HTMLResponse(text, headers=PAGE_HEADERS)

    def latest(model: str, version: str, slice_: str, window: str, *, suffix: str) -> Response:
        report = services.reports.latest(model, version, slice_, window)
        if report is not None:
            return RedirectResponse(f"/reports/{report.name}{suffix}", status_code=302)
        message = (
            f"There is no report on model {model or 'any'}, version {version or 'any'}, slice {slice_ or 'any'}, "
            f"window {window or 'any'}. One is written when a verdict is a warning or worse, and the last "
            "reports.keep of them are kept."
        )
        text = pages.message(services.snapshot().links, "No such report", message, now=services.clock())
        return HTMLResponse(text, status_code=404, headers=PAGE_HEADERS)

    @router.get("/reports/latest", include_in_schema=False)
    def get_latest(model: str = "", version: str = "", slice: str = "all", window: str = "") -> Response:  # noqa: A002
        return latest(model, version, slice, window, suffix=".html")

    @router.get("/reports/latest/images", include_in_schema=False)
    def get_latest_images(
        model: str = "",
        version: str = "",
        slice: str = "all",  # noqa: A002
        window: str = "",
    ) -> Response:
        return latest(model, version, slice, window, suffix="/images")

    @router.get("/reports/{name}/images", include_in_schema=False)
    def get_images(name: str) -> HTMLResponse:
        report, path = services.reports.named(name), services.reports.path(name, "json")
        if report is None or path is None:
            raise _no_report(name)
        about = json.loads(path.read_text(encoding="utf-8"))
        text = pages.images(services.snapshot().links, report, about, now=services.clock())
        return HTMLResponse(text, headers=PAGE_HEADERS)

    @router.get("/reports/{name}.{kind}", include_in_schema=False)
    def get_report(name: str, kind: Kind) -> FileResponse:
        path = services.reports.path(name, kind)
        if path is None:
            raise _no_report(name)
        headers = PICTURE_HEADERS if kind == "jpg" else REPORT_HEADERS
        return FileResponse(path, media_type=_MEDIA_TYPES[kind], headers=headers)

    return router


def _no_report(name: str) -> Failure:
    return Failure(404, "not_found", f"there is no report {name}; /reports/ lists those that are kept")
