"""Detectors and alerting as one pure fold over batches (signatures; the body follows)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud.alerting import AlertTransition
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Detector


@dataclass(frozen=True)
class EngineOutput:
    """What came out of some batches."""

    transitions: tuple[AlertTransition, ...] = ()
    n_findings: int = 0
    n_failures: int = 0
    """Detectors that raised an exception and were reset."""


class Engine:
    """Folds batches, in order, into alert transitions. No I/O, clock or log."""

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        self._detectors = dict(detectors)

    def process(self, batches: Sequence[Batch]) -> EngineOutput:
        """Fold batches in the order in which the edge sent them."""
        raise NotImplementedError

    def clear_alert(self, run_id: str, alert_id: str) -> EngineOutput:
        """An operator clears an open alert; it stays cleared until its condition begins anew."""
        raise NotImplementedError

    def snapshot(self) -> bytes:
        """Everything `restore` needs to continue exactly."""
        raise NotImplementedError

    def restore(self, data: bytes) -> None:
        """Continue where the snapshot was taken."""
        raise NotImplementedError
