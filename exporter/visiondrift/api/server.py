"""A service behind its HTTP face, as one process: started before the first request, stopped after the last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from visiondrift.api.app import create_app
from visiondrift.api.page_routes import PageServices, page_routes
from visiondrift.api.services import Services
from visiondrift.service import Service

_GRACE_SECONDS = 10


def app_of(service: Service) -> FastAPI:
    """The application of ``service``, which starts and stops with it."""
    config = service.config()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await run_in_threadpool(service.stop)

    pages = PageServices(
        snapshot=service.snapshot,
        reports=service.reports,
        runbook=config.path(config.monitoring.server.runbook_file),
        clock=service.clock,
    )
    services = Services(
        config=service.config,
        receive=service.intake.receive,
        render_metrics=service.metrics.render,
        problems=service.problems,
        token=service.token,
        dimension=service.dimension_of,
    )
    return create_app(services, routers=[page_routes(pages)], lifespan=lifespan)


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT; what was acknowledged by then is in the log."""
    server = service.config().monitoring.server
    uvicorn.run(
        app_of(service),
        host=server.host,
        port=server.port,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        # uvicorn would set up logging anew; the command line has done it.
        log_config=None,
    )
