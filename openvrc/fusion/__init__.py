"""One picture of a zone's road users from what they and roadside units report. Pure.

| file | holds |
|---|---|
| `reports.py` | batches as plain arrays |
| `motion.py` | the Kalman filter: predict, update, distance; all tracks together |
| `assignment.py` | which report is of which track: gated, one to one within a sensor's scan |
| `tracks.py` | the tracks as arrays |
| `clocks.py` | how far each unit's clock is off |
| `merging.py` | tracks that are one road user's |
| `memory.py` | which track a unit's number or a vehicle's id was last of |
| `scan.py` | one scan's reports to tracks |
| `picture.py` | who is on the road at a moment |
| `fusion.py` | the fold |
"""
