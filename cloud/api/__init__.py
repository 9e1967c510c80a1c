"""The HTTP API: one file per subject, each a router; errors are problem documents (RFC 9457)."""
