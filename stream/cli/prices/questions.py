"""costream prices show, quote, check, diff and coverage: what models cost, what calls would cost, and what differs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.cli import common
from stream.cli.prices import books
from stream.cli.revisions import NEWEST

if TYPE_CHECKING:
    from costream.pricing import PriceBook
    from costream.pricing.differences import Difference
    from costream.pricing.entries import PriceEntry

QUOTED_AT_ONCE: Final = 1_000
UNKNOWN: Final = ("unknown_provider", "unknown_model", "no_rate", "no_price_at_that_time", "no_exchange_rate")


def show(
    model: Annotated[str, typer.Argument(help="The model, or PROVIDER/MODEL.")],
    provider: Annotated[str, typer.Option(help="Whose model it is; without it, all that have one of that name.")] = "",
    at: Annotated[datetime | None, typer.Option(help="At this moment (UTC); now, if it is not given.")] = None,
    tier: Annotated[str, typer.Option(help="The service tier, such as batch or flex.")] = "",
    geo: Annotated[str, typer.Option(help="Where the model runs, as the provider calls it.")] = "",
    prices: books.Files = None,
    revision: books.Published = None,
    as_json: books.Json = False,
) -> None:
    """What a model costs at a moment, for each unit, by which price, and where that stands. Exit status 1 if no price
    is known.

    Examples: costream prices show gpt-5-nano --tier flex · costream prices show perplexity/sonar --at 2026-11-01
    """
    book, _ = books.book_of(prices, revision)
    moment = (at or datetime.now(UTC)).replace(tzinfo=UTC)
    names = [provider] if provider else _providers(model)
    if not names:
        common.fail(f"no provider is known to have a model '{model}': --provider says whose it is")
    found = [_shown(book, name, model, moment, tier, geo) for name in names]
    known = [one for one in found if "prices" in one]
    if as_json:
        typer.echo(json.dumps(known or found))
    else:
        for one in known or found:
            _tell(one)
    if not known:
        raise typer.Exit(common.EXIT_FAILED)


def quote(
    file: Annotated[str, typer.Argument(help="Usage events, a JSON object a line; - is standard input.")],
    prices: books.Files = None,
    revision: books.Published = None,
) -> None:
    """What calls would cost: usage events as JSON lines in, and for each, in its order, a JSON line with cost_usd
    (text, or null), cost_status, cost_reason, cost_detail, price_version, price_source, price_id and the rates in USD.
    It is the code of the stream; nothing is stored, and nothing is asked without --revision. A line that is no event is
    told in its place, and the exit status is 1. Without request_id or occurred_at it is priced as of now.

    Example: echo '{"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 800, "output_tokens": 100}' | costream
    prices quote -
    """
    book, _ = books.book_of(prices, revision)
    from uuid import uuid4

    from stream.pricing.quotes import quotes

    refused = 0
    with common.explained(), _lines(file) as lines:
        for some in _by(QUOTED_AT_ONCE, lines):
            for answer in quotes(some, book, now=datetime.now(UTC), new_id=lambda: str(uuid4())):
                refused += "error" in answer
                typer.echo(json.dumps(answer, ensure_ascii=False))
    if refused:
        common.fail(f"{common.counted(refused, 'line')} of {file} could not be priced: see `error` in its place")


def check(files: Annotated[list[Path], typer.Argument(help="Files of prices (TOML).")]) -> None:
    """Whether files of prices are right: every fault at once, with its file, entry, field and rule. Nothing is stored.

    Example: costream prices check our-rates.toml
    """
    texts = books.texts_of(files)
    books.with_texts(texts)
    from costream.pricing.entries import read

    read_files = [read(text, file=name) for name, text in texts.items()]
    entries = [entry for file in read_files for entry in file.price]
    models = {(entry.provider, model) for entry in entries for model in entry.models}
    rates = sum(len(file.exchange_rate) for file in read_files)
    credit_prices = sum(len(file.credit_price) for file in read_files)
    features = {entry.feature for file in read_files for entry in file.feature_credits}
    told = [f"{common.counted(len(models), 'model')} in {len(entries):,} entries"] if entries else []
    told += [common.counted(rates, "exchange rate")] if rates else []
    told += [common.counted(credit_prices, "credit price")] if credit_prices else []
    told += [f"credits of {common.counted(len(features), 'feature')}"] if features else []
    common.say(f"right: {', '.join(told) or 'no prices'}")
    books.tell_rates(texts, today=datetime.now(UTC).date())


def diff(
    old: Annotated[str, typer.Argument(help="A file of prices; or list (the table alone), shipped, or revision:N.")],
    new: Annotated[str, typer.Argument(help="The same.")],
    since: Annotated[datetime | None, typer.Option(help="From this moment on (UTC); now, if it is not given.")] = None,
    as_json: books.Json = False,
) -> None:
    """What changes between two files of prices: for each model, from when, and which price. A file stands over the
    table and the corrections that are shipped. Entries of the new one that change nothing are named: they are no longer
    needed.

    Examples: costream prices diff list shipped · costream prices diff shipped our-rates.toml --since 2026-01-01 ·
    costream prices diff revision:3 revision:newest
    """
    before, after = books.side(old), books.side(new)
    (_, old_entries), (_, new_entries) = before, after
    moment = (since or datetime.now(UTC)).replace(tzinfo=UTC)
    found = books.found_between(before, after, moment)
    idle = [entry for entry in new_entries if entry not in old_entries and _is_idle(entry, found, moment)]
    if as_json:
        told = {
            "differences": [books.as_json(one) for one in found],
            "without_effect": [_name(entry) for entry in idle],
        }
        typer.echo(json.dumps(told))
        return
    books.tell(found)
    for entry in idle:
        common.say(f"without effect from {moment:%Y-%m-%d %H:%M} UTC on: {_name(entry)}, {entry.source}")
    if not found:
        common.say("no price changes")


def coverage(
    days: Annotated[int, typer.Option(min=1, max=366, help="Today and the days before it, in UTC.")] = 7,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many, those that come to most first.")] = 50,
    prices: books.Files = None,
    revision: books.Published = None,
    as_json: books.Json = False,
) -> None:
    """What of the last days is unpriced or partial, and why: what comes to most first, in tokens where there is no
    price and in USD where a part has one. It says which of it has a price by now, by the prices that are published or
    those of --prices: what is stored keeps the price that it got. Asks the warehouse.

    Examples: costream prices coverage · costream prices coverage --days 30 --prices our-rates.toml --json
    """
    book, _ = books.book_of(prices, revision or (None if prices else NEWEST))
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.unsure import calls_since, unsure_calls

    now = datetime.now(UTC)
    since = now.date() - timedelta(days=days - 1)
    with common.explained(), closing(Reader(address)) as reader:
        counts = calls_since(reader, since=since)
        rows = unsure_calls(reader, since=since, limit=limit).to_dicts()
    found = [row | {"has_a_price_now": _has_a_price(book, row, now)} for row in rows]
    if as_json:
        plain = [row | {"cost_usd": None if row["cost_usd"] is None else f"{row['cost_usd']:f}"} for row in found]
        typer.echo(json.dumps({"since": since.isoformat(), **counts, "unsure": plain}))
        return
    _tell_coverage(counts, found, since)


# --- what a price says -----------------------------------------------------------------------------------------------


def _providers(model: str) -> list[str]:
    """Whose the model may be, by its name."""
    from costream.pricing.names import provider_id

    known = books.known_models()
    prefix, slash, _ = model.partition("/")
    if slash and provider_id(prefix) in {provider for provider, _ in known}:
        return [prefix]
    return list(dict.fromkeys(provider for provider, name in known if name.lower() == model.lower()))


def _shown(book: PriceBook, provider: str, model: str, at: datetime, tier: str, geo: str) -> dict[str, Any]:
    from costream.pricing import NoPrice, Sku
    from stream.pricing.quotes import in_usd

    sku = Sku.of(provider, model, tier, geo)
    price = book.at(sku, at)
    names = {"provider": provider, "model": model, "service_tier": sku.service_tier, "inference_geo": sku.inference_geo}
    if isinstance(price, NoPrice):
        return names | {"reason": price.note.reason, "detail": price.note.detail}
    return names | {
        "at": at.isoformat(),
        "price_version": price.version,
        "price_source": price.source,
        "prices": [{"above_input_tokens": max(one.above, 0), "usd": in_usd(one.prices())} for one in price.brackets],
        "charged_as": [
            {"unit": unit, "total": rule.total, "source": entry["source"]}
            for unit, rule in sorted(price.same.items())
            for entry in book.entries(rule.by)
            if price.covers(unit)
        ],
        "doubts": [note.detail for note in price.caveats],
        "sources": [entry["source"] for entry in book.entries(price.version)],
    }


def _tell(one: dict[str, Any]) -> None:
    from stream.pricing.quotes import usd_text

    place = " ".join(text for text in (one["service_tier"], one["inference_geo"]) if text)
    common.say(f"{one['provider']} {one['model']}{' (' + place + ')' if place else ''}", style="bold")
    if "prices" not in one:
        common.say(one["detail"], indent=2)
        return
    for bracket in one["prices"]:
        if bracket["above_input_tokens"]:
            common.say(f"above {bracket['above_input_tokens']:,} input tokens", indent=2)
        for unit, usd in bracket["usd"].items():
            million = usd_text(Fraction(usd) * 10**18)
            common.say(f"{unit:<28} {million:>14} USD per million", indent=2)
    for rule in one["charged_as"]:
        common.say(f"{rule['unit']:<28} charged as {rule['total']}, {rule['source']}", indent=2)
    for doubt in one["doubts"]:
        common.say(f"partial: {doubt}", indent=2)
    common.say(f"by {one['price_version']} ({one['price_source']})", indent=2)
    for source in one["sources"]:
        common.say(source, indent=2)


def _has_a_price(book: PriceBook, row: dict[str, Any], now: datetime) -> bool:
    """Whether what had none has one by now. Of a partial call only its own quantities would tell."""
    from costream.pricing import NoPrice, Sku

    price = book.at(Sku.of(row["provider"], row["model"]), now)
    return row["cost_status"] == "unpriced" and row["cost_reason"] in UNKNOWN and not isinstance(price, NoPrice)


def _tell_coverage(counts: dict[str, int], found: Sequence[dict[str, Any]], since: date) -> None:
    calls, unpriced, partial = (counts[name] for name in ("calls", "unpriced_calls", "partial_calls"))
    told = f"{calls - unpriced - partial:,} priced, {partial:,} partial, {unpriced:,} unpriced"
    common.say(f"{common.counted(calls, 'call')} since {since} UTC: {told}")
    for row in found:
        size = f"{row['tokens']:,} tokens" if row["cost_status"] == "unpriced" else f"{row['cost_usd']:f} USD"
        head = f"{row['cost_status']}: {row['provider']} {row['model']}, {common.counted(row['calls'], 'call')}, {size}"
        common.say(head, style="bold")
        common.say(row["cost_detail"], indent=2)
        if row["sent_as"]:
            common.say(f"sent as {', '.join(row['sent_as'])}", indent=2)
        if row["has_a_price_now"]:
            common.say("it has a price by now: calls from now on are priced", indent=2)


# --- quotes ----------------------------------------------------------------------------------------------------------


def _lines(file: str) -> Any:
    if file == "-":
        from contextlib import nullcontext

        return nullcontext(sys.stdin)
    try:
        return Path(file).open(encoding="utf-8")
    except OSError as error:
        common.fail(f"{file} cannot be read: {error.strerror}", status=common.EXIT_USAGE)


def _by(count: int, lines: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for line in lines:
        if line.strip():
            some.append(line)
        if len(some) == count:
            yield some
            some = []
    if some:
        yield some


# --- entries that change nothing -------------------------------------------------------------------------------------


def _name(entry: PriceEntry) -> str:
    return f"{entry.provider}/{entry.models[0]}" + (f" and {len(entry.models) - 1} more" if entry.models[1:] else "")


def _is_idle(entry: PriceEntry, found: Sequence[Difference], since: datetime) -> bool:
    if entry.valid_to and entry.valid_to <= since:
        return False
    from costream.pricing.validity import is_for

    return not any(is_for(entry, one.sku, [one.sku.model.lower()]) for one in found)
