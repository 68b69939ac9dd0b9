"""Own prices in the warehouse, as numbered revisions.

A revision is a list of files, whole. It is written once and never changed; the greatest number is in force. Of two
publications that took one number at the same time the earlier one has it, by the warehouse's clock, and the other takes
the next: so whoever asks is told the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from costream.pricing.money import told
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer

TABLE: Final = "price_revisions"
SETTLE_SECONDS: Final = 1.0  # a row of some megabytes takes a tenth of it
ATTEMPTS_MAX: Final = 100  # each is lost to somebody who has published meanwhile

_TOLD: Final = "revision, publication, published_at, published_by, note, build, file_names, file_texts"
_FIRST: Final = "ORDER BY revision DESC, published_at, publication LIMIT 1 BY revision"
REVISIONS: Final = f"SELECT {_TOLD} FROM price_revisions_rows FINAL"  # noqa: S608 - names written here
NEWEST: Final = f"{REVISIONS} WHERE revision > {{above:UInt32}} {_FIRST} LIMIT 1"
NUMBERED: Final = f"{REVISIONS} WHERE revision = {{number:UInt32}} {_FIRST}"
ALL: Final = f"{REVISIONS} {_FIRST}"
UNTOLD: Final = f"{REVISIONS} WHERE NOT money_told"

_AMOUNT: Final = pl.Decimal(38, 12)
_KINDS: Final = pl.Schema(
    {
        "revision": pl.UInt32(),
        "file_names": pl.List(pl.String),
        "file_texts": pl.List(pl.String),
        "exchange_rates": pl.List(
            pl.Struct({"currency": pl.String, "first_day": pl.Date, "per_usd": _AMOUNT, "source": pl.String})
        ),
        "credit_prices": pl.List(
            pl.Struct({"first_day": pl.Date, "price": _AMOUNT, "currency": pl.String, "source": pl.String})
        ),
        "feature_credits": pl.List(pl.Struct({"feature": pl.String, "first_day": pl.Date, "credits": _AMOUNT})),
        "money_told": pl.UInt8(),
    }
)


@dataclass(frozen=True, slots=True)
class Revision:
    """``files`` are the texts of TOML files by their names, in their order. ``build`` names the price table of the
    build that checked them."""

    number: int
    publication: str
    published_at: datetime
    published_by: str
    note: str
    build: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        return digest_of(self.files)


def digest_of(files: Mapping[str, str]) -> str:
    """Of names and texts, in their order."""
    return hashlib.sha256(json.dumps(list(files.items())).encode()).hexdigest()[:12]


def newest(reader: Reader, *, above: int = 0) -> Revision | None:
    """The revision in force; None if none is above this number."""
    return _one(reader.frame(NEWEST, above=above))


def numbered(reader: Reader, number: int) -> Revision | None:
    return _one(reader.frame(NUMBERED, number=number))


def revisions(reader: Reader) -> list[Revision]:
    """All of them, the newest first."""
    return [_revision(row) for row in reader.frame(ALL).iter_rows(named=True)]


def publish(
    reader: Reader,
    writer: Writer,
    files: Mapping[str, str],
    *,
    published_by: str,
    note: str,
    build: str,
    new_id: Callable[[], str],
    pause: Callable[[], None],
) -> Revision:
    """Write files that were checked as the next revision, and return it as everybody will read it.

    ``pause`` waits for SETTLE_SECONDS: an insert of somebody else that began earlier may still be on its way.
    """
    for _ in range(ATTEMPTS_MAX):
        last, publication = newest(reader), new_id()
        number = last.number + 1 if last else 1
        row = {
            "revision": number,
            "publication": publication,
            "published_by": published_by,
            "note": note,
            "build": build,
        }
        writer.insert(TABLE, pl.DataFrame([row | _of_files(files)], schema_overrides=_KINDS))
        pause()
        written = numbered(reader, number)
        if written and written.publication == publication:
            return written
    raise AssertionError(f"{ATTEMPTS_MAX} others have published meanwhile, one after the other")


def tell_money(reader: Reader, writer: Writer) -> list[int]:
    """Put beside revisions of an earlier release what their files say of money by day, and return their numbers."""
    untold = [_revision(row) for row in reader.frame(UNTOLD).iter_rows(named=True)]
    for one in untold:
        row = {name: getattr(one, name) for name in ("publication", "published_at", "published_by", "note", "build")}
        writer.insert(
            TABLE, pl.DataFrame([{"revision": one.number} | row | _of_files(one.files)], schema_overrides=_KINDS)
        )
    return [one.number for one in untold]


def _of_files(files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "file_names": list(files),
        "file_texts": list(files.values()),
        "digest": digest_of(files),
        **asdict(told(files)),
        "money_told": 1,
    }


def _one(found: pl.DataFrame) -> Revision | None:
    return _revision(found.row(0, named=True)) if found.height else None


def _revision(row: Mapping[str, Any]) -> Revision:
    return Revision(
        number=row["revision"],
        files=dict(zip(row["file_names"], row["file_texts"], strict=True)),
        **{name: row[name] for name in ("publication", "published_at", "published_by", "note", "build")},
    )
