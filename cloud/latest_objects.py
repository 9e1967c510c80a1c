"""Road users that roadside units perceive, as they are now, each once and without the connected.

Units' objects and the reports of vehicles near them are fused (`openvrc/fusion`, decision 0015):
who is seen by two units is one, who reports itself is not shown a second time, and a number stays
with its road user. A picture lives for a second or two: there is nothing to keep over a restart.
Zones in which no unit perceives anybody pay nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.fusion import STEP_NS, Fusion
from openvrc.fusion.picture import Picture
from openvrc.fusion.tracks import NOBODY

QUIET_NS = 30 * NS_PER_S
"""Where no unit has perceived anybody for so long, vehicles' reports are no longer looked at."""
REPORTS_NS = 15 * NS_PER_S
"""A vehicle that reported so lately is shown by its reports: some say something each 10 s."""
ID_PREFIX = "obj-"

Slots = npt.NDArray[np.int64]


class Seen(NamedTuple):
    """Who is seen and does not report itself, every array (n,)."""

    slots: Slots
    """Their numbers, which stay with them."""
    columns: dict[str, npt.NDArray[Any]]
    """lat_deg, lon_deg, speed_mps, heading_deg, object_class (code, -1 unknown)."""


class Page(NamedTuple):
    """A part of a picture, by number, with all that it takes to tell it without the lock."""

    picture: Picture
    lat_deg: npt.NDArray[np.float64]
    lon_deg: npt.NDArray[np.float64]
    names: dict[int, str]
    n_all: int
    """Road users in the whole picture."""

    def facts(self) -> list[dict[str, Any]]:
        """Each as plain values."""
        return [_facts(self, row) for row in range(len(self.picture.number))]


class FusedObjects:
    """The picture of one run."""

    def __init__(self) -> None:
        self._fusion: Fusion | None = None
        self._objects_ns = 0
        self._now_ns = 0
        self.version = 0
        """Raised by each change."""

    @property
    def left_out(self) -> int:
        """Sightings that had no room."""
        return 0 if self._fusion is None else self._fusion.left_out

    def fold(self, batch: Batch) -> None:
        """Take `rsu_objects`, `rsu_status` or `vehicle_state`."""
        if batch.message == "rsu_objects":
            if self._fusion is None:
                self._fusion = Fusion(only_near_units=True)
            self._objects_ns = max(self._objects_ns, self._now_ns)
        if self._fusion is not None:
            self._fusion.fold(batch)
            self.version += 1

    def advance(self, now_ns: int) -> None:
        """Zone time is `now_ns`: what has come is taken into the picture."""
        self._now_ns = max(self._now_ns, now_ns)
        if self._fusion is None:
            return
        if self._now_ns - self._objects_ns > QUIET_NS and self._objects_ns:
            self._fusion = None
        else:
            self._objects_ns = self._objects_ns or self._now_ns
            self._fusion.advance(self._now_ns + STEP_NS)
        self.version += 1

    def seen(self, now_ns: int) -> Seen:
        """At zone time `now_ns`."""
        fusion = self._fusion
        if fusion is None:
            return Seen(np.zeros(0, np.int64), {})
        picture = fusion.picture(now_ns)
        alone = np.flatnonzero(~_report(picture))
        lat_deg, lon_deg = fusion.degrees(picture.x_m[alone], picture.y_m[alone])
        columns: dict[str, npt.NDArray[Any]] = {
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": picture.speed_mps[alone].astype(np.float32),
            "heading_deg": picture.heading_deg[alone].astype(np.float32),
            "object_class": picture.kind[alone].astype(np.int8),
        }
        return Seen(picture.number[alone], columns)

    def facts(self, now_ns: int, number: int | None = None) -> list[dict[str, Any]]:
        """All road users in the picture as plain values, connected ones too, or one of them."""
        after, limit = (0, None) if number is None else (number - 1, 1)
        page = self.page(now_ns, after=after, limit=limit)
        found = [] if page is None else page.facts()
        return [one for one in found if number in (None, one["slot"])]

    def page(self, now_ns: int, *, after: int = 0, limit: int | None = None) -> Page | None:
        """So many road users with the next higher numbers; None where no unit perceives anybody."""
        fusion = self._fusion
        if fusion is None:
            return None
        picture = fusion.picture(now_ns)
        n_all = len(picture.number)
        rows = np.flatnonzero(picture.number > after)
        picture = picture.take(rows[np.argsort(picture.number[rows])][:limit])
        used = (picture.vehicle, picture.sources.ravel(), picture.source_keys.ravel())
        names = {key: fusion.names.get(key, "") for key in np.concatenate(used).tolist()}
        return Page(picture, *fusion.degrees(picture.x_m, picture.y_m), names, n_all)


def _report(picture: Picture) -> npt.NDArray[np.bool_]:
    """Who reports itself, if only now and then."""
    return np.asarray(picture.at_ns - picture.own_ns < REPORTS_NS)


def _facts(page: Page, row: int) -> dict[str, Any]:
    picture, names = page.picture, page.names
    vehicle = int(picture.vehicle[row])
    pairs = zip(picture.sources[row].tolist(), picture.source_keys[row].tolist(), strict=True)
    return {
        "object_id": f"{ID_PREFIX}{picture.number[row]}",
        "slot": int(picture.number[row]),
        "vehicle_id": names[vehicle] or None if vehicle != int(NOBODY) else None,
        "sources": sorted((names[unit], names[key]) for unit, key in pairs if unit),
        "kind": int(picture.kind[row]),
        "lat_deg": float(page.lat_deg[row]),
        "lon_deg": float(page.lon_deg[row]),
        "speed_mps": float(picture.speed_mps[row]),
        "heading_deg": float(picture.heading_deg[row]),
        "length_m": float(picture.length_m[row]),
        "width_m": float(picture.width_m[row]),
        "position_sd_m": float(picture.sd_m[row]),
        "first_seen_ns": int(picture.first_ns[row]),
        "sampled_at_ns": int(picture.seen_ns[row]),
    }
