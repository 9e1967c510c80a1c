"""The figures as tables: the same rows for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Sequence[str]
Table = tuple[str, Row, list[Row]]
TARGETS = (
    # (what, path in the result, must, stretch or None, whether less is better)
    ("Arrow x 50, us per record", ("arrow50", "cpu_us_per_record", "total"), 9.0, 5.0, True),
    ("JSON x 50, us per record", ("json50", "cpu_us_per_record", "total"), 11.5, 7.5, True),
    ("JSON x 1, us per record", ("json1", "cpu_us_per_record", "total"), 45.0, 30.0, True),
    ("ratio to the baseline, batched", ("ratio_batched",), 15.0, None, False),
    ("ratio to the baseline, single", ("ratio_single",), 3.0, None, False),
    ("Arrow x 50, stored p99, ms", ("arrow50", "stored_p99_ms"), 150.0, None, True),
    ("JSON x 50, stored p99, ms", ("json50", "stored_p99_ms"), 150.0, None, True),
    ("JSON x 1, stored p99, ms", ("json1", "stored_p99_ms"), 150.0, None, True),
    ("Arrow x 50, alert p99, ms", ("arrow50", "alert_p99_ms"), 250.0, None, True),
    ("JSON x 50, alert p99, ms", ("json50", "alert_p99_ms"), 250.0, None, True),
    ("JSON x 1, alert p99, ms", ("json1", "alert_p99_ms"), 250.0, None, True),
    ("edge, MB", ("arrow50", "rss_mb", "edge"), 200.0, None, True),
    ("cloud, MB", ("arrow50", "rss_mb", "cloud"), 400.0, None, True),
)
COSTS = ("sender", "broker", "edge", "cloud", "database", "total")
BUSY = 0.9
"""A sender that computes for this share of the time is what limits the rate."""


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Title, heading and rows of each table."""
    found = [
        ("CPU per record at saturation, microseconds", *_saturated(result)),
        ("The first pass over all vehicles", *_stage(result, "first_pass")),
        ("Paced at half of the maximum", *_stage(result, "paced")),
        ("Latency at half of the maximum, ms", *_waits(result)),
        ("With all traffic and battery rules", *_all_rules(result)),
        ("The sender, microseconds", *_senders(result)),
        ("Memory, MB", *_memory(result)),
        ("Against the naive baseline", *_ratios(result)),
        ("Targets", *targets(result)),
    ]
    return [table for table in found if table[2]]


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
    """For `docs/benchmarks.md`: where, when, how, and the tables."""
    facts = [f"- {name.replace('_', ' ')}: {value}" for name, value in result["machine"].items()]
    facts.append(
        f"- {result['vehicles']:,} vehicles, {result['repetitions']} repetitions, "
        f"{result['send_s']:g} s at saturation, {result['paced_s']:g} s paced, "
        f"{result['workers'] or 'no'} decoding workers"
    )
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
    for what, path, must, stretch, is_upper in TARGETS:
        value: Any = {**result, **modes}
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            continue
        sign = "at most" if is_upper else "at least"
        rows.append(
            [
                what,
                f"{sign} {must:g}",
                f"{value:.4g}",
                _verdict(value, must, is_upper),
                "-" if stretch is None else f"{sign} {stretch:g}",
                _verdict(value, stretch, is_upper),
            ]
        )
    return ["target", "must", "measured", "", "stretch", " "], rows


def _verdict(value: float, limit: float | None, is_upper: bool) -> str:
    if limit is None:
        return ""
    return "met" if (value <= limit if is_upper else value >= limit) else "missed"


def _saturated(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    rows: list[Row] = [_cost_row(mode["name"], mode) for mode in result["modes"]]
    for name, row in (result.get("baseline") or {}).items():
        rows.append(_cost_row(f"naive {name}", row, edge="subscriber"))
    if result.get("copy_floor"):
        rows.append(_cost_row("binary COPY", result["copy_floor"], sender="client"))
    return _HEADING, rows


_HEADING: Row = (
    "traffic",
    *COSTS,
    "least-most",
    "records/s",
    "sender busy",
    "B/row",
    "sent",
    "stored",
    "rejected",
)


def _stage(result: Mapping[str, Any], stage: str) -> tuple[Row, list[Row]]:
    return _HEADING, [_cost_row(mode["name"], mode[stage]) for mode in result["modes"]]


def _all_rules(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    return _HEADING, [_cost_row(mode["name"], mode) for mode in result["all_rules"]]


def _cost_row(name: str, row: Mapping[str, Any], **called: str) -> Row:
    costs = row["cpu_us_per_record"]
    size, busy = row["bytes_per_row"], row["sender_busy"]
    return [
        name,
        *(_number(costs.get(called.get(part, part))) for part in COSTS),
        "-".join(_number(value) for value in row["cpu_us_total_spread"]),
        f"{row['records_per_s']:,.0f}",
        "-" if not busy else f"{busy:.0%}" + (" (limits)" if busy >= BUSY else ""),
        "-" if size is None else f"{size:.0f}",
        *(f"{row[count]:,}" for count in ("sent", "stored", "rejected")),
    ]


def _waits(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    shares = [f"{name}_p{share}_ms" for name in ("stored", "alert") for share in (50, 95, 99)]
    names = [share.replace("_", " ")[:-3] for share in shares]
    rows: list[Row] = [
        [
            mode["name"],
            f"{mode['paced']['records_per_s']:,.0f}",
            *(_ms(mode[share]) for share in shares),
            "-".join(_ms(value) for value in mode["stored_p99_ms_spread"] or ()),
            str(mode["alerts"]),
        ]
        for mode in result["modes"]
    ]
    return ["traffic", "records/s", *names, "stored p99 least-most", "alerts"], rows


def _senders(result: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """Per record: encoding and publishing by gmqtt, all of it by paho."""
    rows: list[Row] = []
    for mode in result["modes"]:
        total, encode = mode["cpu_us_per_record"]["sender"], mode["encode_us_per_record"]
        paho = mode["paho_sender"]
        others = [None, None, None]
        if paho is not None:
            all_of_it = paho["cpu_us_per_record"]["sender"]
            rest = mode["cpu_us_per_record"]["total"] - total
            others = [all_of_it - paho["encode_us_per_record"], all_of_it, rest + all_of_it]
        row = [mode["name"], *map(_number, [encode, total - encode, total, *others])]
        rows.append(row)
    heading = ["traffic", "encoding", "gmqtt publishing", "gmqtt in all"]
    return [*heading, "paho publishing", "paho in all", "chain's total with paho"], rows


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
        if name.startswith("ratio_") and value is not None
    ]
    return ["ratio of CPU per record", "times"], rows


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _padded(row: Row, widths: Sequence[int]) -> list[str]:
    """Words to the left, figures to the right."""
    first, *rest = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return [first, *(cell.strip().rjust(len(cell)) for cell in rest)]
