"""What a run came to: the accounting of DESIGN rule 5, alerts by rule, latency."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from openvrc.cli.client import Api, ApiError
from openvrc.contracts.messages import MESSAGES

TERMS = ("stored", "rejected", "dropped", "expired", "thinned", "pending", "missing")
POLL_S = 0.25


@dataclass(frozen=True)
class Summary:
    """One run's figures; `is_closed` says whether sent equals the sum of all ends."""

    run_id: str
    sent: int
    stored: int
    rejected: dict[str, int]
    dropped: int
    expired: int
    thinned: int
    pending: int
    missing: int
    duplicates: int
    alerts: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, Any] = field(default_factory=dict)
    page_url: str = ""

    @property
    def is_closed(self) -> bool:
        """Whether sent = stored + rejected + dropped + expired + thinned + pending + missing."""
        ends = self.stored + sum(self.rejected.values()) + self.dropped + self.expired
        return self.sent == ends + self.thinned + self.pending + self.missing

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"is_closed": self.is_closed}


def read_summary(api: Api, run_id: str, page_url: str = "") -> Summary:
    """The figures of a run as the cloud knows them now."""
    accounting = api.get("/v1/accounting", run=run_id)
    totals = accounting["totals"]
    return Summary(
        run_id=run_id,
        sent=totals["sent"],
        stored=totals["stored"],
        rejected=totals["rejected"],
        **{name: totals[name] for name in ("dropped", "expired", "thinned", "pending", "missing")},
        duplicates=totals["duplicates"],
        alerts=alerts_by_rule(api, run_id),
        latency_ms={
            name: {"p50": figures["p50_ms"], "p99": figures["p99_ms"]}
            for name, figures in accounting["latency_ms"].items()
        },
        page_url=page_url,
    )


def alerts_by_rule(api: Api, run_id: str) -> dict[str, int]:
    """Count of a run's alerts, cleared ones included, by rule."""
    counts: Counter[str] = Counter()
    cursor = None
    while True:
        page = api.get("/v1/alerts", run=run_id, limit=500, cursor=cursor)
        counts.update(alert["rule"] for alert in page["items"])
        cursor = page.get("next_cursor")
        if not cursor:
            return dict(sorted(counts.items()))


def published_records(sender_output: str) -> int | None:
    """Numbered records a sender says it has; None without its closing line.

    Where faults were at work, what the accounts must come to by their own word.
    """
    for line in reversed(sender_output.splitlines()):
        if '"event": "finished"' in line:
            said = json.loads(line)
            if "expected" in said:
                return int(said["expected"]["sent"])
            records: dict[str, int] = said["records"]
            return sum(n for message, n in records.items() if MESSAGES[message].is_numbered)
    return None


def wait_until_drained(
    api: Api, run_id: str, expected_sent: int | None, timeout_s: float, *, missing: int = 0
) -> bool:
    """Wait until nothing of a run is pending and all that was sent is known; False at timeout.

    `missing` is how many records were lost on purpose.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        with suppress(ApiError):  # a cloud that is busy or starts again answers the next time
            totals = api.get("/v1/accounting", run=run_id)["totals"]
            is_known = expected_sent is None or totals["sent"] >= expected_sent
            if is_known and totals["pending"] == 0 and totals["missing"] <= missing:
                return True
        time.sleep(POLL_S)
    return False


def as_text(summary: Summary) -> str:
    """For a terminal."""
    rejected = ", ".join(f"{reason} {n}" for reason, n in summary.rejected.items()) or "none"
    alerts = ", ".join(f"{rule} {n}" for rule, n in summary.alerts.items()) or "none"
    latency = ", ".join(
        f"{name} p50 {value['p50']:.0f} ms p99 {value['p99']:.0f} ms"
        for name, value in summary.latency_ms.items()
        if value.get("p50") is not None
    )
    values = {name: getattr(summary, name) for name in TERMS}
    values["rejected"] = sum(summary.rejected.values())
    ends = " + ".join(f"{name} {value}" for name, value in values.items())
    verdict = "closes" if summary.is_closed else "DOES NOT CLOSE"
    return "\n".join(
        [
            f"run {summary.run_id}",
            f"  sent {summary.sent} = {ends}   ({verdict})",
            f"  rejected: {rejected}",
            f"  duplicates: {summary.duplicates}",
            f"  alerts: {alerts}",
            f"  latency: {latency or 'nothing measured'}",
        ]
    )
