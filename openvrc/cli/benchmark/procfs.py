"""What processes cost, from Linux's /proc: CPU seconds with all descendants, resident memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from openvrc.contracts.errors import VrcError

PROC = Path("/proc")
BYTES_PER_MB = 1e6
_PPID, _UTIME, _CSTIME = 1, 11, 14
"""Fields of `stat` behind the name, from 0 (proc(5) counts from 1 with two more before)."""


class ProcError(VrcError):
    """The system has no /proc, or a process that is measured has ended."""


def parse_stat(text: str) -> tuple[int, int]:
    """Parent's id and clock ticks of CPU (own and of children waited for) of a `stat` line.

    >>> parse_stat("7 (a) b) S 3 0 0 0 0 0 0 0 0 0 50 20 4 1 20 0")
    (3, 75)
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[_PPID]), sum(int(field) for field in fields[_UTIME : _CSTIME + 1])


def cpu_s(pids: Mapping[str, int], *, proc: Path = PROC) -> dict[str, float]:
    """CPU seconds of each named process and its descendants so far.

    A child that has ended is in its parent's count, so the sum never falls. Raises ProcError.
    """
    ticks, children = _scan(proc)
    per_s = os.sysconf("SC_CLK_TCK")
    return {
        name: sum(ticks[p] for p in _tree(pid, name, ticks, children)) / per_s
        for name, pid in pids.items()
    }


def rss_mb(pids: Mapping[str, int], *, proc: Path = PROC) -> dict[str, float]:
    """Resident memory of each process and its descendants, in 10^6 bytes.

    For one process its peak. For several (a database's backends) the sum of the present shares,
    so that a page that all of them map counts once. Raises ProcError.
    """
    ticks, children = _scan(proc)
    found = {}
    for name, pid in pids.items():
        tree = _tree(pid, name, ticks, children)
        if len(tree) == 1:
            found[name] = _kb(proc / str(pid) / "status", "VmHWM") * 1024 / BYTES_PER_MB
        else:
            kb = sum(_kb(proc / str(member) / "smaps_rollup", "Pss") for member in tree)
            found[name] = kb * 1024 / BYTES_PER_MB
    return found


def rss_now_mb(pids: Mapping[str, int], *, proc: Path = PROC) -> dict[str, float]:
    """Resident memory now, in 10^6 bytes: the sum of the shares of a process and its descendants.

    Raises ProcError.
    """
    ticks, children = _scan(proc)
    return {
        name: sum(
            _kb(proc / str(member) / "smaps_rollup", "Pss")
            for member in _tree(pid, name, ticks, children)
        )
        * 1024
        / BYTES_PER_MB
        for name, pid in pids.items()
    }


def _scan(proc: Path) -> tuple[dict[int, int], dict[int, list[int]]]:
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for path in proc.glob("[0-9]*/stat"):
        try:
            parent, ticks[int(path.parent.name)] = parse_stat(path.read_text())
        except OSError:
            continue  # it ended while we looked
        children.setdefault(parent, []).append(int(path.parent.name))
    if not ticks:
        raise ProcError(f"{proc} lists no processes; CPU is measured on Linux only")
    return ticks, children


def _tree(
    pid: int, name: str, ticks: Mapping[int, int], children: Mapping[int, list[int]]
) -> list[int]:
    if pid not in ticks:
        raise ProcError(f"{name} (process {pid}) has ended while it was measured")
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def _kb(path: Path, name: str) -> int:
    """The value of a `Name:   123 kB` line; 0 for a process that has just ended."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    values = [line.split() for line in lines if line.startswith(f"{name}:")]
    return int(values[0][1]) if values else 0
