"""/v1/runs/{run_id}/control: pause, speed, seek, loop and end of a run whose driver takes commands.

A command waits in memory for the edge that hears the driver, which fetches it with its next report
(within a second) and publishes it to the driver. What came of it shows in the next ticks.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud.api import present
from cloud.api.params import TimeNs, Zone, only_known_parameters
from cloud.api.parts import CloudParts, Operator, Parts, Viewer, selected_runs
from cloud.api.problems import ProblemError
from cloud.latest import RunLatest
from cloud.mailbox import Down
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.topics import down_topic
from openvrc.contracts.units import iso_from_ns

router = APIRouter(tags=["zones"], dependencies=[Depends(only_known_parameters)])

DRIVER_ID = "driver"
MESSAGE = "run_control"
MAX_RATE = 1e6
RunPath = Annotated[str, Path(pattern=TOPIC_ID_PATTERN, description="Run")]


class Control(BaseModel):
    """One command; each action takes its own value and no other."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["pause", "resume", "speed", "seek", "loop", "stop"]
    speed: float | None = Field(
        default=None, ge=0, le=MAX_RATE, description="Zone seconds per second, 0 as fast as it goes"
    )
    to_at: TimeNs | None = Field(default=None, description="seek: the zone time, ISO 8601")
    by_s: float | None = Field(
        default=None, ge=-1e9, le=1e9, description="seek: zone seconds ahead, negative is back"
    )
    loop: bool | None = Field(default=None, description="loop: begin again at the end, or no more")

    @model_validator(mode="after")
    def _has_its_value(self) -> Control:
        wanted = {"speed": ("speed",), "seek": ("to_at", "by_s"), "loop": ("loop",)}
        mine = wanted.get(self.action, ())
        given = [n for n in ("speed", "to_at", "by_s", "loop") if getattr(self, n) is not None]
        if len(given) != bool(mine) or not set(given) <= set(mine):
            expected = f"exactly one of {' and '.join(mine)}" if mine else "no value"
            raise ValueError(f"{self.action} has {given or 'no value'}, expected {expected}")
        return self

    @property
    def line(self) -> str:
        """The command as `vrc replay --control` reads it."""
        if self.action == "speed":
            return f"speed {self.speed!r}"
        if self.action == "loop":
            return f"loop {'on' if self.loop else 'off'}"
        if self.action == "seek":
            return (
                f"seek {self.by_s!r}" if self.to_at is None else f"seek {iso_from_ns(self.to_at)}"
            )
        return self.action


@router.get("/v1/runs/{run_id}/control", summary="Whether and how a run can be steered")
def control_state(
    run_id: RunPath, parts: Parts, _caller: Viewer, zone: Zone = None
) -> dict[str, Any]:
    """`state` is running, paused or ended; only a run with `is_controllable` takes commands."""
    return _presented(_the_run(parts, run_id, zone))


@router.post(
    "/v1/runs/{run_id}/control",
    status_code=202,
    summary="Steer a run",
    responses={409: {"description": "The run takes no commands now"}},
)
def control(
    run_id: RunPath, asked: Control, parts: Parts, caller: Operator, zone: Zone = None
) -> dict[str, Any]:
    """Accepted and on its way; the answer is the state before it took effect."""
    run = _the_run(parts, run_id, zone)
    now_ns = time.time_ns()
    _refuse_the_impossible(run, asked)
    edge_id = run.driver["source_id"]
    if all(edge.is_silent(now_ns) for edge in parts.edges.all() if edge.edge_id == edge_id):
        raise ProblemError(409, f"edge {edge_id} does not report, nobody can carry the command")
    topic = down_topic(run.zone, "zone", DRIVER_ID, MESSAGE)
    payload = {"run_id": run_id, "line": asked.line, "by": caller.name}
    if not parts.mailbox.put(edge_id, Down(topic, payload, now_ns)):
        raise ProblemError(
            503, f"too many commands wait for edge {edge_id}", headers={"Retry-After": "2"}
        )
    return {"accepted": asked.line, "by": caller.name} | _presented(run)


def _the_run(parts: CloudParts, run_id: str, zone: str | None) -> RunLatest:
    runs = selected_runs(parts, zone, run_id)
    if len(runs) > 1:
        zones = ", ".join(run.zone for run in runs)
        raise ProblemError(409, f"run {run_id} is in the zones {zones}, expected ?zone=")
    return runs[0]


def _refuse_the_impossible(run: RunLatest, asked: Control) -> None:
    if not run.is_running:
        raise ProblemError(409, f"run {run.run_id} has ended")
    if not run.driver:
        raise ProblemError(409, f"run {run.run_id} has no driver that takes commands")
    if asked.action == "seek" and not run.driver["can_seek"]:
        raise ProblemError(409, f"run {run.run_id} cannot be wound, expected a recording")


def _presented(run: RunLatest) -> dict[str, Any]:
    is_controllable = run.is_running and bool(run.driver)
    state = run.driver.get("driver_state") or "running"
    return {
        "zone": run.zone,
        "run_id": run.run_id,
        "origin": run.origin,
        "is_controllable": is_controllable,
        "state": state if run.is_running else "ended",
        "speed": run.driver.get("rate_ratio", run.announced.get("rate_ratio")),
        "can_seek": is_controllable and bool(run.driver.get("can_seek")),
        "zone_time_at": present.at(run.zone_time_ns),
        "edge_id": run.driver.get("source_id"),
    }
