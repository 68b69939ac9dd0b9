"""Rules that a watch judges by, as a file of rules would give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from costream.pricing.money import DayRates
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rule_revisions import RULES
from stream.rulebook.rulebook import Rulebook, load
from stream.watch.limits import Limits
from stream.watch.rules import money_rules
from stream.watch.rules.budget import AreWhole
from stream.watch.rules.rule import Rule
from tests.support.ingest import Warehouse

INTERVAL = timedelta(seconds=1)
RATES = DayRates(())


def money_rules_of(reader: Reader, **on: bool) -> list[Rule[Any]]:
    """Those that are shipped; by its name each may be switched off."""
    text = "".join(f"[{name}]\non = {str(each).lower()}\n" for name, each in on.items())
    return rules_of(load({"test": text} if text else {}, zone="UTC", rates=RATES), reader)


def rules_of(
    rulebook: Rulebook, reader: Reader, *, are_whole: AreWhole = lambda _control, _days: True
) -> list[Rule[Any]]:
    """Those of a rulebook, with no exchange rates."""
    return money_rules(
        rulebook,
        reader=reader,
        interval=INTERVAL,
        per_usd=RATES,
        are_whole=are_whole,
        limits=unheard_limits(),
        zone="UTC",
        keep_forecasts=lambda _: None,
    )


def unheard_limits() -> Limits:
    """That are told to nobody."""
    return Limits(publish=lambda _: None, per_usd=RATES, clock=lambda: datetime.now(UTC))


def publish_rules(place: Warehouse, text: str) -> None:
    """As the next revision; without a text none of one's own."""
    RULES.publish(
        place.reader,
        place.writer,
        {"own.toml": text} if text else {},
        published_by="ann",
        note="",
        build="t",
        new_id=lambda: str(uuid4()),
        pause=lambda: None,
    )
