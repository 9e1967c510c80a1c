"""Simulated worlds, one scenario a module that ends in `PLUGIN`."""

from __future__ import annotations

from typing import Any, Protocol

from openvrc.contracts.errors import VrcError
from simulator.world import World


class ScenarioError(VrcError):
    """A parameter a scenario cannot work with: says which and what was expected."""


class Scenario(Protocol):
    """A scenario: its name, a line about it, and how to make its world."""

    name: str
    description: str

    def make(
        self,
        *,
        zone: str,
        run_id: str,
        seed: int = 1,
        duration_s: float | None = None,
        vehicles: int | None = None,
        start_ns: int | None = None,
        **more: Any,
    ) -> World:
        """A new world. Raises ScenarioError for a number out of range.

        `more` are values of its `parameters`, if it has that attribute: a tuple of `Parameter`.
        `duration_s` None goes on until stopped; `start_ns` is about its first zone time (default:
        the epoch of recordings without dates).
        """
        ...
