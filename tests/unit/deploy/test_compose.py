"""The compose stack: valid against the Compose specification, every secret asked for, healthy."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_file_is_valid_against_the_compose_specification() -> None:
    schema = json.loads(
        files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    )
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = COMPOSE | {"services": {"cloud": {"imagee": "x"}}}
    assert list(validator.iter_errors(broken)), "the schema refuses nothing"


def test_the_stack_has_every_part_of_the_platform() -> None:
    assert set(SERVICES) >= {
        "broker", "database", "cloud", "edge", "simulator", "prometheus", "grafana",
    }  # fmt: skip


def test_every_secret_is_asked_for_and_named_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    named = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked <= named
    assert not re.search(r"PASSWORD: [a-z0-9]+$", text, re.MULTILINE), "a password in the file"


@pytest.mark.parametrize("name", ["broker", "database", "cloud", "prometheus", "grafana"])
def test_a_server_others_wait_for_has_a_healthcheck(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_every_mounted_file_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source


def test_our_parts_run_without_privileges() -> None:
    for name in ("cloud", "edge", "simulator"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(stages) == 3  # the page's Node and the installer stay out of the last one
    assert stages[-1].startswith("python:")


def test_prometheus_asks_parts_that_are_there_on_ports_they_listen_on() -> None:
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {t for job in scraped for config in job["static_configs"] for t in config["targets"]}
    listening = {
        f"cloud:{SERVICES['cloud']['environment']['VRC_CLOUD_PORT']}",
        f"edge:{SERVICES['edge']['environment']['VRC_EDGE_METRICS_PORT']}",
    }
    assert targets == listening
    assert SERVICES["edge"]["environment"]["VRC_EDGE_METRICS_HOST"] == "0.0.0.0"
    assert "ports" not in SERVICES["edge"]
