"""Pure models of vehicles, signals and batteries: no clock, no I/O, randomness only as given."""
