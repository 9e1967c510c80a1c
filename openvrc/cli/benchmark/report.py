"""The figures as tables: the same rows for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Sequence[str]
TARGETS = (
    # (what, path in the result, must, whether less is better); from the data path's goals
    ("Arrow x 50, us per record", ("arrow50", "cpu_us_per_record", "total"), 9.0, True),
    ("JSON x 50, us per record", ("json50", "cpu_us_per_record", "total"), 11.5, True),
    ("JSON x 1, us per record", ("json1", "cpu_us_per_record", "total"), 45.0, True),
    ("ratio to the baseline, batched", ("ratio_batched",), 15.0, False),
    ("ratio to the baseline, single", ("ratio_single",), 3.0, False),
    ("Arrow x 50, stored p99 at half the rate, ms", ("arrow50", "stored_p99_ms"), 150.0, True),
    ("Arrow x 50, alert p99 at half the rate, ms", ("arrow50", "alert_p99_ms"), 250.0, True),
    ("edge, MB", ("arrow50", "rss_mb", "edge"), 200.0, True),
    ("cloud, MB", ("arrow50", "rss_mb", "cloud"), 400.0, True),
)
COSTS = ("sender", "broker", "edge", "cloud", "database", "total")


def tables(result: Mapping[str, Any]) -> list[tuple[str, Row, list[Row]]]:
    """Title, heading and rows of each table."""
    return [
        ("CPU per record at saturation, microseconds", *_costs(result)),
        ("Latency at half of the maximum, ms", *_waits(result)),
        ("Memory, MB", *_memory(result)),
        ("Against the naive baseline", *_ratios(result)),
        ("Targets", *targets(result)),
    ]


def as_text(result: Mapping[str, Any]) -> str:
    """For a terminal."""
    parts = []
    for title, heading, rows in tables(result):
        grid = [heading, *rows]
        widths = [max(len(row[place]) for row in grid) for place in range(len(heading))]
        lines = ["  ".join(_padded(row, widths)).rstrip() for row in grid]
        parts.append("\n".join([title, *("  " + line for line in lines)]))
    return "\n\n".join(parts)


def as_markdown(result: Mapping[str, Any]) -> str:
    """For `docs/benchmarks.md`: where, when, and the tables."""
    facts = [f"- {name.replace('_', ' ')}: {value}" for name, value in result["machine"].items()]
    parts = ["\n".join(facts)]
    for title, heading, rows in tables(result):
        grid = [heading, ["---"] * len(heading), *rows]
        lines = [f"| {' | '.join(row)} |" for row in grid]
        parts.append("\n".join([f"### {title}", "", *lines]))
    return "\n\n".join(parts) + "\n"


def targets(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """Each goal beside what was measured; what was not measured is left out."""
    modes = {mode["name"]: mode for mode in result["modes"]}
    rows: list[Row] = []
    for what, path, limit, is_upper in TARGETS:
        value: Any = {**result, **modes}
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            continue
        is_met = value <= limit if is_upper else value >= limit
        sign = "at most" if is_upper else "at least"
        rows.append([what, f"{sign} {limit:g}", f"{value:.4g}", "met" if is_met else "missed"])
    return ["target", "must", "measured", ""], rows


def _costs(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    heading = ["traffic", *COSTS, "records/s", "B/row", "sent", "stored", "rejected"]
    rows: list[Row] = [_cost_row(mode["name"], mode) for mode in result["modes"]]
    for name, row in (result.get("baseline") or {}).items():
        rows.append(_cost_row(f"naive {name}", row, edge="subscriber"))
    if result.get("copy_floor"):
        rows.append(_cost_row("binary COPY", result["copy_floor"], sender="client"))
    return heading, rows


def _cost_row(name: str, row: Mapping[str, Any], **called: str) -> Row:
    costs = row["cpu_us_per_record"]
    size = row["bytes_per_row"]
    return [
        name,
        *(_number(costs.get(called.get(part, part))) for part in COSTS),
        f"{row['records_per_s']:,.0f}",
        "-" if size is None else f"{size:.0f}",
        *(f"{row[count]:,}" for count in ("sent", "stored", "rejected")),
    ]


def _waits(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    shares = [f"{name}_p{share}_ms" for name in ("stored", "alert") for share in (50, 95, 99)]
    heading = ["traffic", "records/s", *(s.replace("_", " ")[:-3] for s in shares), "alerts"]
    rows: list[Row] = [
        [
            mode["name"],
            f"{mode['paced_records_per_s']:,}",
            *("-" if mode[share] is None else f"{mode[share]:.0f}" for share in shares),
            str(mode["alerts"]),
        ]
        for mode in result["modes"]
        if "paced_records_per_s" in mode
    ]
    return heading, rows


def _memory(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    names = COSTS[:-1]
    rows: list[Row] = [
        [mode["name"], *(_number(mode["rss_mb"].get(name)) for name in names)]
        for mode in result["modes"]
    ]
    return ["traffic", *names], rows


def _ratios(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    rows: list[Row] = [
        [name.replace("_", " "), _number(value)]
        for name, value in result.items()
        if name.startswith("ratio_")
    ]
    return ["ratio of CPU per record", "times"], rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _padded(row: Row, widths: Sequence[int]) -> list[str]:
    """Words to the left, figures to the right."""
    first, *rest = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return [first, *(cell.strip().rjust(len(cell)) for cell in rest)]
