"""Who judges what is stored, in this worker's turns: the watch, the audit, and the keeper of the pipeline itself; who
fills in the sums that budgets are judged by; and who tells people, and Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Final

from costream.alerts import Alert
from costream.budgets import BudgetState
from costream.pricing.money import DayRates
from costream.topics import ALERTS, BUDGETS
from sinks.clickhouse.forecast_rows import TABLE as FORECASTS
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit.filling import Filler
from stream.audit.schedule import Auditor, audit_in_turn
from stream.exporter import Exporter
from stream.notify.ledger import Ledger
from stream.notify.notifier import Notifier
from stream.notify.receivers import Receivers
from stream.notify.secrets import Secrets
from stream.rule_revisions import RuleRevisions
from stream.runtime.patience import Patience
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.runtime.telemetry import Telemetry
from stream.store.outbox import Outbox
from stream.watch.alert_topic import publish_alerts
from stream.watch.budget_topic import publish_states
from stream.watch.keeper import Keeper
from stream.watch.limits import Limits
from stream.watch.rules import money_rules, pipeline_rules
from stream.watch.rules.audit import AuditRule
from stream.watch.turn import InTurn, Turn
from stream.watch.watcher import Watcher

FINISH_SECONDS_MAX: Final = 5.0  # a message that is not sent by then is perhaps sent twice


class Judges:
    """They share ``turn``. ``published`` and ``limited`` read back what an earlier turn has told. The keeper hears of
    the last audit, and the audit of what the keeper has told and is not mended."""

    def __init__(
        self,
        settings: Settings,
        *,
        reader: Reader,
        writer: Writer,
        outbox: Outbox,
        published: Callable[[], list[Alert]],
        limited: Callable[[], list[BudgetState]],
        telemetry: Telemetry,
        patience: Patience,
        stalls: Stalls,
        rules: RuleRevisions,
        rates: Callable[[], DayRates],
        clock: Callable[[], datetime],
    ) -> None:
        self.turn = Turn()

        def publish(alerts: Sequence[Alert]) -> None:
            publish_alerts(outbox, settings.topic(ALERTS), alerts)
            self.notifier.hear(alerts)

        in_turn = partial(InTurn, self.turn, patience=patience)
        of_alerts = partial(in_turn, publish=publish, published=published)
        self.filler = Filler(
            reader=reader,
            writer=writer,
            budgets=rules.made(lambda rulebook: rulebook.budgets),
            retention=settings.retention,
            clock=clock,
        )
        self.notifier = Notifier(
            turn=lambda: self.turn.number,
            receivers=rules.made_once_known(Receivers.of),  # those that are shipped have none: all would seem to be off
            published=published,
            ledger=Ledger(reader, writer),
            secrets=Secrets(os.environ, settings.secrets_dir),
            dashboard=settings.dashboard_url,
            telemetry=telemetry,
            clock=clock,
        )

        def per_usd(currency: str, day: date) -> Decimal | None:
            return rates()(currency, day)

        self.limits: InTurn[Limits] = in_turn(
            lambda publish: Limits(publish=publish, per_usd=per_usd, clock=clock),
            publish=partial(publish_states, outbox, settings.topic(BUDGETS)),
            published=limited,
            doing="reading back the limits",
        )
        make = partial(
            money_rules,
            reader=reader,
            interval=settings.watch_interval,
            per_usd=per_usd,
            are_whole=self.filler.are_whole,
            limits=self.limits.part,
            zone=settings.zone,
            keep_forecasts=partial(writer.insert, FORECASTS),
        )
        watch = partial(Watcher, rules=rules.made(make), reader=reader, writer=writer, clock=clock)
        self.watcher: InTurn[Watcher] = of_alerts(
            lambda publish: watch(publish=publish), doing="reading back the alerts"
        )
        pipeline = pipeline_rules(settings, reader=reader, stalls=stalls, report=lambda: self.auditor.report)
        keep = partial(Keeper, pipeline, writer=writer, clock=clock)
        self.keeper: InTurn[Keeper] = of_alerts(
            lambda publish: keep(publish=publish), doing="reading back the alerts about the pipeline"
        )
        self.auditor = Auditor(
            prove=audit_in_turn(reader, settings=settings, clock=clock, turn=lambda: self.turn.number),
            telemetry=telemetry,
            interval=settings.audit_interval,
            clock=clock,
            suspect_since=lambda: AuditRule.suspect_since(self.keeper.part.standing),
        )
        self.exporter = Exporter(
            self.turn,
            reader=reader,
            writer=writer,
            telemetry=telemetry,
            users_max=settings.metrics_users_max,
            clock=clock,
        )
        telemetry.usage_text = self.exporter.text

    def leave(self) -> None:
        """Nothing is judged or sent any more once this returns."""
        self.turn.end()
        self.notifier.finish(seconds=FINISH_SECONDS_MAX)
