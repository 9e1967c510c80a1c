"""The Grafana dashboards: files Grafana accepts, and queries that run on the migrated schema.

Grafana itself is not started: `expand` writes out its macros and variables as its PostgreSQL data
source does (public documentation, "PostgreSQL query editor", "Macros"), and the same text then
runs on a real database filled through the store's own writer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cloud.metrics import CloudCollector, CommitCounter, exposition
from cloud.store import reads
from cloud.store.migrate import migrate
from tests.support.grafana_rows import RUN, START, ZONE, fill
from tests.support.quick_database import quick_database

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
}
BUILT_IN = {
    "timeseries", "stat", "table", "geomap", "barchart", "gauge", "state-timeline", "bargauge",
    "text", "row", "histogram", "piechart", "heatmap", "status-history",
}  # fmt: skip
POSTGRES = "grafana-postgresql-datasource"
SCHEMA_VERSION = 41
"""Grafana 12.1's; an older file would be migrated in the browser at each load."""
EVER = ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
INTERVAL_S = {"10s": 10, "1m": 60, "2h": 7200}


class Query(NamedTuple):
    """One target of one panel."""

    board: str
    panel: str
    target: dict[str, Any]


def queries(kind: str) -> list[Query]:
    return [
        Query(name, panel["title"], target)
        for name, board in BOARDS.items()
        for panel in board["panels"]
        for target in panel["targets"]
        if target["datasource"]["type"] == kind
    ]


SQL_QUERIES = queries(POSTGRES)
PROM_QUERIES = queries("prometheus")


def name_of(query: Query) -> str:
    return f"{query.board}: {query.panel}"


def expand(
    text: str,
    *,
    zone: str = ZONE,
    run: str = RUN,
    span: tuple[str, str] = EVER,
    interval: str = "10s",
    window: str = "10",
) -> str:
    """SQL as the data source would send it. Fails on a macro or variable that it does not know."""

    def group(match: re.Match[str]) -> str:
        length_s = INTERVAL_S[match["length"]]
        alias = ' AS "time"' if match["alias"] else ""
        return f"floor(extract(epoch from {match['column']})/{length_s})*{length_s}{alias}"

    for name, value in (("zone", zone), ("run", run)):
        quoted = "'" + value.replace("'", "''") + "'"
        text = text.replace(f"${{{name}:sqlstring}}", quoted)
    text = text.replace("$window", window).replace("$__interval", interval)
    between = rf"\1 BETWEEN '{span[0]}' AND '{span[1]}'"
    text = re.sub(r"\$__timeFilter\((\w+)\)", between, text)
    grouping = r"\$__timeGroup(?P<alias>Alias)?\((?P<column>\w+),\s*'?(?P<length>\w+)'?\)"
    text = re.sub(grouping, group, text)
    assert "$" not in text, f"not expanded: {text}"
    return text


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection[Any]]:
    """A migrated database with a few rows of everything the dashboards show."""
    with quick_database() as url, psycopg.connect(url, autocommit=True) as opened:
        fill(opened, migrate(opened, chunk_days=1))
        yield opened


def rows_of(connection: psycopg.Connection[Any], panel: str, **values: Any) -> list[dict[str, Any]]:
    """Rows of the panel of this title, by column."""
    (query,) = (query for query in SQL_QUERIES if query.panel == panel)
    cursor = connection.execute(expand(query.target["rawSql"], **values).encode())
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_the_three_dashboards_are_there() -> None:
    assert {"traffic", "battery", "platform"} <= set(BOARDS)


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_has_the_shape_grafana_reads(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"] == f"openvrc-{name}"
    assert board["title"]
    assert board["schemaVersion"] == SCHEMA_VERSION
    assert "id" not in board, "a number of somebody's own Grafana"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
    assert [variable["name"] for variable in board["templating"]["list"]][:2] == ["zone", "run"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_are_of_types_that_need_no_plugin(name: str) -> None:
    assert {panel["type"] for panel in BOARDS[name]["panels"]} <= BUILT_IN


@pytest.mark.parametrize("name", BOARDS)
def test_panels_stand_side_by_side_within_the_grid(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_every_data_source_is_provisioned_under_its_uid(name: str) -> None:
    path = PROVISIONING / "datasources" / "openvrc.yml"
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    known = {row["uid"]: row["type"] for row in rows}
    board = BOARDS[name]
    used = [target["datasource"] for panel in board["panels"] for target in panel["targets"]]
    used += [v["datasource"] for v in board["templating"]["list"] if v["type"] == "query"]
    for source in used:
        # "postgres" is the older name, which Grafana keeps as an alias of the plug-in.
        expected = {"postgres": POSTGRES}.get(known[source["uid"]], known[source["uid"]])
        assert source["type"] == expected


def test_links_lead_to_dashboards_that_exist() -> None:
    linked = set(re.findall(r"/d/([\w-]+)", json.dumps(BOARDS)))
    assert linked
    assert linked <= {board["uid"] for board in BOARDS.values()}


@pytest.mark.parametrize("query", SQL_QUERIES, ids=name_of)
@pytest.mark.parametrize("interval", INTERVAL_S)
def test_every_query_runs_and_shows_what_was_stored(
    connection: psycopg.Connection[Any], query: Query, interval: str
) -> None:
    found = rows_of(connection, query.panel, interval=interval)
    assert found, "no rows of a filled database"
    assert any(value is not None for row in found for value in row.values())


@pytest.mark.parametrize("query", SQL_QUERIES, ids=name_of)
def test_a_series_has_the_columns_grafana_needs(
    connection: psycopg.Connection[Any], query: Query
) -> None:
    if query.target["format"] != "time_series":
        return
    found = rows_of(connection, query.panel)
    times = [row["time"] for row in found]
    assert times == sorted(times)
    texts = {name for row in found for name, value in row.items() if isinstance(value, str)}
    assert texts <= {"metric"}, "only the series' name may be text"


@pytest.mark.parametrize("name", BOARDS)
def test_settings_of_a_column_name_one_that_the_panel_has(
    connection: psycopg.Connection[Any], name: str
) -> None:
    for panel in BOARDS[name]["panels"]:
        named = {row["matcher"]["options"] for row in panel["fieldConfig"]["overrides"]}
        if named:
            columns = set(rows_of(connection, panel["title"])[0])
            assert named <= columns, panel["title"]


@pytest.mark.parametrize(
    "query", [q for q in SQL_QUERIES if "${zone" in q.target["rawSql"]], ids=name_of
)
@pytest.mark.parametrize("other", [{"zone": "elsewhere"}, {"run": "another"}])
def test_a_panel_shows_its_zone_and_run_only(
    connection: psycopg.Connection[Any], query: Query, other: dict[str, str]
) -> None:
    found = rows_of(connection, query.panel, **other)
    assert all(value in (None, 0) for row in found for value in row.values())


@pytest.mark.parametrize(
    "query",
    [
        q
        for q in SQL_QUERIES
        if "$__timeFilter" in q.target["rawSql"] and "IN ('active'" not in q.target["rawSql"]
    ],
    ids=name_of,
)
def test_a_panel_shows_its_time_range_only(
    connection: psycopg.Connection[Any], query: Query
) -> None:
    found = rows_of(connection, query.panel, span=("2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z"))
    assert all(value in (None, 0) for row in found for value in row.values())


def test_the_worst_segment_is_the_slowest(connection: psycopg.Connection[Any]) -> None:
    found = rows_of(connection, "Worst segments")
    assert [row["segment"] for row in found] == ["jam", "busy", "free"]
    assert found[0]["speed_kmh"] == pytest.approx(3.6 * 2.0)
    assert found[0]["density_vpkm"] == pytest.approx(80.0)


def test_the_battery_panels_name_the_worst_vehicle(connection: psycopg.Connection[Any]) -> None:
    spread = rows_of(connection, "Widest spreads")[0]
    assert (spread["vehicle"], spread["spread_mv"], spread["lowest_cell"]) == ("bus-2", 150, 3)
    probe = rows_of(connection, "Hottest probes")[0]
    assert (probe["vehicle"], probe["probe"], float(probe["hottest_degc"])) == ("bus-1", 2, 61.5)
    lowest = rows_of(connection, "Lowest insulation by vehicle")
    assert (lowest[0]["vehicle"], lowest[0]["ohm_per_v"]) == ("bus-0", pytest.approx(90.0))


def test_open_alerts_come_worst_first_whatever_the_range(
    connection: psycopg.Connection[Any],
) -> None:
    long_ago = ("2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z")
    found = rows_of(connection, "Traffic alerts that are open", span=long_ago)
    assert [row["severity"] for row in found] == ["critical", "warning"]
    assert found[0]["acknowledged_by"] == "anna"


def test_senders_with_losses_are_listed_with_their_sums(
    connection: psycopg.Connection[Any],
) -> None:
    (row,) = rows_of(connection, "Senders with losses")
    assert (row["sender"], row["sent"], row["forwarded"]) == ("rsu-2", 100, 90)
    assert (row["rejected"], row["missing"]) == (7, 3)


@pytest.mark.parametrize("name", BOARDS)
def test_the_variables_offer_what_is_stored(connection: psycopg.Connection[Any], name: str) -> None:
    offered = {
        variable["name"]: connection.execute(expand(variable["query"]).encode()).fetchall()
        for variable in BOARDS[name]["templating"]["list"]
        if variable["type"] == "query"
    }
    assert (ZONE,) in offered["zone"]
    assert offered["run"][0] == (RUN,)


def test_the_table_of_runs_leads_to_the_runs_own_time(
    connection: psycopg.Connection[Any],
) -> None:
    (row,) = rows_of(connection, "Runs")
    assert row["from_ms"] == START.timestamp() * 1000
    assert row["to_ms"] > row["from_ms"]


def service_metrics() -> dict[str, set[str]]:
    """Sample names of the service's exposition with their labels."""
    counter = CommitCounter()
    counter.records["vehicle_state"] += 1
    counter.transitions["traffic.congestion", "opened"] += 1
    account = reads.Account(sent=2, stored=1, rejected={"sentinel": 1})
    source = reads.SourceAccount(ZONE, RUN, "car-1", True, 1, [], account)
    found = reads.Accounting(account, [source], zones={ZONE: account})
    text = exposition(CloudCollector(counter, lambda: found, {})).decode()
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    gauges = re.findall(r'"(vrc_\w+)": \(', (ROOT / "cloud" / "app.py").read_text("utf-8"))
    return names | {name: set() for name in gauges}


@pytest.mark.parametrize("query", PROM_QUERIES, ids=name_of)
def test_every_metric_and_label_is_one_the_service_has(query: Query) -> None:
    expression = query.target["expr"]
    known = service_metrics()
    names = set(re.findall(r"\bvrc_\w+", expression))
    assert names, expression
    assert names <= set(known)
    labels = {label for name in names for label in known[name]}
    asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    asked |= set(re.findall(r"by \((\w+)\)", expression))
    asked |= set(re.findall(r"\{\{(\w+)\}\}", query.target["legendFormat"]))
    assert asked <= labels
