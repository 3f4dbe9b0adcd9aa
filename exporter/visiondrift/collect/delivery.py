"""Decides how kept frames reach a running exporter: in small batches, again and again while it does not answer.

A bounded number of frames waits in memory; when that is full the collection waits too, so that nothing is lost while
it runs. At the end what is left has a few seconds more; what does not go then is counted as lost.
"""

import base64
import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from visiondrift.collect.sinks import KeptFrame
from visiondrift.config.collect import shown_address
from visiondrift.errors import BadInput

_MOST_WAITING_BYTES = 64 * 2**20
_BATCH_EVENTS, _BATCH_BYTES = 16, 8 * 2**20
_TIMEOUT = 120.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_LAST_SECONDS = 10.0
_UNTOLD = 5.0
"""Seconds at the end that are waited without a word."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_OK, _TOO_LARGE, _NOTHING_VALID = 200, 413, 422
_WRONG_TIME = "bad_time"
_START = "; where a recording began is said by --start (`start` in monitoring.yml)"


@dataclass(frozen=True)
class _Event:
    body: dict[str, Any]
    size: int


class ExporterSink:
    """Sends frames as events with their image, so that the exporter measures and embeds it as any other.

    ``stop`` ends the wait for room. ``counts``: stored, duplicates, sampled_out, rejected, lost.
    """

    name = "exporter"

    def __init__(self, url: str, *, token: str | None, stop: threading.Event, tell: Callable[[str], None]) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"{shown_address(url)} is no web address; accepted is http://HOST:PORT")
        self.counts: Counter[str] = Counter()
        self.problem = ""
        self._url = url.rstrip("/") + "/v1/predictions"
        self._shown = shown_address(url)
        self._stop = stop
        self._tell = tell
        self._told_of: set[str] = set()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT)
        self._waiting: deque[_Event] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._last_moment = math.inf
        self._sender = threading.Thread(target=self._send_all, name="exporter-sink", daemon=True)
        self._sender.start()

    def put(self, kept: KeptFrame) -> None:
        """Take a frame; waits for room while the exporter does not answer."""
        event = _event(kept)
        with self._changed:
            while self._is_full(event) and not self._is_over():
                self._changed.wait(0.2)
            if self.problem or self._is_full(event):
                self.counts["lost"] += 1
                return
            self._waiting.append(event)
            self._bytes += event.size
            self._changed.notify_all()

    def close(self) -> None:
        """Send what waits, without trying again for more than a few seconds; count what was not answered as lost."""
        with self._changed:
            self._last_moment = time.monotonic() + _LAST_SECONDS
            self._closing.set()
            self._changed.notify_all()
        # A request that is on its way may take long: a CLIP that is only being loaded holds it up.
        self._sender.join(_UNTOLD)
        if self._sender.is_alive():
            most = _LAST_SECONDS + _TIMEOUT
            self._tell(f"{self._shown} has not answered yet; waiting for it, {most:g} s at most (Ctrl-C ends at once)")
            self._sender.join(most)
        self._client.close()
        with self._changed:
            self.counts.update({"lost": len(self._waiting)} if self._waiting else {})
            self._waiting.clear()

    def _is_full(self, event: _Event) -> bool:
        return bool(self._waiting) and self._bytes + event.size > _MOST_WAITING_BYTES

    def _is_over(self) -> bool:
        return self._stop.is_set() or bool(self.problem)

    def _send_all(self) -> None:
        try:
            while batch := self._next():
                if not self._deliver(batch):
                    return
        except Exception as error:  # noqa: BLE001 - a server may answer anything, and nobody must wait for this thread
            self.problem = f"{self._shown} gave an answer that cannot be read ({error!r})"

    def _next(self) -> list[_Event]:
        """The next batch, which stays in line until it has gone; empty at the end."""
        with self._changed:
            while not self._waiting:
                if self._closing.is_set():
                    return []
                self._changed.wait()
            batch: list[_Event] = []
            size = 0
            for event in self._waiting:
                if batch and (len(batch) == _BATCH_EVENTS or size + event.size > _BATCH_BYTES):
                    break
                batch.append(event)
                size += event.size
            return batch

    def _done(self, batch: Sequence[_Event], outcome: Counter[str]) -> None:
        with self._changed:
            if not self._waiting:  # an answer after the end, when these were counted as lost
                return
            for _ in batch:
                self._bytes -= self._waiting.popleft().size
            self.counts.update(outcome)
            self._changed.notify_all()

    def _deliver(self, batch: Sequence[_Event]) -> bool:
        """Send a batch until it is answered for good; False where time is up, or the exporter will never take it."""
        wait = _FIRST_WAIT
        while True:
            answer, why, patience = self._ask(batch)
            if answer is not None:
                return self._settle(batch, answer)
            pause = max(patience, wait * random.uniform(0.5, 1.5))  # noqa: S311 - so that collectors do not march
            self._tell_once(f"{self._shown} does not take frames ({why}); trying again")
            if self._closing.wait(pause):
                if time.monotonic() + _FIRST_WAIT > self._last_moment:
                    return False
                time.sleep(_FIRST_WAIT)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _ask(self, batch: Sequence[_Event]) -> tuple[httpx.Response | None, str, float]:
        """The exporter's answer; None where asking later may help, with the reason and how long it wants to be left."""
        try:
            answer = self._client.post(self._url, json={"events": [event.body for event in batch]})
        except httpx.TransportError as error:
            return None, str(error) or type(error).__name__, 0.0
        if answer.status_code in _AGAIN:
            after = answer.headers.get("Retry-After", "")
            return None, _message(answer), min(float(after), _LONGEST_WAIT) if after.isdigit() else 0.0
        return answer, "", 0.0

    def _settle(self, batch: Sequence[_Event], answer: httpx.Response) -> bool:
        body = _json(answer)
        if answer.status_code == _OK:
            refused = body.get("rejected", [])
            counts = {name: int(body.get(name, 0)) for name in ("stored", "duplicates", "sampled_out")}
            self._done(batch, Counter({**counts, "rejected": len(refused)}) + Counter())
            self._tell_refusals(refused)
        elif answer.status_code == _NOTHING_VALID:
            self._done(batch, Counter(rejected=len(batch)))
            self._tell_refusals(body.get("error", {}).get("rejected") or [{"message": _message(answer)}])
        elif answer.status_code == _TOO_LARGE and len(batch) > 1:
            half = len(batch) // 2
            return self._deliver(batch[:half]) and self._deliver(batch[half:])
        elif answer.status_code == _TOO_LARGE:
            self._done(batch, Counter(rejected=1))
            self._tell_refusals([{"message": _message(answer)}])
        else:
            self.problem = f"{self._shown} refuses what is sent: {_message(answer)}"
            self._tell_once(self.problem)
        return not self.problem

    def _tell_refusals(self, refused: Sequence[dict[str, Any]]) -> None:
        """Say why frames are rejected, once for each kind of reason: its words have the frame's own time in them."""
        for one in refused:
            kind = f"rejected {one.get('field')} {one.get('reason')}"
            hint = _START if one.get("reason") == _WRONG_TIME else ""
            self._tell_once(f"{self._shown} rejects frames: {one.get('message')}{hint}", key=kind)

    def _tell_once(self, sentence: str, *, key: str = "") -> None:
        """Say the same only once: an outage has many attempts. ``key`` is what makes two sentences the same."""
        key = key or sentence.partition(";")[0]
        if key not in self._told_of and len(self._told_of) < 100:  # noqa: PLR2004 - bounded, whatever a server says
            self._told_of.add(key)
            self._tell(sentence)


def _event(kept: KeptFrame) -> _Event:
    image = base64.b64encode(kept.encoded).decode()
    body: dict[str, Any] = {
        "id": kept.id,
        "time": kept.time,
        "model": kept.model,
        "version": kept.version,
        "slices": dict(kept.slices),
        "image": image,
        "kept": kept.kept,
    }
    if kept.confidences is not None:
        body["confidences"] = dict(kept.confidences)
    if kept.latency_ms is not None:
        body["latency_ms"] = kept.latency_ms
    return _Event(body, len(image) + 1000)


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(answer: httpx.Response) -> str:
    error = _json(answer).get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return f"{answer.status_code} {said or answer.reason_phrase}"
