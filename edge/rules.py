"""Rules that run at the edge, on the admitted and matched records of one (zone, run).

What must be said at once cannot wait for the cloud. The same detectors, by the same protocol: pure
folds, whose state is part of the edge's checkpoint, so that after a crash the journal leads to the
same findings. Their findings go up as a `finding` batch behind the records that led to them, and
become alerts there. A rule that fails, or finds what cannot be told, forgets what it knew and goes
on anew, as in the cloud; so does one that cannot read its part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import FAILED_RULE_NAME, Context, Detector, Finding, Severity
from openvrc.contracts.finding_rows import findings_batch, findings_of
from openvrc.contracts.messages.platform import EdgeFinding

NO_RULES: Mapping[str, Detector] = {}


class EdgeRules:
    """The states of some detectors."""

    def __init__(self, detectors: Mapping[str, Detector], context: Context, edge_id: str) -> None:
        self._detectors = detectors
        self._context = context
        self._edge_id = edge_id
        self.unread: dict[str, str] = {}
        """Rules that could not read their part of the checkpoint, and why."""
        self._states = {name: one.initial(context) for name, one in detectors.items()}

    def fold(self, batch: Batch, received_at_ns: int) -> list[Batch]:
        """Give a batch to every rule that wants it: a `finding` batch of each that found any."""
        found: list[Batch] = []
        for name, detector in self._detectors.items():
            if batch.message in detector.inputs:
                at_ns = int(batch.column("sampled_at_ns").max())
                call = partial(_update, detector, batch)
                found += self._step(name, at_ns, received_at_ns, call)
        return found

    def advance(self, watermark_ns: int, received_at_ns: int) -> list[Batch]:
        """The watermark has come to `watermark_ns`; returns as `fold`."""
        found: list[Batch] = []
        for name, detector in self._detectors.items():
            call = partial(_advance, detector, watermark_ns)
            found += self._step(name, watermark_ns, received_at_ns, call)
        return found

    def _step(
        self,
        name: str,
        at_ns: int,
        received_at_ns: int,
        call: Callable[[Any], tuple[Any, list[Finding]]],
    ) -> list[Batch]:
        try:
            self._states[name], findings = call(self._states[name])
            if not findings:
                return []
            batch = self._batch(findings, received_at_ns)
            for record in batch.to_records(with_marks=False):
                EdgeFinding.model_validate(record)
            findings_of(batch)
        except Exception as error:  # noqa: BLE001 - a plug-in's fault must not stop the stream
            self._states[name] = self._detectors[name].initial(self._context)
            failure = _failure(self._context.zone, name, at_ns, error)
            return [self._batch([failure], received_at_ns)]
        return [batch]

    def _batch(self, findings: list[Finding], received_at_ns: int) -> Batch:
        context = self._context
        return findings_batch(
            findings,
            zone=context.zone,
            run_id=context.run_id,
            origin=context.origin,
            edge_id=self._edge_id,
            received_at_ns=received_at_ns,
        )

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint, which holds numbers and lists of text."""
        return {
            name: {key: _plain(array) for key, array in detector.snapshot(state).items()}
            for (name, detector), state in zip(
                self._detectors.items(), self._states.values(), strict=True
            )
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `snapshot` wrote; a rule that was not there then begins.

        So does one that cannot read its part, which another version wrote: see `unread`.
        """
        for name in tree.keys() & self._detectors.keys():
            try:
                read = {key: _array(value) for key, value in tree[name].items()}
                self._states[name] = self._detectors[name].restore(self._context, read)
            except Exception as error:  # noqa: BLE001 - a plug-in's fault must not stop the start
                self.unread[name] = _said(error)


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
    text = _said(error)
    return Finding(
        rule=FAILED_RULE_NAME,
        phase="raise",
        subject_type="zone",
        subject_id=zone,
        at_ns=at_ns,
        started_at_ns=at_ns,
        severity=Severity.SERIOUS,
        component=name[:64],
        evidence={"error": text, "text": f"{name} at the edge: {text}"},
    )


def _said(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"[:500]
    return text.encode("utf-8", "replace").decode()  # a text may hold what UTF-8 cannot say
