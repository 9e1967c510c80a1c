"""/v1/alerts/{id}/case: the after-sales case of a battery emergency; /v1/inspect: frames told."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from cloud.api import present
from cloud.api.alerts import TEXT_PATTERN
from cloud.api.params import AlertPath, only_known_parameters
from cloud.api.parts import Operator, Parts, Viewer
from cloud.api.problems import ProblemError, not_found
from cloud.store import cases
from openvrc.contracts.gbt32960 import inspect

router = APIRouter(tags=["alerts"], dependencies=[Depends(only_known_parameters)])


class Step(BaseModel):
    """What was done."""

    model_config = ConfigDict(extra="forbid")
    step: Literal["contact", "confirm", "rescue_plan", "close"]
    text: str = Field(min_length=1, max_length=2000, pattern=TEXT_PATTERN)


class Frame(BaseModel):
    """Bytes to be told apart."""

    model_config = ConfigDict(extra="forbid")
    hex: str = Field(min_length=2, max_length=20_000, pattern=r"^([0-9a-fA-F]{2})+$")


@router.get("/v1/alerts/{alert_id}/case", summary="The after-sales case of an alert, if it has one")
def case(alert_id: AlertPath, parts: Parts, _caller: Viewer) -> dict[str, Any]:
    """`case` is null while nobody has opened one."""
    with parts.database() as connection:
        found = cases.case_of(connection, alert_id)
    return {"case": None if found is None else _shown(found)}


@router.post("/v1/alerts/{alert_id}/case", summary="Open an after-sales case")
def open_case(alert_id: AlertPath, parts: Parts, caller: Operator) -> dict[str, Any]:
    """Of an alert that has one already, that one."""
    with parts.database() as connection:
        found = cases.open_case(connection, alert_id, caller.name)
    if found is None:
        raise not_found("alert", alert_id)
    return _shown(found)


@router.post("/v1/alerts/{alert_id}/case/steps", summary="Take a case's next step")
def take_step(alert_id: AlertPath, parts: Parts, caller: Operator, body: Step) -> dict[str, Any]:
    """contact, confirm, rescue_plan, close: each once, in this order; 409 out of order."""
    with parts.database() as connection:
        try:
            found = cases.take_step(connection, alert_id, body.step, caller.name, body.text)
        except cases.WrongStepError as error:
            raise ProblemError(409, str(error)) from error
    if found is None:
        raise not_found("case of alert", alert_id)
    return _shown(found)


@router.post("/v1/inspect/gbt32960", summary="Every byte of a GB/T 32960.3 frame", tags=["inspect"])
def inspect_gbt32960(_caller: Viewer, body: Frame) -> dict[str, Any]:
    """Fields with offset, bytes, raw value and meaning, as `vrc inspect gbt32960` writes them."""
    pieces = inspect.inspect(bytes.fromhex(body.hex))
    return {
        "fields": [
            {
                "offset": line.offset,
                "length": len(line.hex.split()),
                "name": line.field,
                "value": f"{line.raw} {line.meaning} {line.unit}".strip(),
            }
            for lines in pieces
            for line in lines
        ]
    }


def _shown(found: cases.Case) -> dict[str, Any]:
    return {
        "alert_id": found.alert_id,
        "opened_at": present.at(found.opened_at_ns),
        "opened_by": found.opened_by,
        "next_step": found.next_step,
        "steps": [
            {"step": s.step, "at": present.at(s.at_ns), "who": s.who, "text": s.text}
            for s in found.steps
        ],
    }
