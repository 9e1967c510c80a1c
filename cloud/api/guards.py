"""Around every request: security headers, and a bound on bodies that no endpoint bounds itself."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # What is true now is kept by no browser: a page on a wall asks some 100,000 times a day.
    "Cache-Control": "no-store",
}
SMALL_BODY_BYTES = 64 * 1024
"""Far above any action on an alert; only ingest takes more, and bounds it itself."""
INGEST_PATH = "/v1/ingest"


class Guards:
    """An ASGI middleware; pure ASGI, because Starlette's base class would buffer streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, bounded, and its answer back, with headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bounded = receive if scope["path"] == INGEST_PATH else _bounded(receive)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, bounded, send_with_headers)


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > SMALL_BODY_BYTES:
            raise HTTPException(413, f"body is over {SMALL_BODY_BYTES} bytes, expected less")
        return message

    return receive_bounded
