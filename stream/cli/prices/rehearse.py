"""costream prices rehearse: what stored calls would have cost by other prices. Nothing is changed."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

from stream.cli import changes, common
from stream.cli.prices import books
from stream.cli.revisions import NEWEST

MINUTE: Final = timedelta(minutes=1)


def rehearse(
    start: changes.Start,
    end: changes.End = None,
    provider: changes.Provider = "",
    model: changes.Model = "",
    feature: changes.Feature = "",
    limit: changes.Limit = 50,
    prices: books.Files = None,
    revision: books.Published = None,
    as_json: books.Json = False,
) -> None:
    """What stored calls would have cost by the prices of files, or of a revision (the newest, if neither is given),
    beside what they were stored to cost: by day, provider, model and feature. Each call is priced as of its own time.
    Nothing is changed: what is stored keeps its price, until `costream reprice` gives it another.

    Examples: costream prices rehearse --from 2026-11-01 --prices our-rates.toml · costream prices rehearse --from
    2026-11-01 --to 2026-12-01 --model gpt-4o --json
    """
    book, _ = books.book_of(prices, revision or (None if prices else NEWEST))
    address = common.address(common.settings())
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.retention import raw_since

    now = datetime.now(UTC)
    span = changes.span_of(start, end, now=now, provider=provider, model=model, feature=feature)
    with common.explained(), closing(Reader(address)) as reader, common.progress("rehearse") as progress:
        if span.start < (kept := raw_since(reader, now=now)):
            common.fail(
                f"--from {changes.said(span.start)} is before {changes.said(kept)}, and single calls from before that "
                "may have expired: their cost cannot be worked out. Nothing was done; give "
                f"--from {kept + MINUTE:%Y-%m-%dT%H:%M} or later",
                status=common.EXIT_USAGE,
            )
        found = changes.rehearsal(reader, span, book, limit=limit, progress=progress)
    newest = revision in {None, NEWEST}
    by = "by files" if prices else "by the newest revision" if newest else f"by revision {revision}"
    if as_json:
        typer.echo(json.dumps(changes.as_json(found, span)))
    else:
        changes.tell(found, span, by)
