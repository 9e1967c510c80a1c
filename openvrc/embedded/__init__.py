"""Servers that the platform brings along, so that it runs with nothing but Python.

`broker` starts an MQTT broker, `database` a PostgreSQL; both listen on loopback only, keep every
file in a directory of their own and change nothing else on the machine. `processes` starts and
stops what they run.
"""
