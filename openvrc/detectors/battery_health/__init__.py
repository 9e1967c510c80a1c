"""How well a vehicle's battery is, from its frames of one run: the rows of battery_health.csv.

Pure folds beside the detectors, not detectors: they raise nothing and have no `PLUGIN`. Frames
are those of `battery.frames.usable_rows` (in order, no repeats) with the dirt masked by
`battery.cleaning`. All sums over frames are integers, so that the result does not depend on how
the frames were cut into batches; what a vehicle occupies does not grow with its frames.
"""
