"""A whole detector in one file: warn when a vehicle drives faster than 36 m/s (130 km/h)."""

import numpy as np

from openvrc.contracts.detection import Finding, Rule
from openvrc.contracts.messages.record import LATE_IN_SUBJECT
from openvrc.detectors.keyed import Keyed

LIMIT_MPS = 36.0
FIELDS = {"since_ns": (np.int64, 0)}  # 0: not speeding


class Speeding:
    name = "traffic.speeding"
    rule = Rule(name, "Speeding", "A vehicle is faster than 130 km/h.", "Warn the driver.")
    inputs, partition = ("vehicle_state",), "zone"

    def initial(self, context):
        return Keyed(FIELDS)

    def update(self, state, batch):
        batch = batch.filter((batch.column("lateness") & LATE_IN_SUBJECT) == 0)  # out of order
        findings, speed_mps, slots = [], batch.column("speed_mps"), state.batch_slots(batch)
        for row, at_ns in enumerate(batch.column("sampled_at_ns").tolist()):
            slot, since_ns = slots[row], int(state["since_ns"][slots[row]])
            is_fast = bool(speed_mps[row] > LIMIT_MPS)
            if is_fast != (since_ns > 0):  # it begins or ends here
                state["since_ns"][slot] = at_ns if is_fast else 0
                phase, seen = ("raise", at_ns) if is_fast else ("clear", since_ns)
                text = f"It drives at {speed_mps[row]:.0f} m/s; {LIMIT_MPS:.0f} are allowed."
                evidence = {
                    "speed_mps": float(speed_mps[row]),
                    "limit_mps": LIMIT_MPS,
                    "text": text,
                }
                subject = ("vehicle", state.keys[slot])
                findings.append(Finding(self.name, phase, *subject, at_ns, seen, evidence=evidence))
        return state, findings

    def advance(self, state, watermark_ns):
        return state, []

    def snapshot(self, state):
        return state.snapshot()

    def restore(self, context, arrays):
        return Keyed.restore(FIELDS, arrays)


PLUGIN = Speeding()
