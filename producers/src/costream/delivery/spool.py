"""What Kafka would not take yet, kept on disk: a folder of sqlite files, each held by one living process.

    <spool_dir>/<topic>@<pid>-<random>.sqlite

A file is locked (sqlite's exclusive mode) by the process that writes it. The lock goes with the process, so a file
that opens belongs to nobody living: it is adopted and delivered. Order is not kept; the consumer does not need it.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from costream.delivery import voice
from costream.delivery.fork import GATE
from costream.settings import Settings

SUFFIX: Final = ".sqlite"
DELETE_ROWS_MAX: Final = 500  # in one statement; a few pages, so the transaction stays short
WAL_PAGES_MAX: Final = 256  # 1 MiB of write-ahead log until its pages go into the file


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it goes to Kafka. ``report_of`` is 0, or for a report of dropped events how many those are."""

    key: bytes
    value: bytes
    report_of: int = 0

    def lost(self) -> Lost:
        """What is lost if this message is: a report takes the events it reports with it."""
        return Lost(0, self.report_of) if self.report_of else Lost(1, 0)


class Lost(NamedTuple):
    """Events given up, and events that were given up before and whose report is lost now."""

    events: int = 0
    reported: int = 0

    def plus(self, other: Lost) -> Lost:
        return Lost(self.events + other.events, self.reported + other.reported)


@dataclass(frozen=True, slots=True)
class Stored:
    row: int
    message: Message


class SpoolFile:
    """One existing sqlite file in this process's hands. Raises ``sqlite3.Error`` where another process holds it,
    and ``FileNotFoundError`` where it has put it away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The close may come from another thread than the writes; never at the same time.
        self._db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except (sqlite3.Error, OSError):
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        if not self.path.stat().st_size:
            self._db.execute("PRAGMA synchronous = OFF")  # nothing is in it yet, so nothing is waited for
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # survives a killed process; power loss may take the last rows
        self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
        self._db.execute(f"PRAGMA journal_size_limit = {WAL_PAGES_MAX * 4096}")
        with self._transaction():
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS messages"
                " (id INTEGER PRIMARY KEY, spooled_ms INTEGER, report_of INTEGER, key BLOB, value BLOB)"
            )
            self.rows = int(self._db.execute("SELECT count(*) FROM messages").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # sqlite has rolled back by itself where the disk was full
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def insert(self, messages: Sequence[Message], at_ms: int) -> range:
        """The rows that the messages have got; nobody else writes to this file, so they follow each other."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO messages (spooled_ms, report_of, key, value) VALUES (?, ?, ?, ?)",
                [(at_ms, message.report_of, message.key, message.value) for message in messages],
            )
            last = int(self._db.execute("SELECT max(id) FROM messages").fetchone()[0])
        self.rows += len(messages)
        return range(last - len(messages) + 1, last + 1)

    def oldest(self, rows_max: int) -> list[Stored]:
        found = self._db.execute("SELECT id, key, value, report_of FROM messages ORDER BY id LIMIT ?", (rows_max,))
        return [Stored(row, Message(key, value, report_of)) for row, key, value, report_of in found]

    def delete(self, rows: Iterable[int]) -> None:
        with self._transaction():
            gone = self._db.executemany("DELETE FROM messages WHERE id = ?", [(row,) for row in rows]).rowcount
        self.rows -= gone

    def drop_older_than(self, spooled_ms: int, *, keep: frozenset[int]) -> Lost:
        """Give up the rows spooled before that time."""
        lost = Lost()
        while chunk := self._droppable("spooled_ms < ?", spooled_ms, keep):
            lost = lost.plus(self._drop(chunk))
        return lost

    def drop_down_to(self, bytes_max: int, *, keep: frozenset[int]) -> Lost:
        """Give up the oldest rows until the rest fits."""
        lost = Lost()
        while self.bytes_used() > bytes_max and (chunk := self._droppable("?", True, keep)):
            lost = lost.plus(self._drop(chunk))
        return lost

    def _droppable(self, condition: str, value: int, keep: frozenset[int]) -> list[tuple[int, int]]:
        rows = self._db.execute(
            f"SELECT id, report_of FROM messages WHERE {condition} ORDER BY id LIMIT ?",  # noqa: S608 - two fixed texts
            (value, DELETE_ROWS_MAX + len(keep)),
        )
        return [(row, report_of) for row, report_of in rows if row not in keep][:DELETE_ROWS_MAX]

    def _drop(self, chunk: Sequence[tuple[int, int]]) -> Lost:
        self.delete(row for row, _ in chunk)
        return Lost(sum(not report_of for _, report_of in chunk), sum(report_of for _, report_of in chunk))

    def bytes_used(self) -> int:
        """Pages in use; freed ones are filled again before the file grows."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def close(self) -> None:
        """Let go of the file; an empty one is removed, since nothing is in it for anyone."""
        empty = not self.oldest(1)
        self._db.close()
        if empty:
            for path in _files_of(self.path):
                path.unlink(missing_ok=True)


class Spool:
    """This process's part of the spool folder. Methods raise ``sqlite3.Error`` or ``OSError`` if the disk does."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.spool_dir
        self._topic = settings.topic_name
        self._bytes_max = settings.spool_bytes_max
        self._age_max = settings.spool_age_max
        self._own: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        self._lender: SpoolFile | None = None
        self._lent: frozenset[int] = frozenset()
        self._ahead: SpoolFile | None = None  # copies of what Kafka has, and has not answered for yet
        self._rows_left = 0  # after the close

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self._held()) or self._rows_left

    def _held(self) -> list[SpoolFile]:
        return [*self._adopted, *([self._own] if self._own else [])]

    def write(self, messages: Sequence[Message], at: datetime) -> Lost:
        """Keep the messages, in one transaction. Returns what had to go, oldest first, to make room."""
        with GATE:
            if self._own is None:
                self._own = self._create()
            self._own.insert(messages, _milliseconds(at))
            with suppress(sqlite3.Error, OSError):  # the messages are safe; the next write makes the room
                room = max(0, self._bytes_max - self._bytes_of_others())
                return self._own.drop_down_to(room, keep=self._lent_of(self._own))
            return Lost()

    def _create(self) -> SpoolFile:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{self._topic}@{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # user ids are nobody else's business
        return SpoolFile(path)

    def _bytes_of_others(self) -> int:
        assert self._own is not None
        own = {path.name for path in _files_of(self._own.path)}
        total = 0
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # its owner has just delivered it
                total += entry.stat().st_size if entry.name not in own else 0
        return total

    def write_ahead(self, messages: Sequence[Message], at: datetime) -> Sequence[int]:
        """Keep copies of messages that are on their way to Kafka, in a file of their own; returns their rows.

        If this process is killed, the next one finds them. They are not lent meanwhile.
        """
        with GATE:
            if self._ahead is None:
                self._ahead = self._create()
            return self._ahead.insert(messages, _milliseconds(at))

    def end_ahead(self, answered: Sequence[int], *, all_answered: bool) -> None:
        """Forget the copies of what Kafka has acknowledged; after the last answer the rest is spooled like others."""
        if self._ahead is None:
            return
        with GATE:
            self._ahead.delete(answered)
            if all_answered:
                self._adopted.append(self._ahead)
                self._ahead = None
                if self._lender is None:
                    self._put_away_empty()

    def lend(self, rows_max: int) -> list[Stored]:
        """The oldest messages, of adopted files first, to be sent; nothing is lent twice before ``settle``."""
        assert self._lender is None, "the last batch is not settled yet"
        with GATE:
            lender = next((file for file in self._held() if file.rows), None)
            if lender is None:
                return []
            batch = lender.oldest(rows_max)
        self._lender, self._lent = lender, frozenset(stored.row for stored in batch)
        return batch

    def settle(self, delivered: Sequence[int]) -> None:
        """Forget the rows of the lent batch that Kafka has acknowledged; the others can be lent again."""
        lender, self._lender, self._lent = self._lender, None, frozenset()
        assert lender is not None, "nothing was lent"
        with GATE:
            lender.delete(delivered)
            self._put_away_empty()

    def _put_away_empty(self) -> None:
        for file in [file for file in self._held() if not file.rows]:
            file.close()
        self._adopted = [file for file in self._adopted if file.rows]
        self._own = self._own if self._own and self._own.rows else None

    def _lent_of(self, file: SpoolFile) -> frozenset[int]:
        return self._lent if file is self._lender else frozenset()

    def adopt(self) -> int:
        """Take over the files of processes that are gone; returns the messages found in them."""
        if not self._folder.is_dir():
            return 0
        with GATE:
            found = [file for path in self._strangers() if (file := _open_if_orphaned(path))]
            self._adopted += found
            rows = sum(file.rows for file in found)
            if self._lender is None:
                self._put_away_empty()
        return rows

    def _strangers(self) -> list[Path]:
        held = {file.path for file in (*self._held(), *([self._ahead] if self._ahead else []))}
        ours = (path for path in self._folder.iterdir() if path.name.startswith(f"{self._topic}@"))
        return [path for path in ours if path.suffix == SUFFIX and path not in held and _has_bytes(path)]

    def expire(self, now: datetime) -> Lost:
        """Give up what is older than the age bound."""
        oldest_ms = _milliseconds(now - self._age_max)
        lost = Lost()
        with GATE:
            for file in self._held():
                lost = lost.plus(file.drop_older_than(oldest_ms, keep=self._lent_of(file)))
            if self._lender is None:
                self._put_away_empty()
        return lost

    def close(self) -> None:
        """Let go of every file. What is left in them is for the next process to adopt."""
        with GATE:
            if self._ahead is not None:
                self._adopted.append(self._ahead)
            self._rows_left = self.rows
            for file in self._held():
                file.close()
        self._ahead = None
        self._own, self._adopted, self._lender, self._lent = None, [], None, frozenset()


def _has_bytes(path: Path) -> bool:
    """A file without a byte is one that its process is about to lock; one that is gone was put away by its process."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _open_if_orphaned(path: Path) -> SpoolFile | None:
    try:
        return SpoolFile(path)
    except FileNotFoundError:  # its process has just put it away
        return None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            broken = path.replace(path.with_suffix(".corrupt"))
            text = f"the spool file {broken} is damaged ({error}); its events are not delivered, it is kept for a look"
            voice.say(logging.ERROR, "damaged", text)
        return None  # otherwise: busy, so its process lives


def _files_of(path: Path) -> list[Path]:
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
