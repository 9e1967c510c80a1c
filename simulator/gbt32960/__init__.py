"""Simulated GB/T 32960.3 terminals: `terminal.py` is the pure one, `fleet.py` has sockets."""
