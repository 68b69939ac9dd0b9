"""The words of an alert about models without a price: its title and its message."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from costream.alerts import Alert, plain
from stream.watch.queries import RESTORED
from stream.watch.unpriced import NAMED_MAX, REACH_DAYS, Mended, SoldModel, Unpriced

DETAIL_CHARS_MAX: Final = 600  # of what the price table says: 16 units without a price may come to more
COVERAGE: Final = "costream prices coverage"


def of_model(one: Unpriced) -> tuple[str, str]:
    """Of one that has no price."""
    name, volume = _name(one.name), one.volume
    least = "at least " if volume.is_least else ""
    detail = plain(one.why.detail[:DETAIL_CHARS_MAX]) or one.why.reason
    message = (
        f"Since {_minute(volume.since)} {_counted(volume.calls, 'call')} of {name}, with {least}{volume.tokens:,}"
        f" tokens, came without a price: {detail}. What they cost is not known and in no figure. What to do: where the"
        " name is wrong, mend it where it is sent; else add its price to yours (`costream prices check FILE`, then"
        f" `costream prices publish FILE`), or send `unit_prices` with the events. `{COVERAGE}` shows all that has no"
        " price."
    )
    return f"No price is known for {name}", message


def of_others(alert: Alert) -> tuple[str, str]:
    """Of all that are not told of by name."""
    if not alert.standing:
        return "Every model without a price is named again", f"`{COVERAGE}` shows all of them."
    more = _counted(int(alert.current_value), "more model")
    message = (
        f"At {_minute(alert.timestamp)} {more} had calls without a price. At most {NAMED_MAX} are told of by name in"
        f" {RESTORED.days} days, those with the most calls first; what the others cost is in no figure either. What to"
        f" do: `{COVERAGE}` shows them. Where the names are no models, mend the sender: an id or a path may have got"
        " into `model`."
    )
    return f"No price is known for {more}", message


def of_mended(name: SoldModel, mended: Mended) -> tuple[str, str]:
    """Of one that lacks a price no more."""
    called = _name(name)
    if mended.hour is None:
        silent = f"It was not called without one in the last {REACH_DAYS} days."
        return f"No call of {called} lacks a price any more", silent
    calls = _counted(mended.calls, "call")
    message = (
        f"None of its calls has lacked one since {_minute(mended.hour)}. {calls} of the last {REACH_DAYS} days stay"
        " without a cost: what is stored keeps what it got."
    )
    return f"A price is known for {called}", message


def _name(name: SoldModel) -> str:
    return plain(f"{name.provider} {name.model}")


def _minute(moment: datetime) -> str:
    return f"{moment:%H:%M} UTC on {moment:%Y-%m-%d}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
