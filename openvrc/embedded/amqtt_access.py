"""Who may connect to the embedded amqtt."""

from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class LoopbackAuthPlugin(BaseAuthPlugin):
    """Lets everybody in who reaches the loopback listener.

    amqtt's own plug-in does so too, but marks the session as anonymous, and anonymous sessions are
    never kept for an absent client.
    """

    async def authenticate(self, *, session: Session) -> bool | None:  # noqa: ARG002
        """Always True."""
        return True
