"""How long a test waits for what must come: on a machine that does much else, everything is slow.

Only a test that fails waits so long. It stays under the timeout of a test in pyproject.toml, so
that the wait itself says what was waited for.
"""

PATIENCE_S = 150.0
