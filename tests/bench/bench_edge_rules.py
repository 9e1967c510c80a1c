"""What a rule at the edge adds to a group: CPU from a payload's arrival to its advisories.

    python -m tests.bench.bench_edge_rules

1,000 vehicles on ten roads report once a second, in JSON, 50 a payload and a group, as an edge that
commits each 50 ms gets them. In one process, without broker and disk; CPU time, so that it holds on
a busy machine as far as its caches do.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from edge.core import EdgeCore
from edge.warnings import advisories
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.detection import Detector
from openvrc.contracts.zone import Zone
from openvrc.detectors.traffic import conflict
from tests.support.edge_world import T0, ZONE, S, road_map, vehicles

GROUPS, WARM_GROUPS, A_GROUP, A_SECOND = 400, 40, 50, 20
SPACING_M, SPEED_MPS = 18.0, 10.0


def measure(rules: dict[str, Detector]) -> tuple[float, float]:
    """Median and 99th percentile of a group's CPU time, in ms."""
    zone = Zone(name=ZONE)
    core = EdgeCore({ZONE: (zone, road_map(2000.0, 10))}, "edge-1", 1, detectors=rules)
    codec, topic, used_ms = JsonCodec(), f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state", []
    for group in range(GROUPS):
        at_s, now_ns = group / A_SECOND, T0 + group * S // A_SECOND
        first = group % A_SECOND * A_GROUP
        rows = [
            (f"v{one}", at_s, one * SPACING_M + SPEED_MPS * at_s)
            for one in range(first, first + A_GROUP)
        ]
        payload = codec.encode(vehicles(rows, origin="live", run_id="live"))
        if group % A_SECOND == 0:
            core.on_wall_clock(now_ns)
        began_s = time.process_time()
        core.on_payload(topic, payload, now_ns, 0)
        list(advisories(core.take_group().batches, "edge-1"))
        used_ms.append(1e3 * (time.process_time() - began_s))
    p50, p99 = np.percentile(used_ms[WARM_GROUPS:], (50, 99))
    return float(p50), float(p99)


def main() -> None:
    """Without a rule and with it."""
    for rules in ({}, {conflict.NAME: conflict.PLUGIN}):
        p50, p99 = measure(rules)
        name = ", ".join(rules) or "no rule"
        sys.stdout.write(f"{name:20} p50 {p50:5.1f} p99 {p99:5.1f} ms of CPU a group\n")


if __name__ == "__main__":
    main()
