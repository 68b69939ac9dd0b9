"""What publishing prices and publishing rules have in common: files, their bounds, and how a revision is told."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

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


def refuse(what: str, faults: Iterable[str]) -> NoReturn:
    lines = "\n".join(f"  {one}" for one in faults)
    common.fail(f"{what} that cannot be used; nothing was done\n{lines}", status=common.EXIT_USAGE)


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


def asked(revisions: Revisions, number: str, *, what: str) -> Revision | None:
    """By its number, or the newest, which may not be there yet. Exit status 1 where a number is not published, 2 where
    it is none."""
    if number != NEWEST and not number.isdecimal():
        common.fail(f"revision '{number}' is neither a number nor {NEWEST}", status=common.EXIT_USAGE)
    with _reader() as reader:
        found = revisions.newest(reader) if number == NEWEST else revisions.numbered(reader, int(number))
    if found is None and number != NEWEST:
        common.fail(f"there is no revision {number} of {what}: `costream {what} list` has those that are published")
    return found


@contextmanager
def _reader() -> Iterator[Reader]:
    address = common.address(common.settings())
    from sinks.clickhouse.reader import Reader

    with common.explained(), closing(Reader(address)) as reader:
        yield reader


# --- how they are told -----------------------------------------------------------------------------------------------


def tell_all(revisions: Revisions, *, none: str, as_json: bool) -> None:
    """The newest first; ``none`` is said where there are none."""
    with _reader() as reader:
        found = revisions.all(reader)
    if as_json:
        typer.echo(json.dumps({"revisions": [_as_json(one) for one in found]}, ensure_ascii=False))
        return
    for one in found:
        files = ", ".join(one.files) or "no files"
        common.say(f"{one.number} of {_moment(one)}, by {one.published_by}: {files}", style="bold")
        if one.note:
            common.say(one.note, indent=2)
    if not found:
        common.say(none)


def tell_files(found: Revision | None, *, what: str, as_json: bool) -> None:
    """The texts of a revision, one after the other; exit status 1 where there is none."""
    if found is None:
        common.fail(f"no own {what} are published yet: `costream {what} publish FILE` makes the first revision")
    if as_json:
        typer.echo(json.dumps(_as_json(found) | {"files": found.files}, ensure_ascii=False))
        return
    typer.echo(f"# revision {found.number} of {_moment(found)}, by {common.visible(found.published_by)}")
    for name, text in found.files.items():
        typer.echo(f"\n# --- {common.visible(name)}\n{text.rstrip()}")


def _as_json(one: Revision) -> dict[str, Any]:
    return {
        "revision": one.number,
        "published_at": one.published_at.isoformat(),
        "published_by": one.published_by,
        "note": one.note,
        "build": one.build,
        "files": list(one.files),
        "digest": one.digest,
    }


def _moment(one: Revision) -> str:
    return f"{one.published_at:%Y-%m-%d %H:%M:%S} UTC"
