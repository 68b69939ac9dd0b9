"""Messages that no service should send and every topic will meet: each is refused, and its reason must say why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tests.support.records import wire


@dataclass(frozen=True, slots=True)
class Hostile:
    """A value, and the words by which its reason helps: the field, the value or the rule."""

    name: str
    value: bytes | None
    kind: str
    told: tuple[str, ...]


def _with(member: str, base: bytes = b"") -> bytes:
    """A good event with one more member, spelt by hand."""
    return (base or wire())[:-1] + b"," + member.encode() + b"}"


def _invalid(name: str, field: str, value: Any, *told: str) -> Hostile:
    return Hostile(name, wire(**{field: value}), "invalid", (field, *told))


def _spelt(name: str, member: str, *told: str, kind: str = "invalid") -> Hostile:
    field = member.split('"')[1]
    bare = json.loads(wire())
    bare.pop(field, None)
    return Hostile(name, _with(member, json.dumps(bare).encode()), kind, told or (field,))


def _malformed(name: str, value: bytes | None, *told: str) -> Hostile:
    return Hostile(name, value, "malformed", told)


JSON = "it is not JSON"
OBJECT = "it must be an object"
GREATER = "at least 0"
TOO_LONG = "at most 128 characters"
RFC = "is not RFC 3339 with a zone"
EXTRA = "no event has such a field"
PATTERN = "control characters are not allowed"
AMOUNT = "is not plain decimal text"
TEN_MB: Final = 10 * 1024 * 1024

HOSTILE: Final = [
    # not one JSON object
    _malformed("a tombstone", None, "tombstone"),
    _malformed("nothing", b"", JSON, "EOF"),
    _malformed("white space", b" \n\t ", JSON),
    _malformed("a list that does not end", b"[" + wire(), JSON, "EOF"),
    Hostile("a list of a thousand numbers", b"[" + b"1," * 999 + b"1]", "invalid", (OBJECT, "[1,1,1")),
    _malformed("a long list that does not end", b"[" + wire("r" * 4_096), JSON),
    _malformed("a truncated event", wire()[:-1], JSON, "EOF"),
    _malformed("an event cut in a string", wire()[:40], JSON),
    _malformed("bytes that are not JSON", b"\x00\x01\x02\xff", JSON),
    _malformed("invalid UTF-8 in a name", wire().replace(b"chatbot", b"chat\xff\xfe"), JSON),
    _malformed("an overlong UTF-8 sequence", wire().replace(b"chatbot", b"\xc0\xaf"), JSON),
    _malformed("a surrogate in UTF-8", wire().replace(b"chatbot", b"\xed\xa0\x80"), JSON),
    _malformed("a byte order mark", b"\xef\xbb\xbf" + wire(), JSON),
    _malformed("UTF-16", wire().decode().encode("utf-16"), JSON),
    _malformed("a lone high surrogate", wire().replace(b"chatbot", b"\\ud800"), JSON),
    _malformed("a lone low surrogate", wire().replace(b"chatbot", b"\\udc00x"), JSON),
    _malformed("two objects in one value", wire() + wire(), JSON, "trailing"),
    _malformed("two objects on two lines", wire() + b"\n" + wire(), JSON, "trailing"),
    _malformed("trailing garbage", wire() + b";", JSON, "trailing"),
    _malformed("a trailing comma", wire()[:-1] + b",}", JSON),
    _malformed("a nul byte at the end", wire() + b"\x00", JSON),
    _malformed("a bare line break in a string", wire().replace(b"chatbot", b"chat\nbot"), JSON, "control character"),
    _malformed("a bare CR LF that forges a row", wire().replace(b"chatbot", b"x\r\n" + wire()), JSON),
    _malformed("single quotes", wire().replace(b'"', b"'"), JSON),
    _malformed("a comment", b"/* hello */" + wire(), JSON),
    _malformed("an unquoted key", b"{request_id:1}", JSON),
    _malformed("a hexadecimal number", _with('"duration_ms":0x10'), JSON),
    _malformed("a leading zero", _with('"duration_ms":007'), JSON),
    _malformed("a plus sign", _with('"duration_ms":+1'), JSON),
    _malformed("10 MB of metadata", wire(metadata={"x": "y" * TEN_MB}), "bytes; an event has at most 65536"),
    _malformed("10 MB of noise", b"\xaa" * TEN_MB, "10485760 bytes", "at most 65536"),
    _malformed("an event padded with white space", wire() + b" " * 65_536, "at most 65536"),
    _malformed("30,000 brackets", b"[" * 30_000, JSON, "recursion"),
    _malformed("metadata nested 15,000 deep", _with('"metadata":{"a":' + "[" * 15_000 + "]" * 15_000 + "}"), JSON),
    _malformed("a repeated count", _with('"input_tokens":5'), "'input_tokens' stands twice"),
    _malformed("a repeated count, first negative", _with('"input_tokens":5', wire(input_tokens=-5)), "stands twice"),
    _malformed("a repeated id", _with('"request_id":"other"'), "'request_id' stands twice"),
    _malformed("a key repeated by an escape", _with('"input_t\\u006fkens":5'), "'input_tokens' stands twice"),
    _malformed("a key repeated in metadata", _with('"metadata":{"a":1,"a":2}'), "'a' stands twice"),
    _malformed("a unit repeated", _with('"quantities":{"images":"1","images":"2"}'), "'images' stands twice"),
    # JSON, and not an event
    Hostile("null", b"null", "invalid", (OBJECT, "None")),
    Hostile("a number", b"42", "invalid", (OBJECT, "42")),
    Hostile("a string", b'"event"', "invalid", (OBJECT, "'event'")),
    Hostile("NaN", b"NaN", "invalid", (OBJECT, "nan")),
    Hostile("an array of events", b"[" + wire() + b"," + wire() + b"]", "invalid", (OBJECT,)),
    Hostile("an event in an envelope", b'{"event":' + wire() + b"}", "invalid", ("event", EXTRA)),
    Hostile("an empty object", b"{}", "invalid", ("request_id: it is required", "occurred_at", "provider", "model")),
    # names
    _invalid("an empty id", "request_id", "", "must not be empty", "''"),
    _invalid("a list for a name", "provider", [], "must be text"),
    _spelt("a null where a name belongs", '"model":null', "model", "None"),
    _invalid("a number for an id", "request_id", 12345, "must be text", "12345"),
    _invalid("an id of 129 characters", "request_id", "x" * 129, TOO_LONG),
    _invalid("a line break in a name", "feature", "chat\nbot", PATTERN, "\\n"),
    _invalid("a nul in a name", "user_id", "u\x00", PATTERN),
    _invalid("a terminal escape in a name", "team", "\x1b[2J", PATTERN),
    _invalid("an error text without end", "error", "x" * 1025, "at most 1024 characters"),
    # forged columns, SQL and other fields nobody asked for
    _invalid("a forged offset", "source_offset", 0, EXTRA),
    _invalid("a forged partition", "source_partition", 3, EXTRA),
    _invalid("a forged cost", "cost_usd", "0.00", EXTRA),
    _invalid("a forged price revision", "price_rev", 65_535, EXTRA),
    _invalid("a forged row number", "row", 0, EXTRA),
    _invalid("a forged column of this process", "reported_cost_pico", 1, EXTRA),
    _invalid("the text of a prompt", "prompt", "dear model", EXTRA),
    _invalid("a misspelt field", "input_token", 5, EXTRA, "5"),
    _invalid("a field in capitals", "Input_Tokens", 5, EXTRA),
    Hostile("SQL for a field", wire(**{"x') ; DROP TABLE usage_events --": 1}), "invalid", ("DROP TABLE", EXTRA)),
    Hostile("SQL for an operation", wire(operation="'; DROP TABLE usage_events; --"), "invalid", ("operation", "DROP")),
    Hostile("a log line for a field", wire(**{"a\n2026-11-23 ERROR forged": 1}), "invalid", ("\\n2026", EXTRA)),
    # counts
    _invalid("negative tokens", "input_tokens", -1, GREATER, "-1"),
    _invalid("tokens beyond belief", "input_tokens", 1_000_000_001, "at most 1000000000"),
    _invalid("tokens beyond 64 bits", "output_tokens", 2**64, "output_tokens"),
    _invalid("tokens of a thousand digits", "output_tokens", 10**999, "output_tokens"),
    _invalid("half a token", "input_tokens", 0.5, "whole number", "0.5"),
    _invalid("a whole float below nothing", "input_tokens", -1000.0, GREATER, "-1000"),
    _spelt("an exponent below nothing", '"input_tokens":1e-3', "input_tokens", "whole number"),
    _spelt("a number without end", '"input_tokens":1e400', "input_tokens", "inf"),
    _spelt("NaN tokens", '"input_tokens":NaN', "input_tokens", "nan"),
    _spelt("endless tokens", '"input_tokens":-Infinity', "input_tokens", "-inf"),
    _invalid("a number as a string", "input_tokens", "1000", "whole number", "'1000'"),
    _invalid("a truth for a number", "input_tokens", True, "whole number", "True"),
    _invalid("a list of tokens", "input_tokens", [1, 2], "whole number"),
    _invalid("a negative duration", "duration_ms", -1, GREATER),
    _invalid("a duration of 32 days", "duration_ms", 2_764_800_000, "2678400000"),
    # contradictions
    Hostile(
        "more cached than went in",
        wire(input_tokens=10, cache_read_tokens=6, cache_write_tokens=5),
        "invalid",
        ("details of input_tokens sum to 11", "more than input_tokens = 10"),
    ),
    Hostile(
        "cached without a total", wire(input_tokens=None, cache_read_tokens=1), "invalid", ("without input_tokens",)
    ),
    Hostile("more reasoned than came out", wire(reasoning_tokens=501), "invalid", ("501", "output_tokens = 500")),
    Hostile("usage that is missing and given", wire(usage_status="missing"), "invalid", ("'missing' but usage",)),
    # times
    _invalid("a time without a zone", "occurred_at", "2026-11-23T12:00:00", RFC),
    _invalid("a date", "occurred_at", "2026-11-23", RFC),
    _invalid("seconds since 1970", "occurred_at", 1_795_435_200, "occurred_at"),
    _invalid("seconds since 1970 as text", "occurred_at", "1795435200", RFC),
    _invalid("a day that does not exist", "occurred_at", "2026-02-29T12:00:00Z", "day is out of range"),
    _invalid("the hour 25", "occurred_at", "2026-11-23T25:00:00Z", "hour must be in"),
    _invalid("a leap second", "occurred_at", "2026-11-23T11:59:60Z", "second must be in"),
    _invalid("a time before the years", "occurred_at", "0001-01-01T00:00:00+01:00", "years 1 to 9999"),
    _invalid("yesterday", "occurred_at", "yesterday", RFC, "'yesterday'"),
    Hostile("an event of 1970", wire(occurred_at="1970-01-01T00:00:00Z"), "too_old", ("1970-01-01", "retention")),
    Hostile("an event of 9999", wire(occurred_at="9999-12-31T23:59:59Z"), "too_early", ("9999-12-31", "clock")),
    # money, enumerations, maps
    _invalid("money as a float below nothing", "reported_cost_usd", -0.1, "not between 0 and 1e6", "-0.1"),
    _invalid("a million for one call as a number", "revenue_usd", 1_000_000, "not between 0 and 1e6"),
    _spelt("money that is NaN", '"reported_cost_usd":NaN', "reported_cost_usd", "nan"),
    _invalid("money as a truth", "revenue_usd", True, 'decimal text such as "0.05"', "True"),
    _invalid("negative money", "reported_cost_usd", "-0.01", AMOUNT),
    _invalid("money with an exponent above nothing", "reported_cost_usd", "1e3", AMOUNT),
    _invalid("a million for one call", "revenue_usd", "1000000", AMOUNT),
    _invalid("money that is no number", "reported_cost_usd", "NaN", AMOUNT),
    _invalid("money in Arabic digits", "reported_cost_usd", "\u0661", AMOUNT),
    _invalid("a utilisation in percent", "utilization", "85", AMOUNT, "85"),
    _invalid("a utilisation in percent as a number", "utilization", 85.0, "not between 0 and 1", "85.0"),
    _invalid("money of 60,000 digits", "reported_cost_usd", "9" * 60_000, AMOUNT),
    _invalid("an unknown operation", "operation", "mining", "'chat'", "'mining'"),
    _invalid("an unknown status", "status", "fine", "'ok' or 'error'"),
    _invalid("another version", "schema_version", 2, "it must be 1", "2"),
    _invalid("a version as text", "schema_version", "1", "it must be 1"),
    _invalid("metadata that is a list", "metadata", [], "metadata"),
    _invalid("metadata of 4,097 bytes", "metadata", {"k": "x" * 4_089}, "4097 bytes of JSON, more than 4096"),
    _spelt("metadata that is NaN", '"metadata":{"a":NaN}', "metadata"),
    _invalid("a quantity as a number", "quantities", {"images": 2}, "images", "decimal text"),
    _invalid("a unit in capitals", "quantities", {"GPU hours": "2"}, "lower-case"),
    _invalid("units that are a text of colons", "quantities", ":" * 40, "it must be an object"),
    _invalid("seventeen units", "quantities", {f"u{at}": "1" for at in range(17)}, "at most 16 entries"),
    _invalid("a price as a float", "unit_prices", {"images": 0.1}, 'decimal text such as "0.05"', "0.1"),
    _invalid("a price with an exponent", "unit_prices", {"images": "1e-3"}, AMOUNT),
    _invalid("a price beyond a picodollar", "unit_prices", {"images": "0.0000000000001"}, AMOUNT),
    _invalid("a price below nothing", "unit_prices", {"images": "-2"}, AMOUNT),
]
# The longest fit no topic with our own limits; a topic with a larger one carries them.
SENDABLE: Final = [hostile for hostile in HOSTILE if len(hostile.value or b"") <= 1024 * 1024]
