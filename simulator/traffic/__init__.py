"""Simulated traffic at the scale of a city: networks, demand, vehicles as arrays, signals."""
