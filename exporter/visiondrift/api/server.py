"""A service behind its HTTP face, as one process: started before the first request, stopped after the last."""

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from visiondrift import __version__
from visiondrift.api.app import create_app
from visiondrift.api.page_routes import PageServices, page_routes
from visiondrift.api.services import Services
from visiondrift.errors import BadInput
from visiondrift.service import Service

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 10
_BACKLOG = 2048


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
        pictures=service.thumbnails.newest,
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
        failed=service.counts.failed,
    )
    return create_app(services, routers=[page_routes(pages)], lifespan=lifespan)


def listen(host: str, port: int) -> socket.socket:
    """A socket that connections wait at until somebody takes them. Raises BadInput where there can be none."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as error:
        # By its number, where it has a known one: the text that Python adds to it names the address once more.
        number = error.errno or 0
        reason = os.strerror(number) if number in errno.errorcode else str(error)
        raise BadInput(
            f"cannot listen at {host} port {port}: {reason}; accepted is an address of this machine and a port that "
            "nobody else listens at (server.host and server.port in monitoring.yml, or --host and --port)"
        ) from error


def run(service: Service, listener: socket.socket) -> None:
    """Serve at ``listener`` until SIGTERM or SIGINT; what was acknowledged by then is in the log."""
    server = _Server(
        uvicorn.Config(
            app_of(service),
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            # uvicorn would set up logging anew; the command line has done it.
            log_config=None,
        ),
        service,
    )
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says in one line that it is there, and where."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does; then tell."""
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            token = "events need the token" if self._service.token() else "events need no token"
            where = f"[{host}]" if ":" in host else host
            logger.info("VisionDrift %s is ready at http://%s:%d/ (%s)", __version__, where, port, token)
            if not self._service.token() and not ipaddress.ip_address(host).is_loopback:
                logger.warning(
                    "%s is not loopback, and no token is asked for: whoever reaches port %d can send events. "
                    "Name a file in server.token_file, or listen at 127.0.0.1",
                    host,
                    port,
                )
