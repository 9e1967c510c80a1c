"""Directories get a mode from us only if we made them."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from openvrc.embedded.directories import make_directory
from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.privileges import (
    RunAs,
    anyone_can_reach,
    server_account,
    server_directory,
)
from openvrc.embedded.stand_in import stand_in_directory


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_missing_parents_are_made_with_the_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = make_directory(tmp_path / "a" / "b", 0o755)
    finally:
        os.umask(before)
    assert (mode_of(made), mode_of(made.parent)) == (0o755, 0o755)


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    existing = tmp_path / "existing"
    existing.mkdir(mode=0o711)
    make_directory(existing / "new", 0o755)
    make_directory(existing, 0o755)
    assert mode_of(existing) == 0o711


def test_a_directory_below_a_closed_one_cannot_be_reached(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not anyone_can_reach(closed / "not yet made")


def test_the_root_directory_can_be_reached() -> None:
    assert anyone_can_reach(Path("/"))


def test_an_ordinary_user_works_where_asked(tmp_path: Path) -> None:
    directory = server_directory(tmp_path / "db", RunAs())
    assert directory == tmp_path / "db"
    assert mode_of(directory) == 0o700


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir(mode=0o500)
    with pytest.raises(EmbeddedServerError, match="not ours to write in"):
        server_directory(tmp_path / "db", RunAs())


def test_another_account_is_not_sent_below_a_closed_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openvrc.embedded.directories.SYSTEM_HOME", tmp_path / "system")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    account = RunAs(65534, 65534)
    first = server_directory(closed / "db", account)
    assert first.parent == tmp_path / "system"
    assert server_directory(closed / "db", account) == first
    assert server_directory(closed / "other", account) != first
    assert mode_of(closed) == 0o700


def test_a_stand_in_stays_in_use_when_the_way_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openvrc.embedded.directories.SYSTEM_HOME", tmp_path / "system")
    account = RunAs(65534, 65534)
    monkeypatch.setattr("openvrc.embedded.privileges.anyone_can_reach", lambda _: False)
    first = server_directory(tmp_path / "db", account)
    monkeypatch.setattr("openvrc.embedded.privileges.anyone_can_reach", lambda _: True)
    assert server_directory(tmp_path / "db", account) == first
    assert server_directory(tmp_path / "other", account) == tmp_path / "other"


@pytest.fixture
def system_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "system"
    monkeypatch.setattr("openvrc.embedded.directories.SYSTEM_HOME", home)
    return home


def test_who_deletes_the_directory_asked_for_starts_afresh(
    tmp_path: Path, system_home: Path
) -> None:
    first = stand_in_directory(tmp_path / "db")
    shutil.rmtree(tmp_path / "db")
    assert stand_in_directory(tmp_path / "db") != first


def test_what_stood_in_for_a_deleted_temporary_directory_is_deleted(
    tmp_path: Path, system_home: Path
) -> None:
    left, kept = stand_in_directory(tmp_path / "gone"), stand_in_directory(tmp_path / "kept")
    shutil.rmtree(tmp_path / "gone")
    stand_in_directory(tmp_path / "next")
    assert not left.exists()
    assert kept.exists()


def test_what_stood_in_for_a_home_that_is_not_mounted_is_kept(
    tmp_path: Path, system_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "elsewhere"))
    kept = stand_in_directory(tmp_path / "home" / "db")
    shutil.rmtree(tmp_path / "home")
    stand_in_directory(tmp_path / "next")
    assert kept.exists()


def test_root_does_not_run_servers_as_root() -> None:
    account = server_account()
    assert account.uid != 0
    assert (account.uid is None) == (os.geteuid() != 0)
