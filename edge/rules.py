"""Rules that run at the edge, on the admitted and matched records of one (zone, run).

What must be said at once cannot wait for the cloud. The same detectors, by the same protocol: pure
folds, whose state is part of the edge's checkpoint, so that after a crash the journal leads to the
same findings. Their findings go up as a `finding` batch behind the records that led to them, and
become alerts there. A rule that fails forgets what it knew and goes on anew, as in the cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import FAILED_RULE_NAME, Context, Detector, Finding, Severity

NO_RULES: Mapping[str, Detector] = {}


class EdgeRules:
    """The states of some detectors."""

    def __init__(self, detectors: Mapping[str, Detector], context: Context) -> None:
        self._detectors = detectors
        self._context = context
        self._states = {name: one.initial(context) for name, one in detectors.items()}

    def fold(self, batch: Batch) -> list[Finding]:
        """Give a batch to every rule that wants it."""
        findings: list[Finding] = []
        for name, detector in self._detectors.items():
            if batch.message in detector.inputs:
                at_ns = int(batch.column("sampled_at_ns").max())
                findings += self._step(name, at_ns, partial(_update, detector, batch))
        return findings

    def advance(self, watermark_ns: int) -> list[Finding]:
        """The watermark has come to `watermark_ns`."""
        findings: list[Finding] = []
        for name, detector in self._detectors.items():
            call = partial(_advance, detector, watermark_ns)
            findings += self._step(name, watermark_ns, call)
        return findings

    def _step(
        self, name: str, at_ns: int, call: Callable[[Any], tuple[Any, list[Finding]]]
    ) -> list[Finding]:
        try:
            self._states[name], findings = call(self._states[name])
        except Exception as error:  # noqa: BLE001 - a plug-in's fault must not stop the stream
            self._states[name] = self._detectors[name].initial(self._context)
            return [_failure(self._context.zone, name, at_ns, error)]
        return findings

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint, which holds numbers and lists of text."""
        return {
            name: {key: _plain(array) for key, array in detector.snapshot(state).items()}
            for (name, detector), state in zip(
                self._detectors.items(), self._states.values(), strict=True
            )
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `snapshot` wrote; a rule that was not there then begins."""
        for name, arrays in tree.items():
            if name in self._detectors:
                read = {key: _array(value) for key, value in arrays.items()}
                self._states[name] = self._detectors[name].restore(self._context, read)


def _update(detector: Detector, batch: Batch, state: Any) -> tuple[Any, list[Finding]]:
    return detector.update(state, batch)


def _advance(detector: Detector, watermark_ns: int, state: Any) -> tuple[Any, list[Finding]]:
    return detector.advance(state, watermark_ns)


def _plain(array: Any) -> Any:
    return {"words": array.tolist()} if array.dtype.kind == "U" else array


def _array(value: Any) -> Any:
    if isinstance(value, dict):
        return np.array(value["words"], np.str_) if value["words"] else np.empty(0, "<U1")
    return value


def _failure(zone: str, name: str, at_ns: int, error: Exception) -> Finding:
    text = f"{type(error).__name__}: {error}"[:500]
    return Finding(
        rule=FAILED_RULE_NAME,
        phase="raise",
        subject_type="zone",
        subject_id=zone,
        at_ns=at_ns,
        started_at_ns=at_ns,
        severity=Severity.SERIOUS,
        component=name,
        evidence={"error": text, "text": f"{name} at the edge: {text}"},
    )
