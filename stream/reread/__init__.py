"""The way back: offsets that a worker has applied already are read again from Kafka, and raw rows and dead letters that
are missing in the warehouse are written again (docs/audit.md).

``log`` reads Kafka, ``judge`` says what each record was, ``restore`` asks the warehouse and writes, ``group`` sets the
group back where it is ahead of the ledger. Rollups and the
ledger are never written here: what they have applied would be counted twice. Nothing in here may join the group.
"""

from stream.reread.group import GroupAtWork, Rewind, rewind, rewinds
from stream.reread.log import EventLog, LogEnds, LogRecord
from stream.reread.restore import Derive, Offsets, Outcome, reread

__all__ = [
    "Derive",
    "EventLog",
    "GroupAtWork",
    "LogEnds",
    "LogRecord",
    "Offsets",
    "Outcome",
    "Rewind",
    "reread",
    "rewind",
    "rewinds",
]
