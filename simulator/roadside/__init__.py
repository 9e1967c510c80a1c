"""What the roadside sees: perception of road users, induction loops, weather, and their flaws.

| file | holds |
|---|---|
| `users.py` | who is on the road, as arrays |
| `weather.py` | what rain, fog and snow do to drivers and to sensors |
| `sensors.py` | the units: place, range, field of view, latency, clock; and their parameters |
| `sight.py` | who can be seen from where: range, field of view, occlusion, chance of detection |
| `errors.py` | what is measured wrong: position, speed, heading, size, class |
| `tracks.py` | which number a unit gives whom: tracks break and swap |
| `perception.py` | these together: one scan of all units |
| `loops.py` | induction loops |
| `crossing.py` | people who cross a street |
| `equipment.py` | all of it in a world of the traffic engine, and the flags of scenarios |

Draws are hashes of names and times (`simulator/sampling.py`): the same run gives the same bytes.
"""
