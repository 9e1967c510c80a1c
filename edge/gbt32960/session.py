"""One connection's conversation: frames in, replies and deliveries out. Pure: no socket, no clock.

| command | answer | goes on to the edge |
|---|---|---|
| vehicle login | success; a bad one is ignored (6.3.2) | yes |
| report, re-issue | none if valid (6.3.2), else an error | yes, bad ones too |
| vehicle logout | success | yes |
| platform login, logout | success; a wrong password is ignored | no: it holds a password |
| heartbeat | success, no unit | no |
| time calibration | success with our time | no |
| key exchange (2025) | success for AES and SM4 keys, else an error | refused ones |
| activation (2025) | activation reply: succeeded or failed | refused ones |
| query, set, control | error: they go down to terminals | as refused |
| answer to our query | none | yes |
| others | error | yes: the codec says why not |
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from edge.gbt32960.activation import activation_problem, activation_reply
from edge.gbt32960.rules import Outcome, Rules
from edge.gbt32960.vault import KEY_BYTES, SecretError, Vault
from openvrc.contracts.codecs.refused_codec import write_refused
from openvrc.contracts.gbt32960 import beijing
from openvrc.contracts.gbt32960 import message as messages
from openvrc.contracts.gbt32960.frame import HEAD_BYTES, Garbage, Head, build, head_of, is_vin
from openvrc.contracts.gbt32960.parameters import REPORT_PERIOD
from openvrc.contracts.gbt32960.units import (
    FROM_PLATFORMS,
    REPORTS,
    TIME,
    Command,
    Edition,
    Encryption,
    Response,
    command_name,
)
from openvrc.contracts.reasons import Reason

UNKNOWN = "unknown"
"""Sender of bytes that name no vehicle."""
MAX_HELD_BYTES = 200_000
"""Parts of one moment's list: a pack of 1000 cells takes six frames of 2 KB."""
_ERRORS_2025 = {
    Reason.BAD_VIN: Response.VIN_UNKNOWN,
    Reason.BAD_SIGNATURE: Response.SIGNATURE_ERROR,
    Reason.ENCRYPTED: Response.DECRYPTION_ERROR,
    Reason.TRUNCATED: Response.STRUCTURE_ERROR,
    Reason.UNKNOWN_BODY: Response.STRUCTURE_ERROR,
}


class Session:
    """The state of one connection."""

    def __init__(self, rules: Rules, vault: Vault) -> None:
        self._rules, self._vault = rules, vault
        self.vehicles: dict[str, int] = {}
        """Vehicles that are logged in, with the serial of their login."""
        self.platform = ""
        self.is_known = False
        """Whether anybody has logged in yet."""
        self._logins = 0
        self._garbage_bytes = 0
        self._own_keys: dict[int, bytes] = {}
        self._held: bytes = b""
        self._held_of: tuple[bytes, int | None] = (b"", None)

    @property
    def holds_a_part(self) -> bool:
        """Whether a list waits for its rest."""
        return bool(self._held)

    def forget(self, vin: str) -> None:
        """The vehicle has logged in elsewhere."""
        self.vehicles.pop(vin, None)

    def on_garbage(self, piece: Garbage) -> Outcome:
        """Bytes without a frame: told once, and too many of them end the connection."""
        source = next(iter(self.vehicles), UNKNOWN) if len(self.vehicles) == 1 else UNKNOWN
        outcome = self.flush()
        outcome.deliveries.append((source, "refused", _refused(piece)))
        outcome.refused = piece.reason
        self._garbage_bytes += len(piece.data)
        if self._garbage_bytes > self._rules.max_garbage_bytes or not self.is_known:
            outcome.close = f"{self._garbage_bytes} bytes without a frame"
        return outcome

    def on_frame(self, frame: bytes, now_ns: int) -> Outcome:
        """A frame whose check byte holds."""
        self._garbage_bytes = 0
        head = head_of(frame)
        if head.response != Response.COMMAND:
            return self._on_reply(frame, head)
        if head.command not in _NAMELESS and not is_vin(head.vin):
            return self._refuse(frame, head, Reason.BAD_VIN, f"VIN is {head.vin!r}")
        if head.encryption != Encryption.NONE:
            try:
                frame = self._decrypted(frame, head)
            except SecretError as error:
                return self._refuse(frame, head, Reason.ENCRYPTED, str(error))
        if head.command in REPORTS:
            return self._on_report(frame, head)
        outcome = self.flush()
        act: Callable[[Session, bytes, Head, int, Outcome], None] = _ACTS.get(
            head.command, Session._on_other
        )
        act(self, frame, head, now_ns, outcome)
        return outcome

    def flush(self) -> Outcome:
        """Hand on what waits for a part that did not come."""
        outcome = Outcome()
        if self._held:
            outcome.deliveries.append((self._held_of[0].decode(), "gbt32960", self._held))
            self._held, self._held_of = b"", (b"", None)
        return outcome

    def _decrypted(self, frame: bytes, head: Head) -> bytes:
        unit = frame[HEAD_BYTES:-1]
        plain = self._vault.decrypt(unit, head.encryption, head.vin, self._own_keys)
        return build(head.edition, head.command, head.vin, plain)

    def _on_report(self, frame: bytes, head: Head) -> Outcome:
        if self._rules.needs_login and not self.platform and head.vin not in self.vehicles:
            text = f"{head.vin} has not logged in on this connection"
            return self._refuse(frame, head, Reason.NOT_LOGGED_IN, text)
        check = messages.check_report(frame)
        if (problem := self._signature_problem(frame, head, check)) is not None:
            return self._refuse(frame, head, Reason.BAD_SIGNATURE, problem)
        outcome = self._joined(frame, check)
        bad = Reason.BAD_TIME if check.time_ns is None else None
        bad = check.stop.reason if check.stop is not None else bad
        if bad is not None:  # the codec keeps what can be read and says what cannot
            outcome.reply, outcome.refused = _error(frame, head, bad), bad
        return outcome

    def _on_reply(self, frame: bytes, head: Head) -> Outcome:
        """It must not be answered; what a terminal says of its parameters goes on."""
        outcome = Outcome()
        is_known = head.response == Response.SUCCESS and head.unit_bytes > TIME.width
        if (
            head.command == Command.QUERY
            and is_known
            and (self.platform or head.vin in self.vehicles)
        ):
            outcome = self.flush()
            outcome.deliveries.append((head.vin, "gbt32960", frame))
        return outcome

    def _joined(self, frame: bytes, check: messages.Check) -> Outcome:
        """Frames of one moment go on in one payload, so that their lists come together."""
        mine = (frame[4:21], check.time_ns)
        outcome = Outcome() if self._held and self._held_of == mine else self.flush()
        self._held, self._held_of = self._held + frame, mine
        if not check.is_part or len(self._held) > MAX_HELD_BYTES:
            outcome.deliveries += self.flush().deliveries
        return outcome

    def _signature_problem(self, frame: bytes, head: Head, check: messages.Check) -> str | None:
        signature = check.signature
        if signature is None:
            asked = self._rules.needs_signature and head.edition is Edition.Y2025
            return "no signature, expected one in every report" if asked else None
        try:
            holds = self._vault.verify(
                frame[HEAD_BYTES : signature.offset], signature.tree, head.vin
            )
        except SecretError as error:
            return str(error) if self._rules.needs_signature else None
        if holds is None and self._rules.needs_signature:
            return f"no public key of {head.vin} to check its signature with"
        return "signature does not fit the data unit" if holds is False else None

    def _on_login(self, frame: bytes, head: Head, now_ns: int, outcome: Outcome) -> None:
        outcome.deliveries.append((head.vin, "gbt32960", frame))
        self._logins += 1
        limit = self._rules.max_vehicles
        if not self.platform and self._logins > self._rules.max_logins:
            outcome.close = f"{self._logins} logins on one connection"
            return
        message = messages.read(frame)
        if message.stop is not None or message.time_ns is None:
            return  # a bad login is ignored
        if not self.platform and head.vin not in self.vehicles and len(self.vehicles) >= limit:
            outcome.close = f"more than {limit} vehicles on a connection that is no platform's"
            return
        self.vehicles[head.vin] = message.tree["serial"]
        self.is_known = True
        outcome.logged_in = head.vin
        outcome.reply = messages.reply(frame, Response.SUCCESS)
        if self._rules.asks_period:
            asked = {"time": beijing.to_bytes(now_ns), "parameters": [REPORT_PERIOD]}
            outcome.reply += messages.command(head.edition, Command.QUERY, head.vin, asked)

    def _on_logout(self, frame: bytes, head: Head, _now_ns: int, outcome: Outcome) -> None:
        outcome.deliveries.append((head.vin, "gbt32960", frame))
        if messages.read(frame).stop is None and self.vehicles.pop(head.vin, None) is not None:
            outcome.logged_out = head.vin
            outcome.reply = messages.reply(frame, Response.SUCCESS)
        else:
            outcome.reply = messages.reply(frame, Response.ERROR)

    def _on_platform_login(self, frame: bytes, _h: Head, _now_ns: int, outcome: Outcome) -> None:
        message = messages.read(frame)
        self._logins += 1
        if self._logins > self._rules.max_logins:
            outcome.close = f"{self._logins} logins on one connection"
            return
        if message.stop is not None:
            return
        user, password = (
            message.tree[name].rstrip(b"\0 ").decode("latin-1") for name in ("user", "password")
        )
        expected = self._rules.users.get(user)
        if expected is not None and hmac.compare_digest(expected.encode(), password.encode()):
            self.platform, self.is_known = user, True
            outcome.reply = messages.reply(frame, Response.SUCCESS)

    def _on_platform_logout(self, frame: bytes, _h: Head, _now_ns: int, outcome: Outcome) -> None:
        flag = Response.SUCCESS if self.platform else Response.ERROR
        self.platform = ""
        outcome.reply = messages.reply(frame, flag)

    def _on_heartbeat(self, frame: bytes, _h: Head, _now_ns: int, outcome: Outcome) -> None:
        outcome.reply = messages.reply(frame, Response.SUCCESS)

    def _on_calibration(self, frame: bytes, _h: Head, now_ns: int, outcome: Outcome) -> None:
        outcome.reply = messages.reply(frame, Response.SUCCESS, time_ns=now_ns)

    def _on_key(self, frame: bytes, head: Head, _now_ns: int, outcome: Outcome) -> None:
        problem = self._key_problem(messages.read(frame))
        if problem is None:
            outcome.reply = messages.reply(frame, Response.SUCCESS)
        else:
            self._refuse_into(outcome, frame, head, Reason.ENCRYPTED, problem)
            outcome.reply = messages.reply(frame, Response.ERROR)

    def _key_problem(self, message: messages.Message) -> str | None:
        """Take a key for this connection; why not, else."""
        if message.stop is not None:
            return message.stop.detail
        if not self.is_known:
            return "a key before a login"
        kind, key = message.tree["kind"], message.tree["key"]
        if kind not in (Encryption.AES, Encryption.SM4):
            return f"a key of kind {kind:02X} is not taken, expected AES or SM4"
        if len(key) != KEY_BYTES:
            return f"a key of {len(key)} bytes, expected {KEY_BYTES}"
        self._own_keys[kind] = key
        return None

    def _on_activation(self, frame: bytes, head: Head, _now_ns: int, outcome: Outcome) -> None:
        problem = activation_problem(messages.read(frame), self._vault)
        if problem is not None:
            self._refuse_into(outcome, frame, head, Reason.BAD_SIGNATURE, problem)
        outcome.reply = activation_reply(head, problem)

    def _on_downward(self, frame: bytes, head: Head, _now_ns: int, outcome: Outcome) -> None:
        text = f"{command_name(head.command)} goes from a platform to terminals, not to a server"
        self._refuse_into(outcome, frame, head, Reason.UNKNOWN_COMMAND, text)

    def _on_other(self, frame: bytes, head: Head, _now_ns: int, outcome: Outcome) -> None:
        outcome.deliveries.append((head.vin if is_vin(head.vin) else UNKNOWN, "gbt32960", frame))
        outcome.reply = messages.reply(frame, Response.ERROR)

    def _refuse_into(
        self, outcome: Outcome, frame: bytes, head: Head, reason: Reason, detail: str
    ) -> None:
        source = head.vin if is_vin(head.vin) else UNKNOWN
        kept = frame[:HEAD_BYTES] if head.command in _SECRET else frame
        outcome.deliveries.append((source, "refused", write_refused(reason, detail, kept)))
        outcome.reply, outcome.refused = _error(frame, head, reason), reason

    def _refuse(self, frame: bytes, head: Head, reason: Reason, detail: str) -> Outcome:
        outcome = self.flush()
        self._refuse_into(outcome, frame, head, reason, detail)
        if head.command == Command.VEHICLE_LOGIN:
            outcome.reply = b""  # a bad login is ignored
            self._logins += 1
            if self._logins > self._rules.max_logins:
                outcome.close = f"{self._logins} logins on one connection"
        return outcome


_NAMELESS = (Command.PLATFORM_LOGIN, Command.PLATFORM_LOGOUT, Command.HEARTBEAT)
"""Commands that a platform may give, whose id is no VIN."""
_SECRET = (Command.PLATFORM_LOGIN, Command.EXCHANGE_KEY)
"""Commands whose units are kept nowhere."""
_ACTS: dict[int, Callable[[Session, bytes, Head, int, Outcome], None]] = {
    Command.VEHICLE_LOGIN: Session._on_login,
    Command.VEHICLE_LOGOUT: Session._on_logout,
    Command.PLATFORM_LOGIN: Session._on_platform_login,
    Command.PLATFORM_LOGOUT: Session._on_platform_logout,
    Command.HEARTBEAT: Session._on_heartbeat,
    Command.CALIBRATE_TIME: Session._on_calibration,
    Command.EXCHANGE_KEY: Session._on_key,
    Command.ACTIVATE: Session._on_activation,
    **dict.fromkeys(FROM_PLATFORMS, Session._on_downward),
}


def _refused(piece: Garbage) -> bytes:
    return write_refused(piece.reason, piece.detail, piece.data)


def _error(frame: bytes, head: Head, reason: Reason) -> bytes:
    """An error in the words of the frame's edition."""
    is_old = head.edition is Edition.Y2016
    flag = Response.ERROR if is_old else _ERRORS_2025.get(reason, Response.ERROR)
    return messages.reply(frame, flag)
