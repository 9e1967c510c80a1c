"""The documentation says what is so: settings, commands, endpoints, topics, fields, links."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import cloud.api
from openvrc.cli.main import COMMANDS
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.topics import parse_topic
from openvrc.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GUIDES = [path for path in PAGES if path.is_relative_to(ROOT / "docs")]
NOT_YET = "## What it does and does not do yet"


def split_promises(text: str) -> tuple[str, str]:
    """What the README says is there, and the "not yet" cells of its last table."""
    before, heading, table = text.partition(NOT_YET)
    assert heading, "the README has no table of what is not there yet"
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    assert all(len(cells) == 2 for cells in rows)
    promised = before + "\n".join(cells[0] for cells in rows)
    return promised, "\n".join(cells[1] for cells in rows)


THERE, MISSING = split_promises(README)


def commands_in(text: str) -> set[str]:
    return set(re.findall(r"\bvrc ([a-z]+)\b", text))


def command_lines() -> list[list[str]]:
    """Words of every `vrc ...` line in the README's shell blocks, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].split() for block in blocks for line in block.splitlines()]
    return [words for words in lines if words and words[0] == "vrc"]


@cache
def generator() -> ModuleType:
    """docs/make_units.py, which is no package."""
    path = ROOT / "docs" / "make_units.py"
    spec = importlib.util.spec_from_file_location("make_units", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_units_is_what_the_contracts_say() -> None:
    written = (ROOT / "docs" / "units.md").read_text(encoding="utf-8")
    assert written == generator().page(), "run: python docs/make_units.py"


def test_the_table_of_units_names_every_field_of_every_message() -> None:
    sections = dict(re.findall(r"## `(\w+)`\n(.*?)(?=\n## |\Z)", generator().page(), re.DOTALL))
    common = generator().page().split("\n## `")[0]
    for name, message in MESSAGES.items():
        for field in [*message.model.model_fields, *message.marks.model_fields]:
            assert re.search(rf"\| \**{field}\** \|", common + sections[name]), f"{name}.{field}"


def test_every_setting_in_the_readme_exists() -> None:
    named = set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]+", README))
    assert named
    assert named <= {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}


def test_a_default_in_the_readme_is_the_settings_default() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(VRC_\w+)`[^|]*\| `([^`]+)` \|$", README, re.MULTILINE)
    assert rows
    for variable, default in rows:
        name = variable.removeprefix(ENV_PREFIX).lower()
        assert Settings.model_fields[name].default == default, variable


def test_every_command_in_the_readme_exists() -> None:
    assert commands_in(THERE)
    assert commands_in(THERE) <= set(COMMANDS)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_documentation_exists(path: Path) -> None:
    assert commands_in(path.read_text(encoding="utf-8")) <= set(COMMANDS)


def test_a_command_that_is_promised_for_later_is_not_there_yet() -> None:
    assert not commands_in(MISSING) & set(COMMANDS)


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_every_option_in_the_readme_is_one_of_its_command(words: list[str]) -> None:
    name = words[1]
    command: click.Command = getattr(importlib.import_module(COMMANDS[name][0]), name)
    if isinstance(command, click.Group):
        command = command.commands[words[2]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_endpoint_in_the_readme_exists() -> None:
    named = set(re.findall(r"`(GET|POST) (/[\w/{}-]+)`", THERE))
    assert named
    assert named <= endpoints()


def endpoints() -> set[tuple[str, str]]:
    """(method, path) of every router of the API."""
    found: set[tuple[str, str]] = set()
    for module in pkgutil.iter_modules(cloud.api.__path__):
        router: Any = getattr(importlib.import_module(f"cloud.api.{module.name}"), "router", None)
        for route in router.routes if router else ():
            found |= {(method, route.path) for method in getattr(route, "methods", ())}
    return found


def test_the_record_in_the_readme_is_valid_under_its_topic() -> None:
    (example,) = re.findall(r"-t (vrc/\S+) \\\n\s+-m \"(\{.*?\})\"\n", README)
    topic = parse_topic(example[0])
    text = example[1].replace('\\"', '"').replace("$(date +%s%N)", "1767225600000000000")
    record = {"source_id": topic.source_id, "subject_id": topic.source_id} | json.loads(text)
    checked = MESSAGES[topic.message].model.model_validate(record)
    assert checked.subject_id == topic.source_id


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    files = [target.split("#")[0] for target in targets if "://" not in target]
    missing = [name for name in files if name and not (path.parent / name).exists()]
    assert not missing


def test_decision_records_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))
