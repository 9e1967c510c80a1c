"""Discovery: a module with a `PLUGIN` is found; a bad one is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openvrc.contracts.errors import PluginError, SettingsError
from openvrc.contracts.plugins import chosen, discover


def package(tmp_path: Path, name: str, **modules: str) -> str:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return name


ONE = "class P:\n    name = {!r}\nPLUGIN = P()\n"


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))


def test_one_file_is_enough(tmp_path: Path) -> None:
    name = package(tmp_path, "plug_a", b=ONE.format("two"), a=ONE.format("one"), helper="X = 1\n")
    assert list(discover(name)) == ["one", "two"]


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    name = package(tmp_path, "plug_b", a=ONE.format("one"), b=ONE.format("one"))
    with pytest.raises(PluginError, match="one"):
        discover(name)


def test_a_plugin_without_a_name_is_refused(tmp_path: Path) -> None:
    name = package(tmp_path, "plug_c", a="PLUGIN = object()\n")
    with pytest.raises(PluginError, match="name"):
        discover(name)
    sys.modules.pop(name)


RULES = {"traffic.congestion": 1, "traffic.hard_braking": 2, "battery.insulation": 3}


def test_names_and_globs_choose_plugins() -> None:
    assert chosen(RULES, "*") == RULES
    assert list(chosen(RULES, "traffic.*")) == ["traffic.congestion", "traffic.hard_braking"]
    assert list(chosen(RULES, " traffic.congestion, battery.*,")) == [
        "battery.insulation",
        "traffic.congestion",
    ]
    assert chosen(RULES, "") == {}


def test_a_misspelt_choice_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"traffic\.jam.*traffic\.congestion"):
        chosen(RULES, "battery.*,traffic.jam")
