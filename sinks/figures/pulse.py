"""Whether there is news, from small tables alone: it is asked every two seconds while somebody looks at the page."""

from __future__ import annotations

from typing import Final

from sinks.clickhouse.reader import Reader

_PULSE: Final = """
SELECT concat(
  toString((SELECT sum(received) FROM ingest_ledger)), ' ',
  toString((SELECT (count(), max(stored_at)) FROM alerts)), ' ',
  toString((SELECT (count(), max(at)) FROM alert_acts)), ' ',
  toString((SELECT (count(), max(ended_at)) FROM repricings))) AS pulse"""


def pulse(reader: Reader) -> str:
    """A text that is another one when records were stored, an alert has changed, or calls were priced anew."""
    (found,) = reader.frame(_PULSE).row(0)
    return str(found)
