"""Which prices a command of `costream prices` goes by: the table, files of your own, or a revision of them; and what
differs between two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from stream.cli import common, revisions

if TYPE_CHECKING:
    from costream.pricing import PriceBook
    from costream.pricing.differences import Difference
    from costream.pricing.entries import PriceEntry
    from costream.pricing.money import MoneyDifference
    from sinks.clickhouse.revisions import Revision

LIST, SHIPPED = "list", "shipped"  # in place of a file: the table alone, and with the corrections that are shipped
REVISION: Final = "revision:"  # and before a number, or `newest`
RATES_ARE_OLD: Final = timedelta(days=31)  # they are to be looked at each month

Files = Annotated[
    list[Path] | None, typer.Option("--prices", help="A file of your own prices; may be given several times.")
]
Published = Annotated[
    str | None,
    typer.Option("--revision", help="Your own prices as they were published: a number, or newest. Asks the warehouse."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for people.")]

Book = tuple["PriceBook", Sequence["PriceEntry"]]  # and the entries that make it another than the one below it


def book_of(files: Sequence[Path] | None, revision: str | None = None) -> Book:
    """The prices of this build; over them those of files, or of a revision."""
    if files and revision:
        common.fail("--prices and --revision are both given: one of them says which prices", status=common.EXIT_USAGE)
    return with_texts(published(revision) if revision else texts_of(files or ()))


def side(name: str) -> Book:
    """What stands on one side of a difference."""
    from costream.pricing import BundledPrices, PriceBook
    from costream.pricing.layers import shipped

    if name == LIST:
        return PriceBook([BundledPrices.load()]), ()
    if name == SHIPPED:
        return with_texts({})[0], shipped()
    own = published(name.removeprefix(REVISION)) if name.startswith(REVISION) else texts_of([Path(name)])
    return with_texts(own)


def texts_of(files: Iterable[Path]) -> dict[str, str]:
    """The texts of files by their paths; exit status 2 where one cannot be read, with the faults of the others."""
    texts, faults = revisions.texts_of(files)
    if faults:
        revisions.refuse("prices", [*faults, *_faults(texts)])
    return texts


def with_texts(texts: Mapping[str, str]) -> Book:
    """Exit status 2 with every fault of all texts."""
    from costream.pricing import PriceBook
    from costream.pricing.exchange import load_all

    if faults := _faults(texts):
        revisions.refuse("prices", faults)
    own = [entry for entries in load_all(texts).values() for entry in entries]
    return PriceBook.bundled().with_files(texts), own


def published(revision: str) -> Mapping[str, str]:
    """The files of a revision, from the warehouse; of the newest, where there is none yet, no files."""
    found = revision_of(revision)
    return found.files if found else {}


def revision_of(revision: str) -> Revision | None:
    """By its number, or the newest, which may not be there yet; exit status 1 where a number is not published."""
    from sinks.clickhouse.price_revisions import PRICES

    return revisions.asked(PRICES, revision, what="prices")


def tell_rates(texts: Mapping[str, str], *, today: date) -> None:
    """A line for each exchange rate that nobody has dated, or that nobody has looked at for a month."""
    from costream.pricing.exchange import shipped_in_use
    from costream.pricing.money import BEGINNING, told

    for rate in shipped_in_use(texts):
        common.say(
            f"prices in {rate.currency} go by the rate that is shipped, {rate.per_usd:f} for one USD, which has no "
            f"date: add an [[exchange_rate]] of {rate.currency} with its date"
        )
    newest = {rate.currency: rate for rate in told(texts).exchange_rates}  # which are in the order of their days
    for currency, of_days in newest.items():
        if BEGINNING < of_days.first_day < today - RATES_ARE_OLD:
            common.say(
                f"the newest exchange rate of {currency} is of {of_days.first_day}, "
                f"{(today - of_days.first_day).days} days ago: add that of this month"
            )


def tell_money(found: Sequence[MoneyDifference]) -> None:
    """A line for each."""
    from costream.pricing.money import BEGINNING

    names = {"exchange_rate": "one USD in {}", "credit_price": "one credit", "feature_credits": "credits of {}"}
    for one in found:
        since = "ever" if one.first_day == BEGINNING else f"{one.first_day} UTC"
        what = names[one.kind].format(common.visible(one.name))
        common.console.print(Text(f"{what} from {since}: {one.old or 'none'} -> {one.new or 'none'}"), soft_wrap=True)


def money_between(old: Mapping[str, str], new: Mapping[str, str]) -> list[MoneyDifference]:
    from costream.pricing.exchange import shipped_rates
    from costream.pricing.money import differences, told

    return differences(told(old), told(new), shipped=shipped_rates())


def _faults(texts: Mapping[str, str]) -> Sequence[str]:
    from costream.pricing.entries import PricesRefused
    from costream.pricing.exchange import load_all

    try:
        load_all(texts)
    except PricesRefused as error:
        return error.faults
    return ()


# --- differences -----------------------------------------------------------------------------------------------------


def found_between(old: Book, new: Book, since: datetime) -> list[Difference]:
    from costream.pricing.differences import differences

    (before, old_entries), (after, new_entries) = old, new
    named = [*old_entries, *new_entries]
    return list(differences(before, after, named=named, known=known_models(), since=since))


def known_models() -> list[tuple[str, str]]:
    """Provider and model of all that the table has."""
    from costream.pricing import BundledPrices

    return [(provider.id, model.id) for provider in BundledPrices.load().providers for model in provider.models]


def tell(found: Sequence[Difference]) -> None:
    """A line each."""
    for one in found:
        common.console.print(Text(_told(one)), soft_wrap=True)


def _told(one: Difference) -> str:
    from stream.pricing.quotes import usd_text

    where = f" above {one.above:,} input tokens" if one.above > 0 else ""
    place = " ".join(text for text in (one.sku.service_tier, one.sku.inference_geo) if text)
    was, becomes = (("no price" if rate is None else usd_text(rate)) for rate in (one.old, one.new))
    name = f"{one.sku.provider} {one.sku.model}{' (' + place + ')' if place else ''}"
    return f"{name} from {one.since:%Y-%m-%d %H:%M} UTC: {one.unit}{where} {was} -> {becomes}"


def as_json(one: Difference) -> dict[str, Any]:
    from stream.pricing.quotes import usd_text

    return {
        "provider": one.sku.provider,
        "model": one.sku.model,
        "service_tier": one.sku.service_tier,
        "inference_geo": one.sku.inference_geo,
        "since": one.since.isoformat(),
        "unit": one.unit,
        "above_input_tokens": max(one.above, 0),
        "old_usd": None if one.old is None else usd_text(one.old),
        "new_usd": None if one.new is None else usd_text(one.new),
    }
