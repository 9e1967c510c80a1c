"""Live positions: the wire's layout, the viewport, and what a slow client gets."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from cloud.latest import Latest
from cloud.live import (
    KEEP_ALIVE_S,
    MAX_UNACKNOWLEDGED,
    SILENT_S,
    LiveClient,
    LiveProtocolError,
    PositionsCache,
)
from cloud.live_frame import (
    CLASS_UNKNOWN,
    FLAG_BRAKE,
    FLAG_NO_HEADING,
    HEADER,
    SPEED_ABSENT_KMH,
    VEHICLE,
    WORLD,
    mercator,
)
from openvrc.contracts.batch import from_columns
from openvrc.contracts.units import NS_PER_S

T0_NS = 1_767_225_600 * NS_PER_S
EVERYWHERE = [-180, -90, 180, 90]


def fold_vehicles(latest: Latest, at_s: int, lon_deg: list[float], **more: object) -> None:
    n = len(lon_deg)
    columns = {
        "source_id": "r1",
        "subject_id": [f"v{i}" for i in range(n)],
        "sampled_at_ns": [T0_NS + at_s * NS_PER_S] * n,
        "lat_deg": [52.0] * n,
        "lon_deg": lon_deg,
        "speed_mps": [10.0] * n,
        "heading_deg": [90.0] * n,
        "vehicle_class": ["truck"] * n,
        "lane_index": -1,
    } | more
    latest.fold(
        [
            from_columns(
                "vehicle_state", zone="z", run_id="r", origin="live", columns=columns, n_rows=n
            )
        ]
    )


def frame_of(client: LiveClient, latest: Latest, now_s: float = 0.0) -> bytes | None:
    cache = PositionsCache(lambda: latest)
    return client.next_frame(cache, now_s=now_s, server_time_ms=1000.0)


def watching(bounds: Sequence[float] = EVERYWHERE) -> LiveClient:
    client = LiveClient(0.0)
    client.receive(json.dumps({"zone": "z", "run": "r", "bounds": list(bounds)}), 0.0)
    return client


def rows_of(frame: bytes | None) -> np.ndarray:
    assert frame is not None
    return np.frombuffer(frame, VEHICLE, offset=HEADER.size)


def test_the_layout_is_32_bytes_of_header_and_16_a_vehicle() -> None:
    latest = Latest()
    fold_vehicles(latest, 0, [13.0, 13.1], brake_on=[True, False])
    frame = frame_of(watching(), latest)
    assert frame is not None
    assert (HEADER.size, VEHICLE.itemsize, len(frame)) == (32, 16, 32 + 2 * 16)
    magic, version, kind, zero, n, number, time_ms, _, _ = HEADER.unpack(frame[:32])
    assert (magic, version, kind, zero, n, number, time_ms) == (b"VRCL", 1, 1, 0, 2, 1, 1000.0)
    rows = rows_of(frame)
    assert rows["heading"].tolist() == [2**14, 2**14]
    assert rows["speed_kmh"].tolist() == [36, 36]
    assert rows["flags"].tolist() == [1 | FLAG_BRAKE, 1]


def test_positions_survive_the_wire_to_a_centimetre() -> None:
    lat_deg, lon_deg = 52.5162746, 13.3777041
    (x,), (y,) = mercator([lat_deg], [lon_deg])
    back_lon = x / WORLD * 360 - 180
    back_lat = math.degrees(math.atan(math.sinh((0.5 - y / WORLD) * 2 * math.pi)))
    assert abs(back_lon - lon_deg) < 1e-7
    assert abs(back_lat - lat_deg) < 1e-7


def test_mercator_agrees_with_epsg_3857() -> None:
    pyproj = pytest.importorskip("pyproj")
    to_m = pyproj.Transformer.from_crs(4326, 3857, always_xy=True)
    half_m = 20037508.342789244
    for lat_deg, lon_deg in [(0.0, 0.0), (52.5, 13.4), (-33.9, 151.2), (31.2, 121.5)]:
        x_m, y_m = to_m.transform(lon_deg, lat_deg)
        (x,), (y,) = mercator([lat_deg], [lon_deg])
        assert abs(x / WORLD - (x_m + half_m) / (2 * half_m)) < 1e-9
        assert abs(y / WORLD - (half_m - y_m) / (2 * half_m)) < 1e-9


def test_unavailable_values_have_their_own_code() -> None:
    latest = Latest()
    fold_vehicles(latest, 0, [13.0], speed_mps=[np.nan], heading_deg=[np.nan], vehicle_class=[None])
    (row,) = rows_of(frame_of(watching(), latest))
    assert row["speed_kmh"] == SPEED_ABSENT_KMH
    assert row["flags"] == CLASS_UNKNOWN | FLAG_NO_HEADING


def test_only_the_viewport_is_sent() -> None:
    latest = Latest()
    fold_vehicles(latest, 0, [13.0, 14.0, 15.0])
    rows = rows_of(frame_of(watching([13.5, 51.0, 14.5, 53.0]), latest))
    assert rows["slot"].tolist() == [1]


def test_nothing_is_sent_before_a_viewport() -> None:
    latest = Latest()
    fold_vehicles(latest, 0, [13.0])
    assert frame_of(LiveClient(0.0), latest) is None


def test_an_unchanged_picture_is_sent_again_only_to_keep_the_link_alive() -> None:
    latest = Latest()
    fold_vehicles(latest, 0, [13.0])
    client = watching()
    assert frame_of(client, latest, 0.0) is not None
    assert frame_of(client, latest, KEEP_ALIVE_S / 2) is None
    assert frame_of(client, latest, KEEP_ALIVE_S + 0.1) is not None


def test_a_client_that_does_not_acknowledge_gets_two_frames_and_then_the_newest() -> None:
    latest = Latest()
    client = watching()
    sent = []
    for second in range(10):
        fold_vehicles(latest, second, [13.0 + second / 1000])
        sent.append(frame_of(client, latest, float(second)))
    assert sum(frame is not None for frame in sent) == MAX_UNACKNOWLEDGED
    client.receive('{"ack": 2}', 10.0)
    (row,) = rows_of(frame_of(client, latest, 10.0))
    assert row["x"] == mercator([52.0], [13.009])[0][0]


def test_a_silent_client_is_given_up_only_while_it_owes_an_answer() -> None:
    latest = Latest()
    fold_vehicles(latest, 0, [13.0])
    client = watching()
    assert not client.is_silent(1000.0)
    frame_of(client, latest, 1000.0)
    assert not client.is_silent(1000.0 + SILENT_S / 2)
    assert client.is_silent(1001.0 + SILENT_S)
    client.receive('{"ack": 1}', 1001.0 + SILENT_S)
    assert not client.is_silent(5000.0)


def test_who_names_a_slot() -> None:
    assert LiveClient(0.0).receive('{"who": 3}', 0.0) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "{" * 3000,
        "x" * 5000,
        '{"bounds": 1}',
        '{"bounds": [1, 2, 3]}',
        '{"bounds": [1, 2, 3, NaN]}',
        '{"bounds": [1, 2, 3, 1' + "0" * 400 + "]}",
        '{"bounds": [10, 0, 5, 1]}',
        '{"bounds": [1, 2, 3, "4"]}',
        '{"bounds": [0, 0, 1, 1], "zone": 5}',
        '{"ack": 1}',
        '{"ack": -1}',
        '{"ack": "1"}',
        '{"who": -1}',
        '{"who": true}',
        '{"who": 1e3}',
    ],
)
def test_nonsense_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(LiveProtocolError):
        LiveClient(0.0).receive(text, 0.0)
