"""One run of one zone: its clock, map, and the records on their way from admit to windows.

A *wall* run's zone time is UTC. A *driven* run's stands at its driver's newest tick, so that a
record is judged against the tick that covers it: one that lies further ahead than clocks may
differ waits for the next tick (a recording may have a gap of days) and is judged then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.admit.admit import Admit, Clock, Refusal
from edge.aggregate.join import Join, without_map
from edge.aggregate.segment_batch import segment_batch
from edge.aggregate.steps import Samples
from edge.aggregate.windows import KEPT_S, Windows
from edge.arrivals import Arrivals, joined
from edge.control import RunFacts, tick_batch
from edge.dead_letters import Letter, row_letter
from edge.ledger import MAX_SEQ_STEP, Ledger
from edge.rules import NO_RULES, EdgeRules
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Context, Detector
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import pack, unpack
from openvrc.contracts.zone import Zone

NEVER_NS = np.iinfo(np.int64).min
MAX_WAITING_RECORDS = 200_000
"""Records ahead of a driven clock that may wait for its tick; beyond, they are rejected."""
AFTER_END_NS = 60 * NS_PER_S
"""The last watermark of a run lies this far behind its end and so closes every window."""
FORGET_EVERY_NS = 60 * NS_PER_S
WILD = f"seq is over {MAX_SEQ_STEP} above all before, expected numbers from 0 without gaps"


@dataclass
class Output:
    """What the core made since it was last asked, in order of processing."""

    batches: list[Batch] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)


class Run:
    """State of one (zone, run), and the way of its records."""

    def __init__(
        self,
        facts: RunFacts,
        limits: Zone,
        road_map: RoadMap | None,
        ledger: Ledger,
        edge_id: str,
        detectors: Mapping[str, Detector] = NO_RULES,
    ) -> None:
        """`detectors` are the rules that run here, by name."""
        self.facts = facts
        self._detectors = detectors
        self.limits = limits
        self.ledger = ledger
        self.admit = Admit()
        # A wall clock stands somewhere before its first tick: what is old then is late already.
        lateness_ns = int(limits.allowed_lateness_s * NS_PER_S)
        is_wall = facts.clock == "wall"
        self.watermark_ns = facts.zone_time_ns - lateness_ns if is_wall else NEVER_NS
        self.has_ticked = False
        self._edge_id = edge_id
        self._forgot_at_ns = NEVER_NS
        self._pending: dict[tuple[str, str], list[Arrivals]] = {}
        self._waiting: list[Arrivals] = []
        self._n_waiting = 0
        self.use_map(road_map)

    @property
    def map_version(self) -> str:
        """Version of the map in use, "" without one."""
        return self.road_map.map_version if self.road_map else ""

    def change_map(self, road_map: RoadMap | None, received_at_ns: int, out: Output) -> None:
        """Another map from now on; what rules had found on the one before comes to its end."""
        self.flush(out)
        if self.rules is not None:
            end_ns = max(self.watermark_ns, self.facts.zone_time_ns) + AFTER_END_NS
            out.batches += self.rules.advance(end_ns, received_at_ns)
        self.use_map(road_map)

    def use_map(self, road_map: RoadMap | None) -> None:
        """Match onto this map from now on; windows of the map before are given up."""
        self.road_map = road_map
        self.join = Join(road_map) if road_map else None
        self.windows = Windows(road_map) if road_map else None
        facts = self.facts
        context = Context(facts.zone, facts.run_id, facts.origin, road_map, facts.time_zone)
        self.rules: EdgeRules | None = None
        if self._detectors:
            self.rules = EdgeRules(self._detectors, context, self._edge_id)

    def add(self, arrivals: Arrivals) -> None:
        """Take records in; they are processed by the next `flush` together with their like."""
        key = (arrivals.batch.message, arrivals.batch.origin)
        self._pending.setdefault(key, []).append(arrivals)

    def flush(self, out: Output) -> None:
        """Process everything taken in."""
        pending, self._pending = self._pending, {}
        # What a vehicle is comes before what it says: rules need the one to judge the other.
        for _, parts in sorted(pending.items(), key=lambda item: item[0][0] != "vehicle_profile"):
            self._process(joined(parts), out, may_wait=self.facts.clock == "driven")

    def _process(self, arrivals: Arrivals, out: Output, *, may_wait: bool) -> None:
        if may_wait:
            early = arrivals.batch.column("sampled_at_ns") > self._latest_ns()
            if early.any():
                arrivals.doubt()
                waits = arrivals.filter(early)
                self._waiting.append(waits)
                self._n_waiting += waits.n_rows
                arrivals = arrivals.filter(~early)
        if arrivals.n_rows:
            self._admit(arrivals, out)

    def _latest_ns(self) -> int:
        room = MAX_WAITING_RECORDS - self._n_waiting
        ahead_ns = int(self.limits.max_clock_ahead_s * NS_PER_S)
        return self.facts.zone_time_ns + ahead_ns if room > 0 else np.iinfo(np.int64).max

    def _admit(self, arrivals: Arrivals, out: Output) -> None:
        batch, received_ns = arrivals.batch, arrivals.received_at_ns
        wild = self.ledger.wild_numbers(batch)
        receipt = self.ledger.receive(batch, int(received_ns[0]), wild)
        rows = np.flatnonzero(receipt.is_new & ~wild)
        admitted = self.admit.fold(batch, rows, self._clock(received_ns))
        odd = [
            Refusal(row, Reason.IMPLAUSIBLE_VALUE, WILD) for row in np.flatnonzero(wild).tolist()
        ]
        for refusal in [*odd, *admitted.refusals]:
            row, reason = refusal.row, refusal.reason
            receipt.reject(row, reason)
            at_ns, topic = int(received_ns[row]), arrivals.topic(row)
            out.letters.append(row_letter(batch, row, reason, refusal.detail, at_ns, topic))
        if len(admitted.rows) < batch.n_rows or admitted.is_moved:
            arrivals.doubt()
        if len(admitted.rows):
            receipt.forward(admitted.rows)
            done = self._aggregate(admitted.batch)
            arrivals.became(done)
            out.batches.append(done)
            if self.rules is not None:
                out.batches += self.rules.fold(done, int(received_ns[0]))

    def _clock(self, received_ns: npt.NDArray[np.int64]) -> Clock:
        is_wall = self.facts.clock == "wall"
        age_ns = int(self.limits.max_age_s * NS_PER_S)
        driven_ns = np.broadcast_to(np.int64(self.facts.zone_time_ns), received_ns.shape)
        return Clock(
            reference_ns=received_ns if is_wall else driven_ns,
            received_at_ns=received_ns,
            watermark_ns=self.watermark_ns,
            max_ahead_ns=int(self.limits.max_clock_ahead_s * NS_PER_S),
            # Before its first tick a driven clock is only as good as the announcement.
            max_age_ns=age_ns if is_wall or self.has_ticked else None,
            is_wall=is_wall,
            clocks_put_right=self.limits.clocks_put_right,
        )

    def _aggregate(self, batch: Batch) -> Batch:
        if batch.message != "vehicle_state":
            return batch
        if self.join is None or self.windows is None:
            return without_map(batch)
        joined = self.join.fold(batch)
        self.windows.fold(
            Samples(
                joined.slots,
                batch.column("sampled_at_ns"),
                joined.match.segment_index.astype(np.int64),
                joined.match.offset_m.astype(np.float64),
            )
        )
        return joined.batch

    def tick(self, zone_time_ns: int, received_at_ns: int, out: Output, after_ns: int = 0) -> None:
        """Zone time has come to `zone_time_ns`: process what it covers, close windows, tick.

        `after_ns` puts the watermark behind zone time (the last tick of a run).
        """
        self.flush(out)
        self.facts.zone_time_ns = max(self.facts.zone_time_ns, zone_time_ns)
        self.has_ticked = True
        waiting, self._waiting, self._n_waiting = self._waiting, [], 0
        for key in dict.fromkeys((a.batch.message, a.batch.origin) for a in waiting):
            mine = [a for a in waiting if (a.batch.message, a.batch.origin) == key]
            self._process(joined(mine), out, may_wait=False)
        lateness_ns = int(self.limits.allowed_lateness_s * NS_PER_S)
        watermark_ns = self.facts.zone_time_ns + (after_ns or -lateness_ns)
        self.watermark_ns = max(self.watermark_ns, watermark_ns)
        self._close_windows(received_at_ns, out)
        if self.rules is not None:
            out.batches += self.rules.advance(self.watermark_ns, received_at_ns)
        self._forget_idle()
        out.batches.append(tick_batch(self.facts, self.watermark_ns, self._edge_id, received_at_ns))

    def _close_windows(self, received_at_ns: int, out: Output) -> None:
        if self.windows is None or self.road_map is None:
            return
        rows = self.windows.advance(self.watermark_ns)
        if rows:
            out.batches.append(
                segment_batch(
                    rows,
                    self.road_map,
                    zone=self.facts.zone,
                    run_id=self.facts.run_id,
                    origin=self.facts.origin,
                    edge_id=self._edge_id,
                    received_at_ns=received_at_ns,
                )
            )

    def _forget_idle(self) -> None:
        if self.watermark_ns < self._forgot_at_ns + FORGET_EVERY_NS:
            return
        self._forgot_at_ns = self.watermark_ns
        self.admit.forget_idle(self.watermark_ns)
        if self.join and self.windows:
            # Twice what windows keep: no kept window may know a vehicle by a number given anew.
            idle = self.join.forget_idle(self.watermark_ns - 2 * KEPT_S * NS_PER_S)
            self.windows.forget(idle)

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint; nothing may be pending. Waiting records are part of it."""
        assert not self._pending, "a checkpoint is taken after take_group"
        waiting = [
            {
                "batch": np.frombuffer(pack([a.batch]), np.uint8),
                "received_at_ns": a.received_at_ns,
                "topics": list(a.topics),
                "topic_of_row": a.topic_of_row,
            }
            for a in self._waiting
        ]
        return {
            "facts": vars(self.facts).copy(),
            "limits": self.limits.model_dump(),
            "watermark_ns": int(self.watermark_ns),
            "has_ticked": self.has_ticked,
            "forgot_at_ns": int(self._forgot_at_ns),
            "waiting": waiting,
            "admit": self.admit.snapshot(),
            "join": self.join.snapshot() if self.join else None,
            "windows": self.windows.snapshot() if self.windows else None,
            "rules": self.rules.snapshot() if self.rules else None,
        }

    @classmethod
    def restore(
        cls,
        tree: Mapping[str, Any],
        road_map: RoadMap | None,
        ledger: Ledger,
        edge_id: str,
        detectors: Mapping[str, Detector] = NO_RULES,
    ) -> Run:
        """What `snapshot` wrote."""
        limits = Zone.model_validate(tree["limits"])
        run = cls(RunFacts(**tree["facts"]), limits, road_map, ledger, edge_id, detectors)
        run.watermark_ns, run.has_ticked = tree["watermark_ns"], tree["has_ticked"]
        run._forgot_at_ns = tree["forgot_at_ns"]
        run.admit = Admit.restore(tree["admit"])
        run._waiting = [
            Arrivals(
                unpack(part["batch"].tobytes())[0],
                part["received_at_ns"],
                tuple(part["topics"]),
                part["topic_of_row"],
            )
            for part in tree["waiting"]
        ]
        run._n_waiting = sum(a.n_rows for a in run._waiting)
        if road_map is not None:
            run.join = Join.restore(road_map, tree["join"])
            run.windows = Windows.restore(road_map, tree["windows"])
        if run.rules is not None and tree.get("rules"):  # a checkpoint from before has none
            run.rules.restore(tree["rules"])
        return run
