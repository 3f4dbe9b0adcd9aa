"""The endpoints for machines that watch the exporter: /metrics, /healthz, /readyz."""

from fastapi import APIRouter, Request, Response

from visiondrift.api.events import ErrorBody
from visiondrift.api.failures import Failure
from visiondrift.api.services import Services


def ops_routes(services: Services) -> APIRouter:
    """GET /metrics, /healthz and /readyz; none of them asks for the token."""
    router = APIRouter(tags=["Operations"])

    # A route, not a mounted application: a mount answers GET /metrics with a redirect.
    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    def get_metrics(request: Request) -> Response:
        """Every metric, in the exposition format that the Accept header asks for."""
        body, content_type = services.render_metrics(request.headers.get("accept", ""))
        # media_type would append a charset of its own, which OpenMetrics does not know.
        return Response(body, headers={"Content-Type": content_type})

    @router.get("/healthz", summary="The process lives")
    async def get_health() -> dict[str, str]:
        """Answers as long as the process does; restart it when this fails."""
        return {"status": "ok"}

    @router.get(
        "/readyz",
        summary="Ready for events",
        responses={503: {"model": ErrorBody, "description": "Not ready; the message says why."}},
    )
    def get_ready() -> dict[str, str]:
        """Whether the configuration is loaded and the log is open; send no events while this fails."""
        problems = services.problems()
        if problems:
            raise Failure(503, "not_ready", "; ".join(problems), headers={"Retry-After": "5"})
        return {"status": "ready"}

    return router
