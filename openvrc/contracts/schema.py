"""JSON Schema and AsyncAPI 3 documents, derived from the contracts."""

from __future__ import annotations

from typing import Any

from openvrc.contracts.messages import MESSAGES, MessageType
from openvrc.contracts.topics import KINDS, PREFIX

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(message: MessageType) -> dict[str, Any]:
    """Schema of one record as a sender writes it (the topic's ids may be left out of it)."""
    schema = message.model.model_json_schema()
    optional = {"source_id", "subject_id"}  # the JSON codec takes them from the topic
    schema["required"] = [name for name in schema.get("required", []) if name not in optional]
    return {"$schema": _DIALECT, "$id": f"urn:openvrc:v1:{message.name}", **schema}


def asyncapi(version: str) -> dict[str, Any]:
    """AsyncAPI 3.0 document of everything that travels over MQTT."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OpenVRC telemetry over MQTT",
            "version": version,
            "description": "One JSON object or an array of objects per message, QoS 1.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(row) for name, row in MESSAGES.items()},
        "operations": {
            f"publish_{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"A {' or '.join(row.senders)} publishes {name}",
            }
            for name, row in MESSAGES.items()
        },
        "components": {"messages": {name: _message(row) for name, row in MESSAGES.items()}},
    }


def _channel(row: MessageType) -> dict[str, Any]:
    return {
        "address": f"{PREFIX}/{{zone}}/{{kind}}/{{source_id}}/{row.name}",
        "messages": {row.name: {"$ref": f"#/components/messages/{row.name}"}},
        "parameters": {
            "zone": {"description": "Zone the sender is in"},
            "kind": {
                "description": "Kind of sender",
                "enum": [k for k in KINDS if k in row.senders],
            },
            "source_id": {"description": "Sender"},
        },
    }


def _message(row: MessageType) -> dict[str, Any]:
    one = json_schema(row)
    one.pop("$schema")
    one.pop("$id")
    definitions = one.pop("$defs", None)
    payload: dict[str, Any] = {"oneOf": [one, {"type": "array", "items": one}]}
    if definitions:
        payload["$defs"] = definitions
    return {
        "name": row.name,
        "title": row.name.replace("_", " "),
        "summary": (row.model.__doc__ or "").strip().splitlines()[0],
        "contentType": "application/json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": payload,
        },
    }
