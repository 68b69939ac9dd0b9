"""What is worth an alert: one class a rule, each with the same four verbs (rule.py). A new rule is one file and one
line in a list below; nothing else asks what a rule is called. A rule judges what it has read on the clock it is given:
only its ``read`` may reach the warehouse, and ``word`` may look for the reasons there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from sinks.clickhouse.hours_of_subjects import hours_of_subjects
from sinks.clickhouse.reader import Reader
from stream.audit import AuditReport
from stream.budgets.spend import PerUSD
from stream.rulebook.entries import HourlyAnomaly, HourlySpike, UnknownPrice
from stream.rulebook.rulebook import Rulebook
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.watch.baseline import Thresholds
from stream.watch.rules.anomaly import AnomalyRule
from stream.watch.rules.audit import AuditRule
from stream.watch.rules.budget import AreWhole, BudgetRule, Notes
from stream.watch.rules.flood import FloodRule, Tallies
from stream.watch.rules.forecast import ForecastRule
from stream.watch.rules.rule import Rule
from stream.watch.rules.spike import SpikeRule
from stream.watch.rules.stall import StallRule, Storing
from stream.watch.rules.unknown_price import UnknownPriceRule
from stream.watch.rules.vanished import VanishedRule, gone_records


def money_rules(
    rulebook: Rulebook,
    *,
    reader: Reader,
    interval: timedelta,
    per_usd: PerUSD,
    are_whole: AreWhole,
    limits: Notes,
    zone: str,
    keep_forecasts: Callable[[pl.DataFrame], object],
) -> list[Rule[Any]]:
    """Those that the watch judges: they read the warehouse, and wait while it is away. ``limits`` hears what was
    spent; what is expected by the clocks of ``zone`` is kept."""
    thresholds = Thresholds.of(rulebook.of(HourlySpike), rulebook.of(HourlyAnomaly))
    return [
        SpikeRule(thresholds, reader=reader, interval=interval),
        AnomalyRule(thresholds, reader=reader, interval=interval),
        UnknownPriceRule(reader=reader, is_on=rulebook.of(UnknownPrice).on),
        BudgetRule(
            rulebook.budgets,
            reader=reader,
            per_usd=per_usd,
            are_whole=are_whole,
            interval=interval,
            limits=limits,
            revision=rulebook.revision,
        ),
        ForecastRule(
            rulebook.budgets,
            hours_of=partial(hours_of_subjects, reader),
            per_usd=per_usd,
            zone=zone,
            keep=keep_forecasts,
        ),
    ]


def pipeline_rules(
    settings: Settings, *, reader: Reader, stalls: Stalls, report: Callable[[], AuditReport | None]
) -> list[Rule[Any]]:
    """Those that the keeper judges: about the pipeline itself, also in an outage of the warehouse."""
    if not settings.pipeline_alerts_enabled:
        return []

    def storing(_: datetime) -> Storing:
        return Storing(stalls.longest, stalls.got_through)

    window = settings.flood_window
    return [
        AuditRule(lambda _: report()),
        StallRule(storing, stall_max=settings.stall_max),
        VanishedRule(lambda _: gone_records(reader)),
        FloodRule(
            Tallies(reader, window),
            records_max=settings.flood_records_max,
            share_max=settings.flood_share_max,
            window=window,
        ),
    ]
