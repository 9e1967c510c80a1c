"""Two edges of one name: the second is refused and says so, the first notices nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fault_ground import Edge, Ground, assert_accounted_to_the_record, wait_for
from tests.support.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_second_edge_of_the_same_name_is_refused_and_the_first_undisturbed(
    ground: Ground, edge: Edge, load: Load, tmp_path: Path
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    second = Edge(ground, load.zone, edge.edge_id, tmp_path / "second")
    second.start()
    try:
        wait_for(lambda: not second.running.is_running, "the second edge to give up")
    finally:
        second.stop()
    assert second.running.popen.returncode == 1
    assert "edge cannot go on" in second.log()
    assert "give this edge another id, or stop that one" in second.log()
    load.finish()
    assert not any(assert_accounted_to_the_record(ground, load).values())
    assert edge.log().count("connected to the broker") == 1
