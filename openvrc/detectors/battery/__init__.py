"""Rules about battery."""
