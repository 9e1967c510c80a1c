"""The store's tests of rows, on hypertables."""

from tests.integration import test_store_rows
from tests.support.adopted import adopted

globals().update(adopted(test_store_rows, "store", "store"))
