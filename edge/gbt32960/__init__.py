"""A server for terminals and platforms that speak GB/T 32960.3 over TCP.

| file | what |
|---|---|
| `session.py` | one connection's conversation; pure |
| `rules.py` | what is asked of everybody, what a session wants done |
| `activation.py` | whether a chip's activation is to be believed |
| `vault.py` | keys, decryption, signatures; by the library `cryptography` |
| `server.py` | sockets: one event loop in a thread, bounded |
| `intake.py` | the server beside MQTT, for the edge's main loop |
"""
