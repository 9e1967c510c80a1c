"""Channel `mqtt`: the CloudEvent of the webhook as a message, QoS 1.

Options: `url` (mqtt[s]://[user:password@]host[:port]); perhaps `topic` with the places `{zone}`,
`{severity}`, `{kind}` and `{event}`, and `timeout_s`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from cloud.notify.base import Notification, PermanentError, RetryableError, known_options
from cloud.notify.webhook import cloud_event
from openvrc.contracts.errors import VrcError
from openvrc.mqtt.address import parse_broker_url

TOPIC = "openvrc/alerts/{zone}/{severity}"
TIMEOUT_S = 10.0
_UNSAFE = str.maketrans(dict.fromkeys("/+#\x00", "_"))
"""What would make another topic of a value."""


def topic_of(notification: Notification, template: str) -> str:
    """The template with the worst alert's words in it."""
    first = notification.alerts[0]
    words = {name: str(first[name]).translate(_UNSAFE) for name in ("zone", "severity", "kind")}
    return template.format(event=notification.event, **words)


class Mqtt:
    """Publishes by a connection of its own, closed afterwards."""

    name = "mqtt"

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse what is no broker's URL and a topic with unknown places."""
        known_options(options, needed={"url"}, others={"topic", "timeout_s"})
        try:
            parse_broker_url(str(options["url"]))
            words = {"zone": "z", "severity": "info", "kind": "traffic", "event": "raised"}
            str(options.get("topic", TOPIC)).format(**words)
        except (ValueError, KeyError, IndexError, VrcError) as error:
            raise PermanentError(f"url or topic cannot be used: {error}") from error

    def send(self, notification: Notification, options: Mapping[str, Any]) -> None:
        """Publish, and wait for the broker's acknowledgement."""
        address = parse_broker_url(str(options["url"]))
        timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect_timeout = timeout_s
        if address.user:
            client.username_pw_set(address.user, address.password)
        if (context := address.tls_context()) is not None:
            client.tls_set_context(context)
        body = json.dumps(cloud_event(notification), ensure_ascii=False).encode()
        topic = topic_of(notification, str(options.get("topic", TOPIC)))
        try:
            client.connect(address.host, address.port)
            client.loop_start()
            message = client.publish(topic, body, qos=1)
            message.wait_for_publish(timeout_s)
            if not message.is_published():
                raise RetryableError(f"no acknowledgement within {timeout_s} s")
        except (OSError, RuntimeError) as error:
            raise RetryableError(f"{type(error).__name__}: {error}") from error
        finally:
            client.disconnect()
            client.loop_stop()


PLUGIN = Mqtt()
