"""Activation of a vehicle's security chip (2025, annex B.3.5.5): whether it is to be believed.

The message brings the chip's public key and is signed by it, so its signature alone proves only
that the sender has that key. It succeeds if the signature holds under the key that the operator has
registered for the vehicle (`sign_public_pem` in the keys file).
"""

from __future__ import annotations

from edge.gbt32960.vault import SecretError, Vault
from openvrc.contracts.gbt32960 import message as messages
from openvrc.contracts.gbt32960.frame import HEAD_BYTES, Head
from openvrc.contracts.gbt32960.message import Message
from openvrc.contracts.gbt32960.units import Command

SUCCEEDED, FAILED, FINE = 1, 2, 0
_LENGTHS_BYTES = 5
"""Algorithm and the two lengths of a signature."""


def activation_problem(message: Message, vault: Vault) -> str | None:
    """Why an activation fails; None if it succeeds."""
    if message.stop is not None:
        return message.stop.detail
    tree, vin = message.tree, message.head.vin
    named = tree["vin"].decode("latin-1")
    if named != vin:
        return f"it activates {named!r}, expected the frame's own {vin!r}"
    signature_bytes = _LENGTHS_BYTES + len(tree["r"]) + len(tree["s"])
    signed = message.data[HEAD_BYTES : HEAD_BYTES + message.head.unit_bytes - signature_bytes]
    try:
        holds = vault.verify(signed, tree, vin)
    except SecretError as error:
        return str(error)
    if holds is None:
        return f"no public key is registered for {vin}"
    return None if holds else "its signature does not hold under the registered key"


def activation_reply(head: Head, problem: str | None) -> bytes:
    """What goes down: command 0A, succeeded or failed."""
    tree = {"status": SUCCEEDED if problem is None else FAILED, "info": FINE}
    return messages.command(head.edition, Command.ACTIVATION_REPLY, head.vin, tree)
