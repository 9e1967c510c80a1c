"""For all tests: hypothesis measures no time, since a busy machine is no fault of the code.

Each run of the tests draws other examples, so that few a run are many in the end.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "openvrc", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("openvrc")
