"""How a long-running process is set up: its memory, its search for cycles, its threads.

What a large group took goes back when the group is gone.

Measured with an edge of 100,000 vehicles at saturation: 220 MB at its peak instead of 267, at the
same CPU per record. glibc would keep an arena for each of a dozen threads and raise the size from
which it maps blocks apart up to 32 MB; Arrow's own pool keeps what it once had.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_ARENAS = 2
_TRIM_ABOVE_BYTES = 1_000_000
_MAP_FROM_BYTES = 262_144
"""Setting it fixes it. Smaller blocks are taken again at once by the next group."""


def use_frugal_allocators() -> None:
    """Call it once, before any thread. With another C library only Arrow's pool changes."""
    pa.set_memory_pool(pa.system_memory_pool())
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, _ARENAS)
    mallopt(_M_TRIM_THRESHOLD, _TRIM_ABOVE_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _MAP_FROM_BYTES)


COLLECT_EVERY_S = 60.0
_YOUNG, _MIDDLE, _NEVER = 100_000, 50, 1_000_000


def collect_rarely() -> None:
    """Call it once everything is loaded: cycles are looked for by the minute, not by allocation.

    Default thresholds cost a third of JSON decoding. Nothing here makes cycles in bulk, but a
    traceback or a library may, and what they hold can be large. What was loaded is left out of the
    search, so that one takes a few ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
    threading.Thread(target=_collect, name="collector", daemon=True).start()


def _collect() -> None:
    while True:
        time.sleep(COLLECT_EVERY_S)
        gc.collect()


_SWITCH_EVERY_S = 0.0005


def switch_threads_often() -> None:
    """A thread that comes back from disk or network waits half a ms for the interpreter, not five.

    The thread that commits gives the interpreter up some fifteen times a request; with Python's
    default each of them can cost the 5 ms that a busy thread (accounts, a checkpoint) may keep it.
    At half of the maximum rate that was 30 of 118 ms from published to stored; the additional
    switches do not show in the CPU time.
    """
    sys.setswitchinterval(_SWITCH_EVERY_S)
