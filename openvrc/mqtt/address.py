"""Where a broker is and who we are to it, from one URL."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from openvrc.contracts.errors import VrcError

DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883}


class BrokerUrlError(VrcError):
    """A text that is no broker's URL."""


@dataclass(frozen=True)
class BrokerAddress:
    """Parts of a broker URL."""

    host: str
    port: int
    has_tls: bool
    user: str | None
    password: str | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"  # never the password

    def tls_context(self) -> ssl.SSLContext | None:
        """Trusts the system's certificates, or those of `SSL_CERT_FILE`; None: no TLS."""
        return ssl.create_default_context() if self.has_tls else None


def parse_broker_url(url: str) -> BrokerAddress:
    """The parts of mqtt[s]://[user:password@]host[:port]. Raises BrokerUrlError.

    >>> parse_broker_url("mqtts://edge:s%40@broker.example").port
    8883
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in DEFAULT_PORT or not parts.hostname or port == -1:
        raise BrokerUrlError(f"broker {url!r}, expected mqtt[s]://[user:password@]host[:port]")
    return BrokerAddress(
        parts.hostname,
        port or DEFAULT_PORT[parts.scheme],
        parts.scheme == "mqtts",
        unquote(parts.username) if parts.username else None,
        unquote(parts.password or "") if parts.username else None,
    )
