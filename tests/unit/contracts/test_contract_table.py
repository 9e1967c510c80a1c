"""The contracts themselves: units in names, every field described, schemas valid and derived."""

from __future__ import annotations

import jsonschema
import pytest

from openvrc.contracts.columns import arrow_schema, columns_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import MESSAGES, message_type
from openvrc.contracts.schema import asyncapi, json_schema
from openvrc.contracts.topics import KINDS, parse_topic
from openvrc.contracts.units import iso_from_ns, ns_from_iso

UNIT_SUFFIXES = {
    "ns": "_ns", "s": "_s", "ms": "_ms", "m": "_m", "m/s": "_mps", "m/s2": "_mps2", "deg": "_deg",
    "deg/s": "_dps", "V": "_v", "A": "_a", "ohm": "_ohm", "degC": "_degc", "A.h": "_ah",
    "kg": "_kg", "W": "_w", "J": "_j", "1": "_ratio", "1/km": "_vpkm", "1/h": "_vph", "B": "_bytes",
    "rpm": "_rpm", "N.m": "_nm", "Pa": "_pa", "L/100km": "_l_per_100km",
    "kg/100km": "_kg_per_100km", "mg/kg": "_mg_per_kg",
}  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_every_physical_number_names_its_unit(message: str) -> None:
    for column in columns_of(message):
        assert column.description, column.name
        if column.unit:
            assert column.name.endswith(UNIT_SUFFIXES[column.unit]), column.name
        elif column.kind in ("f32", "f64"):
            assert column.name.endswith("_ratio"), f"{column.name} is a bare float"


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_has_an_arrow_schema_and_a_valid_json_schema(message: str) -> None:
    assert arrow_schema(message).names == [c.name for c in columns_of(message)]
    jsonschema.Draft202012Validator.check_schema(json_schema(message_type(message)))


def test_the_json_schema_accepts_what_the_contract_accepts() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(message_type("vehicle_state")))
    good = {"sampled_at_ns": 1, "lat_deg": 1.0, "lon_deg": 2.0, "speed_mps": 0.0}
    assert validator.is_valid(good)
    assert not validator.is_valid(good | {"lat_deg": 91})
    assert not validator.is_valid(good | {"velocity": 1})


def test_asyncapi_names_every_message_with_its_topic() -> None:
    document = asyncapi("0.0.0")
    assert document["asyncapi"].startswith("3.")
    assert set(document["channels"]) == set(MESSAGES)
    for name, channel in document["channels"].items():
        assert channel["address"].endswith(f"/{name}")


def test_a_topic_survives_parsing_and_printing() -> None:
    for text in (
        "vrc/v1/z/vehicle/car-1/vehicle_state",
        "vrc/v1/hamburg/rsu/r:1/vehicle_state/arrow",
        "vrc/v1/z/zone/driver/tick",
    ):
        assert str(parse_topic(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vrc/v1/z/vehicle/car-1",
        "vrc/v2/z/vehicle/car-1/vehicle_state",
        "vrc/v1/z/plane/car-1/vehicle_state",
        "vrc/v1/z/vehicle/car-1/unheard_of",
        "vrc/v1/z/vehicle/car-1/segment_state",
        "vrc/v1/z z/vehicle/car-1/vehicle_state",
        "vrc/v1//vehicle/car-1/vehicle_state",
        "vrc/v1/z/vehicle/car-1/vehicle_state/json/more",
    ],
)
def test_a_topic_outside_the_table_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_topic(text)


def test_every_kind_of_sender_is_used_by_some_message() -> None:
    assert {kind for row in MESSAGES.values() for kind in row.senders} == set(KINDS)


def test_times_are_read_only_with_an_offset() -> None:
    assert iso_from_ns(ns_from_iso("2026-11-22T12:00:00.250+08:00")) == "2026-11-22T04:00:00.250Z"
    with pytest.raises(ValueError, match="offset"):
        ns_from_iso("2026-11-22T12:00:00")
