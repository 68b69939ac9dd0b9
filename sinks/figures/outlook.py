"""Where the day, the week and the month will end, told from stored hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from sinks.answers.forecast import Forecast, Hour, forecast, known_since
from sinks.clickhouse.hours_of_subjects import hours_of_subjects
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.figures.spans import BadQuestion


def outlook(reader: Reader, *, only: Mapping[str, Sequence[str]], now: datetime, clocks: tzinfo) -> Forecast:
    """Of everything together, or of calls with these values; USD."""
    if strange := sorted(set(only) - set(DIMENSIONS)):
        raise BadQuestion(f"{strange[0]}: a forecast is told from hours, which have {', '.join(DIMENSIONS)}")
    since = known_since(now, clocks)
    hours = hours_of_subjects(reader, since=since, until=now, only=only)
    return forecast([Hour(*row) for row in hours.iter_rows()], now=now, since=since, zone=clocks)
