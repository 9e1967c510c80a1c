"""What a server at the edge would not take: one payload, one reject with the server's reason.

A server of a foreign protocol (TCP) judges what no codec can: whether a vehicle has logged in, a
signature fits, bytes are a frame at all. It hands such bytes on as `refused`, so that they are
counted and kept as dead letters like any other. Payload: reason, detail, then the bytes, the
first two each ended by a newline.
"""

from __future__ import annotations

from collections.abc import Sequence

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Decoded, Reject
from openvrc.contracts.errors import ContractError
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic

KEPT_BYTES = 4096
_REASONS = {str(reason): reason for reason in Reason}


def write_refused(reason: Reason, detail: str, data: bytes) -> bytes:
    r"""The payload.

    >>> write_refused(Reason.NOT_LOGGED_IN, "no login", b"##")
    b'not_logged_in\nno login\n##'
    """
    line = detail.replace("\n", " ")[:500].encode("utf-8", "replace")
    return str(reason).encode() + b"\n" + line + b"\n" + data[:KEPT_BYTES]


class RefusedCodec:
    """Reads to rejects only; carries no message."""

    name = "refused"
    content_type = "application/octet-stream"
    messages: tuple[str, ...] = ()

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:  # noqa: ARG002 (the port's)
        """One reject; a payload without a known reason is refused for that."""
        word, _, rest = payload.partition(b"\n")
        detail, _, data = rest.partition(b"\n")
        reason = _REASONS.get(word.decode("ascii", "replace"))
        text = detail.decode("utf-8", "replace")
        if reason is None:
            reason, text, data = Reason.WRONG_TYPE, "payload begins with no known reason", payload
        reject = Reject(reason, text, topic.source_id, payload=data[:KEPT_BYTES], is_whole=True)
        return Decoded(rejects=(reject,))

    def encode(self, batch: Batch) -> bytes:
        """Raises ContractError: there is no record in what was refused."""
        raise ContractError("message", batch.message, "nothing: refused bytes hold no records")

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:  # noqa: ARG002 (the port's)
        """See `encode`."""
        return [self.encode(batch)]


PLUGIN = RefusedCodec()
