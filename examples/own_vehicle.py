"""Plug in your own vehicle: one record a second, numbered, so that gaps would show.

Run beside `make demo`: python examples/own_vehicle.py --zone crossroads --seconds 10
"""

import argparse
import json
import time
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--broker", default="mqtt://127.0.0.1:1883")
parser.add_argument("--zone", default="crossroads")
parser.add_argument("--id", default="my-car")
parser.add_argument("--seconds", type=int, default=10)
parser.add_argument("--every", type=float, default=1.0, help="seconds between records")
given = parser.parse_args()

broker = urlsplit(given.broker)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.connect(broker.hostname, broker.port or 1883)
client.loop_start()
topic = f"vrc/v1/{given.zone}/vehicle/{given.id}"
session = time.time_ns() // 1_000_000  # new at each start
for seq in range(given.seconds):
    now_ns = time.time_ns()
    record = {
        "session": session,
        "seq": seq,
        "sampled_at_ns": now_ns,
        "published_at_ns": now_ns,
        "lat_deg": 52.27,
        "lon_deg": round(10.53 + 1e-5 * seq, 7),  # 0.7 m east with each record
        "speed_mps": 0.7,
        "heading_deg": 90.0,
    }
    client.publish(f"{topic}/vehicle_state", json.dumps(record), qos=1).wait_for_publish(10)
    time.sleep(given.every)
count = {"session": session, "sampled_at_ns": time.time_ns(), "sent_count": given.seconds}
client.publish(f"{topic}/source_status", json.dumps(count), qos=1).wait_for_publish(10)
client.disconnect()
client.loop_stop()
