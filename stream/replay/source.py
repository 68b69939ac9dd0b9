"""A file of calls: its text, whatever wrote it, and its records with the lines that they stand on."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from stream.runtime.errors import StreamError

DELIMITERS: Final = (",", ";", "\t", "|")
CELL_CHARS_MAX: Final = 16 * 1024 * 1024  # exports have columns with whole conversations, which are passed over
CHUNK_BYTES: Final = 1024 * 1024
BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class FileRefused(StreamError):
    """The file as a whole cannot be read; nothing of it was published."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; nothing was published")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line is no event. ``column`` is empty where it is about the whole line."""

    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Row:
    """``line`` is the one on which the record begins: a quoted cell may hold more of them."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Source:
    """A file whose bytes are known to be text. ``digest`` is of what is in it, zipped or not."""

    path: Path
    encoding: str
    digest: str
    is_table: bool

    def text(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(_opened(self.path), encoding=self.encoding, newline="")


def look_at(path: Path) -> Source:
    """Read the file once, to its end: what it is must be known before anything of it is published."""
    digest, decoder, encoding, first, lines = sha256(), None, "", "", 0
    try:
        with _opened(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                if decoder is None:
                    encoding = next((name for bom, name in BOMS if chunk.startswith(bom)), "utf-8")
                    decoder = codecs.getincrementaldecoder(encoding)()
                digest.update(chunk)
                text = decoder.decode(chunk)
                first = first or text.lstrip("\ufeff \t\r\n")[:1]
                lines += text.count("\n")
            if decoder is not None:
                decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line = lines + bytes(error.object[: error.start]).count(b"\n") + 1
        byte = error.object[error.start]
        reason = f"line {line} is not UTF-8 (byte {byte:#04x}): save the file as UTF-8"
        raise FileRefused(path, reason) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileRefused(path, "it is not whole gzip") from error
    except OSError as error:
        raise FileRefused(path, (error.strerror or "it cannot be read").lower()) from error
    if not first:
        raise FileRefused(path, "it is empty")
    return Source(path=path, encoding=encoding, digest=digest.hexdigest(), is_table=first != "{")


def records(source: Source) -> Iterator[Row | Fault]:
    """The records of a table, its header first. Lines without a cell that says something are no records."""
    csv.field_size_limit(CELL_CHARS_MAX)
    with source.text() as text:
        delimiter = _delimiter(source)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Fault(line, "", _words(error))
                continue
            if any(cell.strip() for cell in cells):
                yield Row(line, cells)


def lines(source: Source) -> Iterator[tuple[int, str]]:
    """The lines of a file of JSON objects, numbered."""
    with source.text() as text:
        yield from ((number, line) for number, line in enumerate(text, start=1) if line.strip())


def _opened(path: Path) -> io.BufferedReader:
    """Unzipped, where the name says that it is zipped."""
    return io.BufferedReader(gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _delimiter(source: Source) -> str:
    """What parts the first line into the most cells."""
    with source.text() as text:
        header = next((line for line in text if line.strip()), "")
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter))))


def _words(error: csv.Error) -> str:
    told = str(error)
    if "larger than field limit" in told:
        return f"a cell has more than {CELL_CHARS_MAX:,} characters: a quote is opened and not closed"
    if "end of data" in told:
        return "a quote is opened and not closed until the end of the file"
    return 'a quote stands inside a quoted cell: write it twice ("")'
