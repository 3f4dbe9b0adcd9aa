"""Decides who may send events: those with the bearer token, where one is configured."""

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from visiondrift.api.failures import Failure

_BEARER = HTTPBearer(auto_error=False, description="The content of server.token_file; not needed where none is set.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def bearer_check(token: Callable[[], str | None]) -> Callable[[Credentials], None]:
    """A dependency that lets a request pass, or raises Failure (401)."""

    async def check(credentials: Credentials) -> None:
        expected = token()
        if expected is None:
            return
        given = credentials.credentials if credentials else ""
        # Compared in constant time: how long a refusal takes must not tell how much of a guess was right. And as bytes:
        # headers are read as Latin-1, whatever the client wrote.
        if not hmac.compare_digest(given.encode("latin-1"), expected.encode()):
            raise Failure(
                401,
                "unauthorized",
                f"the token is {'wrong' if given else 'missing'}; accepted is the header Authorization: Bearer TOKEN "
                "with the content of the file that server.token_file names",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return check  # type: ignore[return-value]
