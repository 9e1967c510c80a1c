"""Every error OpenVRC raises on purpose, with its facts as attributes."""

from __future__ import annotations


class VrcError(Exception):
    """Base of all errors of this package. `retryable` is a fact of the type, not of the text."""

    retryable = False


class ContractError(VrcError):
    """Data that does not fit its contract: says which field, what it was and what was expected."""

    def __init__(self, field: str, found: object, expected: str) -> None:
        self.field = field
        self.found = found
        self.expected = expected
        super().__init__(f"{field} is {found!r}, expected {expected}")


class SettingsError(VrcError):
    """A setting that cannot be used: says which, from where, and what was expected."""


class PluginError(VrcError):
    """A plug-in module that does not end in a usable `PLUGIN`."""
