"""Decides how much of clients' bodies is held in memory, and for how long one may take to arrive.

One body has up to ``max_body``, all together up to four of them; the bound holds while reading, whether the length was
announced or the body comes in chunks. Who stops sending in the middle loses the place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from visiondrift.api.failures import Failure
from visiondrift.errors import QueueFull

_BODIES_AT_ONCE = 4
_REQUESTS_AT_ONCE = 128
_RETRY_AFTER = 1.0


class Bodies:
    """Reads bodies, and counts what they take. Lives on the event loop, so it needs no lock.

    ``busy`` is called for each request that there is no room for. Seconds: ``pause`` between two pieces of a body,
    ``patience`` for all of it.
    """

    def __init__(self, *, busy: Callable[[], None], pause: float = 15.0, patience: float = 300.0) -> None:
        self._busy = busy
        self._pause = pause
        self._patience = patience
        self._bytes = 0
        self._requests = 0

    @asynccontextmanager
    async def read(self, request: Request, *, limit: int) -> AsyncIterator[bytes]:
        """The body, counted until the block ends.

        Raises Failure (408, 413, 415), or QueueFull where too much is being worked on.
        """
        _check_encoding(request)
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        held = 0
        counted = 0
        try:
            async for chunk in self._in_time(request.stream()):
                held += len(chunk)
                self._bytes += len(chunk)
                if held > limit:
                    raise _too_large(limit)
                if self._bytes > _BODIES_AT_ONCE * limit:
                    raise self._no_room(f"{self._bytes} bytes of requests are being worked on")
                chunks.append(chunk)
            # A slow sender is not counted here: it holds its bytes, not a place that others wait for.
            if self._requests >= _REQUESTS_AT_ONCE:
                raise self._no_room(f"{self._requests} requests are being worked on")
            self._requests += 1
            counted = 1
            yield b"".join(chunks)
        except ClientDisconnect as gone:
            # Nobody reads this answer; but without it the server would log the hanging-up as an error of its own.
            raise Failure(400, "client_disconnected", "the client hung up before its body was complete") from gone
        finally:
            self._requests -= counted
            self._bytes -= held

    async def _in_time(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same chunks, as long as they keep coming."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._patience
        while True:
            try:
                async with asyncio.timeout_at(min(clock() + self._pause, end)):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                bounds = f"pauses of {self._pause:g} s and {self._patience:g} s in all"
                message = f"the body did not arrive in time; accepted are {bounds}"
                raise Failure(408, "body_too_slow", message, headers={"Connection": "close"}) from error
            yield chunk

    def _no_room(self, what: str) -> QueueFull:
        self._busy()
        return QueueFull(f"{what}; send this again in a moment", retry_after=_RETRY_AFTER)


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        message = f"content encoding {encoding!r}: accepted are bodies as they are, not compressed"
        raise Failure(415, "unsupported_encoding", message)


def _too_large(limit: int) -> Failure:
    message = f"the body is larger than {limit} bytes (server.max_body); send fewer events at a time"
    # The rest of the body is not read, so the connection cannot be used again.
    return Failure(413, "body_too_large", message, headers={"Connection": "close"})
