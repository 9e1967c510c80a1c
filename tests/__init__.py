"""Ours: a package of this name in site-packages (gmqtt 0.8 brings one) would else be found first."""
