"""Readers of road map files, one format a module; `read_map` picks the one that fits.

Each module ends in `PLUGIN`, an object with the shape of `MapFormat`. A new format is one new
module in this package; nothing lists them.
"""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

from openvrc.contracts.maps import MapError, RoadMap


@runtime_checkable
class MapFormat(Protocol):
    """What a map format module's `PLUGIN` offers."""

    name: str
    description: str

    def matches(self, path: Path) -> bool:
        """Whether the file looks like this format; must not raise."""
        ...

    def read(self, path: Path) -> RoadMap:
        """The file's road map. Raises MapError with what was wrong and what was expected."""
        ...


@lru_cache(maxsize=1)
def map_formats() -> tuple[MapFormat, ...]:
    """Every format of this package, by name. Raises TypeError for a module without `PLUGIN`."""
    found: list[MapFormat] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        plugin = getattr(import_module(f"{__name__}.{module.name}"), "PLUGIN", None)
        if not isinstance(plugin, MapFormat):
            raise TypeError(f"{__name__}.{module.name} does not end in a PLUGIN = <map format>")
        found.append(plugin)
    return tuple(sorted(found, key=lambda plugin: plugin.name))


def read_map(path: Path) -> RoadMap:
    """Read a road map file of any known format.

    Raises MapError if there is no such file, no format fits, or the file is damaged.
    """
    if not path.is_file():
        raise MapError(f"{path}: no such map file")
    for plugin in map_formats():
        if plugin.matches(path):
            return plugin.read(path)
    known = "; ".join(f"{plugin.name}: {plugin.description}" for plugin in map_formats())
    raise MapError(f"{path.name}: not a known map format, expected one of: {known}")
