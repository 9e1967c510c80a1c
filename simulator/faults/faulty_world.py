"""A world with faults: itself a world, whatever drives worlds takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from openvrc.contracts.maps import RoadMap
from simulator.faults.kind import Fault
from simulator.faults.outcome import Outcomes
from simulator.faults.spec import FaultSpec
from simulator.world import Frame, Origin, Outgoing, TruthEvent, World, merged


class FaultyWorld:
    """See `World`. What else the world inside can (`seek`, `unpaced_step_s`), this one can too."""

    def __init__(self, world: World, specs: Sequence[FaultSpec], seed: int) -> None:
        """Over another world with faults it is one world with both's, and one expectation.

        Raises FaultError.
        """
        self._world: World = world
        self._asked: list[tuple[FaultSpec, int]] = [(spec, seed) for spec in specs]
        if isinstance(world, FaultyWorld):
            self._world, self._asked = world._world, world._asked + self._asked
        world = self._world
        made = [(spec.kind.stage, spec.on(world, its_seed, place), spec.kind)
                for place, (spec, its_seed) in enumerate(self._asked)]  # fmt: skip
        made.sort(key=lambda one: one[0])  # stable: those of one stage stay as given
        self._faults: list[Fault] = [kind.make(given) for _, given, kind in made]
        self.outcomes = Outcomes()

    @property
    def zone(self) -> str:
        """See World."""
        return self._world.zone

    @property
    def run_id(self) -> str:
        """See World."""
        return self._world.run_id

    @property
    def origin(self) -> Origin:
        """See World."""
        return self._world.origin

    @property
    def title(self) -> str:
        """See World."""
        return self._world.title

    @property
    def time_zone(self) -> str:
        """See World."""
        return self._world.time_zone

    @property
    def start_ns(self) -> int:
        """See World."""
        return self._world.start_ns

    @property
    def road_map(self) -> RoadMap | None:
        """See World."""
        return self._world.road_map

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def stop(self) -> None:
        """See World."""
        self._world.stop()

    def ground_truth(self) -> list[TruthEvent]:
        """See World: the world's own, what its faults did, and what the accounts must come to."""
        events = self._world.ground_truth()
        events += [event for fault in self._faults for event in fault.truth()]
        events += self.outcomes.truth(self._world.zone, self._world.start_ns)
        return sorted(events, key=lambda event: event.from_ns)

    def frames(self) -> Iterator[Frame]:
        """See World: everything that is still held comes with the last frame, counts last."""
        return self._faulty(self._world.frames())

    def frames_of(self, step_s: float) -> Iterator[Frame]:
        """Frames for who paces nothing; see `simulator.world.unpaced`."""
        inner: Callable[[float], Iterator[Frame]] | None = getattr(self._world, "frames_of", None)
        return self._faulty(inner(step_s) if inner else merged(self._world.frames(), step_s))

    def _faulty(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        last: Frame | None = None
        now_ns = self.start_ns
        for frame in frames:
            if last is not None:
                yield self._passed(last)
            # The world's last frame holds counts only; whether this is it, the next one tells.
            last = frame if _is_counts_only(frame) else None
            now_ns = frame.zone_time_ns
            if last is None:
                yield self._passed(frame)
        yield self._closed(last or Frame(now_ns, ()))

    def _passed(self, frame: Frame) -> Frame:
        for fault in self._faults:
            frame = fault.apply(frame)
        self.outcomes.note(frame)
        return frame

    def _closed(self, last: Frame) -> Frame:
        now_ns, messages = last.zone_time_ns, last.messages
        for fault in self._faults:
            passed = fault.apply(Frame(now_ns, messages)).messages
            messages = (*passed, *fault.close(now_ns))
        frame = Frame(now_ns, tuple(sorted(messages, key=_is_count)))
        self.outcomes.note(frame)
        return frame


def with_faults(world: World, specs: Sequence[FaultSpec], seed: int) -> World:
    """The world, with its faults if there are any. Raises FaultError."""
    return FaultyWorld(world, specs, seed) if specs else world


def _is_count(outgoing: Outgoing) -> bool:
    return outgoing.message == "source_status"


def _is_counts_only(frame: Frame) -> bool:
    return bool(frame.messages) and all(map(_is_count, frame.messages))
