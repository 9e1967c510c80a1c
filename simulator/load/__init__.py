"""Load: a stated number of records a second, whether or not anybody keeps up.

| file | what |
|---|---|
| `traffic.py` | what is sent: many vehicles, each heard by its unit; also for `vrc bench` |
| `schedule.py` | when each record is due: ramps and steps; pure |
| `histogram.py` | latencies with three digits, to be added up over processes; pure |
| `world.py` | the traffic at the times of a schedule |
| `faulty.py` | the same with faults of senders and network |
| `connections.py` | many MQTT connections of one process, each message timed from when it was due |
| `sender.py` | one sending process |

`openvrc/cli/loadtest/` starts the processes, drives the zone's clock and says what came of it.
"""
