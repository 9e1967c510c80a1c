"""Codecs: one wire format each, one module each, ending in `PLUGIN`."""
