"""Why a record or a payload was rejected: stable words that users count and filter by."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One reason per rejected unit; `REASON_TEXT` says what was expected instead."""

    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_ZONE = "unknown_zone"
    UNKNOWN_RUN = "unknown_run"
    UNKNOWN_CODEC = "unknown_codec"
    CODEC_FAILED = "codec_failed"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    INVALID_JSON = "invalid_json"
    INVALID_ARROW = "invalid_arrow"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    ID_MISMATCH = "id_mismatch"
    TOO_FAR_FUTURE = "too_far_future"
    TOO_FAR_PAST = "too_far_past"
    DUPLICATE_SAMPLE = "duplicate_sample"
    IMPLAUSIBLE_JUMP = "implausible_jump"
    IMPLAUSIBLE_VALUE = "implausible_value"
    REFUSED_BY_STORE = "refused_by_store"
    BAD_START = "bad_start"
    BAD_CHECKSUM = "bad_checksum"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    BAD_VIN = "bad_vin"
    BAD_TIME = "bad_time"
    UNKNOWN_COMMAND = "unknown_command"
    UNKNOWN_BODY = "unknown_body"
    ENCRYPTED = "encrypted"
    BAD_SIGNATURE = "bad_signature"
    NOT_LOGGED_IN = "not_logged_in"


REASON_TEXT: dict[Reason, str] = {
    Reason.UNKNOWN_TOPIC: "topic is not vrc/v1/{zone}/{kind}/{source_id}/{message}[/{codec}]",
    Reason.UNKNOWN_ZONE: "no zone of that name was announced or configured at this edge",
    Reason.UNKNOWN_RUN: "a simulated or replayed record of a run that nobody announced",
    Reason.UNKNOWN_CODEC: "the topic's codec level names no installed codec",
    Reason.CODEC_FAILED: "the codec itself failed on this payload: a fault of the plug-in",
    Reason.TOO_LARGE: "payload is over the edge's size limit",
    Reason.NOT_UTF8: "payload is not UTF-8 text",
    Reason.INVALID_JSON: "payload is not one JSON object or an array of objects",
    Reason.INVALID_ARROW: "payload is not one Arrow IPC stream of this message's columns",
    Reason.WRONG_TYPE: "a field has another type than its contract",
    Reason.MISSING_FIELD: "a required field is absent",
    Reason.UNKNOWN_FIELD: "a field that the contract does not know",
    Reason.NOT_FINITE: "a number is NaN or infinite; leave the field out when it is unavailable",
    Reason.OUT_OF_RANGE: "a value lies outside its contract's range",
    Reason.ID_MISMATCH: "source_id in the payload differs from the topic's",
    Reason.TOO_FAR_FUTURE: "sampled_at lies further ahead of zone time than clocks may differ",
    Reason.TOO_FAR_PAST: "sampled_at lies further back than the edge keeps history",
    Reason.DUPLICATE_SAMPLE: "the same source sent this subject and sampled_at before",
    Reason.IMPLAUSIBLE_JUMP: "the position is further from the last one than a vehicle can drive",
    Reason.IMPLAUSIBLE_VALUE: "fields contradict each other beyond what a sensor fault explains",
    Reason.REFUSED_BY_STORE: "the cloud's store refused this record",
    Reason.BAD_START: "bytes that begin no frame, skipped up to the next one",
    Reason.BAD_CHECKSUM: "the frame's check byte does not fit its bytes",
    Reason.TRUNCATED: "a frame, body or list ends before its own length says",
    Reason.TRAILING_BYTES: "bytes are left behind the last field; what came before was taken",
    Reason.BAD_VIN: "the vehicle id is not 17 capital letters and digits",
    Reason.BAD_TIME: "the time is none that a calendar has",
    Reason.UNKNOWN_COMMAND: "the command is none that this edition defines for vehicles",
    Reason.UNKNOWN_BODY: "a body type without a stated length; what came before it was taken",
    Reason.ENCRYPTED: "the data unit is encrypted and no key for it is at hand",
    Reason.BAD_SIGNATURE: "the signature does not fit the data unit and the vehicle's key",
    Reason.NOT_LOGGED_IN: "a report of a vehicle that has not logged in on this connection",
}
