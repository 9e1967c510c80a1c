"""Who is asking: API keys with a name and a role, and a cookie that stands for one.

A key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`. The page gets a cookie instead: an
HMAC of the key, HttpOnly and SameSite=Strict, so that no script and no other site can use it; it
survives a restart and does not reveal the key. A request that changes something with the cookie
must come from our own page (Sec-Fetch-Site, else Origin).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from ipaddress import ip_address

from openvrc.contracts.errors import SettingsError
from openvrc.settings import Settings

KEY_BYTES = 24
"""Entropy of a key we make: 192 bit, beyond guessing; 32 characters in a link."""
MIN_KEY_CHARACTERS = 12
"""A shorter key is a typing mistake or a guessable one."""
_NAME = re.compile(r"^[A-Za-z0-9_.@\-]{1,64}$")
_COOKIE_PURPOSE = b"openvrc page session v1"
OWN_KEY_NAME = "local"
"""Whom a key stands for that nobody configured."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Role(IntEnum):
    """What a caller may do; each may do what the lower ones may."""

    VIEWER = 0
    OPERATOR = 1
    ADMIN = 2

    @property
    def word(self) -> str:
        """Lower-case name, as settings write it."""
        return self.name.lower()


@dataclass(frozen=True)
class Caller:
    """Who asks: the key's name stands as "who" in every alert's history."""

    name: str
    role: Role


@dataclass(frozen=True)
class ApiKey:
    """One configured key."""

    caller: Caller
    key: str

    @property
    def cookie(self) -> str:
        """What the page's cookie holds instead of the key."""
        return hmac.new(self.key.encode(), _COOKIE_PURPOSE, sha256).hexdigest()


class Keys:
    """All keys. Lookups compare every key in constant time, so timing tells nothing."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def of_key(self, key: str) -> Caller | None:
        """Whose key this is."""
        return self._match(key, [(k.key, k.caller) for k in self._keys])

    def of_cookie(self, cookie: str) -> Caller | None:
        """Whose page session this is."""
        return self._match(cookie, [(k.cookie, k.caller) for k in self._keys])

    def cookie_of(self, key: str) -> str | None:
        """The cookie to give to the holder of a key, None for an unknown key."""
        known = next((k for k in self._keys if _same(k.key, key)), None)
        return known.cookie if known else None

    @staticmethod
    def _match(given: str, known: list[tuple[str, Caller]]) -> Caller | None:
        found = None
        for secret, caller in known:
            if _same(secret, given):
                found = caller
        return found


def parse_keys(text: str) -> Keys:
    """Keys from `name:role:key, ...`. Raises SettingsError that never repeats a key."""
    keys = []
    for place, part in enumerate(filter(None, (p.strip() for p in text.split(",")))):
        name, _, rest = part.partition(":")
        role, _, key = rest.partition(":")
        where = f"VRC_CLOUD_API_KEYS entry {place + 1}"
        if not _NAME.match(name) or role not in {r.word for r in Role}:
            raise SettingsError(
                f"{where} is not name:role:key with a role of viewer, operator, admin"
            )
        if len(key) < MIN_KEY_CHARACTERS or not key.isascii() or not key.isprintable():
            raise SettingsError(
                f"{where} ({name}) has a key of {len(key)} characters,"
                f" expected at least {MIN_KEY_CHARACTERS}, printable ASCII"
            )
        keys.append(ApiKey(Caller(name, Role[role.upper()]), key))
    return Keys(keys)


def keys_from(settings: Settings) -> tuple[Keys, str | None]:
    """The configured keys, and the key to put into the page's link, if this process may know it.

    On loopback a missing list is made: with VRC_API_KEY if that is set (edges on this machine use
    it), else random. Anywhere else it is refused: a service that anybody reaches needs keys.
    """
    if settings.cloud_api_keys.strip(" ,"):
        return parse_keys(settings.cloud_api_keys), None
    if not is_loopback(settings.cloud_host):
        raise SettingsError(
            f"VRC_CLOUD_API_KEYS is empty and VRC_CLOUD_HOST is {settings.cloud_host}, expected"
            " name:role:key entries, or a loopback address"
        )
    key = settings.api_key or make_key()
    return Keys([ApiKey(Caller(OWN_KEY_NAME, Role.ADMIN), key)]), key


def make_key() -> str:
    """A new random key."""
    return secrets.token_urlsafe(KEY_BYTES)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key a request carries in its headers, None without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return headers.get("x-api-key") or None


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that our own page made this request.

    Sec-Fetch-Site cannot be set by scripts; browsers too old for it send Origin with every
    changing request and every WebSocket. Neither means: not proven, so no.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    _, separator, authority = headers.get("origin", "").partition("://")
    return bool(separator) and authority == headers.get("host")


def _same(secret: str, given: str) -> bool:
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogateescape"))
