"""`battery.plating`: charged faster than a cold cell can take up lithium.

| coldest probe | most C-rate |
|---|---|
| under 0 degC | 0.15 |
| 0 to 5 degC | 0.4 |
| 5 to 10 degC | 0.8 |

Makers' charge maps of graphite cells lie around these (LG M50: 0.3 C from 0 to 25 degC as a
standard charge; the limits here leave room for preheated and power cells). Twice the limit is
serious. It must last a minute: recuperation does not. LTO has no graphite and is left out; a
vehicle whose rated capacity nobody told cannot be judged.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import LTO, Profiles
from openvrc.detectors.battery.view import View

EDGES_DEGC = np.array([0.0, 5.0, 10.0])
LIMITS_C = np.array([0.15, 0.4, 0.8, np.inf])
SERIOUS_TIMES = 2.0

RULE = Rule(
    name="battery.plating",
    title="Charged too fast while cold",
    meaning="The charging current is above what a graphite anode takes up at this temperature.",
    advice="Preheat before fast charging; have charge map and heater checked if it repeats.",
    recovering_for_s=600.0,
    actionable_for_s=21_600.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:
    rated_ah = profiles.rated_ah(view)
    is_graphite = profiles.cell_class(view) != LTO
    limit_c = LIMITS_C[np.searchsorted(EDGES_DEGC, view.coldest_degc, side="right")]
    rate_c = -view.current_a / rated_ah
    is_known = ~np.isnan(rate_c) & ~np.isnan(view.coldest_degc) & is_graphite
    level = (is_known & (rate_c > limit_c)).astype(np.int8)
    level += is_known & (rate_c > SERIOUS_TIMES * limit_c)

    def describe(i: int, level: int) -> Told:
        probe = int(np.nanargmin(view.probes_degc[i]))
        evidence = {
            "charge_rate": round(float(rate_c[i]), 3),
            "limit_rate": float(min(limit_c[i], LIMITS_C[2])),
            "coldest_degc": round(float(view.coldest_degc[i]), 1),
            "pack_current_a": round(float(view.current_a[i]), 1),
            "rated_capacity_ah": round(float(rated_ah[i]), 1),
        }
        text = (
            f"Charged at {evidence['charge_rate']:.2f} C with probe {probe + 1} at "
            f"{evidence['coldest_degc']} degC; at most {evidence['limit_rate']:.2f} C is safe."
        )
        advice = workshop(14, "Preheat before charging.")
        return Told(text, evidence | advice, 0.8 if level > 1 else 0.6, f"probe:{probe + 1}")

    return Judged(level, lambda: is_known, describe)


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=60.0), wants_profiles=True)
