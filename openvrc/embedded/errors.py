"""What can go wrong when an embedded server is started or stopped."""

from pathlib import Path


class EmbeddedServerError(RuntimeError):
    """A server of ours did not start, did not get ready or was refused.

    Attributes:
        server: which one, for example "mosquitto".
        log_path: its log file, if it has written one.
        log_tail: the log's last lines, oldest first.
    """

    def __init__(
        self, server: str, reason: str, *, log_path: Path | None = None, log_tail: str = ""
    ) -> None:
        self.server = server
        self.log_path = log_path
        self.log_tail = log_tail
        message = f"{server}: {reason}"
        if log_tail:
            message += f"\nlast lines of {log_path}:\n{log_tail}"
        super().__init__(message)


class PortTakenError(EmbeddedServerError):
    """Somebody else listens on the port; with an ephemeral port another one is tried."""
