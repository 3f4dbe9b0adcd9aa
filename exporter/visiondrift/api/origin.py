"""Decides which web pages may send events: the exporter's own, and no page that somebody happens to have open.

A page anywhere may post a form to an exporter on loopback, and no token stands in the way where none is set. Browsers
name the page that a request comes from; programs do not, so nothing is asked of them.
"""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Request

from visiondrift.api.failures import Failure

_HERE = "localhost"
_NOT_FROM_A_PAGE = frozenset({"same-origin", "none"})


def page_check(exporter_url: Callable[[], str]) -> Callable[[Request], None]:
    """A dependency that lets a request pass, or raises Failure (403). ``exporter_url``: how a browser reaches this."""

    async def check(request: Request) -> None:
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
        host = request.headers.get("host", "")
        if site in _NOT_FROM_A_PAGE if origin is None else _is_own(origin, host, exporter_url()):
            return
        raise Failure(
            403,
            "foreign_page",
            f"the request comes from a web page of {origin or 'another site'}; accepted are programs, and pages of "
            f"{exporter_url()} (server.exporter_url)",
        )

    return check  # type: ignore[return-value]


def _is_own(origin: str, host: str, exporter_url: str) -> bool:
    """Whether a page of ``origin`` is this exporter's.

    That origin and host are the same is not enough: the owner of a name can let it point at 127.0.0.1 once the page is
    loaded. Nobody can do that to an address, or to localhost.
    """
    page = urlsplit(origin)
    if (page.scheme, page.netloc) == urlsplit(exporter_url.lower())[:2]:
        return True
    return page.netloc == host.lower() and _is_address(page.hostname or "")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == _HERE
    return True
