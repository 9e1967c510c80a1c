"""Ours: one of this name in site-packages (gmqtt 0.8 brings it) would else be found first."""
