"""Telling people of alerts: what goes where and when (routing), and the channels, one file each."""
