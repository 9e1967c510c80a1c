"""A fixed-time signal plan: which groups are green when, and when that ends."""

from __future__ import annotations

from dataclasses import dataclass

AMBER_S = 3.0  # RiLSA for 50 km/h
ALL_RED_S = 2.0
"""Clearing time; a queue's first car needs another second or two to reach the conflict."""


@dataclass(frozen=True)
class Stage:
    """Groups that are green together."""

    groups: frozenset[int]
    green_s: float

    @property
    def length_s(self) -> float:
        """Green, amber and all-red."""
        return self.green_s + AMBER_S + ALL_RED_S


@dataclass(frozen=True)
class FixedTimePlan:
    """Stages one after the other, for ever; a group belongs to one stage."""

    stages: tuple[Stage, ...]

    @property
    def cycle_s(self) -> float:
        """Length of one round."""
        return sum(stage.length_s for stage in self.stages)

    def state(self, group: int, time_s: float) -> tuple[str, float]:
        """Phase (green, amber, red) of a group and the time in s at which it ends.

        Raises KeyError for a group in no stage.
        """
        start_s = 0.0
        for stage in self.stages:
            if group in stage.groups:
                break
            start_s += stage.length_s
        else:
            raise KeyError(f"signal group {group} is in no stage")
        round_s = (time_s // self.cycle_s) * self.cycle_s
        green_from_s = round_s + start_s
        amber_from_s = green_from_s + stage.green_s
        red_from_s = amber_from_s + AMBER_S
        if time_s < green_from_s:
            return "red", green_from_s
        if time_s < amber_from_s:
            return "green", amber_from_s
        if time_s < red_from_s:
            return "amber", red_from_s
        return "red", green_from_s + self.cycle_s
