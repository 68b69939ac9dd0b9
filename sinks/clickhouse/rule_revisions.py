"""Rules in the warehouse: what workers judge by, whichever machine they run on."""

from __future__ import annotations

from typing import Final

from sinks.clickhouse.revisions import Revisions

RULES: Final = Revisions("rule_revisions")
