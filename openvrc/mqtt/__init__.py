"""MQTT connections that rooms share: addresses, and a fast client that hides its library."""
