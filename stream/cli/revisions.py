"""What publishing prices and publishing rules have in common: files, their bounds, and how a revision is told."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.cli import common

if TYPE_CHECKING:
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.revisions import Revision, Revisions
    from sinks.clickhouse.writer import Writer

BYTES_MAX: Final = 4 * 1024**2  # of all files of a revision: every worker reads them, and again with each change
TEXT_CHARS_MAX: Final = 1_000  # of a name, or a note
NEWEST: Final = "newest"

Note = Annotated[str, typer.Option(help="Why, kept with the revision.")]
By = Annotated[str, typer.Option(help="Who publishes it; else the name that you are logged in by.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and publish nothing.")]


def texts_of(files: Iterable[Path]) -> tuple[dict[str, str], list[str]]:
    """The texts of files by their paths; and a line for each that cannot be read."""
    texts, faults = dict[str, str](), list[str]()
    for file in files:
        try:
            texts[str(file)] = file.read_text(encoding="utf-8")
        except OSError as error:
            faults.append(f"{file} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{file} is no text in UTF-8")
    return texts, faults


def chosen(files: Sequence[Path] | None, setting: str, *, none: bool, what: str, variable: str) -> list[Path]:
    """What is to be published: the files that are named, else those of the setting, or none at all."""
    named = [] if none else files or [Path(name) for name in setting.split(",") if name]
    if bool(none and files) or not (none or named):
        common.fail(
            f"say which {what}: FILES, {variable}, or --none for no own {what}; nothing was published",
            status=common.EXIT_USAGE,
        )
    return list(named)


def by_name(texts: Mapping[str, str]) -> dict[str, str]:
    """Where a file lies on the machine of who publishes it is nobody else's business."""
    named = {Path(path).name: text for path, text in texts.items()}
    if len(named) < len(texts):
        common.fail(
            "two of the files have the same name, which is all that a revision keeps; nothing was published",
            status=common.EXIT_USAGE,
        )
    return named


def require_bounds(texts: Mapping[str, str], note: str, by: str) -> None:
    size = sum(len(text.encode()) for text in texts.values())
    if size > BYTES_MAX:
        common.fail(
            f"the files have {size:,} bytes, and a revision at most {BYTES_MAX:,}; nothing was published",
            status=common.EXIT_USAGE,
        )
    for option, text in (("--note", note), ("--by", by)):
        if len(text) > TEXT_CHARS_MAX:
            common.fail(
                f"{option} has {len(text):,} characters, at most {TEXT_CHARS_MAX:,}; nothing was published",
                status=common.EXIT_USAGE,
            )


def published(
    revisions: Revisions,
    reader: Reader,
    writer: Writer,
    texts: Mapping[str, str],
    *,
    by: str,
    note: str,
    build: str,
    new_id: Callable[[], str],
) -> Revision:
    from sinks.clickhouse.revisions import SETTLE_SECONDS

    return revisions.publish(
        reader,
        writer,
        texts,
        published_by=by or getpass.getuser(),
        note=note,
        build=build,
        new_id=new_id,
        pause=lambda: time.sleep(SETTLE_SECONDS),
    )


def asked(revisions: Revisions, reader: Reader, number: str, *, what: str) -> Revision | None:
    """By its number, or the newest, which may not be there yet; exit status 1 where a number is not published."""
    found = revisions.newest(reader) if number == NEWEST else revisions.numbered(reader, int(number))
    if found is None and number != NEWEST:
        common.fail(f"there is no revision {number} of {what}: `costream {what} list` has those that are published")
    return found


def require_number(number: str) -> None:
    if number != NEWEST and not number.isdecimal():
        common.fail(f"revision '{number}' is neither a number nor {NEWEST}", status=common.EXIT_USAGE)


# --- how one is told -------------------------------------------------------------------------------------------------


def tell(one: Revision) -> None:
    files = ", ".join(one.files) or "no files"
    common.say(f"{one.number} of {moment(one)}, by {one.published_by}: {files}", style="bold")
    if one.note:
        common.say(one.note, indent=2)


def tell_files(one: Revision) -> None:
    """One text that is itself a file of the kind."""
    typer.echo(f"# revision {one.number} of {moment(one)}, by {common.visible(one.published_by)}")
    for name, text in one.files.items():
        typer.echo(f"\n# --- {common.visible(name)}\n{text.rstrip()}")


def as_json(one: Revision) -> dict[str, Any]:
    return {
        "revision": one.number,
        "published_at": one.published_at.isoformat(),
        "published_by": one.published_by,
        "note": one.note,
        "build": one.build,
        "files": list(one.files),
        "digest": one.digest,
    }


def moment(one: Revision) -> str:
    return f"{one.published_at:%Y-%m-%d %H:%M:%S} UTC"
