"""Thresholds of a load test: a TOML file whose names are those of `vrc load --json`.

[max]
"publish_ms.p99" = 50
"stored_ms.p99" = 150
"missing" = 0

[min]
"records_per_s" = 30000
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openvrc.contracts.errors import SettingsError

SIDES = ("max", "min")


@dataclass(frozen=True)
class Verdict:
    """One threshold and what was measured; `is_met` is False for what was not measured."""

    name: str
    side: str
    limit: float
    value: float | None

    @property
    def is_met(self) -> bool:
        """Whether the value keeps the limit."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.side == "max" else self.value >= self.limit

    def as_text(self) -> str:
        """For a terminal."""
        wanted = "at most" if self.side == "max" else "at least"
        found = "not measured" if self.value is None else f"{self.value:g}"
        return f"{'met' if self.is_met else 'MISSED'}: {self.name} {found}, {wanted} {self.limit:g}"


def read_limits(path: Path) -> list[tuple[str, str, float]]:
    """(name, side, limit) of each threshold. Raises SettingsError, which says what is wrong."""
    try:
        tree = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from error
    unknown = set(tree) - set(SIDES)
    if unknown or not tree:
        raise SettingsError(f"{path} has {sorted(tree)}, expected the tables [max] and [min]")
    found = []
    for side in SIDES:
        for name, limit in tree.get(side, {}).items():
            if isinstance(limit, bool) or not isinstance(limit, int | float):
                raise SettingsError(f"{path}: {name} is {limit!r}, expected a number")
            found.append((name, side, float(limit)))
    return found


def verdicts(
    limits: list[tuple[str, str, float]], result: Mapping[str, Any], path: Path
) -> list[Verdict]:
    """What became of each threshold. Raises SettingsError for a name that does not exist."""
    return [Verdict(name, side, limit, _value(result, name, path)) for name, side, limit in limits]


def _value(result: Mapping[str, Any], name: str, path: Path) -> float | None:
    node: Any = result
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            known = ", ".join(sorted(_names(result)))
            raise SettingsError(f"{path}: {name} is no figure of a load test, expected: {known}")
        node = node[part]
    if node is None or (isinstance(node, int | float) and not isinstance(node, bool)):
        return node
    raise SettingsError(f"{path}: {name} is {node!r}, expected the name of a number")


def _names(node: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            names += _names(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            names.append(f"{prefix}{key}")
    return names
