"""The keyword arguments of ``record()``, for the type checker: as wide as what can be made honest, and no wider."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from os import PathLike
from typing import Any, Required, SupportsFloat, SupportsIndex, TypedDict
from uuid import UUID

from costream.events import Operation, Status, UsageStatus

Text = str | int | UUID | Enum | PathLike[str] | None
Count = SupportsIndex | SupportsFloat | None  # whole numbers; numpy's too
Milliseconds = SupportsIndex | SupportsFloat | timedelta | None
Amount = Decimal | str | SupportsIndex | SupportsFloat | None


class Fields(TypedDict, total=False):
    """See docs/event.md; ``None`` is the same as not given."""

    provider: Required[str | Enum]
    model: Required[str | Enum]
    request_id: Text
    occurred_at: datetime | str | None  # with a zone
    operation: Operation | Enum | None
    feature: Text
    task_type: Text
    user_id: Text
    team: Text
    environment: Text
    session_id: Text
    service_tier: Text
    inference_geo: Text
    metadata: Mapping[str, Any] | None
    status: Status | Enum | None
    error: str | BaseException | None
    duration_ms: Milliseconds
    time_to_first_token_ms: Milliseconds
    input_tokens: Count
    output_tokens: Count
    cache_read_tokens: Count
    cache_write_tokens: Count
    reasoning_tokens: Count
    quantities: Mapping[str, Amount] | None
    usage_status: UsageStatus | Enum | None
    reported_cost_usd: Amount
    unit_prices: Mapping[str, Amount] | None
    revenue_usd: Amount
    utilization: Amount
