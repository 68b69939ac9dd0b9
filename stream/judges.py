"""Who judges what is stored, in this worker's turns: the watch, the audit, and the keeper of the pipeline itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from costream.alerts import Alert
from costream.topics import ALERTS
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit.schedule import Auditor, audit_in_turn
from stream.rule_revisions import RuleRevisions
from stream.runtime.patience import Patience
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.runtime.telemetry import Telemetry
from stream.store.outbox import Outbox
from stream.watch.alert_topic import publish_alerts
from stream.watch.keeper import Keeper
from stream.watch.rules import money_rules, pipeline_rules
from stream.watch.rules.audit import AuditRule
from stream.watch.turn import InTurn, Turn
from stream.watch.watcher import Watcher


class Judges:
    """They share ``turn``. The keeper hears of the last audit, and the audit of what the keeper has told and is not
    mended."""

    def __init__(
        self,
        settings: Settings,
        *,
        reader: Reader,
        writer: Writer,
        outbox: Outbox,
        published: Callable[[], list[Alert]],
        telemetry: Telemetry,
        patience: Patience,
        stalls: Stalls,
        clock: Callable[[], datetime],
    ) -> None:
        self.turn = Turn()
        in_turn = partial(
            InTurn,
            self.turn,
            publish=partial(publish_alerts, outbox, settings.topic(ALERTS)),
            published=published,
            patience=patience,
        )
        make = partial(money_rules, reader=reader, interval=settings.watch_interval)
        in_force = RuleRevisions(reader, make, zone=settings.zone, clock=clock)
        watch = partial(Watcher, rules=in_force.rules, reader=reader, writer=writer, clock=clock)
        self.watcher: InTurn[Watcher] = in_turn(lambda publish: watch(publish=publish), doing="reading back the alerts")
        pipeline = pipeline_rules(settings, reader=reader, stalls=stalls, report=lambda: self.auditor.report)
        keep = partial(Keeper, pipeline, writer=writer, clock=clock)
        self.keeper: InTurn[Keeper] = in_turn(
            lambda publish: keep(publish=publish), doing="reading back the alerts about the pipeline"
        )
        self.auditor = Auditor(
            prove=audit_in_turn(reader, settings=settings, clock=clock, turn=lambda: self.turn.number),
            telemetry=telemetry,
            interval=settings.audit_interval,
            clock=clock,
            suspect_since=lambda: AuditRule.suspect_since(self.keeper.part.standing),
        )
