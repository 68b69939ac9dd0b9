"""The words that tables, frames and questions share, each written once. Names and numbers only: nothing is imported."""

from __future__ import annotations

from typing import Final

# What tells one series of an hour from another. An eighth is added here, in the event, and by a migration.
DIMENSIONS: Final = ("provider", "model", "operation", "feature", "task_type", "team", "environment")

VERSION_END: Final = 2**48  # no partition has as many records; a version at or above it is not an offset
