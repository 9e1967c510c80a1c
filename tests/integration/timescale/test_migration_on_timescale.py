"""The tests of older databases, on hypertables."""

from tests.integration import test_store_migration
from tests.support.adopted import adopted

globals().update(adopted(test_store_migration, "connection", "connection", "old_layout"))
