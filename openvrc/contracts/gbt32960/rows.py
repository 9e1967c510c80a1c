"""Payloads of frames to batches and rejects: the codec's work, many payloads at once.

A payload is one frame or several one after the other; frames of one vehicle and second in one
payload are one moment, so that lists split over frames come together. Whatever is no frame, no
vehicle or no time is a reject with its reason; what stands before it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.base import Bulk, Part, Reject
from openvrc.contracts.gbt32960 import beijing, mapping
from openvrc.contracts.gbt32960.bulk import Ints, Reports, good_checks, read_reports
from openvrc.contracts.gbt32960.drive import drive_columns, newest_of_each
from openvrc.contracts.gbt32960.frame import HEAD_BYTES, OVERHEAD_BYTES, Garbage, is_vin, split
from openvrc.contracts.gbt32960.lists import FIRST_PACK
from openvrc.contracts.gbt32960.marks import LIVE, SIMULATED_ICCID
from openvrc.contracts.gbt32960.message import read
from openvrc.contracts.gbt32960.profile import profile_columns, report_period_s
from openvrc.contracts.gbt32960.units import REPORTS, Command, Encryption, Response
from openvrc.contracts.reasons import REASON_TEXT, Reason
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import ABSENT_I64

KEPT_BYTES = 4096
"""How much of a bad frame a reject keeps."""
_OF_PLATFORMS = (Command.PLATFORM_LOGIN, Command.PLATFORM_LOGOUT)
"""Their id is the platform's own, no VIN."""


@dataclass
class Reading:
    """Payloads sorted out, whatever message is asked for; places are those of payloads."""

    rejects: list[tuple[int, Reject]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    """Reports that have a time."""
    places: list[int] = field(default_factory=list)
    reports: Reports | None = None
    moments: mapping.Moments | None = None
    first_rows: list[int] = field(default_factory=list)
    """The first report of each moment."""
    profiles: list[bytes] = field(default_factory=list)
    """Logins, and terminals' answers to queries."""
    profile_places: list[int] = field(default_factory=list)
    vins: dict[bytes, str] = field(default_factory=dict)


def read_payloads(topics: Sequence[Topic], payloads: Sequence[bytes]) -> Reading:
    """Everything that does not depend on the topics' message; (n_payloads,) each."""
    found = Reading()
    for place, frame in _frames(topics, payloads, found):
        _sort_out(topics[place], place, frame, found)
    if found.frames:
        _read_reports(topics, found)
    found.rejects.sort(key=lambda pair: pair[0])
    return found


def rows_of(topics: Sequence[Topic], found: Reading) -> Bulk:
    """Rows of the topics' message, and all rejects."""
    parts = _report_parts(topics, found) if found.frames else []
    if topics[0].message == "vehicle_profile" and found.profiles:
        parts = _profile_parts(topics, found)
    return Bulk(tuple(p for p in parts if p.batch.n_rows), tuple(found.rejects))


def _frames(
    topics: Sequence[Topic], payloads: Sequence[bytes], found: Reading
) -> Iterable[tuple[int, bytes]]:
    """Every frame whose check byte holds with its payload's place; the rest become rejects."""
    is_single = [_is_one_frame(payload) for payload in payloads]
    singles = [payload for payload, single in zip(payloads, is_single, strict=True) if single]
    holds = iter(good_checks(singles).tolist())
    for place, (payload, single) in enumerate(zip(payloads, is_single, strict=True)):
        if single and next(holds):
            yield place, payload
            continue
        pieces = split(payload) or [Garbage(Reason.TRUNCATED, "an empty payload", b"")]
        for piece in pieces:
            if isinstance(piece, bytes):
                yield place, piece
            else:
                found.rejects.append((place, _garbage(topics[place], piece, len(pieces) == 1)))


def _is_one_frame(payload: bytes) -> bool:
    return (
        len(payload) >= OVERHEAD_BYTES
        and payload[:2] in (b"##", b"$$")
        and len(payload) == int.from_bytes(payload[22:24], "big") + OVERHEAD_BYTES
    )


def _garbage(topic: Topic, piece: Garbage, is_whole: bool) -> Reject:
    return Reject(
        piece.reason,
        piece.detail,
        topic.source_id,
        payload=piece.data[:KEPT_BYTES],
        is_whole=is_whole,
    )


def _sort_out(topic: Topic, place: int, frame: bytes, found: Reading) -> None:
    """A report or login to its list, another command read for its faults, a reply left aside."""
    command = frame[2]
    if frame[3] != Response.COMMAND:
        _read_answer(topic, place, frame, found)
        return
    problem = None if command in _OF_PLATFORMS else _vin_problem(topic, frame, found.vins)
    if problem is not None:
        found.rejects.append((place, _of_frame(topic, frame, *problem)))
    elif frame[21] != Encryption.NONE:
        detail = f"encryption rule {frame[21]:02X}: {REASON_TEXT[Reason.ENCRYPTED]}"
        found.rejects.append((place, _of_frame(topic, frame, Reason.ENCRYPTED, detail)))
    elif command in REPORTS:
        found.frames.append(frame)
        found.places.append(place)
    else:
        _read_other(topic, place, frame, found)


def _vin_problem(topic: Topic, frame: bytes, vins: dict[bytes, str]) -> tuple[Reason, str] | None:
    raw = frame[4:21]
    vin = vins.get(raw)
    if vin is None:
        vin = raw.decode("latin-1")
        if not is_vin(vin):
            return Reason.BAD_VIN, f"VIN is {vin!r}, expected 17 capital letters and digits"
        vins[raw] = vin
    if topic.kind == "vehicle" and vin != topic.source_id:
        return Reason.ID_MISMATCH, f"VIN is {vin!r}, expected the topic's {topic.source_id!r}"
    return None


def _read_answer(topic: Topic, place: int, frame: bytes, found: Reading) -> None:
    """A reply tells nothing that becomes a record, but for the parameters that were asked for."""
    if frame[2] != Command.QUERY or frame[3] != Response.SUCCESS or frame[21] != Encryption.NONE:
        return
    if _vin_problem(topic, frame, found.vins) is not None:
        return
    message = read(frame)
    if message.time_ns is not None and report_period_s(message) is not None:
        found.profiles.append(frame)
        found.profile_places.append(place)


def _read_other(topic: Topic, place: int, frame: bytes, found: Reading) -> None:
    message = read(frame)
    if message.stop is not None:
        reject = _of_frame(topic, frame, message.stop.reason, message.stop.detail)
        found.rejects.append((place, reject))
    is_login = message.head.command == Command.VEHICLE_LOGIN and bool(message.tree)
    if is_login and message.tree["iccid"] != SIMULATED_ICCID:
        if message.time_ns is None:
            found.rejects.append((place, _bad_time(topic, frame)))
        else:
            found.profiles.append(frame)
            found.profile_places.append(place)


def _of_frame(
    topic: Topic, frame: bytes, reason: Reason, detail: str, at_ns: int | None = None
) -> Reject:
    vin = frame[4:21].decode("latin-1")
    return Reject(
        reason,
        detail,
        topic.source_id,
        subject_id=vin if is_vin(vin) else "",
        sampled_at_ns=at_ns,
        payload=frame[:KEPT_BYTES],
    )


def _bad_time(topic: Topic, frame: bytes) -> Reject:
    six = frame[HEAD_BYTES : min(HEAD_BYTES + 6, len(frame) - 1)]
    if len(six) < 6:
        return _of_frame(topic, frame, Reason.TRUNCATED, f"a time needs 6 bytes, {len(six)} left")
    text = "time is " + ".".join(map(str, six)) + ", expected year, month, day, h, min, s"
    return _of_frame(topic, frame, Reason.BAD_TIME, text)


def _read_reports(topics: Sequence[Topic], found: Reading) -> None:
    reports = read_reports(found.frames)
    has_time = reports.time_ns != ABSENT_I64
    if not has_time.all():
        for row in np.flatnonzero(~has_time).tolist():
            place = found.places[row]
            found.rejects.append((place, _bad_time(topics[place], found.frames[row])))
        keep = np.flatnonzero(has_time).tolist()
        found.frames = [found.frames[row] for row in keep]
        found.places = [found.places[row] for row in keep]
        reports = read_reports(found.frames)
    for row, stop in sorted(reports.stops.items()):
        place, at_ns = found.places[row], int(reports.time_ns[row])
        reject = _of_frame(topics[place], found.frames[row], stop.reason, stop.detail, at_ns)
        found.rejects.append((place, reject))
    found.reports = reports
    found.moments, found.first_rows = _moments(reports, found)


def _report_parts(topics: Sequence[Topic], found: Reading) -> list[Part]:
    reports, moments = found.reports, found.moments
    assert reports is not None
    assert moments is not None
    suffixes: Sequence[str] | None = None
    if topics[0].message == "battery_state":
        columns, moment, pack = mapping.battery_columns(reports, moments)
        suffixes = _of_packs(pack)
    elif topics[0].message == "vehicle_state":
        columns, moment = mapping.vehicle_columns(reports, moments)
    elif topics[0].message == "drive_state":
        columns, moment, suffixes = drive_columns(reports, moments.of_row)
        columns["sampled_at_ns"] = moments.at_ns[moment]
    else:
        return []
    marks = [reports.marks.get(row, LIVE) for row in found.first_rows]
    owners = [found.vins[found.frames[row][4:21]] for row in found.first_rows]
    places = np.array([found.places[row] for row in found.first_rows], np.int32)
    whole = _batch(topics, columns, moment, suffixes, owners, places)
    if topics[0].message == "drive_state" and suffixes:
        kept = newest_of_each(moment, suffixes)
        whole, moment = whole.take(kept), moment[kept]
    return _by_mark(whole, places[moment], [marks[m] for m in moment.tolist()])


def _moments(reports: Reports, found: Reading) -> tuple[mapping.Moments, list[int]]:
    """Which moment each report belongs to, and the first report of each moment."""
    places = found.places
    if all(a != b for a, b in pairwise(places)):
        rows = np.arange(reports.n)
        return mapping.Moments(rows, reports.time_ns), rows.tolist()
    number: dict[tuple[int, int, bytes, int], int] = {}
    first_rows: list[int] = []
    of_row = np.zeros(reports.n, np.int64)
    for row, (place, frame, at_ns) in enumerate(
        zip(places, found.frames, reports.time_ns.tolist(), strict=True)
    ):
        # Not across editions: each scales its fields in its own way.
        key = (place, frame[0], frame[4:21], at_ns)
        if key not in number:
            number[key] = len(number)
            first_rows.append(row)
        of_row[row] = number[key]
    return mapping.Moments(of_row, reports.time_ns[first_rows]), first_rows


def _batch(
    topics: Sequence[Topic],
    columns: mapping.Columns,
    moment: Ints,
    suffixes: Sequence[str] | None,
    owners: Sequence[str],
    places: npt.NDArray[np.int32],
) -> Batch:
    """Rows with their identities; where `suffixes` has text, they are a part of the vehicle."""
    is_direct = topics[0].kind == "vehicle"
    sources = owners if is_direct else [topics[place].source_id for place in places.tolist()]
    subject_codes, subjects = _words(owners)
    subject = subject_codes[moment]
    known: dict[str, int] = {}
    for row, suffix in enumerate(suffixes or ()):
        if suffix:
            name = owners[moment[row]] + suffix
            subject[row] = known.setdefault(name, len(subjects))
            if subject[row] == len(subjects):
                subjects.append(name)
    source_codes, source_words = _words(sources)
    identity = {
        "source_id": (source_codes[moment], source_words),
        "subject_id": (subject, subjects),
        "id_kind": "permanent",
    }
    return from_columns(
        topics[0].message,
        zone=topics[0].zone,
        run_id="live",
        origin="live",
        columns=identity | columns,
        n_rows=len(moment),
    )


def _of_packs(pack: Ints) -> list[str] | None:
    """What stands behind the VIN; None if every row is of the vehicle's own pack."""
    if (pack == FIRST_PACK).all():
        return None
    return ["" if number == FIRST_PACK else f"#{number}" for number in pack.tolist()]


def _words(texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], list[str]]:
    code: dict[str, int] = {}
    codes = [code.setdefault(text, len(code)) for text in texts]
    return np.array(codes, np.int32), list(code)


def _by_mark(
    whole: Batch, places: npt.NDArray[np.int32], marks: Sequence[tuple[str, str]]
) -> list[Part]:
    """One Part for each run and origin, in order of first appearance."""
    kinds = dict.fromkeys(marks)
    if list(kinds) in ([LIVE], []):
        return [Part(whole, places)]
    parts = []
    for run_id, origin in kinds:
        mask = np.array([mark == (run_id, origin) for mark in marks], np.bool_)
        one = whole.filter(mask)
        parts.append(Part(Batch(one.message, one.zone, run_id, origin, one.data), places[mask]))
    return parts


def _profile_parts(topics: Sequence[Topic], found: Reading) -> list[Part]:
    messages = [read(frame) for frame in found.profiles]
    at_ns = np.array([beijing.to_ns(m.tree["time"]) for m in messages], np.int64)
    columns = profile_columns(messages) | {"sampled_at_ns": at_ns}
    rows = np.arange(len(messages))
    owners = [found.vins[frame[4:21]] for frame in found.profiles]
    places = np.array(found.profile_places, np.int32)
    whole = _batch(topics, columns, rows, None, owners, places)
    return [Part(whole, places)]
