"""A stand-in for Slack's webhook that holds every message to Slack's documented limits, and keeps it.

The decision this hides: what Slack refuses or silently cuts off. Nothing but the standard library, so that it runs
inside the tests and, as ``python slack_standin.py``, in a container beside Alertmanager.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# https://api.slack.com/reference/messaging/attachments and .../block-kit: what Slack documents.
ATTACHMENT_KEYS = {
    "title", "title_link", "pretext", "text", "fallback", "color", "footer", "mrkdwn_in", "actions", "fields",
    "callback_id", "image_url", "thumb_url",
}  # fmt: skip
LIMITS = {"title": 1024, "fallback": 1024, "text": 8000, "footer": 300}
ACTION_TEXT, ACTION_URL, ACTIONS = 30, 3000, 5
PORT = 8080


def complaints(payload: dict[str, Any]) -> list[str]:
    """Everything that Slack would refuse, or silently cut off, in a message to a webhook."""
    found = []
    attachments = payload.get("attachments", [])
    if len(attachments) != 1:
        found.append(f"{len(attachments)} attachments, one expected")
    for attachment in attachments:
        found += [f"unknown key {key}" for key in attachment.keys() - ATTACHMENT_KEYS]
        found += [f"{key} too long" for key, limit in LIMITS.items() if len(attachment.get(key, "")) > limit]
        if not re.fullmatch(r"good|warning|danger|#[0-9a-fA-F]{6}", attachment.get("color", "")):
            found.append("color")
        actions = attachment.get("actions", [])
        if len(actions) > ACTIONS:
            found.append(f"{len(actions)} actions")
        for action in actions:
            if action.get("type") != "button" or not 0 < len(action.get("text", "")) <= ACTION_TEXT:
                found.append(f"button {action}")
            if not re.fullmatch(r"https?://\S+", action.get("url", "")) or len(action["url"]) > ACTION_URL:
                found.append(f"link of {action.get('text')}: {action.get('url')}")
    return found


@dataclass
class Slack:
    """A stand-in for Slack's webhook: answers as Slack does, and keeps what it was sent.

    A message is Slack's payload with ``path``, where it was sent, and ``at``, when: seconds since the epoch.
    """

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def receive(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Take a message as Slack would: status and answer."""
        payload = json.loads(body)
        if found := complaints(payload):
            self.refused += found
            return 400, b"invalid_attachments"
        self.messages.append({"path": path, "at": time.time(), **payload})
        return 200, b"ok"

    def titles(self) -> list[str]:
        """The headings of the messages, oldest first."""
        return [message["attachments"][0]["title"] for message in self.messages]


def server_of(slack: Slack, host: str, port: int) -> ThreadingHTTPServer:
    """A server that gives ``slack`` what is posted, and shows what it keeps at GET /."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(*slack.receive(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self._answer(200, json.dumps({"messages": slack.messages, "refused": slack.refused}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return ThreadingHTTPServer((host, port), Handler)


if __name__ == "__main__":
    server_of(Slack(), "0.0.0.0", PORT).serve_forever()
