"""A recording of messages (`vrc record`: MCAP, Parquet, JSON lines) as a world.

Payloads are decoded by the codec that their topic names. Zone time is the recorded driver's: a
frame is what was said up to one of its ticks. A recording of the live world has no driver; there
zone time is when the recorder received a message, in frames of 0.1 s. Sessions and sequence
numbers are the senders' own, so that what was missing is missing again. What the edges and the
cloud said is left out, and so is what cannot be decoded, which is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import columns_of
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.mapformats import read_map
from simulator.recorder import formats
from simulator.recorder.decoding import SENDERS, Decoder, Said
from simulator.recorder.entries import Entry, Format, TapeError
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.replay.resumed import Renumbering
from simulator.world import Frame, Origin, Outgoing, TruthEvent, cut

LIVE_FRAME_NS = NS_PER_S // 10
RunKey = tuple[str, str]
"""(zone, run_id)"""

log = logging.getLogger(__name__)


class MessageLog:
    """The reader of such files."""

    name = "message-log"
    description = "recording by vrc record (.mcap, .parquet, .jsonl, .jsonl.gz)"
    can_wind = True
    """Whether `skip_s`, `play_s` and `begin_at_ns` mean something."""

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        return options.mapping is None and path.is_file() and _format(path) is not None

    def open(self, path: Path, options: ReplayOptions) -> MessageWorld:
        """See Reader."""
        found = _format(path)
        assert found is not None
        try:
            contents = _contents(found.read(path))
        except TapeError as error:
            raise RecordingError(str(error)) from error
        run = _chosen(contents, path, options)
        about = contents[run]
        document = about.announced.get("map_document")
        road_map = read_map(options.map_path) if options.map_path else None
        if road_map is None and document:
            road_map = RoadMap.from_document(document)
        return MessageWorld(
            options=options,
            path=path,
            tape=found,
            run=run,
            title=about.announced.get("title") or path.name,
            time_zone=about.announced.get("time_zone") or options.time_zone,
            road_map=road_map,
            recorded_start_ns=about.start_ns,
            is_driven=about.is_driven,
        )


def _format(path: Path) -> Format | None:
    return next((one for one in formats().values() if one.is_ours(path)), None)


@dataclass
class _About:
    """What a recording holds of one zone and run."""

    first_ns: int = 0
    """Reception of its first message."""
    first_tick_ns: int = 0
    announced: dict[str, Any] = field(default_factory=dict)

    @property
    def is_driven(self) -> bool:
        """Whether a driver moved the zone's clock."""
        return self.first_tick_ns > 0

    @property
    def start_ns(self) -> int:
        """Zone time of the beginning."""
        if not self.is_driven:
            return self.first_ns
        # A recorder that came late has the retained announcement of a run that began long ago.
        told_ns: int = self.announced.get("sampled_at_ns", 0)
        return max(told_ns, self.first_tick_ns - NS_PER_S)


def _contents(entries: Iterable[Entry]) -> dict[RunKey, _About]:
    """What there is, by zone and run, in order of appearance.

    Drivers name their runs; of a sender the first message tells, for all that no driver names.
    """
    decoder, found, seen = Decoder(), dict[RunKey, _About](), set[str]()
    for entry in entries:
        topic = decoder.topic(entry)
        if topic is None or (topic.kind in SENDERS and entry.topic in seen):
            continue
        seen.add(entry.topic)
        for batch in decoder.one(entry, topic):
            about = found.setdefault((topic.zone, batch.run_id), _About())
            about.first_ns = about.first_ns or entry.at_ns
            if batch.message == "tick":
                tick_ns = int(batch.column("sampled_at_ns")[0])
                about.first_tick_ns = about.first_tick_ns or tick_ns
            elif batch.message == "zone_announce" and not about.announced:
                record = batch.to_records()[0]
                about.announced = record if record["state"] == "running" else {}
    return found


def _chosen(contents: dict[RunKey, _About], path: Path, options: ReplayOptions) -> RunKey:
    wanted = [
        (zone, run)
        for zone, run in contents
        if options.of_zone in ("", zone) and options.of_run in ("", run)
    ]
    if len(wanted) == 1:
        return wanted[0]
    held = ", ".join(f"zone {zone} run {run}" for zone, run in contents)
    raise RecordingError(
        f"{path.name}: holds {held or 'no record'}; expected one run, choose with "
        "--of-zone and --of-run"
    )


@dataclass
class MessageWorld:
    """See `simulator.world.World`."""

    options: ReplayOptions
    path: Path
    tape: Format
    run: RunKey
    title: str
    time_zone: str
    road_map: RoadMap | None
    recorded_start_ns: int
    is_driven: bool
    origin: Origin = "replay"
    _stop: threading.Event = field(default_factory=threading.Event)
    _skip_to_ns: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """What could not be decoded, by reason."""

    @property
    def zone(self) -> str:
        """See World."""
        return self.options.zone

    @property
    def run_id(self) -> str:
        """See World."""
        return self.options.run_id

    @property
    def shift_ns(self) -> int:
        """What is added to every recorded time."""
        begins_ns = self.options.begin_at_ns
        return 0 if begins_ns is None else begins_ns - self.recorded_begin_ns

    @property
    def recorded_begin_ns(self) -> int:
        """Recorded zone time of what is said first."""
        return self.recorded_start_ns + round(self.options.skip_s * NS_PER_S)

    @property
    def start_ns(self) -> int:
        """See World."""
        return self.recorded_begin_ns + self.shift_ns

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def seek(self, zone_time_ns: int) -> None:
        """Leave out what was said before this zone time; time does not go back in a run.

        May be called from another thread.
        """
        self._skip_to_ns = zone_time_ns

    def ground_truth(self) -> list[TruthEvent]:
        """See World: a recording of messages knows what was said only."""
        return []

    def frames(self) -> Iterator[Frame]:
        """See World."""
        numbers, decoder = Renumbering(), Decoder()
        self.lost = decoder.lost
        end_ns = self.recorded_begin_ns + round(self.options.play_s * NS_PER_S)
        self._skip_to_ns = max(self._skip_to_ns, self.start_ns if self.options.skip_s else 0)
        for at_ns, entries, topics in self._recorded(decoder):
            zone_time_ns = at_ns + self.shift_ns
            if zone_time_ns < self._skip_to_ns:
                numbers.jump()
                continue
            if self.options.play_s and at_ns > end_ns:
                break
            yield Frame(zone_time_ns, tuple(self._said(decoder.many(entries, topics), numbers)))
            if self._stop.is_set():
                break
        if self.lost:
            log.warning("%s: not decoded: %s", self.path.name, dict(self.lost))

    def _recorded(self, decoder: Decoder) -> Iterator[tuple[int, list[Entry], list[Topic]]]:
        """(recorded zone time, what senders said up to it); other runs are still among it."""
        entries, topics = list[Entry](), list[Topic]()
        newest_ns = self.recorded_start_ns
        for entry, topic in self._entries(decoder):
            if self.is_driven and topic.message == "tick":
                tick_ns = self._tick_ns(decoder.one(entry, topic))
                if tick_ns > newest_ns or (tick_ns == newest_ns and entries):
                    newest_ns = tick_ns
                    yield newest_ns, entries, topics
                    entries, topics = [], []
            elif not self.is_driven and entry.at_ns - newest_ns >= LIVE_FRAME_NS:
                if entries:
                    yield entries[-1].at_ns, entries, topics
                    entries, topics = [], []
                newest_ns = entry.at_ns
            if topic.kind in SENDERS:
                entries.append(entry)
                topics.append(topic)
        if entries:
            # Behind the last tick of a recording that was cut off.
            end_ns = newest_ns + NS_PER_S if self.is_driven else entries[-1].at_ns
            yield end_ns, entries, topics

    def _entries(self, decoder: Decoder) -> Iterator[tuple[Entry, Topic]]:
        try:
            for entry in self.tape.read(self.path):
                topic = decoder.topic(entry)
                if topic is not None and topic.zone == self.run[0]:
                    yield entry, topic
        except TapeError as error:
            log.warning("the recording is damaged, the replay ends there: %s", error)

    def _tick_ns(self, ticks: Sequence[Batch]) -> int:
        """Zone time of our run's tick; 0 for another run's."""
        mine = [tick for tick in ticks if tick.run_id == self.run[1]]
        return int(mine[0].column("sampled_at_ns")[0]) if mine else 0

    def _said(self, said: Sequence[Said], numbers: Renumbering) -> Iterator[Outgoing]:
        moved: dict[int, Batch] = {}
        for part in said:
            if part.whole.run_id != self.run[1]:
                continue
            whole = moved.get(id(part.whole))
            if whole is None:
                whole = moved[id(part.whole)] = self._moved(part.whole)
            outgoing = self._renumbered(part, whole, numbers)
            if outgoing is not None:
                yield outgoing

    def _moved(self, batch: Batch) -> Batch:
        """In our run, at our times, not yet published."""
        columns = shifted(batch, self.shift_ns) if self.shift_ns else {}
        columns["published_at_ns"] = np.full(batch.n_rows, ABSENT_I64, np.int64)
        return replace(
            batch.with_columns(columns), zone=self.zone, run_id=self.run_id, origin=self.origin
        )

    def _renumbered(self, part: Said, whole: Batch, numbers: Renumbering) -> Outgoing | None:
        sender, rows = (part.topic.kind, part.topic.source_id), slice(part.start, part.end)
        session = int(whole.column("session")[part.start])
        if whole.message == "source_status":
            offset = numbers.of_count(sender, session)
            if offset is None:
                return None
            name = "sent_count"
        else:
            offset = numbers.of_records(sender, session, whole.column("seq")[rows])
            name = "seq"
        if not offset:
            return Outgoing(*sender, whole, part.start, part.end)
        alone = cut(whole, part.start, part.end)
        values = alone.column(name)
        values = np.where(values == ABSENT_I64, values, values - offset)
        return Outgoing(*sender, alone.with_columns({name: values}))


def shifted(batch: Batch, shift_ns: int) -> dict[str, Any]:
    """A sender's columns that are times, moved; absent ones stay absent."""
    moved: dict[str, Any] = {}
    for column in columns_of(batch.message):
        if column.unit == "ns" and column.kind == "i64" and not column.is_mark:
            values = batch.column(column.name)
            moved[column.name] = np.where(values == ABSENT_I64, values, values + shift_ns)
    return moved


PLUGIN = MessageLog()
