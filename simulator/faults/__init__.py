"""What goes wrong between a world and the edge: one kind of fault a module that ends in `PLUGIN`.

| file | what |
|---|---|
| `kind.py` | the shape of a kind, its parameters, what one fault was asked to be |
| `spec.py` | `NAME:param=value,...` read and checked |
| `faulty_world.py` | a world with faults: itself a world, so anything that drives one takes it |
| `records.py`, `messages.py`, `extras.py` | what kinds share: to change, to hold, to add |
| `outcome.py` | what the accounts must come to |
| every other | one kind |

A world says what is so; its faults change what is said (sensors, lying senders), then how it is
written (malformed payloads), then what becomes of it on the way (loss, delay, duplicates ...).
Draws are hashes of the seed, the sender and its own count, so a run repeats byte for byte.
"""
