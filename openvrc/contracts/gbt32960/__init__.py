"""GB/T 32960.3: what new-energy vehicles say to a platform, editions 2016 (`##`) and 2025 (`$$`).

| file | what |
|---|---|
| `nodes.py` | what a body may be made of; the one walk that every reader uses |
| `bodies_2016.py`, `bodies_2025.py`, `units.py` | the bodies and data units as data |
| `parameters.py` | parameters of a terminal, by number |
| `frame.py` | start, command, response, VIN, encryption, length, BCC; frames in a stream |
| `message.py` | one frame read whole, and written back byte for byte |
| `bulk.py`, `lists.py` | many reports to columns at once |
| `mapping.py` | columns to the platform's messages |
| `alarms.py`, `quality.py`, `beijing.py` | alarm bits, what is wrong with a value, the clock |
| `inspect.py` | every byte with its field, raw value, meaning and unit |

Pure: no clock, no network, no keys. Facts: GB/T 32960.3-2016 and -2025, sections named where used.
"""
