"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "openvrc",
    "gmqtt",
    "paho-mqtt",
    "pydantic",
    "pyarrow",
    "numpy",
    "psycopg",
    "fastapi",
    "uvicorn",
)


def machine_facts() -> dict[str, str]:
    """Processor, system, versions, date and the load before the measurement."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "load_before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def load_now() -> str:
    """The system's load averages: what else ran shows here."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
