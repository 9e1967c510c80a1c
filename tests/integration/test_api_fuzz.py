"""The OpenAPI description, fuzzed against the real application: bad input is never a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.cloud_server import ADMIN, RunningCloud, bearer, temporary_cloud
from tests.support.patience import PATIENCE_S
from tests.support.town import Town

EXAMPLES, MANY_EXAMPLES = 3, 60
"""Per operation and mode: what the gate can afford, and what `-m slow` tries."""
ENDLESS = r"^/v1/stream$"
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    with temporary_cloud() as running:
        town = Town()
        running.send([town.announce()])
        running.drive(town, range(0, 40, 2))
        yield running


@pytest.mark.timeout(900)  # some 300 requests, on a machine that other tests share
@pytest.mark.parametrize(
    "examples",
    [
        EXAMPLES,
        pytest.param(MANY_EXAMPLES, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_no_request_makes_the_service_fail(cloud: RunningCloud, examples: int) -> None:
    # Schemathesis's own pytest integration does not run under pytest 9: operations are walked here.
    schema = schemathesis.openapi.from_url(f"{cloud.url}/openapi.json")
    found: Any = schema.exclude(path_regex=ENDLESS).get_all_operations()
    operations = [operation.ok() for operation in found]
    assert len(operations) > 20
    failures = []
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                fuzz(operation, mode, examples)
            except (Failure, FailureGroup, AssertionError) as error:
                failures.append(f"{operation.label}, {mode.value}: {error}")
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # nothing can be wrong where nothing is sent
    assert not failures, "\n\n".join(failures)


def fuzz(operation: Any, mode: GenerationMode, examples: int) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def ask(case: Any) -> None:
        response = case.call(headers=bearer(ADMIN), timeout=PATIENCE_S)
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == "application/problem+json"
            assert response.json()["detail"] is not None

    ask()


def test_the_service_still_works_afterwards(cloud: RunningCloud) -> None:
    town = Town(zone="afterwards", run_id="afterwards-1")
    cloud.send([town.announce()])
    assert cloud.send(town.at(0)) > 0
    assert cloud.json("/readyz") == {"status": "ready"}
