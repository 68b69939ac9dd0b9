"""What a view says of a question that it refuses."""

from __future__ import annotations

from typing import Final

from sinks.errors import WarehouseError, WarehouseRefused

NOT_ASKED_RIGHT: Final = {36, 41, 395}  # of the engine: a zone, a time, and what a view refuses in a sentence


def refused_in(error: WarehouseError) -> str:
    """What a view says of a question that it refuses; empty where it is something else."""
    if not isinstance(error, WarehouseRefused) or error.code not in NOT_ASKED_RIGHT:
        return ""
    told = error.reason.partition("DB::Exception: ")[2] or error.reason
    return told.partition(": while executing")[0].partition(". (")[0].strip()
