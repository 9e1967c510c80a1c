"""Ours: gmqtt 0.8 brings a package of this name, which would else be found first."""
