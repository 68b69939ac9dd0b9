"""What will have been spent when a day, a week or a month ends.

``rhythm`` knows whole days and nothing of clocks; ``outlook`` has the clocks: what was spent so far, what is left of
today, and how many days come after it.
"""

from sinks.answers.forecast.outlook import (
    PERIODS,
    Forecast,
    Hour,
    Outlook,
    Stretch,
    forecast,
    known_since,
    midnight,
)
from sinks.answers.forecast.telling import as_document

__all__ = ["PERIODS", "Forecast", "Hour", "Outlook", "Stretch", "as_document", "forecast", "known_since", "midnight"]
