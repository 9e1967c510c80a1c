"""One order out of several workers' streams: what every worker hears takes effect once all have.

Records are dealt out among the workers; a driver's tick goes to each of them. A broker keeps the
order towards each subscriber, so once all workers have passed a tick, every record it covers has
been passed too: until then a worker that has passed it is held, and what it says after it waits.

A worker that subscribed after a tick was sent never passes it. So ticks count only behind a
fence: a marker that is published when all have subscribed, which each passes in its turn. In
front of it, and for what was retained, the first copy takes effect, and the others nothing.

Pure: no clock, threads or sockets.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

Step = TypeVar("Step")
Mark = Literal["joined", "fenced"]
MOST_KNOWN = 10_000
"""Copies come again for as long as they are not acknowledged: 2000 messages a worker at most."""


@dataclass
class _Waiting(Generic[Step]):
    step: Step
    key: bytes | None
    mark: Mark | None


@dataclass
class _Worker(Generic[Step]):
    has_joined: bool = False
    is_fenced: bool = False
    held_by: bytes | None = None
    waiting: deque[_Waiting[Step]] = field(default_factory=deque)

    def take(self) -> _Waiting[Step]:
        """The next one, with what it says of the worker itself."""
        taken = self.waiting.popleft()
        self.has_joined |= taken.mark == "joined"
        self.is_fenced |= taken.mark == "fenced"
        return taken


class Barrier(Generic[Step]):
    """Steps in by worker, steps out in one order; a step with a key is what all of them hear."""

    def __init__(self, n_workers: int, *, are_fenced: bool = False) -> None:
        """`are_fenced`: their sessions passed a fence in an earlier life of the edge."""
        self._workers: list[_Worker[Step]] = [
            _Worker(is_fenced=are_fenced) for _ in range(n_workers)
        ]
        self._passed: dict[bytes, set[int]] = {}
        self._done: OrderedDict[bytes, None] = OrderedDict()
        self._out: list[tuple[Step, bool]] = []

    @property
    def have_all_joined(self) -> bool:
        """Whether every worker is subscribed: then a fence may be published."""
        return all(worker.has_joined for worker in self._workers)

    @property
    def are_all_fenced(self) -> bool:
        """Whether every worker has passed the fence."""
        return all(worker.is_fenced for worker in self._workers)

    def up(self, number: int, *, is_resumed: bool) -> None:
        """A worker is connected; without its old session it may miss what the others pass."""
        if is_resumed:
            return
        self._workers[number].has_joined = False
        for each in self._workers:
            each.is_fenced = False
        for key in list(self._passed):
            self._release(key)

    def lost(self, number: int) -> None:
        """A worker has died: what it has said and is not out yet comes again."""
        worker = self._workers[number]
        worker.waiting.clear()
        if worker.held_by is not None:
            self._passed[worker.held_by].discard(number)
            worker.held_by = None

    def add(
        self, number: int, step: Step, key: bytes | None = None, mark: Mark | None = None
    ) -> None:
        """A step of a worker; its `key` is the same in every worker's copy.

        `mark`: with it the worker is subscribed, or has passed the fence.
        """
        self._workers[number].waiting.append(_Waiting(step, key, mark))
        self._advance(number)

    def take(self) -> list[tuple[Step, bool]]:
        """Steps to be taken now, in order; False: it had its effect already, only count it."""
        out, self._out = self._out, []
        return out

    def _advance(self, number: int) -> None:
        worker = self._workers[number]
        while worker.waiting and worker.held_by is None:
            key = worker.waiting[0].key
            if key is None or key in self._done or not worker.is_fenced:
                step = worker.take().step
                self._out.append((step, key is None or key not in self._done))
                if key is not None:
                    self._know(key)
                continue
            passed = self._passed.setdefault(key, set())
            passed.add(number)
            worker.held_by = key
            if len(passed) == len(self._workers):
                self._release(key)
                return

    def _release(self, key: bytes) -> None:
        """The step takes effect, once; who was held by it goes on."""
        held = [n for n, worker in enumerate(self._workers) if worker.held_by == key]
        del self._passed[key]
        for place, number in enumerate(held):
            step = self._workers[number].take().step
            self._out.append((step, place == 0 and key not in self._done))
        self._know(key)
        for number in held:
            self._workers[number].held_by = None
        for number in held:
            self._advance(number)

    def _know(self, key: bytes) -> None:
        self._done[key] = None
        self._done.move_to_end(key)
        while len(self._done) > MOST_KNOWN:
            self._done.popitem(last=False)
