"""What Google Cloud exports: the billing table of BigQuery, as JSON or CSV.

Its times are those of UTC. A line is of a SKU, whose description names a model and what was used of it. Tokens that
were read from a cache are apart from the others; ours have them in the input. The reports of the billing console are by
days of Pacific time or by months, so nothing can be matched with them.
"""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import Any, Final

from sinks.answers.bill.formats import Format, Unusable
from sinks.answers.bill.lines import Figures, Kind, Line, added
from sinks.answers.bill.records import Record, decimal_of

BOTH: Final[frozenset[Kind]] = frozenset({"usage", "cost"})
SERVICES: Final = re.compile(r"gemini|vertex ai|generative language", re.IGNORECASE)
# Such as "Generate content input token count gemini 2.5 flash short input text" of the Gemini API, and of Vertex AI
# "Gemini 2.5 Flash GA Text Input - Predictions". A preview has a name of its own.
MODEL: Final = re.compile(
    r"gemini[ _-](?P<version>\d+(?:\.\d+)?)[ _-](?P<size>pro|flash)(?P<lite>[ _-]lite)?(?P<preview>[ _-]preview)?"
    r"(?P<image>[ _-]native[ _-]image[ _-]generation)?",
    re.IGNORECASE,
)
# What kind of tokens it is stands before "token count" there, so an image at the end is of the model's name.
IMAGE_MODEL: Final = re.compile(
    r"(?:text|image)[ _](?:input|output)[ _]token[ _]count[ _]for[ _]gemini.*[ _]image$", re.IGNORECASE
)
# Of models whose names cannot be told by that.
OTHERS: Final = re.compile(r"native[ _-]audio|computer[ _-]use|robotics|\blive\b|\btts\b", re.IGNORECASE)
EMBEDDING: Final = re.compile(r"gemini-embedding-[\w.-]+|text-embedding-[\w.-]+", re.IGNORECASE)
COUNTED: Final = re.compile(r"(?P<kind>input|output)[ _]token[ _]count", re.IGNORECASE)
PREDICTED: Final = re.compile(r"\b(?P<kind>input|output)\b", re.IGNORECASE)
CACHED: Final = re.compile(r"cach", re.IGNORECASE)
STORED: Final = re.compile(r"storage", re.IGNORECASE)
TOKEN_UNITS: Final = {"count", "token", "tokens"}


def _day(record: Record) -> date:
    return record.day("usage_start_time", "usage_end_time")


def _line(record: Record, day: date) -> Line | None:
    if not SERVICES.search(record.text("service_description")):
        return None
    sku = record.text("sku_description")
    model = None if record.text("cost_type") not in {"", "regular"} else model_of(sku)
    cost, credit = record.amount("cost"), _credit(record)
    return Line(
        day,
        model or sku or record.text("cost_type") or "without a SKU",
        is_model=model is not None,
        counts=_counts(record, sku) if model else Figures(),
        amount=None if cost is None else added([cost, credit]),
        currency=record.text("currency"),
        credit=credit,
    )


def model_of(sku: str) -> str | None:
    """The model as callers write it. None where the description names none that we know the shape of."""
    if found := EMBEDDING.search(sku):
        return found[0].lower()
    if OTHERS.search(sku) or not (found := MODEL.search(sku)):
        return None
    version = found["version"].removesuffix(".0") if found["version"].startswith("3") else found["version"]
    parts = ["gemini", version, found["size"].lower()]
    parts += [name for name in ("lite", "preview") if found[name]]
    parts += ["image"] if found["image"] or IMAGE_MODEL.search(sku) else []
    return "-".join(parts)


def _counts(record: Record, sku: str) -> Figures:
    """Each kind of token is a line of its own, and what has no line was not used."""
    kind = COUNTED.search(sku) or PREDICTED.search(sku)
    if kind is None or STORED.search(sku) or record.text("usage_unit").lower() not in TOKEN_UNITS:
        return Figures()
    tokens = record.count("usage_amount")
    if tokens is None:
        return Figures()
    if kind["kind"].lower() == "output":
        return Figures(input_tokens=0, output_tokens=tokens, cache_read_tokens=0)
    return Figures(input_tokens=tokens, output_tokens=0, cache_read_tokens=tokens if CACHED.search(sku) else 0)


def _credit(record: Record) -> Decimal:
    """What was taken off, below 0: a list of credits, or their sum."""
    given: Any = record.values.get("credits")
    if isinstance(given, str) and given.lstrip().startswith("["):
        try:
            given = json.loads(given, parse_float=decimal_of, parse_constant=decimal_of)
        except (ValueError, RecursionError):
            record.refuse("credits", "cannot be read as JSON")
    if not isinstance(given, list):
        return record.amount("credits") or Decimal(0)
    amounts = []
    for one in given:
        if not isinstance(one, dict):
            record.refuse("credits", "is no list of credits with an amount each")
        amount = Record(record.file, record.number, {"credits_amount": one.get("amount")}).amount("credits_amount")
        amounts.append(amount or Decimal(0))
    return added(amounts)


FORMATS: Final = (
    Format(
        "billing table of Google Cloud in BigQuery",
        BOTH,
        "usage_start_time",
        ("service_description", "sku_description", "cost", "currency"),
        _day,
        _line,
    ),
)
UNUSABLE: Final = (
    Unusable(
        "a report of Google Cloud's billing console",
        ("service_description", "sku_description", "usage_unit"),
        "its days are those of Pacific time, or it is of a month, so no day of UTC can be told by it. Export the "
        "billing table from BigQuery: docs/reconcile.md has the query",
    ),
)
