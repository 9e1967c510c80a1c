"""The report of a load test: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from openvrc.cli.loadtest.run import Second
from openvrc.cli.loadtest.slo import Verdict

WIDTH, HEIGHT, MARGIN = 860, 240, 56
COLOURS = ("#1664c0", "#c2571a", "#2c8a4b")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem;
  color: #1c2430; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .8rem .25rem 0;
  text-align: left; border-bottom: 1px solid #dde3ea } td.n { text-align: right; min-width: 14rem;
  font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #4a5565 }
.missed { color: #b3261e; font-weight: 600 } .met { color: #1e7a3c }
@media (prefers-color-scheme: dark) { body { color: #e4e9ef; background: #14181d }
  td, th { border-color: #333c47 } svg text { fill: #a9b4c0 } .missed { color: #ff8a80 }
  .met { color: #7ddb9a } }
"""
Line = tuple[str, Sequence[float | None]]


def html(
    title: str,
    spec: Mapping[str, Any],
    result: Mapping[str, Any],
    seconds: Sequence[Second],
    verdicts: Sequence[Verdict],
) -> str:
    """The whole page."""
    times_s = [second.at_s for second in seconds]
    offered = _rates(times_s, [second.offered for second in seconds])
    sent = _rates(times_s, [float(second.records) for second in seconds])
    p50 = [second.p50_ms for second in seconds]
    p99 = [second.p99_ms for second in seconds]
    waiting: list[float | None] = [float(second.waiting) for second in seconds]
    parts = [
        f"<h1>{escape(title)}</h1>",
        _verdicts(verdicts),
        "<h2>Records per second</h2>",
        _chart(times_s, [("offered", offered), ("sent", sent)], "records/s"),
        "<h2>From due to acknowledged by the broker</h2>",
        _chart(times_s, [("p50", p50), ("p99", p99)], "ms"),
        "<h2>Messages waiting for the broker</h2>",
        _chart(times_s, [("waiting", waiting)], "messages"),
        "<h2>Figures</h2>",
        _table(result),
        "<h2>Load</h2>",
        _table(spec),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _rates(times_s: Sequence[float], totals: Sequence[float]) -> list[float | None]:
    points = [(0.0, 0.0), *zip(times_s, totals, strict=True)]
    return [(b - a) / max(t - s, 1e-9) for (s, a), (t, b) in pairwise(points)]


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = "".join(
        f'<tr><td class="{"met" if v.is_met else "missed"}">{escape(v.as_text())}</td></tr>'
        for v in verdicts
    )
    return f"<h2>Thresholds</h2><table>{rows}</table>"


def _table(values: Mapping[str, Any], prefix: str = "") -> str:
    return f"<table>{''.join(_rows(values, prefix))}</table>"


def _rows(values: Mapping[str, Any], prefix: str) -> list[str]:
    rows: list[str] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{name}.")
            continue
        text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(value, list | tuple):
            text = json.dumps(value)
        rows.append(
            f'<tr><th>{escape(prefix + name)}</th><td class="n">{escape(str(text))}</td></tr>'
        )
    return rows


def _chart(times_s: Sequence[float], lines: Sequence[Line], unit: str) -> str:
    """Lines over time, with a scale from 0."""
    known = [value for _, values in lines for value in values if value is not None]
    if not known or len(times_s) < 2:
        return "<p>Too short to be drawn.</p>"
    top, last_s = _nice(max(known)), max(times_s)
    inner_w, inner_h = WIDTH - 2 * MARGIN, HEIGHT - 60

    def x(at_s: float) -> float:
        return MARGIN + at_s / last_s * inner_w

    def y(value: float) -> float:
        return 20 + (1 - value / top) * inner_h

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        height, label = y(share * top), f"{share * top:,.6g}"
        parts.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{height:.1f}" y2="{height:.1f}" '
            f'stroke="#8894a233"/><text x="{MARGIN - 6}" y="{height + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
        )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at_s = share * last_s
        parts.append(
            f'<text x="{x(at_s):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{at_s:.0f} s</text>'
        )
    for number, (name, values) in enumerate(lines):
        colour = COLOURS[number]
        points = " ".join(
            f"{x(at):.1f},{y(value):.1f}"
            for at, value in zip(times_s, values, strict=True)
            if value is not None
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{MARGIN + 8 + 150 * number}" y="14" style="fill:{colour}">{escape(name)}'
            f" ({escape(unit)})</text>"
        )
    said = escape(f"{', '.join(name for name, _ in lines)} in {unit} over {last_s:.0f} s")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(parts)}</svg>'
    )


def _nice(value: float) -> float:
    """A round number not below the value."""
    if value <= 0:
        return 1.0
    size = 10.0 ** len(str(int(value))) / 10.0 if value >= 1 else 1.0
    return next(step * size for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * size >= value)
