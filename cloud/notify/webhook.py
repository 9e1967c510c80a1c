"""Channel `webhook`: a CloudEvents 1.0 event by POST, signed with HMAC-SHA256.

Options: `url`, `secret`, perhaps `timeout_s`. The body is one event in structured JSON mode. The
header `X-VRC-Signature: t=TIME,v1=HEX` signs the text `TIME.BODY`; a receiver computes it again,
compares in constant time, and refuses times that lie minutes away (a replay).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx

from cloud.notify.base import Notification, PermanentError, RetryableError, known_options

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TIMEOUT_S = 10.0
LEAST_SECRET_CHARACTERS = 16
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


def cloud_event(notification: Notification) -> dict[str, Any]:
    """The notification as a CloudEvent."""
    first = notification.alerts[0]
    return {
        "specversion": "1.0",
        "id": notification.id,
        "source": f"/openvrc/zones/{first['zone']}",
        "type": f"org.openvrc.alert.{notification.event}",
        "subject": str(first["subject_id"]),
        "time": datetime.fromtimestamp(notification.at_s, UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "route": notification.route,
            "title": notification.title,
            "alerts": [dict(alert) for alert in notification.alerts],
        },
    }


def signature(secret: str, at_s: int, body: bytes) -> str:
    """The value of `X-VRC-Signature`.

    >>> signature("0123456789abcdef", 0, b"{}")[:12]
    't=0,v1=67f76'
    """
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class Webhook:
    """Posts to a URL; never follows a redirect, which would send the event to somebody else."""

    name = "webhook"

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse other schemes than http(s) and secrets that can be guessed."""
        known_options(options, needed={"url", "secret"}, others={"timeout_s"})
        if urlsplit(str(options["url"])).scheme not in ("http", "https"):
            raise PermanentError("url is neither http:// nor https://")
        if len(str(options["secret"])) < LEAST_SECRET_CHARACTERS:
            raise PermanentError(f"secret has under {LEAST_SECRET_CHARACTERS} characters")

    def send(self, notification: Notification, options: Mapping[str, Any]) -> None:
        """POST the event; any answer of 2xx means it was taken."""
        body = json.dumps(cloud_event(notification), ensure_ascii=False).encode()
        signed = signature(str(options["secret"]), int(notification.at_s), body)
        headers = {"Content-Type": CONTENT_TYPE, "X-VRC-Signature": signed}
        timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        try:
            answer = httpx.post(
                str(options["url"]), content=body, headers=headers, timeout=timeout_s
            )
        except httpx.HTTPError as error:
            raise RetryableError(f"{type(error).__name__}: {error}") from error
        if answer.status_code in TRY_AGAIN:
            raise RetryableError(f"answered {answer.status_code}")
        if not answer.is_success:
            raise PermanentError(f"answered {answer.status_code}, expected 2xx")


PLUGIN = Webhook()
