"""The GB/T 32960 server on real sockets."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.gbt32960.server import Gbt32960Server
from edge.inbox import Delivery
from openvrc.contracts.errors import SettingsError
from openvrc.settings import Gbt32960Settings
from tests.support.gbt32960 import (
    AT_NS,
    SIX,
    VIN,
    framed,
    full_2016,
    full_2025,
    heartbeat,
    hexed,
    login_frame,
)  # fmt: skip
from tests.support.gbt32960_client import Client, wait_for

Start = Callable[..., Gbt32960Server]
Connect = Callable[..., Client]


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[Gbt32960Server] = []

    def begin(queue_messages: int = 1000, **settings: Any) -> Gbt32960Server:
        made = Gbt32960Settings(zone="z", port=0, **settings)
        server = Gbt32960Server(made, "z", queue_messages)
        server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def opened(*address: Any) -> Client:
        clients.append(Client(*address))
        return clients[-1]

    yield opened
    for client in clients:
        client.close()


def taken(server: Gbt32960Server, n: int) -> list[Delivery]:
    found: list[Delivery] = []

    def has_come() -> bool:
        found.extend(server.inbox.take(0.0, 0.0, 10_000, 1 << 30))
        return len(found) >= n

    wait_for(has_come, f"{n} deliveries, {len(found)} came")
    return found


def test_frames_become_deliveries_of_their_vehicle(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server.port)
    assert client.ask(login_frame()).head.response == 1
    client.send(full_2016(), full_2025())
    assert client.ask(heartbeat()).head.command == 7
    found = taken(server, 3)
    assert {d.topic for d in found} == {f"vrc/v1/z/vehicle/{VIN}/battery_state/gbt32960"}
    assert [d.payload for d in found] == [login_frame(), full_2016(), full_2025()]
    client.close()
    wait_for(lambda: server.n_connections == 0, "the connection's end")


def test_a_new_connection_of_a_vehicle_ends_its_old_one(start: Start, connect: Connect) -> None:
    server = start()
    old, new = connect(server.port), connect(server.port)
    old.ask(login_frame())
    new.ask(login_frame(serial=2))
    assert old.is_closed_by_server()
    assert new.ask(heartbeat()).head.response == 1


def test_frames_behind_garbage_are_found_and_the_garbage_is_told(
    start: Start, connect: Connect
) -> None:
    server = start()
    client = connect(server.port)
    client.ask(login_frame())
    client.send(b"\0garbage##" + full_2016()[:50] + full_2016())
    client.ask(heartbeat())
    found = taken(server, 3)
    assert [d.topic.rsplit("/", 1)[1] for d in found] == ["gbt32960", "refused", "gbt32960"]
    assert found[2].payload == full_2016()


@pytest.mark.parametrize(
    ("limits", "bytes_sent"),
    [
        ({"login_timeout_s": 0.2}, b""),
        ({"login_timeout_s": 0.2}, full_2016()[:30]),
        ({"idle_timeout_s": 0.2}, login_frame()),
        ({"frame_timeout_s": 0.2}, login_frame() + full_2016()[:100]),
    ],
)
def test_who_says_nothing_or_too_slowly_is_closed(
    start: Start, connect: Connect, limits: dict[str, float], bytes_sent: bytes
) -> None:
    client = connect(start(**limits).port)
    client.send(bytes_sent)
    assert client.is_closed_by_server()


def test_other_protocols_are_closed_at_once(start: Start, connect: Connect) -> None:
    client = connect(start().port)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100)
    assert client.is_closed_by_server()


def test_more_connections_than_allowed_are_closed(start: Start, connect: Connect) -> None:
    server = start(max_connections=2)
    clients = [connect(server.port) for _ in range(2)]
    for number, client in enumerate(clients):
        client.ask(login_frame(vin=f"LTESTVEH{number:09d}"))
    assert connect(server.port).is_closed_by_server()
    assert clients[0].ask(heartbeat(vin="LTESTVEH000000000")).head.response == 1


def test_a_full_inbox_holds_senders_back_and_loses_nothing(start: Start, connect: Connect) -> None:
    server = start(queue_messages=5)
    client = connect(server.port)
    client.ask(login_frame())
    frames = [full_2016(at_ns=AT_NS + n * 10**9) for n in range(500)]
    client.send(*frames[:250])
    wait_for(lambda: server.inbox.is_full, "a full inbox")
    client.send(*frames[250:])
    found = taken(server, 501)
    assert [d.payload for d in found] == [login_frame(), *frames]


def test_a_list_whose_rest_does_not_come_waits_no_longer_than_a_sweep(
    start: Start, connect: Connect
) -> None:
    from openvrc.contracts.gbt32960.message import report
    from openvrc.contracts.gbt32960.units import Edition
    from tests.support.gbt32960 import cells_2016

    server = start()
    client = connect(server.port)
    client.ask(login_frame())
    part = report(Edition.Y2016, 2, VIN, AT_NS, [cells_2016([3600], total_cells=2)])
    client.send(part)
    assert taken(server, 2)[1].payload == part


def test_platforms_log_in_with_their_password(start: Start, connect: Connect) -> None:
    server = start(platform_users="platform-001:secret")
    unit = SIX + hexed("00 01") + b"platform-001" + b"secret".ljust(20) + hexed("01")
    client = connect(server.port)
    assert client.ask(framed("##", 5, unit)).head.response == 1
    client.send(login_frame(), full_2016())
    reply = client.reply()
    assert reply is not None
    assert reply.head.command == 1
    assert len(taken(server, 2)) == 2


def test_an_address_that_is_taken_is_an_error_that_names_it(start: Start) -> None:
    server = start()
    other = Gbt32960Server(Gbt32960Settings(zone="z", port=server.port), "z", 10)
    with pytest.raises(SettingsError, match=str(server.port)):
        other.start()


def certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, key_pem


def test_tls_is_spoken_where_a_certificate_is_given(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    pem, key_pem = certificate(tmp_path)
    server = start(tls_certificate=pem, tls_key=key_pem)
    client = connect(server.port, ssl.create_default_context(cafile=str(pem)))
    assert client.ask(login_frame()).head.response == 1
    client.close()


def test_keys_and_certificates_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text('[default]\naes_hex = "00"\n')
    for wrong in (
        {"keys_file": tmp_path / "none.toml"},
        {"keys_file": tmp_path / "keys.toml"},
        {"tls_certificate": tmp_path / "none.pem"},
    ):
        with pytest.raises(SettingsError, match="gbt32960"):
            Gbt32960Server(Gbt32960Settings(zone="z", port=0, **wrong), "z", 10)
