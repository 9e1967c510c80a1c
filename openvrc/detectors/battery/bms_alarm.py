"""`battery.bms_alarm`: the vehicle's own BMS raises an alarm of level 3 or 4.

GB/T 32960: level 3 asks the driver to stop, level 4 (2025) is a thermal event. In real logs
level 1 and 2 are set in 30 % of normal frames, so they are told in other findings' evidence only,
and even level 3 is the BMS's word alone: a warning, serious when level 4. Three frames in a row
over 10 s; the level must be lower for a minute to end.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.contracts.units import ABSENT_I64
from openvrc.detectors.battery.action import stop_and_leave, workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View

STOP_LEVEL, THERMAL_LEVEL = 3, 4

RULE = Rule(
    name="battery.bms_alarm",
    title="The BMS raises an alarm",
    meaning="The vehicle's own BMS asks to stop (level 3) or reports a thermal event (level 4).",
    advice="Follow the vehicle's own warning; compare with the other battery alerts.",
    recovering_for_s=300.0,
    actionable_for_s=21_600.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:  # noqa: ARG001 - no limit of a model here
    level = (view.alarm_level >= STOP_LEVEL).astype(np.int8)
    level += view.alarm_level >= THERMAL_LEVEL

    def describe(i: int, level: int) -> Told:
        bits = int(view.batch.column("bms_alarm_bits")[view.row[i]])
        set_bits = [] if bits == ABSENT_I64 else [k for k in range(63) if bits >> k & 1]
        evidence = {"bms_level": int(view.alarm_level[i]), "bms_alarm_bits": set_bits}
        text = f"The BMS reports alarm level {evidence['bms_level']}."
        advice = stop_and_leave() if level > 1 else workshop(3)
        return Told(text, evidence | advice, 0.6 if level > 1 else 0.4)

    return Judged(level, lambda: view.alarm_level >= 0, describe)


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=10.0, fine_span_s=60.0))
