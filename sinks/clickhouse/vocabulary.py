"""The words that tables, frames and questions share, each written once. Names and numbers only: nothing is imported."""

from __future__ import annotations

from typing import Final

# What tells one series of an hour from another. An eighth is added here, in the event, and by a migration.
DIMENSIONS: Final = ("provider", "model", "operation", "feature", "task_type", "team", "environment")

# Sums that a row from before migration 016 may not know.
TOKENS_WITHOUT_A_PRICE: Final = ("unpriced_tokens", "partial_tokens")

# What is stored, by the names that readers know. Each is a view that has each row once, over a table named *_rows.
STORED: Final = (
    *("usage_events", "usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily", "alerts"),
    *("dead_letters", "dead_letter_states", "ingest_ledger", "removed_events", "vanished_records"),
    *("prices", "price_revisions", "repricings", "cost_adjustments", "rule_revisions"),
    *("budget_spend", "budget_sums", "budgets", "alert_deliveries", "alert_channels", "alert_acts"),
    "forecasts",
)


def rows_of(name: str) -> str:
    """The table of what stands on disk, superseded rows included. The view ``name`` has each row once."""
    return f"{name}_rows"


VERSION_END: Final = 2**48  # no partition has as many records; a version at or above it is not an offset
