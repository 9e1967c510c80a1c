"""The pipeline's guarantees, on hypertables."""

from tests.integration import test_pipeline_guarantees
from tests.support.adopted import adopted

globals().update(adopted(test_pipeline_guarantees, "database_url"))
