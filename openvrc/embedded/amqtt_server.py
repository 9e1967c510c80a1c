"""An MQTT 3.1.1 broker in a process of its own: `python -m openvrc.embedded.amqtt_server --port N`.

Listens on loopback, takes anybody, logs warnings to stderr, ends on SIGTERM. For MQTT 5, more than
1,500 messages a second or sessions that outlive the broker use mosquitto.
"""

import argparse
import asyncio
import logging
import signal

from openvrc.embedded.amqtt_access import LoopbackAuthPlugin
from openvrc.embedded.amqtt_delivery import KeepingBroker
from openvrc.embedded.processes import LOOPBACK


def configuration(port: int) -> dict[str, object]:
    """The configuration of amqtt for one loopback listener."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}},
        "plugins": {f"{LoopbackAuthPlugin.__module__}.{LoopbackAuthPlugin.__qualname__}": {}},
    }


async def serve(port: int) -> None:
    """Run until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    broker = KeepingBroker(configuration(port))
    await broker.start()
    await ended.wait()
    await broker.shutdown()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    # One warning for each client that goes away says nothing here.
    logging.getLogger("transitions").setLevel(logging.ERROR)
    asyncio.run(serve(arguments.port))


if __name__ == "__main__":
    main()
