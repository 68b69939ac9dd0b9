"""What answers look like, for the OpenAPI document. Money is decimal text, and null where it is not known."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Money = Annotated[str | None, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="Decimal text; null: not known.")]
Moment = Annotated[str, Field(description="ISO 8601, UTC.")]


class Shape(BaseModel):
    """Names with a dash or a keyword stand as aliases."""

    model_config = ConfigDict(populate_by_name=True)


class Sums(Shape):
    calls: int
    errors: int
    unpriced_calls: Annotated[int, Field(description="Without a known price: they have no part in the cost.")]
    partial_calls: Annotated[int, Field(description="In the cost with what could be priced of them.")]
    input_tokens: int
    output_tokens: int
    cost_usd: Money
    cost: Annotated[Money, Field(description="In the currency that was asked for.")]


class SpendRow(Sums):
    """Beside the columns that it was asked by."""

    model_config = ConfigDict(extra="allow")
    cost_share: Annotated[Money, Field(description="Of everything that was asked about, 0 to 1.")]


class OfSpan(Shape):
    since: Annotated[Moment, Field(alias="from")]
    until: Annotated[Moment, Field(alias="to")]
    zone: str
    currency: str


class Spend(OfSpan):
    total: Sums
    rows: list[SpendRow]
    next: Annotated[int | None, Field(description="The `offset` of the rest; null: there is none.")]


class TimeRow(Sums):
    time: Annotated[Moment, Field(description="The first moment of the hour (UTC), or of the day in the zone.")]
    name: Annotated[str, Field(description="Of the line; `(all others)` is what is left.")]


class SpendOverTime(OfSpan):
    step: str
    rows: list[TimeRow]
    next: None = None


class CallRow(Shape):
    """One call; `GET /v1/calls/{request_id}` says all of it."""

    model_config = ConfigDict(extra="allow")
    request_id: str
    occurred_at: Moment
    provider: str
    model: str
    status: str
    cost_usd: Money
    cost: Money
    cost_status: str
    cost_reason: str


class Calls(OfSpan):
    rows: list[CallRow]
    next: Annotated[str | None, Field(description="The `after` of the rest; null: there is none.")]


class Rows(Shape):
    """Columns as the view of that name has them (docs/data.md)."""

    rows: list[dict[str, Any]]
    next: None = None


class UserCostRow(Shape):
    provider: str
    model: str
    total_calls: int
    total_input_tokens: int
    total_output_tokens: int
    total_cost: Money
    unpriced_calls: int
    partial_calls: int


class UserCosts(Shape):
    user_id: str
    period_hours: int
    currency: str
    rows: list[UserCostRow]
    next: None = None


class SystemMetrics(Shape):
    period_hours: int
    start_time: Moment
    end_time: Moment
    currency: str
    total_cost: Money
    total_calls: int
    avg_cost_per_call: Annotated[Money, Field(description="Of the priced calls.")]
    unpriced_calls: int
    partial_calls: int
    hourly_costs: Annotated[list[dict[str, Any]], Field(description="The first is the part that the span begins in.")]
    provider_costs: list[dict[str, Any]]
    task_costs: list[dict[str, Any]]


class Whole(OfSpan):
    """As the view system_cost_summary_between has it."""

    calls: int
    errors: int
    failure_rate: Money
    input_tokens: int
    output_tokens: int
    cost_usd: Money
    avg_cost_usd: Money
    cost: Money
    avg_cost: Money
    unpriced_calls: int
    partial_calls: int
    unpriced_tokens: int | None
    partial_tokens: int | None


class BudgetRow(Shape):
    budget: str
    kind: str
    subject: str
    scope: list[str]
    period: str
    zone: str
    period_start: Moment | None
    period_end: Moment | None
    spent: Money
    amount: Money
    currency: str
    ratio: Annotated[Money, Field(description="Spent in proportion to the amount, cut and never rounded up.")]
    level: Annotated[str, Field(description="Of the highest step that is crossed, empty where none is.")]
    projected: Money
    calls: int
    unpriced_calls: int
    subjects: int


class Budgets(Shape):
    rows: list[BudgetRow]
    next: None = None


class Outlook(Shape):
    period: str
    start: Moment
    end: Moment
    so_far: Money
    expected: Money
    low: Annotated[Money, Field(description="The end is above it in 90 of 100 cases.")]
    high: Annotated[Money, Field(description="The end is below it in 90 of 100 cases.")]


class Forecast(Shape):
    scope: dict[str, Any]
    zone: str
    currency: str
    made_at: Moment
    method: str
    whole_days: int
    weeks: int
    calls: int
    unpriced_calls: int
    outlooks: list[Outlook]


class Alerts(Shape):
    """Each as it is on usage.alerts (alert.v1.schema.json)."""

    rows: list[dict[str, Any]]
    next: None = None


class AlertHistory(Shape):
    revisions: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]
    acts: list[dict[str, Any]]


class Explained(Shape):
    request_id: str
    calls: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]


class ColumnValues(OfSpan):
    column: str
    values: list[str]


class Problem(Shape):
    type: str
    title: str
    status: int
    detail: str
