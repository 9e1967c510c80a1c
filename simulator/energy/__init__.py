"""Energy of electric vehicles as pure arrays: cells, packs, BMS, driving, charging, faults.

Nothing here has a clock, I/O or randomness of its own: times, seeds and generators are passed in.
"""
