"""A sender that says of itself what another one said a while ago.

Each liar takes the moving vehicle whose hash is nearest to its own, and another one when that is
gone.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault
from simulator.faults.time_delay import MOTION, Moment
from simulator.sampling import name_hash

MOVING_MPS = 1.0


class DataReplay:
    """The kind as a plug-in."""

    name = "data-replay"
    description = "a sender says of itself what another one said a while ago"
    stage = Stage.SENDER
    parameters = (*VEHICLES, Parameter("after_s", 3.0, "how long ago", low=0.001))

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        replay = _Replay(given, round(given.number("after_s") * NS_PER_S))
        return RecordFault(given, replay, component="data_replay")


class _Replay:
    def __init__(self, given: Given, after_ns: int) -> None:
        self._given, self._after_ns = given, after_ns
        self._victims: dict[str, str] = {}
        self._heard: dict[str, deque[Moment]] = {}

    def __call__(self, rows: Affected) -> dict[str, Any]:
        whole = rows.whole
        place_of = {name: row for row, name in enumerate(whole.texts("subject_id"))}
        told = np.array([rows.column(name) for name in MOTION]).T  # the truth, at first
        for number, liar in enumerate(rows.who):
            victim = self._victim(liar, rows, place_of)
            if victim is None:
                continue
            row, heard = place_of[victim], self._heard.setdefault(liar, deque())
            values = tuple(float(whole.column(name)[row]) for name in MOTION)
            heard.append((int(whole.column("sampled_at_ns")[row]), values))
            limit_ns = int(rows.at_ns[number]) - self._after_ns
            while len(heard) > 1 and heard[1][0] <= limit_ns:
                heard.popleft()
            told[number] = heard[0][1]
        return {name: told[:, place] for place, name in enumerate(MOTION)}

    def _victim(self, liar: str, rows: Affected, place_of: dict[str, int]) -> str | None:
        known = self._victims.get(liar)
        if known in place_of:
            return known
        speed_mps = rows.whole.column("speed_mps")
        others = [name for name, row in place_of.items()
                  if name not in rows.who and speed_mps[row] > MOVING_MPS]  # fmt: skip
        if not others:
            return None
        mine = self._given.hash_of(liar)
        chosen = min(others, key=lambda name: name_hash(mine, "victim", name))
        self._heard.pop(liar, None)
        self._victims[liar] = chosen
        return chosen


PLUGIN = DataReplay()
