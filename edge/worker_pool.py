"""The owner's side of the decoding workers: an intake whose deliveries come from processes.

Starts them, starts a dead one again, brings their streams into one order (edge/barrier.py) and
tells each which of its parcels are durable. A thread for each worker reads; the main loop drains.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from edge import parcel
from edge.barrier import Barrier, Mark
from edge.inbox import Delivery, Inbox
from edge.journal import BATCHES, PAYLOAD
from edge.parcel import Entry
from edge.sessions import read_sessions, write_sessions
from openvrc.contracts.errors import VrcError
from openvrc.settings import Settings

LOG = logging.getLogger("edge.workers")
RESTART_AFTER_S = 0.5
FENCE_EVERY_S = 1.0
"""A fence may be lost with a connection; one more does no harm."""
END_TIMEOUT_S = 10.0
MARKS: dict[int, Mark] = {parcel.JOINED: "joined", parcel.FENCE: "fenced"}


class WorkersError(VrcError):
    """The workers cannot do their work, and trying again will not help."""


@dataclass(eq=False)
class _Process:
    """One life of a worker."""

    number: int
    popen: subprocess.Popen[bytes]
    socket: socket.socket
    pipe: Pipe
    speaking: threading.Lock = field(default_factory=threading.Lock)

    def hang_up(self) -> None:
        """Both sides read the end. Closing would not do: a thread waits in the pipe."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def say(self, word: object) -> None:
        with self.speaking, suppress(OSError):  # it has died; its reader finds out
            self.pipe.send_bytes(json.dumps(word).encode())


@dataclass(eq=False)
class _Parcel:
    """What a worker sent at once: confirmed when nothing of it is left to do."""

    process: _Process
    number: int
    n_left: int


Step = tuple[Entry, _Parcel]


class WorkerPool:
    """An intake (see the port in `edge/intake.py`) of `edge_workers` processes."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """`folder` keeps what is known of the sessions at the broker."""
        self._settings, self._folder = settings, folder
        self._n_workers = settings.edge_workers
        known = read_sessions(folder)
        self._was_fenced = known.is_fenced
        self._barrier: Barrier[Step] = Barrier(self._n_workers, are_fenced=known.is_fenced)
        self._inbox = Inbox(settings.edge_queue_messages)
        self._lock = threading.RLock()
        self._processes: dict[int, _Process] = {}
        self._stopping = threading.Event()
        self._problem = ""
        self._fence_due_s = 0.0

    @property
    def queued_messages(self) -> int:
        """How many parcels' parts wait for the main loop."""
        return self._inbox.n_messages

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [process.popen.pid for process in list(self._processes.values())]

    def start(self) -> None:
        """Start all workers."""
        for number in range(self._n_workers):
            self._begin(number)

    def stop(self) -> None:
        """End all workers; what is not acknowledged comes again."""
        self._stopping.set()
        processes = list(self._processes.values())
        for process in processes:
            process.hang_up()
        for process in processes:
            try:
                process.popen.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()

    def stop_reading(self) -> None:
        """Take nothing more in, but stay connected for acknowledgements."""
        for process in list(self._processes.values()):
            process.say("stop_reading")

    def drain(self, wait_s: float, gather_s: float, most: int, most_bytes: int) -> list[Delivery]:
        """What has come; nothing is gathered here, the workers have done that.

        Raises WorkersError.
        """
        del gather_s
        self._look_after_the_fence()
        if self._problem:
            raise WorkersError(self._problem)
        found: list[Delivery] = []
        n_messages = 0
        while n_messages < most:
            got = self._inbox.take(0.0 if found else wait_s, 0.0, 1, most_bytes)
            if not got:
                break
            found += got
            n_messages += got[0].n_messages
            most_bytes -= len(got[0].payload)
            if most_bytes <= 0:
                break
        return found

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the workers what is durable; a worker that has died meanwhile is not told."""
        for delivery in deliveries:
            self._count_down(delivery.ticket)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish by any worker with QoS 0."""
        process = next(iter(self._processes.values()), None)
        if process is not None:
            process.say([topic, payload.decode()])

    def _begin(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-m", "edge.worker", str(theirs.fileno()), str(number)]
        popen = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        process = _Process(number, popen, ours, Pipe(os.dup(ours.fileno())))
        self._processes[number] = process
        process.pipe.send_bytes(self._settings.model_dump_json().encode())
        name = f"worker {number}"
        threading.Thread(target=self._read, args=(process,), name=name, daemon=True).start()

    def _read(self, process: _Process) -> None:
        """A worker's parcels until it dies; then start it again."""
        with suppress(EOFError, OSError):
            while True:
                self._take_in(process, process.pipe.recv_bytes())
        with self._lock:
            self._barrier.lost(process.number)
        process.hang_up()
        code = process.popen.wait()
        with process.speaking:
            process.pipe.close()
            process.socket.close()
        if self._stopping.is_set():
            return
        LOG.warning("worker %d ended with %d, starting it again", process.number, code)
        if not self._stopping.wait(RESTART_AFTER_S):
            self._begin(process.number)

    def _take_in(self, process: _Process, data: bytes) -> None:
        number, entries = parcel.read(data)
        mine = _Parcel(process, number, len(entries) + 1)
        with self._lock:
            for entry in entries:
                self._add(process.number, entry, mine)
            for (entry, its), is_effective in self._barrier.take():
                self._hand_on(entry, its, is_effective=is_effective)
        self._count_down(mine)

    def _add(self, number: int, entry: Entry, mine: _Parcel) -> None:
        barrier = self._barrier
        if entry.kind == parcel.UP:
            barrier.up(number, is_resumed=bool(entry.at_ns))
        elif entry.kind == parcel.PROBLEM:
            self._problem = entry.text
        barrier.add(number, (entry, mine), _key(entry), MARKS.get(entry.kind))

    def _hand_on(self, entry: Entry, its: _Parcel, *, is_effective: bool) -> None:
        is_news = entry.kind in (parcel.UP, parcel.JOINED, parcel.FENCE, parcel.PROBLEM)
        if is_news or not is_effective:
            self._count_down(its)
            return
        kind = BATCHES if entry.kind == parcel.BATCH else PAYLOAD
        self._inbox.put(
            Delivery(
                entry.text,
                entry.payload,
                entry.at_ns,
                its,
                its.process,
                kind=kind,
                n_messages=entry.n_messages,
            )
        )

    def _count_down(self, its: _Parcel) -> None:
        with self._lock:
            its.n_left -= 1
            is_done = not its.n_left
        if is_done:
            its.process.say(its.number)

    def _look_after_the_fence(self) -> None:
        with self._lock:
            is_fenced, has_joined = self._barrier.are_all_fenced, self._barrier.have_all_joined
        if is_fenced != self._was_fenced:
            self._was_fenced = is_fenced
            write_sessions(self._folder, self._n_workers, is_fenced=is_fenced)
        if is_fenced or not has_joined or time.monotonic() < self._fence_due_s:
            return
        self._fence_due_s = time.monotonic() + FENCE_EVERY_S
        process = next(iter(self._processes.values()), None)
        if process is not None:
            process.say("fence")


def _key(entry: Entry) -> bytes | None:
    """The same for every worker's copy of a driver's word: it tells its time of publication."""
    if entry.kind != parcel.CONTROL:
        return None
    return blake2b(entry.payload, key=entry.text.encode()[:64], digest_size=16).digest()
