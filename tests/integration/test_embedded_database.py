"""The embedded PostgreSQL: durable, private, and invisible to the rest of the machine."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from openvrc.embedded.broker import find_mosquitto
from openvrc.embedded.database import RunningDatabase, start_database
from openvrc.embedded.directories import SYSTEM_HOME
from openvrc.embedded.errors import EmbeddedServerError, PortTakenError
from openvrc.embedded.privileges import anyone_can_reach
from openvrc.embedded.server_tree import PACKAGE
from tests.support.patience import PATIENCE_S

PROJECT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def database(open_dir: Path) -> Iterator[RunningDatabase]:
    running = start_database(open_dir / "db")
    yield running
    running.stop()


def rows_of(database: RunningDatabase) -> list[int]:
    with psycopg.connect(database.url) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM kept ORDER BY n")]


def fill(database: RunningDatabase, count: int) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n integer PRIMARY KEY)")
        for number in range(count):
            connection.execute("INSERT INTO kept VALUES (%s)", [number])


def modes(paths: list[Path]) -> dict[Path, tuple[int, int, int]]:
    """Mode, owner and group of each path that exists."""
    found = [(path, path.lstat()) for path in paths if path.exists()]
    return {path: (stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid) for path, s in found}


def wheel_paths() -> list[Path]:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    return [package, *package.rglob("*"), *package.parents]


def test_it_listens_on_loopback_and_wants_its_password(database: RunningDatabase) -> None:
    with psycopg.connect(database.url) as connection:
        addresses = connection.execute("SHOW listen_addresses").fetchone()
        sockets = connection.execute("SHOW unix_socket_directories").fetchone()
    assert addresses == ("127.0.0.1",)
    assert sockets == ("",)
    password = psycopg.conninfo.conninfo_to_dict(database.url)["password"]
    wrong = database.url.replace(str(password), "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_it_never_runs_as_root(database: RunningDatabase) -> None:
    expected = 65534 if AS_ROOT else os.geteuid()
    owner = (database.directory / "cluster-18").stat().st_uid
    assert owner == expected
    if sys.platform == "linux":
        assert Path(f"/proc/{database.pid}").stat().st_uid == expected


def test_a_commit_is_durable_by_its_settings(database: RunningDatabase) -> None:
    with psycopg.connect(database.url) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)


def test_only_we_can_read_the_password_and_the_data(database: RunningDatabase) -> None:
    assert stat.S_IMODE((database.directory / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE((database.directory / "cluster-18").stat().st_mode) == 0o700


def test_a_warm_start_finds_what_was_stored(open_dir: Path) -> None:
    first = start_database(open_dir)
    fill(first, 10)
    first.stop()
    second = start_database(open_dir)
    assert rows_of(second) == list(range(10))
    second.stop()


def test_committed_rows_survive_kill_nine(open_dir: Path) -> None:
    first = start_database(open_dir)
    fill(first, 200)
    os.kill(first.pid, signal.SIGKILL)
    first.process.popen.wait()
    assert (first.directory / "cluster-18" / "postmaster.pid").exists()
    first.lock.close()
    second = start_database(open_dir)
    assert rows_of(second) == list(range(200))
    second.stop()


def test_a_stale_process_id_of_somebody_else_does_not_matter(open_dir: Path) -> None:
    first = start_database(open_dir)
    fill(first, 3)
    pid_file = first.directory / "cluster-18" / "postmaster.pid"
    text = pid_file.read_text()
    first.stop()
    pid_file.write_text(text.replace(str(first.pid), str(os.getpid()), 1))
    second = start_database(open_dir)
    assert rows_of(second) == [0, 1, 2]
    second.stop()


def test_a_server_that_lost_its_owner_is_stopped_and_replaced(open_dir: Path) -> None:
    orphan = start_database(open_dir)
    fill(orphan, 3)
    orphan.lock.close()  # as if the process that started it had died without stopping it
    successor = start_database(open_dir)
    assert orphan.process.popen.wait(PATIENCE_S) == 0
    assert rows_of(successor) == [0, 1, 2]
    successor.stop()


def test_a_directory_in_use_is_refused(database: RunningDatabase, open_dir: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="already runs the database"):
        start_database(open_dir / "db")
    with psycopg.connect(database.url):
        pass


def test_a_port_that_is_taken_is_refused(database: RunningDatabase, open_dir: Path) -> None:
    with pytest.raises(PortTakenError, match=f"port {database.port} is taken"):
        start_database(open_dir / "second", port=database.port)


def test_a_server_that_cannot_start_shows_its_last_log_lines(open_dir: Path) -> None:
    first = start_database(open_dir)
    first.stop()
    (first.directory / "cluster-18" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedServerError, match="ended at start") as raised:
        start_database(open_dir)
    assert "incompatible" in raised.value.log_tail


def test_stop_can_delete_everything(open_dir: Path) -> None:
    database = start_database(open_dir / "once")
    database.stop(delete_files=True)
    assert not database.directory.exists()


def test_nothing_outside_our_directories_changes(open_dir: Path) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    outside = [*wheel_paths(), closed, *closed.parents, Path.home(), SYSTEM_HOME.parent]
    accounts = Path("/etc/passwd").read_bytes()
    before = modes(outside)
    database = start_database(closed / "db")
    database.stop(delete_files=True)
    assert modes(outside) == before
    assert Path("/etc/passwd").read_bytes() == accounts


@pytest.mark.skipif(not AS_ROOT, reason="only root has a home that nobody can reach")
def test_root_with_a_closed_directory_uses_one_of_our_own(open_dir: Path) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    first = start_database(closed / "db")
    fill(first, 3)
    first.stop()
    second = start_database(closed / "db")
    assert rows_of(second) == [0, 1, 2]
    second.stop(delete_files=True)
    assert first.directory == second.directory
    assert first.directory.parent == SYSTEM_HOME


SCRIPT = """
import sys
from pathlib import Path
import psycopg
from openvrc.embedded.broker import start_broker
from openvrc.embedded.database import start_database
home = Path(sys.argv[1])
database = start_database(home / "db")
broker = start_broker(home / "broker", prefer=sys.argv[2])
with psycopg.connect(database.url) as connection:
    print(connection.execute("SELECT 40 + 2").fetchone()[0], broker.kind, database.directory)
broker.stop()
database.stop()
"""


def reachable_python() -> str | None:
    """Ours, or one of the same version where ours lies in somebody's home."""
    name = f"python3.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        if Path(python).exists() and anyone_can_reach(Path(python).resolve()):
            return python
    return None


@pytest.mark.skipif(not AS_ROOT, reason="the other tests already run as an ordinary user")
@pytest.mark.parametrize("home", ["a home", "none"])
@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_an_ordinary_user_needs_nothing_but_a_directory(
    open_dir: Path, home: str, kind: str
) -> None:
    if kind == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no mosquitto is installed")
    python = reachable_python()
    if python is None or not anyone_can_reach(PROJECT):
        pytest.skip("an ordinary user can reach no Python of this version, or not this project")
    own = open_dir / "own"
    own.mkdir(mode=0o700)
    shutil.chown(own, "nobody")
    done = subprocess.run(
        [python, "-c", SCRIPT, str(own), kind],
        user="nobody",
        group="nogroup" if Path("/etc/debian_version").exists() else "nobody",
        extra_groups=[],
        cwd=own,
        env={
            "HOME": str(own) if home == "a home" else "/nonexistent",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{PROJECT}:{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["42", kind, str(own / "db")]), done.stderr
    copies = list(own.rglob("pg-*"))
    assert len(copies) == 1
