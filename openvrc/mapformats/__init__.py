"""Readers of road map files, one format a module; `read_map` picks the one that fits.

Each module ends in `PLUGIN`, an object with the shape of `MapFormat`. A new format is one new
module in this package, or an entry point `openvrc.mapformats` of another; nothing lists them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from openvrc.contracts.errors import PluginError
from openvrc.contracts.maps import MapError, RoadMap
from openvrc.contracts.plugins import discover


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
    """Every format of this package and of installed ones, by name.

    Raises PluginError for a plug-in that is no map format.
    """
    found = discover(__name__)
    for name, plugin in found.items():
        if not isinstance(plugin, MapFormat):
            raise PluginError(f"{name!r} in {__name__} has no description, matches and read")
    return tuple(found.values())


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
