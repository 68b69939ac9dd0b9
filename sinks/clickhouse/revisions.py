"""Files in the warehouse, as numbered revisions: own prices, and rules.

A revision is a list of files, whole. It is written once and never changed; the greatest number is in force. Of two
publications that took one number at the same time the earlier one has it, by the warehouse's clock, and the other takes
the next: so whoever asks is told the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer

NUMBER_MAX: Final = 2**32 - 1
SETTLE_SECONDS: Final = 1.0  # a row of some megabytes takes a tenth of it
ATTEMPTS_MAX: Final = 100  # each is lost to somebody who has published meanwhile
KINDS: Final = {"revision": pl.UInt32(), "file_names": pl.List(pl.String), "file_texts": pl.List(pl.String)}

_TOLD: Final = "revision, publication, published_at, published_by, note, build, file_names, file_texts"
_FIRST: Final = "ORDER BY revision DESC, published_at, publication LIMIT 1 BY revision"


@dataclass(frozen=True, slots=True)
class Revision:
    """``files`` are the texts of TOML files by their names, in their order. ``build`` names the build that checked
    them."""

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


@dataclass(frozen=True, slots=True)
class Revisions:
    """Those of one table. ``besides``: what its rows have of the files in columns of their own, of these ``kinds``."""

    table: str
    besides: Callable[[Mapping[str, str]], Mapping[str, Any]] = lambda _: {}
    kinds: Mapping[str, pl.DataType] = field(default_factory=dict)

    def newest(self, reader: Reader, *, above: int = 0) -> Revision | None:
        """The revision in force; None if none is above this number."""
        return self._one(reader, f"WHERE revision > {{above:UInt32}} {_FIRST} LIMIT 1", above=above)

    def numbered(self, reader: Reader, number: int) -> Revision | None:
        """None if nobody has published it."""
        if number > NUMBER_MAX:
            return None
        return self._one(reader, f"WHERE revision = {{number:UInt32}} {_FIRST}", number=number)

    def all(self, reader: Reader) -> list[Revision]:
        """The newest first."""
        return self.asked(reader, _FIRST)

    def asked(self, reader: Reader, which: str, **parameters: int) -> list[Revision]:
        """Every row, void ones included, unless ``which`` says it: the end of a question."""
        rows = reader.frame(f"SELECT {_TOLD} FROM {rows_of(self.table)} FINAL {which}", **parameters)  # noqa: S608 - names written here
        return [_revision(row) for row in rows.iter_rows(named=True)]

    def publish(
        self,
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
            last, publication = self.newest(reader), new_id()
            number = last.number + 1 if last else 1
            by = {"publication": publication, "published_by": published_by, "note": note, "build": build}
            self.write(writer, number, files, **by)
            pause()
            written = self.numbered(reader, number)
            if written and written.publication == publication:
                return written
        raise AssertionError(f"{ATTEMPTS_MAX} others have published meanwhile, one after the other")

    def write(self, writer: Writer, number: int, files: Mapping[str, str], **told: Any) -> None:
        row = {
            "revision": number,
            **told,
            "file_names": list(files),
            "file_texts": list(files.values()),
            "digest": digest_of(files),
            **self.besides(files),
        }
        writer.insert(self.table, pl.DataFrame([row], schema_overrides=pl.Schema({**KINDS, **self.kinds})))

    def _one(self, reader: Reader, which: str, **parameters: int) -> Revision | None:
        found = self.asked(reader, which, **parameters)
        return found[0] if found else None


def _revision(row: Mapping[str, Any]) -> Revision:
    return Revision(
        number=row["revision"],
        files=dict(zip(row["file_names"], row["file_texts"], strict=True)),
        **{name: row[name] for name in ("publication", "published_at", "published_by", "note", "build")},
    )
