"""costream prices publish, list and show-revision: own prices as numbered revisions in the warehouse."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli import common, revisions
from stream.cli.prices import books

if TYPE_CHECKING:
    from costream.pricing.differences import Difference
    from costream.pricing.money import MoneyDifference
    from sinks.clickhouse.revisions import Revision


def publish(
    files: Annotated[
        list[Path] | None, typer.Argument(help="All files of your own prices (TOML); else COSTREAM_PRICE_FILES.")
    ] = None,
    note: revisions.Note = "",
    by: revisions.By = "",
    none: Annotated[bool, typer.Option("--none", help="No own prices any more: a revision without files.")] = False,
    dry_run: revisions.DryRun = False,
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
    chosen = revisions.chosen(files, settings.price_files, none=none, what="prices", variable="COSTREAM_PRICE_FILES")
    read = books.texts_of(chosen)
    books.with_texts(read)  # whose faults are told by their paths
    texts = revisions.by_name(read)
    revisions.require_bounds(texts, note, by)
    from uuid import uuid4

    from sinks.clickhouse.migrate import require_current
    from sinks.clickhouse.price_revisions import PRICES
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.revisions import digest_of
    from sinks.clickhouse.writer import Writer

    with common.explained(), closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        require_current(address)  # another release would leave out what this one has columns for, and unseen
        last = PRICES.newest(reader)
        if last and last.digest == digest_of(texts):
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
        revision = revisions.published(
            PRICES,
            reader,
            writer,
            texts,
            by=by,
            note=note,
            build=books.with_texts({})[0].version,
            new_id=lambda: str(uuid4()),
        )
    _tell_published(revision, found, money, published=True, as_json=as_json)


def list_revisions(as_json: books.Json = False) -> None:
    """The revisions of your own prices, the newest first, which is the one in force: when it was published, by whom,
    why, and of which files. Asks the warehouse.

    Example: costream prices list
    """
    from sinks.clickhouse.price_revisions import PRICES

    revisions.tell_all(
        PRICES,
        none="no own prices are published: workers price by the table and by the corrections that are shipped",
        as_json=as_json,
    )


def show_revision(
    number: Annotated[str, typer.Argument(help="The number, or newest.")],
    as_json: books.Json = False,
) -> None:
    """The files of a revision, as they were published: one text that is itself a file of prices. Exit status 1 if there
    is no such revision. Asks the warehouse.

    Example: costream prices show-revision 3 > before.toml, costream prices publish before.toml
    """
    revisions.tell_files(books.revision_of(number), what="prices", as_json=as_json)


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
