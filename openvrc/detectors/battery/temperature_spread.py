"""`battery.temperature_spread`: one part of the pack is much warmer than another.

Designs keep a pack within 5 K; 15 K between hottest and coldest probe for a minute is a warning,
25 K serious (the field's thermal vote). Where the end of the range stands alone, 10 K beyond the
next probe, that probe may be wrong: it must then be 20 K and 30 K. Under 12 K it is over.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View

WARNING_K, SERIOUS_K = 15.0, 25.0
ALONE_K, ALONE_MORE_K = 10.0, 5.0
OVER_K = 12.0

RULE = Rule(
    name="battery.temperature_spread",
    title="Battery unevenly warm",
    meaning="Between its hottest and coldest probe the pack differs by more than cooling allows.",
    advice="Have coolant flow, hoses and the hot module's connections checked.",
    recovering_for_s=300.0,
    actionable_for_s=21_600.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:  # noqa: ARG001 - no limit of a model here
    spread_k = view.hottest_degc - view.coldest_degc
    is_alone = (view.hottest_degc - view.second_hottest_degc > ALONE_K) | (
        view.second_coldest_degc - view.coldest_degc > ALONE_K
    )
    more_k = np.where(is_alone, ALONE_MORE_K, 0.0)
    level = (spread_k >= WARNING_K + more_k).astype(np.int8)
    level += spread_k >= SERIOUS_K + more_k

    def describe(i: int, level: int) -> Told:
        probe = view.hottest_probe(i)
        limit_k = (SERIOUS_K if level > 1 else WARNING_K) + float(more_k[i])
        evidence = {
            "spread_k": round(float(spread_k[i]), 1),
            "limit_k": limit_k,
            "hottest_degc": round(float(view.hottest_degc[i]), 1),
            "coldest_degc": round(float(view.coldest_degc[i]), 1),
            "stands_alone": bool(is_alone[i]),
        }
        text = (
            f"Probe {probe + 1} is {evidence['spread_k']} K warmer than the coldest one; "
            f"the limit is {limit_k:.0f} K."
        )
        confidence = 0.6 if is_alone[i] else 0.9
        advice = workshop(3 if level > 1 else 14)
        return Told(text, evidence | advice, confidence, f"probe:{probe + 1}")

    return Judged(
        level, lambda: ~np.isnan(spread_k) & ((level > 0) | (spread_k < OVER_K)), describe
    )


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=60.0))
