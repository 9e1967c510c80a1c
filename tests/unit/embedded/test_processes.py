"""Children are started with a log, watched, and certain to end."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.processes import (
    LOOPBACK,
    ManagedProcess,
    accepts_connections,
    free_port,
    start_process,
    wait_until_ready,
)
from tests.support.patience import PATIENCE_S

PROJECT = Path(__file__).resolve().parents[3]
SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(60)"
)

PARENT = f"""
import sys, time
from pathlib import Path
from openvrc.embedded.processes import start_process
child = start_process("c", [sys.executable, "-c", {SLEEP!r}], log_path=Path("c.log"))
print(child.pid, flush=True)
time.sleep(60)
"""


def start(tmp_path: Path, code: str) -> ManagedProcess:
    return start_process("child", [sys.executable, "-c", code], log_path=tmp_path / "child.log")


def test_a_child_writes_both_streams_to_its_log(tmp_path: Path) -> None:
    child = start(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr)")
    child.popen.wait(PATIENCE_S)
    assert child.log_tail().splitlines() == ["out", "err"]


def test_a_log_is_appended_to_not_replaced(tmp_path: Path) -> None:
    for word in ("first", "second"):
        start(tmp_path, f"print({word!r})").popen.wait(PATIENCE_S)
    assert (tmp_path / "child.log").read_text().split() == ["first", "second"]


def test_the_tail_is_the_end_of_a_long_log(tmp_path: Path) -> None:
    child = start(tmp_path, "for n in range(10000): print(n)")
    child.popen.wait(PATIENCE_S)
    assert child.log_tail(3).split() == ["9997", "9998", "9999"]


def test_stop_ends_a_child_with_its_signal_and_may_be_repeated(tmp_path: Path) -> None:
    child = start(tmp_path, SLEEP)
    assert child.is_running
    assert child.stop() == -signal.SIGTERM
    assert child.stop() == -signal.SIGTERM
    assert not child.is_running


def test_stop_kills_a_child_that_does_not_listen(tmp_path: Path) -> None:
    child = start(tmp_path, STUBBORN)
    wait_until_ready(lambda: "deaf" in child.log_tail(), child)
    assert child.stop(timeout_s=0.2) == -signal.SIGKILL


def test_a_child_does_not_share_our_terminals_ctrl_c(tmp_path: Path) -> None:
    child = start(tmp_path, SLEEP)
    try:
        assert os.getpgid(child.pid) != os.getpgid(0)
    finally:
        child.stop()


def test_an_absent_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"child: cannot be started: .*no-such-program"):
        start_process("child", ["/no-such-program"], log_path=tmp_path / "child.log")


def test_waiting_for_a_child_that_ends_shows_its_last_words(tmp_path: Path) -> None:
    child = start(tmp_path, "raise SystemExit('the disk is full')")
    with pytest.raises(EmbeddedServerError, match="ended at start with exit code 1") as raised:
        wait_until_ready(lambda: False, child)
    assert "the disk is full" in str(raised.value)
    assert raised.value.log_path == tmp_path / "child.log"


def test_waiting_too_long_stops_the_child(tmp_path: Path) -> None:
    child = start(tmp_path, SLEEP)
    with pytest.raises(EmbeddedServerError, match=r"was not ready after 0\.1 s"):
        wait_until_ready(lambda: False, child, timeout_s=0.1)
    assert not child.is_running


def test_a_free_port_has_no_listener() -> None:
    assert not accepts_connections(LOOPBACK, free_port())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline_s = time.monotonic() + PATIENCE_S
    while _is_alive(pid):
        assert time.monotonic() < deadline_s, "the child outlived its parent"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return ") Z " not in status


def test_a_child_of_a_short_lived_thread_outlives_the_thread(tmp_path: Path) -> None:
    started: list[ManagedProcess] = []
    thread = threading.Thread(target=lambda: started.append(start(tmp_path, SLEEP)))
    thread.start()
    thread.join()
    (child,) = started
    with pytest.raises(subprocess.TimeoutExpired):
        child.popen.wait(0.3)
    child.stop()
