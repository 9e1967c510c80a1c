"""The runs of an edge: which exist, how they begin and end, and who ticks them.

A zone is known from its folder or from an announcement. Its live run begins with the edge (folder)
or with the first live record (announced zone); a driven run with its driver's announcement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge.admit.skew import Skew
from edge.control import OF_DRIVERS, RunFacts, announcement, tick_batch
from edge.ledger import Ledger
from edge.rules import NO_RULES
from edge.run import AFTER_END_NS, Output, Run
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Detector
from openvrc.contracts.maps import MapError, RoadMap
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.contracts.zone import Zone

LIVE = "live"
KEEP_ENDED_NS = 600 * NS_PER_S
"""Records that were still on their way when a run ended are counted with it for this long."""
FORGET_SILENT_NS = 24 * 3600 * NS_PER_S
"""A driver silent for a day has died without a word; its run's state is freed."""

Problem = tuple[Reason, str]
Key = tuple[str, str]


class Runs:
    """All runs by (zone, run)."""

    def __init__(
        self,
        zones: Mapping[str, tuple[Zone, RoadMap]],
        edge_id: str,
        ledger_of: Callable[[str, str], Ledger],
        detectors: Mapping[str, Detector] = NO_RULES,
    ) -> None:
        self._detectors = detectors
        self._zones = dict(zones)
        self._edge_id = edge_id
        self._ledger_of = ledger_of
        self._runs: dict[Key, Run] = {}
        self._maps: dict[str, tuple[RoadMap, str]] = {}
        """Announced maps in use by version, each with its document."""

    def knows_zone(self, zone: str) -> bool:
        """Whether anybody told us of this zone."""
        return zone in self._zones or any(name == zone for name, _ in self._runs)

    def has(self, zone: str, run_id: str) -> bool:
        """Whether this run is under way, or over but still kept."""
        return (zone, run_id) in self._runs

    def skew_of(self, zone: str, run_id: str) -> Skew | None:
        """What is known of the clocks of a run's senders; None without such a run."""
        run = self._runs.get((zone, run_id))
        return run.admit.skew if run else None

    def find(
        self, zone: str, run_id: str, origin: str, received_at_ns: int, out: Output
    ) -> Run | None:
        """The run that a record belongs to; a known zone's live run begins with its first one."""
        run = self._runs.get((zone, run_id))
        if run_id != LIVE or origin != LIVE:
            return run if run_id != LIVE else None
        if run is None and self.knows_zone(zone):
            run = self._begin_live(zone, received_at_ns, out)
        return run

    def _begin_live(self, zone: str, now_ns: int, out: Output) -> Run:
        facts = RunFacts(zone, LIVE, LIVE, "wall", now_ns, heard_at_ns=now_ns)
        road_map: RoadMap | None = None
        limits = Zone(name=zone)
        if zone in self._zones:
            limits, road_map = self._zones[zone]
            facts.time_zone, facts.map_document = limits.time_zone, road_map.to_document()
        else:
            sibling = next(run for (name, _), run in self._runs.items() if name == zone)
            road_map, facts.map_document = sibling.road_map, sibling.facts.map_document
            facts.time_zone = sibling.facts.time_zone
        return self._begin(facts, limits, road_map, now_ns, out)

    def _begin(
        self,
        facts: RunFacts,
        limits: Zone,
        road_map: RoadMap | None,
        now_ns: int,
        out: Output,
    ) -> Run:
        key = (facts.zone, facts.run_id)
        ledger = self._ledger_of(*key)
        run = Run(facts, limits, road_map, ledger, self._edge_id, self._detectors)
        self._runs[key] = run
        self._announce(run, "running", now_ns, out)
        return run

    def _announce(self, run: Run, state: str, now_ns: int, out: Output) -> None:
        out.batches.append(announcement(run.facts, run.map_version, self._edge_id, now_ns, state))

    def on_announce(self, batch: Batch, received_at_ns: int, out: Output) -> Problem | None:
        """A run begins, changes its map, or ends. Returns why it cannot be followed."""
        said = batch.slice(0, 1).to_records()[0]
        key = (batch.zone, batch.run_id)
        if batch.run_id == LIVE or said["clock"] != "driven":
            text = "only a driven run of its own run_id is announced; live runs are the edge's"
            return Reason.UNKNOWN_RUN, text
        run = self._runs.get(key)
        if said["state"] == "ended":
            if run is not None and not run.facts.ended_at_ns:
                self._end(run, said["sampled_at_ns"], received_at_ns, out)
            return None
        try:
            road_map, document = self._announced_map(batch.zone, said.get("map_document") or "")
        except MapError as error:
            return Reason.OUT_OF_RANGE, f"map_document: {error}"
        if run is None:
            facts = RunFacts(
                batch.zone, batch.run_id, batch.origin, "driven", said["sampled_at_ns"]
            )
            self._take_over(facts, said, document, received_at_ns)
            limits = self._zones[batch.zone][0] if batch.zone in self._zones else None
            limits = limits or Zone(name=batch.zone)
            run = self._begin(facts, limits, road_map, received_at_ns, out)
            # The driver waits for this tick before it sends records.
            run.tick(facts.zone_time_ns, received_at_ns, out)
            run.has_ticked = False
        elif document and road_map is not None and road_map.map_version != run.map_version:
            self._take_over(run.facts, said, document, received_at_ns)
            run.change_map(road_map, received_at_ns, out)
            self._announce(run, "running", received_at_ns, out)
        run.facts.heard_at_ns = received_at_ns
        run.facts.ended_at_ns = 0
        return None

    def _take_over(
        self, facts: RunFacts, said: Mapping[str, Any], document: str, received_at_ns: int
    ) -> None:
        facts.time_zone = said.get("time_zone") or "UTC"
        facts.rate_ratio = said.get("rate_ratio", 1.0)
        facts.title = said.get("title") or ""
        facts.map_document = document
        facts.heard_at_ns = received_at_ns

    def _announced_map(self, zone: str, document: str) -> tuple[RoadMap | None, str]:
        """The map of a document, or the zone folder's where none was sent."""
        if document:
            for road_map, known in self._maps.values():
                if known == document:
                    return road_map, known
            road_map = RoadMap.from_document(document)
            self._maps[road_map.map_version] = (road_map, document)
            return road_map, document
        if zone in self._zones:
            road_map = self._zones[zone][1]
            return road_map, road_map.to_document()
        return None, ""

    def _end(self, run: Run, zone_time_ns: int, received_at_ns: int, out: Output) -> None:
        end_ns = max(run.facts.zone_time_ns, zone_time_ns)
        run.tick(end_ns, received_at_ns, out, after_ns=AFTER_END_NS)
        run.facts.ended_at_ns = received_at_ns
        self._announce(run, "ended", received_at_ns, out)

    def on_tick(self, batch: Batch, received_at_ns: int, out: Output) -> Problem | None:
        """The driver's zone time. Returns why it cannot be followed."""
        run = self._runs.get((batch.zone, batch.run_id))
        if run is None or run.facts.clock != "driven":
            return Reason.UNKNOWN_RUN, f"tick of run {batch.run_id!r}, which nobody announced"
        run.facts.heard_at_ns = received_at_ns
        newest = batch.slice(batch.n_rows - 1).to_records()[0]
        run.facts.driver = {name: newest.get(name) for name in OF_DRIVERS}
        said_at_ns = batch.column("published_at_ns").tolist()
        for zone_time_ns, wall_ns in zip(
            batch.column("sampled_at_ns").tolist(), said_at_ns, strict=True
        ):
            run.facts.clock_read_at_ns = received_at_ns if wall_ns == ABSENT_I64 else wall_ns
            run.tick(zone_time_ns, received_at_ns, out)
        return None

    def on_wall_clock(self, now_ns: int, out: Output) -> list[Key]:
        """Tick wall runs at each new second; returns the runs that were freed."""
        for zone in self._zones:
            self._follow_folder(zone, now_ns, out)
        second_ns = now_ns // NS_PER_S * NS_PER_S
        freed = []
        for key, run in self._runs.items():
            facts = run.facts
            if facts.clock == "wall":
                if second_ns > facts.zone_time_ns or not run.has_ticked:
                    facts.clock_read_at_ns = second_ns
                    run.tick(second_ns, now_ns, out)
            elif (facts.ended_at_ns and now_ns > facts.ended_at_ns + KEEP_ENDED_NS) or (
                now_ns > facts.heard_at_ns + FORGET_SILENT_NS
            ):
                freed.append(key)
        for key in freed:
            del self._runs[key]
        used = {run.map_version for run in self._runs.values()}
        self._maps = {version: known for version, known in self._maps.items() if version in used}
        return freed

    def _follow_folder(self, zone: str, now_ns: int, out: Output) -> None:
        """The live run of a folder's zone, with the folder's map and limits of today."""
        run = self._runs.get((zone, LIVE))
        limits, road_map = self._zones[zone]
        if run is None:
            self._begin_live(zone, now_ns, out)
            return
        run.limits = limits  # a restored run has those of the folder as it was
        if run.map_version != road_map.map_version:
            run.change_map(road_map, now_ns, out)
            run.facts.map_document = road_map.to_document()
            self._announce(run, "running", now_ns, out)

    def ticks_now(self, now_ns: int) -> list[Batch]:
        """The newest tick of each driven run."""
        return [
            tick_batch(run.facts, run.watermark_ns, self._edge_id, now_ns)
            for run in self._runs.values()
            if run.facts.clock == "driven"
        ]

    def flush(self, out: Output) -> None:
        """Process everything taken in."""
        for run in self._runs.values():
            run.flush(out)

    def snapshot(self) -> list[Any]:
        """For a checkpoint."""
        return [run.snapshot() for run in self._runs.values()]

    def restore(self, trees: list[Any]) -> None:
        """What `snapshot` wrote. Maps come from the documents in it."""
        for tree in trees:
            zone, run_id = tree["facts"]["zone"], tree["facts"]["run_id"]
            road_map, _ = self._announced_map("", tree["facts"]["map_document"])
            ledger = self._ledger_of(zone, run_id)
            self._runs[zone, run_id] = Run.restore(
                tree, road_map, ledger, self._edge_id, self._detectors
            )

    def unread_rules(self) -> dict[str, str]:
        """Rules that could not read their part of the restored checkpoint, and why."""
        rules = [run.rules for run in self._runs.values() if run.rules is not None]
        return {name: why for one in rules for name, why in one.unread.items()}
