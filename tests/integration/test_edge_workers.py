"""An edge with decoding workers: what it forwards, and that a killed worker loses nothing."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.service import EdgeService
from edge.worker_pool import WorkerPool, WorkersError
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.zone import Zone, write_zone
from openvrc.embedded.broker import RunningBroker, find_mosquitto, start_broker
from openvrc.settings import Settings
from tests.integration.test_edge_service import (
    Sender,
    assert_records_before_their_tick,
    begin_run,
    end_run,
    has_all,
    step,
)
from tests.support.edge_world import road_map
from tests.support.fake_cloud import KEY, FakeCloud
from tests.support.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S
WORKERS = 2


@pytest.fixture
def broker(open_dir: Path) -> Iterator[RunningBroker]:
    if find_mosquitto() is None:
        pytest.skip("shared subscriptions need mosquitto, which is not installed")
    running = start_broker(open_dir / "broker", prefer="mosquitto")
    yield running
    running.stop()


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    running = FakeCloud()
    yield running
    running.stop()


def settings_for(broker: RunningBroker, cloud: FakeCloud, folder: Path) -> Settings:
    write_zone(folder / "zones" / "folder", Zone(name="folder"), road_map())
    return Settings(
        data_dir=folder / "var",
        zones_dir=folder / "zones",
        broker_url=f"mqtt://{broker.host}:{broker.port}",
        cloud_url=cloud.url,
        api_key=KEY,
        edge_workers=WORKERS,
    )


class RunningEdge:
    """An edge in a thread of this process, its workers in their own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping, self._is_made = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.service: EdgeService | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._is_made.wait(TIMEOUT_S)

    @property
    def pool(self) -> WorkerPool:
        assert self.service is not None
        assert isinstance(self.service._intake, WorkerPool)
        return self.service._intake

    def _run(self) -> None:
        try:  # the spool belongs to the thread that made it
            self.service = EdgeService(self._settings)
            self._is_made.set()
            self.service.run(self._stopping)
        except (WorkersError, SettingsError) as error:
            self.error = error
            self._is_made.set()

    def wait_until_fenced(self) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self.pool._barrier.are_all_fenced:
            assert time.monotonic() < deadline_s, "the workers did not get ready"
            assert self.error is None
            time.sleep(0.05)

    def wait_for_a_successor(self, killed: list[int]) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while set(killed) & set(self.pool.worker_pids):
            assert time.monotonic() < deadline_s, "a killed worker was not started again"
            time.sleep(0.05)

    def join(self) -> None:
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@pytest.fixture
def sender(broker: RunningBroker) -> Iterator[Sender]:
    client = Sender(broker)
    yield client
    client.close()


def seqs(cloud: FakeCloud) -> list[int]:
    return [r["seq"] for r in cloud.records("vehicle_state")]


def test_a_driven_run_is_whole_and_every_tick_behind_its_records(
    broker: RunningBroker, sender: Sender, cloud: FakeCloud, tmp_path: Path
) -> None:
    edge = RunningEdge(settings_for(broker, cloud, tmp_path))
    try:
        edge.wait_until_fenced()
        begin_run(sender)
        for t in range(1, 31):
            step(sender, t)
        end_run(sender, 30, 90)
        cloud.wait_for(has_all(cloud, 90))
    finally:
        edge.stop()
    assert sorted(seqs(cloud)) == list(range(90))
    assert_records_before_their_tick(cloud)
    windows = [r for r in cloud.records("segment_state") if r["window_s"] == 10]
    assert all(r["revision"] == 0 for r in windows)
    assert windows[1]["vehicle_count"] == 3


def test_a_worker_that_is_killed_under_load_loses_and_doubles_nothing(
    broker: RunningBroker, sender: Sender, cloud: FakeCloud, tmp_path: Path
) -> None:
    edge = RunningEdge(settings_for(broker, cloud, tmp_path))
    steps, n_vehicles = 60, 20
    killed: list[int] = []
    try:
        edge.wait_until_fenced()
        begin_run(sender)
        for t in range(1, steps + 1):
            step(sender, t, n_vehicles=n_vehicles)
            if t in (10, 30, 45):
                edge.wait_for_a_successor(killed)
                killed.append(edge.pool.worker_pids[t % WORKERS])
                os.kill(killed[-1], signal.SIGKILL)
        end_run(sender, steps, steps * n_vehicles)
        cloud.wait_for(has_all(cloud, steps * n_vehicles))
        edge.wait_for_a_successor(killed)
        assert len(edge.pool.worker_pids) == WORKERS
        assert not set(killed) & set(edge.pool.worker_pids)
    finally:
        edge.stop()
    assert sorted(seqs(cloud)) == list(range(steps * n_vehicles))
    assert_records_before_their_tick(cloud)


def test_a_clean_stop_and_start_goes_on_where_it_was(
    broker: RunningBroker, sender: Sender, cloud: FakeCloud, tmp_path: Path
) -> None:
    settings = settings_for(broker, cloud, tmp_path)
    edge = RunningEdge(settings)
    edge.wait_until_fenced()
    begin_run(sender)
    for t in range(1, 6):
        step(sender, t)
    sender.wait_for_tick(5)
    edge.stop()
    for t in range(6, 16):
        step(sender, t)  # the broker keeps these for the workers' sessions
    edge = RunningEdge(settings)
    try:
        end_run(sender, 15, 45)
        cloud.wait_for(has_all(cloud, 45))
    finally:
        edge.stop()
    assert sorted(seqs(cloud)) == list(range(45))
    assert_records_before_their_tick(cloud)


def test_bad_payloads_are_counted_as_with_one_process(
    broker: RunningBroker, sender: Sender, cloud: FakeCloud, tmp_path: Path
) -> None:
    edge = RunningEdge(settings_for(broker, cloud, tmp_path))
    try:
        edge.wait_until_fenced()
        for number in range(6):
            sender.send(f"vrc/v1/folder/vehicle/car-{number}/vehicle_state", b"{")
        cloud.wait_for(lambda: len(cloud.records("dead_letter")) == 6)
    finally:
        edge.stop()
    assert {r["reason"] for r in cloud.records("dead_letter")} == {"invalid_json"}


def test_a_broker_that_does_not_share_is_refused_in_clear_words(
    open_dir: Path, cloud: FakeCloud, tmp_path: Path
) -> None:
    broker = start_broker(open_dir / "amqtt", prefer="amqtt")
    edge = RunningEdge(settings_for(broker, cloud, tmp_path))
    try:
        edge.join()
    finally:
        edge.stop()
        broker.stop()
    assert "shared subscriptions" in str(edge.error)
    assert "mosquitto" in str(edge.error)


def test_sessions_of_before_are_ended_when_that_is_asked_for(
    broker: RunningBroker, sender: Sender, cloud: FakeCloud, tmp_path: Path
) -> None:
    settings = settings_for(broker, cloud, tmp_path)
    edge = RunningEdge(settings)
    edge.wait_until_fenced()
    edge.stop()
    alone = settings.model_copy(update={"edge_workers": 0})
    refused = RunningEdge(alone)
    refused.join()
    assert isinstance(refused.error, SettingsError)
    assert "--workers 2 before" in str(refused.error)
    edge = RunningEdge(alone.model_copy(update={"edge_forget_sessions": True}))
    try:
        begin_run(sender)
        step(sender, 1)
        end_run(sender, 1, 3)
        cloud.wait_for(has_all(cloud, 3))
    finally:
        edge.stop()
    assert seqs(cloud) == [0, 1, 2]
