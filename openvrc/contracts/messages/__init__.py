"""All messages of the platform as frozen pydantic models, and the table that lists them.

One message type is one row of `MESSAGES`; columns, topics, schemas and SQL derive from it.
"""

from __future__ import annotations

from openvrc.contracts.messages.registry import MESSAGES, MessageType, message_type

__all__ = ["MESSAGES", "MessageType", "message_type"]
