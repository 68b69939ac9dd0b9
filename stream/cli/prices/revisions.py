"""costream prices publish, list and show-revision: own prices as numbered revisions in the warehouse."""

from __future__ import annotations

import getpass
import json
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.cli import common
from stream.cli.prices import books

if TYPE_CHECKING:
    from costream.pricing.differences import Difference
    from costream.pricing.money import MoneyDifference
    from sinks.clickhouse.price_revisions import Revision

BYTES_MAX: Final = 4 * 1024**2  # of all files of a revision: every worker reads them, and again with each change
TEXT_CHARS_MAX: Final = 1_000  # of a name, or a note


def publish(
    files: Annotated[
        list[Path] | None, typer.Argument(help="All files of your own prices (TOML); else COSTREAM_PRICE_FILES.")
    ] = None,
    note: Annotated[str, typer.Option(help="Why, kept with the revision.")] = "",
    by: Annotated[str, typer.Option(help="Who publishes it; else the name that you are logged in by.")] = "",
    none: Annotated[bool, typer.Option("--none", help="No own prices any more: a revision without files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and publish nothing.")] = False,
    as_json: books.Json = False,
) -> None:
    """Check files of your own prices and publish them as the next revision. It takes the place of the one before, as a
    whole. Every worker takes it over within 10 seconds, without a restart; what is stored keeps the price that it got.
    What changes from now on is told first. The same files again are no new revision.

    Examples: costream prices publish our-rates.toml gpu-hours.toml --note "contract of March" ·
    costream prices publish our-rates.toml --dry-run
    """
    settings = common.settings()
    address = common.address(settings)
    named = [Path(name) for name in settings.price_files.split(",") if name]
    chosen = [] if none else files or named
    if bool(none and files) or not (none or chosen):
        common.fail(
            "say which prices: FILES, COSTREAM_PRICE_FILES, or --none for no own prices; nothing was published",
            status=common.EXIT_USAGE,
        )
    read = books.texts_of(chosen)
    books.with_texts(read)  # whose faults are told by their paths
    texts = _by_name(read)
    _require_bounds(texts, note, by)
    from uuid import uuid4

    from sinks.clickhouse import price_revisions as revisions
    from sinks.clickhouse.migrate import require_current
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer

    with common.explained(), closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        require_current(address)  # another release would leave out what this one has columns for, and unseen
        last = revisions.newest(reader)
        if last and last.digest == revisions.digest_of(texts):
            _tell_published(last, [], [], published=False, as_json=as_json)
            return
        before = books.with_texts(last.files if last else {})
        found = books.found_between(before, books.with_texts(texts), datetime.now(UTC))
        money = books.money_between(last.files if last else {}, texts)
        if not as_json:
            books.tell_rates(texts, today=datetime.now(UTC).date())
        if dry_run:
            _tell_published(last, found, money, published=False, as_json=as_json, dry_run=True)
            return
        revision = revisions.publish(
            reader,
            writer,
            texts,
            published_by=by or getpass.getuser(),
            note=note,
            build=books.with_texts({})[0].version,
            new_id=lambda: str(uuid4()),
            pause=lambda: time.sleep(revisions.SETTLE_SECONDS),
        )
    _tell_published(revision, found, money, published=True, as_json=as_json)


def list_revisions(as_json: books.Json = False) -> None:
    """The revisions of your own prices, the newest first, which is the one in force: when it was published, by whom,
    why, and of which files. Asks the warehouse.

    Example: costream prices list
    """
    address = common.address(common.settings())
    from sinks.clickhouse.price_revisions import revisions
    from sinks.clickhouse.reader import Reader

    with common.explained(), closing(Reader(address)) as reader:
        found = revisions(reader)
    if as_json:
        typer.echo(json.dumps({"revisions": [_as_json(one) for one in found]}, ensure_ascii=False))
        return
    for one in found:
        _tell(one)
    if not found:
        common.say("no own prices are published: workers price by the table and by the corrections that are shipped")


def show_revision(
    number: Annotated[str, typer.Argument(help="The number, or newest.")],
    as_json: books.Json = False,
) -> None:
    """The files of a revision, as they were published: one text that is itself a file of prices. Exit status 1 if there
    is no such revision. Asks the warehouse.

    Example: costream prices show-revision 3 > before.toml, costream prices publish before.toml
    """
    found = books.revision_of(number)
    if found is None:
        common.fail("no own prices are published yet: `costream prices publish FILE` makes the first revision")
    if as_json:
        typer.echo(json.dumps(_as_json(found) | {"files": found.files}, ensure_ascii=False))
        return
    typer.echo(f"# revision {found.number} of {_moment(found)}, by {common.visible(found.published_by)}")
    for name, text in found.files.items():
        typer.echo(f"\n# --- {common.visible(name)}\n{text.rstrip()}")


def _by_name(texts: dict[str, str]) -> dict[str, str]:
    """Where a file lies on the machine of who publishes it is nobody else's business."""
    named = {Path(path).name: text for path, text in texts.items()}
    if len(named) < len(texts):
        common.fail(
            "two of the files have the same name, which is all that a revision keeps; nothing was published",
            status=common.EXIT_USAGE,
        )
    return named


def _require_bounds(texts: dict[str, str], note: str, by: str) -> None:
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


def _tell_published(
    revision: Revision | None,
    found: list[Difference],
    money: list[MoneyDifference],
    *,
    published: bool,
    as_json: bool,
    dry_run: bool = False,
) -> None:
    if as_json:
        told: dict[str, Any] = {"revision": revision.number if revision else None, "published": published}
        told["differences"] = [books.as_json(one) for one in found]
        told["money"] = [asdict(one) for one in money]
        typer.echo(json.dumps(told, default=str))
        return
    books.tell(found)
    books.tell_money(money)
    if not found and not money:
        common.say("no price changes")
    if published and revision:
        common.say(
            f"published as revision {revision.number}: workers price by it within 10 seconds. What is stored keeps the "
            "price that it got, until `costream reprice`"
        )
    elif dry_run:
        common.say("nothing was published: this was a rehearsal")
    elif revision:
        common.say(f"nothing was published: revision {revision.number}, which is in force, has the same files")


def _tell(one: Revision) -> None:
    files = ", ".join(one.files) or "no files"
    common.say(f"{one.number} of {_moment(one)}, by {one.published_by}: {files}", style="bold")
    if one.note:
        common.say(one.note, indent=2)


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
