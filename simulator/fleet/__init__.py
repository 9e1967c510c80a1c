"""Months of a fleet's battery data on disk: written by day, read while they are written."""
