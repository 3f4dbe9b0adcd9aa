"""Decides how a model server is asked for the confidences of a frame: KServe's v2 protocol over HTTP, or plain JSON.

A server that does not answer costs its frames their confidences, never the frames: they are counted, and it is left
alone for a while. A recording can wait: it is read faster than a server comes back, and would lose them all; it does so
for some minutes, not for hours. One that answers something else than the model's classes is a mistake in the
configuration.
"""

import base64
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visiondrift.config.collect import ModelServerConfig, shown_address
from visiondrift.errors import BadInput

_USUAL_SIDE = 224
_LEFT_ALONE = 10.0
_PATIENCE = 120.0
"""Seconds of a server's absence through which a recording waits for it, frame by frame."""
_TOLD_AGAIN = 60.0
"""Seconds before the same is told again: a server may fail every other frame."""
_FIRST_RETRY = 0.1
_TOO_MANY = 429
_SERVER_ERRORS = 500
_LARGEST_SIDE = 4096
_DTYPES: Mapping[str, Any] = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}
_ROUNDING = 1e-3


class _Unfit(Exception):
    """What came back is not what the configuration promises."""


class _Away(_Unfit):
    """The server says that it cannot answer now."""


@dataclass(frozen=True)
class Answer:
    """What a model server says of one frame: confidences by class, and how long it took."""

    confidences: Mapping[str, float]
    latency_ms: float


@dataclass(frozen=True)
class _Input:
    """What the server's model takes: ``layout`` bytes, or pixels with channels first or last, of ``size`` (w, h)."""

    name: str
    datatype: str
    layout: Literal["bytes", "first", "last"]
    size: tuple[int, int] = (_USUAL_SIDE, _USUAL_SIDE)


class ModelServer:
    """One model on a server; ``classes`` are those of the watched model, in order. For one thread.

    With ``waits``, for a recording, a server that is away is asked again for each frame, ever less often, for
    ``timeout`` seconds; once it has been away for minutes it is left alone as by a live source. After ``stop`` nothing
    is asked any more.
    """

    def __init__(
        self,
        settings: ModelServerConfig,
        *,
        model: str,
        classes: tuple[str, ...],
        tell: Callable[[str], None],
        stop: threading.Event,
        waits: bool = False,
    ) -> None:
        if not classes:
            raise BadInput(f"model {model} has no classes, so a model server cannot be asked; list its classes")
        self.unanswered = 0
        self._settings = settings
        self._name = settings.name or model
        self._classes = classes
        self._tell = tell
        self._shown = shown_address(settings.url)
        self._client = httpx.Client(timeout=settings.timeout)
        self._input: _Input | None = None
        self._stop = stop
        self._waits = waits
        self._quiet_until = -math.inf
        self._away_since: float | None = None
        self._told: dict[str, float] = {}

    def open(self) -> None:
        """Ask what the model takes, so that a wrong configuration shows at once. Raises BadInput where it is wrong."""
        try:
            if self._settings.protocol == "kserve":
                self._input = self._described()
        except httpx.HTTPError as error:
            self._failed(error)
        except _Unfit as error:
            raise BadInput(f"{self._shown}: {error}") from error

    def ask(self, image: Image.Image, encoded: bytes) -> Answer | None:
        """The confidences of one frame; None, counted, where the server does not give them."""
        began, pause = time.monotonic(), _FIRST_RETRY
        given_up_at = began + self._settings.timeout
        while began >= self._quiet_until and not self._stop.is_set():
            try:
                answer = self._asked_once(image, encoded, within=given_up_at - time.monotonic())
            except (httpx.HTTPError, _Unfit) as error:
                self._failed(error)
                if not self._is_worth_waiting(error, pause, given_up_at):
                    break
                pause *= 2
            else:
                self._away_since = None
                return answer
        self.unanswered += 1
        return None

    def _asked_once(self, image: Image.Image, encoded: bytes, *, within: float) -> Answer:
        began = time.perf_counter()
        self._client.timeout = httpx.Timeout(max(within, _FIRST_RETRY))
        values = self._asked_kserve(image, encoded) if self._settings.protocol == "kserve" else self._asked(encoded)
        return Answer(self._confidences(values), (time.perf_counter() - began) * 1000)

    def _is_worth_waiting(self, error: Exception, pause: float, given_up_at: float) -> bool:
        """Wait for ``pause`` seconds, and say whether to ask again."""
        if not self._waits or not _is_away(error) or self._is_long_gone:
            return False
        return time.monotonic() + pause <= given_up_at and not self._stop.wait(pause)

    @property
    def _is_long_gone(self) -> bool:
        return self._away_since is not None and time.monotonic() - self._away_since >= _PATIENCE

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def _failed(self, error: Exception) -> None:
        if _is_away(error) and self._away_since is None:
            self._away_since = time.monotonic()
        then = "frames go without until it does"
        if not self._waits or self._is_long_gone:
            self._quiet_until = time.monotonic() + _LEFT_ALONE
        elif _is_away(error):
            then = (
                f"each frame waits {self._settings.timeout:g} s for it, for {_PATIENCE:g} s in all, then goes without"
            )
        if time.monotonic() >= self._told.get(then, -math.inf) + _TOLD_AGAIN:
            self._told[then] = time.monotonic()
            self._tell(f"{self._shown} gives no confidences ({str(error) or type(error).__name__}); {then}")

    # ---- KServe v2 (Open Inference Protocol, REST) ------------------------------------------------------------------

    def _asked_kserve(self, image: Image.Image, encoded: bytes) -> Any:
        if self._input is None:
            self._input = self._described()
        shape, data = _tensor(self._input, image, encoded, self._settings)
        tensor = {"name": self._input.name, "shape": shape, "datatype": self._input.datatype, "data": data}
        body = self._json("POST", f"{self._url}/infer", {"inputs": [tensor]})
        outputs = body.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            values = output.get("data") if isinstance(output, dict) else None
            if isinstance(values, list) and len(values) == 1 and isinstance(values[0], list):
                values = values[0]  # the protocol allows a batch of one as nested lists
            if isinstance(values, list) and len(values) == len(self._classes):
                return values
        raise _Unfit(f"no output has {len(self._classes)} values, one for each class of the model")

    @property
    def _url(self) -> str:
        return f"{self._settings.url}/v2/models/{self._name}"

    def _described(self) -> _Input:
        described = self._json("GET", self._url, None)
        if self._settings.takes is not None:
            return self._input_of(self._settings.takes.model_dump())
        inputs = described.get("inputs")
        if not inputs:
            raise _Unfit(
                f"model {self._name} does not say what it takes; say it in monitoring.yml, under model_server.takes"
            )
        if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
            raise _Unfit(f"model {self._name} does not take exactly one input; accepted is one, of an image")
        return self._input_of(inputs[0])

    def _input_of(self, described: Mapping[str, Any]) -> _Input:
        try:
            name, datatype = str(described["name"]), str(described["datatype"])
            shape = [int(size) for size in described["shape"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _Unfit(f"model {self._name} does not say name, datatype and shape of its input") from error
        if datatype == "BYTES":
            return _Input(name, datatype, "bytes")
        if datatype not in _DTYPES or len(shape) != 4 or 3 not in shape[1::2]:  # noqa: PLR2004 - batch, and three axes
            raise _Unfit(
                f"model {self._name} takes {datatype} of shape {shape}; accepted are BYTES (an image file), and FP32, "
                "FP16 or UINT8 of shape [batch, 3, height, width] or [batch, height, width, 3]"
            )
        first = shape[1] == 3  # noqa: PLR2004 - red, green, blue
        sides = shape[2:] if first else shape[1:3]
        height, width = (side if 0 < side <= _LARGEST_SIDE else _USUAL_SIDE for side in sides)
        return _Input(name, datatype, "first" if first else "last", (width, height))

    # ---- plain JSON -------------------------------------------------------------------------------------------------

    def _asked(self, encoded: bytes) -> Any:
        image = base64.b64encode(encoded).decode()
        body = self._json("POST", self._settings.url, {"model": self._name, "image": image})
        if "confidences" not in body:
            raise _Unfit('the answer has no confidences; accepted is {"confidences": {"class": 0.9, ...}} or a list')
        return body["confidences"]

    # ---- both -------------------------------------------------------------------------------------------------------

    def _json(self, method: str, url: str, body: Any) -> dict[str, Any]:
        answer = self._client.request(method, url, json=body)
        if answer.status_code != httpx.codes.OK:
            is_away = answer.status_code == _TOO_MANY or answer.status_code >= _SERVER_ERRORS
            kind = _Away if is_away else _Unfit
            raise kind(f"{answer.status_code} {answer.reason_phrase} {answer.text[:200]!r}")
        try:
            found = answer.json()
        except ValueError as error:
            raise _Unfit("the answer is no JSON") from error
        if not isinstance(found, dict):
            raise _Unfit("the answer is no JSON object")
        return found

    def _confidences(self, values: Any) -> Mapping[str, float]:
        names: Sequence[str] = self._classes
        if isinstance(values, Mapping):
            names, values = [str(name) for name in values], list(values.values())
        if not set(names) <= set(self._classes) or not isinstance(values, list) or len(values) != len(names):
            raise _Unfit(f"the answer is not of the classes {', '.join(self._classes)}")
        try:
            found = np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise _Unfit("the confidences are not numbers") from error
        if found.ndim != 1 or not np.isfinite(found).all():
            raise _Unfit("the confidences are not finite numbers")
        if self._settings.outputs == "logits":
            found = np.exp(found - found.max())
            found /= found.sum()
        if (found < -_ROUNDING).any() or (found > 1 + _ROUNDING).any():
            raise _Unfit("the confidences are not from 0 to 1; where they are logits, say outputs: logits")
        return dict(zip(names, map(float, found.clip(0, 1)), strict=True))


def _is_away(error: Exception) -> bool:
    """Whether it may be over by itself, which a wrong answer is not."""
    return isinstance(error, (httpx.HTTPError, _Away))


def _tensor(
    wanted: _Input, image: Image.Image, encoded: bytes, settings: ModelServerConfig
) -> tuple[list[int], list[Any]]:
    """Shape and flat data of the input of one frame."""
    if wanted.layout == "bytes":
        return [1], [base64.b64encode(encoded).decode()]
    small = np.asarray(image.resize(wanted.size, Image.Resampling.BILINEAR))
    pixels: NDArray[Any] = small.astype(np.float32) / 255 if wanted.datatype != "UINT8" else small
    if wanted.datatype != "UINT8" and settings.mean and settings.std:
        pixels = (pixels - np.array(settings.mean)) / np.array(settings.std)
    if wanted.layout == "first":
        pixels = np.moveaxis(pixels, 2, 0)
    return [1, *pixels.shape], pixels.astype(_DTYPES[wanted.datatype]).ravel().tolist()
