"""For all tests: files in memory, and hypothesis measures no time, as busy machines are no fault.

Each run draws the same examples, so that a red run can be repeated. VRC_TEST_EXAMPLES=fresh draws
others each time and keeps in .hypothesis what fails, until it passes.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.support.quick_files import use_memory

use_memory()
settings.register_profile(
    "fresh", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "same",
    settings.get_profile("fresh"),
    derandomize=True,
    database=None,  # what failed in another run would be tried here and nowhere else
)
settings.load_profile(os.environ.get("VRC_TEST_EXAMPLES", "same"))
