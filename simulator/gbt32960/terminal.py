"""One vehicle's terminal: when it reports, what it stores, when it tries again. Pure.

| rule (annex B) | 2016 | 2025 |
|---|---|---|
| report | every 30 s | every 30 s |
| alarm of level 3, 4 | 30 s before as re-issue, 30 s after at 1 s | the same, until it clears |
| link lost | store; re-issue when there is time; 3 days | the same; 7 days |
| login not answered | 3 tries after 1 min each, then 30 min pause | after 3 min each |
| report answered with an error | again after 1 min, 3 times | the same |

The caller gives samples and time, tells of the connection, and sends what `due` hands out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from openvrc.contracts.gbt32960 import encode
from openvrc.contracts.gbt32960.frame import head_of
from openvrc.contracts.gbt32960.marks import LIVE, SIMULATED_ICCID
from openvrc.contracts.gbt32960.message import read
from openvrc.contracts.gbt32960.units import REPORTS, Command, Edition, Response
from openvrc.contracts.units import NS_PER_S

Record = Mapping[str, Any]
State = Literal["offline", "logging_in", "online", "pausing"]

PERIOD_NS = 30 * NS_PER_S
SAMPLE_NS = NS_PER_S
WINDOW_NS = 30 * NS_PER_S
ALARM_LEVEL = 3
STORE_NS = {Edition.Y2016: 3 * 86_400 * NS_PER_S, Edition.Y2025: 7 * 86_400 * NS_PER_S}
LOGIN_WAIT_NS = {Edition.Y2016: 60 * NS_PER_S, Edition.Y2025: 180 * NS_PER_S}
MAX_TRIES = 3
PAUSE_NS = 1800 * NS_PER_S
RESEND_NS = 60 * NS_PER_S
BACK_FILL_AT_ONCE = 20
"""Stored reports that go out at a time, so that live ones are not held up."""
REMEMBERED = 40
"""Reports sent lately, of which an error may still come: more than a minute at one a second."""


@dataclass
class Sent:
    """One report that may still be answered with an error."""

    at_ns: int
    frame: bytes
    tries: int = 1
    again_at_ns: int = 0
    """When to send it again; 0 while nobody complained."""


class Terminal:
    """See the module's text."""

    def __init__(
        self, vin: str, edition: Edition = Edition.Y2016, *, mark: tuple[str, str] = LIVE
    ) -> None:
        """`mark` is (run_id, origin) of what is simulated."""
        self.vin, self.edition, self._mark = vin, edition, mark
        self.state: State = "offline"
        self.stored: deque[tuple[int, bytes]] = deque()
        """(time, frame) of what waits to be re-issued, oldest first."""
        self.given_up = 0
        """Reports outlived in the store, or refused three times."""
        self._recent: deque[tuple[int, Record, Record | None]] = deque()
        """Samples of the last 30 s that were not reported."""
        self._sent: deque[Sent] = deque(maxlen=REMEMBERED)
        self._out: list[bytes] = []
        self._serial = 0
        self._tries = 0
        self._login_due_ns = 0
        self._reported_ns: int | None = None
        self._sampled_ns: int | None = None
        self._alarm_ns: int | None = None

    def sample(self, battery: Record, motion: Record | None, now_ns: int) -> None:
        """What is true now; called at least once a second, kept for the alarm's window."""
        if self._sampled_ns is not None and now_ns - self._sampled_ns < SAMPLE_NS:
            return
        self._sampled_ns = now_ns
        is_due = self._reported_ns is None or now_ns - self._reported_ns >= PERIOD_NS
        while self._recent and self._recent[0][0] < now_ns - WINDOW_NS:
            self._recent.popleft()
        if self._is_in_alarm(battery, now_ns) or is_due:
            self._report(battery, motion, now_ns)
        else:
            self._recent.append((now_ns, battery, motion))

    def _is_in_alarm(self, battery: Record, now_ns: int) -> bool:
        """Whether every second is reported; at its onset what was before goes out as well."""
        is_alarm = (battery.get("bms_alarm_level") or 0) >= ALARM_LEVEL
        if is_alarm and self._alarm_ns is None:
            self._alarm_ns = now_ns
            for at_ns, before, motion in self._recent:
                self._store(at_ns, self._frame(Command.REISSUE, before, motion, at_ns))
        if self._alarm_ns is None:
            return False
        is_within = now_ns - self._alarm_ns <= WINDOW_NS
        goes_on = is_alarm if self.edition is Edition.Y2025 else is_within
        if not goes_on and not is_alarm:
            self._alarm_ns = None  # the next onset is another alarm
        return goes_on

    def _report(self, battery: Record, motion: Record | None, now_ns: int) -> None:
        self._reported_ns = now_ns
        if self.state != "online":
            self._store(now_ns, self._frame(Command.REISSUE, battery, motion, now_ns))
            return
        frame = self._frame(Command.REALTIME, battery, motion, now_ns)
        self._out.append(frame)
        self._sent.append(Sent(now_ns, frame))

    def _store(self, at_ns: int, frame: bytes) -> None:
        self.stored.append((at_ns, frame))
        oldest_ns = max(at for at, _ in (self.stored[0], self.stored[-1]))
        while self.stored and self.stored[0][0] < oldest_ns - STORE_NS[self.edition]:
            self.stored.popleft()
            self.given_up += 1

    def _frame(self, command: Command, battery: Record, motion: Record | None, at_ns: int) -> bytes:
        bodies = encode.battery_bodies(battery, self.edition)
        if motion is not None:
            bodies.append(encode.position_body(motion, self.edition))
        said = {**battery, "sampled_at_ns": at_ns}
        return encode.moment_frames(self.edition, command, self.vin, said, bodies, self._mark)

    def connected(self, now_ns: int) -> None:
        """The socket is open: log in."""
        self.state, self._tries = "logging_in", 0
        self._log_in(now_ns)

    def _log_in(self, now_ns: int) -> None:
        self._tries += 1
        self._serial = self._serial % 65_531 + 1
        self._login_due_ns = now_ns + LOGIN_WAIT_NS[self.edition]
        said = {"sampled_at_ns": now_ns}
        iccid = "0" * 20 if self._mark == LIVE else SIMULATED_ICCID.decode()
        self._out.append(encode.login(self.edition, self.vin, said, self._serial, iccid))

    def lost(self) -> None:
        """The socket is gone: what was not answered is not known to have come."""
        self.state = "offline"
        self._out.clear()

    def log_out(self, now_ns: int) -> None:
        """Say goodbye with the serial of the login."""
        if self.state == "online":
            tree = {"sampled_at_ns": now_ns}
            self._out.append(encode.logout(self.edition, self.vin, tree, self._serial))

    def answered(self, frame: bytes, now_ns: int) -> None:
        """A reply of the platform."""
        head = head_of(frame)
        if head.command == Command.VEHICLE_LOGIN and self.state == "logging_in":
            if head.response == Response.SUCCESS:
                self.state = "online"
        elif head.command in REPORTS and head.response != Response.SUCCESS:
            at_ns = read(frame).time_ns
            for sent in self._sent:
                if sent.at_ns // NS_PER_S * NS_PER_S == at_ns and not sent.again_at_ns:
                    sent.again_at_ns = now_ns + RESEND_NS

    def due(self, now_ns: int) -> list[bytes]:
        """Frames to be sent now, in order: login, what was stored, what is live."""
        if self.state == "logging_in" and now_ns >= self._login_due_ns:
            if self._tries < MAX_TRIES:
                self._log_in(now_ns)
            else:
                self.state, self._login_due_ns = "pausing", now_ns + PAUSE_NS
        elif self.state == "pausing" and now_ns >= self._login_due_ns:
            self.connected(now_ns)
        out, self._out = self._out, []
        if self.state != "online":
            return out
        self._resend(now_ns, out)
        for _ in range(min(BACK_FILL_AT_ONCE, len(self.stored))):
            at_ns, frame = self.stored.popleft()
            out.append(frame)
            self._sent.append(Sent(at_ns, frame))
        return out

    def _resend(self, now_ns: int, out: list[bytes]) -> None:
        for sent in self._sent:
            if sent.again_at_ns and now_ns >= sent.again_at_ns:
                sent.again_at_ns = 0
                if sent.tries > MAX_TRIES:
                    continue
                sent.tries += 1
                if sent.tries > MAX_TRIES:
                    self.given_up += 1
                out.append(sent.frame)
