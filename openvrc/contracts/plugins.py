"""Plug-in discovery: one module, one `PLUGIN`; in our packages and in installed ones.

A kind of plug-in is a package whose modules end in `PLUGIN = ...` (or `PLUGINS = (...)`), plus
the entry-point group of the same name, e.g. `openvrc.detectors`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from openvrc.contracts.errors import PluginError, SettingsError


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not info.ispkg:
            yield importlib.import_module(info.name)


def discover(package_name: str) -> dict[str, Any]:
    """All plug-ins of a kind by their `name`, sorted.

    Raises PluginError for two of one name or one without a `name`.
    """
    found: dict[str, Any] = {}
    package = importlib.import_module(package_name)
    candidates = [m.PLUGIN for m in _modules(package) if hasattr(m, "PLUGIN")]
    candidates += [point.load() for point in entry_points(group=package_name)]
    for plugin in candidates:
        name = getattr(plugin, "name", None)
        if not isinstance(name, str):
            raise PluginError(f"{plugin!r} in {package_name} has no `name`, expected a str")
        if name in found and found[name] is not plugin:
            raise PluginError(f"two plug-ins of {package_name} are called {name!r}")
        found[name] = plugin
    return dict(sorted(found.items()))


def chosen(plugins: Mapping[str, Any], patterns: str) -> dict[str, Any]:
    """The plug-ins that any of the comma-separated names or globs means, sorted by name.

    Raises SettingsError for a name or glob that means none: a misspelt one would go unnoticed.
    """
    found: dict[str, Any] = {}
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        meant = {name: one for name, one in plugins.items() if fnmatchcase(name, pattern)}
        if not meant:
            raise SettingsError(f"{pattern!r} means none of {', '.join(sorted(plugins))}")
        found |= meant
    return dict(sorted(found.items()))
