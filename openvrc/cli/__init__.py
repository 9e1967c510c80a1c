"""The one command `vrc`; the only place that imports every room."""
