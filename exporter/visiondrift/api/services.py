"""What the HTTP side needs from the service, as plain functions: all of it, so that a test can give its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from visiondrift.config import Config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.intake.batch import Row
from visiondrift.intake.receive import Receipt
from visiondrift.prediction import IngestFailure


def _no_token() -> str | None:
    return None


def _not_counted(_: IngestFailure) -> None:
    pass


def _no_dimension(_: WatchedModel) -> int | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Services:
    """Functions that may be called from any thread, at any time.

    ``config``: the configuration of the moment. ``receive``: ``Intake.receive``. ``render_metrics``: an Accept header
    to (body, content type). ``problems``: why the service is not ready, one sentence each; empty when it is.
    ``token``: the bearer token that intake asks for, None for none. ``dimension``: length of a model's embeddings,
    None where it is not known; only examples in the documentation hang on it. ``failed``: counts a request that could
    not even be read for want of room.
    """

    config: Callable[[], Config]
    receive: Callable[[Sequence[Row]], Receipt]
    render_metrics: Callable[[str], tuple[bytes, str]]
    problems: Callable[[], Sequence[str]]
    token: Callable[[], str | None] = _no_token
    dimension: Callable[[WatchedModel], int | None] = _no_dimension
    failed: Callable[[IngestFailure], None] = _not_counted
