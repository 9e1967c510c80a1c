"""The tests of minutes, as continuous aggregates."""

from tests.integration import test_store_minutes
from tests.support.adopted import adopted

globals().update(adopted(test_store_minutes, "store", "store"))
