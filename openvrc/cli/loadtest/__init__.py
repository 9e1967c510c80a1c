"""`vrc load`: processes that send, the zone's clock, what came of it, thresholds, a report."""
