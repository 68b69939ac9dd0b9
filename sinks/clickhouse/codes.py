"""What ClickHouse's error numbers mean for whoever has rows to store: the one place where that is decided.

Three things can be done. *Wait*: the same statement works once somebody makes room, merges catch up or the server is
back. *Split*: the insert is too large for the server as it is now, and its halves may pass. A batch may be stored piece
by piece, since every row replaces its equal. *Stop*: the same statement will be refused for ever. A person is needed.

No row is given up. What the gate lets through fits its column; a row that is refused all the same shows a bug of ours,
and the rollups may have counted it. So the worker stops and names the row, which stays in Kafka.

A number that is not listed means stop. An answer without a number does not come from ClickHouse, whatever it says: a
proxy or a starting server gave it, and it is waited out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Remedy(Enum):
    """What can be done about an error."""

    WAIT = "wait"
    SPLIT = "split"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Code:
    """One of ClickHouse's error numbers. ``said`` narrows it down where one number means several things."""

    number: int
    name: str
    remedy: Remedy
    why: str
    said: str = ""


_DISK: Final = "a full or failing disk; room can be made"
_AWAY: Final = "a part of the cluster does not answer"
_CUT: Final = "the connection broke in the middle"
_PART: Final = "a part of a table is broken; the embedded engine mends that within seconds, a server needs a person"
_OF_PART: Final = "while reading from part"
_SCHEMA: Final = "the schema is not the one this build knows: `costream migrate status`"
_ROW: Final = "a value does not fit its column: a bug of ours"
_RIGHTS: Final = "user or password, or what the user may do"

CODES: Final = (
    Code(1000, "POCO_EXCEPTION", Remedy.WAIT, "the server could not reach something of its own"),
    Code(1001, "STD_EXCEPTION", Remedy.WAIT, _DISK, said="No space left"),
    Code(75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", Remedy.WAIT, _DISK),
    Code(76, "CANNOT_OPEN_FILE", Remedy.WAIT, _DISK),
    Code(77, "CANNOT_CLOSE_FILE", Remedy.WAIT, _DISK),
    Code(87, "CANNOT_SEEK_THROUGH_FILE", Remedy.WAIT, _DISK),
    Code(88, "CANNOT_TRUNCATE_FILE", Remedy.WAIT, _DISK),
    Code(243, "NOT_ENOUGH_SPACE", Remedy.WAIT, _DISK),
    Code(481, "CANNOT_CREATE_DIRECTORY", Remedy.WAIT, _DISK),
    Code(3, "UNEXPECTED_END_OF_FILE", Remedy.WAIT, _CUT),
    Code(23, "CANNOT_READ_FROM_ISTREAM", Remedy.WAIT, _CUT),
    Code(32, "ATTEMPT_TO_READ_AFTER_EOF", Remedy.WAIT, _CUT),
    Code(33, "CANNOT_READ_ALL_DATA", Remedy.WAIT, _CUT),
    Code(246, "CORRUPTED_DATA", Remedy.WAIT, _PART),
    Code(228, "BAD_SIZE_OF_FILE_IN_DATA_PART", Remedy.WAIT, _PART),
    Code(40, "CHECKSUM_DOESNT_MATCH", Remedy.WAIT, _PART, said=_OF_PART),
    Code(107, "FILE_DOESNT_EXIST", Remedy.WAIT, _PART, said=_OF_PART),
    Code(271, "CANNOT_DECOMPRESS", Remedy.WAIT, _PART, said=_OF_PART),
    Code(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", Remedy.WAIT, _PART, said=_OF_PART),
    Code(117, "INCORRECT_DATA", Remedy.WAIT, _PART, said=_OF_PART),
    Code(159, "TIMEOUT_EXCEEDED", Remedy.WAIT, "the server is busy"),
    Code(160, "TOO_SLOW", Remedy.WAIT, "the server is busy"),
    Code(202, "TOO_MANY_SIMULTANEOUS_QUERIES", Remedy.WAIT, "the server is busy"),
    Code(203, "NO_FREE_CONNECTION", Remedy.WAIT, "the server is busy"),
    Code(439, "CANNOT_SCHEDULE_TASK", Remedy.WAIT, "the server is busy"),
    Code(473, "DEADLOCK_AVOIDED", Remedy.WAIT, "another statement held the table"),
    Code(236, "ABORTED", Remedy.WAIT, "the server is shutting down"),
    Code(394, "QUERY_WAS_CANCELLED", Remedy.WAIT, "somebody ended the statement"),
    Code(198, "DNS_ERROR", Remedy.WAIT, _AWAY),
    Code(209, "SOCKET_TIMEOUT", Remedy.WAIT, _AWAY),
    Code(210, "NETWORK_ERROR", Remedy.WAIT, _AWAY),
    Code(225, "NO_ZOOKEEPER", Remedy.WAIT, _AWAY),
    Code(242, "TABLE_IS_READ_ONLY", Remedy.WAIT, "a replica has lost its keeper"),
    Code(279, "ALL_CONNECTION_TRIES_FAILED", Remedy.WAIT, _AWAY),
    Code(285, "TOO_FEW_LIVE_REPLICAS", Remedy.WAIT, _AWAY),
    Code(286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", Remedy.WAIT, _AWAY),
    Code(319, "UNKNOWN_STATUS_OF_INSERT", Remedy.WAIT, "stored or not: the repeat replaces it"),
    Code(425, "SYSTEM_ERROR", Remedy.WAIT, "the system under the server failed"),
    Code(999, "KEEPER_EXCEPTION", Remedy.WAIT, _AWAY),
    Code(241, "MEMORY_LIMIT_EXCEEDED", Remedy.SPLIT, "a smaller insert needs less; alone it is waited out"),
    Code(252, "TOO_MANY_PARTS", Remedy.SPLIT, "one insert of too many partitions", said="for single INSERT block"),
    Code(252, "TOO_MANY_PARTS", Remedy.WAIT, "merges catch up"),
    Code(396, "TOO_LARGE_BODY", Remedy.SPLIT, "the endpoint takes smaller bodies"),
    Code(16, "NO_SUCH_COLUMN_IN_TABLE", Remedy.STOP, _SCHEMA),
    Code(47, "UNKNOWN_IDENTIFIER", Remedy.STOP, _SCHEMA),
    Code(60, "UNKNOWN_TABLE", Remedy.STOP, "`costream migrate up` creates it"),
    Code(81, "UNKNOWN_DATABASE", Remedy.STOP, "`costream migrate up` creates it"),
    Code(62, "SYNTAX_ERROR", Remedy.STOP, "a bug of ours, or a server older than 25.8"),
    Code(46, "UNKNOWN_FUNCTION", Remedy.STOP, "a server older than 25.8"),
    Code(456, "UNKNOWN_QUERY_PARAMETER", Remedy.STOP, "a bug of ours"),
    Code(6, "CANNOT_PARSE_TEXT", Remedy.STOP, _ROW),
    Code(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", Remedy.STOP, _ROW),
    Code(53, "TYPE_MISMATCH", Remedy.STOP, _ROW),
    Code(69, "ARGUMENT_OUT_OF_BOUND", Remedy.STOP, _ROW),
    Code(117, "INCORRECT_DATA", Remedy.STOP, _ROW),
    Code(131, "TOO_LARGE_STRING_SIZE", Remedy.STOP, _ROW),
    Code(349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", Remedy.STOP, _ROW),
    Code(407, "DECIMAL_OVERFLOW", Remedy.STOP, _ROW),
    Code(469, "VIOLATED_CONSTRAINT", Remedy.STOP, "somebody gave the table a constraint that a row does not meet"),
    Code(164, "READONLY", Remedy.STOP, _RIGHTS),
    Code(497, "ACCESS_DENIED", Remedy.STOP, _RIGHTS),
    Code(516, "AUTHENTICATION_FAILED", Remedy.STOP, _RIGHTS),
)


# The numbers of a single row's fault: the batch is searched for it.
OF_A_ROW: Final = frozenset(code.number for code in CODES if code.why == _ROW) | {469}


def remedy_of(number: int, said: str) -> Remedy:
    """What can be done about an answer with this number and text."""
    for code in CODES:
        if code.number == number and code.said in said:
            return code.remedy
    return Remedy.STOP
