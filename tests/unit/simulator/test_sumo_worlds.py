"""Worlds made with SUMO: what can be checked without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import sumo_worlds


def test_a_folder_of_sumo_given_from_here_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(sumo_worlds, "make", lambda _name, _out, found, *_: made.append(found))
    monkeypatch.setattr(sys, "argv", ["", "out", "--sumo", "here/bin", "--only", "grid"])
    monkeypatch.chdir(tmp_path)
    sumo_worlds.main()
    assert made == [tmp_path.resolve() / "here/bin"] * 2
