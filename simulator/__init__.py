"""Worlds that emit messages: scenarios, recordings, and the publisher that sends what they say."""
