"""What roadside units perceived, in a table by a mapping: rows of tracks, one or many units.

A unit says its objects of one time together. Where the mapping names no speed or course, the rows
have none: a unit's tracker may break tracks, and what it did not measure is not made up. A row that
names no track or no unit is left out and counted in a warning.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.mapformats import read_map
from simulator.emission import Emitter, topic_id
from simulator.replay import log_table
from simulator.replay.mapped import in_order, is_log, mapped_columns, names, needed, place_of
from simulator.replay.mapping import message_of, read_mapping
from simulator.replay.options import RecordingError, ReplayOptions
from simulator.world import Frame, Origin, TruthEvent

log = logging.getLogger(__name__)
STATUS_EVERY_S = 10.0

Words = tuple[NDArray[np.int32], list[str]]
"""Codes (n_rows,) into words."""


class ObjectLog:
    """The reader of such files."""

    name = "object-log"
    description = 'perceived objects .csv or .zip of one, with --mapping TOML of "rsu_objects"'

    def matches(self, path: Path, options: ReplayOptions) -> bool:
        """See Reader."""
        return message_of(options.mapping) == "rsu_objects" and is_log(path)

    def open(self, path: Path, options: ReplayOptions) -> ObjectWorld:
        """See Reader."""
        assert options.mapping is not None
        mapping = read_mapping(options.mapping)
        assert mapping.source is not None and mapping.subject is not None  # noqa: PT018
        table = log_table.read_log(path)
        columns, _ = mapped_columns(table, mapping)
        if mapping.plane:
            columns["lat_deg"], columns["lon_deg"] = place_of(table, mapping.plane, path.name)
        else:
            for name in ("lat_deg", "lon_deg"):
                needed(columns, name, mapping, path.name)
        times_ns = log_table.times_ns(table, mapping.time, path.name, options.epoch_ns)
        columns["sampled_at_ns"] = times_ns
        tracks = names(table, mapping.subject.column, path.name)
        units = (
            names(table, mapping.source.column, path.name)
            if mapping.source.column
            else [mapping.source.name or ""] * table.num_rows
        )
        order, zone_ns = in_order(times_ns)
        is_named = np.array([bool(u and t) for u, t in zip(units, tracks, strict=True)])[order]
        if not is_named.all():
            log.warning(
                "%s: %d rows name no track or no unit and are left out",
                path.name,
                (~is_named).sum(),
            )
        if not is_named.any():
            raise RecordingError(f"{path.name}: no row names a track and a unit")
        order, zone_ns = order[is_named], zone_ns[is_named]
        return ObjectWorld(
            options=options,
            title=path.name,
            road_map=read_map(options.map_path) if options.map_path else None,
            zone_ns=zone_ns,
            units=_words([topic_id(units[row]) for row in order.tolist()]),
            tracks=_words([topic_id(tracks[row]) for row in order.tolist()]),
            columns={name: values[order] for name, values in columns.items()},
        )


def _words(texts: list[str]) -> Words:
    words, codes = np.unique(texts, return_inverse=True)
    return codes.astype(np.int32), words.tolist()


@dataclass
class ObjectWorld:
    """See `simulator.world.World`."""

    options: ReplayOptions
    title: str
    road_map: RoadMap | None
    zone_ns: NDArray[np.int64]  # (n_rows,) ascending
    units: Words
    tracks: Words
    columns: dict[str, Any]
    origin: Origin = "replay"
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def zone(self) -> str:
        """See World."""
        return self.options.zone

    @property
    def run_id(self) -> str:
        """See World."""
        return self.options.run_id

    @property
    def time_zone(self) -> str:
        """See World."""
        return self.options.time_zone

    @property
    def start_ns(self) -> int:
        """See World."""
        return int(self.zone_ns[0])

    def stop(self) -> None:
        """See World."""
        self._stop.set()

    def ground_truth(self) -> list[TruthEvent]:
        """See World: nobody has labelled such a table."""
        return []

    def frames(self) -> Iterator[Frame]:
        """See World: what all units perceived at one time is a frame."""
        emitter = Emitter(
            zone=self.zone,
            run_id=self.run_id,
            origin=self.origin,
            seed=self.options.seed,
            loss=self.options.loss,
        )
        codes, words = self.units
        sources = np.array([emitter.source("rsu", word) for word in words], np.int64)[codes]
        starts = np.flatnonzero(np.diff(self.zone_ns, prepend=self.zone_ns[0] - 1)).tolist()
        now_ns = told_ns = self.start_ns
        for start, end in zip(starts, [*starts[1:], len(self.zone_ns)], strict=True):
            rows = slice(start, end)
            now_ns = int(self.zone_ns[start])
            columns = {name: values[rows] for name, values in self.columns.items()}
            subjects = (self.tracks[0][rows], self.tracks[1])
            messages = emitter.emit("rsu_objects", sources[rows], subjects, columns)
            if now_ns - told_ns >= STATUS_EVERY_S * NS_PER_S:
                told_ns = now_ns
                messages += emitter.status(now_ns)
            yield Frame(now_ns, tuple(messages))
            if self._stop.is_set():
                break
        yield emitter.final_frame(now_ns)


PLUGIN = ObjectLog()
