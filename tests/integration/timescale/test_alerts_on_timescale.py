"""The store's tests of alerts, on hypertables."""

from tests.integration import test_store_alerts
from tests.support.adopted import adopted

globals().update(adopted(test_store_alerts, "connection", "connection"))
