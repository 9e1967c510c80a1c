"""The retention's tests, on hypertables."""

from tests.integration import test_store_retention
from tests.support.adopted import adopted

globals().update(adopted(test_store_retention, "connection", "connection"))
