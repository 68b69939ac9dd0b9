"""A plain recount of what was published: dicts, Decimals and genai-prices' own calculation, and nothing of the product.

It trusts the file of published lines alone. Only one figure cannot be known from there: a worker that is killed between
forwarding a stray record and acknowledging it forwards it again, and a client that loses the broker's answer sends
again. Such echoes are counted as duplicates by the product, and here as well, from a dump of the topic.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final

from genai_prices import Usage, calc_price

DIGITS: Final = Decimal("1e-12")
TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
UNKNOWN_TO_PRICES: Final = ("nobody-knows-7b",)
UNPRICED_UNITS: Final = ("gizmos",)
# Own prices: this model at another price than the list's, from the beginning of time.
OWN: Final = ("openai", "gpt-4o-mini")
STORED_AS: Final = {  # provider and model as some callers write them, and the names that they stand for
    ("OpenAI", "openai/GPT-4o"): ("openai", "gpt-4o"),
    ("google-gla", "models/gemini-2.5-pro"): ("google", "gemini-2.5-pro"),
}

# hour, provider, model, operation, feature, task_type, team, environment
HourKey = tuple[datetime, str, str, str, str, str, str, str]
DayKey = tuple[str, str]
SumKey = tuple[str, str]  # a scope (empty is everything together) and a period
SpendKey = tuple[str, str, str, str]  # scope, period, subject, day
Cell = dict[str, Any]

# What the shipped budgets add up, all by UTC.
SUMS: Final[tuple[SumKey, ...]] = (("", "day"), ("", "month"), ("user", "day"))


@dataclass(frozen=True, slots=True)
class Counted:
    """One usage event as it must be stored."""

    request_id: str
    occurred_at: datetime
    fields: Mapping[str, Any]
    cost: Decimal | None
    status: str  # priced | partial | unpriced

    @property
    def names(self) -> dict[str, str]:
        """Of the provider and the model, as they are stored and as they were sent."""
        sent = self.fields["provider"], self.fields["model"]
        return dict(zip(("provider", "model"), STORED_AS.get(sent, sent), strict=True)) | {
            "provider_sent": sent[0],
            "model_sent": sent[1],
        }

    @property
    def hour_key(self) -> HourKey:
        hour = self.occurred_at.replace(minute=0, second=0, microsecond=0)
        names = ("provider", "model", "operation", "feature", "task_type", "team", "environment")
        told = {"operation": "chat"} | dict(self.fields) | self.names
        return (hour, *(str(told.get(name, "")) for name in names))  # type: ignore[return-value]  # seven names

    @property
    def day_key(self) -> DayKey:
        return self.occurred_at.date().isoformat(), str(self.fields.get("user_id", ""))


@dataclass(slots=True)
class Recount:
    """What the warehouse must hold."""

    events: dict[str, Counted] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)  # kind -> messages
    copies: Counter[str] = field(default_factory=Counter)  # id -> messages with the content that counts
    refused: Counter[str] = field(default_factory=Counter)  # value -> messages that belong with the dead letters
    lines: int = 0


def own_prices(factor: Decimal) -> str:
    """A file of prices that says so."""
    provider, model = OWN
    return f'[[price]]\nprovider = "{provider}"\nmodels = ["{model}"]\nfactor = "{factor:f}"\nsource = "chaos"\n'


def recount(path: Path, *, factor: Decimal = Decimal(1)) -> Recount:
    """Read the file of what was published. ``factor`` is the last one of the own prices."""
    result = Recount()
    with path.open(encoding="utf-8") as lines:
        for text in lines:
            line = json.loads(text)
            result.lines += 1
            result.sent[line["kind"]] += 1
            if line["kind"] == "aborted":
                continue  # taken back before anybody could read it
            if line["kind"] in ("malformed", "conflict"):
                result.refused[line["value"]] += 1
                continue
            result.copies[line["request_id"]] += 1
            if line["request_id"] not in result.events:
                result.events[line["request_id"]] = _counted(json.loads(line["value"]), factor)
    return result


def _counted(fields: Mapping[str, Any], factor: Decimal) -> Counted:
    occurred_at = datetime.fromisoformat(fields["occurred_at"]).astimezone(UTC)
    cost, status = _cost(fields, occurred_at, factor)
    return Counted(fields["request_id"], occurred_at, fields, cost, status)


def _cost(fields: Mapping[str, Any], at: datetime, factor: Decimal) -> tuple[Decimal | None, str]:
    if fields["model"] in UNKNOWN_TO_PRICES or fields.get("usage_status") == "missing":
        return None, "unpriced"
    units = {unit: Decimal(amount) for unit, amount in fields.get("quantities", {}).items()}
    priced_units = {unit: amount for unit, amount in units.items() if unit not in UNPRICED_UNITS}
    tokens = {name: fields[name] for name in TOKENS if name in fields}
    if "reasoning_tokens" in tokens:
        tokens["output_reasoning_tokens"] = tokens.pop("reasoning_tokens")
    usage = Usage(**tokens, **priced_units)
    provider, model = fields["provider"], fields["model"]
    provider, model = STORED_AS.get((provider, model), (provider, model))
    price = calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
    exact = price.total_price * (factor if (provider, model) == OWN else 1)
    cost = exact.quantize(DIGITS, ROUND_HALF_EVEN)
    return cost, "priced" if len(priced_units) == len(units) else "partial"


def hourly(counted: Iterable[Counted], duplicates: Mapping[str, int]) -> dict[HourKey, Cell]:
    """usage_hourly, summed by plain addition; ``duplicates`` says how often each id came again."""
    rows: defaultdict[HourKey, Cell] = defaultdict(_empty_hour)
    for event in counted:
        row = rows[event.hour_key]
        _add_shared(row, event)
        row["duplicates"] += duplicates.get(event.request_id, 0)
        for name in ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"):
            row[name] += event.fields.get(name, 0)
        for unit, amount in event.fields.get("quantities", {}).items():
            row["quantities"][unit] = row["quantities"].get(unit, Decimal(0)) + Decimal(amount)
        if event.fields.get("duration_ms") is not None:
            row["duration_ms"] += event.fields["duration_ms"]
            row["duration_calls"] += 1
    return dict(rows)


def daily(hours: Mapping[HourKey, Cell]) -> dict[HourKey, Cell]:
    """usage_daily: the hours of each day added up. Repeats and units stay with the hours."""
    rows: dict[HourKey, Cell] = {}
    for (hour, *names), cell in hours.items():
        of_day = {name: amount for name, amount in cell.items() if name not in ("duplicates", "quantities")}
        key = (hour.replace(hour=0), *names)
        row = rows.setdefault(key, dict.fromkeys(of_day, 0))
        rows[key] = {name: row[name] + amount for name, amount in of_day.items()}
    return rows


def user_daily(counted: Iterable[Counted]) -> dict[DayKey, Cell]:
    """usage_user_daily, likewise."""
    rows: defaultdict[DayKey, Cell] = defaultdict(_empty_shared)
    for event in counted:
        _add_shared(rows[event.day_key], event)
    return dict(rows)


def budget_spend(counted: Iterable[Counted], whole_from: Mapping[SumKey, str]) -> dict[SpendKey, Cell]:
    """budget_spend, by day: of each sum since it is whole."""
    rows: defaultdict[SpendKey, Cell] = defaultdict(lambda: {"calls": 0, "unpriced_calls": 0, "cost_usd": Decimal(0)})
    for event in counted:
        day, user = event.day_key
        for (scope, period), first in whole_from.items():
            if day >= first and (user or not scope):
                row = rows[scope, period, f"user={user}" if scope else "", day]
                row["calls"] += 1
                row["unpriced_calls"] += event.status == "unpriced"
                row["cost_usd"] += event.cost or 0
    return dict(rows)


def _add_shared(row: Cell, event: Counted) -> None:
    row["calls"] += 1
    row["errors"] += event.fields.get("status") == "error"
    row["unpriced_calls"] += event.status == "unpriced"
    row["partial_calls"] += event.status == "partial"
    for status in ("unpriced", "partial"):
        if event.status == status:
            row[f"{status}_tokens"] += event.fields.get("input_tokens", 0) + event.fields.get("output_tokens", 0)
    row["input_tokens"] += event.fields.get("input_tokens", 0)
    row["output_tokens"] += event.fields.get("output_tokens", 0)
    row["cost_usd"] += event.cost or 0
    row["revenue_usd"] += Decimal(event.fields.get("revenue_usd", 0))


def _empty_shared() -> Cell:
    calls = ("calls", "errors", "unpriced_calls", "partial_calls")
    tokens = ("unpriced_tokens", "partial_tokens", "input_tokens", "output_tokens")
    return dict.fromkeys((*calls, *tokens), 0) | {"cost_usd": Decimal(0), "revenue_usd": Decimal(0)}


def _empty_hour() -> Cell:
    tokens = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    more = ("duplicates", *tokens, "duration_ms", "duration_calls")
    return _empty_shared() | dict.fromkeys(more, 0) | {"quantities": {}}


def murmur2(data: bytes) -> int:
    """Kafka's hash of a key, from its definition (org.apache.kafka.common.utils.Utils.murmur2)."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    if tail := data[whole:]:
        value = (value ^ int.from_bytes(tail, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15


def home(request_id: str, partitions: int) -> int:
    """The partition that counts an id."""
    return (murmur2(request_id.encode()) & 0x7FFFFFFF) % partitions
