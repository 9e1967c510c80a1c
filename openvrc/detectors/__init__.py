"""Detectors: pure folds, one rule a file, found by discovery (`PLUGIN = ...`)."""
