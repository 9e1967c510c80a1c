"""From positions to road state: map matching, windows per segment, edge detectors."""
